//! The HTTP API's answers field by field against RabbitMQ 4.3's.
//!
//! The same scenario is set up in a broker of ours, and was set up in RabbitMQ when `fields/rabbitmq.txt` was
//! recorded: for each path, each field and the types of its values. What differs stands in `fields/differences.txt`
//! with its reason, and nothing else may. To record anew:
//!
//! ```sh
//! RABBITMQ_HTTP=127.0.0.1:15672 RABBITMQ_AMQP=127.0.0.1:5672 \
//!     cargo nextest run -p server --run-ignored only fields_are_recorded
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use probe::{Client, Options};
use serde_json::Value;

use crate::broker::{Broker, wait_until};
use crate::recorded;
use crate::service::{GUEST, ask};

/// What is there: method, path, body.
const SCENARIO: &[(&str, &str, &str)] = &[
    (
        "PUT",
        "vhosts/fields",
        r#"{"description":"d","tags":"a,b"}"#,
    ),
    (
        "PUT",
        "permissions/fields/guest",
        r#"{"configure":".*","write":".*","read":".*"}"#,
    ),
    (
        "PUT",
        "users/fields",
        r#"{"password":"fields","tags":"management,policymaker"}"#,
    ),
    (
        "PUT",
        "permissions/fields/fields",
        r#"{"configure":".*","write":".*","read":".*"}"#,
    ),
    (
        "PUT",
        "topic-permissions/fields/fields",
        r#"{"exchange":"amq.topic","write":".*","read":".*"}"#,
    ),
    ("PUT", "vhost-limits/fields/max-queues", r#"{"value":100}"#),
    ("PUT", "user-limits/fields/max-channels", r#"{"value":100}"#),
    (
        "PUT",
        "queues/fields/classic",
        r#"{"durable":true,"arguments":{"x-max-length":100}}"#,
    ),
    (
        "PUT",
        "queues/fields/quorum",
        r#"{"durable":true,"arguments":{"x-queue-type":"quorum"}}"#,
    ),
    (
        "PUT",
        "exchanges/fields/e",
        r#"{"type":"topic","durable":true,"arguments":{"alternate-exchange":"amq.fanout"}}"#,
    ),
    (
        "POST",
        "bindings/fields/e/e/q/classic",
        r##"{"routing_key":"#","arguments":{"a":1}}"##,
    ),
    (
        "POST",
        "bindings/fields/e/e/e/amq.direct",
        r#"{"routing_key":"k"}"#,
    ),
    (
        "PUT",
        "policies/fields/p",
        r#"{"pattern":"^c","definition":{"message-ttl":600000},"priority":1,"apply-to":"queues"}"#,
    ),
    (
        "PUT",
        "operator-policies/fields/o",
        r#"{"pattern":"^c","definition":{"max-length":50},"priority":1,"apply-to":"queues"}"#,
    ),
    ("PUT", "global-parameters/fields", r#"{"value":{"a":1}}"#),
    (
        "POST",
        "exchanges/fields/e/publish",
        r#"{"properties":{"delivery_mode":2,"headers":{"h":1}},"routing_key":"k","payload":"x","payload_encoding":"string"}"#,
    ),
];

/// What is asked. CONNECTION stands for the name of the one there is, CHANNEL for that of its channel.
const PATHS: &[&str] = &[
    "overview",
    "nodes",
    "nodes/NODE",
    "cluster-name",
    "whoami",
    "extensions",
    "feature-flags",
    "deprecated-features",
    "auth/attempts/NODE",
    "vhosts/fields",
    "vhosts/fields/permissions",
    "vhosts/fields/topic-permissions",
    "vhosts/fields/connections",
    "vhosts/fields/channels",
    "vhost-limits/fields",
    "user-limits/fields",
    "users/fields",
    "users/fields/permissions",
    "users/fields/topic-permissions",
    "permissions/fields/fields",
    "topic-permissions/fields/fields",
    "exchanges/fields",
    "exchanges/fields/e",
    "exchanges/fields/e/bindings/source",
    "queues/fields",
    "queues/fields?page=1",
    "queues/fields/classic",
    "queues/fields/quorum",
    "queues/fields/classic/bindings",
    "bindings/fields",
    "bindings/fields/e/e/q/classic",
    "connections/CONNECTION",
    "connections/CONNECTION/channels",
    "channels/CHANNEL",
    "consumers/fields",
    "policies/fields",
    "operator-policies/fields",
    "global-parameters/fields",
    "parameters",
    "definitions/fields",
    "health/checks/alarms",
    "health/checks/local-alarms",
    "health/checks/node-is-quorum-critical",
    "health/checks/port-listener/AMQP_PORT",
    "health/checks/protocol-listener/amqp",
    "health/checks/virtual-hosts",
];

/// Maps whose keys are names of the machine or of what a release knows, and not fields.
const NAMES: &[&str] = &[
    "cluster_links",
    "cluster_state",
    "metrics_gc_queue_length",
    "open_files",
];

/// Fields and the types of their values, a line each: `queues/fields [].name string`.
type Fields = BTreeSet<String>;

fn json(http: SocketAddr, path: &str) -> Value {
    let (status, body) = ask(http, "GET", &format!("/api/{path}"), GUEST, "");
    assert_eq!(status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap_or_else(|error| panic!("{path}: {error}: {body}"))
}

fn note(fields: &mut Fields, path: &str, at: &str, value: &Value) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(items) => {
            for item in items {
                note(fields, path, &format!("{at}[]"), item);
            }
            "array"
        }
        Value::Object(object) => {
            let last = at.rsplit(['.', ']']).next().unwrap_or_default();
            if !NAMES.contains(&last) {
                for (key, value) in object {
                    note(fields, path, &format!("{at}.{key}"), value);
                }
            }
            "object"
        }
    };
    fields.insert(format!("{path} {at} {kind}"));
}

/// Sets the scenario up and asks for everything.
fn gather(http: SocketAddr, amqp: SocketAddr) -> Fields {
    clear(http);
    for (method, path, body) in SCENARIO {
        let (status, text) = ask(http, method, &format!("/api/{path}"), GUEST, body);
        assert!(
            (200..300).contains(&status),
            "{method} {path}: {status} {text}"
        );
    }
    let options = Options {
        vhost: "fields".into(),
        ..Options::default()
    };
    let mut client = Client::open(amqp, &options).expect("it is served");
    client.open_channel(1);
    client.call(1, "confirm.select");
    client.call(1, "basic.qos prefetch_count=5");
    client.call(1, "basic.consume queue=classic consumer_tag=c");
    for _ in 0..3 {
        client
            .send(1, "basic.publish exchange=e routing_key=k", b"x")
            .expect("it is read from");
    }
    // RabbitMQ tells what passed only seconds later.
    let name = || -> Option<String> {
        let all = json(http, "vhosts/fields/connections");
        Some(all[0]["name"].as_str()?.to_owned())
    };
    wait_until("statistics are there", || {
        let queue = json(http, "queues/fields/classic");
        let exchange = json(http, "exchanges/fields/e");
        let counted = |stats: &Value, what: &str| stats["message_stats"][what].as_u64() > Some(0);
        name().is_some()
            && queue["messages_unacknowledged"].as_u64() > Some(0)
            && counted(&queue, "publish")
            && counted(&queue, "deliver")
            && queue["consumer_details"][0]["consumer_tag"] == "c"
            && counted(&exchange, "publish_in")
            && counted(&json(http, "vhosts/fields/channels")[0], "publish")
            && counted(&json(http, "vhosts/fields"), "publish")
            && json(http, "consumers/fields")[0]["consumer_tag"] == "c"
            && queue["storage_version"].is_number()
            && json(http, "queues/fields/quorum")["delivery_limit"].is_number()
            && json(http, "vhosts/fields/connections")[0]["recv_oct"].is_number()
            && json(http, "vhosts/fields")["recv_oct"].is_number()
    });
    let connection = name().expect("it is listed");
    let channel = format!("{connection} (1)");
    let node = json(http, "overview")["node"]
        .as_str()
        .expect("a name")
        .to_owned();
    let quoted = |name: &str| {
        name.replace(' ', "%20")
            .replace('>', "%3E")
            .replace(':', "%3A")
    };
    let mut fields = Fields::new();
    for path in PATHS {
        let asked = path
            .replace("CONNECTION", &quoted(&connection))
            .replace("CHANNEL", &quoted(&channel))
            .replace("NODE", &node)
            .replace("AMQP_PORT", &amqp.port().to_string());
        note(&mut fields, path, "", &json(http, &asked));
    }
    clear(http);
    fields
}

/// Takes the scenario away, if it is there.
fn clear(http: SocketAddr) {
    for path in ["vhosts/fields", "users/fields", "global-parameters/fields"] {
        ask(http, "DELETE", &format!("/api/{path}"), GUEST, "");
    }
}

/// Differences in words, each with the field that it is about.
fn differences(theirs: &Fields, ours: &Fields) -> BTreeMap<String, String> {
    let types = |fields: &Fields| {
        let mut types: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for line in fields {
            let (field, kind) = line.rsplit_once(' ').expect("a type is last");
            types
                .entry(field.to_owned())
                .or_default()
                .insert(kind.to_owned());
        }
        types
    };
    let (theirs, ours) = (types(theirs), types(ours));
    let mut found = BTreeMap::new();
    for field in theirs.keys().chain(ours.keys()) {
        // What is below a field that only one side has is told with it.
        let told = |other: &BTreeMap<String, _>| {
            let above = field.rfind(['.', '[']).map(|end| &field[..end]);
            above.is_some_and(|above| !above.ends_with(' ') && !other.contains_key(above))
        };
        let said = match (theirs.get(field), ours.get(field)) {
            (Some(_), None) if told(&ours) => continue,
            (None, Some(_)) if told(&theirs) => continue,
            (Some(kinds), None) => format!("RabbitMQ only: {}", joined(kinds)),
            (None, Some(kinds)) => format!("ours only: {}", joined(kinds)),
            (Some(a), Some(b)) if a == b => continue,
            (Some(a), Some(b)) => format!("RabbitMQ {}, ours {}", joined(a), joined(b)),
            (None, None) => unreachable!("it is in one of them"),
        };
        found.insert(field.clone(), said);
    }
    found
}

fn joined(kinds: &BTreeSet<String>) -> String {
    kinds
        .iter()
        .map(String::as_str)
        .collect::<Vec<_>>()
        .join("|")
}

#[test]
fn fields_are_rabbitmqs() {
    let recorded = recorded::read("fields/rabbitmq.txt");
    let theirs: Fields = recorded.lines().map(str::to_owned).collect();
    let (broker, http) = Broker::with_api();
    let ours = gather(http, broker.address);
    let found = differences(&theirs, &ours);
    recorded::judge(&found, "fields/differences.txt");
}

#[test]
#[ignore = "needs a RabbitMQ"]
fn fields_are_recorded() {
    let (http, amqp) = recorded::reference();
    let lines: Vec<String> = gather(http, amqp).into_iter().collect();
    recorded::write("fields/rabbitmq.txt", &lines);
}
