//! The log.

use crate::config::key::{Applies::*, Key, key};
use crate::config::value::Given;
use crate::config::{Level, LogFile};

const LEVELS: [&str; 9] = [
    "debug",
    "info",
    "notice",
    "warning",
    "error",
    "critical",
    "alert",
    "emergency",
    "none",
];

fn level(given: &Given<'_>) -> Result<Level, String> {
    let name = given.one_of(&LEVELS)?;
    Ok(Level::named(name).expect("the names are the same"))
}

fn json(given: &Given<'_>) -> Result<bool, String> {
    given
        .one_of(&["plaintext", "json"])
        .map(|word| word == "json")
}

macro_rules! category_key {
    ($name:literal, $about:literal) => {
        key(
            concat!("log.", $name, ".level"),
            Live,
            "",
            $about,
            |config, given| {
                config.log.categories.insert($name, level(given)?);
                Ok(())
            },
        )
    };
}

pub(super) static KEYS: &[Key] = &[
    key(
        "log.default.level",
        Live,
        "info",
        "what is logged: `debug`, `info`, `warning`, `error` or `none`",
        |config, given| {
            config.log.level = level(given)?;
            Ok(())
        },
    ),
    category_key!(
        "connection",
        "the same for connections: sockets, handshakes, ends"
    ),
    category_key!("channel", "the same for channels"),
    category_key!("queue", "the same for queues and the message log"),
    category_key!("user", "the same for users and logins"),
    key(
        "log.console",
        Restart,
        "true",
        "whether the log goes to the console",
        |config, given| {
            config.log.console = given.switch()?;
            Ok(())
        },
    ),
    key(
        "log.console.level",
        Live,
        "",
        "what goes there; unless set, all that is logged",
        |config, given| {
            config.log.console_level = Some(level(given)?);
            Ok(())
        },
    ),
    key(
        "log.console.formatter",
        Restart,
        "plaintext",
        "`plaintext`, or `json`: one object a line",
        |config, given| {
            config.log.console_json = json(given)?;
            Ok(())
        },
    ),
    key(
        "log.console.stdio",
        Restart,
        "stderr",
        "`stderr` or `stdout`",
        |config, given| {
            config.log.console_stdout = given.one_of(&["stderr", "stdout"])? == "stdout";
            Ok(())
        },
    ),
    key(
        "log.console.use_colors",
        Restart,
        "false",
        "whether levels have colours",
        |config, given| {
            config.log.console_colours = given.switch()?;
            Ok(())
        },
    ),
    key(
        "log.file",
        Restart,
        "false",
        "a file that the log goes to, in `log.dir` unless its name has a slash; a reload opens it anew, as log rotation \
         needs it",
        |config, given| {
            config.log.file = match given.value {
                "false" => LogFile::None,
                "true" => LogFile::Named("leveret.log".into()),
                name => LogFile::Named(name.into()),
            };
            Ok(())
        },
    ),
    key(
        "log.file.level",
        Live,
        "",
        "what goes there; unless set, all that is logged",
        |config, given| {
            config.log.file_level = Some(level(given)?);
            Ok(())
        },
    ),
    key(
        "log.file.formatter",
        Restart,
        "plaintext",
        "`plaintext`, or `json`: one object a line",
        |config, given| {
            config.log.file_json = json(given)?;
            Ok(())
        },
    ),
    key(
        "log.dir",
        Restart,
        "/var/log/leveret",
        "where log files are",
        |config, given| {
            config.log.dir = given.path();
            Ok(())
        },
    ),
    key(
        "log.audit.file",
        Restart,
        "false",
        "Leveret's own: a file for administrative acts alone, who did what, one JSON object a line; they are in the log, \
         too",
        |config, given| {
            config.log.audit = match given.value {
                "false" => LogFile::None,
                "true" => LogFile::Named("audit.log".into()),
                name => LogFile::Named(name.into()),
            };
            Ok(())
        },
    ),
];
