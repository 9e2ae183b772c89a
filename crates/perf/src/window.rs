//! Published numbers that wait for their confirm.

use std::collections::VecDeque;

/// Blocks whose confirm is timed, at most, without a window.
const TIMED_BLOCKS_MAX: usize = 10_000;

/// Published numbers that are not confirmed yet. Confirms may come in any order.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// All numbers up to this one are settled.
    settled_up_to: u64,
    /// Whether the numbers behind are, as far as any is.
    behind: VecDeque<bool>,
    published: u64,
    settled: u64,
    /// Last number of a block and when it was written.
    timed: VecDeque<(u64, u64)>,
}

impl Window {
    /// How many are not settled.
    pub(crate) fn open(&self) -> u64 {
        self.published - self.settled
    }

    /// The next `count` numbers were written.
    pub(crate) fn publish(&mut self, count: u64, now_ns: u64) {
        self.published += count;
        if self.timed.len() < TIMED_BLOCKS_MAX {
            self.timed.push_back((self.published, now_ns));
        }
    }

    /// How many that settled.
    pub(crate) fn settle(&mut self, tag: u64, multiple: bool) -> u64 {
        let before = self.settled;
        if tag <= self.settled_up_to || self.published < tag {
            // 0 with `multiple` means all.
            if tag == 0 && multiple && self.settled_up_to < self.published {
                return self.settle(self.published, true);
            }
            return 0;
        }
        if multiple {
            while self.settled_up_to < tag {
                self.settled_up_to += 1;
                let already = self.behind.pop_front().unwrap_or(false);
                self.settled += u64::from(!already);
            }
        } else {
            let index = (tag - self.settled_up_to - 1) as usize;
            if self.behind.len() <= index {
                self.behind.resize(index + 1, false);
            }
            let already = std::mem::replace(&mut self.behind[index], true);
            self.settled += u64::from(!already);
        }
        while self.behind.front() == Some(&true) {
            self.behind.pop_front();
            self.settled_up_to += 1;
        }
        self.settled - before
    }

    /// Takes the times of blocks that are confirmed whole.
    pub(crate) fn take_confirmed(&mut self, mut each: impl FnMut(u64)) {
        while let Some((last, written_ns)) = self.timed.front().copied() {
            if self.settled_up_to < last {
                return;
            }
            self.timed.pop_front();
            each(written_ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn confirms_count_once_in_any_order() {
        let mut window = Window::default();
        window.publish(10, 1);
        assert_eq!(window.settle(3, false), 1);
        assert_eq!(window.settle(3, false), 0, "said twice");
        assert_eq!(window.settle(5, true), 4);
        assert_eq!(window.settle(2, true), 0, "settled before");
        assert_eq!(window.settle(6, false), 1);
        assert_eq!(window.settle(11, false), 0, "never published");
        assert_eq!((window.open(), window.settled_up_to), (4, 6));
        assert_eq!(window.settle(0, true), 4, "0 means all");
        assert_eq!(window.open(), 0);
    }

    #[test]
    fn a_block_is_timed_when_its_last_message_is_confirmed() {
        let mut window = Window::default();
        window.publish(2, 100);
        window.publish(2, 200);
        let mut times = Vec::new();
        window.settle(1, true);
        window.take_confirmed(|ns| times.push(ns));
        assert!(times.is_empty());
        window.settle(3, true);
        window.take_confirmed(|ns| times.push(ns));
        assert_eq!(times, [100]);
    }
}
