//! Users and permissions set with `leveret ctl` and met over AMQP, in RabbitMQ's words.

use std::net::UdpSocket;

use probe::{Client, Options};

use crate::broker::{Broker, call, expect, said};

/// Opens a channel, calls the method, and says how the channel ends.
fn refused(client: &mut Client, method: &str) -> String {
    client.open_channel(1);
    let answer = call(client, method);
    client.send(1, "channel.close-ok", b"").unwrap();
    answer
}

/// The same for a publish, which nothing answers but the close.
fn publish_refused(client: &mut Client, method: &str) -> String {
    client.open_channel(1);
    client.send(1, method, b"body").unwrap();
    let close = expect(client, "channel.close");
    client.send(1, "channel.close-ok", b"").unwrap();
    said(&close)
}

fn access(text: &str) -> String {
    format!("403 ACCESS_REFUSED - {text} refused for user 'ann'")
}

#[test]
fn configure_write_and_read_are_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    broker.ctl("add_user ann geheim");
    broker.ctl("set_permissions ann ^own ^(own|out) ^(own|in)");
    let mut owner = broker.client();
    owner.open_channel(1);
    call(&mut owner, r#"queue.declare queue="in" durable"#);
    call(&mut owner, r#"queue.declare queue="out" durable"#);
    let mut ann = broker.client_of("ann", "geheim", "/");
    assert_eq!(
        refused(&mut ann, r#"queue.declare queue="theirs""#),
        access("configure access to queue 'theirs' in vhost '/'")
    );
    assert_eq!(
        refused(&mut ann, r#"exchange.declare exchange="e" type="direct""#),
        access("configure access to exchange 'e' in vhost '/'")
    );
    assert_eq!(
        publish_refused(&mut ann, r#"basic.publish exchange="amq.direct""#),
        access("write access to exchange 'amq.direct' in vhost '/'")
    );
    assert_eq!(
        publish_refused(&mut ann, r#"basic.publish routing_key="in""#),
        access("write access to exchange 'amq.default' in vhost '/'")
    );
    assert_eq!(
        refused(&mut ann, r#"basic.consume queue="out""#),
        access("read access to queue 'out' in vhost '/'")
    );
    assert_eq!(
        refused(&mut ann, r#"basic.get queue="out""#),
        access("read access to queue 'out' in vhost '/'")
    );
    assert_eq!(
        refused(&mut ann, r#"queue.bind queue="out" exchange="amq.direct""#),
        access("read access to exchange 'amq.direct' in vhost '/'")
    );
    assert_eq!(
        refused(&mut ann, r#"queue.bind queue="in" exchange="amq.direct""#),
        access("write access to queue 'in' in vhost '/'")
    );
    ann.open_channel(1);
    let ok = call(&mut ann, r#"queue.declare queue="own" auto_delete"#);
    assert!(ok.starts_with("queue.declare-ok"), "{ok}");
    assert_eq!(call(&mut ann, r#"basic.get queue="in""#), "basic.get-empty");
    // What is taken away is missed at once, on the channel that is open.
    broker.ctl("set_permissions ann '' '' ''");
    assert_eq!(
        call(&mut ann, r#"basic.get queue="in""#),
        access("read access to queue 'in' in vhost '/'")
    );
}

#[test]
fn topic_permissions_are_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    broker.ctl("add_user ann geheim");
    broker.ctl("set_permissions ann .* .* .*");
    broker.ctl("set_topic_permissions ann amq.topic ^{username}\\. ^open\\.");
    let mut ann = broker.client_of("ann", "geheim", "/");
    ann.open_channel(1);
    call(&mut ann, r#"queue.declare queue="q" durable"#);
    let bind =
        |key: &str| format!(r#"queue.bind queue="q" exchange="amq.topic" routing_key="{key}""#);
    assert_eq!(call(&mut ann, &bind("open.#")), "queue.bind-ok");
    assert_eq!(
        call(&mut ann, &bind("ann.#")),
        access("read access to topic 'ann.#' in exchange 'amq.topic' in vhost '/'")
    );
    ann.send(1, "channel.close-ok", b"").unwrap();
    let publish = |key: &str| format!(r#"basic.publish exchange="amq.topic" routing_key="{key}""#);
    assert_eq!(
        publish_refused(&mut ann, &publish("bob.x")),
        access("write access to topic 'bob.x' in exchange 'amq.topic' in vhost '/'")
    );
    broker.ctl("clear_topic_permissions ann amq.topic");
    ann.open_channel(1);
    assert_eq!(call(&mut ann, &bind("ann.#")), "queue.bind-ok");
    ann.send(1, &publish("ann.x"), b"body").unwrap();
    let got = call(&mut ann, r#"basic.get queue="q""#);
    assert!(got.contains(r#"routing_key="ann.x""#), "{got}");
}

#[test]
fn logins_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start(dir.path());
    broker.ctl("add_user ann geheim");
    let login = "403 ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. \
                 For details see the broker logfile.";
    let wrong = broker.refusal("ann", "wrong", "/");
    let text = login.split_once(' ').unwrap().1;
    assert!(wrong.contains(text), "{wrong}");
    assert!(broker.refusal("nobody", "geheim", "/").contains(text));
    let no_vhost = broker.refusal("ann", "geheim", "nope");
    assert!(
        no_vhost.contains("NOT_ALLOWED - vhost nope not found"),
        "{no_vhost}"
    );
    let not_here = broker.refusal("ann", "geheim", "/");
    let text = "NOT_ALLOWED - access to vhost '/' refused for user 'ann'";
    assert!(not_here.contains(text), "{not_here}");
    broker.ctl("change_password ann neu");
    broker.ctl("set_permissions ann .* .* .*");
    broker.client_of("ann", "neu", "/");
    broker.ctl("clear_password ann");
    assert!(broker.refusal("ann", "neu", "/").contains("ACCESS_REFUSED"));
}

/// An address of this machine that is not the loopback interface's, if it has one.
fn outer_address() -> Option<std::net::IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Nothing is sent; the system only says from where it would be.
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback()).then_some(address)
}

#[test]
fn guest_may_only_come_from_this_machine() {
    let dir = tempfile::tempdir().unwrap();
    let broker = Broker::start_with(dir.path(), &["--amqp", "0.0.0.0:0"]);
    let port = broker.address.port();
    Client::open(("127.0.0.1", port), &Options::default()).unwrap();
    let Some(outer) = outer_address() else {
        eprintln!("not tried: this machine has no other address");
        return;
    };
    let refused = Client::open((outer, port), &Options::default())
        .err()
        .unwrap();
    assert!(refused.to_string().contains("ACCESS_REFUSED"), "{refused}");
    broker.ctl("add_user ann geheim");
    broker.ctl("set_permissions ann .* .* .*");
    let ann = Options {
        user: "ann".to_owned(),
        password: "geheim".to_owned(),
        ..Options::default()
    };
    Client::open((outer, port), &ann).unwrap();
}
