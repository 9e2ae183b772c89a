//! Who of those who connect is served: as many as there is room for. If there is none for one more, whoever was silent
//! longest makes room: clients that hold connections and ask nothing keep nobody out. If all have asked for something,
//! the next ones are told so, and if even too many of those are about, they are dropped.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Connections of a listener that are told at the same time that there is no room.
const REFUSALS_MAX: usize = 64;

/// How often it is logged that there is none.
const TOLD_EVERY: Duration = Duration::from_secs(60);

/// How long one whose place somebody else leaves waits for it.
const PROMISE_TIMEOUT: Duration = Duration::from_secs(5);

/// Connections that have asked for nothing yet, those that came first in front, and how they are sent away.
type Silent = Arc<Mutex<BTreeMap<u64, Arc<Notify>>>>;

/// See the module.
pub(super) struct Rooms {
    served: Arc<Semaphore>,
    refused: Arc<Semaphore>,
    connections_max: usize,
    silent: Silent,
    next_number: u64,
    told: Option<Instant>,
}

/// What becomes of a connection. It keeps its place for as long as it lives.
#[derive(Debug)]
pub(super) enum Entry {
    Served(Place),
    Refused(Place),
    Dropped,
}

/// A connection's place.
#[derive(Debug)]
pub(super) struct Place {
    /// None: somebody is about to leave it.
    permit: Option<OwnedSemaphorePermit>,
    places: Arc<Semaphore>,
    silent: Silent,
    number: u64,
    leave: Arc<Notify>,
    has_asked: AtomicBool,
}

impl Rooms {
    pub(super) fn new(connections_max: usize) -> Self {
        let connections_max = connections_max.min(Semaphore::MAX_PERMITS);
        Rooms {
            served: Arc::new(Semaphore::new(connections_max)),
            refused: Arc::new(Semaphore::new(REFUSALS_MAX)),
            connections_max,
            silent: Silent::default(),
            next_number: 0,
            told: None,
        }
    }

    pub(super) fn enter(&mut self) -> Entry {
        if let Ok(permit) = Arc::clone(&self.served).try_acquire_owned() {
            return Entry::Served(self.place(Some(permit), Arc::clone(&self.silent)));
        }
        let silent_longest = self.silent.lock().pop_first();
        if let Some((_, leave)) = silent_longest {
            leave.notify_one();
            return Entry::Served(self.place(None, Arc::clone(&self.silent)));
        }
        if self.told.is_none_or(|at| TOLD_EVERY <= at.elapsed()) {
            self.told = Some(Instant::now());
            tracing::warn!(
                "HTTP connections are refused: there are {} on one listener, its limit",
                self.connections_max
            );
        }
        match Arc::clone(&self.refused).try_acquire_owned() {
            // Not among those who may be sent away.
            Ok(permit) => Entry::Refused(self.place(Some(permit), Silent::default())),
            Err(_) => Entry::Dropped,
        }
    }

    fn place(&mut self, permit: Option<OwnedSemaphorePermit>, silent: Silent) -> Place {
        let leave = Arc::new(Notify::new());
        self.next_number += 1;
        silent.lock().insert(self.next_number, Arc::clone(&leave));
        Place {
            permit,
            places: Arc::clone(&self.served),
            silent,
            number: self.next_number,
            leave,
            has_asked: AtomicBool::new(false),
        }
    }
}

impl Place {
    /// Waits until it is free. Says whether it became so.
    pub(super) async fn take(&mut self) -> bool {
        if self.permit.is_none() {
            let places = Arc::clone(&self.places);
            let permit = timeout(PROMISE_TIMEOUT, places.acquire_owned()).await;
            self.permit = permit.ok().and_then(Result::ok);
        }
        self.permit.is_some()
    }

    /// Something is asked: from now on this connection is not sent away.
    pub(super) fn ask(&self) {
        if !self.has_asked.swap(true, Ordering::Relaxed) {
            self.silent.lock().remove(&self.number);
        }
    }

    /// Waits until somebody else needs the place; for ever where something was asked.
    pub(super) async fn sent_away(&self) {
        self.leave.notified().await;
        if self.has_asked.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.silent.lock().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(rooms: &mut Rooms) -> Place {
        match rooms.enter() {
            Entry::Served(place) => place,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn there_is_room_for_so_many_that_ask() {
        let mut rooms = Rooms::new(2);
        let places = [served(&mut rooms), served(&mut rooms)];
        places.iter().for_each(Place::ask);
        let refused: Vec<Entry> = (0..REFUSALS_MAX).map(|_| rooms.enter()).collect();
        assert!(
            refused
                .iter()
                .all(|entry| matches!(entry, Entry::Refused(_)))
        );
        assert!(matches!(rooms.enter(), Entry::Dropped));
        drop(places);
        assert!(matches!(rooms.enter(), Entry::Served(_)));
        assert!(rooms.silent.lock().is_empty());
    }

    #[tokio::test]
    async fn who_is_silent_longest_makes_room() {
        let mut rooms = Rooms::new(2);
        let (asks, mut silent) = (served(&mut rooms), served(&mut rooms));
        asks.ask();
        assert!(silent.take().await);
        let mut next = served(&mut rooms);
        silent.sent_away().await;
        drop(silent);
        assert!(next.take().await);
        next.ask();
        assert!(matches!(rooms.enter(), Entry::Refused(_)));
    }
}
