//! Bindings come and go. A binding knows its place in its source's list and in its destination's, so that it is
//! taken out of both without a search: the last of the list moves into the gap and is told so.

use std::hash::BuildHasher;

use foldhash::fast::FixedState;
use metadata::topology::{BindingSpec, Destination, Name};
use wire::amqp091::table::{FieldTable, Table};

use super::{BindError, Bound, InvalidBinding, Removed, RemovedBinding, Router};
use crate::exchange::arguments::identity;
use crate::exchange::{BindingSlot, Edge, ExchangeSlot, Kind, Target};

#[derive(Debug)]
pub(super) struct Binding {
    pub(super) source: ExchangeSlot,
    pub(super) target: Target,
    pub(super) routing_key: Name,
    /// None for an empty table, which nearly all are.
    pub(super) arguments: Option<Box<Arguments>>,
    /// Index in the source's `outgoing`.
    outgoing_at: u32,
    /// Index in the destination's `incoming`.
    incoming_at: u32,
}

#[derive(Debug)]
pub(super) struct Arguments {
    /// As they came.
    pub(super) table: FieldTable,
    /// What tells them apart from others.
    pub(super) identity: Vec<u8>,
}

impl Binding {
    fn identity(&self) -> &[u8] {
        self.arguments
            .as_ref()
            .map_or(&[], |arguments| &arguments.identity)
    }
}

/// What tells bindings apart: both ends, the routing key and the arguments, in whatever order their keys came.
struct Identity<'a> {
    source: ExchangeSlot,
    target: Target,
    routing_key: &'a str,
    arguments: &'a [u8],
}

impl Identity<'_> {
    fn of(binding: &Binding) -> Identity<'_> {
        Identity {
            source: binding.source,
            target: binding.target,
            routing_key: &binding.routing_key,
            arguments: binding.identity(),
        }
    }

    fn hash(&self) -> u64 {
        FixedState::default().hash_one((self.source, self.target, self.routing_key, self.arguments))
    }

    fn is(&self, binding: &Binding) -> bool {
        self.source == binding.source
            && self.target == binding.target
            && *self.routing_key == *binding.routing_key
            && self.arguments == binding.identity()
    }
}

impl Router {
    /// Binds. What is bound already stays as it is, and that is no error.
    ///
    /// # Errors
    /// In RabbitMQ's order: the default exchange at either end, a missing source, a missing destination, and what
    /// the source's type has against the binding.
    pub fn bind(&mut self, spec: BindingSpec) -> Result<Bound, BindError> {
        check_not_default(&spec)?;
        let source = self.exchange_slot(&spec.source);
        let source = source.ok_or(BindError::NoSource {
            exchange: spec.source,
        })?;
        let Some(target) = self.target(&spec.destination) else {
            return Err(BindError::NoDestination {
                destination: spec.destination,
            });
        };
        let encoded = spec.arguments.encode();
        let arguments = decode(&encoded)?;
        let queue_type = match target {
            Target::Queue(queue) => Some(self.queues[queue.0 as usize].facts.queue_type),
            Target::Exchange(_) => None,
        };
        let checked = self
            .at(source)
            .kind
            .check_binding(&spec.routing_key, arguments, queue_type);
        checked.map_err(BindError::Invalid)?;
        let durable = self.is_durable_between(source, target);
        let argument_identity = identity(arguments);
        let id = Identity {
            source,
            target,
            routing_key: &spec.routing_key,
            arguments: &argument_identity,
        };
        let hash = id.hash();
        if self.find(&id, hash).is_some() {
            return Ok(Bound {
                created: false,
                durable,
                replay: Vec::new(),
            });
        }
        let slot = BindingSlot(self.bindings.vacant_key() as u32);
        let exchange = self.at_mut(source);
        exchange.kind.insert(&Edge {
            slot,
            routing_key: &spec.routing_key,
            arguments,
            target,
            destination: &spec.destination,
        });
        let replay = match &exchange.kind {
            Kind::RecentHistory(history) => history.replay(),
            _ => Vec::new(),
        };
        let own = Arguments {
            table: spec.arguments,
            identity: argument_identity,
        };
        let arguments = (!own.identity.is_empty()).then(|| Box::new(own));
        self.insert_binding(slot, hash, source, target, spec.routing_key, arguments);
        Ok(Bound {
            created: true,
            durable,
            replay,
        })
    }

    /// Unbinds. What is not bound, or has no such ends, is no error: nothing is removed.
    ///
    /// # Errors
    /// If either end is the default exchange.
    pub fn unbind(&mut self, spec: &BindingSpec) -> Result<Removed, BindError> {
        check_not_default(spec)?;
        let mut removed = Removed::default();
        if let Some(slot) = self.find_spec(spec) {
            self.epoch += 1;
            if let Some(spent) = self.remove_binding(slot, &mut removed) {
                self.remove_exchanges(vec![spent], &mut removed);
            }
        }
        Ok(removed)
    }

    /// Whether there is this binding.
    pub fn is_bound(&self, spec: &BindingSpec) -> bool {
        self.find_spec(spec).is_some()
    }

    /// Whether a binding between these ends survives a restart: both must be there and durable. For the default
    /// exchange it says whether the queue does.
    pub fn is_durable(&self, source: &str, destination: &Destination) -> bool {
        match (self.exchange_slot(source), self.target(destination)) {
            (Some(source), Some(target)) => self.is_durable_between(source, target),
            _ => false,
        }
    }

    fn is_durable_between(&self, source: ExchangeSlot, target: Target) -> bool {
        let target_is = match target {
            Target::Queue(queue) => self.queues[queue.0 as usize].facts.durable,
            Target::Exchange(exchange) => self.at(exchange).spec.durable,
        };
        target_is && self.at(source).spec.durable
    }

    pub(super) fn target(&self, destination: &Destination) -> Option<Target> {
        match destination {
            Destination::Queue(name) => self.queue_slots.get(name).copied().map(Target::Queue),
            Destination::Exchange(name) => self.exchange_slot(name).map(Target::Exchange),
        }
    }

    pub(super) fn destination(&self, target: Target) -> Destination {
        match target {
            Target::Queue(slot) => Destination::Queue(self.queues[slot.0 as usize].name.clone()),
            Target::Exchange(slot) => Destination::Exchange(self.at(slot).spec.name.clone()),
        }
    }

    fn find_spec(&self, spec: &BindingSpec) -> Option<BindingSlot> {
        let source = self.exchange_slot(&spec.source)?;
        let target = self.target(&spec.destination)?;
        let encoded = spec.arguments.encode();
        let arguments = identity(Table::validate(&encoded).ok()?);
        let id = Identity {
            source,
            target,
            routing_key: &spec.routing_key,
            arguments: &arguments,
        };
        self.find(&id, id.hash())
    }

    fn find(&self, id: &Identity<'_>, hash: u64) -> Option<BindingSlot> {
        self.identities
            .find(hash, |slot| id.is(&self.bindings[slot.0 as usize]))
            .copied()
    }

    fn insert_binding(
        &mut self,
        slot: BindingSlot,
        hash: u64,
        source: ExchangeSlot,
        target: Target,
        routing_key: Name,
        arguments: Option<Box<Arguments>>,
    ) {
        self.epoch += 1;
        let outgoing = &mut self.at_mut(source).outgoing;
        let outgoing_at = outgoing.len() as u32;
        outgoing.push(slot);
        let incoming = self.incoming_mut(target);
        let incoming_at = incoming.len() as u32;
        incoming.push(slot);
        let binding = Binding {
            source,
            target,
            routing_key,
            arguments,
            outgoing_at,
            incoming_at,
        };
        let key = self.bindings.insert(binding);
        assert_eq!(
            key as u32, slot.0,
            "the vacant key was asked for just before"
        );
        let bindings = &self.bindings;
        self.identities.insert_unique(hash, slot, |other| {
            Identity::of(&bindings[other.0 as usize]).hash()
        });
    }

    /// Removes a binding. Gives its source if that auto-deletes now, which is so once at most for each source.
    pub(super) fn remove_binding(
        &mut self,
        slot: BindingSlot,
        removed: &mut Removed,
    ) -> Option<ExchangeSlot> {
        let hash = Identity::of(&self.bindings[slot.0 as usize]).hash();
        let entry = self.identities.find_entry(hash, |&other| other == slot);
        entry.expect("every binding has its identity").remove();
        let binding = self.bindings.remove(slot.0 as usize);
        self.unlink(&binding);
        let Binding {
            source,
            target,
            routing_key,
            arguments,
            ..
        } = binding;
        let destination = self.destination(target);
        let durable = self.is_durable_between(source, target);
        let exchange = self.at_mut(source);
        exchange
            .kind
            .remove(slot, &routing_key, target, &destination);
        let spec = BindingSpec {
            source: exchange.spec.name.clone(),
            destination,
            routing_key,
            arguments: arguments.map_or_else(FieldTable::default, |arguments| arguments.table),
        };
        removed.bindings.push(RemovedBinding { spec, durable });
        let exchange = self.at(source);
        (exchange.spec.auto_delete && exchange.outgoing.is_empty()).then_some(source)
    }

    fn unlink(&mut self, binding: &Binding) {
        let outgoing = &mut self.at_mut(binding.source).outgoing;
        outgoing.swap_remove(binding.outgoing_at as usize);
        if let Some(&moved) = outgoing.get(binding.outgoing_at as usize) {
            self.bindings[moved.0 as usize].outgoing_at = binding.outgoing_at;
        }
        let incoming = self.incoming_mut(binding.target);
        incoming.swap_remove(binding.incoming_at as usize);
        if let Some(&moved) = incoming.get(binding.incoming_at as usize) {
            self.bindings[moved.0 as usize].incoming_at = binding.incoming_at;
        }
    }

    pub(super) fn check_binding(&self, slot: BindingSlot, binding: &Binding) {
        let outgoing = &self.at(binding.source).outgoing;
        assert_eq!(outgoing[binding.outgoing_at as usize], slot);
        let incoming = match binding.target {
            Target::Queue(queue) => &self.queues[queue.0 as usize].incoming,
            Target::Exchange(exchange) => &self.at(exchange).incoming,
        };
        assert_eq!(incoming[binding.incoming_at as usize], slot);
        let id = Identity::of(binding);
        assert_eq!(self.find(&id, id.hash()), Some(slot));
    }

    fn incoming_mut(&mut self, target: Target) -> &mut Vec<BindingSlot> {
        match target {
            Target::Queue(slot) => &mut self.queues[slot.0 as usize].incoming,
            Target::Exchange(slot) => &mut self.at_mut(slot).incoming,
        }
    }
}

fn check_not_default(spec: &BindingSpec) -> Result<(), BindError> {
    let to_default = matches!(&spec.destination, Destination::Exchange(name) if name.is_empty());
    if spec.source.is_empty() || to_default {
        Err(BindError::DefaultExchange)
    } else {
        Ok(())
    }
}

fn decode(encoded: &[u8]) -> Result<Table<'_>, BindError> {
    Table::validate(encoded).map_err(|error| {
        BindError::Invalid(InvalidBinding::Arguments {
            reason: error.to_string(),
        })
    })
}
