//! `direct`: the routing key is the binding key. One hash look-up a message.

use metadata::topology::Name;

use super::counted_set::CountedSet;
use super::{FixedMap, Sink, Target};

/// Destinations of a direct exchange, by routing key.
#[derive(Debug, Default)]
pub(crate) struct Direct {
    keys: FixedMap<Name, CountedSet<Target>>,
}

impl Direct {
    pub(crate) fn insert(&mut self, routing_key: &Name, target: Target) {
        self.keys
            .entry(routing_key.clone())
            .or_default()
            .insert(target);
    }

    pub(crate) fn remove(&mut self, routing_key: &str, target: Target) {
        let Some(targets) = self.keys.get_mut(routing_key) else {
            return;
        };
        targets.remove(target);
        if targets.is_empty() {
            self.keys.remove(routing_key);
        }
    }

    pub(crate) fn route(&self, routing_key: &[u8], sink: &mut Sink) {
        // A key that is no UTF-8 can come in a CC header, but never in a binding.
        let Ok(routing_key) = std::str::from_utf8(routing_key) else {
            return;
        };
        if let Some(targets) = self.keys.get(routing_key) {
            sink.take(targets);
        }
    }
}
