//! From the mailbox to the output: delivery tags, unacked bookkeeping, encoding.
//!
//! Deliveries are encoded only while the output has room, and only then is the queue's window returned; so a
//! client that does not read costs the output's limit and a window, and the rest stays in the queue.

use std::sync::Arc;

use broker::queue::{ConsumerId, DELIVERY_WINDOW_BYTES, Delivery, Settlement, delivery_bytes};
use wire::amqp091::frame::{
    FRAME_END, body_frames, encode_body_frame_head, encode_deliver, encode_deliver_again,
    encode_deliver_head, is_one_frame,
};
use wire::amqp091::properties::{Change, Properties, PropertyChanges};
use wire::amqp091::table::{FieldValue, Table};

use super::connection::Turn;
use super::consume::{Consumer, Source};
use super::limits::{BODY_COPIED_BYTES_MAX, OUTPUT_BYTES_HIGH};
use super::methods::Session;
use super::output::Output;
use super::unacked::Unacked;

/// Part of a consumer's window after which it is returned: not a queue's lock for every delivery.
const WINDOW_RETURN_BYTES: u64 = DELIVERY_WINDOW_BYTES / 4;

/// Deliveries for which an idle connection keeps room.
const ARRIVALS_KEPT: usize = 1024;

impl Session {
    /// Encodes what is in the mailbox while the output has room.
    pub(crate) fn deliver(&mut self, turn: &mut Turn<'_>) {
        self.deliver_while(turn, |output_bytes| output_bytes < OUTPUT_BYTES_HIGH);
    }

    /// Encodes all that is in the mailbox at this moment: something must be said after it. What the queues put
    /// there while their windows are returned waits for its turn.
    pub(crate) fn deliver_all(&mut self, turn: &mut Turn<'_>) {
        self.encode_arrivals(turn, &|_| true);
        self.refill_arrivals();
        self.encode_arrivals(turn, &|_| true);
    }

    /// Takes what is in the mailbox, once all that was taken before is encoded.
    fn refill_arrivals(&mut self) {
        debug_assert_eq!(self.arrivals_next, self.arrivals.len());
        self.arrivals.clear();
        self.arrivals_next = 0;
        self.entry.mailbox.take_deliveries(&mut self.arrivals);
    }

    fn deliver_while(&mut self, turn: &mut Turn<'_>, has_room: impl Fn(usize) -> bool) {
        while has_room(turn.output.len()) {
            if self.arrivals_next == self.arrivals.len() {
                self.refill_arrivals();
                if self.arrivals.is_empty() {
                    self.arrivals.shrink_to(ARRIVALS_KEPT);
                    return;
                }
            }
            self.encode_arrivals(turn, &has_room);
        }
    }

    /// Encodes arrivals of one consumer after another.
    fn encode_arrivals(&mut self, turn: &mut Turn<'_>, has_room: &impl Fn(usize) -> bool) {
        let arrivals = std::mem::take(&mut self.arrivals);
        let mut rest = arrivals.get(self.arrivals_next..).unwrap_or_default();
        while let [first, ..] = rest {
            if !has_room(turn.output.len()) {
                break;
            }
            let id = first.consumer;
            let end = rest.iter().position(|delivery| delivery.consumer != id);
            let (run, behind) = rest.split_at(end.unwrap_or(rest.len()));
            let encoded = self.encode_run(turn, id, run, has_room);
            self.arrivals_next += encoded;
            rest = if encoded == run.len() { behind } else { &[] };
        }
        self.arrivals = arrivals;
    }

    /// Encodes deliveries of one consumer; how many.
    fn encode_run(
        &mut self,
        turn: &mut Turn<'_>,
        id: ConsumerId,
        run: &[Delivery],
        has_room: &impl Fn(usize) -> bool,
    ) -> usize {
        let Some(consumer) = self.consumers.get_mut(&id) else {
            return run.len();
        };
        let Some(channel) = self.channels.find(consumer.channel) else {
            return run.len();
        };
        let frame_bytes_max = self.tuned.frame_bytes_max;
        let mut encoded = 0;
        let mut last = Last::default();
        for delivery in run {
            if !has_room(turn.output.len()) {
                break;
            }
            channel.delivery_tag += 1;
            let message = &delivery.message;
            last.encode(
                turn.output,
                consumer,
                channel.delivery_tag,
                delivery,
                frame_bytes_max,
            );
            encoded += 1;
            channel.totals.redeliver += u64::from(delivery.redelivered);
            consumer.owed_bytes += delivery_bytes(message);
            if let (false, Source::Queue(cell)) = (consumer.no_ack, &consumer.source) {
                let (tag, id) = (channel.delivery_tag, delivery.id);
                let cell = Arc::clone(cell);
                channel.unacked.push(Unacked {
                    tag,
                    cell,
                    consumer: delivery.consumer,
                    id,
                });
            }
        }
        if consumer.no_ack {
            channel.totals.deliver_no_ack += encoded as u64;
        } else {
            channel.totals.deliver += encoded as u64;
        }
        channel.publish_counts();
        if let (Some(tracer), Source::Queue(cell)) = (self.node.tracer(), &consumer.source) {
            let deliveries = run.get(..encoded).unwrap_or_default();
            let first_tag = channel.delivery_tag + 1 - encoded as u64;
            (self.traced_deliveries).deliver(tracer, &self.vhost, cell, deliveries, first_tag);
        }
        if consumer.owed_bytes >= WINDOW_RETURN_BYTES {
            let owed_bytes = std::mem::take(&mut consumer.owed_bytes);
            self.return_window(turn, id, owed_bytes);
        }
        encoded
    }

    fn return_window(&mut self, turn: &mut Turn<'_>, id: ConsumerId, bytes: u64) {
        match self.consumers.get(&id).map(|consumer| &consumer.source) {
            Some(Source::Queue(cell)) => {
                let cell = Arc::clone(cell);
                let aftermath = cell.return_window(turn.now_ms, id, bytes);
                self.vhost.conclude(turn.now_ms, &cell, aftermath);
            }
            Some(Source::Replies(target)) => target.taken(bytes),
            None => {}
        }
    }

    /// Gives back to their queues what arrived for these consumers and was not encoded. What was handed out
    /// without acknowledgement is gone, as that mode promises.
    pub(crate) fn requeue_arrivals(
        &mut self,
        turn: &mut Turn<'_>,
        which: impl Fn(ConsumerId) -> bool,
    ) {
        let mut arrived = std::mem::take(&mut self.arrivals);
        arrived.drain(..self.arrivals_next);
        self.arrivals_next = 0;
        let mut more = Vec::new();
        self.entry.mailbox.take_deliveries(&mut more);
        arrived.append(&mut more);
        let (back, stay): (Vec<_>, Vec<_>) = arrived
            .into_iter()
            .partition(|delivery| which(delivery.consumer));
        self.arrivals = stay;
        for delivery in back {
            let Some(Consumer {
                channel,
                source: Source::Queue(cell),
                no_ack: false,
                ..
            }) = self.consumers.get(&delivery.consumer)
            else {
                continue;
            };
            let (number, cell) = (*channel, Arc::clone(cell));
            let unacked = Unacked {
                tag: 0,
                cell,
                consumer: delivery.consumer,
                id: delivery.id,
            };
            self.settle_entries(
                number,
                vec![unacked],
                Settlement::Requeue { counted: false },
            );
        }
        self.flush_settlements(turn);
    }
}

/// The delivery that was encoded last, if the next one may be like it but for its delivery tag and body; and the bytes
/// of its frames, which stand at the end of the output.
#[derive(Default)]
struct Last<'d>(Option<(&'d Delivery, usize)>);

impl<'d> Last<'d> {
    /// Encodes the next delivery to the same consumer.
    #[inline]
    fn encode(
        &mut self,
        output: &mut Output,
        consumer: &Consumer,
        tag: u64,
        delivery: &'d Delivery,
        frame_bytes_max: u32,
    ) {
        let message = &delivery.message;
        let body = message.body();
        let counted = counted_properties(delivery);
        if BODY_COPIED_BYTES_MAX < body.len() {
            encode_in_place(output, consumer, tag, delivery, counted, frame_bytes_max);
            self.0 = None;
            return;
        }
        let out = output.buffer();
        let start = out.len();
        if let Some((like, bytes)) = self.0
            && counted.is_none()
            && delivery.redelivered == like.redelivered
            && message.is_like(&like.message)
        {
            encode_deliver_again(out, bytes, &consumer.tag, tag, body);
            return;
        }
        encode_deliver(
            out,
            consumer.channel,
            &consumer.tag,
            tag,
            delivery.redelivered,
            message.address(),
            counted.as_deref().unwrap_or(message.properties()),
            body,
            frame_bytes_max,
        );
        let usual = counted.is_none() && is_one_frame(body.len(), frame_bytes_max);
        self.0 = usual.then_some((delivery, out.len() - start));
    }
}

/// Encodes a delivery whose body is not copied.
fn encode_in_place(
    output: &mut Output,
    consumer: &Consumer,
    tag: u64,
    delivery: &Delivery,
    counted: Option<Vec<u8>>,
    frame_bytes_max: u32,
) {
    let message = &delivery.message;
    let body_bytes = message.body().len();
    encode_deliver_head(
        output.buffer(),
        consumer.channel,
        &consumer.tag,
        tag,
        delivery.redelivered,
        message.address(),
        counted.as_deref().unwrap_or(message.properties()),
        body_bytes,
    );
    for part in body_frames(body_bytes, frame_bytes_max) {
        encode_body_frame_head(output.buffer(), consumer.channel, part.len());
        output.push_body(message, part);
        output.buffer().push(FRAME_END);
    }
}

/// Properties with `x-acquired-count` and `x-delivery-count`, which a quorum queue's redeliveries carry (RabbitMQ
/// 4.3); `None` for all others.
pub(crate) fn counted_properties(delivery: &Delivery) -> Option<Vec<u8>> {
    if delivery.acquired_count == 0 && delivery.delivery_count == 0 {
        return None;
    }
    let properties = Properties::validate(delivery.message.properties()).ok()?;
    let mut headers = properties.headers().unwrap_or(Table::EMPTY).to_owned();
    let counts = [
        ("x-acquired-count", delivery.acquired_count),
        ("x-delivery-count", delivery.delivery_count),
    ];
    for (header, count) in counts {
        if count > 0 {
            headers.set(header, FieldValue::I64(i64::from(count)));
        }
    }
    let headers = Change::Set(&headers);
    Some(properties.rewrite(&PropertyChanges {
        headers,
        ..PropertyChanges::default()
    }))
}
