//! The table of verbs: what each takes, says and asks of the broker.

pub(crate) mod definitions;
mod diagnostics;
mod identities;
mod lists;
pub(super) mod log;
mod messages;
mod node;
mod one_node;
mod policies;
mod topology;

use server::control::protocol::{Request, Response};

pub(super) use one_node::QUESTION;

use super::Refusal;
use super::line::Line;

/// An option of a verb.
#[derive(Debug)]
pub(crate) struct Switch {
    /// Its long name, with hyphens.
    pub(crate) name: &'static str,
    pub(crate) short: Option<char>,
    pub(crate) takes_value: bool,
}

impl Switch {
    /// One that is there or not.
    pub(crate) const fn flag(name: &'static str) -> Self {
        Switch {
            name,
            short: None,
            takes_value: false,
        }
    }

    /// One with a value behind it.
    pub(crate) const fn value(name: &'static str) -> Self {
        Switch {
            takes_value: true,
            ..Switch::flag(name)
        }
    }

    /// It may be written as this letter.
    pub(crate) const fn short(self, letter: char) -> Self {
        Switch {
            short: Some(letter),
            ..self
        }
    }
}

/// The columns of a list.
#[derive(Debug)]
pub(super) struct Columns {
    pub(super) all: &'static [&'static str],
    pub(super) default: &'static [&'static str],
    /// Whether names of columns are printed unless `--no-table-headers` is given.
    pub(super) headers: bool,
}

/// How a verb is carried out.
pub(super) enum Act {
    /// By the broker.
    Ask(fn(&Line) -> Request),
    /// By the broker, and then here: a file is read or written, a status is looked at. What the broker refuses is
    /// printed as for the others.
    Do {
        request: fn(&Line) -> Result<Request, Refusal>,
        render: fn(&Line, Response) -> Result<String, Refusal>,
    },
    /// Nowhere: the broker is only asked whether it runs, and then this is said.
    DoNothing(fn(&Line) -> Result<String, Refusal>),
    /// By several verbs, one after another: their command lines, some of them for each vhost.
    Report {
        once: &'static [&'static str],
        per_vhost: &'static [&'static str],
    },
    /// By the broker, which names its log files; then the file is read here, from its end on, and what comes is
    /// printed for so many seconds, or until somebody ends it.
    Follow(fn(&Line) -> Option<u64>),
    /// Right here; the result is text to print.
    Local(fn(&Line) -> Result<String, Refusal>),
}

/// A verb.
pub(crate) struct Verb {
    pub(crate) name: &'static str,
    /// What follows the verb.
    pub(crate) usage: &'static str,
    /// The least and the most arguments.
    pub(crate) arguments: (usize, usize),
    pub(crate) switches: &'static [Switch],
    /// Of lists only.
    pub(super) columns: Option<Columns>,
    /// How many arguments there are when the password is missing and must be read.
    pub(super) password_at: Option<usize>,
    /// Finds what is wrong with the arguments beyond their number.
    pub(super) check: fn(&Line) -> Result<(), String>,
    /// Printed before anything is done; empty for nothing.
    pub(super) banner: fn(&Line) -> String,
    pub(super) act: Act,
}

impl std::fmt::Debug for Verb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// What a verb is unless it says otherwise.
const PLAIN: Verb = Verb {
    name: "",
    usage: "",
    arguments: (0, 0),
    switches: &[],
    columns: None,
    password_at: None,
    check: |_| Ok(()),
    banner: |_| String::new(),
    act: Act::Local(|_| Ok(String::new())),
};

/// Columns of which none can be chosen.
const fn fixed(all: &'static [&'static str], headers: bool) -> Option<Columns> {
    Some(Columns {
        all,
        default: all,
        headers,
    })
}

impl Verb {
    /// Whether the arguments name columns.
    pub(super) fn columns_selectable(&self) -> bool {
        self.columns.is_some() && self.arguments.1 == usize::MAX
    }

    /// The command line, for who got it wrong.
    pub(super) fn usage_text(&self) -> String {
        let space = if self.usage.is_empty() { "" } else { " " };
        format!(
            "leveret ctl [--data-dir <dir>] [--quiet] {}{space}{}",
            self.name, self.usage
        )
    }
}

/// All verbs, those that belong together one after another.
pub(crate) fn all() -> impl Iterator<Item = &'static Verb> {
    identities::VERBS
        .iter()
        .chain(topology::VERBS)
        .chain(lists::VERBS)
        .chain(policies::VERBS)
        .chain(definitions::VERBS)
        .chain(diagnostics::VERBS)
        .chain(node::VERBS)
        .chain(one_node::VERBS)
        .chain(log::VERBS)
        .chain(messages::VERBS)
}

/// A verb by name.
pub(super) fn find(name: &str) -> Option<&'static Verb> {
    all().find(|verb| verb.name == name)
}

/// What `leveret ctl --help` says.
pub(super) fn all_usages() -> String {
    let mut text = String::from(
        "\nUsage\n\nleveret ctl [--data-dir <dir>] [--timeout <timeout>] [--quiet] <command> [<command options>]\n\n\
         Available commands:\n\n",
    );
    let mut usages: Vec<_> = all()
        .map(|verb| format!("   {} {}", verb.name, verb.usage))
        .collect();
    usages.sort();
    for usage in usages {
        text.push_str(usage.trim_end());
        text.push('\n');
    }
    text
}
