//! Spans of hand-made messages: names, parents, limits.

use std::collections::BTreeSet;

use broker::queue::QueueOptions;
use broker::router::QueueId;
use metadata::topology::QueueSpec;
use wire::amqp091::properties::Properties;

use super::*;
use crate::node::Node;
use crate::queue_cell::Around;
use crate::settings::Settings;

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const NOT_SAMPLED: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

fn settings(ratio: f64, queue_spans_max: usize) -> SpanSettings {
    SpanSettings {
        sampling: Sampling {
            parent_based: true,
            ratio,
            messages_per_second_max: 1000,
        },
        queue_spans_max,
    }
}

fn tracer(ratio: f64) -> Arc<Tracer> {
    Tracer::new(settings(ratio, 1000), 1, || 5)
}

/// A message with these headers, all text.
fn message(headers: &[(&str, &str)]) -> Message {
    let mut raw = Vec::new();
    if headers.is_empty() {
        raw.extend([0, 0]);
    } else {
        let mut table = Vec::new();
        for (key, value) in headers {
            table.push(key.len() as u8);
            table.extend(key.as_bytes());
            table.push(b'S');
            table.extend((value.len() as u32).to_be_bytes());
            table.extend(value.as_bytes());
        }
        raw.extend([0x20, 0]);
        raw.extend((table.len() as u32).to_be_bytes());
        raw.extend(table);
    }
    let properties = Properties::validate(&raw).expect("they are properties");
    Message::new("ex", "key", &properties, None, b"body", &mut Vec::new())
}

/// A vhost's queue.
fn queue(node: &Node, id: u64, name: &str) -> Arc<QueueCell> {
    let vhost = node.vhost("/").expect("it is there from the start");
    let around = Around {
        vhost: Arc::downgrade(&vhost),
        ..Around::default()
    };
    let spec = QueueSpec {
        name: name.into(),
        durable: false,
        exclusive: false,
        auto_delete: false,
        arguments: Default::default(),
    };
    QueueCell::new(QueueId(id), spec, QueueOptions::default(), None, around, 0)
}

fn stages(spans: &[Span]) -> Vec<Stage> {
    spans.iter().map(|span| span.stage).collect()
}

#[test]
fn a_message_s_way_is_one_trace() {
    let node = Node::in_memory(Settings::default(), 0);
    let (work, dead) = (queue(&node, 1, "work"), queue(&node, 2, "dead"));
    let tracer = tracer(0.0);
    let mut message = message(&[("traceparent", PARENT), ("tracestate", "a=b")]);
    let trace = tracer.begin(0, &message).expect("its publisher traces it");
    message.set_trace_mark(trace.mark());
    let vhost: Name = "/".into();
    tracer.published(&trace, &vhost, &message, (3, 4), &[(&work, false)]);
    let delivery = tracer.delivered(&message, &vhost, &work, 7, false);
    tracer.settled(delivery.expect("it is traced"), "reject");
    let mut letter = self::message(&[("traceparent", PARENT), ("x-death", "1")]);
    letter.set_trace_mark(trace.mark());
    let reason = DeadReason::Rejected;
    let targets = [Arc::clone(&dead)];
    tracer.died(&message, reason, &work, 4, Some((&letter, &targets)));
    tracer.delivered(&letter, &vhost, &dead, 1, false);

    let spans = tracer.take();
    let [publish, route, enqueue, deliver, settle, died, again, last] = &spans[..] else {
        panic!("{spans:?}");
    };
    let delivered = |delivery_tag| Stage::Deliver {
        delivery_tag,
        redelivered: false,
    };
    assert_eq!(
        stages(&spans),
        [
            Stage::Publish,
            Stage::Route(1),
            Stage::Enqueue { refused: false },
            delivered(7),
            Stage::Settle("reject"),
            Stage::DeadLetter(reason),
            Stage::Enqueue { refused: false },
            delivered(1),
        ]
    );
    assert_eq!(
        publish.parent,
        Some([0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31])
    );
    for (child, parent) in [
        (route, publish),
        (enqueue, publish),
        (deliver, enqueue),
        (settle, deliver),
        (died, enqueue),
        (again, died),
        (last, again),
    ] {
        assert_eq!(child.parent, Some(parent.id), "{child:?}");
        assert!(!child.remote_parent);
    }
    assert!(publish.remote_parent);
    let ids: BTreeSet<SpanId> = spans.iter().map(|span| span.id).collect();
    assert_eq!(ids.len(), spans.len(), "each has a name of its own");
    for span in &spans {
        assert_eq!(span.trace_id[..2], [0x0a, 0xf7]);
        // The letter of this test has none.
        let is_letter = span.id == last.id;
        assert_eq!(&*span.tracestate, if is_letter { "" } else { "a=b" });
    }
    assert_eq!((publish.start_ns, publish.end_ns), (3, 5));
    assert_eq!((route.start_ns, route.end_ns), (3, 4));
    assert_eq!((enqueue.start_ns, enqueue.end_ns), (4, 5));
}

#[test]
fn who_is_traced_is_its_publisher_s_to_say() {
    for (headers, ratio, traced) in [
        (&[("traceparent", PARENT)][..], 0.0, true),
        (&[("traceparent", NOT_SAMPLED)], 1.0, false),
        (&[("traceparent", "nonsense")], 0.0, false),
        (&[("traceparent", "nonsense")], 1.0, true),
        (&[("Traceparent", PARENT)], 0.0, false),
        (&[], 0.0, false),
        (&[], 1.0, true),
    ] {
        let begun = tracer(ratio).begin(0, &message(headers));
        assert_eq!(begun.is_some(), traced, "{headers:?} {ratio}");
    }
}

#[test]
fn a_trace_that_begins_here_has_a_name_of_its_own() {
    let tracer = tracer(1.0);
    let begin = || tracer.begin(0, &message(&[])).expect("all are");
    let (first, second) = (begin(), begin());
    assert_ne!(first.trace_id, second.trace_id);
    assert_ne!(first.mark(), second.mark());
    let mut message = message(&[]);
    message.set_trace_mark(first.mark());
    assert_eq!(tracer.find(&message), Some(first), "its mark says which");
}

#[test]
fn what_came_back_from_the_log_follows_from_its_publisher() {
    let node = Node::in_memory(Settings::default(), 0);
    let work = queue(&node, 1, "work");
    let tracer = tracer(1.0);
    for (headers, traced) in [
        (&[("traceparent", PARENT)][..], true),
        (&[("traceparent", NOT_SAMPLED)], false),
        (&[], false),
    ] {
        let mut message = message(headers);
        message.set_trace_mark(TraceMark::UNKNOWN);
        tracer.delivered(&message, &"/".into(), &work, 1, true);
        let spans = tracer.take();
        assert_eq!(spans.len(), usize::from(traced));
        for span in spans {
            assert!(span.remote_parent);
            assert_eq!(span.parent.map(|id| id[0]), Some(0xb7));
        }
    }
}

#[test]
fn what_does_not_fit_is_dropped_and_counted() {
    let tracer = Tracer::new(settings(1.0, 5), 1, || 5);
    let message = message(&[]);
    for _ in 0..4 {
        let trace = tracer.begin(0, &message).expect("all are");
        tracer.published(&trace, &"/".into(), &message, (1, 1), &[]);
    }
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let counters = &tracer.counters;
    assert_eq!(
        (count(&counters.recorded), count(&counters.dropped)),
        (8, 3)
    );
    assert_eq!(tracer.take().len(), 5);
    assert_eq!(tracer.waiting_len(), 0);
}
