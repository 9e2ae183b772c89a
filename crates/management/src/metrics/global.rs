//! RabbitMQ's counters of the whole node by protocol, of which there is one, and its alarms.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use broker::queue::DeadReason;
use node::alarms::Alarm;
use node::connections::ChannelEntry;
use node::counters::{DEAD_REASONS, MessageTotals, SIZES_BYTES};

use super::page::{Kind, Page, labels};
use crate::api::Api;
use crate::stats;

/// RabbitMQ's counters of messages by protocol: name, help, value.
type Global = (&'static str, &'static str, fn(&MessageTotals) -> u64);

const GLOBAL: [Global; 13] = [
    (
        "received",
        "Total number of messages received from publishers",
        |t| t.publish,
    ),
    (
        "received_confirm",
        "Total number of messages received from publishers expecting confirmations",
        |t| t.publish_confirm,
    ),
    (
        "confirmed",
        "Total number of messages confirmed to publishers",
        |t| t.confirm,
    ),
    (
        "unroutable_returned",
        "Total number of messages published as mandatory into an exchange and returned to the publisher as unroutable",
        |t| t.return_unroutable,
    ),
    (
        "unroutable_dropped",
        "Total number of messages published as non-mandatory into an exchange and dropped as unroutable",
        |t| t.drop_unroutable,
    ),
    (
        "delivered",
        "Total number of messages delivered to consumers",
        |t| t.deliver + t.deliver_no_ack + t.get + t.get_no_ack,
    ),
    (
        "redelivered",
        "Total number of messages redelivered to consumers",
        |t| t.redeliver,
    ),
    (
        "acknowledged",
        "Total number of messages acknowledged by consumers",
        |t| t.ack,
    ),
    (
        "delivered_consume_manual_ack",
        "Total number of messages delivered to consumers using basic.consume with manual acknowledgment",
        |t| t.deliver,
    ),
    (
        "delivered_consume_auto_ack",
        "Total number of messages delivered to consumers using basic.consume with automatic acknowledgment",
        |t| t.deliver_no_ack,
    ),
    (
        "delivered_get_manual_ack",
        "Total number of messages delivered to consumers using basic.get with manual acknowledgment",
        |t| t.get,
    ),
    (
        "delivered_get_auto_ack",
        "Total number of messages delivered to consumers using basic.get with automatic acknowledgment",
        |t| t.get_no_ack,
    ),
    (
        "get_empty",
        "Total number of times basic.get operations fetched no message",
        |t| t.get_empty,
    ),
];

/// RabbitMQ's counters by protocol, of which there is one, and alarms.
pub(super) fn write(api: &Api, page: &mut Page) {
    let connections = api.node.connections.list();
    let mut totals = MessageTotals::default();
    for vhost in api.node.vhosts() {
        totals.add(&stats::vhost_totals(&vhost, &connections));
    }
    let amqp = labels(&[("protocol", "amqp091")]);
    for (name, help, value) in GLOBAL {
        let name = format!("global_messages_{name}_total");
        page.begin(&name, Kind::Counter, help);
        page.sample(&name, &amqp, value(&totals) as f64);
    }
    write_passed(api, &amqp, page);
    let channels = connections.iter().flat_map(|connection| {
        let channels = connection.channels.lock();
        let count = |entry: &Arc<ChannelEntry>| {
            let publishes = 0 < entry.messages.totals().publish;
            (publishes, entry.consumers.load(Ordering::Relaxed))
        };
        channels.values().map(count).collect::<Vec<_>>()
    });
    let (mut publishers, mut consumers) = (0_u32, 0);
    for (publishes, held) in channels {
        publishers += u32::from(publishes);
        consumers += held;
    }
    for (name, help, value) in [
        (
            "global_publishers",
            "Current number of publishers",
            publishers,
        ),
        ("global_consumers", "Current number of consumers", consumers),
    ] {
        page.begin(name, Kind::Gauge, help);
        page.sample(name, &amqp, f64::from(value));
    }
    for (alarm, name, help) in [
        (
            Alarm::Memory,
            "alarms_memory_used_watermark",
            "is 1 if VM memory watermark alarm is in effect",
        ),
        (
            Alarm::Disk,
            "alarms_free_disk_space_watermark",
            "is 1 if free disk space watermark alarm is in effect",
        ),
    ] {
        let on = f64::from(u8::from(api.node.alarms.is_on(alarm)));
        page.one(name, Kind::Untyped, help, on);
    }
    page.one(
        "unreachable_cluster_peers_count",
        Kind::Gauge,
        "Number of peers in the cluster the current node cannot reach.",
        0.0,
    );
}

/// What no object keeps: messages given to queues, their sizes, dead letters.
fn write_passed(api: &Api, amqp: &str, page: &mut Page) {
    let passed = &api.node.passed;
    let name = "global_messages_routed_total";
    let help = "Total number of messages routed to queues or streams";
    page.begin(name, Kind::Counter, help);
    page.sample(name, amqp, passed.routed.load(Ordering::Relaxed) as f64);

    let (buckets, sum_bytes) = passed.sizes.counted();
    page.buckets(
        "message_size_bytes",
        "Size of messages received from publishers",
        &[("protocol", "amqp091")],
        SIZES_BYTES.map(|end| end as f64),
        (&buckets, sum_bytes as f64),
    );

    let kinds = ["rabbit_classic_queue", "rabbit_quorum_queue"];
    for (at, (name, help)) in DEAD.iter().enumerate() {
        let name = format!("global_messages_dead_lettered_{name}_total");
        page.begin(
            &name,
            Kind::Counter,
            &format!("Total number of messages dead-lettered due to {help}"),
        );
        for (kind, counters) in kinds.iter().zip(&passed.dead_lettered) {
            // Classic queues deliver for as long as it takes.
            if DEAD_REASONS[at] == DeadReason::DeliveryLimit && *kind == kinds[0] {
                continue;
            }
            let labels = labels(&[
                ("queue_type", kind),
                ("dead_letter_strategy", "at_most_once"),
            ]);
            let value = counters[at].load(Ordering::Relaxed);
            page.sample(&name, &labels, value as f64);
        }
    }
}

/// RabbitMQ's words for why messages die, in the order of [`DEAD_REASONS`].
const DEAD: [(&str, &str); DEAD_REASONS.len()] = [
    ("rejected", "basic.reject or basic.nack"),
    ("expired", "message TTL exceeded"),
    ("maxlen", "overflow drop-head or reject-publish-dlx"),
    ("delivery_limit", "delivery-limit exceeded"),
];
