//! Tests of consistent hashing: weights, balance, stability.

use super::*;
use crate::exchange::QueueSlot;

fn exchange(weights: &[u32]) -> ConsistentHash {
    let mut hash = ConsistentHash::new(HashOn::RoutingKey);
    for (n, &weight) in weights.iter().enumerate() {
        insert(&mut hash, n as u32, n as u32, weight);
    }
    hash
}

fn insert(hash: &mut ConsistentHash, binding: u32, queue: u32, weight: u32) {
    let seed = stable_hash::hash(format!("q{queue}").as_bytes());
    hash.insert(
        BindingSlot(binding),
        weight,
        Target::Queue(QueueSlot(queue)),
        seed,
    );
}

fn remove(hash: &mut ConsistentHash, binding: u32, queue: u32) {
    hash.remove(BindingSlot(binding), Target::Queue(QueueSlot(queue)));
}

fn choices(hash: &ConsistentHash, keys: u32) -> Vec<u32> {
    let choose = |key: u32| {
        let mut sink = Sink::default();
        hash.route(
            stable_hash::hash(format!("key-{key}").as_bytes()),
            &mut sink,
        );
        assert_eq!(sink.queues.len(), 1);
        sink.queues[0].0
    };
    (0..keys).map(choose).collect()
}

fn shares(choices: &[u32], queues: usize) -> Vec<f64> {
    let mut shares = vec![0.0; queues];
    choices
        .iter()
        .for_each(|&queue| shares[queue as usize] += 1.0 / choices.len() as f64);
    shares
}

#[test]
fn shares_are_in_proportion_to_weights() {
    for weights in [
        &[1, 1, 1, 1][..],
        &[1, 2, 3, 4],
        &[10, 10, 1],
        &[10_000, 5_000, 5_000],
        &[7],
    ] {
        let total: u32 = weights.iter().sum();
        let shares = shares(&choices(&exchange(weights), 40_000), weights.len());
        for (share, &weight) in shares.iter().zip(weights) {
            let expected = f64::from(weight) / f64::from(total);
            assert!(
                (share - expected).abs() < 0.01,
                "weights {weights:?}: {shares:?}"
            );
        }
    }
}

/// Unlike RabbitMQ's ring, where later buckets move up: only what the removed queue had is dealt anew.
#[test]
fn unbinding_moves_only_what_was_there() {
    let weights = [1, 2, 3, 1, 2, 3, 5, 5];
    for gone in 0..weights.len() as u32 {
        let mut hash = exchange(&weights);
        let before = choices(&hash, 5_000);
        remove(&mut hash, gone, gone);
        let after = choices(&hash, 5_000);
        for (before, after) in before.iter().zip(&after) {
            assert_ne!(*after, gone);
            assert!(before == after || *before == gone, "queue {gone} went");
        }
        insert(&mut hash, gone, gone, weights[gone as usize]);
        assert_eq!(choices(&hash, 5_000), before, "and came back");
    }
}

#[test]
fn the_oldest_binding_of_a_queue_gives_its_weight() {
    let mut hash = exchange(&[1, 1]);
    let even = choices(&hash, 10_000);
    insert(&mut hash, 2, 0, 9);
    assert_eq!(choices(&hash, 10_000), even, "a second binding waits");
    remove(&mut hash, 0, 0);
    let heavy = shares(&choices(&hash, 10_000), 2);
    assert!(
        (heavy[0] - 0.9).abs() < 0.02,
        "it counts when the first goes: {heavy:?}"
    );
    remove(&mut hash, 7, 0);
    remove(&mut hash, 2, 5);
    remove(&mut hash, 2, 0);
    assert!(choices(&hash, 100).iter().all(|&queue| queue == 1));
    remove(&mut hash, 1, 1);
    let mut sink = Sink::default();
    hash.route(1, &mut sink);
    assert_eq!(sink.sets, 0);
    assert!(hash.groups.is_empty() && hash.members.is_empty());
}

/// As RabbitMQ 4.3 answered.
#[test]
fn weights_are_integers_as_erlang_reads_them() {
    use WeightError::{NotInteger, NotPositive, TooLarge};
    for (key, expected) in [
        ("1", Ok(1)),
        ("+3", Ok(3)),
        ("010", Ok(10)),
        ("10000", Ok(10_000)),
        ("10001", Err(TooLarge)),
        ("100000", Err(TooLarge)),
        ("99999999999999999999999", Err(TooLarge)),
        ("0", Err(NotPositive)),
        ("-0", Err(NotPositive)),
        ("00", Err(NotPositive)),
        ("-1", Err(NotPositive)),
        ("-99999999999999999999999", Err(NotPositive)),
        ("", Err(NotInteger)),
        ("+", Err(NotInteger)),
        ("abc", Err(NotInteger)),
        ("1.5", Err(NotInteger)),
        ("1e2", Err(NotInteger)),
        (" 2", Err(NotInteger)),
        ("+-2", Err(NotInteger)),
    ] {
        assert_eq!(parse_weight(key), expected, "{key:?}");
    }
}
