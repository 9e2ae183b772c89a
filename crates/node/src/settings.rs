//! Every limit of a running broker, with its name and RabbitMQ's default.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicPtr, Ordering};

use broker::queue::QueueKind;
use metadata::identity::Pattern;
use parking_lot::Mutex;

use crate::identities::IdentitySettings;
use crate::message_log::Durability;
use crate::rates::RateSettings;

/// Limits and defaults of a node. Sizes are in bytes, times in the unit their name ends with.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The node's name as clients and tools see it.
    pub cluster_name: String,
    /// Highest channel number a client may use; 0 is no limit.
    pub channel_max: u16,
    /// Largest frame, its 8 bytes of frame around the payload included.
    pub frame_bytes_max: u32,
    /// Heartbeat interval offered to clients, in seconds; 0 is off.
    pub heartbeat_s: u16,
    /// A client that has not opened its connection after this long is dropped.
    pub handshake_timeout_ms: u64,
    /// Largest body. A larger one is refused with 406.
    pub message_bytes_max: u64,
    /// Connections of the whole node; more are refused.
    pub connections_max: usize,
    /// Consumers of one channel; more are refused with 530.
    pub channel_consumers_max: usize,
    /// An unacked message older than this goes back to its queue, unless queue or consumer say otherwise.
    pub consumer_timeout_ms: ConsumerTimeouts,
    /// Who may log in from where, and what a new data directory begins with.
    pub identities: IdentitySettings,
    /// Login of clients that use the ANONYMOUS mechanism: name and password. `None` refuses them.
    pub anonymous_login: Option<(String, String)>,
    /// When a message counts as kept: what a confirm waits for.
    pub durability: Durability,
    /// Free space on the disk below which publishers are blocked.
    pub disk_free_limit: DiskFreeLimit,
    /// Memory that waiting messages may take; `None`: a part of the machine's.
    pub message_cache_bytes: Option<u64>,
    /// Rate limits of users and vhosts.
    pub rates: RateSettings,
    /// The machine's memory in bytes, where the system does not know it or should not be believed.
    pub memory_total_bytes: Option<u64>,
    /// SASL mechanisms that are offered, where they make sense for the client; `None` is all but EXTERNAL.
    pub auth_mechanisms: Option<Vec<String>>,
    /// Part of the machine's memory at which publishers are blocked, in thousandths.
    pub memory_watermark_permille: u32,
    /// The same as a number of bytes; it goes before the part if it is set.
    pub memory_watermark_bytes: Option<u64>,
    /// The default queue type of vhosts that are made without one. `None` is classic.
    pub default_queue_type: Option<String>,
    /// Limits that new vhosts begin with: of those whose pattern matches, the first by id.
    pub default_vhost_limits: BTreeMap<String, DefaultVhostLimits>,
}

/// Limits of new vhosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DefaultVhostLimits {
    /// Which vhosts, by name.
    pub pattern: Pattern,
    /// `max-connections`, below zero for no limit.
    pub connections_max: Option<i64>,
    /// `max-queues`, below zero for no limit.
    pub queues_max: Option<i64>,
}

/// For how long a consumer may hold a message where neither its queue nor itself says; `None`: for ever.
///
/// RabbitMQ 4.3 times consumers of quorum queues out after 30 minutes and leaves those of classic queues alone;
/// releases before it time out both. So classic queues follow only a time that somebody has set (COMPAT.md).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerTimeouts {
    /// On classic queues, in milliseconds.
    pub classic: Option<u64>,
    /// On quorum queues, in milliseconds.
    pub quorum: Option<u64>,
}

impl ConsumerTimeouts {
    /// The same for every queue: what `consumer_timeout` sets.
    pub fn all(timeout_ms: Option<u64>) -> Self {
        ConsumerTimeouts {
            classic: timeout_ms,
            quorum: timeout_ms,
        }
    }

    /// On queues of a kind, in milliseconds.
    pub fn of(self, kind: QueueKind) -> Option<u64> {
        match kind {
            QueueKind::Classic => self.classic,
            QueueKind::Quorum => self.quorum,
        }
    }
}

impl Default for ConsumerTimeouts {
    fn default() -> Self {
        ConsumerTimeouts {
            classic: None,
            quorum: Some(30 * 60 * 1000),
        }
    }
}

/// Free space on the disk below which publishers are blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DiskFreeLimit {
    /// [`DISK_FREE_BYTES_DEFAULT`], or a twentieth of the disk if that is less.
    #[default]
    Default,
    /// So many bytes.
    Bytes(u64),
    /// A part of the machine's memory, in thousandths.
    OfMemory(u32),
}

/// See [`DiskFreeLimit::Default`].
pub const DISK_FREE_BYTES_DEFAULT: u64 = 1 << 30;

impl DiskFreeLimit {
    /// In bytes, on a disk and a machine of these sizes.
    pub fn bytes(self, disk_bytes: u64, memory_bytes: u64) -> u64 {
        match self {
            DiskFreeLimit::Default => DISK_FREE_BYTES_DEFAULT.min(disk_bytes / 20),
            DiskFreeLimit::Bytes(bytes) => bytes,
            DiskFreeLimit::OfMemory(permille) => {
                (u128::from(memory_bytes) * u128::from(permille) / 1000) as u64
            }
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            cluster_name: "leveret@localhost".into(),
            channel_max: 2047,
            frame_bytes_max: 131_072,
            heartbeat_s: 60,
            handshake_timeout_ms: 10_000,
            message_bytes_max: 16 * 1024 * 1024,
            connections_max: 1_000_000,
            channel_consumers_max: 1_000_000,
            consumer_timeout_ms: ConsumerTimeouts::default(),
            identities: IdentitySettings::default(),
            anonymous_login: Some(("guest".into(), "guest".into())),
            durability: Durability::Fsync,
            disk_free_limit: DiskFreeLimit::Default,
            message_cache_bytes: None,
            rates: RateSettings::default(),
            memory_total_bytes: None,
            auth_mechanisms: None,
            memory_watermark_permille: 600,
            memory_watermark_bytes: None,
            default_queue_type: None,
            default_vhost_limits: BTreeMap::new(),
        }
    }
}

/// Settings that may be replaced while they are read. Reading is one load and takes no lock.
///
/// Settings that were replaced stay until the node goes, because nobody knows who still reads them. They are small, and
/// each is kept once, however often an operator reloads the configuration or goes back to an earlier one.
#[derive(Debug)]
pub struct LiveSettings {
    current: AtomicPtr<Settings>,
    /// Owns everything that `current` ever pointed to.
    all: Mutex<Vec<*mut Settings>>,
}

// SAFETY: the pointers are boxes that this owns; Settings are Send and Sync, and nothing writes through them.
unsafe impl Send for LiveSettings {}
// SAFETY: as above.
unsafe impl Sync for LiveSettings {}

impl LiveSettings {
    /// Settings to begin with.
    pub fn new(settings: Settings) -> LiveSettings {
        let first = Box::into_raw(Box::new(settings));
        LiveSettings {
            current: AtomicPtr::new(first),
            all: Mutex::new(vec![first]),
        }
    }

    /// Replaces them. Whoever reads them at this moment finishes with those before.
    pub fn replace(&self, settings: Settings) {
        let mut all = self.all.lock();
        // SAFETY: boxes in `all` live as long as `self`, and nothing writes through them.
        let same = |known: &&*mut Settings| unsafe { &***known } == &settings;
        let next = match all.iter().find(same) {
            Some(known) => *known,
            None => {
                let new = Box::into_raw(Box::new(settings));
                all.push(new);
                new
            }
        };
        self.current.store(next, Ordering::Release);
    }
}

impl Deref for LiveSettings {
    type Target = Settings;

    fn deref(&self) -> &Settings {
        // SAFETY: `current` points to a box in `all`, and those live as long as `self`.
        unsafe { &*self.current.load(Ordering::Acquire) }
    }
}

impl Drop for LiveSettings {
    fn drop(&mut self) {
        for settings in self.all.get_mut().drain(..) {
            // SAFETY: each came from `Box::into_raw` and is here once; no reference outlives `self`.
            drop(unsafe { Box::from_raw(settings) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_replaced_under_a_reader() {
        let live = LiveSettings::new(Settings::default());
        let before: &Settings = &live;
        live.replace(Settings {
            heartbeat_s: 7,
            ..Settings::default()
        });
        assert_eq!((before.heartbeat_s, live.heartbeat_s), (60, 7));
    }

    #[test]
    fn settings_that_come_again_are_kept_once() {
        let live = LiveSettings::new(Settings::default());
        for round in 0..100 {
            let heartbeat_s = 60 + round % 2;
            live.replace(Settings {
                heartbeat_s,
                ..Settings::default()
            });
            assert_eq!(live.heartbeat_s, heartbeat_s);
        }
        assert_eq!(live.all.lock().len(), 2);
    }
}
