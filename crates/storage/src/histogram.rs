//! How long something took, counted in fixed buckets: relaxed atomics, added to by whoever did it, read by whoever looks.
//!
//! What happens to a batch is added once, with the number of its members. Deliberately absent: quantiles, which whoever
//! reads the buckets can work out, and a sum that is exact to the microsecond while others add.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper ends of the buckets, in microseconds; what is longer is in one more.
pub const BUCKETS_US: [u64; 20] = [
    100,
    200,
    500,
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
    3_600_000_000,
];

/// See the module.
#[derive(Debug, Default)]
pub struct Histogram {
    buckets: [AtomicU64; BUCKETS_US.len() + 1],
    sum_us: AtomicU64,
}

/// What a [`Histogram`] stands at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counted {
    /// How many there were in each bucket of [`BUCKETS_US`], and in the one behind them.
    pub buckets: [u64; BUCKETS_US.len() + 1],
    /// How long they took together, in microseconds.
    pub sum_us: u64,
}

impl Histogram {
    /// So many took so long.
    pub fn add(&self, took: Duration, count: u64) {
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = BUCKETS_US.partition_point(|end_us| *end_us < took_us);
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_add(count, Ordering::Relaxed);
        }
        self.sum_us
            .fetch_add(took_us.saturating_mul(count), Ordering::Relaxed);
    }

    /// What it stands at.
    pub fn counted(&self) -> Counted {
        let mut counted = Counted {
            sum_us: self.sum_us.load(Ordering::Relaxed),
            ..Counted::default()
        };
        for (to, bucket) in counted.buckets.iter_mut().zip(&self.buckets) {
            *to = bucket.load(Ordering::Relaxed);
        }
        counted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_in_the_first_bucket_that_is_not_shorter() {
        let histogram = Histogram::default();
        for (took_us, count) in [
            (0, 1),
            (100, 2),
            (101, 4),
            (3_600_000_000, 8),
            (u64::MAX / 8, 3),
        ] {
            histogram.add(Duration::from_micros(took_us), count);
        }
        let counted = histogram.counted();
        let used: Vec<(usize, u64)> = (counted.buckets.iter().copied().enumerate())
            .filter(|(_, count)| *count > 0)
            .collect();
        assert_eq!(used, [(0, 3), (1, 4), (19, 8), (20, 3)]);
        assert!(BUCKETS_US.is_sorted());
    }
}
