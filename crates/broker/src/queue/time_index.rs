//! Which message expires next, where deadlines do not rise in the order of arrival.
//!
//! A heap whose members are not taken out when their message leaves: they are found stale when their time
//! comes, or thrown out together when they outnumber the others. So a delivery pays nothing for the index.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Fewer members than this are never searched for stale ones.
const MEMBERS_KEPT: usize = 64;

/// A message's deadline, its seq and its priority.
pub(super) type Member = (u64, u64, u8);

#[derive(Debug, Default)]
pub(super) struct TimeIndex {
    heap: BinaryHeap<Reverse<Member>>,
}

impl TimeIndex {
    pub(super) fn push(&mut self, member: Member) {
        self.heap.push(Reverse(member));
    }

    /// The one with the earliest deadline; it may be stale.
    pub(super) fn first(&self) -> Option<Member> {
        self.heap.peek().map(|Reverse(member)| *member)
    }

    pub(super) fn pop(&mut self) {
        self.heap.pop();
    }

    /// Whether more than half are stale, when `live` are not.
    pub(super) fn is_stale(&self, live: usize) -> bool {
        MEMBERS_KEPT + live * 2 < self.heap.len()
    }

    /// Keeps one of each member that `is_live`.
    pub(super) fn rebuild(&mut self, is_live: impl Fn(Member) -> bool) {
        let mut members = std::mem::take(&mut self.heap).into_vec();
        members.retain(|Reverse(member)| is_live(*member));
        members.sort_unstable();
        members.dedup();
        members.shrink_to(MEMBERS_KEPT + members.len() * 2);
        self.heap = BinaryHeap::from(members);
    }

    pub(super) fn clear(&mut self) {
        self.heap = BinaryHeap::new();
    }

    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }

    pub(super) fn contains(&self, member: Member) -> bool {
        self.heap.iter().any(|Reverse(m)| *m == member)
    }
}
