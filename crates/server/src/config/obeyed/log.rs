//! The log.

use crate::config::Config;
use crate::config::key::{Applies::*, Key, key};
use crate::config::value::{Given, Outcome};

pub(super) static KEYS: &[Key] = &[
    key("log.console.level", Live, "info", LEVELS, console_level),
    key("log.default.level", Live, "info", LEVELS, console_level),
];

const LEVELS: &str = "`debug`, `info`, `warning`, `error`, `critical` or `none`";

fn console_level(config: &mut Config, given: &Given<'_>) -> Outcome {
    let level = given.one_of(&["debug", "info", "warning", "error", "critical", "none"])?;
    config.log.level = Some(level.to_owned());
    Ok(())
}
