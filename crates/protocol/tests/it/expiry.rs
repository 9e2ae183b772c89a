//! Messages that expire, exactly when their time comes, and where dead letters go.

use crate::pair::World;

#[test]
fn a_message_expires_in_the_middle_of_its_queue() {
    let world = World::new();
    let mut client = world.client();
    client.say(
        "[1] queue.declare dead
         [1] queue.declare q x-dead-letter-exchange= x-dead-letter-routing-key=dead
         [1] basic.publish - q a
         [1] basic.publish - q b expiration=100
         [1] basic.publish - q c expiration=50
         [1] basic.publish - q d",
    );
    client.hear();
    world.pass(49);
    assert_eq!(world.counts("q"), "4/0/0");
    world.pass(1);
    assert_eq!(
        (world.counts("q"), world.counts("dead")),
        ("3/0/0".into(), "1/0/0".into())
    );
    world.pass(50);
    assert_eq!(
        (world.counts("q"), world.counts("dead")),
        ("2/0/0".into(), "2/0/0".into())
    );
    client.say("[1] basic.consume dead x no-ack");
    let heard = client.hear();
    assert!(
        heard[1].ends_with(" c") && heard[2].ends_with(" b"),
        "{heard:?}"
    );
    assert!(
        !heard[1].contains("expiration="),
        "it lives on without: {heard:?}"
    );
}

#[test]
fn the_shorter_of_two_times_counts() {
    let world = World::new();
    let mut client = world.client();
    client.say("[1] queue.declare q x-message-ttl=100\n[1] basic.publish - q a expiration=200\n[1] basic.publish - q b expiration=50");
    client.hear();
    world.pass(50);
    assert_eq!(world.counts("q"), "1/0/0");
    world.pass(50);
    assert_eq!(world.counts("q"), "0/0/0");
}

#[test]
fn time_0_is_for_who_is_there_already() {
    let world = World::new();
    let mut client = world.client();
    client.say("[1] queue.declare q\n[1] basic.publish - q a expiration=0");
    client.hear();
    assert_eq!(world.counts("q"), "0/0/0");
    client.say("[1] basic.consume q c no-ack\n[1] basic.publish - q b expiration=0");
    assert!(
        client
            .hear()
            .contains(&"[1] basic.deliver c 1 expiration=0 b".to_owned())
    );
}

#[test]
fn an_unacked_message_does_not_expire_but_a_requeued_one_does() {
    let world = World::new();
    let mut client = world.client();
    client.say("[1] queue.declare q x-message-ttl=100\n[1] basic.publish - q a\n[1] basic.get q");
    client.hear();
    world.pass(1000);
    assert_eq!(world.counts("q"), "0/1/0");
    client.ask("[1] basic.nack 1 requeue", &[]);
    world.pass(1);
    assert_eq!(world.counts("q"), "0/0/0");
}

#[test]
fn an_unused_queue_expires() {
    let world = World::new();
    let mut client = world.client();
    client.say("[1] queue.declare q x-expires=1000");
    client.hear();
    world.pass(900);
    client.say("[1] basic.get q");
    client.hear();
    world.pass(900);
    assert_eq!(world.counts("q"), "0/0/0");
    client.say("[1] basic.consume q c");
    client.hear();
    world.pass(5000);
    assert_eq!(world.counts("q"), "0/0/1");
    client.say("[1] basic.cancel c");
    client.hear();
    world.pass(999);
    assert_eq!(world.counts("q"), "0/0/0");
    world.pass(1);
    assert_eq!(world.counts("q"), "gone");
}

#[test]
fn a_chain_of_dead_letters() {
    let world = World::new();
    let mut client = world.client();
    client.say(
        "[1] queue.declare end
         [1] queue.declare two x-message-ttl=100 x-dead-letter-exchange= x-dead-letter-routing-key=end
         [1] queue.declare one x-dead-letter-exchange= x-dead-letter-routing-key=two
         [1] basic.publish - one a
         [1] basic.get one
         [1] basic.reject 1",
    );
    client.hear();
    assert_eq!(
        (world.counts("one"), world.counts("two")),
        ("0/0/0".into(), "1/0/0".into())
    );
    world.pass(100);
    client.say("[1] basic.get end");
    let heard = client.hear();
    for part in [
        "x-first-death-exchange= ",
        "x-first-death-queue=one",
        "x-first-death-reason=rejected",
        "x-last-death-queue=two",
        "x-last-death-reason=expired",
        "queue:two",
        "reason:expired",
        "reason:rejected",
    ] {
        assert!(heard[0].contains(part), "{part}: {heard:?}");
    }
}

#[test]
fn a_cycle_ends_unless_somebody_rejects() {
    let world = World::new();
    let mut client = world.client();
    client.say("[1] queue.declare q x-message-ttl=100 x-dead-letter-exchange= x-dead-letter-routing-key=q\n[1] basic.publish - q a");
    client.hear();
    world.pass(100);
    assert_eq!(world.counts("q"), "0/0/0");
    client.say("[1] queue.declare r x-dead-letter-exchange= x-dead-letter-routing-key=r\n[1] basic.publish - r a");
    client.hear();
    for tag in 1..5 {
        client.say(&format!("[1] basic.get r\n[1] basic.nack {tag}"));
        assert!(client.hear()[0].starts_with("[1] basic.get-ok"));
        assert_eq!(world.counts("r"), "1/0/0");
    }
}

#[test]
fn what_does_not_fit_is_dead() {
    let world = World::new();
    let mut client = world.client();
    client.say(
        "[1] queue.declare dead
         [1] queue.declare q x-max-length=2 x-dead-letter-exchange= x-dead-letter-routing-key=dead
         [1] basic.publish - q a
         [1] basic.publish - q b
         [1] basic.publish - q c
         [1] basic.get dead no-ack",
    );
    let heard = client.hear();
    assert!(
        heard[2].contains("x-first-death-reason=maxlen") && heard[2].ends_with(" a"),
        "{heard:?}"
    );
    assert_eq!(world.counts("q"), "2/0/0");
}

#[test]
fn a_quorum_queue_gives_up_after_its_delivery_limit() {
    let world = World::new();
    let mut client = world.client();
    client.say(
        "[1] queue.declare dead
         [1] queue.declare q durable x-queue-type=quorum x-delivery-limit=2 x-dead-letter-exchange= x-dead-letter-routing-key=dead
         [1] basic.publish - q a",
    );
    client.hear();
    for tag in 1..=3 {
        assert_eq!(world.counts("q"), "1/0/0", "{tag}");
        client.say(&format!("[1] basic.get q\n[1] basic.reject {tag} requeue"));
        client.hear();
    }
    assert_eq!(
        (world.counts("q"), world.counts("dead")),
        ("0/0/0".into(), "1/0/0".into())
    );
}
