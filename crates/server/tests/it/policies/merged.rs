//! What several policies become: which one of each kind a queue or an exchange has, and the definition that results.
//!
//! A case is a set of policies for objects of its own, named after it. All are put first and looked at together,
//! for RabbitMQ tells the result only seconds later.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use crate::broker::Broker;
use crate::recorded;

use super::{call, fresh_vhost};

const RECORDING: &str = "policies/merged.txt";

const VHOST: &str = "policies-merged";

/// How long RabbitMQ's answers must stay the same until they are taken.
const RECORDED_PAUSE: Duration = Duration::from_secs(8);

/// A policy of a case: operator's or not, name, objects that it is for, priority, definition. The pattern of the
/// case goes before that of the objects.
struct Given {
    operator: bool,
    name: &'static str,
    objects: &'static str,
    apply_to: &'static str,
    priority: i64,
    definition: Value,
}

fn user(definition: Value) -> Given {
    Given {
        operator: false,
        name: "p",
        objects: "",
        apply_to: "all",
        priority: 0,
        definition,
    }
}

fn operator(definition: Value) -> Given {
    Given {
        operator: true,
        name: "o",
        ..user(definition)
    }
}

/// Settings, each with two values of which the first is the smaller, where that means something.
fn settings() -> Vec<(&'static str, Value, Value)> {
    vec![
        ("message-ttl", json!(60_000), json!(70_000)),
        ("expires", json!(600_000), json!(700_000)),
        ("max-length", json!(10), json!(20)),
        ("max-length", json!(0), json!(20)),
        ("max-length-bytes", json!(1000), json!(2000)),
        ("max-in-memory-length", json!(10), json!(20)),
        ("max-in-memory-bytes", json!(1000), json!(2000)),
        ("delivery-limit", json!(3), json!(5)),
        ("delivery-limit", json!(-1), json!(5)),
        ("overflow", json!("drop-head"), json!("reject-publish")),
        (
            "overflow",
            json!("reject-publish"),
            json!("reject-publish-dlx"),
        ),
        ("queue-version", json!(1), json!(2)),
        ("target-group-size", json!(1), json!(3)),
        ("delayed-retry-type", json!("all"), json!("failed")),
        ("delayed-retry-min", json!(1000), json!(2000)),
        ("delayed-retry-max", json!(1000), json!(2000)),
        ("dead-letter-exchange", json!("a"), json!("b")),
        ("dead-letter-routing-key", json!("a"), json!("b")),
        (
            "dead-letter-strategy",
            json!("at-most-once"),
            json!("at-least-once"),
        ),
        ("consumer-timeout", json!(100_000), json!(200_000)),
        ("queue-mode", json!("lazy"), json!("default")),
        (
            "queue-leader-locator",
            json!("client-local"),
            json!("balanced"),
        ),
        ("alternate-exchange", json!("a"), json!("b")),
        ("max-age", json!("1h"), json!("2h")),
        ("no-such-setting", json!(1), json!(2)),
        ("message-ttl", json!(-1), json!("1")),
        ("max-length", json!(1.5), json!(null)),
    ]
}

fn one(key: &str, value: &Value) -> Value {
    json!({ key: value })
}

/// Every case: the policies of each.
fn cases() -> Vec<Vec<Given>> {
    let mut all = vec![Vec::new()];
    for (key, less, more) in settings() {
        let (less, more) = (one(key, &less), one(key, &more));
        all.push(vec![user(less.clone())]);
        all.push(vec![operator(less.clone())]);
        all.push(vec![user(less.clone()), operator(more.clone())]);
        all.push(vec![user(more), operator(less)]);
    }
    // Who has the highest priority, whatever the order in which they came.
    for priorities in [[0, 1], [1, 0], [1, 1], [-1, 0], [0, 9_000_000_000]] {
        for operators in [false, true] {
            let named = |name, priority, length| Given {
                operator: operators,
                name,
                priority,
                ..user(json!({ "max-length": length }))
            };
            all.push(vec![
                named("z", priorities[0], 1),
                named("a", priorities[1], 2),
            ]);
        }
    }
    // What a policy is for.
    for apply_to in [
        "all",
        "queues",
        "classic_queues",
        "quorum_queues",
        "streams",
        "exchanges",
        "nothing",
    ] {
        for operators in [false, true] {
            let wide = Given {
                operator: operators,
                apply_to,
                priority: 1,
                ..user(json!({ "max-length": 1 }))
            };
            let other = Given {
                operator: operators,
                name: "other",
                ..user(json!({ "max-length": 2 }))
            };
            all.push(vec![wide, other]);
        }
    }
    for objects in ["classic$", "-quorum", ".*(arg|exch)", "nothing"] {
        let some = Given {
            objects,
            priority: 1,
            ..user(json!({ "max-length": 1, "message-ttl": 100_000 }))
        };
        let all_of_them = Given {
            name: "other",
            ..user(json!({ "expires": 500_000 }))
        };
        all.push(vec![
            some,
            all_of_them,
            operator(json!({ "max-length": 3 })),
        ]);
    }
    // Settings of both side by side, and those of one kind of queue among others.
    let both = json!({"max-length": 5, "overflow": "reject-publish", "dead-letter-exchange": "x"});
    all.push(vec![
        user(both.clone()),
        operator(json!({"message-ttl": 60_000, "max-length": 9})),
    ]);
    all.push(vec![
        user(both),
        operator(json!({"expires": 900_000, "delivery-limit": 4})),
    ]);
    all.push(vec![user(json!({"delivery-limit": 4, "max-length": 5}))]);
    all.push(vec![user(json!({}))]);
    all
}

fn prefix(case: usize) -> String {
    format!("c{case:03}-")
}

/// What the objects of each case are: kind, what goes before the name, body.
#[rustfmt::skip]
const OBJECTS: &[(&str, &str, &str)] = &[
    ("queues", "classic", r#"{"durable":true}"#),
    ("queues", "quorum", r#"{"durable":true,"arguments":{"x-queue-type":"quorum"}}"#),
    ("queues", "argued", r#"{"durable":true,"arguments":{"x-max-length":15,"x-message-ttl":65000,"x-overflow":"drop-head"}}"#),
    ("exchanges", "exchange", r#"{"type":"direct","durable":true}"#),
];

/// What was seen, by case and object.
type Seen = BTreeMap<String, String>;

fn set_up(http: SocketAddr, cases: &[Vec<Given>]) -> Seen {
    fresh_vhost(http, VHOST);
    let mut seen = Seen::new();
    for (case, policies) in cases.iter().enumerate() {
        let prefix = prefix(case);
        for (kind, name, body) in OBJECTS {
            let path = format!("{kind}/{VHOST}/{prefix}{name}");
            let (status, text) = call(http, "PUT", &path, body);
            assert_eq!(status, 201, "{path}: {text}");
        }
        for (at, given) in policies.iter().enumerate() {
            let kind = if given.operator {
                "operator-policies"
            } else {
                "policies"
            };
            let body = json!({
                "pattern": format!("^{prefix}{}", given.objects),
                "apply-to": given.apply_to,
                "priority": given.priority,
                "definition": given.definition,
            });
            let path = format!("{kind}/{VHOST}/{prefix}{}", given.name);
            let (status, text) = call(http, "PUT", &path, &body.to_string());
            let text = text.replace("\\n", " ");
            seen.insert(
                format!("{prefix}{at} {kind} {}", given.definition),
                format!("{status} {text}").trim_end().to_owned(),
            );
        }
    }
    seen
}

/// Which policies the objects have, and what comes of them.
fn look(http: SocketAddr) -> Seen {
    let mut seen = Seen::new();
    for kind in ["queues", "exchanges"] {
        let (status, text) = call(http, "GET", &format!("{kind}/{VHOST}"), "");
        assert_eq!(status, 200, "{text}");
        let all: Value = serde_json::from_str(&text).expect("JSON");
        for object in all.as_array().expect("a list") {
            let name = object["name"].as_str().unwrap_or_default();
            if !name.starts_with('c') {
                continue;
            }
            // What is not there and what is null or empty mean the same.
            let word = |key: &str| object[key].as_str().unwrap_or("-").to_owned();
            let effective = match &object["effective_policy_definition"] {
                Value::Object(definition) => json!(definition).to_string(),
                _ => "{}".to_owned(),
            };
            let operator = word("operator_policy");
            seen.insert(
                name.to_owned(),
                format!("policy {} operator {operator} {effective}", word("policy")),
            );
        }
    }
    seen
}

fn gather(http: SocketAddr, pause: Option<Duration>) -> Seen {
    let mut seen = set_up(http, &cases());
    let mut objects = look(http);
    if let Some(pause) = pause {
        loop {
            std::thread::park_timeout(pause);
            let now = look(http);
            if now == objects {
                break;
            }
            objects = now;
        }
    }
    seen.extend(objects);
    call(http, "DELETE", &format!("vhosts/{VHOST}"), "");
    seen
}

#[test]
fn merged_policies_are_rabbitmqs() {
    let recorded = recorded::read(RECORDING);
    let theirs: Seen = recorded
        .lines()
        .filter_map(|line| line.split_once(" => "))
        .map(|(name, said)| (name.to_owned(), said.to_owned()))
        .collect();
    let (_broker, http) = Broker::with_api();
    let ours = gather(http, None);
    assert!(500 < ours.len(), "{}", ours.len());
    recorded::judge_maps(&theirs, &ours, "policies/merged-differences.txt");
}

#[test]
#[ignore = "needs a RabbitMQ"]
fn merged_policies_are_recorded() {
    let (http, _) = recorded::reference();
    let seen = gather(http, Some(RECORDED_PAUSE));
    let lines = seen.iter().map(|(name, said)| format!("{name} => {said}"));
    recorded::write(RECORDING, &lines.collect::<Vec<_>>());
}
