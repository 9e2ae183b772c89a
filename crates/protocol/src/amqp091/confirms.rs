//! Publisher confirms of one channel: which sequence numbers are settled, said in as few frames as possible.
//!
//! Numbers are answered in publish order, so an ack with `multiple` covers everything before it that was not
//! answered yet, and a nack is said on its own between two acks. A batch of publishes is answered when the last
//! of its messages is where its durability says; what needs no disk waits for its turn behind what does, which
//! is one group commit at most. (RabbitMQ lets such confirms overtake, and so promises no order either.)

use std::collections::VecDeque;

use wire::amqp091::frame::encode_method;
use wire::amqp091::method::{BasicAck, BasicNack, Method};

use super::output::Promise;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Confirms {
    /// The last number given to a publish.
    published: u64,
    /// The last number answered.
    answered: u64,
    /// Refused numbers that are not answered yet; sorted before they are said.
    rejected: Vec<u64>,
    /// The last number of a batch, and what it waits for; both ascend.
    waiting: VecDeque<(u64, Promise)>,
}

impl Confirms {
    /// The number of the next publish; the first is 1.
    pub(crate) fn next(&mut self) -> u64 {
        self.published += 1;
        self.published
    }

    /// How many were published.
    pub(crate) fn published(&self) -> u64 {
        self.published
    }

    /// How many were answered.
    pub(crate) fn answered(&self) -> u64 {
        self.answered
    }

    /// Published and not answered.
    pub(crate) fn pending(&self) -> u64 {
        self.published - self.answered
    }

    /// A queue refused this one.
    pub(crate) fn reject(&mut self, number: u64) {
        self.rejected.push(number);
    }

    /// Everything that was published is with its queues; it is answered once `promise` is kept.
    pub(crate) fn promise(&mut self, promise: Promise) {
        if let Some((number, last)) = self.waiting.back_mut()
            && promise.is_kept(*last)
        {
            *number = self.published;
            return;
        }
        let before = self.waiting.back().map_or(Promise::NONE, |(_, last)| *last);
        self.waiting
            .push_back((self.published, before.and(promise)));
    }

    /// What the newest batch waits for, if it must wait.
    pub(crate) fn awaited(&self) -> Option<Promise> {
        self.waiting.back().map(|(_, promise)| *promise)
    }

    /// Says what may be said now.
    pub(crate) fn answer(&mut self, durable: Promise, channel: u16, out: &mut Vec<u8>) {
        let mut up_to = None;
        while let Some((number, promise)) = self.waiting.front()
            && promise.is_kept(durable)
        {
            up_to = Some(*number);
            self.waiting.pop_front();
        }
        if let Some(number) = up_to {
            self.answer_up_to(number, channel, out);
        }
    }

    /// Refuses everything that waits for the log: it will never be there.
    pub(crate) fn refuse_waiting(&mut self, durable: Promise, channel: u16, out: &mut Vec<u8>) {
        self.answer(durable, channel, out);
        if let Some((last, _)) = self.waiting.back() {
            let last = *last;
            self.waiting.clear();
            self.rejected.retain(|number| *number > last);
            self.rejected.extend(self.answered + 1..=last);
            self.answer_up_to(last, channel, out);
        }
    }

    fn answer_up_to(&mut self, last: u64, channel: u16, out: &mut Vec<u8>) {
        self.rejected.sort_unstable();
        self.rejected.dedup();
        let now = self.rejected.partition_point(|number| *number <= last);
        let rest = self.rejected.split_off(now);
        for rejected in std::mem::replace(&mut self.rejected, rest) {
            self.ack_up_to(rejected - 1, channel, out);
            let (multiple, requeue) = (false, false);
            let nack = BasicNack {
                delivery_tag: rejected,
                multiple,
                requeue,
            };
            encode_method(out, channel, &Method::BasicNack(nack));
            self.answered = rejected;
        }
        self.ack_up_to(last, channel, out);
    }

    fn ack_up_to(&mut self, number: u64, channel: u16, out: &mut Vec<u8>) {
        if number <= self.answered {
            return;
        }
        let multiple = number - self.answered > 1;
        let ack = BasicAck {
            delivery_tag: number,
            multiple,
        };
        encode_method(out, channel, &Method::BasicAck(ack));
        self.answered = number;
    }
}

#[cfg(test)]
mod tests;
