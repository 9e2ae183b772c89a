//! Looking at a directory that may be damaged: all damage with the queues that it hits, and what is whole.
//!
//! An open reads no messages in segments; this does, and checks each that is alive. It changes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::disk::Disk;
use crate::disk::lenient::LenientDisk;
use crate::limits::SECTOR_BYTES;
use crate::record::{self, Body};
use crate::recovery::load::{Loaded, load};
use crate::segment::file::SegmentFile;
use crate::segment::{self, IndexEntry};
use crate::window::Window;
use crate::{Damage, OwnerId, StorageError};

/// What was found.
pub(crate) struct Examined {
    /// What is whole: in the ledger, and, of segments in `salvaged`, beside it.
    pub(crate) loaded: Loaded,
    pub(crate) damages: Vec<Damage>,
    /// Segments of which only the records are believed.
    pub(crate) salvaged: BTreeSet<u64>,
}

/// How far to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// What an open sees.
    Open,
    /// Each message that is alive.
    Messages,
}

/// Reads a directory, finds its damage, and what can be had of damaged segments. Only the disk's own errors end
/// it.
pub(crate) fn examine(disk: &LenientDisk<'_>, depth: Depth) -> Result<Examined, StorageError> {
    let mut salvaged = BTreeSet::new();
    let mut loaded = load(disk, &salvaged, &mut |_| {})?;
    let mut damages = std::mem::take(&mut loaded.damages);
    // Of these segments it must be told what is missing; of others it is known message by message.
    let mut broken = segments_named(&damages);
    if depth == Depth::Messages {
        for number in loaded.ledger.segments.keys() {
            let mut found = Vec::new();
            if !verify(disk, &loaded, *number, &mut found)? {
                broken.insert(*number);
            }
            damages.append(&mut found);
        }
    }
    damages.extend(unreadable(disk, &loaded));
    loop {
        let mut wanted = segments_named(&damages);
        wanted.extend(loaded.conflicts());
        if wanted.is_subset(&salvaged) {
            break;
        }
        salvaged.append(&mut wanted);
        loaded = load(disk, &salvaged, &mut |_| {})?;
    }
    for number in broken {
        let holes = loaded.holes.get(&number).into_iter().flatten();
        damages.extend(holes.map(|(from, to)| Damage {
            file: segment::name(number),
            offset: *from,
            what: format!("{} bytes hold no whole message", to - from),
            owners: Vec::new(),
        }));
    }
    name_owners(&mut damages, &loaded);
    Ok(Examined {
        loaded,
        damages,
        salvaged,
    })
}

/// Sectors that cannot be read are damage, even where nothing stood: an open would not get past them.
fn unreadable(disk: &LenientDisk<'_>, loaded: &Loaded) -> Vec<Damage> {
    let mut damages: Vec<Damage> = Vec::new();
    let mut end = 0;
    for (file, offset, error) in disk.unreadable() {
        if loaded.leftovers.contains(&file) {
            continue;
        }
        let joins = damages
            .last()
            .is_some_and(|last| last.file == file && end == offset);
        end = offset + SECTOR_BYTES as u64;
        if !joins {
            damages.push(Damage {
                file,
                offset,
                what: format!("it cannot be read: {error}"),
                owners: Vec::new(),
            });
        }
    }
    damages
}

fn segments_named(damages: &[Damage]) -> BTreeSet<u64> {
    let numbers = damages
        .iter()
        .map(|damage| segment::number_of(&damage.file));
    numbers.flatten().collect()
}

/// Where a segment is hit and nobody could say whose messages, all who have some there are named.
fn name_owners(damages: &mut [Damage], loaded: &Loaded) {
    let mut owners: BTreeMap<u64, BTreeSet<OwnerId>> = BTreeMap::new();
    for (owner, held) in &loaded.salvaged.0 {
        for (segment, _) in held.values() {
            owners.entry(*segment).or_default().insert(*owner);
        }
    }
    for damage in damages.iter_mut().filter(|damage| damage.owners.is_empty()) {
        let number = segment::number_of(&damage.file);
        if let Some(found) = number.and_then(|number| owners.get(&number)) {
            damage.owners = found.iter().copied().collect();
        }
    }
}

/// Checks what is alive in a segment. Gives whether its directory and indexes are sound.
fn verify(
    disk: &dyn Disk,
    loaded: &Loaded,
    number: u64,
    damages: &mut Vec<Damage>,
) -> Result<bool, StorageError> {
    let file = SegmentFile::open(disk, number)?;
    let mut alive: Vec<(IndexEntry, OwnerId)> = Vec::new();
    let mut sound = true;
    let segment = loaded.ledger.segments.get(&number);
    for span in segment.into_iter().flat_map(|segment| &segment.parts) {
        let Some(part) = loaded.ledger.part_at(number, span) else {
            continue;
        };
        match file.index_of(part) {
            Ok(entries) => {
                let entries = entries
                    .into_iter()
                    .filter(|entry| part.holds(entry.position));
                alive.extend(entries.map(|entry| (entry, span.owner)));
            }
            Err(StorageError::Damaged(mut found)) => {
                sound = false;
                damages.append(&mut found);
            }
            Err(error) => return Err(error),
        }
    }
    check_records(&file, alive, damages)?;
    Ok(sound)
}

/// Checks records of a segment; neighbours that are damaged become one finding.
fn check_records(
    file: &SegmentFile,
    mut alive: Vec<(IndexEntry, OwnerId)>,
    damages: &mut Vec<Damage>,
) -> Result<(), StorageError> {
    alive.sort_unstable_by_key(|(entry, owner)| (entry.offset, *owner));
    let name = segment::name(file.number);
    let end = file.footer.records_end;
    let mut window = Window::new(name.clone(), Arc::clone(&file.file), end);
    // Where the damage before ended, how many messages it has, and the finding.
    let mut before: Option<(u64, u64, Damage)> = None;
    for same in alive.chunk_by(|a, b| a.0.offset == b.0.offset) {
        let Some((entry, _)) = same.first() else {
            continue;
        };
        let bytes = window.ahead(entry.offset, entry.length as usize)?;
        if is_whole(bytes, file.number, same) {
            continue;
        }
        let owners = same.iter().map(|(_, owner)| *owner);
        let entry_end = entry.offset + u64::from(entry.length);
        match &mut before {
            Some((end, count, damage)) if *end == entry.offset => {
                *end = entry_end;
                *count += 1;
                damage.what = format!("{count} messages are damaged, up to byte {entry_end}");
                damage.owners.extend(owners);
            }
            _ => {
                let damage = Damage {
                    file: name.clone(),
                    offset: entry.offset,
                    what: "a message is damaged".to_owned(),
                    owners: owners.collect(),
                };
                damages.extend(
                    before
                        .replace((entry_end, 1, damage))
                        .map(|(_, _, damage)| damage),
                );
            }
        }
    }
    damages.extend(before.map(|(_, _, damage)| damage));
    for damage in damages {
        damage.owners.sort_unstable();
        damage.owners.dedup();
    }
    Ok(())
}

/// Whether these bytes are the message that the index says, for all who hold it.
fn is_whole(bytes: &[u8], number: u64, holders: &[(IndexEntry, OwnerId)]) -> bool {
    let record = record::decode(bytes, record::salt(number));
    let Some((record, Body::Message(message))) = record.map(|record| (record, record.body)) else {
        return false;
    };
    let mut held: Vec<OwnerId> = message.owners().map(|entry| entry.owner).collect();
    held.sort_unstable();
    held.is_sorted_by(|a, b| a < b)
        && holders.iter().all(|(entry, owner)| {
            entry.position == record.position.0 && held.binary_search(owner).is_ok()
        })
}
