//! The project's own commands: `cargo xtask <command>`.
//!
//! What a developer types and what CI runs are the same words, and stand here only. Few
//! dependencies on purpose: this program is built before anything else. Deliberately absent:
//! anything that a crate of the broker could need.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a command-line tool speaks to its user"
)]

mod bench;
mod broker;
mod check;
mod instructions;
mod interop;
mod process;
mod soak;
mod tally;
mod test;
mod tidy;

use std::process::ExitCode;

use anyhow::{Result, bail};

use crate::tally::Summary;

const USAGE: &str = "\
usage: cargo xtask <command>

  check            formatting, clippy without warnings, tidy
  tidy [--write]   the rules of STYLE.md that a machine keeps; --write brings the generated files up to date
  test             everything that CI runs: check, the workspace's tests, client programs, client suites
  interop [NAME..] client programs and client suites, all of them or those named (go, programs/go, suites/amqplib)
  bench [OPTIONS]  Leveret beside a peer, every scenario; xtask/src/bench/mod.rs has the options
  instructions [--write]
                   instructions a message, compared with what is recorded; --write records them anew
  soak [--kills N] [--seed N]
                   the broker killed 100 times while clients publish and consume: nothing confirmed is lost
  fmt              formats the workspace
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one command. `false` when it ran and found something wrong.
fn run(arguments: &[String]) -> Result<bool> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["check"] => {
            let mut summary = Summary::default();
            check::run(&mut summary);
            Ok(summary.close())
        }
        ["tidy"] => tidy::run(tidy::Mode::Check),
        ["tidy", "--write"] => tidy::run(tidy::Mode::Write),
        ["test"] => test::run(),
        ["interop", names @ ..] => {
            let mut summary = Summary::default();
            if !test::build() {
                bail!("the workspace does not build");
            }
            interop::run(interop::Selection::Named(names), &mut summary)?;
            Ok(summary.close())
        }
        ["instructions"] => instructions::check(),
        ["instructions", "--write"] => instructions::write(),
        ["bench", words @ ..] => bench::run(words),
        ["soak", arguments @ ..] => soak::run(arguments),
        ["fmt"] => check::format(),
        [] | ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            Ok(true)
        }
        _ => bail!("no such command: {}\n\n{USAGE}", words.join(" ")),
    }
}
