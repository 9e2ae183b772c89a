//! What RabbitMQ's API does not have: peeking, single messages, redriving, explaining.

use serde_json::json;

use crate::api::TestApi;

async fn publish(
    api: &TestApi,
    exchange: &str,
    routing_key: &str,
    payload: &str,
    headers: serde_json::Value,
) {
    let body = json!({
        "routing_key": routing_key, "payload": payload, "payload_encoding": "string",
        "properties": {"headers": headers, "delivery_mode": 2},
    });
    let path = format!("exchanges/%2F/{exchange}/publish");
    let reply = api.call("POST", &path, &body.to_string()).await;
    assert_eq!(reply.text, r#"{"routed":true}"#);
}

#[tokio::test]
async fn peeking_takes_nothing_and_finds() {
    let api = TestApi::new();
    api.call("PUT", "queues/%2F/q", "{}").await;
    for number in 0..5 {
        let payload = format!("message {number}");
        publish(
            &api,
            "amq.default",
            "q",
            &payload,
            json!({"n": number, "s": "x"}),
        )
        .await;
    }
    let all = api.get("queues/%2F/q/peek").await;
    assert_eq!(all["messages"].as_array().map(Vec::len), Some(5));
    assert_eq!(all["messages"][0]["payload"], "message 0");
    assert_eq!(
        all["messages"][0]["properties"]["headers"],
        json!({"n": 0, "s": "x"})
    );
    let some = api.get("queues/%2F/q/peek?position=3&count=1").await;
    assert_eq!(some["messages"][0]["payload"], "message 3");
    assert_eq!(some["messages"][0]["position"], 3);
    for query in ["search=message+2", "header=n%3D2"] {
        let found = api.get(&format!("queues/%2F/q/peek?{query}")).await;
        assert_eq!(
            found["messages"].as_array().map(Vec::len),
            Some(1),
            "{query}"
        );
        assert_eq!(found["messages"][0]["payload"], "message 2");
    }
    let cut = api.get("queues/%2F/q/peek?truncate=3&count=1").await;
    assert_eq!(cut["messages"][0]["payload"], "mes");
    assert_eq!(cut["messages"][0]["payload_bytes"], 9);
    assert_eq!(api.get("queues/%2F/q").await["messages_ready"], 5);
    let again = api.get("queues/%2F/q/peek").await;
    assert_eq!(again["messages"][0]["redelivered"], false);
    assert_eq!(
        api.call("GET", "queues/%2F/q/peek?count=x", "")
            .await
            .status,
        400
    );
}

#[tokio::test]
async fn one_message_is_deleted_or_moved() {
    let api = TestApi::new();
    for queue in ["q", "other"] {
        api.call("PUT", &format!("queues/%2F/{queue}"), "{}").await;
    }
    for payload in ["a", "b", "c"] {
        publish(&api, "amq.default", "q", payload, json!({})).await;
    }
    let all = api.get("queues/%2F/q/peek").await;
    let path = |index: usize| format!("queues/%2F/q/messages/{}", all["messages"][index]["id"]);
    assert_eq!(api.call("DELETE", &path(1), "").await.status, 204);
    assert_eq!(api.call("DELETE", &path(1), "").await.status, 404);
    let to = |queue: &str| json!({"destination": queue}).to_string();
    let reply = api
        .call("POST", &format!("{}/move", path(2)), &to("other"))
        .await;
    assert_eq!(reply.text, r#"{"moved":true}"#);
    let reply = api
        .call("POST", &format!("{}/move", path(0)), &to("q"))
        .await;
    assert_eq!(reply.status, 400);
    let left = api.get("queues/%2F/q/peek").await;
    assert_eq!(left["messages"].as_array().map(Vec::len), Some(1));
    assert_eq!(left["messages"][0]["payload"], "a");
    assert_eq!(
        api.get("queues/%2F/other/peek").await["messages"][0]["payload"],
        "c"
    );
}

#[tokio::test]
async fn dead_letters_go_back_to_where_they_died() {
    let api = TestApi::new();
    let arguments = json!({"arguments": {
        "x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead",
    }});
    api.call("PUT", "queues/%2F/dead", "{}").await;
    api.call("PUT", "queues/%2F/work", &arguments.to_string())
        .await;
    api.call("PUT", "exchanges/%2F/e", "{}").await;
    api.call("POST", "bindings/%2F/e/e/q/work", r#"{"routing_key":"k"}"#)
        .await;
    for payload in ["a", "b"] {
        publish(&api, "e", "k", payload, json!({})).await;
    }
    publish(&api, "amq.default", "dead", "never died", json!({})).await;
    let reject = json!({"count": 2, "ackmode": "reject_requeue_false", "encoding": "auto"});
    api.call("POST", "queues/%2F/work/get", &reject.to_string())
        .await;
    assert_eq!(api.get("queues/%2F/dead").await["messages_ready"], 3);
    let redrive = "queues/%2F/dead/redrive";
    let dry = api
        .call("POST", redrive, r#"{"dry_run":true}"#)
        .await
        .json();
    assert_eq!(dry["queues"], json!({"work": 2}));
    assert_eq!(api.get("queues/%2F/dead").await["messages_ready"], 3);
    let none = api
        .call("POST", redrive, r#"{"reason":"expired"}"#)
        .await
        .json();
    assert_eq!(none["redriven"], 0);
    let one = api
        .call("POST", redrive, r#"{"search":"b","rate":1000}"#)
        .await
        .json();
    assert_eq!(one["redriven"], 1);
    let rest = api.call("POST", redrive, "").await.json();
    assert_eq!(
        (rest["redriven"].clone(), rest["looked_at"].clone()),
        (json!(1), json!(2))
    );
    let back = api.get("queues/%2F/work/peek").await;
    assert_eq!(back["messages"][0]["payload"], "b");
    assert_eq!(back["messages"][0]["exchange"], "e");
    assert_eq!(back["messages"][1]["routing_key"], "k");
    assert_eq!(api.get("queues/%2F/dead").await["messages_ready"], 1);
}

#[tokio::test]
async fn a_publish_is_explained() {
    let api = TestApi::new();
    let topic = r#"{"type":"topic","arguments":{"alternate-exchange":"amq.fanout"}}"#;
    api.play(&[
        ("PUT", "queues/%2F/a", "{}", 201, ""),
        ("PUT", "queues/%2F/b", "{}", 201, ""),
        ("PUT", "exchanges/%2F/t", topic, 201, ""),
        (
            "POST",
            "bindings/%2F/e/t/q/a",
            r#"{"routing_key":"x.#"}"#,
            201,
            "",
        ),
        (
            "POST",
            "bindings/%2F/e/t/e/amq.direct",
            r#"{"routing_key":"*.y"}"#,
            201,
            "",
        ),
        (
            "POST",
            "bindings/%2F/e/amq.direct/q/b",
            r#"{"routing_key":"x.y"}"#,
            201,
            "",
        ),
        ("POST", "bindings/%2F/e/amq.fanout/q/b", "{}", 201, ""),
    ])
    .await;
    let explain = "exchanges/%2F/t/explain";
    let both = api
        .call("POST", explain, r#"{"routing_key":"x.y"}"#)
        .await
        .json();
    assert_eq!(
        both["queues"][0],
        json!({"name": "a", "via": "t", "policy": null})
    );
    assert_eq!(both["queues"][1]["via"], "amq.direct");
    assert_eq!(both["bindings"].as_array().map(Vec::len), Some(3));
    assert_eq!(both["permission"]["allowed"], true);
    let lost = api
        .call("POST", explain, r#"{"routing_key":"z"}"#)
        .await
        .json();
    assert_eq!(lost["alternate_exchanges"], json!(["amq.fanout"]));
    assert_eq!(lost["queues"][0]["name"], "b");
    api.call("PUT", "users/u", r#"{"password":"u","tags":""}"#)
        .await;
    let who = r#"{"routing_key":"x","user":"u"}"#;
    let refused = api.call("POST", explain, who).await.json();
    assert_eq!(refused["permission"]["allowed"], false);
    let default = api
        .call(
            "POST",
            "exchanges/%2F/amq.default/explain",
            r#"{"routing_key":"a"}"#,
        )
        .await
        .json();
    assert_eq!(default["queues"][0]["name"], "a");
    assert_eq!(api.get("queues/%2F/a").await["messages_ready"], 0);
}
