//! The publishing end: writes blocks of its ring, as fast as it may.
//!
//! What holds it back is one of three: the socket, the window of open confirms, the rate.

use std::ops::Range;
use std::sync::Arc;

use anyhow::{Result, bail};
use wire::amqp091::method::Method;

use crate::link::Link;
use crate::meter::{Meter, add};
use crate::pace::{Pace, now_ns};
use crate::ring::Ring;
use crate::scan::{Scanner, Sink};
use crate::window::Window;
use crate::workers::Stop;

/// How a publisher goes about it.
pub(crate) struct Publisher {
    pub(crate) link: Link,
    pub(crate) ring: Ring,
    pub(crate) meter: Arc<Meter>,
    pub(crate) stop: Stop,
    /// Messages to publish; `None`: until told to stop.
    pub(crate) count: Option<u64>,
    /// Open confirms, at most; `None`: no confirms.
    pub(crate) confirms: Option<u64>,
    /// Messages a second and the phase; `None`: as many as possible.
    pub(crate) rate: Option<(f64, f64)>,
}

/// What the broker says to a publisher.
struct Answers<'a> {
    window: &'a mut Window,
    confirmed: u64,
    nacked: u64,
    returned: u64,
}

impl Sink for Answers<'_> {
    fn delivered(&mut self, _delivery_tag: u64, _stamp: u64) {}

    fn method(&mut self, method: Method<'_>) -> Result<()> {
        match method {
            Method::BasicAck(ack) => {
                self.confirmed += self.window.settle(ack.delivery_tag, ack.multiple);
            }
            Method::BasicNack(nack) => {
                self.nacked += self.window.settle(nack.delivery_tag, nack.multiple);
            }
            Method::BasicReturn(_) => self.returned += 1,
            other => refuse(&other)?,
        }
        Ok(())
    }
}

/// What neither end of a load can go on after.
pub(crate) fn refuse(method: &Method<'_>) -> Result<()> {
    match method {
        Method::ConnectionClose(close) => bail!(
            "the broker closed the connection: {} {}",
            close.reply_code,
            close.reply_text
        ),
        Method::ChannelClose(close) => bail!(
            "the broker closed the channel: {} {}",
            close.reply_code,
            close.reply_text
        ),
        Method::BasicCancel(cancel) => {
            bail!("the broker cancelled consumer {}", cancel.consumer_tag)
        }
        _ => Ok(()),
    }
}

impl Publisher {
    /// Publishes until the count is reached or it is told to stop; then, with confirms, until all are there.
    pub(crate) async fn run(mut self) -> Result<()> {
        let mut window = Window::default();
        let mut scanner = Scanner::default();
        let mut pace = match self.rate {
            Some((rate, phase)) => Some(Pace::new(rate, phase)?),
            None => None,
        };
        let mut left = self.count.unwrap_or(u64::MAX);
        let mut pending: Range<usize> = 0..0;
        loop {
            while self.link.try_read()? {
                self.take_answers(&mut scanner, &mut window)?;
            }
            let ending = left == 0 || self.stop.is_said();
            if pending.is_empty() {
                if ending && (self.confirms.is_none() || window.open() == 0 || self.stop.is_said())
                {
                    return Ok(());
                }
                if !ending {
                    pending = self.take_block(&mut window, pace.as_mut(), &mut left);
                }
            }
            if !pending.is_empty() {
                let written = self.link.try_write(self.ring.bytes(pending.clone()))?;
                pending.start += written;
                if 0 < written {
                    // Others live on this thread, too.
                    tokio::task::consume_budget().await;
                    continue;
                }
            }
            let awaits_tick = pending.is_empty() && !ending;
            tokio::select! {
                ready = self.link.ready(!pending.is_empty()) => ready?,
                tick = wait(pace.as_ref()), if awaits_tick => tick?,
                () = self.stop.wait() => if !pending.is_empty() { return Ok(()) },
            }
        }
    }

    /// Takes the next block of messages, none if none may be sent now.
    fn take_block(
        &mut self,
        window: &mut Window,
        pace: Option<&mut Pace>,
        left: &mut u64,
    ) -> Range<usize> {
        let now_ns = now_ns();
        let mut allowed = *left;
        if let Some(confirms) = self.confirms {
            allowed = allowed.min(confirms.saturating_sub(window.open()));
        }
        if let Some(pace) = &pace {
            allowed = allowed.min(pace.due(now_ns));
        }
        if allowed == 0 {
            return 0..0;
        }
        let (count, range) = match pace {
            Some(pace) => {
                let taken = self.ring.take(allowed, |ahead| pace.due_at_ns(ahead));
                pace.sent(taken.0);
                taken
            }
            None => self.ring.take(allowed, |_| now_ns),
        };
        *left -= count;
        if self.confirms.is_some() {
            window.publish(count, now_ns);
        }
        add(&self.meter.published, count);
        range
    }

    fn take_answers(&mut self, scanner: &mut Scanner, window: &mut Window) -> Result<()> {
        let mut answers = Answers {
            window,
            confirmed: 0,
            nacked: 0,
            returned: 0,
        };
        let used = scanner.scan(self.link.unread(), &mut answers)?;
        let Answers {
            confirmed,
            nacked,
            returned,
            ..
        } = answers;
        self.link.use_up(used);
        if 0 < confirmed {
            add(&self.meter.confirmed, confirmed);
            let now_ns = now_ns();
            self.meter.record(|latencies| {
                window.take_confirmed(|written_ns| {
                    latencies
                        .confirm
                        .saturating_record(now_ns.saturating_sub(written_ns).max(1));
                });
            });
        }
        if 0 < nacked {
            add(&self.meter.nacked, nacked);
        }
        if 0 < returned {
            add(&self.meter.returned, returned);
        }
        Ok(())
    }
}

async fn wait(pace: Option<&Pace>) -> Result<()> {
    match pace {
        Some(pace) => pace.tick().await,
        None => std::future::pending().await,
    }
}
