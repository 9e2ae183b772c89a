//! When the next message is due, at a rate; and the clock of all stamps.
//!
//! Ticks come from the system's timer files, because a runtime's own timer counts milliseconds, and a latency at
//! 20,000 messages a second wants each message sent at its own time. What is late is sent at once and keeps the
//! time at which it was due: a broker that stalls is measured by the messages that it kept waiting (this is the
//! correction of coordinated omission).

use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::Result;
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;

/// Ticks are no closer than this; at a higher rate several messages share one.
const TICK_NS_MIN: u64 = 50_000;

/// Nanoseconds of the machine's monotonic clock: the same for every process on it.
pub(crate) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Messages at a rate.
pub(crate) struct Pace {
    timer: AsyncFd<OwnedFd>,
    start_ns: u64,
    /// Between two messages.
    interval_ns: f64,
    sent: u64,
}

impl Pace {
    /// `rate` messages a second. `phase`, from 0 to 1, shifts the first one within its interval, so that many
    /// publishers do not send at the same moment.
    pub(crate) fn new(rate: f64, phase: f64) -> Result<Pace> {
        let interval_ns = 1e9 / rate;
        let timer = timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        let start_ns = now_ns() + (interval_ns * phase) as u64;
        let tick_ns = (interval_ns as u64).max(TICK_NS_MIN);
        let times = Itimerspec {
            it_interval: timespec(tick_ns),
            it_value: timespec(start_ns),
        };
        timerfd_settime(&timer, TimerfdTimerFlags::ABSTIME, &times)?;
        // SAFETY: an `OwnedFd` is one open file for as long as it lives, and nobody takes it out of `Pace`.
        let timer = unsafe { AsyncFd::register(timer)? };
        Ok(Pace {
            timer,
            start_ns,
            interval_ns,
            sent: 0,
        })
    }

    /// Messages that are due and not sent.
    pub(crate) fn due(&self, now_ns: u64) -> u64 {
        let Some(elapsed_ns) = now_ns.checked_sub(self.start_ns) else {
            return 0;
        };
        let due = (elapsed_ns as f64 / self.interval_ns) as u64 + 1;
        due.saturating_sub(self.sent)
    }

    /// When the message `ahead` after the next one is due.
    pub(crate) fn due_at_ns(&self, ahead: u64) -> u64 {
        self.start_ns + ((self.sent + ahead) as f64 * self.interval_ns) as u64
    }

    /// `count` are sent.
    pub(crate) fn sent(&mut self, count: u64) {
        self.sent += count;
    }

    /// Waits for the next tick.
    pub(crate) async fn tick(&self) -> Result<()> {
        loop {
            let mut guard = self.timer.readable().await?;
            let mut expirations = [0; 8];
            let read = guard.try_io(|timer| Ok(rustix::io::read(timer, &mut expirations)?));
            if let Ok(read) = read {
                read?;
                return Ok(());
            }
        }
    }
}

fn timespec(ns: u64) -> Timespec {
    let duration = Duration::from_nanos(ns);
    Timespec {
        tv_sec: duration.as_secs() as i64,
        tv_nsec: duration.subsec_nanos().into(),
    }
}
