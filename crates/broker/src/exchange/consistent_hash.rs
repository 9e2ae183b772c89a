//! `x-consistent-hash`: the queue is chosen by a hash, in proportion to weights.
//!
//! Weighted rendezvous: every destination draws a number from the message's hash and its own name, and the best
//! draw wins. A destination that comes or goes takes or leaves exactly its own share and moves nothing else;
//! the choice depends on the set of bindings alone, not on the order in which they were made, so a restart
//! keeps it; and the balance is that of the hash, with no ring points to tune. The price is a few nanoseconds
//! for each destination. Among equal weights the greatest draw wins, so the logarithm that weighs draws against
//! each other is taken once for each distinct weight.
//!
//! A destination's weight is that of its oldest binding; further bindings of it wait (RabbitMQ keeps them in its
//! listings and out of its ring too, but forgets the destination when any of them goes; we do not).

use std::collections::BTreeMap;

use super::{BindingSlot, FixedMap, Sink, Target, stable_hash};

/// The greatest weight a binding may have (RabbitMQ 4.3).
pub const BINDING_WEIGHT_MAX: u32 = 10_000;

/// What of a message is hashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum HashOn {
    RoutingKey,
    Header(String),
    MessageId,
    CorrelationId,
    Timestamp,
}

/// Why a routing key is no weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WeightError {
    NotInteger,
    NotPositive,
    TooLarge,
}

#[derive(Debug)]
struct Member {
    /// Drawn from the destination's name.
    seed: u64,
    /// The bindings that lead here, oldest first; never empty. The first one's weight counts.
    bindings: Vec<(BindingSlot, u32)>,
}

/// Destinations of a consistent-hash exchange.
#[derive(Debug)]
pub(crate) struct ConsistentHash {
    pub(crate) hash_on: HashOn,
    members: FixedMap<Target, Member>,
    /// Each member once, under the weight that counts.
    groups: BTreeMap<u32, Group>,
}

/// Members of one weight. Seeds stand apart from what they stand for, because all of them are read for each
/// message and one of those.
#[derive(Debug, Default)]
struct Group {
    seeds: Vec<u64>,
    targets: Vec<Target>,
}

impl Group {
    fn push(&mut self, seed: u64, target: Target) {
        self.seeds.push(seed);
        self.targets.push(target);
    }

    fn remove(&mut self, target: Target) {
        if let Some(position) = self.targets.iter().position(|other| *other == target) {
            self.seeds.swap_remove(position);
            self.targets.swap_remove(position);
        }
    }

    /// The greatest draw, and whose it is. Mixing is a bijection, so there are no equal draws but of equal seeds.
    fn best(&self, hash: u64) -> Option<(u64, Target)> {
        let mut best = (0, 0);
        for (index, seed) in self.seeds.iter().enumerate() {
            let draw = stable_hash::mix(hash ^ seed);
            if best.0 < draw {
                best = (draw, index);
            }
        }
        self.targets.get(best.1).map(|&target| (best.0, target))
    }
}

impl ConsistentHash {
    pub(crate) fn new(hash_on: HashOn) -> Self {
        ConsistentHash {
            hash_on,
            members: FixedMap::default(),
            groups: BTreeMap::new(),
        }
    }

    /// `seed` is the stable hash of the destination's name.
    pub(crate) fn insert(&mut self, binding: BindingSlot, weight: u32, target: Target, seed: u64) {
        assert!((1..=BINDING_WEIGHT_MAX).contains(&weight));
        let member = self.members.entry(target).or_insert_with(|| Member {
            seed,
            bindings: Vec::new(),
        });
        member.bindings.push((binding, weight));
        if member.bindings.len() == 1 {
            self.groups.entry(weight).or_default().push(seed, target);
        }
    }

    pub(crate) fn remove(&mut self, binding: BindingSlot, target: Target) {
        let Some(member) = self.members.get_mut(&target) else {
            return;
        };
        let Some(age) = member
            .bindings
            .iter()
            .position(|(other, _)| *other == binding)
        else {
            return;
        };
        let seed = member.seed;
        let (_, weight) = member.bindings.remove(age);
        let heir = member.bindings.first().map(|&(_, weight)| weight);
        if heir.is_none() {
            self.members.remove(&target);
        }
        if age != 0 || heir == Some(weight) {
            return;
        }
        if let Some(group) = self.groups.get_mut(&weight) {
            group.remove(target);
            if group.seeds.is_empty() {
                self.groups.remove(&weight);
            }
        }
        if let Some(weight) = heir {
            self.groups.entry(weight).or_default().push(seed, target);
        }
    }

    pub(crate) fn route(&self, hash: u64, sink: &mut Sink) {
        let mut best: Option<(f64, Target)> = None;
        for (&weight, group) in &self.groups {
            let Some((draw, target)) = group.best(hash) else {
                continue;
            };
            // In (0, 1]: 53 bits of the draw, shifted off zero, whose logarithm would be infinite.
            let uniform = ((draw >> 11) + 1) as f64 / (1u64 << 53) as f64;
            let distance = -uniform.ln() / f64::from(weight);
            if best.is_none_or(|(least, _)| distance < least) {
                best = Some((distance, target));
            }
        }
        if let Some((_, target)) = best {
            sink.push(target);
        }
    }
}

/// Reads a binding's weight from its routing key: an integer as Erlang reads one, sign and leading zeros allowed.
pub(crate) fn parse_weight(routing_key: &str) -> Result<u32, WeightError> {
    let digits = routing_key.strip_prefix(['+', '-']).unwrap_or(routing_key);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(WeightError::NotInteger);
    }
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() || routing_key.starts_with('-') {
        return Err(WeightError::NotPositive);
    }
    match digits.parse() {
        Ok(weight) if weight <= BINDING_WEIGHT_MAX => Ok(weight),
        // More digits than a u32 holds are too large as well.
        Ok(_) | Err(_) => Err(WeightError::TooLarge),
    }
}

#[cfg(test)]
mod tests;
