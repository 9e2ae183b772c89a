//! Acks, nacks, rejects and recover: which deliveries they mean, and giving them to the queues in batches.

use std::sync::Arc;

use broker::queue::{ConsumerId, DeliveryId, Settlement};
use node::queue_cell::QueueCell;
use wire::amqp091::method::{BasicAck, BasicNack, Method};
use wire::amqp091::reply_code::ReplyCode;

use super::channel::Channel;
use super::connection::Turn;
use super::fault::Fault;
use super::limits::{BATCH_ENTRIES_KEPT, BATCH_TARGETS_KEPT};
use super::methods::Session;
use super::unacked::Unacked;

/// Deliveries of one consumer that are settled alike.
struct Run {
    channel: u16,
    cell: Arc<QueueCell>,
    consumer: ConsumerId,
    settlement: Settlement,
    ids: Vec<DeliveryId>,
}

/// Settlements that are not with their queues yet, in the order they came, but for runs of one consumer.
#[derive(Default)]
pub(crate) struct Settlements {
    runs: Vec<Run>,
    /// Emptied vectors, for reuse.
    spare: Vec<Vec<DeliveryId>>,
}

impl Settlements {
    fn push(&mut self, channel: u16, unacked: Unacked, settlement: Settlement) {
        let Unacked {
            cell, consumer, id, ..
        } = unacked;
        // Consumers of a channel take turns, so the run is one of the last few.
        let recent = self.runs.iter_mut().rev().take(BATCH_TARGETS_KEPT);
        for run in recent {
            if run.consumer == consumer
                && run.settlement == settlement
                && Arc::ptr_eq(&run.cell, &cell)
            {
                run.ids.push(id);
                return;
            }
        }
        let mut ids = self.spare.pop().unwrap_or_default();
        ids.push(id);
        self.runs.push(Run {
            channel,
            cell,
            consumer,
            settlement,
            ids,
        });
    }
}

fn unknown_tag(tag: u64) -> Fault {
    Fault::precondition(format!("unknown delivery tag {tag}"))
}

impl Session {
    pub(crate) fn ack(
        &mut self,
        _turn: &mut Turn<'_>,
        number: u16,
        ack: &BasicAck,
    ) -> Result<(), Fault> {
        self.settle(number, ack.delivery_tag, ack.multiple, Settlement::Ack)
    }

    pub(crate) fn nack(
        &mut self,
        _turn: &mut Turn<'_>,
        number: u16,
        nack: &BasicNack,
    ) -> Result<(), Fault> {
        let settlement = if nack.requeue {
            Settlement::Requeue { counted: false }
        } else {
            Settlement::DeadLetter { counted: false }
        };
        self.settle(number, nack.delivery_tag, nack.multiple, settlement)
    }

    pub(crate) fn reject(
        &mut self,
        _turn: &mut Turn<'_>,
        number: u16,
        tag: u64,
        requeue: bool,
    ) -> Result<(), Fault> {
        let settlement = if requeue {
            Settlement::Requeue { counted: true }
        } else {
            Settlement::DeadLetter { counted: true }
        };
        self.settle(number, tag, false, settlement)
    }

    /// Takes the deliveries that `tag` means and settles them, or keeps that for the transaction's commit.
    fn settle(
        &mut self,
        number: u16,
        tag: u64,
        multiple: bool,
        settlement: Settlement,
    ) -> Result<(), Fault> {
        let channel = self.channel(number)?;
        if channel.transaction().is_none() && !multiple {
            let unacked = channel.unacked.take(tag).ok_or_else(|| unknown_tag(tag))?;
            channel.totals.ack += u64::from(settlement == Settlement::Ack);
            self.settlements.push(number, unacked, settlement);
            return Ok(());
        }
        let taken = take(channel, tag, multiple)?;
        if settlement == Settlement::Ack {
            channel.totals.ack += taken.len() as u64;
        }
        match channel.transaction() {
            Some(transaction) => transaction.settle(taken, settlement),
            None => self.settle_entries(number, taken, settlement),
        }
        Ok(())
    }

    /// Settles these deliveries of a channel at the next flush.
    pub(crate) fn settle_entries(
        &mut self,
        number: u16,
        entries: Vec<Unacked>,
        settlement: Settlement,
    ) {
        for unacked in entries {
            self.settlements.push(number, unacked, settlement);
        }
    }

    /// Gives the settlements to their queues.
    pub(crate) fn flush_settlements(&mut self, turn: &mut Turn<'_>) {
        if self.settlements.runs.is_empty() {
            return;
        }
        let mut runs = std::mem::take(&mut self.settlements.runs);
        if !self.traced_deliveries.is_empty() {
            let tracer = self.node.tracer();
            for run in &runs {
                (self.traced_deliveries).settle(tracer, &run.cell, &run.ids, run.settlement);
            }
        }
        for run in &mut runs {
            let aftermath = run.cell.settle(turn.now_ms, &run.ids, run.settlement);
            self.vhost.conclude(turn.now_ms, &run.cell, aftermath);
            let shared = self
                .channels
                .find(run.channel)
                .and_then(|channel| channel.shared_prefetch.clone());
            if let Some(shared) = shared
                && run.consumer != ConsumerId::NONE
            {
                shared.give_back(run.ids.len() as u32);
                self.resume_shared(turn, run.channel);
            }
        }
        for mut run in runs.drain(..) {
            if self.settlements.spare.len() < BATCH_TARGETS_KEPT {
                run.ids.clear();
                run.ids.shrink_to(BATCH_ENTRIES_KEPT);
                self.settlements.spare.push(run.ids);
            }
        }
        runs.shrink_to(BATCH_TARGETS_KEPT);
        self.settlements.runs = runs;
    }

    /// `basic.recover`: all unacked deliveries of the channel go back to their queues.
    pub(crate) fn recover(
        &mut self,
        turn: &mut Turn<'_>,
        number: u16,
        requeue: bool,
        answer: bool,
    ) -> Result<(), Fault> {
        if !requeue {
            return Err(Fault::connection(
                ReplyCode::NotImplemented,
                "requeue=false",
            ));
        }
        let all = self.channel(number)?.unacked.take_all().collect();
        self.settle_entries(number, all, Settlement::Requeue { counted: false });
        self.flush_settlements(turn);
        if answer {
            turn.say(number, &Method::BasicRecoverOk);
        }
        Ok(())
    }

    /// Gives back everything an ending channel has unacked.
    pub(crate) fn requeue_all(&mut self, turn: &mut Turn<'_>, number: u16, channel: &mut Channel) {
        let mut all: Vec<Unacked> = channel.unacked.take_all().collect();
        if let Some(transaction) = channel.transaction() {
            all.extend(transaction.take_settled());
        }
        self.settle_entries(number, all, Settlement::Requeue { counted: true });
        self.flush_settlements(turn);
    }
}

/// The deliveries that `tag` and `multiple` mean: tag 0 with multiple is all there are, even none
/// (AMQP 0-9-1, basic.ack).
fn take(channel: &mut Channel, tag: u64, multiple: bool) -> Result<Vec<Unacked>, Fault> {
    let unacked = &mut channel.unacked;
    match (tag, multiple) {
        (0, true) => Ok(unacked.take_all().collect()),
        (tag, true) => {
            let mut taken = Vec::new();
            unacked
                .take_up_to(tag, |entry| taken.push(entry))
                .ok_or_else(|| unknown_tag(tag))?;
            Ok(taken)
        }
        (tag, false) => Ok(vec![unacked.take(tag).ok_or_else(|| unknown_tag(tag))?]),
    }
}
