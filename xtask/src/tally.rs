//! Counting what passed, failed and was skipped: the last line of a test run, and of every client
//! program and suite.
//!
//! The line has one form everywhere, `12 passed, 0 failed, 3 skipped`, so that sums can be made of
//! sums.

use std::fmt;

/// How many tests went which way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Tally {
    pub(crate) const PASSED: Tally = Tally {
        passed: 1,
        failed: 0,
        skipped: 0,
    };
    pub(crate) const FAILED: Tally = Tally {
        passed: 0,
        failed: 1,
        skipped: 0,
    };
    pub(crate) const SKIPPED: Tally = Tally {
        passed: 0,
        failed: 0,
        skipped: 1,
    };

    /// Reads `12 passed, 0 failed` with or without `, 3 skipped`. `None` for any other line.
    pub(crate) fn parse(line: &str) -> Option<Tally> {
        let mut counts = line.trim().split(", ");
        let passed = count(counts.next()?, "passed")?;
        let failed = count(counts.next()?, "failed")?;
        let skipped = match counts.next() {
            Some(part) => count(part, "skipped")?,
            None => 0,
        };
        counts.next().is_none().then_some(Tally {
            passed,
            failed,
            skipped,
        })
    }

    /// Adds the counts of another.
    pub(crate) fn add(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

fn count(part: &str, word: &str) -> Option<u64> {
    part.strip_suffix(word)?.trim_end().parse().ok()
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

/// The whole of a run: sums, and the names of what did not pass.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    total: Tally,
    failed: Vec<String>,
    skipped: Vec<String>,
}

impl Summary {
    /// Enters one step. A step that was skipped counts as failed where nothing may be skipped,
    /// which is in CI.
    pub(crate) fn enter(&mut self, name: &str, tally: Tally) {
        self.enter_with(name, tally, in_ci());
    }

    fn enter_with(&mut self, name: &str, mut tally: Tally, skips_fail: bool) {
        if skips_fail {
            tally.failed += tally.skipped;
            tally.skipped = 0;
        }
        self.total.add(tally);
        if tally.failed > 0 {
            self.failed.push(name.to_owned());
        }
        if tally.skipped > 0 {
            self.skipped.push(name.to_owned());
        }
    }

    /// Prints what did not pass and, last, the sums. `true` when nothing failed.
    pub(crate) fn close(&self) -> bool {
        println!();
        for name in &self.skipped {
            println!("skipped: {name}");
        }
        for name in &self.failed {
            println!("failed: {name}");
        }
        println!("{}", self.total);
        self.total.failed == 0
    }
}

/// Whether this run is CI's: there, a skip is a failure.
pub(crate) fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closing_line_is_read() {
        let all = Tally {
            passed: 12,
            failed: 0,
            skipped: 3,
        };
        assert_eq!(Tally::parse("12 passed, 0 failed, 3 skipped"), Some(all));
        assert_eq!(
            Tally::parse(" 12 passed, 1 failed\n"),
            Some(Tally {
                passed: 12,
                failed: 1,
                skipped: 0
            })
        );
        for line in [
            "",
            "12 passed",
            "passed, failed",
            "1 passed, 2 failed, 3 skipped, 4 lost",
        ] {
            assert_eq!(Tally::parse(line), None, "{line}");
        }
    }

    #[test]
    fn a_tally_reads_what_it_prints() {
        for tally in [Tally::PASSED, Tally::FAILED, Tally::SKIPPED] {
            assert_eq!(Tally::parse(&tally.to_string()), Some(tally));
        }
    }

    #[test]
    fn in_ci_a_skip_is_a_failure() {
        let mut summary = Summary::default();
        summary.enter_with(
            "programs/go",
            Tally {
                passed: 2,
                failed: 0,
                skipped: 1,
            },
            true,
        );
        assert_eq!(
            summary.total,
            Tally {
                passed: 2,
                failed: 1,
                skipped: 0
            }
        );
        assert_eq!(summary.failed, ["programs/go"]);
    }
}
