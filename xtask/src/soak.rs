//! `cargo xtask soak`: the ledger test in its long form, a broker that is killed again and again.

use anyhow::{Result, bail};

use crate::process::{cargo, succeeds};

/// Kills when nobody says how many.
const KILLS: u64 = 100;

/// Runs it: `--kills N`, `--seed N`. `false` when something that was promised was not kept.
pub(crate) fn run(arguments: &[&str]) -> Result<bool> {
    let (mut kills, mut seed) = (KILLS, None);
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let Some(Ok(number)) = words.next().map(|value| value.parse::<u64>()) else {
            bail!("soak: {word} wants a number");
        };
        match *word {
            "--kills" => kills = number,
            "--seed" => seed = Some(number),
            _ => bail!("soak: unknown option {word}"),
        }
    }
    println!("== soak: {kills} kills");
    let mut command = cargo(&[
        "test",
        "-p",
        "leveret",
        "--test",
        "it",
        "--",
        "--nocapture",
        "--exact",
        "ledger::nothing_confirmed_is_lost_by_kills",
    ]);
    command.env("LEVERET_KILLS", kills.to_string());
    if let Some(seed) = seed {
        command.env("LEVERET_SEED", seed.to_string());
    }
    Ok(succeeds(&mut command))
}
