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
        gate: Default::default(),
        certificates: std::sync::Arc::new(|| {
            vec![management::Certificate {
                protocol: "amqp",
                certfile: "/cert.pem".into(),
                cacertfile: "/ca.pem".into(),
                expires_at_s: 7,
                expires_on: "1970-01-01 0:00:07".into(),
                roots_expire_on: vec!["1970-01-01 0:00:08".into()],
                roots_expire_at_s: Some(8),
            }]
        }),
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

#[test]
fn the_log_s_level_is_changed_while_it_runs() {
    use crate::config::{Level, Log, LogFile};
    let broker = broker(Path::new("/nowhere"));
    let check = |request: &str, expected: &str| check(&broker, request, expected);
    let set = |level: &str| format!(r#"{{"verb":"set_log_level","level":"{level}"}}"#);
    check(
        &set("debug"),
        r#"{"failed":{"unable":"the log's levels cannot be changed"}}"#,
    );
    let log = std::sync::Arc::new(std::sync::RwLock::new(Log {
        file: LogFile::Named("a.log".into()),
        audit: LogFile::Named("/b/audit.log".into()),
        ..Log::default()
    }));
    broker.environment.share_log(std::sync::Arc::clone(&log));
    check(&set("debug"), r#""done""#);
    let channel = r#"{"verb":"set_log_level","category":"channel","level":"critical"}"#;
    check(channel, r#""done""#);
    let levels = log.read().unwrap().clone();
    assert_eq!(levels.level_of("node::anything"), Level::Debug);
    assert_eq!(levels.level_of("protocol::amqp091::publish"), Level::Error);
    check(
        &set("loud"),
        r#"{"failed":{"invalid":"level loud not supported"}}"#,
    );
    check(
        &channel.replace("channel", "weather"),
        r#"{"failed":{"invalid":"category weather not supported"}}"#,
    );
    check(
        r#"{"verb":"log_location"}"#,
        r#"{"rows":[[{"text":"/var/log/leveret/a.log"}],[{"text":"/b/audit.log"}]]}"#,
    );
}

#[test]
fn queues_are_looked_into() {
    let broker = broker(Path::new("/nowhere"));
    let check = |request: &str, expected: &str| check(&broker, request, expected);
    let vhost = broker.node.vhost("/").unwrap();
    for (name, kind) in [("q", "classic"), ("r", "quorum")] {
        let spec = metadata::topology::QueueSpec {
            name: name.into(),
            durable: true,
            exclusive: false,
            auto_delete: false,
            arguments: [("x-queue-type".to_owned(), kind.into())]
                .into_iter()
                .collect(),
        };
        vhost
            .declare_queue(0, spec, node::connections::ConnectionId(0))
            .map(drop)
            .unwrap_or_else(|refusal| panic!("{refusal:?}"));
    }
    let properties = wire::amqp091::properties::Properties::validate(&[0x80, 0, 1, b't']).unwrap();
    let message =
        broker::message::Message::new("", "q", &properties, None, b"body", &mut Vec::new());
    vhost.publish(0, &message).unwrap();
    let peek = |queue: &str, position: u64| {
        format!(r#"{{"verb":"peek","vhost":"/","queue":"{queue}","position":{position}}}"#)
    };
    let fields = [
        ("content_type", r#"{"text":"t"}"#),
        ("routing_keys", r#"{"text":"q"}"#),
        ("exchange", r#"{"text":""}"#),
        ("payload (max 64 bytes)", r#"{"text":"body"}"#),
        ("header.x-delivery-count", r#"{"integer":0}"#),
    ];
    let fields = fields.map(|(key, value)| format!(r#"[{{"text":"{key}"}},{value}]"#));
    check(
        &peek("q", 1),
        &format!(r#"{{"rows":[{}]}}"#, fields.join(",")),
    );
    check(
        &peek("q", 2),
        r#"{"failed":{"invalid":"there is no message at position 2"}}"#,
    );
    check(
        &peek("q", 0),
        r#"{"failed":{"invalid":"Position must be at least 1"}}"#,
    );
    check(&peek("x", 1), r#"{"failed":{"no_such_queue":"x"}}"#);
    let sizes = r#"{"verb":"message_size_stats","columns":["Message Size","Count","Percentage"]}"#;
    let row = |(at, size): (usize, &str)| {
        let (count, percent) = if at == 0 { (1, "100.00") } else { (0, "0.00") };
        format!(r#"[{{"text":"{size}"}},{{"integer":{count}}},{{"text":"{percent}"}}]"#)
    };
    let rows = [
        "below 100B",
        "between 100B and 1KB",
        "between 1KB and 10KB",
        "between 10KB and 100KB",
        "between 100KB and 1MB",
        "between 1MB and 10MB",
        "between 10MB and 50MB",
        "between 50MB and 100MB",
        "above 100MB",
    ];
    let rows: Vec<String> = rows.into_iter().enumerate().map(row).collect();
    check(sizes, &format!(r#"{{"rows":[{}]}}"#, rows.join(",")));
    let status = |queue: &str| {
        format!(
            r#"{{"verb":"quorum_status","vhost":"/","queue":"{queue}","columns":["Node Name","Raft State","Term"]}}"#
        )
    };
    check(
        &status("r"),
        r#"{"rows":[[{"text":"leveret@localhost"},{"text":"leader"},"missing"]]}"#,
    );
    check(
        &status("q"),
        r#"{"failed":{"invalid":"Cannot get quorum status of a classic queue"}}"#,
    );
    check(
        r#"{"verb":"certificates","columns":["port","certfile","certfile_expires_at","cacertfile_expires_on"]}"#,
        r#"{"rows":[[{"integer":5672},{"text":"/cert.pem"},{"integer":7},{"list":[{"text":"1970-01-01 0:00:08"}]}]]}"#,
    );
}

#[test]
fn policies_that_match_are_those_of_the_object_s_kind() {
    let broker = broker(Path::new("/nowhere"));
    let check = |request: &str, expected: &str| check(&broker, request, expected);
    for (name, pattern, apply_to, priority) in [
        ("low", "^amq", "all", 0),
        ("high", "topic", "exchanges", 9),
        ("queues", ".*", "queues", 5),
        ("other", "^x", "all", 5),
    ] {
        let set = format!(
            r#"{{"verb":"parameter","set":"set_policy","vhost":"/","operator":false,"name":"{name}","pattern":"{pattern}","definition":"{{\"alternate-exchange\":\"a\"}}","priority":{priority},"apply_to":"{apply_to}"}}"#
        );
        let set = match apply_to {
            "queues" => set.replace("alternate-exchange\\\":\\\"a\\\"", "max-length\\\":5"),
            _ => set,
        };
        check(&set, r#""done""#);
    }
    let ask = |object_type: &str, name: &str| {
        format!(
            r#"{{"verb":"parameter","set":"list_policies_that_match","vhost":"/","object_type":"{object_type}","name":"{name}"}}"#
        )
    };
    let answered = broker.answer(serde_json::from_str(&ask("exchange", "amq.topic")).unwrap());
    let Ok(Response::Rows(rows)) = answered.map(|answer| answer.response) else {
        panic!("rows")
    };
    let names: Vec<_> = rows.iter().map(|row| row[1].clone()).collect();
    assert_eq!(names, ["high".into(), "low".into()]);
    check(&ask("queue", "q"), r#"{"failed":{"no_such_queue":"q"}}"#);
    check(
        &ask("exchange", "e"),
        r#"{"failed":{"no_such_exchange":"e"}}"#,
    );
    check(
        &ask("user", "e"),
        r#"{"failed":{"invalid":"object type must be queue or exchange, not user"}}"#,
    );
}
