//! Policies: settings that apply to all queues and exchanges whose names match.
//!
//! At most one policy and one operator policy apply to an object: of those that match, the one of the highest
//! priority. [`PolicySet`] finds them, [`EffectivePolicy`] merges the two; how they merge with an object's own
//! arguments is `broker`'s (`queue_arguments`). Which settings there are: `keys`. Deliberately absent: what a
//! setting does.

mod effective;
mod keys;
mod set;

use serde_json::{Map, Number, Value};

pub use effective::EffectivePolicy;
pub use set::{Matched, PolicySet};

use crate::erlang;
use crate::identity::Pattern;
use crate::topology::Name;
use crate::validation::{Fields, ValidationError, number};

/// Whose policy it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PolicyKind {
    /// An application's, set by a policymaker.
    User,
    /// The operator's: what an application may not exceed.
    Operator,
}

impl PolicyKind {
    /// The runtime parameter's component that it is kept under.
    pub fn component(self) -> &'static str {
        match self {
            PolicyKind::User => "policy",
            PolicyKind::Operator => "operator_policy",
        }
    }
}

/// What kinds of objects a policy is for (`apply-to`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ApplyTo {
    /// `all`: exchanges and queues of every type.
    #[default]
    All,
    /// `exchanges`
    Exchanges,
    /// `queues`, of every type.
    Queues,
    /// `classic_queues`
    ClassicQueues,
    /// `quorum_queues`
    QuorumQueues,
    /// `streams`
    Streams,
}

impl ApplyTo {
    const ALL: [ApplyTo; 6] = [
        ApplyTo::All,
        ApplyTo::Exchanges,
        ApplyTo::Queues,
        ApplyTo::ClassicQueues,
        ApplyTo::QuorumQueues,
        ApplyTo::Streams,
    ];

    /// RabbitMQ's word for it.
    pub fn name(self) -> &'static str {
        match self {
            ApplyTo::All => "all",
            ApplyTo::Exchanges => "exchanges",
            ApplyTo::Queues => "queues",
            ApplyTo::ClassicQueues => "classic_queues",
            ApplyTo::QuorumQueues => "quorum_queues",
            ApplyTo::Streams => "streams",
        }
    }

    fn parse(value: &Value) -> Result<ApplyTo, String> {
        let found = ApplyTo::ALL.into_iter().find(|a| value == a.name());
        found.ok_or_else(|| {
            let given = match value {
                Value::String(text) => text.clone(),
                value => erlang::term(value),
            };
            // The two blanks are RabbitMQ's.
            format!(
                "apply-to '{given}' unrecognised; should be one of: 'queues', 'classic_queues',  \
                 'quorum_queues', 'streams', 'exchanges', or 'all'"
            )
        })
    }
}

/// What a policy may apply to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// An exchange of any type.
    Exchange,
    /// A classic queue.
    ClassicQueue,
    /// A quorum queue.
    QuorumQueue,
    /// A stream.
    Stream,
}

/// A policy that was checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Its name, unique among its kind in the vhost.
    pub name: Name,
    /// The pattern as it was set.
    pub pattern: String,
    /// What it is for.
    pub apply_to: ApplyTo,
    /// Whether `apply-to` was given: RabbitMQ shows what was set.
    pub apply_to_given: bool,
    /// The highest of those that match applies. RabbitMQ takes any number.
    pub priority: Number,
    /// The settings.
    pub definition: Map<String, Value>,
    matcher: Pattern,
}

impl Policy {
    /// Checks and reads `{"pattern": .., "definition": {..}, "priority": .., "apply-to": ..}`, a runtime
    /// parameter's value.
    ///
    /// # Errors
    /// Every fault, in RabbitMQ's words and order.
    pub fn parse(kind: PolicyKind, name: &str, value: &Value) -> Result<Policy, ValidationError> {
        let mut fields = Fields::of(name, value)?;
        let priority = fields.mandatory("priority", number);
        let pattern = fields.mandatory("pattern", pattern);
        let apply_to = fields.optional("apply-to", |_, value| ApplyTo::parse(value));
        let definition = fields.mandatory("definition", |_, value| keys::check(kind, value));
        fields.end()?;
        let absent = || ValidationError::new("a field is missing");
        let (pattern, matcher) = pattern.ok_or_else(absent)?;
        Ok(Policy {
            name: name.into(),
            pattern,
            apply_to: apply_to.unwrap_or_default(),
            apply_to_given: apply_to.is_some(),
            priority: priority.ok_or_else(absent)?,
            definition: definition.ok_or_else(absent)?,
            matcher,
        })
    }

    /// Its value as a runtime parameter, which [`Policy::parse`] reads.
    pub fn value(&self) -> Value {
        let mut value = Map::new();
        if self.apply_to_given {
            value.insert("apply-to".into(), self.apply_to.name().into());
        }
        value.insert("definition".into(), self.definition.clone().into());
        value.insert("pattern".into(), self.pattern.clone().into());
        value.insert("priority".into(), self.priority.clone().into());
        value.into()
    }

    /// Whether it is for an object. One with a setting that a queue's type does not know is not for that queue.
    pub fn matches(&self, target: Target, name: &str) -> bool {
        let for_target = match (self.apply_to, target) {
            (ApplyTo::All, _) => true,
            (ApplyTo::Exchanges, target) => target == Target::Exchange,
            (ApplyTo::Queues, target) => target != Target::Exchange,
            (ApplyTo::ClassicQueues, target) => target == Target::ClassicQueue,
            (ApplyTo::QuorumQueues, target) => target == Target::QuorumQueue,
            (ApplyTo::Streams, target) => target == Target::Stream,
        };
        let known = |key: &String| !keys::is_unsupported(target, key);
        for_target && self.definition.keys().all(known) && self.matcher.matches(name)
    }
}

/// Settings of a definition that no policy has, with what was left out: exports of other releases and of
/// brokers with plugins carry them.
pub fn unknown_settings(kind: PolicyKind, definition: &Map<String, Value>) -> Vec<String> {
    let unknown = definition.keys().filter(|key| !keys::is_known(kind, key));
    unknown.cloned().collect()
}

/// A pattern with its matcher. The empty one matches every name, unlike a permission's.
fn pattern(key: &str, value: &Value) -> Result<(String, Pattern), String> {
    let Value::String(text) = value else {
        return Err(format!(
            "{key} should be a binary but was {}",
            erlang::term(value)
        ));
    };
    let source = if text.is_empty() { ".*" } else { text.as_str() };
    match Pattern::parse(source) {
        Ok(matcher) => Ok((text.clone(), matcher)),
        Err(error) if error.reason == "pattern_too_long" => Err(format!(
            "{key} must not exceed {} bytes",
            crate::identity::PATTERN_BYTES_MAX
        )),
        Err(error) => Err(format!(
            "{key} should be regular expression but is invalid: {}",
            error.reason
        )),
    }
}

#[cfg(test)]
mod tests;
