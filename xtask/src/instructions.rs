//! `cargo xtask instructions`: what a message costs, in instructions, compared with what was recorded.
//!
//! A busy machine makes time worthless as a measure; the number of instructions stays. Callgrind counts them in the
//! program `crates/protocol/benches/instructions.rs`, which takes messages through the whole broker but its
//! sockets. A phase that costs more than [`GROWTH_MAX`] times what stands in [`RECORD`] fails. Whoever makes it
//! slower for a reason, or faster, writes a new record: `cargo xtask instructions --write`.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::process::{cargo, root, succeeds};

/// Where the figures stand: scenario, phase, instructions a message.
const RECORD: &str = "crates/protocol/benches/instructions.txt";

const RECORD_HEAD: &str = "\
# Instructions a message: scenario, phase, count. Written by `cargo xtask instructions --write`.
";

/// How much more is too much.
const GROWTH_MAX: f64 = 1.15;

/// How much less is worth a new record.
const SHRINKAGE: f64 = 0.85;

/// Messages of a run.
const MESSAGES: u64 = 5000;

const PHASES: [&str; 3] = ["publish", "deliver", "ack"];

/// A line of the record.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Figure {
    scenario: String,
    phase: String,
    instructions: u64,
}

/// Counts and compares. `false` if something became too slow.
pub(crate) fn check() -> Result<bool> {
    let recorded = parse(&std::fs::read_to_string(root().join(RECORD)).context(RECORD)?)?;
    let program = build()?;
    let mut good = true;
    for old in recorded {
        let new = count(&program, &old.scenario, &old.phase)?;
        let (verdict, passed) = judge(old.instructions, new);
        good &= passed;
        println!(
            "{:>10} {:<8} {:>6} recorded, {new:>6} now  {verdict}",
            old.scenario, old.phase, old.instructions
        );
    }
    Ok(good)
}

/// Counts and records.
pub(crate) fn write() -> Result<bool> {
    let program = build()?;
    let listed = Command::new(&program).output()?;
    let mut text = RECORD_HEAD.to_owned();
    for scenario in String::from_utf8(listed.stdout)?.lines() {
        for phase in PHASES {
            let instructions = count(&program, scenario, phase)?;
            // Not every scenario has every phase.
            if 0 < instructions {
                writeln!(text, "{scenario} {phase} {instructions}")?;
            }
        }
    }
    print!("{text}");
    std::fs::write(root().join(RECORD), text)?;
    Ok(true)
}

fn judge(old: u64, new: u64) -> (&'static str, bool) {
    let ratio = new as f64 / old.max(1) as f64;
    match ratio {
        ratio if GROWTH_MAX < ratio => ("TOO SLOW", false),
        ratio if ratio < SHRINKAGE => ("faster: record it", true),
        _ => ("", true),
    }
}

fn parse(text: &str) -> Result<Vec<Figure>> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let [scenario, phase, instructions] = words.as_slice() else {
                bail!("{RECORD}: no scenario, phase and count in: {line}");
            };
            Ok(Figure {
                scenario: (*scenario).to_owned(),
                phase: (*phase).to_owned(),
                instructions: instructions.parse().with_context(|| line.to_owned())?,
            })
        })
        .collect()
}

/// Builds the program, and says where it is.
fn build() -> Result<PathBuf> {
    ensure_valgrind()?;
    let arguments = [
        "build",
        "--package",
        "protocol",
        "--bench",
        "instructions",
        "--profile",
        "instructions",
        "--message-format",
        "json-render-diagnostics",
    ];
    let built = cargo(&arguments).stderr(Stdio::inherit()).output()?;
    if !built.status.success() {
        bail!("the program that is counted does not build");
    }
    let messages = String::from_utf8(built.stdout)?;
    let messages = messages
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let mut programs = messages.filter_map(|message: Value| {
        let program = message["executable"].as_str()?;
        (message["target"]["name"] == "instructions").then(|| PathBuf::from(program))
    });
    programs
        .next_back()
        .context("cargo does not say where it put the program")
}

fn ensure_valgrind() -> Result<()> {
    let runs = Command::new("valgrind").arg("--version").output();
    if runs.is_ok_and(|output| output.status.success()) {
        return Ok(());
    }
    println!("valgrind is not installed: installing it");
    let mut command = Command::new(root().join("interop/apt-install"));
    command.arg("valgrind");
    if !succeeds(&mut command) {
        bail!("valgrind cannot be installed");
    }
    Ok(())
}

/// Instructions a message that a scenario takes in a phase.
fn count(program: &Path, scenario: &str, phase: &str) -> Result<u64> {
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(format!("--toggle-collect=*count_{phase}*"))
        .arg(program)
        .args([scenario, &MESSAGES.to_string()])
        .output()
        .context("running valgrind")?;
    let said = String::from_utf8_lossy(&run.stderr);
    if !run.status.success() {
        bail!("{scenario} failed under valgrind:\n{said}");
    }
    let line = said.lines().find(|line| line.contains("Collected :"));
    let total = line.and_then(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    Ok(total.context("valgrind says no number of instructions")? / MESSAGES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read() {
        let text = "# why\ndirect publish 100\ndirect deliver 7\n";
        let figures = parse(text).expect("it is a record");
        assert_eq!(figures.len(), 2);
        assert_eq!(figures[1].instructions, 7);
        assert!(parse("direct publish").is_err());
        assert!(parse("direct publish x").is_err());
    }

    #[test]
    fn more_than_fifteen_percent_is_too_much() {
        for (old, new, passed) in [(100, 115, true), (100, 116, false), (100, 10, true)] {
            assert_eq!(judge(old, new).1, passed, "{old} {new}");
        }
        assert_eq!(judge(100, 84).0, "faster: record it");
    }
}
