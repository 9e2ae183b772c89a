//! Which messages are traced: as their publishers say, as chance has it, and never more than so many a second.

use parking_lot::Mutex;
use wire::trace_context::TraceContext;

const NS_PER_S: u64 = 1_000_000_000;

/// Which messages are traced. OpenTelemetry's samplers `parentbased_traceidratio` and `traceidratio`, of which all
/// others are cases.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// What a message's publisher says of its own trace is followed. If not, chance decides on all.
    pub parent_based: bool,
    /// The part of all others that is traced, from 0 to 1.
    pub ratio: f64,
    /// No more messages are traced in a second.
    pub messages_per_second_max: u32,
}

/// See [`Sampling`].
#[derive(Debug)]
pub(super) struct Sampler {
    sampling: Sampling,
    /// The second under way, and how many were traced in it.
    second: Mutex<(u64, u32)>,
}

impl Sampler {
    pub(super) fn new(sampling: Sampling) -> Sampler {
        let second = Mutex::default();
        Sampler { sampling, second }
    }

    /// Whether a message with this parent is wanted; `draw` is a number by chance.
    pub(super) fn wants(&self, parent: Option<TraceContext>, draw: u64) -> bool {
        let draw = match parent {
            Some(parent) if self.sampling.parent_based => return parent.sampled,
            // All who see this trace decide alike: OpenTelemetry's rule for `traceidratio`.
            Some(parent) => {
                let [.., a, b, c, d, e, f, g] = parent.trace_id;
                u64::from_be_bytes([0, a, b, c, d, e, f, g])
            }
            None => draw >> 8,
        };
        draw < (self.sampling.ratio * (1_u64 << 56) as f64) as u64
    }

    /// Whether one more is within what a second may have; it is counted then.
    pub(super) fn admits(&self, now_ns: u64) -> bool {
        let mut second = self.second.lock();
        let now_s = now_ns / NS_PER_S;
        if second.0 != now_s {
            *second = (now_s, 0);
        }
        let admitted = second.1 < self.sampling.messages_per_second_max;
        second.1 += u32::from(admitted);
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sampler(parent_based: bool, ratio: f64, messages_per_second_max: u32) -> Sampler {
        Sampler::new(Sampling {
            parent_based,
            ratio,
            messages_per_second_max,
        })
    }

    fn parent(sampled: bool, last: u8) -> Option<TraceContext> {
        Some(TraceContext {
            trace_id: [last; 16],
            parent_id: [1; 8],
            sampled,
        })
    }

    #[test]
    fn a_parent_is_followed_and_chance_decides_on_the_others() {
        let none = sampler(true, 0.0, 1);
        let all = sampler(true, 1.0, 1);
        for sampler in [&none, &all] {
            assert!(sampler.wants(parent(true, 9), u64::MAX));
            assert!(!sampler.wants(parent(false, 9), 0));
        }
        for draw in [0, 1, u64::MAX / 2, u64::MAX] {
            assert!(!none.wants(None, draw));
            assert!(all.wants(None, draw));
        }
        let half = sampler(true, 0.5, 1);
        assert!(half.wants(None, u64::MAX / 2 - 256));
        assert!(!half.wants(None, u64::MAX / 2 + 256));
    }

    #[test]
    fn without_parents_the_trace_decides() {
        let half = sampler(false, 0.5, 1);
        assert!(half.wants(parent(false, 0x7f), u64::MAX));
        assert!(!half.wants(parent(true, 0x80), 0));
    }

    #[test]
    fn a_second_has_its_bound() {
        let sampler = sampler(true, 1.0, 2);
        let admitted = [
            0,
            1,
            2,
            NS_PER_S - 1,
            NS_PER_S,
            2 * NS_PER_S - 1,
            2 * NS_PER_S - 1,
        ];
        let admitted = admitted.map(|now_ns| sampler.admits(now_ns));
        assert_eq!(admitted, [true, true, false, false, true, true, false]);
    }
}
