//! Verbs that look at messages, quorum queues, certificates and listeners of a running broker.

use std::time::{SystemTime, UNIX_EPOCH};

use server::control::parameters::ParameterRequest;
use server::control::protocol::{Cell, Request, Response};

use super::{Act, PLAIN, Switch, Verb, fixed};
use crate::ctl::line::Line;
use crate::ctl::{Refusal, exit};

const POLICIES: &[&str] = &[
    "vhost",
    "name",
    "pattern",
    "apply-to",
    "definition",
    "priority",
];

const CERTIFICATES: &[&str] = &[
    "protocol",
    "interface",
    "port",
    "certfile",
    "certfile_expires_on",
    "cacertfile",
    "cacertfile_expires_on",
];

/// RabbitMQ's columns.
const QUORUM_STATUS: &[&str] = &[
    "Node Name",
    "Raft State",
    "Membership",
    "Last Log Index",
    "Last Written",
    "Last Applied",
    "Commit Index",
    "Snapshot Index",
    "Term",
    "Machine Version",
];

const EXPIRY: &[&str] = &[
    "protocol",
    "certfile",
    "certfile_expires_on",
    "certfile_expires_at",
    "cacertfile",
    "cacertfile_expires_on",
    "cacertfile_expires_at",
];

pub(super) const VERBS: &[Verb] = &[
    Verb {
        name: "list_policies_that_match",
        usage: "[--vhost <vhost>] [--object-type <queue|exchange>] <name>",
        arguments: (1, 1),
        switches: &[Switch::value("object-type")],
        columns: fixed(POLICIES, true),
        banner: |line| {
            let (kind, name) = (object_type(line), line.argument(0));
            format!(
                "Listing policies that match {kind} '{name}' in vhost '{}' ...",
                line.vhost
            )
        },
        act: Act::Ask(|line| {
            Request::Parameter(ParameterRequest::ListPoliciesThatMatch {
                vhost: line.vhost.clone(),
                object_type: object_type(line),
                name: line.argument(0),
            })
        }),
        ..PLAIN
    },
    Verb {
        name: "peek",
        usage: "[--vhost <vhost>] <queue> <pos>",
        arguments: (2, 2),
        columns: fixed(&["keys", "values"], true),
        check: |line| position(line).map(drop),
        banner: |line| {
            let (queue, position) = (line.argument(0), line.argument(1));
            let place = line.data_dir.display();
            format!("Peeking at queue {queue} at position {position} on the broker at {place} ...")
        },
        act: Act::Ask(|line| Request::Peek {
            vhost: line.vhost.clone(),
            queue: line.argument(0),
            position: position(line).unwrap_or(0),
        }),
        ..PLAIN
    },
    Verb {
        name: "quorum_status",
        usage: "[--vhost <vhost>] <queue>",
        arguments: (1, 1),
        columns: fixed(QUORUM_STATUS, true),
        banner: |line| {
            let (queue, place) = (line.argument(0), line.data_dir.display());
            format!("Status of queue {queue} on the broker at {place} ...")
        },
        act: Act::Ask(|line| Request::QuorumStatus {
            vhost: line.vhost.clone(),
            queue: line.argument(0),
            columns: line.columns(),
        }),
        ..PLAIN
    },
    Verb {
        name: "message_size_stats",
        columns: fixed(&["Message Size", "Count", "Percentage"], true),
        banner: |line| {
            format!(
                "Gathering message size statistics from the broker at {} ...",
                line.data_dir.display()
            )
        },
        act: Act::Ask(|line| Request::MessageSizeStats {
            columns: line.columns(),
        }),
        ..PLAIN
    },
    Verb {
        name: "suspend_listeners",
        banner: |line| {
            format!(
                "Will suspend client connection listeners on the broker at {} ...",
                line.data_dir.display()
            )
        },
        act: Act::Ask(|_| Request::SuspendListeners),
        ..PLAIN
    },
    Verb {
        name: "resume_listeners",
        banner: |line| {
            format!(
                "Will resume client connection listeners on the broker at {} ...",
                line.data_dir.display()
            )
        },
        act: Act::Ask(|_| Request::ResumeListeners),
        ..PLAIN
    },
    Verb {
        name: "certificates",
        columns: fixed(CERTIFICATES, true),
        banner: |line| {
            format!(
                "Certificates of the listeners of the broker at {} ...",
                line.data_dir.display()
            )
        },
        act: Act::Ask(|line| Request::Certificates {
            columns: line.columns(),
        }),
        ..PLAIN
    },
    Verb {
        name: "check_certificate_expiration",
        usage: "<within> [--unit <days|weeks|months|years>]",
        arguments: (1, 1),
        switches: &[Switch::value("unit")],
        check: |line| within_s(line).map(drop),
        banner: |line| {
            let (within, unit) = (line.argument(0), unit(line));
            format!(
                "Checking certificate expiration on the broker at {} within {within} {unit} ...",
                line.data_dir.display()
            )
        },
        act: Act::Do {
            request: |_| {
                let columns = EXPIRY.iter().map(|column| (*column).to_owned()).collect();
                Ok(Request::Certificates { columns })
            },
            render: expiring,
        },
        ..PLAIN
    },
];

fn object_type(line: &Line) -> String {
    line.option("object-type").unwrap_or("queue").to_owned()
}

fn position(line: &Line) -> Result<u64, String> {
    match line.argument(1).parse() {
        Ok(0) | Err(_) => Err("pos must be a number from 1 on".into()),
        Ok(position) => Ok(position),
    }
}

fn unit(line: &Line) -> String {
    line.option("unit").unwrap_or("weeks").to_owned()
}

fn within_s(line: &Line) -> Result<u64, String> {
    const DAY_S: u64 = 24 * 60 * 60;
    let unit = unit(line);
    let unit_s = match unit.as_str() {
        "days" => DAY_S,
        "weeks" => 7 * DAY_S,
        "months" => 30 * DAY_S,
        "years" => 365 * DAY_S,
        _ => {
            return Err(format!(
                "unit must be days, weeks, months or years, not {unit}"
            ));
        }
    };
    let within = line.argument(0);
    let within = within
        .parse::<u64>()
        .ok()
        .and_then(|within| within.checked_mul(unit_s));
    within.ok_or_else(|| "within must be a whole number".into())
}

fn expiring(line: &Line, response: Response) -> Result<String, Refusal> {
    let Response::Rows(rows) = response else {
        return Ok(String::new());
    };
    let now_s = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let end_s = now_s.as_secs().saturating_add(within_s(line).unwrap_or(0));
    let end_s = i64::try_from(end_s).unwrap_or(i64::MAX);
    let mut found = Vec::new();
    for row in &rows {
        let [Cell::Text(protocol), certificate @ ..] = &row[..] else {
            continue;
        };
        for cells in certificate.chunks(3) {
            if let [Cell::Text(file), on, Cell::Integer(at_s)] = cells
                && *at_s < end_s
            {
                let on = crate::ctl::output::text_of(on);
                found.push(format!("{protocol}: {file} expires on {on}"));
            }
        }
    }
    // Several listeners show the same.
    found.sort();
    found.dedup();
    let (within, unit) = (line.argument(0), unit(line));
    if found.is_empty() {
        return Ok(format!("No certificates expire within {within} {unit}\n"));
    }
    let found = found.join("\n");
    let text = format!("Error:\nCertificates expire within {within} {unit}:\n{found}");
    Err(Refusal::new(exit::UNAVAILABLE, text))
}
