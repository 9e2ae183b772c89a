//! Publishers: confirms, returns, transactions, direct reply-to, alarms.

use node::alarms::Alarm;

use crate::pair::{Login, World};

#[test]
fn confirms_of_one_input_are_one_ack() {
    let world = World::new();
    let mut client = world.client();
    client.ask(
        "[1] queue.declare q
         [1] confirm.select
         [1] basic.publish - q a
         [1] basic.publish - q b
         [1] basic.publish - nowhere c",
        &[
            "[1] queue.declare-ok q 0 0",
            "[1] confirm.select-ok",
            "[1] basic.ack ..3",
        ],
    );
    client.ask("[1] basic.publish - q d", &["[1] basic.ack 4"]);
    client.ask("[1] confirm.select", &["[1] confirm.select-ok"]);
    client.ask("[1] basic.publish - q e", &["[1] basic.ack 5"]);
}

#[test]
fn what_was_published_before_confirm_select_is_not_confirmed() {
    let world = World::new();
    let mut client = world.client();
    client.say("[1] queue.declare q x-max-length=0 x-overflow=reject-publish");
    client.hear();
    client.ask(
        "[1] basic.publish - q a\n[1] confirm.select\n[1] basic.publish - nowhere b",
        &["[1] confirm.select-ok", "[1] basic.ack 1"],
    );
}

#[test]
fn a_refused_publish_is_nacked_between_the_acks() {
    let world = World::new();
    let mut client = world.client();
    client.say("[1] queue.declare q x-max-length=2 x-overflow=reject-publish\n[1] queue.declare r\n[1] confirm.select");
    client.hear();
    client.ask(
        "[1] basic.publish - q a
         [1] basic.publish - q b
         [1] basic.publish - q c
         [1] basic.publish - r d
         [1] basic.publish - q e
         [1] basic.publish - r f",
        &[
            "[1] basic.ack ..2",
            "[1] basic.nack 3",
            "[1] basic.ack 4",
            "[1] basic.nack 5",
            "[1] basic.ack 6",
        ],
    );
    assert_eq!(
        (world.counts("q"), world.counts("r")),
        ("2/0/0".into(), "2/0/0".into())
    );
}

#[test]
fn channels_confirm_for_themselves() {
    let world = World::new();
    let mut client = world.client();
    client.open(2);
    client.say("[1] queue.declare q\n[1] confirm.select\n[2] confirm.select");
    client.hear();
    client.say("[1] basic.publish - q a\n[2] basic.publish - q b\n[1] basic.publish - q c");
    let mut heard = client.hear();
    heard.sort();
    assert_eq!(heard, ["[1] basic.ack ..2", "[2] basic.ack 1"]);
}

#[test]
fn a_return_comes_before_its_ack() {
    let world = World::new();
    let mut client = world.client();
    client.say("[1] queue.declare q\n[1] confirm.select");
    client.hear();
    client.ask(
        "[1] basic.publish - q a mandatory
         [1] basic.publish - nowhere b mandatory
         [1] basic.publish amq.direct none c mandatory
         [1] basic.publish - nowhere d",
        &[
            "[1] basic.return 312 NO_ROUTE - nowhere b",
            "[1] basic.return 312 NO_ROUTE amq.direct none c",
            "[1] basic.ack ..4",
        ],
    );
}

#[test]
fn a_bad_publish_closes_its_channel_and_the_rest_is_kept() {
    let cases = [
        (
            "nowhere k b",
            "404 NOT_FOUND - no exchange 'nowhere' in vhost '/'",
        ),
        (
            "- q b user_id=somebody",
            "406 PRECONDITION_FAILED - user_id property set to 'somebody' but authenticated user was 'guest'",
        ),
        (
            "- q b expiration=-1",
            "406 PRECONDITION_FAILED - invalid expiration '-1': ",
        ),
        (
            "- q b expiration=soon",
            "406 PRECONDITION_FAILED - invalid expiration 'soon': ",
        ),
        (
            "inside k b",
            "403 ACCESS_REFUSED - cannot publish to internal exchange 'inside' in vhost '/'",
        ),
        (
            "- q b reply_to=amq.rabbitmq.reply-to",
            "406 PRECONDITION_FAILED - fast reply consumer does not exist",
        ),
    ];
    for (publish, answer) in cases {
        let world = World::new();
        let mut client = world.client();
        client.say(
            "[1] queue.declare q\n[1] exchange.declare inside fanout internal\n[1] confirm.select",
        );
        client.hear();
        client.say(&format!(
            "[1] basic.publish - q a\n[1] basic.publish {publish}\n[1] basic.publish - q c"
        ));
        let heard = client.hear();
        assert_eq!(heard[0], "[1] basic.ack 1");
        assert!(
            heard[1].starts_with(&format!("[1] channel.close {answer}")),
            "{heard:?}"
        );
        assert_eq!(world.counts("q"), "1/0/0");
    }
}

#[test]
fn immediate_is_not_implemented() {
    let world = World::new();
    let mut client = world.client();
    client.say("[1] basic.publish - q a immediate");
    assert_eq!(
        client.hear(),
        ["[0] connection.close 540 NOT_IMPLEMENTED - immediate=true"]
    );
}

#[test]
fn a_transaction_waits_for_its_commit() {
    let world = World::new();
    let mut client = world.client();
    client.ask(
        "[1] queue.declare q\n[1] tx.select\n[1] basic.publish - q a\n[1] basic.publish - q b",
        &["[1] queue.declare-ok q 0 0", "[1] tx.select-ok"],
    );
    assert_eq!(world.counts("q"), "0/0/0");
    client.ask("[1] tx.commit", &["[1] tx.commit-ok"]);
    assert_eq!(world.counts("q"), "2/0/0");
    client.ask(
        "[1] basic.publish - q c\n[1] tx.rollback",
        &["[1] tx.rollback-ok"],
    );
    assert_eq!(world.counts("q"), "2/0/0");
    client.ask("[1] tx.commit", &["[1] tx.commit-ok"]);
    assert_eq!(world.counts("q"), "2/0/0");
}

#[test]
fn acks_of_a_transaction_wait_too() {
    let world = World::new();
    let mut client = world.client();
    client.say("[1] queue.declare q\n[1] basic.publish - q a\n[1] basic.publish - q b\n[1] basic.publish - q c");
    client.say("[1] tx.select\n[1] basic.consume q c");
    client.hear();
    client.ask("[1] basic.ack 1\n[1] basic.nack 2 requeue", &[]);
    assert_eq!(world.counts("q"), "0/3/1");
    client.ask("[1] tx.rollback", &["[1] tx.rollback-ok"]);
    client.ask("[1] basic.ack ..2\n[1] tx.commit", &["[1] tx.commit-ok"]);
    assert_eq!(world.counts("q"), "0/1/1");
    // Acked and not committed: back it goes.
    client.ask(
        "[1] basic.ack 3\n[1] channel.close",
        &["[1] channel.close-ok"],
    );
    assert_eq!(world.counts("q"), "1/0/0");
}

#[test]
fn a_tag_is_settled_once_in_a_transaction() {
    let world = World::new();
    let mut client = world.client();
    client.say("[1] queue.declare q\n[1] basic.publish - q a\n[1] tx.select\n[1] basic.get q");
    client.hear();
    client.ask(
        "[1] basic.ack 1\n[1] basic.ack 1",
        &["[1] channel.close 406 PRECONDITION_FAILED - unknown delivery tag 1"],
    );
    assert_eq!(world.counts("q"), "1/0/0");
}

#[test]
fn returns_of_a_transaction_come_with_the_commit() {
    let world = World::new();
    let mut client = world.client();
    client.ask(
        "[1] tx.select\n[1] basic.publish - nowhere a mandatory",
        &["[1] tx.select-ok"],
    );
    client.ask(
        "[1] tx.commit",
        &[
            "[1] basic.return 312 NO_ROUTE - nowhere a",
            "[1] tx.commit-ok",
        ],
    );
}

#[test]
fn a_channel_is_transactional_or_confirms() {
    let world = World::new();
    let mut client = world.client();
    client.open(2);
    client.open(3);
    client.ask(
        "[1] confirm.select\n[1] tx.select",
        &[
            "[1] confirm.select-ok",
            "[1] channel.close 406 PRECONDITION_FAILED - cannot switch from confirm to tx mode",
        ],
    );
    client.ask(
        "[2] tx.select\n[2] confirm.select",
        &[
            "[2] tx.select-ok",
            "[2] channel.close 406 PRECONDITION_FAILED - cannot switch from tx to confirm mode",
        ],
    );
    client.ask(
        "[3] tx.commit",
        &["[3] channel.close 406 PRECONDITION_FAILED - channel is not transactional"],
    );
}

#[test]
fn a_question_and_its_answer() {
    let world = World::new();
    let mut asker = world.client();
    let mut answerer = world.client();
    answerer.ask("[1] queue.declare q", &["[1] queue.declare-ok q 0 0"]);
    asker.ask(
        "[1] basic.consume amq.rabbitmq.reply-to r no-ack",
        &["[1] basic.consume-ok r"],
    );
    asker.ask(
        "[1] basic.publish - q question reply_to=amq.rabbitmq.reply-to correlation_id=7",
        &[],
    );
    answerer.say("[1] basic.get q no-ack");
    let heard = answerer.hear();
    let address = heard[0].split("reply_to=").nth(1).expect("an address");
    let address = address.split(' ').next().expect("an address").to_owned();
    assert!(address.starts_with("amq.rabbitmq.reply-to."), "{address}");
    answerer.ask(
        &format!("[1] queue.declare {address} passive"),
        &[&format!("[1] queue.declare-ok {address} 0 1")],
    );
    answerer.ask(
        &format!("[1] basic.publish - {address} answer mandatory"),
        &[],
    );
    asker.expect(&["[1] basic.deliver r 1 answer"]);
    asker.ask("[1] basic.cancel r", &["[1] basic.cancel-ok r"]);
    answerer.ask(
        &format!("[1] basic.publish - {address} late mandatory"),
        // As in RabbitMQ: replies are delivered at most once, and an address that was counts as routed.
        &[],
    );
}

#[test]
fn a_reply_consumer_is_one_and_takes_without_acks() {
    let world = World::new();
    let mut client = world.client();
    client.open(2);
    client.ask(
        "[2] basic.consume amq.rabbitmq.reply-to r",
        &["[2] channel.close 406 PRECONDITION_FAILED - reply consumer cannot acknowledge"],
    );
    client.ask(
        "[1] basic.consume amq.rabbitmq.reply-to r no-ack\n[1] basic.consume amq.rabbitmq.reply-to s no-ack",
        &["[1] basic.consume-ok r", "[1] channel.close 406 PRECONDITION_FAILED - reply consumer already set"],
    );
}

#[test]
fn an_alarm_holds_up_publishers_only() {
    let world = World::new();
    let mut publisher = world.client();
    let mut consumer = world.client();
    publisher.say("[1] queue.declare q\n[1] basic.publish - q a\n[1] basic.publish - q b");
    publisher.hear();
    world.node.set_alarm(Alarm::Memory, true);
    publisher.expect(&["[0] connection.blocked low on memory"]);
    consumer.ask(
        "[1] basic.qos 1\n[1] basic.consume q c",
        &[
            "[1] basic.qos-ok",
            "[1] basic.consume-ok c",
            "[1] basic.deliver c 1 a",
        ],
    );
    consumer.ask("[1] basic.ack 1", &["[1] basic.deliver c 2 b"]);
    publisher.ask("[1] basic.publish - q c\n[1] queue.declare q passive", &[]);
    assert!(publisher.connection.is_blocked());
    assert_eq!(world.counts("q"), "0/1/1");
    world.node.set_alarm(Alarm::Disk, true);
    world.node.set_alarm(Alarm::Memory, false);
    publisher.expect(&[]);
    world.node.set_alarm(Alarm::Disk, false);
    publisher.expect(&["[0] connection.unblocked", "[1] queue.declare-ok q 1 1"]);
    consumer.ask("[1] basic.ack 2", &["[1] basic.deliver c 3 c"]);
}

#[test]
fn who_does_not_understand_blocked_is_not_told() {
    let world = World::new();
    let mut publisher = world.connect_as(&Login {
        capabilities: vec![],
        ..Login::default()
    });
    publisher.open(1);
    world.node.set_alarm(Alarm::Memory, true);
    publisher.ask(
        "[1] queue.declare q\n[1] basic.publish - q a",
        &["[1] queue.declare-ok q 0 0"],
    );
    assert_eq!(world.counts("q"), "0/0/0");
    world.node.set_alarm(Alarm::Memory, false);
    publisher.expect(&[]);
    assert_eq!(world.counts("q"), "1/0/0");
}

#[test]
fn a_blocked_connection_may_be_lost() {
    let world = World::new();
    let mut publisher = world.client();
    world.node.set_alarm(Alarm::Memory, true);
    publisher.say("[1] queue.declare q exclusive\n[1] basic.publish - q a");
    publisher.hear();
    assert_eq!(world.counts("q"), "0/0/0");
    publisher.hang_up();
    assert_eq!(world.counts("q"), "gone");
    assert_eq!(world.node.connections.accepted_len(), 0);
}

#[test]
fn a_blocked_connection_that_closes_is_answered() {
    let world = World::new();
    let mut publisher = world.client();
    world.node.set_alarm(Alarm::Memory, true);
    publisher.ask(
        "[1] queue.declare q\n[1] basic.publish - q a",
        &[
            "[1] queue.declare-ok q 0 0",
            "[0] connection.blocked low on memory",
        ],
    );
    assert_eq!(world.counts("q"), "0/0/0");
    publisher.ask(
        "[1] basic.publish - q b\n[0] connection.close",
        &["[0] connection.close-ok"],
    );
    assert_eq!(world.counts("q"), "2/0/0");
    // One that leaves at once is not told, for it does not wait.
    let mut hasty = world.client();
    hasty.ask(
        "[1] basic.publish - q c\n[0] connection.close",
        &["[0] connection.close-ok"],
    );
    assert_eq!(world.counts("q"), "3/0/0");
}

#[test]
fn an_operator_closes_a_blocked_connection() {
    let world = World::new();
    let mut publisher = world.client();
    world.node.set_alarm(Alarm::Memory, true);
    publisher.say("[1] basic.publish - q a");
    publisher.hear();
    world
        .node
        .connections
        .close(320, "CONNECTION_FORCED - bye", |_| true);
    publisher.expect(&["[0] connection.close 320 CONNECTION_FORCED - bye"]);
    // The publish that waited is in front of the answer, and does not hold it up.
    publisher.say("[0] connection.close-ok");
    publisher.hear();
    assert!(publisher.is_closed());
}

#[test]
fn a_history_goes_on_to_the_queues_of_an_exchange_bound_later() {
    let world = World::new();
    let mut client = world.client();
    client.ask(
        "[1] exchange.declare past x-recent-history",
        &["[1] exchange.declare-ok"],
    );
    client.ask(
        "[1] exchange.declare next fanout",
        &["[1] exchange.declare-ok"],
    );
    client.ask("[1] queue.declare q", &["[1] queue.declare-ok q 0 0"]);
    client.ask("[1] queue.bind q next k", &["[1] queue.bind-ok"]);
    client.ask(
        "[1] basic.publish past k a\n[1] basic.publish past k b",
        &[],
    );
    client.ask("[1] exchange.bind next past k", &["[1] exchange.bind-ok"]);
    client.ask(
        "[1] queue.declare q passive",
        &["[1] queue.declare-ok q 2 0"],
    );
    client.ask("[1] basic.publish past k c", &[]);
    client.ask(
        "[1] queue.declare q passive",
        &["[1] queue.declare-ok q 3 0"],
    );
}
