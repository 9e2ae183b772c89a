//! Directories whose checksums are right and whose numbers cannot be: what a fuzzer finds that takes any checksum.

use super::*;
use crate::append::{Append, OwnerEntry};
use crate::disk::sim::SimDisk;
use crate::limits::{FILE_NUMBER_MAX, FILE_NUMBER_REPAIRED_MAX, POSITION_MAX};
use crate::manifest::{self, Manifest, SegmentState, Touched};
use crate::record::{self, Note};
use crate::segment::IndexEntry;
use crate::segment::build::Build;
use crate::{ReadLimit, inspect, repair, segment};

const ALL: ReadLimit = ReadLimit {
    messages: usize::MAX,
    bytes: usize::MAX,
};

fn options() -> Options {
    Options {
        log_file_bytes: 4096,
        ..Options::default()
    }
}

fn open_sim(disk: &SimDisk) -> Result<(Log, Recovery), StorageError> {
    Log::open(Arc::new(disk.clone()), options())
}

fn message<'a>(owners: &'a [OwnerEntry], payload: &'a [&'a [u8]]) -> Append<'a> {
    Append {
        owners,
        transient: false,
        weight: 1,
        payload,
    }
}

fn push(log: &Log, owner: u64) -> LogPosition {
    let owners = [OwnerEntry::plain(OwnerId(owner))];
    let pushed = log.batch().push(&message(&owners, &[&[7; 300]]));
    pushed.expect("there is room")
}

/// An empty log whose next position is this one.
fn log_at(first: u64) -> SimDisk {
    let disk = SimDisk::new(1);
    let header = Header {
        number: 1,
        first: LogPosition(first),
        previous_end: 0,
        bytes: 4096,
    };
    let mut bytes = header.encode();
    bytes.resize(4096, 0);
    disk.put(&log_file::name(1), &bytes);
    disk.put(manifest::NAME, &manifest(1, Vec::new()).encode());
    disk
}

fn manifest(next_segment: u64, segments: Vec<SegmentState>) -> Manifest {
    Manifest {
        sequence: 2,
        first_log: 1,
        next_segment,
        segments,
        ..Manifest::default()
    }
}

/// A segment with messages of one owner.
fn put_segment(disk: &SimDisk, number: u64, owner: u64, positions: &[u64]) -> SegmentState {
    put_segment_of(disk, number, &[owner], positions)
}

/// A segment of the first of these owners, with all of them in its records.
fn put_segment_of(disk: &SimDisk, number: u64, owners: &[u64], positions: &[u64]) -> SegmentState {
    let mut build = Build::start(disk, number).unwrap();
    let owner = owners[0];
    let owners: Vec<OwnerEntry> = owners
        .iter()
        .map(|owner| OwnerEntry::plain(OwnerId(*owner)))
        .collect();
    for position in positions {
        let mut bytes = Vec::new();
        let at = LogPosition(*position);
        let salt = record::salt(number);
        record::encode_message(&mut bytes, at, salt, &message(&owners, &[b"kept"]));
        let offset = build.put_record(&bytes).unwrap();
        let entry = IndexEntry {
            position: *position,
            offset,
            length: bytes.len() as u32,
            weight: 1,
            transient: false,
        };
        build.put_holder(OwnerId(owner), 0, entry);
    }
    let built = build.finish().unwrap();
    SegmentState {
        number,
        bytes: built.bytes,
        footer_crc: built.footer_crc,
        touched: Vec::new(),
    }
}

fn positions(log: &Log, owner: u64) -> Vec<u64> {
    let mut found = Vec::new();
    let read = log.read(OwnerId(owner), LogPosition(0), ALL, &mut |stored| {
        found.push(stored.position.0);
    });
    assert!(read.is_ok(), "{read:?}");
    found
}

/// It is damaged, and after one repair it is not, and can be used and opened again.
fn is_mended_once(disk: &SimDisk) -> Log {
    assert!(matches!(open_sim(disk), Err(StorageError::Damaged(_))));
    assert!(!inspect(disk).unwrap().damages.is_empty());
    let mend = |folder| repair(Arc::new(disk.clone()), folder, &mut |_| String::new()).unwrap();
    assert!(mend("first").is_some());
    let again = mend("second");
    assert!(again.is_none(), "once is enough: {again:?}");
    let (log, _) = open_sim(disk).expect("it opens after a repair");
    push(&log, 99);
    log.close().expect("it can be written to");
    let (log, _) = open_sim(disk).expect("it opens again");
    log.check_invariants();
    assert_eq!(positions(&log, 99).len(), 1);
    log
}

#[test]
fn a_log_file_without_header_whose_position_cannot_be_is_mended_once() {
    let disk = log_at(1);
    let (log, _) = open_sim(&disk).unwrap();
    push(&log, 1);
    log.write_step();
    for at in [u64::MAX, 0xFB << 56, POSITION_MAX + 1] {
        let disk = disk.copy();
        disk.put(
            manifest::NAME,
            &Manifest {
                first_log: 2,
                ..manifest(1, Vec::new())
            }
            .encode(),
        );
        let name = log_file::name(2);
        let mut bytes = disk.contents(&name).unwrap();
        bytes[8] ^= 0xFF;
        let mark = Note::Mark {
            file: 2,
            synced_bytes: 0,
        };
        let mut record = Vec::new();
        record::encode_note(&mut record, LogPosition(at), record::salt(2), &mark);
        bytes[HEADER_BYTES..HEADER_BYTES + record.len()].copy_from_slice(&record);
        disk.put(&name, &bytes);
        assert_eq!(positions(&is_mended_once(&disk), 1), [1], "{at}");
    }
}

#[test]
fn a_header_says_no_position_that_cannot_be() {
    for first in [0, POSITION_MAX + 1, u64::MAX] {
        is_mended_once(&log_at(first));
    }
}

#[test]
fn a_log_that_has_given_all_positions_fails_and_opens_again() {
    let disk = log_at(POSITION_MAX - 1);
    let (log, _) = open_sim(&disk).unwrap();
    let last = push(&log, 1);
    log.write_step();
    assert_eq!((log.durable(), log.failure()), (last, None));
    push(&log, 1);
    log.write_step();
    assert_eq!(log.durable(), last);
    assert!(log.failure().is_some_and(|why| why.contains("used up")));
    let (log, recovery) = open_sim(&disk).unwrap();
    assert_eq!(recovery.last_position, last);
    assert_eq!(positions(&log, 1), [last.0]);
}

#[test]
fn a_manifest_that_says_what_cannot_be_is_refused() {
    let touched = |first, runs: &[(u64, u64)]| Touched {
        owner: OwnerId(1),
        first,
        runs: runs.to_vec(),
    };
    let segment = |number, touched| SegmentState {
        number,
        bytes: 1000,
        footer_crc: 5,
        touched,
    };
    let whole = manifest(
        9,
        vec![
            segment(3, vec![touched(5, &[(5, 7), (9, 9)]), touched(20, &[])]),
            segment(8, Vec::new()),
        ],
    );
    let whole = Manifest {
        delivered: vec![
            (OwnerId(1), vec![(5, 6, 1), (7, 7, 2)]),
            (OwnerId(2), Vec::new()),
        ],
        ..whole
    };
    let reads = |manifest: &Manifest| Manifest::decode(&manifest.encode()).is_some();
    assert!(reads(&whole));
    type Change<'a> = &'a dyn Fn(&mut Manifest);
    let wrong: [(&str, Change<'_>); 15] = [
        ("no sequence number", &|m| m.sequence = 0),
        ("sequence number", &|m| m.sequence = u64::MAX),
        ("log file", &|m| m.first_log = FILE_NUMBER_MAX + 1),
        ("next segment", &|m| m.next_segment = u64::MAX),
        ("a segment that is to come", &|m| m.next_segment = 8),
        ("a segment twice", &|m| m.segments[1].number = 3),
        ("segments turned round", &|m| m.segments.reverse()),
        ("a part twice", &|m| m.segments[0].touched[1].first = 5),
        ("runs turned round", &|m| {
            m.segments[0].touched[0].runs.reverse()
        }),
        ("a run twice", &|m| {
            m.segments[0].touched[0].runs[1] = (5, 7)
        }),
        ("runs that overlap", &|m| {
            m.segments[0].touched[0].runs[1].0 = 7
        }),
        ("a run before its part", &|m| {
            m.segments[0].touched[0].first = 6
        }),
        ("a position", &|m| {
            m.segments[0].touched[0].runs[1].1 = u64::MAX
        }),
        ("delivered twice", &|m| m.delivered[0].1[1].0 = 6),
        ("an owner twice", &|m| m.delivered[1].0 = OwnerId(1)),
    ];
    for (what, change) in wrong {
        let mut manifest = whole.clone();
        change(&mut manifest);
        assert!(!reads(&manifest), "{what}");
    }
}

#[test]
fn segments_that_hold_the_same_are_named_and_mended_once() {
    let disk = log_at(50);
    let first = put_segment(&disk, 1, 1, &[10, 12, 14]);
    let second = put_segment(&disk, 2, 1, &[12, 13, 20]);
    disk.put(manifest::NAME, &manifest(3, vec![first, second]).encode());
    assert_eq!(positions(&is_mended_once(&disk), 1), [10, 12, 13, 14, 20]);
}

#[test]
fn a_segment_that_holds_what_the_log_has_is_named_and_mended_once() {
    let disk = log_at(12);
    let state = put_segment(&disk, 1, 1, &[10, 14]);
    disk.put(manifest::NAME, &manifest(2, vec![state]).encode());
    assert_eq!(positions(&is_mended_once(&disk), 1), [10]);
}

#[test]
fn a_lost_log_gives_no_position_again_that_a_segment_has() {
    for (log, with_manifest) in [
        (None, true),
        (Some(vec![0; 4096]), true),
        (Some(vec![0; 4096]), false),
    ] {
        let disk = log_at(50);
        let state = put_segment(&disk, 1, 1, &[10, 14]);
        disk.put(manifest::NAME, &manifest(2, vec![state]).encode());
        if !with_manifest {
            disk.remove(manifest::NAME).unwrap();
        }
        match &log {
            Some(bytes) => disk.put(&log_file::name(1), bytes),
            None => disk.remove(&log_file::name(1)).unwrap(),
        }
        let log = is_mended_once(&disk);
        assert_eq!(positions(&log, 1), [10, 14], "{with_manifest}");
        assert!(positions(&log, 99) > vec![14]);
    }
}

#[test]
fn a_repair_leaves_numbers_for_the_files_to_come() {
    for first_log in [FILE_NUMBER_REPAIRED_MAX, FILE_NUMBER_MAX] {
        let disk = log_at(50);
        let state = put_segment(&disk, 1, 1, &[10, 14]);
        let forged = Manifest {
            first_log,
            next_segment: first_log,
            sequence: first_log,
            ..manifest(1, vec![state])
        };
        disk.put(manifest::NAME, &forged.encode());
        assert_eq!(positions(&is_mended_once(&disk), 1), [10, 14]);
    }
}

#[test]
fn released_runs_that_are_not_the_parts_own_are_damage() {
    for runs in [vec![(14, 15)], vec![(10, 15)], vec![(60, 70)]] {
        let disk = log_at(50);
        let mut state = put_segment(&disk, 1, 1, &[10, 12, 14]);
        state.touched = vec![Touched {
            owner: OwnerId(1),
            first: 10,
            runs,
        }];
        disk.put(manifest::NAME, &manifest(2, vec![state]).encode());
        is_mended_once(&disk);
        assert!(
            disk.contents(&segment::name(1)).is_none(),
            "it was read from its records"
        );
    }
}

#[test]
fn a_record_that_names_an_owner_twice_is_damage() {
    for owners in [&[1, 1][..], &[1, 2, 2]] {
        let disk = log_at(50);
        let state = put_segment_of(&disk, 1, owners, &[10]);
        disk.put(manifest::NAME, &manifest(2, vec![state]).encode());
        assert_eq!(inspect(&disk).unwrap().damages.len(), 1);
        let mend = |folder| repair(Arc::new(disk.clone()), folder, &mut |_| String::new());
        assert!(mend("first").unwrap().is_some());
        assert!(mend("second").unwrap().is_none());
        assert_eq!(positions(&open_sim(&disk).unwrap().0, 1), []);
    }
    let disk = log_at(1);
    let (log, _) = open_sim(&disk).unwrap();
    push(&log, 1);
    log.write_step();
    let name = log_file::name(2);
    let mut bytes = disk.contents(&name).unwrap();
    let mut record = Vec::new();
    let twice = [1, 1].map(|owner| OwnerEntry::plain(OwnerId(owner)));
    let written = message(&twice, &[&[7; 300]]);
    record::encode_message(&mut record, LogPosition(1), record::salt(2), &written);
    let at = HEADER_BYTES + record::MARK_BYTES;
    bytes[at..at + record.len()].copy_from_slice(&record);
    disk.put(&name, &bytes);
    let found = inspect(&disk).unwrap();
    assert!(found.torn.is_some() && found.owners.is_empty(), "{found:?}");
}
