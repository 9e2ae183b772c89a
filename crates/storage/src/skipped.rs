//! Segments in which damage is met while the log runs: they are named, left where they are, and the log goes on.
//!
//! What cannot be moved stays: its segment is not rewritten any more, and goes when nothing in it is alive. A log file
//! has no such way out, for what is not moved out of it keeps all later ones from retiring: its damage closes the log.

use crate::log::Shared;
use crate::{Damage, StorageError, segment};

impl Shared {
    /// Takes note of damage that a rewrite met in segments. Gives back an error that is anything else.
    pub(crate) fn skip_damaged(&self, error: StorageError) -> Result<(), StorageError> {
        match error {
            StorageError::Damaged(damages) if damages.iter().all(is_of_segment) => {
                self.note_damages(damages);
                Ok(())
            }
            other => Err(other),
        }
    }

    /// Takes note of what a reader met in a segment.
    pub(crate) fn note_unread(&self, error: &StorageError, number: u64) {
        match error {
            StorageError::Damaged(damages) => self.note_damages(damages.clone()),
            StorageError::Disk { error, .. } if is_unreadable(error) => {
                self.note_damages(vec![unread(segment::name(number), error)]);
            }
            _ => {}
        }
    }

    /// Says what is new. A segment that is gone by now nobody misses.
    fn note_damages(&self, damages: Vec<Damage>) {
        let mut new = Vec::new();
        let mut inner = self.inner.lock();
        for mut damage in damages {
            let number = segment::number_of(&damage.file);
            let found = number.and_then(|number| inner.ledger.segments.get_mut(&number));
            let Some(segment) = found.filter(|segment| segment.damage.is_none()) else {
                continue;
            };
            if damage.owners.is_empty() {
                let owners = segment.parts.iter().map(|part| part.owner);
                damage.owners = owners.collect();
                damage.owners.dedup();
            }
            segment.damage = Some(Box::new(damage.clone()));
            new.push(damage);
        }
        drop(inner);
        if let Some(say) = self.say_damage.get() {
            new.iter().for_each(say);
        }
    }
}

fn is_of_segment(damage: &Damage) -> bool {
    segment::number_of(&damage.file).is_some()
}

/// Where one of these segments cannot be read, that is damage to it, and no reason to stop.
pub(crate) fn or_damaged(
    error: StorageError,
    mut segments: impl Iterator<Item = u64>,
) -> StorageError {
    match error {
        StorageError::Disk { file, error }
            if is_unreadable(&error) && segments.any(|number| segment::name(number) == file) =>
        {
            StorageError::Damaged(vec![unread(file, &error)])
        }
        other => other,
    }
}

/// What a medium says that has lost something; not what passes, like a want of memory.
pub(crate) fn is_unreadable(error: &std::io::Error) -> bool {
    let missing = matches!(
        error.kind(),
        std::io::ErrorKind::NotFound | std::io::ErrorKind::UnexpectedEof
    );
    missing || error.raw_os_error() == Some(libc::EIO)
}

fn unread(file: String, error: &std::io::Error) -> Damage {
    Damage {
        file,
        offset: 0,
        what: unreadable(error),
        owners: Vec::new(),
    }
}

/// In words.
pub(crate) fn unreadable(error: &std::io::Error) -> String {
    format!("it cannot be read: {error}")
}
