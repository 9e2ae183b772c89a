//! Policies of a vhost: kept, matched with what is declared, and applied to what is there.
//!
//! The set of policies is part of the topology, under its lock: whatever is declared sees the policies of that
//! moment, and whoever changes a policy sees all that has been declared. The queues themselves are changed after
//! the lock is released; `policy_changes` keeps two changes from overtaking one another there.

use std::sync::Arc;

use broker::queue::QueueOptions;
use broker::queue_arguments;
use metadata::parameter::Parameter;
use metadata::policy::{EffectivePolicy, Policy, PolicyKind, Target};
use metadata::topology::{Name, QueueSpec};

use super::Vhost;
use crate::catalog::{Change, Ticket};
use crate::queue_cell::{QueueCell, policy_target};
use crate::refusal::Refusal;
use crate::topology::Topology;

/// A queue to which other policies apply from now on.
type Changed = (Arc<QueueCell>, Arc<EffectivePolicy>);

impl Vhost {
    /// Keeps a policy and applies it to all it is for. Setting what is set already changes nothing.
    ///
    /// # Errors
    /// If the vhost is deleted.
    pub fn set_policy(
        &self,
        now_ms: u64,
        kind: PolicyKind,
        policy: Policy,
    ) -> Result<Ticket, Refusal> {
        let _in_order = self.policy_changes.lock();
        let policy = Arc::new(policy);
        let (ticket, changed) = self.declare(|topology| {
            if topology.policies.find(kind, &policy.name) == Some(&policy) {
                return Ok((self.shared.catalog.last_ticket(), Vec::new()));
            }
            let parameter = Parameter {
                component: kind.component().into(),
                name: Arc::clone(&policy.name),
                value: policy.value(),
            };
            topology.policies.set(kind, policy);
            let ticket = self.write(Change::PutParameter {
                vhost: Arc::clone(&self.name),
                parameter,
            });
            Ok((ticket, rematch(topology)))
        })?;
        self.apply_policies(now_ms, changed);
        Ok(ticket)
    }

    /// Takes a policy away; `None` if it is not there.
    pub fn clear_policy(&self, now_ms: u64, kind: PolicyKind, name: &str) -> Option<Ticket> {
        let _in_order = self.policy_changes.lock();
        let (ticket, changed) = self.change(|topology| {
            if !topology.policies.remove(kind, name) {
                return None;
            }
            let ticket = self.write(Change::DeleteParameter {
                vhost: Arc::clone(&self.name),
                component: kind.component().into(),
                name: name.into(),
            });
            Some((ticket, rematch(topology)))
        })?;
        self.apply_policies(now_ms, changed);
        Some(ticket)
    }

    /// The policies of a kind, those of the highest priority first.
    pub fn policies(&self, kind: PolicyKind) -> Vec<Arc<Policy>> {
        self.read(|topology| topology.policies.list(kind).to_vec())
    }

    /// The policy of this name.
    pub fn policy(&self, kind: PolicyKind, name: &str) -> Option<Arc<Policy>> {
        self.read(|topology| topology.policies.find(kind, name).cloned())
    }

    /// The policies that apply to an exchange.
    pub fn exchange_policy(&self, exchange: &str) -> EffectivePolicy {
        self.read(|topology| topology.exchange_policy(exchange))
    }

    /// Puts back the policies that the catalog kept, before any queue.
    pub(crate) fn restore_policy(&self, kind: PolicyKind, policy: Policy) {
        self.change(|topology| {
            topology.policies.set(kind, Arc::new(policy));
            apply_to_exchanges(topology);
        });
    }

    /// What the arguments and the policies make of a queue that is about to be.
    pub(super) fn with_policy(
        &self,
        topology: &Topology,
        spec: &QueueSpec,
        declared: QueueOptions,
    ) -> (QueueOptions, Arc<EffectivePolicy>) {
        let target = policy_target(declared.kind);
        let policy = topology.policies.effective(target, &spec.name);
        let merged = queue_arguments::parse_with_policy(spec, &self.name, &policy);
        // The declaration was read already, so reading it again cannot fail.
        (merged.unwrap_or(declared), Arc::new(policy))
    }

    fn apply_policies(&self, now_ms: u64, changed: Vec<Changed>) {
        for (cell, policy) in changed {
            let merged = queue_arguments::parse_with_policy(&cell.spec, &self.name, &policy);
            match merged {
                Ok(options) => {
                    let aftermath = cell.change_policy(now_ms, policy, options);
                    self.conclude(now_ms, &cell, aftermath);
                }
                Err(error) => {
                    tracing::error!(queue = %cell.spec.name, "a policy was not applied: {error}");
                }
            }
        }
    }
}

impl Topology {
    /// The policies that apply to an exchange.
    pub fn exchange_policy(&self, exchange: &str) -> EffectivePolicy {
        self.policies.effective(Target::Exchange, exchange)
    }

    /// Gives a new exchange what its policies say.
    pub(super) fn apply_policy_to_exchange(&mut self, exchange: &str) {
        if !self.policies.is_empty() {
            let policy = self.exchange_policy(exchange);
            let alternate = policy.text("alternate-exchange").map(Name::from);
            self.router.set_policy_alternate(exchange, alternate);
        }
    }
}

/// Applies the policies as they are now to every exchange; says which queues have others than before.
fn rematch(topology: &mut Topology) -> Vec<Changed> {
    apply_to_exchanges(topology);
    let mut merged: Vec<Arc<EffectivePolicy>> = Vec::new();
    let mut changed = Vec::new();
    for cell in topology.queues() {
        let target = cell.policy_target();
        let (policy, operator) = topology.policies.matching(target, &cell.spec.name);
        let is_same = |other: &EffectivePolicy| {
            same(&other.policy, &policy) && same(&other.operator, &operator)
        };
        if is_same(&cell.policy()) {
            continue;
        }
        // Thousands of queues share a few policies, and so what is made of them.
        let shared = match merged.iter().find(|other| is_same(other)) {
            Some(shared) => Arc::clone(shared),
            None => {
                let made = Arc::new(EffectivePolicy::new(policy, operator));
                merged.push(Arc::clone(&made));
                made
            }
        };
        changed.push((cell, shared));
    }
    changed
}

fn same(a: &Option<Arc<Policy>>, b: &Option<Arc<Policy>>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => Arc::ptr_eq(a, b),
        (None, None) => true,
        _ => false,
    }
}

fn apply_to_exchanges(topology: &mut Topology) {
    let exchanges: Vec<Name> = topology
        .router
        .exchanges()
        .iter()
        .map(|spec| Arc::clone(&spec.name))
        .collect();
    // The default exchange routes to queues by name and has no alternate, as in RabbitMQ.
    for exchange in exchanges.iter().filter(|name| !name.is_empty()) {
        let policy = topology.exchange_policy(exchange);
        let alternate = policy.text("alternate-exchange").map(Name::from);
        topology.router.set_policy_alternate(exchange, alternate);
    }
}
