//! The node: what it uses and may use, its listeners, and how much comes and goes.

use std::sync::atomic::Ordering;

use broker::exchange::EXCHANGE_TYPES;
use metadata::parameter::CLUSTER_NAME;
use node::alarms::Alarm;

use crate::access::Guard::{Administrator, Management, Monitoring};
use crate::answer::Answer;
use crate::api::{Listening, RABBITMQ_VERSION};
use crate::call::Call;
use crate::failure::Failure;
use crate::json::{Json, Object};
use crate::pages;
use crate::rates;
use crate::routes::{Route, get, list, put, required, route};
use crate::stats;

pub(crate) const ROUTES: &[Route] = &[
    route("/api/nodes", &[list(Monitoring, list_nodes, "List nodes")]),
    route("/api/nodes/{node}", &[get(Monitoring, show, "Show a node")]),
    route(
        "/api/nodes/{node}/memory",
        &[get(
            Monitoring,
            memory,
            "Show what a node's memory is used for",
        )],
    ),
    route(
        "/api/nodes/{node}/memory/relative",
        &[get(
            Monitoring,
            memory_relative,
            "Show shares of a node's memory",
        )],
    ),
    route(
        "/api/cluster-name",
        &[
            get(Management, cluster_name, "Show the cluster's name"),
            put(Administrator, set_cluster_name, "Set the cluster's name")
                .taking(&[required("name", "string")]),
        ],
    ),
    route(
        "/api/config/effective",
        &[get(
            Administrator,
            effective,
            "Show the configuration in effect",
        )],
    ),
];

/// Type and RabbitMQ's description.
const DESCRIPTIONS: [(&str, &str); 9] = [
    (
        "direct",
        "AMQP direct exchange, as per the AMQP specification",
    ),
    (
        "fanout",
        "AMQP fanout exchange, as per the AMQP specification",
    ),
    (
        "headers",
        "AMQP headers exchange, as per the AMQP specification",
    ),
    (
        "topic",
        "AMQP topic exchange, as per the AMQP specification",
    ),
    ("x-consistent-hash", "Consistent Hashing Exchange"),
    (
        "x-local-random",
        "Picks one random local binding (queue) to route via (to).",
    ),
    ("x-modulus-hash", "Modulus Hashing Exchange"),
    (
        "x-random",
        "Randomly picks a binding (queue) to route via (to).",
    ),
    ("x-recent-history", "Recent History Exchange."),
];

/// The types of exchange there are.
pub(crate) fn exchange_types() -> Json {
    let described = |name: &'static str| {
        let found = DESCRIPTIONS.iter().find(|(known, _)| *known == name);
        let description = found.map_or("", |(_, description)| *description);
        Object::new()
            .with("name", name)
            .with("description", description)
            .with("enabled", true)
    };
    EXCHANGE_TYPES
        .into_iter()
        .map(described)
        .collect::<Vec<_>>()
        .into()
}

/// What is listened on.
pub(crate) fn listeners(call: &Call<'_>) -> Json {
    let one = |listening: &Listening| {
        Object::new()
            .with("node", call.api.node_name())
            .with("protocol", listening.protocol)
            .with("ip_address", listening.address.ip().to_string())
            .with("port", listening.address.port())
            .with("socket_opts", Vec::<Json>::new())
            .with("tls", listening.tls)
    };
    let listeners = call.api.host.listeners.iter().map(one);
    listeners.collect::<Vec<_>>().into()
}

/// What is listened on for HTTP.
pub(crate) fn contexts(call: &Call<'_>, with_node: bool) -> Json {
    let http = call.api.host.listeners.iter();
    let http = http.filter(|listening| listening.protocol.starts_with("http"));
    let one = |listening: &Listening| {
        let metrics = listening.protocol.ends_with("/prometheus");
        let description = if metrics {
            "RabbitMQ Prometheus"
        } else {
            "RabbitMQ Management"
        };
        let mut object = Object::new()
            .with("description", description)
            .with("path", "/")
            .with("cowboy_opts", "[{sendfile,false}]")
            .with("port", listening.address.port().to_string());
        if metrics {
            // RabbitMQ's quotes.
            object.put("protocol", format!("'{}'", listening.protocol));
        }
        if with_node {
            object.put("node", call.api.node_name());
            object.put("ssl_opts", Vec::<Json>::new());
        }
        object
    };
    http.map(one).collect::<Vec<_>>().into()
}

/// Things that came and went so far.
const CHURN: usize = 7;

fn churn_counts(call: &Call<'_>) -> [(&'static str, &'static str, u64); CHURN] {
    let churn = &call.api.node.churn;
    let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    [
        (
            "connection_created",
            "connection_created_details",
            read(&churn.connections_opened),
        ),
        (
            "connection_closed",
            "connection_closed_details",
            read(&churn.connections_closed),
        ),
        (
            "channel_created",
            "channel_created_details",
            read(&churn.channels_opened),
        ),
        (
            "channel_closed",
            "channel_closed_details",
            read(&churn.channels_closed),
        ),
        (
            "queue_declared",
            "queue_declared_details",
            read(&churn.queues_declared),
        ),
        (
            "queue_created",
            "queue_created_details",
            read(&churn.queues_created),
        ),
        (
            "queue_deleted",
            "queue_deleted_details",
            read(&churn.queues_deleted),
        ),
    ]
}

/// The overview's part about what comes and goes.
pub(crate) fn churn(call: &Call<'_>) -> Object {
    let mut object = Object::new();
    put_churn(call, &mut object);
    object
}

fn put_churn(call: &Call<'_>, object: &mut Object) {
    stats::put(
        call,
        rates::Object::Node("churn"),
        object,
        &churn_counts(call),
    );
}

fn object(call: &Call<'_>) -> Object {
    let api = call.api;
    let facts = (api.host.facts)();
    let uptime_ms = call.now_ms.saturating_sub(api.host.started_ms);
    let mechanism = |name: &'static str, description: &'static str| {
        Object::new()
            .with("name", name)
            .with("description", description)
            .with("enabled", true)
    };
    let files: Vec<Json> = api
        .host
        .config_files
        .iter()
        .map(|file| Json::Text(file.clone()))
        .collect();
    let mut object = Object::new()
        .with("partitions", Vec::<Json>::new())
        .with("os_pid", std::process::id().to_string())
        .with("fd_total", facts.files_max)
        .with("sockets_total", 0u64)
        .with("mem_limit", facts.memory_limit_bytes)
        .with("mem_alarm", api.node.alarms.is_on(Alarm::Memory))
        .with("disk_free_limit", facts.disk_limit_bytes)
        .with("disk_free_alarm", api.node.alarms.is_on(Alarm::Disk))
        .with("proc_total", 1_048_576u64)
        .with("rates_mode", "basic")
        .with("uptime", uptime_ms)
        .with("run_queue", 0u64)
        .with("processors", facts.processors)
        .with("exchange_types", exchange_types())
        .with(
            "auth_mechanisms",
            vec![
                mechanism("PLAIN", "SASL PLAIN authentication mechanism"),
                mechanism("AMQPLAIN", "QPid AMQPLAIN mechanism"),
                mechanism("ANONYMOUS", "SASL ANONYMOUS authentication mechanism"),
            ],
        )
        .with("applications", applications())
        .with("contexts", contexts(call, false))
        .with("log_files", vec![Json::Word("<stderr>")])
        .with("db_dir", &api.host.data_dir)
        .with("config_files", files)
        .with("net_ticktime", 60u64)
        .with(
            "enabled_plugins",
            vec![
                Json::Word("rabbitmq_management"),
                Json::Word("rabbitmq_prometheus"),
            ],
        )
        .with("mem_calculation_strategy", "rss")
        .with("ra_open_file_metrics", Object::new())
        .with("rabbitmq_version", RABBITMQ_VERSION)
        .with("erlang_version", "")
        .with("erlang_full_version", "")
        .with("crypto_lib_version", "")
        .with("name", api.node_name())
        .with("type", "disc")
        .with("running", true)
        .with("being_drained", false);
    put_uses(call, &facts, &mut object);
    put_churn(call, &mut object);
    object.put("cluster_links", Vec::<Json>::new());
    object.put("metrics_gc_queue_length", Object::new());
    object
}

fn applications() -> Vec<Object> {
    vec![
        Object::new()
            .with("name", "leveret")
            .with("description", "Leveret")
            .with("version", env!("CARGO_PKG_VERSION")),
        Object::new()
            .with("name", "rabbit")
            .with(
                "description",
                "The RabbitMQ release whose behaviour is tracked",
            )
            .with("version", RABBITMQ_VERSION),
    ]
}

/// What is used now. What RabbitMQ counts of its own insides is zero here.
fn put_uses(call: &Call<'_>, facts: &crate::api::HostFacts, object: &mut Object) {
    let sockets = call.api.node.connections.accepted_len();
    let mut put = |name: &'static str, value: Json| {
        object.put(name, value);
        let details = format!("{name}_details");
        object.put(details, Object::new().with("rate", 0.0));
    };
    put("mem_used", facts.memory_bytes.into());
    put("fd_used", facts.files.into());
    put("sockets_used", sockets.into());
    put("proc_used", facts.threads.into());
    put("disk_free", facts.disk_free_bytes.into());
    put("context_switches", facts.context_switches.into());
    for name in [
        "gc_num",
        "gc_bytes_reclaimed",
        "io_read_count",
        "io_read_bytes",
        "io_write_count",
        "io_write_bytes",
        "io_sync_count",
        "io_seek_count",
        "io_reopen_count",
        "mnesia_ram_tx_count",
        "mnesia_disk_tx_count",
        "msg_store_read_count",
        "msg_store_write_count",
        "queue_index_write_count",
        "queue_index_read_count",
    ] {
        put(name, 0u64.into());
    }
    for name in [
        "io_read_avg_time",
        "io_write_avg_time",
        "io_sync_avg_time",
        "io_seek_avg_time",
    ] {
        put(name, 0.0.into());
    }
}

fn list_nodes(call: &Call<'_>) -> Result<Answer, Failure> {
    pages::answer(call, vec![object(call)])
}

fn check_node(call: &Call<'_>) -> Result<(), Failure> {
    match call.param("node") == call.api.node.settings.cluster_name {
        true => Ok(()),
        false => Err(Failure::no_object()),
    }
}

fn show(call: &Call<'_>) -> Result<Answer, Failure> {
    check_node(call)?;
    Ok(pages::one(call, object(call)))
}

/// What the memory is used for, in RabbitMQ's words. One process has one memory, of which the messages are known;
/// the rest stands under one word.
pub(crate) fn memory_parts(api: &crate::api::Api) -> (u64, u64) {
    let facts = (api.host.facts)();
    let mut queues = 0;
    for vhost in api.node.vhosts() {
        for cell in vhost.read(|topology| topology.queues()) {
            let counts = cell.counts();
            queues += counts.ready_bytes + counts.unacked_bytes;
        }
    }
    (facts.memory_bytes, queues.min(facts.memory_bytes))
}

const MEMORY_PARTS: [&str; 24] = [
    "connection_readers",
    "connection_writers",
    "connection_channels",
    "connection_other",
    "queue_procs",
    "quorum_queue_procs",
    "quorum_queue_dlx_procs",
    "stream_queue_procs",
    "stream_queue_replica_reader_procs",
    "stream_queue_coordinator_procs",
    "plugins",
    "metadata_store",
    "metrics",
    "mgmt_db",
    "mnesia",
    "quorum_ets",
    "metadata_store_ets",
    "other_ets",
    "msg_index",
    "code",
    "atom",
    "other_system",
    "allocated_unused",
    "reserved_unallocated",
];

fn memory(call: &Call<'_>) -> Result<Answer, Failure> {
    check_node(call)?;
    let (total, messages) = memory_parts(call.api);
    let mut parts = MEMORY_PARTS
        .iter()
        .fold(Object::new(), |object, part| object.with(*part, 0u64));
    parts.put("binary", messages);
    parts.put("other_proc", total - messages);
    parts.put("strategy", "rss");
    let totals = Object::new()
        .with("erlang", total)
        .with("rss", total)
        .with("allocated", total);
    parts.put("total", totals);
    Ok(Answer::json(Object::new().with("memory", parts)))
}

fn memory_relative(call: &Call<'_>) -> Result<Answer, Failure> {
    check_node(call)?;
    let (total, messages) = memory_parts(call.api);
    let share = (messages * 100).checked_div(total).unwrap_or(0);
    let mut parts = MEMORY_PARTS
        .iter()
        .fold(Object::new(), |object, part| object.with(*part, 0u64));
    parts.put("binary", share);
    parts.put("other_proc", 100 - share);
    parts.put("total", 100u64);
    Ok(Answer::json(Object::new().with("memory", parts)))
}

fn cluster_name(call: &Call<'_>) -> Result<Answer, Failure> {
    Ok(Answer::json(
        Object::new().with("name", call.api.node.cluster_name()),
    ))
}

fn set_cluster_name(call: &Call<'_>) -> Result<Answer, Failure> {
    let body = call.object_with(&["name"])?;
    let Some(name @ serde_json::Value::String(_)) = body.get("name") else {
        return Err(Failure::bad_request("name_not_string"));
    };
    let node = &call.api.node;
    let ticket = node.set_global_parameter(call.act(), CLUSTER_NAME, name.clone());
    Ok(Answer::done().when(ticket))
}

/// Settings by their names in `rabbitmq.conf`, one a line.
fn effective(call: &Call<'_>) -> Result<Answer, Failure> {
    let settings = &call.api.node.settings;
    let lines = [
        ("cluster_name", settings.cluster_name.clone()),
        ("channel_max", settings.channel_max.to_string()),
        ("frame_max", settings.frame_bytes_max.to_string()),
        ("heartbeat", settings.heartbeat_s.to_string()),
        (
            "handshake_timeout",
            settings.handshake_timeout_ms.to_string(),
        ),
        ("max_message_size", settings.message_bytes_max.to_string()),
        ("connection_max", settings.connections_max.to_string()),
        (
            "consumer_max_per_channel",
            settings.channel_consumers_max.to_string(),
        ),
    ];
    let lines = lines.map(|(key, value)| format!("{key} = {value}\n"));
    Ok(Answer::text("text/plain", lines.concat()))
}
