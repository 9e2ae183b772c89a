//! Publishes of a batch that are traced: which they are, before the log and the queues get them, and what became of
//! them. See node's `spans`.
//!
//! While nothing is traced this costs a batch one look. While something is, a message that is not traced costs a look
//! at its headers, and one that is costs its spans, and a copy if several queues get it.

use broker::message::{Message, TraceMark};
use node::replies::REPLY_TO;
use node::spans::{Trace, Tracer};
use node::vhost::Vhost;

use super::super::methods::Session;
use super::PublishBatch;

const NS_PER_MS: u64 = 1_000_000;

/// A publish that is on its way to its queues.
struct TracedPublish {
    trace: Trace,
    message: Message,
    /// Where it stands in the batch: target, index there, and whether the target's queue has refused it.
    slots: Vec<(u32, u32, bool)>,
    /// When it was read, and when its way was known.
    times_ns: (u64, u64),
}

/// Those of a batch.
#[derive(Default)]
pub(super) struct TracedPublishes {
    publishes: Vec<TracedPublish>,
    /// What chance was last drawn from.
    draw: u64,
}

impl TracedPublishes {
    /// Whether the batch has none.
    pub(super) fn is_empty(&self) -> bool {
        self.publishes.is_empty()
    }

    /// The queue of a target has refused what stood at these places.
    pub(super) fn note_refused(&mut self, place: u32, refused: &[u32]) {
        let slots = self.publishes.iter_mut().flat_map(|p| &mut p.slots);
        for (at, index, was_refused) in slots {
            *was_refused |= *at == place && refused.contains(index);
        }
    }
}

impl PublishBatch {
    /// Decides which of the batch's messages are traced, and marks them.
    #[cold]
    pub(super) fn begin_traces(&mut self, tracer: &Tracer, now_ms: u64) {
        // Chance is not asked twice about a batch that the log had no room for.
        if self.logged.in_flight.is_none() {
            self.traced.draw = tracer.draw();
        }
        let draw = self.traced.draw;
        let filled = std::mem::take(&mut self.filled);
        for place in &filled {
            let mut index = 0;
            while let Some(message) = self.message_at(*place, index) {
                if message.trace_mark() == TraceMark::NONE
                    && let Some(trace) = tracer.begin(draw, message)
                {
                    let routed_ns = tracer.now_ns();
                    let start_ns = now_ms.saturating_mul(NS_PER_MS).min(routed_ns);
                    let (message, slots) = self.mark(&filled, (*place, index), &trace);
                    self.traced.publishes.push(TracedPublish {
                        trace,
                        message,
                        slots,
                        times_ns: (start_ns, routed_ns),
                    });
                }
                index += 1;
            }
        }
        self.filled = filled;
    }

    fn message_at(&mut self, place: u32, index: u32) -> Option<&mut Message> {
        let target = self.targets.get_mut(place as usize)?;
        Some(&mut target.incoming.get_mut(index as usize)?.message)
    }

    /// Marks the message at a place, and the same one wherever else it stands.
    fn mark(
        &mut self,
        filled: &[u32],
        (place, index): (u32, u32),
        trace: &Trace,
    ) -> (Message, Vec<(u32, u32, bool)>) {
        let (before, marked) = {
            let message = (self.message_at(place, index)).expect("the caller has just found it");
            let before = message.body().as_ptr();
            message.set_trace_mark(trace.mark());
            (before, message.clone())
        };
        let mut slots = vec![(place, index, false)];
        // One that was moved was shared.
        if before != marked.body().as_ptr() {
            for other in filled.iter().copied().filter(|other| *other != place) {
                let target = self.targets.get_mut(other as usize);
                let incoming = target.map(|target| &mut target.incoming[..]);
                for (index, incoming) in incoming.unwrap_or_default().iter_mut().enumerate() {
                    if incoming.message.body().as_ptr() == before {
                        incoming.message = marked.clone();
                        slots.push((other, index as u32, false));
                    }
                }
            }
        }
        (marked, slots)
    }

    /// Tells what became of those that are traced: the batch is with its queues.
    #[cold]
    pub(super) fn end_traces(&mut self, tracer: Option<&std::sync::Arc<Tracer>>, vhost: &Vhost) {
        let publishes = std::mem::take(&mut self.traced.publishes);
        let Some(tracer) = tracer else { return };
        for publish in &publishes {
            let slots = publish.slots.iter();
            let queues = slots.filter_map(|(place, _, refused)| {
                let target = self.targets.get(*place as usize)?;
                Some((&*target.cell, *refused))
            });
            let queues: Vec<_> = queues.collect();
            let TracedPublish {
                trace,
                message,
                times_ns,
                ..
            } = publish;
            tracer.published(trace, &vhost.name, message, *times_ns, &queues);
        }
    }
}

impl Session {
    /// Tells of a message that goes to no queue; a direct reply goes to its requester, and is not told of.
    #[cold]
    pub(super) fn trace_unroutable(&self, message: Message) {
        let is_reply = message.exchange().is_empty() && message.routing_key().starts_with(REPLY_TO);
        let Some(tracer) = self.node.tracer().filter(|_| !is_reply) else {
            return;
        };
        if let Some(trace) = tracer.begin(tracer.draw(), &message) {
            let now_ns = tracer.now_ns();
            tracer.published(&trace, &self.vhost.name, &message, (now_ns, now_ns), &[]);
        }
    }
}
