//! The catalog's tables: opening them, reading all of them, applying a batch of changes in one transaction.
//!
//! Deliberately absent: threads and tickets, which are `mod.rs`, the bytes of a record (`record.rs`), and the
//! directory (`place.rs`).

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use metadata::parameter::Parameter;
use metadata::topology::Name;
use redb::{
    Database, Durability, ReadableDatabase as _, ReadableTable as _, StorageBackend, Table,
    TableDefinition, WriteTransaction,
};

use super::change::{Change, Stored, StoredQueue};
use super::place::{CatalogError, FORMAT_VERSION, Place};
use super::record::{self, Reader, RecordError};

/// Memory for the store's pages: the node keeps all it needs of them in its own tables.
const CACHE_BYTES: usize = 8 << 20;
/// Queue numbers that one run of the broker can give out: over thirty years at a thousand a second.
const QUEUE_ID_BITS: u32 = 40;

/// The counter of [`Change::PutRedelivered`].
const REDELIVERED: &str = "redelivered_up_to";

const COUNTERS: TableDefinition<'static, &str, u64> = TableDefinition::new("counters");

/// The tables that map a key to a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Vhosts,
    Exchanges,
    Queues,
    Bindings,
    Users,
    Permissions,
    TopicPermissions,
    Parameters,
    GlobalParameters,
    UserLimits,
}

impl Kind {
    const ALL: [Kind; 10] = [
        Kind::Vhosts,
        Kind::Exchanges,
        Kind::Queues,
        Kind::Bindings,
        Kind::Users,
        Kind::Permissions,
        Kind::TopicPermissions,
        Kind::Parameters,
        Kind::GlobalParameters,
        Kind::UserLimits,
    ];
    /// Those whose keys start with a vhost.
    const IN_VHOST: [Kind; 6] = [
        Kind::Exchanges,
        Kind::Queues,
        Kind::Bindings,
        Kind::Permissions,
        Kind::TopicPermissions,
        Kind::Parameters,
    ];

    fn name(self) -> &'static str {
        match self {
            Kind::Vhosts => "vhosts",
            Kind::Exchanges => "exchanges",
            Kind::Queues => "queues",
            Kind::Bindings => "bindings",
            Kind::Users => "users",
            Kind::Permissions => "permissions",
            Kind::TopicPermissions => "topic_permissions",
            Kind::Parameters => "parameters",
            Kind::GlobalParameters => "global_parameters",
            Kind::UserLimits => "user_limits",
        }
    }

    fn definition(self) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
        TableDefinition::new(self.name())
    }
}

/// An open store, and the lock on its directory.
#[derive(Debug)]
pub(super) struct Store {
    database: Database,
    file: PathBuf,
    _lock: Option<File>,
}

impl Store {
    pub(super) fn open(data_dir: &Path) -> Result<(Store, Stored), CatalogError> {
        let Place { lock, file, handle } = Place::take(data_dir)?;
        contain_panic(&file, || {
            let database = builder()
                .create_file(handle)
                .map_err(|e| store_error(&file, e))?;
            Store::start(database, file.clone(), Some(lock))
        })
    }

    pub(super) fn with_backend(
        backend: impl StorageBackend,
    ) -> Result<(Store, Stored), CatalogError> {
        let file = PathBuf::from("(memory)");
        contain_panic(&file, || {
            let database = builder()
                .create_with_backend(backend)
                .map_err(|e| store_error(&file, e))?;
            Store::start(database, file.clone(), None)
        })
    }

    fn start(
        mut database: Database,
        file: PathBuf,
        lock: Option<File>,
    ) -> Result<(Store, Stored), CatalogError> {
        // Every page's checksum. What a crash left unfinished has been mended by the open; damage found
        // after that was done to data that had been committed.
        if !database
            .check_integrity()
            .map_err(|e| store_error(&file, e))?
        {
            let what = "a page does not have its checksum".to_owned();
            return Err(CatalogError::Damaged { file, what });
        }
        let store = Store {
            database,
            file,
            _lock: lock,
        };
        let boots = store.count_boot()?;
        let stored = store.read(boots)?;
        Ok((store, stored))
    }

    /// Makes the tables that are missing and counts this run, durably, before any queue number of this run
    /// can be in use.
    fn count_boot(&self) -> Result<u64, CatalogError> {
        let fail = |e: redb::Error| store_error(&self.file, e);
        let write = || -> Result<Result<u64, u64>, redb::Error> {
            let transaction = begin(&self.database)?;
            let boots = {
                let mut counters = transaction.open_table(COUNTERS)?;
                let format = counters
                    .get("format")?
                    .map_or(FORMAT_VERSION, |v| v.value());
                if format > FORMAT_VERSION {
                    return Ok(Err(format));
                }
                counters.insert("format", FORMAT_VERSION)?;
                let boots = counters.get("boots")?.map_or(0, |v| v.value()) + 1;
                counters.insert("boots", boots)?;
                boots
            };
            for kind in Kind::ALL {
                transaction.open_table(kind.definition())?;
            }
            transaction.commit()?;
            Ok(Ok(boots))
        };
        write()
            .map_err(fail)?
            .map_err(|format| CatalogError::TooNew {
                file: self.file.clone(),
                format,
            })
    }

    fn read(&self, boots: u64) -> Result<Stored, CatalogError> {
        let mut stored = Stored {
            boots,
            queue_id_first: boots << QUEUE_ID_BITS,
            ..Stored::default()
        };
        let transaction = self
            .database
            .begin_read()
            .map_err(|e| store_error(&self.file, e))?;
        let counter = || -> Result<u64, redb::Error> {
            let counters = transaction.open_table(COUNTERS)?;
            Ok(counters.get(REDELIVERED)?.map_or(0, |value| value.value()))
        };
        stored.redelivered_up_to = counter().map_err(|e| store_error(&self.file, e))?;
        for kind in Kind::ALL {
            let fail = |e: redb::Error| store_error(&self.file, e);
            let table = transaction
                .open_table(kind.definition())
                .map_err(|e| fail(e.into()))?;
            let mut vhost = Name::from("");
            for entry in table.iter().map_err(|e| fail(e.into()))? {
                let (key, value) = entry.map_err(|e| fail(e.into()))?;
                read_record(kind, key.value(), value.value(), &mut vhost, &mut stored).map_err(
                    |error| CatalogError::Damaged {
                        file: self.file.clone(),
                        what: format!(
                            "record {:?} in table {}: {error}",
                            String::from_utf8_lossy(key.value()),
                            kind.name()
                        ),
                    },
                )?;
            }
        }
        Ok(stored)
    }

    /// Applies all of the changes and commits: on return they are on the medium, or none is.
    pub(super) fn commit(&self, changes: &[Change]) -> Result<(), redb::Error> {
        let transaction = begin(&self.database)?;
        let mut tables = Tables {
            transaction: &transaction,
            open: [const { None }; Kind::ALL.len()],
        };
        for change in changes {
            tables.apply(change)?;
        }
        drop(tables);
        transaction.commit()?;
        Ok(())
    }
}

fn builder() -> redb::Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

/// Some damage makes the store's own code panic: that is an error like any other damage.
fn contain_panic<T>(
    file: &Path,
    open: impl FnOnce() -> Result<T, CatalogError>,
) -> Result<T, CatalogError> {
    catch_unwind(AssertUnwindSafe(open)).unwrap_or_else(|_| {
        let what = "the store could make nothing of a page".to_owned();
        Err(CatalogError::Damaged {
            file: file.to_owned(),
            what,
        })
    })
}

fn begin(database: &Database) -> Result<WriteTransaction, redb::Error> {
    let mut transaction = database.begin_write()?;
    // The default, said aloud: a confirm depends on it.
    transaction.set_durability(Durability::Immediate)?;
    Ok(transaction)
}

fn store_error(file: &Path, error: impl Into<redb::Error>) -> CatalogError {
    let file = file.to_owned();
    match error.into() {
        redb::Error::Corrupted(what) => CatalogError::Damaged { file, what },
        error => CatalogError::Store {
            file,
            source: Box::new(error),
        },
    }
}

type OpenTable<'t> = Table<'t, &'static [u8], &'static [u8]>;

/// The tables of one transaction, each opened when a change first needs it.
struct Tables<'t> {
    transaction: &'t WriteTransaction,
    open: [Option<OpenTable<'t>>; Kind::ALL.len()],
}

impl<'t> Tables<'t> {
    fn table(&mut self, kind: Kind) -> Result<&mut OpenTable<'t>, redb::Error> {
        let slot = &mut self.open[kind as usize];
        if slot.is_none() {
            *slot = Some(self.transaction.open_table(kind.definition())?);
        }
        Ok(slot.as_mut().expect("was just filled"))
    }

    fn put(&mut self, kind: Kind, key: &[u8], value: &[u8]) -> Result<(), redb::Error> {
        self.table(kind)?.insert(key, value)?;
        Ok(())
    }

    fn delete(&mut self, kind: Kind, key: &[u8]) -> Result<(), redb::Error> {
        self.table(kind)?.remove(key)?;
        Ok(())
    }

    /// Deletes all keys that begin with `prefix`.
    fn delete_under(&mut self, kind: Kind, prefix: &[u8]) -> Result<(), redb::Error> {
        let after = record::key_after(prefix);
        self.table(kind)?
            .retain_in(prefix..after.as_slice(), |_, _| false)?;
        Ok(())
    }

    fn apply(&mut self, change: &Change) -> Result<(), redb::Error> {
        let of = |vhost: &Name, name: &Name| record::key(&[vhost.as_bytes(), name.as_bytes()]);
        match change {
            Change::PutVhost(spec) => {
                let key = record::key(&[spec.name.as_bytes()]);
                self.put(Kind::Vhosts, &key, &record::encode_vhost(spec))
            }
            Change::DeleteVhost { vhost } => {
                let prefix = record::key(&[vhost.as_bytes()]);
                for kind in Kind::IN_VHOST {
                    self.delete_under(kind, &prefix)?;
                }
                self.delete(Kind::Vhosts, &prefix)
            }
            Change::PutExchange { vhost, spec } => {
                let value = record::encode_exchange(spec);
                self.put(Kind::Exchanges, &of(vhost, &spec.name), &value)
            }
            Change::DeleteExchange { vhost, exchange } => {
                self.delete(Kind::Exchanges, &of(vhost, exchange))
            }
            Change::PutQueue { vhost, id, spec } => {
                let value = record::encode_queue(*id, spec);
                self.put(Kind::Queues, &of(vhost, &spec.name), &value)
            }
            Change::DeleteQueue { vhost, queue } => self.delete(Kind::Queues, &of(vhost, queue)),
            Change::PutBinding { vhost, spec } => {
                let key = record::binding_key(vhost, spec);
                self.put(Kind::Bindings, &key, &record::encode_binding(spec))
            }
            Change::DeleteBinding { vhost, spec } => {
                self.delete(Kind::Bindings, &record::binding_key(vhost, spec))
            }
            Change::PutRedelivered { up_to } => {
                let mut counters = self.transaction.open_table(COUNTERS)?;
                counters.insert(REDELIVERED, up_to)?;
                Ok(())
            }
            Change::All(changes) => changes.iter().try_for_each(|change| self.apply(change)),
            identity => self.apply_identity(identity),
        }
    }

    fn apply_identity(&mut self, change: &Change) -> Result<(), redb::Error> {
        let of = |vhost: &Name, user: &Name| record::key(&[vhost.as_bytes(), user.as_bytes()]);
        match change {
            Change::PutUser(user) => {
                let key = record::key(&[user.name.as_bytes()]);
                self.put(Kind::Users, &key, &record::encode_user(user))
            }
            Change::DeleteUser { user } => {
                // A scan of all permissions: users go seldom, and the alternative is an index to maintain.
                for kind in [Kind::Permissions, Kind::TopicPermissions] {
                    self.table(kind)?.retain(|key, _| {
                        let mut key = Reader::of_key(key);
                        !matches!((key.bytes(), key.bytes()), (Ok(_), Ok(u)) if u == user.as_bytes())
                    })?;
                }
                let key = record::key(&[user.as_bytes()]);
                self.delete(Kind::UserLimits, &key)?;
                self.delete(Kind::Users, &key)
            }
            Change::PutPermissions {
                vhost,
                user,
                permissions,
            } => {
                let value = record::encode_permissions(permissions);
                self.put(Kind::Permissions, &of(vhost, user), &value)
            }
            Change::DeletePermissions { vhost, user } => {
                self.delete(Kind::Permissions, &of(vhost, user))
            }
            Change::PutTopicPermissions {
                vhost,
                user,
                permissions,
            } => {
                let exchange = permissions.exchange.as_bytes();
                let key = record::key(&[vhost.as_bytes(), user.as_bytes(), exchange]);
                let value = record::encode_topic_permissions(permissions);
                self.put(Kind::TopicPermissions, &key, &value)
            }
            Change::DeleteTopicPermissions {
                vhost,
                user,
                exchange: Some(exchange),
            } => {
                let key = record::key(&[vhost.as_bytes(), user.as_bytes(), exchange.as_bytes()]);
                self.delete(Kind::TopicPermissions, &key)
            }
            Change::DeleteTopicPermissions {
                vhost,
                user,
                exchange: None,
            } => self.delete_under(Kind::TopicPermissions, &of(vhost, user)),
            parameter => self.apply_parameter(parameter),
        }
    }

    fn apply_parameter(&mut self, change: &Change) -> Result<(), redb::Error> {
        let key = |vhost: &Name, component: &Name, name: &Name| {
            record::key(&[vhost.as_bytes(), component.as_bytes(), name.as_bytes()])
        };
        match change {
            Change::PutParameter { vhost, parameter } => {
                let key = key(vhost, &parameter.component, &parameter.name);
                self.put(
                    Kind::Parameters,
                    &key,
                    &record::encode_json(&parameter.value),
                )
            }
            Change::DeleteParameter {
                vhost,
                component,
                name,
            } => self.delete(Kind::Parameters, &key(vhost, component, name)),
            Change::PutGlobalParameter { name, value } => {
                let key = record::key(&[name.as_bytes()]);
                self.put(Kind::GlobalParameters, &key, &record::encode_json(value))
            }
            Change::DeleteGlobalParameter { name } => {
                self.delete(Kind::GlobalParameters, &record::key(&[name.as_bytes()]))
            }
            Change::PutUserLimits { user, limits } => {
                let key = record::key(&[user.as_bytes()]);
                if limits.is_empty() {
                    return self.delete(Kind::UserLimits, &key);
                }
                let value = record::encode_json(&limits.clone().into());
                self.put(Kind::UserLimits, &key, &value)
            }
            other => unreachable!("{other:?} is applied by apply()"),
        }
    }
}

/// Adds one record to what was read. `vhost` is the vhost of the record before, shared while it stays the same.
fn read_record(
    kind: Kind,
    key: &[u8],
    value: &[u8],
    vhost: &mut Name,
    stored: &mut Stored,
) -> Result<(), RecordError> {
    let mut key = Reader::of_key(key);
    if Kind::IN_VHOST.contains(&kind) {
        let name = key.text()?;
        if **vhost != *name {
            *vhost = Name::from(name);
        }
    }
    let vhost = vhost.clone();
    match kind {
        Kind::Vhosts => {
            let name = key.name()?;
            stored
                .vhosts
                .push(key.end(record::decode_vhost(name, value)?)?);
        }
        Kind::Exchanges => {
            let name = key.name()?;
            stored
                .exchanges
                .push((vhost, key.end(record::decode_exchange(name, value)?)?));
        }
        Kind::Queues => {
            let name = key.name()?;
            let (id, spec) = key.end(record::decode_queue(name, value)?)?;
            stored.queues.push(StoredQueue { vhost, id, spec });
        }
        Kind::Bindings => stored
            .bindings
            .push((vhost, record::decode_binding(key, value)?)),
        Kind::Users => {
            let name = key.name()?;
            stored
                .users
                .push(Arc::new(key.end(record::decode_user(name, value)?)?));
        }
        Kind::Permissions => {
            let user = key.name()?;
            stored
                .permissions
                .push((vhost, user, key.end(record::decode_permissions(value)?)?));
        }
        Kind::TopicPermissions => {
            let user = key.name()?;
            let exchange = key.name()?;
            let permissions = record::decode_topic_permissions(exchange, value)?;
            stored
                .topic_permissions
                .push((vhost, user, key.end(permissions)?));
        }
        Kind::Parameters | Kind::GlobalParameters | Kind::UserLimits => {
            return read_parameter(kind, vhost, key, value, stored);
        }
    }
    Ok(())
}

/// Adds a parameter or a user's limits to what was read.
fn read_parameter(
    kind: Kind,
    vhost: Name,
    mut key: Reader<'_>,
    value: &[u8],
    stored: &mut Stored,
) -> Result<(), RecordError> {
    match kind {
        Kind::Parameters => {
            let parameter = Parameter {
                component: key.name()?,
                name: key.name()?,
                value: record::decode_json(value)?,
            };
            stored.parameters.push((vhost, key.end(parameter)?));
        }
        Kind::GlobalParameters => {
            let name = key.name()?;
            let value = key.end(record::decode_json(value)?)?;
            stored.global_parameters.push((name, value));
        }
        Kind::UserLimits => {
            let user = key.name()?;
            let limits = key.end(record::decode_object(value)?)?;
            stored.user_limits.push((user, limits));
        }
        other => unreachable!("{other:?} is read by read_record()"),
    }
    Ok(())
}
