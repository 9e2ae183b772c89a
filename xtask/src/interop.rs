//! `cargo xtask interop`: programs and test suites of real clients against the built broker.
//!
//! A group is a folder, `interop/programs/<language>` or `interop/suites/<name>`, with two
//! executable files:
//!
//! - `setup` installs what the group needs. Run often, so quick when everything is there. Exit code
//!   75 says that this machine lacks something it cannot install, which its last line names.
//! - `run` talks to the broker, exits non-zero on failure, and prints last `N passed, N failed, N
//!   skipped`.
//!
//! Both get `WORK_DIR`, a scratch folder outside the sources; `run` also gets `LEVERET_AMQP_URL`,
//! `LEVERET_AMQP_PORT` and `LEVERET_HTTP_PORT`; where `setup` left certificates in `target/tls`,
//! `LEVERET_AMQPS_PORT`, too. Each group has a fresh broker. Deliberately absent: anything about one language.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::broker::{Broker, Port, wait_for};
use crate::process::{root, target_directory};
use crate::tally::{Summary, Tally};

/// Suites that dial port 5672 whatever the environment says.
const DIAL_THE_STANDARD_PORT: [&str; 2] = ["suites/amqplib", "suites/pika"];

/// Suites that CI leaves out, each with the reason. `cargo xtask interop` runs them.
const NOT_IN_CI: [(&str, &str); 1] = [(
    "suites/pika",
    "its tests are in no package: PIKA_SOURCE names a checkout of them",
)];

/// A program that hangs must not hang the run.
const SETUP_SECONDS_MAX: u64 = 900;
const RUN_SECONDS_MAX: u64 = 900;

/// What `setup` ends with where it cannot install what is missing (`EX_TEMPFAIL` of sysexits.h).
const EXIT_LACKING: i32 = 75;

/// How much of a log is shown when a group fails.
const LOG_LINES_SHOWN: usize = 60;

/// Which groups to run.
pub(crate) enum Selection<'a> {
    /// Those named, by folder (`programs/go`) or last part (`go`); all when none is named.
    Named(&'a [&'a str]),
    /// What CI runs.
    Ci,
}

/// Runs the groups one after the other, and enters the result of each.
pub(crate) fn run(selection: Selection<'_>, summary: &mut Summary) -> Result<()> {
    for group in selected(&selection, groups(&root().join("interop"))?)? {
        println!("== interop {}", group.name);
        let started = Instant::now();
        let tally = match group.run() {
            Ok(tally) => tally,
            Err(error) => {
                println!("FAILED: {error:#}");
                Tally::FAILED
            }
        };
        println!("{tally} ({} s)", started.elapsed().as_secs());
        summary.enter(&group.name, tally);
    }
    Ok(())
}

struct Group {
    /// `programs/go`, `suites/amqplib`.
    name: String,
    folder: PathBuf,
}

/// Every group there is, programs first.
fn groups(interop: &Path) -> Result<Vec<Group>> {
    let mut groups = Vec::new();
    for kind in ["programs", "suites"] {
        let Ok(entries) = fs::read_dir(interop.join(kind)) else {
            continue;
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry?;
            if entry.path().join("run").exists() {
                names.push((
                    entry.file_name().to_string_lossy().into_owned(),
                    entry.path(),
                ));
            }
        }
        names.sort();
        groups.extend(names.into_iter().map(|(name, folder)| Group {
            name: format!("{kind}/{name}"),
            folder,
        }));
    }
    Ok(groups)
}

fn selected(selection: &Selection<'_>, groups: Vec<Group>) -> Result<Vec<Group>> {
    match selection {
        Selection::Named([]) => Ok(groups),
        Selection::Named(names) => {
            if let Some(unknown) = names
                .iter()
                .find(|name| !groups.iter().any(|g| g.is_called(name)))
            {
                let known: Vec<&str> = groups.iter().map(|group| group.name.as_str()).collect();
                bail!("no such group: {unknown}. There are: {}", known.join(", "));
            }
            let named = |group: &Group| names.iter().any(|name| group.is_called(name));
            Ok(groups.into_iter().filter(named).collect())
        }
        Selection::Ci => {
            let (left_out, chosen): (Vec<Group>, Vec<Group>) = groups
                .into_iter()
                .partition(|group| group.left_out_of_ci().is_some());
            for group in left_out {
                println!(
                    "not in CI: {} ({})",
                    group.name,
                    group.left_out_of_ci().unwrap_or_default()
                );
            }
            Ok(chosen)
        }
    }
}

impl Group {
    fn is_called(&self, name: &str) -> bool {
        self.name == name || self.name.rsplit('/').next() == Some(name)
    }

    fn left_out_of_ci(&self) -> Option<&'static str> {
        NOT_IN_CI
            .iter()
            .find(|(name, _)| *name == self.name)
            .map(|(_, reason)| *reason)
    }

    fn port(&self) -> Port {
        let standard = DIAL_THE_STANDARD_PORT.contains(&self.name.as_str());
        if standard { Port::Standard } else { Port::Free }
    }

    fn run(&self) -> Result<Tally> {
        let work = target_directory()?.join("interop").join(&self.name);
        fs::create_dir_all(&work).with_context(|| format!("creating {}", work.display()))?;
        if let Some(lacking) = self.set_up(&work)? {
            println!("SKIPPED {}: {lacking}", self.name);
            return Ok(Tally::SKIPPED);
        }
        let broker_log = work.join("leveret.log");
        let tls = self.folder.join("target/tls");
        let tls = tls.is_dir().then_some(tls.as_path());
        let broker = Broker::start(&work, &broker_log, self.port(), tls)
            .inspect_err(|_| show_end(&broker_log))?;
        let tally = self.run_against(&broker, &work);
        let stopped = broker.stop();
        if !matches!((&tally, &stopped), (Ok(Tally { failed: 0, .. }), Ok(()))) {
            show_end(&broker_log);
        }
        stopped?;
        tally
    }

    /// Installs what the group needs; what this machine lacks for it, if anything.
    fn set_up(&self, work: &Path) -> Result<Option<String>> {
        let script = self.folder.join("setup");
        if !script.exists() {
            return Ok(None);
        }
        let log = work.join("setup.log");
        let mut command = self.command(&script, work);
        let status = logged(&mut command, &log, Duration::from_secs(SETUP_SECONDS_MAX))?;
        match status.and_then(|status| status.code()) {
            Some(0) => Ok(None),
            Some(EXIT_LACKING) => Ok(Some(last_line(&log))),
            _ => {
                show_end(&log);
                bail!("its setup failed, see {}", log.display())
            }
        }
    }

    fn run_against(&self, broker: &Broker, work: &Path) -> Result<Tally> {
        let log = work.join("run.log");
        let mut command = self.command(&self.folder.join("run"), work);
        let url = format!("amqp://guest:guest@127.0.0.1:{}", broker.port());
        command
            .env("LEVERET_AMQP_URL", url)
            .env("LEVERET_HTTP_PORT", broker.http_port().to_string())
            .env("LEVERET_METRICS_PORT", broker.metrics_port().to_string())
            .env("LEVERET_AMQP_PORT", broker.port().to_string());
        if let Some(port) = broker.tls_port() {
            command.env("LEVERET_AMQPS_PORT", port.to_string());
        }
        let status = logged(&mut command, &log, Duration::from_secs(RUN_SECONDS_MAX))?;
        let succeeded = status.is_some_and(|status| status.success());
        let counted = Tally::parse(&last_line(&log));
        let tally = match counted {
            Some(tally) if succeeded == (tally.failed == 0) => tally,
            _ if succeeded => bail!(
                "it did not close with a line of sums, see {}",
                log.display()
            ),
            _ => Tally {
                failed: 1,
                ..counted.unwrap_or_default()
            },
        };
        if tally.failed > 0 {
            show_end(&log);
        }
        Ok(tally)
    }

    fn command(&self, script: &Path, work: &Path) -> Command {
        let mut command = Command::new(script);
        command.current_dir(&self.folder).env("WORK_DIR", work);
        command
    }
}

/// Runs a command with its output in a file; how it ended, or `None` when it had to be killed. A
/// file and not a pipe: a program left behind by a killed script would hold a pipe open.
fn logged(command: &mut Command, log: &Path, limit: Duration) -> Result<Option<ExitStatus>> {
    let output = File::create(log).with_context(|| format!("creating {}", log.display()))?;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
        .with_context(|| format!("running {}", command.get_program().display()))?;
    if let Some(status) = wait_for(&mut child, limit)? {
        return Ok(Some(status));
    }
    child.kill()?;
    child.wait()?;
    println!("killed after {} s", limit.as_secs());
    Ok(None)
}

fn last_line(log: &Path) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    String::from_utf8_lossy(&bytes)
        .trim_end()
        .lines()
        .next_back()
        .unwrap_or_default()
        .to_owned()
}

fn show_end(log: &Path) {
    let bytes = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    println!("-- the end of {}", log.display());
    for line in &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..] {
        println!("   {line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str) -> Group {
        Group {
            name: name.to_owned(),
            folder: PathBuf::new(),
        }
    }

    #[test]
    fn groups_are_chosen_by_either_name() {
        let all = || vec![group("programs/go"), group("suites/amqplib")];
        for name in ["go", "programs/go"] {
            let chosen = selected(&Selection::Named(&[name]), all()).expect("it is there");
            assert_eq!(
                chosen.iter().map(|g| g.name.as_str()).collect::<Vec<_>>(),
                ["programs/go"]
            );
        }
        assert!(selected(&Selection::Named(&["cobol"]), all()).is_err());
        assert_eq!(
            selected(&Selection::Named(&[]), all()).expect("all").len(),
            2
        );
    }

    #[test]
    fn suites_that_dial_5672_get_it() {
        assert_eq!(group("suites/amqplib").port(), Port::Standard);
        assert_eq!(group("programs/go").port(), Port::Free);
    }
}
