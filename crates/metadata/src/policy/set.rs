//! All policies of a vhost, and which of them apply to what.

use std::cmp::Ordering;
use std::sync::Arc;

use super::{EffectivePolicy, Policy, PolicyKind, Target};

/// The policies of a vhost, each kind by falling priority, then by name.
#[derive(Debug, Clone, Default)]
pub struct PolicySet {
    user: Vec<Arc<Policy>>,
    operator: Vec<Arc<Policy>>,
}

/// The policies that apply to an object.
pub type Matched = (Option<Arc<Policy>>, Option<Arc<Policy>>);

impl PolicySet {
    /// All of a kind, those of the highest priority first.
    pub fn list(&self, kind: PolicyKind) -> &[Arc<Policy>] {
        match kind {
            PolicyKind::User => &self.user,
            PolicyKind::Operator => &self.operator,
        }
    }

    /// The policy of this name.
    pub fn find(&self, kind: PolicyKind, name: &str) -> Option<&Arc<Policy>> {
        self.list(kind).iter().find(|policy| *policy.name == *name)
    }

    /// Adds a policy or puts it in the place of the one of its name.
    pub fn set(&mut self, kind: PolicyKind, policy: Arc<Policy>) {
        let list = self.of(kind);
        list.retain(|other| other.name != policy.name);
        let at = list.partition_point(|other| order(other, &policy) == Ordering::Less);
        list.insert(at, policy);
    }

    /// Takes a policy out; whether it was there.
    pub fn remove(&mut self, kind: PolicyKind, name: &str) -> bool {
        let list = self.of(kind);
        let before = list.len();
        list.retain(|policy| *policy.name != *name);
        list.len() < before
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.user.is_empty() && self.operator.is_empty()
    }

    /// Those that apply to an object.
    pub fn matching(&self, target: Target, name: &str) -> Matched {
        let first = |list: &[Arc<Policy>]| {
            let mut list = list.iter();
            list.find(|policy| policy.matches(target, name)).cloned()
        };
        (first(&self.user), first(&self.operator))
    }

    /// What applies to an object, merged.
    pub fn effective(&self, target: Target, name: &str) -> EffectivePolicy {
        let (policy, operator) = self.matching(target, name);
        EffectivePolicy::new(policy, operator)
    }

    fn of(&mut self, kind: PolicyKind) -> &mut Vec<Arc<Policy>> {
        match kind {
            PolicyKind::User => &mut self.user,
            PolicyKind::Operator => &mut self.operator,
        }
    }
}

/// The highest priority first, then by name.
fn order(a: &Policy, b: &Policy) -> Ordering {
    let priority = |policy: &Policy| policy.priority.as_f64().unwrap_or_default();
    priority(b)
        .total_cmp(&priority(a))
        .then_with(|| a.name.cmp(&b.name))
}
