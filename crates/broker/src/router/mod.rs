//! All exchanges and bindings of one vhost: what is declared, and where a message goes.
//!
//! ```text
//!   name ──▶ exchange ──(its type's index)──▶ queue slot ──▶ QueueId
//!              │  ▲                      └──▶ exchange slot ─┐
//!              │  └──────────────────────────────────────────┘  each exchange once a message
//!              ├─ outgoing bindings ┐
//!   queue ─────┴─ incoming bindings ┴─ binding: knows its place in both lists
//! ```
//! Mutated in place: a binding is added to, and taken out of, each list and index it is in without a look at the
//! others, so deleting a queue costs as many steps as it has bindings. Reading (`route`) takes `&self` and the
//! caller's scratch, and allocates nothing once that has grown.
//!
//! Deliberately absent: locks, permissions, disks, queues' contents, and policies. What a change took with it is
//! returned (`Removed`), and the caller writes it down.
//!
//! Start at `route.rs` for the way of a message, at `binding.rs` for bindings, at `declare.rs` for exchanges.

mod binding;
mod declare;
mod error;
mod listing;
mod route;

use hashbrown::HashTable;
use metadata::topology::{BindingSpec, ExchangeSpec, Name};
use slab::Slab;
use wire::amqp091::table::FieldTable;

use crate::exchange::{BindingSlot, ExchangeSlot, FixedMap, Kind, QueueSlot};
use crate::message::Message;
use binding::Binding;

pub use error::{BindError, DeclareError, DeleteError, InvalidBinding, Refusal, RouteError};
pub use route::{Routable, RouteScratch, further_keys, has_own_route};

/// A queue, for the node that owns it. The router only hands it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId(pub u64);

/// The types of queue that an exchange type may tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueType {
    /// `classic`.
    Classic,
    /// `quorum`.
    Quorum,
    /// `stream`.
    Stream,
}

/// What the router has to know of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueFacts {
    /// What `route` gives for it.
    pub id: QueueId,
    /// Whether it survives a restart, and with it the bindings from durable exchanges.
    pub durable: bool,
    /// Its type.
    pub queue_type: QueueType,
}

/// What became of a declaration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Declared {
    /// It is new.
    Created,
    /// It was there, and is what was asked for.
    Existed,
}

/// What became of a new binding.
#[derive(Debug, Default)]
pub struct Bound {
    /// Whether it is new; binding the same twice is no error and changes nothing.
    pub created: bool,
    /// Whether both ends are durable, and so the binding.
    pub durable: bool,
    /// The source's recent history, oldest first, when the binding is new: for a queue to take, or to be routed
    /// from the exchange that is the destination.
    pub replay: Vec<Message>,
}

/// A binding that went.
#[derive(Debug, Clone, PartialEq)]
pub struct RemovedBinding {
    /// What it was.
    pub spec: BindingSpec,
    /// Whether both ends were durable.
    pub durable: bool,
}

/// All that went with a deletion, in the order in which it went.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Removed {
    /// Bindings from and to what was deleted.
    pub bindings: Vec<RemovedBinding>,
    /// The exchange that was deleted, and auto-delete exchanges that lost their last binding as a source.
    pub exchanges: Vec<ExchangeSpec>,
}

impl Removed {
    /// Whether nothing went.
    pub fn is_empty(&self) -> bool {
        self.bindings.is_empty() && self.exchanges.is_empty()
    }
}

#[derive(Debug)]
struct Exchange {
    spec: ExchangeSpec,
    kind: Kind,
    /// From its arguments; need not exist.
    alternate: Option<Name>,
    /// From the policy on it, and asked only where the arguments name none.
    policy_alternate: Option<Name>,
    outgoing: Vec<BindingSlot>,
    incoming: Vec<BindingSlot>,
}

#[derive(Debug)]
struct Queue {
    name: Name,
    facts: QueueFacts,
    incoming: Vec<BindingSlot>,
}

/// All exchanges and bindings of one vhost.
#[derive(Debug)]
pub struct Router {
    exchanges: Slab<Exchange>,
    exchange_slots: FixedMap<Name, ExchangeSlot>,
    queues: Slab<Queue>,
    queue_slots: FixedMap<Name, QueueSlot>,
    bindings: Slab<Binding>,
    /// Every binding, hashed by what it is told apart by.
    identities: HashTable<BindingSlot>,
    epoch: u64,
}

impl Default for Router {
    fn default() -> Self {
        Router::new()
    }
}

impl Router {
    /// A vhost's router with what every vhost has: the default exchange and the predeclared ones.
    pub fn new() -> Self {
        let mut router = Router {
            exchanges: Slab::new(),
            exchange_slots: FixedMap::default(),
            queues: Slab::new(),
            queue_slots: FixedMap::default(),
            bindings: Slab::new(),
            identities: HashTable::new(),
            epoch: 0,
        };
        for (name, kind, internal) in PREDECLARED {
            let spec = ExchangeSpec {
                name: (*name).into(),
                kind: (*kind).to_owned(),
                durable: true,
                auto_delete: false,
                internal: *internal,
                arguments: FieldTable::default(),
            };
            router.insert_predeclared(spec);
        }
        router
    }

    /// Grows with every change that may change a route. A remembered route is good while this stays.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The exchange of that name, as declared. The default exchange's name is empty.
    pub fn exchange(&self, name: &str) -> Option<&ExchangeSpec> {
        self.exchange_slot(name).map(|slot| &self.at(slot).spec)
    }

    /// The queue of that name, as it was last added.
    pub fn queue(&self, name: &str) -> Option<QueueFacts> {
        self.queue_slots
            .get(name)
            .map(|slot| self.queues[slot.0 as usize].facts)
    }

    /// Makes a queue known, and reachable through the default exchange. A queue of that name that is known already
    /// keeps its bindings and has its facts replaced; the old ones are returned.
    pub fn add_queue(&mut self, name: Name, facts: QueueFacts) -> Option<QueueFacts> {
        self.epoch += 1;
        if let Some(slot) = self.queue_slots.get(&name) {
            let queue = &mut self.queues[slot.0 as usize];
            return Some(std::mem::replace(&mut queue.facts, facts));
        }
        let queue = Queue {
            name: name.clone(),
            facts,
            incoming: Vec::new(),
        };
        let slot = QueueSlot(self.queues.insert(queue) as u32);
        self.queue_slots.insert(name, slot);
        None
    }

    /// Forgets a queue and every binding to it. An unknown name removes nothing.
    pub fn remove_queue(&mut self, name: &str) -> Removed {
        let mut removed = Removed::default();
        let Some(slot) = self.queue_slots.remove(name) else {
            return removed;
        };
        self.epoch += 1;
        let mut spent = Vec::new();
        while let Some(&binding) = self.queues[slot.0 as usize].incoming.last() {
            spent.extend(self.remove_binding(binding, &mut removed));
        }
        self.queues.remove(slot.0 as usize);
        self.remove_exchanges(spent, &mut removed);
        removed
    }

    /// Checks that every table agrees with every other. Costs a look at everything: for tests.
    ///
    /// # Panics
    /// If they do not agree.
    pub fn check_invariants(&self) {
        assert_eq!(self.exchanges.len(), self.exchange_slots.len());
        assert_eq!(self.queues.len(), self.queue_slots.len());
        assert_eq!(self.bindings.len(), self.identities.len());
        let outgoing = self
            .exchanges
            .iter()
            .map(|(_, exchange)| exchange.outgoing.len());
        assert_eq!(outgoing.sum::<usize>(), self.bindings.len());
        let to_exchanges = self
            .exchanges
            .iter()
            .map(|(_, exchange)| exchange.incoming.len());
        let to_queues = self.queues.iter().map(|(_, queue)| queue.incoming.len());
        assert_eq!(
            to_exchanges.chain(to_queues).sum::<usize>(),
            self.bindings.len()
        );
        for (name, slot) in &self.exchange_slots {
            assert_eq!(self.at(*slot).spec.name, *name);
        }
        for (name, slot) in &self.queue_slots {
            assert_eq!(self.queues[slot.0 as usize].name, *name);
        }
        for (slot, binding) in &self.bindings {
            self.check_binding(BindingSlot(slot as u32), binding);
        }
    }

    fn exchange_slot(&self, name: &str) -> Option<ExchangeSlot> {
        self.exchange_slots.get(name).copied()
    }

    fn at(&self, slot: ExchangeSlot) -> &Exchange {
        &self.exchanges[slot.0 as usize]
    }

    fn at_mut(&mut self, slot: ExchangeSlot) -> &mut Exchange {
        &mut self.exchanges[slot.0 as usize]
    }
}

/// Name, type and whether it is internal. All are durable.
const PREDECLARED: &[(&str, &str, bool)] = &[
    ("", "direct", false),
    ("amq.direct", "direct", false),
    ("amq.fanout", "fanout", false),
    ("amq.headers", "headers", false),
    ("amq.match", "headers", false),
    ("amq.rabbitmq.trace", "topic", true),
    ("amq.topic", "topic", false),
];

#[cfg(test)]
mod tests;
