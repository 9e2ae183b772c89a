//! The consuming end: counts what comes and acknowledges it.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use anyhow::Result;
use wire::amqp091::frame::encode_method;
use wire::amqp091::method::{BasicAck, Method};

use crate::link::Link;
use crate::meter::{Meter, add};
use crate::pace::now_ns;
use crate::publisher::refuse;
use crate::scan::{Scanner, Sink};
use crate::workers::Stop;

/// How a consumer acknowledges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Acks {
    /// It does not have to.
    Automatic,
    /// Each delivery by an ack of its own.
    Each,
    /// One ack with `multiple` for so many deliveries; more than 1.
    Every(u64),
}

/// See the module.
pub(crate) struct Consumer {
    pub(crate) link: Link,
    pub(crate) meter: Arc<Meter>,
    pub(crate) stop: Stop,
    pub(crate) acks: Acks,
    /// The latency of one in so many deliveries is recorded.
    pub(crate) sample_every: u64,
}

struct Deliveries<'a> {
    acks: Acks,
    output: &'a mut Vec<u8>,
    sample_every: u64,
    stamps: &'a mut Vec<u64>,
    /// Since the start.
    delivered: &'a mut u64,
    /// Since the last ack.
    unacked: &'a mut u64,
}

impl Sink for Deliveries<'_> {
    #[inline]
    fn delivered(&mut self, delivery_tag: u64, stamp: u64) {
        *self.delivered += 1;
        if stamp != 0 && self.delivered.is_multiple_of(self.sample_every) {
            self.stamps.push(stamp);
        }
        let multiple = match self.acks {
            Acks::Automatic => return,
            Acks::Each => false,
            Acks::Every(count) => {
                *self.unacked += 1;
                if *self.unacked < count {
                    return;
                }
                *self.unacked = 0;
                true
            }
        };
        let ack = BasicAck {
            delivery_tag,
            multiple,
        };
        encode_method(self.output, 1, &Method::BasicAck(ack));
    }

    fn method(&mut self, method: Method<'_>) -> Result<()> {
        refuse(&method)
    }
}

impl Consumer {
    /// Consumes until it is told to stop.
    pub(crate) async fn run(mut self) -> Result<()> {
        let mut scanner = Scanner::default();
        let mut output = Vec::new();
        let mut written = 0;
        let mut stamps = Vec::new();
        let (mut delivered, mut unacked) = (0, 0);
        let mut stop = self.stop.clone();
        loop {
            let before = delivered;
            // What was read while this one was set up is looked at first.
            let mut deliveries = Deliveries {
                acks: self.acks,
                output: &mut output,
                sample_every: self.sample_every,
                stamps: &mut stamps,
                delivered: &mut delivered,
                unacked: &mut unacked,
            };
            let used = scanner.scan(self.link.unread(), &mut deliveries)?;
            self.link.use_up(used);
            self.count(delivered - before, &mut stamps);
            if written < output.len() {
                written += self.link.try_write(&output[written..])?;
                if written == output.len() {
                    output.clear();
                    written = 0;
                }
            }
            if self.stop.is_said() {
                return Ok(());
            }
            if self.link.try_read()? {
                // Others live on this thread, too.
                tokio::task::consume_budget().await;
                continue;
            }
            tokio::select! {
                ready = self.link.ready(written < output.len()) => ready?,
                () = stop.wait() => return Ok(()),
            }
        }
    }

    fn count(&self, delivered: u64, stamps: &mut Vec<u64>) {
        if delivered == 0 {
            return;
        }
        let now_ns = now_ns();
        add(&self.meter.delivered, delivered);
        self.meter.delivered_at_ns.store(now_ns, Ordering::Relaxed);
        if stamps.is_empty() {
            return;
        }
        self.meter.record(|latencies| {
            for stamp in stamps.drain(..) {
                let latency_ns = now_ns.saturating_sub(stamp).max(1);
                latencies.main.saturating_record(latency_ns);
            }
        });
    }
}
