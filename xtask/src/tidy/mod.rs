//! `cargo xtask tidy`: the rules of STYLE.md that a machine can keep. Also a test, so that nobody
//! forgets it.
//!
//! Each rule is a function from the tree to findings, in a file named for what it looks at. A rule
//! belongs here when rustc, clippy and rustfmt cannot keep it. Deliberately absent: opinions that
//! need a reader.

mod documents;
mod imports;
mod ratchet;
mod rooms;
mod rust_text;
mod sizes;
mod tree;
mod walls;
mod words;

use std::fmt;
use std::time::Instant;

use anyhow::Result;

use crate::process::{metadata, root};

/// Whether to look only, or to bring generated files up to date first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Check,
    Write,
}

/// Something that a rule objects to.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    path: String,
    /// From 1; 0 when it concerns the whole file.
    line: usize,
    text: String,
}

impl Finding {
    fn new(path: &str, line: usize, text: impl Into<String>) -> Finding {
        Finding {
            path: path.to_owned(),
            line,
            text: text.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.text),
            line => write!(f, "{}:{line}: {}", self.path, self.text),
        }
    }
}

/// Runs every rule and prints what they found. `true` when that is nothing.
pub(crate) fn run(mode: Mode) -> Result<bool> {
    let started = Instant::now();
    if mode == Mode::Write {
        walls::write(&root())?;
        documents::write(&root())?;
        ratchet::write(&root())?;
    }
    let findings = findings()?;
    for finding in &findings {
        println!("{finding}");
    }
    println!(
        "tidy: {} findings in {} ms",
        findings.len(),
        started.elapsed().as_millis()
    );
    Ok(findings.is_empty())
}

fn findings() -> Result<Vec<Finding>> {
    let tree = tree::Tree::read(&root())?;
    let packages = imports::packages(metadata()?)?;
    let mut findings = Vec::new();
    words::check(&tree, &mut findings);
    sizes::check(&tree, &mut findings);
    documents::check(&tree, &mut findings);
    walls::check(&tree, &mut findings);
    imports::check(&packages, &mut findings);
    imports::check_manifests(&tree, &mut findings);
    findings.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_is_tidy() {
        let findings = findings().expect("the tree can be read");
        let lines: Vec<String> = findings.iter().map(Finding::to_string).collect();
        assert!(
            lines.is_empty(),
            "cargo xtask tidy objects:\n{}",
            lines.join("\n")
        );
    }
}
