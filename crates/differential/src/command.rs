//! The command line: which brokers, and what to play on them.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

use crate::compare::Broker;
use crate::known::Known;
use crate::run::{Run, show};
use crate::script::parse_situations;

const CATALOGUE: &str = include_str!("catalogue.txt");
const KNOWN: &str = include_str!("../known-differences.txt");

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
    /// Known differences besides the built-in list: `known-differences-3.txt` when RabbitMQ 3 is on the left.
    #[arg(long)]
    known: Option<PathBuf>,
}

pub(crate) fn run() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let known = match &arguments.known {
        Some(path) => Known::parse(&format!("{KNOWN}\n{}", std::fs::read_to_string(path)?))?,
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
