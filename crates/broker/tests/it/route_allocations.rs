//! Routing allocates nothing once its scratch has grown: counted, for every type of exchange.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use broker::router::{QueueFacts, QueueId, QueueType, Routable, RouteScratch, Router};
use metadata::topology::{BindingSpec, Destination, ExchangeSpec};
use wire::amqp091::properties::{Properties, PropertiesBuf};
use wire::amqp091::table::{FieldTable, FieldValue};

thread_local! {
    /// Of this thread alone: other tests run beside this one.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: everything is handed to the system's allocator as it came; counting touches a thread-local that is
// const-initialised and has no destructor, and so allocates nothing itself.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promises are the system allocator's conditions.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const KINDS: [&str; 9] = [
    "direct",
    "fanout",
    "headers",
    "topic",
    "x-consistent-hash",
    "x-local-random",
    "x-modulus-hash",
    "x-random",
    "x-recent-history",
];

fn table(entries: &[(&str, FieldValue)]) -> FieldTable {
    let mut table = FieldTable::new();
    for (key, value) in entries {
        table.set(*key, value.clone());
    }
    table
}

fn router() -> Router {
    let mut router = Router::new();
    for n in 0..20 {
        let (id, queue_type) = (QueueId(n), QueueType::Classic);
        router.add_queue(
            format!("q{n}").into(),
            QueueFacts {
                id,
                durable: true,
                queue_type,
            },
        );
    }
    for kind in KINDS {
        let spec = ExchangeSpec {
            name: kind.into(),
            kind: kind.to_owned(),
            durable: false,
            auto_delete: false,
            internal: false,
            arguments: table(&[("alternate-exchange", "all".into())]),
        };
        router.declare_exchange(spec.clone()).expect("declared");
        let all = ExchangeSpec {
            name: "all".into(),
            kind: "fanout".to_owned(),
            ..spec
        };
        router.declare_exchange(all).expect("declared");
    }
    let mut bind = |source: &str, destination, key: &str| {
        let (source, routing_key) = (source.into(), key.into());
        let arguments = table(&[("h", FieldValue::I32(1))]);
        let spec = BindingSpec {
            source,
            destination,
            routing_key,
            arguments,
        };
        assert!(router.bind(spec).expect("bound").created);
    };
    for kind in KINDS {
        bind("all", Destination::Exchange(kind.into()), "");
        for n in 0..20 {
            let key = match kind {
                "x-local-random" => "",
                "x-consistent-hash" => "3",
                "topic" => ["a.*", "#.b", "#", "a.#.b"][n % 4],
                _ => "a.b",
            };
            bind(kind, Destination::Queue(format!("q{n}").into()), key);
        }
    }
    router
}

#[test]
fn routing_allocates_nothing_once_its_scratch_has_grown() {
    let router = router();
    let keys = ["a.b", "q3", "lost"].map(FieldValue::from).to_vec();
    let headers = table(&[
        ("CC", keys.into()),
        ("h", FieldValue::I64(1)),
        ("z", "z".into()),
    ]);
    let bytes = PropertiesBuf {
        headers: Some(headers),
        ..PropertiesBuf::default()
    }
    .encode();
    let properties = Properties::validate(&bytes).expect("valid");
    let mut scratch = RouteScratch::with_seed(1);
    let exchanges = KINDS.iter().copied().chain(["", "all"]);
    let mut allocations_of_a_round = || {
        let before = ALLOCATIONS.get();
        for exchange in exchanges.clone() {
            for routing_key in ["a.b", "q7", "", "no.such.key"] {
                let message = Routable {
                    exchange,
                    routing_key,
                    properties,
                    sender_selects: true,
                };
                router.route(&message, &mut scratch).expect("routed");
                assert!(!scratch.queues.is_empty(), "{exchange} {routing_key:?}");
            }
        }
        ALLOCATIONS.get() - before
    };
    assert!(0 < allocations_of_a_round(), "the scratch has to grow once");
    assert_eq!(allocations_of_a_round(), 0);
    assert_eq!(allocations_of_a_round(), 0);
}
