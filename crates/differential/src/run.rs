//! One run: the catalogue or random scripts played on both brokers, and the report of what differs.

use std::time::Instant;

use anyhow::{Context, Result};

use crate::compare::{Broker, Difference, Match};
use crate::known::Known;
use crate::player::Side;
use crate::script::Situation;
use crate::{generate, shrink};

/// Unknown differences after which a run gives up.
const DIFFERENCES_MAX: usize = 20;

/// One run of the tester.
pub(crate) struct Run {
    pub(crate) left: Broker,
    pub(crate) right: Broker,
    pub(crate) known: Known,
    pub(crate) shrinks: bool,
    pub(crate) unknown: usize,
    pub(crate) expected: usize,
}

impl Run {
    pub(crate) fn catalogue(&mut self, situations: &[Situation]) -> Result<()> {
        let mut different = 0;
        for (number, situation) in situations.iter().enumerate() {
            let name = format!("{}c{number:03}", std::process::id());
            let mut game = Match::new(&self.left, &self.right, &name, false);
            let differences = game.play(situation, &self.known, true);
            game.sweep()?;
            let differences = differences.with_context(|| situation.title.clone())?;
            different += usize::from(differences.iter().any(|d| d.known.is_none()));
            if !differences.is_empty() {
                println!("== {}", situation.title);
            }
            for difference in &differences {
                self.report(situation, difference);
            }
        }
        println!(
            "catalogue: {} situations, {different} differ",
            situations.len()
        );
        Ok(())
    }

    pub(crate) fn sequences(&mut self, first_seed: u64, count: u64) -> Result<()> {
        let start = Instant::now();
        let mut steps = 0;
        for seed in first_seed..first_seed + count {
            steps += self.random(seed, false)?;
            let done = seed - first_seed + 1;
            if done.is_multiple_of(200) || done == count {
                let seconds = start.elapsed().as_secs();
                println!(
                    "{done} sequences, {steps} steps, {} unknown and {} known differences, {seconds} s",
                    self.unknown, self.expected
                );
            }
            if DIFFERENCES_MAX <= self.unknown {
                println!("too many differences, stopping");
                break;
            }
        }
        Ok(())
    }

    /// Plays the script of a seed; returns how many steps were played.
    pub(crate) fn random(&mut self, seed: u64, verbose: bool) -> Result<usize> {
        let situation = generate::generate(seed);
        if verbose {
            print_script(&situation);
        }
        let name = format!("{}r{seed}", std::process::id());
        let mut game = Match::new(&self.left, &self.right, &name, true);
        let differences = game.play(&situation, &self.known, false);
        game.sweep()?;
        let differences = differences.with_context(|| format!("seed {seed}"))?;
        let Some(difference) = differences.first() else {
            return Ok(situation.steps.len());
        };
        if difference.known.is_none() {
            println!("\n== seed {seed}: differs at step {}", difference.step + 1);
            let mut played = situation.clone();
            played.steps.truncate(difference.step + 1);
            print_script(&played);
            self.report(&situation, difference);
            if self.shrinks {
                let shorter = shrink::shrink(&self.left, &self.right, &played, &self.known)?;
                println!("  shortest script that still differs (save it for --script):");
                print_script(&shorter);
            }
        } else {
            self.expected += 1;
        }
        Ok(difference.step + 1)
    }

    fn report(&mut self, situation: &Situation, difference: &Difference) {
        let step = &situation.steps[difference.step];
        println!("  step {}: {step}", difference.step + 1);
        let (left, right) = difference.parting_lines();
        let all_same = left.is_empty() && right.is_empty();
        if all_same {
            println!("    the same lines in another order:");
        }
        let left = if all_same {
            difference.left.iter().map(String::as_str).collect()
        } else {
            left
        };
        let right = if all_same {
            difference.right.iter().map(String::as_str).collect()
        } else {
            right
        };
        left.iter().for_each(|line| println!("    left:  {line}"));
        right.iter().for_each(|line| println!("    right: {line}"));
        match &difference.known {
            Some(reason) => {
                self.expected += 1;
                println!("    known: {reason}");
            }
            None => self.unknown += 1,
        }
    }
}

fn print_script(situation: &Situation) {
    println!("== {}", situation.title);
    situation.steps.iter().for_each(|step| println!("{step}"));
}

/// Prints one broker's answers.
pub(crate) fn show(broker: &Broker, number: usize, situation: &Situation) {
    println!("== {}", situation.title);
    let prefix = format!("s{}x{number:03}-", std::process::id());
    let mut side = Side::new(&broker.address, &broker.vhost, &prefix);
    for step in &situation.steps {
        println!("  {step}");
        match side.play(step) {
            Ok(seen) => {
                seen.raw_lines(&mut side.names)
                    .iter()
                    .for_each(|line| println!("      <- {line}"));
            }
            Err(error) => println!("      !! {error}"),
        }
    }
    if let Err(error) = side.sweep() {
        println!("      !! sweep: {error}");
    }
}
