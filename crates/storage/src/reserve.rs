//! Room on the medium that is set aside for when there is none: acks must reach a full medium, for only they make
//! room there.
//!
//! While the file lies there messages are taken. When a write finds the medium full, it is given up, the write is tried
//! again, and until the keeper has made it anew only notes are taken. Deliberately absent: records. There are none in it.

use crate::StorageError;
use crate::disk::Disk;
use crate::error::is_full;
use crate::log::Shared;

pub(crate) const NAME: &str = "reserve";

/// Sets the room aside, unless it is already. Gives whether there was any.
///
/// # Errors
/// What the disk said, but for that it is full.
pub(crate) fn make(disk: &dyn Disk, bytes: u64) -> Result<bool, StorageError> {
    let made = match disk.open(NAME) {
        Ok(file) => Ok(file),
        Err(_) => disk.create(NAME),
    };
    let made = made.and_then(|file| match file.bytes()? {
        enough if bytes <= enough => Ok(()),
        _ => file.reserve(bytes),
    });
    match made {
        Ok(()) => Ok(true),
        Err(error) if is_full(&error) => {
            // If it stays, it takes no more room than it found, and grows at the next try.
            let _ = disk.remove(NAME);
            Ok(false)
        }
        Err(error) => Err(StorageError::disk(NAME, error)),
    }
}

impl Shared {
    /// Gives the room up. Gives whether there was any.
    pub(crate) fn give_up_reserve(&self) -> bool {
        let had = std::mem::replace(&mut self.inner.lock().reserved, false);
        // It may not have reached the medium: then nothing is gained, and the next write says so.
        had && self.disk.remove(NAME).is_ok()
    }

    /// Sets room aside again, once there is some.
    pub(crate) fn restore_reserve(&self) -> Result<(), StorageError> {
        if self.inner.lock().reserved {
            return Ok(());
        }
        let made = make(&*self.disk, self.options.reserve_bytes())?;
        self.inner.lock().reserved = made;
        if made {
            self.wake_room();
        }
        Ok(())
    }
}
