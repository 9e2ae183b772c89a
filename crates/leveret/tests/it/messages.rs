//! What becomes of messages when the broker stops, or is killed, and starts again.

use probe::{Client, Event};

use crate::broker::{Broker, call};

const QUEUES: &[&str] = &[
    r#"queue.declare queue="plain" durable"#,
    r#"queue.declare queue="prio" durable arguments={x-max-priority: 5}"#,
    r#"queue.declare queue="quorum" durable arguments={x-queue-type: "quorum"}"#,
    r#"queue.declare queue="dead" durable"#,
    r#"queue.declare queue="work" durable arguments={x-dead-letter-exchange: "", x-dead-letter-routing-key: "dead"}"#,
    r#"queue.declare queue="short" durable arguments={x-message-ttl: 300, x-dead-letter-exchange: "", x-dead-letter-routing-key: "dead"}"#,
    r#"queue.declare queue="gone""#,
    "confirm.select",
];

/// Publishes and waits for the confirm.
fn publish(client: &mut Client, queue: &str, body: &str, properties: &str) {
    let text = format!(r#"basic.publish routing_key="{queue}" {properties}"#);
    client.send(1, &text, body.as_bytes()).expect("it is open");
    let confirmed = client.wait_for(|event| event.name() == "basic.ack", crate::broker::PATIENCE);
    assert!(confirmed.is_some(), "{text} is not confirmed");
}

/// Gets a message: body, whether it is redelivered, and the headers that tell of its past.
fn get(client: &mut Client, queue: &str, no_ack: bool) -> String {
    let no_ack = if no_ack { "no_ack" } else { "" };
    let got = client.call(1, &format!(r#"basic.get queue="{queue}" {no_ack}"#));
    match got {
        Some(Event::Content {
            method,
            properties,
            body,
            ..
        }) => {
            let again = if method.bit("redelivered") { "!" } else { "" };
            let header = |name: &str| properties.header(name).map(|value| format!(" {value}"));
            format!(
                "{}{again}{}",
                String::from_utf8_lossy(&body),
                header("x-delivery-count").unwrap_or_default()
            )
        }
        Some(event) => event.name().to_owned(),
        None => "nothing".to_owned(),
    }
}

fn fill(broker: &Broker) {
    let mut client = broker.client();
    client.open_channel(1);
    for line in QUEUES {
        let answer = call(&mut client, line);
        assert!(answer.contains("-ok"), "{line}: {answer}");
    }
    for (body, mode) in [("a", 2), ("transient", 1), ("b", 2), ("c", 2)] {
        publish(&mut client, "plain", body, &format!("delivery_mode={mode}"));
    }
    for (body, priority) in [("low", 1), ("high", 5), ("low2", 1)] {
        let properties = format!("delivery_mode=2 priority={priority}");
        publish(&mut client, "prio", body, &properties);
        publish(&mut client, "quorum", body, &properties);
    }
    publish(&mut client, "work", "rejected", "delivery_mode=2");
    publish(&mut client, "work", "kept", "delivery_mode=2");
    publish(&mut client, "short", "expires", "delivery_mode=2");
    publish(&mut client, "gone", "goes", "delivery_mode=2");
    // Delivered and not acked; acked; rejected; returned with a count.
    assert_eq!(get(&mut client, "plain", false), "a");
    assert_eq!(get(&mut client, "work", false), "rejected");
    client
        .send(1, "basic.reject delivery_tag=2", b"")
        .expect("it is open");
    assert_eq!(get(&mut client, "quorum", false), "high");
    client
        .send(1, "basic.reject delivery_tag=3 requeue", b"")
        .expect("it is open");
    assert_eq!(call(&mut client, "basic.qos"), "basic.qos-ok");
    // Confirmed behind all of it: the log has one order.
    publish(&mut client, "plain", "d", "delivery_mode=2");
}

fn check(broker: &Broker, clean: bool) {
    let mut client = broker.client();
    client.open_channel(1);
    let again = |body: &str| match clean {
        true => body.to_owned(),
        false => format!("{body}!"),
    };
    let mut expect = |queue: &str, bodies: &[String]| {
        let got: Vec<String> = bodies
            .iter()
            .map(|_| get(&mut client, queue, true))
            .collect();
        assert_eq!(got, bodies, "{queue}, clean: {clean}");
        assert_eq!(get(&mut client, queue, true), "basic.get-empty", "{queue}");
    };
    expect(
        "plain",
        &["a!".to_owned(), again("b"), again("c"), again("d")],
    );
    expect("prio", &[again("high"), again("low"), again("low2")]);
    expect(
        "quorum",
        &["high! l:1".to_owned(), again("low"), again("low2")],
    );
    expect("work", &[again("kept")]);
    let listed = broker.ctl("list_queues name");
    assert!(!listed.contains("gone"), "{listed}");
    // Its time went on while the broker was down, and after.
    let mut dead = Vec::new();
    while dead.len() < 2 {
        let got = client.call(1, r#"basic.get queue="dead" no_ack"#);
        if let Some(Event::Content {
            body, properties, ..
        }) = got
        {
            let died = properties.header("x-death").map(|value| value.to_string());
            let died = died.expect("the broker's own header");
            let body = String::from_utf8_lossy(&body).into_owned();
            for word in ["reason", "count", "queue"] {
                assert!(died.contains(word), "{died}");
            }
            dead.push(body);
        }
    }
    assert_eq!(dead, ["rejected", "expires"]);
}

#[test]
fn messages_survive_a_stop() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    fill(&broker);
    broker.stop();
    check(&Broker::start(dir.path()), true);
}

#[test]
fn messages_survive_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    fill(&broker);
    broker.kill();
    check(&Broker::start(dir.path()), false);
}

#[test]
fn what_may_have_been_delivered_before_a_kill_says_so_after_a_stop_too() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    fill(&broker);
    broker.kill();
    Broker::start(dir.path()).stop();
    check(&Broker::start(dir.path()), false);
}
