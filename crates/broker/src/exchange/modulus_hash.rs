//! `x-modulus-hash`: the hash of the routing key, modulo the number of bindings.
//!
//! Destinations are kept sorted, so that a restart, which binds in another order, routes as before. Adding or
//! removing a binding moves nearly every key; that is what this type is, and what `x-consistent-hash` is for.
//! Which queue a key meets is our own hash's choice: RabbitMQ's is a hash of Erlang's.

use metadata::topology::Destination;

use super::{Sink, Target};

/// Bindings of a modulus-hash exchange, sorted. A destination bound twice is there twice.
#[derive(Debug, Default)]
pub(crate) struct ModulusHash {
    bindings: Vec<(Destination, Target)>,
}

impl ModulusHash {
    pub(crate) fn insert(&mut self, destination: Destination, target: Target) {
        let position = self
            .bindings
            .partition_point(|(other, _)| *other < destination);
        self.bindings.insert(position, (destination, target));
    }

    pub(crate) fn remove(&mut self, destination: &Destination) {
        if let Ok(position) = self
            .bindings
            .binary_search_by(|(other, _)| other.cmp(destination))
        {
            self.bindings.remove(position);
        }
    }

    /// `hash` is over all routing keys of the message, as in RabbitMQ.
    pub(crate) fn route(&self, hash: u64, sink: &mut Sink) {
        if self.bindings.is_empty() {
            return;
        }
        let position = hash % self.bindings.len() as u64;
        sink.push(self.bindings[position as usize].1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::QueueSlot;

    fn queue(name: &str) -> Destination {
        Destination::Queue(name.into())
    }

    #[test]
    fn order_of_binding_does_not_matter() {
        let (mut one, mut other) = (ModulusHash::default(), ModulusHash::default());
        for n in 0..10u32 {
            one.insert(queue(&format!("q{n}")), Target::Queue(QueueSlot(n)));
            let n = 9 - n;
            other.insert(queue(&format!("q{n}")), Target::Queue(QueueSlot(n)));
        }
        one.remove(&queue("q3"));
        other.remove(&queue("q3"));
        other.remove(&queue("absent"));
        for hash in 0..100 {
            let (mut left, mut right) = (Sink::default(), Sink::default());
            one.route(hash, &mut left);
            other.route(hash, &mut right);
            assert_eq!(left.queues, right.queues);
            assert_eq!(left.queues.len(), 1);
        }
    }
}
