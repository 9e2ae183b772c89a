//! The bytes of the catalog's keys and values: docs/formats/catalog.md.
//!
//! Every decoder takes whatever the disk gives and returns an error at worst. Deliberately absent: the
//! tables and the transactions, which are `store.rs`.

use std::sync::Arc;

use metadata::identity::{
    HashingAlgorithm, PasswordHash, Permissions, TopicPermissions, User, VhostSpec,
};
use metadata::topology::{BindingSpec, Destination, ExchangeSpec, Name, QueueSpec};
use wire::amqp091::table::{FieldTable, Table};

/// The first byte of every value.
pub(super) const RECORD_VERSION: u8 = 1;

/// Why a key or a value could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RecordError {
    #[error("it ends too early")]
    Short,
    #[error("it has {0} bytes too many")]
    Long(usize),
    #[error("its version is {0}, which this program is too old to read")]
    Version(u8),
    #[error("a text in it is not UTF-8")]
    Text,
    #[error("a field table in it is malformed: {0}")]
    Table(String),
    #[error("{0}")]
    Value(String),
}

type Decoded<T> = Result<T, RecordError>;

/// Joins the parts of a key. Each is preceded by its length, so that all keys with the same first parts lie
/// together, and those of no other name among them.
pub(super) fn key(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = Vec::with_capacity(parts.iter().map(|part| part.len() + 4).sum());
    for part in parts {
        let length = u32::try_from(part.len()).expect("a name or table is shorter than 4 GiB");
        out.extend(length.to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}

/// The smallest key that is greater than every key that starts with `prefix`.
pub(super) fn key_after(prefix: &[u8]) -> Vec<u8> {
    let mut after = prefix.to_vec();
    while let Some(last) = after.pop() {
        if let Some(next) = last.checked_add(1) {
            after.push(next);
            return after;
        }
    }
    unreachable!("a key starts with a length below 4 GiB, whose first byte is no 255")
}

/// A binding's key: its arguments are part of its identity, whatever their order.
pub(super) fn binding_key(vhost: &str, spec: &BindingSpec) -> Vec<u8> {
    let (kind, destination): (&[u8], &Name) = match &spec.destination {
        Destination::Queue(name) => (b"q", name),
        Destination::Exchange(name) => (b"e", name),
    };
    key(&[
        vhost.as_bytes(),
        spec.source.as_bytes(),
        kind,
        destination.as_bytes(),
        spec.routing_key.as_bytes(),
        &sorted(&spec.arguments).encode(),
    ])
}

fn sorted(table: &FieldTable) -> FieldTable {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| *key);
    let mut out = FieldTable::new();
    for (name, value) in entries {
        out.set(name, value.clone());
    }
    out
}

/// Reads fields one after another.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn of_key(bytes: &'a [u8]) -> Reader<'a> {
        Reader(bytes)
    }

    fn of_value(bytes: &'a [u8]) -> Decoded<Reader<'a>> {
        let mut reader = Reader(bytes);
        match reader.u8()? {
            RECORD_VERSION => Ok(reader),
            version => Err(RecordError::Version(version)),
        }
    }

    fn take(&mut self, length: usize) -> Decoded<&'a [u8]> {
        let (head, rest) = self.0.split_at_checked(length).ok_or(RecordError::Short)?;
        self.0 = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Decoded<[u8; N]> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(RecordError::Short)?;
        self.0 = rest;
        Ok(*head)
    }

    fn u8(&mut self) -> Decoded<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u64(&mut self) -> Decoded<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(super) fn bytes(&mut self) -> Decoded<&'a [u8]> {
        let length = u32::from_be_bytes(self.array()?);
        self.take(usize::try_from(length).map_err(|_| RecordError::Short)?)
    }

    pub(super) fn text(&mut self) -> Decoded<&'a str> {
        std::str::from_utf8(self.bytes()?).map_err(|_| RecordError::Text)
    }

    pub(super) fn name(&mut self) -> Decoded<Name> {
        self.text().map(Name::from)
    }

    fn texts(&mut self) -> Decoded<Vec<String>> {
        let mut out = Vec::new();
        for _ in 0..u32::from_be_bytes(self.array()?) {
            out.push(self.text()?.to_owned());
        }
        Ok(out)
    }

    fn table(&mut self) -> Decoded<FieldTable> {
        let table =
            Table::validate(self.bytes()?).map_err(|e| RecordError::Table(e.to_string()))?;
        Ok(table.to_owned())
    }

    /// Flags, of which those that no one has defined must be zero.
    fn flags(&mut self, defined: u8) -> Decoded<u8> {
        let flags = self.u8()?;
        if flags & !defined != 0 {
            return Err(RecordError::Value(format!("its flags are {flags:#04x}")));
        }
        Ok(flags)
    }

    pub(super) fn end<T>(self, value: T) -> Decoded<T> {
        if self.0.is_empty() {
            Ok(value)
        } else {
            Err(RecordError::Long(self.0.len()))
        }
    }
}

/// Writes fields one after another.
struct Writer(Vec<u8>);

impl Writer {
    fn new() -> Writer {
        Writer(vec![RECORD_VERSION])
    }

    fn u8(mut self, value: u8) -> Writer {
        self.0.push(value);
        self
    }

    fn u64(mut self, value: u64) -> Writer {
        self.0.extend(value.to_be_bytes());
        self
    }

    fn bytes(mut self, value: &[u8]) -> Writer {
        self.0.extend(key(&[value]));
        self
    }

    fn text(self, value: &str) -> Writer {
        self.bytes(value.as_bytes())
    }

    fn texts(mut self, values: &[String]) -> Writer {
        let count = u32::try_from(values.len()).expect("tags are fewer than 2^32");
        self.0.extend(count.to_be_bytes());
        values.iter().fold(self, |writer, value| writer.text(value))
    }

    fn flags(self, flags: &[(u8, bool)]) -> Writer {
        let bits = flags
            .iter()
            .filter(|(_, set)| *set)
            .fold(0, |bits, (bit, _)| bits | bit);
        self.u8(bits)
    }
}

const DURABLE: u8 = 1;
const AUTO_DELETE: u8 = 2;
const INTERNAL: u8 = 4;
const EXCLUSIVE: u8 = 8;
const TRACING: u8 = 1;
const PROTECTED: u8 = 2;

pub(super) fn encode_vhost(spec: &VhostSpec) -> Vec<u8> {
    Writer::new()
        .flags(&[
            (TRACING, spec.tracing),
            (PROTECTED, spec.protected_from_deletion),
        ])
        .text(&spec.description)
        .texts(&spec.tags)
        .text(spec.default_queue_type.as_deref().unwrap_or_default())
        .0
}

pub(super) fn decode_vhost(name: Name, value: &[u8]) -> Decoded<VhostSpec> {
    let mut reader = Reader::of_value(value)?;
    let flags = reader.flags(TRACING | PROTECTED)?;
    let spec = VhostSpec {
        name,
        description: reader.text()?.to_owned(),
        tags: reader.texts()?,
        default_queue_type: Some(reader.text()?.to_owned()).filter(|kind| !kind.is_empty()),
        tracing: flags & TRACING != 0,
        protected_from_deletion: flags & PROTECTED != 0,
    };
    reader.end(spec)
}

pub(super) fn encode_exchange(spec: &ExchangeSpec) -> Vec<u8> {
    Writer::new()
        .flags(&[
            (DURABLE, spec.durable),
            (AUTO_DELETE, spec.auto_delete),
            (INTERNAL, spec.internal),
        ])
        .text(&spec.kind)
        .bytes(&spec.arguments.encode())
        .0
}

pub(super) fn decode_exchange(name: Name, value: &[u8]) -> Decoded<ExchangeSpec> {
    let mut reader = Reader::of_value(value)?;
    let flags = reader.flags(DURABLE | AUTO_DELETE | INTERNAL)?;
    let spec = ExchangeSpec {
        name,
        kind: reader.text()?.to_owned(),
        durable: flags & DURABLE != 0,
        auto_delete: flags & AUTO_DELETE != 0,
        internal: flags & INTERNAL != 0,
        arguments: reader.table()?,
    };
    reader.end(spec)
}

pub(super) fn encode_queue(id: u64, spec: &QueueSpec) -> Vec<u8> {
    Writer::new()
        .u64(id)
        .flags(&[
            (DURABLE, spec.durable),
            (AUTO_DELETE, spec.auto_delete),
            (EXCLUSIVE, spec.exclusive),
        ])
        .bytes(&spec.arguments.encode())
        .0
}

pub(super) fn decode_queue(name: Name, value: &[u8]) -> Decoded<(u64, QueueSpec)> {
    let mut reader = Reader::of_value(value)?;
    let id = reader.u64()?;
    let flags = reader.flags(DURABLE | AUTO_DELETE | EXCLUSIVE)?;
    let spec = QueueSpec {
        name,
        durable: flags & DURABLE != 0,
        exclusive: flags & EXCLUSIVE != 0,
        auto_delete: flags & AUTO_DELETE != 0,
        arguments: reader.table()?,
    };
    reader.end((id, spec))
}

pub(super) fn encode_binding(spec: &BindingSpec) -> Vec<u8> {
    Writer::new().bytes(&spec.arguments.encode()).0
}

pub(super) fn encode_json(value: &serde_json::Value) -> Vec<u8> {
    Writer::new().text(&value.to_string()).0
}

pub(super) fn decode_json(value: &[u8]) -> Decoded<serde_json::Value> {
    let mut reader = Reader::of_value(value)?;
    let text = reader.text()?;
    let value = serde_json::from_str(text).map_err(|e| RecordError::Value(e.to_string()))?;
    reader.end(value)
}

pub(super) fn decode_object(value: &[u8]) -> Decoded<serde_json::Map<String, serde_json::Value>> {
    match decode_json(value)? {
        serde_json::Value::Object(object) => Ok(object),
        _ => Err(RecordError::Value("its value is no object".to_owned())),
    }
}

/// `key` is what follows the vhost.
pub(super) fn decode_binding(mut key: Reader<'_>, value: &[u8]) -> Decoded<BindingSpec> {
    let source = key.name()?;
    let kind = key.bytes()?;
    let destination = key.name()?;
    let routing_key = key.name()?;
    key.bytes()?;
    key.end(())?;
    let mut reader = Reader::of_value(value)?;
    let spec = BindingSpec {
        source,
        destination: match kind {
            b"q" => Destination::Queue(destination),
            b"e" => Destination::Exchange(destination),
            _ => {
                return Err(RecordError::Value(
                    "its destination has no known kind".to_owned(),
                ));
            }
        },
        routing_key,
        arguments: reader.table()?,
    };
    reader.end(spec)
}

pub(super) fn encode_user(user: &User) -> Vec<u8> {
    Writer::new()
        .bytes(user.password_hash.as_bytes())
        .text(user.hashing_algorithm.name())
        .texts(&user.tags)
        .0
}

pub(super) fn decode_user(name: Name, value: &[u8]) -> Decoded<User> {
    let mut reader = Reader::of_value(value)?;
    let password_hash = PasswordHash::from_bytes(reader.bytes()?.to_vec());
    let algorithm = reader.text()?;
    let hashing_algorithm = HashingAlgorithm::parse(algorithm).ok_or_else(|| {
        RecordError::Value(format!("no hashing algorithm '{algorithm}' is known"))
    })?;
    let user = User {
        name,
        password_hash,
        hashing_algorithm,
        tags: reader.texts()?,
    };
    reader.end(user)
}

pub(super) fn encode_permissions(permissions: &Permissions) -> Vec<u8> {
    Writer::new()
        .text(permissions.configure.source())
        .text(permissions.write.source())
        .text(permissions.read.source())
        .0
}

pub(super) fn decode_permissions(value: &[u8]) -> Decoded<Arc<Permissions>> {
    let mut reader = Reader::of_value(value)?;
    let permissions = Permissions::parse(reader.text()?, reader.text()?, reader.text()?)
        .map_err(|e| RecordError::Value(e.to_string()))?;
    reader.end(Arc::new(permissions))
}

pub(super) fn encode_topic_permissions(permissions: &TopicPermissions) -> Vec<u8> {
    Writer::new()
        .text(permissions.write.source())
        .text(permissions.read.source())
        .0
}

pub(super) fn decode_topic_permissions(
    exchange: Name,
    value: &[u8],
) -> Decoded<Arc<TopicPermissions>> {
    let mut reader = Reader::of_value(value)?;
    let permissions = TopicPermissions::parse(exchange, reader.text()?, reader.text()?)
        .map_err(|e| RecordError::Value(e.to_string()))?;
    reader.end(Arc::new(permissions))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wire::amqp091::table::FieldValue;

    use super::*;

    fn arguments() -> impl Strategy<Value = FieldTable> {
        let value = prop_oneof![
            any::<i64>().prop_map(FieldValue::I64),
            any::<bool>().prop_map(FieldValue::Bool),
            proptest::collection::vec(any::<u8>(), 0..20).prop_map(FieldValue::LongStr),
        ];
        proptest::collection::btree_map(".{0,20}", value, 0..5).prop_map(|entries| {
            let mut table = FieldTable::new();
            for (key, value) in entries {
                table.set(key.as_str(), value);
            }
            table
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn topology_reads_back(
            name in ".{0,30}",
            kind in ".{0,10}",
            arguments in arguments(),
            flags: [bool; 3],
            id: u64,
            to_queue: bool,
        ) {
            let name = Name::from(name);
            let [durable, auto_delete, internal] = flags;
            let exchange = ExchangeSpec {
                name: name.clone(), kind, durable, auto_delete, internal,
                arguments: arguments.clone(),
            };
            let value = encode_exchange(&exchange);
            prop_assert_eq!(decode_exchange(name.clone(), &value), Ok(exchange));
            let queue = QueueSpec {
                name: name.clone(), durable, auto_delete, exclusive: internal,
                arguments: arguments.clone(),
            };
            let value = encode_queue(id, &queue);
            prop_assert_eq!(decode_queue(name.clone(), &value), Ok((id, queue)));
            let binding = BindingSpec {
                source: name.clone(),
                destination: match to_queue {
                    true => Destination::Queue(name.clone()),
                    false => Destination::Exchange(name.clone()),
                },
                routing_key: name.clone(),
                arguments,
            };
            let key = binding_key(&name, &binding);
            let mut reader = Reader::of_key(&key);
            prop_assert_eq!(reader.name(), Ok(name));
            let value = encode_binding(&binding);
            prop_assert_eq!(decode_binding(reader, &value), Ok(binding));
        }

        #[test]
        fn identities_read_back(
            name in ".{0,30}",
            texts in proptest::collection::vec(".{0,10}", 0..5),
            hash in proptest::collection::vec(any::<u8>(), 0..70),
            flags: [bool; 2],
        ) {
            let name = Name::from(name);
            let vhost = VhostSpec {
                name: name.clone(),
                description: texts.concat(),
                tags: texts.clone(),
                default_queue_type: texts.first().filter(|text| !text.is_empty()).cloned(),
                tracing: flags[0],
                protected_from_deletion: flags[1],
            };
            prop_assert_eq!(decode_vhost(name.clone(), &encode_vhost(&vhost)), Ok(vhost));
            let user = User {
                name: name.clone(),
                password_hash: PasswordHash::from_bytes(hash),
                hashing_algorithm: HashingAlgorithm::Md5,
                tags: texts,
            };
            prop_assert_eq!(decode_user(name.clone(), &encode_user(&user)), Ok(user));
            let permissions = Arc::new(Permissions::parse("a", "", "^c$").unwrap());
            prop_assert_eq!(decode_permissions(&encode_permissions(&permissions)), Ok(permissions));
            let topic = Arc::new(TopicPermissions::parse(name.clone(), "{vhost}", "").unwrap());
            let value = encode_topic_permissions(&topic);
            prop_assert_eq!(decode_topic_permissions(name, &value), Ok(topic));
        }

        #[test]
        fn no_bytes_make_a_decoder_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            for version in [RECORD_VERSION, 9] {
                if let Some(first) = bytes.first_mut() {
                    *first = version;
                }
                let name = || Name::from("x");
                let _ = decode_vhost(name(), &bytes);
                let _ = decode_exchange(name(), &bytes);
                let _ = decode_queue(name(), &bytes);
                let _ = decode_binding(Reader::of_key(&bytes), &bytes);
                let _ = decode_user(name(), &bytes);
                let _ = decode_permissions(&bytes);
                let _ = decode_topic_permissions(name(), &bytes);
                let _ = decode_object(&bytes);
            }
        }

        #[test]
        fn keys_under_a_prefix_lie_before_the_key_after_it(
            vhost in ".{0,5}", other in ".{0,5}", name in ".{0,5}",
        ) {
            let prefix = key(&[vhost.as_bytes()]);
            let under = key(&[other.as_bytes(), name.as_bytes()]);
            let within = prefix <= under && under < key_after(&prefix);
            prop_assert_eq!(within, vhost == other);
        }
    }

    #[test]
    fn a_record_of_a_later_version_is_named_so() {
        let mut value = encode_vhost(&VhostSpec::named("v"));
        value[0] = 2;
        assert_eq!(
            decode_vhost("v".into(), &value),
            Err(RecordError::Version(2))
        );
        value[0] = 1;
        value.push(0);
        assert_eq!(decode_vhost("v".into(), &value), Err(RecordError::Long(1)));
        value.truncate(3);
        assert_eq!(decode_vhost("v".into(), &value), Err(RecordError::Short));
    }
}
