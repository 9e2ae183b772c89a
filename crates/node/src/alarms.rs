//! Alarms: conditions under which publishers are not read from.
//!
//! RabbitMQ's rule: while an alarm is on, a connection that publishes is sent `connection.blocked` (where it
//! announced the capability) and not read from; consumers go on.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use tokio::sync::Notify;

use crate::settings::Settings;

/// What can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Alarm {
    /// The process holds more memory than its watermark.
    Memory = 1,
    /// The disk has less free space than its limit.
    Disk = 2,
    /// The message log has failed. Publishers are told, but read from: each is refused what cannot be kept.
    MessageLog = 4,
}

impl Alarm {
    /// Every alarm there is.
    pub const ALL: [Alarm; 3] = [Alarm::Memory, Alarm::Disk, Alarm::MessageLog];

    /// What is short, in RabbitMQ's word where it has one.
    pub fn resource(self) -> &'static str {
        match self {
            Alarm::Memory => "memory",
            Alarm::Disk => "disk",
            Alarm::MessageLog => "message_log",
        }
    }
}

/// Alarms under which publishers are not read from.
const BLOCKING: u8 = Alarm::Memory as u8 | Alarm::Disk as u8;

/// The node's alarms.
#[derive(Debug, Default)]
pub struct Alarms(AtomicU8);

impl Alarms {
    /// Sets or clears an alarm; whether that changed anything.
    pub fn set(&self, alarm: Alarm, on: bool) -> bool {
        let bit = alarm as u8;
        let before = if on {
            self.0.fetch_or(bit, Ordering::SeqCst)
        } else {
            self.0.fetch_and(!bit, Ordering::SeqCst)
        };
        (before & bit != 0) != on
    }

    /// Whether an alarm is on under which publishers are not read from.
    pub fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed) & BLOCKING != 0
    }

    /// Whether this alarm is on.
    pub fn is_on(&self, alarm: Alarm) -> bool {
        self.0.load(Ordering::Relaxed) & alarm as u8 != 0
    }

    /// The alarms that are on.
    pub fn on(&self) -> impl Iterator<Item = Alarm> {
        let bits = self.0.load(Ordering::SeqCst);
        let on = move |alarm: &Alarm| bits & *alarm as u8 != 0;
        Alarm::ALL.into_iter().filter(on)
    }

    /// RabbitMQ's reason text: `low on memory`, `low on disk`, `low on memory & disk`. A failed log goes before them.
    pub fn reason(&self) -> Option<&'static str> {
        let on = self.0.load(Ordering::SeqCst);
        if on & Alarm::MessageLog as u8 != 0 {
            return Some("the message log has failed");
        }
        match on & BLOCKING {
            0 => None,
            1 => Some("low on memory"),
            2 => Some("low on disk"),
            _ => Some("low on memory & disk"),
        }
    }
}

/// How much memory the process may hold before publishers are blocked. Operators change it while it runs.
#[derive(Debug)]
pub struct MemoryWatermark {
    /// The limit if it is at least [`FRACTION_BELOW`], else thousandths of the machine's memory.
    value: AtomicU64,
    changed: Notify,
}

/// Values below this are thousandths, for no limit in bytes is that small.
const FRACTION_BELOW: u64 = 1001;

impl MemoryWatermark {
    /// The configured one.
    pub fn new(settings: &Settings) -> Self {
        let watermark = MemoryWatermark {
            value: AtomicU64::new(0),
            changed: Notify::new(),
        };
        watermark.set(settings);
        watermark
    }

    /// Sets the configured one.
    pub fn set(&self, settings: &Settings) {
        match settings.memory_watermark_bytes {
            Some(bytes) => self.set_bytes(bytes),
            None => self.set_permille(settings.memory_watermark_permille),
        }
    }

    /// Sets a part of the machine's memory, in thousandths.
    pub fn set_permille(&self, permille: u32) {
        self.value.store(
            u64::from(permille).min(FRACTION_BELOW - 1),
            Ordering::SeqCst,
        );
        self.changed.notify_one();
    }

    /// Sets a limit in bytes.
    pub fn set_bytes(&self, bytes: u64) {
        self.value
            .store(bytes.max(FRACTION_BELOW), Ordering::SeqCst);
        self.changed.notify_one();
    }

    /// The limit on a machine with this much memory.
    pub fn limit_bytes(&self, total_bytes: u64) -> u64 {
        match self.value.load(Ordering::SeqCst) {
            permille if permille < FRACTION_BELOW => {
                (u128::from(total_bytes) * u128::from(permille) / 1000) as u64
            }
            bytes => bytes,
        }
    }

    /// Ready when the limit was changed.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alarms_add_up_and_say_why() {
        let alarms = Alarms::default();
        assert_eq!((alarms.any(), alarms.reason()), (false, None));
        assert!(alarms.set(Alarm::Memory, true));
        assert!(!alarms.set(Alarm::Memory, true));
        assert_eq!(alarms.reason(), Some("low on memory"));
        assert!(alarms.set(Alarm::Disk, true));
        assert_eq!(alarms.reason(), Some("low on memory & disk"));
        assert!(alarms.set(Alarm::Memory, false));
        assert_eq!(alarms.reason(), Some("low on disk"));
        assert!(alarms.set(Alarm::Disk, false));
        assert!(alarms.set(Alarm::MessageLog, true));
        assert_eq!(alarms.on().collect::<Vec<_>>(), [Alarm::MessageLog]);
        assert_eq!(alarms.reason(), Some("the message log has failed"));
        assert!(!alarms.any(), "nobody is held up by it");
    }

    #[test]
    fn a_watermark_is_a_part_or_bytes() {
        let watermark = MemoryWatermark::new(&Settings::default());
        assert_eq!(watermark.limit_bytes(1000), 600);
        watermark.set_bytes(5000);
        assert_eq!(watermark.limit_bytes(1000), 5000);
        watermark.set_permille(0);
        assert_eq!(watermark.limit_bytes(1000), 0);
    }
}
