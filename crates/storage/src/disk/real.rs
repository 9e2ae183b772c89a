//! The disk of the machine.
//!
//! Positioned reads and writes, `fdatasync`, `fallocate`. The directory is locked for as long as a
//! [`RealDisk`] lives, so that no two brokers (and no repair) work on it at once.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Disk, DiskFile, Space};

const LOCK_NAME: &str = "lock";

/// A directory on the machine's own disk, locked.
pub struct RealDisk {
    directory: PathBuf,
    handle: File,
    /// Holds the lock: the kernel lets go of it when the process ends, however it ends. `None`: nothing is
    /// written here, and there was no lock to share.
    _lock: Option<File>,
    writable: bool,
    /// Made here, and to be synced with the names.
    folders: Mutex<Vec<PathBuf>>,
}

impl RealDisk {
    /// Opens the directory, making it if it is not there, and locks it.
    ///
    /// # Errors
    /// `WouldBlock` when another process has it; else what the system says.
    pub fn open(directory: &Path) -> io::Result<Self> {
        if !directory.is_dir() {
            std::fs::create_dir_all(directory)?;
            if let Some(parent) = directory.parent().filter(|p| !p.as_os_str().is_empty()) {
                File::open(parent)?.sync_all()?;
            }
        }
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(directory.join(LOCK_NAME))?;
        lock.try_lock()
            .map_err(|error| lock_error(directory, error))?;
        Ok(RealDisk {
            directory: directory.to_owned(),
            handle: File::open(directory)?,
            _lock: Some(lock),
            writable: true,
            folders: Mutex::default(),
        })
    }

    /// Opens a directory that exists, to read it and no more. Others may read it too, but nobody write.
    ///
    /// # Errors
    /// `WouldBlock` when a broker has it; else what the system says.
    pub fn open_to_read(directory: &Path) -> io::Result<Self> {
        let handle = File::open(directory)?;
        let lock = match File::open(directory.join(LOCK_NAME)) {
            Ok(lock) => {
                lock.try_lock_shared()
                    .map_err(|error| lock_error(directory, error))?;
                Some(lock)
            }
            // A copy of the files alone.
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        Ok(RealDisk {
            directory: directory.to_owned(),
            handle,
            _lock: lock,
            writable: false,
            folders: Mutex::default(),
        })
    }

    fn check_writable(&self) -> io::Result<()> {
        if self.writable {
            return Ok(());
        }
        Err(io::Error::from(io::ErrorKind::ReadOnlyFilesystem))
    }
}

fn lock_error(directory: &Path, error: std::fs::TryLockError) -> io::Error {
    match error {
        std::fs::TryLockError::WouldBlock => io::Error::new(
            io::ErrorKind::WouldBlock,
            format!("{} is in use by another process", directory.display()),
        ),
        std::fs::TryLockError::Error(error) => error,
    }
}

impl Disk for RealDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string()
                && name != LOCK_NAME
                && entry.file_type()?.is_file()
            {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(self.writable)
            .open(self.directory.join(name))?;
        Ok(Arc::new(RealFile(file)))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.check_writable()?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(self.directory.join(name))?;
        Ok(Arc::new(RealFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.check_writable()?;
        std::fs::rename(self.directory.join(from), self.directory.join(to))
    }

    fn make_folder(&self, name: &str) -> io::Result<()> {
        self.check_writable()?;
        let path = self.directory.join(name);
        match std::fs::create_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => self.folders.lock().push(path),
        }
        Ok(())
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        self.check_writable()?;
        let (from, to) = (self.directory.join(from), self.directory.join(to));
        match std::fs::hard_link(&from, &to) {
            // Not every file system has a second name for a file.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::Unsupported | io::ErrorKind::PermissionDenied
                ) =>
            {
                let mut source = File::open(from)?;
                let mut copy = File::create_new(to)?;
                io::copy(&mut source, &mut copy)?;
                copy.sync_all()
            }
            result => result,
        }
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.check_writable()?;
        std::fs::remove_file(self.directory.join(name))
    }

    fn sync_names(&self) -> io::Result<()> {
        for folder in &*self.folders.lock() {
            File::open(folder)?.sync_all()?;
        }
        self.handle.sync_all()
    }

    fn space(&self) -> io::Result<Space> {
        let path = std::ffi::CString::new(self.directory.as_os_str().as_bytes())?;
        let mut stat = std::mem::MaybeUninit::<libc::statvfs>::uninit();
        // SAFETY: the path ends with a zero byte and `stat` is large enough for what the call writes.
        if unsafe { libc::statvfs(path.as_ptr(), stat.as_mut_ptr()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call returned success, so it has filled `stat`.
        let stat = unsafe { stat.assume_init() };
        Ok(Space {
            free_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
            total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
        })
    }
}

struct RealFile(File);

impl DiskFile for RealFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(buffer, offset)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn reserve(&self, bytes: u64) -> io::Result<()> {
        let length = libc::off_t::try_from(bytes)
            .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        loop {
            // SAFETY: the descriptor is open for as long as `self.0` lives, and no memory is passed.
            let result = unsafe { libc::fallocate(self.0.as_raw_fd(), 0, 0, length) };
            if result == 0 {
                return Ok(());
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::EINTR) => {}
                // Not every file system can set blocks aside; then only the length is set, and a full medium
                // shows at the write.
                Some(libc::EOPNOTSUPP | libc::ENOSYS) => {
                    if self.0.metadata()?.len() < bytes {
                        self.0.set_len(bytes)?;
                    }
                    return Ok(());
                }
                _ => return Err(error),
            }
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}
