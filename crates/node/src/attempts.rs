//! Logins that were tried, counted: RabbitMQ's `auth/attempts`.
//!
//! Counted for each protocol, and for each address and user where that is switched on, the last
//! [`SOURCES_MAX`] of them.

use std::collections::BTreeMap;

use parking_lot::Mutex;

/// Most addresses and users that are counted apart. Those that come later are in the sums only.
pub const SOURCES_MAX: usize = 10_000;

/// How often it was tried.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tries {
    /// Logins that were let in.
    pub succeeded: u64,
    /// Logins that were refused.
    pub failed: u64,
}

impl Tries {
    /// Both.
    pub fn all(self) -> u64 {
        self.succeeded + self.failed
    }

    fn count(&mut self, succeeded: bool) {
        match succeeded {
            true => self.succeeded += 1,
            false => self.failed += 1,
        }
    }
}

/// Where a login came from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// The client's address.
    pub host: String,
    /// The name that was given.
    pub user: String,
    /// `amqp091`, `http`.
    pub protocol: &'static str,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Attempts(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    protocols: BTreeMap<&'static str, Tries>,
    track_sources: bool,
    sources: BTreeMap<Source, Tries>,
}

impl Attempts {
    /// Counts one. Logins are rare enough for a lock.
    pub fn count(&self, protocol: &'static str, host: &str, user: &str, succeeded: bool) {
        let mut counted = self.0.lock();
        counted
            .protocols
            .entry(protocol)
            .or_default()
            .count(succeeded);
        if !counted.track_sources {
            return;
        }
        let source = Source {
            host: host.to_owned(),
            user: user.to_owned(),
            protocol,
        };
        let room = counted.sources.len() < SOURCES_MAX;
        if room || counted.sources.contains_key(&source) {
            counted.sources.entry(source).or_default().count(succeeded);
        }
    }

    /// Switches counting by source on or off; off forgets them.
    pub fn track_sources(&self, on: bool) {
        let mut counted = self.0.lock();
        counted.track_sources = on;
        if !on {
            counted.sources.clear();
        }
    }

    /// By protocol.
    pub fn by_protocol(&self) -> Vec<(&'static str, Tries)> {
        self.0
            .lock()
            .protocols
            .iter()
            .map(|(protocol, tries)| (*protocol, *tries))
            .collect()
    }

    /// By source.
    pub fn by_source(&self) -> Vec<(Source, Tries)> {
        self.0
            .lock()
            .sources
            .iter()
            .map(|(source, tries)| (source.clone(), *tries))
            .collect()
    }

    /// Forgets what was counted.
    pub fn reset(&self) {
        let mut counted = self.0.lock();
        counted.protocols.clear();
        counted.sources.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_are_counted_by_protocol_and_by_source() {
        let attempts = Attempts::default();
        attempts.count("amqp091", "::1", "ann", true);
        attempts.track_sources(true);
        attempts.count("amqp091", "::1", "ann", false);
        attempts.count("http", "::1", "ann", false);
        let tries = |succeeded, failed| Tries { succeeded, failed };
        assert_eq!(
            attempts.by_protocol(),
            [("amqp091", tries(1, 1)), ("http", tries(0, 1))]
        );
        assert_eq!(attempts.by_source().len(), 2);
        for n in 0..=SOURCES_MAX {
            attempts.count("amqp091", "::1", &n.to_string(), false);
        }
        assert_eq!(attempts.by_source().len(), SOURCES_MAX);
        attempts.reset();
        assert!(attempts.by_protocol().is_empty() && attempts.by_source().is_empty());
    }
}
