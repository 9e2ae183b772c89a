//! `cargo xtask check`: formatting, clippy, tidy, fuzz targets. What every commit passes.

use std::process::Command;

use anyhow::Result;

use crate::process::{cargo, root, succeeds, target_directory};
use crate::tally::{Summary, Tally};
use crate::tidy;

/// Runs all of them, whichever fail: the reader wants the whole list at once.
pub(crate) fn run(summary: &mut Summary) {
    step(summary, "fmt", || Ok(formatted()));
    step(summary, "tidy", || tidy::run(tidy::Mode::Check));
    step(summary, "clippy", || {
        let arguments = [
            "clippy",
            "--workspace",
            "--all-targets",
            "--quiet",
            "--",
            "-D",
            "warnings",
        ];
        Ok(succeeds(&mut cargo(&arguments)))
    });
    step(summary, "fuzz targets compile", || {
        let target = target_directory()?;
        let arguments = ["check", "--quiet", "--manifest-path", "fuzz/Cargo.toml"];
        // What the workspace has compiled is compiled for them, too.
        let mut check = cargo(&arguments);
        Ok(succeeds(check.arg("--target-dir").arg(target)))
    });
}

fn step(summary: &mut Summary, name: &str, work: impl FnOnce() -> Result<bool>) {
    println!("== {name}");
    let passed = work().unwrap_or_else(|error| {
        eprintln!("{name}: {error:#}");
        false
    });
    summary.enter(name, if passed { Tally::PASSED } else { Tally::FAILED });
}

/// `cargo xtask fmt`.
pub(crate) fn format() -> Result<bool> {
    Ok(formatters().iter_mut().all(succeeds))
}

fn formatted() -> bool {
    formatters()
        .iter_mut()
        .all(|command| succeeds(command.args(["--", "--check"])))
}

/// The workspace, and the fuzz targets, which are a workspace of their own.
fn formatters() -> Vec<Command> {
    let mut commands = vec![cargo(&["fmt", "--all"])];
    if root().join("fuzz/Cargo.toml").exists() {
        commands.push(cargo(&[
            "fmt",
            "--all",
            "--manifest-path",
            "fuzz/Cargo.toml",
        ]));
    }
    commands
}
