//! Exchanges, queues and bindings: RabbitMQ 4.3's statuses and texts.

use serde_json::json;

use crate::api::{NO_OBJECT, REFUSED, TestApi, bad};

const NO_VHOST: &str = r#"{"error":"not_found","reason":"vhost_not_found"}"#;

#[tokio::test]
async fn exchanges_are_declared_and_deleted() {
    let api = TestApi::new();
    let durable = bad(
        "inequivalent arg 'durable' for exchange 'e1' in vhost '/': received 'true' but current is 'false'",
    );
    let kind = bad(
        "inequivalent arg 'type' for exchange 'e1' in vhost '/': received 'topic' but current is 'direct'",
    );
    let unknown = bad("invalid exchange type 'nope'");
    let in_use = bad("exchange 'e1' in vhost '/' in use");
    let null = bad("null_not_allowed");
    api.play(&[
        ("PUT", "exchanges/%2F/e1", "{}", 201, ""),
        ("PUT", "exchanges/%2F/e1", r#"{"type":"direct"}"#, 204, ""),
        (
            "PUT",
            "exchanges/%2F/e1",
            r#"{"type":"direct","durable":true}"#,
            400,
            &durable,
        ),
        ("PUT", "exchanges/%2F/e1", r#"{"type":"topic"}"#, 400, &kind),
        (
            "PUT",
            "exchanges/%2F/e2",
            r#"{"type":"nope"}"#,
            400,
            &unknown,
        ),
        (
            "PUT",
            "exchanges/%2F/amq.x",
            r#"{"type":"direct"}"#,
            401,
            REFUSED,
        ),
        (
            "PUT",
            "exchanges/%2F/amq.default",
            r#"{"type":"direct"}"#,
            401,
            REFUSED,
        ),
        ("DELETE", "exchanges/%2F/amq.default", "", 401, REFUSED),
        ("DELETE", "exchanges/%2F/amq.direct", "", 401, REFUSED),
        ("DELETE", "exchanges/%2F/nope", "", 404, NO_OBJECT),
        (
            "PUT",
            "exchanges/nope/e",
            r#"{"type":"direct"}"#,
            404,
            NO_VHOST,
        ),
        (
            "PUT",
            "exchanges/%2F/e4",
            r#"{"type":"direct","durable":"yes"}"#,
            400,
            r#"{"error":"bad_request","reason":["not_boolean","yes"]}"#,
        ),
        ("PUT", "exchanges/%2F/e5", r#"{"arguments":[]}"#, 201, ""),
        ("PUT", "exchanges/%2F/e6", r#"{"arguments":"x"}"#, 400, ""),
        (
            "PUT",
            "exchanges/%2F/e7",
            r#"{"arguments":{"g":null}}"#,
            400,
            &null,
        ),
        ("PUT", "queues/%2F/q", "{}", 201, ""),
        ("POST", "bindings/%2F/e/e1/q/q", "{}", 201, ""),
        (
            "DELETE",
            "exchanges/%2F/e1?if-unused=true",
            "",
            400,
            &in_use,
        ),
        ("DELETE", "exchanges/%2F/e1", "", 204, ""),
        ("GET", "exchanges/%2F/e1", "", 404, NO_OBJECT),
    ])
    .await;
    let arguments = json!({"a": 1, "b": "x", "c": [1, "a"], "d": {"e": true}, "f": 1.5});
    let body = json!({"type": "fanout", "auto_delete": true, "arguments": arguments}).to_string();
    assert_eq!(api.call("PUT", "exchanges/%2F/e8", &body).await.status, 201);
    let shown = api.get("exchanges/%2F/e8").await;
    assert_eq!(shown["arguments"], arguments);
    assert_eq!(shown["auto_delete"], true);
    assert_eq!(api.get("exchanges/%2F/amq.default").await["name"], "");
}

#[tokio::test]
async fn queues_are_declared_purged_and_deleted() {
    let api = TestApi::new();
    let negative =
        bad("invalid arg 'x-message-ttl' for queue 'q2' in vhost '/': {value_negative,-1}");
    let transient = bad("invalid property 'non-durable' for queue 'q2' in vhost '/'");
    let not_empty = bad("queue 'q1' in vhost '/' not empty");
    let other_node = bad("Node nope@x is not a cluster member");
    let hi = r#"{"routing_key":"q1","payload":"hi","payload_encoding":"string","properties":{}}"#;
    api.play(&[
        ("PUT", "queues/%2F/q1", "{}", 201, ""),
        ("PUT", "queues/%2F/q1", "{}", 204, ""),
        ("PUT", "queues/%2F/q1", r#"{"durable":false}"#, 204, ""),
        (
            "PUT",
            "queues/%2F/q2",
            r#"{"arguments":{"x-message-ttl":-1}}"#,
            400,
            &negative,
        ),
        (
            "PUT",
            "queues/%2F/q2",
            r#"{"arguments":{"x-queue-type":"quorum"}}"#,
            400,
            &transient,
        ),
        ("PUT", "queues/%2F/amq.q", "{}", 401, REFUSED),
        ("PUT", "queues/nope/q", "{}", 404, NO_VHOST),
        (
            "PUT",
            "queues/%2F/q5",
            r#"{"node":"nope@x"}"#,
            400,
            &other_node,
        ),
        ("PUT", "queues/%2F/q5", r#"{"durable":"true"}"#, 201, ""),
        ("DELETE", "queues/%2F/nope", "", 404, NO_OBJECT),
        (
            "POST",
            "exchanges/%2F/amq.default/publish",
            hi,
            200,
            r#"{"routed":true}"#,
        ),
        ("DELETE", "queues/%2F/q1?if-empty=true", "", 400, &not_empty),
        ("DELETE", "queues/%2F/q1/contents", "", 204, ""),
        ("DELETE", "queues/%2F/nope/contents", "", 404, NO_OBJECT),
        ("DELETE", "queues/%2F/q1?if-empty=true", "", 204, ""),
        ("GET", "queues/%2F/q1", "", 404, NO_OBJECT),
        (
            "POST",
            "queues/%2F/q5/actions",
            r#"{"action":"sync"}"#,
            400,
            r#"{"error":"bad_request","reason":["unknown","sync"]}"#,
        ),
    ])
    .await;
    let body = r#"{"durable":true,"arguments":{"x-queue-type":"quorum"}}"#;
    assert_eq!(api.call("PUT", "queues/%2F/qq", body).await.status, 201);
    let status = api.get("queues/quorum/%2F/qq/status").await;
    assert_eq!(status[0]["Raft State"], "leader");
    let shown = api.get("queues/%2F/qq").await;
    assert_eq!(shown["type"], "quorum");
    assert_eq!(shown["members"], json!(["leveret@localhost"]));
    assert_eq!(shown["delivery_limit"], 20);
}

#[tokio::test]
async fn bindings_go_by_their_properties_key() {
    let api = TestApi::new();
    let no_exchange = r#"{"error":"not_found","reason":"no exchange 'nope' in vhost '/'"}"#;
    let no_queue = r#"{"error":"not_found","reason":"no queue 'nope' in vhost '/'"}"#;
    api.play(&[
        ("PUT", "exchanges/%2F/e", "{}", 201, ""),
        ("PUT", "queues/%2F/q", "{}", 201, ""),
        ("POST", "bindings/%2F/e/nope/q/q", "{}", 404, no_exchange),
        ("POST", "bindings/%2F/e/e/q/nope", "{}", 404, no_queue),
        ("POST", "bindings/%2F/e/e/z/q", "{}", 400, ""),
        ("POST", "bindings/%2F/e/amq.default/q/q", "{}", 401, REFUSED),
        (
            "POST",
            "bindings/%2F/e/e/e/amq.fanout",
            r#"{"routing_key":"x"}"#,
            201,
            "",
        ),
    ])
    .await;
    for (body, location) in [
        (
            json!({"routing_key": "a b/é~#%"}),
            "q/a%2Bb%252F%25C3%25A9%257E%2523%2525",
        ),
        (json!({}), "q/~"),
        (json!({"routing_key": "plain"}), "q/plain"),
    ] {
        let reply = api
            .call("POST", "bindings/%2F/e/e/q/q", &body.to_string())
            .await;
        assert_eq!((reply.status, reply.header("location")), (201, location));
        let path = format!("bindings/%2F/e/e/q/{location}");
        let shown = api.get(&path).await;
        assert_eq!(
            shown["routing_key"].as_str(),
            body["routing_key"].as_str().or(Some(""))
        );
        assert_eq!(api.call("DELETE", &path, "").await.status, 204);
        assert_eq!(api.call("GET", &path, "").await.status, 404);
    }
    let body = r#"{"routing_key":"k","arguments":{"a":1}}"#;
    api.call("POST", "bindings/%2F/e/e/q/q", body).await;
    let listed = api.get("bindings/%2F/e/e/q/q").await;
    let key = listed[0]["properties_key"].as_str().expect("text");
    assert!(key.starts_with("k~"), "{key}");
    assert_eq!(listed[0]["arguments"], json!({"a": 1}));
    let path = format!("bindings/%2F/e/e/q/q/{key}");
    assert_eq!(api.call("DELETE", &path, "").await.status, 204);
    // As RabbitMQ answers for what is not there.
    for path in ["source", "destination"] {
        let of_none = api
            .get(&format!("exchanges/%2F/nope/bindings/{path}"))
            .await;
        assert_eq!(of_none, json!([]));
    }
    let made_up = json!([{
        "source": "", "vhost": "/", "destination": "nope", "destination_type": "queue",
        "routing_key": "nope", "arguments": {}, "properties_key": "nope",
    }]);
    assert_eq!(api.get("queues/%2F/nope/bindings").await, made_up);
    let of_queue = api.get("queues/%2F/q/bindings").await;
    assert_eq!(
        of_queue.as_array().map(Vec::len),
        Some(1),
        "the default one stays"
    );
    assert_eq!(
        api.get("exchanges/%2F/e/bindings/source").await[0]["destination"],
        "amq.fanout"
    );
    assert_eq!(
        api.get("exchanges/%2F/amq.fanout/bindings/destination")
            .await[0]["source"],
        "e"
    );
}
