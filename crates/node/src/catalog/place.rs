//! The place of the catalog: the data directory, the lock on it, the store's file, and what can be wrong.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// The store's file in the data directory.
pub const CATALOG_FILE: &str = "catalog.redb";
/// Held locked as long as a broker uses the data directory; holds its process id.
pub const LOCK_FILE: &str = "lock";

/// The layout of the tables as a whole. Single records have versions of their own.
pub(super) const FORMAT_VERSION: u64 = 2;

/// Why a catalog cannot be opened. Each says so in one line.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The data directory, or a file in it, cannot be made or opened.
    #[error("cannot use data directory {}: {path}: {source}", dir.display(), path = path.display())]
    Unusable {
        /// The data directory.
        dir: PathBuf,
        /// What could not be made or opened.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// Another process uses the data directory.
    #[error("data directory {} is in use by another process{}", dir.display(), pid_text(*pid))]
    InUse {
        /// The data directory.
        dir: PathBuf,
        /// The other process, if it has said who it is.
        pid: Option<u32>,
    },
    /// The store does not open or does not read.
    #[error("cannot read {}: {source}", file.display())]
    Store {
        /// The store's file.
        file: PathBuf,
        /// What the store says.
        source: Box<redb::Error>,
    },
    /// The store was damaged since it was last written.
    #[error("{} is damaged: {what}", file.display())]
    Damaged {
        /// The store's file.
        file: PathBuf,
        /// Where, and how.
        what: String,
    },
    /// A newer program has written the store.
    #[error("{} has format {format}, and this program reads up to {FORMAT_VERSION}", file.display())]
    TooNew {
        /// The store's file.
        file: PathBuf,
        /// Its format.
        format: u64,
    },
}

fn pid_text(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(" (pid {pid})"))
}

/// A data directory that is ours.
pub(super) struct Place {
    /// Locked; other processes stay out until it is closed.
    pub(super) lock: File,
    /// Where the store is.
    pub(super) file: PathBuf,
    /// The store, open.
    pub(super) handle: File,
}

impl Place {
    /// Makes and locks the directory and opens the store's file.
    pub(super) fn take(data_dir: &Path) -> Result<Place, CatalogError> {
        let unusable = |path: &Path| {
            let (dir, path) = (data_dir.to_owned(), path.to_owned());
            move |source| CatalogError::Unusable { dir, path, source }
        };
        // Password hashes are in there: nobody else's business.
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(data_dir)
            .map_err(unusable(data_dir))?;
        let lock = lock(data_dir, unusable)?;
        let file = data_dir.join(CATALOG_FILE);
        let handle = open_private(&file).map_err(unusable(&file))?;
        // The file's name must outlive a crash as its contents do.
        File::open(data_dir)
            .and_then(|dir| dir.sync_all())
            .map_err(unusable(data_dir))?;
        Ok(Place { lock, file, handle })
    }
}

/// Opens a file that only its owner may read, making it if need be.
fn open_private(path: &Path) -> std::io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

fn lock<E: FnOnce(std::io::Error) -> CatalogError>(
    data_dir: &Path,
    unusable: impl Fn(&Path) -> E,
) -> Result<File, CatalogError> {
    let path = data_dir.join(LOCK_FILE);
    let mut file = open_private(&path).map_err(unusable(&path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            // Who holds it is a courtesy: a text that cannot be read leaves the error as clear.
            let _ = (&mut file).take(32).read_to_string(&mut text);
            return Err(CatalogError::InUse {
                dir: data_dir.to_owned(),
                pid: text.trim().parse().ok(),
            });
        }
        Err(TryLockError::Error(source)) => return Err(unusable(&path)(source)),
    }
    let write = |file: &mut File| {
        file.set_len(0)?;
        writeln!(file, "{}", std::process::id())
    };
    write(&mut file).map_err(unusable(&path))?;
    Ok(file)
}
