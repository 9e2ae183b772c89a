//! When a queue's messages came, as far as whoever measures wants to know: to the millisecond for what came last, the
//! coarser the longer the queue.
//!
//! ```text
//!            front (the next to leave)                    taken (the number of the next to come)
//!              │                                             │
//!   ──────●────┼─────────────●───────────────●───────●──●────┤
//!      came by 10 ms      came by 30      came by 35 ...  marks: from this one on
//! ```
//! A mark is set when the clock has moved since the last one, at most once a batch; there are never more than
//! [`MARKS_MAX`], because every other one is forgotten then and the next ones are set half as often. So a message may
//! count as older than it is, by no more than a sixteenth of the time in which the queue filled. Messages are numbered
//! as they come and taken to leave in that order: in a queue with priorities, or with messages that came back, the
//! figures are near, and no more. Deliberately absent: what came before the process, which counts from the moment when
//! the queue was recovered.

/// Room for marks that a queue keeps.
const MARKS_MIN: usize = 4;

/// Marks of one queue.
pub(super) const MARKS_MAX: usize = 32;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Ages {
    marks: Vec<Mark>,
    /// The least time between two marks, in milliseconds: doubled when there are too many, and back once they are gone.
    stride_ms: u64,
    /// Messages that came so far.
    taken: u64,
    /// Of those, how many have left for consumers or otherwise.
    front: u64,
}

/// From this message on they came at this moment or later.
#[derive(Debug, Clone, Copy)]
struct Mark {
    number: u64,
    at_ms: u64,
}

impl Ages {
    /// A batch is over: `taken` messages came in all, `ready` are waiting now. How long the last one that left had
    /// waited, in milliseconds, if any left.
    pub(super) fn note(&mut self, now_ms: u64, taken: u64, ready: u64) -> Option<u64> {
        if self.taken < taken {
            self.mark(now_ms);
            self.taken = taken;
        }
        let front = self.taken.saturating_sub(ready);
        if front <= self.front {
            // Nothing left, or something came back.
            return None;
        }
        let waited_ms = now_ms.saturating_sub(self.came_at_ms(front - 1)?);
        self.front = front;
        let gone = self.marks.partition_point(|mark| mark.number <= front);
        self.marks.drain(..gone.saturating_sub(1));
        if self.marks.len() <= 1 {
            // Short queues, which most are, keep little.
            self.marks.shrink_to(MARKS_MIN);
            self.stride_ms = 1;
        }
        Some(waited_ms)
    }

    /// For how long the next message to leave has waited, in milliseconds, if one waits.
    pub(super) fn oldest_ms(&self, now_ms: u64, ready: u64) -> Option<u64> {
        let front = self.taken.checked_sub(ready.max(1))?;
        Some(now_ms.saturating_sub(self.came_at_ms(front)?)).filter(|_| ready > 0)
    }

    fn mark(&mut self, now_ms: u64) {
        let last_ms = self.marks.last().map(|mark| mark.at_ms);
        if last_ms.is_some_and(|last_ms| now_ms < last_ms.saturating_add(self.stride_ms.max(1))) {
            return;
        }
        if self.marks.len() == MARKS_MAX {
            let mut index = 0;
            self.marks.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.stride_ms = self.stride_ms.max(1).saturating_mul(2);
        }
        let number = self.taken;
        self.marks.push(Mark {
            number,
            at_ms: now_ms,
        });
    }

    /// When a message came, at the latest.
    fn came_at_ms(&self, number: u64) -> Option<u64> {
        let behind = self.marks.partition_point(|mark| mark.number <= number);
        // What is older than all marks is as old as the first.
        let mark = self.marks.get(behind.saturating_sub(1))?;
        Some(mark.at_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leaves_is_as_old_as_it_is() {
        let mut ages = Ages::default();
        assert_eq!(ages.note(10, 3, 3), None);
        assert_eq!(ages.oldest_ms(15, 3), Some(5));
        assert_eq!(ages.note(20, 5, 5), None);
        // The first three leave.
        assert_eq!(ages.note(25, 5, 2), Some(15));
        assert_eq!(ages.oldest_ms(30, 2), Some(10));
        // Two come back and are nobody's first departure.
        assert_eq!(ages.note(31, 5, 4), None);
        assert_eq!(ages.note(32, 5, 2), None);
        assert_eq!(ages.note(33, 5, 0), Some(13));
        assert_eq!(ages.oldest_ms(40, 0), None);
        // Straight through.
        assert_eq!(ages.note(41, 6, 0), Some(0));
    }

    #[test]
    fn a_long_queue_keeps_few_marks_and_nobody_counts_as_younger_than_they_are() {
        let mut ages = Ages::default();
        // One message each millisecond.
        for now_ms in 1..=1000 {
            ages.note(now_ms, now_ms, now_ms);
            assert!(ages.marks.len() <= MARKS_MAX);
        }
        for left in 1..=1000 {
            let waited_ms = ages.note(2000, 1000, 1000 - left).expect("one left");
            let real_ms = 2000 - left;
            // A thousand milliseconds in 32 marks: they are at most 64 apart.
            assert!(
                (real_ms..=real_ms + 64).contains(&waited_ms),
                "{left}: {waited_ms}"
            );
        }
    }

    #[test]
    fn a_clock_that_stands_still_makes_one_mark() {
        let mut ages = Ages::default();
        for taken in 1..=100 {
            ages.note(7, taken, taken);
        }
        assert_eq!(ages.marks.len(), 1);
        assert_eq!(ages.oldest_ms(9, 100), Some(2));
    }
}
