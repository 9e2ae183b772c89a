//! What the door promises, case by case.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use storage::disk::real::RealDisk;
use storage::disk::sim::{Fault, SimDisk};
use storage::{
    Append, Log, LogPosition, Options, OwnerEntry, OwnerId, ReadLimit, Recovery, Refused,
    StorageError,
};

pub(crate) const ALL: ReadLimit = ReadLimit {
    messages: usize::MAX,
    bytes: usize::MAX,
};

fn options() -> Options {
    Options {
        log_file_bytes: 8192,
        ..Options::default()
    }
}

fn open(disk: &SimDisk) -> (Log, Recovery) {
    Log::open(Arc::new(disk.clone()), options()).expect("a sound directory opens")
}

fn push(log: &Log, owners: &[u64], payload: &[u8]) -> LogPosition {
    let owners: Vec<OwnerEntry> = owners
        .iter()
        .map(|o| OwnerEntry::plain(OwnerId(*o)))
        .collect();
    let append = Append {
        owners: &owners,
        transient: false,
        weight: payload.len() as u32,
        payload: &[payload],
    };
    log.batch().push(&append).expect("there is room")
}

/// Pushes for owner 1, waiting as a publisher would.
fn push_when_room(log: &Log, payload: &[u8]) -> LogPosition {
    let owners = [OwnerEntry::plain(OwnerId(1))];
    let append = Append {
        owners: &owners,
        transient: false,
        weight: payload.len() as u32,
        payload: &[payload],
    };
    loop {
        match log.batch().push(&append) {
            Ok(position) => return position,
            Err(Refused::Failed) => panic!("{:?}", log.failure()),
            Err(Refused::Behind) => {}
        }
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        log.wake_when_room(Arc::new(move || {
            let _ = sender.try_send(());
        }));
        receiver
            .recv()
            .expect("the log keeps the sender until it wakes us");
    }
}

fn read(log: &Log, owner: u64) -> Vec<(u64, Vec<u8>)> {
    let mut out = Vec::new();
    let end = log.read(OwnerId(owner), LogPosition(0), ALL, &mut |stored| {
        out.push((stored.position.0, stored.payload.to_vec()));
    });
    assert_eq!(end.expect("it reads"), None);
    out
}

fn keep_all(log: &Log) {
    while log.keep_step(true).expect("the keeper works") {
        log.check_invariants();
    }
}

#[test]
fn messages_are_read_from_the_buffer_the_file_and_a_segment() {
    let disk = SimDisk::new(1);
    let (log, recovery) = open(&disk);
    assert!(recovery.owners.is_empty());
    let first = push(&log, &[7], b"one");
    let second = push(&log, &[7, 8], b"two");
    let expected = vec![(first.0, b"one".to_vec()), (second.0, b"two".to_vec())];
    assert_eq!(read(&log, 7), expected);
    assert_eq!(log.durable(), LogPosition(0));
    assert!(log.write_step());
    assert_eq!(log.durable(), second);
    assert_eq!(read(&log, 7), expected);
    for _ in 0..40 {
        let position = push(&log, &[9], &[9; 500]);
        log.write_step();
        log.batch().release(OwnerId(9), &[position]);
    }
    log.write_step();
    keep_all(&log);
    assert!(log.usage().segments >= 1);
    assert_eq!(read(&log, 7), expected);
    assert_eq!(read(&log, 8), expected[1..]);
    log.batch().release(OwnerId(7), &[first]);
    log.close().unwrap();
    let (log, recovery) = open(&disk);
    assert!(recovery.clean);
    assert_eq!(read(&log, 7), expected[1..]);
    let owners: Vec<(u64, u64, u64)> = recovery
        .owners
        .iter()
        .map(|o| (o.owner.0, o.messages, o.weight))
        .collect();
    assert_eq!(owners, [(7, 1, 3), (8, 1, 3)]);
    log.batch().release(OwnerId(7), &[second]);
    log.batch().forget(OwnerId(8));
    keep_all(&log);
    assert_eq!(log.usage().segments, 0);
    assert_eq!(
        disk.list_names()
            .iter()
            .filter(|n| n.starts_with("segment"))
            .count(),
        0
    );
}

#[test]
fn disk_in_use_stays_within_twice_what_lives_and_two_log_files() {
    let disk = SimDisk::new(3);
    let (log, _) = open(&disk);
    let mut kept = Vec::new();
    let mut live = 0;
    for round in 0..2000u64 {
        let owner = round % 5;
        let bytes = if round % 2 == 0 { 900 } else { 60 };
        let position = push(&log, &[owner], &vec![round as u8; bytes]);
        // Large ones go, small ones stay, and now and then one stays for ever.
        if bytes > 100 || round % 50 != 1 {
            kept.push((round, owner, position));
        } else {
            live += 24 + 4 + 8 + 64;
        }
        if kept.len() > 60 {
            let (_, owner, position) = kept.remove((round as usize * 7) % 60);
            log.batch().release(OwnerId(owner), &[position]);
        }
        log.write_step();
        log.keep_step(false).unwrap();
    }
    for (_, owner, position) in kept {
        log.batch().release(OwnerId(owner), &[position]);
    }
    log.write_step();
    keep_all(&log);
    log.check_invariants();
    let usage = log.usage();
    assert!(usage.segment_bytes_live <= live);
    // Beside records a segment has its index; 64 bytes a part: few and small segments here, so 4 KiB do.
    let reserve = 8192 / 2;
    let bound =
        2 * live + 2 * 8192 + reserve + 4096 + disk.contents("manifest").unwrap().len() as u64;
    assert!(
        disk.bytes() <= bound,
        "{} bytes, {live} live, {usage:?}",
        disk.bytes()
    );
}

#[test]
fn a_fan_out_is_one_copy() {
    let disk = SimDisk::new(4);
    let (log, _) = open(&disk);
    let owners: Vec<u64> = (1..=100).collect();
    for _ in 0..3 {
        push(&log, &owners, &[5; 1000]);
        log.write_step();
    }
    for _ in 0..20 {
        let position = push(&log, &[500], &[5; 1000]);
        log.batch().release(OwnerId(500), &[position]);
        log.write_step();
    }
    keep_all(&log);
    let usage = log.usage();
    assert_eq!(usage.segments, 1);
    assert!(
        usage.segment_bytes < 3 * (1000 + 100 * (8 + 64 + 16)),
        "{usage:?}"
    );
    for owner in owners {
        assert_eq!(read(&log, owner).len(), 3);
        log.batch().forget(OwnerId(owner));
    }
    keep_all(&log);
    assert_eq!(log.usage().segments, 0);
}

#[test]
fn what_is_released_twice_or_by_another_is_passed_over() {
    let disk = SimDisk::new(11);
    let (log, _) = open(&disk);
    let mut mine = Vec::new();
    let mut others = Vec::new();
    for n in 0..12u8 {
        mine.push(push(&log, &[1], &[n; 600]));
        others.push(push(&log, &[2], &[n; 600]));
    }
    log.write_step();
    // Dies in the log, is released again when the rest lies in a segment.
    log.batch().release(OwnerId(1), &[mine[3]]);
    keep_all(&log);
    assert!(log.usage().segments > 0);
    log.batch().release(OwnerId(1), &[mine[3], mine[3]]);
    log.batch().release(OwnerId(1), &others);
    log.batch()
        .release(OwnerId(1), &[LogPosition(0), LogPosition(900)]);
    log.batch().release(OwnerId(3), &mine[..2]);
    assert_eq!(log.usage().releases_not_alive, 2 + 12 + 2 + 2);
    assert_eq!((log.messages(OwnerId(1)), read(&log, 1).len()), (11, 11));
    log.write_step();
    keep_all(&log);
    log.close().unwrap();

    // After an open nobody has read which positions are whose, until somebody does.
    let (log, _) = open(&disk);
    log.batch().release(OwnerId(1), &others);
    log.check_invariants();
    keep_all(&log);
    assert_eq!((log.messages(OwnerId(1)), read(&log, 1).len()), (11, 11));
    log.batch().release(OwnerId(1), &mine);
    log.write_step();
    keep_all(&log);
    assert_eq!(log.messages(OwnerId(1)), 0);
    assert_eq!(read(&log, 2).len(), 12);
}

#[test]
fn purge_keeps_what_is_unacked_and_counts_survive() {
    let disk = SimDisk::new(5);
    let (log, _) = open(&disk);
    let positions: Vec<LogPosition> = (0..30).map(|n| push(&log, &[1], &[n; 700])).collect();
    log.write_step();
    keep_all(&log);
    let kept = [positions[2], positions[29]];
    log.batch().note_delivered(OwnerId(1), 4, &kept[..1]);
    log.batch().purge(OwnerId(1), &kept);
    let after = push(&log, &[1], b"after");
    let expect = [kept[0].0, kept[1].0, after.0];
    for _ in 0..3 {
        let found: Vec<u64> = read(&log, 1).iter().map(|m| m.0).collect();
        assert_eq!(found, expect);
        log.write_step();
        keep_all(&log);
    }
    log.close().unwrap();
    let (log, recovery) = open(&disk);
    assert_eq!(recovery.owners[0].messages, 3);
    let mut counts = Vec::new();
    let limit = ReadLimit {
        messages: 2,
        bytes: usize::MAX,
    };
    let next = log.read(OwnerId(1), LogPosition(0), limit, &mut |stored| {
        counts.push((stored.redelivered, stored.delivery_count));
    });
    assert_eq!(next.unwrap(), Some(LogPosition(kept[1].0 + 1)));
    assert_eq!(counts, [(true, 4), (false, 0)]);
}

#[test]
fn a_purge_up_to_a_position_leaves_what_is_behind_it() {
    let disk = SimDisk::new(6);
    let (log, _) = open(&disk);
    let positions: Vec<LogPosition> = (0..30).map(|n| push(&log, &[1], &[n; 700])).collect();
    log.write_step();
    keep_all(&log);
    log.batch()
        .purge_up_to(OwnerId(1), positions[19], &[positions[3], positions[25]]);
    let after = push(&log, &[1], b"after");
    let mut expect = vec![positions[3].0];
    expect.extend(positions[20..].iter().map(|position| position.0));
    expect.push(after.0);
    let found = |log: &Log| -> Vec<u64> { read(log, 1).iter().map(|m| m.0).collect() };
    assert_eq!(found(&log), expect);
    log.write_step();
    keep_all(&log);
    assert_eq!(found(&log), expect);
    log.close().unwrap();
    let (log, _) = open(&disk);
    assert_eq!(found(&log), expect);
}

#[test]
fn a_failed_sync_poisons_the_log() {
    let disk = SimDisk::new(6);
    let (log, _) = open(&disk);
    push(&log, &[1], b"safe");
    log.write_step();
    let position = push(&log, &[1], b"not safe");
    let woken = Arc::new(AtomicBool::new(false));
    let waker = Arc::clone(&woken);
    log.wake_when_durable(
        position,
        Arc::new(move || waker.store(true, Ordering::Relaxed)),
    );
    disk.plan(disk.operations() + 1, Fault::Io);
    log.write_step();
    assert!(woken.load(Ordering::Relaxed));
    assert!(log.durable() < position);
    assert!(log.failure().is_some());
    let owners = [OwnerEntry::plain(OwnerId(1))];
    let append = Append {
        owners: &owners,
        transient: false,
        weight: 0,
        payload: &[b"x"],
    };
    assert_eq!(log.batch().push(&append), Err(Refused::Failed));
    assert_eq!(read(&log, 1).len(), 2, "consumers go on");
    log.batch().release(OwnerId(1), &[position]);
    assert!(matches!(log.close(), Err(StorageError::Failed(_))));
}

#[test]
fn a_full_disk_loses_nothing_and_passes() {
    let disk = SimDisk::new(7);
    let (log, _) = open(&disk);
    disk.limit(disk.bytes() + 100);
    let mut pushed = 0;
    while !log.usage().full {
        push(&log, &[1], &[1; 900]);
        log.write_step();
        pushed += 1;
    }
    let refused = log.batch().push(&Append {
        owners: &[OwnerEntry::plain(OwnerId(1))],
        transient: false,
        weight: 0,
        payload: &[b"x"],
    });
    assert_eq!(refused, Err(Refused::Behind));
    assert!(log.failure().is_none());
    assert_eq!(read(&log, 1).len(), pushed, "what waits can be read");
    disk.limit(u64::MAX);
    keep_all(&log);
    assert!(!log.usage().full);
    push(&log, &[1], &[2; 900]);
    pushed += 1;
    log.write_step();
    assert_eq!(log.durable(), log.usage().last_position);
    disk.power_off();
    disk.power_on();
    let (log, _) = open(&disk);
    assert_eq!(read(&log, 1).len(), pushed);
}

#[test]
fn what_is_dead_goes_where_a_retirement_finds_no_room() {
    let disk = SimDisk::new(9);
    let (log, _) = open(&disk);
    let fill = |count: usize| -> Vec<LogPosition> {
        let push = |_| {
            let position = push(&log, &[1], &[3; 900]);
            log.write_step();
            position
        };
        (0..count).map(push).collect()
    };
    let first = fill(24);
    keep_all(&log);
    assert!(log.usage().segments > 0);
    let rest = fill(24);
    // Room for a manifest, and not for a segment.
    disk.limit(disk.bytes() + 1500);
    while log.keep_step(false).is_ok_and(|worked| worked) {}
    assert!(log.usage().full, "what is alive has no room to move to");
    log.batch().release(OwnerId(1), &first);
    log.write_step();
    let full_bytes = disk.bytes();
    while log.keep_step(false).is_ok_and(|worked| worked) {}
    assert!(disk.bytes() < full_bytes);
    assert!(!log.usage().full);
    assert!(log.failure().is_none());
    let found: Vec<u64> = read(&log, 1).iter().map(|m| m.0).collect();
    assert_eq!(found, rest.iter().map(|p| p.0).collect::<Vec<_>>());
}

#[test]
fn acks_reach_a_full_disk_and_make_room() {
    let disk = SimDisk::new(10);
    let (log, _) = open(&disk);
    let woken = Arc::new(AtomicBool::new(false));
    disk.limit(disk.bytes() + 40_000);
    let append = Append {
        owners: &[OwnerEntry::plain(OwnerId(1))],
        transient: false,
        weight: 0,
        payload: &[&[5; 900]],
    };
    let mut positions = Vec::new();
    loop {
        let pushed = log.batch().push(&append);
        log.write_step();
        while log.keep_step(false).is_ok_and(|worked| worked) {}
        match pushed {
            Ok(position) => positions.push(position),
            Err(refused) => break assert_eq!(refused, Refused::Behind),
        }
    }
    let waker = Arc::clone(&woken);
    log.wake_when_room(Arc::new(move || waker.store(true, Ordering::Relaxed)));
    assert!(log.usage().full && !woken.load(Ordering::Relaxed));
    assert_eq!(read(&log, 1).len(), positions.len());
    // The oldest first, one by one, as a consumer would.
    let half = positions.len() / 2;
    for position in &positions[..half] {
        log.batch().release(OwnerId(1), &[*position]);
        log.write_step();
        while log.keep_step(false).is_ok_and(|worked| worked) {}
    }
    assert!(!log.usage().full && woken.load(Ordering::Relaxed));
    assert!(log.failure().is_none());
    assert!(log.batch().push(&append).is_ok());
    log.write_step();
    log.close().unwrap();
    let (log, _) = open(&disk);
    assert_eq!(read(&log, 1).len(), positions.len() - half + 1);
}

#[test]
fn a_full_disk_opens_for_its_consumers() {
    let disk = SimDisk::new(11);
    let (log, _) = open(&disk);
    let positions: Vec<_> = (0..30)
        .map(|_| {
            let position = push(&log, &[1], &[6; 900]);
            log.write_step();
            keep_all(&log);
            position
        })
        .collect();
    drop(log);
    disk.power_off();
    disk.power_on();
    // Somebody else has taken the rest: there is no room for another log file.
    disk.limit(disk.bytes() + 2000);
    let (log, _) = open(&disk);
    assert_eq!(read(&log, 1).len(), 30);
    log.batch().release(OwnerId(1), &positions);
    log.write_step();
    while log.keep_step(true).is_ok_and(|worked| worked) {}
    assert!(!log.usage().full);
    assert!(log.failure().is_none());
}

#[test]
fn who_is_behind_is_told_and_woken() {
    let disk = SimDisk::new(8);
    let options = Options {
        buffer_bytes_max: 2000,
        ..options()
    };
    let (log, _) = Log::open(Arc::new(disk.clone()), options).unwrap();
    let owners = [OwnerEntry::plain(OwnerId(1))];
    let append = Append {
        owners: &owners,
        transient: false,
        weight: 0,
        payload: &[&[0; 500]],
    };
    while log.batch().push(&append).is_ok() {}
    assert_eq!(log.batch().push(&append), Err(Refused::Behind));
    let woken = Arc::new(AtomicBool::new(false));
    let waker = Arc::clone(&woken);
    log.wake_when_room(Arc::new(move || waker.store(true, Ordering::Relaxed)));
    assert!(!woken.load(Ordering::Relaxed));
    log.write_step();
    assert!(woken.load(Ordering::Relaxed));
    assert!(log.batch().push(&append).is_ok());
}

#[test]
fn transient_messages_are_gone_after_a_restart() {
    let disk = SimDisk::new(9);
    let (log, _) = open(&disk);
    let owners = [OwnerEntry::plain(OwnerId(1))];
    for n in 0..60u8 {
        let append = Append {
            owners: &owners,
            transient: n % 3 > 0,
            weight: 1,
            payload: &[&[n; 400]],
        };
        log.batch().push(&append).unwrap();
        log.write_step();
        log.keep_step(false).unwrap();
    }
    assert!(log.usage().segments > 0);
    assert_eq!(read(&log, 1).len(), 60);
    log.close().unwrap();
    let (log, recovery) = open(&disk);
    assert_eq!(recovery.owners[0].messages, 20);
    assert_eq!(recovery.owners[0].weight, 20);
    assert!(read(&log, 1).iter().all(|(_, payload)| payload[0] % 3 == 0));
    keep_all(&log);
    assert_eq!(read(&log, 1).len(), 20);
}

#[test]
fn the_threads_write_retire_and_end_cleanly_on_a_real_disk() {
    let directory = std::env::temp_dir().join(format!("storage-it-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&directory);
    let mut count = 0;
    for round in 0..3 {
        let disk = Arc::new(RealDisk::open(&directory).unwrap());
        assert!(RealDisk::open(&directory).is_err(), "it is locked");
        let options = Options {
            log_file_bytes: 64 << 10,
            ..Options::default()
        };
        let (log, recovery) = Log::open(disk, options).unwrap();
        assert!(recovery.clean == (round > 0));
        assert_eq!(log.messages(OwnerId(1)), count);
        let running = log.run().unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        let done = Arc::new(AtomicU64::new(0));
        for n in 0..300u64 {
            let position = push_when_room(&log, &[n as u8; 1000]);
            let sender = sender.clone();
            let done = Arc::clone(&done);
            log.wake_when_durable(
                position,
                Arc::new(move || {
                    done.fetch_add(1, Ordering::Relaxed);
                    let _ = sender.send(());
                }),
            );
            if n % 30 == 0 {
                receiver.recv().unwrap();
            }
            if n % 2 == 0 {
                log.batch().release(OwnerId(1), &[position]);
            } else {
                count += 1;
            }
        }
        while done.load(Ordering::Relaxed) < 300 {
            receiver.recv().unwrap();
        }
        assert_eq!(read(&log, 1).len() as u64, count);
        running.stop().unwrap();
    }
    std::fs::remove_dir_all(&directory).unwrap();
}
