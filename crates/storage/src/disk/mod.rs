//! The one door to files: a flat directory of named files.
//!
//! Two implementations: [`real::RealDisk`], and [`sim::SimDisk`], which forgets at a power cut what was not
//! synced. Deliberately absent: folders, but for one
//! level to set files aside in; streams, buffering, and any asynchronous form.

pub(crate) mod lenient;
pub mod real;
pub mod sim;

use std::io;
use std::sync::Arc;

/// A directory of files.
pub trait Disk: Send + Sync {
    /// The names of all files, in any order.
    fn list(&self) -> io::Result<Vec<String>>;
    /// Opens a file that exists.
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens a file, making it if need be, with nothing in it.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// Gives a file another name, replacing what had it. Atomic, but not durable before [`Disk::sync_names`].
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Makes a folder, if it is not there. What lies in it is named `folder/name`, and is not listed.
    fn make_folder(&self, name: &str) -> io::Result<()>;
    /// Gives a file a second name, which must be free. Whoever writes to one of them afterwards may change both.
    fn link(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a name.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes all names durable as they are now, those in folders made here too.
    fn sync_names(&self) -> io::Result<()>;
    /// What is left of the medium.
    fn space(&self) -> io::Result<Space>;
}

/// An open file.
pub trait DiskFile: Send + Sync {
    /// Its length in bytes.
    fn bytes(&self) -> io::Result<u64>;
    /// Fills `buffer` from `offset`, or fails with `UnexpectedEof`.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes the file `bytes` long, with blocks of the medium set aside for all of it.
    fn reserve(&self, bytes: u64) -> io::Result<()>;
    /// Makes contents and length durable. Never called again after it failed.
    fn sync(&self) -> io::Result<()>;
}

/// The medium's free and whole size in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// What an unprivileged process may still use.
    pub free_bytes: u64,
    /// The whole.
    pub total_bytes: u64,
}
