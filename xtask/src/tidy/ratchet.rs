//! The ratchet: what is over a limit and is known to be. The list may only shrink.
//!
//! One line each: `file <path> <lines>` or `function <path> <name> <lines>`. A line whose thing has
//! shrunk must be lowered, and one whose thing is gone must go; `tidy --write` does both, and never
//! adds or raises one.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::Finding;
use super::sizes::{Oversize, oversizes};
use super::tree::Tree;

const PATH: &str = "xtask/tidy-exceptions.txt";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    File,
    Function,
}

/// The lines of the ratchet file.
pub(super) struct Exceptions(Vec<Line>);

struct Line {
    number: usize,
    text: String,
    /// `None` when the line cannot be read.
    exception: Option<Exception>,
}

#[derive(Debug, PartialEq, Eq)]
struct Exception {
    kind: Kind,
    path: String,
    name: String,
    lines: usize,
}

impl Exceptions {
    pub(super) fn of(tree: &Tree) -> Exceptions {
        let text = tree
            .file(PATH)
            .and_then(|file| file.text.as_deref())
            .unwrap_or_default();
        Exceptions::parse(text)
    }

    fn parse(text: &str) -> Exceptions {
        let content = |(_, line): &(usize, &str)| !line.trim().is_empty() && !line.starts_with('#');
        let lines = text.lines().enumerate().filter(content);
        Exceptions(
            lines
                .map(|(index, text)| Line {
                    number: index + 1,
                    text: text.to_owned(),
                    exception: Exception::parse(text),
                })
                .collect(),
        )
    }

    /// Every oversize needs its exception, and every exception its oversize, of the same length.
    pub(super) fn check(&self, oversizes: &[Oversize], findings: &mut Vec<Finding>) {
        for over in oversizes {
            let known = self.0.iter().filter_map(|line| line.exception.as_ref());
            let allowed = known
                .filter(|exception| exception.names(over))
                .map(|exception| exception.lines)
                .max();
            if allowed.is_none_or(|lines| over.lines > lines) {
                findings.push(Finding::new(&over.path, over.at, too_long(over, allowed)));
            }
        }
        for line in &self.0 {
            let text = match &line.exception {
                None => format!("cannot be read: {}", line.text),
                Some(exception) => match exception.longest(oversizes) {
                    None => "no longer needed: run `cargo xtask tidy --write`".to_owned(),
                    Some(lines) if lines < exception.lines => {
                        format!("has shrunk to {lines} lines: run `cargo xtask tidy --write`")
                    }
                    Some(_) => continue,
                },
            };
            findings.push(Finding::new(PATH, line.number, text));
        }
    }
}

fn too_long(over: &Oversize, allowed: Option<usize>) -> String {
    let what = match over.kind {
        Kind::File => "the file".to_owned(),
        Kind::Function => format!("fn {}", over.name),
    };
    match allowed {
        None => format!("{what} has {} lines: too long", over.lines),
        Some(allowed) => format!(
            "{what} has grown from {allowed} to {} lines: it may only shrink",
            over.lines
        ),
    }
}

impl Exception {
    fn parse(text: &str) -> Option<Exception> {
        let parts: Vec<&str> = text.split_whitespace().collect();
        let (kind, path, name, lines) = match parts.as_slice() {
            ["file", path, lines] => (Kind::File, path, "", lines),
            ["function", path, name, lines] => (Kind::Function, path, *name, lines),
            _ => return None,
        };
        let lines = lines.parse().ok()?;
        Some(Exception {
            kind,
            path: (*path).to_owned(),
            name: name.to_owned(),
            lines,
        })
    }

    fn names(&self, over: &Oversize) -> bool {
        (self.kind, &self.path, &self.name) == (over.kind, &over.path, &over.name)
    }

    /// The longest thing that the exception names.
    fn longest(&self, oversizes: &[Oversize]) -> Option<usize> {
        oversizes
            .iter()
            .filter(|over| self.names(over))
            .map(|over| over.lines)
            .max()
    }
}

/// Lowers and removes what can be. Never adds, never raises.
pub(super) fn write(root: &Path) -> Result<()> {
    let tree = Tree::read(root)?;
    let Some(text) = tree.file(PATH).and_then(|file| file.text.clone()) else {
        return Ok(());
    };
    let lowered = lowered(&text, &oversizes(&tree));
    if lowered != text {
        fs::write(root.join(PATH), lowered).with_context(|| format!("writing {PATH}"))?;
    }
    Ok(())
}

fn lowered(text: &str, oversizes: &[Oversize]) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let kept = match Exception::parse(line) {
            None => line.to_owned(),
            Some(exception) => match exception.longest(oversizes) {
                None => continue,
                Some(lines) => {
                    let (before, _) = line
                        .rsplit_once(' ')
                        .expect("an exception has several words");
                    format!("{before} {}", lines.min(exception.lines))
                }
            },
        };
        out.push_str(&kept);
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn over(name: &str, lines: usize) -> Oversize {
        let (kind, path) = (Kind::Function, "a.rs".to_owned());
        Oversize {
            kind,
            path,
            name: name.to_owned(),
            lines,
            at: 7,
        }
    }

    fn check(exceptions: &str, oversizes: &[Oversize]) -> Vec<String> {
        let mut findings = Vec::new();
        Exceptions::parse(exceptions).check(oversizes, &mut findings);
        findings.iter().map(Finding::to_string).collect()
    }

    #[test]
    fn what_is_listed_may_only_shrink() {
        assert_eq!(
            check("# comment\nfunction a.rs f 80\n", &[over("f", 80)]),
            [""; 0]
        );
        assert_eq!(
            check("", &[over("f", 80)]),
            ["a.rs:7: fn f has 80 lines: too long"]
        );
        let grown = "a.rs:7: fn f has grown from 80 to 81 lines: it may only shrink";
        assert_eq!(check("function a.rs f 80", &[over("f", 81)]), [grown]);
        let shrunk =
            "xtask/tidy-exceptions.txt:1: has shrunk to 75 lines: run `cargo xtask tidy --write`";
        assert_eq!(check("function a.rs f 80", &[over("f", 75)]), [shrunk]);
        let gone = "xtask/tidy-exceptions.txt:1: no longer needed: run `cargo xtask tidy --write`";
        assert_eq!(check("function a.rs f 80", &[]), [gone]);
        assert_eq!(
            check("nonsense", &[]),
            ["xtask/tidy-exceptions.txt:1: cannot be read: nonsense"]
        );
    }

    #[test]
    fn writing_lowers_and_removes_but_never_raises() {
        let text = "# kept\nfunction a.rs f 80\nfunction a.rs g 90\nfunction a.rs gone 99\n";
        let oversizes = [over("f", 75), over("g", 95)];
        assert_eq!(
            lowered(text, &oversizes),
            "# kept\nfunction a.rs f 75\nfunction a.rs g 90\n"
        );
    }
}
