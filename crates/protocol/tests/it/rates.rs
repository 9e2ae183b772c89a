//! Rate limits: who publishes too fast is read from more slowly, who connects too often is refused.

use std::collections::BTreeMap;

use node::rates::{RateSettings, Rates};
use node::settings::Settings;

use crate::pair::World;

fn world(rates: Rates) -> World {
    let rates = RateSettings {
        users: BTreeMap::from([("guest".to_owned(), rates)]),
        ..RateSettings::default()
    };
    World::with(Settings {
        rates,
        ..Settings::default()
    })
}

#[test]
fn a_publisher_over_its_rate_is_not_read_from_for_a_while() {
    let world = world(Rates {
        messages: Some(10),
        ..Rates::default()
    });
    let mut client = world.client();
    client.ask("[1] queue.declare q", &["[1] queue.declare-ok q 0 0"]);
    for _ in 0..15 {
        client.say("[1] basic.publish - q x");
    }
    // A second's worth, and the one that was too much.
    assert_eq!(world.counts("q"), "11/0/0");
    world.pass(99);
    client.expect(&[]);
    assert_eq!(world.counts("q"), "11/0/0");
    world.pass(1);
    client.expect(&[]);
    assert_eq!(world.counts("q"), "15/0/0");
    // Those four are paid for before anything else is read.
    client.say("[1] basic.publish - q x");
    world.pass(399);
    client.expect(&[]);
    assert_eq!(world.counts("q"), "15/0/0");
    world.pass(1);
    client.expect(&[]);
    assert_eq!(world.counts("q"), "16/0/0");
}

#[test]
fn bytes_count_and_others_are_not_held_up() {
    let world = world(Rates {
        bytes: Some(1000),
        ..Rates::default()
    });
    let mut client = world.client();
    client.ask("[1] queue.declare q", &["[1] queue.declare-ok q 0 0"]);
    let body = "x".repeat(1500);
    client.say(&format!(
        "[1] basic.publish - q {body}\n[1] basic.publish - q {body}"
    ));
    client.say("[1] basic.publish - q late");
    assert_eq!(world.counts("q"), "2/0/0");
    world.pass(2000);
    client.expect(&[]);
    assert_eq!(world.counts("q"), "3/0/0");
}

#[test]
fn connections_over_the_rate_are_refused() {
    let world = world(Rates {
        connections: Some(2),
        ..Rates::default()
    });
    let _open = [world.client(), world.client()];
    let mut third = world.accept(true);
    third.send(&crate::pair::handshake(&crate::pair::Login::default()));
    let heard = third.hear().pop().expect("an answer");
    assert!(
        heard.starts_with("[0] connection.close 530 NOT_ALLOWED")
            && heard.contains("connection rate limit is reached"),
        "{heard}"
    );
    world.pass(500);
    let _fourth = world.client();
}
