//! Damage that a rewrite meets in a segment: it is named, left where it is, and the log goes on.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use storage::disk::Disk;
use storage::disk::sim::SimDisk;
use storage::{
    Append, Damage, Log, LogPosition, Options, OwnerEntry, OwnerId, StorageError, inspect, repair,
};

use crate::basics::ALL;

const PAYLOAD_BYTES: usize = 600;

fn options() -> Options {
    Options {
        log_file_bytes: 16 << 10,
        ..Options::default()
    }
}

fn payload(n: u64) -> Vec<u8> {
    format!("{n:0PAYLOAD_BYTES$}").into_bytes()
}

/// What was hurt, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hurt {
    Record,
    Index,
    Footer,
    Sector,
    Missing,
}

impl Hurt {
    /// Does it to the segment that holds a message. Gives the segment's name.
    fn apply(self, disk: &SimDisk, n: u64) -> String {
        let wanted = payload(n);
        let names = disk.list_names().into_iter();
        let mut found = names
            .filter(|name| name.starts_with("segment-"))
            .filter_map(|name| {
                let bytes = disk.contents(&name)?;
                let at = bytes
                    .windows(PAYLOAD_BYTES)
                    .position(|part| part == wanted)?;
                Some((name, bytes, at))
            });
        let (name, mut bytes, at) = found.next().expect("a segment holds it");
        let footer = bytes.len() - 64;
        let records_end = u64::from_le_bytes(bytes[footer + 24..][..8].try_into().unwrap());
        match self {
            Hurt::Record => bytes[at + 17] ^= 1,
            Hurt::Index => bytes[records_end as usize] ^= 1,
            Hurt::Footer => bytes[footer + 20] ^= 1,
            Hurt::Sector => {
                disk.spoil(&name, (at + 300) as u64 / 512);
                return name;
            }
            Hurt::Missing => {
                disk.remove(&name).unwrap();
                return name;
            }
        }
        disk.put(&name, &bytes);
        name
    }
}

type Alive = BTreeMap<(u64, LogPosition), u64>;

/// A log whose two owners have segments of their own.
fn log_with_segments(disk: &SimDisk) -> (Log, Alive) {
    let (log, _) = Log::open(Arc::new(disk.clone()), options()).unwrap();
    let mut alive = Alive::new();
    for n in 0..240 {
        let owner = 1 + n % 2;
        let append = Append {
            owners: &[OwnerEntry::plain(OwnerId(owner))],
            transient: false,
            weight: PAYLOAD_BYTES as u32,
            payload: &[&payload(n)],
        };
        let position = log.batch().push(&append).expect("there is room");
        alive.insert((owner, position), n);
        log.write_step();
        log.keep_step(false).unwrap();
    }
    assert!(log.usage().segments > 6);
    (log, alive)
}

fn release(log: &Log, alive: &mut Alive, goes: impl Fn(u64) -> bool) {
    alive.retain(|(owner, position), n| {
        if goes(*n) {
            log.batch().release(OwnerId(*owner), &[*position]);
        }
        !goes(*n)
    });
    log.write_step();
}

/// What an owner reads, and what stopped it.
fn read(log: &Log, owner: u64) -> (Vec<Vec<u8>>, Option<StorageError>) {
    let mut found = Vec::new();
    let result = log.read(OwnerId(owner), LogPosition(0), ALL, &mut |stored| {
        found.push(stored.payload.to_vec());
    });
    (found, result.err())
}

fn of_owner(alive: &Alive, owner: u64) -> Vec<Vec<u8>> {
    let own = alive.iter().filter(|((other, _), _)| *other == owner);
    own.map(|(_, n)| payload(*n)).collect()
}

/// The other owner misses nothing.
fn check_unhurt(log: &Log, alive: &Alive) {
    let (held, error) = read(log, 2);
    assert!(error.is_none(), "{error:?}");
    assert_eq!(held, of_owner(alive, 2));
}

fn keep_all(log: &Log) {
    let mut steps = 0;
    while log.keep_step(true).expect("the keeper goes on") {
        log.check_invariants();
        steps += 1;
        assert!(steps < 1000, "the keeper comes to an end");
    }
}

/// Of owner 1's messages this one stays, and its segment is hurt; nearly all others go.
const HURT: u64 = 16;

fn check_hurt(hurt: Hurt) {
    let disk = SimDisk::new(1);
    let (log, mut alive) = log_with_segments(&disk);
    let said = Arc::new(Mutex::new(Vec::<Damage>::new()));
    let hears = Arc::clone(&said);
    log.on_damage(move |damage| hears.lock().push(damage.clone()));
    let name = hurt.apply(&disk, HURT);
    let before = disk.contents(&name);
    let segments = log.usage().segments;
    release(&log, &mut alive, |n| n / 2 % 16 != HURT / 2 % 16);
    keep_all(&log);
    assert_eq!(log.failure(), None, "{hurt:?}");
    assert!(
        log.usage().segments < segments,
        "{hurt:?}: others were rewritten"
    );
    let damages = log.damages();
    assert_eq!(damages.len(), 1, "{hurt:?}: {damages:?}");
    assert_eq!(*said.lock(), damages, "{hurt:?}: it is said once");
    assert_eq!(
        (&damages[0].file, &damages[0].owners[..]),
        (&name, &[OwnerId(1)][..])
    );
    assert_eq!(log.usage().segments_damaged, 1);
    assert_eq!(disk.contents(&name), before, "{hurt:?}: it stays as it is");
    check_unhurt(&log, &alive);
    check_after(&disk, hurt, &name, &alive);
    check_gone(&disk, &log, alive, &name);
}

/// The next open names it or does not look there; a repair keeps what is whole.
fn check_after(disk: &SimDisk, hurt: Hurt, name: &str, alive: &Alive) {
    let disk = disk.copy();
    disk.power_off();
    disk.power_on();
    match Log::open(Arc::new(disk.copy()), options()) {
        Ok((log, _)) => {
            assert!(matches!(hurt, Hurt::Record | Hurt::Sector), "{hurt:?}");
            let (_, error) = read(&log, 1);
            assert!(error.is_some(), "{hurt:?}");
            assert_eq!(log.damages().len(), 1, "{hurt:?}: a reader names it too");
            keep_all(&log);
            assert_eq!(log.damages().len(), 1, "{hurt:?}: it is still there");
        }
        Err(StorageError::Damaged(damages)) => assert_eq!(damages[0].file, name),
        Err(error) => panic!("{hurt:?}: {error}"),
    }
    let found = inspect(&disk).unwrap();
    assert!(found.damages.iter().all(|damage| damage.file == name) && !found.damages.is_empty());
    let repaired = repair(Arc::new(disk.clone()), "aside", &mut |_| String::new());
    assert!(repaired.unwrap().is_some());
    let (log, _) = Log::open(Arc::new(disk), options()).unwrap();
    check_unhurt(&log, alive);
    let (held, error) = read(&log, 1);
    assert!(error.is_none());
    let lost = of_owner(alive, 1).len() - held.len();
    match hurt {
        Hurt::Index | Hurt::Footer => assert_eq!(lost, 0, "{hurt:?}"),
        Hurt::Record | Hurt::Sector => assert_eq!(lost, 1, "{hurt:?}"),
        Hurt::Missing => assert!(lost > 0),
    }
}

/// When nobody wants anything of it any more it goes.
fn check_gone(disk: &SimDisk, log: &Log, mut alive: Alive, name: &str) {
    release(log, &mut alive, |_| true);
    keep_all(log);
    assert_eq!(log.damages(), []);
    assert_eq!(disk.contents(name), None);
    log.close().unwrap();
    assert!(Log::open(Arc::new(disk.clone()), options()).is_ok());
}

#[test]
fn a_damaged_segment_is_named_and_left_and_the_log_goes_on() {
    for hurt in [
        Hurt::Record,
        Hurt::Index,
        Hurt::Footer,
        Hurt::Sector,
        Hurt::Missing,
    ] {
        check_hurt(hurt);
    }
}
