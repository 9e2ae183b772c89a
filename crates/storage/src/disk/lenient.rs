//! A disk whose unreadable sectors read as zeros, for those who look at damage.
//!
//! Nothing that matters is taken for whole without its checksum, so a zeroed sector shows as the damage that it
//! is, with file and offset. An open does not use this: it reports the error and stops.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Disk, DiskFile, Space};
use crate::limits::SECTOR_BYTES;

pub(crate) struct LenientDisk<'a> {
    disk: &'a dyn Disk,
    unreadable: Arc<Mutex<Unreadable>>,
}

/// By file and offset of the sector, what the disk said.
type Unreadable = BTreeMap<(String, u64), String>;

impl<'a> LenientDisk<'a> {
    pub(crate) fn new(disk: &'a dyn Disk) -> Self {
        LenientDisk {
            disk,
            unreadable: Arc::default(),
        }
    }

    /// The sectors that could not be read so far, with what the disk said.
    pub(crate) fn unreadable(&self) -> Vec<(String, u64, String)> {
        let unreadable = self.unreadable.lock();
        let sectors = unreadable.iter();
        sectors
            .map(|((file, offset), error)| (file.clone(), *offset, error.clone()))
            .collect()
    }
}

impl Disk for LenientDisk<'_> {
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(LenientFile {
            name: name.to_owned(),
            file: self.disk.open(name)?,
            unreadable: Arc::clone(&self.unreadable),
        }))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.disk.create(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn make_folder(&self, name: &str) -> io::Result<()> {
        self.disk.make_folder(name)
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.link(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_names(&self) -> io::Result<()> {
        self.disk.sync_names()
    }

    fn space(&self) -> io::Result<Space> {
        self.disk.space()
    }
}

struct LenientFile {
    name: String,
    file: Arc<dyn DiskFile>,
    unreadable: Arc<Mutex<Unreadable>>,
}

impl DiskFile for LenientFile {
    fn bytes(&self) -> io::Result<u64> {
        self.file.bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        match self.file.read_at(offset, buffer) {
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {}
            result => return result,
        }
        let mut at = offset;
        let mut rest = buffer;
        while !rest.is_empty() {
            let in_sector = SECTOR_BYTES - (at % SECTOR_BYTES as u64) as usize;
            let (part, behind) = rest.split_at_mut(in_sector.min(rest.len()));
            match self.file.read_at(at, part) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(error),
                Err(error) => {
                    part.fill(0);
                    let sector = at - at % SECTOR_BYTES as u64;
                    let mut unreadable = self.unreadable.lock();
                    unreadable.insert((self.name.clone(), sector), error.to_string());
                }
                Ok(()) => {}
            }
            at += part.len() as u64;
            rest = behind;
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(offset, bytes)
    }

    fn reserve(&self, bytes: u64) -> io::Result<()> {
        self.file.reserve(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}
