//! A set that counts how often each member was put in.
//!
//! One destination may be bound several times to one routing key, with other arguments each time; it is reached
//! once, and goes when its last binding goes. Few members are searched one by one; many are indexed, so that
//! taking one of 100,000 queues out of a fanout costs no more than putting it in. Iteration follows the history
//! of changes and nothing else: the same changes give the same order.

use std::hash::Hash;

use super::FixedMap;

/// From this many members on a hash index is kept beside the list.
const INDEX_FROM: usize = 17;

#[derive(Debug, Clone)]
struct Entry<T> {
    item: T,
    count: u32,
}

/// A multiset with distinct iteration. Insertion and removal are O(1).
#[derive(Debug, Clone)]
pub(crate) struct CountedSet<T> {
    entries: Vec<Entry<T>>,
    /// Position of each item in `entries`. Present exactly while there have been `INDEX_FROM` entries at once
    /// and not yet none.
    index: Option<Box<FixedMap<T, u32>>>,
}

impl<T> Default for CountedSet<T> {
    fn default() -> Self {
        CountedSet {
            entries: Vec::new(),
            index: None,
        }
    }
}

impl<T: Copy + Eq + Hash> CountedSet<T> {
    /// Counts one more of `item`.
    pub(crate) fn insert(&mut self, item: T) {
        if let Some(position) = self.position(item) {
            self.entries[position].count += 1;
            return;
        }
        if self.entries.is_empty() {
            // Most sets are a queue alone on its key: no room for four.
            self.entries.reserve_exact(1);
        }
        let position = self.entries.len() as u32;
        self.entries.push(Entry { item, count: 1 });
        match &mut self.index {
            Some(index) => {
                index.insert(item, position);
            }
            None if INDEX_FROM <= self.entries.len() => {
                let positions = self.entries.iter().zip(0u32..);
                let index = positions
                    .map(|(entry, position)| (entry.item, position))
                    .collect();
                self.index = Some(Box::new(index));
            }
            None => {}
        }
    }

    /// Counts one less of `item`; forgets it at zero. Removing what is absent does nothing.
    pub(crate) fn remove(&mut self, item: T) {
        let Some(position) = self.position(item) else {
            return;
        };
        let entry = &mut self.entries[position];
        if 1 < entry.count {
            entry.count -= 1;
            return;
        }
        self.entries.swap_remove(position);
        if let Some(index) = &mut self.index {
            index.remove(&item);
            if let Some(moved) = self.entries.get(position) {
                index.insert(moved.item, position as u32);
            }
        }
        if self.entries.is_empty() {
            *self = CountedSet::default();
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = T> {
        self.entries.iter().map(|entry| entry.item)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn position(&self, item: T) -> Option<usize> {
        match &self.index {
            Some(index) => index.get(&item).map(|&position| position as usize),
            None => self.entries.iter().position(|entry| entry.item == item),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_forgets() {
        let mut set = CountedSet::default();
        for round in 0..3 {
            for item in 0..100u32 {
                set.insert(item);
            }
            assert_eq!(set.len(), 100, "round {round}");
        }
        for _ in 0..2 {
            (0..100).for_each(|item| set.remove(item));
        }
        assert_eq!(set.len(), 100);
        for item in (0..100).step_by(2) {
            set.remove(item);
            set.remove(item);
        }
        let mut left: Vec<u32> = set.iter().collect();
        left.sort_unstable();
        assert_eq!(
            left,
            (0..100).filter(|item| item % 2 == 1).collect::<Vec<_>>()
        );
        left.iter().for_each(|&item| set.remove(item));
        assert!(set.is_empty());
    }
}
