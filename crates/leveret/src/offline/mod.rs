//! `leveret inspect` and `leveret repair`: a data directory whose broker is not running.
//!
//! What is found and done is `storage`'s; here it gets the queues' names from the catalog and is printed.
//! Deliberately absent: the catalog's own damage, which the broker's start tells of.

mod names;
mod report;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use node::catalog::{HoldFor, hold_offline};
use storage::disk::real::RealDisk;

use names::QueueNames;

/// What `inspect` and `repair` answer to a script.
pub(crate) const EXIT_CODES: &str =
    "Exit codes: 0 sound, or mended; 1 it could not be done; 3 damaged (inspect only).";

/// Of `inspect`, when something is damaged. 2 is the command line's.
const EXIT_DAMAGED: u8 = 3;

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// For people.
    Table,
    /// For programs.
    Json,
}

/// Flags of `leveret inspect`.
#[derive(Debug, clap::Args)]
pub(crate) struct InspectArguments {
    /// Where the broker keeps its data.
    #[arg(long, value_name = "DIR", default_value = "leveret-data")]
    data_dir: PathBuf,
    /// How to print it.
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Flags of `leveret repair`.
#[derive(Debug, clap::Args)]
pub(crate) struct RepairArguments {
    /// Where the broker keeps its data.
    #[arg(long, value_name = "DIR", default_value = "leveret-data")]
    data_dir: PathBuf,
}

#[allow(clippy::print_stdout, reason = "the binary talks to its user")]
pub(crate) fn inspect(arguments: &InspectArguments) -> Result<ExitCode> {
    let _hold = hold_offline(&arguments.data_dir, HoldFor::Reading)?;
    let names = QueueNames::read(&arguments.data_dir);
    let directory = messages(&arguments.data_dir)?;
    let disk = RealDisk::open_to_read(&directory)
        .with_context(|| format!("cannot read {}", directory.display()))?;
    let inspection = storage::inspect(&disk)?;
    match arguments.format {
        Format::Table => print!("{}", report::table(&inspection, &names)),
        Format::Json => println!("{}", report::json(&inspection, &names)),
    }
    Ok(if inspection.damages.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(EXIT_DAMAGED)
    })
}

#[allow(clippy::print_stdout, reason = "the binary talks to its user")]
pub(crate) fn repair(arguments: &RepairArguments) -> Result<()> {
    let _hold = hold_offline(&arguments.data_dir, HoldFor::Changing)?;
    let names = QueueNames::read(&arguments.data_dir);
    let directory = messages(&arguments.data_dir)?;
    let disk = RealDisk::open(&directory)
        .with_context(|| format!("cannot use {}", directory.display()))?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let folder = free_folder(&directory, now)?;
    let path = directory.join(&folder);
    let mut text = String::new();
    let repaired = storage::repair(Arc::new(disk), &folder, &mut |repaired| {
        text = report::repaired(repaired, &names, &path, now);
        text.clone()
    })?;
    match repaired {
        Some(_) => print!("{text}"),
        None => println!("nothing is damaged; nothing was changed"),
    }
    Ok(())
}

fn messages(data_dir: &Path) -> Result<PathBuf> {
    let directory = data_dir.join(storage::DIRECTORY);
    if !directory.is_dir() {
        bail!("{} has no message log", data_dir.display());
    }
    Ok(directory)
}

/// A name for what is set aside that is not taken.
fn free_folder(directory: &Path, now: u64) -> Result<String> {
    const TRIES_MAX: u32 = 1000;
    let base = format!("quarantine-{}", report::compact_time(now));
    let mut names = (1..=TRIES_MAX).map(|n| match n {
        1 => base.clone(),
        n => format!("{base}-{n}"),
    });
    names
        .find(|name| !directory.join(name).exists())
        .context("there is no free name for the quarantine folder")
}
