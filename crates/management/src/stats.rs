//! `message_stats`: what passed, and how fast. Fields that stand at zero all together are left out, as RabbitMQ
//! does for what nothing ever passed.

use node::connections::ConnectionEntry;
use node::counters::MessageTotals;
use node::queue_cell::QueueTotals;
use node::vhost::Vhost;

use crate::call::Call;
use crate::json::{Json, Object};
use crate::rates;

/// A counter: its field, the field of its rate, its value.
pub(crate) type Counted = (&'static str, &'static str, u64);

/// Puts counters and their rates into an object.
pub(crate) fn put(call: &Call<'_>, of: rates::Object, object: &mut Object, counted: &[Counted]) {
    let values: Vec<u64> = counted.iter().map(|(_, _, value)| *value).collect();
    let rates = call.api.rates.of(of, call.now_ms, &values);
    for ((name, details, value), rate) in counted.iter().zip(rates) {
        object.put(*name, *value);
        object.put(*details, Object::new().with("rate", rate));
    }
}

/// One field of what [`put`] puts: a list of thousands is sorted by a rate without building all of each item.
pub(crate) fn field(
    call: &Call<'_>,
    of: rates::Object,
    counted: &[Counted],
    field: &str,
) -> Option<Json> {
    let mut object = Object::new();
    put(call, of, &mut object, counted);
    object.at(field)
}

/// The counters as a `message_stats`, if any of them ever moved.
fn stats(call: &Call<'_>, of: rates::Object, counted: &[Counted]) -> Option<Object> {
    if counted.iter().all(|(_, _, value)| *value == 0) {
        return None;
    }
    let mut object = Object::new();
    put(call, of, &mut object, counted);
    Some(object)
}

/// The part about messages that go out.
fn outgoing(totals: &MessageTotals) -> [Counted; 8] {
    let delivered = totals.deliver + totals.deliver_no_ack + totals.get + totals.get_no_ack;
    [
        ("ack", "ack_details", totals.ack),
        ("deliver", "deliver_details", totals.deliver),
        ("deliver_get", "deliver_get_details", delivered),
        (
            "deliver_no_ack",
            "deliver_no_ack_details",
            totals.deliver_no_ack,
        ),
        ("get", "get_details", totals.get),
        ("get_empty", "get_empty_details", totals.get_empty),
        ("get_no_ack", "get_no_ack_details", totals.get_no_ack),
        ("redeliver", "redeliver_details", totals.redeliver),
    ]
}

/// The part about messages that come in.
fn incoming(totals: &MessageTotals) -> [Counted; 4] {
    [
        ("confirm", "confirm_details", totals.confirm),
        (
            "drop_unroutable",
            "drop_unroutable_details",
            totals.drop_unroutable,
        ),
        ("publish", "publish_details", totals.publish),
        (
            "return_unroutable",
            "return_unroutable_details",
            totals.return_unroutable,
        ),
    ]
}

/// A channel's, a vhost's or everybody's.
pub(crate) fn messages(
    call: &Call<'_>,
    of: rates::Object,
    totals: &MessageTotals,
) -> Option<Object> {
    let counted: Vec<Counted> = incoming(totals)
        .into_iter()
        .chain(outgoing(totals))
        .collect();
    stats(call, of, &counted)
}

/// A queue's.
pub(crate) fn queue(call: &Call<'_>, id: u64, totals: &QueueTotals) -> Option<Object> {
    let messages = MessageTotals {
        ack: totals.ack,
        deliver: totals.deliver,
        deliver_no_ack: totals.deliver_no_ack,
        get: totals.get,
        get_no_ack: totals.get_no_ack,
        get_empty: totals.get_empty,
        redeliver: totals.redeliver,
        ..MessageTotals::default()
    };
    let publish = ("publish", "publish_details", totals.publish);
    let counted: Vec<Counted> = outgoing(&messages).into_iter().chain([publish]).collect();
    stats(call, rates::Object::Queue(id), &counted)
}

/// An exchange's.
pub(crate) fn exchange(call: &Call<'_>, vhost: &Vhost, name: &str) -> Option<Object> {
    let (publish_in, publish_out) = vhost.exchange_totals(name)?;
    let of = rates::Object::Exchange(vhost.name.clone(), name.into());
    let counted = [
        ("publish_in", "publish_in_details", publish_in),
        ("publish_out", "publish_out_details", publish_out),
    ];
    stats(call, of, &counted)
}

/// What passed all channels of a vhost, those that are gone included.
pub(crate) fn vhost_totals(
    vhost: &Vhost,
    connections: &[std::sync::Arc<ConnectionEntry>],
) -> MessageTotals {
    let mut totals = vhost.finished.totals();
    let here = connections.iter().filter(|entry| entry.vhost == vhost.name);
    for connection in here {
        for channel in connection.channels.lock().values() {
            totals.add(&channel.messages.totals());
        }
    }
    totals
}
