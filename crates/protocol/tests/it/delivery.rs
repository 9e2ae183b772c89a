//! Consumers: order, prefetch, priorities, cancelling, and what goes back where when something ends.

use node::settings::{ConsumerTimeouts, Settings};
use protocol::amqp091::BODY_COPIED_BYTES_MAX;

use crate::pair::{Client, Login, World};

/// A queue with messages `a b c ...`.
fn filled(client: &mut Client<'_>, arguments: &str, bodies: &str) {
    client.say(&format!("[1] queue.declare q {arguments}"));
    for body in bodies.split(' ') {
        client.say(&format!("[1] basic.publish - q {body}"));
    }
    client.expect(&["[1] queue.declare-ok q 0 0"]);
}

fn consume(client: &mut Client<'_>, tag: &str, more: &str) {
    client.say(&format!("[1] basic.consume q {tag} {more}"));
    let heard = client.hear();
    assert_eq!(heard[0], format!("[1] basic.consume-ok {tag}"));
}

#[test]
fn deliveries_come_after_consume_ok_and_in_order() {
    let world = World::new();
    let mut client = world.client();
    filled(&mut client, "", "a b c");
    client.ask(
        "[1] basic.consume q c",
        &[
            "[1] basic.consume-ok c",
            "[1] basic.deliver c 1 a",
            "[1] basic.deliver c 2 b",
            "[1] basic.deliver c 3 c",
        ],
    );
    assert_eq!(world.counts("q"), "0/3/1");
    client.ask("[1] basic.ack 2", &[]);
    assert_eq!(world.counts("q"), "0/2/1");
    client.ask("[1] basic.ack ..3", &[]);
    assert_eq!(world.counts("q"), "0/0/1");
}

#[test]
fn a_tag_is_settled_once() {
    let world = World::new();
    let mut client = world.client();
    filled(&mut client, "", "a b");
    consume(&mut client, "c", "");
    client.ask("[1] basic.ack 1", &[]);
    client.ask(
        "[1] basic.ack 1",
        &["[1] channel.close 406 PRECONDITION_FAILED - unknown delivery tag 1"],
    );
    assert_eq!(world.counts("q"), "1/0/0");
}

#[test]
fn unknown_tags_are_refused_with_nothing_settled() {
    for line in [
        "basic.ack 3",
        "basic.ack ..3",
        "basic.nack 9 requeue",
        "basic.nack ..9",
        "basic.reject 3",
        "basic.ack 0",
    ] {
        let world = World::new();
        let mut client = world.client();
        filled(&mut client, "", "a b");
        consume(&mut client, "c", "");
        client.say(&format!("[1] {line}"));
        let heard = client.hear();
        let text = "[1] channel.close 406 PRECONDITION_FAILED - unknown delivery tag";
        assert!(heard[0].starts_with(text), "{line}: {heard:?}");
        assert_eq!(world.counts("q"), "2/0/0", "{line}");
    }
}

#[test]
fn tag_0_with_multiple_is_all_even_none() {
    let world = World::new();
    let mut client = world.client();
    filled(&mut client, "", "a b");
    client.ask("[1] basic.ack ..0", &[]);
    consume(&mut client, "c", "");
    client.ask("[1] basic.ack ..0", &[]);
    assert_eq!(world.counts("q"), "0/0/1");
}

#[test]
fn requeued_messages_return_to_their_places() {
    let world = World::new();
    let mut client = world.client();
    filled(&mut client, "", "a b c d");
    client.say("[1] basic.get q\n[1] basic.get q\n[1] basic.get q");
    assert_eq!(client.bodies(), ["a", "b", "c"]);
    client.ask("[1] basic.nack 2 requeue\n[1] basic.reject 1 requeue", &[]);
    client.ask(
        "[1] basic.get q\n[1] basic.get q\n[1] basic.get q",
        &[
            "[1] basic.get-ok 4! left=2 a",
            "[1] basic.get-ok 5! left=1 b",
            "[1] basic.get-ok 6 left=0 d",
        ],
    );
    client.ask("[1] basic.nack ..0 requeue", &[]);
    client.say("[1] basic.consume q c no-ack");
    client.expect(&[
        "[1] basic.consume-ok c",
        "[1] basic.deliver c 7! a",
        "[1] basic.deliver c 8! b",
        "[1] basic.deliver c 9! c",
        "[1] basic.deliver c 10! d",
    ]);
}

#[test]
fn recover_gives_all_back() {
    for line in ["basic.recover requeue", "basic.recover-async requeue"] {
        let world = World::new();
        let mut client = world.client();
        filled(&mut client, "", "a b");
        client.say("[1] basic.get q\n[1] basic.get q");
        client.hear();
        client.say(&format!("[1] {line}"));
        let answers: &[&str] = match line {
            "basic.recover requeue" => &["[1] basic.recover-ok"],
            _ => &[],
        };
        client.expect(answers);
        assert_eq!(world.counts("q"), "2/0/0");
    }
}

#[test]
fn prefetch_counts_for_each_consumer() {
    let world = World::new();
    let mut client = world.client();
    filled(&mut client, "", "a b c d e f");
    client.ask("[1] basic.qos 2", &["[1] basic.qos-ok"]);
    client.ask(
        "[1] basic.consume q x",
        &[
            "[1] basic.consume-ok x",
            "[1] basic.deliver x 1 a",
            "[1] basic.deliver x 2 b",
        ],
    );
    client.ask(
        "[1] basic.consume q y",
        &[
            "[1] basic.consume-ok y",
            "[1] basic.deliver y 3 c",
            "[1] basic.deliver y 4 d",
        ],
    );
    client.ask("[1] basic.ack 3", &["[1] basic.deliver y 5 e"]);
    client.ask("[1] basic.ack ..2", &["[1] basic.deliver x 6 f"]);
    // For consumers to come, not for those that are.
    client.ask("[1] basic.qos 1", &["[1] basic.qos-ok"]);
    client.ask(
        "[1] basic.publish - q g\n[1] basic.publish - q h",
        &["[1] basic.deliver x 7 g"],
    );
}

#[test]
fn global_prefetch_is_shared_by_the_channel() {
    let world = World::new();
    let mut client = world.client();
    filled(&mut client, "", "a b c d e f");
    client.ask("[1] basic.qos 3 global", &["[1] basic.qos-ok"]);
    client.say("[1] basic.qos 2\n[1] basic.consume q x\n[1] basic.consume q y");
    client.expect(&[
        "[1] basic.qos-ok",
        "[1] basic.consume-ok x",
        "[1] basic.consume-ok y",
        "[1] basic.deliver x 1 a",
        "[1] basic.deliver x 2 b",
        "[1] basic.deliver y 3 c",
    ]);
    client.ask("[1] basic.ack 1", &["[1] basic.deliver x 4 d"]);
    client.ask(
        "[1] basic.qos 4 global",
        &["[1] basic.qos-ok", "[1] basic.deliver y 5 e"],
    );
    client.ask("[1] basic.qos 1 global", &["[1] basic.qos-ok"]);
    client.ask("[1] basic.ack ..3", &[]);
    client.ask("[1] basic.ack 4", &[]);
    client.ask("[1] basic.ack 5", &["[1] basic.deliver x 6 f"]);
}

#[test]
fn global_prefetch_holds_for_consumers_that_were_there_before() {
    let world = World::new();
    let mut client = world.client();
    filled(&mut client, "", "a b");
    consume(&mut client, "x", "");
    client.ask("[1] basic.qos 1 global", &["[1] basic.qos-ok"]);
    client.ask("[1] basic.publish - q c", &[]);
    client.ask("[1] basic.ack ..2", &["[1] basic.deliver x 3 c"]);
    client.ask("[1] basic.publish - q d", &[]);
}

#[test]
fn credit_comes_back_once() {
    let world = World::new();
    let mut client = world.client();
    filled(&mut client, "", "a b c d");
    // Not shared: it was there before the channel had a limit.
    consume(&mut client, "x", "no-ack");
    client.ask("[1] basic.qos 1 global", &["[1] basic.qos-ok"]);
    for body in ["e", "f", "g"] {
        client.say(&format!("[1] basic.publish - q {body}"));
    }
    client.hear();
    client.ask("[1] basic.cancel x", &["[1] basic.cancel-ok x"]);
    for body in ["h", "i", "j"] {
        client.say(&format!("[1] basic.publish - q {body}"));
    }
    client.say("[1] basic.get q");
    assert_eq!(client.bodies(), ["h"]);
    client.say("[1] basic.consume q y");
    assert_eq!(client.hear().len(), 2);
    client.say("[1] basic.nack 8 requeue");
    assert_eq!(
        client.hear().len(),
        0,
        "a got message gives back no consumer's credit"
    );
}

#[test]
fn the_higher_priority_is_served_first() {
    let world = World::new();
    let mut client = world.client();
    client.say("[1] queue.declare q\n[1] basic.qos 1");
    client.say("[1] basic.consume q low x-priority=-1\n[1] basic.consume q mid\n[1] basic.consume q high x-priority=5");
    client.hear();
    client.say("[1] basic.publish - q a\n[1] basic.publish - q b\n[1] basic.publish - q c\n[1] basic.publish - q d");
    client.expect(&[
        "[1] basic.deliver high 1 a",
        "[1] basic.deliver mid 2 b",
        "[1] basic.deliver low 3 c",
    ]);
    client.ask("[1] basic.ack 3", &["[1] basic.deliver low 4 d"]);
}

#[test]
fn equals_take_turns() {
    let world = World::new();
    let mut one = world.client();
    let mut two = world.client();
    one.say("[1] queue.declare q\n[1] basic.consume q one");
    two.say("[1] basic.consume q two");
    one.hear();
    two.hear();
    for body in ["a", "b", "c", "d"] {
        one.say(&format!("[1] basic.publish - q {body}"));
    }
    assert_eq!(one.bodies(), ["a", "c"]);
    assert_eq!(two.bodies(), ["b", "d"]);
}

#[test]
fn a_single_active_consumer_hands_over() {
    let world = World::new();
    let mut one = world.client();
    let mut two = world.client();
    one.say("[1] queue.declare q x-single-active-consumer=true\n[1] basic.consume q one");
    two.say("[1] basic.consume q two");
    one.hear();
    two.hear();
    one.say("[1] basic.publish - q a\n[1] basic.publish - q b");
    assert_eq!(one.bodies(), ["a", "b"]);
    two.expect(&[]);
    one.hang_up();
    two.expect(&["[1] basic.deliver two 1! a", "[1] basic.deliver two 2! b"]);
}

#[test]
fn an_exclusive_consumer_is_alone() {
    let world = World::new();
    let mut one = world.client();
    let mut two = world.client();
    one.say("[1] queue.declare q\n[1] basic.consume q one exclusive");
    one.hear();
    two.ask(
        "[1] basic.consume q two",
        &["[1] channel.close 403 ACCESS_REFUSED - queue 'q' in vhost '/' in exclusive use"],
    );
}

#[test]
fn cancelling_stops_deliveries_and_keeps_the_unacked() {
    let world = World::new();
    let mut client = world.client();
    filled(&mut client, "", "a b");
    consume(&mut client, "c", "");
    client.ask("[1] basic.cancel c", &["[1] basic.cancel-ok c"]);
    client.ask("[1] basic.publish - q c", &[]);
    assert_eq!(world.counts("q"), "1/2/0");
    client.ask("[1] basic.ack 1", &[]);
    client.ask("[1] basic.nack 2 requeue", &[]);
    assert_eq!(world.counts("q"), "2/0/0");
    client.ask("[1] basic.cancel nobody", &["[1] basic.cancel-ok nobody"]);
    client.ask("[1] basic.cancel c no-wait", &[]);
}

#[test]
fn deliveries_under_way_come_before_cancel_ok() {
    let world = World::new();
    let mut client = world.client();
    client.say("[1] queue.declare q\n[1] basic.consume q c");
    client.hear();
    client.ask(
        "[1] basic.publish - q a\n[1] basic.publish - q b\n[1] basic.cancel c",
        &[
            "[1] basic.deliver c 1 a",
            "[1] basic.deliver c 2 b",
            "[1] basic.cancel-ok c",
        ],
    );
    assert_eq!(world.counts("q"), "0/2/0");
}

#[test]
fn a_consumer_that_does_not_read_can_be_cancelled() {
    let world = World::new();
    let mut client = world.client();
    client.say("[1] queue.declare q\n[1] basic.consume q c");
    client.hear();
    client.set_reads(false);
    let mut other = world.client();
    for _ in 0..40 {
        other.say("[1] basic.publish - q 100000*");
    }
    other.outwait_consumers();
    client.pump();
    client.set_reads(true);
    client.say("[1] basic.cancel c");
    let heard = client.hear();
    assert_eq!(
        heard.last().map(String::as_str),
        Some("[1] basic.cancel-ok c")
    );
    assert_eq!(
        world.counts("q"),
        format!("{}/{}/0", 41 - heard.len(), heard.len() - 1)
    );
}

#[test]
fn a_closed_channel_gives_back_in_order() {
    let world = World::new();
    let mut client = world.client();
    filled(&mut client, "", "a b c d e");
    client.say("[1] basic.get q\n[1] basic.get q\n[1] basic.consume q c");
    client.hear();
    client.say("[1] basic.ack 2\n[1] basic.ack 4");
    client.ask("[1] channel.close", &["[1] channel.close-ok"]);
    assert_eq!(world.counts("q"), "3/0/0");
    client.open(1);
    client.ask(
        "[1] basic.consume q c no-ack",
        &[
            "[1] basic.consume-ok c",
            "[1] basic.deliver c 1! a",
            "[1] basic.deliver c 2! c",
            "[1] basic.deliver c 3! e",
        ],
    );
}

#[test]
fn a_lost_connection_gives_back_in_order() {
    let world = World::new();
    let mut client = world.client();
    let mut other = world.client();
    filled(&mut client, "", "a b c");
    client.open(2);
    client.say("[2] basic.qos 1\n[2] basic.consume q x\n[1] basic.consume q y");
    client.hear();
    assert_eq!(world.counts("q"), "0/3/2");
    client.hang_up();
    assert_eq!(world.counts("q"), "3/0/0");
    other.ask(
        "[1] basic.consume q o",
        &[
            "[1] basic.consume-ok o",
            "[1] basic.deliver o 1! a",
            "[1] basic.deliver o 2! b",
            "[1] basic.deliver o 3! c",
        ],
    );
}

#[test]
fn a_dropped_connection_gives_back_too() {
    let world = World::new();
    let mut client = world.client();
    filled(&mut client, "", "a b c");
    consume(&mut client, "c", "");
    drop(client);
    assert_eq!(world.counts("q"), "3/0/0");
}

#[test]
fn exclusive_queues_go_with_their_connection() {
    let world = World::new();
    let mut client = world.client();
    let mut other = world.client();
    client.say("[1] queue.declare q exclusive\n[1] basic.publish - q a");
    client.hear();
    let locked = "[1] channel.close 405 RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'q' in vhost '/'. \
         It could be originally declared on another connection or the exclusive property value does not match that of the original declaration.";
    for line in [
        "queue.declare q",
        "queue.declare q passive",
        "basic.get q",
        "basic.consume q c",
        "queue.purge q",
        "queue.delete q",
    ] {
        other.ask(&format!("[1] {line}"), &[locked]);
        other.say("[1] channel.close-ok");
        other.open(1);
    }
    client.hang_up();
    assert_eq!(world.counts("q"), "gone");
}

#[test]
fn an_auto_delete_queue_goes_with_its_last_consumer() {
    let world = World::new();
    let mut client = world.client();
    client.say("[1] queue.declare q auto-delete\n[1] basic.consume q x\n[1] basic.consume q y");
    client.hear();
    client.ask("[1] basic.cancel x", &["[1] basic.cancel-ok x"]);
    assert_eq!(world.counts("q"), "0/0/1");
    client.ask("[1] channel.close", &["[1] channel.close-ok"]);
    assert_eq!(world.counts("q"), "gone");
}

#[test]
fn consumers_are_told_when_their_queue_goes() {
    let world = World::new();
    let mut client = world.client();
    filled(&mut client, "", "a");
    consume(&mut client, "c", "");
    let mut other = world.client();
    other.ask("[1] queue.delete q", &["[1] queue.delete-ok 0"]);
    client.expect(&["[1] basic.cancel c"]);
    // Its tag is free, its unacked message may still be settled.
    client.ask("[1] basic.ack 1", &[]);
    client.ask(
        "[1] queue.declare q\n[1] basic.consume q c",
        &["[1] queue.declare-ok q 0 0", "[1] basic.consume-ok c"],
    );
}

#[test]
fn a_consumer_tag_is_used_once_on_a_channel() {
    let world = World::new();
    let mut client = world.client();
    client.open(2);
    client.say("[1] queue.declare q\n[1] basic.consume q c\n[2] basic.consume q c");
    client.hear();
    client.say("[1] basic.consume q c");
    assert_eq!(
        client.hear(),
        ["[0] connection.close 530 NOT_ALLOWED - attempt to reuse consumer tag 'c'"]
    );
}

#[test]
fn a_dead_letter_is_redelivered_where_a_delivery_failed() {
    for (answer, waits, redelivered) in [
        ("basic.reject 1", false, true),
        ("basic.nack 1", false, false),
        // A classic queue hands it on as if it were new.
        ("basic.reject 1", true, false),
    ] {
        let world = World::new();
        let mut client = world.client();
        client.ask("[1] queue.declare d", &["[1] queue.declare-ok d 0 0"]);
        let arguments = "x-dead-letter-exchange= x-dead-letter-routing-key=d";
        filled(&mut client, arguments, "a");
        if waits {
            client.ask("[1] basic.consume d c", &["[1] basic.consume-ok c"]);
        }
        client.say("[1] basic.get q");
        client.hear();
        client.say(&format!("[1] {answer}"));
        if !waits {
            client.say("[1] basic.get d");
        }
        let heard = client.hear().join("\n");
        assert!(heard.contains(" a"), "{answer}: {heard}");
        let told = heard.contains("! ");
        assert_eq!(told, redelivered, "{answer}, waits: {waits}: {heard}");
    }
}

#[test]
fn a_quorum_queue_takes_back_what_a_consumer_holds_too_long() {
    let world = World::new();
    let mut client = world.client();
    filled(
        &mut client,
        "durable x-queue-type=quorum x-consumer-timeout=60000",
        "a b",
    );
    consume(&mut client, "c", "");
    world.pass(59_999);
    client.expect(&[]);
    world.pass(2_000);
    let heard = client.hear();
    assert_eq!(heard, ["[1] basic.cancel c"]);
    assert_eq!(world.counts("q"), "2/0/0");
}

#[test]
fn the_channel_closes_where_cancels_are_not_understood() {
    let world = World::new();
    let login = crate::pair::Login {
        capabilities: vec![],
        ..Default::default()
    };
    let mut client = world.connect_as(&login);
    client.open(1);
    filled(
        &mut client,
        "durable x-queue-type=quorum x-consumer-timeout=60000",
        "a b",
    );
    consume(&mut client, "c", "");
    world.pass(62_000);
    let heard = client.hear();
    let text = "[1] channel.close 406 PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: 60000 ms";
    assert!(heard[0].starts_with(text), "{heard:?}");
    assert_eq!(world.counts("q"), "2/0/0");
}

#[test]
fn a_classic_queue_takes_back_only_what_somebody_timed() {
    let hours = 3_600_000;
    for (queue, consumer, set, expected) in [
        ("", "", None, None),
        ("x-consumer-timeout=60000", "", None, Some(60_000)),
        ("", "x-consumer-timeout=60000", None, Some(60_000)),
        ("", "", Some(60_000), Some(60_000)),
        ("x-consumer-timeout=60000", "", Some(90_000), Some(60_000)),
    ] {
        let mut settings = Settings::default();
        if set.is_some() {
            settings.consumer_timeout_ms = ConsumerTimeouts::all(set);
        }
        let world = World::with(settings);
        let mut client = world.client();
        filled(&mut client, queue, "a b");
        consume(&mut client, "c", consumer);
        world.pass(expected.unwrap_or(hours) - 1);
        client.expect(&[]);
        world.pass(2_000);
        let late: &[&str] = match expected {
            Some(_) => &["[1] basic.cancel c"],
            None => &[],
        };
        client.expect(late);
    }
}

#[test]
fn global_prefetch_counts_what_is_on_its_way() {
    let world = World::new();
    let mut client = world.client();
    filled(&mut client, "", "a b c d");
    // Both in one input: nothing is delivered yet when the limit comes.
    client.say("[1] basic.qos 2\n[1] basic.consume q x\n[1] basic.qos 1 global");
    let heard = client.hear();
    assert_eq!(
        heard[2..],
        [
            "[1] basic.deliver x 1 a",
            "[1] basic.deliver x 2 b",
            "[1] basic.qos-ok"
        ]
    );
    client.ask("[1] basic.ack 1", &[]);
    client.ask("[1] basic.ack 2", &["[1] basic.deliver x 3 c"]);
}

#[test]
fn a_body_that_is_not_copied_arrives_whole_through_a_narrow_socket() {
    let world = World::new();
    let login = Login {
        frame_max: 4096,
        ..Login::default()
    };
    for room in [13, 777, 5000, usize::MAX] {
        let mut client = world.connect_as(&login);
        client.open(1);
        client.say("[1] queue.declare q\n[1] basic.consume q c no-ack");
        client.hear();
        client.set_room(room);
        let long = 3 * BODY_COPIED_BYTES_MAX;
        client.say(&format!(
            "[1] basic.publish - q a
             [1] basic.publish - q {long}*
             [1] basic.publish - q b
             [1] basic.publish - q {}*
             [1] basic.publish - q {}*",
            BODY_COPIED_BYTES_MAX + 1,
            BODY_COPIED_BYTES_MAX,
        ));
        let long = format!("{long}*");
        let just = format!("{}*", BODY_COPIED_BYTES_MAX + 1);
        let copied = format!("{BODY_COPIED_BYTES_MAX}*");
        assert_eq!(client.bodies(), ["a", &long, "b", &just, &copied]);
        client.hang_up();
    }
}
