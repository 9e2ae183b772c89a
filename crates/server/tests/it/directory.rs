//! A small LDAP directory for tests: binds, searches by equality and presence, and remembers what it was asked.
//!
//! Deliberately absent: everything else of LDAP (RFC 4511). A real directory is asked by `interop/slapd/run`.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

/// See the module.
#[derive(Clone)]
pub(crate) struct Directory {
    address: SocketAddr,
    state: Arc<(Mutex<State>, Condvar)>,
}

#[derive(Default)]
struct State {
    /// By distinguished name in small letters: the name, and attributes with their values.
    entries: BTreeMap<String, Entry>,
    asked: Vec<String>,
    sockets: Vec<TcpStream>,
    held: bool,
}

type Entry = (String, Vec<(String, String)>);

/// Tags of messages and filters.
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OCTETS: u8 = 0x04;
const BIND: u8 = 0x60;
const BOUND: u8 = 0x61;
const SEARCH: u8 = 0x63;
const ENTRY: u8 = 0x64;
const DONE: u8 = 0x65;
const EQUALS: u8 = 0xa3;

const OK: u8 = 0;
const NO_SUCH_OBJECT: u8 = 32;
const INVALID_CREDENTIALS: u8 = 49;
const INSUFFICIENT_RIGHTS: u8 = 50;

impl Directory {
    pub(crate) fn new() -> Directory {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let directory = Directory {
            address: listener.local_addr().expect("an address"),
            state: Arc::default(),
        };
        let serving = directory.clone();
        std::thread::spawn(move || {
            for socket in listener.incoming().flatten() {
                let serving = serving.clone();
                std::thread::spawn(move || serving.serve(socket));
            }
        });
        directory
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Adds an entry. `attributes` are words such as `cn=x`; `userPassword` is what it binds with.
    pub(crate) fn add(&self, dn: &str, attributes: &[&str]) {
        let pair = |text: &&str| {
            let (name, value) = text.split_once('=').expect("a value");
            (name.to_owned(), value.to_owned())
        };
        let entry = (dn.to_owned(), attributes.iter().map(pair).collect());
        self.lock().entries.insert(dn.to_lowercase(), entry);
    }

    /// What was asked since the last time: `bind DN`, `search BASE SCOPE FILTER`.
    pub(crate) fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().asked)
    }

    /// Whether answers are held back.
    pub(crate) fn hold(&self, held: bool) {
        self.lock().held = held;
        self.state.1.notify_all();
    }

    /// Closes all connections.
    pub(crate) fn hang_up(&self) {
        for socket in self.lock().sockets.drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.0.lock().expect("no panic")
    }

    fn serve(&self, mut socket: TcpStream) {
        let copy = socket.try_clone().expect("a socket");
        self.lock().sockets.push(copy);
        let mut bound = String::new();
        while let Some(message) = read(&mut socket) {
            let mut message = Reader(&message);
            let (_, id) = message.next();
            let (operation, content) = message.next();
            let answers = match operation {
                BIND => vec![self.bind(content, &mut bound)],
                SEARCH => self.search(content, &bound),
                _ => return,
            };
            drop(
                self.state
                    .1
                    .wait_while(self.lock(), |state| state.held)
                    .expect("no panic"),
            );
            let answers: Vec<u8> = answers
                .iter()
                .flat_map(|answer| tagged(SEQUENCE, &[tagged(2, &[id.to_vec()]), answer.clone()]))
                .collect();
            if socket.write_all(&answers).is_err() {
                return;
            }
        }
    }

    fn bind(&self, content: &[u8], bound: &mut String) -> Vec<u8> {
        let mut content = Reader(content);
        content.next();
        let dn = text(content.next().1);
        let password = text(content.next().1);
        let mut state = self.lock();
        state.asked.push(format!("bind {dn}"));
        let entry = state.entries.get(&dn.to_lowercase());
        let right = ("userPassword".to_owned(), password);
        let fits = entry.is_some_and(|(_, entry)| entry.contains(&right));
        *bound = if fits { dn } else { String::new() };
        result(BOUND, if fits { OK } else { INVALID_CREDENTIALS })
    }

    fn search(&self, content: &[u8], bound: &str) -> Vec<Vec<u8>> {
        let mut content = Reader(content);
        let base = text(content.next().1);
        let scope = content.next().1[0];
        for _ in 0..4 {
            content.next();
        }
        let (kind, filter) = content.next();
        let wanted = (kind == EQUALS).then(|| {
            let mut filter = Reader(filter);
            (text(filter.next().1), text(filter.next().1))
        });
        let shown = match &wanted {
            Some((name, value)) => format!("{name}={value}"),
            None => format!("{}=*", text(filter)),
        };
        let mut state = self.lock();
        let scope_name = ["base", "one", "sub"][usize::from(scope)];
        state
            .asked
            .push(format!("search {base} {scope_name} {shown}"));
        let base = base.to_lowercase();
        if bound.is_empty() && state.entries.contains_key("cn=closed") {
            return vec![result(DONE, INSUFFICIENT_RIGHTS)];
        }
        if !base.is_empty() && !state.entries.contains_key(&base) {
            return vec![result(DONE, NO_SUCH_OBJECT)];
        }
        let below = format!(",{base}");
        let found = state.entries.iter().filter(|(dn, (_, attributes))| {
            let parent = dn.split_once(',').map_or("", |(_, parent)| parent);
            let in_scope = match scope {
                0 => **dn == base,
                1 => parent == base,
                _ => **dn == base || dn.ends_with(&below) || base.is_empty(),
            };
            let fits = match &wanted {
                Some((name, value)) => attributes.iter().any(|(known, theirs)| {
                    known.eq_ignore_ascii_case(name) && theirs.eq_ignore_ascii_case(value)
                }),
                None => true,
            };
            in_scope && fits
        });
        let found = found.map(|(_, (dn, attributes))| entry(dn, attributes));
        let mut answers: Vec<Vec<u8>> = found.collect();
        answers.push(result(DONE, OK));
        answers
    }
}

fn entry(dn: &str, attributes: &[(String, String)]) -> Vec<u8> {
    let mut by_name: BTreeMap<&str, Vec<Vec<u8>>> = BTreeMap::new();
    for (name, value) in attributes {
        by_name.entry(name).or_default().push(octets(value));
    }
    let attributes: Vec<Vec<u8>> = by_name
        .into_iter()
        .map(|(name, values)| tagged(SEQUENCE, &[octets(name), tagged(SET, &values)]))
        .collect();
    tagged(ENTRY, &[octets(dn), tagged(SEQUENCE, &attributes)])
}

fn result(tag: u8, code: u8) -> Vec<u8> {
    tagged(tag, &[vec![0x0a, 1, code], octets(""), octets("")])
}

fn octets(text: &str) -> Vec<u8> {
    tagged(OCTETS, &[text.as_bytes().to_vec()])
}

fn tagged(tag: u8, parts: &[Vec<u8>]) -> Vec<u8> {
    let content = parts.concat();
    let mut out = vec![tag, 0x82];
    out.extend_from_slice(&(content.len() as u16).to_be_bytes());
    out.extend_from_slice(&content);
    out
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// The next tag and its content.
    fn next(&mut self) -> (u8, &'a [u8]) {
        let (tag, rest) = self.0.split_first().expect("a tag");
        let (first, rest) = rest.split_first().expect("a length");
        let (length, rest) = match first & 0x80 {
            0 => (usize::from(*first), rest),
            _ => {
                let (digits, rest) = rest.split_at(usize::from(first & 0x7f));
                let length = digits
                    .iter()
                    .fold(0, |sum, digit| sum << 8 | usize::from(*digit));
                (length, rest)
            }
        };
        let (content, rest) = rest.split_at(length);
        self.0 = rest;
        (*tag, content)
    }
}

/// The content of the next message; `None` at the end.
fn read(socket: &mut TcpStream) -> Option<Vec<u8>> {
    let mut head = [0; 2];
    socket.read_exact(&mut head).ok()?;
    let length = match head[1] & 0x80 {
        0 => usize::from(head[1]),
        _ => {
            let mut digits = vec![0; usize::from(head[1] & 0x7f)];
            socket.read_exact(&mut digits).ok()?;
            digits
                .iter()
                .fold(0, |sum, digit| sum << 8 | usize::from(*digit))
        }
    };
    let mut content = vec![0; length];
    socket.read_exact(&mut content).ok()?;
    Some(content)
}
