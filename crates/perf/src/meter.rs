//! Counts and latencies of what is going on. A worker thread has one, so that counting is not what is measured.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use hdrhistogram::Histogram;

/// The longest latency that is told from longer ones.
const LATENCY_NS_MAX: u64 = 600_000_000_000;

/// Decimal digits of a latency that are right.
const DIGITS: u8 = 3;

/// Since the start. Once a read or write, not once a message.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    pub(crate) published: AtomicU64,
    pub(crate) confirmed: AtomicU64,
    /// Published, and the broker said that it did not take it.
    pub(crate) nacked: AtomicU64,
    /// Published as mandatory, and no queue took it.
    pub(crate) returned: AtomicU64,
    pub(crate) delivered: AtomicU64,
    /// Of the modes that count something else than messages.
    pub(crate) operations: AtomicU64,
    /// When the last message was delivered.
    pub(crate) delivered_at_ns: AtomicU64,
    latencies: Mutex<Latencies>,
}

/// Latencies since they were last taken, in ns.
#[derive(Debug, Clone)]
pub(crate) struct Latencies {
    /// From publish to delivery, or of an operation.
    pub(crate) main: Histogram<u64>,
    /// From publish to confirm.
    pub(crate) confirm: Histogram<u64>,
}

impl Default for Latencies {
    fn default() -> Self {
        let new = || Histogram::new_with_bounds(1, LATENCY_NS_MAX, DIGITS);
        Latencies {
            main: new().expect("the bounds are in order"),
            confirm: new().expect("the bounds are in order"),
        }
    }
}

impl Latencies {
    /// Adds those of `other`.
    pub(crate) fn add(&mut self, other: &Latencies) {
        self.main.add(&other.main).expect("the bounds are the same");
        self.confirm
            .add(&other.confirm)
            .expect("the bounds are the same");
    }
}

impl Meter {
    /// Adds latencies; `record` gets them under their lock.
    pub(crate) fn record(&self, record: impl FnOnce(&mut Latencies)) {
        record(&mut self.latencies.lock().expect("no holder panics"));
    }

    /// Takes the latencies since the last time into `sum`.
    pub(crate) fn take_latencies(&self, sum: &mut Latencies) {
        let mut latencies = self.latencies.lock().expect("no holder panics");
        sum.add(&latencies);
        latencies.main.reset();
        latencies.confirm.reset();
    }
}

/// Adds to a count.
pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

/// What was counted by all meters.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) published: u64,
    pub(crate) confirmed: u64,
    pub(crate) nacked: u64,
    pub(crate) returned: u64,
    pub(crate) delivered: u64,
    pub(crate) operations: u64,
}

impl Counts {
    /// Adds them up.
    pub(crate) fn of<'a>(meters: impl IntoIterator<Item = &'a Meter>) -> Counts {
        let mut counts = Counts::default();
        for meter in meters {
            let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            counts.published += read(&meter.published);
            counts.confirmed += read(&meter.confirmed);
            counts.nacked += read(&meter.nacked);
            counts.returned += read(&meter.returned);
            counts.delivered += read(&meter.delivered);
            counts.operations += read(&meter.operations);
        }
        counts
    }

    /// What came since `earlier`.
    pub(crate) fn since(&self, earlier: &Counts) -> Counts {
        Counts {
            published: self.published - earlier.published,
            confirmed: self.confirmed - earlier.confirmed,
            nacked: self.nacked - earlier.nacked,
            returned: self.returned - earlier.returned,
            delivered: self.delivered - earlier.delivered,
            operations: self.operations - earlier.operations,
        }
    }
}
