//! The publishing end: writes blocks of its ring, as fast as it may.
//!
//! What holds it back is one of three: the socket, the window of open confirms, the rate.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::time::timeout;
use wire::amqp091::frame::encode_method;
use wire::amqp091::method::Method;

use crate::client::good_bye;
use crate::link::Link;
use crate::meter::{Meter, add};
use crate::pace::{Pace, now_ns};
use crate::ring::Ring;
use crate::scan::{Scanner, Sink};
use crate::window::Window;
use crate::workers::Stop;

/// How long a broker may take to close a connection: it may have a backlog to take first.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(120);

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
    closed: bool,
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
            Method::ConnectionCloseOk => self.closed = true,
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
    /// Publishes until the count is reached or it is told to stop; then, with confirms, until all are there. Says
    /// good-bye when it was not told to stop: then all that it published counts.
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
                if self.stop.is_said() {
                    return Ok(());
                }
                if ending && (self.confirms.is_none() || window.open() == 0) {
                    return self.close(scanner, window).await;
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

    /// Says good-bye and waits for the answer: RabbitMQ drops what a channel has been handed and not handled when
    /// its socket closes without a word.
    async fn close(mut self, mut scanner: Scanner, mut window: Window) -> Result<()> {
        let mut stop = self.stop.clone();
        let mut output = Vec::new();
        encode_method(&mut output, 0, &good_bye());
        let mut written = 0;
        let closing = async {
            loop {
                written += self.link.try_write(&output[written..])?;
                self.link.ready(written < output.len()).await?;
                while self.link.try_read()? {
                    if self.take_answers(&mut scanner, &mut window)? {
                        return Ok(());
                    }
                }
            }
        };
        tokio::select! {
            closed = timeout(CLOSE_TIMEOUT, closing) => {
                closed.context("the broker does not answer connection.close")?
            }
            () = stop.wait() => Ok(()),
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

    /// Whether the last answer is among them: `connection.close-ok`.
    fn take_answers(&mut self, scanner: &mut Scanner, window: &mut Window) -> Result<bool> {
        let mut answers = Answers {
            window,
            confirmed: 0,
            nacked: 0,
            returned: 0,
            closed: false,
        };
        let used = scanner.scan(self.link.unread(), &mut answers)?;
        let Answers {
            confirmed,
            nacked,
            returned,
            closed,
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
        Ok(closed)
    }
}

async fn wait(pace: Option<&Pace>) -> Result<()> {
    match pace {
        Some(pace) => pace.tick().await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ring::Publishes;
    use crate::workers::Stopper;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use wire::amqp091::frame::{FrameKind, decode_frame};

    /// What a broker was told up to `connection.close`, methods only.
    async fn read_to_the_end(broker: &mut TcpStream) -> Vec<&'static str> {
        let (mut input, mut methods) = (Vec::new(), Vec::new());
        loop {
            while let Some((frame, bytes)) = decode_frame(&input, 0).expect("frames") {
                if frame.kind == FrameKind::Method {
                    let method = Method::decode(frame.payload).expect("a method");
                    methods.push(method.name());
                }
                input.drain(..bytes);
            }
            if methods.last() == Some(&"connection.close") {
                return methods;
            }
            let count = broker.read_buf(&mut input).await.expect("reading");
            assert!(0 < count, "it hung up after {methods:?}");
        }
    }

    async fn publisher(stop: &Stopper) -> (Publisher, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let socket = TcpStream::connect(address).await.expect("a connection");
        let (broker, _) = listener.accept().await.expect("a client");
        let publishes = Publishes {
            exchange: String::new(),
            routing_keys: vec!["q".into()],
            sizes: "16".parse().expect("a size"),
            persistent: false,
            mandatory: false,
            rings: 1,
        };
        let publisher = Publisher {
            link: Link::new(socket, Vec::new()),
            ring: Ring::new(&publishes, 4096),
            meter: Arc::default(),
            stop: stop.stop(),
            count: Some(3),
            confirms: None,
            rate: None,
        };
        (publisher, broker)
    }

    #[tokio::test]
    async fn it_is_done_when_the_broker_has_said_good_bye() {
        let stop = Stopper::new();
        let (publisher, mut broker) = publisher(&stop).await;
        let mut run = tokio::spawn(publisher.run());
        let told = tokio::select! {
            told = read_to_the_end(&mut broker) => told,
            ended = &mut run => panic!("it did not wait: {ended:?}"),
        };
        let publish = "basic.publish";
        assert_eq!(told, [publish, publish, publish, "connection.close"]);
        assert!(!run.is_finished());
        let mut answer = Vec::new();
        encode_method(&mut answer, 0, &Method::ConnectionCloseOk);
        broker.write_all(&answer).await.expect("writing");
        run.await.expect("it ends").expect("it ends well");
    }

    #[tokio::test]
    async fn a_broker_that_hangs_up_instead_is_an_error() {
        let stop = Stopper::new();
        let (publisher, mut broker) = publisher(&stop).await;
        let run = tokio::spawn(publisher.run());
        read_to_the_end(&mut broker).await;
        drop(broker);
        assert!(run.await.expect("it ends").is_err());
    }

    #[tokio::test]
    async fn told_to_stop_it_does_not_wait() {
        let stop = Stopper::new();
        let (publisher, mut broker) = publisher(&stop).await;
        let run = tokio::spawn(publisher.run());
        read_to_the_end(&mut broker).await;
        stop.say();
        run.await.expect("it ends").expect("it ends well");
    }
}
