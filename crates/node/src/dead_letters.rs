//! Dead lettering: what a queue gave up is published again, to the exchange its options name.
//!
//! A worklist, not a recursion: a dead letter may push another message out of its new queue, and so on.
//! It ends because the machine in `broker::dead_letter` drops a message that has been through the same queue
//! without anybody rejecting it. As in RabbitMQ, a dead letter for which there is no exchange or no queue is
//! dropped, and the user's permissions were checked when the queue was declared.

use std::collections::VecDeque;
use std::sync::Arc;

use broker::dead_letter::{self, DeadLettered};
use broker::message::{LogPosition, Origin};
use broker::queue::{Dead, Incoming};
use broker::router::{Routable, RouteScratch};

use crate::queue_cell::{Aftermath, QueueCell};
use crate::vhost::{Vhost, properties_of};

/// A batch of messages for one queue.
struct Bound {
    cell: Arc<QueueCell>,
    batch: Vec<Incoming>,
}

impl Vhost {
    /// Dead-letters what `cell` gave up, and all that follows from it.
    pub(crate) fn dead_letter(&self, now_ms: u64, cell: Arc<QueueCell>, dead: Vec<Dead>) {
        let mut work = VecDeque::from([(cell, dead)]);
        while let Some((cell, dead)) = work.pop_front() {
            for Bound { cell, mut batch } in self.route_dead(now_ms, &cell, &dead) {
                let aftermath = cell.publish(now_ms, &mut batch, &mut Vec::new());
                let Aftermath {
                    dead,
                    auto_delete,
                    expired,
                } = aftermath;
                debug_assert!(!auto_delete && !expired, "publishing removes no queue");
                if !dead.is_empty() {
                    work.push_back((cell, dead));
                }
            }
        }
    }

    fn route_dead(&self, now_ms: u64, cell: &Arc<QueueCell>, dead: &[Dead]) -> Vec<Bound> {
        let options = cell.options();
        let mut bound: Vec<Bound> = Vec::new();
        if options.dead_letter_exchange.is_none() {
            return bound;
        }
        let mut scratch = RouteScratch::with_seed(crate::names::seed());
        let mut cells = Vec::new();
        for dead in dead {
            let Some(letter) =
                dead_letter::dead_letter(dead, &cell.spec.name, &options, now_ms / 1000)
            else {
                continue;
            };
            self.route_letter(&letter, &mut scratch, &mut cells);
            for target in cells.drain(..) {
                if dead_letter::is_cycle(&letter, &target.spec.name, dead.reason) {
                    continue;
                }
                let incoming = letter.incoming(LogPosition::NONE);
                match bound.iter_mut().find(|bound| bound.cell.id == target.id) {
                    Some(bound) => bound.batch.push(incoming),
                    None => bound.push(Bound {
                        cell: target,
                        batch: vec![incoming],
                    }),
                }
            }
        }
        bound
    }

    fn route_letter(
        &self,
        letter: &DeadLettered,
        scratch: &mut RouteScratch,
        cells: &mut Vec<Arc<QueueCell>>,
    ) {
        let message = &letter.message;
        let routable = Routable {
            exchange: message.exchange(),
            routing_key: message.routing_key(),
            properties: properties_of(message),
            sender_selects: message.origin() != Origin::DeadLetterRerouted,
        };
        // A dead-letter exchange that does not exist drops its letters (RabbitMQ, "Dead Letter Exchanges").
        if self.route(&routable, scratch, cells).is_err() {
            cells.clear();
            return;
        }
        if !scratch.history.is_empty() {
            let history = std::mem::take(&mut scratch.history);
            self.record_history(&history, message);
        }
    }
}
