//! What a record costs: CPU of pushing and releasing 1 KiB records, and the throughput of group commit.
//!
//! Run by hand: `cargo run --release -p storage --example append [directory]`. The CPU is that of the calling thread,
//! by its own clock, so that a busy machine does not count; the disk is one that keeps nothing. With a directory,
//! records are also written and synced there, in batches of 1, 16 and 256.

#![allow(clippy::print_stdout, reason = "it prints what it measured")]

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use storage::disk::real::RealDisk;
use storage::disk::{Disk, DiskFile, Space};
use storage::{Append, Log, LogPosition, Options, OwnerEntry, OwnerId};

const RECORDS: usize = 400_000;
const BATCH: usize = 256;

/// Takes everything and keeps nothing: an open finds an empty directory.
struct NoDisk;

impl Disk for NoDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }
    fn open(&self, _: &str) -> io::Result<Arc<dyn DiskFile>> {
        Err(io::ErrorKind::NotFound.into())
    }
    fn create(&self, _: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(NoDisk))
    }
    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        Ok(())
    }
    fn make_folder(&self, _: &str) -> io::Result<()> {
        Ok(())
    }
    fn link(&self, _: &str, _: &str) -> io::Result<()> {
        Ok(())
    }
    fn remove(&self, _: &str) -> io::Result<()> {
        Ok(())
    }
    fn sync_names(&self) -> io::Result<()> {
        Ok(())
    }
    fn space(&self) -> io::Result<Space> {
        Ok(Space {
            free_bytes: u64::MAX,
            total_bytes: u64::MAX,
        })
    }
}

impl DiskFile for NoDisk {
    fn bytes(&self) -> io::Result<u64> {
        Ok(0)
    }
    fn read_at(&self, _: u64, buffer: &mut [u8]) -> io::Result<()> {
        buffer.fill(0);
        Ok(())
    }
    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
    fn reserve(&self, _: u64) -> io::Result<()> {
        Ok(())
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Nanoseconds of CPU that this thread has used.
fn cpu_ns() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the call writes to `time` and nothing else.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// 1 KiB for one queue.
const MESSAGE: Append<'_> = Append {
    owners: &[OwnerEntry::plain(OwnerId(1))],
    transient: false,
    weight: 1024,
    payload: &[&[7; 1024]],
};

fn cpu(release_each: bool) {
    let (log, _) = Log::open(Arc::new(NoDisk), Options::default()).expect("it takes everything");
    let (mut push_ns, mut release_ns) = (0, 0);
    let mut positions: Vec<LogPosition> = Vec::with_capacity(BATCH);
    for _ in 0..RECORDS / BATCH {
        positions.clear();
        let start = cpu_ns();
        let mut batch = log.batch();
        for _ in 0..BATCH {
            positions.push(batch.push(&MESSAGE).expect("there is room"));
        }
        drop(batch);
        push_ns += cpu_ns() - start;
        log.write_step();
        let start = cpu_ns();
        let mut batch = log.batch();
        if release_each {
            for position in &positions {
                batch.release(OwnerId(1), &[*position]);
            }
        } else {
            batch.release(OwnerId(1), &positions);
        }
        drop(batch);
        release_ns += cpu_ns() - start;
        log.write_step();
        while log.keep_step(false).expect("nothing fails") {}
    }
    let each = |ns: u64| ns as f64 / RECORDS as f64;
    let how = if release_each {
        "one by one"
    } else {
        "together"
    };
    println!(
        "CPU ns a record: push {:.0}, release {how} {:.0}",
        each(push_ns),
        each(release_ns)
    );
}

fn throughput(directory: &Path, batch_records: usize) {
    let directory = directory.join(format!("append-{batch_records}"));
    let disk = Arc::new(RealDisk::open(&directory).expect("the directory can be used"));
    let (log, _) = Log::open(disk, Options::default()).expect("it opens");
    let commits = (200_000 / batch_records).min(5_000);
    let start = Instant::now();
    let mut positions = Vec::new();
    for _ in 0..commits {
        positions.clear();
        let mut batch = log.batch();
        for _ in 0..batch_records {
            positions.push(batch.push(&MESSAGE).expect("there is room"));
        }
        batch.release(OwnerId(1), &positions);
        drop(batch);
        log.write_step();
        while log.keep_step(false).expect("nothing fails") {}
    }
    let seconds = start.elapsed().as_secs_f64();
    let records = (commits * batch_records) as f64;
    println!(
        "batches of {batch_records}: {:.0} records/s, {:.0} commits/s",
        records / seconds,
        commits as f64 / seconds
    );
    log.close().expect("the disk works");
    std::fs::remove_dir_all(&directory).expect("it was made here");
}

fn main() {
    for _ in 0..3 {
        cpu(false);
        cpu(true);
    }
    if let Some(directory) = std::env::args().nth(1) {
        for batch_records in [1, 16, 256] {
            throughput(Path::new(&directory), batch_records);
        }
    }
}
