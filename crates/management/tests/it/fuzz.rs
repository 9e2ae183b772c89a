//! Requests made at random from the OpenAPI description: right ones, wrong types, huge numbers, deep nesting, long
//! names, bytes that are no UTF-8. None may give a 500, and each must be answered.
//!
//! `FUZZ_REQUESTS` says how many, and `FUZZ_SEED` plays a run again. The long run:
//!
//! ```sh
//! FUZZ_REQUESTS=1000000 FUZZ_SEED=$RANDOM cargo nextest run -p management no_request_gives_a_500
//! ```

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Map, Value, json};

use crate::api::TestApi;

/// How long one answer may take. An hour on a machine that does nothing else would not be enough for a hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// Names that exist, so that requests go further than to the look-up.
const KNOWN: &[&str] = &[
    "/",
    "v",
    "q",
    "quorum",
    "e",
    "p",
    "guest",
    "amq.topic",
    "amq.default",
    "k",
    "~",
    "none",
    "limits",
    "vhost-limits",
    "policy",
    "operator_policy",
    "max-queues",
    "max-connections",
    "leveret@localhost",
    "amqp",
    "5672",
    "1",
    "weeks",
    "days",
];

/// Words that handlers know.
const WORDS: &[&str] = &[
    "administrator",
    "queues",
    "exchanges",
    "all",
    "classic",
    "quorum",
    "stream",
    "direct",
    "topic",
    "headers",
    "fanout",
    "x-consistent-hash",
    "auto",
    "base64",
    "string",
    "ack_requeue_true",
    "ack_requeue_false",
    "reject_requeue_true",
    "sync",
    "cancel_sync",
    "drop-head",
    "reject-publish",
    "^a",
    "(",
    "[a-",
    "true",
    "false",
    "rabbit_password_hashing_sha256",
    "name",
    "message_stats.publish",
    "arguments.x",
    "..",
    "-1",
    "0",
    "1.5",
];

/// Keys of bodies, and of the tables in them, beside those that the description names.
const KEYS: &[&str] = &[
    "vhost",
    "name",
    "durable",
    "auto_delete",
    "arguments",
    "x-message-ttl",
    "x-expires",
    "x-max-length",
    "x-max-priority",
    "x-queue-type",
    "x-overflow",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-single-active-consumer",
    "x-delivery-limit",
    "x-match",
    "alternate-exchange",
    "message-ttl",
    "max-length",
    "max-length-bytes",
    "expires",
    "overflow",
    "dead-letter-exchange",
    "delivery-limit",
    "priority",
    "pattern",
    "definition",
    "apply-to",
    "headers",
    "delivery_mode",
    "expiration",
    "timestamp",
    "CC",
    "BCC",
    "users",
    "vhosts",
    "permissions",
    "topic_permissions",
    "parameters",
    "global_parameters",
    "policies",
    "queues",
    "exchanges",
    "bindings",
    "limits",
    "metadata",
    "password_hash",
    "hashing_algorithm",
    "tags",
    "source",
    "destination",
    "destination_type",
    "routing_key",
    "component",
    "value",
    "rabbit_version",
    "rabbitmq_version",
];

/// One operation of the description.
struct Operation {
    method: String,
    path: String,
    query: Vec<String>,
    /// Fields of the body and their types; `None` where there is no body.
    body: Option<Vec<(String, String)>>,
}

fn operations(description: &Value) -> Vec<Operation> {
    let mut all = Vec::new();
    for (path, operations) in description["paths"].as_object().expect("paths") {
        for (method, operation) in operations.as_object().expect("operations") {
            let parameters = operation["parameters"].as_array().expect("a list");
            let query = parameters.iter().filter(|p| p["in"] == "query");
            let query = query.filter_map(|p| p["name"].as_str());
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
            let fields = schema["properties"].as_object();
            let body = fields.map(|fields| {
                let kind = |schema: &Value| schema["type"].as_str().unwrap_or("").to_owned();
                let fields = fields.iter();
                fields
                    .map(|(name, schema)| (name.clone(), kind(schema)))
                    .collect()
            });
            all.push(Operation {
                method: method.to_uppercase(),
                path: path.clone(),
                query: query.map(str::to_owned).collect(),
                body,
            });
        }
    }
    // Events go on for ever; they have tests of their own.
    all.retain(|operation| operation.path != "/api/events");
    all
}

/// Draws everything.
struct Dice(SmallRng);

impl Dice {
    /// Once in `n` times.
    fn once_in(&mut self, n: u32) -> bool {
        self.0.random_ratio(1, n)
    }

    fn word(&mut self) -> String {
        let from = [KNOWN, WORDS, KEYS].choose(&mut self.0).expect("three");
        (*from.choose(&mut self.0).expect("words")).to_owned()
    }

    /// Any text: a known one mostly.
    fn text(&mut self) -> String {
        match self.0.random_range(0..12) {
            0 => String::new(),
            1 => "x".repeat(self.0.random_range(250..260)),
            2 => "é".repeat(self.0.random_range(120..70_000)),
            3 => {
                let length = self.0.random_range(0..12);
                (0..length).map(|_| self.0.random::<char>()).collect()
            }
            4 => "\0\r\n\u{202e}'\"\\{}[]%2F<>&;$(x)".to_owned(),
            5 => "9".repeat(self.0.random_range(1..40)),
            _ => self.word(),
        }
    }

    fn number(&mut self) -> Value {
        match self.0.random_range(0..9) {
            0 => json!(0),
            1 => json!(-1),
            2 => json!(u64::MAX),
            3 => json!(i64::MIN),
            4 => json!(1e308),
            5 => json!(0.5),
            6 => json!(1_u64 << self.0.random_range(0..64)),
            7 => json!(-(1_i64 << self.0.random_range(0..63))),
            _ => json!(self.0.random_range(0..100)),
        }
    }

    fn value(&mut self, depth: u32) -> Value {
        let kinds = if depth == 0 { 5 } else { 8 };
        match self.0.random_range(0..kinds) {
            0 => Value::Null,
            1 => json!(self.0.random::<bool>()),
            2 => self.number(),
            3 | 4 => json!(self.text()),
            5 => {
                let length = self.0.random_range(0..4);
                (0..length).map(|_| self.value(depth - 1)).collect()
            }
            _ => Value::Object(self.object(depth - 1)),
        }
    }

    fn object(&mut self, depth: u32) -> Map<String, Value> {
        let length = self.0.random_range(0..5);
        let pairs = (0..length).map(|_| {
            let key = if self.once_in(8) {
                self.text()
            } else {
                (*KEYS.choose(&mut self.0).expect("keys")).to_owned()
            };
            (key, self.value(depth))
        });
        pairs.collect()
    }

    /// A value of a type, or once in a while of another.
    fn typed(&mut self, kind: &str) -> Value {
        if self.once_in(6) {
            return self.value(3);
        }
        match kind {
            "string" => json!(self.text()),
            "integer" => self.number(),
            "boolean" => json!(self.0.random::<bool>()),
            "object" => Value::Object(self.object(3)),
            "array" => {
                let length = self.0.random_range(0..4);
                (0..length).map(|_| self.value(2)).collect()
            }
            _ => self.value(3),
        }
    }

    fn body(&mut self, fields: &[(String, String)]) -> Vec<u8> {
        match self.0.random_range(0..24) {
            0 => return Vec::new(),
            1 => return serde_json::to_vec(&self.value(3)).expect("JSON"),
            2 => {
                let depth = self.0.random_range(1..100_000);
                let open = *[b'[', b'{'].choose(&mut self.0).expect("two");
                return vec![open; depth];
            }
            3 => {
                let depth = self.0.random_range(1..2000);
                let nested = format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
                return format!(r#"{{"arguments":{nested},"value":{nested}}}"#).into_bytes();
            }
            _ => {}
        }
        let mut object = self.object(2);
        for (name, kind) in fields {
            if !self.once_in(8) {
                object.insert(name.clone(), self.typed(kind));
            }
        }
        let mut bytes = serde_json::to_vec(&object).expect("JSON");
        if self.once_in(10) && !bytes.is_empty() {
            let at = self.0.random_range(0..bytes.len());
            match self.0.random_range(0..3) {
                0 => bytes.truncate(at),
                1 => bytes[at] = self.0.random(),
                _ => bytes.insert(at, 0xff),
            }
        }
        bytes
    }

    fn segment(&mut self) -> String {
        let text = match self.0.random_range(0..10) {
            0 => return "%ff%fe".to_owned(),
            1 => return "%".to_owned(),
            2 => self.text(),
            _ => (*KNOWN.choose(&mut self.0).expect("names")).to_owned(),
        };
        // What is longer than a request's head never comes so far.
        text.bytes()
            .take(2000)
            .map(|byte| format!("%{byte:02X}"))
            .collect()
    }

    fn target(&mut self, operation: &Operation) -> String {
        let segments = operation.path.split('/').map(|segment| {
            let is_parameter = segment.starts_with('{');
            match is_parameter {
                true => self.segment(),
                false => segment.to_owned(),
            }
        });
        let mut target = segments.collect::<Vec<_>>().join("/");
        let mut pairs = Vec::new();
        for name in &operation.query {
            if self.once_in(3) {
                pairs.push(format!("{name}={}", self.segment()));
            }
        }
        if self.once_in(20) {
            pairs.push(format!("{}={}", self.segment(), self.segment()));
        }
        if !pairs.is_empty() {
            target = format!("{target}?{}", pairs.join("&"));
        }
        target
    }
}

fn number_of(name: &str, default: u64) -> u64 {
    let text = std::env::var(name).ok();
    text.map_or(default, |text| text.parse().expect("a number"))
}

/// What names stand for in [`KNOWN`].
async fn set_up(api: &TestApi) {
    for (method, path, body) in [
        ("PUT", "vhosts/v", "{}"),
        (
            "PUT",
            "permissions/v/fuzz",
            r#"{"configure":".*","write":".*","read":".*"}"#,
        ),
        ("PUT", "queues/v/q", r#"{"durable":true}"#),
        (
            "PUT",
            "queues/v/quorum",
            r#"{"durable":true,"arguments":{"x-queue-type":"quorum"}}"#,
        ),
        ("PUT", "exchanges/v/e", r#"{"type":"topic"}"#),
        ("POST", "bindings/v/e/e/q/q", r#"{"routing_key":"k"}"#),
        (
            "PUT",
            "policies/v/p",
            r#"{"pattern":"^q","definition":{"max-length":100}}"#,
        ),
    ] {
        // A name of too much may be gone, or be something else by now.
        api.call_as("fuzz", method, path, body.to_owned()).await;
    }
}

/// Who asks, put back when a request was about just this name.
async fn admit(api: &TestApi) {
    let password = node::identities::NewPassword::Clear(b"fuzz");
    if api.node.identities.user("fuzz").is_none() {
        let added =
            api.node
                .identities
                .add_user("fuzz", password, vec!["administrator".to_owned()]);
        added.expect("the name is free");
    }
    for path in ["permissions/v/fuzz", "permissions/%2F/fuzz"] {
        let all = r#"{"configure":".*","write":".*","read":".*"}"#;
        api.call_as("fuzz", "PUT", path, all.to_owned()).await;
    }
}

#[tokio::test]
async fn no_request_gives_a_500() {
    let (count, seed) = (
        number_of("FUZZ_REQUESTS", 4000),
        number_of("FUZZ_SEED", 20_261_121),
    );
    let api = TestApi::new();
    admit(&api).await;
    let description = api.get("openapi.json").await;
    let operations = operations(&description);
    assert!(140 < operations.len(), "{}", operations.len());
    let mut dice = Dice(SmallRng::seed_from_u64(seed));
    let mut statuses = std::collections::BTreeMap::<u16, u64>::new();
    for index in 0..count {
        if index % 500 == 0 {
            admit(&api).await;
            set_up(&api).await;
        }
        let operation = operations.choose(&mut dice.0).expect("operations");
        let target = dice.target(operation);
        let body = match &operation.body {
            Some(fields) => dice.body(fields),
            None if dice.once_in(20) => dice.body(&[]),
            None => Vec::new(),
        };
        let shown = String::from_utf8_lossy(&body[..body.len().min(1000)]).into_owned();
        let at = format!(
            "seed {seed}, request {index}: {} {target} {shown}",
            operation.method
        );
        let request = Request::builder()
            .method(&*operation.method)
            .uri(&target)
            // fuzz:fuzz
            .header("authorization", "Basic ZnV6ejpmdXp6")
            .body(Body::from(body));
        let Ok(request) = request else {
            continue;
        };
        let sent = api.send(request, "127.0.0.1:5000");
        let reply = tokio::time::timeout(PATIENCE, sent).await;
        let reply = reply.unwrap_or_else(|_| panic!("no answer to {at}"));
        // So does a check say that something is wrong, and RabbitMQ that a classic queue has no Raft status.
        let says_no = ["/api/health/checks/", "/api/queues/quorum/"]
            .iter()
            .any(|path| target.starts_with(path));
        assert!(
            reply.status < 500 || (says_no && reply.status == 503),
            "{} {} to {at}",
            reply.status,
            reply.text
        );
        *statuses.entry(reply.status).or_default() += 1;
    }
    println!("seed {seed}: {statuses:?}");
    // Most of it goes further than to the door.
    assert!(
        statuses.get(&200).is_some_and(|ok| count / 10 < *ok),
        "{statuses:?}"
    );
    for path in [
        "queues",
        "exchanges",
        "bindings",
        "users",
        "vhosts",
        "policies",
        "definitions",
    ] {
        let reply = api.call_as("fuzz", "GET", path, "").await;
        assert_eq!(reply.status, 200, "seed {seed}: {path}: {}", reply.text);
    }
}
