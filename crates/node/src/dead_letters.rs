//! Dead lettering: what a queue gave up is published again, to the exchange its options name.
//!
//! A worklist, not a recursion: a dead letter may push another message out of its new queue, and so on.
//! It ends because the machine in `broker::dead_letter` drops a message that has been through the same queue
//! without anybody rejecting it. As in RabbitMQ, a dead letter for which there is no exchange or no queue is
//! dropped, and the user's permissions were checked when the queue was declared.
//!
//! A dead letter is in the log before the message that died is released from it, in one batch: a crash may bring
//! the message back where it died, but never lose it. What the log has no room for waits in [`Postponed`].

use std::collections::VecDeque;
use std::sync::Arc;

use broker::dead_letter::{self, DeadLettered};
use broker::message::{LogPosition, Origin};
use broker::queue::{Dead, Incoming};
use broker::router::{Routable, RouteScratch};
use parking_lot::Mutex;

use crate::message_log::{InFlight, MessageLog, Refused, Taker};
use crate::queue_cell::{Aftermath, QueueCell};
use crate::spans::Tracer;
use crate::timers::Timers;
use crate::vhost::{Vhost, properties_of};

/// Dead messages that wait until the log has room for their letters. While there are any, no timers run, so that
/// what expires does not pile up here; what consumers reject is bounded by what they hold.
#[derive(Default)]
pub struct Postponed {
    waiting: Mutex<VecDeque<(Arc<QueueCell>, Vec<Dead>)>>,
}

impl Postponed {
    fn put(&self, log: &MessageLog, timers: &Arc<Timers>, cell: Arc<QueueCell>, dead: Vec<Dead>) {
        self.waiting.lock().push_back((cell, dead));
        timers.hold(true);
        let timers = Arc::clone(timers);
        log.wake_when_room(Arc::new(move || timers.wake_now()));
    }

    /// Tries again with all that wait.
    pub(crate) fn retry(&self, now_ms: u64, timers: &Timers) {
        let waiting = std::mem::take(&mut *self.waiting.lock());
        if waiting.is_empty() {
            return;
        }
        timers.hold(false);
        for (cell, dead) in waiting {
            if let Some(vhost) = cell.vhost.upgrade() {
                vhost.dead_letter(now_ms, cell, dead);
            }
        }
    }
}

/// A batch of messages for one queue.
struct Bound {
    cell: Arc<QueueCell>,
    batch: Vec<Incoming>,
}

/// A dead message with its letter, if it has one, and the queues that take it.
struct Letter {
    letter: Option<DeadLettered>,
    targets: Vec<Arc<QueueCell>>,
    /// Of the letter, once it is in the log.
    position: LogPosition,
    /// The broker was killed since the message came: another letter of it may have been delivered.
    uncertain: bool,
}

impl Vhost {
    /// Dead-letters what `cell` gave up, and all that follows from it.
    pub(crate) fn dead_letter(&self, now_ms: u64, cell: Arc<QueueCell>, dead: Vec<Dead>) {
        let mut work = VecDeque::from([(cell, dead)]);
        let tracer = self.tracer();
        while let Some((cell, mut dead)) = work.pop_front() {
            let start_ns = tracer.map_or(0, |tracer| tracer.now_ns());
            let mut letters = self.write_letters(now_ms, &cell, &dead);
            let in_flight = self.append_letters(now_ms, &cell, &mut dead, &mut letters);
            if let Some(tracer) = tracer {
                trace(tracer, start_ns, &cell, &dead, &letters);
            }
            for Bound { cell, mut batch } in bound(now_ms, letters) {
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
            drop(in_flight);
        }
    }

    fn write_letters(&self, now_ms: u64, cell: &Arc<QueueCell>, dead: &[Dead]) -> Vec<Letter> {
        let options = cell.options();
        let log = self.message_log();
        let killed_up_to = log.map_or(LogPosition::NONE, |log| log.redelivered_up_to());
        let mut scratch = RouteScratch::with_seed(crate::names::seed());
        let write = |dead: &Dead| {
            let letter = dead_letter::dead_letter(dead, &cell.spec.name, &options, now_ms / 1000);
            let mut targets = Vec::new();
            if let Some(letter) = &letter {
                if self.route_letter(letter, &mut scratch, &mut targets) {
                    self.passed().count_dead(options.kind, dead.reason);
                }
                targets.retain(|target| {
                    !dead_letter::is_cycle(letter, &target.spec.name, dead.reason)
                });
            }
            Letter {
                letter,
                targets,
                position: LogPosition::NONE,
                uncertain: dead.position.is_some() && dead.position <= killed_up_to,
            }
        };
        dead.iter().map(write).collect()
    }

    /// Puts the letters into the log and takes the dead out of it. Those that find no room wait, and are no
    /// longer in `letters`.
    fn append_letters(
        &self,
        now_ms: u64,
        cell: &Arc<QueueCell>,
        dead: &mut Vec<Dead>,
        letters: &mut Vec<Letter>,
    ) -> Option<InFlight> {
        let log = self.message_log()?;
        let takers: Vec<Vec<Taker>> = letters.iter().map(|l| takers(now_ms, l)).collect();
        let logged = |dead: &Dead| dead.position.is_some();
        if takers.iter().all(Vec::is_empty) && !dead.iter().any(logged) {
            return None;
        }
        let mut appending = log.begin();
        let mut done = 0;
        for ((letter, dead), takers) in letters.iter_mut().zip(dead.iter()).zip(takers) {
            if let (Some(letter_), false) = (&letter.letter, takers.is_empty()) {
                match appending.push(&letter_.message, takers) {
                    Ok(position) => letter.position = position,
                    Err(Refused::Behind) => break,
                    // Nothing is kept any more; the message goes on as long as the process does.
                    Err(Refused::Failed) => {}
                }
            }
            appending.release(cell.id, dead.position);
            done += 1;
        }
        let in_flight = appending.end();
        if done < letters.len() {
            letters.truncate(done);
            let rest = dead.split_off(done);
            self.postpone(log, Arc::clone(cell), rest);
        }
        Some(in_flight)
    }

    fn postpone(&self, log: &MessageLog, cell: Arc<QueueCell>, dead: Vec<Dead>) {
        self.postponed().put(log, self.timers(), cell, dead);
    }

    /// The queues that a letter goes to. `false`: it has no exchange.
    fn route_letter(
        &self,
        letter: &DeadLettered,
        scratch: &mut RouteScratch,
        cells: &mut Vec<Arc<QueueCell>>,
    ) -> bool {
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
            return false;
        }
        if !scratch.history.is_empty() {
            let history = std::mem::take(&mut scratch.history);
            self.record_history(&history, message);
        }
        true
    }
}

/// Tells of the dead that are traced. Their letters are about to be given to their queues.
fn trace(tracer: &Tracer, start_ns: u64, cell: &QueueCell, dead: &[Dead], letters: &[Letter]) {
    for (dead, letter) in dead.iter().zip(letters) {
        let sent = letter.letter.as_ref();
        let sent = sent.map(|sent| (&sent.message, &letter.targets[..]));
        tracer.died(&dead.message, dead.reason, cell, start_ns, sent);
    }
}

/// The queues that keep a letter across a restart.
fn takers(now_ms: u64, letter: &Letter) -> Vec<Taker> {
    let Some(DeadLettered {
        message,
        delivery_count,
        ..
    }) = &letter.letter
    else {
        return Vec::new();
    };
    let targets = letter.targets.iter();
    let keep = targets.filter(|target| message.persistent() && target.survives());
    keep.map(|target| Taker {
        queue: target.id,
        expires_at_ms: QueueCell::expires_at_ms(target.ttl_ms(), now_ms, message),
        delivery_count: *delivery_count,
    })
    .collect()
}

/// The letters by the queue that they go to.
fn bound(now_ms: u64, letters: Vec<Letter>) -> Vec<Bound> {
    let mut bound: Vec<Bound> = Vec::new();
    for Letter {
        letter,
        targets,
        position,
        uncertain,
    } in letters
    {
        let Some(letter) = letter else { continue };
        for target in targets {
            let kept = position.is_some() && target.survives();
            let mut incoming = letter.incoming(if kept { position } else { LogPosition::NONE });
            incoming.uncertain = uncertain;
            incoming.redelivered |= uncertain;
            if kept {
                let at_ms = QueueCell::expires_at_ms(target.ttl_ms(), now_ms, &letter.message);
                incoming.expires_at_ms = Some(at_ms);
            }
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
