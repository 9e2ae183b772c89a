//! Verbs that change vhosts, queues and connections, and those about the broker itself.

use server::control::protocol::Request;

use super::{Act, PLAIN, Switch, Verb};
use crate::ctl::line::Line;

const QUEUE_TYPES: [&str; 3] = ["quorum", "stream", "classic"];

pub(super) const VERBS: &[Verb] = &[
    Verb {
        name: "add_vhost",
        usage: "<vhost> [--description <description> --tags \"<tag1>,<tag2>,<...>\" --default-queue-type <quorum|classic|stream>]",
        arguments: (1, 1),
        switches: &[
            Switch::value("description").short('d'),
            Switch::value("tags"),
            Switch::value("default-queue-type"),
        ],
        check: check_queue_type,
        banner: |line| format!("Adding vhost \"{}\" ...", line.argument(0)),
        act: Act::Ask(|line| {
            let tags = line.option("tags").unwrap_or_default().split(',');
            Request::AddVhost {
                vhost: line.argument(0),
                description: line.option("description").unwrap_or_default().to_owned(),
                tags: tags
                    .map(|tag| tag.trim().to_owned())
                    .filter(|tag| !tag.is_empty())
                    .collect(),
                default_queue_type: line.option("default-queue-type").map(str::to_owned),
            }
        }),
        ..PLAIN
    },
    Verb {
        name: "delete_vhost",
        usage: "<vhost>",
        arguments: (1, 1),
        banner: |line| format!("Deleting vhost \"{}\" ...", line.argument(0)),
        act: Act::Ask(|line| Request::DeleteVhost {
            vhost: line.argument(0),
        }),
        ..PLAIN
    },
    Verb {
        name: "purge_queue",
        usage: "[--vhost <vhost>] <queue>",
        arguments: (1, 1),
        banner: |line| {
            format!(
                "Purging queue '{}' in vhost '{}' ...",
                line.argument(0),
                line.vhost
            )
        },
        act: Act::Ask(|line| Request::PurgeQueue {
            vhost: line.vhost.clone(),
            queue: line.argument(0),
        }),
        ..PLAIN
    },
    Verb {
        name: "delete_queue",
        usage: "[--vhost <vhost>] <queue_name> [--if-empty|-e] [--if-unused|-u] [--force]",
        arguments: (1, 1),
        switches: &[
            Switch::flag("if-empty").short('e'),
            Switch::flag("if-unused").short('u'),
            Switch::flag("force"),
        ],
        check: |line| match line.argument(0).as_str() {
            "" => Err("queue name cannot be an empty string".to_owned()),
            _ => Ok(()),
        },
        banner: delete_queue_banner,
        act: Act::Ask(|line| Request::DeleteQueue {
            vhost: line.vhost.clone(),
            queue: line.argument(0),
            if_empty: line.has("if-empty"),
            if_unused: line.has("if-unused"),
            force: line.has("force"),
        }),
        ..PLAIN
    },
    Verb {
        name: "close_connection",
        usage: "<connection pid> <explanation>",
        arguments: (2, 2),
        banner: |line| {
            let (pid, explanation) = (line.argument(0), line.argument(1));
            format!("Closing connection {pid}, reason: {explanation}...")
        },
        act: Act::Ask(|line| Request::CloseConnection {
            connection: line.argument(0),
            explanation: line.argument(1),
        }),
        ..PLAIN
    },
    Verb {
        name: "close_all_connections",
        usage: "[--vhost <vhost> --limit <limit>] [--global] <explanation>",
        arguments: (1, 1),
        switches: &[
            Switch::flag("global"),
            Switch::value("limit"),
            Switch::value("per-connection-delay"),
        ],
        check: |line| match limit(line) {
            Some(_) => Ok(()),
            None => Err("the limit must be a number".to_owned()),
        },
        banner: close_all_banner,
        act: Act::Ask(|line| Request::CloseAllConnections {
            vhost: (!line.has("global")).then(|| line.vhost.clone()),
            // As in rabbitmqctl, all vhosts means all connections.
            limit: if line.has("global") {
                0
            } else {
                limit(line).unwrap_or_default()
            },
            explanation: line.argument(0),
        }),
        ..PLAIN
    },
    Verb {
        name: "set_vm_memory_high_watermark",
        usage: "<fraction> | absolute <value>",
        arguments: (1, 2),
        check: |line| watermark(line).map(drop),
        banner: |line| {
            let broker = line.data_dir.display();
            match line.arguments.get(1) {
                Some(value) => {
                    format!(
                        "Setting memory threshold on the broker at {broker} to {value} bytes ..."
                    )
                }
                None => {
                    let fraction = line.argument(0);
                    format!("Setting memory threshold on the broker at {broker} to {fraction} ...")
                }
            }
        },
        act: Act::Ask(|line| watermark(line).expect("the line was checked")),
        ..PLAIN
    },
    Verb {
        name: "status",
        banner: |line| format!("Status of the broker at {} ...", line.data_dir.display()),
        act: Act::Ask(|_| Request::Status),
        ..PLAIN
    },
    Verb {
        name: "ping",
        banner: |line| {
            format!(
                "Will ping the broker at {}. This only checks if it is running and answers.",
                line.data_dir.display()
            )
        },
        act: Act::Ask(|_| Request::Ping),
        ..PLAIN
    },
    Verb {
        name: "version",
        act: Act::Local(|_| Ok(env!("CARGO_PKG_VERSION").to_owned())),
        ..PLAIN
    },
];

fn check_queue_type(line: &Line) -> Result<(), String> {
    match line.option("default-queue-type") {
        Some("") => Err("Default queue type must not be an empty string".to_owned()),
        Some(kind) if !QUEUE_TYPES.contains(&kind) => {
            let types = QUEUE_TYPES.join(", ");
            Err(format!(
                "Default queue type must be one of: {types}. Provided: {kind}"
            ))
        }
        _ => Ok(()),
    }
}

/// Units of an absolute limit, as rabbitmqctl reads them.
const MEMORY_UNITS: [(&str, u64); 10] = [
    ("", 1),
    ("k", 1 << 10),
    ("kiB", 1 << 10),
    ("M", 1 << 20),
    ("MiB", 1 << 20),
    ("G", 1 << 30),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];

fn watermark(line: &Line) -> Result<Request, String> {
    let value = line.argument(1);
    match (line.argument(0).as_str(), line.arguments.len()) {
        ("absolute", 2) => absolute_watermark(&value),
        ("absolute", _) => Err("a value must follow absolute".to_owned()),
        (fraction, 1) => match fraction.parse::<f64>() {
            Ok(part) if (0.0..=1.0).contains(&part) => {
                let permille = (part * 1000.0).round() as u32;
                Ok(Request::SetMemoryHighWatermark { permille })
            }
            Ok(_) => Err("The threshold should be a fraction between 0.0 and 1.0".to_owned()),
            Err(_) => Err(fraction.to_owned()),
        },
        (other, _) => Err(other.to_owned()),
    }
}

fn absolute_watermark(value: &str) -> Result<Request, String> {
    let bytes = bytes(value)?;
    Ok(Request::SetMemoryHighWatermarkAbsolute { bytes })
}

/// A number of bytes, with a unit or without.
pub(super) fn bytes(value: &str) -> Result<u64, String> {
    let digits = value.find(|c: char| !c.is_ascii_digit());
    let (number, unit) = value.split_at(digits.unwrap_or(value.len()));
    if unit.starts_with('.') {
        return Err("The threshold should be an integer.".to_owned());
    }
    let unit = MEMORY_UNITS.iter().find(|(name, _)| *name == unit);
    let (_, unit_bytes) = unit.ok_or("Invalid units.")?;
    let number: u64 = number.parse().map_err(|_| value.to_owned())?;
    let bytes = number.checked_mul(*unit_bytes).ok_or(value)?;
    Ok(bytes)
}

fn delete_queue_banner(line: &Line) -> String {
    let mut conditions = Vec::new();
    if line.has("if-empty") {
        conditions.push("if queue is empty ");
    }
    if line.has("if-unused") {
        conditions.push("if queue is unused ");
    }
    let conditions = conditions.join("and ");
    format!(
        "Deleting queue '{}' on vhost '{}' {conditions}...",
        line.argument(0),
        line.vhost
    )
}

fn limit(line: &Line) -> Option<u64> {
    line.option("limit")
        .map_or(Some(0), |text| text.parse().ok())
}

fn close_all_banner(line: &Line) -> String {
    let explanation = line.argument(0);
    if line.has("global") {
        return format!("Closing all connections (across all vhosts), reason: {explanation}...");
    }
    let count = match limit(line) {
        None | Some(0) => "all".to_owned(),
        Some(limit) => limit.to_string(),
    };
    format!(
        "Closing {count} connections in vhost {}, reason: {explanation}...",
        line.vhost
    )
}
