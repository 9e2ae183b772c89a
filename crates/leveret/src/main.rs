//! The one binary.

mod ctl;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.split_first() {
        Some((first, rest)) if first == "ctl" => ctl::run(rest),
        _ => ExitCode::from(64),
    }
}
