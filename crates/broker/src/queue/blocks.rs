//! A double-ended queue that grows by blocks: a push never moves what is there, and what has left gives its memory back.
//!
//! ```text
//!    front           behind
//!  ┌────────┐  ┌────────────────┬────────────────┬───────┐
//!  │ 5 6 7 8│  │ 9 10 ...       │ ...            │ ...   │ <- push
//!  └────────┘  └────────────────┴────────────────┴───────┘
//!   pop ->      all but the last are full
//! ```
//! A vector that doubles copies a million messages while their queue is locked. A short queue has its front alone,
//! which grows as a vector does.

use std::collections::VecDeque;

/// How many a block holds: few enough that growing one is not felt.
const BLOCK_LEN: usize = 1024;

/// See the module.
#[derive(Debug)]
pub(super) struct Blocks<T> {
    /// Empty only if all is.
    front: VecDeque<T>,
    behind: VecDeque<VecDeque<T>>,
}

impl<T> Default for Blocks<T> {
    fn default() -> Self {
        Blocks {
            front: VecDeque::new(),
            behind: VecDeque::new(),
        }
    }
}

impl<T> Blocks<T> {
    pub(super) fn is_empty(&self) -> bool {
        self.front.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        let last = self.behind.back().map_or(0, VecDeque::len);
        self.front.len() + self.behind.len().saturating_sub(1) * BLOCK_LEN + last
    }

    #[inline]
    pub(super) fn push_back(&mut self, value: T) {
        if self.behind.is_empty() && self.front.len() < BLOCK_LEN {
            self.front.push_back(value);
        } else {
            self.push_behind(value);
        }
    }

    fn push_behind(&mut self, value: T) {
        match self.behind.back_mut() {
            Some(last) if last.len() < BLOCK_LEN => last.push_back(value),
            _ => {
                let mut block = VecDeque::with_capacity(BLOCK_LEN);
                block.push_back(value);
                self.behind.push_back(block);
            }
        }
    }

    #[inline]
    pub(super) fn pop_front(&mut self) -> Option<T> {
        let value = self.front.pop_front();
        if self.front.is_empty() {
            self.advance();
        }
        value
    }

    fn advance(&mut self) {
        if let Some(next) = self.behind.pop_front() {
            self.front = next;
        }
    }

    pub(super) fn pop_back(&mut self) -> Option<T> {
        let Some(last) = self.behind.back_mut() else {
            return self.front.pop_back();
        };
        let value = last.pop_back();
        if last.is_empty() {
            self.behind.pop_back();
        }
        value
    }

    pub(super) fn front(&self) -> Option<&T> {
        self.front.front()
    }

    pub(super) fn back(&self) -> Option<&T> {
        self.behind.back().unwrap_or(&self.front).back()
    }

    pub(super) fn value(&self, index: usize) -> Option<&T> {
        match index.checked_sub(self.front.len()) {
            None => self.front.get(index),
            Some(index) => self.behind.get(index / BLOCK_LEN)?.get(index % BLOCK_LEN),
        }
    }

    pub(super) fn value_mut(&mut self, index: usize) -> Option<&mut T> {
        match index.checked_sub(self.front.len()) {
            None => self.front.get_mut(index),
            Some(index) => {
                let block = self.behind.get_mut(index / BLOCK_LEN)?;
                block.get_mut(index % BLOCK_LEN)
            }
        }
    }

    /// The index of the one with this key, where keys rise.
    pub(super) fn index_of_key(&self, key: u64, of: impl Fn(&T) -> u64) -> Option<usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            let found = of(self.value(middle)?);
            match found.cmp(&key) {
                std::cmp::Ordering::Equal => return Some(middle),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &T> {
        self.front.iter().chain(self.behind.iter().flatten())
    }

    /// Keeps those of which `keep` says so.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&T) -> bool) {
        for value in std::mem::take(self).into_values() {
            if keep(&value) {
                self.push_back(value);
            }
        }
    }

    fn into_values(self) -> impl Iterator<Item = T> {
        self.front
            .into_iter()
            .chain(self.behind.into_iter().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(blocks: &Blocks<u64>, expected: &VecDeque<u64>) {
        assert_eq!(blocks.len(), expected.len());
        assert_eq!(blocks.is_empty(), expected.is_empty());
        assert!(blocks.iter().eq(expected), "the same in the same order");
        assert_eq!(blocks.front(), expected.front());
        assert_eq!(blocks.back(), expected.back());
        for index in (0..expected.len() + 2).step_by(97) {
            assert_eq!(blocks.value(index), expected.get(index), "at {index}");
        }
        for (index, value) in expected.iter().enumerate().step_by(101) {
            assert_eq!(blocks.index_of_key(*value, |value| *value), Some(index));
        }
        assert_eq!(blocks.index_of_key(u64::MAX, |value| *value), None);
        let behind = blocks.behind.len();
        let full = |block: &VecDeque<u64>| block.len() == BLOCK_LEN;
        assert!(
            blocks
                .behind
                .iter()
                .take(behind.saturating_sub(1))
                .all(full)
        );
        assert!(blocks.behind.back().is_none_or(|block| !block.is_empty()));
        assert!(!blocks.front.is_empty() || blocks.behind.is_empty());
    }

    #[test]
    fn it_is_a_double_ended_queue() {
        let (mut blocks, mut model) = (Blocks::default(), VecDeque::new());
        let mut next = 0;
        // (pushed, popped in front, popped at the back) across ends of blocks, down to nothing and up again.
        let steps = [
            (1, 0, 0),
            (BLOCK_LEN - 1, 0, 0),
            (1, 0, 1),
            (5 * BLOCK_LEN, 3, 0),
            (10, BLOCK_LEN - 3, 0),
            (0, 1, BLOCK_LEN + 11),
            (2 * BLOCK_LEN, 6 * BLOCK_LEN, 0),
            (7, 0, 9),
            (3 * BLOCK_LEN + 5, 700, 700),
            (0, 0, 9 * BLOCK_LEN),
        ];
        for (pushed, from_front, from_back) in steps {
            for _ in 0..pushed {
                blocks.push_back(next);
                model.push_back(next);
                next += 1;
            }
            check(&blocks, &model);
            for _ in 0..from_front {
                assert_eq!(blocks.pop_front(), model.pop_front());
            }
            check(&blocks, &model);
            for _ in 0..from_back {
                assert_eq!(blocks.pop_back(), model.pop_back());
            }
            check(&blocks, &model);
        }
        assert!(blocks.is_empty());
    }

    #[test]
    fn what_is_kept_stays_in_order() {
        let (mut blocks, mut model) = (Blocks::default(), VecDeque::new());
        for value in 0..5 * BLOCK_LEN as u64 {
            blocks.push_back(value);
            model.push_back(value);
        }
        for _ in 0..100 {
            blocks.pop_front();
            model.pop_front();
        }
        if let Some(value) = blocks.value_mut(3000) {
            *value *= 1_000_000;
            model[3000] *= 1_000_000;
        }
        let keep = |value: &u64| value.is_multiple_of(3) && *value < 1_000_000;
        blocks.retain(keep);
        model.retain(keep);
        check(&blocks, &model);
    }
}
