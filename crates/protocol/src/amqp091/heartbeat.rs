//! Heartbeats both ways (AMQP 0-9-1, 4.2.7): we send one after half the interval without output, and hold
//! the client for dead after two intervals without input.

/// See the module.
#[derive(Debug)]
pub(crate) struct Heartbeat {
    interval_ms: u64,
    received_ms: u64,
    sent_ms: u64,
}

impl Heartbeat {
    /// Off, until [`Heartbeat::start`].
    pub(crate) fn new(now_ms: u64) -> Self {
        Heartbeat {
            interval_ms: 0,
            received_ms: now_ms,
            sent_ms: now_ms,
        }
    }

    /// Starts with the agreed interval; 0 is off.
    pub(crate) fn start(&mut self, interval_s: u16, now_ms: u64) {
        *self = Heartbeat::new(now_ms);
        self.interval_ms = u64::from(interval_s) * 1000;
    }

    /// Something was read.
    pub(crate) fn received(&mut self, now_ms: u64) {
        self.received_ms = now_ms;
    }

    /// Something was written.
    pub(crate) fn sent(&mut self, now_ms: u64) {
        self.sent_ms = now_ms;
    }

    /// The latest time seen.
    pub(crate) fn last_ms(&self) -> u64 {
        self.received_ms.max(self.sent_ms)
    }

    fn send_at_ms(&self) -> u64 {
        self.sent_ms + self.interval_ms / 2
    }

    fn dead_at_ms(&self) -> u64 {
        self.received_ms + 2 * self.interval_ms
    }

    /// When to look again. While we do not read, the client cannot be held for dead.
    pub(crate) fn next_ms(&self, paused: bool) -> Option<u64> {
        match (self.interval_ms, paused) {
            (0, _) => None,
            (_, true) => Some(self.send_at_ms()),
            (_, false) => Some(self.send_at_ms().min(self.dead_at_ms())),
        }
    }

    /// Whether the client has been silent for two intervals.
    pub(crate) fn is_dead(&self, now_ms: u64) -> bool {
        self.interval_ms > 0 && self.dead_at_ms() <= now_ms
    }

    /// Whether we have been silent for half an interval.
    pub(crate) fn must_send(&self, now_ms: u64) -> bool {
        self.interval_ms > 0 && self.send_at_ms() <= now_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sends_at_half_and_dies_at_double() {
        let mut heartbeat = Heartbeat::new(0);
        assert_eq!(heartbeat.next_ms(false), None);
        heartbeat.start(60, 1000);
        assert_eq!(heartbeat.next_ms(false), Some(31_000));
        assert!(!heartbeat.must_send(30_999));
        assert!(heartbeat.must_send(31_000));
        heartbeat.sent(31_000);
        assert!(!heartbeat.is_dead(120_999));
        assert!(heartbeat.is_dead(121_000));
        heartbeat.received(100_000);
        assert!(!heartbeat.is_dead(121_000));
    }

    #[test]
    fn a_paused_connection_only_sends() {
        let mut heartbeat = Heartbeat::new(0);
        heartbeat.start(10, 0);
        heartbeat.sent(30_000);
        assert_eq!(heartbeat.next_ms(true), Some(35_000));
    }
}
