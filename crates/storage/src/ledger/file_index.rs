//! What one log file holds, in memory: an entry a record, found by its position without a search.
//!
//! 24 bytes a record of a file that has not retired; a message for several owners has its owners beside. Nothing
//! is allocated for a single message. Deliberately absent: whose turn it is to be moved, which the keeper knows.

use crate::OwnerId;
use crate::append::OwnerEntry;

/// Set in [`Entry::owner`]: the rest is an index into [`FileIndex::fans`]. Set in a fan's owner: released.
const HIGH: u64 = 1 << 63;

#[derive(Debug, Clone, Copy)]
struct Entry {
    owner: u64,
    offset: u32,
    /// 0: nothing that anyone still holds. A length is a multiple of 8; bit 0 says transient.
    length: u32,
    weight: u32,
}

#[derive(Debug, Clone, Copy)]
struct Fan {
    start: u32,
    owners: u32,
    live: u32,
}

#[derive(Debug)]
pub(crate) struct FileIndex {
    pub(crate) number: u64,
    /// The position of its first record.
    pub(crate) first: u64,
    /// Owners' holds on its messages.
    pub(crate) live: u64,
    entries: Vec<Entry>,
    fans: Vec<Fan>,
    /// Of each fan in turn, ascending.
    fan_owners: Vec<u64>,
}

/// Where a message lies in a log file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) offset: u32,
    pub(crate) length: u32,
    pub(crate) weight: u32,
    pub(crate) transient: bool,
}

impl FileIndex {
    pub(crate) fn new(number: u64, first: u64) -> Self {
        FileIndex {
            number,
            first,
            live: 0,
            entries: Vec::new(),
            fans: Vec::new(),
            fan_owners: Vec::new(),
        }
    }

    /// The position after its last record.
    pub(crate) fn end(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// A record that is no message took the next position.
    pub(crate) fn push_note(&mut self) {
        self.entries.push(Entry {
            owner: 0,
            offset: 0,
            length: 0,
            weight: 0,
        });
    }

    pub(crate) fn push_message(
        &mut self,
        mut owners: impl Iterator<Item = OwnerEntry>,
        place: Place,
    ) {
        debug_assert!(place.length.is_multiple_of(8));
        let Some(first) = owners.next() else {
            return self.push_note();
        };
        let mut entry = Entry {
            owner: first.owner.0,
            offset: place.offset,
            length: place.length | u32::from(place.transient),
            weight: place.weight,
        };
        self.live += 1;
        if let Some(second) = owners.next() {
            let start = self.fan_owners.len();
            self.fan_owners.extend([first.owner.0, second.owner.0]);
            self.fan_owners.extend(owners.map(|entry| entry.owner.0));
            let fan = self.fan_owners.get_mut(start..).unwrap_or_default();
            fan.sort_unstable();
            debug_assert!(
                fan.is_sorted_by(|a, b| a < b),
                "an owner stands in a record once"
            );
            let count = fan.len() as u32;
            entry.owner = HIGH | self.fans.len() as u64;
            self.live += u64::from(count) - 1;
            self.fans.push(Fan {
                start: start as u32,
                owners: count,
                live: count,
            });
        }
        self.entries.push(entry);
    }

    fn entry(&self, position: u64) -> Option<&Entry> {
        let index = position.checked_sub(self.first)?;
        self.entries.get(index as usize).filter(|e| e.length != 0)
    }

    fn fan_slot(&self, fan: &Fan, owner: OwnerId) -> Option<usize> {
        let start = fan.start as usize;
        let owners = self.fan_owners.get(start..start + fan.owners as usize)?;
        let found = owners
            .binary_search_by_key(&owner.0, |held| held & !HIGH)
            .ok()?;
        Some(start + found)
    }

    /// Whether the owner still holds the message, and then where it is.
    pub(crate) fn find(&self, position: u64, owner: OwnerId) -> Option<Place> {
        let entry = self.entry(position)?;
        if entry.owner & HIGH == 0 {
            if entry.owner != owner.0 {
                return None;
            }
        } else {
            let fan = self.fans.get((entry.owner & !HIGH) as usize)?;
            let slot = self.fan_slot(fan, owner)?;
            if self.fan_owners.get(slot)? & HIGH != 0 {
                return None;
            }
        }
        Some(entry.place())
    }

    /// Ends the owner's hold on a message. Gives its weight if there was one.
    pub(crate) fn release(&mut self, position: u64, owner: OwnerId) -> Option<u32> {
        let entry = *self.entry(position)?;
        let mut last = true;
        if entry.owner & HIGH == 0 {
            if entry.owner != owner.0 {
                return None;
            }
        } else {
            let fan_index = (entry.owner & !HIGH) as usize;
            let fan = *self.fans.get(fan_index)?;
            let slot = self.fan_slot(&fan, owner)?;
            let held = self.fan_owners.get_mut(slot)?;
            if *held & HIGH != 0 {
                return None;
            }
            *held |= HIGH;
            let fan = self.fans.get_mut(fan_index)?;
            fan.live -= 1;
            last = fan.live == 0;
        }
        self.live -= 1;
        if last {
            let index = (position - self.first) as usize;
            self.entries.get_mut(index)?.length = 0;
        }
        Some(entry.weight)
    }

    /// Calls `visit` with each hold on the messages from position `from` on, `entries_max` records at most.
    /// Gives the position to go on from, or `None` at the end.
    pub(crate) fn visit_live(
        &self,
        from: u64,
        entries_max: usize,
        mut visit: impl FnMut(u64, OwnerId, Place, Shared),
    ) -> Option<u64> {
        let start = from.saturating_sub(self.first) as usize;
        let mut position = self.first + start as u64;
        for entry in self.entries.iter().skip(start).take(entries_max) {
            if entry.length != 0 {
                if entry.owner & HIGH == 0 {
                    visit(position, OwnerId(entry.owner), entry.place(), Shared::No);
                } else if let Some(fan) = self.fans.get((entry.owner & !HIGH) as usize) {
                    let start = fan.start as usize;
                    let owners = self.fan_owners.get(start..start + fan.owners as usize);
                    for owner in owners.unwrap_or_default() {
                        if owner & HIGH == 0 {
                            visit(position, OwnerId(*owner), entry.place(), Shared::Yes);
                        }
                    }
                }
            }
            position += 1;
        }
        (position < self.end()).then_some(position)
    }
}

/// Whether a message was appended for several owners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shared {
    Yes,
    No,
}

impl Entry {
    fn place(&self) -> Place {
        Place {
            offset: self.offset,
            length: self.length & !1,
            weight: self.weight,
            transient: self.length & 1 != 0,
        }
    }
}
