//! Which of an owner's messages were handed out before, and how often delivery failed.
//!
//! Runs of positions with the same count, so that "the whole of it was delivered once" is one entry.

use std::collections::BTreeMap;

/// First position of a run, to its last and the count.
#[derive(Debug, Default, Clone)]
pub(crate) struct DeliveredRuns(BTreeMap<u64, (u64, u32)>);

impl DeliveredRuns {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn find(&self, position: u64) -> Option<u32> {
        let (_, (last, count)) = self.0.range(..=position).next_back()?;
        (position <= *last).then_some(*count)
    }

    /// Takes a run out, cutting those that overlap it.
    pub(crate) fn remove(&mut self, first: u64, last: u64) {
        while let Some((start, (end, count))) = self
            .0
            .range(..=last)
            .next_back()
            .map(|(start, run)| (*start, *run))
            .filter(|(_, (end, _))| *end >= first)
        {
            self.0.remove(&start);
            if end > last {
                self.0.insert(last + 1, (end, count));
            }
            if start < first {
                self.0.insert(start, (first - 1, count));
            }
        }
    }

    pub(crate) fn set(&mut self, first: u64, last: u64, count: u32) {
        self.remove(first, last);
        let (mut first, mut last) = (first, last);
        if let Some(before) = first.checked_sub(1)
            && let Some((start, (end, held))) = self.0.range(..=before).next_back()
            && (*end, *held) == (before, count)
        {
            first = *start;
        }
        if let Some((end, held)) = self.0.get(&(last + 1)).copied()
            && held == count
        {
            self.0.remove(&(last + 1));
            last = end;
        }
        self.0.insert(first, (last, count));
    }

    /// The runs that touch a range of positions.
    pub(crate) fn within(&self, first: u64, last: u64) -> DeliveredRuns {
        let before = self.0.range(..first).next_back();
        let runs = before.into_iter().chain(self.0.range(first..=last));
        DeliveredRuns(runs.map(|(first, run)| (*first, *run)).collect())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, u64, u32)> {
        self.0
            .iter()
            .map(|(first, (last, count))| (*first, *last, *count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_cut_and_joined() {
        let mut runs = DeliveredRuns::default();
        runs.set(10, 20, 1);
        runs.set(21, 21, 1);
        assert!(runs.iter().eq([(10, 21, 1)]));
        runs.set(15, 16, 2);
        assert!(runs.iter().eq([(10, 14, 1), (15, 16, 2), (17, 21, 1)]));
        assert_eq!(runs.find(14), Some(1));
        assert_eq!(runs.find(16), Some(2));
        assert_eq!(runs.find(22), None);
        runs.remove(12, 18);
        assert!(runs.iter().eq([(10, 11, 1), (19, 21, 1)]));
        runs.set(12, 18, 1);
        assert!(runs.iter().eq([(10, 21, 1)]));
        runs.remove(0, 100);
        assert!(runs.is_empty());
    }
}
