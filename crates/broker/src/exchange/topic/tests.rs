//! Tests of the topic trie, against a naive matcher.

use super::*;
use crate::exchange::QueueSlot;
use crate::exchange::random::draw_index;

fn route(topic: &Topic, key: &str) -> Vec<u32> {
    let (mut scratch, mut sink) = (TopicScratch::default(), Sink::default());
    topic.route(key.as_bytes(), &mut scratch, &mut sink);
    let mut found: Vec<u32> = sink.queues.iter().map(|queue| queue.0).collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn queue(n: usize) -> Target {
    Target::Queue(QueueSlot(n as u32))
}

/// The law, word by word, with all the backtracking that the trie avoids.
fn matches(pattern: &[&str], key: &[&str]) -> bool {
    match pattern.split_first() {
        None => key.is_empty(),
        Some((&"#", rest)) => (0..=key.len()).any(|taken| matches(rest, &key[taken..])),
        Some((&word, rest)) => key
            .split_first()
            .is_some_and(|(first, key)| (word == "*" || word == *first) && matches(rest, key)),
    }
}

fn split(key: &str) -> Vec<&str> {
    if key.is_empty() {
        Vec::new()
    } else {
        key.split('.').collect()
    }
}

/// What RabbitMQ 4.3 answered, key by key.
#[test]
fn empty_words_as_the_reference_has_them() {
    let patterns = [
        "", "*", "#", ".", "*.*", "#.#", "a.", "a.*", ".a", "a.#", "#.a", "*.#", "a..b", "a.*.b",
        "a.#.b", "a.#.#", "#.b.#",
    ];
    let expected: [(&str, &[&str]); 12] = [
        ("", &["", "#", "#.#"]),
        (".", &["#", ".", "*.*", "#.#", "*.#"]),
        ("a", &["*", "#", "#.#", "a.#", "#.a", "*.#", "a.#.#"]),
        (
            "a.",
            &["#", "*.*", "#.#", "a.", "a.*", "a.#", "*.#", "a.#.#"],
        ),
        (".a", &["#", "*.*", "#.#", ".a", "#.a", "*.#"]),
        (
            "a..b",
            &[
                "#", "#.#", "a.#", "*.#", "a..b", "a.*.b", "a.#.b", "a.#.#", "#.b.#",
            ],
        ),
        (
            "a.b",
            &[
                "#", "*.*", "#.#", "a.*", "a.#", "*.#", "a.#.b", "a.#.#", "#.b.#",
            ],
        ),
        ("..", &["#", "#.#", "*.#"]),
        ("a.b.", &["#", "#.#", "a.#", "*.#", "a.#.#", "#.b.#"]),
        ("*", &["*", "#", "#.#", "*.#"]),
        ("#", &["*", "#", "#.#", "*.#"]),
        ("a.#", &["#", "*.*", "#.#", "a.*", "a.#", "*.#", "a.#.#"]),
    ];
    let mut topic = Topic::default();
    for (n, pattern) in patterns.iter().enumerate() {
        topic.insert(pattern, queue(n));
    }
    for (key, expected) in expected {
        let found: Vec<&str> = route(&topic, key)
            .iter()
            .map(|&n| patterns[n as usize])
            .collect();
        assert_eq!(found, expected, "key {key:?}");
    }
}

#[test]
fn matches_as_the_naive_matcher_does_under_random_changes() {
    for seed in 1..=60u64 {
        let mut state = seed;
        let mut below = |n| draw_index(&mut state, n);
        let words = ["a", "b", "", "*", "#", "*", "#", "abc"];
        let key = |below: &mut dyn FnMut(usize) -> usize| {
            let len = below(6);
            (0..len)
                .map(|_| words[below(words.len())])
                .collect::<Vec<_>>()
                .join(".")
        };
        let mut topic = Topic::default();
        let mut model: Vec<(String, usize)> = Vec::new();
        for step in 0..300 {
            if below(3) == 0 && !model.is_empty() {
                let (pattern, n) = model.swap_remove(below(model.len()));
                topic.remove(&pattern, queue(n));
            } else {
                let (pattern, n) = (key(&mut below), below(12));
                topic.insert(&pattern, queue(n));
                model.push((pattern, n));
            }
            let asked = key(&mut below);
            let mut expected: Vec<u32> = model
                .iter()
                .filter(|(pattern, _)| matches(&split(pattern), &split(&asked)))
                .map(|&(_, n)| n as u32)
                .collect();
            expected.sort_unstable();
            expected.dedup();
            assert_eq!(
                route(&topic, &asked),
                expected,
                "seed {seed}, step {step}, key {asked:?}"
            );
        }
        for (pattern, n) in model.drain(..) {
            topic.remove(&pattern, queue(n));
        }
        assert_eq!(topic.node_len(), 1, "seed {seed}: the root alone is left");
        assert!(topic.edges.is_empty(), "seed {seed}");
    }
}

#[test]
fn removing_what_is_absent_changes_nothing() {
    let mut topic = Topic::default();
    topic.insert("a.b", queue(1));
    topic.remove("a", queue(1));
    topic.remove("a.b.c", queue(1));
    topic.remove("a.b", queue(2));
    assert_eq!(route(&topic, "a.b"), [1]);
}

/// No backtracking: many `#` over a long key of equal words is where a naive matcher never ends.
#[test]
fn hostile_patterns_and_keys_cost_words_times_nodes() {
    let mut topic = Topic::default();
    let pattern = ["#.a"; 60].join(".");
    topic.insert(&pattern, queue(1));
    topic.insert(&["#"; 100].join("."), queue(2));
    let key = ["a"; 127].join(".");
    assert_eq!(route(&topic, &key), [1, 2]);
    assert_eq!(route(&topic, &format!("{key}.b")), [2]);
}

#[test]
fn a_hundred_thousand_bindings_share_their_words() {
    let mut topic = Topic::default();
    for n in 0..100_000 {
        topic.insert(&format!("tenant.{}.order.{}", n % 1000, n), queue(n));
    }
    topic.insert("tenant.*.order.#", queue(100_000));
    assert_eq!(route(&topic, "tenant.77.order.5077"), [5077, 100_000]);
    assert_eq!(topic.node_len(), 1 + 1 + 1000 + 1000 + 100_000 + 3);
}
