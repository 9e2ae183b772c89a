//! `tx.*`: publishes and settlements of a channel that wait for its commit.
//!
//! As in RabbitMQ, a publish is routed when it comes and enters its queues at the commit, and a rollback
//! leaves what was delivered unacked, to be acked again. Each queue takes its part atomically.

use broker::message::LogPosition;
use broker::queue::Settlement;
use wire::amqp091::method::Method;
use wire::amqp091::reply_code::ReplyCode;

use super::connection::Turn;
use super::fault::Fault;
use super::limits::TRANSACTION_BYTES_MAX;
use super::methods::Session;
use super::publish::Routed;
use super::unacked::Unacked;

/// See the module.
#[derive(Default)]
pub(crate) struct Transaction {
    publishes: Vec<Routed>,
    publish_bytes: usize,
    settled: Vec<(Unacked, Settlement)>,
}

impl Transaction {
    /// Adds a publish; refuses it if the transaction would hold more than a channel may keep in memory.
    pub(crate) fn publish(&mut self, routed: Routed) -> Result<(), Fault> {
        self.publish_bytes += routed.message.bytes();
        if self.publish_bytes > TRANSACTION_BYTES_MAX {
            let text = format!("transaction is larger than {TRANSACTION_BYTES_MAX} bytes");
            return Err(Fault::precondition(text));
        }
        self.publishes.push(routed);
        Ok(())
    }

    /// Adds settlements.
    pub(crate) fn settle(&mut self, entries: Vec<Unacked>, settlement: Settlement) {
        self.settled
            .extend(entries.into_iter().map(|unacked| (unacked, settlement)));
    }

    /// Takes what was settled and not committed.
    pub(crate) fn take_settled(&mut self) -> impl Iterator<Item = Unacked> {
        std::mem::take(&mut self.settled)
            .into_iter()
            .map(|(unacked, _)| unacked)
    }

    fn take(&mut self) -> Transaction {
        std::mem::take(self)
    }
}

impl Session {
    fn transaction(&mut self, number: u16) -> Result<Transaction, Fault> {
        let channel = self.channel(number)?;
        let Some(transaction) = channel.transaction() else {
            return Err(Fault::channel(
                ReplyCode::PreconditionFailed,
                "channel is not transactional",
            ));
        };
        Ok(transaction.take())
    }

    pub(crate) fn tx_commit(&mut self, turn: &mut Turn<'_>, number: u16) -> Result<(), Fault> {
        let transaction = self.transaction(number)?;
        self.commit_began = self.last_position();
        for (unacked, settlement) in transaction.settled {
            self.settle_entries(number, vec![unacked], settlement);
        }
        for routed in transaction.publishes {
            self.publish_routed(turn, number, routed);
        }
        if self.flush(turn) {
            self.say_committed(turn, number);
        } else {
            self.committing = Some(number);
        }
        Ok(())
    }

    /// Says `tx.commit-ok`, behind everything that the log was told since the commit began: publishes and acks.
    pub(crate) fn say_committed(&mut self, turn: &mut Turn<'_>, number: u16) {
        if self.failed {
            return;
        }
        let last = self.last_position();
        if last != self.commit_began {
            turn.output.hold_until(last);
        }
        turn.say(number, &Method::TxCommitOk);
    }

    fn last_position(&self) -> LogPosition {
        let log = self.node.log.as_ref();
        log.map_or(LogPosition::NONE, |log| log.last_position())
    }

    pub(crate) fn tx_rollback(&mut self, turn: &mut Turn<'_>, number: u16) -> Result<(), Fault> {
        let mut transaction = self.transaction(number)?;
        let settled = transaction.take_settled().collect();
        self.channel(number)?.unacked.put_back(settled);
        turn.say(number, &Method::TxRollbackOk);
        Ok(())
    }
}
