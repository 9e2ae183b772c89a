//! Plays the same script on two brokers and compares all that their clients see.
#![allow(clippy::print_stdout)]

mod normal;
mod player;
mod script;

use anyhow::Result;
use clap::Parser;

use crate::player::Side;
use crate::script::{Situation, parse_situations};

const CATALOGUE: &str = include_str!("catalogue.txt");

/// Differential tester of AMQP 0-9-1 brokers.
#[derive(Parser)]
struct Arguments {
    /// First broker, HOST:PORT.
    #[arg(long)]
    left: String,
    /// Plays a script file (or the catalogue) on the left broker and prints its answers.
    #[arg(long)]
    show: bool,
    /// Only situations whose title contains this.
    #[arg(long)]
    title: Option<String>,
    /// vhost on the left broker.
    #[arg(long, default_value = "/")]
    left_vhost: String,
    /// A file of situations instead of the built-in catalogue.
    #[arg(long)]
    script: Option<std::path::PathBuf>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let text = match &arguments.script {
        Some(path) => std::fs::read_to_string(path)?,
        None => CATALOGUE.to_owned(),
    };
    let situations = parse_situations(&text)?;
    for (number, situation) in situations.iter().enumerate() {
        if arguments.title.as_ref().is_none_or(|title| situation.title.contains(title.as_str())) {
            show(&arguments, number, situation);
        }
    }
    Ok(())
}

fn show(arguments: &Arguments, number: usize, situation: &Situation) {
    println!("== {}", situation.title);
    let prefix = format!("s{}x{number:03}-", std::process::id());
    let mut side = Side::new(&arguments.left, &arguments.left_vhost, &prefix);
    for step in &situation.steps {
        println!("  {step}");
        match side.play(step) {
            Ok(lines) => lines.iter().for_each(|line| println!("      <- {line}")),
            Err(error) => println!("      !! {error}"),
        }
    }
    if let Err(error) = side.sweep() {
        println!("      !! sweep: {error}");
    }
}
