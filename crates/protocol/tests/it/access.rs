//! Who may do what, and what a broken catalog does.

use metadata::identity::{Permissions, TopicPermissions};
use node::identities::NewPassword;

use crate::pair::{Client, Login, World, handshake};

/// A world with the user `u` and its permissions.
fn world_with(configure: &str, write: &str, read: &str) -> World {
    let world = World::new();
    let identities = &world.node.identities;
    identities
        .add_user("u", NewPassword::Clear(b"p"), vec![])
        .expect("a new user");
    let permissions = Permissions::parse(configure, write, read).expect("patterns");
    identities
        .set_permissions("u", &"/".into(), permissions)
        .expect("the user is there");
    world
}

fn user(world: &World) -> Client<'_> {
    let mut client = world.connect_as(&Login::of("u", "p"));
    client.open(1);
    client
}

#[test]
fn a_user_without_permissions_does_not_enter() {
    let world = world_with("", "", "");
    world.node.identities.clear_permissions("u", "/");
    let mut client = world.accept(true);
    client.send(&handshake(&Login::of("u", "p")));
    assert_eq!(
        client.hear().pop().as_deref(),
        Some("[0] connection.close 530 NOT_ALLOWED - access to vhost '/' refused for user 'u'")
    );
}

#[test]
fn each_operation_needs_its_permissions() {
    // What is said, by a user who may configure `c.*`, write `w.*` and read `r.*`, and what is refused.
    let cases = [
        ("queue.declare c1", ""),
        ("queue.declare x", "configure access to queue 'x'"),
        (
            "queue.declare amq.x",
            "queue name 'amq.x' contains reserved prefix 'amq.*'",
        ),
        ("queue.delete x", "configure access to queue 'x'"),
        ("queue.purge x", "read access to queue 'x'"),
        ("exchange.declare c2 fanout", ""),
        (
            "exchange.declare x fanout",
            "configure access to exchange 'x'",
        ),
        ("exchange.delete x", "configure access to exchange 'x'"),
        ("basic.get x", "read access to queue 'x'"),
        ("basic.consume x c", "read access to queue 'x'"),
        ("basic.publish x k a", "write access to exchange 'x'"),
        (
            "basic.publish - k a",
            "write access to exchange 'amq.default'",
        ),
        ("queue.bind x r.e k", "write access to queue 'x'"),
        ("queue.bind x - k", "write access to queue 'x'"),
        (
            "queue.bind w.q - k",
            "operation not permitted on the default exchange",
        ),
        ("exchange.bind x - k", "write access to exchange 'x'"),
        (
            "exchange.bind - r.e k",
            "write access to exchange 'amq.default'",
        ),
        ("queue.declare x passive", "configure access to queue 'x'"),
        (
            "exchange.declare x fanout passive",
            "configure access to exchange 'x'",
        ),
        ("queue.bind w.q x k", "read access to exchange 'x'"),
        ("queue.unbind x r.e k", "write access to queue 'x'"),
        ("exchange.bind x r.e k", "write access to exchange 'x'"),
        ("exchange.bind w.e x k", "read access to exchange 'x'"),
        (
            "queue.declare c3 x-dead-letter-exchange=w.d",
            "read access to queue 'c3'",
        ),
        (
            "exchange.declare c4 fanout alternate-exchange=w.d",
            "read access to exchange 'c4'",
        ),
    ];
    let world = world_with("^c", "^w", "^r");
    let mut guest = world.client();
    guest.say(
        "[1] queue.declare x\n[1] exchange.declare x fanout\n[1] exchange.declare r.e fanout
         [1] queue.declare w.q\n[1] exchange.declare w.e fanout",
    );
    guest.hear();
    for (line, refused) in cases {
        let mut client = user(&world);
        client.say(&format!("[1] {line}"));
        let heard = client.hear();
        match refused {
            "" => assert!(
                heard[0].ends_with("-ok") || heard[0].ends_with(" 0 0"),
                "{line}: {heard:?}"
            ),
            refused => {
                let mut answer = format!("[1] channel.close 403 ACCESS_REFUSED - {refused}");
                if refused.contains(" access to ") {
                    answer += " in vhost '/' refused for user 'u'";
                }
                assert_eq!(heard, [answer], "{line}");
            }
        }
    }
}

/// Whoever may do anything with a name may ask whether it is there: RabbitMQ 4.3.
#[test]
fn any_permission_is_enough_for_a_passive_declare() {
    let world = world_with("^c", "^w", "^r");
    for name in ["c", "w", "r"] {
        for (line, kind) in [
            (format!("[1] queue.declare {name} passive"), "queue"),
            (
                format!("[1] exchange.declare {name} fanout passive"),
                "exchange",
            ),
        ] {
            let close =
                format!("[1] channel.close 404 NOT_FOUND - no {kind} '{name}' in vhost '/'");
            user(&world).ask(&line, &[&close]);
        }
    }
}

#[test]
fn a_permission_that_is_taken_away_is_missed_by_the_next_publish() {
    let world = world_with("", ".*", "");
    let mut guest = world.client();
    guest.ask("[1] queue.declare q", &["[1] queue.declare-ok q 0 0"]);
    let mut client = user(&world);
    client.ask("[1] basic.publish - q a\n[1] basic.publish - q b", &[]);
    let nothing = Permissions::parse("", "", "").expect("patterns");
    let set = world
        .node
        .identities
        .set_permissions("u", &"/".into(), nothing);
    set.expect("the user is there");
    client.ask(
        "[1] basic.publish - q c",
        &["[1] channel.close 403 ACCESS_REFUSED - write access to exchange 'amq.default' in vhost '/' refused for user 'u'"],
    );
    assert_eq!(world.counts("q"), "2/0/0");
}

/// It used to be the first key only: with a `CC` header everything could be published.
#[test]
fn topic_permissions_look_at_the_keys_of_headers_too() {
    let world = world_with(".*", ".*", ".*");
    let topics = TopicPermissions::parse("amq.topic", "^w", "").expect("patterns");
    let set = world
        .node
        .identities
        .set_topic_permissions("u", &"/".into(), topics);
    set.expect("the user is there");
    for header in ["CC", "BCC"] {
        let mut client = user(&world);
        client.ask(
            &format!("[1] basic.publish amq.topic w.1 a {header}=w.2,w.3"),
            &[],
        );
        client.ask(
            &format!("[1] basic.publish amq.topic w.1 a {header}=w.2,x"),
            &["[1] channel.close 403 ACCESS_REFUSED - write access to topic 'x' in exchange 'amq.topic' in vhost '/' refused for user 'u'"],
        );
    }
}

#[test]
fn topic_permissions_look_at_the_routing_key() {
    let world = world_with(".*", ".*", ".*");
    let topics = TopicPermissions::parse("amq.topic", "^w", "^r").expect("patterns");
    let set = world
        .node
        .identities
        .set_topic_permissions("u", &"/".into(), topics);
    set.expect("the user is there");
    let mut client = user(&world);
    client.ask("[1] queue.declare q", &["[1] queue.declare-ok q 0 0"]);
    client.ask(
        "[1] basic.publish amq.topic w.1 a\n[1] queue.bind q amq.topic r.1",
        &["[1] queue.bind-ok"],
    );
    client.ask(
        "[1] basic.publish amq.topic x a",
        &["[1] channel.close 403 ACCESS_REFUSED - write access to topic 'x' in exchange 'amq.topic' in vhost '/' refused for user 'u'"],
    );
    client.say("[1] channel.close-ok");
    client.open(1);
    client.ask(
        "[1] queue.bind q amq.topic x",
        &["[1] channel.close 403 ACCESS_REFUSED - read access to topic 'x' in exchange 'amq.topic' in vhost '/' refused for user 'u'"],
    );
}

#[test]
fn a_user_id_must_be_ones_own() {
    let world = World::new();
    let mut client = world.client();
    client.say("[1] queue.declare q\n[1] basic.publish - q a user_id=guest");
    client.hear();
    assert_eq!(world.counts("q"), "1/0/0");
}

#[test]
fn a_catalog_that_fails_ends_who_waits_for_it() {
    let world = World::new();
    let mut client = world.client();
    client.ask(
        "[1] queue.declare a durable",
        &["[1] queue.declare-ok a 0 0"],
    );
    world.node.catalog.close();
    client.say("[1] queue.declare b durable");
    let heard = client.hear();
    assert_eq!(heard.len(), 1, "{heard:?}");
    assert!(
        heard[0].starts_with("[0] connection.close 541 INTERNAL_ERROR - "),
        "{heard:?}"
    );
    // What promises nothing goes on.
    let mut other = world.client();
    other.ask("[1] queue.declare c", &["[1] queue.declare-ok c 0 0"]);
    other.ask(
        "[1] queue.declare d durable no-wait\n[1] queue.declare c passive",
        &["[1] queue.declare-ok c 0 0"],
    );
}

#[test]
fn a_client_that_closes_while_its_answers_wait_is_answered_or_told_why_not() {
    let world = World::new();
    let mut client = world.client();
    world.node.catalog.close();
    client.say("[1] queue.declare b durable\n[0] connection.close");
    let heard = client.hear();
    assert!(!heard.is_empty(), "the socket closes without a word");
}
