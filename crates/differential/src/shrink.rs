//! Makes a script that shows a difference shorter, as long as the difference stays.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::compare::{Broker, Match};
use crate::known::Known;
use crate::script::Situation;

/// Time after which the shortest script so far has to do.
const SHRINK_TIME: Duration = Duration::from_secs(60);

/// Drops ever smaller runs of steps while some unknown difference remains.
pub(crate) fn shrink(
    left: &Broker,
    right: &Broker,
    situation: &Situation,
    known: &Known,
) -> Result<Situation> {
    let deadline = Instant::now() + SHRINK_TIME;
    let mut best = situation.clone();
    let mut run = best.steps.len() / 2;
    let mut attempt = 0;
    while 0 < run {
        let mut start = 0;
        while start < best.steps.len() && Instant::now() < deadline {
            let mut shorter = best.clone();
            let end = (start + run).min(shorter.steps.len());
            shorter.steps.drain(start..end);
            attempt += 1;
            let name = format!("{}s{attempt}", std::process::id());
            let mut game = Match::new(left, right, &name, true);
            let found = game.play(&shorter, known, false);
            game.sweep()?;
            match found?
                .first()
                .filter(|difference| difference.known.is_none())
            {
                Some(difference) => {
                    shorter.steps.truncate(difference.step + 1);
                    best = shorter;
                }
                None => start += run,
            }
        }
        run /= 2;
    }
    Ok(best)
}
