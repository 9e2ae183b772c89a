//! The overview, and totals of messages over many queues.

use std::sync::atomic::Ordering;

use node::counters::MessageTotals;
use node::vhost::Vhost;

use crate::access::Guard::Management;
use crate::answer::Answer;
use crate::api::RABBITMQ_VERSION;
use crate::call::Call;
use crate::failure::Failure;
use crate::json::{Json, Object};
use crate::nodes;
use crate::pages;
use crate::rates;
use crate::routes::{Route, get, route};
use crate::stats;

pub(crate) const ROUTES: &[Route] = &[route(
    "/api/overview",
    &[get(Management, show, "Show the broker at a glance")],
)];

/// Messages of many queues.
#[derive(Default)]
struct Totals {
    ready: u64,
    unacked: u64,
    queues: usize,
    consumers: u64,
    exchanges: usize,
}

impl Totals {
    fn add(&mut self, vhost: &Vhost) {
        let queues = vhost.read(|topology| {
            self.exchanges += topology.router.exchange_len();
            topology.queues()
        });
        self.queues += queues.len();
        for cell in queues {
            let counts = cell.counts();
            self.ready += counts.ready;
            self.unacked += counts.unacked;
            self.consumers += u64::from(counts.consumers);
        }
    }

    /// The three counts of messages, each with its rate.
    fn put(&self, call: &Call<'_>, of: rates::Object, object: &mut Object) {
        let lengths = [
            ("messages", "messages_details", self.ready + self.unacked),
            ("messages_ready", "messages_ready_details", self.ready),
            (
                "messages_unacknowledged",
                "messages_unacknowledged_details",
                self.unacked,
            ),
        ];
        stats::put(call, of, object, &lengths);
    }
}

/// A vhost's messages.
pub(crate) fn put_vhost_totals(call: &Call<'_>, vhost: &Vhost, object: &mut Object) {
    let mut totals = Totals::default();
    totals.add(vhost);
    totals.put(
        call,
        rates::Object::VhostLengths(vhost.name.clone()),
        object,
    );
    let connections = call.api.node.connections.list();
    let passed = stats::vhost_totals(vhost, &connections);
    let of = rates::Object::Vhost(vhost.name.clone());
    if let Some(stats) = stats::messages(call, of, &passed) {
        object.put("message_stats", stats);
    }
    let mut octets = [0, 0];
    for entry in connections.iter().filter(|entry| entry.vhost == vhost.name) {
        octets[0] += entry.traffic.received_bytes.load(Ordering::Relaxed);
        octets[1] += entry.traffic.sent_bytes.load(Ordering::Relaxed);
    }
    let octets = [
        ("recv_oct", "recv_oct_details", octets[0]),
        ("send_oct", "send_oct_details", octets[1]),
    ];
    let of = rates::Object::VhostTraffic(vhost.name.clone());
    stats::put(call, of, object, &octets);
}

/// What is in the broker, and what passes it: as much of it as the user sees.
pub(crate) fn totals(call: &Call<'_>) -> Object {
    let node = &call.api.node;
    let mut vhosts = node.vhosts();
    vhosts.retain(|vhost| call.sees_vhost(&vhost.name));
    let mut totals = Totals::default();
    for vhost in &vhosts {
        totals.add(vhost);
    }
    let connections = crate::connections::seen(call);
    let channels = connections.iter().map(|entry| entry.channels.lock().len());
    let object_totals = Object::new()
        .with("exchanges", totals.exchanges)
        .with("queues", totals.queues)
        .with("channels", channels.sum::<usize>())
        .with("consumers", totals.consumers)
        .with("connections", connections.len());
    // Whoever sees less than all has rates of that.
    let of = |what| match call.login.is_administrator() {
        true => rates::Object::Node(what),
        false => rates::Object::Seen(call.login.name().clone(), what),
    };
    let mut queue_totals = Object::new();
    totals.put(call, of("lengths"), &mut queue_totals);
    let mut passed = MessageTotals::default();
    let all = node.connections.list();
    for vhost in &vhosts {
        passed.add(&stats::vhost_totals(vhost, &all));
    }
    let passed = stats::messages(call, of("messages"), &passed);
    Object::new()
        .with("message_stats", passed.unwrap_or_default())
        .with("queue_totals", queue_totals)
        .with("object_totals", object_totals)
}

fn show(call: &Call<'_>) -> Result<Answer, Failure> {
    let mut object = product(call)
        .and(totals(call))
        .with("churn_rates", nodes::churn(call))
        .with("statistics_db_event_queue", 0u64)
        .with("node", call.api.node_name());
    if call.login.is_monitoring() {
        object.put("listeners", nodes::listeners(call));
        object.put("contexts", nodes::contexts(call, true));
    } else {
        object.put("listeners", nodes::listeners(call));
        object.put("contexts", Vec::<Json>::new());
    }
    Ok(pages::one(call, object))
}

/// What the broker is.
fn product(call: &Call<'_>) -> Object {
    let ages = |ages: &[u64]| Json::List(ages.iter().map(|age| Json::from(*age)).collect());
    let retention = Object::new()
        .with("global", ages(&[600]))
        .with("basic", ages(&[600]))
        .with("detailed", ages(&[600]));
    Object::new()
        .with("management_version", RABBITMQ_VERSION)
        .with("rates_mode", "basic")
        .with("sample_retention_policies", retention)
        .with("exchange_types", nodes::exchange_types())
        .with("product_version", env!("CARGO_PKG_VERSION"))
        .with("product_name", "Leveret")
        .with("rabbitmq_version", RABBITMQ_VERSION)
        .with("cluster_name", call.api.node.cluster_name())
        .with("cluster_tags", Object::new())
        .with("node_tags", Object::new())
        .with("erlang_version", "")
        .with("erlang_full_version", "")
        .with("crypto_lib_version", "")
        .with("disable_stats", false)
        .with("default_queue_type", "classic")
        .with(
            "is_op_policy_updating_enabled",
            !call.api.options.operator_policies_locked,
        )
        .with("enable_queue_totals", false)
        .with("require_definition_json_extension", false)
}
