//! Who of those who connect is served: as many as there is room for. The next ones are told so, and if even too many of
//! those are about, they are dropped.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections of a listener that are told at the same time that there is no room.
const REFUSALS_MAX: usize = 64;

/// How often it is logged that there is none.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// See the module.
pub(super) struct Rooms {
    served: Arc<Semaphore>,
    refused: Arc<Semaphore>,
    connections_max: usize,
    told: Option<Instant>,
}

/// What becomes of a connection. It keeps its permit for as long as it lives.
#[derive(Debug)]
pub(super) enum Entry {
    Served(OwnedSemaphorePermit),
    Refused(OwnedSemaphorePermit),
    Dropped,
}

impl Rooms {
    pub(super) fn new(connections_max: usize) -> Self {
        let connections_max = connections_max.min(Semaphore::MAX_PERMITS);
        Rooms {
            served: Arc::new(Semaphore::new(connections_max)),
            refused: Arc::new(Semaphore::new(REFUSALS_MAX)),
            connections_max,
            told: None,
        }
    }

    pub(super) fn enter(&mut self) -> Entry {
        if let Ok(permit) = Arc::clone(&self.served).try_acquire_owned() {
            return Entry::Served(permit);
        }
        if self.told.is_none_or(|at| TOLD_EVERY <= at.elapsed()) {
            self.told = Some(Instant::now());
            tracing::warn!(
                "HTTP connections are refused: there are {} on one listener, its limit",
                self.connections_max
            );
        }
        match Arc::clone(&self.refused).try_acquire_owned() {
            Ok(permit) => Entry::Refused(permit),
            Err(_) => Entry::Dropped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_so_many() {
        let mut rooms = Rooms::new(2);
        let served: Vec<Entry> = (0..2).map(|_| rooms.enter()).collect();
        assert!(matches!(served[..], [Entry::Served(_), Entry::Served(_)]));
        let refused: Vec<Entry> = (0..REFUSALS_MAX).map(|_| rooms.enter()).collect();
        assert!(
            refused
                .iter()
                .all(|entry| matches!(entry, Entry::Refused(_)))
        );
        assert!(matches!(rooms.enter(), Entry::Dropped));
        drop(served);
        assert!(matches!(rooms.enter(), Entry::Served(_)));
    }
}
