//! Plays the same script on two brokers and compares all that their clients see.
//!
//! `--catalogue` plays single situations, `--sequences N` random scripts, `--show` prints one
//! broker's answers. Start at `script.rs` for the language and `compare.rs` for the comparison.
#![allow(
    clippy::print_stdout,
    reason = "a command-line tool reports on standard output"
)]

mod channel;
mod command;
mod compare;
mod generate;
mod known;
mod normal;
mod options;
mod player;
mod run;
mod script;
mod seen;
mod settle;
mod shrink;

use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    command::run()
}
