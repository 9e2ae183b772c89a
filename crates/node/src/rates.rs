//! Rate limits of users and vhosts: messages, bytes and connections a second.
//!
//! Not in RabbitMQ. A publisher over its limit is not read from until its rate is right again; a connection over its
//! limit is refused. Each limit is one number, the time up to which what passed is paid for (the generic cell rate
//! algorithm): a batch costs one exchange of it, however many messages are in it. A second's worth may pass at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

/// What may pass in a second; `None` is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    /// Messages published.
    pub messages: Option<u64>,
    /// Bytes of their bodies.
    pub bytes: Option<u64>,
    /// Connections opened.
    pub connections: Option<u64>,
}

/// All rate limits, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RateSettings {
    /// Of users.
    pub users: BTreeMap<String, Rates>,
    /// Of vhosts.
    pub vhosts: BTreeMap<String, Rates>,
}

/// One limit.
#[derive(Debug, Default)]
struct Limit {
    /// In a second; 0 is no limit.
    rate: AtomicU64,
    /// What passed is paid for up to here, in microseconds of the node's clock.
    paid_us: AtomicU64,
}

/// A second's worth may pass at once.
const BURST_US: u64 = 1_000_000;

impl Limit {
    fn set(&self, rate: Option<u64>) {
        self.rate.store(rate.unwrap_or(0), Ordering::Relaxed);
    }

    /// Counts `count`; how many milliseconds until the rate is right again, 0 if it is.
    fn charge(&self, now_ms: u64, count: u64) -> u64 {
        let rate = self.rate.load(Ordering::Relaxed);
        if rate == 0 || count == 0 {
            return 0;
        }
        let now_us = now_ms.saturating_mul(1000);
        let cost_us = count.saturating_mul(1_000_000) / rate;
        let pay = |paid_us: u64| Some(paid_us.max(now_us).saturating_add(cost_us));
        let before = self
            .paid_us
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay);
        let paid_us = before
            .unwrap_or_else(|paid_us| paid_us)
            .max(now_us)
            .saturating_add(cost_us);
        paid_us
            .saturating_sub(now_us.saturating_add(BURST_US))
            .div_ceil(1000)
    }

    /// Counts one unless that is over the limit; whether it was counted.
    fn admit(&self, now_ms: u64) -> bool {
        let rate = self.rate.load(Ordering::Relaxed);
        if rate == 0 {
            return true;
        }
        let now_us = now_ms.saturating_mul(1000);
        let cost_us = 1_000_000 / rate;
        let pay = |paid_us: u64| {
            let after = paid_us.max(now_us).saturating_add(cost_us);
            (after <= now_us.saturating_add(BURST_US)).then_some(after)
        };
        self.paid_us
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, pay)
            .is_ok()
    }
}

/// The limits of one user or vhost, shared by all its connections.
#[derive(Debug, Default)]
pub struct Meter {
    messages: Limit,
    bytes: Limit,
    connections: Limit,
}

impl Meter {
    fn set(&self, rates: Rates) {
        self.messages.set(rates.messages);
        self.bytes.set(rates.bytes);
        self.connections.set(rates.connections);
    }

    /// Counts a batch of publishes; how many milliseconds the publisher is not to be read from.
    pub fn charge(&self, now_ms: u64, messages: u64, bytes: u64) -> u64 {
        self.messages
            .charge(now_ms, messages)
            .max(self.bytes.charge(now_ms, bytes))
    }

    /// Whether one more connection may be opened now.
    pub fn admit_connection(&self, now_ms: u64) -> bool {
        self.connections.admit(now_ms)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct RateLimits(RwLock<Meters>);

#[derive(Debug, Default)]
struct Meters {
    users: BTreeMap<String, Arc<Meter>>,
    vhosts: BTreeMap<String, Arc<Meter>>,
}

impl RateLimits {
    /// Limits as they are set.
    pub fn new(settings: &RateSettings) -> RateLimits {
        let limits = RateLimits::default();
        limits.set(settings);
        limits
    }

    /// Sets all limits. Connections that are open follow those of names that had a limit when they were opened.
    pub fn set(&self, settings: &RateSettings) {
        let mut meters = self.0.write();
        set(&mut meters.users, &settings.users);
        set(&mut meters.vhosts, &settings.vhosts);
    }

    /// The meter of a user that has limits.
    pub fn user(&self, name: &str) -> Option<Arc<Meter>> {
        self.0.read().users.get(name).cloned()
    }

    /// The meter of a vhost that has limits.
    pub fn vhost(&self, name: &str) -> Option<Arc<Meter>> {
        self.0.read().vhosts.get(name).cloned()
    }
}

fn set(meters: &mut BTreeMap<String, Arc<Meter>>, settings: &BTreeMap<String, Rates>) {
    meters.retain(|name, meter| {
        let stays = settings.contains_key(name);
        if !stays {
            // Whoever still holds it is limited no more.
            meter.set(Rates::default());
        }
        stays
    });
    for (name, rates) in settings {
        meters.entry(name.clone()).or_default().set(*rates);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter(rates: Rates) -> (RateLimits, Arc<Meter>) {
        let settings = RateSettings {
            users: BTreeMap::from([("ann".to_owned(), rates)]),
            ..RateSettings::default()
        };
        let limits = RateLimits::new(&settings);
        let meter = limits.user("ann").expect("it has limits");
        (limits, meter)
    }

    #[test]
    fn a_second_passes_at_once_and_then_the_rate() {
        let (_limits, meter) = meter(Rates {
            messages: Some(100),
            ..Rates::default()
        });
        assert_eq!(meter.charge(5000, 100, 0), 0);
        assert_eq!(meter.charge(5000, 1, 0), 10);
        assert_eq!(meter.charge(5000, 9, 1 << 40), 100);
        assert_eq!(meter.charge(5100, 0, 0), 0);
        assert_eq!(meter.charge(5100, 10, 0), 100);
        // Idle time is saved up for a second and no longer.
        assert_eq!(meter.charge(100_000, 100, 0), 0);
        assert_eq!(meter.charge(100_000, 100, 0), 1000);
    }

    #[test]
    fn in_the_long_run_the_rate_holds() {
        let (_limits, meter) = meter(Rates {
            bytes: Some(1000),
            ..Rates::default()
        });
        let (mut now_ms, mut passed) = (1, 0);
        while now_ms < 100_000 {
            passed += 777;
            now_ms += meter.charge(now_ms, 1, 777);
        }
        assert!((99_000..=102_000).contains(&passed), "{passed}");
    }

    #[test]
    fn connections_over_the_limit_are_refused_and_cost_nothing() {
        let (limits, meter) = meter(Rates {
            connections: Some(2),
            ..Rates::default()
        });
        let admitted: Vec<bool> = (0..4).map(|_| meter.admit_connection(1000)).collect();
        assert_eq!(admitted, [true, true, false, false]);
        assert!(!meter.admit_connection(1499));
        assert!(meter.admit_connection(1500));
        limits.set(&RateSettings::default());
        assert!(meter.admit_connection(1500) && limits.user("ann").is_none());
    }
}
