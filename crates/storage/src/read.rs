//! Reading what an owner holds: from segments in blocks, from log files, or from what is not written yet.
//!
//! What to read is planned under the lock and read without it. Meanwhile a log file may retire and a segment may
//! be rewritten; then what was read fails its checksum or its file is gone, and the plan is made anew. Only what
//! fails with the plan unchanged is damage.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;

use crate::ledger::{DeliveredRuns, Part, Place, ReadStep};
use crate::limits::{INDEX_CACHE_ENTRIES_MAX, INDEX_CACHE_PARTS_MAX, READ_PLAN_MAX};
use crate::log::{Inner, Shared};
use crate::record::{self, Body, Message};
use crate::segment::IndexEntry;
use crate::segment::file::SegmentFile;
use crate::window::Window;
use crate::{Damage, LogPosition, OwnerId, StorageError, log_file, segment};

/// How much to read at most: what comes first. One message is read whatever its size.
#[derive(Debug, Clone, Copy)]
pub struct ReadLimit {
    /// Messages, at least 1.
    pub messages: usize,
    /// Bytes of payload.
    pub bytes: usize,
}

/// A message as the log has it.
#[derive(Debug, Clone, Copy)]
pub struct Stored<'a> {
    /// Its position.
    pub position: LogPosition,
    /// When it expires for this owner, wall clock in milliseconds; 0: never.
    pub expires_ms: u64,
    /// Its priority for this owner.
    pub priority: u8,
    /// Whether it was noted as delivered before.
    pub redelivered: bool,
    /// Failed deliveries: as noted last, else as appended.
    pub delivery_count: u32,
    /// Whether it is forgotten at the next open.
    pub transient: bool,
    /// As appended.
    pub weight: u32,
    /// As appended, the parts joined.
    pub payload: &'a [u8],
}

/// A message that is to be read.
#[derive(Debug, Clone, Copy)]
struct Want {
    position: u64,
    offset: u64,
    length: u32,
}

/// One read, under way.
struct Reading<'v> {
    owner: OwnerId,
    next: u64,
    messages_left: usize,
    bytes_left: usize,
    delivered: DeliveredRuns,
    visit: &'v mut dyn FnMut(Stored<'_>),
}

impl Reading<'_> {
    fn is_done(&self) -> bool {
        self.messages_left == 0 || self.bytes_left == 0
    }

    fn visit(&mut self, position: u64, message: &Message<'_>) {
        self.next = position + 1;
        let owner = message.owners().find(|entry| entry.owner == self.owner);
        let Some(entry) = owner else {
            return;
        };
        let noted = self.delivered.find(position);
        (self.visit)(Stored {
            position: LogPosition(position),
            expires_ms: entry.expires_ms,
            priority: entry.priority,
            redelivered: noted.is_some(),
            delivery_count: noted.unwrap_or(entry.delivery_count),
            transient: message.transient,
            weight: message.weight,
            payload: message.payload,
        });
        self.messages_left -= 1;
        self.bytes_left = self.bytes_left.saturating_sub(message.payload.len());
    }
}

enum Plan {
    Part(Part),
    Log(u64, Vec<(u64, Place)>),
    /// Copies of records that are not written yet.
    Buffered(u64, Vec<u8>),
    End,
}

impl Shared {
    pub(crate) fn read(
        &self,
        owner: OwnerId,
        from: LogPosition,
        limit: ReadLimit,
        visit: &mut dyn FnMut(Stored<'_>),
    ) -> Result<Option<LogPosition>, StorageError> {
        let mut reading = Reading {
            owner,
            next: from.0,
            messages_left: limit.messages.max(1),
            bytes_left: limit.bytes.max(1),
            delivered: DeliveredRuns::default(),
            visit,
        };
        while !reading.is_done() {
            let result = match self.plan(&mut reading) {
                Plan::End => return Ok(None),
                Plan::Buffered(file, bytes) => visit_all(&mut reading, file, &bytes),
                Plan::Log(file, places) => {
                    let result = self.read_log(&mut reading, file, &places);
                    result.or_else(|error| {
                        self.unless_moved(error, |inner| {
                            inner.ledger.files.iter().any(|index| index.number == file)
                        })
                    })
                }
                Plan::Part(part) => {
                    let result = self.read_part(&mut reading, &part);
                    result.or_else(|error| {
                        self.unless_moved(error, |inner| {
                            inner.ledger.segments.contains_key(&part.segment)
                        })
                        .inspect_err(|error| self.note_unread(error, part.segment))
                    })
                }
            };
            result?;
        }
        Ok(Some(LogPosition(reading.next)))
    }

    /// An error counts only if what was read is still where it was planned to be.
    fn unless_moved(
        &self,
        error: StorageError,
        is_there: impl FnOnce(&Inner) -> bool,
    ) -> Result<(), StorageError> {
        if is_there(&self.inner.lock()) {
            Err(error)
        } else {
            Ok(())
        }
    }

    fn plan(&self, reading: &mut Reading<'_>) -> Plan {
        let inner = self.inner.lock();
        let messages = reading.messages_left.min(READ_PLAN_MAX);
        let step = inner
            .ledger
            .plan_read(reading.owner, reading.next, messages);
        let last = match &step {
            ReadStep::End => return Plan::End,
            ReadStep::Part(part) => part.last,
            ReadStep::Log(_, places) => places.last().map_or(0, |(position, _)| *position),
        };
        if let Some(owner) = inner.ledger.owners.get(&reading.owner) {
            reading.delivered = owner.delivered.within(reading.next, last);
        }
        match step {
            ReadStep::End => Plan::End,
            ReadStep::Part(part) => Plan::Part(part),
            ReadStep::Log(file, mut places) => {
                let written = inner.written(file);
                let on_disk =
                    places.partition_point(|(_, place)| u64::from(place.offset) < written);
                if on_disk > 0 {
                    places.truncate(on_disk);
                    return Plan::Log(file, places);
                }
                let mut bytes = Vec::new();
                for (_, place) in &places {
                    if bytes.len() > reading.bytes_left {
                        break;
                    }
                    bytes.extend_from_slice(inner.buffered(file, place));
                }
                Plan::Buffered(file, bytes)
            }
        }
    }

    fn read_log(
        &self,
        reading: &mut Reading<'_>,
        number: u64,
        places: &[(u64, Place)],
    ) -> Result<(), StorageError> {
        let name = log_file::name(number);
        let file = self.disk.open(&name);
        let file = file.map_err(|error| StorageError::disk(&name, error))?;
        let wants: Vec<Want> = places
            .iter()
            .map(|(position, place)| Want {
                position: *position,
                offset: u64::from(place.offset),
                length: place.length,
            })
            .collect();
        read_wanted(
            reading,
            Window::new(name, file, u64::MAX),
            record::salt(number),
            &wants,
        )
    }

    fn read_part(&self, reading: &mut Reading<'_>, part: &Part) -> Result<(), StorageError> {
        let (file, entries) = self.part_entries(part)?;
        if !part.is_exact() {
            let members = entries.iter().map(|entry| entry.position);
            let ledger = &mut self.inner.lock().ledger;
            ledger.learn_members(reading.owner, (part.segment, part.first), members);
        }
        let start = entries.partition_point(|entry| entry.position < reading.next);
        let wants: Vec<Want> = entries
            .iter()
            .skip(start)
            .filter(|entry| part.holds(entry.position))
            .take(reading.messages_left)
            .map(|entry| Want {
                position: entry.position,
                offset: entry.offset,
                length: entry.length,
            })
            .collect();
        let end = file.footer.records_end;
        let window = Window::new(segment::name(part.segment), Arc::clone(&file.file), end);
        read_wanted(reading, window, record::salt(part.segment), &wants)?;
        if !reading.is_done() {
            reading.next = part.last + 1;
        }
        Ok(())
    }

    /// A segment, and the index of one of its parts.
    fn part_entries(
        &self,
        part: &Part,
    ) -> Result<(Arc<SegmentFile>, Arc<Vec<IndexEntry>>), StorageError> {
        let key = (part.segment, part.index);
        if let Some(found) = self.indexes.lock().find(key) {
            return Ok(found);
        }
        let file = Arc::new(SegmentFile::open(&*self.disk, part.segment)?);
        let entries = Arc::new(file.index_of(part)?);
        self.indexes
            .lock()
            .insert(key, (Arc::clone(&file), Arc::clone(&entries)));
        if !self
            .inner
            .lock()
            .ledger
            .segments
            .contains_key(&part.segment)
        {
            // It went while we read, and whoever removed it has looked here before us.
            self.indexes.lock().forget(part.segment);
        }
        Ok((file, entries))
    }
}

fn read_wanted(
    reading: &mut Reading<'_>,
    mut window: Window,
    salt: u32,
    wants: &[Want],
) -> Result<(), StorageError> {
    let name = window.name().to_owned();
    let mut left = wants;
    while let Some((want, rest)) = left.split_first() {
        // What the limit will not let through is not read ahead.
        let mut bytes = reading.bytes_left as u64;
        let following = rest.iter().map_while(|next| {
            bytes = bytes.checked_sub(u64::from(next.length))?;
            Some((next.offset, next.length))
        });
        let bytes = window.wanted(want.offset, want.length, following)?;
        let record = record::decode(bytes, salt);
        let record = record.filter(|record| record.position.0 == want.position);
        let Some(Body::Message(message)) = record.map(|record| record.body) else {
            return Err(StorageError::Damaged(vec![Damage {
                file: name,
                offset: want.offset,
                what: "a message is damaged".to_owned(),
                owners: vec![reading.owner],
            }]));
        };
        reading.visit(want.position, &message);
        if reading.is_done() {
            return Ok(());
        }
        left = rest;
    }
    Ok(())
}

/// Visits records that lie behind each other in memory.
fn visit_all(reading: &mut Reading<'_>, file: u64, bytes: &[u8]) -> Result<(), StorageError> {
    let mut rest = bytes;
    while let Some(record) = record::decode(rest, record::salt(file)) {
        if let Body::Message(message) = record.body {
            reading.visit(record.position.0, &message);
        }
        if reading.is_done() {
            break;
        }
        rest = rest.get(record.length as usize..).unwrap_or_default();
    }
    Ok(())
}

impl Inner {
    fn chunks(&self) -> impl Iterator<Item = &crate::log::Chunk> {
        let in_flight = self.in_flight.iter().flat_map(|chunks| chunks.iter());
        in_flight.chain(&self.pending)
    }

    /// Up to where a log file is written: behind that its records are still here.
    fn written(&self, file: u64) -> u64 {
        let first = self.chunks().find(|chunk| chunk.file >= file);
        match first {
            Some(chunk) if chunk.file == file => chunk.offset,
            _ => u64::MAX,
        }
    }

    fn buffered(&self, file: u64, place: &Place) -> &[u8] {
        let offset = u64::from(place.offset);
        let chunk = self
            .chunks()
            .find(|chunk| chunk.file == file && chunk.offset <= offset && offset < chunk.end());
        let start = chunk.map_or(0, |chunk| (offset - chunk.offset) as usize);
        let bytes = chunk.and_then(|chunk| chunk.bytes.get(start..start + place.length as usize));
        bytes.unwrap_or_default()
    }
}

type CachedIndex = (Arc<SegmentFile>, Arc<Vec<IndexEntry>>);

/// Indexes of the parts that were read last.
#[derive(Default)]
pub(crate) struct IndexCache {
    parts: HashMap<(u64, u32), CachedIndex, foldhash::fast::FixedState>,
    /// In the order of their coming.
    order: VecDeque<(u64, u32)>,
    entries: usize,
}

impl IndexCache {
    fn find(&self, key: (u64, u32)) -> Option<CachedIndex> {
        self.parts.get(&key).cloned()
    }

    fn insert(&mut self, key: (u64, u32), index: CachedIndex) {
        self.entries += index.1.len();
        if let Some((_, before)) = self.parts.insert(key, index) {
            self.entries -= before.len();
        } else {
            self.order.push_back(key);
        }
        while self.order.len() > INDEX_CACHE_PARTS_MAX
            || self.entries > INDEX_CACHE_ENTRIES_MAX && self.order.len() > 1
        {
            if let Some(oldest) = self.order.pop_front() {
                self.remove(oldest);
            }
        }
    }

    fn remove(&mut self, key: (u64, u32)) {
        if let Some((_, entries)) = self.parts.remove(&key) {
            self.entries -= entries.len();
        }
    }

    /// A segment is gone: its file must not be held open.
    pub(crate) fn forget(&mut self, segment: u64) {
        let (gone, kept): (VecDeque<_>, VecDeque<_>) =
            self.order.iter().partition(|key| key.0 == segment);
        self.order = kept;
        for key in gone {
            self.remove(key);
        }
    }
}
