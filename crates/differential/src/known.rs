//! The list of known differences: what Leveret does otherwise on purpose.
//!
//! Each line of `known-differences.txt` is `step => left => right => reason`, the first three being
//! regular expressions: for the situation's title and the step as `title: step`, for each line that
//! only the left side (RabbitMQ) has, for each line that only the right side has. A difference is
//! known when one entry fits all of its lines. Every entry belongs to a row of COMPAT.md.

use anyhow::{Context, Result, bail};
use regex::Regex;

use crate::compare::Difference;
use crate::script::Step;

/// The list.
#[derive(Default)]
pub(crate) struct Known {
    entries: Vec<Entry>,
}

struct Entry {
    step: Regex,
    left: Regex,
    right: Regex,
    reason: String,
}

impl Known {
    /// Reads the list.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let mut entries = Vec::new();
        for line in text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
        {
            let parts: Vec<&str> = line.split(" => ").map(str::trim).collect();
            let &[step, left, right, reason] = parts.as_slice() else {
                bail!("known differences: four parts expected in: {line}");
            };
            let regex = |text: &str| Regex::new(text).context(line.to_owned());
            let (step, left, right) = (regex(step)?, regex(left)?, regex(right)?);
            entries.push(Entry {
                step,
                left,
                right,
                reason: reason.into(),
            });
        }
        Ok(Self { entries })
    }

    /// Why this difference is meant to be; `None` when it is not known.
    pub(crate) fn reason(
        &self,
        title: &str,
        step: &Step,
        difference: &Difference,
    ) -> Option<String> {
        let (left, right) = difference.parting_lines();
        let step = format!("{title}: {step}");
        let fits = |entry: &&Entry| {
            entry.step.is_match(&step)
                && left.iter().all(|line| entry.left.is_match(line))
                && right.iter().all(|line| entry.right.is_match(line))
        };
        self.entries
            .iter()
            .find(fits)
            .map(|entry| entry.reason.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(left: &str, right: &str) -> Difference {
        Difference {
            step: 0,
            left: vec![left.into()],
            right: vec![right.into()],
            known: None,
        }
    }

    #[test]
    fn an_entry_must_fit_every_line() {
        let known = Known::parse("# comment\nqos => ^a => ^b => we do it").expect("list");
        let step = Step::parse("a1 basic.qos global").expect("step");
        let reason = |left, right| known.reason("qos: global", &step, &difference(left, right));
        assert_eq!(reason("a1", "b1"), Some("we do it".into()));
        assert_eq!(reason("a1", "c1"), None);
        assert!(Known::parse("only => three => parts").is_err());
    }

    #[test]
    fn the_list_and_the_catalogue_are_readable() {
        Known::parse(include_str!("../known-differences.txt")).expect("known differences");
        let text = include_str!("catalogue.txt");
        let situations = crate::script::parse_situations(text).expect("catalogue");
        assert!(250 < situations.len());
    }
}
