//! Plays a script on both sides, step by step, and says where they part.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Result;

use crate::known::Known;
use crate::player::Side;
use crate::script::{Situation, Step};
use crate::seen::Seen;

/// How long a difference is given to go away, waited in these pieces (milliseconds).
const PATIENCE_MS: [u64; 6] = [10, 40, 100, 250, 600, 1000];

/// A broker's address and vhost.
#[derive(Clone, Debug)]
pub(crate) struct Broker {
    /// HOST:PORT
    pub(crate) address: String,
    /// Where to play.
    pub(crate) vhost: String,
}

/// A step whose two sides differ.
#[derive(Clone, Debug)]
pub(crate) struct Difference {
    /// Index of the step.
    pub(crate) step: usize,
    /// All that the left side saw.
    pub(crate) left: Vec<String>,
    /// All that the right side saw.
    pub(crate) right: Vec<String>,
    /// The reason, when the list of known differences has one.
    pub(crate) known: Option<String>,
}

impl Difference {
    /// Lines of one side that the other does not have.
    pub(crate) fn parting_lines(&self) -> (Vec<&str>, Vec<&str>) {
        (
            missing(&self.left, &self.right),
            missing(&self.right, &self.left),
        )
    }
}

fn missing<'a>(these: &'a [String], those: &[String]) -> Vec<&'a str> {
    let mut rest: Vec<&String> = those.iter().collect();
    let mut found = Vec::new();
    for line in these {
        match rest.iter().position(|other| *other == line) {
            Some(index) => drop(rest.remove(index)),
            None => found.push(line.as_str()),
        }
    }
    found
}

/// Both sides of one script.
pub(crate) struct Match {
    left: Side,
    right: Side,
}

impl Match {
    /// Takes places; prefixes differ only when both sides are the same broker and vhost.
    pub(crate) fn new(left: &Broker, right: &Broker, name: &str, counts: bool) -> Self {
        let same = left.address == right.address && left.vhost == right.vhost;
        let mut left = Side::new(&left.address, &left.vhost, &format!("x{name}-"));
        let letter = if same { 'y' } else { 'x' };
        let mut right = Side::new(&right.address, &right.vhost, &format!("{letter}{name}-"));
        left.counts = counts;
        right.counts = counts;
        Self { left, right }
    }

    /// Plays until the end or the first difference that is not known. With `go_on`, a known
    /// difference does not end the script.
    pub(crate) fn play(
        &mut self,
        situation: &Situation,
        known: &Known,
        go_on: bool,
    ) -> Result<Vec<Difference>> {
        let mut differences = Vec::new();
        for (index, step) in situation.steps.iter().enumerate() {
            let Some((left, right)) = self.step(step)? else {
                continue;
            };
            let mut difference = Difference {
                step: index,
                left,
                right,
                known: None,
            };
            difference.known = known.reason(&situation.title, step, &difference);
            let end = difference.known.is_none() || !go_on;
            differences.push(difference);
            if end {
                break;
            }
        }
        Ok(differences)
    }

    /// Cleans up both brokers.
    pub(crate) fn sweep(mut self) -> Result<()> {
        self.left.sweep()?;
        self.right.sweep()
    }

    fn step(&mut self, step: &Step) -> Result<Option<(Vec<String>, Vec<String>)>> {
        let (mut left, mut right) = self.both(|side| side.play(step))?;
        for patience_ms in PATIENCE_MS {
            if self.lines(&left, &right).is_none() {
                return Ok(None);
            }
            let time = Duration::from_millis(patience_ms);
            let (more_left, more_right) = self.both(|side| side.wait_more(time))?;
            left.append(more_left);
            right.append(more_right);
        }
        Ok(self.lines(&left, &right))
    }

    /// The comparable lines of both sides when they differ.
    fn lines(&mut self, left: &Seen, right: &Seen) -> Option<(Vec<String>, Vec<String>)> {
        let mut masked: BTreeSet<(char, u16)> = left.ambiguous();
        masked.extend(right.ambiguous());
        for (letter, number) in &masked {
            self.left.set_ambiguous(*letter, *number);
            self.right.set_ambiguous(*letter, *number);
        }
        masked.extend(self.left.ambiguous());
        masked.extend(self.right.ambiguous());
        let left = left.lines(&mut self.left.names, &masked);
        let right = right.lines(&mut self.right.names, &masked);
        (left != right).then_some((left, right))
    }

    fn both<T: Send>(&mut self, work: impl Fn(&mut Side) -> Result<T> + Sync) -> Result<(T, T)> {
        let (left, right) = (&mut self.left, &mut self.right);
        std::thread::scope(|scope| {
            let other = scope.spawn(|| work(right));
            let left = work(left);
            let right = other
                .join()
                .unwrap_or_else(|_| Err(anyhow::anyhow!("a player panicked")));
            Ok((left?, right?))
        })
    }
}
