//! Verbs that look at a running broker, most of them rabbitmq-diagnostics': health checks exit with a code.

use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use server::control::protocol::{Request, Response, Status};

use super::{Act, PLAIN, Switch, Verb};
use crate::ctl::line::Line;
use crate::ctl::output::listener_text;
use crate::ctl::{Refusal, exit};

/// How long a listener may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

type Report = fn(&Line, &Status) -> Result<String, Refusal>;

/// A verb that asks for the status and says something of it.
const fn check(name: &'static str, banner: fn(&Line) -> String, render: Render) -> Verb {
    Verb {
        name,
        banner,
        act: Act::Do {
            request: |_| Ok(Request::Status),
            render,
        },
        ..PLAIN
    }
}

type Render = fn(&Line, Response) -> Result<String, Refusal>;

/// Hands the status to a report.
fn of(line: &Line, response: Response, report: Report) -> Result<String, Refusal> {
    match response {
        Response::Status(status) => report(line, &status),
        _ => Ok(String::new()),
    }
}

fn broker(line: &Line) -> String {
    format!("the broker at {}", line.data_dir.display())
}

/// `which`: what the argument says of the listener.
fn asking_for_listener(line: &Line, which: &str) -> String {
    let (broker, argument) = (broker(line), line.argument(0));
    format!("Asking {broker} if there's an active listener {which} {argument} ...")
}

pub(super) const VERBS: &[Verb] = &[
    check(
        "check_running",
        |line| format!("Checking if {} is running ...", broker(line)),
        |line, response| of(line, response, running),
    ),
    check(
        "is_running",
        |line| format!("Asking {} for its status ...", broker(line)),
        |line, response| of(line, response, running),
    ),
    check(
        "is_booting",
        |line| format!("Asking {} for its boot status ...", broker(line)),
        |line, response| {
            of(line, response, |line, _| {
                Ok(format!("{} is fully booted\n", capital(&broker(line))))
            })
        },
    ),
    check("await_startup", |_| String::new(), |_, _| Ok(String::new())),
    check(
        "check_local_alarms",
        |line| {
            format!(
                "Asking {} to report any local resource alarms ...",
                broker(line)
            )
        },
        |line, response| of(line, response, alarms_fail),
    ),
    check(
        "check_alarms",
        |line| format!("Asking {} to report any resource alarms ...", broker(line)),
        |line, response| of(line, response, alarms_fail),
    ),
    check(
        "alarms",
        |line| {
            format!(
                "Asking {} to report any known resource alarms ...",
                broker(line)
            )
        },
        |line, response| of(line, response, |line, status| Ok(alarms(line, status))),
    ),
    check(
        "listeners",
        |line| {
            format!(
                "Asking {} to report its protocol listeners ...",
                broker(line)
            )
        },
        |line, response| of(line, response, |_, status| Ok(listeners(status))),
    ),
    Verb {
        usage: "<port>",
        arguments: (1, 1),
        check: |line| {
            let port = line.argument(0);
            port.parse::<u16>()
                .map(drop)
                .map_err(|_| format!("port must be a positive integer, not {port}"))
        },
        ..check(
            "check_port_listener",
            |line| asking_for_listener(line, "on port"),
            |line, response| of(line, response, port_listener),
        )
    },
    Verb {
        usage: "<protocol>",
        arguments: (1, 1),
        ..check(
            "check_protocol_listener",
            |line| asking_for_listener(line, "for protocol"),
            |line, response| of(line, response, protocol_listener),
        )
    },
    Verb {
        usage: "[--address <address>]",
        switches: &[Switch::value("address")],
        ..check(
            "check_port_connectivity",
            |line| {
                format!(
                    "Testing TCP connections to all active listeners on {} ...",
                    broker(line)
                )
            },
            |line, response| of(line, response, connectivity),
        )
    },
    check(
        "check_virtual_hosts",
        |line| format!("Checking if all vhosts are running on {} ...", broker(line)),
        |line, response| {
            of(line, response, |line, _| {
                Ok(format!(
                    "{} reported all vhosts as running\n",
                    capital(&broker(line))
                ))
            })
        },
    ),
    check(
        "check_if_node_is_quorum_critical",
        |line| {
            format!(
                "Checking if {} is critical for quorum of any queues/streams ...",
                broker(line)
            )
        },
        |line, response| {
            of(line, response, |line, _| {
                Ok(format!(
                    "{} seems to be the only one in a single node cluster, the check does not apply\n",
                    capital(&broker(line))
                ))
            })
        },
    ),
    check(
        "server_version",
        |line| format!("Asking {} for its version ...", broker(line)),
        |line, response| {
            of(line, response, |_, status| {
                Ok(format!("{}\n", status.version))
            })
        },
    ),
    Verb {
        usage: "[--vhost <vhost>]",
        ..check(
            "list_unresponsive_queues",
            |line| format!("Listing unresponsive queues for vhost {} ...", line.vhost),
            // A queue is data behind a lock, not a process that could hang.
            |_, _| Ok(String::new()),
        )
    },
    Verb {
        name: "close_all_user_connections",
        usage: "<username> <explanation>",
        arguments: (2, 2),
        banner: |line| {
            let (user, explanation) = (line.argument(0), line.argument(1));
            format!("Closing all connections of user {user}, reason: {explanation}...")
        },
        act: Act::Ask(|line| Request::CloseUserConnections {
            user: line.argument(0),
            explanation: line.argument(1),
        }),
        ..PLAIN
    },
];

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(chars).collect()
}

fn running(line: &Line, _: &Status) -> Result<String, Refusal> {
    Ok(format!(
        "{} is fully booted and running\n",
        capital(&broker(line))
    ))
}

fn alarms(line: &Line, status: &Status) -> String {
    let broker = capital(&broker(line));
    match &status.alarms {
        None => format!("{broker} reported no alarms\n"),
        Some(reason) => format!("{broker} reported alarms: {reason}\n"),
    }
}

fn alarms_fail(line: &Line, status: &Status) -> Result<String, Refusal> {
    let text = alarms(line, status);
    match status.alarms {
        None => Ok(text),
        Some(_) => Err(Refusal::new(exit::UNAVAILABLE, text.trim_end())),
    }
}

fn listeners(status: &Status) -> String {
    let listeners = status.listeners.iter().map(listener_text);
    listeners.map(|text| text + "\n").collect()
}

fn port_listener(line: &Line, status: &Status) -> Result<String, Refusal> {
    let (port, broker) = (line.argument(0), broker(line));
    let mut ports: Vec<u16> = status
        .listeners
        .iter()
        .map(|listener| listener.port)
        .collect();
    ports.sort_unstable();
    if ports.iter().any(|listening| listening.to_string() == port) {
        return Ok(format!(
            "A listener for port {port} is running on {broker}.\n"
        ));
    }
    let ports: Vec<_> = ports.iter().map(u16::to_string).collect();
    let text = format!(
        "No listener for port {port} is active on {broker}. Found listeners that use the following \
         ports: {}",
        ports.join(", ")
    );
    Err(Refusal::new(exit::UNAVAILABLE, text))
}

fn protocol_listener(line: &Line, status: &Status) -> Result<String, Refusal> {
    let (protocol, broker) = (line.argument(0), broker(line));
    let mut protocols: Vec<_> = status
        .listeners
        .iter()
        .map(|l| l.protocol.as_str())
        .collect();
    protocols.sort_unstable();
    protocols.dedup();
    // RabbitMQ takes these names for the same.
    let asked = match protocol.as_str() {
        "amqp091" | "amqp0-9-1" | "amqp0.9.1" => "amqp",
        other => other,
    };
    if protocols.contains(&asked) {
        return Ok(format!(
            "A listener for protocol {protocol} is running on {broker}.\n"
        ));
    }
    let text = format!(
        "Error:\nNo listener for protocol {protocol} is active on {broker}. Found listeners for \
         the following protocols: {}",
        protocols.join(", ")
    );
    Err(Refusal::new(exit::UNAVAILABLE, text))
}

/// Connects to each listener, on its own address unless another is given.
fn connectivity(line: &Line, status: &Status) -> Result<String, Refusal> {
    let mut text = String::new();
    let (mut reached, mut failed) = (Vec::new(), Vec::new());
    for listener in &status.listeners {
        let host = match (line.option("address"), listener.interface.as_str()) {
            (Some(address), _) => address,
            (None, "0.0.0.0" | "::") => "localhost",
            (None, interface) => interface,
        };
        let port = listener.port;
        text.push_str(&format!("Will connect to {host}:{port}\n"));
        let addresses = (host, port).to_socket_addrs();
        let connected = addresses.is_ok_and(|mut addresses| {
            addresses.any(|address| TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).is_ok())
        });
        match connected {
            true => reached.push(port.to_string()),
            false => failed.push(port.to_string()),
        }
    }
    let broker = broker(line);
    if failed.is_empty() {
        let reached = reached.join(", ");
        text.push_str(&format!(
            "Successfully connected to ports {reached} on {broker}\n"
        ));
        return Ok(text);
    }
    let text = format!(
        "{text}Error:\nConnection to ports of the following listeners on {broker} failed: {}",
        failed.join(", ")
    );
    Err(Refusal::new(exit::UNAVAILABLE, text))
}
