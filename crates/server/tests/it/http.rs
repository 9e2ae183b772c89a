//! HTTP without TLS: how many clients there is room for, how slow they may be, how they are answered, what is logged.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use flate2::read::GzDecoder;
use node::settings::Settings;
use server::{HttpAddresses, HttpOptions, Listeners};

use crate::broker::{Broker, wait_until};
use crate::service::{GUEST, ask, get, request};

/// A broker whose API has these options.
fn start(options: HttpOptions, listeners: Listeners) -> (Broker, SocketAddr) {
    let management = HttpAddresses {
        plain: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
        plain_options: options,
        ..HttpAddresses::default()
    };
    let listeners = Listeners {
        management,
        ..listeners
    };
    let broker = Broker::start_with(Settings::default(), listeners);
    let address = broker.management.0.expect("it is served");
    (broker, address)
}

/// A request on a connection that lives on; the answer.
fn ask_again(socket: &mut TcpStream) -> String {
    let question = format!("GET /api/whoami HTTP/1.1\r\nhost: h\r\nauthorization: {GUEST}\r\n\r\n");
    socket.write_all(question.as_bytes()).expect("sent");
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        let mut part = [0; 1024];
        let count = socket.read(&mut part).expect("it lives");
        assert_ne!(count, 0, "it ends after {answer:?}");
        answer.extend_from_slice(&part[..count]);
    }
    String::from_utf8(answer).expect("it is text")
}

/// What is left until the other side closes.
fn rest(socket: &mut TcpStream) -> String {
    let mut rest = String::new();
    // A socket that is reset has ended, too.
    let _ = socket.read_to_string(&mut rest);
    rest
}

#[test]
fn whoever_comes_when_there_is_no_room_is_told_so() {
    let (_broker, address) = start(
        HttpOptions {
            connections_max: 1,
            ..HttpOptions::default()
        },
        Listeners::default(),
    );
    let mut first = TcpStream::connect(address).expect("it listens");
    assert!(ask_again(&mut first).starts_with("HTTP/1.1 200 OK"));
    let refused = get(address, "/api/whoami", GUEST);
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    assert!(refused.contains("retry-after: 1\r\n"), "{refused}");
    let reason =
        r#"{"error":"service_unavailable","reason":"the limit of 1 HTTP connections is reached"}"#;
    assert!(refused.ends_with(reason), "{refused}");
    // Who is served is served on.
    assert!(ask_again(&mut first).starts_with("HTTP/1.1 200 OK"));
    drop(first);
    wait_until("there is room again", || {
        get(address, "/api/whoami", GUEST).starts_with("HTTP/1.1 200")
    });
}

#[test]
fn a_connection_ends_with_its_last_request() {
    let (_broker, address) = start(
        HttpOptions {
            requests_max: 2,
            ..HttpOptions::default()
        },
        Listeners::default(),
    );
    let mut socket = TcpStream::connect(address).expect("it listens");
    assert!(!ask_again(&mut socket).contains("connection: close"));
    assert!(ask_again(&mut socket).contains("connection: close"));
    assert_eq!(rest(&mut socket), "");
}

#[test]
fn who_asks_nothing_is_left() {
    let (_broker, address) = start(
        HttpOptions {
            request_timeout_ms: 20,
            ..HttpOptions::default()
        },
        Listeners::default(),
    );
    for said in ["", "GET /api/whoami HTTP/1.1\r\nhost: h\r\n"] {
        let mut socket = TcpStream::connect(address).expect("it listens");
        socket.write_all(said.as_bytes()).expect("sent");
        let answer = rest(&mut socket);
        assert!(!answer.contains("200 OK"), "{answer}");
    }
}

#[test]
fn a_body_that_does_not_come_is_not_waited_for() {
    let (_broker, address) = start(
        HttpOptions {
            idle_timeout_ms: 20,
            ..HttpOptions::default()
        },
        Listeners::default(),
    );
    let promised = "content-length: 1000\r\n";
    let answer = request(address, "POST", "/api/definitions", GUEST, promised);
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[test]
fn whoever_sends_too_much_hears_why() {
    let api = management::Options {
        body_bytes_max: 100,
        ..management::Options::default()
    };
    let listeners = Listeners {
        api,
        ..Listeners::default()
    };
    let (_broker, address) = start(HttpOptions::default(), listeners);
    let body = "x".repeat(4_000_000);
    let (status, text) = ask(address, "POST", "/api/definitions", GUEST, &body);
    assert_eq!(status, 400);
    assert_eq!(
        text,
        r#"{"error":"bad_request","reason":"Exceeded HTTP request body size limit"}"#
    );
}

/// The head of the answer and its body as it came.
fn ask_for_gzip(address: SocketAddr, path: &str) -> (String, Vec<u8>) {
    let mut socket = TcpStream::connect(address).expect("it listens");
    let question = format!(
        "GET {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\naccept-encoding: gzip\r\n\
         authorization: {GUEST}\r\n\r\n"
    );
    socket.write_all(question.as_bytes()).expect("sent");
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).expect("it ends");
    let end = answer.windows(4).position(|part| part == b"\r\n\r\n");
    let body = answer.split_off(end.expect("a head") + 4);
    (String::from_utf8(answer).expect("it is text"), body)
}

#[test]
fn long_answers_are_compressed_for_who_can_read_that() {
    let (_broker, address) = start(HttpOptions::default(), Listeners::default());
    let (head, body) = ask_for_gzip(address, "/api/openapi.json");
    assert!(head.contains("content-encoding: gzip\r\n"), "{head}");
    assert!(head.contains(&format!("content-length: {}\r\n", body.len())));
    let mut text = String::new();
    GzDecoder::new(&body[..])
        .read_to_string(&mut text)
        .expect("it is compressed");
    let plain = get(address, "/api/openapi.json", GUEST);
    assert!(plain.ends_with(&text) && body.len() < text.len() / 4);
    // What is short is left as it is.
    let (head, body) = ask_for_gzip(address, "/api/whoami");
    assert!(!head.contains("content-encoding"), "{head}");
    assert!(body.starts_with(b"{\"name\":\"guest\""));
}

#[test]
fn nothing_is_compressed_where_that_is_off() {
    let (_broker, address) = start(
        HttpOptions {
            compress: false,
            ..HttpOptions::default()
        },
        Listeners::default(),
    );
    let (head, body) = ask_for_gzip(address, "/api/openapi.json");
    assert!(!head.contains("content-encoding"), "{head}");
    assert!(body.starts_with(b"{"));
}

#[test]
fn requests_are_logged_as_web_servers_do() {
    let dir = tempfile::tempdir().expect("a directory");
    let log = dir.path().join("logs/access.log");
    let listeners = Listeners {
        http_log_dir: Some(dir.path().join("logs")),
        ..Listeners::default()
    };
    let (_broker, address) = start(HttpOptions::default(), listeners);
    let read = || std::fs::read_to_string(&log).unwrap_or_default();
    let headers = "referer: http://a/\"b\r\nuser-agent: test\r\n";
    request(address, "GET", "/api/whoami?page=1", GUEST, headers);
    wait_until("the request is logged", || read().ends_with('\n'));
    let line = read();
    let (before, after) = line.split_once(" [").expect("a time");
    assert_eq!(before, "127.0.0.1 - guest");
    let (_, after) = after.split_once("] ").expect("a time");
    assert_eq!(
        after,
        "\"GET /api/whoami HTTP/1.1\" 200 65 \"http://a/\\\"b\" \"test\"\n"
    );
    // Whoever moves the file away gets a new one.
    std::fs::rename(&log, dir.path().join("old")).expect("it is there");
    get(address, "/api/nope", "");
    wait_until("a new file is begun", || read().ends_with('\n'));
    assert!(read().contains("- - ["), "{}", read());
    assert!(read().contains("\"GET /api/nope HTTP/1.1\" 404 "));
}
