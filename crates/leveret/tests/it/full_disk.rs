//! A disk that is full for real: a small file system of memory that the test mounts, where it is allowed to.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use probe::{Client, Event};

use crate::broker::{Broker, PATIENCE, call, expect};

const SIZE: &str = "size=320m";
const BODY_BYTES: usize = 1 << 20;

struct Mount<'a>(&'a Path);

impl<'a> Mount<'a> {
    fn new(path: &'a Path) -> Option<Self> {
        let mount = ["-t", "tmpfs", "-o", SIZE, "leveret-test"];
        let mounted = Command::new("mount").args(mount).arg(path).output();
        let mounted = mounted.is_ok_and(|output| output.status.success());
        mounted.then_some(Mount(path))
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

/// Publishes numbered messages, one at a time, until the broker says that it is blocked. Gives the confirmed ones.
fn publish_until_blocked(client: &mut Client) -> BTreeSet<u64> {
    let mut confirmed = BTreeSet::new();
    for number in 0.. {
        let mut body = number.to_string().into_bytes();
        body.resize(BODY_BYTES, b' ');
        let publish = r#"basic.publish routing_key="q" delivery_mode=2"#;
        client.send(1, publish, &body).expect("the socket is open");
        let said = client.wait_for(
            |event| {
                matches!(
                    event.name(),
                    "basic.ack" | "connection.blocked" | "basic.nack" | "eof"
                )
            },
            PATIENCE,
        );
        match said.as_ref().map(Event::name) {
            Some("basic.ack") => confirmed.insert(number),
            Some("connection.blocked") => break,
            _ => panic!("{number}: {said:?}"),
        };
    }
    confirmed
}

#[test]
fn a_full_disk_blocks_publishers_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let Some(_mount) = Mount::new(dir.path()) else {
        eprintln!("not run: mounting is not allowed here");
        return;
    };
    let broker = Broker::start(dir.path());
    let mut publisher = broker.client();
    publisher.open_channel(1);
    assert!(call(&mut publisher, r#"queue.declare queue="q" durable"#).contains("-ok"));
    call(&mut publisher, "confirm.select");
    let confirmed = publish_until_blocked(&mut publisher);
    assert!(!confirmed.is_empty());
    assert!(broker.ctl("status").contains("low on disk"));
    // Consumers go on; with the space comes the publisher's turn.
    let mut consumer = broker.client();
    consumer.open_channel(1);
    let mut got = BTreeSet::new();
    for _ in 0..confirmed.len() / 2 {
        let Some(Event::Content { method, body, .. }) = consumer.call(1, r#"basic.get queue="q""#)
        else {
            panic!("a message is there");
        };
        let text = String::from_utf8_lossy(&body);
        got.insert(text.trim().parse::<u64>().expect("a number"));
        let tag = method.number("delivery_tag");
        let ack = format!("basic.ack delivery_tag={tag}");
        consumer.send(1, &ack, b"").expect("the socket is open");
    }
    expect(&mut publisher, "connection.unblocked");
    expect(&mut publisher, "basic.ack");
    broker.kill();
    let broker = Broker::start(dir.path());
    let mut consumer = broker.client();
    consumer.open_channel(1);
    while let Some(Event::Content { body, .. }) = consumer.call(1, r#"basic.get queue="q" no_ack"#)
    {
        let text = String::from_utf8_lossy(&body);
        got.insert(text.trim().parse::<u64>().expect("a number"));
    }
    let lost: Vec<_> = confirmed.difference(&got).collect();
    assert!(lost.is_empty(), "{lost:?}");
}
