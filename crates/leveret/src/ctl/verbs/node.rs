//! Verbs about the node as a whole: what it is told, what it tells for a report, its limits, its end.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use server::control::protocol::{Cell, Request, Response, Status};

use super::topology::bytes;
use super::{Act, Columns, PLAIN, Switch, Verb, fixed};
use crate::ctl::line::{Formatter, Line};
use crate::ctl::output::{listener_text, sections};
use crate::ctl::{Refusal, exit};

/// How long `shutdown` waits unless `--timeout` says.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(300);

/// How often it looks.
const SHUTDOWN_LOOK_INTERVAL: Duration = Duration::from_millis(50);

const ATTEMPTS: &[&str] = &[
    "protocol",
    "auth_attempts",
    "auth_attempts_failed",
    "auth_attempts_succeeded",
];

fn broker(line: &Line) -> String {
    format!("the broker at {}", line.data_dir.display())
}

/// A list whose columns can be chosen.
const fn list(
    name: &'static str,
    all: &'static [&'static str],
    default: &'static [&'static str],
    banner: fn(&Line) -> String,
    request: fn(&Line) -> Request,
) -> Verb {
    Verb {
        name,
        usage: "[<column>, ...]",
        arguments: (0, usize::MAX),
        columns: Some(Columns {
            all,
            default,
            headers: true,
        }),
        banner,
        act: Act::Ask(request),
        ..PLAIN
    }
}

pub(super) const VERBS: &[Verb] = &[
    Verb {
        name: "cluster_status",
        banner: |line| format!("Cluster status of {} ...", broker(line)),
        act: Act::Do {
            request: |_| Ok(Request::Status),
            render: |line, response| Ok(cluster_status(line, response)),
        },
        ..PLAIN
    },
    Verb {
        columns: fixed(&["key", "value", "origin"], true),
        banner: |line| format!("Configuration of {} ...", broker(line)),
        name: "environment",
        act: Act::Ask(|line| Request::Environment {
            columns: line.columns(),
        }),
        ..PLAIN
    },
    Verb {
        name: "report",
        banner: |line| format!("Reporting the status of {} ...\n", broker(line)),
        act: Act::Report {
            once: &[
                "status",
                "cluster_status",
                "environment",
                "list_connections",
                "list_channels",
                "list_node_auth_attempt_stats",
                "list_feature_flags",
                "list_users",
                "list_vhosts",
                "list_global_parameters",
            ],
            per_vhost: &[
                "list_queues name type messages messages_unacknowledged consumers policy",
                "list_exchanges",
                "list_bindings",
                "list_consumers",
                "list_permissions",
                "list_topic_permissions",
                "list_policies",
                "list_operator_policies",
                "list_parameters",
                "list_vhost_limits",
            ],
        },
        ..PLAIN
    },
    Verb {
        name: "memory_breakdown",
        usage: "[--unit <unit>]",
        switches: &[Switch::value("unit")],
        check: |line| unit(line).map(drop),
        banner: |line| format!("Reporting memory breakdown on {} ...", broker(line)),
        act: Act::Do {
            request: |_| Ok(Request::Status),
            render: |line, response| Ok(memory_breakdown(line, response)),
        },
        ..PLAIN
    },
    list(
        "list_feature_flags",
        &["name", "state", "desc"],
        &["name", "state"],
        |_| "Listing feature flags ...".to_owned(),
        |line| Request::ListFeatureFlags {
            columns: line.columns(),
        },
    ),
    Verb {
        name: "enable_feature_flag",
        usage: "<feature_flag>",
        arguments: (1, 1),
        banner: |line| format!("Enabling feature flag \"{}\" ...", line.argument(0)),
        act: Act::Do {
            request: |_| {
                let columns = vec!["name".to_owned()];
                Ok(Request::ListFeatureFlags { columns })
            },
            render: flag_enabled,
        },
        ..PLAIN
    },
    list(
        "list_deprecated_features",
        &["name", "deprecation_phase", "state"],
        &["name", "deprecation_phase", "state"],
        |_| "Listing deprecated features ...".to_owned(),
        |line| Request::ListDeprecatedFeatures {
            columns: line.columns(),
        },
    ),
    Verb {
        name: "list_node_auth_attempt_stats",
        columns: fixed(ATTEMPTS, true),
        banner: |line| format!("Listing authentication attempts for {} ...", broker(line)),
        act: Act::Ask(|line| Request::ListAuthAttempts {
            columns: line.columns(),
        }),
        ..PLAIN
    },
    Verb {
        name: "reset_node_auth_attempt_metrics",
        banner: |line| format!("Resetting auth attempt metrics on {} ...", broker(line)),
        act: Act::Ask(|_| Request::ResetAuthAttempts),
        ..PLAIN
    },
    Verb {
        name: "enable_auth_attempt_source_tracking",
        act: Act::Ask(|_| Request::TrackAuthSources { on: true }),
        ..PLAIN
    },
    Verb {
        name: "disable_auth_attempt_source_tracking",
        act: Act::Ask(|_| Request::TrackAuthSources { on: false }),
        ..PLAIN
    },
    Verb {
        name: "set_disk_free_limit",
        usage: "<disk_limit> | mem_relative <fraction>",
        arguments: (1, 2),
        check: |line| disk_free_limit(line).map(drop),
        banner: |line| {
            let (broker, value) = (broker(line), line.argument(0));
            match line.arguments.get(1) {
                Some(part) => {
                    format!("Setting disk free limit on {broker} to {part} times the total RAM ...")
                }
                None => format!("Setting disk free limit on {broker} to {value} bytes ..."),
            }
        },
        act: Act::Ask(|line| disk_free_limit(line).expect("the line was checked")),
        ..PLAIN
    },
    Verb {
        name: "stop",
        banner: |line| format!("Stopping {} ...", broker(line)),
        act: Act::Do {
            request: |_| Ok(Request::Stop),
            render: |_, _| Ok(String::new()),
        },
        ..PLAIN
    },
    Verb {
        name: "shutdown",
        usage: "[--timeout <seconds>] [--no-wait]",
        switches: &[Switch::flag("wait")],
        banner: |line| format!("Shutting down {} ...", broker(line)),
        act: Act::Do {
            request: |_| Ok(Request::Stop),
            render: wait_for_the_end,
        },
        ..PLAIN
    },
];

/// All flags that there are, are on.
fn flag_enabled(line: &Line, response: Response) -> Result<String, Refusal> {
    let name = line.argument(0);
    let rows = match response {
        Response::Rows(rows) => rows,
        _ => Vec::new(),
    };
    let known = rows
        .iter()
        .any(|row| row.first() == Some(&Cell::Text(name.clone())));
    match known || name == "all" {
        true => Ok(String::new()),
        false => Err(Refusal::new(
            exit::UNAVAILABLE,
            format!("Error:\nFeature flag \"{name}\" is not supported"),
        )),
    }
}

/// Watches the process that was told to stop.
fn wait_for_the_end(line: &Line, response: Response) -> Result<String, Refusal> {
    let Response::Count(pid) = response else {
        return Ok(String::new());
    };
    if line.option("wait") == Some("false") {
        return Ok(String::new());
    }
    let patience = line.timeout_s.filter(|seconds| *seconds > 0);
    let deadline = Instant::now() + patience.map_or(SHUTDOWN_TIMEOUT, Duration::from_secs);
    while is_running(pid) {
        if deadline < Instant::now() {
            let text = format!("Error: the broker (process {pid}) has not stopped in time");
            return Err(Refusal::new(exit::TEMPFAIL, text));
        }
        std::thread::sleep(SHUTDOWN_LOOK_INTERVAL);
    }
    Ok(format!("Process {pid} has stopped\n"))
}

/// A process that has ended and that nobody has asked about counts as gone.
fn is_running(pid: u64) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return false;
    };
    let state = stat.rsplit(')').next().unwrap_or_default();
    !state.trim_start().starts_with(['Z', 'X'])
}

fn disk_free_limit(line: &Line) -> Result<Request, String> {
    let value = line.argument(1);
    match (line.argument(0).as_str(), line.arguments.len()) {
        ("mem_relative", 2) => match value.parse::<f64>() {
            Ok(part) if (0.0..=1_000_000.0).contains(&part) => {
                let permille = (part * 1000.0).round() as u32;
                Ok(Request::SetDiskFreeLimitRelative { permille })
            }
            _ => Err(format!("{value} is not a fraction of the memory")),
        },
        ("mem_relative", _) => Err("a fraction must follow mem_relative".to_owned()),
        (limit, 1) => {
            let bytes = bytes(limit)?;
            Ok(Request::SetDiskFreeLimit { bytes })
        }
        (other, _) => Err(other.to_owned()),
    }
}

/// What a cluster of one node has to say.
fn cluster_status(line: &Line, response: Response) -> String {
    let Response::Status(status) = response else {
        return String::new();
    };
    if line.formatter == Formatter::Json {
        return format!("{}\n", cluster_status_json(&status));
    }
    let Status {
        cluster_name: name,
        cpu_cores: cores,
        version,
        ..
    } = &*status;
    let listeners = status.listeners.iter().map(listener_text);
    let listeners = listeners
        .map(|text| format!("Node: {name}, {}", uncapital(&text)))
        .collect::<Vec<_>>();
    sections(&[
        (
            "Basics",
            &format!("Cluster name: {name}\nTotal CPU cores available cluster-wide: {cores}"),
        ),
        ("Disk Nodes", name),
        ("Running Nodes", name),
        ("Versions", &format!("{name}: Leveret {version}")),
        (
            "CPU Cores",
            &format!("Node: {name}, available CPU cores: {cores}"),
        ),
        (
            "Maintenance status",
            &format!("Node: {name}, status: not under maintenance"),
        ),
        ("Alarms", status.alarms.as_deref().unwrap_or("(none)")),
        ("Network Partitions", "(none)"),
        ("Listeners", &listeners.join("\n")),
    ])
}

fn uncapital(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_ascii_lowercase());
    first.into_iter().chain(chars).collect()
}

fn cluster_status_json(status: &Status) -> serde_json::Value {
    use serde_json::json;
    let name = &status.cluster_name;
    let listeners = status.listeners.iter().map(|listener| {
        json!({
            "node": name, "interface": listener.interface, "port": listener.port,
            "protocol": listener.protocol, "purpose": listener.purpose(),
        })
    });
    let listeners: Vec<_> = listeners.collect();
    let alarms: Vec<_> = status.alarms.iter().collect();
    json!({
        "cluster_name": name,
        "cluster_tags": [],
        "disk_nodes": [name],
        "running_nodes": [name],
        "versions": {name: {"leveret_version": status.version}},
        "cpu_cores": {name: status.cpu_cores},
        "maintenance_status": {name: "not under maintenance"},
        "alarms": alarms,
        "partitions": {},
        "listeners": {name: listeners},
    })
}

/// The unit's name and its bytes.
fn unit(line: &Line) -> Result<(&str, f64), String> {
    match line.option("unit").unwrap_or("gb") {
        unit @ "gb" => Ok((unit, 1e9)),
        unit @ "mb" => Ok((unit, 1e6)),
        unit @ ("kb" | "bytes") => Ok((unit, if unit == "kb" { 1e3 } else { 1.0 })),
        other => Err(format!(
            "Unit {other} is not supported: bytes, kb, mb or gb"
        )),
    }
}

/// Memory by what it is for, as far as that is counted, the largest first.
fn memory_breakdown(line: &Line, response: Response) -> String {
    let Response::Status(status) = response else {
        return String::new();
    };
    let total_bytes = status.resident_bytes.unwrap_or(0);
    let messages_bytes = status.message_cache_bytes.unwrap_or(0).min(total_bytes);
    let mut parts = [
        ("messages", messages_bytes),
        ("other", total_bytes - messages_bytes),
    ];
    parts.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    if line.formatter == Formatter::Json {
        let parts: serde_json::Map<_, _> = parts
            .iter()
            .map(|(name, bytes)| ((*name).to_owned(), (*bytes).into()))
            .collect();
        return format!("{}\n", serde_json::Value::Object(parts));
    }
    let (unit, unit_bytes) = unit(line).expect("the line was checked");
    let mut out = String::new();
    for (name, bytes) in parts {
        let amount = bytes as f64 / unit_bytes;
        let share = bytes as f64 * 100.0 / total_bytes.max(1) as f64;
        let _ = writeln!(out, "{name}: {amount:.4} {unit} ({share:.2}%)");
    }
    out
}
