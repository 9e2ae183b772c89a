//! Users whose permissions are decided elsewhere, over a network: what is asked, and what waits for the answer.
//!
//! Deliberately absent: the network. An [`Oracle`] answers at once, or when the test lets it.

use std::collections::BTreeSet;
use std::future::{poll_fn, ready};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use metadata::identity::{HashingAlgorithm, PasswordHash, User};
use node::identities::{
    AuthenticatedUser, Authenticator, Authorizer, Denial, LoginFuture, LoginRequest, Question,
    VerdictFuture,
};
use node::settings::Settings;

use crate::pair::{Client, Login, World, handshake};
use crate::random::{Numbers, with_seeds};
use crate::script;

/// Knows what everybody may do.
#[derive(Debug, Default)]
struct Oracle {
    asked: Mutex<Vec<String>>,
    refused: Mutex<BTreeSet<String>>,
    held: AtomicBool,
    /// Questions that are on their way.
    under_way: AtomicUsize,
}

/// One of them, while somebody waits for the answer.
struct UnderWay(Arc<Oracle>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

fn shown(question: &Question) -> String {
    match question {
        Question::Vhost { vhost, peer_host } => {
            format!("vhost {vhost} {}", peer_host.as_deref().unwrap_or("-"))
        }
        Question::Resource {
            vhost,
            resource,
            name,
            permission,
        } => {
            assert_eq!(vhost, "/");
            format!("{permission} {resource} {name}")
        }
        Question::Topic {
            exchange,
            permission,
            routing_key,
            ..
        } => format!("{permission} topic {exchange} {routing_key}"),
    }
}

impl Authorizer for Oracle {
    fn decide(self: Arc<Self>, question: Question) -> VerdictFuture {
        let shown = shown(&question);
        let why = match self.refused.lock().expect("no panic").contains(&shown) {
            true => Err(Denial::default()),
            false => Ok(()),
        };
        self.asked.lock().expect("no panic").push(shown);
        self.under_way.fetch_add(1, Ordering::SeqCst);
        let under_way = UnderWay(Arc::clone(&self));
        Box::pin(async move {
            let answered = poll_fn(|_| match under_way.0.held.load(Ordering::SeqCst) {
                true => Poll::Pending,
                false => Poll::Ready(()),
            });
            answered.await;
            drop(under_way);
            why
        })
    }
}

#[derive(Debug)]
struct Doorkeeper(Arc<Oracle>);

impl Authenticator for Doorkeeper {
    fn log_in(self: Arc<Self>, request: LoginRequest) -> LoginFuture {
        if request.password.is_none() {
            let asked = format!("login {} without a password", request.user);
            self.0.asked.lock().expect("no panic").push(asked);
        }
        let user = User {
            name: request.user.into(),
            password_hash: PasswordHash::NONE,
            hashing_algorithm: HashingAlgorithm::DEFAULT,
            tags: Vec::new(),
        };
        let oracle: Arc<dyn Authorizer> = Arc::clone(&self.0) as Arc<dyn Authorizer>;
        let user = AuthenticatedUser::authorized_elsewhere(user, oracle);
        Box::pin(ready(Ok(user)))
    }
}

impl Oracle {
    fn world() -> (World, Arc<Oracle>) {
        let world = World::with(Settings {
            auth_mechanisms: Some(vec!["PLAIN".into(), "EXTERNAL".into()]),
            ..Settings::default()
        });
        let oracle = Arc::new(Oracle::default());
        let doorkeeper = Arc::new(Doorkeeper(Arc::clone(&oracle)));
        world.node.authenticator.set(doorkeeper).expect("the first");
        (world, oracle)
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().expect("no panic"))
    }

    fn refuse(&self, question: &str) {
        let mut refused = self.refused.lock().expect("no panic");
        refused.insert(question.to_owned());
    }

    fn hold(&self, held: bool) {
        self.held.store(held, Ordering::SeqCst);
    }

    fn under_way(&self) -> usize {
        self.under_way.load(Ordering::SeqCst)
    }
}

/// A client with channel 1, after what its handshake asked.
fn client<'w>(world: &'w World, oracle: &Oracle) -> Client<'w> {
    let mut client = world.client();
    oracle.asked();
    client.ask("", &[]);
    client
}

/// Methods, and what is asked for each: RabbitMQ's questions, in its order.
const METHODS: &[(&str, &[&str])] = &[
    ("queue.declare new", &["configure queue new"]),
    (
        "queue.declare new x-dead-letter-exchange=e",
        &["configure queue new", "read queue new", "write exchange e"],
    ),
    (
        "queue.declare q x-dead-letter-exchange=e",
        &["configure queue q"],
    ),
    ("queue.declare q passive", &["read queue q"]),
    ("queue.delete q", &["configure queue q"]),
    ("queue.purge q", &["read queue q"]),
    ("queue.bind q e k", &["write queue q", "read exchange e"]),
    ("queue.unbind q e k", &["write queue q", "read exchange e"]),
    (
        "queue.bind q t a.b",
        &["write queue q", "read exchange t", "read topic t a.b"],
    ),
    (
        "queue.unbind q t a.b",
        &["write queue q", "read exchange t", "read topic t a.b"],
    ),
    (
        "queue.bind q none k",
        &["write queue q", "read exchange none"],
    ),
    ("exchange.declare new fanout", &["configure exchange new"]),
    (
        "exchange.declare new fanout alternate-exchange=e",
        &[
            "configure exchange new",
            "read exchange new",
            "write exchange e",
        ],
    ),
    ("exchange.declare e fanout passive", &["read exchange e"]),
    ("exchange.delete e", &["configure exchange e"]),
    (
        "exchange.bind e t k",
        &["write exchange e", "read exchange t", "read topic t k"],
    ),
    (
        "exchange.unbind e t k",
        &["write exchange e", "read exchange t", "read topic t k"],
    ),
    ("basic.publish e k m", &["write exchange e"]),
    ("basic.publish - q m", &["write exchange amq.default"]),
    (
        "basic.publish t a.b m",
        &["write exchange t", "write topic t a.b"],
    ),
    ("basic.consume q c", &["read queue q"]),
    ("basic.get q", &["read queue q"]),
    ("basic.qos 1", &[]),
    ("confirm.select", &[]),
    ("tx.select", &[]),
    ("basic.cancel c", &[]),
    ("channel.flow", &[]),
    ("basic.recover requeue", &[]),
];

fn set_up(client: &mut Client<'_>, oracle: &Oracle) {
    client.say("[9] channel.open\n[9] queue.declare q\n[9] exchange.declare e fanout\n[9] exchange.declare t topic");
    client.hear();
    oracle.asked();
}

#[test]
fn each_method_asks_what_rabbitmq_asks() {
    for (line, expected) in METHODS {
        let (world, oracle) = Oracle::world();
        let mut client = client(&world, &oracle);
        set_up(&mut client, &oracle);
        client.say(&format!("[1] {line}"));
        assert_eq!(oracle.asked(), *expected, "{line}");
        let heard = client.hear();
        assert!(!heard.iter().any(|line| line.contains("403")), "{heard:?}");
        // The channel remembers.
        client.say("[1] queue.declare q passive");
        client.say("[1] queue.declare q passive");
        assert!(oracle.asked().len() <= 1, "{line}");
    }
}

#[test]
fn each_question_can_be_answered_with_no() {
    for (line, questions) in METHODS {
        for (index, refused) in questions.iter().enumerate() {
            let (world, oracle) = Oracle::world();
            let mut client = client(&world, &oracle);
            set_up(&mut client, &oracle);
            oracle.refuse(refused);
            if line.ends_with("passive") {
                // Any right will do; the last one that is asked for is named.
                oracle.refuse(&refused.replace("read", "write"));
                oracle.refuse(&refused.replace("read", "configure"));
            }
            client.say(&format!("[1] {line}"));
            let heard = client.hear();
            let (word, rest) = refused.split_once(' ').expect("two words");
            let access = match rest.split(' ').collect::<Vec<_>>()[..] {
                ["topic", exchange, key] => format!("topic '{key}' in exchange '{exchange}'"),
                [kind, name] => format!("{kind} '{name}'"),
                _ => unreachable!("{rest}"),
            };
            let word = if line.ends_with("passive") {
                "configure"
            } else {
                word
            };
            let expected = format!(
                "[1] channel.close 403 ACCESS_REFUSED - {word} access to {access} in vhost '/' refused for user 'guest'"
            );
            assert_eq!(heard, [expected], "{line}");
            if !line.ends_with("passive") {
                assert_eq!(
                    oracle.asked(),
                    questions[..=index],
                    "nothing is asked after a no"
                );
            }
        }
    }
}

#[test]
fn a_refusal_goes_on_in_the_words_of_who_refused() {
    #[derive(Debug)]
    struct Broken;
    impl Authorizer for Broken {
        fn decide(self: Arc<Self>, question: Question) -> VerdictFuture {
            let verdict = match question {
                Question::Vhost { .. } => Ok(()),
                _ => Err(Denial {
                    why: ", backend x returned an error: timeout".into(),
                    is_failure: true,
                }),
            };
            Box::pin(ready(verdict))
        }
    }
    #[derive(Debug)]
    struct Door;
    impl Authenticator for Door {
        fn log_in(self: Arc<Self>, request: LoginRequest) -> LoginFuture {
            let user = User {
                name: request.user.into(),
                password_hash: PasswordHash::NONE,
                hashing_algorithm: HashingAlgorithm::DEFAULT,
                tags: Vec::new(),
            };
            let user = AuthenticatedUser::authorized_elsewhere(user, Arc::new(Broken));
            Box::pin(ready(Ok(user)))
        }
    }
    let world = World::new();
    world
        .node
        .authenticator
        .set(Arc::new(Door))
        .expect("the first");
    world.client().ask(
        "[1] basic.get q",
        &["[1] channel.close 403 ACCESS_REFUSED - read access to queue 'q' in vhost '/' refused for user 'guest', \
           backend x returned an error: timeout"],
    );
}

#[test]
fn a_vhost_is_entered_when_the_answer_has_come() {
    let (world, oracle) = Oracle::world();
    oracle.hold(true);
    let mut waiting = world.accept(true);
    waiting.send(&handshake(&Login::default()));
    let heard = waiting.hear();
    assert_eq!(heard.len(), 2, "no more than start and tune: {heard:?}");
    assert_eq!(oracle.asked(), ["vhost / 127.0.0.1"]);
    oracle.hold(false);
    waiting.expect(&["[0] connection.open-ok"]);

    oracle.refuse("vhost / 127.0.0.1");
    let mut refused = world.accept(true);
    refused.send(&handshake(&Login::default()));
    assert_eq!(
        refused.hear().pop().as_deref(),
        Some("[0] connection.close 530 NOT_ALLOWED - access to vhost '/' refused for user 'guest'")
    );

    // Nobody is kept waiting for longer than a handshake may take.
    oracle.hold(true);
    let mut late = world.accept(true);
    late.send(&handshake(&Login::default()));
    assert_eq!(oracle.under_way(), 1);
    world.pass(60_000);
    late.pump();
    assert!(late.is_closed());
    assert_eq!(oracle.under_way(), 0, "nobody waits for that answer");
}

/// A certificate says who somebody is; the authority is asked all the same, without a password.
#[test]
fn who_has_proved_who_it_is_is_asked_for_too() {
    let (world, oracle) = Oracle::world();
    let mut client = world.accept_proved(true, Some("ann".into()));
    let login = Login {
        mechanism: "EXTERNAL",
        response: Vec::new(),
        ..Login::default()
    };
    client.send(&handshake(&login));
    assert_eq!(
        client.hear().pop().as_deref(),
        Some("[0] connection.open-ok")
    );
    assert_eq!(
        oracle.asked(),
        ["login ann without a password", "vhost / 127.0.0.1"]
    );
}

#[test]
fn what_is_behind_a_question_waits_for_it_and_keeps_its_order() {
    let (world, oracle) = Oracle::world();
    let mut client = client(&world, &oracle);
    client.ask("[1] queue.declare q", &["[1] queue.declare-ok q 0 0"]);
    client.ask(
        "[1] channel.close\n[1] channel.open",
        &["[1] channel.close-ok", "[1] channel.open-ok"],
    );
    client.open(2);
    oracle.asked();
    oracle.hold(true);
    // The body of the third is long: its last frame is the one that asks again.
    client.say(
        "[1] basic.publish - q a\n[1] basic.publish - q b\n[1] basic.publish - q 300000*\n[2] basic.get q no-ack\n\
         [1] basic.get q no-ack\n[1] queue.delete q\n[1] queue.declare q2",
    );
    client.expect(&[]);
    assert_eq!(world.counts("q"), "0/0/0", "nothing was let through");
    assert_eq!(oracle.asked(), ["write exchange amq.default"]);
    oracle.refuse("configure queue q");
    oracle.hold(false);
    let heard = client.hear();
    let names: Vec<&str> = heard
        .iter()
        .map(|line| crate::pair::name_of(line))
        .collect();
    assert_eq!(names, ["basic.get-ok", "basic.get-ok", "channel.close"]);
    assert!(
        heard[0].ends_with(" a") && heard[1].ends_with(" b"),
        "{heard:?}"
    );
    assert_eq!(
        oracle.asked(),
        ["read queue q", "read queue q", "configure queue q"],
        "each channel asks for itself"
    );
    assert_eq!(world.counts("q"), "1/0/0");
    assert_eq!(world.counts("q2"), "gone");
    client.say("[2] basic.get q no-ack");
    let heard = client.hear();
    assert!(
        heard[0].ends_with(" 300000*"),
        "the long one is whole: {heard:?}"
    );
}

#[test]
fn a_body_that_waits_for_its_permission_is_whole_or_refused() {
    for (frame_max, body) in [(131_072, ""), (131_072, "short"), (4096, "10000*")] {
        for allowed in [true, false] {
            let (world, oracle) = Oracle::world();
            let login = Login {
                frame_max,
                ..Login::default()
            };
            let mut client = world.connect_as(&login);
            client.open(1);
            client.ask("[1] queue.declare q", &["[1] queue.declare-ok q 0 0"]);
            if !allowed {
                oracle.refuse("write exchange amq.default");
            }
            oracle.hold(true);
            let mut bytes = Vec::new();
            script::encode(
                &mut bytes,
                &format!("[1] basic.publish - q {body}"),
                frame_max,
            );
            // Bytes come one by one, or all at once.
            match allowed {
                true => bytes.iter().for_each(|byte| client.send(&[*byte])),
                false => client.send(&bytes),
            }
            assert_eq!(world.counts("q"), "0/0/0");
            oracle.hold(false);
            let heard = client.hear();
            if !allowed {
                assert!(heard[0].starts_with("[1] channel.close 403"), "{heard:?}");
                assert_eq!(world.counts("q"), "0/0/0");
                continue;
            }
            client.say("[1] basic.get q no-ack\n[1] basic.get q");
            let heard = client.hear();
            assert!(heard[0].ends_with(&format!(" {body}")), "{heard:?}");
            assert_eq!(heard[1], "[1] basic.get-empty");
        }
    }
}

#[test]
fn who_waits_for_an_answer_lives_on() {
    let (world, oracle) = Oracle::world();
    let login = Login {
        heartbeat_s: 10,
        ..Login::default()
    };
    let mut client = world.connect_as(&login);
    client.open(1);
    oracle.hold(true);
    client.say("[1] queue.declare q");
    for _ in 0..12 {
        world.pass(5_000);
        client.say("[0] heartbeat");
        client.pump();
        assert!(!client.is_closed());
    }
    let beats = client.hear();
    assert!(
        beats.len() >= 5 && beats.iter().all(|line| line == "heartbeat"),
        "{beats:?}"
    );
    oracle.hold(false);
    assert_eq!(
        client.hear().last().map(String::as_str),
        Some("[1] queue.declare-ok q 0 0")
    );
    // And who says nothing is given up, as ever.
    oracle.hold(true);
    client.say("[1] queue.declare q2");
    world.pass(60_000);
    client.pump();
    assert!(client.is_closed());
    assert_eq!(oracle.under_way(), 0);
}

#[test]
fn who_is_gone_waits_no_more() {
    let (world, oracle) = Oracle::world();
    let mut dead = client(&world, &oracle);
    oracle.hold(true);
    dead.say("[1] queue.declare q");
    assert!(
        dead.connection.wants_input(),
        "the end of a socket must be seen"
    );
    assert_eq!(oracle.under_way(), 1);
    dead.hang_up();
    assert_eq!(oracle.under_way(), 0);

    // An operator closes the connection.
    oracle.hold(false);
    let mut closed = client(&world, &oracle);
    oracle.hold(true);
    closed.say("[1] queue.declare q\n[1] basic.publish - q m");
    assert_eq!(oracle.under_way(), 1);
    world
        .node
        .connections
        .close(320, "CONNECTION_FORCED - bye", |_| true);
    let heard = closed.hear();
    assert_eq!(heard, ["[0] connection.close 320 CONNECTION_FORCED - bye"]);
    assert_eq!(oracle.under_way(), 0);
    oracle.hold(false);
    closed.expect(&[]);
    assert_eq!(world.counts("q"), "gone");
}

#[test]
fn little_is_read_behind_a_question() {
    let (world, oracle) = Oracle::world();
    let mut client = client(&world, &oracle);
    oracle.hold(true);
    client.say("[1] queue.declare q\n[1] basic.publish - q 100000*");
    assert!(!client.connection.wants_input());
    oracle.hold(false);
    client.expect(&["[1] queue.declare-ok q 0 0"]);
    assert_eq!(world.counts("q"), "1/0/0");
}

#[test]
fn a_name_of_ours_is_asked_for_once() {
    let (world, oracle) = Oracle::world();
    let mut client = client(&world, &oracle);
    for _ in 0..2 {
        client.say("[1] queue.declare - x-dead-letter-exchange=e");
        let heard = client.hear();
        let asked = oracle.asked();
        let name = asked[0].rsplit(' ').next().expect("a name");
        assert!(name.starts_with("amq.gen-"), "{asked:?}");
        assert_eq!(asked[1], format!("read queue {name}"));
        assert_eq!(heard, [format!("[1] queue.declare-ok {name} 0 0")]);
    }
    assert_eq!(
        world
            .node
            .vhost("/")
            .expect("there")
            .read(|topology| topology.queues().len()),
        2
    );
}

#[test]
fn answers_are_remembered_as_by_rabbitmqs_channels() {
    let (world, oracle) = Oracle::world();
    let mut client = client(&world, &oracle);
    set_up(&mut client, &oracle);
    for _ in 0..100 {
        client.say("[1] basic.publish t a.b m\n[1] basic.publish t c.d m\n[1] basic.publish e k m");
    }
    assert_eq!(
        oracle.asked(),
        [
            "write exchange t",
            "write topic t a.b",
            "write topic t c.d",
            "write exchange e"
        ]
    );
    // Twelve are remembered, and the oldest goes first.
    for n in 0..12 {
        client.say(&format!("[1] queue.declare q{n}"));
    }
    client.hear();
    assert_eq!(oracle.asked().len(), 12);
    client.say(
        "[1] queue.declare q11\n[1] queue.declare q0\n[1] queue.declare q12\n[1] queue.declare q0",
    );
    client.hear();
    assert_eq!(
        oracle.asked(),
        ["configure queue q12", "configure queue q0"]
    );
    // Who was idle for a while is asked for anew, and what was refused each time.
    world.pass(10_000);
    oracle.refuse("write topic t c.d");
    client.say("[1] basic.publish t a.b m\n[1] basic.publish t c.d m");
    assert_eq!(client.hear().len(), 1);
    assert_eq!(
        oracle.asked(),
        ["write exchange t", "write topic t a.b", "write topic t c.d"]
    );
}

#[test]
fn a_new_secret_makes_everything_be_asked_anew() {
    let (world, oracle) = Oracle::world();
    let mut client = client(&world, &oracle);
    set_up(&mut client, &oracle);
    client.say("[1] basic.publish e k m\n[1] basic.publish e k m");
    assert_eq!(oracle.asked(), ["write exchange e"]);
    client.ask(
        "[0] connection.update-secret s",
        &["[0] connection.update-secret-ok"],
    );
    client.say("[1] basic.publish e k m");
    assert_eq!(oracle.asked(), ["write exchange e"]);
}

#[test]
fn all_keys_of_a_message_are_asked_for() {
    let (world, oracle) = Oracle::world();
    let mut client = client(&world, &oracle);
    set_up(&mut client, &oracle);
    let keys: Vec<String> = (0..40).map(|n| format!("k{n}")).collect();
    let line = format!("[1] basic.publish t k m CC={}", keys.join(","));
    client.say(&line);
    let mut expected = vec!["write exchange t".to_owned(), "write topic t k".to_owned()];
    expected.extend(keys.iter().map(|key| format!("write topic t {key}")));
    assert_eq!(oracle.asked(), expected, "more than a channel remembers");
    client.expect(&[]);
    oracle.refuse("write topic t k39");
    client.ask(
        &line,
        &["[1] channel.close 403 ACCESS_REFUSED - write access to topic 'k39' in exchange 't' in vhost '/' refused for \
           user 'guest'"],
    );
}

/// The same conversation comes out the same, whether permissions are at hand or answers are a long time coming.
#[test]
fn waiting_for_answers_changes_nothing_else() {
    with_seeds(200, |seed| {
        let mut numbers = Numbers::new(seed);
        let own = World::new();
        let (world, oracle) = Oracle::world();
        let (mut at_hand, mut asked) = (own.client(), world.client());
        for channel in 2..4 {
            at_hand.open(channel);
            asked.open(channel);
        }
        for _ in 0..60 {
            let mut lines = String::new();
            for _ in 0..=numbers.below(5) {
                lines += &line(&mut numbers);
                lines.push('\n');
            }
            oracle.hold(numbers.below(2) == 0);
            at_hand.say(&lines);
            asked.say(&lines);
            if numbers.below(3) == 0 {
                asked.pump();
            }
            oracle.hold(false);
            let (expected, heard) = (at_hand.hear(), asked.hear());
            assert_eq!(heard, expected, "{lines}");
        }
        for queue in ["a", "b", "c"] {
            assert_eq!(world.counts(queue), own.counts(queue));
        }
    });
}

fn line(numbers: &mut Numbers) -> String {
    let queue = numbers.of(&["a", "b", "c"]);
    let exchange = numbers.of(&["x", "y", "-", "amq.topic"]);
    let body = numbers.of(&["m", "n", "300000*", "5000*"]);
    let flag = numbers.of(&["", "mandatory"]);
    let channel = 1 + numbers.below(3);
    let said = match numbers.below(12) {
        0 => format!("queue.declare {queue}"),
        1 => format!("queue.bind {queue} amq.topic {queue}"),
        2 => format!("queue.purge {queue}"),
        3 => format!("basic.get {queue} no-ack"),
        4 => "channel.close\n".to_owned() + &format!("[{channel}] channel.open"),
        5 => format!("queue.declare {queue} passive"),
        _ => format!("basic.publish {exchange} {queue} {body} {flag}"),
    };
    format!("[{channel}] {said}")
}
