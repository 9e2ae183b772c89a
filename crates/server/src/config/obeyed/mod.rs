//! The keys that are obeyed, a table for each subject. [`super`] says how to add one.

mod definitions;
mod identities;
mod limits;
mod listeners;
mod log;
mod storage;

use super::key::{Key, fit};

/// Subjects: title, what it is about, keys.
pub(super) static TABLES: &[(&str, &str, &[Key])] = &[
    (
        "Listeners",
        "Where clients connect. An address is a port, or `HOST:PORT`.",
        listeners::KEYS,
    ),
    (
        "Limits",
        "What clients may ask for, and how much of it.",
        limits::KEYS,
    ),
    (
        "Users",
        "Who may log in, and what a new data directory begins with.",
        identities::KEYS,
    ),
    (
        "Storage",
        "What is kept on disk, when, and how much of it in memory.",
        storage::KEYS,
    ),
    (
        "Definitions",
        "What is imported at the start, and what new vhosts begin with.",
        definitions::KEYS,
    ),
    ("Log", "What is logged, and where to.", log::KEYS),
];

/// Other names of keys.
pub(super) static ALIASES: &[(&str, &str)] = &[
    ("channel_max", "max_channels_per_connection"),
    ("connection_max", "max_connections"),
];

/// All keys.
pub(super) fn all() -> impl Iterator<Item = &'static Key> {
    TABLES.iter().flat_map(|(_, _, keys)| keys.iter())
}

/// The key that this is, and what its `$` words stand for.
pub(super) fn find(words: &[String]) -> Option<(&'static Key, Vec<&str>)> {
    let mut fitting: Vec<_> = all()
        .filter_map(|key| Some((key, fit(key.name, words)?)))
        .collect();
    // A key spelt out goes before one with `$` words.
    fitting.sort_by_key(|(_, names)| names.len());
    fitting.into_iter().next()
}
