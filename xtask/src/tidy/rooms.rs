//! The rooms of the house: which crate may import which, and what is walled off in each.
//!
//! The only list of this: `tidy` checks the crates' dependencies against it and writes from it the
//! table in ARCHITECTURE.md and every `clippy.toml`. A new row or a new edge comes with a decision
//! record in `docs/adr`.

use super::walls::Wall;

/// A crate of the workspace.
pub(super) struct Room {
    pub(super) name: &'static str,
    /// Crates of ours that it may depend on. Its tests may also use any room that stands above it
    /// in [`ROOMS`].
    pub(super) imports: &'static [&'static str],
    /// What clippy forbids in it.
    pub(super) walls: &'static [Wall],
}

/// No IO of any kind, no clock, nothing random: the same input, the same run.
const PURE: [Wall; 5] = [
    Wall::Clock,
    Wall::Files,
    Wall::Network,
    Wall::Threads,
    Wall::Random,
];
const PURE_WITHOUT_LOCKS: [Wall; 7] = [
    Wall::Clock,
    Wall::Files,
    Wall::Network,
    Wall::Threads,
    Wall::Random,
    Wall::Locks,
    Wall::RandomOrder,
];

const fn room(
    name: &'static str,
    imports: &'static [&'static str],
    walls: &'static [Wall],
) -> Room {
    Room {
        name,
        imports,
        walls,
    }
}

/// From the bottom up: a room imports only rooms above its own line.
pub(super) static ROOMS: [Room; 13] = [
    // A client for tests, so that any room's tests may use it.
    room("probe", &[], &[]),
    room("wire", &[], &PURE),
    room("metadata", &["wire"], &PURE),
    room("broker", &["metadata", "wire"], &PURE_WITHOUT_LOCKS),
    room("storage", &[], &[Wall::Network]),
    room(
        "node",
        &["broker", "metadata", "storage", "wire"],
        &[Wall::Network],
    ),
    room("protocol", &["broker", "metadata", "node", "wire"], &PURE),
    room(
        "management",
        &["broker", "metadata", "node", "wire"],
        &[Wall::Clock, Wall::Files, Wall::Network, Wall::Random],
    ),
    room(
        "server",
        &["management", "metadata", "node", "protocol", "wire"],
        &[],
    ),
    // Beside the house: it sees a broker as its clients do, any broker.
    room("perf", &["wire"], &[]),
    room(
        "leveret",
        &[
            "broker",
            "management",
            "metadata",
            "node",
            "perf",
            "protocol",
            "server",
            "storage",
            "wire",
        ],
        &[],
    ),
    // Beside the house: it sees the broker as its clients do.
    room("differential", &["probe"], &[]),
    room("xtask", &[], &[]),
];

/// Dependencies on others' crates that only some rooms may have.
pub(super) struct Kept {
    pub(super) name: &'static str,
    pub(super) rooms: &'static [&'static str],
    pub(super) reason: &'static str,
}

const fn kept(name: &'static str, rooms: &'static [&'static str], reason: &'static str) -> Kept {
    Kept {
        name,
        rooms,
        reason,
    }
}

pub(super) static KEPT: [Kept; 8] = [
    kept(
        "tokio",
        &["management", "node", "server", "perf", "leveret"],
        "only what drives sockets and tasks is asynchronous",
    ),
    kept(
        "redb",
        &["node"],
        "topology and identities live in the node's catalog",
    ),
    kept(
        "parking_lot",
        &["management", "node", "server", "storage"],
        "no locks in the pure rooms",
    ),
    kept(
        "rand",
        &["node", "server", "leveret", "differential"],
        "the pure rooms are given their random numbers",
    ),
    kept(
        "libc",
        &["storage", "node", "server", "leveret"],
        "the pure rooms make no system calls",
    ),
    kept("mimalloc", &["leveret"], "the binary chooses the allocator"),
    kept(
        "clap",
        &["leveret", "differential", "perf"],
        "only binaries have a command line",
    ),
    kept(
        "anyhow",
        &["leveret", "differential", "perf", "xtask"],
        "libraries have error enums, binaries print",
    ),
];

/// Rooms that read what comes from a socket or a disk, and so must not panic on it: their crate roots
/// deny the lints of [`PANICS`], tests apart.
pub(super) const NEVER_PANIC: [&str; 3] = ["wire", "storage", "protocol"];
pub(super) const PANICS: [&str; 2] = ["clippy::unwrap_used", "clippy::indexing_slicing"];

pub(super) fn find(name: &str) -> Option<&'static Room> {
    ROOMS.iter().find(|room| room.name == name)
}
