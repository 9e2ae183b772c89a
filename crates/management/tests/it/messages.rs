//! Publishing and getting: RabbitMQ 4.3's statuses and texts.

use serde_json::{Value, json};

use crate::api::{TestApi, bad};

const PUBLISH: &str = "exchanges/%2F/amq.default/publish";
const GET: &str = "queues/%2F/q/get";

#[tokio::test]
async fn what_cannot_be_published_is_told_why() {
    let api = TestApi::new();
    api.call("PUT", "queues/%2F/q", "{}").await;
    let base = json!({"routing_key": "q", "payload": "hi", "payload_encoding": "string", "properties": {}});
    let with = |key: &str, value: Value| {
        let mut body = base.clone();
        body[key] = value;
        body.to_string()
    };
    let without = |key: &str| {
        let mut body = base.clone();
        body.as_object_mut().expect("an object").remove(key);
        body.to_string()
    };
    let pair = |a: &str, b: &str| json!({"error": "bad_request", "reason": [a, b]}).to_string();
    for (body, wanted) in [
        (without("properties"), bad("[{key_missing,properties}]")),
        (
            without("payload_encoding"),
            bad("[{key_missing,payload_encoding}]"),
        ),
        (
            with("payload_encoding", json!("zip")),
            pair("unsupported_encoding", "zip"),
        ),
        (with("payload", json!(5)), bad("payload_not_string")),
        (
            with("properties", json!({"delivery_mode": "x"})),
            pair("not_int", "delivery_mode"),
        ),
        (
            with("properties", json!({"headers": {"a": null}})),
            bad("null_not_allowed"),
        ),
        (
            with("properties", json!({"user_id": "bob"})),
            bad(
                "406 PRECONDITION_FAILED - user_id property set to 'bob' but authenticated user was 'guest'",
            ),
        ),
        (
            with("properties", json!({"expiration": "x"})),
            bad("406 PRECONDITION_FAILED - invalid expiration 'x': no_integer"),
        ),
    ] {
        let reply = api.call("POST", PUBLISH, &body).await;
        assert_eq!((reply.status, reply.text), (400, wanted), "{body}");
    }
    let mut bad_base64 = base.clone();
    bad_base64["payload"] = json!("%%");
    bad_base64["payload_encoding"] = json!("base64");
    let reply = api.call("POST", PUBLISH, &bad_base64.to_string()).await;
    assert_eq!(reply.text, pair("not_base64", "%%"));
    let reply = api
        .call("POST", "exchanges/%2F/nope/publish", &base.to_string())
        .await;
    assert_eq!(
        reply.text,
        r#"{"error":"not_found","reason":"exchange_not_found"}"#
    );
    let reply = api
        .call("POST", PUBLISH, &with("routing_key", json!("nope")))
        .await;
    assert_eq!(reply.text, r#"{"routed":false}"#);
}

#[tokio::test]
async fn a_message_comes_back_as_it_went() {
    let api = TestApi::new();
    api.call("PUT", "queues/%2F/q", "{}").await;
    let properties = json!({
        "delivery_mode": 2, "headers": {"a": 1, "t": {"x": [1, 2.5, true]}},
        "content_type": "text/plain", "content_encoding": "e", "priority": 3, "timestamp": 5,
        "expiration": "600000", "type": "t", "user_id": "guest", "app_id": "a",
        "message_id": "m", "correlation_id": "c", "reply_to": "r", "cluster_id": "x",
    });
    let body = json!({
        "routing_key": "q", "payload": "aGk=", "payload_encoding": "base64",
        "properties": properties,
    });
    api.call("POST", PUBLISH, &body.to_string()).await;
    let get = |mode: &str, more: Value| {
        let mut body = json!({"count": 5, "ackmode": mode, "encoding": "auto"});
        for (key, value) in more.as_object().expect("an object") {
            body[key] = value.clone();
        }
        body.to_string()
    };
    let first = api
        .call("POST", GET, &get("ack_requeue_true", json!({})))
        .await
        .json();
    assert_eq!(
        first,
        json!([{
            "payload_bytes": 2, "redelivered": false, "exchange": "", "routing_key": "q",
            "message_count": 0, "properties": properties, "payload": "hi",
            "payload_encoding": "string",
        }])
    );
    let second = get(
        "reject_requeue_true",
        json!({"encoding": "base64", "truncate": 1}),
    );
    let second = api.call("POST", GET, &second).await.json();
    assert_eq!(second[0]["redelivered"], true);
    assert_eq!(second[0]["payload"], "aA==");
    assert_eq!(second[0]["payload_bytes"], 2);
    let third = api
        .call("POST", GET, &get("ack_requeue_false", json!({})))
        .await
        .json();
    assert_eq!(third.as_array().map(Vec::len), Some(1));
    let fourth = api
        .call("POST", GET, &get("ack_requeue_false", json!({})))
        .await
        .json();
    assert_eq!(fourth, json!([]));
}

#[tokio::test]
async fn what_cannot_be_got_is_told_why() {
    let api = TestApi::new();
    api.call("PUT", "queues/%2F/q", "{}").await;
    let mode = bad(
        "Invalid ackmode value: zip. Valid values are: ack_requeue_true, ack_requeue_false, reject_requeue_true, reject_requeue_false",
    );
    let no_mode = bad("[{key_missing,ackmode}]");
    let encoding = bad("Unsupported encoding. Please use auto or base64.");
    let count = r#"{"error":"bad_request","reason":["not_integer","x"]}"#;
    let no_queue = r#"{"error":"not_found","reason":"queue_not_found"}"#;
    let good = r#"{"count":5,"ackmode":"ack_requeue_true","encoding":"auto"}"#;
    api.play(&[
        (
            "POST",
            GET,
            r#"{"count":5,"ackmode":"zip","encoding":"auto"}"#,
            400,
            &mode,
        ),
        (
            "POST",
            GET,
            r#"{"count":5,"encoding":"auto"}"#,
            400,
            &no_mode,
        ),
        (
            "POST",
            GET,
            r#"{"count":5,"ackmode":"ack_requeue_true","encoding":"zip"}"#,
            400,
            &encoding,
        ),
        (
            "POST",
            GET,
            r#"{"count":"x","ackmode":"ack_requeue_true","encoding":"auto"}"#,
            400,
            count,
        ),
        (
            "POST",
            GET,
            r#"{"count":-5,"ackmode":"ack_requeue_true","encoding":"auto"}"#,
            200,
            "[]",
        ),
        ("POST", "queues/%2F/nope/get", good, 404, no_queue),
    ])
    .await;
}
