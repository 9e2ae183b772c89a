//! Parses a command line as rabbitmqctl does: options anywhere, `--vhost x` or `--vhost=x`, `--no-` before a
//! switch that is on by default, and its texts for whatever is wrong.

use std::path::PathBuf;

use super::verbs::{self, Switch, Verb};
use super::{Refusal, exit};

/// Where the broker's data is unless `--data-dir` says otherwise; the same as for `leveret serve`.
pub(super) const DATA_DIR_DEFAULT: &str = "./leveret-data";

/// Options that every verb takes. Those that only mean something in an Erlang cluster are accepted, so that
/// scripts need not change, and ignored.
pub(crate) const GLOBAL: &[Switch] = &[
    Switch::value("vhost").short('p'),
    Switch::flag("quiet").short('q'),
    Switch::flag("silent").short('s'),
    Switch::value("formatter"),
    Switch::flag("table-headers"),
    Switch::value("data-dir"),
    Switch::value("timeout").short('t'),
    Switch::flag("help").short('?'),
    Switch::flag("dry-run"),
    Switch::value("node").short('n'),
    Switch::flag("longnames").short('l'),
];

/// How a list is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Formatter {
    /// Columns apart by tabs.
    Table,
    /// An array of objects.
    Json,
    /// Values apart by commas, text in quotes, names of columns above.
    Csv,
    /// Columns drawn with lines.
    PrettyTable,
}

/// A command line that makes sense.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) verb: &'static Verb,
    pub(super) arguments: Vec<String>,
    pub(super) vhost: String,
    pub(super) formatter: Formatter,
    pub(super) headers: bool,
    pub(super) data_dir: PathBuf,
    pub(super) timeout_s: Option<u64>,
    pub(super) help: bool,
    quiet: bool,
    silent: bool,
    /// Each option that was given, by its long name.
    options: Vec<(&'static str, String)>,
}

impl Line {
    /// Whether a switch was given.
    pub(super) fn has(&self, switch: &str) -> bool {
        self.options.iter().any(|(name, _)| *name == switch)
    }

    /// The value of an option, the last one that was given.
    pub(super) fn option(&self, name: &str) -> Option<&str> {
        value_of(&self.options, name)
    }

    /// An argument by position, empty where there are fewer.
    pub(super) fn argument(&self, at: usize) -> String {
        self.arguments.get(at).cloned().unwrap_or_default()
    }

    /// Whether a banner may be printed: not for machines, nor for who asked for less.
    pub(super) fn shows_banner(&self) -> bool {
        let for_people = matches!(self.formatter, Formatter::Table | Formatter::PrettyTable);
        !self.quiet && !self.silent && for_people
    }

    /// The columns to list.
    pub(super) fn columns(&self) -> Vec<String> {
        let Some(columns) = &self.verb.columns else {
            return Vec::new();
        };
        if self.verb.columns_selectable() && !self.arguments.is_empty() {
            return self.arguments.clone();
        }
        columns
            .default
            .iter()
            .map(|&name| name.to_owned())
            .collect()
    }
}

fn value_of<'a>(options: &'a [(&'static str, String)], name: &str) -> Option<&'a str> {
    options
        .iter()
        .rev()
        .find(|(n, _)| *n == name)
        .map(|(_, value)| value.as_str())
}

/// Positional arguments, options, and what was not understood.
#[derive(Default)]
struct Split {
    positional: Vec<String>,
    options: Vec<(&'static str, String)>,
    invalid: Vec<String>,
}

/// Parses the arguments after `leveret ctl`. None: all usages are asked for.
pub(super) fn parse(arguments: &[String]) -> Result<Option<Line>, Refusal> {
    // A verb's own switches are only known once the verb is: the first pass finds it.
    let any = verbs::all().flat_map(|verb| verb.switches).chain(GLOBAL);
    let first = split(arguments, &any.collect::<Vec<_>>());
    let asks_help = value_of(&first.options, "help").is_some();
    let name = match first.positional.first().map(String::as_str) {
        None if asks_help => return Ok(None),
        None => return Err(Refusal::new(exit::USAGE, verbs::all_usages())),
        Some("help") => match first.positional.get(1) {
            None => return Ok(None),
            Some(verb) => verb,
        },
        Some(name) => name,
    };
    let verb = verbs::find(name).ok_or_else(|| unknown(name))?;
    let switches: Vec<_> = verb.switches.iter().chain(GLOBAL).collect();
    let mut split = split(arguments, &switches);
    let help = asks_help
        || split
            .positional
            .first()
            .is_some_and(|first| first == "help");
    split.positional.remove(0);
    let line = complete(verb, split, help, arguments)?;
    if !help {
        check(&line, arguments)?;
    }
    Ok(Some(line))
}

fn complete(
    verb: &'static Verb,
    split: Split,
    help: bool,
    all: &[String],
) -> Result<Line, Refusal> {
    if !split.invalid.is_empty() {
        let options: Vec<_> = split
            .invalid
            .iter()
            .map(|name| format!("{name} : "))
            .collect();
        let text = format!("Invalid options for this command:\n{}", options.join("\n"));
        return Err(invalid(verb, all, exit::USAGE, &text));
    }
    let option = |name: &str| value_of(&split.options, name);
    let formatter = match option("formatter") {
        None | Some("table" | "string") => Formatter::Table,
        Some("pretty_table") => Formatter::PrettyTable,
        Some("csv") => Formatter::Csv,
        Some("json") => Formatter::Json,
        Some(_) => {
            let text = "the requested formatter is not supported by this command";
            return Err(invalid(verb, all, exit::USAGE, text));
        }
    };
    let timeout_s = option("timeout").map(str::parse).transpose().map_err(|_| {
        let text = "Invalid options for this command:\n--timeout : ";
        invalid(verb, all, exit::USAGE, text)
    })?;
    let silent = option("silent").is_some();
    let headers = match option("table-headers") {
        Some(value) => value != "false",
        None => verb.columns.as_ref().is_some_and(|columns| columns.headers),
    };
    Ok(Line {
        verb,
        vhost: option("vhost").unwrap_or("/").to_owned(),
        formatter,
        headers: headers && !silent,
        data_dir: option("data-dir").unwrap_or(DATA_DIR_DEFAULT).into(),
        timeout_s,
        help,
        quiet: option("quiet").is_some(),
        silent,
        arguments: split.positional,
        options: split.options,
    })
}

fn check(line: &Line, all: &[String]) -> Result<(), Refusal> {
    let (least, most) = line.verb.arguments;
    if line.arguments.len() < least {
        return Err(invalid(
            line.verb,
            all,
            exit::USAGE,
            "not enough arguments.",
        ));
    }
    if line.arguments.len() > most {
        return Err(invalid(line.verb, all, exit::USAGE, "too many arguments."));
    }
    if let Some(columns) = &line.verb.columns {
        let known = |name: &String| columns.all.contains(&name.as_str());
        let unknown: Vec<_> = line
            .columns()
            .into_iter()
            .filter(|name| !known(name))
            .collect();
        if !unknown.is_empty() {
            let text = format!("Info key(s) {} are not supported", unknown.join(","));
            return Err(invalid(line.verb, all, exit::USAGE, &text));
        }
    }
    (line.verb.check)(line).map_err(|text| {
        invalid(
            line.verb,
            all,
            exit::DATAERR,
            &format!("Bad argument: {text}"),
        )
    })
}

fn invalid(verb: &Verb, all: &[String], code: u8, text: &str) -> Refusal {
    let given = all.join(" ");
    let usage = verb.usage_text();
    let text = format!(
        "Error (argument validation): {text}\nArguments given:\n\t{given}\n\nUsage\n\n{usage}"
    );
    Refusal::new(code, text)
}

fn unknown(name: &str) -> Refusal {
    let near = verbs::all()
        .map(|verb| (distance(verb.name, name), verb.name))
        .min()
        .filter(|(distance, _)| *distance <= 3);
    let text = match near {
        Some((_, near)) => format!("\nCommand '{name}' not found. \nDid you mean '{near}'? "),
        None => format!("\nCommand '{name}' not found. \n{}", verbs::all_usages()),
    };
    Refusal::new(exit::USAGE, text)
}

/// How many letters must be put in, left out or replaced to make one word of the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

fn split(arguments: &[String], switches: &[&'static Switch]) -> Split {
    let mut out = Split::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--" {
            out.positional.extend(rest.cloned());
            break;
        }
        let (name, mut value) = match argument.split_once('=') {
            Some((name, value)) if name.starts_with("--") => (name, Some(value.to_owned())),
            _ => (argument.as_str(), None),
        };
        let (long, negated) = match name.strip_prefix("--") {
            Some(long) => (long.replace('_', "-"), long.strip_prefix("no-")),
            None => (String::new(), None),
        };
        let short = name
            .strip_prefix('-')
            .filter(|short| short.chars().count() == 1);
        if long.is_empty() && short.is_none() {
            out.positional.push(argument.clone());
            continue;
        }
        let matches = |switch: &&&Switch| {
            switch.name == long || short.is_some_and(|s| switch.short == s.chars().next())
        };
        let Some(switch) = switches.iter().find(matches) else {
            let off = |switch: &&&Switch| negated == Some(switch.name) && !switch.takes_value;
            match switches.iter().find(off) {
                Some(switch) => out.options.push((switch.name, "false".to_owned())),
                None => out.invalid.push(name.to_owned()),
            }
            continue;
        };
        if switch.takes_value && value.is_none() {
            value = rest.next().cloned();
            if value.is_none() {
                out.invalid.push(name.to_owned());
                continue;
            }
        }
        out.options.push((switch.name, value.unwrap_or_default()));
    }
    out
}
