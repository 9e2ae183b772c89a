//! The one binary: reads the command line, wires the rooms together, and nothing else.

mod addresses;
mod allocator;
mod config;
mod ctl;
mod generate;
mod import;
mod log;
mod offline;
mod secret_file;
mod serve;
mod systemd;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A message broker that takes RabbitMQ's place.
#[derive(Debug, Parser)]
#[command(name = "leveret", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the broker.
    Serve(serve::Arguments),
    /// Put a load on any AMQP 0-9-1 broker and measure it.
    Perf(Box<perf::Arguments>),
    /// Check a configuration file, or show what would hold.
    #[command(subcommand)]
    Config(config::Command),
    /// Look at a stopped broker's messages on disk, and verify them. Changes nothing.
    #[command(after_help = offline::EXIT_CODES)]
    Inspect(offline::InspectArguments),
    /// Mend a damaged message log: keep what is whole, set aside what is not.
    #[command(after_help = offline::EXIT_CODES)]
    Repair(offline::RepairArguments),
    /// Bring the definitions of a running RabbitMQ, or of a file, into a broker.
    Import(import::Arguments),
    /// Print completions for a shell.
    Completions(generate::Completions),
    /// Write man pages.
    Man(generate::Man),
    /// Ask a running broker, in rabbitmqctl's words.
    #[command(disable_help_flag = true)]
    Ctl {
        /// A verb and its arguments; `help` lists them.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        line: Vec<String>,
    },
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Serve(arguments) => serve::run(arguments),
        Command::Perf(arguments) => perf::run(*arguments),
        Command::Config(command) => config::run(&command),
        Command::Inspect(arguments) => match offline::inspect(&arguments) {
            Ok(code) => return code,
            Err(error) => Err(error),
        },
        Command::Repair(arguments) => offline::repair(&arguments),
        Command::Import(arguments) => import::run(&arguments),
        Command::Completions(arguments) => {
            generate::completions(&arguments, <Arguments as clap::CommandFactory>::command());
            Ok(())
        }
        Command::Man(arguments) => {
            generate::man(&arguments, <Arguments as clap::CommandFactory>::command())
        }
        Command::Ctl { line } => return ctl::run(&line),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The one line that says why; standard error is where scripts look for it.
            #[allow(clippy::print_stderr, reason = "the binary talks to its user")]
            {
                eprintln!("leveret: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}
