//! A small directory of the message log with one file that is the fuzzer's, and what must hold for any such.
//!
//! Built for fuzzing, the readers take every checksum for right. An input is the file itself, or, after a first
//! byte of 1, changes to a sound one: an offset of two bytes, and the byte to put there.

use std::sync::{Arc, OnceLock};

use ::storage::disk::sim::SimDisk;
use ::storage::{
    Append, Log, LogPosition, Options, OwnerEntry, OwnerId, ReadLimit, StorageError, inspect,
    repair,
};

fn options() -> Options {
    Options {
        log_file_bytes: 4096,
        ..Options::default()
    }
}

/// The files of [`make_sound`], on a disk of their own.
fn sound() -> SimDisk {
    static FILES: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
    let files = FILES.get_or_init(|| {
        let disk = make_sound();
        let names = disk.list_names().into_iter();
        names
            .map(|name| (name.clone(), disk.contents(&name).expect("it is listed")))
            .collect()
    });
    let disk = SimDisk::new(1);
    for (name, bytes) in files {
        disk.put(name, bytes);
    }
    disk
}

/// A sound directory: a segment, a log file with every kind of record, a manifest that knows of releases.
fn make_sound() -> SimDisk {
    let disk = SimDisk::new(1);
    let (log, _) = Log::open(Arc::new(disk.clone()), options()).expect("an empty directory");
    for n in 0..24u64 {
        let owners = [1 + n % 3, 7].map(|owner| OwnerEntry {
            expires_ms: n % 2,
            ..OwnerEntry::plain(OwnerId(owner))
        });
        let message = Append {
            owners: &owners[..1 + (n % 4 == 0) as usize],
            transient: n % 7 == 6,
            weight: 100,
            payload: &[&[n as u8; 100]],
        };
        let position = log.batch().push(&message).expect("there is room");
        if n % 5 == 0 {
            log.batch().release(OwnerId(1 + n % 3), &[position]);
        }
        log.write_step();
    }
    while log.keep_step(true).expect("the disk works") {}
    log.batch()
        .note_delivered(OwnerId(2), 1, &[LogPosition(2), LogPosition(3)]);
    log.batch().purge(OwnerId(3), &[LogPosition(4)]);
    log.batch().forget(OwnerId(7));
    log.write_step();
    log.mark_idle();
    disk
}

/// Puts the input in the place of the newest file whose name begins so.
pub fn check(kind: &str, input: &[u8], without_manifest: bool) {
    let disk = sound();
    let names = disk.list_names();
    let Some(name) = names
        .iter()
        .filter(|name| name.starts_with(kind))
        .next_back()
    else {
        panic!("no {kind} in {names:?}");
    };
    let bytes = match input.split_first() {
        Some((1, changes)) => {
            let mut bytes = disk.contents(name).expect("it is there");
            for change in changes.chunks_exact(3) {
                let at = usize::from(u16::from_le_bytes([change[0], change[1]])) % bytes.len();
                bytes[at] = change[2];
            }
            bytes
        }
        _ => input.to_vec(),
    };
    disk.put(name, &bytes);
    if without_manifest {
        ::storage::disk::Disk::remove(&disk, "manifest").expect("it is there");
    }
    let found = inspect(&disk).expect("damage is no error");
    let copy = SimDisk::new(2);
    for name in disk.list_names() {
        copy.put(&name, &disk.contents(&name).expect("it is listed"));
    }
    match Log::open(Arc::new(copy.clone()), options()) {
        Ok((log, _)) => go_on(&copy, &log, found.damages.is_empty()),
        Err(StorageError::Damaged(damages)) => {
            assert!(!damages.is_empty() && !found.damages.is_empty())
        }
        Err(error) => panic!("{error}"),
    }
    let repaired = repair(Arc::new(disk.clone()), "aside", &mut |_| String::new());
    if repaired.expect("the disk works").is_some() {
        let again = repair(Arc::new(disk.clone()), "again", &mut |_| String::new());
        assert!(again.expect("the disk works").is_none(), "once is enough");
        let opened = Log::open(Arc::new(disk.clone()), options());
        let (log, _) = opened.unwrap_or_else(|error| panic!("after a repair: {error}"));
        go_on(&disk, &log, true);
    }
}

/// Uses an open log. What it leaves opens again, unless it was damaged where an open does not look, and nobody has
/// less than before.
fn go_on(disk: &SimDisk, log: &Log, sound: bool) {
    use_all(log);
    let held = |log: &Log| -> Vec<(OwnerId, u64)> {
        let owners = log.owners().into_iter();
        owners.map(|owner| (owner, log.messages(owner))).collect()
    };
    let before = held(log);
    let closed = log.close().is_ok();
    let opened = Log::open(Arc::new(disk.clone()), options());
    let (log, _) = match opened {
        Ok(opened) => opened,
        Err(StorageError::Damaged(_)) if !sound => return,
        Err(error) => panic!("open again: {error}"),
    };
    let after = held(&log);
    for (owner, messages) in before {
        let found = after.iter().find(|(other, _)| *other == owner);
        let found = found.map_or(0, |(_, messages)| *messages);
        assert!(
            !closed || messages <= found,
            "{owner:?} has {found} of {messages}"
        );
    }
}

/// Reads, appends, releases and retires: damage may show, and nothing else may happen.
fn use_all(log: &Log) {
    let limit = ReadLimit {
        messages: 1000,
        bytes: usize::MAX,
    };
    for owner in log.owners() {
        let mut positions = Vec::new();
        let read = log.read(owner, LogPosition(0), limit, &mut |stored| {
            positions.push(stored.position)
        });
        assert!(
            matches!(read, Ok(_) | Err(StorageError::Damaged(_))),
            "{read:?}"
        );
        positions.truncate(3);
        log.batch().release(owner, &positions);
    }
    for n in 0..12u8 {
        let message = Append {
            owners: &[OwnerEntry::plain(OwnerId(1 + u64::from(n % 3)))],
            transient: false,
            weight: 1,
            payload: &[&[n; 600]],
        };
        // It is refused where the log has failed.
        let _ = log.batch().push(&message);
        log.write_step();
    }
    for _ in 0..20 {
        match log.keep_step(true) {
            Ok(true) => {}
            Ok(false) | Err(StorageError::Damaged(_) | StorageError::Failed(_)) => break,
            Err(error) => panic!("{error}"),
        }
    }
}
