//! Health checks: 200 with `{"status":"ok"}`, or 503 with what is wrong.

use node::alarms::Alarm;

use crate::access::Guard::{Anyone, Management, Vhost as VhostGuard, VhostOrMonitoring};
use crate::answer::Answer;
use crate::api::Listening;
use crate::call::Call;
use crate::failure::Failure;
use crate::json::{Json, Object};
use crate::routes::{Route, get, route};

pub(crate) const ROUTES: &[Route] = &[
    route(
        "/api/aliveness-test/{vhost}",
        &[get(
            VhostGuard,
            aliveness,
            "Check that a vhost is there for the user",
        )],
    ),
    route(
        "/api/healthchecks/node",
        &[get(
            Management,
            always,
            "Check nothing (kept for old clients)",
        )],
    ),
    route(
        "/api/healthchecks/node/{node}",
        &[get(
            Management,
            node_is_ours,
            "Check nothing (kept for old clients)",
        )],
    ),
    route(
        "/api/health/checks/alarms",
        &[get(Management, alarms, "Check that no alarm is on")],
    ),
    route(
        "/api/health/checks/local-alarms",
        &[get(
            Management,
            alarms,
            "Check that no alarm is on at this node",
        )],
    ),
    route(
        "/api/health/checks/metadata-store/initialized",
        &[get(
            Management,
            catalog,
            "Check that the catalog can be written",
        )],
    ),
    route(
        "/api/health/checks/metadata-store/initialized/with-data",
        &[get(
            Management,
            catalog,
            "Check that the catalog can be written",
        )],
    ),
    route(
        "/api/health/checks/certificate-expiration/{within}/{unit}",
        &[get(
            Management,
            certificates,
            "Check that no certificate expires soon",
        )],
    ),
    route(
        "/api/health/checks/port-listener/{port}",
        &[get(Management, port, "Check that a port is listened on")],
    ),
    route(
        "/api/health/checks/protocol-listener/{protocols}",
        &[get(
            Management,
            protocols,
            "Check that protocols are listened for",
        )],
    ),
    route(
        "/api/health/checks/virtual-hosts",
        &[get(
            Management,
            virtual_hosts,
            "Check that all vhosts run and their messages are whole",
        )],
    ),
    route(
        "/api/health/checks/quorum-queues-without-elected-leaders/all-vhosts",
        &[get(
            Management,
            always,
            "Check that quorum queues have leaders",
        )],
    ),
    route(
        "/api/health/checks/quorum-queues-without-elected-leaders/all-vhosts/pattern/{pattern}",
        &[get(
            Management,
            always,
            "Check that quorum queues have leaders",
        )],
    ),
    route(
        "/api/health/checks/quorum-queues-without-elected-leaders/vhost/{vhost}",
        &[get(
            VhostOrMonitoring,
            always,
            "Check that quorum queues have leaders",
        )],
    ),
    route(
        "/api/health/checks/quorum-queues-without-elected-leaders/vhost/{vhost}/pattern/{pattern}",
        &[get(
            VhostOrMonitoring,
            always,
            "Check that quorum queues have leaders",
        )],
    ),
    route(
        "/api/health/checks/node-is-quorum-critical",
        &[get(
            Management,
            quorum_critical,
            "Check that no majority hangs on this node",
        )],
    ),
    route(
        "/api/health/checks/is-in-service",
        &[get(
            Anyone,
            always,
            "Check that the node is not in maintenance",
        )],
    ),
    route(
        "/api/health/checks/below-node-connection-limit",
        &[get(
            Anyone,
            connection_limit,
            "Check that there is room for connections",
        )],
    ),
    route(
        "/api/health/checks/ready-to-serve-clients",
        &[get(Anyone, ready, "Check that clients can be served")],
    ),
    route(
        "/api/health/checks/reached-target-cluster-size",
        &[get(Anyone, always, "Check that all nodes are there")],
    ),
];

/// True of a node that answers.
fn always(_call: &Call<'_>) -> Result<Answer, Failure> {
    Ok(Answer::ok())
}

fn node_is_ours(call: &Call<'_>) -> Result<Answer, Failure> {
    match call.param("node") == call.api.node.settings.cluster_name {
        true => Ok(Answer::ok()),
        false => Err(Failure::no_object()),
    }
}

/// RabbitMQ declares a queue and passes a message through it. Here that the vhost is there and the catalog can
/// be written says the same, without leaving a queue behind.
fn aliveness(call: &Call<'_>) -> Result<Answer, Failure> {
    call.vhost()?;
    call.vhost_to_change()?;
    catalog(call)
}

fn failed(reason: impl Into<Json>) -> Object {
    Object::new()
        .with("status", "failed")
        .with("reason", reason)
}

fn alarms(call: &Call<'_>) -> Result<Answer, Failure> {
    let on = |alarm: Alarm| {
        Object::new()
            .with("node", call.api.node_name())
            .with("resource", alarm.resource())
    };
    let alarms: Vec<Object> = call.api.node.alarms.on().map(on).collect();
    if alarms.is_empty() {
        return Ok(Answer::ok());
    }
    let object = failed("There are alarms in effect in the cluster").with("alarms", alarms);
    Ok(Answer::failed(object))
}

fn catalog(call: &Call<'_>) -> Result<Answer, Failure> {
    match call.api.node.catalog.failure() {
        None => Ok(Answer::ok()),
        Some(failure) => Ok(Answer::failed(failed(failure))),
    }
}

/// In RabbitMQ a vhost is down whose message store is. All of ours share one.
fn virtual_hosts(call: &Call<'_>) -> Result<Answer, Failure> {
    let Some(log) = &call.api.node.log else {
        return Ok(Answer::ok());
    };
    let damages = log.damages().into_iter().map(|damage| damage.to_string());
    let reasons = log.failure().map(|failure| failure.to_string());
    let reasons: Vec<String> = reasons.into_iter().chain(damages).collect();
    if reasons.is_empty() {
        return Ok(Answer::ok());
    }
    Ok(Answer::failed(failed(reasons.join("; "))))
}

/// Listeners whose certificate ends within the time asked for. A month is a twelfth of 365 days, as in RabbitMQ.
fn certificates(call: &Call<'_>) -> Result<Answer, Failure> {
    const DAY_S: i64 = 86_400;
    let unit_s = match &*call.param("unit").to_lowercase() {
        "days" => DAY_S,
        "weeks" => 7 * DAY_S,
        "months" => 365 * DAY_S / 12,
        "years" => 365 * DAY_S,
        _ => {
            return Err(Failure::bad_request(
                "Time unit not recognised. Supported units: days, weeks, months, years.",
            ));
        }
    };
    let within: i64 = call
        .param("within")
        .parse()
        .map_err(|_| Failure::bad_request("Invalid expiration value."))?;
    let now_s = i64::try_from(call.now_ms / 1000).unwrap_or(i64::MAX);
    let limit_s = now_s.saturating_add(within.saturating_mul(unit_s));
    let host = &call.api.host;
    let mut expired = Vec::new();
    for certificate in (host.certificates)() {
        let shown = |listening: &&Listening| listening.protocol == certificate.protocol;
        let listeners = host.listeners.iter().filter(shown);
        let roots_expire = certificate.roots_expire_at_s;
        if certificate.expires_at_s < limit_s || roots_expire.is_some_and(|at_s| at_s < limit_s) {
            let roots: Vec<Json> = certificate.roots_expire_on.iter().map(Json::from).collect();
            expired.extend(listeners.map(|listening| {
                Object::new()
                    .with("node", call.api.node_name())
                    .with("protocol", certificate.protocol)
                    .with("interface", listening.address.ip().to_string())
                    .with("port", listening.address.port())
                    .with("certfile", &certificate.certfile)
                    .with("cacertfile", &certificate.cacertfile)
                    .with(
                        "certfile_expires_on",
                        vec![Json::from(&certificate.expires_on)],
                    )
                    .with("cacertfile_expires_on", roots.clone())
            }));
        }
    }
    if expired.is_empty() {
        return Ok(Answer::ok());
    }
    let failed = Object::new()
        .with("status", "failed")
        .with("reason", "Certificates expiring")
        .with("expired", expired);
    Ok(Answer::failed(failed))
}

fn port(call: &Call<'_>) -> Result<Answer, Failure> {
    let port = call.param("port").parse::<u16>();
    let port = port.map_err(|_| Failure::bad_request("Invalid port"))?;
    let mut ports: Vec<u16> = call
        .api
        .host
        .listeners
        .iter()
        .map(|listening| listening.address.port())
        .collect();
    if ports.contains(&port) {
        return Ok(Answer::json(
            Object::new().with("status", "ok").with("port", port),
        ));
    }
    ports.dedup();
    let ports: Vec<Json> = ports.into_iter().map(Json::from).collect();
    let object = failed("No active listener")
        .with("missing", port)
        .with("ports", ports);
    Ok(Answer::failed(object))
}

/// RabbitMQ's other names for what it speaks.
fn protocol(name: &str) -> &str {
    match name {
        "amqp091" | "amqp0.9.1" | "amqp0-9-1" | "amqp10" | "amqp1.0" | "amqp" => "amqp",
        "amqps" | "amqp/ssl" => "amqp/ssl",
        "http/prometheus" | "prometheus" => "http/prometheus",
        other => other,
    }
}

fn protocols(call: &Call<'_>) -> Result<Answer, Failure> {
    let mut listened: Vec<&'static str> = call
        .api
        .host
        .listeners
        .iter()
        .map(|listening| listening.protocol)
        .collect();
    listened.sort_unstable();
    listened.dedup();
    let missing: Vec<Json> = call
        .param("protocols")
        .split(',')
        .map(str::trim)
        .filter(|wanted| !listened.contains(&protocol(wanted)))
        .map(|wanted| Json::Text(wanted.to_owned()))
        .collect();
    let listened: Vec<Json> = listened.into_iter().map(Json::from).collect();
    if missing.is_empty() {
        let object = Object::new()
            .with("status", "ok")
            .with("protocols", listened);
        return Ok(Answer::json(object));
    }
    let object = failed("No active listener")
        .with("missing", missing)
        .with("protocols", listened);
    Ok(Answer::failed(object))
}

fn quorum_critical(_call: &Call<'_>) -> Result<Answer, Failure> {
    let object = Object::new()
        .with("status", "ok")
        .with("reason", "single node cluster");
    Ok(Answer::json(object))
}

fn connection_limit(call: &Call<'_>) -> Result<Answer, Failure> {
    let node = &call.api.node;
    let limit = node.settings.connections_max as u64;
    if node.connections.accepted_len() < limit {
        return Ok(Answer::ok());
    }
    let object = failed("The node has reached its connection limit")
        .with("current", node.connections.accepted_len())
        .with("limit", limit);
    Ok(Answer::failed(object))
}

fn ready(call: &Call<'_>) -> Result<Answer, Failure> {
    if call.api.node.catalog.failure().is_some() {
        return catalog(call);
    }
    let log = call.api.node.log.as_ref();
    if let Some(failure) = log.and_then(|log| log.failure()) {
        return Ok(Answer::failed(failed(failure.to_string())));
    }
    connection_limit(call)
}
