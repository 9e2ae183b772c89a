//! How much memory ready messages may take, and what that means for one queue.
//!
//! Messages that are in the log already leave memory early, for they cost nothing to give up; what is not in the log
//! leaves it only when the whole budget is used. Deliberately absent: which of its messages a queue gives up.

use std::sync::atomic::{AtomicU64, Ordering};

/// The most that one queue keeps of messages that are in the log.
const QUEUE_BYTES_MAX: u64 = 8 << 20;
/// The same, of a queue with consumers, while all queues together have too much.
const SERVED_BYTES_PRESSED: u64 = 512 << 10;
/// The same of any other queue, and of all while the whole budget is used. Others keep nothing then.
const QUEUE_BYTES_PRESSED: u64 = 32 << 10;
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

    /// What a queue may have in memory of messages that are in the log. `served`: it has consumers.
    pub(crate) fn allowance_bytes(&self, served: bool) -> u64 {
        match (self.is_full(), self.is_pressed(), served) {
            (true, _, true) | (false, true, false) => QUEUE_BYTES_PRESSED,
            (true, _, false) => 0,
            (false, true, true) => SERVED_BYTES_PRESSED,
            (false, false, _) => QUEUE_BYTES_MAX,
        }
    }

    /// A queue has so much in memory. Says what it is to do about it, if anything.
    pub(crate) fn report(
        &self,
        share: &mut Share,
        resident_bytes: u64,
        served: bool,
    ) -> Option<PageOut> {
        let change = resident_bytes.abs_diff(share.reported_bytes);
        if REPORT_BYTES <= change || resident_bytes == 0 && change > 0 {
            if share.reported_bytes < resident_bytes {
                self.used_bytes.fetch_add(change, Ordering::Relaxed);
            } else {
                self.used_bytes.fetch_sub(change, Ordering::Relaxed);
            }
            share.reported_bytes = resident_bytes;
        }
        let allowance_bytes = self.allowance_bytes(served);
        if resident_bytes <= allowance_bytes {
            share.next_bytes = 0;
            return None;
        }
        (share.next_bytes <= resident_bytes).then(|| PageOut {
            keep_bytes: allowance_bytes / 2,
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
        assert_eq!(cache.report(&mut short, 1 << 20, true), None);
        let asked = |keep_bytes, spill| Some(PageOut { keep_bytes, spill });
        let first = cache.report(&mut long, 9 << 20, false);
        assert_eq!(first, asked(QUEUE_BYTES_MAX / 2, false));
        // It could not: it is left alone until it has grown, or once had little.
        cache.done(&mut long, 9 << 20);
        assert_eq!(cache.report(&mut long, 10 << 20, false), None);
        assert!(cache.report(&mut long, 12 << 20, false).is_some());
        cache.done(&mut long, 12 << 20);
        assert_eq!(cache.report(&mut long, 8 << 20, false), None);
        assert!(cache.report(&mut long, 9 << 20, false).is_some());
        assert_eq!(cache.used_bytes(), 10 << 20);
        // All have too much: those with consumers keep more.
        assert!(cache.report(&mut long, 60 << 20, false).is_some());
        assert!(cache.is_pressed());
        let pressed = cache.report(&mut short, 1 << 20, true);
        assert_eq!(pressed, asked(SERVED_BYTES_PRESSED / 2, false));
        // Over the budget, what nobody waits for goes, also what is not in the log yet.
        assert!(cache.report(&mut long, 101 << 20, false).is_some());
        let full = cache.report(&mut short, 1 << 20, true);
        assert_eq!(full, asked(QUEUE_BYTES_PRESSED / 2, true));
        assert_eq!(cache.report(&mut short, 1 << 20, false), asked(0, true));
        cache.leave(&mut long);
        assert_eq!(cache.report(&mut short, 0, true), None);
        assert_eq!(cache.used_bytes(), 0);
    }
}
