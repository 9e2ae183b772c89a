//! Counters in JSON and as Prometheus reads them.

use axum::body::Body;
use axum::http::Request;
use serde_json::json;

use crate::api::TestApi;

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
            assert_eq!(bare, family, "{line}");
            samples.push((name.to_owned(), value.parse().expect("a number")));
        }
    }
    samples
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
