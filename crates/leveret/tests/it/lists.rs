//! Lists of what a client has declared and opened, with rabbitmqctl's columns.

use crate::broker::{Broker, call, expect};

#[test]
fn topology() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    let mut client = broker.client();
    client.open_channel(1);
    for method in [
        r#"exchange.declare exchange="e" type="headers" durable arguments={alternate-exchange: "amq.fanout"}"#,
        r#"queue.declare queue="q" durable arguments={x-max-length: 5, x-overflow: "reject-publish"}"#,
        r#"queue.declare queue="t" auto_delete exclusive"#,
        r#"queue.bind queue="q" exchange="e" routing_key="k" arguments={x-match: "any", a: 1}"#,
        r#"exchange.bind destination="e" source="amq.topic" routing_key="a.#""#,
    ] {
        let answer = call(&mut client, method);
        assert!(answer.contains("-ok"), "{method}: {answer}");
    }
    assert_eq!(
        broker.ctl("list_queues name durable auto_delete exclusive arguments type state"),
        "q\ttrue\tfalse\tfalse\t[{\"x-max-length\",5},{\"x-overflow\",\"reject-publish\"}]\tclassic\trunning\n\
         t\tfalse\ttrue\ttrue\t[]\tclassic\trunning\n"
    );
    let exchanges = broker.ctl("list_exchanges name type durable auto_delete internal arguments");
    let own = "e\theaders\ttrue\tfalse\tfalse\t[{\"alternate-exchange\",\"amq.fanout\"}]";
    let log = "amq.rabbitmq.trace\ttopic\ttrue\tfalse\ttrue\t[]";
    for line in [own, log, "\tdirect\ttrue\tfalse\tfalse\t[]"] {
        assert!(
            exchanges.lines().any(|l| l == line),
            "{line} in {exchanges}"
        );
    }
    assert_eq!(
        broker.ctl("list_bindings"),
        "\texchange\tq\tqueue\tq\t[]\n\
         \texchange\tt\tqueue\tt\t[]\n\
         amq.topic\texchange\te\texchange\ta.#\t[]\n\
         e\texchange\tq\tqueue\tk\t[{\"x-match\",\"any\"},{\"a\",1}]\n"
    );
    let json = broker.ctl("list_bindings --formatter json source_name arguments");
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    let arguments = serde_json::json!([["x-match", "longstr", "any"], ["a", "signedint", 1]]);
    assert_eq!(value[3]["arguments"], arguments);
}

#[test]
fn who_is_connected() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    let mut client = broker.client();
    client.open_channel(1);
    let connections = broker
        .ctl("list_connections user vhost state channels protocol auth_mechanism ssl timeout");
    assert_eq!(
        connections,
        "guest\t/\trunning\t1\t{0,9,1}\tPLAIN\tfalse\t0\n"
    );
    let name = broker.ctl("list_connections name peer_host peer_port host port");
    let cells: Vec<&str> = name.trim().split('\t').collect();
    let port = broker.address.port().to_string();
    assert_eq!(
        cells[0],
        format!("127.0.0.1:{} -> 127.0.0.1:{port}", cells[2])
    );
    assert_eq!(
        [cells[1], cells[3], cells[4]],
        ["127.0.0.1", "127.0.0.1", &port]
    );
    let properties = broker.ctl("list_connections client_properties");
    assert!(
        properties.contains("{\"product\",\"probe\"}"),
        "{properties}"
    );

    call(&mut client, "confirm.select");
    call(&mut client, "basic.qos prefetch_count=7");
    call(&mut client, r#"queue.declare queue="q" durable"#);
    call(
        &mut client,
        r#"basic.consume queue="q" consumer_tag="c" arguments={x-priority: 3}"#,
    );
    let pids = broker.ctl("list_connections pid");
    let pid = pids.trim().trim_end_matches('>');
    let columns =
        "list_channels pid number user vhost confirm transactional consumer_count prefetch_count";
    let channel = format!("{pid}.1>\t1\tguest\t/\ttrue\tfalse\t1\t7\n");
    assert_eq!(broker.ctl(columns), channel);
    assert_eq!(
        broker.ctl("list_consumers"),
        format!("q\t{pid}.1>\tc\ttrue\t7\ttrue\t[{{\"x-priority\",3}}]\n")
    );
    client
        .send(1, r#"basic.publish routing_key="q""#, b"body")
        .unwrap();
    expect(&mut client, "basic.deliver");
    let counts = "list_queues name messages_ready messages_unacknowledged consumers message_bytes";
    assert_eq!(broker.ctl(counts), "q\t0\t1\t1\t4\n");
    assert_eq!(broker.ctl("list_channels messages_unacknowledged"), "1\n");
    // Work on another channel does not hide what was done on the first.
    client.open_channel(2);
    client.send(1, "basic.ack delivery_tag=1", b"").unwrap();
    client.call(2, "basic.qos prefetch_count=5").unwrap();
    let counts_of_channels = "list_channels number messages_unacknowledged prefetch_count";
    assert_eq!(broker.ctl(counts_of_channels), "1\t0\t7\n2\t0\t5\n");
    call(&mut client, r#"basic.cancel consumer_tag="c""#);
    assert_eq!(broker.ctl(counts), "q\t0\t0\t0\t0\n");
    assert_eq!(broker.ctl("list_consumers"), "");
}
