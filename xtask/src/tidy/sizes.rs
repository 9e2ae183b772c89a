//! How long things may be: files, functions, crate roots, blobs.
//!
//! What is over a limit stands in the ratchet file with its size, and may only shrink.

use super::Finding;
use super::ratchet::{Exceptions, Kind};
use super::rust_text::{functions, lines_without_tests, test_modules};
use super::tree::{File, Tree};

const FILE_LINES_MAX: usize = 1_000;
const FUNCTION_LINES_MAX: usize = 70;
/// Tests may hold tables and scripts, which are not better for being cut.
const TEST_FUNCTION_LINES_MAX: usize = 150;
const CRATE_ROOT_LINES_MAX: usize = 100;
const BLOB_BYTES_MAX: u64 = 512 << 10;

/// Something over its limit.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Oversize {
    pub(super) kind: Kind,
    pub(super) path: String,
    /// The function's; empty for a file.
    pub(super) name: String,
    pub(super) lines: usize,
    /// Where it stands; not part of the exception.
    pub(super) at: usize,
}

/// Everything in the tree that is over a limit that has exceptions.
pub(super) fn oversizes(tree: &Tree) -> Vec<Oversize> {
    let mut found = Vec::new();
    for file in tree.files.iter().filter(|file| !file.is_generated()) {
        let Some(code) = &file.code else {
            continue;
        };
        let path = &file.path;
        let lines = lines_without_tests(code);
        if lines > FILE_LINES_MAX && !file.is_test() {
            let (kind, path) = (Kind::File, path.clone());
            found.push(Oversize {
                kind,
                path,
                name: String::new(),
                lines,
                at: 0,
            });
        }
        let tests = test_modules(code);
        for function in functions(code) {
            let for_tests = file.is_test() || tests.iter().any(|m| m.contains(&function.start));
            let limit = if for_tests {
                TEST_FUNCTION_LINES_MAX
            } else {
                FUNCTION_LINES_MAX
            };
            if function.lines > limit {
                let (kind, path, name) = (Kind::Function, path.clone(), function.name.to_owned());
                found.push(Oversize {
                    kind,
                    path,
                    name,
                    lines: function.lines,
                    at: function.line,
                });
            }
        }
    }
    found.sort();
    found
}

pub(super) fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    for file in &tree.files {
        if file.bytes > BLOB_BYTES_MAX {
            let text = format!(
                "{} bytes; over {BLOB_BYTES_MAX} nothing belongs in the history",
                file.bytes
            );
            findings.push(Finding::new(&file.path, 0, text));
        }
        if is_crate_root(file) {
            let lines = file.text.as_deref().unwrap_or_default().lines().count();
            if lines > CRATE_ROOT_LINES_MAX {
                let text = format!(
                    "{lines} lines; a crate root is a table of contents, {CRATE_ROOT_LINES_MAX} at most"
                );
                findings.push(Finding::new(&file.path, 0, text));
            }
        }
    }
    Exceptions::of(tree).check(&oversizes(tree), findings);
}

fn is_crate_root(file: &File) -> bool {
    file.path.ends_with("/src/lib.rs") || file.path.ends_with("/src/main.rs")
}
