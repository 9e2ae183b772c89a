//! The catalog against a plain model, on a disk that fails, and in a real directory.

mod crash;
mod disk;
mod model;

use std::sync::Arc;
use std::sync::mpsc;

use metadata::identity::{
    HashingAlgorithm, PasswordHash, Permissions, TopicPermissions, User, VhostSpec,
};
use metadata::parameter::Parameter;
use metadata::topology::{BindingSpec, Destination, ExchangeSpec, Name, QueueSpec};
use serde_json::{Map, Value, json};
use wire::amqp091::table::{FieldTable, FieldValue};

use self::disk::SimDisk;
use self::model::Model;
use super::*;

pub(super) fn table(entries: &[(&str, i64)]) -> FieldTable {
    let mut table = FieldTable::new();
    for (key, value) in entries {
        table.set(*key, FieldValue::I64(*value));
    }
    table
}

pub(super) fn vhost(name: &str) -> Change {
    Change::PutVhost(VhostSpec {
        description: format!("the vhost {name}"),
        tags: vec!["a".to_owned(), "b".to_owned()],
        default_queue_type: Some("quorum".to_owned()),
        tracing: true,
        protected_from_deletion: false,
        name: name.into(),
    })
}

pub(super) fn exchange(vhost: &str, name: &str) -> Change {
    let spec = ExchangeSpec {
        name: name.into(),
        kind: "topic".to_owned(),
        durable: true,
        auto_delete: false,
        internal: true,
        arguments: table(&[("x", 1)]),
    };
    Change::PutExchange {
        vhost: vhost.into(),
        spec,
    }
}

pub(super) fn queue(vhost: &str, name: &str, id: u64) -> Change {
    let spec = QueueSpec {
        name: name.into(),
        durable: true,
        exclusive: false,
        auto_delete: true,
        arguments: table(&[("x-expires", 1000), ("x-max-length", 5)]),
    };
    Change::PutQueue {
        vhost: vhost.into(),
        id,
        spec,
    }
}

pub(super) fn binding(destination: &str, arguments: &[(&str, i64)]) -> BindingSpec {
    BindingSpec {
        source: "x".into(),
        destination: match destination.strip_prefix("e:") {
            Some(name) => Destination::Exchange(name.into()),
            None => Destination::Queue(destination.into()),
        },
        routing_key: "a.*".into(),
        arguments: table(arguments),
    }
}

pub(super) fn put_binding(vhost: &str, destination: &str, arguments: &[(&str, i64)]) -> Change {
    Change::PutBinding {
        vhost: vhost.into(),
        spec: binding(destination, arguments),
    }
}

pub(super) fn user(name: &str) -> Change {
    Change::PutUser(Arc::new(User {
        name: name.into(),
        password_hash: PasswordHash::salted(HashingAlgorithm::Sha512, [1, 2, 3, 4], b"secret"),
        hashing_algorithm: HashingAlgorithm::Sha512,
        tags: vec!["administrator".to_owned()],
    }))
}

pub(super) fn permissions(vhost: &str, user: &str) -> Change {
    Change::PutPermissions {
        vhost: vhost.into(),
        user: user.into(),
        permissions: Arc::new(Permissions::parse("^a", "", ".*").unwrap()),
    }
}

pub(super) fn topic_permissions(vhost: &str, user: &str, exchange: &str) -> Change {
    Change::PutTopicPermissions {
        vhost: vhost.into(),
        user: user.into(),
        permissions: Arc::new(TopicPermissions::parse(exchange, "^{username}", ".*").unwrap()),
    }
}

pub(super) fn parameter(vhost: &str, component: &str, name: &str) -> Change {
    let value = json!({"pattern": "^a", "definition": {"max-length": 5}, "priority": 1});
    Change::PutParameter {
        vhost: vhost.into(),
        parameter: Parameter {
            component: component.into(),
            name: name.into(),
            value,
        },
    }
}

fn user_limits(user: &str, limits: Value) -> Change {
    Change::PutUserLimits {
        user: user.into(),
        limits: limits.as_object().cloned().unwrap(),
    }
}

/// One of each kind, in two vhosts of which one's name begins with the other's.
fn everything() -> Vec<Change> {
    let mut changes = vec![
        user("ann"),
        user("annabel"),
        Change::PutRedelivered { up_to: 77 },
        user_limits("ann", json!({"max-connections": 1})),
        user_limits("annabel", json!({"max-channels": 2, "max-connections": -1})),
        Change::PutGlobalParameter {
            name: "cluster_name".into(),
            value: json!("hares"),
        },
        Change::PutGlobalParameter {
            name: "x".into(),
            value: json!([1, null]),
        },
    ];
    for name in ["a", "ab"] {
        changes.extend([
            vhost(name),
            exchange(name, "x"),
            exchange(name, "y"),
            queue(name, "q", 7),
            put_binding(name, "q", &[]),
            put_binding(name, "q", &[("n", 1), ("m", 2)]),
            put_binding(name, "e:q", &[]),
            permissions(name, "ann"),
            permissions(name, "annabel"),
            topic_permissions(name, "ann", "x"),
            topic_permissions(name, "ann", "y"),
            topic_permissions(name, "annabel", "x"),
            parameter(name, "policy", "p"),
            parameter(name, "policy", "q"),
            parameter(name, "vhost-limits", "limits"),
        ]);
    }
    changes
}

/// Applies the changes to a catalog and to a model, and compares what a new start reads.
fn check(changes: Vec<Change>) {
    let disk = SimDisk::default();
    let mut model = Model::default();
    let (catalog, stored) = Catalog::direct(disk.clone()).unwrap();
    assert!(stored.is_virgin());
    for change in changes {
        let ticket = catalog.write(change.clone());
        assert_eq!(catalog.durable(), ticket);
        model.apply(&change);
    }
    drop(catalog);
    let (_, stored) = Catalog::direct(SimDisk::from_image(disk.after_power_cut(|| None))).unwrap();
    model.check(&stored);
    assert_eq!(stored.boots, 2);
}

fn after_everything(more: impl IntoIterator<Item = Change>) -> Vec<Change> {
    everything().into_iter().chain(more).collect()
}

#[test]
fn what_was_put_is_read_back() {
    check(everything());
    check(after_everything(everything()));
    check(vec![Change::All(everything())]);
}

#[test]
fn a_vhost_goes_with_all_that_is_in_it_and_nothing_else() {
    check(after_everything([Change::DeleteVhost {
        vhost: "a".into(),
    }]));
    check(after_everything([Change::DeleteVhost {
        vhost: "ab".into(),
    }]));
    check(after_everything([Change::DeleteVhost { vhost: "".into() }]));
}

#[test]
fn a_user_goes_with_all_permissions_and_nobody_elses() {
    check(after_everything([Change::DeleteUser {
        user: "ann".into(),
    }]));
    check(after_everything([Change::DeleteUser {
        user: "nobody".into(),
    }]));
}

#[test]
fn single_records_are_deleted() {
    let (a, ann) = (|| Name::from("a"), || Name::from("ann"));
    for change in [
        Change::DeleteExchange {
            vhost: a(),
            exchange: "x".into(),
        },
        Change::DeleteQueue {
            vhost: a(),
            queue: "q".into(),
        },
        Change::DeleteBinding {
            vhost: a(),
            spec: binding("q", &[]),
        },
        // The same arguments in another order.
        Change::DeleteBinding {
            vhost: a(),
            spec: binding("q", &[("m", 2), ("n", 1)]),
        },
        Change::DeleteBinding {
            vhost: a(),
            spec: binding("q", &[("m", 2), ("n", 2)]),
        },
        Change::DeleteBinding {
            vhost: a(),
            spec: binding("e:q", &[]),
        },
        Change::DeletePermissions {
            vhost: a(),
            user: ann(),
        },
        Change::DeleteTopicPermissions {
            vhost: a(),
            user: ann(),
            exchange: Some("x".into()),
        },
        Change::DeleteTopicPermissions {
            vhost: a(),
            user: ann(),
            exchange: None,
        },
        Change::DeleteParameter {
            vhost: a(),
            component: "policy".into(),
            name: "p".into(),
        },
        Change::DeleteGlobalParameter { name: "x".into() },
        user_limits("ann", json!({})),
    ] {
        check(after_everything([change.clone(), change]));
    }
}

/// Version 1 had no tables for parameters and limits.
#[test]
fn a_catalog_of_version_1_opens_and_is_version_2_from_then_on() {
    let directory = tempfile::tempdir().unwrap();
    let (catalog, _) = Catalog::open(directory.path()).unwrap();
    for change in [vhost("a"), queue("a", "q", 7), user("ann")] {
        catalog.write(change);
    }
    catalog.close();
    drop(catalog);
    let counters = redb::TableDefinition::<&str, u64>::new("counters");
    let database = redb::Database::open(directory.path().join(CATALOG_FILE)).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction
        .open_table(counters)
        .unwrap()
        .insert("format", 1)
        .unwrap();
    for name in ["parameters", "global_parameters", "user_limits"] {
        let table = redb::TableDefinition::<&[u8], &[u8]>::new(name);
        assert!(transaction.delete_table(table).unwrap());
    }
    transaction.commit().unwrap();
    drop(database);
    for _ in 0..2 {
        let (catalog, stored) = Catalog::open(directory.path()).unwrap();
        assert_eq!(
            (stored.vhosts.len(), stored.queues.len(), stored.users.len()),
            (1, 1, 1)
        );
        assert!(stored.parameters.is_empty() && stored.user_limits.is_empty());
        catalog.close();
    }
    let database = redb::Database::open(directory.path().join(CATALOG_FILE)).unwrap();
    let transaction = redb::ReadableDatabase::begin_read(&database).unwrap();
    let format = transaction
        .open_table(counters)
        .unwrap()
        .get("format")
        .unwrap();
    assert_eq!(format.map(|format| format.value()), Some(2));
}

#[test]
fn queue_numbers_of_one_run_are_never_those_of_another() {
    let disk = SimDisk::default();
    let (catalog, first) = Catalog::direct(disk.clone()).unwrap();
    catalog.write(queue("a", "q", first.queue_id_first + 1_000_000));
    drop(catalog);
    let (_, second) = Catalog::direct(disk).unwrap();
    assert!(second.queue_id_first > first.queue_id_first + 1_000_000);
}

#[test]
fn a_sequential_change_costs_one_sync() {
    let disk = SimDisk::default();
    let (catalog, _) = Catalog::direct(disk.clone()).unwrap();
    let before = disk.syncs();
    for id in 0..50 {
        catalog.write(queue("a", &format!("q{id}"), id));
    }
    assert_eq!(disk.syncs() - before, 50);
}

/// Waits until the ticket is durable or never will be.
fn wait(catalog: &Catalog, ticket: Ticket) {
    let (sender, receiver) = mpsc::channel();
    catalog.wake_when_durable(ticket, Arc::new(move || sender.send(()).unwrap()));
    receiver.recv().unwrap();
}

#[test]
fn changes_that_wait_share_a_commit() {
    let disk = SimDisk::default();
    let (catalog, _) = Catalog::with_backend(disk.clone()).unwrap();
    let before = disk.syncs();
    disk.close_gate();
    let tickets: Vec<_> = (0..1000)
        .map(|id| catalog.write(queue("a", &format!("q{id}"), id)))
        .collect();
    assert_eq!(tickets, (1..=1000).map(Ticket).collect::<Vec<_>>());
    assert_eq!(catalog.durable(), Ticket::NONE);
    disk.open_gate();
    wait(&catalog, Ticket(1000));
    assert_eq!(catalog.durable(), Ticket(1000));
    // At most the one that was under way as the gate closed, and one for all the others.
    assert!(
        disk.syncs() - before <= 2,
        "{} syncs",
        disk.syncs() - before
    );
}

#[test]
fn who_waits_is_called_in_the_order_of_tickets_and_once() {
    let disk = SimDisk::default();
    let (catalog, _) = Catalog::with_backend(disk.clone()).unwrap();
    let (sender, receiver) = mpsc::channel();
    let wake = |name: u64| -> Wake {
        let sender = sender.clone();
        Arc::new(move || sender.send(name).unwrap())
    };
    catalog.wake_when_durable(Ticket::NONE, wake(0));
    disk.close_gate();
    for id in 1..=3 {
        catalog.write(queue("a", "q", id));
    }
    for (ticket, name) in [(3, 4), (1, 1), (2, 2), (2, 3)] {
        catalog.wake_when_durable(Ticket(ticket), wake(name));
    }
    disk.open_gate();
    wait(&catalog, Ticket(3));
    catalog.wake_when_durable(Ticket(1), wake(5));
    catalog.close();
    drop(sender);
    assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn a_failed_commit_poisons_the_catalog() {
    let disk = SimDisk::default();
    let (catalog, _) = Catalog::with_backend(disk.clone()).unwrap();
    let good = catalog.write(vhost("a"));
    wait(&catalog, good);
    disk.fail_after(0);
    let bad = catalog.write(vhost("b"));
    wait(&catalog, bad);
    let failure = catalog.failure().unwrap();
    assert!(
        failure.starts_with("cannot write the catalog: "),
        "{failure}"
    );
    assert_eq!(catalog.durable(), good);
    // The disk is well again; what it did with the failed sync nobody knows.
    disk.fail_after(u64::MAX);
    let late = catalog.write(vhost("c"));
    wait(&catalog, late);
    assert!(late > bad);
    assert_eq!(catalog.durable(), good);
    assert_eq!(catalog.failure().unwrap(), failure);
    catalog.close();
    assert_eq!(catalog.failure().unwrap(), failure);
}

#[test]
fn a_full_queue_makes_the_writer_wait_and_a_failure_frees_it() {
    let disk = SimDisk::default();
    let (catalog, _) = Catalog::with_backend(disk.clone()).unwrap();
    let catalog = Arc::new(catalog);
    disk.close_gate();
    // The first commits may have been taken from the queue already.
    let count = (CHANGES_QUEUED_MAX + CHANGES_PER_COMMIT_MAX) as u64;
    let writer = Arc::clone(&catalog);
    let flood = std::thread::spawn(move || {
        let change = Change::DeleteUser {
            user: "nobody".into(),
        };
        (1..count + 10).fold(writer.write(change.clone()), |_, _| {
            writer.write(change.clone())
        })
    });
    disk.fail_after(0);
    disk.open_gate();
    assert_eq!(flood.join().unwrap(), Ticket(count + 10));
    assert!(catalog.failure().is_some());
}

#[test]
fn closing_commits_what_is_queued_and_drops_what_comes_after() {
    let dir = tempfile::tempdir().unwrap();
    let (catalog, _) = Catalog::open(dir.path()).unwrap();
    let last = everything()
        .into_iter()
        .map(|change| catalog.write(change))
        .last()
        .unwrap();
    catalog.close();
    assert_eq!(catalog.durable(), last);
    assert!(catalog.write(vhost("late")) > last);
    assert_eq!(&*catalog.failure().unwrap(), "the catalog is closed");
    drop(catalog);
    let mut model = Model::default();
    everything().iter().for_each(|change| model.apply(change));
    let (_, stored) = Catalog::open(dir.path()).unwrap();
    model.check(&stored);
}

#[test]
fn a_directory_in_use_is_refused_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let first = Catalog::open(dir.path()).unwrap();
    let error = Catalog::open(dir.path()).unwrap_err();
    let pid = std::process::id();
    let text = format!(
        "data directory {} is in use by another process (pid {pid})",
        dir.path().display()
    );
    assert_eq!(error.to_string(), text);
    drop(first);
    Catalog::open(dir.path()).unwrap();
}

#[test]
fn a_directory_that_cannot_be_made_is_refused_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let text = Catalog::open(&file.join("data")).unwrap_err().to_string();
    assert!(
        text.starts_with("cannot use data directory ") && text.contains("/file/data: "),
        "{text}"
    );
    assert_eq!(text.lines().count(), 1);
}

#[test]
fn files_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let _catalog = Catalog::open(&data).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&data), 0o700);
    assert_eq!(mode(&data.join(CATALOG_FILE)), 0o600);
}

/// Flips one byte after another of a closed store, some hundreds in all: never a panic, and never less than
/// what was stored.
#[test]
fn damage_is_reported_and_never_skipped() {
    let disk = SimDisk::default();
    let (catalog, _) = Catalog::direct(disk.clone()).unwrap();
    let mut model = Model::default();
    for change in everything() {
        model.apply(&change);
        catalog.write(change);
    }
    drop(catalog);
    let image = disk.after_power_cut(|| None);
    let used: Vec<usize> = (0..image.len()).filter(|&at| image[at] != 0).collect();
    let sample = used.iter().step_by(used.len() / 200 + 1);
    // The pages of the trees themselves, where a flipped bit makes the store's own code panic.
    let trees = used
        .iter()
        .filter(|at| (4096..20_480).contains(*at))
        .step_by(7);
    let mut reported = 0;
    for &at in sample.chain(trees) {
        let mut damaged = image.clone();
        damaged[at] ^= 0x10;
        match Catalog::direct(SimDisk::from_image(damaged)) {
            Ok((_, stored)) => model.check(&stored),
            Err(_) => reported += 1,
        }
    }
    assert!(reported > 0);
}
