//! The stream of events: what is told, to whom, and what becomes of a reader that does not read.

use axum::body::Body;
use http_body_util::BodyExt as _;
use node::events::EVENTS_WAITING_MAX;
use node::identities::NewPassword;
use serde_json::{Value, json};

use crate::api::{NOW_MS, TestApi, bad};

/// A reader of the stream.
struct Reader {
    body: Body,
    read: String,
}

impl Reader {
    /// Opens the stream as a user, who is heard from here on.
    async fn open(api: &TestApi, user: &str, query: &str) -> Reader {
        let response = api.open(user, &format!("events?{query}")).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let mut reader = Reader {
            body: response.into_body(),
            read: String::new(),
        };
        assert_eq!(reader.block().await, ": ok");
        reader
    }

    /// What is said up to an empty line.
    async fn block(&mut self) -> String {
        loop {
            if let Some((block, rest)) = self.read.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.read = rest;
                return block;
            }
            let frame = self.body.frame().await.expect("it goes on");
            let data = frame.expect("it is sound").into_data().expect("bytes");
            self.read
                .push_str(std::str::from_utf8(&data).expect("text"));
        }
    }

    /// The next event's name and data.
    async fn event(&mut self) -> (String, Value) {
        let block = self.block().await;
        let (name, data) = block.split_once('\n').expect("two lines");
        let name = name.strip_prefix("event: ").expect("a name");
        let data = data.strip_prefix("data: ").expect("data");
        (name.to_owned(), serde_json::from_str(data).expect("JSON"))
    }

    /// The next event's name, and the name of what it is about.
    async fn what(&mut self) -> (String, Value) {
        let (name, data) = self.event().await;
        let properties = &data["properties"];
        let about = ["name", "source_name", "user", "resource"].map(|field| &properties[field]);
        let about = about.into_iter().find(|about| !about.is_null());
        (name, about.cloned().unwrap_or_default())
    }
}

#[tokio::test]
async fn changes_are_told_in_their_order() {
    let api = TestApi::new();
    let mut reader = Reader::open(&api, "guest", "interval=0").await;
    for (method, path, body) in [
        ("PUT", "vhosts/v", "{}"),
        (
            "PUT",
            "users/ann",
            r#"{"password":"ann","tags":"management"}"#,
        ),
        (
            "PUT",
            "permissions/v/ann",
            r#"{"configure":"","write":"","read":".*"}"#,
        ),
        ("PUT", "queues/%2F/q", r#"{"durable":true}"#),
        // It is there already.
        ("PUT", "queues/%2F/q", r#"{"durable":true}"#),
        ("PUT", "exchanges/%2F/e", r#"{"type":"fanout"}"#),
        ("POST", "bindings/%2F/e/e/q/q", r#"{"routing_key":"k"}"#),
        (
            "PUT",
            "policies/%2F/p",
            r#"{"pattern":"q","definition":{"max-length":1}}"#,
        ),
        ("DELETE", "queues/%2F/q", ""),
        ("DELETE", "exchanges/%2F/e", ""),
        ("DELETE", "users/ann", ""),
        ("DELETE", "vhosts/v", ""),
    ] {
        let status = api.call(method, path, body).await.status;
        assert!((200..300).contains(&status), "{method} {path}: {status}");
    }
    api.node.set_alarm(node::alarms::Alarm::Memory, true);
    let mut told = Vec::new();
    while told.last() != Some(&"alarm_set memory".to_owned()) {
        let (name, about) = reader.what().await;
        told.push(format!("{name} {}", about.as_str().unwrap_or_default()));
    }
    told.retain(|event| !event.starts_with("permission_") || event.ends_with("ann"));
    assert_eq!(
        told,
        [
            "vhost_created v",
            "user_created ann",
            "permission_created ann",
            "queue_created q",
            "exchange_created e",
            "binding_created e",
            "policy_set p",
            "queue_deleted q",
            "binding_deleted e",
            "exchange_deleted e",
            "user_deleted ann",
            "vhost_deleted v",
            "alarm_set memory",
        ]
    );
}

#[tokio::test]
async fn an_event_says_what_when_and_by_whom() {
    let api = TestApi::new();
    let mut reader = Reader::open(&api, "guest", "interval=0&types=policy,queue").await;
    api.call("PUT", "exchanges/%2F/e", r#"{"type":"fanout"}"#)
        .await;
    api.call("PUT", "queues/%2F/q", r#"{"arguments":{"x-max-length":5}}"#)
        .await;
    let policy = r#"{"pattern":"q","definition":{"max-length":1}}"#;
    api.call("PUT", "policies/%2F/p", policy).await;
    assert_eq!(
        reader.event().await,
        (
            "queue_created".to_owned(),
            json!({
                "timestamp": NOW_MS,
                "user_who_performed_action": "rmq-internal",
                "properties": {
                    "name": "q", "vhost": "/", "durable": false, "exclusive": false,
                    "auto_delete": false, "arguments": {"x-max-length": 5},
                },
            })
        )
    );
    let (name, policy) = reader.event().await;
    assert_eq!(name, "policy_set");
    assert_eq!(policy["user_who_performed_action"], "guest");
}

#[tokio::test]
async fn nobody_hears_of_what_is_not_seen() {
    let api = TestApi::new();
    let identities = &api.node.identities;
    let tags = vec!["management".to_owned()];
    identities
        .add_user("ann", NewPassword::Clear(b"ann"), tags)
        .expect("added");
    let mut reader = Reader::open(&api, "ann", "interval=0").await;
    let play = async |steps: &[(&str, &str, &str)]| {
        for (method, path, body) in steps {
            let status = api.call(method, path, body).await.status;
            assert!((200..300).contains(&status), "{method} {path}: {status}");
        }
    };
    play(&[
        ("PUT", "queues/%2F/secret", "{}"),
        ("PUT", "users/bob", r#"{"password":"bob","tags":""}"#),
    ])
    .await;
    // Alarms are for everybody: whatever was before is heard by then.
    api.node.set_alarm(node::alarms::Alarm::Memory, true);
    assert_eq!(reader.what().await, ("alarm_set".into(), "memory".into()));
    play(&[
        (
            "PUT",
            "permissions/%2F/ann",
            r#"{"configure":"","write":"","read":""}"#,
        ),
        ("PUT", "queues/%2F/open", "{}"),
    ])
    .await;
    assert_eq!(reader.what().await, ("queue_created".into(), "open".into()));
    play(&[
        ("DELETE", "permissions/%2F/ann", ""),
        ("DELETE", "queues/%2F/open", ""),
    ])
    .await;
    api.node.set_alarm(node::alarms::Alarm::Disk, true);
    assert_eq!(reader.what().await, ("alarm_set".into(), "disk".into()));
}

#[tokio::test]
async fn who_does_not_read_is_told_how_much_was_missed() {
    const MADE: usize = 3 * EVENTS_WAITING_MAX;
    let api = TestApi::new();
    let mut reader = Reader::open(&api, "guest", "interval=0&types=exchange").await;
    let vhost = api.node.vhost("/").expect("it is there");
    for number in 0..MADE {
        let spec = metadata::topology::ExchangeSpec {
            name: format!("e{number}").as_str().into(),
            kind: "fanout".to_owned(),
            durable: false,
            auto_delete: false,
            internal: false,
            arguments: Default::default(),
        };
        vhost.declare_exchange(spec).expect("it is new");
    }
    let (mut told, mut missed) = (0, 0);
    loop {
        let (name, data) = reader.event().await;
        match &*name {
            "missed" => missed += data["count"].as_u64().expect("a count") as usize,
            _ => {
                told += 1;
                // The newest is what a slow reader still gets.
                if data["properties"]["name"] == format!("e{}", MADE - 1) {
                    break;
                }
            }
        }
    }
    assert!(0 < missed, "there is no room for {MADE}");
    assert_eq!(told + missed, MADE);
}

#[tokio::test]
async fn no_more_read_than_may() {
    let api = TestApi::new();
    let mut readers = Vec::new();
    for _ in 0..100 {
        readers.push(Reader::open(&api, "guest", "interval=0").await);
    }
    let refused = api.call("GET", "events", "").await;
    assert_eq!(refused.status, 503);
    assert_eq!(refused.json()["error"], "too_many_readers");
    // Whoever goes makes room, as soon as there is something to say.
    readers.pop();
    api.node.set_alarm(node::alarms::Alarm::Disk, true);
    while api.open("guest", "events").await.status() != 200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn totals_come_by_themselves() {
    let api = TestApi::new();
    api.call("PUT", "queues/%2F/q", "{}").await;
    let mut reader = Reader::open(&api, "guest", "types=totals&interval=1").await;
    for _ in 0..2 {
        let (name, totals) = reader.event().await;
        assert_eq!(name, "totals");
        assert_eq!(totals["object_totals"]["queues"], 1);
        assert_eq!(totals["queue_totals"]["messages_details"]["rate"], 0.0);
        assert!(totals["message_stats"].is_object());
    }
    let wrong = bad("interval must be a whole number from 0 to 3600");
    api.play(&[
        ("GET", "events?interval=x", "", 400, &wrong),
        ("GET", "events?interval=3601", "", 400, &wrong),
        ("GET", "events?interval=-1", "", 400, &wrong),
    ])
    .await;
}
