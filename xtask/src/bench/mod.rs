//! `cargo xtask bench`: every scenario on Leveret and on a peer, in turn, and a table of the medians.
//!
//! ```text
//! cargo xtask bench                              against Debian's RabbitMQ, which it brings up itself
//! cargo xtask bench --peer URI --peer-pid PID    against a broker that runs
//! cargo xtask bench --no-peer                    Leveret alone
//!     --quick               seconds instead of minutes
//!     --seconds N           10 unless told otherwise: how long each load is measured; a whole run takes 25 minutes,
//!                           with 5 seconds 15
//!     --only NAME,NAME      some scenarios
//!     --repetitions N       3 unless told otherwise: A B A B A B
//!     --out NAME            bench/results/NAME.md and .html
//! ```
//! Both run on this machine under the same load generator, so that only their ratio means much. CPU time and memory
//! are read from the system by the generator.

mod brokers;
mod results;
mod scenarios;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::process::{cargo, root, succeeds, target_directory};
use brokers::Running;
use results::{Results, Side};
use scenarios::{SCENARIOS, Scenario};

const REPETITIONS: usize = 3;

/// Who Leveret is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Peer {
    None,
    RabbitMq,
    At { uri: String, pid: Option<u32> },
}

#[derive(Debug)]
struct Options {
    quick: bool,
    seconds: Option<u32>,
    only: Vec<String>,
    repetitions: usize,
    peer: Peer,
    out: String,
}

/// Runs it.
pub(crate) fn run(words: &[&str]) -> Result<bool> {
    let options = parse(words)?;
    if !succeeds(&mut cargo(&[
        "build",
        "--release",
        "--quiet",
        "--package",
        "leveret",
    ])) {
        bail!("the release does not build");
    }
    let program = target_directory()?.join("release/leveret");
    let folder = target_directory()?.join("bench");
    std::fs::create_dir_all(&folder)?;
    let peer = match &options.peer {
        Peer::None => None,
        Peer::RabbitMq => Some(brokers::start_rabbitmq(&folder)?),
        Peer::At { uri, pid } => Some(brokers::at(uri, *pid)),
    };
    let mut results = Results::new(options.quick, options.repetitions);
    results.note_start(Side::Peer, peer.as_ref());
    for scenario in &SCENARIOS {
        if !options.only.is_empty() && !options.only.iter().any(|name| name == scenario.name) {
            continue;
        }
        println!("== {}: {}", scenario.name, scenario.title);
        measure(
            scenario,
            &options,
            &program,
            &folder,
            peer.as_ref(),
            &mut results,
        )?;
        // What is there so far is kept, if a later scenario fails.
        results.write(&root().join("bench/results"), &options.out)?;
    }
    print!("{}", results.markdown());
    Ok(true)
}

fn measure(
    scenario: &Scenario,
    options: &Options,
    program: &Path,
    folder: &Path,
    peer: Option<&Running>,
    results: &mut Results,
) -> Result<()> {
    for _ in 0..options.repetitions {
        // A fresh one each time: what a broker keeps of an earlier load would hide what this one takes.
        let leveret = brokers::start_leveret(program, folder)?;
        results.note_start(Side::Leveret, Some(&leveret));
        let report = load(scenario, options, program, folder, &leveret)?;
        results.add(scenario, Side::Leveret, &report);
        if let Some(peer) = peer.filter(|_| scenario.with_peer) {
            match load(scenario, options, program, folder, peer) {
                Ok(report) => results.add(scenario, Side::Peer, &report),
                Err(error) => println!("the peer did not get through: {error:#}"),
            }
        }
    }
    Ok(())
}

/// Runs `leveret perf` and reads its report.
fn load(
    scenario: &Scenario,
    options: &Options,
    program: &Path,
    folder: &Path,
    broker: &Running,
) -> Result<Value> {
    let json = folder.join("report.json");
    let mut command = Command::new(program);
    command.arg("perf").args(scenario.words);
    command.args(measured(scenario, options));
    command
        .args(["--quiet", "--uri", &broker.uri, "--json"])
        .arg(&json);
    if let Some(pid) = broker.pid {
        command.args(["--broker-pid", &pid.to_string()]);
    }
    if !succeeds(&mut command) {
        bail!("leveret perf failed in {}", scenario.name);
    }
    let text = std::fs::read_to_string(&json)?;
    Ok(serde_json::from_str(&text)?)
}

/// The words that say how long a load is.
fn measured(scenario: &Scenario, options: &Options) -> Vec<String> {
    let words = match options.quick {
        true => scenario.quick,
        false => scenario.whole,
    };
    let mut words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    if let Some(seconds) = options.seconds
        && let Some(place) = words.iter().position(|word| word == "-z")
        && let Some(word) = words.get_mut(place + 1)
    {
        *word = seconds.to_string();
    }
    words
}

fn parse(words: &[&str]) -> Result<Options> {
    let mut options = Options {
        quick: false,
        seconds: None,
        only: Vec::new(),
        repetitions: REPETITIONS,
        peer: Peer::RabbitMq,
        out: "latest".into(),
    };
    let mut peer_pid = None;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || {
            let value = words.next().copied();
            value.with_context(|| format!("{word} wants a value"))
        };
        match *word {
            "--quick" => options.quick = true,
            "--seconds" => options.seconds = Some(value()?.parse::<u32>()?.max(1)),
            "--no-peer" => options.peer = Peer::None,
            "--only" => options.only = value()?.split(',').map(str::to_owned).collect(),
            "--repetitions" => options.repetitions = value()?.parse::<usize>()?.max(1),
            "--out" => options.out = value()?.to_owned(),
            "--peer-pid" => peer_pid = Some(value()?.parse()?),
            "--peer" => {
                options.peer = Peer::At {
                    uri: value()?.to_owned(),
                    pid: None,
                }
            }
            other => bail!("bench knows no {other}"),
        }
    }
    if let Peer::At { pid, .. } = &mut options.peer {
        *pid = peer_pid;
    }
    for name in &options.only {
        if !SCENARIOS.iter().any(|scenario| scenario.name == name) {
            let names: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
            bail!("no scenario {name}; there are {}", names.join(", "));
        }
    }
    if PathBuf::from(&options.out).components().count() != 1 {
        bail!("--out is a name, not a path");
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read() {
        let words = [
            "--quick",
            "--seconds",
            "4",
            "--only",
            "rpc,four",
            "--peer",
            "amqp://b",
            "--peer-pid",
            "7",
        ];
        let options = parse(&words).expect("they are options");
        assert!(options.quick);
        assert_eq!(measured(&SCENARIOS[0], &options)[..2], ["-z", "4"]);
        assert_eq!(options.only, ["rpc", "four"]);
        let peer = Peer::At {
            uri: "amqp://b".into(),
            pid: Some(7),
        };
        assert_eq!(options.peer, peer);
    }

    #[test]
    fn nonsense_is_refused() {
        for words in [
            &["--slow"][..],
            &["--only"],
            &["--only", "x"],
            &["--out", "a/b"],
        ] {
            assert!(parse(words).is_err(), "{words:?}");
        }
    }

    #[test]
    fn names_are_different() {
        let mut names: Vec<&str> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SCENARIOS.len());
    }
}
