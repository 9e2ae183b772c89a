//! Spans as OTLP has them, with the names of OpenTelemetry's conventions for messaging and for RabbitMQ.
//!
//! What the conventions have no name for is called `leveret.` and what it is.

use node::spans::{Span, Stage};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1 as otlp;
use otlp::span::SpanKind;
use otlp::status::StatusCode;

use super::OtlpOptions;

/// Who makes the spans.
const SCOPE: &str = "leveret";

/// The default exchange, whose own name is empty.
const DEFAULT_EXCHANGE: &str = "amq.default";

/// OTLP's flags of a span: sampled; whether the parent is another program's is known; and it is.
const SAMPLED: u32 = 1;
const REMOTE_KNOWN: u32 = 0x100;
const REMOTE: u32 = 0x200;

/// What this broker is.
pub(super) fn resource(options: &OtlpOptions, node_name: &str) -> Resource {
    let mut attributes = options.resource_attributes.clone();
    if let Some(name) = &options.service_name {
        attributes.insert("service.name".into(), name.clone());
    }
    for (key, value) in [
        ("service.name", SCOPE),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("service.instance.id", node_name),
    ] {
        attributes.entry(key.into()).or_insert_with(|| value.into());
    }
    let attributes = attributes.iter().map(|(key, value)| text(key, value));
    Resource {
        attributes: attributes.collect(),
        ..Resource::default()
    }
}

/// A request with these spans.
pub(super) fn request(resource: &Resource, spans: &[Span]) -> ExportTraceServiceRequest {
    let scope = InstrumentationScope {
        name: SCOPE.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        ..InstrumentationScope::default()
    };
    let scope_spans = otlp::ScopeSpans {
        scope: Some(scope),
        spans: spans.iter().map(span).collect(),
        ..otlp::ScopeSpans::default()
    };
    let resource_spans = otlp::ResourceSpans {
        resource: Some(resource.clone()),
        scope_spans: vec![scope_spans],
        ..otlp::ResourceSpans::default()
    };
    ExportTraceServiceRequest {
        resource_spans: vec![resource_spans],
    }
}

fn span(span: &Span) -> otlp::Span {
    let (name, _, kind) = words(span.stage);
    // Routing keys may be countless: a span's name has none.
    let target = match &span.queue {
        Some(queue) => queue,
        None if span.exchange.is_empty() => DEFAULT_EXCHANGE,
        None => &*span.exchange,
    };
    let remote = if span.remote_parent { REMOTE } else { 0 };
    otlp::Span {
        trace_id: span.trace_id.to_vec(),
        span_id: span.id.to_vec(),
        parent_span_id: span.parent.map(|id| id.to_vec()).unwrap_or_default(),
        trace_state: span.tracestate.to_string(),
        flags: SAMPLED | REMOTE_KNOWN | remote,
        name: format!("{name} {target}"),
        kind: kind.into(),
        start_time_unix_nano: span.start_ns,
        end_time_unix_nano: span.end_ns,
        attributes: attributes(span),
        status: status(span.stage),
        ..otlp::Span::default()
    }
}

/// Of what happened: its name, the conventions' type of operation, and the kind of span.
fn words(stage: Stage) -> (&'static str, Option<&'static str>, SpanKind) {
    match stage {
        Stage::Publish => ("publish", Some("send"), SpanKind::Server),
        Stage::Route(_) => ("route", None, SpanKind::Internal),
        Stage::Enqueue { .. } => ("enqueue", None, SpanKind::Internal),
        Stage::Deliver { .. } => ("deliver", Some("receive"), SpanKind::Producer),
        Stage::Settle(how) => (how, Some("settle"), SpanKind::Server),
        Stage::DeadLetter(_) => ("dead-letter", None, SpanKind::Internal),
    }
}

fn status(stage: Stage) -> Option<otlp::Status> {
    matches!(stage, Stage::Enqueue { refused: true }).then(|| otlp::Status {
        message: "the queue is full".into(),
        code: StatusCode::Error.into(),
    })
}

fn attributes(span: &Span) -> Vec<KeyValue> {
    let (name, operation, _) = words(span.stage);
    let mut attributes = vec![
        text("messaging.system", "rabbitmq"),
        text("messaging.operation.name", name),
        text("messaging.destination.name", &destination(span)),
        number("messaging.message.body.size", span.body_bytes as u64),
        text("leveret.vhost", &span.vhost),
    ];
    if let Some(operation) = operation {
        attributes.push(text("messaging.operation.type", operation));
    }
    let routing_key = Some(&span.routing_key).filter(|key| !key.is_empty());
    for (key, value) in [
        ("messaging.rabbitmq.destination.routing_key", routing_key),
        ("messaging.message.id", span.message_id.as_ref()),
        (
            "messaging.message.conversation_id",
            span.correlation_id.as_ref(),
        ),
    ] {
        attributes.extend(value.map(|value| text(key, value)));
    }
    attributes.extend(
        span.queue
            .as_ref()
            .map(|queue| text("leveret.queue", queue)),
    );
    match span.stage {
        Stage::Route(queues) => attributes.push(number("leveret.queues", queues as u64)),
        Stage::Enqueue { refused: true } => attributes.push(text("error.type", "queue_full")),
        Stage::Deliver {
            delivery_tag,
            redelivered,
        } => {
            let tag = "messaging.rabbitmq.message.delivery_tag";
            attributes.push(number(tag, delivery_tag));
            let redelivered = Value::BoolValue(redelivered);
            attributes.push(attribute("leveret.redelivered", redelivered));
        }
        Stage::DeadLetter(reason) => {
            attributes.push(text("leveret.dead_letter.reason", reason.as_str()));
        }
        Stage::Publish | Stage::Enqueue { .. } | Stage::Settle(_) => {}
    }
    attributes
}

/// As the conventions for RabbitMQ build it: of exchange, routing key and queue, what there is, and nothing twice in a
/// row.
fn destination(span: &Span) -> String {
    let queue = span.queue.as_deref().unwrap_or_default();
    let mut parts = vec![&*span.exchange, &*span.routing_key, queue];
    parts.retain(|part| !part.is_empty());
    parts.dedup();
    match &parts[..] {
        [] => DEFAULT_EXCHANGE.into(),
        parts => parts.join(":"),
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

fn number(key: &str, value: u64) -> KeyValue {
    let value = i64::try_from(value).unwrap_or(i64::MAX);
    attribute(key, Value::IntValue(value))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue {
        key: key.into(),
        value: Some(AnyValue { value: Some(value) }),
        ..KeyValue::default()
    }
}
