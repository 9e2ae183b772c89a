//! A disk that loses power.
//!
//! It keeps, at a power cut, only what was synced; of the rest each 512-byte sector is kept in one of the
//! versions it went through, at random, each file's length likewise, and each change of a name or not. A sync
//! that fails leaves its sectors in doubt for good. All chance comes from one seed: same calls, same disk.
//! It exists for tests, of this crate and of those above it. Deliberately absent: time, and concurrency beyond
//! one lock.

#![allow(
    clippy::indexing_slicing,
    reason = "it reads nothing but its own memory, and a wrong index should end the test"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Disk, DiskFile, Space};
use crate::limits::SECTOR_BYTES;

/// What happens at a chosen operation. Only operations that change something are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The machine loses power in the middle of it; nothing works until [`SimDisk::power_on`].
    PowerCut,
    /// This one fails with EIO.
    Io,
    /// This one fails with ENOSPC, having done part of it.
    Full,
}

/// SplitMix64: small, good enough, and the same everywhere.
#[derive(Debug, Clone)]
pub struct Chance(u64);

impl Chance {
    /// Starts from a seed.
    pub fn new(seed: u64) -> Self {
        Chance(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next_u64() % bound
    }

    /// True once in `n` times.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

#[derive(Debug, Default, Clone)]
struct Inode {
    durable: Vec<u8>,
    volatile: Vec<u8>,
    /// What each unsynced sector went through, oldest first; a sector may be shorter at the file's end.
    versions: BTreeMap<usize, Vec<Vec<u8>>>,
}

#[derive(Debug, Clone)]
enum NameChange {
    Link(String, u64),
    Rename(String, String, u64),
    Unlink(String),
}

#[derive(Clone)]
struct State {
    chance: Chance,
    names: BTreeMap<String, u64>,
    names_durable: BTreeMap<String, u64>,
    names_changed: Vec<NameChange>,
    inodes: BTreeMap<u64, Inode>,
    inode_next: u64,
    operations: u64,
    fault: Option<(u64, Fault)>,
    off: bool,
    bytes_max: u64,
    bytes_written: u64,
    bytes_read: u64,
    reads: u64,
    /// Sectors that cannot be read, by file.
    unreadable: BTreeSet<(u64, u64)>,
}

type Hook = Box<dyn FnMut(u64) + Send>;

/// See the module.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
    hook: Arc<Mutex<Option<Hook>>>,
}

impl SimDisk {
    /// An empty disk.
    pub fn new(seed: u64) -> Self {
        let state = State {
            chance: Chance::new(seed),
            names: BTreeMap::new(),
            names_durable: BTreeMap::new(),
            names_changed: Vec::new(),
            inodes: BTreeMap::new(),
            inode_next: 1,
            operations: 0,
            fault: None,
            off: false,
            bytes_max: u64::MAX,
            bytes_written: 0,
            bytes_read: 0,
            reads: 0,
            unreadable: BTreeSet::new(),
        };
        SimDisk {
            state: Arc::new(Mutex::new(state)),
            hook: Arc::new(Mutex::new(None)),
        }
    }

    /// Operations so far that changed something.
    pub fn operations(&self) -> u64 {
        self.state.lock().operations
    }

    /// Plans a fault for the operation with this number (the next one is `operations()`).
    pub fn plan(&self, operation: u64, fault: Fault) {
        self.state.lock().fault = Some((operation, fault));
    }

    /// Takes a planned fault back.
    pub fn plan_nothing(&self) {
        self.state.lock().fault = None;
    }

    /// Bounds the bytes of all files together; beyond, writes fail with ENOSPC.
    pub fn limit(&self, bytes_max: u64) {
        self.state.lock().bytes_max = bytes_max;
    }

    /// Called before each operation that changes something, with its number, and with no lock held: a way to
    /// do other things in the middle of a long one.
    pub fn on_operation(&self, hook: Option<Hook>) {
        *self.hook.lock() = hook;
    }

    /// Whether the power is off.
    pub fn is_off(&self) -> bool {
        self.state.lock().off
    }

    /// Bytes in all files together.
    pub fn bytes(&self) -> u64 {
        self.state.lock().bytes()
    }

    /// Bytes written since the disk was made.
    pub fn bytes_written(&self) -> u64 {
        self.state.lock().bytes_written
    }

    /// Bytes read since the disk was made, and in how many reads.
    pub fn bytes_read(&self) -> (u64, u64) {
        let state = self.state.lock();
        (state.bytes_read, state.reads)
    }

    /// Makes a sector of a file unreadable: every read that touches it fails with EIO.
    pub fn spoil(&self, name: &str, sector: u64) {
        let state = &mut *self.state.lock();
        if let Some(number) = state.names.get(name) {
            state.unreadable.insert((*number, sector));
        }
    }

    /// The sectors that cannot be read, by file.
    pub fn spoiled(&self) -> Vec<(String, u64)> {
        let state = self.state.lock();
        let names = state.names.iter();
        let spoiled = names.flat_map(|(name, number)| {
            let sectors = state.unreadable.range((*number, 0)..(*number + 1, 0));
            sectors.map(move |(_, sector)| (name.clone(), *sector))
        });
        spoiled.collect()
    }

    /// A disk of its own that is now as this one is.
    pub fn copy(&self) -> SimDisk {
        SimDisk {
            state: Arc::new(Mutex::new(self.state.lock().clone())),
            hook: Arc::new(Mutex::new(None)),
        }
    }

    /// Cuts the power now.
    pub fn power_off(&self) {
        self.state.lock().off = true;
    }

    /// Turns it on again, with what survived.
    pub fn power_on(&self) {
        let state = &mut *self.state.lock();
        state.off = false;
        state.fault = None;
        // A journalling file system keeps a prefix of the changes of names; a weaker one any selection.
        let changes = std::mem::take(&mut state.names_changed);
        let prefix = if state.chance.one_in(2) {
            Some(state.chance.below(changes.len() as u64 + 1) as usize)
        } else {
            None
        };
        for (index, change) in changes.into_iter().enumerate() {
            let kept = match prefix {
                Some(prefix) => index < prefix,
                None => state.chance.one_in(2),
            };
            if kept {
                change.apply(&mut state.names_durable);
            }
        }
        state.names = state.names_durable.clone();
        let live: Vec<u64> = state.names.values().copied().collect();
        state.inodes.retain(|inode, _| live.contains(inode));
        for inode in state.inodes.values_mut() {
            inode.lose(&mut state.chance);
        }
    }

    /// The bytes of a file, or nothing if it is not there.
    pub fn contents(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state.lock();
        let inode = state.names.get(name)?;
        state.inodes.get(inode).map(|inode| inode.volatile.clone())
    }

    /// The names of all files.
    pub fn list_names(&self) -> Vec<String> {
        self.state.lock().names.keys().cloned().collect()
    }

    /// Puts a file there, durably: for tests that damage one.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        let state = &mut *self.state.lock();
        let number = state.inode_next;
        state.inode_next += 1;
        let inode = Inode {
            durable: bytes.to_vec(),
            volatile: bytes.to_vec(),
            versions: BTreeMap::new(),
        };
        state.inodes.insert(number, inode);
        state.names.insert(name.to_owned(), number);
        state.names_durable.insert(name.to_owned(), number);
    }

    fn change<T>(
        &self,
        act: impl FnOnce(&mut State, Option<Fault>) -> io::Result<T>,
    ) -> io::Result<T> {
        // The hook may itself use the disk, so it is taken out while it runs, and does not see itself.
        let hook = self.hook.lock().take();
        if let Some(mut hook) = hook {
            let number = self.operations();
            hook(number);
            let mut slot = self.hook.lock();
            if slot.is_none() {
                *slot = Some(hook);
            }
        }
        let state = &mut *self.state.lock();
        state.check_power()?;
        let number = state.operations;
        state.operations += 1;
        let fault = state
            .fault
            .filter(|(planned, _)| *planned == number)
            .map(|(_, fault)| fault);
        let result = act(state, fault);
        match fault {
            Some(Fault::PowerCut) => {
                state.off = true;
                Err(io::Error::other("no power"))
            }
            Some(Fault::Io) => Err(io::Error::from_raw_os_error(libc::EIO)),
            Some(Fault::Full) => Err(io::Error::from_raw_os_error(libc::ENOSPC)),
            None => result,
        }
    }
}

impl State {
    fn check_power(&self) -> io::Result<()> {
        if self.off {
            return Err(io::Error::other("no power"));
        }
        Ok(())
    }

    fn bytes(&self) -> u64 {
        let lengths = self.names.values().filter_map(|n| self.inodes.get(n));
        lengths.map(|inode| inode.volatile.len() as u64).sum()
    }

    fn grow(&mut self, number: u64, length: usize) -> io::Result<()> {
        let all = self.bytes();
        let inode = self.inodes.entry(number).or_default();
        let more = length.saturating_sub(inode.volatile.len());
        if more > 0 {
            if all + more as u64 > self.bytes_max {
                return Err(io::Error::from_raw_os_error(libc::ENOSPC));
            }
            inode.volatile.resize(length, 0);
        }
        Ok(())
    }
}

impl NameChange {
    fn apply(self, names: &mut BTreeMap<String, u64>) {
        match self {
            NameChange::Link(name, inode) => {
                names.insert(name, inode);
            }
            NameChange::Rename(from, to, inode) => {
                // The old name may by now be another file's.
                if names.get(&from) == Some(&inode) {
                    names.remove(&from);
                }
                names.insert(to, inode);
            }
            NameChange::Unlink(name) => {
                names.remove(&name);
            }
        }
    }
}

impl Inode {
    fn write(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        self.volatile[offset..end].copy_from_slice(bytes);
        for sector in offset / SECTOR_BYTES..end.div_ceil(SECTOR_BYTES) {
            let start = sector * SECTOR_BYTES;
            let stop = (start + SECTOR_BYTES).min(self.volatile.len());
            let version = self.volatile[start..stop].to_vec();
            self.versions.entry(sector).or_default().push(version);
        }
    }

    fn sync(&mut self) {
        self.durable.clone_from(&self.volatile);
        self.versions.clear();
    }

    /// The power is gone: what is on the medium now?
    fn lose(&mut self, chance: &mut Chance) {
        if self.volatile.len() > self.durable.len() && !chance.one_in(4) {
            self.durable.resize(self.volatile.len(), 0);
        } else if self.volatile.len() < self.durable.len() && chance.one_in(2) {
            self.durable.truncate(self.volatile.len());
        }
        // Now and then nothing or everything made it; else each sector for itself.
        let mood = chance.below(6);
        for (sector, versions) in std::mem::take(&mut self.versions) {
            let pick = match mood {
                0 => 0,
                1 => versions.len() as u64,
                _ => chance.below(versions.len() as u64 + 1),
            };
            let Some(version) = (pick as usize)
                .checked_sub(1)
                .and_then(|pick| versions.get(pick))
            else {
                continue;
            };
            let start = sector * SECTOR_BYTES;
            let stop = (start + version.len()).min(self.durable.len());
            if start < stop {
                self.durable[start..stop].copy_from_slice(&version[..stop - start]);
            }
        }
        self.volatile.clone_from(&self.durable);
    }
}

impl Disk for SimDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let state = self.state.lock();
        state.check_power()?;
        let names = state.names.keys();
        Ok(names.filter(|name| !name.contains('/')).cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let state = self.state.lock();
        state.check_power()?;
        let number = *state.names.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(SimFile {
            disk: self.clone(),
            number,
        }))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let number = self.change(|state, fault| {
            if fault.is_some() {
                return Ok(0);
            }
            if let Some(number) = state.names.get(name) {
                let inode = state.inodes.entry(*number).or_default();
                inode.volatile.clear();
                return Ok(*number);
            }
            let number = state.inode_next;
            state.inode_next += 1;
            state.inodes.insert(number, Inode::default());
            state.names.insert(name.to_owned(), number);
            let change = NameChange::Link(name.to_owned(), number);
            state.names_changed.push(change);
            Ok(number)
        })?;
        Ok(Arc::new(SimFile {
            disk: self.clone(),
            number,
        }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.change(|state, fault| {
            if matches!(fault, Some(Fault::Io | Fault::Full)) {
                return Ok(());
            }
            let number = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
            state.names.insert(to.to_owned(), number);
            let change = NameChange::Rename(from.to_owned(), to.to_owned(), number);
            state.names_changed.push(change);
            Ok(())
        })
    }

    fn make_folder(&self, _name: &str) -> io::Result<()> {
        self.change(|_, _| Ok(()))
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        self.change(|state, fault| {
            if matches!(fault, Some(Fault::Io | Fault::Full)) {
                return Ok(());
            }
            if state.names.contains_key(to) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            let number = *state.names.get(from).ok_or(io::ErrorKind::NotFound)?;
            state.names.insert(to.to_owned(), number);
            let change = NameChange::Link(to.to_owned(), number);
            state.names_changed.push(change);
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.change(|state, fault| {
            if matches!(fault, Some(Fault::Io | Fault::Full)) {
                return Ok(());
            }
            state.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
            state
                .names_changed
                .push(NameChange::Unlink(name.to_owned()));
            Ok(())
        })
    }

    fn sync_names(&self) -> io::Result<()> {
        self.change(|state, fault| {
            if fault.is_none() {
                state.names_changed.clear();
                state.names_durable = state.names.clone();
            }
            Ok(())
        })
    }

    fn space(&self) -> io::Result<Space> {
        let state = self.state.lock();
        Ok(Space {
            free_bytes: state.bytes_max.saturating_sub(state.bytes()),
            total_bytes: state.bytes_max,
        })
    }
}

struct SimFile {
    disk: SimDisk,
    number: u64,
}

impl DiskFile for SimFile {
    fn bytes(&self) -> io::Result<u64> {
        let state = self.disk.state.lock();
        state.check_power()?;
        Ok(state
            .inodes
            .get(&self.number)
            .map_or(0, |i| i.volatile.len() as u64))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let state = &mut *self.disk.state.lock();
        state.check_power()?;
        state.reads += 1;
        state.bytes_read += buffer.len() as u64;
        let sectors = offset / SECTOR_BYTES as u64
            ..(offset + buffer.len() as u64).div_ceil(SECTOR_BYTES as u64);
        let mut touched = state
            .unreadable
            .range((self.number, sectors.start)..(self.number, sectors.end));
        if touched.next().is_some() {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        let inode = state
            .inodes
            .get(&self.number)
            .ok_or(io::ErrorKind::NotFound)?;
        let start = offset as usize;
        let bytes = inode
            .volatile
            .get(start..start + buffer.len())
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(bytes);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.disk.change(|state, fault| {
            // What fails has done a part.
            let part = match fault {
                None => bytes.len(),
                Some(_) => state.chance.below(bytes.len() as u64 + 1) as usize,
            };
            let bytes = &bytes[..part];
            state.grow(self.number, offset as usize + part)?;
            state.bytes_written += part as u64;
            let inode = state.inodes.entry(self.number).or_default();
            inode.write(offset as usize, bytes);
            Ok(())
        })
    }

    fn reserve(&self, bytes: u64) -> io::Result<()> {
        self.disk.change(|state, fault| {
            if matches!(fault, Some(Fault::Io | Fault::Full)) {
                return Ok(());
            }
            state.grow(self.number, bytes as usize)
        })
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.change(|state, fault| {
            // A failed sync leaves the sectors in doubt.
            if fault.is_none() {
                state.inodes.entry(self.number).or_default().sync();
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn synced_bytes_survive_and_names_need_their_own_sync() {
        let mut lost = 0;
        for seed in 0..50 {
            let disk = SimDisk::new(seed);
            let file = disk.create("a").unwrap();
            file.write_at(0, &[1; 2000]).unwrap();
            file.sync().unwrap();
            disk.sync_names().unwrap();
            let other = disk.create("b").unwrap();
            other.write_at(0, b"bytes").unwrap();
            other.sync().unwrap();
            file.write_at(1000, &[2; 1000]).unwrap();
            disk.power_off();
            assert!(file.sync().is_err());
            disk.power_on();
            let bytes = disk.contents("a").unwrap();
            assert_eq!(bytes[..1000], [1; 1000]);
            lost += u32::from(disk.contents("b").is_none());
        }
        assert!(0 < lost && lost < 50);
    }
}
