//! Walls inside a crate: the `clippy.toml` files, generated from the table of rooms.
//!
//! A `clippy.toml` in a crate's folder takes the place of the one in the root, it does not add to
//! it. So each file repeats what holds everywhere, and all are written from here.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::Finding;
use super::rooms::{NEVER_PANIC, PANICS, ROOMS};
use super::rust_text::lines_without_tests;
use super::tree::Tree;

/// Something that a room must not touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wall {
    Clock,
    Files,
    Network,
    Threads,
    Random,
    Locks,
    RandomOrder,
}

impl Wall {
    /// As the import table names it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Wall::Clock => "clock",
            Wall::Files => "files",
            Wall::Network => "network",
            Wall::Threads => "threads",
            Wall::Random => "random numbers",
            Wall::Locks => "locks and atomics",
            Wall::RandomOrder => "random order",
        }
    }

    fn forbidden(self) -> &'static Forbidden {
        match self {
            Wall::Clock => &CLOCK,
            Wall::Files => &FILES,
            Wall::Network => &NETWORK,
            Wall::Threads => &THREADS,
            Wall::Random => &RANDOM,
            Wall::Locks => &LOCKS,
            Wall::RandomOrder => &RANDOM_ORDER,
        }
    }
}

/// Paths for clippy, and what to do instead.
struct Forbidden {
    methods: &'static [&'static str],
    types: &'static [&'static str],
    reason: &'static str,
}

const CLOCK: Forbidden = Forbidden {
    methods: &[
        "std::time::Instant::now",
        "std::time::Instant::elapsed",
        "std::time::SystemTime::now",
        "std::time::SystemTime::elapsed",
    ],
    types: &[],
    reason: "no clock in this room: the time is an argument",
};

const FILES: Forbidden = Forbidden {
    methods: &[
        "std::fs::canonicalize",
        "std::fs::copy",
        "std::fs::create_dir",
        "std::fs::create_dir_all",
        "std::fs::exists",
        "std::fs::hard_link",
        "std::fs::metadata",
        "std::fs::read",
        "std::fs::read_dir",
        "std::fs::read_link",
        "std::fs::read_to_string",
        "std::fs::remove_dir",
        "std::fs::remove_dir_all",
        "std::fs::remove_file",
        "std::fs::rename",
        "std::fs::set_permissions",
        "std::fs::symlink_metadata",
        "std::fs::write",
    ],
    types: &[
        "std::fs::DirBuilder",
        "std::fs::File",
        "std::fs::OpenOptions",
    ],
    reason: "no files in this room: bytes are an argument",
};

const NETWORK: Forbidden = Forbidden {
    methods: &["std::net::ToSocketAddrs::to_socket_addrs"],
    types: &[
        "std::net::TcpListener",
        "std::net::TcpStream",
        "std::net::UdpSocket",
        "std::os::unix::net::UnixDatagram",
        "std::os::unix::net::UnixListener",
        "std::os::unix::net::UnixStream",
        "tokio::net::TcpListener",
        "tokio::net::TcpSocket",
        "tokio::net::TcpStream",
        "tokio::net::UdpSocket",
        "tokio::net::UnixListener",
        "tokio::net::UnixStream",
    ],
    reason: "no sockets in this room: only server listens",
};

const THREADS: Forbidden = Forbidden {
    methods: &[
        "std::thread::scope",
        "std::thread::sleep",
        "std::thread::spawn",
    ],
    types: &["std::thread::Builder"],
    reason: "no threads in this room: it runs when it is called",
};

const RANDOM: Forbidden = Forbidden {
    methods: &["std::hash::RandomState::new"],
    types: &[],
    reason: "nothing random in this room: seeds are an argument",
};

const LOCKS: Forbidden = Forbidden {
    methods: &[],
    types: &[
        "std::sync::Condvar",
        "std::sync::LazyLock",
        "std::sync::Mutex",
        "std::sync::Once",
        "std::sync::OnceLock",
        "std::sync::RwLock",
        "std::sync::atomic::AtomicBool",
        "std::sync::atomic::AtomicI32",
        "std::sync::atomic::AtomicI64",
        "std::sync::atomic::AtomicIsize",
        "std::sync::atomic::AtomicU32",
        "std::sync::atomic::AtomicU64",
        "std::sync::atomic::AtomicUsize",
    ],
    reason: "no locks or atomics in this room: node guards it from outside",
};

const RANDOM_ORDER: Forbidden = Forbidden {
    // Of hashbrown's maps these are the doors that choose the hasher by themselves.
    methods: &[
        "hashbrown::HashMap::new",
        "hashbrown::HashMap::with_capacity",
        "hashbrown::HashSet::new",
        "hashbrown::HashSet::with_capacity",
    ],
    types: &[
        "foldhash::fast::RandomState",
        "foldhash::quality::RandomState",
        "hashbrown::DefaultHashBuilder",
        "std::collections::HashMap",
        "std::collections::HashSet",
        "std::hash::RandomState",
    ],
    reason: "its order differs from run to run: BTreeMap, or a hash with a fixed seed whose order is never seen",
};

/// A room with less code than this has only been opened.
const ROOM_LINES_MIN: usize = 200;

/// What holds in every crate.
const EVERYWHERE: &str = "\
allow-unwrap-in-tests = true
allow-expect-in-tests = true
allow-indexing-slicing-in-tests = true
allow-print-in-tests = true
";

/// A generated file: its path and what it should hold.
fn files() -> Vec<(String, String)> {
    let mut files = vec![("clippy.toml".to_owned(), contents(&[]))];
    for room in ROOMS.iter().filter(|room| !room.walls.is_empty()) {
        files.push((
            format!("crates/{}/clippy.toml", room.name),
            contents(room.walls),
        ));
    }
    files
}

fn contents(walls: &[Wall]) -> String {
    let mut text =
        "# @generated by `cargo xtask tidy --write` from xtask/src/tidy/walls.rs.\n".to_owned();
    text.push_str(EVERYWHERE);
    push_list(&mut text, "disallowed-methods", walls, |forbidden| {
        forbidden.methods
    });
    push_list(&mut text, "disallowed-types", walls, |forbidden| {
        forbidden.types
    });
    text
}

fn push_list(
    text: &mut String,
    key: &str,
    walls: &[Wall],
    paths: impl Fn(&Forbidden) -> &'static [&'static str],
) {
    if walls.iter().all(|wall| paths(wall.forbidden()).is_empty()) {
        return;
    }
    let _ = writeln!(text, "\n{key} = [");
    for wall in walls.iter().map(|wall| wall.forbidden()) {
        for path in paths(wall) {
            // Clippy objects to paths that it cannot find, and a room need not depend on every
            // crate named here.
            let absent = if path.starts_with("std::") {
                ""
            } else {
                ", allow-invalid = true"
            };
            let reason = wall.reason;
            let _ = writeln!(
                text,
                "    {{ path = \"{path}\", reason = \"{reason}\"{absent} }},"
            );
        }
    }
    text.push_str("]\n");
}

pub(super) fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    check_panics(tree, findings);
    let expected = files();
    for (path, contents) in &expected {
        let found = tree.file(path).and_then(|file| file.text.as_deref());
        if found != Some(contents) {
            findings.push(Finding::new(
                path,
                0,
                "is not up to date: run `cargo xtask tidy --write`",
            ));
        }
    }
    for file in tree
        .files
        .iter()
        .filter(|file| file.name() == "clippy.toml")
    {
        if !expected.iter().any(|(path, _)| *path == file.path) {
            let text = "takes the place of the root's: put its walls into xtask/src/tidy/rooms.rs";
            findings.push(Finding::new(&file.path, 0, text));
        }
    }
}

/// The rooms that must not panic say so to clippy in their crate roots.
fn check_panics(tree: &Tree, findings: &mut Vec<Finding>) {
    for room in NEVER_PANIC {
        let folder = format!("crates/{room}/src/");
        let code = tree
            .files
            .iter()
            .filter(|file| file.path.starts_with(&folder) && !file.is_test());
        let lines: usize = code
            .filter_map(|file| file.code.as_deref())
            .map(lines_without_tests)
            .sum();
        if lines < ROOM_LINES_MIN {
            continue;
        }
        let path = format!("{folder}lib.rs");
        let text = tree
            .file(&path)
            .and_then(|file| file.code.as_deref())
            .unwrap_or_default();
        for lint in PANICS.into_iter().filter(|lint| !text.contains(lint)) {
            let text = format!("does not deny {lint} outside tests: it reads what others wrote");
            findings.push(Finding::new(&path, 0, text));
        }
    }
}

/// Writes the files that differ.
pub(super) fn write(root: &Path) -> Result<()> {
    for (path, contents) in files() {
        let full = root.join(&path);
        if fs::read_to_string(&full).ok().as_ref() != Some(&contents) {
            fs::write(&full, contents).with_context(|| format!("writing {path}"))?;
        }
    }
    Ok(())
}
