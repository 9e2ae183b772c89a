//! Small HTTP services for tests: one answer for each path, and a count of questions.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

/// See the module.
#[derive(Clone)]
pub(crate) struct Service {
    address: SocketAddr,
    state: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Default)]
struct State {
    answers: BTreeMap<String, (u16, String)>,
    /// Path with its query, or the form.
    asked: Vec<(String, String)>,
    held: bool,
}

impl Service {
    pub(crate) fn new() -> Service {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let service = Service {
            address: listener.local_addr().expect("an address"),
            state: Arc::default(),
        };
        let serving = service.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let serving = serving.clone();
                std::thread::spawn(move || serving.answer(socket));
            }
        });
        service
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What is answered under a path from now on; 404 under all others.
    pub(crate) fn set(&self, path: &str, answer: &str) {
        self.set_with(path, 200, answer);
    }

    /// The same with a status.
    pub(crate) fn set_with(&self, path: &str, status: u16, answer: &str) {
        self.state
            .0
            .lock()
            .expect("no panic")
            .answers
            .insert(path.into(), (status, answer.into()));
    }

    /// What was asked so far.
    pub(crate) fn asked(&self) -> Vec<(String, String)> {
        self.state.0.lock().expect("no panic").asked.clone()
    }

    /// Whether answers are held back.
    pub(crate) fn hold(&self, held: bool) {
        self.state.0.lock().expect("no panic").held = held;
        self.state.1.notify_all();
    }

    fn answer(&self, mut socket: TcpStream) {
        let mut reader = BufReader::new(socket.try_clone().expect("a socket"));
        let mut first = String::new();
        reader.read_line(&mut first).expect("a request");
        let target = first.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut length = 0;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).expect("a header");
            if let Some(value) = header.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().expect("a number");
            }
            if header.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("a body");
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let question = if length == 0 {
            query.to_owned()
        } else {
            String::from_utf8_lossy(&body).into_owned()
        };
        let mut state = self.state.0.lock().expect("no panic");
        state.asked.push((path.to_owned(), question));
        let state = self
            .state
            .1
            .wait_while(state, |state| state.held)
            .expect("no panic");
        let answer = match state.answers.get(path) {
            Some((status, answer)) => format!(
                "HTTP/1.1 {status} So\r\ncontent-length: {}\r\n\r\n{answer}",
                answer.len()
            ),
            None => "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".into(),
        };
        drop(state);
        let _ = socket.write_all(answer.as_bytes());
    }
}

/// The `Authorization` of the administrator that every broker begins with.
pub(crate) const GUEST: &str = "Basic Z3Vlc3Q6Z3Vlc3Q=";

/// The whole answer to a GET.
pub(crate) fn get(address: SocketAddr, path: &str, authorization: &str) -> String {
    request(address, "GET", path, authorization, "")
}

/// The whole answer to a request of which only the head is sent. `headers` are more of them, a line each.
pub(crate) fn request(
    address: SocketAddr,
    method: &str,
    path: &str,
    authorization: &str,
    headers: &str,
) -> String {
    let mut socket = TcpStream::connect(address).expect("it listens");
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\
         authorization: {authorization}\r\n{headers}\r\n"
    );
    socket.write_all(request.as_bytes()).expect("sent");
    let mut answer = Vec::new();
    // TLS may end without saying so.
    let _ = socket.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status and the body of the answer to a request.
pub(crate) fn ask(
    address: SocketAddr,
    method: &str,
    path: &str,
    authorization: &str,
    body: &str,
) -> (u16, String) {
    let mut socket = TcpStream::connect(address).expect("it listens");
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nauthorization: {authorization}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    socket.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    socket.read_to_string(&mut answer).expect("it is text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
    let chunked = head.to_lowercase().contains("transfer-encoding: chunked");
    let body = if chunked {
        joined(body)
    } else {
        body.to_owned()
    };
    (status.expect("a status"), body)
}

/// A body without the lengths of its chunks.
fn joined(mut chunks: &str) -> String {
    let mut body = String::new();
    while let Some((length, rest)) = chunks.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).expect("a length");
        if length == 0 {
            break;
        }
        body.push_str(&rest[..length]);
        chunks = &rest[length + 2..];
    }
    body
}

/// The status of the answer to a request, whatever it goes on with. Without
/// an authorization nothing is said of who asks.
pub(crate) fn status_of(
    address: SocketAddr,
    method: &str,
    path: &str,
    authorization: &str,
    body: &str,
) -> u16 {
    let mut socket = TcpStream::connect(address).expect("it listens");
    let length = body.len();
    let authorization = match authorization {
        "" => String::new(),
        authorization => format!("authorization: {authorization}\r\n"),
    };
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{authorization}\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    socket.write_all(request.as_bytes()).expect("sent");
    let mut first = String::new();
    let read = BufReader::new(socket).read_line(&mut first);
    read.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
    let status = first.split(' ').nth(1).and_then(|word| word.parse().ok());
    status.unwrap_or_else(|| panic!("{method} {path}: no status in {first:?}"))
}
