//! A data directory without its broker: keeping brokers out of it, and reading the catalog without a trace.
//!
//! For the tools that look at what a broker left behind. Deliberately absent: any change to the catalog.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Read as _;
use std::path::Path;

use redb::StorageBackend as _;
use redb::backends::InMemoryBackend;

use super::change::Stored;
use super::place::{CATALOG_FILE, CatalogError, LOCK_FILE};
use super::store::Store;

/// What is read at once when the file is copied to memory.
const BLOCK_BYTES: usize = 1 << 20;

/// Keeps brokers out of a data directory for as long as it lives.
#[derive(Debug)]
pub struct OfflineHold {
    _lock: Option<File>,
}

/// What the holder of a data directory means to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldFor {
    /// Others may read it too.
    Reading,
    /// Nobody else may have it.
    Changing,
}

/// Holds a data directory that exists. Nothing is made in it: where no broker ever ran there is nothing to hold.
///
/// # Errors
/// If a broker uses it, or it cannot be opened.
pub fn hold_offline(data_dir: &Path, hold: HoldFor) -> Result<OfflineHold, CatalogError> {
    let unusable = |path: &Path, source| CatalogError::Unusable {
        dir: data_dir.to_owned(),
        path: path.to_owned(),
        source,
    };
    File::open(data_dir).map_err(|error| unusable(data_dir, error))?;
    let path = data_dir.join(LOCK_FILE);
    let mut file = match OpenOptions::new().read(true).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(OfflineHold { _lock: None });
        }
        Err(error) => return Err(unusable(&path, error)),
    };
    let locked = match hold {
        HoldFor::Reading => file.try_lock_shared(),
        HoldFor::Changing => file.try_lock(),
    };
    match locked {
        Ok(()) => Ok(OfflineHold { _lock: Some(file) }),
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            // Who holds it is a courtesy: a text that cannot be read leaves the error as clear.
            let _ = (&mut file).take(32).read_to_string(&mut text);
            Err(CatalogError::InUse {
                dir: data_dir.to_owned(),
                pid: text.trim().parse().ok(),
            })
        }
        Err(TryLockError::Error(error)) => Err(unusable(&path, error)),
    }
}

/// What the catalog says. The store would finish what a crash left unfinished, so a copy in memory is read, and
/// the file stays as it is.
///
/// # Errors
/// If the file is not there, cannot be read, is damaged or too new.
pub fn read_offline(data_dir: &Path) -> Result<Stored, CatalogError> {
    let path = data_dir.join(CATALOG_FILE);
    let backend = copy(&path).map_err(|source| CatalogError::Unusable {
        dir: data_dir.to_owned(),
        path: path.clone(),
        source,
    })?;
    let (_, stored) = Store::with_backend(backend)?;
    Ok(stored)
}

fn copy(path: &Path) -> std::io::Result<InMemoryBackend> {
    let mut file = File::open(path)?;
    let backend = InMemoryBackend::new();
    let mut block = vec![0; BLOCK_BYTES];
    let mut offset = 0;
    loop {
        let read = file.read(&mut block)?;
        if read == 0 {
            return Ok(backend);
        }
        backend.set_len(offset + read as u64)?;
        backend.write(offset, block.get(..read).unwrap_or_default())?;
        offset += read as u64;
    }
}
