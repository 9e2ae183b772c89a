//! The memory alarm: publishers are held up and told why, consumers go on, nothing is lost.

use std::time::Instant;

use crate::broker::{Broker, PATIENCE, call, expect, said};

/// Less than any process holds.
const ALARM: &str = "set_vm_memory_high_watermark absolute 1";
/// More than this one will.
const NO_ALARM: &str = "set_vm_memory_high_watermark 1.0";

#[test]
fn publishers_are_blocked_and_consumers_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    let mut publisher = broker.client();
    publisher.open_channel(1);
    call(&mut publisher, r#"queue.declare queue="q" durable"#);
    call(&mut publisher, "confirm.select");
    for body in [b"one", b"two"] {
        publisher
            .send(1, r#"basic.publish routing_key="q""#, body)
            .unwrap();
        expect(&mut publisher, "basic.ack");
    }
    broker.ctl(ALARM);
    assert!(broker.ctl("status").contains("Alarms\n\nlow on memory\n"));
    assert_eq!(broker.ctl("list_connections state"), "blocking\n");
    publisher
        .send(1, r#"basic.publish routing_key="q""#, b"three")
        .unwrap();
    let blocked = expect(&mut publisher, "connection.blocked");
    assert_eq!(
        said(&blocked),
        r#"connection.blocked reason="low on memory""#
    );
    assert_eq!(broker.ctl("list_connections state"), "blocked\n");

    // A consumer that comes now is served and may leave.
    let mut consumer = broker.client();
    consumer.open_channel(1);
    call(&mut consumer, r#"basic.qos prefetch_count=1"#);
    call(&mut consumer, r#"basic.consume queue="q" consumer_tag="c""#);
    for (tag, body) in [(1, "one"), (2, "two")] {
        let delivery = expect(&mut consumer, "basic.deliver");
        assert!(delivery.to_string().contains(body), "{delivery}");
        let ack = format!("basic.ack delivery_tag={tag}");
        consumer.send(1, &ack, b"").unwrap();
    }
    call(&mut consumer, r#"basic.cancel consumer_tag="c""#);
    assert_eq!(broker.ctl("list_queues"), "q\t0\n");
    let closed = consumer.call(0, "connection.close").unwrap();
    assert_eq!(said(&closed), "connection.close-ok");

    broker.ctl(NO_ALARM);
    expect(&mut publisher, "connection.unblocked");
    expect(&mut publisher, "basic.ack");
    let got = publisher.call(1, r#"basic.get queue="q" no_ack"#).unwrap();
    assert!(got.to_string().contains("three"), "{got}");
    assert!(broker.ctl("status").contains("Alarms\n\n(none)\n"));
}

#[test]
fn a_blocked_publisher_that_leaves_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    let mut publisher = broker.client();
    publisher.open_channel(1);
    call(&mut publisher, r#"queue.declare queue="q" durable"#);
    broker.ctl(ALARM);
    publisher
        .send(1, r#"basic.publish routing_key="q""#, b"body")
        .unwrap();
    expect(&mut publisher, "connection.blocked");
    publisher
        .send(0, "connection.close reply_code=200", b"")
        .unwrap();
    expect(&mut publisher, "connection.close-ok");
    assert_eq!(broker.ctl("list_queues"), "q\t1\n");
}

#[test]
fn a_client_that_does_not_publish_hears_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    let mut client = broker.client();
    broker.ctl(ALARM);
    client.open_channel(1);
    call(&mut client, r#"queue.declare queue="q" durable"#);
    broker.ctl(NO_ALARM);
    let closed = client.call(0, "connection.close").unwrap();
    assert_eq!(said(&closed), "connection.close-ok");
    let heard: Vec<String> = client.drain().iter().map(said).collect();
    assert!(
        heard.iter().all(|event| !event.contains("blocked")),
        "{heard:?}"
    );
}

/// What was freed belongs to the thread that made it, which has nothing to do while its publisher is held up.
#[test]
fn an_alarm_ends_when_the_messages_are_gone() {
    /// Of messages, until the alarm.
    const ROOM_BYTES: u64 = 32 << 20;
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    let mut publisher = broker.client();
    publisher.open_channel(1);
    call(&mut publisher, r#"queue.declare queue="q" durable"#);
    let limit_bytes = broker.resident_bytes() + ROOM_BYTES;
    broker.ctl(&format!(
        "set_vm_memory_high_watermark absolute {limit_bytes}"
    ));
    let publish = publisher.encode(1, r#"basic.publish routing_key="q""#, &[b'x'; 1024]);
    let batch = publish.as_ref().unwrap().repeat(1000);
    // The answer to a question behind it says that a batch is in the queue.
    while broker.resident_bytes() < limit_bytes {
        publisher.send_bytes(&batch).unwrap();
        call(&mut publisher, "basic.qos");
    }
    // The alarm is set soon; it is told to who publishes then.
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "no alarm is set");
        publisher.send_bytes(publish.as_ref().unwrap()).unwrap();
        publisher.send(1, "basic.qos", b"").unwrap();
        let said = publisher.wait_for(|_| true, PATIENCE);
        if said.expect("an answer").name() == "connection.blocked" {
            break;
        }
    }
    let mut other = broker.client();
    other.open_channel(1);
    call(&mut other, r#"queue.purge queue="q""#);
    expect(&mut publisher, "connection.unblocked");
}

#[test]
fn a_stop_does_not_wait_for_the_alarm() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    let mut publisher = broker.client();
    publisher.open_channel(1);
    broker.ctl(ALARM);
    publisher
        .send(1, r#"basic.publish routing_key="q""#, b"body")
        .unwrap();
    expect(&mut publisher, "connection.blocked");
    broker.signal("TERM");
    let close = expect(&mut publisher, "connection.close");
    assert!(said(&close).contains("CONNECTION_FORCED"));
    publisher.send(0, "connection.close-ok", b"").unwrap();
    assert!(broker.wait().success());
}
