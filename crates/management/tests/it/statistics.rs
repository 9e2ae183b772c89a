//! Counters in JSON and as Prometheus reads them.

use axum::body::Body;
use axum::http::Request;
use serde_json::json;

use crate::api::{NOW_MS, TestApi};

const PUBLISH: &str = "exchanges/%2F/amq.default/publish";

async fn api_with_traffic() -> TestApi {
    let api = TestApi::new();
    api.call("PUT", "queues/%2F/q", "{}").await;
    let message = json!({
        "routing_key": "q", "payload": "hi", "payload_encoding": "string", "properties": {},
    });
    for _ in 0..3 {
        api.call("POST", PUBLISH, &message.to_string()).await;
    }
    for mode in ["ack_requeue_true", "ack_requeue_false"] {
        let get = json!({"count": 2, "ackmode": mode, "encoding": "auto"});
        api.call("POST", "queues/%2F/q/get", &get.to_string()).await;
    }
    api
}

#[tokio::test]
async fn a_queue_counts_what_passes_it() {
    let api = api_with_traffic().await;
    let queue = api.get("queues/%2F/q").await;
    let stats = &queue["message_stats"];
    assert_eq!(stats["publish"], 3);
    assert_eq!(stats["get"], 2);
    assert_eq!(stats["get_no_ack"], 2);
    assert_eq!(stats["redeliver"], 2);
    assert_eq!(stats["deliver_get"], 4);
    assert_eq!(stats["publish_details"]["rate"], 0.0);
    assert_eq!(queue["messages"], 1);
    let untouched = api.call("PUT", "queues/%2F/other", "{}").await;
    assert_eq!(untouched.status, 201);
    let other = api.get("queues/%2F/other").await;
    assert!(other.get("message_stats").is_none(), "nothing passed it");
}

async fn scrape(api: &TestApi, path: &str) -> String {
    let request = Request::builder().uri(path).body(Body::empty());
    let reply = api.metrics(request.expect("it is well-formed")).await;
    assert_eq!(reply.status, 200);
    assert!(
        reply
            .header("content-type")
            .starts_with("text/plain; version=0.0.4")
    );
    reply.text
}

/// Reads the exposition format, strictly: each sample belongs to the family begun last, none stands twice.
fn read(text: &str) -> Vec<(String, f64)> {
    let mut family = String::new();
    let mut families = std::collections::BTreeSet::new();
    let mut samples = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a name and a type");
            assert!(
                ["counter", "gauge", "untyped", "histogram"].contains(&kind),
                "{line}"
            );
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert!(families.insert(name.to_owned()), "{name} stands twice");
            family = name.to_owned();
        } else if let Some(rest) = line.strip_prefix("# HELP ") {
            assert!(rest.starts_with(&format!("{family} ")), "{line}");
        } else {
            let (name, value) = line.rsplit_once(' ').expect("a name and a value");
            let bare = name.split('{').next().expect("a name");
            let part = bare.strip_prefix(&family).expect("of the family");
            let is_histogram = text.contains(&format!("# TYPE {family} histogram\n"));
            let parts = match is_histogram {
                true => &["_bucket", "_sum", "_count"][..],
                false => &[""],
            };
            assert!(parts.contains(&part), "{line}");
            samples.push((name.to_owned(), value.parse().expect("a number")));
        }
    }
    samples
}

/// A histogram's buckets by their ends, its sum and its count. Each bucket has what is in those before it.
fn histogram(samples: &[(String, f64)], name: &str) -> (Vec<(String, f64)>, f64, f64) {
    let begin = format!("{name}_bucket{{le=\"");
    let buckets = samples.iter().filter_map(|(known, count)| {
        let end = known.strip_prefix(&begin)?.strip_suffix("\"}")?;
        Some((end.to_owned(), *count))
    });
    let buckets: Vec<_> = buckets.collect();
    assert!(buckets.is_sorted_by(|a, b| a.1 <= b.1), "{buckets:?}");
    let ends = buckets.iter().map(|(end, _)| match &**end {
        "+Inf" => f64::INFINITY,
        end => end.parse().expect("a number"),
    });
    assert!(ends.collect::<Vec<f64>>().is_sorted_by(|a, b| a < b));
    let count = value(samples, &format!("{name}_count"));
    assert_eq!(buckets.last(), Some(&("+Inf".to_owned(), count)));
    (buckets, value(samples, &format!("{name}_sum")), count)
}

#[tokio::test]
async fn times_are_counted_once_a_message() {
    let api = api_with_traffic().await;
    let total = read(&scrape(&api, "/metrics").await);
    // Three came and two left; two of those that were taken had come back. The clock stands still.
    let waited = histogram(&total, "rabbitmq_message_queue_time_seconds");
    assert_eq!((waited.1, waited.2), (0.0, 2.0));
    assert_eq!(waited.0.first(), Some(&("0.0001".to_owned(), 2.0)));
    // Nobody asked for confirms, and this node has no log.
    let confirms = histogram(&total, "rabbitmq_publisher_confirm_time_seconds");
    assert_eq!(confirms.2, 0.0);
    assert!(!total.iter().any(|(name, _)| name.contains("sync_time")));

    let vhost = api.node.vhost("/").expect("it is there");
    let cell = vhost.find_queue("q").expect("it is there");
    assert_eq!(cell.oldest_ms(NOW_MS + 1500), Some(1500));
    let name = "rabbitmq_queue_oldest_message_age_seconds";
    assert_eq!(value(&total, name), 0.0);
    let each = read(&scrape(&api, "/metrics/per-object").await);
    assert_eq!(
        value(&each, &format!("{name}{{vhost=\"/\",queue=\"q\"}}")),
        0.0
    );
}

#[tokio::test]
async fn the_sum_of_nothing_has_no_sign() {
    let text = scrape(&TestApi::new(), "/metrics").await;
    assert!(text.contains("\nrabbitmq_queue_messages 0\n"), "{text}");
    assert!(!text.contains(" -0"), "{text}");
}

fn value(samples: &[(String, f64)], name: &str) -> f64 {
    let found = samples.iter().find(|(known, _)| known == name);
    found.unwrap_or_else(|| panic!("no {name}")).1
}

#[tokio::test]
async fn metrics_have_rabbitmqs_names() {
    let api = api_with_traffic().await;
    let total = read(&scrape(&api, "/metrics").await);
    assert_eq!(value(&total, "rabbitmq_queue_messages_ready"), 1.0);
    assert_eq!(value(&total, "rabbitmq_queues"), 1.0);
    assert_eq!(value(&total, "rabbitmq_queue_get_total"), 2.0);
    assert_eq!(value(&total, "rabbitmq_queues_created_total"), 1.0);
    assert_eq!(
        value(&total, "rabbitmq_process_resident_memory_bytes"),
        1000.0
    );
    let each = read(&scrape(&api, "/metrics/per-object").await);
    let name = "rabbitmq_queue_messages_ready{vhost=\"/\",queue=\"q\"}";
    assert_eq!(value(&each, name), 1.0);
    let detailed = "/metrics/detailed?family=queue_coarse_metrics&vhost=%2F";
    let detailed = read(&scrape(&api, detailed).await);
    let name = "rabbitmq_detailed_queue_messages{vhost=\"/\",queue=\"q\"}";
    assert_eq!(value(&detailed, name), 1.0);
    assert!(
        detailed
            .iter()
            .any(|(name, _)| name.starts_with("rabbitmq_identity_info{"))
    );
    assert!(!detailed.iter().any(|(name, _)| name.contains("channel")));
    let other = scrape(
        &api,
        "/metrics/detailed?family=queue_coarse_metrics&vhost=nope",
    )
    .await;
    assert!(!other.contains("queue=\"q\""));
}

/// Names that RabbitMQ has and this broker does not, by how they begin, and why.
const ABSENT: [(&str, &str); 20] = [
    ("*_process_reductions_total", "Erlang's steps"),
    ("rabbitmq_raft_", "there is no Raft"),
    ("rabbitmq_detailed_raft_", "there is no Raft"),
    (
        "rabbitmq_io_",
        "syncs have a histogram; nothing else is counted",
    ),
    ("rabbitmq_detailed_io_", "the same"),
    ("rabbitmq_erlang_", "Erlang's"),
    ("rabbitmq_detailed_erlang_", "Erlang's, but for the uptime"),
    ("*_schema_db_", "Mnesia's"),
    ("*_msg_store_", "of RabbitMQ's stores"),
    ("*_queue_index_", "of RabbitMQ's stores"),
    ("*_queue_disk_", "of RabbitMQ's stores"),
    ("*stream_", "there are no streams"),
    ("*_queue_consumer_", "not measured"),
    ("*_queue_process_memory_bytes", "a queue is no process"),
    ("*_queue_messages_persistent", "not kept"),
    ("*_queue_head_message_timestamp", "not kept"),
    (
        "*_channel_",
        "transactions and prefetch of channels are not shown",
    ),
    ("*_connection_pending_packets", "not kept"),
    ("*_exchange_messages_", "not counted by exchange"),
    (
        "rabbitmq_global_messages_dead_lettered_confirmed_total",
        "dead letters are not confirmed",
    ),
];

/// Names of ours that RabbitMQ does not have.
const OURS: [&str; 7] = [
    "rabbitmq_tls_certificate_expiry_timestamp_seconds",
    "rabbitmq_message_queue_time_seconds",
    "rabbitmq_publisher_confirm_time_seconds",
    "rabbitmq_queue_oldest_message_age_seconds",
    "rabbitmq_detailed_queue_oldest_message_age_seconds",
    "rabbitmq_erlang_uptime_seconds",
    "rabbitmq_detailed_erlang_uptime_seconds",
];

fn is_absent(name: &str) -> bool {
    ABSENT
        .iter()
        .any(|(known, _)| match known.strip_prefix('*') {
            Some(part) => name.contains(part),
            None => name.starts_with(known),
        })
}

#[tokio::test]
async fn names_and_types_are_those_of_a_recorded_rabbitmq() {
    let api = api_with_traffic().await;
    let recorded = include_str!("rabbitmq-metrics.txt");
    let mut differences = Vec::new();
    for page in recorded.split("page ").skip(1) {
        let (path, theirs) = page.split_once('\n').expect("a path and names");
        let theirs: Vec<&str> = theirs.lines().filter(|line| !line.is_empty()).collect();
        let text = scrape(&api, path).await;
        let ours = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let ours: Vec<&str> = ours.collect();
        for line in &theirs {
            let name = line.split(' ').next().expect("a name");
            if !ours.contains(line) && !is_absent(name) {
                differences.push(format!("{path}: there is no {line}"));
            }
        }
        for line in &ours {
            let name = line.split(' ').next().expect("a name");
            let identity = ["rabbitmq_build_info", "rabbitmq_identity_info"].contains(&name);
            if !theirs.contains(line) && !OURS.contains(&name) && !identity {
                differences.push(format!("{path}: RabbitMQ has no {line}"));
            }
        }
    }
    assert_eq!(differences, [""; 0]);
}

#[tokio::test]
async fn metrics_are_of_the_queues_that_are_asked_for() {
    let api = api_with_traffic().await;
    api.call(
        "PUT",
        "queues/%2F/quick",
        r#"{"arguments":{"x-queue-type":"quorum"},"durable":true}"#,
    )
    .await;
    let ask = async |query: &str| {
        let path = format!("/metrics/detailed?family=queue_coarse_metrics&{query}");
        read(&scrape(&api, &path).await)
    };
    let ready = "rabbitmq_detailed_queue_messages_ready";
    for (query, queues) in [
        ("", &["q", "quick"][..]),
        ("queue=q", &["q", "quick"]),
        ("queue=%5Eq%24", &["q"]),
        ("queue=ui&vhost=%2F", &["quick"]),
        ("queue=ui&vhost=nope", &[]),
        ("vhost=nope&vhost=%2F", &["q", "quick"]),
        ("vhost=%2F,nope", &[]),
    ] {
        let samples = ask(query).await;
        let named = samples.iter().map(|(name, _)| name.as_str());
        let named: Vec<&str> = named.filter(|name| name.starts_with(ready)).collect();
        let wanted = queues.iter();
        let wanted: Vec<String> = wanted
            .map(|queue| format!("{ready}{{vhost=\"/\",queue=\"{queue}\"}}"))
            .collect();
        assert_eq!(named, wanted, "{query}");
    }
    let info = "rabbitmq_detailed_queue_info{vhost=\"/\",queue=\"quick\",queue_type=\"rabbit_quorum_queue\",\
                membership=\"leader\"}";
    assert_eq!(value(&ask("").await, info), 1.0);
    for (query, words) in [
        (
            "queue=a&queue=b",
            "Only one 'queue' query parameter is allowed",
        ),
        ("queue=%5B", "Invalid 'queue' regex: "),
    ] {
        let path = format!("/metrics/detailed?family=queue_metrics&{query}");
        let request = Request::builder().uri(&path).body(Body::empty());
        let reply = api.metrics(request.expect("it is well-formed")).await;
        assert_eq!(reply.status, 400, "{query}");
        assert!(reply.text.starts_with(words), "{}", reply.text);
    }
}

#[tokio::test]
async fn the_topology_is_told_to_who_asks_for_it() {
    let api = api_with_traffic().await;
    api.call("PUT", "exchanges/%2F/e", r#"{"type":"topic"}"#)
        .await;
    api.call("POST", "bindings/%2F/e/e/q/q", r##"{"routing_key":"#"}"##)
        .await;
    let path = "/metrics/detailed?family=exchange_bindings&family=exchange_names&family=vhost_status&vhost=%2F";
    let samples = read(&scrape(&api, path).await);
    let of_e = "{vhost=\"/\",exchange=\"e\",type=\"topic\"}";
    for (name, expected) in [("exchange_bindings", 1.0), ("exchange_name", 1.0)] {
        let name = format!("rabbitmq_cluster_{name}{of_e}");
        assert_eq!(value(&samples, &name), expected, "{name}");
    }
    let unbound =
        "rabbitmq_cluster_exchange_bindings{vhost=\"/\",exchange=\"amq.direct\",type=\"direct\"}";
    assert_eq!(value(&samples, unbound), 0.0);
    assert_eq!(
        value(&samples, "rabbitmq_cluster_vhost_status{vhost=\"/\"}"),
        1.0
    );
}

#[tokio::test]
async fn what_no_object_keeps_is_counted() {
    let api = api_with_traffic().await;
    let dead = r#"{"arguments":{"x-message-ttl":0,"x-dead-letter-exchange":"","x-dead-letter-routing-key":"q"}}"#;
    api.call("PUT", "queues/%2F/short", dead).await;
    let message = json!({
        "routing_key": "short", "payload": "x".repeat(101), "payload_encoding": "string", "properties": {},
    });
    api.call("POST", PUBLISH, &message.to_string()).await;
    api.node.attempts.track_sources(true);
    api.node.attempts.count("amqp091", "::1", "ann", true);
    let samples = read(&scrape(&api, "/metrics").await);
    let sizes = "rabbitmq_message_size_bytes";
    for (le, count) in [("100", 3.0), ("1000", 4.0), ("+Inf", 4.0)] {
        let name = format!("{sizes}_bucket{{protocol=\"amqp091\",le=\"{le}\"}}");
        assert_eq!(value(&samples, &name), count, "{le}");
    }
    let of_amqp = |name: &str| value(&samples, &format!("{name}{{protocol=\"amqp091\"}}"));
    assert_eq!(of_amqp(&format!("{sizes}_sum")), 107.0);
    assert_eq!(
        of_amqp("rabbitmq_global_publishers"),
        0.0,
        "the API is none"
    );
    let expired = "rabbitmq_global_messages_dead_lettered_expired_total{queue_type=\"rabbit_classic_queue\",\
                   dead_letter_strategy=\"at_most_once\"}";
    assert_eq!(value(&samples, expired), 1.0);
    let started = value(&samples, "process_start_time_seconds");
    assert!(started <= NOW_MS as f64 / 1000.0);
    let each = read(&scrape(&api, "/metrics/per-object").await);
    let tried = "rabbitmq_auth_attempts_detailed_succeeded_total{remote_address=\"::1\",username=\"ann\",\
                 protocol=\"amqp091\"}";
    assert_eq!(value(&each, tried), 1.0);
    let memory = read(&scrape(&api, "/metrics/memory-breakdown").await);
    let bytes = memory
        .iter()
        .filter(|(name, _)| name.starts_with("rabbitmq_memory_"));
    assert_eq!(
        bytes.map(|(_, bytes)| bytes).sum::<f64>(),
        1000.0,
        "all of it"
    );
}
