//! What is used: of the disk by whatever is left alive, by a fan-out, and of reads by an open.

use std::sync::Arc;

use storage::disk::sim::{Chance, SimDisk};
use storage::{Append, Log, LogPosition, Options, OwnerEntry, OwnerId, Progress};

const LOG_FILE_BYTES: u64 = 16 << 10;
/// A record besides its payload: header, weight, one owner, padding.
const RECORD_OVERHEAD_BYTES: u64 = 24 + 4 + 8 + 7;
/// Of the index, for a part with one message.
const PART_BYTES: u64 = 64 + 16;

fn options() -> Options {
    Options {
        log_file_bytes: LOG_FILE_BYTES,
        ..Options::default()
    }
}

fn push(log: &Log, owners: &[u64], payload: &[u8]) -> LogPosition {
    let owners: Vec<OwnerEntry> = owners
        .iter()
        .map(|owner| OwnerEntry::plain(OwnerId(*owner)))
        .collect();
    let append = Append {
        owners: &owners,
        transient: false,
        weight: payload.len() as u32,
        payload: &[payload],
    };
    log.batch().push(&append).expect("there is room")
}

fn work(log: &Log) {
    log.write_step();
    while log.keep_step(true).expect("the disk works") {}
}

/// Messages that are alive: owner, position, bytes of the payload.
type Alive = Vec<(u64, LogPosition, u64)>;

/// The bound: twice what lives, two log files, and the reserve (half a log file) for a full medium; the manifest, and
/// headers and footers, beside.
fn check(disk: &SimDisk, log: &Log, alive: &Alive, what: &str) {
    let live: u64 = alive
        .iter()
        .map(|(_, _, bytes)| bytes + RECORD_OVERHEAD_BYTES)
        .sum();
    let parts = alive.len() as u64 * PART_BYTES;
    let manifest = disk
        .contents("manifest")
        .map_or(0, |bytes| bytes.len() as u64);
    let segments = log.usage().segments as u64 * 128;
    let log_files = 2 * LOG_FILE_BYTES + LOG_FILE_BYTES / 2;
    let bound = 2 * live + parts + log_files + manifest + segments;
    assert!(
        disk.bytes() <= bound,
        "{what}: {} bytes on disk, bound {bound}, live {live}, {:?}, {:?}",
        disk.bytes(),
        log.usage(),
        disk.list_names(),
    );
}

/// Publishes to some queues and then takes messages away in an order, looking at the disk all the time.
fn run(
    queues: u64,
    messages: u64,
    take: &mut dyn FnMut(&mut Chance, &Alive) -> Option<usize>,
    what: &str,
) {
    let disk = SimDisk::new(queues);
    let (log, _) = Log::open(Arc::new(disk.clone()), options()).unwrap();
    let mut chance = Chance::new(messages);
    let mut alive: Alive = Vec::new();
    for n in 0..messages {
        let bytes = 200 + chance.below(1000);
        let owner = n % queues;
        alive.push((
            owner,
            push(&log, &[owner], &vec![n as u8; bytes as usize]),
            bytes,
        ));
        if n % 8 == 0 {
            work(&log);
            check(&disk, &log, &alive, what);
        }
    }
    let mut taken = 0;
    while let Some(index) = take(&mut chance, &alive) {
        let (owner, position, _) = alive.remove(index);
        log.batch().release(OwnerId(owner), &[position]);
        taken += 1;
        if taken % 10 == 0 {
            work(&log);
            check(&disk, &log, &alive, what);
        }
    }
    work(&log);
    log.check_invariants();
    check(&disk, &log, &alive, what);
    let (log, recovery) = {
        log.close().unwrap();
        Log::open(Arc::new(disk.clone()), options()).unwrap()
    };
    let messages: u64 = recovery.owners.iter().map(|owner| owner.messages).sum();
    assert_eq!(messages, alive.len() as u64, "{what}");
    work(&log);
    check(&disk, &log, &alive, what);
}

#[test]
fn the_disk_holds_twice_what_lives_whatever_the_order_of_acks() {
    for queues in [1, 7, 100] {
        let mut first = |_: &mut Chance, alive: &Alive| (!alive.is_empty()).then_some(0);
        run(queues, 400, &mut first, &format!("fifo, {queues} queues"));
        let mut last = |_: &mut Chance, alive: &Alive| alive.len().checked_sub(1);
        run(queues, 400, &mut last, &format!("lifo, {queues} queues"));
        let mut any = |chance: &mut Chance, alive: &Alive| {
            (!alive.is_empty()).then(|| chance.below(alive.len() as u64) as usize)
        };
        run(queues, 400, &mut any, &format!("random, {queues} queues"));
        // The first message of each queue is never acked.
        let mut stuck = |_: &mut Chance, alive: &Alive| {
            alive
                .iter()
                .position(|(_, position, _)| position.0 > queues)
        };
        run(
            queues,
            400,
            &mut stuck,
            &format!("one stuck, {queues} queues"),
        );
    }
    let mut none = |_: &mut Chance, _: &Alive| None;
    run(
        1000,
        1000,
        &mut none,
        "a thousand queues with a message each",
    );
}

#[test]
fn a_fan_out_to_a_thousand_is_written_once() {
    let disk = SimDisk::new(4);
    let options = Options {
        log_file_bytes: 256 << 10,
        ..Options::default()
    };
    let (log, _) = Log::open(Arc::new(disk.clone()), options).unwrap();
    let owners: Vec<u64> = (1..=1000).collect();
    let before = disk.bytes_written();
    push(&log, &owners, &[5; 1024]);
    log.write_step();
    // A mark, and a record: header, weight, owners, payload, padded to 8.
    let record = (24 + 4 + 1000 * 8 + 1024_u64).next_multiple_of(8);
    assert_eq!(disk.bytes_written() - before, 40 + record);
    // Acks: for each queue a header, its number and one run.
    let before = disk.bytes_written();
    for owner in &owners[..999] {
        log.batch().release(OwnerId(*owner), &[LogPosition(1)]);
    }
    log.write_step();
    let release = (24 + 8 + 2_u64).next_multiple_of(8);
    assert_eq!(disk.bytes_written() - before, 40 + 999 * release);
    // What moves to a segment is one copy with one owner left.
    while log.usage().log_files < 3 {
        let position = push(&log, &[2000], &[1; 60_000]);
        log.batch().release(OwnerId(2000), &[position]);
        log.write_step();
    }
    work(&log);
    let usage = log.usage();
    assert_eq!(usage.segments, 1);
    let narrowed = (24 + 4 + 8 + 1024_u64).next_multiple_of(8);
    assert_eq!(usage.segment_bytes_live, narrowed);
    assert!(
        usage.segment_bytes < narrowed + 64 + 16 + 64 + 64,
        "{usage:?}"
    );
}

/// Bytes that an open reads with so many messages in segments, and how many files it says it has read.
fn opening(messages: u64, bytes: usize, queues: u64) -> (u64, u64, Progress) {
    let disk = SimDisk::new(messages);
    let options = Options {
        log_file_bytes: 64 << 10,
        ..Options::default()
    };
    let (log, _) = Log::open(Arc::new(disk.clone()), options.clone()).unwrap();
    for n in 0..messages {
        push(&log, &[n % queues], &vec![1; bytes]);
        if n % 16 == 0 {
            work(&log);
        }
    }
    // So that everything is in segments.
    for _ in 0..3 {
        for _ in 0..60 {
            let position = push(&log, &[queues], &[1; 1000]);
            log.batch().release(OwnerId(queues), &[position]);
            log.write_step();
        }
        work(&log);
    }
    log.close().unwrap();
    let segments = log.usage().segments as u64;
    let before = disk.bytes_read().0;
    let mut progress = Progress {
        files_done: 0,
        files: 0,
    };
    let shared = Arc::new(disk.clone());
    let (_, recovery) =
        Log::open_with_progress(shared, options, &mut |now| progress = now).unwrap();
    let held: u64 = recovery.owners.iter().map(|owner| owner.messages).sum();
    assert_eq!(held, messages);
    (disk.bytes_read().0 - before, segments, progress)
}

#[test]
fn an_open_reads_footers_and_ranges_and_no_messages() {
    // The log files are read whole: two of 64 KiB, and what a manifest says of a segment.
    let log_bytes = 2 * (64 << 10) + 4096;
    for (messages, bytes, queues) in [
        (1000, 1000, 1),
        (4000, 1000, 1),
        (4000, 1000, 20),
        (1000, 4000, 20),
    ] {
        let (read, segments, progress) = opening(messages, bytes, queues);
        assert!(
            segments > 10,
            "{messages} messages are in {segments} segments"
        );
        // Header, footer, directory: 64 bytes each, and an entry a queue; the manifest names it with 32.
        let bound = log_bytes + segments * (64 + 64 + 64 * queues + 32);
        assert!(
            read <= bound,
            "{messages} of {bytes} bytes in {queues} queues: read {read}, bound {bound}"
        );
        assert!(progress.files_done == progress.files && progress.files as u64 > segments);
    }
}
