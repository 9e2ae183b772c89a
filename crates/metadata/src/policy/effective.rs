//! What applies to one object: its policy and its operator policy, merged.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::Policy;
use super::keys::{self, Merge};

/// See the module. Two are equal if the same policies made them.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EffectivePolicy {
    /// The policy that applies.
    pub policy: Option<Arc<Policy>>,
    /// The operator policy that applies.
    pub operator: Option<Arc<Policy>>,
    definition: Map<String, Value>,
}

impl EffectivePolicy {
    /// Merges what applies to an object.
    pub fn new(policy: Option<Arc<Policy>>, operator: Option<Arc<Policy>>) -> Self {
        let mut definition = Map::new();
        for (key, value) in policy.iter().flat_map(|policy| &policy.definition) {
            definition.insert(key.clone(), value.clone());
        }
        for (key, theirs) in operator.iter().flat_map(|policy| &policy.definition) {
            let merged = match definition.get(key) {
                Some(ours) => merge(key, ours, theirs),
                None => theirs.clone(),
            };
            definition.insert(key.clone(), merged);
        }
        EffectivePolicy {
            policy,
            operator,
            definition,
        }
    }

    /// The settings that apply, by name (`effective_policy_definition`).
    pub fn definition(&self) -> &Map<String, Value> {
        &self.definition
    }

    /// A setting that is a whole number.
    pub fn integer(&self, key: &str) -> Option<i64> {
        let value = self.definition.get(key)?;
        // Above an i64 is as good as without limit.
        value.as_i64().or_else(|| value.as_u64().map(|_| i64::MAX))
    }

    /// A setting that is text.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.definition.get(key)?.as_str()
    }
}

fn merge(key: &str, ours: &Value, theirs: &Value) -> Value {
    let integer = |value: &Value| value.as_i64().unwrap_or(i64::MAX);
    let (a, b) = (integer(ours), integer(theirs));
    let ours_is_taken = match keys::merge(key) {
        Merge::Least => a <= b,
        Merge::Greatest => a >= b,
        Merge::DeliveryLimit if a < 0 || b < 0 => a >= b,
        Merge::DeliveryLimit => a <= b,
        Merge::Operator => false,
    };
    if ours_is_taken { ours } else { theirs }.clone()
}
