//! What policies make of a queue: remembered with it, because lists show it, and changed while it lives.

use std::sync::Arc;

use broker::queue::{QueueKind, QueueOptions};
use metadata::policy::{EffectivePolicy, Target};

use super::{Aftermath, QueueCell, State};

impl QueueCell {
    /// The policies that apply to the queue now.
    pub fn policy(&self) -> Arc<EffectivePolicy> {
        Arc::clone(&self.policy.lock())
    }

    /// What the queue is to policies.
    pub fn policy_target(&self) -> Target {
        policy_target(self.options().kind)
    }

    /// Remembers the policies that its options were made with.
    pub(crate) fn assign_policy(&self, policy: Arc<EffectivePolicy>) {
        *self.policy.lock() = policy;
    }

    /// Other policies apply from now on: the queue takes `options`, and drops at once what goes beyond them.
    pub(crate) fn change_policy(
        self: &Arc<Self>,
        now_ms: u64,
        policy: Arc<EffectivePolicy>,
        options: QueueOptions,
    ) -> Aftermath {
        self.assign_policy(policy);
        let ((), aftermath) = self.run(now_ms, |state| {
            if state.deleted {
                return;
            }
            *self.options.lock() = Arc::new(options.clone());
            let State {
                queue,
                effects,
                links,
                ..
            } = state;
            queue.set_options(now_ms, options, links, effects);
        });
        aftermath
    }
}

/// What a queue of this type is to policies.
pub(crate) fn policy_target(kind: QueueKind) -> Target {
    match kind {
        QueueKind::Classic => Target::ClassicQueue,
        QueueKind::Quorum => Target::QuorumQueue,
    }
}
