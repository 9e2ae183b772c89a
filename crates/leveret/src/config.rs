//! `leveret config`: looks at a configuration without starting a broker.

use std::path::PathBuf;

use anyhow::{Result, anyhow};
use clap::Subcommand;
use server::Config;
use server::config::Sources;

/// What to do with it.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Read a file, say what is wrong with it and what in it does nothing.
    Check {
        /// The file: rabbitmq.conf's format, or TOML if its name ends with .toml.
        file: PathBuf,
    },
    /// Print what would hold, and where each value comes from.
    Show {
        /// Configuration file.
        #[arg(long, value_name = "FILE")]
        config: Option<PathBuf>,
    },
}

/// # Errors
/// If the configuration is wrong.
#[allow(clippy::print_stdout, reason = "the binary talks to its user")]
pub(crate) fn run(command: &Command) -> Result<()> {
    match command {
        Command::Check { file } => {
            let sources = Sources {
                file: Some(file.clone()),
                ..Sources::default()
            };
            let config = Config::load(&sources).map_err(|errors| anyhow!("{errors}"))?;
            for note in config.notes() {
                println!("{note}");
            }
            println!(
                "{}: {} keys, no errors",
                file.display(),
                config.statements().len()
            );
        }
        Command::Show { config } => {
            let sources = Sources::of_process(config.clone());
            let config = Config::load(&sources).map_err(|errors| anyhow!("{errors}"))?;
            print!("{}", config.show());
        }
    }
    Ok(())
}
