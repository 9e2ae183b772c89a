//! What was recorded from RabbitMQ, and what may differ from it.
//!
//! A test finds differences, each under a name. Those that are known stand in a file: a pattern a line with its
//! reason, `*` for any text. What differs and is not there fails the test, and so does what is there and does not
//! differ.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// A file beside the tests.
pub(crate) fn beside(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it")
        .join(name)
}

/// What was recorded, as it was written.
pub(crate) fn read(name: &str) -> String {
    let path = beside(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Records lines.
pub(crate) fn write(name: &str, lines: &[String]) {
    std::fs::write(beside(name), lines.join("\n") + "\n").expect("written");
}

/// The management API and the AMQP port of the RabbitMQ that is recorded.
pub(crate) fn reference() -> (SocketAddr, SocketAddr) {
    let address = |name: &str| -> SocketAddr {
        let text = std::env::var(name).unwrap_or_else(|_| panic!("{name} says where it is"));
        text.parse().expect("an address")
    };
    (address("RABBITMQ_HTTP"), address("RABBITMQ_AMQP"))
}

/// Fails unless the differences are those that the file lists.
#[track_caller]
pub(crate) fn judge(found: &BTreeMap<String, String>, listed: &str) {
    let listed = read(listed);
    let allowed: Vec<&str> = listed
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with("//"))
        .map(|line| line.split_once(" # ").expect("a pattern and its reason").0)
        .map(str::trim)
        .collect();
    let mut wrong = Vec::new();
    for (name, said) in found {
        if !allowed.iter().any(|pattern| fits(pattern, name)) {
            wrong.push(format!("{name}: {said}"));
        }
    }
    for pattern in allowed {
        if !found.keys().any(|name| fits(pattern, name)) {
            wrong.push(format!("listed, and no difference: {pattern}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of them:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// [`judge`] of two maps that should say the same.
#[track_caller]
pub(crate) fn judge_maps(
    theirs: &BTreeMap<String, String>,
    ours: &BTreeMap<String, String>,
    listed: &str,
) {
    let mut found = BTreeMap::new();
    for name in theirs.keys().chain(ours.keys()) {
        let said = |map: &BTreeMap<String, String>| {
            map.get(name).map_or("nothing", String::as_str).to_owned()
        };
        let (their, our) = (said(theirs), said(ours));
        if their != our {
            found.insert(name.clone(), format!("RabbitMQ {their}; ours {our}"));
        }
    }
    judge(&found, listed);
}

/// Whether a name fits a pattern, in which a `*` stands for any text.
fn fits(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(name) = name.strip_prefix(first) else {
        return false;
    };
    let mut starts = name.char_indices().map(|(at, _)| at);
    starts.any(|at| fits(rest, &name[at..])) || fits(rest, "")
}

#[test]
fn patterns_fit() {
    for (pattern, name, expected) in [
        ("a .b", "a .b", true),
        ("a .b", "a .bc", false),
        ("* .b", "a/c .b", true),
        ("a*", "a .b", true),
        ("* .b*", "a .b.c", true),
        ("* .b", "a .b.c", false),
        ("* .b", "a .b .b", true),
    ] {
        assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
    }
}
