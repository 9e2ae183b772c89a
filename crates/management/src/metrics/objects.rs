//! Metrics of queues, channels, connections and exchanges: a row for each, or their sum.

use std::sync::atomic::Ordering;

use broker::queue::QueueKind;
use node::counters::MessageTotals;
use node::queue_cell::{QueueCounts, QueueTotals};

use super::Wanted;
use super::page::{Kind, Page, labels};
use crate::api::Api;

/// A metric of some kind of object: its name, family, help, and its value for one of them.
struct Metric<T> {
    name: &'static str,
    kind: Kind,
    family: &'static str,
    help: &'static str,
    value: fn(&T) -> f64,
}

const fn metric<T>(
    family: &'static str,
    kind: Kind,
    name: &'static str,
    help: &'static str,
    value: fn(&T) -> f64,
) -> Metric<T> {
    Metric {
        name,
        kind,
        family,
        help,
        value,
    }
}

struct QueueRow {
    counts: QueueCounts,
    totals: QueueTotals,
    /// How long the next message to leave has waited; `None`: none waits.
    oldest_ms: Option<u64>,
    kind: QueueKind,
}

struct ChannelRow {
    consumers: u32,
    unacked: u64,
    unconfirmed: u64,
    prefetch: u32,
    totals: MessageTotals,
}

struct ConnectionRow {
    received_bytes: u64,
    sent_bytes: u64,
    received: u64,
    sent: u64,
    channels: usize,
}

struct ExchangeRow {
    published: u64,
}

use Kind::{Counter, Gauge};

const QUEUE_METRICS: &[Metric<QueueRow>] = &[
    metric(
        "queue_coarse_metrics",
        Gauge,
        "queue_messages_ready",
        "Messages ready to be delivered to consumers",
        |q| q.counts.ready as f64,
    ),
    metric(
        "queue_coarse_metrics",
        Gauge,
        "queue_messages_unacked",
        "Messages delivered to consumers but not yet acknowledged",
        |q| q.counts.unacked as f64,
    ),
    metric(
        "queue_coarse_metrics",
        Gauge,
        "queue_messages",
        "Sum of ready and unacknowledged messages - total queue depth",
        |q| (q.counts.ready + q.counts.unacked) as f64,
    ),
    metric(
        "queue_consumer_count",
        Gauge,
        "queue_consumers",
        "Consumers on a queue",
        |q| f64::from(q.counts.consumers),
    ),
    metric(
        "queue_metrics",
        Gauge,
        "queue_messages_ram",
        "Ready and unacknowledged messages stored in memory",
        |q| (q.counts.ready + q.counts.unacked) as f64,
    ),
    metric(
        "queue_metrics",
        Gauge,
        "queue_messages_ram_bytes",
        "Size of ready and unacknowledged messages stored in memory",
        |q| (q.counts.ready_bytes + q.counts.unacked_bytes) as f64,
    ),
    metric(
        "queue_metrics",
        Gauge,
        "queue_messages_ready_ram",
        "Ready messages stored in memory",
        |q| q.counts.ready as f64,
    ),
    metric(
        "queue_metrics",
        Gauge,
        "queue_messages_unacked_ram",
        "Unacknowledged messages stored in memory",
        |q| q.counts.unacked as f64,
    ),
    metric(
        "queue_metrics",
        Gauge,
        "queue_messages_bytes",
        "Size in bytes of ready and unacknowledged messages",
        |q| (q.counts.ready_bytes + q.counts.unacked_bytes) as f64,
    ),
    metric(
        "queue_metrics",
        Gauge,
        "queue_messages_ready_bytes",
        "Size in bytes of ready messages",
        |q| q.counts.ready_bytes as f64,
    ),
    metric(
        "queue_metrics",
        Gauge,
        "queue_messages_unacked_bytes",
        "Size in bytes of all unacknowledged messages",
        |q| q.counts.unacked_bytes as f64,
    ),
    metric(
        "queue_delivery_metrics",
        Counter,
        "queue_get_ack_total",
        "Total number of messages fetched from a queue with basic.get in manual acknowledgement mode",
        |q| q.totals.get as f64,
    ),
    metric(
        "queue_delivery_metrics",
        Counter,
        "queue_get_total",
        "Total number of messages fetched from a queue with basic.get in automatic acknowledgement mode",
        |q| q.totals.get_no_ack as f64,
    ),
    metric(
        "queue_delivery_metrics",
        Counter,
        "queue_messages_delivered_ack_total",
        "Total number of messages delivered from a queue to consumers in manual acknowledgement mode",
        |q| q.totals.deliver as f64,
    ),
    metric(
        "queue_delivery_metrics",
        Counter,
        "queue_messages_delivered_total",
        "Total number of messages delivered from a queue to consumers in automatic acknowledgement mode",
        |q| q.totals.deliver_no_ack as f64,
    ),
    metric(
        "queue_delivery_metrics",
        Counter,
        "queue_messages_redelivered_total",
        "Total number of messages redelivered from a queue to consumers",
        |q| q.totals.redeliver as f64,
    ),
    metric(
        "queue_delivery_metrics",
        Counter,
        "queue_messages_acked_total",
        "Total number of messages acknowledged by consumers on a queue",
        |q| q.totals.ack as f64,
    ),
    metric(
        "queue_delivery_metrics",
        Counter,
        "queue_get_empty_total",
        "Total number of times basic.get operations fetched no message on a queue",
        |q| q.totals.get_empty as f64,
    ),
    metric(
        "channel_queue_exchange_metrics",
        Counter,
        "queue_messages_published_total",
        "Total number of messages published into a queue through an exchange on a channel",
        |q| q.totals.publish as f64,
    ),
];

const CHANNEL_METRICS: &[Metric<ChannelRow>] = &[
    metric(
        "channel_metrics",
        Gauge,
        "channel_consumers",
        "Consumers on a channel",
        |c| f64::from(c.consumers),
    ),
    metric(
        "channel_metrics",
        Gauge,
        "channel_messages_unacked",
        "Delivered but not yet acknowledged messages",
        |c| c.unacked as f64,
    ),
    metric(
        "channel_metrics",
        Gauge,
        "channel_messages_unconfirmed",
        "Published but not yet confirmed messages",
        |c| c.unconfirmed as f64,
    ),
    metric(
        "channel_metrics",
        Gauge,
        "consumer_prefetch",
        "Limit of unacknowledged messages for each consumer",
        |c| f64::from(c.prefetch),
    ),
    metric(
        "channel_exchange_metrics",
        Counter,
        "channel_messages_published_total",
        "Total number of messages published into an exchange on a channel",
        |c| c.totals.publish as f64,
    ),
    metric(
        "channel_exchange_metrics",
        Counter,
        "channel_messages_confirmed_total",
        "Total number of messages published into an exchange and confirmed on the channel",
        |c| c.totals.confirm as f64,
    ),
    metric(
        "channel_exchange_metrics",
        Counter,
        "channel_messages_unroutable_returned_total",
        "Total number of messages published as mandatory into an exchange and returned to the publisher as unroutable",
        |c| c.totals.return_unroutable as f64,
    ),
    metric(
        "channel_exchange_metrics",
        Counter,
        "channel_messages_unroutable_dropped_total",
        "Total number of messages published as non-mandatory into an exchange and dropped as unroutable",
        |c| c.totals.drop_unroutable as f64,
    ),
    metric(
        "channel_queue_metrics",
        Counter,
        "channel_get_ack_total",
        "Total number of messages fetched with basic.get in manual acknowledgement mode",
        |c| c.totals.get as f64,
    ),
    metric(
        "channel_queue_metrics",
        Counter,
        "channel_get_total",
        "Total number of messages fetched with basic.get in automatic acknowledgement mode",
        |c| c.totals.get_no_ack as f64,
    ),
    metric(
        "channel_queue_metrics",
        Counter,
        "channel_messages_delivered_ack_total",
        "Total number of messages delivered to consumers in manual acknowledgement mode",
        |c| c.totals.deliver as f64,
    ),
    metric(
        "channel_queue_metrics",
        Counter,
        "channel_messages_delivered_total",
        "Total number of messages delivered to consumers in automatic acknowledgement mode",
        |c| c.totals.deliver_no_ack as f64,
    ),
    metric(
        "channel_queue_metrics",
        Counter,
        "channel_messages_redelivered_total",
        "Total number of messages redelivered to consumers",
        |c| c.totals.redeliver as f64,
    ),
    metric(
        "channel_queue_metrics",
        Counter,
        "channel_messages_acked_total",
        "Total number of messages acknowledged by consumers",
        |c| c.totals.ack as f64,
    ),
    metric(
        "channel_queue_metrics",
        Counter,
        "channel_get_empty_total",
        "Total number of times basic.get operations fetched no message",
        |c| c.totals.get_empty as f64,
    ),
];

const CONNECTION_METRICS: &[Metric<ConnectionRow>] = &[
    metric(
        "connection_coarse_metrics",
        Counter,
        "connection_incoming_bytes_total",
        "Total number of bytes received on a connection",
        |c| c.received_bytes as f64,
    ),
    metric(
        "connection_coarse_metrics",
        Counter,
        "connection_outgoing_bytes_total",
        "Total number of bytes sent on a connection",
        |c| c.sent_bytes as f64,
    ),
    metric(
        "connection_metrics",
        Counter,
        "connection_incoming_packets_total",
        "Total number of packets received on a connection",
        |c| c.received as f64,
    ),
    metric(
        "connection_metrics",
        Counter,
        "connection_outgoing_packets_total",
        "Total number of packets sent on a connection",
        |c| c.sent as f64,
    ),
    metric(
        "connection_metrics",
        Gauge,
        "connection_channels",
        "Channels on a connection",
        |c| c.channels as f64,
    ),
];

const EXCHANGE_METRICS: &[Metric<ExchangeRow>] = &[metric(
    "exchange_metrics",
    Counter,
    "exchange_messages_published_total",
    "Total number of messages published into an exchange",
    |e| e.published as f64,
)];

/// All objects that are wanted, each with its labels.
#[derive(Default)]
pub(super) struct Objects {
    queues: Vec<(String, QueueRow)>,
    channels: Vec<(String, ChannelRow)>,
    connections: Vec<(String, ConnectionRow)>,
    exchanges: Vec<(String, ExchangeRow)>,
    consumers: u64,
}

impl Objects {
    /// Reads them all.
    pub(super) fn collect(api: &Api, wanted: &Wanted) -> Self {
        let mut objects = Objects::default();
        for vhost in api.node.vhosts() {
            if wanted.vhost(&vhost.name) {
                objects.collect_vhost(&vhost, wanted, api.now_ms());
            }
        }
        for connection in api.node.connections.list() {
            if wanted.vhost(&connection.vhost) {
                objects.collect_connection(&connection, wanted);
            }
        }
        objects
    }

    fn collect_vhost(&mut self, vhost: &node::vhost::Vhost, wanted: &Wanted, now_ms: u64) {
        let (queues, exchanges) = vhost.read(|topology| {
            let exchanges = topology.router.exchanges();
            let names: Vec<_> = exchanges.iter().map(|spec| spec.name.clone()).collect();
            (topology.queues(), names)
        });
        let label = |key: &str, name: &str| match wanted.per_object {
            true => labels(&[("vhost", &vhost.name), (key, name)]),
            false => String::new(),
        };
        for cell in queues.iter().filter(|cell| wanted.queue(&cell.spec.name)) {
            let (totals, counts) = cell.totals();
            self.consumers += u64::from(counts.consumers);
            let row = QueueRow {
                counts,
                totals,
                oldest_ms: cell.oldest_ms(now_ms),
                kind: cell.options().kind,
            };
            self.queues.push((label("queue", &cell.spec.name), row));
        }
        for name in exchanges {
            if let Some((published, _)) = vhost.exchange_totals(&name) {
                let row = ExchangeRow { published };
                self.exchanges.push((label("exchange", &name), row));
            }
        }
    }

    fn collect_connection(
        &mut self,
        connection: &node::connections::ConnectionEntry,
        wanted: &Wanted,
    ) {
        // RabbitMQ's label of both is `channel`.
        let label = |pid: String| match wanted.per_object {
            true => labels(&[("channel", &pid)]),
            false => String::new(),
        };
        let channels = connection.channels.lock();
        let traffic = &connection.traffic;
        let row = ConnectionRow {
            received_bytes: traffic.received_bytes.load(Ordering::Relaxed),
            sent_bytes: traffic.sent_bytes.load(Ordering::Relaxed),
            received: traffic.received.load(Ordering::Relaxed),
            sent: traffic.sent.load(Ordering::Relaxed),
            channels: channels.len(),
        };
        let id = connection.id.0;
        self.connections.push((label(format!("<{id}>")), row));
        for (number, entry) in &*channels {
            let row = ChannelRow {
                consumers: entry.consumers.load(Ordering::Relaxed),
                unacked: entry.unacked.load(Ordering::Relaxed),
                unconfirmed: entry.unconfirmed.load(Ordering::Relaxed),
                prefetch: entry.prefetch.load(Ordering::Relaxed),
                totals: entry.messages.totals(),
            };
            self.channels.push((label(format!("<{id}.{number}>")), row));
        }
    }

    /// Writes what is wanted of them.
    pub(super) fn write(&self, wanted: &Wanted, page: &mut Page) {
        write(page, wanted, QUEUE_METRICS, &self.queues);
        if wanted.family("queue_metrics") {
            self.write_ages(wanted, page);
        }
        let of_queues = [
            "queue_coarse_metrics",
            "queue_consumer_count",
            "queue_metrics",
        ];
        if wanted.per_object && of_queues.iter().any(|family| wanted.family(family)) {
            self.write_kinds(page);
        }
        write(page, wanted, CHANNEL_METRICS, &self.channels);
        write(page, wanted, CONNECTION_METRICS, &self.connections);
        write(page, wanted, EXCHANGE_METRICS, &self.exchanges);
        if wanted.families.is_none() {
            for (name, help, value) in [
                (
                    "connections",
                    "Connections currently open",
                    self.connections.len() as f64,
                ),
                (
                    "channels",
                    "Channels currently open",
                    self.channels.len() as f64,
                ),
                (
                    "consumers",
                    "Consumers currently connected",
                    self.consumers as f64,
                ),
                ("queues", "Queues available", self.queues.len() as f64),
            ] {
                page.one(name, Gauge, help, value);
            }
        }
    }
}

impl Objects {
    /// What queues are, to be joined with the rest.
    fn write_kinds(&self, page: &mut Page) {
        let help = "A metric with a constant '1' value and labels that provide some queue details";
        page.begin("queue_info", Gauge, help);
        for (labels, row) in &self.queues {
            let kind = match row.kind {
                QueueKind::Classic => "rabbit_classic_queue",
                QueueKind::Quorum => "rabbit_quorum_queue",
            };
            let labels = format!("{labels},queue_type=\"{kind}\",membership=\"leader\"");
            page.sample("queue_info", &labels, 1.0);
        }
    }

    /// What RabbitMQ does not tell. Of all queues together it is the highest, for a sum of ages means nothing.
    fn write_ages(&self, wanted: &Wanted, page: &mut Page) {
        let name = "queue_oldest_message_age_seconds";
        let help = "How long the ready message that is next to leave has waited in its queue";
        page.begin(name, Gauge, help);
        let seconds = |row: &QueueRow| row.oldest_ms.unwrap_or(0) as f64 / 1000.0;
        if wanted.per_object {
            for (labels, row) in &self.queues {
                page.sample(name, labels, seconds(row));
            }
        } else {
            let highest = self.queues.iter().map(|(_, row)| seconds(row));
            page.sample(name, "", highest.fold(0.0, f64::max));
        }
    }
}

fn write<T>(page: &mut Page, wanted: &Wanted, metrics: &[Metric<T>], rows: &[(String, T)]) {
    for metric in metrics {
        // `queue_metrics` holds what `queue_consumer_count` holds, too (RabbitMQ's rule).
        let also = metric.family == "queue_consumer_count" && wanted.family("queue_metrics");
        if !also && !wanted.family(metric.family) {
            continue;
        }
        page.begin(metric.name, metric.kind, metric.help);
        if wanted.per_object {
            for (labels, row) in rows {
                page.sample(metric.name, labels, (metric.value)(row));
            }
        } else {
            // From 0 on: the sum of nothing would be -0.
            let values = rows.iter().map(|(_, row)| (metric.value)(row));
            let sum = values.fold(0.0, |sum, value| sum + value);
            page.sample(metric.name, "", sum);
        }
    }
}
