//! A medium that loses what was not synced, fails on demand, and can be held up in the middle of a sync.

use std::io;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use redb::StorageBackend;

/// Writes tear at multiples of this many bytes.
const SECTOR_BYTES: usize = 512;

#[derive(Debug, Clone, Default)]
pub(super) struct SimDisk(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    opened: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// What the program sees.
    image: Vec<u8>,
    /// What is on the medium for certain.
    synced: Vec<u8>,
    unsynced: Vec<Operation>,
    syncs: u64,
    /// Operations until the power goes; none for never.
    operations_left: Option<u64>,
    gate_closed: bool,
}

#[derive(Debug)]
enum Operation {
    SetLength(usize),
    Write(usize, Vec<u8>),
}

impl Operation {
    fn apply(&self, image: &mut Vec<u8>, bytes: usize) {
        match self {
            Operation::SetLength(length) => image.resize(*length, 0),
            Operation::Write(offset, data) => {
                let data = &data[..bytes.min(data.len())];
                let end = offset + data.len();
                image.resize(image.len().max(end), 0);
                image[*offset..end].copy_from_slice(data);
            }
        }
    }
}

impl SimDisk {
    pub(super) fn from_image(image: Vec<u8>) -> SimDisk {
        let disk = SimDisk::default();
        *disk.0.state.lock() = State {
            synced: image.clone(),
            image,
            ..State::default()
        };
        disk
    }

    pub(super) fn syncs(&self) -> u64 {
        self.0.state.lock().syncs
    }

    /// Everything fails after this many more writes and syncs.
    pub(super) fn fail_after(&self, operations: u64) {
        self.0.state.lock().operations_left = Some(operations);
    }

    /// Syncs wait until the gate is opened.
    pub(super) fn close_gate(&self) {
        self.0.state.lock().gate_closed = true;
    }

    pub(super) fn open_gate(&self) {
        self.0.state.lock().gate_closed = false;
        self.0.opened.notify_all();
    }

    /// What is found after a power cut: all that was synced, and of the rest what `keep` says, each write
    /// up to a sector.
    pub(super) fn after_power_cut(&self, mut keep: impl FnMut() -> Option<usize>) -> Vec<u8> {
        let state = self.0.state.lock();
        let mut image = state.synced.clone();
        for operation in &state.unsynced {
            if let Some(sectors) = keep() {
                operation.apply(&mut image, sectors.saturating_mul(SECTOR_BYTES));
            }
        }
        image
    }

    fn spend(&self, state: &mut State) -> io::Result<()> {
        match &mut state.operations_left {
            None => Ok(()),
            Some(0) => Err(io::Error::other("the power is gone")),
            Some(left) => {
                *left -= 1;
                Ok(())
            }
        }
    }

    fn run(&self, operation: Operation) -> io::Result<()> {
        let mut state = self.0.state.lock();
        self.spend(&mut state)?;
        operation.apply(&mut state.image, usize::MAX);
        state.unsynced.push(operation);
        Ok(())
    }
}

impl StorageBackend for SimDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.state.lock().image.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.0.state.lock();
        let offset = offset as usize;
        let data = state.image.get(offset..offset + out.len());
        out.copy_from_slice(data.ok_or_else(|| io::Error::other("read past the end"))?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.run(Operation::SetLength(len as usize))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.run(Operation::Write(offset as usize, data.to_vec()))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.0.state.lock();
        while state.gate_closed {
            self.0.opened.wait(&mut state);
        }
        self.spend(&mut state)?;
        state.syncs += 1;
        state.synced = state.image.clone();
        state.unsynced.clear();
        Ok(())
    }
}
