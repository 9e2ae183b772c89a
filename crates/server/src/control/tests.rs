//! The control socket without a process around it: who may do what to it, and what comes back.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use node::settings::Settings;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::protocol::{CONTROL_SOCKET, REQUEST_BYTES_MAX, Response};
use super::{Broker, Listener, connect};
use crate::clock::Clock;

fn broker(data_dir: &Path) -> std::sync::Arc<Broker> {
    let clock = Clock::start();
    std::sync::Arc::new(Broker {
        node: node::node::Node::in_memory(Settings::default(), clock.now_ms()),
        clock,
        data_dir: data_dir.to_owned(),
        listening: vec![management::Listening {
            protocol: "amqp",
            address: "127.0.0.1:5672".parse().unwrap(),
            tls: false,
        }],
        environment: crate::control::Environment::default(),
        stop: tokio::sync::Notify::new(),
        changing: Default::default(),
    })
}

/// Sends bytes, ends the sending side, and returns all that is said.
async fn send(data_dir: &Path, bytes: &[u8]) -> String {
    let stream = connect(data_dir).unwrap();
    stream.set_nonblocking(true).unwrap();
    let mut stream = UnixStream::from_std(stream).unwrap();
    // A broker that has heard enough may hang up before it has read all.
    let _ = stream.write_all(bytes).await;
    let _ = stream.shutdown().await;
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text).await;
    text
}

/// Serves a socket in a new directory while `talk` talks to it.
async fn serve_while(talk: impl AsyncFnOnce(&Path)) {
    let dir = tempfile::tempdir().unwrap();
    let listener = Listener::bind(dir.path()).unwrap();
    let broker = broker(dir.path());
    tokio::select! {
        () = listener.serve(&broker) => unreachable!("it serves for good"),
        () = talk(dir.path()) => {}
    }
}

#[tokio::test]
async fn requests_are_answered_one_a_line() {
    serve_while(async |dir| {
        let ping = b"{\"verb\":\"ping\"}\n";
        assert_eq!(send(dir, ping).await, "\"done\"\n");
        assert_eq!(send(dir, &ping.repeat(3)).await, "\"done\"\n".repeat(3));
    })
    .await;
}

#[tokio::test]
async fn what_is_no_request_is_said_so() {
    serve_while(async |dir| {
        for (bytes, text) in [
            (&b"{\"verb\":\"sing\"}\n"[..], "unknown variant `sing`"),
            (b"hello\n", "the request cannot be read"),
            (b"\xff\x00\n", "the request cannot be read"),
            (b"{\"verb\":\"ping\"}", "ends before its newline"),
            (
                &vec![b'x'; REQUEST_BYTES_MAX + 1],
                "longer than 67108864 bytes",
            ),
        ] {
            let said = send(dir, bytes).await;
            assert!(said.contains("\"failed\":{\"invalid\""), "{said}");
            assert!(said.contains(text), "{said}");
        }
        assert_eq!(send(dir, b"").await, "");
    })
    .await;
}

#[tokio::test]
async fn more_clients_than_may_be_served_at_once_wait_their_turn() {
    serve_while(async |dir| {
        let silent: Vec<_> = (0..40).map(|_| connect(dir).unwrap()).collect();
        drop(silent);
        assert_eq!(send(dir, b"{\"verb\":\"ping\"}\n").await, "\"done\"\n");
    })
    .await;
}

#[tokio::test]
async fn the_file_is_private_replaces_a_stale_one_and_goes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(CONTROL_SOCKET);
    std::fs::write(&path, "stale").unwrap();
    let listener = Listener::bind(dir.path()).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    drop(listener);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_long_path_is_no_obstacle() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("d".repeat(120));
    std::fs::create_dir(&deep).unwrap();
    let listener = Listener::bind(&deep).unwrap();
    let broker = broker(&deep);
    tokio::select! {
        () = listener.serve(&broker) => unreachable!("it serves for good"),
        said = send(&deep, b"{\"verb\":\"ping\"}\n") => assert_eq!(said, "\"done\"\n"),
    }
    drop(listener);
    assert!(!deep.join(CONTROL_SOCKET).exists());
}

/// What a request is answered with, as JSON.
fn check(broker: &Broker, request: &str, expected: &str) {
    let parsed = serde_json::from_str(request).expect(request);
    let response = match broker.answer(parsed) {
        Ok(answer) => answer.response,
        Err(failure) => Response::Failed(failure),
    };
    assert_eq!(
        serde_json::to_string(&response).unwrap(),
        expected,
        "{request}"
    );
}

#[test]
fn users_and_permissions() {
    let broker = broker(Path::new("/nowhere"));
    let check = |request: &str, expected: &str| check(&broker, request, expected);
    let add = r#"{"verb":"add_user","user":"ann","password":{"clear":"x"}}"#;
    check(add, r#""done""#);
    check(add, r#"{"failed":{"user_exists":"ann"}}"#);
    let set = |user: &str, vhost: &str, read: &str| {
        format!(
            r#"{{"verb":"set_permissions","vhost":"{vhost}","user":"{user}","configure":"","write":".*","read":"{read}"}}"#
        )
    };
    check(&set("ann", "/", "^r"), r#""done""#);
    check(
        &set("bob", "/", "^r"),
        r#"{"failed":{"no_such_user":"bob"}}"#,
    );
    check(
        &set("ann", "v", "^r"),
        r#"{"failed":{"no_such_vhost":"v"}}"#,
    );
    let topic = |exchange: &str| {
        format!(
            r#"{{"verb":"set_topic_permissions","vhost":"/","user":"ann","exchange":"{exchange}","write":"a","read":"b"}}"#
        )
    };
    check(&topic("amq.topic"), r#""done""#);
    check(&topic("nope"), r#"{"failed":{"no_such_exchange":"nope"}}"#);
    let list = r#"{"verb":"list_user_permissions","user":"ann","columns":["vhost","read"]}"#;
    check(list, r#"{"rows":[[{"text":"/"},{"text":"^r"}]]}"#);
    let list = r#"{"verb":"list_topic_permissions","vhost":"/","columns":["user","exchange"]}"#;
    check(list, r#"{"rows":[[{"text":"ann"},{"text":"amq.topic"}]]}"#);
    let login = r#"{"verb":"authenticate_user","user":"ann","password":"y"}"#;
    check(
        login,
        r#"{"failed":{"refused":"user 'ann' - invalid credentials"}}"#,
    );
    check(&login.replace("\"y\"", "\"x\""), r#""done""#);
    check(
        r#"{"verb":"list_users","columns":["nope"]}"#,
        r#"{"failed":{"invalid":"there is no column nope"}}"#,
    );
}

#[test]
fn vhosts_and_queues() {
    let broker = broker(Path::new("/nowhere"));
    let check = |request: &str, expected: &str| check(&broker, request, expected);
    let add = r#"{"verb":"add_vhost","vhost":"v","description":"d","tags":["t"],"default_queue_type":"quorum"}"#;
    check(add, r#""done""#);
    check(add, r#""done""#);
    check(
        &add.replace("quorum", "stream"),
        r#"{"failed":{"invalid_queue_type":"stream"}}"#,
    );
    let list = r#"{"verb":"list_vhosts","columns":["name","tags","default_queue_type"]}"#;
    check(
        list,
        r#"{"rows":[[{"text":"/"},{"list":[]},"missing"],[{"text":"v"},{"list":[{"text":"t"}]},{"text":"quorum"}]]}"#,
    );
    let no_queue = r#"{"failed":{"no_such_queue":"q"}}"#;
    check(
        r#"{"verb":"purge_queue","vhost":"v","queue":"q"}"#,
        no_queue,
    );
    let delete = r#"{"verb":"delete_queue","vhost":"v","queue":"q","if_empty":false,"if_unused":false,"force":false}"#;
    check(delete, no_queue);
    check(r#"{"verb":"delete_vhost","vhost":"v"}"#, r#""done""#);
    let none = r#"{"failed":{"no_such_vhost":"v"}}"#;
    check(r#"{"verb":"delete_vhost","vhost":"v"}"#, none);
    check(r#"{"verb":"list_queues","vhost":"v","columns":[]}"#, none);
    check(
        r#"{"verb":"close_connection","connection":"<7>","explanation":"x"}"#,
        r#"{"failed":{"no_such_connection":"<7>"}}"#,
    );
}
