//! Metrics of the broker as a whole.

use std::sync::atomic::{AtomicU64, Ordering};

use node::attempts::Tries;

use super::page::{Kind, Page, labels};
use super::{Wanted, global};
use crate::api::{Api, RABBITMQ_VERSION};
use crate::flags::attempts_by_protocol;

/// What belongs to no object.
pub(super) fn write(api: &Api, wanted: &Wanted, page: &mut Page) {
    if wanted.family("connection_churn_metrics") {
        write_churn(api, page);
    }
    if wanted.family("node_coarse_metrics") || wanted.family("node_metrics") {
        write_node(api, wanted, page);
    }
    if wanted.family("auth_attempt_metrics") {
        write_attempts(api, page);
    }
    let detailed = wanted.families.is_some() || wanted.per_object;
    if detailed && wanted.family("auth_attempt_detailed_metrics") {
        write_attempts_by_source(api, page);
    }
    if wanted.families.is_none() {
        write_certificates(api, page);
        write_times(api, page);
        write_spans(api, page);
        global::write(api, page);
        write_start(api, page);
    }
}

fn write_churn(api: &Api, page: &mut Page) {
    let churn = &api.node.churn;
    let rows: [(&str, &str, &AtomicU64); 7] = [
        (
            "connections_opened_total",
            "Total number of connections opened",
            &churn.connections_opened,
        ),
        (
            "connections_closed_total",
            "Total number of connections closed or terminated",
            &churn.connections_closed,
        ),
        (
            "channels_opened_total",
            "Total number of channels opened",
            &churn.channels_opened,
        ),
        (
            "channels_closed_total",
            "Total number of channels closed",
            &churn.channels_closed,
        ),
        (
            "queues_declared_total",
            "Total number of queues declared",
            &churn.queues_declared,
        ),
        (
            "queues_created_total",
            "Total number of queues created",
            &churn.queues_created,
        ),
        (
            "queues_deleted_total",
            "Total number of queues deleted",
            &churn.queues_deleted,
        ),
    ];
    for (name, help, counter) in rows {
        let value = counter.load(Ordering::Relaxed) as f64;
        page.one(name, Kind::Counter, help, value);
    }
}

fn write_node(api: &Api, wanted: &Wanted, page: &mut Page) {
    let facts = (api.host.facts)();
    let uptime_s = api.now_ms().saturating_sub(api.host.started_ms) as f64 / 1000.0;
    let coarse: [(&str, &str, u64); 3] = [
        ("process_open_fds", "Open file descriptors", facts.files),
        (
            "process_resident_memory_bytes",
            "Memory used in bytes",
            facts.memory_bytes,
        ),
        (
            "disk_space_available_bytes",
            "Disk space available in bytes",
            facts.disk_free_bytes,
        ),
    ];
    let limits: [(&str, &str, u64); 3] = [
        (
            "process_max_fds",
            "Open file descriptors limit",
            facts.files_max,
        ),
        (
            "resident_memory_limit_bytes",
            "Memory high watermark in bytes",
            facts.memory_limit_bytes,
        ),
        (
            "disk_space_available_limit_bytes",
            "Free disk space low watermark in bytes",
            facts.disk_limit_bytes,
        ),
    ];
    if wanted.family("node_coarse_metrics") {
        for (name, help, value) in coarse {
            page.one(name, Kind::Gauge, help, value as f64);
        }
    }
    if wanted.family("node_metrics") {
        for (name, help, value) in limits {
            page.one(name, Kind::Gauge, help, value as f64);
        }
        // The name is RabbitMQ's; the node it speaks of is this one.
        page.one(
            "erlang_uptime_seconds",
            Kind::Gauge,
            "Node uptime",
            uptime_s,
        );
    }
}

/// What RabbitMQ does not tell: when the certificates end.
fn write_certificates(api: &Api, page: &mut Page) {
    let name = "tls_certificate_expiry_timestamp_seconds";
    let certificates = (api.host.certificates)();
    if certificates.is_empty() {
        return;
    }
    page.begin(
        name,
        Kind::Gauge,
        "When the certificate of a kind of listener ends, in seconds since 1970",
    );
    for certificate in certificates {
        let labels = labels(&[
            ("protocol", certificate.protocol),
            ("certfile", &certificate.certfile),
        ]);
        page.sample(name, &labels, certificate.expires_at_s as f64);
    }
}

/// What RabbitMQ does not tell: how long messages, confirms and the disk took.
fn write_times(api: &Api, page: &mut Page) {
    let times = &api.node.times;
    page.histogram(
        "message_queue_time_seconds",
        "Time from a queue's taking a message to its first leaving for a consumer",
        &times.in_queue.counted(),
    );
    page.histogram(
        "publisher_confirm_time_seconds",
        "Time from reading a publish to having its confirm ready",
        &times.to_confirm.counted(),
    );
    if let Some(log) = &api.node.log {
        page.histogram(
            "message_log_sync_time_seconds",
            "Time that the message log's syncs to disk took",
            &log.syncs().counted(),
        );
    }
}

/// What RabbitMQ does not tell: what became of spans. Nothing if no message is traced.
fn write_spans(api: &Api, page: &mut Page) {
    let Some(tracer) = api.node.tracer() else {
        return;
    };
    let counters = &tracer.counters;
    for (name, help, counter) in [
        (
            "recorded",
            "Total number of spans of messages that were made",
            &counters.recorded,
        ),
        (
            "exported",
            "Total number of spans that the collector took",
            &counters.exported,
        ),
        (
            "dropped",
            "Total number of spans that were dropped because too many waited",
            &counters.dropped,
        ),
        (
            "failed",
            "Total number of spans that were given up because the collector did not take them",
            &counters.failed,
        ),
    ] {
        let name = format!("opentelemetry_spans_{name}_total");
        let value = counter.load(Ordering::Relaxed) as f64;
        page.one(&name, Kind::Counter, help, value);
    }
}

fn write_attempts(api: &Api, page: &mut Page) {
    let rows = attempts_by_protocol(api);
    let mut family = |name: &str, help: &str, value: fn(Tries) -> u64| {
        page.begin(name, Kind::Counter, help);
        for (protocol, tries) in rows {
            let labels = labels(&[("protocol", protocol)]);
            page.sample(name, &labels, value(tries) as f64);
        }
    };
    family(
        "auth_attempts_total",
        "Total number of authentication attempts",
        Tries::all,
    );
    family(
        "auth_attempts_succeeded_total",
        "Total number of successful authentication attempts",
        |tries| tries.succeeded,
    );
    family(
        "auth_attempts_failed_total",
        "Total number of failed authentication attempts",
        |tries| tries.failed,
    );
}

/// The same by where they came from, where that is counted.
fn write_attempts_by_source(api: &Api, page: &mut Page) {
    let rows = api.node.attempts.by_source();
    let mut family = |name: &str, help: &str, value: fn(Tries) -> u64| {
        page.begin(name, Kind::Counter, help);
        for (source, tries) in &rows {
            let all = [
                ("remote_address", &*source.host),
                ("username", &*source.user),
                ("protocol", source.protocol),
            ];
            // What is not known has no label.
            let known: Vec<_> = (all.into_iter())
                .filter(|(_, value)| !value.is_empty())
                .collect();
            page.sample(name, &labels(&known), value(*tries) as f64);
        }
    };
    family(
        "auth_attempts_detailed_total",
        "Total number of authentication attempts with source info",
        Tries::all,
    );
    family(
        "auth_attempts_detailed_succeeded_total",
        "Total number of successful authentication attempts with source info",
        |tries| tries.succeeded,
    );
    family(
        "auth_attempts_detailed_failed_total",
        "Total number of failed authentication attempts with source info",
        |tries| tries.failed,
    );
}

/// When the process started, by the name that Prometheus has for all programs.
fn write_start(api: &Api, page: &mut Page) {
    page.rename("");
    page.one(
        "process_start_time_seconds",
        Kind::Gauge,
        "Start time of the process since unix epoch in seconds.",
        api.host.started_ms as f64 / 1000.0,
    );
    page.rename("rabbitmq_");
}

/// What the broker is, by which dashboards join everything else.
pub(super) fn write_identity(api: &Api, endpoint: &str, page: &mut Page) {
    let name = api.node.settings.cluster_name.as_str();
    let build = labels(&[
        ("rabbitmq_version", RABBITMQ_VERSION),
        ("prometheus_plugin_version", RABBITMQ_VERSION),
        ("prometheus_client_version", ""),
        ("erlang_version", ""),
        ("leveret_version", env!("CARGO_PKG_VERSION")),
    ]);
    page.begin(
        "build_info",
        Kind::Untyped,
        "RabbitMQ & Erlang/OTP version info",
    );
    page.sample("build_info", &build, 1.0);
    let identity = labels(&[
        ("rabbitmq_node", name),
        ("rabbitmq_cluster", name),
        ("rabbitmq_cluster_permanent_id", name),
        ("rabbitmq_endpoint", endpoint),
    ]);
    page.begin(
        "identity_info",
        Kind::Untyped,
        "RabbitMQ node & cluster identity info",
    );
    page.sample("identity_info", &identity, 1.0);
}
