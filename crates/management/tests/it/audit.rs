//! Every request that may change something leaves a line in the audit log: who, from where, what, and how it ended.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::Request;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::api::TestApi;

/// Nobody else in this program comes from there.
const PEER: &str = "127.0.0.9:4711";

type Fields = BTreeMap<&'static str, String>;

/// Keeps the fields of audit's events.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Fields>>>);

struct Reader(Fields);

impl Visit for Reader {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "audit"
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut reader = Reader(Fields::new());
        event.record(&mut reader);
        self.0.lock().expect("no panic").push(reader.0);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

impl Log {
    /// What was told since the last look, of requests from here.
    fn take(&self) -> Vec<Fields> {
        let mut all = std::mem::take(&mut *self.0.lock().expect("no panic"));
        all.retain(|fields| fields.get("peer").is_some_and(|peer| peer == PEER));
        all
    }
}

/// A path with something in place of its parameters.
fn filled(path: &str) -> String {
    let words = path.split('/').map(|word| match word {
        "{vhost}" => "%2F",
        "{user}" | "{username}" => "somebody",
        word if word.starts_with('{') => "something",
        word => word,
    });
    words.collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn every_route_that_may_change_something_is_told_of() {
    let log = Log::default();
    tracing::subscriber::set_global_default(log.clone()).expect("it is the only one");
    let api = TestApi::new();
    let description = api.get("openapi.json").await;
    let paths = description["paths"].as_object().expect("paths");
    let mut told = 0;
    for (path, operations) in paths {
        for method in operations.as_object().expect("operations").keys() {
            if matches!(method.as_str(), "get" | "head" | "options" | "parameters") {
                continue;
            }
            let method = method.to_uppercase();
            let path = filled(path);
            let request = Request::builder()
                .method(method.as_str())
                .uri(&path)
                .header("authorization", "Basic Z3Vlc3Q6Z3Vlc3Q=")
                .body(Body::from(r#"{"password":"hunter2","payload":"hunter2"}"#))
                .expect("it is well-formed");
            let status = api.send(request, PEER).await.status;
            let lines = log.take();
            let [line] = &lines[..] else {
                panic!("{method} {path} ({status}): {lines:?}");
            };
            assert_eq!(line["user"], "guest", "{method} {path}");
            assert_eq!(line["from"], "HTTP API", "{method} {path}");
            assert_eq!((&line["method"], &line["path"]), (&method, &path));
            assert!(!line["verb"].is_empty(), "{method} {path}");
            let refused = 400 <= status;
            assert_eq!(
                line["outcome"] != "done",
                refused,
                "{method} {path}: {line:?}"
            );
            assert!(!format!("{line:?}").contains("hunter2"), "{line:?}");
            told += 1;
        }
    }
    assert!(50 < told, "{told} routes change something");
    let read = Request::builder()
        .uri("/api/overview")
        .header("authorization", "Basic Z3Vlc3Q6Z3Vlc3Q=")
        .body(Body::empty());
    api.send(read.expect("it is well-formed"), PEER).await;
    assert!(log.take().is_empty(), "reading is nobody's business");
}
