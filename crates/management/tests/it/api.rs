//! An API over a node that keeps nothing, and calls on it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, Response};
use base64::Engine as _;
use management::{Api, Certificate, Host, HostFacts, Listening, Options, Peer};
use node::node::Node;
use node::settings::Settings;
use serde_json::Value;
use tower::ServiceExt;

/// A moment; nothing in these tests asks for a real one.
pub(crate) const NOW_MS: u64 = 1_700_000_000_000;

/// How long a refusal is held back. Short, for tests have many.
pub(crate) const REFUSED_DELAY: Duration = Duration::from_millis(1);

/// An API under test.
pub(crate) struct TestApi {
    pub(crate) node: Arc<Node>,
    pub(crate) api: Arc<Api>,
    router: Router,
    metrics: Router,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Reply {
    /// The body as JSON; null if there is none.
    pub(crate) fn json(&self) -> Value {
        if self.text.is_empty() {
            return Value::Null;
        }
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("{e}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }
}

impl TestApi {
    pub(crate) fn new() -> Self {
        Self::over(Node::in_memory(Settings::default(), NOW_MS))
    }

    pub(crate) fn over(node: Arc<Node>) -> Self {
        Self::told(node, Options::default())
    }

    /// As the configuration tells it to be.
    pub(crate) fn configured(options: Options) -> Self {
        Self::told(Node::in_memory(Settings::default(), NOW_MS), options)
    }

    fn told(node: Arc<Node>, options: Options) -> Self {
        let address = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let host = Host {
            now_ms: Box::new(|| NOW_MS),
            started_ms: NOW_MS - 5000,
            facts: Box::new(|| HostFacts {
                memory_bytes: 1000,
                processors: 2,
                ..HostFacts::default()
            }),
            listeners: vec![
                Listening {
                    protocol: "amqp",
                    address: address(5672),
                    tls: false,
                },
                Listening {
                    protocol: "http",
                    address: address(15672),
                    tls: false,
                },
                Listening {
                    protocol: "https",
                    address: address(15671),
                    tls: true,
                },
            ],
            certificates: Arc::new(|| {
                vec![Certificate {
                    protocol: "https",
                    certfile: "/c.pem".into(),
                    cacertfile: String::new(),
                    expires_at_s: (NOW_MS / 1000) as i64 + 10 * 86_400,
                    expires_on: "2023-11-24 22:13:20".into(),
                    roots_expire_on: vec!["2023-11-25 22:13:20".into()],
                    roots_expire_at_s: Some((NOW_MS / 1000) as i64 + 11 * 86_400),
                }]
            }),
            login_refused_delay: REFUSED_DELAY,
            data_dir: "/data".into(),
            config_files: vec!["/etc/rabbitmq.conf".into()],
        };
        let api = Api::new(Arc::clone(&node), host, options);
        let router = management::router(Arc::clone(&api));
        TestApi {
            node,
            router,
            metrics: management::metrics_router(Arc::clone(&api)),
            api,
        }
    }

    /// A request as it is, without credentials.
    pub(crate) async fn send(&self, mut request: Request<Body>, peer: &str) -> Reply {
        let address = peer.parse().expect("an address");
        request.extensions_mut().insert(Peer { address });
        Self::answer(self.router.clone(), request).await
    }

    /// A request to the port of the metrics.
    pub(crate) async fn metrics(&self, request: Request<Body>) -> Reply {
        Self::answer(self.metrics.clone(), request).await
    }

    async fn answer(router: Router, request: Request<Body>) -> Reply {
        let response = router.oneshot(request).await;
        let response = response.expect("routers do not fail");
        let (head, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.expect("it is in memory");
        Reply {
            status: head.status.as_u16(),
            headers: head.headers,
            text: String::from_utf8(bytes.to_vec()).expect("JSON is text"),
        }
    }

    /// A request of `user`, whose password is the same word.
    pub(crate) async fn call_as(
        &self,
        user: &str,
        method: &str,
        path: &str,
        body: impl Into<Body>,
    ) -> Reply {
        let request = request_of(user, method, path, body.into());
        self.send(request, "127.0.0.1:5000").await
    }

    /// The beginning of an answer to `user` whose body may go on for ever.
    pub(crate) async fn open(&self, user: &str, path: &str) -> Response<Body> {
        let mut request = request_of(user, "GET", path, Body::empty());
        let address = "127.0.0.1:5000".parse().expect("an address");
        request.extensions_mut().insert(Peer { address });
        let response = self.router.clone().oneshot(request).await;
        response.expect("routers do not fail")
    }

    /// A request of the administrator.
    pub(crate) async fn call(&self, method: &str, path: &str, body: &str) -> Reply {
        self.call_as("guest", method, path, body.to_owned()).await
    }

    /// The JSON of a list or an object.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let reply = self.call("GET", path, "").await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.text);
        reply.json()
    }

    /// Plays steps in their order: method, path, body, and what must come back, `""` for whatever it is.
    pub(crate) async fn play(&self, steps: &[(&str, &str, &str, u16, &str)]) {
        for (method, path, body, status, text) in steps {
            let reply = self.call(method, path, body).await;
            let at = format!("{method} {path} {body} gave {}", reply.text);
            assert_eq!(reply.status, *status, "{at}");
            if !text.is_empty() {
                let wanted: Value = serde_json::from_str(text).expect("the test writes JSON");
                assert_eq!(reply.json(), wanted, "{at}");
            }
        }
    }
}

fn request_of(user: &str, method: &str, path: &str, body: Body) -> Request<Body> {
    let login = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{user}"));
    let request = Request::builder()
        .method(method)
        .uri(format!("/api/{path}"))
        .header("authorization", format!("Basic {login}"));
    request.body(body).expect("it is well-formed")
}

/// `{"error":"bad_request","reason":REASON}`.
pub(crate) fn bad(reason: &str) -> String {
    serde_json::json!({"error": "bad_request", "reason": reason}).to_string()
}

/// RabbitMQ's words for an object that is not there.
pub(crate) const NO_OBJECT: &str = r#"{"error":"Object Not Found","reason":"Not Found"}"#;
/// RabbitMQ's words where a permission says no.
pub(crate) const REFUSED: &str = r#"{"error":"not_authorised","reason":"Access refused."}"#;
