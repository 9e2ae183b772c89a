//! The documents and what is beside the code: titles, lengths, the import table, first lines,
//! scripts, lock files.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use super::Finding;
use super::rooms::ROOMS;
use super::tree::{File, Tree};

/// Documents that are worth reading only while they are short.
const LINES_MAX: [(&str, usize); 2] = [("ARCHITECTURE.md", 300), ("README.md", 100)];

const TABLE_PATH: &str = "ARCHITECTURE.md";
const TABLE_START: &str = "<!-- imports: written by `cargo xtask tidy --write` -->\n";
const TABLE_END: &str = "<!-- end of imports -->\n";

/// Where lock files may say that a package comes from.
const REGISTRIES: [&str; 2] = [
    "registry+https://github.com/rust-lang/crates.io-index",
    "https://registry.npmjs.org/",
];

pub(super) fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    for file in &tree.files {
        let Some(text) = file.text.as_deref() else {
            continue;
        };
        let name = file.name();
        if file.path.ends_with(".md") {
            check_markdown(file, text, findings);
        }
        if file.path.ends_with(".rs") && !text.starts_with("//!") {
            let text = "does not open with `//!`: what it is, and what is deliberately absent";
            findings.push(Finding::new(&file.path, 1, text));
        }
        if (text.starts_with("#!/") || name == "run" || name == "setup") && !file.executable {
            findings.push(Finding::new(
                &file.path,
                0,
                "is a script, but not executable",
            ));
        }
        if file.path.ends_with(".rs") {
            check_ignored_tests(file, text, findings);
        }
        if name == "Cargo.lock" || name == "package-lock.json" {
            check_lock_file(file, text, findings);
        }
    }
    check_table(tree, findings);
}

fn check_markdown(file: &File, text: &str, findings: &mut Vec<Finding>) {
    let mut titles = 0;
    let mut in_code = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            in_code = !in_code;
        } else if !in_code && line.starts_with("# ") {
            titles += 1;
        }
    }
    if titles != 1 {
        findings.push(Finding::new(
            &file.path,
            0,
            format!("has {titles} `#` titles; a document has one"),
        ));
    }
    let lines = text.lines().count();
    let limit = LINES_MAX
        .iter()
        .find(|(path, _)| *path == file.path)
        .map(|(_, limit)| *limit);
    if limit.is_some_and(|limit| lines > limit) {
        findings.push(Finding::new(
            &file.path,
            0,
            format!("has {lines} lines: too long to be read"),
        ));
    }
}

/// A test that does not run says why.
fn check_ignored_tests(file: &File, text: &str, findings: &mut Vec<Finding>) {
    for (index, line) in text.lines().enumerate() {
        if line.trim() == "#[ignore]" {
            let text = "an ignored test without its reason: #[ignore = \"...\"]";
            findings.push(Finding::new(&file.path, index + 1, text));
        }
    }
}

/// A lock file written behind a mirror names the mirror; nobody else can use it.
fn check_lock_file(file: &File, text: &str, findings: &mut Vec<Finding>) {
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        let source = line
            .strip_prefix("source = \"")
            .or_else(|| line.strip_prefix("\"resolved\": \""));
        let Some(source) = source else {
            continue;
        };
        if !REGISTRIES
            .iter()
            .any(|registry| source.starts_with(registry))
        {
            let text = format!("a package from elsewhere than the public registry: {source}");
            findings.push(Finding::new(&file.path, index + 1, text));
        }
    }
}

/// The import table as ARCHITECTURE.md shows it.
fn table() -> String {
    let mut text = "\n| crate | imports | forbidden by machine |\n| --- | --- | --- |\n".to_owned();
    for room in &ROOMS {
        let imports = match room.imports {
            [] => "nothing of ours".to_owned(),
            imports => imports.join(", "),
        };
        let walls: Vec<&str> = room.walls.iter().map(|wall| wall.name()).collect();
        let walls = if walls.is_empty() {
            "-".to_owned()
        } else {
            walls.join(", ")
        };
        let _ = writeln!(text, "| {} | {imports} | {walls} |", room.name);
    }
    text.push('\n');
    text
}

/// The text around the table. `None` when the marks are missing.
fn around_table(text: &str) -> Option<(&str, &str, &str)> {
    let start = text.find(TABLE_START)? + TABLE_START.len();
    let end = start + text[start..].find(TABLE_END)?;
    Some((&text[..start], &text[start..end], &text[end..]))
}

fn check_table(tree: &Tree, findings: &mut Vec<Finding>) {
    let text = tree
        .file(TABLE_PATH)
        .and_then(|file| file.text.as_deref())
        .unwrap_or_default();
    match around_table(text) {
        None => findings.push(Finding::new(
            TABLE_PATH,
            0,
            format!("lacks the line {TABLE_START:?}"),
        )),
        Some((_, found, _)) if found == table() => {}
        Some(_) => {
            let text = "its import table is not up to date: run `cargo xtask tidy --write`";
            findings.push(Finding::new(TABLE_PATH, 0, text));
        }
    }
}

/// Brings the import table up to date.
pub(super) fn write(root: &Path) -> Result<()> {
    let path = root.join(TABLE_PATH);
    let text = fs::read_to_string(&path).with_context(|| format!("reading {TABLE_PATH}"))?;
    let Some((before, found, after)) = around_table(&text) else {
        return Ok(());
    };
    if found != table() {
        fs::write(&path, format!("{before}{}{after}", table()))
            .with_context(|| format!("writing {TABLE_PATH}"))?;
    }
    Ok(())
}
