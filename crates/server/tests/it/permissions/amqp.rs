//! Every AMQP method that needs a permission, under every combination of configure, write and read, each granted
//! for all names, for none, for those of the method's first resource or those of its second; and topic permissions.
//! The recording has, for each method, its outcomes and the combinations that gave them.
//!
//! A combination is three letters for configure, write and read: `*` everything, `-` nothing, `a` and `b` the names
//! that begin with `a-` and `b-`. Deliberately absent: what a method does when it may.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use probe::{Client, Event, Options};

use crate::recorded;

use crate::broker::Broker;

use super::{ALL, may, must};

const RECORDING: &str = "permissions/amqp.txt";

/// The vhost in which everything happens, another than that of the routes: both may be recorded at once.
const VHOST: &str = "methods";

const USER: &str = "rights-amqp";

/// What is played, a method a line; several of one channel are parted by `;`, and the last answer counts.
/// A publish is followed by a method that is answered, for it is not.
const METHODS: &[&str] = &[
    "queue.declare queue=a-new",
    "queue.declare queue=a-queue durable",
    "queue.declare queue=a-queue",
    "queue.declare queue=a-queue passive",
    "queue.declare queue=a-missing passive",
    "queue.declare queue=\"\" exclusive",
    "queue.declare queue=amq.a-new",
    "queue.declare queue=a-new arguments={x-dead-letter-exchange: b-exchange}",
    "queue.declare queue=a-new arguments={x-dead-letter-exchange: b-missing}",
    "queue.declare queue=a-new arguments={x-dead-letter-exchange: \"\"}",
    "queue.declare queue=a-new arguments={x-queue-type: quorum} durable",
    "queue.delete queue=a-queue",
    "queue.delete queue=a-missing",
    "queue.purge queue=a-queue",
    "queue.purge queue=a-missing",
    "queue.bind queue=a-queue exchange=b-exchange routing_key=k",
    "queue.bind queue=a-queue exchange=b-missing routing_key=k",
    "queue.bind queue=a-missing exchange=b-exchange routing_key=k",
    "queue.bind queue=a-queue exchange=amq.direct routing_key=k",
    "queue.bind queue=a-queue exchange=\"\" routing_key=k",
    "queue.unbind queue=a-queue exchange=b-exchange routing_key=k",
    "queue.unbind queue=a-queue exchange=\"\" routing_key=k",
    "queue.unbind queue=a-missing exchange=b-exchange routing_key=k",
    "queue.unbind queue=a-queue exchange=b-missing routing_key=k",
    "exchange.declare exchange=a-new type=direct",
    "exchange.declare exchange=a-exchange type=direct durable",
    "exchange.declare exchange=a-exchange type=fanout durable",
    "exchange.declare exchange=a-exchange type=direct passive",
    "exchange.declare exchange=a-missing type=direct passive",
    "exchange.declare exchange=amq.a-new type=direct",
    "exchange.declare exchange=a-new type=direct arguments={alternate-exchange: b-exchange}",
    "exchange.declare exchange=a-new type=direct arguments={alternate-exchange: b-missing}",
    "exchange.delete exchange=a-exchange",
    "exchange.delete exchange=a-missing",
    "exchange.delete exchange=amq.direct",
    "exchange.bind destination=a-exchange source=b-exchange routing_key=k",
    "exchange.bind destination=a-missing source=b-exchange routing_key=k",
    "exchange.bind destination=a-exchange source=b-missing routing_key=k",
    "exchange.bind destination=a-exchange source=\"\" routing_key=k",
    "exchange.bind destination=\"\" source=b-exchange routing_key=k",
    "exchange.unbind destination=a-exchange source=\"\" routing_key=k",
    "exchange.unbind destination=a-exchange source=b-exchange routing_key=k",
    "exchange.unbind destination=a-missing source=b-exchange routing_key=k",
    "basic.publish exchange=a-exchange routing_key=k; basic.qos",
    "basic.publish exchange=a-exchange routing_key=k mandatory immediate; basic.qos",
    "basic.publish exchange=a-missing routing_key=k; basic.qos",
    "basic.publish exchange=a-internal routing_key=k; basic.qos",
    "basic.publish exchange=\"\" routing_key=a-queue; basic.qos",
    "basic.publish exchange=amq.direct routing_key=k; basic.qos",
    "basic.publish exchange=amq.rabbitmq.log routing_key=k; basic.qos",
    "basic.publish exchange=a-exchange routing_key=k user_id=guest; basic.qos",
    "tx.select; basic.publish exchange=a-exchange routing_key=k; tx.commit",
    "confirm.select; basic.publish exchange=a-exchange routing_key=k; basic.qos",
    "basic.get queue=a-queue",
    "basic.get queue=a-missing",
    "basic.consume queue=a-queue consumer_tag=c",
    "basic.consume queue=a-missing consumer_tag=c",
    "basic.consume queue=a-queue consumer_tag=c no_ack exclusive",
    "basic.consume queue=amq.rabbitmq.reply-to consumer_tag=c no_ack",
    "basic.cancel consumer_tag=none",
    "basic.recover requeue",
];

/// Played with every right in the vhost and the topic permissions `^ok` and others on the exchange `a-topic`.
const ON_TOPICS: &[&str] = &[
    "basic.publish exchange=a-topic routing_key=ok.1; basic.qos",
    "basic.publish exchange=a-topic routing_key=no.1; basic.qos",
    "basic.publish exchange=a-topic routing_key=user.rights-amqp; basic.qos",
    "basic.publish exchange=a-exchange routing_key=no.1; basic.qos",
    "queue.bind queue=a-queue exchange=a-topic routing_key=ok.1",
    "queue.bind queue=a-queue exchange=a-topic routing_key=no.1",
    "queue.bind queue=a-queue exchange=a-topic routing_key=user.rights-amqp",
    "queue.bind queue=a-queue exchange=a-exchange routing_key=no.1",
    "queue.unbind queue=a-queue exchange=a-topic routing_key=ok.1",
    "queue.unbind queue=a-queue exchange=a-topic routing_key=no.1",
    "exchange.bind destination=a-exchange source=a-topic routing_key=ok.1",
    "exchange.bind destination=a-exchange source=a-topic routing_key=no.1",
    "exchange.unbind destination=a-exchange source=a-topic routing_key=no.1",
    "basic.get queue=a-queue",
];

/// A letter and the pattern that it stands for.
const PATTERNS: [(char, &str); 4] = [('*', ".*"), ('-', "^$"), ('a', "^a-"), ('b', "^b-")];

/// The same for topic permissions; `.` is none at all.
const TOPIC_PATTERNS: [(char, &str); 5] = [
    ('*', ".*"),
    ('-', "^$"),
    ('o', "^ok"),
    ('u', "^user\\\\.{username}$"),
    ('.', ""),
];

/// What every method finds, put there anew before each.
#[rustfmt::skip]
const FIXTURES: &[(&str, &str, &str)] = &[
    ("PUT", "queues/methods/a-queue", r#"{"durable":true}"#),
    ("PUT", "exchanges/methods/a-exchange", r#"{"type":"direct","durable":true}"#),
    ("PUT", "exchanges/methods/b-exchange", r#"{"type":"direct","durable":true}"#),
    ("PUT", "exchanges/methods/a-internal", r#"{"type":"direct","durable":true,"internal":true}"#),
    ("PUT", "exchanges/methods/a-topic", r#"{"type":"topic","durable":true}"#),
];

/// `METHOD [COMBINATION]` and what came of it.
type Outcomes = BTreeMap<String, String>;

/// Plays methods, each on a channel of its own, and opens a new connection where one was closed.
struct Player {
    amqp: SocketAddr,
    client: Option<Client>,
    channel: u16,
}

impl Player {
    fn play(&mut self, methods: &str) -> String {
        let options = Options {
            vhost: VHOST.into(),
            user: USER.into(),
            password: USER.into(),
            ..Options::default()
        };
        let amqp = self.amqp;
        let client = self.client.get_or_insert_with(|| {
            self.channel = 0;
            Client::open(amqp, &options).expect("it is served")
        });
        self.channel += 1;
        client.open_channel(self.channel);
        let mut outcome = "no answer".to_owned();
        for method in methods.split("; ") {
            if method.starts_with("basic.publish") {
                let sent = client.send(self.channel, method, b"x");
                sent.expect("it is read from");
                continue;
            }
            let event = client.call(self.channel, method);
            outcome = event.as_ref().map_or_else(|| "silence".to_owned(), told);
            if event.as_ref().is_some_and(ends_connection) {
                self.client = None;
                return outcome;
            }
            if outcome.starts_with("channel.close") {
                let answered = client.send(self.channel, "channel.close-ok", b"");
                answered.expect("it is read from");
                return outcome;
            }
        }
        let closed = client.call(self.channel, "channel.close");
        assert_eq!(
            closed.as_ref().map(Event::name),
            Some("channel.close-ok"),
            "{methods}"
        );
        outcome
    }
}

fn ends_connection(event: &Event) -> bool {
    matches!(event, Event::Eof(_) | Event::Violation(_)) || event.name() == "connection.close"
}

/// The name of an answer; of a close its code and text, too.
fn told(event: &Event) -> String {
    let name = event.name();
    match event.method() {
        Some(method) if name.ends_with(".close") => {
            let code = method.number("reply_code");
            format!("{name} {code} {}", unnamed(&method.text("reply_text")))
        }
        // Whether there was a message is another matter.
        _ => name.replace("get-empty", "get-ok"),
    }
}

/// A text without the name that the broker made up.
fn unnamed(text: &str) -> String {
    match text.split_once("'amq.gen-") {
        Some((before, rest)) => {
            let after = rest.split_once('\'').map_or("", |(_, after)| after);
            format!("{before}'amq.gen-...'{after}")
        }
        None => text.to_owned(),
    }
}

fn set_up(http: SocketAddr) {
    clear(http);
    must(http, "PUT", &format!("vhosts/{VHOST}"), "{}");
    must(http, "PUT", &format!("permissions/{VHOST}/guest"), ALL);
    let body = format!(r#"{{"password":"{USER}","tags":""}}"#);
    must(http, "PUT", &format!("users/{USER}"), &body);
}

fn clear(http: SocketAddr) {
    may(http, "DELETE", &format!("vhosts/{VHOST}"), "");
    may(http, "DELETE", &format!("users/{USER}"), "");
}

/// Takes away what a method may have left, and puts there what it may have taken.
fn restore(http: SocketAddr, methods: &str, outcome: &str) {
    if outcome.contains(".close ") {
        return;
    }
    match methods.split([' ', '=']).nth(2) {
        Some("a-new") if methods.starts_with("queue") => {
            may(http, "DELETE", "queues/methods/a-new", "");
        }
        Some("a-new") => {
            may(http, "DELETE", "exchanges/methods/a-new", "");
        }
        _ if methods.contains(".delete ") => {
            for (method, path, body) in FIXTURES {
                must(http, method, path, body);
            }
        }
        _ => {}
    }
}

fn gather(http: SocketAddr, amqp: SocketAddr) -> Outcomes {
    set_up(http);
    for (method, path, body) in FIXTURES {
        must(http, method, path, body);
    }
    let mut outcomes = Outcomes::new();
    let mut play = |methods: &[&str], combination: &str| {
        // Permissions are asked for once and remembered a while by a channel, in RabbitMQ at least.
        let mut player = Player {
            amqp,
            client: None,
            channel: 0,
        };
        for methods in methods {
            let outcome = player.play(methods);
            restore(http, methods, &outcome);
            outcomes.insert(format!("{methods} [{combination}]"), outcome);
        }
    };
    let path = format!("permissions/{VHOST}/{USER}");
    for (c, configure) in PATTERNS {
        for (w, write) in PATTERNS {
            for (r, read) in PATTERNS {
                let body =
                    format!(r#"{{"configure":"{configure}","write":"{write}","read":"{read}"}}"#);
                must(http, "PUT", &path, &body);
                play(METHODS, &format!("{c}{w}{r}"));
            }
        }
    }
    must(http, "PUT", &path, ALL);
    let path = format!("topic-permissions/{VHOST}/{USER}");
    for (w, write) in TOPIC_PATTERNS {
        for (r, read) in TOPIC_PATTERNS {
            if w == '.' || r == '.' {
                if (w, r) != ('.', '.') {
                    continue;
                }
                may(http, "DELETE", &path, "");
            } else {
                let body = format!(r#"{{"exchange":"a-topic","write":"{write}","read":"{read}"}}"#);
                must(http, "PUT", &path, &body);
            }
            play(ON_TOPICS, &format!("topic {w}{r}"));
        }
    }
    clear(http);
    outcomes
}

/// `METHOD | OUTCOME | COMBINATION COMBINATION ...`, where `[topic xy]` is written `topic:xy`.
fn written(outcomes: &Outcomes) -> Vec<String> {
    let mut lines: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
    for (name, outcome) in outcomes {
        let (methods, combination) = name.rsplit_once(" [").expect("a combination is last");
        let combination = combination.trim_end_matches(']').replace(' ', ":");
        let line = lines.entry((methods, outcome)).or_default();
        line.push(combination);
    }
    let line = |((methods, outcome), combinations): ((&str, &str), Vec<String>)| {
        format!("{methods} | {outcome} | {}", combinations.join(" "))
    };
    lines.into_iter().map(line).collect()
}

fn parsed(text: &str) -> Outcomes {
    let mut outcomes = Outcomes::new();
    for line in text.lines() {
        let mut parts = line.split(" | ");
        let mut part = || parts.next().expect("a line has three parts");
        let (methods, outcome, combinations) = (part(), part(), part());
        for combination in combinations.split(' ') {
            let name = format!("{methods} [{}]", combination.replace(':', " "));
            outcomes.insert(name, outcome.to_owned());
        }
    }
    outcomes
}

#[test]
fn permissions_on_every_method_are_rabbitmqs() {
    let theirs = parsed(&recorded::read(RECORDING));
    let (broker, http) = Broker::with_api();
    let ours = gather(http, broker.address);
    assert!(3000 < ours.len(), "{}", ours.len());
    recorded::judge_maps(&theirs, &ours, "permissions/amqp-differences.txt");
}

#[test]
#[ignore = "needs a RabbitMQ"]
fn amqp_permissions_are_recorded() {
    let (http, amqp) = recorded::reference();
    recorded::write(RECORDING, &written(&gather(http, amqp)));
}

#[test]
fn what_is_written_is_read() {
    let mut outcomes = Outcomes::new();
    for (name, outcome) in [
        ("queue.purge queue=a [*-a]", "queue.purge-ok"),
        ("queue.purge queue=a [topic *o]", "channel.close 403 no"),
    ] {
        outcomes.insert(name.to_owned(), outcome.to_owned());
    }
    assert_eq!(parsed(&written(&outcomes).join("\n")), outcomes);
}
