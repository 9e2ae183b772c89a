//! A connection's mailbox: where queues put deliveries and the node puts news, whoever's thread they run on.
//!
//! A queue appends a batch and wakes the connection once; the connection takes all that is there. It cannot
//! grow without bound: each consumer has a window of bytes (`broker::queue::DELIVERY_WINDOW_BYTES`) that its
//! queue may have handed out and the connection not yet encoded, replies have
//! [`crate::replies::REPLY_BACKLOG_BYTES_MAX`], and there is at most one event of a kind for a consumer.

use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use broker::queue::{ConsumerId, Delivery};
use parking_lot::Mutex;

/// News for a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The consumer's queue is gone.
    ConsumerCancelled(ConsumerId),
    /// The consumer kept a message unacked for longer than its timeout.
    ConsumerTimedOut {
        /// Which consumer.
        consumer: ConsumerId,
    },
    /// Close with this reply code and text: an operator's wish, or a shutdown.
    Close {
        /// AMQP reply code.
        code: u16,
        /// Reply text.
        text: Arc<str>,
    },
    /// An alarm was set or cleared: see `crate::alarms`.
    AlarmsChanged,
}

/// What a connection takes out at once.
#[derive(Debug, Default)]
pub struct Inbox {
    /// Deliveries in the order of assignment.
    pub deliveries: Vec<Delivery>,
    /// News, oldest first.
    pub events: Vec<Event>,
}

/// Wakes a thread that waits for a mailbox.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[derive(Debug, Default)]
struct State {
    inbox: Inbox,
    /// Set with the first thing put in, cleared when the connection looks: one wake-up a batch.
    signalled: bool,
    waker: Option<Waker>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Mailbox(Mutex<State>);

impl Mailbox {
    /// An empty mailbox.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Appends deliveries, leaving `batch` empty with its capacity or another's.
    pub fn deliver(&self, batch: &mut Vec<Delivery>) {
        self.put(|inbox| match inbox.deliveries.is_empty() {
            // Usually the connection has taken all: nothing is copied.
            true => std::mem::swap(&mut inbox.deliveries, batch),
            false => inbox.deliveries.append(batch),
        });
    }

    /// Appends one event. Of a consumer there is one of each kind at most, so only the connection's own events
    /// are looked for: the very same twice would say nothing new.
    pub fn notify(&self, event: Event) {
        self.put(|inbox| {
            let own = matches!(event, Event::Close { .. } | Event::AlarmsChanged);
            if !own || !inbox.events.contains(&event) {
                inbox.events.push(event);
            }
        });
    }

    /// Wakes the connection without news: something it waits for became durable.
    pub fn wake(&self) {
        self.put(|_| ());
    }

    fn put(&self, fill: impl FnOnce(&mut Inbox)) {
        let waker = {
            let mut state = self.0.lock();
            fill(&mut state.inbox);
            if state.signalled {
                None
            } else {
                state.signalled = true;
                state.waker.take()
            }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Ready when something was put in since the last time this was ready.
    pub fn poll_signalled(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.lock();
        if state.signalled {
            state.signalled = false;
            return Poll::Ready(());
        }
        match &mut state.waker {
            Some(waker) if waker.will_wake(context.waker()) => {}
            waker => *waker = Some(context.waker().clone()),
        }
        Poll::Pending
    }

    /// Waits until something was put in, or so long. For threads that have nothing else to do.
    pub fn wait(&self, limit: Duration) -> bool {
        let waker = std::task::Waker::from(Arc::new(Unpark(std::thread::current())));
        let deadline = Instant::now() + limit;
        loop {
            if self
                .poll_signalled(&mut Context::from_waker(&waker))
                .is_ready()
            {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            std::thread::park_timeout(left);
        }
    }

    /// Moves all deliveries into the empty `into`, whose capacity the mailbox keeps for the next batch.
    pub fn take_deliveries(&self, into: &mut Vec<Delivery>) {
        assert!(into.is_empty());
        std::mem::swap(&mut self.0.lock().inbox.deliveries, into);
    }

    /// Takes all events.
    pub fn take_events(&self) -> Vec<Event> {
        std::mem::take(&mut self.0.lock().inbox.events)
    }
}

#[cfg(test)]
mod tests;
