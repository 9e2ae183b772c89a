//! The configuration as text: what holds and where it came from, and the users' list of keys.

use std::fmt::Write as _;

use super::key::Applies;
use super::{Config, accepted, obeyed};

impl Config {
    /// What holds, by key: key, value, where it came from. Secrets are stars.
    pub fn rows(&self) -> Vec<(String, String, String)> {
        let mut lines: Vec<(String, String, String)> = Vec::new();
        for statement in &self.statements {
            let known = obeyed::find(&statement.words).is_some();
            let nothing = if known { "" } else { ", does nothing" };
            let origin = format!("{}{nothing}", statement.origin);
            lines.push((statement.key(), quoted(statement.shown()), origin));
        }
        for key in obeyed::all() {
            let said = |name: &str| self.statements.iter().any(|s| s.key() == name);
            if !key.name.contains('$') && !key.default.is_empty() && !said(key.name) {
                lines.push((key.name.into(), quoted(key.default), "default".into()));
            }
        }
        lines.sort();
        lines
    }

    /// The same as a `rabbitmq.conf`: each line ends with where it came from.
    pub fn show(&self) -> String {
        let lines = self.rows();
        let width = lines
            .iter()
            .map(|(key, value, _)| key.len() + value.len())
            .max();
        let width = width.unwrap_or_default() + 3;
        let mut out = String::new();
        for (key, value, origin) in lines {
            let line = format!("{key} = {value}");
            let _ = writeln!(out, "{line:width$}  # {origin}");
        }
        out
    }
}

/// A value as a file can have it.
pub(super) fn quoted(value: &str) -> String {
    // Within a value that has no quotes around it, one stands for itself.
    if value.contains('\'') && !value.starts_with('\'') && !value.contains(['#', '\n']) {
        value.to_owned()
    } else if value.contains(['#', '\n', ' ']) || value.is_empty() {
        format!("'{value}'")
    } else {
        value.to_owned()
    }
}

/// docs/user/configuration.md: what to write where, and all keys.
pub fn document() -> String {
    let mut out = String::from(include_str!("document.md"));
    for (title, about, table) in obeyed::TABLES {
        let _ = write!(out, "\n### {title}\n\n{about}\n\n");
        out.push_str("| Key | Default | What it does | Changed by |\n| --- | --- | --- | --- |\n");
        for key in *table {
            let default = match key.default {
                "" => "-".to_owned(),
                default => format!("`{default}`"),
            };
            let applies = match key.applies {
                Applies::Live => "reload",
                Applies::Restart => "restart",
            };
            let (name, about) = (key.name, key.about);
            let aliases = obeyed::ALIASES.iter().filter(|(_, of)| *of == name);
            let aliases: String = aliases
                .map(|(alias, _)| format!(" (or `{alias}`)"))
                .collect();
            let _ = writeln!(
                out,
                "| `{name}`{aliases} | {default} | {about} | {applies} |"
            );
        }
    }
    out.push_str(
        "\n## Keys that are accepted and do nothing\n\n\
         A `rabbitmq.conf` may keep them. Each is named in a note when the broker starts, with its reason.\n",
    );
    let mut why = "";
    for key in accepted::all() {
        if obeyed::all().any(|known| known.name == key.name) {
            continue;
        }
        if key.why != why {
            why = key.why;
            let _ = write!(out, "\nBecause {why}:\n\n");
        }
        let _ = writeln!(out, "- `{}`", key.name);
    }
    out
}
