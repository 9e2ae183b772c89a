//! What the manifest says of segments and deliveries.

use super::Ledger;
use crate::manifest::{Manifest, OwnerDelivered, SegmentState, Touched};

impl Ledger {
    /// As things are now; the numbers are the caller's.
    pub(crate) fn snapshot(&self) -> Manifest {
        let mut segments = Vec::with_capacity(self.segments.len());
        for (number, segment) in &self.segments {
            let mut touched = Vec::new();
            for index in &segment.touched {
                let Some(span) = segment.parts.get(index as usize) else {
                    continue;
                };
                let runs = match self.part_at(*number, span) {
                    Some(part) if !segment.dead.contains(index) => part.released_runs(),
                    _ => vec![(span.first, span.last)],
                };
                touched.push(Touched {
                    owner: span.owner,
                    first: span.first,
                    runs,
                });
            }
            segments.push(SegmentState {
                number: *number,
                bytes: segment.bytes,
                footer_crc: segment.footer_crc,
                touched,
            });
        }
        Manifest {
            segments,
            delivered: self.delivered(),
            ..Manifest::default()
        }
    }

    fn delivered(&self) -> Vec<OwnerDelivered> {
        let owners = self.owners.iter();
        let mut all: Vec<OwnerDelivered> = owners
            .filter(|(_, state)| !state.delivered.is_empty())
            .map(|(owner, state)| (*owner, state.delivered.iter().collect()))
            .collect();
        all.sort_unstable_by_key(|(owner, _)| *owner);
        all
    }

    /// What is released from the front needs no note any more.
    pub(crate) fn prune_delivered(&mut self) -> &Self {
        for state in self.owners.values_mut() {
            if state.delivered.is_empty() {
                continue;
            }
            match state.first() {
                Some(first) if !state.is_empty() => state.delivered.remove(0, first - 1),
                _ => state.delivered.clear(),
            }
        }
        self
    }
}
