//! Reading a file in large blocks, by offset, for who goes mostly forward.

use std::sync::Arc;

use crate::StorageError;
use crate::disk::DiskFile;
use crate::limits::READ_BLOCK_BYTES;

/// Between two wanted ranges so many unwanted bytes are read along rather than asking the disk twice.
const GAP_BYTES: u64 = 16 << 10;

pub(crate) struct Window {
    name: String,
    file: Arc<dyn DiskFile>,
    /// Nothing is read from here on.
    end: u64,
    start: u64,
    buffer: Vec<u8>,
}

impl Window {
    /// `end`: what may be read of the file, its length at most.
    pub(crate) fn new(name: String, file: Arc<dyn DiskFile>, end: u64) -> Self {
        Window {
            name,
            file,
            end,
            start: 0,
            buffer: Vec::new(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    /// `length` bytes at `offset`, or fewer where the file ends, reading a whole block ahead.
    pub(crate) fn ahead(&mut self, offset: u64, length: usize) -> Result<&[u8], StorageError> {
        if self.held(offset, length).is_none() {
            let block = (length.max(READ_BLOCK_BYTES) as u64).min(self.end.saturating_sub(offset));
            self.load(offset, block)?;
        }
        let length = length.min(self.end.saturating_sub(offset) as usize);
        Ok(self.held(offset, length).unwrap_or_default())
    }

    /// Just the wanted range, and with it those of `following` that lie close behind it.
    pub(crate) fn wanted(
        &mut self,
        offset: u64,
        length: u32,
        following: impl Iterator<Item = (u64, u32)>,
    ) -> Result<&[u8], StorageError> {
        if self.held(offset, length as usize).is_none() {
            let mut end = offset + u64::from(length);
            for (next, length) in following {
                let next_end = next + u64::from(length);
                let near = end <= next && next <= end + GAP_BYTES;
                if !near || next_end - offset > READ_BLOCK_BYTES as u64 {
                    break;
                }
                end = next_end;
            }
            self.load(offset, end.min(self.end).saturating_sub(offset))?;
        }
        Ok(self.held(offset, length as usize).unwrap_or_default())
    }

    fn held(&self, offset: u64, length: usize) -> Option<&[u8]> {
        let at = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        self.buffer.get(at..at.checked_add(length)?)
    }

    fn load(&mut self, offset: u64, bytes: u64) -> Result<(), StorageError> {
        self.buffer.clear();
        self.buffer.resize(bytes as usize, 0);
        self.start = offset;
        if bytes == 0 {
            // Behind the end there is nothing to ask the disk for.
            return Ok(());
        }
        let result = self.file.read_at(offset, &mut self.buffer);
        result.map_err(|error| {
            self.buffer.clear();
            StorageError::disk(&self.name, error)
        })
    }
}
