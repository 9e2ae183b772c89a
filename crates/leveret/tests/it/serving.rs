//! Around the broker: its configuration while it runs, its logs, systemd.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use probe::{Client, Options};

use crate::broker::{Broker, PATIENCE, run};

fn text(output: &[u8]) -> String {
    String::from_utf8_lossy(output).into_owned()
}

/// Waits for something that must come.
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

#[test]
fn a_configuration_is_checked_and_shown() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.conf");
    let path = file.to_str().unwrap();
    std::fs::write(
        &file,
        "heartbeat = 5\ndefault_pass = secret\nmqtt.vhost = /\n",
    )
    .unwrap();
    let output = run(&["config", "check", path]);
    assert!(output.status.success());
    assert_eq!(
        text(&output.stdout),
        format!(
            "{path}:3: note: mqtt.vhost does nothing: MQTT is not built yet\n{path}: 3 keys, no errors\n"
        )
    );
    let output = run(&["config", "show", "--config", path]);
    let shown = text(&output.stdout);
    let squeezed: Vec<String> = shown
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    for line in [
        format!("heartbeat = 5 # {path}:1"),
        format!("default_pass = ******** # {path}:2"),
        format!("mqtt.vhost = / # {path}:3, does nothing"),
        "frame_max = 131072 # default".into(),
    ] {
        assert!(squeezed.contains(&line), "{line} in {shown}");
    }
    std::fs::write(&file, "heartbeat = 5\nhartbeat = 5\n").unwrap();
    let output = run(&["config", "check", path]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        text(&output.stderr),
        format!("leveret: {path}:2: unknown key hartbeat; the nearest known one is heartbeat\n")
    );
}

#[test]
fn a_hangup_reloads_what_can_be_reloaded() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.conf");
    let log = dir.path().join("a.log");
    let write = |channels: u32, rest: &str| {
        let log = log.display();
        std::fs::write(
            &file,
            format!("channel_max = {channels}\nlog.file = {log}\n{rest}"),
        )
        .unwrap();
    };
    write(10, "cluster_name = a\n");
    let arguments = [
        "--config",
        file.to_str().unwrap(),
        "--amqp",
        "127.0.0.1:0",
        "--set",
        "log.file.level=info",
    ];
    let broker = Broker::start_with(&dir.path().join("data"), &arguments);
    let before = broker.client();
    let agreed = || {
        let _client = broker.client();
        broker.ctl("list_connections channel_max")
    };
    assert!(agreed().lines().all(|line| line == "10"));
    write(20, "cluster_name = b\n");
    broker.signal("HUP");
    wait_until("new connections get the new limit", || {
        agreed().lines().any(|line| line == "20")
    });
    // Whoever was there keeps what was agreed.
    assert!(agreed().lines().any(|line| line == "10"));
    write(30, "heartbeat = often\n");
    broker.signal("HUP");
    let logged = || std::fs::read_to_string(&log).unwrap();
    wait_until("the error is logged", || {
        logged().contains("heartbeat = often: expected a whole number")
    });
    assert!(agreed().lines().any(|line| line == "20"));
    drop(before);
    broker.stop();
}

#[test]
fn administrative_acts_are_audited_without_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let audit = dir.path().join("audit.log");
    let audit_key = format!("log.audit.file={}", audit.display());
    let arguments = [
        "--amqp",
        "127.0.0.1:0",
        "--set",
        &audit_key,
        "--set",
        "log.console.formatter=json",
    ];
    let broker = Broker::start_with(&dir.path().join("data"), &arguments);
    broker.ctl("add_user ann hunter2");
    broker.ctl("list_users");
    broker.ctl_failure("delete_user bob");
    let lines = std::fs::read_to_string(&audit).unwrap();
    assert!(!lines.contains("hunter2"), "{lines}");
    let acts: Vec<(String, String)> = lines
        .lines()
        .map(|line| {
            let act: serde_json::Value = serde_json::from_str(line).expect("an object a line");
            let field = |name: &str| act[name].as_str().unwrap_or_default().to_owned();
            assert_eq!(
                (field("target"), field("from")),
                ("audit".into(), "control socket".into())
            );
            (field("verb"), field("arguments"))
        })
        .collect();
    let expected = [
        ("add_user", r#"{"user":"ann"}"#),
        ("delete_user", r#"{"user":"bob"}"#),
    ];
    assert_eq!(
        acts,
        expected.map(|(verb, arguments)| (verb.to_owned(), arguments.to_owned()))
    );
    broker.stop();
}

#[test]
fn acts_over_http_are_audited_without_secrets() {
    let dir = tempfile::tempdir().unwrap();
    let audit = dir.path().join("audit.log");
    let audit_key = format!("log.audit.file={}", audit.display());
    let broker = Broker::start_with(
        &dir.path().join("data"),
        &[
            "--amqp",
            "127.0.0.1:0",
            "--http",
            "127.0.0.1:0",
            "--set",
            &audit_key,
            "--set",
            "log.console.formatter=json",
        ],
    );
    let address = broker
        .announcement
        .split_once("its HTTP API on ")
        .and_then(|(_, rest)| rest.split(',').next())
        .expect("it says where");
    let ask = |method: &str, path: &str, body: &str| {
        let mut socket = TcpStream::connect(address).unwrap();
        let length = body.len();
        write!(
            socket,
            "{method} {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\nauthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n\
             content-length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
    };
    let ann = r#"{"password":"hunter2","tags":""}"#;
    ask("PUT", "/api/users/ann", ann);
    ask("GET", "/api/users", "");
    ask("DELETE", "/api/users/bob", "");
    ask("PUT", "/api/users/eve", r#"{"password":["hunter2"]}"#);
    let lines = std::fs::read_to_string(&audit).unwrap();
    assert!(!lines.contains("hunter2"), "{lines}");
    let acts: Vec<[String; 5]> = lines
        .lines()
        .map(|line| {
            let act: serde_json::Value = serde_json::from_str(line).expect("an object a line");
            let field = |name: &str| act[name].as_str().unwrap_or_default().to_owned();
            assert_eq!(
                (field("target"), field("from"), field("user")),
                ("audit".into(), "HTTP API".into(), "guest".into())
            );
            assert!(field("peer").starts_with("127.0.0.1:"), "{line}");
            ["method", "path", "verb", "outcome", "nothing"].map(field)
        })
        .collect();
    let expected = [
        ["PUT", "/api/users/ann", "Add or change a user", "done", ""],
        [
            "DELETE",
            "/api/users/bob",
            "Delete a user",
            "refused: 404 Object Not Found",
            "",
        ],
        [
            "PUT",
            "/api/users/eve",
            "Add or change a user",
            "refused: 400 bad_request",
            "",
        ],
    ];
    assert_eq!(acts, expected.map(|act| act.map(str::to_owned)));
    broker.stop();
}

/// Starts a broker as systemd does: with a socket for news, and one that is listened on already.
fn start_under_systemd(news: &Path, listener: OwnedFd, data_dir: &Path) -> std::process::Child {
    // The shell's process becomes the broker's, so its number is the one that the sockets are meant for.
    let script = "exec 3<&0; LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=amqp exec \"$0\" serve --data-dir \"$1\"";
    Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_leveret")])
        .arg(data_dir)
        .env("NOTIFY_SOCKET", news)
        .stdin(Stdio::from(listener))
        .stdout(Stdio::null())
        .spawn()
        .expect("there is a shell")
}

#[test]
fn systemd_is_told_and_hands_over_its_socket() {
    let dir = tempfile::tempdir().unwrap();
    let news_path = dir.path().join("news");
    let news = UnixDatagram::bind(&news_path).unwrap();
    news.set_read_timeout(Some(PATIENCE)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let handed = listener.as_fd().try_clone_to_owned().unwrap();
    // Who connects before the broker is there waits for it.
    let early = std::thread::spawn(move || Client::open(address, &Options::default()).map(drop));
    let mut child = start_under_systemd(&news_path, handed, &dir.path().join("data"));
    let next = || {
        let mut buffer = [0; 1024];
        let length = news.recv(&mut buffer).expect("it is told");
        text(&buffer[..length])
    };
    assert!(next().starts_with("READY=1"));
    early.join().unwrap().expect("it is served");
    let killed = Command::new("kill").arg(child.id().to_string()).status();
    assert!(killed.unwrap().success());
    assert!(next().starts_with("STOPPING=1"));
    assert!(child.wait().unwrap().success());
}
