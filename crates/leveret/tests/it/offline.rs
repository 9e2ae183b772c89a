//! `leveret inspect` and `leveret repair` on the data directory of a broker that has stopped.

use std::path::Path;
use std::process::Output;
use std::sync::Arc;

use serde_json::Value;
use storage::disk::real::RealDisk;
use storage::{Append, Log, LogPosition, Options, OwnerEntry, OwnerId};

use crate::broker::{Broker, call, run};

/// Makes a broker's data directory with two durable queues, and gives their numbers.
fn broker_was_here(data_dir: &Path) -> (OwnerId, OwnerId) {
    let broker = Broker::start(data_dir);
    broker.ctl("add_vhost v");
    broker.ctl("set_permissions -p v guest .* .* .*");
    let mut client = broker.client_of("guest", "guest", "v");
    call(&mut client, "channel.open");
    for queue in ["orders", "bills"] {
        let declare = format!(r#"queue.declare queue="{queue}" durable"#);
        assert!(call(&mut client, &declare).contains("declare-ok"));
    }
    // While it runs nobody else looks at its files.
    for verb in ["inspect", "repair"] {
        let (code, text) = failure(&command(verb, data_dir, &[]));
        assert!(
            code == 1 && text.contains("in use by another process"),
            "{text}"
        );
    }
    drop(client);
    broker.stop();
    let stored = node::catalog::read_offline(data_dir).expect("the catalog is read");
    let number = |name: &str| {
        let queue = stored.queues.iter().find(|queue| &*queue.spec.name == name);
        OwnerId(queue.expect("it was declared").id)
    };
    (number("orders"), number("bills"))
}

/// Puts five messages for each queue into the log, and leaves it cleanly. The third of `orders` is `needle`.
fn fill(data_dir: &Path, orders: OwnerId, bills: OwnerId) {
    let disk = RealDisk::open(&data_dir.join(storage::DIRECTORY)).expect("nobody has it");
    let options = Options {
        log_file_bytes: 64 << 10,
        ..Options::default()
    };
    let (log, _) = Log::open(Arc::new(disk), options).expect("it is sound");
    for n in 0..5 {
        for owner in [orders, bills] {
            let body = match (n, owner == orders) {
                (2, true) => "needle".to_owned(),
                _ => format!("message {n} of {}", owner.0),
            };
            let message = Append {
                owners: &[OwnerEntry::plain(owner)],
                transient: false,
                weight: 100,
                payload: &[body.as_bytes()],
            };
            log.batch().push(&message).expect("there is room");
        }
    }
    log.close().expect("it can be written");
}

fn command(verb: &str, data_dir: &Path, more: &[&str]) -> Output {
    let data_dir = data_dir.to_str().expect("temporary paths are text");
    run(&[&[verb, "--data-dir", data_dir][..], more].concat())
}

fn failure(output: &Output) -> (i32, String) {
    let code = output.status.code().expect("no signal ended it");
    (code, String::from_utf8_lossy(&output.stderr).into_owned())
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn inspect_json(data_dir: &Path) -> (Option<i32>, Value) {
    let output = command("inspect", data_dir, &["--format", "json"]);
    let value = serde_json::from_slice(&output.stdout).expect("it prints JSON");
    (output.status.code(), value)
}

/// All files of the log, but its lock.
fn files(data_dir: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(data_dir.join(storage::DIRECTORY)).expect("it is there");
    let mut files: Vec<(String, Vec<u8>)> = entries
        .map(|entry| entry.expect("it can be read"))
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()))
        .map(|entry| {
            let name = entry.file_name().into_string().expect("names are text");
            (name, std::fs::read(entry.path()).expect("it can be read"))
        })
        .collect();
    files.sort();
    files
}

fn queue<'a>(inspection: &'a Value, name: &str) -> &'a Value {
    let queues = inspection["queues"].as_array().expect("a list");
    let found = queues.iter().find(|queue| queue["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {inspection}"))
}

#[test]
fn a_sound_log_is_shown_with_the_queues_names() {
    let data_dir = tempfile::tempdir().expect("a directory");
    let (orders, bills) = broker_was_here(data_dir.path());
    fill(data_dir.path(), orders, bills);
    let before = files(data_dir.path());
    let (code, inspection) = inspect_json(data_dir.path());
    assert_eq!(code, Some(0));
    assert_eq!(
        (&inspection["damaged"], &inspection["clean"]),
        (&false.into(), &true.into())
    );
    assert_eq!(inspection["catalog_error"], Value::Null);
    let shown = queue(&inspection, "orders");
    assert_eq!(
        (&shown["vhost"], &shown["number"]),
        (&"v".into(), &orders.0.into())
    );
    assert_eq!(
        (&shown["messages"], &shown["bytes"]),
        (&5.into(), &500.into())
    );
    let table = text(&command("inspect", data_dir.path(), &[]));
    assert!(
        table.contains("orders") && table.contains("Every checksum"),
        "{table}"
    );
    let repaired = command("repair", data_dir.path(), &[]);
    assert!(repaired.status.success());
    assert_eq!(text(&repaired), "nothing is damaged; nothing was changed\n");
    assert_eq!(files(data_dir.path()), before);

    std::fs::remove_file(data_dir.path().join(node::catalog::CATALOG_FILE)).expect("it is there");
    let output = command("inspect", data_dir.path(), &[]);
    assert!(output.status.success());
    assert!(text(&output).contains("names are not known"), "{output:?}");
}

#[test]
fn damage_is_named_and_repaired_once() {
    let data_dir = tempfile::tempdir().expect("a directory");
    let (orders, bills) = broker_was_here(data_dir.path());
    fill(data_dir.path(), orders, bills);
    let directory = data_dir.path().join(storage::DIRECTORY);
    let (name, mut bytes) = files(data_dir.path())
        .into_iter()
        .find(|(_, bytes)| bytes.windows(6).any(|window| window == b"needle"))
        .expect("the message is in a file");
    let at = bytes.windows(6).position(|window| window == b"needle");
    bytes[at.expect("it was just found")] ^= 1;
    std::fs::write(directory.join(&name), &bytes).expect("it can be written");

    let before = files(data_dir.path());
    let (code, inspection) = inspect_json(data_dir.path());
    assert_eq!(code, Some(3));
    let damage = &inspection["damages"][0];
    assert_eq!(damage["file"], *name);
    assert_eq!(damage["queues"][0]["name"], "orders");
    assert_eq!(queue(&inspection, "orders")["messages"], 4);
    assert_eq!(queue(&inspection, "bills")["messages"], 5);
    let output = command("inspect", data_dir.path(), &[]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        text(&output).contains("queue 'orders' in vhost 'v'"),
        "{output:?}"
    );
    assert_eq!(files(data_dir.path()), before, "looking changes nothing");

    let output = command("repair", data_dir.path(), &[]);
    assert!(output.status.success(), "{output:?}");
    let report = text(&output);
    assert!(report.contains("queue 'orders' in vhost 'v'"), "{report}");
    let entries = std::fs::read_dir(&directory).expect("it is there");
    let folders: Vec<_> = entries
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| path.is_dir())
        .collect();
    let [folder] = &folders[..] else {
        panic!("{folders:?}");
    };
    let kept = std::fs::read_to_string(folder.join(storage::REPORT_NAME));
    assert_eq!(kept.expect("the report is kept"), report);
    assert_eq!(
        std::fs::read(folder.join(&name)).expect("it is set aside"),
        bytes
    );

    let again = command("repair", data_dir.path(), &[]);
    assert_eq!(text(&again), "nothing is damaged; nothing was changed\n");
    let (code, inspection) = inspect_json(data_dir.path());
    assert_eq!(code, Some(0));
    assert_eq!(queue(&inspection, "orders")["messages"], 4);

    let disk = RealDisk::open(&directory).expect("nobody has it");
    let (log, recovery) = Log::open(Arc::new(disk), Options::default()).expect("it opens");
    assert!(!recovery.clean);
    let mut bodies = Vec::new();
    let limit = storage::ReadLimit {
        messages: usize::MAX,
        bytes: usize::MAX,
    };
    log.read(orders, LogPosition(0), limit, &mut |stored| {
        bodies.push(String::from_utf8_lossy(stored.payload).into_owned());
    })
    .expect("it is whole");
    let expected = [0, 1, 3, 4].map(|n| format!("message {n} of {}", orders.0));
    assert_eq!(bodies, expected);
}

#[test]
fn what_is_no_data_directory_is_said() {
    let data_dir = tempfile::tempdir().expect("a directory");
    for verb in ["inspect", "repair"] {
        let (code, text) = failure(&command(verb, data_dir.path(), &[]));
        assert!(code == 1 && text.contains("has no message log"), "{text}");
        let (code, text) = failure(&command(verb, &data_dir.path().join("no"), &[]));
        assert!(
            code == 1 && text.contains("cannot use data directory"),
            "{text}"
        );
    }
    assert_eq!(
        std::fs::read_dir(data_dir.path())
            .expect("it is there")
            .count(),
        0
    );
}
