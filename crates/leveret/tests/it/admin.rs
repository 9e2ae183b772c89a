//! `leveret ctl` on a running broker: each family of verbs there and back.

use crate::broker::{Broker, call, expect, farewell, run};

#[test]
fn users() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    assert_eq!(broker.ctl("list_users"), "guest\t[administrator]\n");
    let output = broker.ctl_output("add_user ann geheim");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.starts_with("Adding user \"ann\" ...\nDone. Don't forget"),
        "{text}"
    );
    let exists = (70, "Error:\nUser \"ann\" already exists".to_owned());
    assert_eq!(broker.ctl_failure("add_user ann x"), exists);
    broker.ctl("set_user_tags ann monitoring other");
    let all = "ann\t[monitoring, other]\nguest\t[administrator]\n";
    assert_eq!(broker.ctl("list_users"), all);
    assert_eq!(broker.ctl("authenticate_user ann geheim"), "Success\n");
    let (code, text) = broker.ctl_failure("authenticate_user ann falsch");
    assert_eq!(code, 65);
    assert!(text.ends_with("user 'ann' - invalid credentials"), "{text}");
    let hash = broker.ctl("hash_password neu");
    broker.ctl("delete_user ann");
    broker.ctl(&format!("add_user ann --pre-hashed-password -- {hash}"));
    assert_eq!(broker.ctl("authenticate_user ann neu"), "Success\n");
    broker.ctl("delete_user ann");
    let gone = (67, "Error:\nUser \"ann\" does not exist".to_owned());
    assert_eq!(broker.ctl_failure("delete_user ann"), gone);
}

#[test]
fn permissions() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    broker.ctl("add_user ann geheim");
    broker.ctl("add_vhost v");
    broker.ctl("set_permissions -p v ann ^a '' .*");
    assert_eq!(broker.ctl("list_permissions -p v"), "ann\t^a\t\t.*\n");
    assert_eq!(broker.ctl("list_user_permissions ann"), "v\t^a\t\t.*\n");
    broker.ctl("set_topic_permissions -p v ann amq.topic ^w ^r");
    let topics = "ann\tamq.topic\t^w\t^r\n";
    assert_eq!(broker.ctl("list_topic_permissions -p v"), topics);
    let topics = "v\tamq.topic\t^w\t^r\n";
    assert_eq!(broker.ctl("list_user_topic_permissions ann"), topics);
    let (code, text) = broker.ctl_failure("set_permissions ann ( .* .*");
    assert_eq!(code, 69);
    assert!(text.contains("("), "{text}");
    broker.ctl("clear_permissions -p v ann");
    broker.ctl("clear_topic_permissions -p v ann");
    assert_eq!(broker.ctl("list_permissions -p v"), "");
    assert_eq!(broker.ctl("list_user_topic_permissions ann"), "");
    let missing = (65, "Virtual host 'w' does not exist".to_owned());
    assert_eq!(broker.ctl_failure("list_permissions -p w"), missing);
}

#[test]
fn deleting_a_user_ends_their_connections() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    broker.ctl("add_user ann geheim");
    broker.ctl("set_permissions ann .* .* .*");
    let mut ann = broker.client_of("ann", "geheim", "/");
    let mut other = broker.client();
    broker.ctl("delete_user ann");
    let text = "320 CONNECTION_FORCED - user 'ann' is deleted";
    assert_eq!(farewell(&mut ann), text);
    other.open_channel(1);
    // A new one of that name has nothing of the old.
    broker.ctl("add_user ann geheim");
    assert!(broker.refusal("ann", "geheim", "/").contains("NOT_ALLOWED"));
}

#[test]
fn vhosts() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    broker.ctl("add_vhost v --description text --tags a,b --default-queue-type quorum");
    let columns = "list_vhosts name description tags default_queue_type";
    let all = "/\tDefault virtual host\t[]\t\nv\ttext\t[a, b]\tquorum\n";
    // A broker without a type of its own shows none.
    assert_eq!(broker.ctl(columns), all);
    broker.ctl("set_permissions -p v guest .* .* .*");
    let mut client = broker.client_of("guest", "guest", "v");
    client.open_channel(1);
    call(&mut client, r#"queue.declare queue="q" durable"#);
    call(&mut client, r#"queue.declare queue="t" exclusive"#);
    let types = "q\tquorum\nt\tclassic\n";
    assert_eq!(broker.ctl("list_queues -p v name type"), types);
    broker.ctl("delete_vhost v");
    let text = "320 CONNECTION_FORCED - vhost 'v' is down";
    assert_eq!(farewell(&mut client), text);
    assert_eq!(broker.ctl("list_vhosts"), "/\n");
    let gone = (65, "Virtual host 'v' does not exist".to_owned());
    assert_eq!(broker.ctl_failure("delete_vhost v"), gone);
    // Nothing of the old one is in the next of its name.
    broker.ctl("add_vhost v");
    assert_eq!(broker.ctl("list_queues -p v"), "");
    assert_eq!(broker.ctl("list_permissions -p v"), "");
}

#[test]
fn queues() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    let mut client = broker.client();
    client.open_channel(1);
    call(&mut client, r#"queue.declare queue="q" durable"#);
    call(&mut client, "confirm.select");
    for _ in 0..3 {
        client
            .send(1, r#"basic.publish routing_key="q""#, b"body")
            .unwrap();
        expect(&mut client, "basic.ack");
    }
    assert_eq!(broker.ctl("list_queues"), "q\t3\n");
    let text = (64, "Error:\nThe queue is not empty".to_owned());
    assert_eq!(broker.ctl_failure("delete_queue q --if-empty"), text);
    broker.ctl("purge_queue q");
    assert_eq!(broker.ctl("list_queues"), "q\t0\n");
    call(&mut client, r#"basic.consume queue="q" consumer_tag="c""#);
    let text = (64, "Error:\nThe queue is in use".to_owned());
    assert_eq!(broker.ctl_failure("delete_queue q --if-unused"), text);
    let deleted = "Queue was successfully deleted with 0 ready messages\n";
    assert_eq!(broker.ctl("delete_queue q"), deleted);
    expect(&mut client, "basic.cancel");
    let none = (64, "Error:\nNo such queue was found".to_owned());
    assert_eq!(broker.ctl_failure("delete_queue q"), none);
    call(&mut client, r#"queue.declare queue="own" exclusive"#);
    let locked = "Error:\nThe queue is locked or protected from deletion".to_owned();
    assert_eq!(broker.ctl_failure("delete_queue own"), (64, locked));
    assert_eq!(broker.ctl("delete_queue own --force"), deleted);
}

#[test]
fn connections_are_closed_one_by_one_or_all() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    let mut first = broker.client();
    let pid = broker.ctl("list_connections pid").trim().to_owned();
    let mut second = broker.client();
    broker.ctl(&format!("close_connection {pid} bye"));
    assert_eq!(farewell(&mut first), "320 CONNECTION_FORCED - bye");
    second.open_channel(1);
    let unknown = (69, "Error:\nConnection <99> was not found".to_owned());
    assert_eq!(broker.ctl_failure("close_connection <99> bye"), unknown);
    let mut third = broker.client();
    broker.ctl("add_vhost v");
    let closed = broker.ctl("close_all_connections -p v bye");
    assert_eq!(closed, "Closed 0 connections\n");
    let closed = broker.ctl("close_all_connections --limit 1 bye");
    assert_eq!(closed, "Closed 1 connections\n");
    assert_eq!(farewell(&mut second), "320 CONNECTION_FORCED - bye");
    let long = "x".repeat(300);
    broker.ctl(&format!("close_all_connections --global {long}"));
    let text = farewell(&mut third);
    assert!(text.starts_with("320 CONNECTION_FORCED - xxx"), "{text}");
    assert!(text.ends_with("xxx..."), "{text}");
}

#[test]
fn the_broker_itself() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    let client = broker.client();
    assert_eq!(broker.ctl("ping"), "Ping succeeded\n");
    let version = format!("{}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(broker.ctl("version"), version);
    let status = broker.ctl("status");
    let listener = format!(
        "Interface: 127.0.0.1, port: {}, protocol: amqp, purpose: AMQP 0-9-1",
        broker.address.port()
    );
    for line in ["Connection count: 1", "Virtual host count: 1", &listener] {
        assert!(status.lines().any(|l| l == line), "{line} in {status}");
    }
    let help = broker.ctl("help");
    for verb in [
        "add_user <username>",
        "list_queues ",
        "set_vm_memory_high_watermark",
    ] {
        assert!(help.contains(verb), "{verb} in {help}");
    }
    let path = dir.path().to_str().unwrap().to_owned();
    drop(client);
    broker.stop();
    let output = run(&["ctl", "--data-dir", &path, "ping"]);
    assert_eq!(output.status.code(), Some(69));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("The broker is not running"), "{text}");
}

#[test]
fn the_node_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    let environment = broker.ctl("environment");
    assert!(
        environment.contains("heartbeat\t60\tdefault\n"),
        "{environment}"
    );
    // The limit is above what any disk has: publishers are blocked until it is lower.
    let limits = || {
        let status = broker.ctl("status --formatter json");
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        (status["disk_limit_bytes"].clone(), status["alarms"].clone())
    };
    broker.ctl("set_disk_free_limit 1000000GB");
    assert_eq!(limits().0, 1_000_000_000_000_000_u64);
    assert!(limits().1.as_str().unwrap().contains("disk"));
    broker.ctl("set_disk_free_limit 0");
    assert_eq!(limits(), (0.into(), serde_json::Value::Null));
    let flags = broker.ctl("list_feature_flags");
    assert!(flags.contains("quorum_queue\tenabled\n"), "{flags}");
    broker.ctl("authenticate_user guest guest");
    assert_eq!(broker.ctl("reset_node_auth_attempt_metrics"), "");
    let report = broker.ctl("report");
    for part in ["OS PID", "Cluster name", "heartbeat", "amq.direct"] {
        assert!(report.contains(part), "{part} in {report}");
    }
}

#[test]
fn a_broker_is_shut_down() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    let gone = broker.ctl("shutdown");
    assert!(gone.ends_with(" has stopped\n"), "{gone}");
    assert!(broker.wait().success());
    let path = dir.path().to_str().unwrap();
    assert_eq!(
        run(&["ctl", "--data-dir", path, "ping"]).status.code(),
        Some(69)
    );
}
