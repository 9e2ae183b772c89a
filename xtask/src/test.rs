//! `cargo xtask test`: everything that CI runs, and one closing line.
//!
//! One build in all: the workspace is built once with everything its tests need, and that same
//! build yields the broker that the client programs talk to.

use anyhow::Result;

use crate::check;
use crate::instructions;
use crate::interop::{self, Selection};
use crate::process::{cargo, run_and_keep, succeeds};
use crate::tally::{Summary, Tally};

/// Runs it all. `false` if anything failed, or was skipped in CI.
pub(crate) fn run() -> Result<bool> {
    let mut summary = Summary::default();
    check::run(&mut summary);
    if build() {
        let tests = workspace_tests()?;
        summary.enter("workspace tests", tests);
        let counted = instructions::check().unwrap_or_else(|error| {
            eprintln!("instructions: {error:#}");
            false
        });
        summary.enter(
            "instructions",
            if counted {
                Tally::PASSED
            } else {
                Tally::FAILED
            },
        );
        if let Err(error) = interop::run(Selection::Ci, &mut summary) {
            eprintln!("interop: {error:#}");
            summary.enter("interop", Tally::FAILED);
        }
    } else {
        summary.enter("build", Tally::FAILED);
    }
    Ok(summary.close())
}

/// Builds every target at once. Built apart, the binaries and the tests would differ in their
/// dependencies' features, and the dependencies would be built twice.
pub(crate) fn build() -> bool {
    println!("== build");
    succeeds(&mut cargo(&[
        "build",
        "--workspace",
        "--all-targets",
        "--quiet",
    ]))
}

fn workspace_tests() -> Result<Tally> {
    let nextest = cargo(&["nextest", "--version"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !nextest {
        println!("== cargo test (cargo-nextest is not installed)");
        let (status, text) = run_and_keep(&mut cargo(&["test", "--workspace", "--no-fail-fast"]))?;
        return Ok(judged(cargo_test_tally(&text), status.success()));
    }
    println!("== cargo nextest run");
    let (status, text) = run_and_keep(&mut cargo(&[
        "nextest",
        "run",
        "--workspace",
        "--no-fail-fast",
        "--no-tests=pass",
        "--status-level=fail",
        "--final-status-level=fail",
    ]))?;
    let mut tally = judged(nextest_tally(&text), status.success());
    tally.add(examples()?);
    Ok(tally)
}

/// The examples in doc comments, which nextest does not run. Most crates have none, so that only a
/// failure is worth showing.
fn examples() -> Result<Tally> {
    println!("== cargo test --doc");
    let output = cargo(&["test", "--workspace", "--doc", "--no-fail-fast", "--quiet"]).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        println!("{text}{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(judged(cargo_test_tally(&text), output.status.success()))
}

/// A run that failed without a failed test (it did not build, it was killed) still is a failure.
fn judged(mut tally: Tally, succeeded: bool) -> Tally {
    if !succeeded && tally.failed == 0 {
        tally.failed = 1;
    }
    tally
}

/// Sums `test result: ok. 5 passed; 0 failed; 1 ignored; ...`, a line for each test binary. Ignored
/// tests are not skips: they need a RabbitMQ beside the broker, and are run on demand.
fn cargo_test_tally(text: &str) -> Tally {
    let mut tally = Tally::default();
    for line in text.lines().filter(|line| line.starts_with("test result:")) {
        tally.passed += count_before(line, "passed");
        tally.failed += count_before(line, "failed");
    }
    tally
}

/// Reads `Summary [ 0.1s] 10 tests run: 8 passed (1 slow), 1 failed, 1 timed out, 2 skipped`.
fn nextest_tally(text: &str) -> Tally {
    let mut tally = Tally::default();
    for line in text
        .lines()
        .filter(|line| line.trim_start().starts_with("Summary ["))
    {
        tally.passed += count_before(line, "passed");
        for word in ["failed", "timed out", "exec failed"] {
            tally.failed += count_before(line, word);
        }
    }
    tally
}

/// The number that stands before a word: 8 for `passed` in `8 passed (1 slow)`. Zero when there is
/// none.
fn count_before(line: &str, word: &str) -> u64 {
    let Some(position) = line.find(&format!(" {word}")) else {
        return 0;
    };
    let number = line[..position]
        .rsplit(|character: char| !character.is_ascii_digit())
        .next();
    number.and_then(|digits| digits.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_cargo_test_are_read() {
        let text = "test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out\n\
                    test a ... ok\n\
                    test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out\n";
        assert_eq!(
            cargo_test_tally(text),
            Tally {
                passed: 7,
                failed: 3,
                skipped: 0
            }
        );
    }

    #[test]
    fn the_sum_of_nextest_is_read() {
        let text = "     Summary [   0.005s] 10 tests run: 8 passed (1 slow), 1 failed, 1 timed out, 2 skipped\n";
        assert_eq!(
            nextest_tally(text),
            Tally {
                passed: 8,
                failed: 2,
                skipped: 0
            }
        );
    }

    #[test]
    fn a_run_that_died_is_a_failure() {
        assert_eq!(judged(Tally::default(), false), Tally::FAILED);
        assert_eq!(judged(Tally::PASSED, true), Tally::PASSED);
    }
}
