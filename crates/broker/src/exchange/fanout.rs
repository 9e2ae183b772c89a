//! `fanout`: every destination, whatever the routing key.

use super::counted_set::CountedSet;
use super::{Sink, Target};

/// Destinations of a fanout exchange.
#[derive(Debug, Default)]
pub(crate) struct Fanout {
    targets: CountedSet<Target>,
}

impl Fanout {
    pub(crate) fn insert(&mut self, target: Target) {
        self.targets.insert(target);
    }

    pub(crate) fn remove(&mut self, target: Target) {
        self.targets.remove(target);
    }

    pub(crate) fn route(&self, sink: &mut Sink) {
        sink.take(&self.targets);
    }
}
