//! How much memory ready messages may take, and what that means for one queue.
//!
//! Messages that are in the log already leave memory early, for they cost nothing to give up; what is not in the log
//! leaves it only when the whole budget is used. Deliberately absent: which of its messages a queue gives up.

use std::sync::atomic::{AtomicU64, Ordering};

/// The most that one queue keeps of messages that are in the log.
const QUEUE_BYTES_MAX: u64 = 8 << 20;
/// The same while all queues together have too much.
const QUEUE_BYTES_PRESSED: u64 = 64 << 10;
/// What all queues together may have of messages before each keeps less, unless the budget is smaller.
const EASE_BYTES_MAX: u64 = 48 << 20;
/// A queue's change is added to the sum when it is this large: not with every message.
const REPORT_BYTES: u64 = 64 << 10;
/// The budget where the machine does not say how much memory it has.
pub const CACHE_BYTES_DEFAULT: u64 = 256 << 20;

/// See the module.
#[derive(Debug)]
pub struct MessageCache {
    budget_bytes: AtomicU64,
    used_bytes: AtomicU64,
}

/// What one queue has told the cache.
#[derive(Debug, Default)]
pub(crate) struct Share {
    reported_bytes: u64,
    /// With less than this in memory the queue gives nothing up: there was little to gain last time.
    next_bytes: u64,
}

/// What a queue is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PageOut {
    /// Keep no more than this in memory.
    pub(crate) keep_bytes: u64,
    /// Put into the log what is not there.
    pub(crate) spill: bool,
}

impl MessageCache {
    /// A cache of this size.
    pub fn new(budget_bytes: u64) -> Self {
        MessageCache {
            budget_bytes: AtomicU64::new(budget_bytes),
            used_bytes: AtomicU64::new(0),
        }
    }

    /// Changes its size.
    pub fn set_budget(&self, bytes: u64) {
        self.budget_bytes.store(bytes, Ordering::Relaxed);
    }

    /// What ready messages take in memory, about.
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// Whether queues are to give up what they can, also those that nobody uses.
    pub fn is_pressed(&self) -> bool {
        let budget_bytes = self.budget_bytes.load(Ordering::Relaxed);
        EASE_BYTES_MAX.min(budget_bytes / 2) < self.used_bytes()
    }

    /// Whether the whole budget is used.
    fn is_full(&self) -> bool {
        self.budget_bytes.load(Ordering::Relaxed) < self.used_bytes()
    }

    /// A queue has so much in memory. Says what it is to do about it, if anything.
    pub(crate) fn report(&self, share: &mut Share, resident_bytes: u64) -> Option<PageOut> {
        let change = resident_bytes.abs_diff(share.reported_bytes);
        if REPORT_BYTES <= change || resident_bytes == 0 && change > 0 {
            if share.reported_bytes < resident_bytes {
                self.used_bytes.fetch_add(change, Ordering::Relaxed);
            } else {
                self.used_bytes.fetch_sub(change, Ordering::Relaxed);
            }
            share.reported_bytes = resident_bytes;
        }
        if resident_bytes <= QUEUE_BYTES_PRESSED || resident_bytes < share.next_bytes {
            return None;
        }
        let keep_bytes = match self.is_pressed() {
            true => QUEUE_BYTES_PRESSED,
            false => QUEUE_BYTES_MAX,
        };
        (keep_bytes < resident_bytes).then(|| PageOut {
            keep_bytes: keep_bytes / 2,
            spill: self.is_full(),
        })
    }

    /// The queue has done it, and has so much left. It tries again when that has grown, or when asked.
    pub(crate) fn done(&self, share: &mut Share, resident_bytes: u64) {
        share.next_bytes = resident_bytes + (resident_bytes / 4).max(REPORT_BYTES);
    }

    /// The next report counts, whatever there was to gain last time.
    pub(crate) fn ask(&self, share: &mut Share) {
        share.next_bytes = 0;
    }

    /// The queue is gone.
    pub(crate) fn leave(&self, share: &mut Share) {
        self.used_bytes
            .fetch_sub(share.reported_bytes, Ordering::Relaxed);
        *share = Share::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_gives_up_what_is_too_much() {
        let cache = MessageCache::new(100 << 20);
        let (mut long, mut short) = (Share::default(), Share::default());
        assert_eq!(cache.report(&mut short, 1 << 20), None);
        let asked = cache.report(&mut long, 9 << 20);
        let keep_bytes = QUEUE_BYTES_MAX / 2;
        assert_eq!(
            asked,
            Some(PageOut {
                keep_bytes,
                spill: false
            })
        );
        // It could not: it is left alone until it has grown.
        cache.done(&mut long, 9 << 20);
        assert_eq!(cache.report(&mut long, 10 << 20), None);
        assert!(cache.report(&mut long, 12 << 20).is_some());
        assert_eq!(cache.used_bytes(), 13 << 20);
        // Over the budget, everyone gives up everything.
        assert!(cache.report(&mut long, 101 << 20).is_some());
        assert!(cache.is_pressed());
        let keep_bytes = QUEUE_BYTES_PRESSED / 2;
        let spill = true;
        assert_eq!(
            cache.report(&mut short, 1 << 20),
            Some(PageOut { keep_bytes, spill })
        );
        cache.leave(&mut long);
        assert_eq!(cache.report(&mut short, 0), None);
        assert_eq!(cache.used_bytes(), 0);
    }
}
