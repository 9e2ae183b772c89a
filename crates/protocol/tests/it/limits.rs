//! Limits of vhosts and users, in RabbitMQ's words.

use node::administration::Act;

use crate::pair::{Login, World, handshake};

const ACT: Act<'static> = Act {
    by: "guest",
    now_ms: 0,
};

/// What a client hears last that tries to open a connection.
fn refusal(world: &World) -> Option<String> {
    let mut client = world.accept(true);
    client.send(&handshake(&Login::default()));
    client.hear().pop()
}

#[test]
fn a_vhost_and_a_user_have_no_more_connections_than_their_limits() {
    let world = World::new();
    let node = &world.node;
    node.set_vhost_limit(ACT, "/", "max-connections", 1.into())
        .expect("a limit");
    let first = world.connect();
    assert_eq!(
        refusal(&world).as_deref(),
        Some(
            "[0] connection.close 530 NOT_ALLOWED - access to vhost '/' refused for user 'guest': \
             connection limit (1) is reached"
        )
    );
    node.clear_vhost_limits(ACT, "/").expect("it is there");
    let limits = serde_json::json!({"max-connections": 1});
    node.set_user_limits(ACT, "guest", &limits).expect("limits");
    assert_eq!(
        refusal(&world).as_deref(),
        Some(
            "[0] connection.close 530 NOT_ALLOWED - connection refused for user 'guest': user \
             connection limit (1) is reached"
        )
    );
    drop(first);
}

#[test]
fn a_connection_that_ends_makes_room() {
    let world = World::new();
    world
        .node
        .set_vhost_limit(ACT, "/", "max-connections", 1.into())
        .expect("a limit");
    let mut first = world.connect();
    first.say("[0] connection.close");
    first.hear();
    assert_eq!(world.node.connections.len_in("/"), 0);
    world.connect();
}

#[test]
fn a_user_has_no_more_channels_than_its_limit() {
    let world = World::new();
    let limits = serde_json::json!({"max-channels": 2});
    world
        .node
        .set_user_limits(ACT, "guest", &limits)
        .expect("limits");
    let mut one = world.connect();
    one.open(1);
    let mut two = world.connect();
    two.open(1);
    two.say("[2] channel.open");
    assert_eq!(
        two.hear().pop().as_deref(),
        Some(
            "[0] connection.close 530 NOT_ALLOWED - number of channels opened for user 'guest' has \
             reached the maximum allowed user limit of 2"
        )
    );
}

#[test]
fn a_vhost_has_no_more_queues_than_its_limit() {
    let world = World::new();
    world
        .node
        .set_vhost_limit(ACT, "/", "max-queues", 1.into())
        .expect("a limit");
    let mut client = world.connect();
    client.open(1);
    client.say("[1] queue.declare q\n[1] queue.declare q");
    client.expect(&["[1] queue.declare-ok q 0 0", "[1] queue.declare-ok q 0 0"]);
    client.say("[1] queue.declare r");
    assert_eq!(
        client.hear().pop().as_deref(),
        Some(
            "[1] channel.close 406 PRECONDITION_FAILED - cannot declare queue 'r': queue limit in \
             vhost '/' (1) is reached"
        )
    );
}
