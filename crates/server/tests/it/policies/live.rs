//! What policies do to queues and exchanges that are there: scenarios of requests, messages and looks at queues.
//!
//! A scenario is written as lines, each with what came of it in the recording:
//!
//! ```text
//! policy NAME {JSON}, operator NAME {JSON}, clear NAME, clear-operator NAME, put PATH {JSON}
//! publish EXCHANGE KEY BODY...   confirms, in their order
//! reject QUEUE, requeue QUEUE    takes one message and gives it back so
//! look QUEUE...                  messages that are ready, once that changes no more
//! gone QUEUE                     whether it goes, without a client that looks at it
//! drain QUEUE                    the bodies of its messages, which are taken
//! ```
//!
//! RabbitMQ obeys a policy a moment later. When recording, a look waits until nothing changes for a while; when
//! playing, until what was recorded is seen.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use probe::{Client, Event, Options};

use crate::broker::Broker;
use crate::recorded;

use super::{call, fresh_vhost};

const RECORDING: &str = "policies/live.txt";

const VHOST: &str = "policies-live";

/// How long what is looked at must stay the same while recording.
const SETTLED: Duration = Duration::from_millis(1500);

/// How long what was recorded may take to come, when it is played.
const PATIENCE: Duration = Duration::from_secs(20);

const POLL: Duration = Duration::from_millis(20);

/// Queues and exchanges of every scenario: `q` classic, `quorum`, `argued` with arguments, `dead` for dead letters
/// from `dlx`, `e` without bindings and `other` behind `aex`.
#[rustfmt::skip]
const OBJECTS: &[(&str, &str)] = &[
    ("queues/VHOST/q", r#"{"durable":true}"#),
    ("queues/VHOST/quorum", r#"{"durable":true,"arguments":{"x-queue-type":"quorum"}}"#),
    ("queues/VHOST/argued", r#"{"durable":true,"arguments":{"x-max-length":3,"x-dead-letter-exchange":"dlx","x-dead-letter-routing-key":"argued"}}"#),
    ("queues/VHOST/dead", r#"{"durable":true}"#),
    ("queues/VHOST/other", r#"{"durable":true}"#),
    ("exchanges/VHOST/dlx", r#"{"type":"fanout","durable":true}"#),
    ("exchanges/VHOST/aex", r#"{"type":"fanout","durable":true}"#),
    ("exchanges/VHOST/e", r#"{"type":"direct","durable":true}"#),
];

const SCENARIOS: &[(&str, &str)] = &[
    (
        "ttl of what is there and of what comes",
        r#"
publish - q a b
look q
policy p {"pattern":"^q$","definition":{"message-ttl":100}}
look q
drain q
publish - q c
look q
clear p
publish - q d
look q
drain q"#,
    ),
    (
        "ttl with dead letters",
        r#"
policy p {"pattern":"^q","definition":{"message-ttl":50,"dead-letter-exchange":"dlx"}}
publish - q a b
publish - quorum c
look q quorum dead
drain dead"#,
    ),
    (
        "a message keeps the ttl that it came under",
        r#"
policy p {"pattern":"^q$","definition":{"message-ttl":600000}}
publish - q a
policy p {"pattern":"^q$","definition":{"message-ttl":50}}
look q
drain q
publish - q b
look q"#,
    ),
    (
        "length of what is there",
        r#"
publish - q a b c d e
look q
policy p {"pattern":"^q$","definition":{"max-length":2}}
look q
publish - q f
look q
drain q"#,
    ),
    (
        "length of a quorum queue",
        r#"
publish - quorum a b c d e
look quorum
policy p {"pattern":"^quorum$","definition":{"max-length":2}}
look quorum
publish - quorum f
look quorum
drain quorum"#,
    ),
    (
        "length with dead letters",
        r#"
publish - q a b c d e
policy p {"pattern":"^q$","definition":{"max-length":2,"dead-letter-exchange":"dlx"}}
look q dead
drain dead
drain q"#,
    ),
    (
        "length zero",
        r#"
policy p {"pattern":"^q$","definition":{"max-length":0}}
publish - q a
look q"#,
    ),
    (
        "length in bytes",
        r#"
publish - q aaaa bbbb cccc
policy p {"pattern":"^q$","definition":{"max-length-bytes":8}}
look q
publish - q dddd
drain q"#,
    ),
    (
        "a full queue that rejects",
        r#"
policy p {"pattern":"^q$","definition":{"max-length":2,"overflow":"reject-publish","dead-letter-exchange":"dlx"}}
publish - q a
publish - q b
look q
publish - q c
look q dead
drain q"#,
    ),
    (
        "a full queue that rejects into dead letters",
        r#"
policy p {"pattern":"^q$","definition":{"max-length":1,"overflow":"reject-publish-dlx","dead-letter-exchange":"dlx"}}
publish - q a
look q
publish - q b
look q dead
drain q
drain dead"#,
    ),
    (
        "from rejecting to dropping",
        r#"
policy p {"pattern":"^q$","definition":{"max-length":1,"overflow":"reject-publish"}}
publish - q a
look q
publish - q b
policy p {"pattern":"^q$","definition":{"max-length":1}}
publish - q c
look q
drain q"#,
    ),
    (
        "dead letters come and go",
        r#"
publish - q a b c
reject q
look q dead
policy p {"pattern":"^q$","definition":{"dead-letter-exchange":"dlx"}}
reject q
look q dead
clear p
reject q
look q dead
drain dead"#,
    ),
    (
        "dead letters by key",
        r#"
policy p {"pattern":"^q$","definition":{"dead-letter-exchange":"","dead-letter-routing-key":"other"}}
publish - q a
reject q
look q other
policy p {"pattern":"^q$","definition":{"dead-letter-exchange":"","dead-letter-routing-key":"dead"}}
publish - q b
reject q
look q other dead"#,
    ),
    (
        "an unused queue expires",
        r#"
policy p {"pattern":"^(q|quorum)$","definition":{"expires":100}}
gone q
gone quorum
look dead"#,
    ),
    (
        "arguments go before a policy, or the smaller does",
        r#"
policy p {"pattern":"^argued$","definition":{"max-length":2,"dead-letter-exchange":"aex"}}
publish - argued a b c d
look argued dead other
policy p {"pattern":"^argued$","definition":{"max-length":9}}
publish - argued e f g
look argued dead
drain argued"#,
    ),
    (
        "an operator's length",
        r#"
policy p {"pattern":"^q$","definition":{"max-length":4}}
operator o {"pattern":"^q$","definition":{"max-length":2}}
publish - q a b c d e
look q
clear-operator o
publish - q f g h
look q
operator o {"pattern":"^q$","definition":{"max-length":9}}
publish - q i j k
look q
drain q"#,
    ),
    (
        "an operator's overflow",
        r#"
policy p {"pattern":"^q$","definition":{"max-length":1,"overflow":"drop-head"}}
operator o {"pattern":"^q$","definition":{"overflow":"reject-publish"}}
publish - q a
look q
publish - q b
drain q"#,
    ),
    (
        "an operator's ttl and expiry",
        r#"
policy p {"pattern":"^q$","definition":{"message-ttl":600000}}
operator o {"pattern":"^q$","definition":{"message-ttl":50}}
publish - q a
look q
clear-operator o
publish - q b
look q
operator o {"pattern":"^q$","definition":{"expires":100}}
gone q"#,
    ),
    (
        "alternate exchange",
        r#"
publish e k a
look other
policy p {"pattern":"^e$","definition":{"alternate-exchange":"aex"},"apply-to":"exchanges"}
publish e k b
look other
clear p
publish e k c
look other"#,
    ),
    (
        "delivery limit",
        r#"
publish - quorum a
policy p {"pattern":"^quorum$","definition":{"delivery-limit":2,"dead-letter-exchange":"dlx"}}
requeue quorum
look quorum dead
requeue quorum
look quorum dead
requeue quorum
look quorum dead"#,
    ),
    (
        "the policy of the highest priority, and then the next",
        r#"
policy high {"pattern":"^q$","definition":{"max-length":1},"priority":2}
policy low {"pattern":"^q$","definition":{"max-length":3},"priority":1}
publish - q a b
look q
clear high
publish - q c d e f
look q
clear low
publish - q g
look q"#,
    ),
    (
        "a policy for one type of queues",
        r#"
policy p {"pattern":".*","definition":{"max-length":1},"apply-to":"quorum_queues"}
publish - q a b
publish - quorum a b
look q quorum
policy p {"pattern":".*","definition":{"max-length":1},"apply-to":"classic_queues"}
look q quorum
publish - quorum c
look q quorum"#,
    ),
    (
        "a policy whose pattern moves on",
        r#"
publish - q a b c
publish - quorum a b c
policy p {"pattern":"^q$","definition":{"max-length":1}}
look q quorum
policy p {"pattern":"^quorum$","definition":{"max-length":2}}
publish - q d
look q quorum"#,
    ),
    (
        "a queue that is declared later",
        r#"
policy p {"pattern":"^late","definition":{"max-length":1}}
put queues/VHOST/late {"durable":true}
publish - late a b
look late
drain late"#,
    ),
    (
        "an unknown dead-letter exchange",
        r#"
policy p {"pattern":"^q$","definition":{"dead-letter-exchange":"nope"}}
publish - q a
reject q
look q dead"#,
    ),
    (
        "definitions that are refused change nothing",
        r#"
policy p {"pattern":"^q$","definition":{"max-length":1}}
policy p {"pattern":"^q$","definition":{"max-length":"no"}}
policy p {"pattern":"(","definition":{"max-length":9}}
policy p {"pattern":"^q$","definition":{"max-length":9},"apply-to":"hares"}
policy p {"pattern":"^q$","definition":{"max-length":9},"priority":"high"}
operator o {"pattern":"^q$","definition":{"dead-letter-exchange":"dlx"}}
clear nope
publish - q a b
look q"#,
    ),
];

fn open(amqp: SocketAddr) -> Client {
    let options = Options {
        vhost: VHOST.into(),
        ..Options::default()
    };
    let mut client = Client::open(amqp, &options).expect("it is served");
    client.open_channel(1);
    client
}

/// A scenario under way.
struct Stage {
    http: SocketAddr,
    client: Client,
    amqp: SocketAddr,
}

impl Stage {
    fn new(http: SocketAddr, amqp: SocketAddr) -> Stage {
        fresh_vhost(http, VHOST);
        for (path, body) in OBJECTS {
            let (status, text) = call(http, "PUT", &path.replace("VHOST", VHOST), body);
            assert_eq!(status, 201, "{path}: {text}");
        }
        for (exchange, queue) in [("dlx", "dead"), ("aex", "other")] {
            let path = format!("bindings/{VHOST}/e/{exchange}/q/{queue}");
            let (status, text) = call(http, "POST", &path, "{}");
            assert_eq!(status, 201, "{path}: {text}");
        }
        let mut client = open(amqp);
        client.call(1, "confirm.select");
        Stage { http, client, amqp }
    }

    /// Plays a line. What was recorded for it is waited for, where it takes its time.
    fn play(&mut self, line: &str, recorded: Option<&str>) -> String {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (first, body) = rest.split_once(' ').unwrap_or((rest, ""));
        match verb {
            "policy" => self.set("PUT", "policies", first, body),
            "operator" => self.set("PUT", "operator-policies", first, body),
            "clear" => self.set("DELETE", "policies", first, ""),
            "clear-operator" => self.set("DELETE", "operator-policies", first, ""),
            "put" => {
                let path = first.replace("VHOST", VHOST);
                call(self.http, "PUT", &path, body).0.to_string()
            }
            "publish" => {
                let (key, bodies) = body.split_once(' ').expect("a key and bodies");
                self.publish(first, key, bodies)
            }
            "reject" => self.give_back(first, false),
            "requeue" => self.give_back(first, true),
            "look" => self.look(rest, recorded),
            "gone" => self.gone(first),
            "drain" => self.drain(first),
            verb => panic!("no such verb: {verb}"),
        }
    }

    fn set(&self, method: &str, kind: &str, name: &str, body: &str) -> String {
        let path = format!("{kind}/{VHOST}/{name}");
        let (status, text) = call(self.http, method, &path, body);
        // A line each, whatever stands in the reason.
        format!("{status} {}", text.replace("\\n", " "))
            .trim_end()
            .to_owned()
    }

    fn publish(&mut self, exchange: &str, key: &str, bodies: &str) -> String {
        let exchange = exchange.trim_start_matches('-');
        let text = format!("basic.publish exchange=\"{exchange}\" routing_key={key}");
        let mut told = Vec::new();
        for body in bodies.split(' ') {
            let sent = self.client.send(1, &text, body.as_bytes());
            sent.expect("it is read from");
            let of_confirm = |event: &Event| matches!(event.name(), "basic.ack" | "basic.nack");
            let event = self.client.wait_for(of_confirm, PATIENCE);
            told.push(event.map_or("nothing", |event| event.name()));
        }
        told.join(" ").replace("basic.", "")
    }

    /// Takes one message and rejects it.
    fn give_back(&mut self, queue: &str, requeue: bool) -> String {
        let got = self.get(queue);
        let Some(Event::Content { method, body, .. }) = got else {
            return "empty".to_owned();
        };
        let tag = method.number("delivery_tag");
        let requeue = if requeue { " requeue" } else { "" };
        let text = format!("basic.reject delivery_tag={tag}{requeue}");
        self.client.send(1, &text, b"").expect("it is read from");
        String::from_utf8_lossy(&body).into_owned()
    }

    /// A message that is there, or comes soon: one that was given back takes its way.
    fn get(&mut self, queue: &str) -> Option<Event> {
        let text = format!("basic.get queue={queue}");
        for _ in 0..10 {
            match self.client.call(1, &text) {
                Some(event @ Event::Content { .. }) => return Some(event),
                _ => std::thread::park_timeout(POLL),
            }
        }
        None
    }

    /// Over another connection, for looking at a queue that is gone closes the channel.
    fn count(&self, queue: &str) -> String {
        let mut client = open(self.amqp);
        match client.call(1, &format!("queue.declare queue={queue} passive")) {
            Some(event) if event.name() == "queue.declare-ok" => {
                let method = event.method().expect("it is one");
                format!("{queue}={}", method.number("message_count"))
            }
            _ => format!("{queue}=gone"),
        }
    }

    fn look(&self, queues: &str, recorded: Option<&str>) -> String {
        let look = || {
            let counts = queues.split(' ').map(|queue| self.count(queue));
            counts.collect::<Vec<_>>().join(" ")
        };
        let (mut seen, mut since) = (look(), Instant::now());
        let begun = Instant::now();
        loop {
            let is_over = match recorded {
                Some(recorded) => seen == recorded || PATIENCE < begun.elapsed(),
                None => SETTLED < since.elapsed(),
            };
            if is_over {
                return seen;
            }
            std::thread::park_timeout(POLL);
            let now = look();
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
        }
    }

    fn gone(&self, queue: &str) -> String {
        let path = format!("queues/{VHOST}/{queue}");
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if call(self.http, "GET", &path, "").0 == 404 {
                return "gone".to_owned();
            }
            std::thread::park_timeout(POLL);
        }
        "there".to_owned()
    }

    fn drain(&mut self, queue: &str) -> String {
        let text = format!("basic.get queue={queue} no_ack");
        let mut bodies = Vec::new();
        while let Some(Event::Content { body, .. }) = self.client.call(1, &text) {
            bodies.push(String::from_utf8_lossy(&body).into_owned());
        }
        bodies.join(" ")
    }
}

/// `# SCENARIO`, then its lines, each followed by `  => OUTCOME`.
fn gather(http: SocketAddr, amqp: SocketAddr, recorded: Option<&str>) -> Vec<String> {
    let recorded: Option<Vec<&str>> = recorded.map(|text| text.lines().collect());
    let mut lines: Vec<String> = Vec::new();
    for (name, script) in SCENARIOS {
        let mut stage = Stage::new(http, amqp);
        lines.push(format!("# {name}"));
        for line in script.trim().lines() {
            lines.push(line.to_owned());
            let expected = recorded.as_ref().map(|recorded| {
                let expected = recorded.get(lines.len()).copied().unwrap_or_default();
                expected.trim_start().trim_start_matches("=> ")
            });
            lines.push(format!("  => {}", stage.play(line, expected)));
        }
    }
    call(http, "DELETE", &format!("vhosts/{VHOST}"), "");
    lines
}

/// Scenario, number of the line and the line, with what came of it.
fn named(lines: &[String]) -> std::collections::BTreeMap<String, String> {
    let mut named = std::collections::BTreeMap::new();
    let (mut scenario, mut number) = ("", 0);
    for pair in lines.windows(2) {
        if let Some(name) = pair[0].strip_prefix("# ") {
            (scenario, number) = (name, 0);
        } else if let Some(outcome) = pair[1].strip_prefix("  => ") {
            number += 1;
            let name = format!("{scenario}, {number}: {}", pair[0]);
            named.insert(name, outcome.trim_end().to_owned());
        }
    }
    named
}

#[test]
fn live_policies_do_what_rabbitmqs_do() {
    let recording = recorded::read(RECORDING);
    let (broker, http) = Broker::with_api();
    let ours = gather(http, broker.address, Some(&recording));
    let theirs: Vec<String> = recording.lines().map(str::to_owned).collect();
    recorded::judge_maps(
        &named(&theirs),
        &named(&ours),
        "policies/live-differences.txt",
    );
}

#[test]
#[ignore = "needs a RabbitMQ"]
fn live_policies_are_recorded() {
    let (http, amqp) = recorded::reference();
    recorded::write(RECORDING, &gather(http, amqp, None));
}
