//! Shell completions and man pages, generated from the same tables that parse the command line.
//!
//! `leveret ctl` parses its verbs by itself, as rabbitmqctl does; here each becomes a command of clap's, so that
//! completions and pages know them.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::{Arg, Command};
use clap_complete::Shell;

use crate::ctl;

/// Flags of `leveret completions`.
#[derive(Debug, clap::Args)]
pub(crate) struct Completions {
    /// The shell.
    shell: Shell,
}

/// Flags of `leveret man`.
#[derive(Debug, clap::Args)]
pub(crate) struct Man {
    /// Directory to write the pages to.
    directory: PathBuf,
}

/// Prints completions for a shell.
pub(crate) fn completions(arguments: &Completions, command: Command) {
    let mut command = with_verbs(command);
    clap_complete::generate(
        arguments.shell,
        &mut command,
        "leveret",
        &mut std::io::stdout(),
    );
}

/// Writes a page for the program, and one for each of its commands and verbs.
pub(crate) fn man(arguments: &Man, command: Command) -> Result<()> {
    std::fs::create_dir_all(&arguments.directory)?;
    let mut command = with_verbs(command).disable_help_subcommand(true);
    command.build();
    page(&command, "leveret", &arguments.directory)
}

fn page(command: &Command, name: &str, directory: &Path) -> Result<()> {
    let mut text = Vec::new();
    let page = clap_mangen::Man::new(command.clone()).title(name.to_uppercase());
    page.render(&mut text)?;
    let path = directory.join(format!("{name}.1"));
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    for inner in command.get_subcommands() {
        page_of(inner, name, directory)?;
    }
    Ok(())
}

fn page_of(command: &Command, above: &str, directory: &Path) -> Result<()> {
    page(
        command,
        &format!("{above}-{}", command.get_name()),
        directory,
    )
}

/// The command line with ctl's verbs as commands.
fn with_verbs(command: Command) -> Command {
    command.mut_subcommand("ctl", |ctl| {
        let mut out = Command::new("ctl");
        if let Some(about) = ctl.get_about() {
            out = out.about(about.clone());
        }
        ctl::verbs::all().fold(out, |out, verb| {
            let mut inner = Command::new(verb.name);
            if !verb.usage.is_empty() {
                inner = inner.override_usage(format!("leveret ctl {} {}", verb.name, verb.usage));
            }
            let switches = verb.switches.iter().chain(ctl::line::GLOBAL);
            for switch in switches.filter(|switch| switch.name != "help") {
                let mut arg = Arg::new(switch.name).long(switch.name);
                if let Some(short) = switch.short {
                    arg = arg.short(short);
                }
                let action = match switch.takes_value {
                    true => clap::ArgAction::Set,
                    false => clap::ArgAction::SetTrue,
                };
                inner = inner.arg(arg.action(action));
            }
            if verb.arguments.1 > 0 {
                inner = inner.arg(Arg::new("arguments").num_args(0..));
            }
            out.subcommand(inner)
        })
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn completions_and_pages_know_every_verb() {
        let mut command = with_verbs(crate::Arguments::command());
        let mut text = Vec::new();
        clap_complete::generate(Shell::Bash, &mut command, "leveret", &mut text);
        let text = String::from_utf8(text).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let arguments = Man {
            directory: directory.path().to_owned(),
        };
        man(&arguments, crate::Arguments::command()).unwrap();
        for verb in ctl::verbs::all() {
            assert!(text.contains(verb.name), "{}", verb.name);
            let page = directory
                .path()
                .join(format!("leveret-ctl-{}.1", verb.name));
            assert!(page.exists(), "{}", verb.name);
        }
        for name in ["leveret.1", "leveret-serve.1", "leveret-import.1"] {
            assert!(directory.path().join(name).exists(), "{name}");
        }
    }
}
