//! Who is let in, and what each tag may do.

use axum::body::Body;
use axum::http::Request;
use node::identities::NewPassword;

use crate::api::{NO_OBJECT, REFUSED_DELAY, TestApi};

fn anonymous(method: &str, path: &str) -> Request<Body> {
    let builder = Request::builder().method(method).uri(path);
    builder.body(Body::empty()).expect("it is well-formed")
}

#[tokio::test]
async fn nobody_is_let_in_without_credentials() {
    let api = TestApi::new();
    let reply = api
        .send(anonymous("GET", "/api/overview"), "127.0.0.1:1")
        .await;
    assert_eq!((reply.status, &*reply.text), (401, ""));
    assert_eq!(
        reply.header("www-authenticate"),
        "Basic realm=\"RabbitMQ Management\""
    );
    for header in ["Basic eDp5", "Basic !", "Bearer x", "x"] {
        let mut request = anonymous("GET", "/api/overview");
        let value = header.parse().expect("a header");
        request.headers_mut().insert("authorization", value);
        let reply = api.send(request, "127.0.0.1:1").await;
        assert_eq!(reply.status, 401, "{header}");
        assert_eq!(
            reply.text,
            r#"{"error":"not_authorized","reason":"Not_Authorized"}"#
        );
    }
}

#[tokio::test]
async fn guest_is_only_let_in_from_this_machine() {
    let api = TestApi::new();
    let request = || {
        let mut request = anonymous("GET", "/api/whoami");
        let value = "Basic Z3Vlc3Q6Z3Vlc3Q=".parse().expect("a header");
        request.headers_mut().insert("authorization", value);
        request
    };
    for (peer, status) in [
        ("127.0.0.1:1", 200),
        ("[::1]:1", 200),
        ("[::ffff:127.0.0.1]:1", 200),
        ("10.0.0.1:1", 401),
    ] {
        assert_eq!(api.send(request(), peer).await.status, status, "{peer}");
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_are_told_before_credentials_are_asked_for() {
    let api = TestApi::new();
    let reply = api.send(anonymous("GET", "/api/nope"), "127.0.0.1:1").await;
    assert_eq!((reply.status, &*reply.text), (404, NO_OBJECT));
    let reply = api
        .send(anonymous("PUT", "/api/overview"), "127.0.0.1:1")
        .await;
    assert_eq!((reply.status, &*reply.text), (405, ""));
    assert_eq!(reply.header("allow"), "HEAD, GET, OPTIONS");
    let reply = api
        .send(anonymous("OPTIONS", "/api/queues/a/b"), "127.0.0.1:1")
        .await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("allow"), "HEAD, GET, PUT, DELETE, OPTIONS");
}

/// Statuses that RabbitMQ 4.3 gave each tag: without permissions in the vhost, and with empty ones.
#[tokio::test]
async fn each_tag_sees_and_does_what_rabbitmq_lets_it() {
    const TAGS: [&str; 5] = [
        "administrator",
        "monitoring",
        "policymaker",
        "management",
        "none",
    ];
    #[rustfmt::skip]
    let cases: &[(&str, &str, &str, [u16; 5])] = &[
        ("GET", "whoami", "", [200, 200, 200, 200, 401]),
        ("GET", "overview", "", [200, 200, 200, 200, 401]),
        ("GET", "queues", "", [200, 200, 200, 200, 401]),
        ("GET", "queues/v", "", [200, 404, 404, 404, 401]),
        ("GET", "queues/v/q", "", [200, 404, 404, 404, 401]),
        ("PUT", "queues/v/q9", "{}", [401, 404, 404, 404, 401]),
        ("DELETE", "queues/v/q9", "", [404, 404, 404, 404, 401]),
        ("GET", "exchanges/v/amq.direct", "", [200, 404, 404, 404, 401]),
        ("POST", "queues/v/q/get", r#"{"count":1,"ackmode":"ack_requeue_true","encoding":"auto"}"#, [401, 404, 404, 404, 401]),
        ("DELETE", "queues/v/q/contents", "", [401, 404, 404, 404, 401]),
        ("GET", "bindings/v", "", [200, 404, 404, 404, 401]),
        ("POST", "bindings/v/e/amq.direct/q/q", "{}", [401, 404, 404, 404, 401]),
        ("GET", "connections", "", [200, 200, 200, 200, 401]),
        ("GET", "consumers/v", "", [200, 200, 404, 404, 401]),
        ("GET", "vhosts/v/channels", "", [200, 404, 404, 404, 401]),
        ("GET", "vhost-limits/v", "", [200, 200, 404, 404, 401]),
        ("GET", "operator-policies/v/p", "", [404, 401, 401, 401, 401]),
        ("POST", "queues/v/q/actions", r#"{"action":"sync"}"#, [400, 401, 401, 401, 401]),
        ("GET", "health/checks/quorum-queues-without-elected-leaders/vhost/v", "", [200, 200, 404, 404, 401]),
        ("GET", "health/checks/ready-to-serve-clients", "", [200, 200, 200, 200, 200]),
        ("GET", "vhosts", "", [200, 200, 200, 200, 401]),
        ("GET", "vhosts/v", "", [200, 401, 401, 401, 401]),
        ("GET", "vhosts/v/connections", "", [200, 404, 404, 404, 401]),
        ("GET", "vhosts/v/permissions", "", [200, 401, 401, 401, 401]),
        ("GET", "users", "", [200, 401, 401, 401, 401]),
        ("GET", "users/guest", "", [200, 401, 401, 401, 401]),
        ("GET", "permissions", "", [200, 401, 401, 401, 401]),
        ("GET", "nodes", "", [200, 200, 401, 401, 401]),
        ("GET", "nodes/leveret@localhost/memory", "", [200, 200, 401, 401, 401]),
        ("PUT", "cluster-name", r#"{"name":"leveret@localhost"}"#, [204, 401, 401, 401, 401]),
        ("POST", "rebalance/queues", "", [204, 401, 401, 401, 401]),
        ("GET", "feature-flags", "", [200, 200, 200, 200, 401]),
        ("GET", "auth/attempts/leveret@localhost", "", [200, 200, 401, 401, 401]),
        ("DELETE", "auth/attempts/leveret@localhost", "", [204, 401, 401, 401, 401]),
        ("GET", "auth/hash_password/x", "", [200, 401, 401, 401, 401]),
        ("GET", "connections/username/guest", "", [200, 200, 401, 401, 401]),
        ("GET", "health/checks/alarms", "", [200, 200, 200, 200, 401]),
        ("GET", "aliveness-test/v", "", [401, 404, 404, 404, 401]),
        ("GET", "config/effective", "", [200, 401, 401, 401, 401]),
        ("POST", "vhosts/v/deletion/protection", "", [204, 401, 401, 401, 401]),
        ("DELETE", "vhosts/v/deletion/protection", "", [204, 401, 401, 401, 401]),
    ];
    let api = TestApi::new();
    api.call("PUT", "vhosts/v", "").await;
    api.call("PUT", "queues/v/q", "{}").await;
    for tag in TAGS {
        let tags = match tag {
            "none" => vec![],
            tag => vec![tag.to_owned()],
        };
        let added = api
            .node
            .identities
            .add_user(tag, NewPassword::Clear(tag.as_bytes()), tags);
        added.expect("the name is free");
    }
    for (method, path, body, statuses) in cases {
        for (tag, status) in TAGS.iter().zip(statuses) {
            let reply = api.call_as(tag, method, path, body.to_string()).await;
            assert_eq!(
                reply.status, *status,
                "{tag} {method} {path}: {}",
                reply.text
            );
        }
    }
    // Without any right on anything, who may enter the vhost sees it and changes nothing.
    for tag in &TAGS[..4] {
        let path = format!("permissions/v/{tag}");
        let none = r#"{"configure":"^$","write":"^$","read":"^$"}"#;
        api.call("PUT", &path, none).await;
        for (method, path, status) in [
            ("GET", "queues/v/q", 200),
            ("PUT", "queues/v/q9", 401),
            ("DELETE", "queues/v/q", 401),
            ("DELETE", "queues/v/q/contents", 401),
            ("GET", "aliveness-test/v", 200),
        ] {
            let reply = api.call_as(tag, method, path, Body::empty()).await;
            assert_eq!(
                reply.status, status,
                "{tag} {method} {path}: {}",
                reply.text
            );
        }
    }
}

#[tokio::test]
async fn a_body_without_end_is_refused() {
    let api = TestApi::new();
    let endless = Body::from(vec![b' '; 20_000_001]);
    let reply = api.call_as("guest", "PUT", "vhosts/v", endless).await;
    assert_eq!(reply.status, 400);
    assert!(reply.text.contains("Exceeded HTTP request body size limit"));
}

#[tokio::test]
#[allow(
    clippy::disallowed_methods,
    reason = "a delay is what is tested, and only that it is not shorter"
)]
async fn logins_are_counted() {
    let api = TestApi::new();
    let asked = std::time::Instant::now();
    api.call_as("nobody", "GET", "whoami", "").await;
    assert!(REFUSED_DELAY <= asked.elapsed(), "a refusal is held back");
    let attempts = api.get("auth/attempts/leveret@localhost").await;
    assert_eq!(attempts[0]["protocol"], "http");
    assert_eq!(attempts[0]["auth_attempts_failed"], 1);
    assert_eq!(attempts[0]["auth_attempts_succeeded"], 1);
    assert_eq!(attempts[0]["auth_attempts"], 2);
    assert_eq!(attempts[1]["protocol"], "amqp091");
    let by_source = "auth/attempts/leveret@localhost/source";
    assert_eq!(api.get(by_source).await, serde_json::json!([]));
    api.node.attempts.track_sources(true);
    api.call_as("nobody", "GET", "whoami", "").await;
    let sources = api.get(by_source).await;
    let expected = serde_json::json!({
        "remote_address": "127.0.0.1", "username": "nobody", "protocol": "http",
        "auth_attempts": 1, "auth_attempts_failed": 1, "auth_attempts_succeeded": 0,
    });
    assert!(
        sources
            .as_array()
            .is_some_and(|all| all.contains(&expected)),
        "{sources}"
    );
    let reply = api
        .call("DELETE", "auth/attempts/leveret@localhost", "")
        .await;
    assert_eq!(reply.status, 204);
    // The question itself is the first to be counted again.
    let attempts = api.get("auth/attempts/leveret@localhost").await;
    assert_eq!(attempts[0]["auth_attempts"], 1);
}
