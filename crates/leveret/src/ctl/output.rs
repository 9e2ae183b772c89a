//! Prints what the broker answered: as tables, as JSON, or as an error.

use std::fmt::Write as _;

use serde_json::{Value, json};
use server::control::protocol::{Cell, Failure, Listener, Response, Status};

use super::line::{Formatter, Line};
use super::{Refusal, exit};

/// The text for standard output.
pub(super) fn render(line: &Line, response: Response) -> Result<String, Refusal> {
    let json = line.formatter == Formatter::Json;
    Ok(match response {
        Response::Failed(failure) => return Err(refuse(line, &failure)),
        Response::Done => match (done_text(line), json) {
            (Some(text), true) => format!("{}\n", json!({"message": text, "status": "ok"})),
            (Some(text), false) => format!("{text}\n"),
            (None, true) => format!("{}\n", json!({"result": "ok"})),
            (None, false) => String::new(),
        },
        Response::Count(count) => {
            let text = match line.verb.name {
                "close_all_connections" => format!("Closed {count} connections"),
                "close_all_user_connections" => return Ok(String::new()),
                _ => format!("Queue was successfully deleted with {count} ready messages"),
            };
            match json {
                true => format!("{}\n", json!({"result": "ok", "value": text})),
                false => format!("{text}\n"),
            }
        }
        Response::Rows(rows) if json => objects(&line.columns(), &rows),
        Response::Rows(rows) => match line.formatter {
            Formatter::Csv => csv(&line.columns(), &rows),
            Formatter::PrettyTable => pretty_table(&line.columns(), &rows),
            _ => table(line, &rows),
        },
        Response::Text(text) if json => {
            format!("{}\n", json!({"result": "ok", "value": text}))
        }
        // No limits are nothing to print, as in rabbitmqctl.
        Response::Text(text) if text == "{}" => "\n".to_owned(),
        Response::Text(text) => format!("{text}\n"),
        Response::Json(document) => format!("{document}\n"),
        imported @ Response::Imported { .. } => super::verbs::definitions::imported(imported)?,
        Response::Status(status) if json => {
            let text = serde_json::to_string(&status).expect("a status is plain data");
            format!("{text}\n")
        }
        Response::Status(status) => status_text(&status),
    })
}

/// What is said of a success beyond the banner.
fn done_text(line: &Line) -> Option<&'static str> {
    match line.verb.name {
        "add_user" if line.shows_banner() || line.formatter == Formatter::Json => Some(
            "Done. Don't forget to grant the user permissions to some virtual hosts! \
             See 'leveret ctl help set_permissions' to learn more.",
        ),
        "authenticate_user" => Some("Success"),
        "ping" => Some("Ping succeeded"),
        _ => None,
    }
}

/// Columns apart by tabs; the names of the columns only above something.
fn table(line: &Line, rows: &[Vec<Cell>]) -> String {
    let mut out = String::new();
    if line.headers && !rows.is_empty() {
        out.push_str(&line.columns().join("\t"));
        out.push('\n');
    }
    for row in rows {
        let cells: Vec<_> = row.iter().map(text_of).collect();
        out.push_str(&cells.join("\t"));
        out.push('\n');
    }
    out
}

/// Names of columns and texts in quotes, numbers and truth values as they are.
fn csv(columns: &[String], rows: &[Vec<Cell>]) -> String {
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let cell = |cell: &Cell| match cell {
        Cell::Bool(_) | Cell::Integer(_) | Cell::Float(_) => text_of(cell),
        Cell::Missing => String::new(),
        other => quoted(&text_of(other)),
    };
    let names: Vec<_> = columns.iter().map(|name| quoted(name)).collect();
    let mut out = names.join(",") + "\n";
    for row in rows {
        let cells: Vec<_> = row.iter().map(cell).collect();
        out.push_str(&cells.join(","));
        out.push('\n');
    }
    out
}

/// Columns as wide as what is in them, with lines around; nothing for no rows.
fn pretty_table(columns: &[String], rows: &[Vec<Cell>]) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let cells = |row: &Vec<Cell>| row.iter().map(text_of).collect::<Vec<_>>();
    let lines: Vec<Vec<String>> = rows.iter().map(cells).collect();
    let all = || std::iter::once(columns).chain(lines.iter().map(Vec::as_slice));
    let width = |at: usize| {
        all()
            .filter_map(|line| line.get(at))
            .map(|c| c.chars().count())
            .max()
    };
    let widths: Vec<usize> = (0..columns.len())
        .map(|at| width(at).unwrap_or(0))
        .collect();
    let rule = |left: &str, middle: &str, right: &str| {
        let parts: Vec<_> = widths.iter().map(|width| "─".repeat(width + 2)).collect();
        format!("{left}{}{right}\n", parts.join(middle))
    };
    let mut out = rule("┌", "┬", "┐");
    for (at, line) in all().enumerate() {
        if at > 0 {
            out.push_str(&rule("├", "┼", "┤"));
        }
        for (cell, width) in line.iter().zip(&widths) {
            let _ = write!(out, "│ {cell:<width$} ");
        }
        out.push_str("│\n");
    }
    out.push_str(&rule("└", "┴", "┘"));
    out
}

/// A cell of a table. A list of names stands in brackets; field tables look as Erlang prints them.
pub(super) fn text_of(cell: &Cell) -> String {
    match cell {
        Cell::Missing => String::new(),
        Cell::Text(text) => text.clone(),
        Cell::Bool(value) => value.to_string(),
        Cell::Integer(value) => value.to_string(),
        Cell::Float(value) => format!("{value:?}"),
        Cell::List(cells) => {
            let texts: Vec<_> = cells.iter().map(text_of).collect();
            format!("[{}]", texts.join(", "))
        }
        Cell::Table(_) | Cell::Array(_) => term_of(cell),
    }
}

/// A value within a field table, as Erlang prints it.
fn term_of(cell: &Cell) -> String {
    match cell {
        Cell::Missing => "undefined".to_owned(),
        Cell::Text(text) => quote(text),
        Cell::Table(entries) => {
            let texts: Vec<_> = entries
                .iter()
                .map(|(key, _, value)| format!("{{{},{}}}", quote(key), term_of(value)))
                .collect();
            format!("[{}]", texts.join(","))
        }
        Cell::Array(values) => {
            let texts: Vec<_> = values.iter().map(|(_, value)| term_of(value)).collect();
            format!("[{}]", texts.join(","))
        }
        plain => text_of(plain),
    }
}

fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(out, "\\x{{{:X}}}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// An array with an object a line, as rabbitmqctl streams it.
fn objects(columns: &[String], rows: &[Vec<Cell>]) -> String {
    let mut out = String::from("[\n");
    for (at, row) in rows.iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        // By hand, for the columns to stand in the order in which they were asked for.
        let cells: Vec<_> = columns
            .iter()
            .zip(row)
            .map(|(name, cell)| format!("{}:{}", json!(name), json_of(cell)))
            .collect();
        let _ = writeln!(out, "{{{}}}", cells.join(","));
    }
    out.push_str("]\n");
    out
}

fn json_of(cell: &Cell) -> Value {
    match cell {
        Cell::Missing => json!(""),
        Cell::Text(text) => json!(text),
        Cell::Bool(value) => json!(value),
        Cell::Integer(value) => json!(value),
        Cell::Float(value) => json!(value),
        Cell::List(cells) => cells.iter().map(json_of).collect(),
        Cell::Table(entries) => entries
            .iter()
            .map(|(key, kind, value)| json!([key, kind, json_in_table(value)]))
            .collect(),
        Cell::Array(values) => values
            .iter()
            .map(|(kind, value)| json!([kind, json_in_table(value)]))
            .collect(),
    }
}

fn json_in_table(cell: &Cell) -> Value {
    match cell {
        Cell::Missing => json!("undefined"),
        other => json_of(other),
    }
}

fn status_text(status: &Status) -> String {
    let mut out = String::new();
    let _ = write!(
        out,
        "Runtime\n\nOS PID: {}\nOS: {}\nUptime (seconds): {}\nLeveret version: {}\n\n\
         Data directory\n\nNode data directory: {}\n\n",
        status.pid, status.os, status.uptime_seconds, status.version, status.data_directory
    );
    if let Some(bytes) = status.resident_bytes {
        let _ = write!(
            out,
            "Memory\n\nTotal memory used: {:.4} gb\n",
            bytes as f64 / 1e9
        );
        if let Some(bytes) = status.memory_limit_bytes {
            let gb = bytes as f64 / 1e9;
            let _ = writeln!(out, "Memory high watermark: {gb:.4} gb");
        }
        out.push('\n');
    }
    let mb = |bytes: Option<u64>| bytes.map(|bytes| format!("{:.1} mb", bytes as f64 / 1e6));
    let disk = [
        ("Messages on disk", mb(status.message_log_bytes)),
        ("Messages in memory", mb(status.message_cache_bytes)),
        ("Free disk space", mb(status.disk_free_bytes)),
        ("Free disk space low watermark", mb(status.disk_limit_bytes)),
        ("Message log failed", status.message_log_failure.clone()),
    ];
    out.push_str("Storage\n\n");
    for (what, value) in disk {
        if let Some(value) = value {
            let _ = writeln!(out, "{what}: {value}");
        }
    }
    out.push('\n');
    let alarms = status.alarms.as_deref().unwrap_or("(none)");
    let _ = write!(out, "Alarms\n\n{alarms}\n\n");
    if !status.message_log_damages.is_empty() {
        let _ = writeln!(out, "Damage\n");
        for damage in &status.message_log_damages {
            let _ = writeln!(out, "{damage}");
        }
        out.push('\n');
    }
    let _ = write!(
        out,
        "Totals\n\nConnection count: {}\nQueue count: {}\nVirtual host count: {}\n\nListeners\n\n",
        status.connection_count, status.queue_count, status.virtual_host_count
    );
    for listener in &status.listeners {
        let _ = writeln!(out, "{}", listener_text(listener));
    }
    out
}

/// One line about a listener, as RabbitMQ writes it.
pub(super) fn listener_text(listener: &Listener) -> String {
    let Listener {
        interface,
        port,
        protocol,
    } = listener;
    let bracketed = interface.contains(':') && !interface.starts_with('[');
    let interface = match bracketed {
        true => format!("[{interface}]"),
        false => interface.clone(),
    };
    let purpose = listener.purpose();
    format!("Interface: {interface}, port: {port}, protocol: {protocol}, purpose: {purpose}")
}

/// Headings with something below each.
pub(super) fn sections(sections: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for (heading, text) in sections {
        let _ = write!(out, "{heading}\n\n{text}\n\n");
    }
    out
}

/// The text and the code that rabbitmqctl has for a failure of this verb.
fn refuse(line: &Line, failure: &Failure) -> Refusal {
    let (code, text) = explain(line, failure);
    if line.formatter == Formatter::Json {
        let message = text.strip_prefix("Error:\n").unwrap_or(&text);
        return Refusal::new(
            code,
            json!({"result": "error", "message": message}).to_string(),
        );
    }
    Refusal::new(code, text)
}

fn explain(line: &Line, failure: &Failure) -> (u8, String) {
    let verb = line.verb.name;
    let sets_permissions = matches!(verb, "set_permissions" | "set_topic_permissions");
    match failure {
        Failure::UserExists(user) => (
            exit::SOFTWARE,
            format!("Error:\nUser \"{user}\" already exists"),
        ),
        Failure::NoSuchUser(user) if sets_permissions => {
            (exit::NOUSER, format!("Error:\nUser {user} does not exist"))
        }
        Failure::NoSuchUser(user) => {
            let known = matches!(verb, "change_password" | "set_user_tags" | "delete_user");
            let code = if known {
                exit::NOUSER
            } else {
                exit::UNAVAILABLE
            };
            (code, format!("Error:\nUser \"{user}\" does not exist"))
        }
        Failure::NoSuchVhost(vhost) if sets_permissions => (
            exit::UNAVAILABLE,
            format!("Error:\nVirtual host {vhost} does not exist"),
        ),
        Failure::NoSuchVhost(vhost) => (
            exit::DATAERR,
            format!("Virtual host '{vhost}' does not exist"),
        ),
        Failure::NoSuchExchange(exchange) => (
            exit::UNAVAILABLE,
            format!("Error:\nExchange {exchange} does not exist"),
        ),
        Failure::NoSuchQueue(_) if verb == "delete_queue" => {
            (exit::USAGE, "Error:\nNo such queue was found".to_owned())
        }
        Failure::NoSuchQueue(_) => (
            exit::DATAERR,
            "Object (queue, stream, exchange, etc) was not found".to_owned(),
        ),
        Failure::NoSuchConnection(connection) => (
            exit::UNAVAILABLE,
            format!("Error:\nConnection {connection} was not found"),
        ),
        Failure::Refused(reason) => {
            let user = line.argument(0);
            let text = format!("Error:\nError: failed to authenticate user \"{user}\"\n{reason}");
            (exit::DATAERR, text)
        }
        Failure::QueueInUse => (exit::USAGE, "Error:\nThe queue is in use".to_owned()),
        Failure::QueueNotEmpty => (exit::USAGE, "Error:\nThe queue is not empty".to_owned()),
        Failure::QueueLocked => (
            exit::USAGE,
            "Error:\nThe queue is locked or protected from deletion".to_owned(),
        ),
        Failure::VhostProtected => (
            exit::DATAERR,
            "Error:\nCannot delete this virtual host: it is protected from deletion. \
             To lift the protection, inspect and update its metadata"
                .to_owned(),
        ),
        Failure::InvalidQueueType(kind) => (
            exit::USAGE,
            format!("Error:\n{kind} is not a valid queue type"),
        ),
        Failure::Invalid(text) | Failure::Unable(text) => {
            (exit::UNAVAILABLE, format!("Error:\n{text}"))
        }
    }
}
