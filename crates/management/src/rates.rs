//! Rates of counters, from samples that are taken when somebody looks and at no other time.
//!
//! The first look at an object begins its series and gives rates of zero; each further look compares with the
//! newest sample that is old enough. Who polls every five seconds sees the rate over five seconds, as in RabbitMQ.
//! Series that nobody looked at for a while are dropped, so that nobody pays for what nobody reads.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;
use parking_lot::Mutex;

/// Rates are over at least this long where there is a sample so old.
const WINDOW_MS: u64 = 5_000;
/// Two samples of a series are at least this far apart.
const SAMPLE_INTERVAL_MS: u64 = 1_000;
/// Samples kept of one object.
const SAMPLES_MAX: usize = 8;
/// A series is dropped when nobody looked for this long.
const SERIES_IDLE_MS: u64 = 60_000;
/// Objects with series; others have rates of zero until there is room.
const SERIES_MAX: usize = 100_000;

/// Whose counters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Object {
    /// The whole node's, and which of them.
    Node(&'static str),
    /// What one user sees of them.
    Seen(Arc<str>, &'static str),
    /// Of what passed a vhost.
    Vhost(Arc<str>),
    /// Of what went over the connections of a vhost.
    VhostTraffic(Arc<str>),
    /// Of what is in the queues of a vhost.
    VhostLengths(Arc<str>),
    /// Of what passed a queue, by id.
    Queue(u64),
    /// Of what is in a queue, by id.
    QueueLengths(u64),
    /// An exchange's, by vhost and name.
    Exchange(Arc<str>, Arc<str>),
    /// A connection's, by id.
    Connection(u64),
    /// A channel's, by its connection's id and its number.
    Channel(u64, u16),
}

struct Sample {
    at_ms: u64,
    values: Box<[u64]>,
}

#[derive(Default)]
struct Series(VecDeque<Sample>);

/// All series.
#[derive(Default)]
pub(crate) struct Rates(Mutex<State>);

#[derive(Default)]
struct State {
    series: HashMap<Object, Series>,
    swept_ms: u64,
}

impl Rates {
    /// Changes a second of `values`, one for each; negative where a value fell.
    pub(crate) fn of(&self, object: Object, now_ms: u64, values: &[u64]) -> Vec<f64> {
        let mut state = self.0.lock();
        if state.swept_ms + SERIES_IDLE_MS / 2 < now_ms {
            state.swept_ms = now_ms;
            state.series.retain(|_, series| !series.is_idle(now_ms));
        }
        let full = state.series.len() >= SERIES_MAX;
        if full && !state.series.contains_key(&object) {
            return vec![0.0; values.len()];
        }
        state.series.entry(object).or_default().look(now_ms, values)
    }
}

impl Series {
    fn is_idle(&self, now_ms: u64) -> bool {
        let last = self.0.back();
        last.is_none_or(|last| last.at_ms + SERIES_IDLE_MS < now_ms)
    }

    fn look(&mut self, now_ms: u64, values: &[u64]) -> Vec<f64> {
        let old_enough = |sample: &&Sample| sample.at_ms + WINDOW_MS <= now_ms;
        let base = self.0.iter().rev().find(old_enough).or(self.0.front());
        let rates = match base {
            Some(base) if base.at_ms + SAMPLE_INTERVAL_MS <= now_ms => {
                let seconds = (now_ms - base.at_ms) as f64 / 1000.0;
                let pairs = values.iter().zip(base.values.iter());
                pairs
                    .map(|(now, then)| (*now as f64 - *then as f64) / seconds)
                    .collect()
            }
            _ => vec![0.0; values.len()],
        };
        let last = self.0.back();
        if last.is_none_or(|last| last.at_ms + SAMPLE_INTERVAL_MS <= now_ms) {
            if self.0.len() == SAMPLES_MAX {
                self.0.pop_front();
            }
            self.0.push_back(Sample {
                at_ms: now_ms,
                values: values.into(),
            });
        }
        rates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_over_the_last_five_seconds() {
        let rates = Rates::default();
        let look = |now_ms, value| rates.of(Object::Queue(1), now_ms, &[value])[0];
        assert_eq!(look(10_000, 100), 0.0);
        assert_eq!(look(10_500, 200), 0.0, "too soon to tell");
        assert_eq!(look(12_000, 300), 100.0);
        assert_eq!(look(15_000, 600), 100.0);
        assert_eq!(look(20_000, 600), 0.0);
        assert_eq!(look(25_000, 100), -100.0);
    }

    #[test]
    fn what_nobody_looks_at_is_forgotten() {
        let rates = Rates::default();
        for queue in 0..1000 {
            rates.of(Object::Queue(queue), 1_000, &[1]);
        }
        for second in 0..200 {
            rates.of(Object::Queue(7), 1_000 * second, &[second]);
        }
        let state = rates.0.lock();
        assert_eq!(state.series.len(), 1);
        assert!(state.series[&Object::Queue(7)].0.len() <= SAMPLES_MAX);
    }
}
