//! `/metrics/memory-breakdown`: what the memory is used for, by RabbitMQ's names.
//!
//! One process has one memory, of which the messages are known; the rest stands under one name, as in the HTTP API.

use super::page::{Kind, Page};
use crate::api::Api;
use crate::nodes;

/// What RabbitMQ's help says behind the name, in its order.
const PARTS: [(&str, &str); 25] = [
    ("code_module", "Code module memory footprint"),
    (
        "client_connection_reader",
        "Client connection reader processes footprint in bytes",
    ),
    (
        "client_connection_writer",
        "Client connection writer processes footprint in bytes",
    ),
    (
        "client_connection_channel",
        "Client connection channel processes footprint in bytes",
    ),
    (
        "client_connection_other",
        "Client connection other processes footprint in bytes",
    ),
    (
        "classic_queue_erlang_process",
        "Classic queue processes footprint in bytes",
    ),
    (
        "quorum_queue_erlang_process",
        "Quorum queue processes footprint in bytes",
    ),
    (
        "quorum_queue_dlx_erlang_process",
        "Quorum queue DLX worker processes footprint in bytes",
    ),
    (
        "stream_erlang_process",
        "Stream processes footprint in bytes",
    ),
    (
        "stream_replica_reader_erlang_process",
        "Stream replica reader processes footprint in bytes",
    ),
    (
        "stream_coordinator_erlang_process",
        "Stream coordinator processes footprint in bytes",
    ),
    ("plugin", "Total plugin footprint in bytes"),
    (
        "modern_metadata_store",
        "Modern metadata store footprint in bytes",
    ),
    (OTHER, "Other processes footprint in bytes"),
    ("metrics", "Metric table footprint in bytes"),
    (
        "management_stats_db",
        "Management stats database footprint in bytes",
    ),
    (
        "classic_metadata_store",
        "Classic metadata store footprint in bytes",
    ),
    (
        "quorum_queue_ets_table",
        "Quorum queue ETS tables footprint in bytes",
    ),
    (
        "modern_metadata_store_ets_table",
        "Modern metadata store ETS tables footprint in bytes",
    ),
    ("other_ets_table", "Other ETS tables footprint in bytes"),
    (MESSAGES, "Binary heap size in bytes"),
    ("message_index", "Message index footprint in bytes"),
    ("atom_table", "Atom table size in bytes"),
    ("other_system", "Other runtime footprint in bytes"),
    (
        "runtime_allocated_unused",
        "Runtime allocated but unused blocks size in bytes",
    ),
];

const OTHER: &str = "other_erlang_process";
const MESSAGES: &str = "binary_heap";

/// Writes the page.
pub(super) fn write(api: &Api, page: &mut Page) {
    let (total, messages) = nodes::memory_parts(api);
    for (name, help) in PARTS {
        let bytes = match name {
            MESSAGES => messages,
            OTHER => total - messages,
            _ => 0,
        };
        page.one(
            &format!("memory_{name}_bytes"),
            Kind::Gauge,
            help,
            bytes as f64,
        );
    }
    page.one(
        "memory_runtime_reserved_unallocated_bytes",
        Kind::Gauge,
        "Runtime reserved but unallocated blocks size in bytes",
        0.0,
    );
}
