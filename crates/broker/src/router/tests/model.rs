//! The router against a model that is a list of bindings, scanned.
//!
//! Random exchanges of the types whose matching is a rule one can write in a line, with alternates, cycles and
//! auto-deletion; random binds, unbinds and deletions; after each step random messages. Types that choose one
//! destination are held to choosing a lawful one.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::exchange::random::draw_index;

#[derive(Default)]
struct Model {
    exchanges: BTreeMap<String, ExchangeSpec>,
    queues: BTreeSet<String>,
    bindings: Vec<BindingSpec>,
}

impl Model {
    fn has(&self, destination: &Destination) -> bool {
        match destination {
            Destination::Queue(queue) => self.queues.contains(&**queue),
            Destination::Exchange(exchange) => self.exchanges.contains_key(&**exchange),
        }
    }

    fn bind(&mut self, spec: BindingSpec) -> Option<bool> {
        if !self.exchanges.contains_key(&*spec.source) || !self.has(&spec.destination) {
            return None;
        }
        if self.bindings.contains(&spec) {
            return Some(false);
        }
        self.bindings.push(spec);
        Some(true)
    }

    /// Drops the bindings that `gone` says and whatever auto-deletes; gives the names of the exchanges that went.
    fn drop_bindings(&mut self, gone: impl Fn(&BindingSpec) -> bool) -> BTreeSet<String> {
        let mut went = BTreeSet::new();
        let mut lost: BTreeSet<String> = BTreeSet::new();
        self.bindings.retain(|spec| {
            let goes = gone(spec);
            if goes {
                lost.insert(spec.source.to_string());
            }
            !goes
        });
        for source in lost {
            let spent = self
                .exchanges
                .get(&source)
                .is_some_and(|spec| spec.auto_delete)
                && !self.bindings.iter().any(|spec| *spec.source == *source);
            if spent {
                went.extend(self.delete_exchange(&source));
            }
        }
        went
    }

    fn delete_exchange(&mut self, exchange: &str) -> BTreeSet<String> {
        if self.exchanges.remove(exchange).is_none() {
            return BTreeSet::new();
        }
        let mut went = self.drop_bindings(|spec| {
            *spec.source == *exchange || spec.destination == Destination::Exchange(name(exchange))
        });
        went.insert(exchange.to_owned());
        went
    }

    fn route(&self, exchange: &str, key: &str) -> BTreeSet<String> {
        let (mut queues, mut seen) = (BTreeSet::new(), BTreeSet::new());
        self.walk(exchange, key, &mut seen, &mut queues);
        queues
    }

    fn walk(
        &self,
        exchange: &str,
        key: &str,
        seen: &mut BTreeSet<String>,
        queues: &mut BTreeSet<String>,
    ) {
        let Some(spec) = self.exchanges.get(exchange) else {
            return;
        };
        if !seen.insert(exchange.to_owned()) {
            return;
        }
        let matched: Vec<_> = self
            .bindings
            .iter()
            .filter(|binding| {
                *binding.source == *exchange && matches(&spec.kind, &binding.routing_key, key)
            })
            .collect();
        for binding in &matched {
            match &binding.destination {
                Destination::Queue(queue) => drop(queues.insert(queue.to_string())),
                Destination::Exchange(exchange) => self.walk(exchange, key, seen, queues),
            }
        }
        if let (true, Some(FieldValue::LongStr(alternate))) = (
            matched.is_empty(),
            spec.arguments.find("alternate-exchange"),
        ) {
            self.walk(
                std::str::from_utf8(alternate).expect("ours"),
                key,
                seen,
                queues,
            );
        }
    }
}

fn matches(kind: &str, pattern: &str, key: &str) -> bool {
    match kind {
        "direct" => pattern == key,
        "topic" => {
            let pattern: Vec<&str> = pattern.split('.').filter(|_| !pattern.is_empty()).collect();
            let key: Vec<&str> = key.split('.').filter(|_| !key.is_empty()).collect();
            topic_matches(&pattern, &key)
        }
        _ => true,
    }
}

fn topic_matches(pattern: &[&str], key: &[&str]) -> bool {
    match pattern.split_first() {
        None => key.is_empty(),
        Some((&"#", rest)) => (0..=key.len()).any(|taken| topic_matches(rest, &key[taken..])),
        Some((&word, rest)) => key.split_first().is_some_and(|(first, key)| {
            (word == "*" || word == *first) && topic_matches(rest, key)
        }),
    }
}

const KEYS: [&str; 8] = ["", "a", "b", "a.b", "*", "#", "a.#", "*.b"];
const KINDS: [&str; 4] = ["direct", "fanout", "topic", "x-recent-history"];

fn random_spec(n: usize, below: &mut dyn FnMut(usize) -> usize) -> ExchangeSpec {
    let mut spec = exchange(&format!("e{n}"), KINDS[below(KINDS.len())]);
    spec.auto_delete = below(3) == 0;
    spec.durable = below(2) == 0;
    if below(2) == 0 {
        spec.arguments = table(&[("alternate-exchange", string(&format!("e{}", below(8))))]);
    }
    spec
}

fn random_binding(below: &mut dyn FnMut(usize) -> usize) -> BindingSpec {
    let (source, to) = (format!("e{}", below(8)), below(8));
    let key = KEYS[below(KEYS.len())];
    let spec = if below(3) == 0 {
        to_exchange(&source, key, &format!("e{to}"))
    } else {
        to_queue(&source, key, &format!("q{to}"))
    };
    let arguments = if below(4) == 0 {
        table(&[("n", FieldValue::I32(below(2) as i32))])
    } else {
        FieldTable::default()
    };
    BindingSpec { arguments, ..spec }
}

/// One change, made to both; gives the exchanges that went in each.
fn step(
    router: &mut Router,
    model: &mut Model,
    below: &mut dyn FnMut(usize) -> usize,
) -> (BTreeSet<String>, BTreeSet<String>) {
    let went = |removed: &Removed| {
        removed
            .exchanges
            .iter()
            .map(|spec| spec.name.to_string())
            .collect::<BTreeSet<_>>()
    };
    match below(10) {
        0 | 1 => {
            let spec = random_spec(below(8), below);
            if !model.exchanges.contains_key(&*spec.name) {
                model.exchanges.insert(spec.name.to_string(), spec.clone());
                assert_eq!(router.declare_exchange(spec), Ok(Declared::Created));
            }
        }
        2 => {
            let exchange = format!("e{}", below(8));
            let removed = router.delete_exchange(&exchange, false);
            let expected = model.delete_exchange(&exchange);
            assert_eq!(removed.is_ok(), !expected.is_empty());
            return (
                removed.map(|removed| went(&removed)).unwrap_or_default(),
                expected,
            );
        }
        3 => {
            let n = below(8);
            let queue = format!("q{n}");
            if model.queues.remove(&queue) {
                let removed = router.remove_queue(&queue);
                let to = Destination::Queue(name(&queue));
                return (
                    went(&removed),
                    model.drop_bindings(|spec| spec.destination == to),
                );
            }
            router.add_queue(name(&queue), facts(n as u64));
            model.queues.insert(queue);
        }
        4 | 5 => {
            let spec = match model.bindings.len() {
                0 => random_binding(below),
                len if below(2) == 0 => model.bindings[below(len)].clone(),
                _ => random_binding(below),
            };
            let removed = router.unbind(&spec).expect("never an error here");
            return (went(&removed), model.drop_bindings(|other| *other == spec));
        }
        _ => {
            let spec = random_binding(below);
            let created = router.bind(spec.clone()).ok().map(|bound| bound.created);
            assert_eq!(created, model.bind(spec));
        }
    }
    Default::default()
}

#[test]
fn routes_and_removes_as_the_model_does() {
    for seed in 1..=150u64 {
        let mut state = seed;
        let mut below = |n| draw_index(&mut state, n);
        let (mut router, mut model) = (Router::new(), Model::default());
        let mut scratch = RouteScratch::default();
        let none = PropertiesBuf::default().encode();
        for at in 0..200 {
            let (went, expected) = step(&mut router, &mut model, &mut below);
            assert_eq!(
                went, expected,
                "seed {seed}, step {at}: exchanges that went"
            );
            router.check_invariants();
            assert_eq!(
                router.binding_len(),
                model.bindings.len(),
                "seed {seed}, step {at}"
            );
            for _ in 0..3 {
                let (exchange, key) = (format!("e{}", below(8)), KEYS[below(4)]);
                let found = route_with(&router, &exchange, key, &none, &mut scratch);
                if !model.exchanges.contains_key(&exchange) {
                    assert!(found.is_err(), "seed {seed}, step {at}");
                    continue;
                }
                let found: Vec<String> = found
                    .expect("there")
                    .iter()
                    .map(|id| format!("q{id}"))
                    .collect();
                let expected: Vec<String> = model.route(&exchange, key).into_iter().collect();
                assert_eq!(
                    found, expected,
                    "seed {seed}, step {at}, {exchange} {key:?}"
                );
            }
        }
        let mut left: Vec<String> = model
            .bindings
            .iter()
            .map(|spec| format!("{spec:?}"))
            .collect();
        left.sort();
        let explicit = router
            .bindings()
            .into_iter()
            .filter(|spec| !spec.source.is_empty());
        let mut listed: Vec<String> = explicit.map(|spec| format!("{spec:?}")).collect();
        listed.sort();
        assert_eq!(listed, left, "seed {seed}");
    }
}

/// Kinds that choose: whatever the history, they choose one of the destinations bound now, if there is one.
#[test]
fn choosing_exchanges_choose_one_of_their_bindings() {
    for seed in 1..=40u64 {
        let mut state = seed;
        let mut below = |n| draw_index(&mut state, n);
        let kinds = [
            "x-random",
            "x-local-random",
            "x-consistent-hash",
            "x-modulus-hash",
        ];
        let mut router = router(kinds.map(|kind| exchange(kind, kind)).into(), vec![]);
        let mut model: Vec<BindingSpec> = Vec::new();
        let mut scratch = RouteScratch::with_seed(seed);
        let none = PropertiesBuf::default().encode();
        for at in 0..150 {
            let kind = kinds[below(4)];
            let key = if kind == "x-local-random" {
                ""
            } else {
                ["1", "2"][below(2)]
            };
            let spec = to_queue(kind, key, &format!("q{}", below(10)));
            if below(2) == 0 {
                if router.bind(spec.clone()).expect("bound").created {
                    model.push(spec);
                }
            } else {
                router.unbind(&spec).expect("unbound");
                model.retain(|other| *other != spec);
            }
            router.check_invariants();
            for kind in kinds {
                let key = format!("k{}", below(100));
                let found = route_with(&router, kind, &key, &none, &mut scratch).expect("routed");
                let lawful = model.iter().filter(|spec| *spec.source == *kind);
                let lawful: Vec<&Destination> = lawful.map(|spec| &spec.destination).collect();
                assert_eq!(
                    found.len(),
                    lawful.len().min(1),
                    "seed {seed}, step {at}, {kind}"
                );
                for id in found {
                    let queue = Destination::Queue(name(&format!("q{id}")));
                    assert!(lawful.contains(&&queue), "seed {seed}, step {at}, {kind}");
                }
            }
        }
    }
}
