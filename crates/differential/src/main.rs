//! Plays the same script on two brokers and compares all that their clients see.
//!
//! `--catalogue` plays single situations, `--sequences N` random scripts, `--show` prints one
//! broker's answers. Start at `script.rs` for the language and `compare.rs` for the comparison.
#![allow(
    clippy::print_stdout,
    reason = "a command-line tool reports on standard output"
)]

mod channel;
mod compare;
mod generate;
mod known;
mod normal;
mod options;
mod player;
mod script;
mod seen;
mod settle;
mod shrink;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use clap::Parser;

use crate::compare::{Broker, Difference, Match};
use crate::known::Known;
use crate::player::Side;
use crate::script::{Situation, parse_situations};

const CATALOGUE: &str = include_str!("catalogue.txt");
const KNOWN: &str = include_str!("../known-differences.txt");
/// Unknown differences after which a run gives up.
const DIFFERENCES_MAX: usize = 20;

/// Differential tester of AMQP 0-9-1 brokers.
#[derive(Parser)]
struct Arguments {
    /// The broker that is right (RabbitMQ), HOST:PORT.
    #[arg(long)]
    left: String,
    /// The broker under test, HOST:PORT.
    #[arg(long)]
    right: Option<String>,
    /// vhost on the left broker.
    #[arg(long, default_value = "/")]
    left_vhost: String,
    /// vhost on the right broker.
    #[arg(long, default_value = "/")]
    right_vhost: String,
    /// Prints the left broker's answers to the catalogue (or script) and compares nothing.
    #[arg(long)]
    show: bool,
    /// Compares the catalogue.
    #[arg(long)]
    catalogue: bool,
    /// Compares the situations of a file.
    #[arg(long)]
    script: Option<PathBuf>,
    /// Only situations whose title contains this.
    #[arg(long)]
    title: Option<String>,
    /// Compares this many random scripts.
    #[arg(long, default_value_t = 0)]
    sequences: u64,
    /// Seed of the first random script; the next has the next.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only the script of this seed, printed as it is played.
    #[arg(long)]
    only: Option<u64>,
    /// Leaves a script that shows a difference as long as it is.
    #[arg(long)]
    no_shrink: bool,
    /// Known differences, instead of the built-in list.
    #[arg(long)]
    known: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let known = match &arguments.known {
        Some(path) => Known::parse(&std::fs::read_to_string(path)?)?,
        None => Known::parse(KNOWN)?,
    };
    let text = match &arguments.script {
        Some(path) => std::fs::read_to_string(path).context(path.display().to_string())?,
        None => CATALOGUE.to_owned(),
    };
    let mut situations = parse_situations(&text)?;
    if let Some(title) = &arguments.title {
        situations.retain(|situation| situation.title.contains(title.as_str()));
    }
    let left = Broker {
        address: arguments.left.clone(),
        vhost: arguments.left_vhost.clone(),
    };
    if arguments.show {
        situations
            .iter()
            .enumerate()
            .for_each(|(number, situation)| show(&left, number, situation));
        return Ok(ExitCode::SUCCESS);
    }
    let address = arguments.right.clone().context("--right is missing")?;
    let right = Broker {
        address,
        vhost: arguments.right_vhost.clone(),
    };
    let mut run = Run {
        left,
        right,
        known,
        shrinks: !arguments.no_shrink,
        unknown: 0,
        expected: 0,
    };
    if arguments.catalogue || arguments.script.is_some() {
        run.catalogue(&situations)?;
    }
    if let Some(seed) = arguments.only {
        run.random(seed, true)?;
    } else {
        run.sequences(arguments.seed, arguments.sequences)?;
    }
    Ok(if run.unknown == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// One run of the tester.
struct Run {
    left: Broker,
    right: Broker,
    known: Known,
    shrinks: bool,
    unknown: usize,
    expected: usize,
}

impl Run {
    fn catalogue(&mut self, situations: &[Situation]) -> Result<()> {
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

    fn sequences(&mut self, first_seed: u64, count: u64) -> Result<()> {
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
    fn random(&mut self, seed: u64, verbose: bool) -> Result<usize> {
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

fn show(broker: &Broker, number: usize, situation: &Situation) {
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
