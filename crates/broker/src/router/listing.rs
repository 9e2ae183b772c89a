//! Listings: what is declared, in an order that depends on nothing but names.

use metadata::topology::{BindingSpec, Destination, ExchangeSpec, Name};
use wire::amqp091::table::FieldTable;

use super::Router;
use crate::exchange::BindingSlot;

impl Router {
    /// Every exchange, the default one and the predeclared ones among them, by name.
    pub fn exchanges(&self) -> Vec<&ExchangeSpec> {
        let mut specs: Vec<_> = self
            .exchanges
            .iter()
            .map(|(_, exchange)| &exchange.spec)
            .collect();
        specs.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        specs
    }

    /// Every binding, each queue's to the default exchange included; by source, destination, routing key.
    pub fn bindings(&self) -> Vec<BindingSpec> {
        let mut bindings = self.implicit_bindings();
        let all = self
            .bindings
            .iter()
            .map(|(slot, _)| BindingSlot(slot as u32));
        bindings.extend(self.sorted(all));
        bindings
    }

    /// The bindings from an exchange. From the default exchange, those that every queue has.
    pub fn bindings_of_source(&self, exchange: &str) -> Vec<BindingSpec> {
        if exchange.is_empty() {
            return self.implicit_bindings();
        }
        let slot = self.exchange_slot(exchange);
        let outgoing = slot.map_or(&[][..], |slot| &self.at(slot).outgoing);
        self.sorted(outgoing.iter().copied())
    }

    /// The bindings to a queue or an exchange; a queue's to the default exchange first.
    pub fn bindings_of_destination(&self, destination: &Destination) -> Vec<BindingSpec> {
        let mut bindings = Vec::new();
        let incoming = match destination {
            Destination::Queue(name) => {
                let Some(slot) = self.queue_slots.get(name) else {
                    return bindings;
                };
                bindings.push(implicit_binding(name));
                &self.queues[slot.0 as usize].incoming
            }
            Destination::Exchange(name) => match self.exchange_slot(name) {
                Some(slot) => &self.at(slot).incoming,
                None => return bindings,
            },
        };
        bindings.extend(self.sorted(incoming.iter().copied()));
        bindings
    }

    /// How many exchanges there are, the default one and the predeclared ones included.
    pub fn exchange_len(&self) -> usize {
        self.exchanges.len()
    }

    /// How many bindings were made; those of the default exchange do not count.
    pub fn binding_len(&self) -> usize {
        self.bindings.len()
    }

    fn implicit_bindings(&self) -> Vec<BindingSpec> {
        let mut queues: Vec<&Name> = self.queues.iter().map(|(_, queue)| &queue.name).collect();
        queues.sort_unstable();
        queues.into_iter().map(implicit_binding).collect()
    }

    fn sorted(&self, slots: impl Iterator<Item = BindingSlot>) -> Vec<BindingSpec> {
        let mut bindings: Vec<(BindingSpec, &[u8])> = slots
            .map(|slot| {
                let binding = &self.bindings[slot.0 as usize];
                let arguments = binding.arguments.as_deref();
                let spec = BindingSpec {
                    source: self.at(binding.source).spec.name.clone(),
                    destination: self.destination(binding.target),
                    routing_key: binding.routing_key.clone(),
                    arguments: arguments.map_or_else(FieldTable::default, |own| own.table.clone()),
                };
                (spec, arguments.map_or(&[][..], |own| &own.identity))
            })
            .collect();
        let key = |(spec, identity): &(BindingSpec, &[u8])| {
            (
                spec.source.clone(),
                spec.destination.clone(),
                spec.routing_key.clone(),
                identity.to_vec(),
            )
        };
        bindings.sort_by_cached_key(key);
        bindings.into_iter().map(|(spec, _)| spec).collect()
    }
}

fn implicit_binding(queue: &Name) -> BindingSpec {
    BindingSpec {
        source: "".into(),
        destination: Destination::Queue(queue.clone()),
        routing_key: queue.clone(),
        arguments: FieldTable::default(),
    }
}
