//! The broker's clock: milliseconds since 1970 that never go back while the process lives.
//!
//! The wall clock is read once, at the start; from then on the monotonic clock moves it. So deadlines that are
//! kept on disk mean the same after a restart, and a corrected wall clock expires nothing early.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    started: Instant,
    started_ms: u64,
}

impl Clock {
    /// Starts at the wall clock's time.
    pub fn start() -> Self {
        // A machine whose clock stands before 1970 counts from there.
        let since_1970 = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Clock {
            started: Instant::now(),
            started_ms: since_1970.as_millis() as u64,
        }
    }

    /// Now, in milliseconds.
    pub fn now_ms(&self) -> u64 {
        self.started_ms + self.started.elapsed().as_millis() as u64
    }

    /// Now, in nanoseconds.
    pub fn now_ns(&self) -> u64 {
        self.started_ms * 1_000_000 + self.started.elapsed().as_nanos() as u64
    }

    /// How long it has been running.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// When it will be `at_ms`. A time past is now or earlier.
    pub fn instant_at(&self, at_ms: u64) -> Instant {
        let ahead_ms = at_ms.saturating_sub(self.started_ms);
        // A deadline centuries ahead is as good as none.
        let ahead = Duration::from_millis(ahead_ms.min(1000 * 60 * 60 * 24 * 365 * 10));
        self.started + ahead
    }
}
