//! What can go wrong with the message log, for whoever has to say it.
//!
//! Two kinds: the world failed (a disk returned an error), or what is on disk is not what we wrote. Misuse by
//! the caller is neither; it is asserted.

use crate::OwnerId;

/// Something on disk that is not what was written there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file, by its name in the log's directory.
    pub file: String,
    /// Where in the file, in bytes.
    pub offset: u64,
    /// What is wrong there.
    pub what: String,
    /// Whose messages are known to be hit. Empty when that cannot be told.
    pub owners: Vec<OwnerId>,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at byte {}: {}", self.file, self.offset, self.what)?;
        if !self.owners.is_empty() {
            write!(f, " (owners")?;
            for owner in self.owners.iter().take(16) {
                write!(f, " {}", owner.0)?;
            }
            if self.owners.len() > 16 {
                write!(f, " and {} more", self.owners.len() - 16)?;
            }
            write!(f, ")")?;
        }
        Ok(())
    }
}

/// Why an operation on the log failed.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The disk returned an error.
    #[error("{file}: {error}")]
    Disk {
        /// The file, by its name in the log's directory.
        file: String,
        /// What the disk said.
        error: std::io::Error,
    },
    /// What is on disk is damaged. Nothing was changed.
    #[error("the message log is damaged: {}", list(.0))]
    Damaged(Vec<Damage>),
    /// An earlier error closed the log.
    #[error("the message log has failed: {0}")]
    Failed(std::sync::Arc<str>),
}

fn list(damages: &[Damage]) -> String {
    let mut out = String::new();
    for (index, damage) in damages.iter().enumerate() {
        if index > 0 {
            out.push_str("; ");
        }
        out.push_str(&damage.to_string());
    }
    out
}

impl StorageError {
    pub(crate) fn disk(file: impl Into<String>, error: std::io::Error) -> Self {
        StorageError::Disk {
            file: file.into(),
            error,
        }
    }

    pub(crate) fn damaged(file: impl Into<String>, offset: u64, what: impl Into<String>) -> Self {
        StorageError::Damaged(vec![Damage {
            file: file.into(),
            offset,
            what: what.into(),
            owners: Vec::new(),
        }])
    }

    /// Whether the medium was full, which passes when space returns.
    pub fn is_full(&self) -> bool {
        match self {
            StorageError::Disk { error, .. } => is_full(error),
            _ => false,
        }
    }
}

/// There is no number left for what would be written, and nothing could read it again.
pub(crate) fn used_up() -> std::io::Error {
    std::io::Error::other("the numbers of the message log are used up")
}

pub(crate) fn is_full(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
    )
}
