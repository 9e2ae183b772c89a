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
