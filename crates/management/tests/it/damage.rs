//! What the health checks say of a message log that is damaged, or has failed.

use std::sync::Arc;

use broker::message::LogPosition;
use broker::router::QueueId;
use node::message_log::MessageLog;
use node::node::Node;
use node::settings::Settings;
use storage::disk::sim::{Fault, SimDisk};
use storage::{Append, Log, Options, OwnerEntry, OwnerId, ReadLimit};

use crate::api::{NOW_MS, TestApi};

fn options() -> Options {
    Options {
        log_file_bytes: 4096,
        ..Options::default()
    }
}

fn push(log: &Log, byte: u8) {
    let append = Append {
        owners: &[OwnerEntry::plain(OwnerId(7))],
        transient: false,
        weight: 1,
        payload: &[&[byte; 600]],
    };
    log.batch().push(&append).expect("there is room");
    log.write_step();
}

/// A log that was closed, with messages of queue 7 in segments.
fn disk_with_segments() -> SimDisk {
    let disk = SimDisk::new(1);
    let (log, _) = Log::open(Arc::new(disk.clone()), options()).expect("it is empty");
    for byte in 1..=20 {
        push(&log, byte);
        log.keep_step(false).expect("the disk works");
    }
    assert!(log.usage().segments > 0);
    log.close().expect("the disk works");
    disk
}

fn api_on(disk: &SimDisk) -> (TestApi, Arc<MessageLog>) {
    let opened = MessageLog::on_disk(Arc::new(disk.clone()), options(), 0);
    let (log, _) = opened.expect("an open reads no messages in segments");
    let node = Node::with_log(Settings::default(), Arc::clone(&log), NOW_MS);
    (TestApi::over(node), log)
}

const CHECK: &str = "health/checks/virtual-hosts";
const READY: &str = "health/checks/ready-to-serve-clients";

#[tokio::test]
async fn a_damaged_segment_is_told_by_the_check_of_vhosts() {
    let disk = disk_with_segments();
    let mut names = disk.list_names().into_iter();
    let name = names.find(|name| name.starts_with("segment-"));
    let name = name.expect("there is one");
    let mut bytes = disk.contents(&name).expect("it is there");
    bytes[200] ^= 1;
    disk.put(&name, &bytes);
    let (api, log) = api_on(&disk);
    api.play(&[("GET", CHECK, "", 200, r#"{"status":"ok"}"#)])
        .await;
    let limit = ReadLimit {
        messages: 100,
        bytes: 100_000,
    };
    let read = log.read(QueueId(7), LogPosition(1), limit, &mut |_| {});
    assert!(read.is_err(), "the first message is damaged");
    let damages = log.damages();
    let reason = format!("{name} at byte 64: a message is damaged (owners 7)");
    assert_eq!(damages.len(), 1);
    assert_eq!(damages[0].to_string(), reason);
    let told = format!(r#"{{"reason":"{reason}","status":"failed"}}"#);
    api.play(&[
        ("GET", CHECK, "", 503, &told),
        ("GET", READY, "", 200, r#"{"status":"ok"}"#),
    ])
    .await;
}

#[tokio::test]
async fn a_log_that_has_failed_is_told() {
    let disk = disk_with_segments();
    let (api, log) = api_on(&disk);
    disk.plan(disk.operations(), Fault::Io);
    log.forget_unknown(|_| false);
    log.step();
    let why = log.failure().expect("an error closes it");
    for check in [CHECK, READY] {
        let reply = api.call("GET", check, "").await;
        assert_eq!(reply.status, 503);
        assert_eq!(reply.json()["reason"], *why);
    }
}
