//! Messages that are traced, from the publisher's header to the collector, through a whole broker.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use node::settings::Settings;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use probe::{Client, Event};
use prost::Message as _;
use server::{HttpAddresses, Listeners, OtlpOptions};

use crate::broker::{Broker, PATIENCE, wait_until};
use crate::service::{GUEST, ask};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";

/// Takes whatever it is sent.
struct Collector {
    address: SocketAddr,
    spans: Arc<Mutex<Vec<Span>>>,
}

impl Collector {
    fn start() -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let collector = Collector {
            address: listener.local_addr().expect("an address"),
            spans: Arc::default(),
        };
        let spans = Arc::clone(&collector.spans);
        std::thread::spawn(move || {
            for mut socket in listener.incoming().flatten() {
                let mut reader = BufReader::new(socket.try_clone().expect("a socket"));
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") {
                    reader.read_line(&mut head).expect("a line");
                }
                let head = head.to_lowercase();
                let length = head.split("content-length: ").nth(1).expect("it has one");
                let length = length.lines().next().expect("a line").parse();
                let mut body = vec![0; length.expect("a number")];
                reader.read_exact(&mut body).expect("a body");
                let request = ExportTraceServiceRequest::decode(&body[..]).expect("it is one");
                let scopes = request
                    .resource_spans
                    .into_iter()
                    .flat_map(|all| all.scope_spans);
                let all = scopes.flat_map(|scope| scope.spans);
                spans.lock().expect("no panic").extend(all);
                let _ = socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
            }
        });
        collector
    }

    /// The spans, by their names.
    fn by_name(&self) -> BTreeMap<String, Span> {
        let spans = self.spans.lock().expect("no panic").clone();
        let count = spans.len();
        let named: BTreeMap<_, _> = spans.into_iter().map(|s| (s.name.clone(), s)).collect();
        assert_eq!(named.len(), count, "two of a name: {:?}", named.keys());
        named
    }
}

/// A broker that tells this collector, and where its API is.
fn start(address: SocketAddr, change: impl FnOnce(&mut OtlpOptions)) -> (Broker, SocketAddr) {
    let mut otlp = OtlpOptions {
        endpoint: Some(format!("http://{address}/v1/traces")),
        ..OtlpOptions::default()
    };
    change(&mut otlp);
    let management = HttpAddresses {
        plain: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
        ..HttpAddresses::default()
    };
    let listeners = Listeners {
        management,
        otlp,
        ..Listeners::default()
    };
    let broker = Broker::start_with(Settings::default(), listeners);
    let http = broker.management.0.expect("it is served");
    (broker, http)
}

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{PARENT}-{flags}")
}

fn publish(client: &mut Client, text: &str, traceparent: &str) {
    let text = format!("basic.publish {text} headers={{traceparent: \"{traceparent}\"}}");
    client.send(1, &text, b"body").expect("sent");
}

/// Everything before it has been done.
fn settle(client: &mut Client) {
    let answer = client.call(1, "basic.qos prefetch_count=0");
    assert_eq!(answer.as_ref().map(Event::name), Some("basic.qos-ok"));
}

fn attribute(span: &Span, key: &str) -> String {
    let found = span.attributes.iter().find(|pair| pair.key == key);
    match found.and_then(|pair| pair.value.clone()?.value) {
        Some(Value::StringValue(value)) => value,
        Some(Value::IntValue(value)) => value.to_string(),
        Some(Value::BoolValue(value)) => value.to_string(),
        other => format!("{other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_way_of_a_message_is_one_trace() {
    let collector = Collector::start();
    let (broker, _) = start(collector.address, |_| {});
    let mut client = broker.client();
    for call in [
        "exchange.declare exchange=jobs type=topic",
        "queue.declare queue=dead",
        "queue.declare queue=work arguments={x-dead-letter-exchange: \"\", x-dead-letter-routing-key: \"dead\"}",
        "queue.bind queue=work exchange=jobs routing_key=\"a.*\"",
    ] {
        client.call(1, call).expect("it is answered");
    }
    publish(
        &mut client,
        "exchange=jobs routing_key=a.b message_id=m1",
        &traceparent("01"),
    );
    publish(
        &mut client,
        "exchange=jobs routing_key=a.c message_id=m2",
        &traceparent("00"),
    );
    client
        .call(1, "basic.consume queue=work consumer_tag=c")
        .expect("it is answered");
    for _ in 0..2 {
        let delivered = client.next(PATIENCE).expect("both come");
        assert_eq!(delivered.name(), "basic.deliver");
    }
    client
        .send(1, "basic.nack delivery_tag=2", b"")
        .expect("sent");
    client
        .send(1, "basic.reject delivery_tag=1", b"")
        .expect("sent");
    settle(&mut client);
    let got = client
        .call(1, "basic.get queue=dead")
        .expect("it died first, but is second");
    assert_eq!(got.name(), "basic.get-ok");
    let got = client.call(1, "basic.get queue=dead").expect("it is there");
    assert_eq!(got.name(), "basic.get-ok");
    client
        .send(1, "basic.ack delivery_tag=4", b"")
        .expect("sent");
    settle(&mut client);
    drop(client);
    drop(broker);

    let spans = collector.by_name();
    let names: Vec<&str> = spans.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "ack dead",
            "dead-letter work",
            "deliver dead",
            "deliver work",
            "enqueue dead",
            "enqueue work",
            "publish jobs",
            "reject work",
            "route jobs",
        ]
    );
    for (child, parent) in [
        ("route jobs", "publish jobs"),
        ("enqueue work", "publish jobs"),
        ("deliver work", "enqueue work"),
        ("reject work", "deliver work"),
        ("dead-letter work", "enqueue work"),
        ("enqueue dead", "dead-letter work"),
        ("deliver dead", "enqueue dead"),
        ("ack dead", "deliver dead"),
    ] {
        assert_eq!(
            spans[child].parent_span_id, spans[parent].span_id,
            "{child}"
        );
    }
    let publish = &spans["publish jobs"];
    assert_eq!(hex(&publish.parent_span_id), PARENT);
    let ids: BTreeSet<_> = spans.values().map(|span| &span.span_id).collect();
    assert_eq!(ids.len(), spans.len());
    for span in spans.values() {
        assert_eq!(hex(&span.trace_id), TRACE);
        assert_eq!(attribute(span, "messaging.system"), "rabbitmq");
        assert_eq!(attribute(span, "messaging.message.id"), "m1");
        assert_eq!(attribute(span, "leveret.vhost"), "/");
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
        assert!(publish.start_time_unix_nano <= span.start_time_unix_nano);
    }
    for (name, key, value) in [
        ("publish jobs", "messaging.destination.name", "jobs:a.b"),
        ("publish jobs", "messaging.operation.type", "send"),
        (
            "publish jobs",
            "messaging.rabbitmq.destination.routing_key",
            "a.b",
        ),
        ("publish jobs", "messaging.message.body.size", "4"),
        ("route jobs", "leveret.queues", "1"),
        (
            "deliver work",
            "messaging.destination.name",
            "jobs:a.b:work",
        ),
        ("deliver work", "messaging.operation.type", "receive"),
        (
            "deliver work",
            "messaging.rabbitmq.message.delivery_tag",
            "1",
        ),
        ("deliver work", "leveret.redelivered", "false"),
        ("reject work", "messaging.operation.type", "settle"),
        ("dead-letter work", "leveret.dead_letter.reason", "rejected"),
        ("deliver dead", "messaging.destination.name", "dead"),
        ("ack dead", "messaging.operation.name", "ack"),
    ] {
        assert_eq!(attribute(&spans[name], key), value, "{name} {key}");
    }
}

#[test]
fn a_message_to_many_queues_or_none_is_traced_as_a_whole() {
    let collector = Collector::start();
    let (broker, http) = start(collector.address, |_| {});
    let mut client = broker.client();
    for call in [
        "confirm.select",
        "queue.declare queue=a",
        "queue.declare queue=b arguments={x-max-length: 0, x-overflow: \"reject-publish\"}",
        "queue.declare queue=c durable",
        "exchange.declare exchange=all type=fanout",
        "queue.bind queue=a exchange=all",
        "queue.bind queue=b exchange=all",
        "queue.bind queue=c exchange=all",
        "exchange.declare exchange=none type=fanout",
    ] {
        client.call(1, call).expect("it is answered");
    }
    publish(
        &mut client,
        "exchange=all delivery_mode=2",
        &traceparent("01"),
    );
    let refused = client.next(PATIENCE).expect("it is answered");
    assert_eq!(refused.name(), "basic.nack", "one of the queues is full");
    publish(&mut client, "exchange=none", &traceparent("01"));
    let confirmed = client.next(PATIENCE).expect("it is answered");
    assert_eq!(confirmed.name(), "basic.ack");
    let body = format!(
        r#"{{"properties":{{"headers":{{"traceparent":"{}"}}}},"routing_key":"a","payload":"x","payload_encoding":"string"}}"#,
        traceparent("01")
    );
    let (status, _) = ask(
        http,
        "POST",
        "/api/exchanges/%2F/amq.default/publish",
        GUEST,
        &body,
    );
    assert_eq!(status, 200);
    drop(client);
    drop(broker);

    let spans = collector.spans.lock().expect("no panic").clone();
    let named = |name: &str| -> Vec<&Span> { spans.iter().filter(|s| s.name == name).collect() };
    let publish = named("publish all")[0];
    for (name, refused) in [("enqueue b", true), ("enqueue c", false)] {
        let span = named(name)[0];
        assert_eq!(span.parent_span_id, publish.span_id, "{name}");
        assert_eq!(span.status.is_some(), refused, "{name}");
    }
    assert_eq!(attribute(named("route all")[0], "leveret.queues"), "3");
    assert_eq!(attribute(named("route none")[0], "leveret.queues"), "0");
    assert_eq!(named("enqueue a").len(), 2, "one of them by the API");
    assert_eq!(named("publish amq.default").len(), 1);
    assert_eq!(spans.len(), 5 + 2 + 3);
}

#[test]
fn a_collector_that_is_away_holds_up_nothing() {
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("an address")
    };
    let (broker, _) = start(address, |otlp| {
        otlp.queue_spans_max = 100;
        otlp.sampling.ratio = 1.0;
        otlp.sampling.messages_per_second_max = u32::MAX;
    });
    let mut client = broker.client();
    client
        .call(1, "queue.declare queue=q exclusive")
        .expect("it is answered");
    client
        .call(1, "basic.consume queue=q no_ack")
        .expect("it is answered");
    for _ in 0..1000 {
        client
            .send(1, "basic.publish routing_key=q", b"body")
            .expect("sent");
    }
    for _ in 0..1000 {
        let delivered = client.next(PATIENCE).expect("all come");
        assert_eq!(delivered.name(), "basic.deliver");
    }
    let tracer = broker.node.tracer().expect("it traces");
    let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let counters = &tracer.counters;
    wait_until("all spans are made", || load(&counters.recorded) == 4000);
    assert!(0 < load(&counters.dropped), "{counters:?}");
    assert_eq!(load(&counters.exported), 0);
}

#[test]
fn nothing_is_traced_unless_asked_for() {
    let broker = Broker::new();
    assert!(broker.node.tracer().is_none());
    broker.check_all_is_well();
}
