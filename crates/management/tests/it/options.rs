//! What the configuration says of the API is done: limits, prefixes, headers, origins, logins.

use axum::body::Body;
use axum::http::{HeaderValue, Request};
use management::{KnownHeader, MetricsOptions, Options};

use crate::api::{Reply, TestApi, bad};

/// Guest's.
const LOGIN: (&str, &str) = ("authorization", "Basic Z3Vlc3Q6Z3Vlc3Q=");

/// A request with these headers.
async fn ask(api: &TestApi, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
    api.send(request(method, path, headers), "127.0.0.1:1")
        .await
}

fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).expect("it is well-formed")
}

#[tokio::test]
async fn bodies_may_be_as_long_as_told() {
    let api = TestApi::configured(Options {
        body_bytes_max: 100,
        ..Options::default()
    });
    let padded = |length: usize| format!("{:length$}", "{}");
    let reply = api.call("PUT", "queues/%2F/q", &padded(100)).await;
    assert_eq!(reply.status, 201, "{}", reply.text);
    let reply = api.call("PUT", "queues/%2F/q", &padded(101)).await;
    assert_eq!(
        (reply.status, reply.text),
        (400, bad("Exceeded HTTP request body size limit"))
    );
    // RabbitMQ's default.
    assert_eq!(Options::default().body_bytes_max, 10_000_000);
}

#[tokio::test]
async fn paths_have_their_prefix() {
    let api = TestApi::configured(Options {
        path_prefix: "/a/b".into(),
        ..Options::default()
    });
    for (path, status) in [
        ("/a/b/api/whoami", 200),
        ("/a/b/api/queues/%2F", 200),
        ("/api/whoami", 404),
        ("/a/api/whoami", 404),
    ] {
        let reply = ask(&api, "GET", path, &[LOGIN]).await;
        assert_eq!(reply.status, status, "{path}");
    }
    let described = ask(&api, "GET", "/a/b/api/openapi.json", &[LOGIN]).await;
    assert_eq!(described.json()["servers"][0]["url"], "/a/b");
}

#[tokio::test]
async fn pages_of_known_origins_may_use_the_api() {
    let named = ["http://a", "http://b:8080"].map(str::to_owned).to_vec();
    let anybody = vec!["*".to_owned(), "http://a".to_owned()];
    for (origins, origin, expected, credentials) in [
        (&named, "http://a", "http://a", "true"),
        (&named, "http://b:8080", "http://b:8080", "true"),
        (&named, "http://b", "", ""),
        (&named, "null", "", ""),
        (&named, "*", "", ""),
        (&anybody, "http://c", "*", ""),
        (&anybody, "http://a", "http://a", "true"),
        (&anybody, "null", "", ""),
        (&Vec::new(), "http://a", "", ""),
    ] {
        let api = TestApi::configured(Options {
            cors_origins: origins.clone(),
            cors_age_max_s: 7,
            ..Options::default()
        });
        let at = format!("{origins:?} {origin}");
        let reply = ask(&api, "GET", "/api/whoami", &[LOGIN, ("origin", origin)]).await;
        assert_eq!(reply.status, 200, "{at}");
        let header = |name| reply.header(name);
        assert_eq!(header("access-control-allow-origin"), expected, "{at}");
        assert_eq!(
            header("access-control-allow-credentials"),
            credentials,
            "{at}"
        );
        assert_eq!(header("access-control-max-age"), "", "{at}");

        // A browser asks before it logs in.
        let question = [
            ("origin", origin),
            ("access-control-request-headers", "authorization"),
        ];
        let reply = ask(&api, "OPTIONS", "/api/queues/a/b", &question).await;
        assert_eq!(reply.status, 200, "{at}");
        let answered = [
            ("access-control-allow-origin", expected),
            (
                "access-control-allow-methods",
                "HEAD, GET, PUT, DELETE, OPTIONS",
            ),
            ("access-control-max-age", "7"),
            ("access-control-allow-headers", "authorization"),
        ];
        for (name, value) in answered {
            let value = if expected.is_empty() { "" } else { value };
            assert_eq!(reply.header(name), value, "{at}");
        }
    }
}

#[tokio::test]
async fn answers_have_the_headers_that_are_wanted() {
    use KnownHeader as K;
    let all = [
        (K::ContentSecurityPolicy, "content-security-policy"),
        (K::StrictTransportSecurity, "strict-transport-security"),
        (K::ContentTypeOptions, "x-content-type-options"),
        (K::XssProtection, "x-xss-protection"),
        (K::FrameOptions, "x-frame-options"),
        (K::ReferrerPolicy, "referrer-policy"),
    ];
    let headers = all.map(|(known, name)| {
        let value = HeaderValue::from_str(&format!("of {name}"));
        (known, value.expect("it is text"))
    });
    let api = TestApi::configured(Options {
        headers: headers.into(),
        ..Options::default()
    });
    // Refusals, too.
    for credentials in [&[LOGIN][..], &[]] {
        let reply = ask(&api, "GET", "/api/whoami", credentials).await;
        for (_, name) in all {
            assert_eq!(reply.header(name), format!("of {name}"));
        }
    }
    let reply = TestApi::new().call("GET", "whoami", "").await;
    assert_eq!(
        reply.header("content-security-policy"),
        "script-src 'self'; object-src 'self'"
    );
    assert_eq!(reply.header("strict-transport-security"), "");
}

#[tokio::test]
async fn methods_are_told_only_to_who_got_them_wrong() {
    let api = TestApi::configured(Options {
        hide_allow: true,
        ..Options::default()
    });
    for (method, status, allow) in [
        ("GET", 200, ""),
        ("OPTIONS", 200, ""),
        ("PUT", 405, "HEAD, GET, OPTIONS"),
    ] {
        let reply = ask(&api, method, "/api/whoami", &[LOGIN]).await;
        assert_eq!((reply.status, reply.header("allow")), (status, allow));
    }
}

#[tokio::test]
async fn passwords_may_be_refused_altogether() {
    let api = TestApi::configured(Options {
        basic_auth_disabled: true,
        ..Options::default()
    });
    let refused =
        |why: &str| serde_json::json!({"error": "not_authorised", "reason": why}).to_string();
    for (headers, why) in [
        (&[LOGIN][..], "HTTP access denied: basic auth disabled"),
        (&[], "HTTP access denied: no credentials"),
    ] {
        let reply = ask(&api, "GET", "/api/whoami", headers).await;
        assert_eq!((reply.status, &*reply.text), (401, &*refused(why)));
        assert_eq!(reply.header("www-authenticate"), "");
    }
    // A token is looked at; this one is none.
    let reply = ask(&api, "GET", "/api/whoami", &[("authorization", "Bearer x")]).await;
    assert_eq!(
        reply.text,
        r#"{"error":"not_authorized","reason":"Not_Authorized"}"#
    );
}

#[tokio::test]
async fn operator_policies_may_be_left_to_the_command_line() {
    let api = TestApi::configured(Options {
        operator_policies_locked: true,
        login_session_timeout_min: Some(9),
        ..Options::default()
    });
    let reason = "Broker settings disallow editing of operator policies.";
    let refused = serde_json::json!({"error": "method_not_allowed", "reason": reason}).to_string();
    let policy = r#"{"pattern":"","definition":{"max-length":1}}"#;
    let path = "operator-policies/%2F/p";
    api.play(&[
        ("PUT", path, policy, 405, &refused),
        ("GET", path, "", 405, &refused),
        ("DELETE", path, "", 405, &refused),
        ("GET", "operator-policies", "", 200, "[]"),
        ("PUT", "policies/%2F/p", policy, 201, ""),
    ])
    .await;
    let nodes = api.get("nodes").await;
    let files = serde_json::json!(["/etc/rabbitmq.conf"]);
    assert_eq!(nodes[0]["config_files"], files);
    let overview = api.get("overview").await;
    assert_eq!(overview["is_op_policy_updating_enabled"], false);
    assert_eq!(api.get("whoami").await["login_session_timeout"], 9);
    let open = TestApi::new();
    assert_eq!(
        open.get("overview").await["is_op_policy_updating_enabled"],
        true
    );
    assert!(
        open.get("whoami")
            .await
            .get("login_session_timeout")
            .is_none()
    );
}

#[tokio::test]
async fn metrics_are_where_and_for_whom_they_are_said_to_be() {
    let told = |path: &str, per_object, login_needed| {
        TestApi::configured(Options {
            metrics: MetricsOptions {
                path: path.into(),
                per_object,
                login_needed,
            },
            ..Options::default()
        })
    };
    let api = told("/here/m", true, false);
    api.call("PUT", "queues/%2F/q", "{}").await;
    let line = "rabbitmq_queue_messages_ready{vhost=\"/\",queue=\"q\"} 0";
    for (path, status) in [
        ("/here/m", 200),
        ("/here/m/per-object", 200),
        ("/here/m/detailed", 200),
        ("/metrics", 404),
        ("/here/m/nope", 404),
    ] {
        let reply = api.metrics(request("GET", path, &[])).await;
        assert_eq!(reply.status, status, "{path}");
        let each = status == 200 && !path.ends_with("detailed");
        assert_eq!(reply.text.contains(line), each, "{path} {}", reply.text);
    }
    let unknown = api.metrics(request("GET", "/here/m/nope", &[])).await;
    assert_eq!(unknown.text, "Unknown Registry");

    let top = told("", false, false);
    for path in ["/", "/per-object"] {
        assert_eq!(top.metrics(request("GET", path, &[])).await.status, 200);
    }

    let guarded = told("/metrics", false, true);
    let reply = guarded.metrics(request("GET", "/metrics", &[])).await;
    assert_eq!(reply.status, 401);
    assert_eq!(
        reply.header("www-authenticate"),
        "Basic realm=\"RabbitMQ Prometheus\""
    );
    guarded
        .call("PUT", "users/m", r#"{"password":"m","tags":"management"}"#)
        .await;
    for (login, status) in [("Basic bTpt", 401), ("Basic eDp5", 401)] {
        let headers = [("authorization", login)];
        let reply = guarded.metrics(request("GET", "/metrics", &headers)).await;
        assert_eq!(reply.status, status, "{login}");
    }
    guarded
        .call("PUT", "users/m", r#"{"password":"m","tags":"monitoring"}"#)
        .await;
    let headers = [("authorization", "Basic bTpt")];
    let mut allowed = request("GET", "/metrics", &headers);
    let address = "127.0.0.1:1".parse().expect("an address");
    allowed
        .extensions_mut()
        .insert(management::Peer { address });
    let reply = guarded.metrics(allowed).await;
    assert_eq!(reply.status, 200);
    assert!(reply.text.contains("rabbitmq_build_info"));
}

/// What the real one answered to each; Go's client asks for `connections/`.
#[tokio::test]
async fn a_slash_at_the_end_changes_nothing() {
    let api = TestApi::new();
    for (path, status) in [
        ("connections/", 200),
        ("overview/", 200),
        ("queues/%2F/", 200),
        ("queues//", 404),
        ("queues/%2F//", 404),
        ("connections//", 404),
    ] {
        assert_eq!(api.call("GET", path, "").await.status, status, "{path}");
    }
    for (path, status) in [
        ("/metrics/", 200),
        ("/metrics/per-object/", 200),
        ("/metrics//", 404),
    ] {
        let reply = api.metrics(request("GET", path, &[])).await;
        assert_eq!(reply.status, status, "{path}");
    }
}
