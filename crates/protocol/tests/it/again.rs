//! Publishes that are like earlier ones take a short way. Whichever way one takes, the same comes of it.

use protocol::amqp091::BATCH_TARGETS_KEPT;

use crate::pair::{Client, Login, World, frame_ends};
use crate::random::{Numbers, with_seeds};
use crate::script;

const PROPERTIES: [&str; 12] = [
    "",
    "",
    "",
    "",
    "priority=3",
    "delivery_mode=2",
    "expiration=60000",
    "expiration=soon",
    "user_id=guest",
    "user_id=mallory",
    "colour=red",
    "reply_to=amq.rabbitmq.reply-to",
];

const BODIES: [&str; 6] = ["a", "b", "0*", "10*", "4000*", "9000*"];

const ADDRESSES: [&str; 5] = ["- q0", "- q1", "- nowhere", "e x.y", "e y.y"];

const CHANGES: [&str; 8] = [
    "[1] queue.delete q1",
    "[1] queue.declare q1",
    "[1] queue.bind q0 e x.*",
    "[1] queue.unbind q0 e x.*",
    "[1] queue.bind q1 e *.y",
    "[1] exchange.delete e",
    "[1] exchange.declare e topic",
    "[2] tx.commit",
];

/// Lines of one client, many of them the same again.
fn lines(numbers: &mut Numbers) -> Vec<String> {
    let mut lines = Vec::new();
    while lines.len() < 60 {
        if numbers.below(8) == 0 {
            lines.push(numbers.of(&CHANGES).to_owned());
            continue;
        }
        let channel = 1 + numbers.below(2);
        let (address, properties) = (numbers.of(&ADDRESSES), numbers.of(&PROPERTIES));
        let mandatory = numbers.of(&["", "mandatory"]);
        for _ in 0..1 + numbers.below(4) {
            let body = numbers.of(&BODIES);
            lines.push(format!(
                "[{channel}] basic.publish {address} {body} {properties} {mandatory}"
            ));
        }
    }
    lines
}

fn setup(client: &mut Client<'_>) {
    client.open(1);
    client.open(2);
    client.say(
        "[1] queue.declare q0 x-max-priority=5
         [1] queue.declare q1
         [1] exchange.declare e topic
         [1] queue.bind q0 e x.*
         [1] confirm.select
         [2] tx.select",
    );
    client.hear();
}

/// All that a client hears, and then finds in its queues, when it says `lines` in pieces as `send` cuts them. How
/// confirms are bundled depends on the pieces, so they are left out.
fn played(lines: &[String], send: impl Fn(&mut Client<'_>, &[u8])) -> Vec<String> {
    let world = World::new();
    let login = Login {
        frame_max: 4096,
        ..Login::default()
    };
    let mut client = world.connect_as(&login);
    setup(&mut client);
    let mut said = Vec::new();
    for line in lines {
        script::encode(&mut said, line, 4096);
    }
    send(&mut client, &said);
    let mut heard = client.hear();
    let mut reader = world.client();
    for queue in ["q0", "q1"] {
        for _ in 0..300 {
            reader.say(&format!("[1] basic.get {queue} no-ack"));
            let got = reader.hear();
            let last = got.iter().any(|line| !line.contains("get-ok"));
            heard.extend(got);
            if last {
                // It is empty, or gone with the channel.
                break;
            }
        }
        reader = world.client();
    }
    heard.retain(|line| !line.contains("basic.ack"));
    heard
}

#[test]
fn the_short_way_and_the_long_one_lead_to_the_same() {
    with_seeds(200, |seed| {
        let lines = lines(&mut Numbers::new(seed));
        let at_once = played(&lines, |client, said| client.send(said));
        let by_frames = played(&lines, |client, said| {
            let mut start = 0;
            for end in frame_ends(said) {
                client.send(&said[start..end]);
                start = end;
            }
        });
        assert_eq!(at_once, by_frames, "{lines:#?}");
    });
}

#[test]
fn ids_that_never_come_twice_do_no_harm() {
    let world = World::new();
    let mut client = world.client();
    client.say("[1] queue.declare q");
    client.hear();
    let lines: Vec<String> = (0..5000)
        .map(|n| format!("[1] basic.publish - q m{n} number={n}"))
        .collect();
    client.say(&lines.join("\n"));
    assert_eq!(world.counts("q"), "5000/0/0");
    client.say("[1] basic.consume q c no-ack");
    let heard = client.hear();
    assert!(heard[1].ends_with("number=0 m0"), "{}", heard[1]);
    assert!(
        heard[5000].ends_with("number=4999 m4999"),
        "{}",
        heard[5000]
    );
}

#[test]
fn keys_that_never_come_twice_do_no_harm() {
    let world = World::new();
    let mut client = world.client();
    client.say("[1] queue.declare q\n[1] exchange.declare e topic\n[1] queue.bind q e #");
    client.hear();
    for round in 0..3 {
        let lines: Vec<String> = (0..6000)
            .map(|n| format!("[1] basic.publish e key.{n} m"))
            .collect();
        client.say(&lines.join("\n"));
        assert_eq!(world.counts("q"), format!("{}/0/0", 6000 * (round + 1)));
    }
}

#[test]
fn a_remembered_publish_forgets_a_permission_that_is_gone() {
    let world = World::new();
    let mut client = world.client();
    client.ask(
        "[1] queue.declare q
         [1] basic.publish - q a
         [1] basic.publish - q b
         [1] basic.publish - q c",
        &["[1] queue.declare-ok q 0 0"],
    );
    let permissions = metadata::identity::Permissions::parse("", "", "").expect("patterns");
    world
        .node
        .identities
        .set_permissions("guest", &"/".into(), permissions)
        .expect("there is a guest");
    client.say("[1] basic.publish - q d\n[1] basic.publish - q e");
    let heard = client.hear();
    assert!(heard[0].contains("403"), "{heard:?}");
    assert_eq!(world.counts("q"), "3/0/0");
}

#[test]
fn a_queue_that_is_declared_anew_between_wide_batches_gets_what_follows() {
    let world = World::new();
    let mut client = world.client();
    // More queues than a connection remembers, a few, and more again.
    let wide = BATCH_TARGETS_KEPT + 10;
    let declares: Vec<String> = (0..wide)
        .map(|n| format!("[1] queue.declare q{n}"))
        .collect();
    client.say(&declares.join("\n"));
    client.hear();
    let publishes = |queues: usize| -> String {
        let lines = (0..2 * queues).map(|n| format!("[1] basic.publish - q{} m", n % queues));
        lines.collect::<Vec<_>>().join("\n")
    };
    for queues in [wide, wide, 20, 20] {
        client.say(&publishes(queues));
    }
    client.ask(
        "[1] queue.delete q5\n[1] queue.declare q5",
        &["[1] queue.delete-ok 8", "[1] queue.declare-ok q5 0 0"],
    );
    client.say(&publishes(20));
    client.say(&publishes(wide));
    assert_eq!(world.counts("q5"), "4/0/0");
    assert_eq!(world.counts("q6"), "12/0/0");
    assert_eq!(world.counts(&format!("q{}", wide - 1)), "6/0/0");
}
