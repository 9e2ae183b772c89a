//! What a restart keeps and what it drops; what a client was told of is there even after a kill.

use crate::broker::{Broker, call};

/// Everything that a restart must keep, as lists.
fn everything(broker: &Broker) -> String {
    let mut all = String::new();
    for list in [
        "list_vhosts name description tags default_queue_type",
        "list_users",
        "list_permissions",
        "list_permissions -p v",
        "list_topic_permissions",
        "list_exchanges -p v name type durable auto_delete internal arguments",
        "list_queues -p v name durable auto_delete exclusive arguments",
        "list_bindings -p v",
        "list_queues",
    ] {
        all += &format!("{list}\n{}", broker.ctl(list));
    }
    all
}

fn told(broker: &Broker) {
    for line in [
        "add_vhost v --description text --tags a,b",
        "add_user ann geheim",
        "set_user_tags ann monitoring",
        "set_permissions -p v ann ^a '' .*",
        "set_permissions -p v guest .* .* .*",
        "set_topic_permissions ann amq.topic ^w ^r",
        "add_user bob x",
        "delete_user bob",
        "add_vhost w",
        "delete_vhost w",
    ] {
        broker.ctl(line);
    }
}

/// Declarations in the vhost `v` that survive.
const DURABLE: &[&str] = &[
    r#"exchange.declare exchange="x.direct" type="direct" durable arguments={alternate-exchange: "amq.fanout"}"#,
    r#"exchange.declare exchange="x.auto" type="topic" durable auto_delete"#,
    r#"exchange.declare exchange="x.internal" type="fanout" durable internal"#,
    r#"queue.declare queue="plain" durable"#,
    r#"queue.declare queue="auto" durable auto_delete"#,
    r#"queue.declare queue="args" durable arguments={x-max-length: 5, x-message-ttl: 60000, x-dead-letter-exchange: "x.direct"}"#,
    r#"queue.declare queue="quorum" durable arguments={x-queue-type: "quorum"}"#,
    r#"queue.bind queue="plain" exchange="x.direct" routing_key="k""#,
    r#"queue.bind queue="plain" exchange="x.auto" routing_key="a.*""#,
    r#"queue.bind queue="args" exchange="amq.headers" arguments={x-match: "all", n: 1, t: {deep: [1, "two", true]}}"#,
    r#"queue.bind queue="args" exchange="amq.headers" arguments={x-match: "any", n: 1}"#,
    r#"exchange.bind destination="x.internal" source="x.direct" routing_key="e2e""#,
];

/// Declarations that do not.
const TRANSIENT: &[&str] = &[
    r#"exchange.declare exchange="x.transient" type="direct""#,
    r#"queue.declare queue="transient""#,
    r#"queue.bind queue="transient" exchange="x.direct" routing_key="k""#,
    r#"queue.declare queue="mine" durable exclusive"#,
    r#"queue.declare queue="gone" exclusive auto_delete"#,
    r#"queue.bind queue="plain" exchange="x.transient" routing_key="k""#,
    r#"queue.bind queue="mine" exchange="x.direct" routing_key="k""#,
    r#"exchange.bind destination="x.transient" source="x.direct" routing_key="k""#,
];

#[test]
fn a_restart_keeps_what_is_durable_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    told(&broker);
    let mut client = broker.client_of("guest", "guest", "v");
    client.open_channel(1);
    for method in DURABLE {
        let answer = call(&mut client, method);
        assert!(answer.contains("-ok"), "{method}: {answer}");
    }
    let kept = everything(&broker);
    for method in TRANSIENT {
        let answer = call(&mut client, method);
        assert!(answer.contains("-ok"), "{method}: {answer}");
    }
    assert_ne!(everything(&broker), kept);
    drop(client);
    broker.stop();
    for stop in [Broker::kill, Broker::stop] {
        let broker = Broker::start(dir.path());
        assert_eq!(everything(&broker), kept);
        assert_eq!(broker.ctl("authenticate_user ann geheim"), "Success\n");
        stop(broker);
    }
}

#[test]
fn what_was_declared_before_the_restart_works_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    told(&broker);
    let mut client = broker.client_of("guest", "guest", "v");
    client.open_channel(1);
    for method in DURABLE {
        call(&mut client, method);
    }
    broker.kill();
    let broker = Broker::start(dir.path());
    let mut client = broker.client_of("guest", "guest", "v");
    client.open_channel(1);
    // Declared again, each is equal to what is there.
    for method in DURABLE {
        let answer = call(&mut client, method);
        assert!(answer.contains("-ok"), "{method}: {answer}");
    }
    let publish = r#"basic.publish exchange="x.direct" routing_key="k""#;
    client.send(1, publish, b"body").unwrap();
    let got = call(&mut client, r#"basic.get queue="plain" no_ack"#);
    assert!(got.starts_with("basic.get-ok"), "{got}");
    let publish = r#"basic.publish exchange="amq.headers" headers={n: 1}"#;
    client.send(1, publish, b"body").unwrap();
    let got = call(&mut client, r#"basic.get queue="args" no_ack"#);
    assert!(got.starts_with("basic.get-ok"), "{got}");
    // And what goes stays gone.
    for method in [
        r#"queue.delete queue="plain""#,
        r#"exchange.delete exchange="x.direct""#,
        r#"queue.unbind queue="args" exchange="amq.headers" arguments={x-match: "any", n: 1}"#,
    ] {
        let answer = call(&mut client, method);
        assert!(answer.contains("-ok"), "{method}: {answer}");
    }
    let kept = everything(&broker);
    broker.kill();
    let broker = Broker::start(dir.path());
    assert_eq!(everything(&broker), kept);
}

#[test]
fn a_kill_right_after_an_answer_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..5 {
        let broker = Broker::start(dir.path());
        let mut client = broker.client();
        client.open_channel(1);
        let queue = format!(r#"queue.declare queue="q{round}" durable"#);
        let answer = call(&mut client, &queue);
        assert!(answer.contains("-ok"), "{answer}");
        broker.kill();
        let broker = Broker::start(dir.path());
        let expected: String = (0..=round).map(|n| format!("q{n}\n")).collect();
        assert_eq!(broker.ctl("list_queues name"), expected);
        broker.ctl(&format!("add_user u{round} x"));
        broker.kill();
        let broker = Broker::start(dir.path());
        assert_eq!(broker.ctl("list_users").lines().count(), round + 2);
        broker.kill();
    }
}
