//! Publisher confirms of one channel: which sequence numbers are settled, said in as few frames as possible.
//!
//! Numbers are settled in publish order, so an ack with `multiple` covers everything before it that was not
//! answered yet, and a nack is said on its own between two acks.

use wire::amqp091::frame::encode_method;
use wire::amqp091::method::{BasicAck, BasicNack, Method};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Confirms {
    /// The last number given to a publish.
    published: u64,
    /// The last number answered.
    answered: u64,
    /// Refused numbers that are not answered yet; sorted before they are said.
    rejected: Vec<u64>,
}

impl Confirms {
    /// The number of the next publish; the first is 1.
    pub(crate) fn next(&mut self) -> u64 {
        self.published += 1;
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

    /// Says everything that was published.
    pub(crate) fn answer_all(&mut self, channel: u16, out: &mut Vec<u8>) {
        self.rejected.sort_unstable();
        self.rejected.dedup();
        for rejected in std::mem::take(&mut self.rejected) {
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
        self.ack_up_to(self.published, channel, out);
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
