//! Definitions: all that a broker was told, as RabbitMQ exports and imports it in one JSON document.
//!
//! [`Definitions::parse`] reads exports of RabbitMQ 3 and 4, [`Definitions::to_json`] writes one that RabbitMQ 4
//! reads. What is wrong is refused before anything is changed; what is not known is left out, with a warning that
//! names it. Deliberately absent: applying them, which is the node's.

mod read;
mod write;

#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use crate::identity::{HashingAlgorithm, PasswordHash, Permissions, TopicPermissions, VhostSpec};
use crate::parameter::Parameter;
use crate::policy::Policy;
use crate::topology::{BindingSpec, ExchangeSpec, Name, QueueSpec};

/// See the module. What is in a vhost comes with the vhost's name.
#[derive(Debug, Default)]
pub struct Definitions {
    /// Users, with their passwords.
    pub users: Vec<UserDefinition>,
    /// Vhosts.
    pub vhosts: Vec<VhostDefinition>,
    /// Vhost, user, and what the user may do there.
    pub permissions: Vec<(Name, Name, Permissions)>,
    /// Vhost, user, and what the user may do with an exchange's routing keys.
    pub topic_permissions: Vec<(Name, Name, TopicPermissions)>,
    /// Operator policies, limits and parameters of others, not checked yet.
    pub parameters: Vec<(Name, Parameter)>,
    /// Parameters of the whole broker.
    pub global_parameters: Vec<(Name, Value)>,
    /// Policies.
    pub policies: Vec<(Name, Policy)>,
    /// Exchanges.
    pub exchanges: Vec<(Name, ExchangeSpec)>,
    /// Queues.
    pub queues: Vec<(Name, QueueSpec)>,
    /// Bindings.
    pub bindings: Vec<(Name, BindingSpec)>,
    /// What was left out or changed when they were read, a sentence each.
    pub warnings: Vec<String>,
}

/// A user as it is exported.
#[derive(Debug, Clone, PartialEq)]
pub struct UserDefinition {
    /// The login name.
    pub name: Name,
    /// How the user proves who it is.
    pub password: PasswordDefinition,
    /// The user's tags.
    pub tags: Vec<String>,
    /// Limits by name. None: what the user has stays.
    pub limits: Option<Map<String, Value>>,
}

/// A password as definitions carry it.
#[derive(Clone, PartialEq, Eq)]
pub enum PasswordDefinition {
    /// Its salted hash.
    Hash(PasswordHash, HashingAlgorithm),
    /// In clear, as people write it by hand.
    Clear(String),
    /// The user cannot log in with a password.
    None,
}

impl std::fmt::Debug for PasswordDefinition {
    /// Neither passwords nor their hashes belong in a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            PasswordDefinition::Hash(..) => "Hash(..)",
            PasswordDefinition::Clear(_) => "Clear(..)",
            PasswordDefinition::None => "None",
        })
    }
}

/// A vhost as it is exported.
#[derive(Debug, Clone, PartialEq)]
pub struct VhostDefinition {
    /// What it was declared with.
    pub spec: VhostSpec,
    /// Its limits by name.
    pub limits: Map<String, Value>,
}

/// Why definitions cannot be imported: a sentence that says which item, and what about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DefinitionsError(pub String);

/// Where definitions come from or go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// The whole broker, called by its cluster name.
    Cluster(String),
    /// One vhost; what concerns others, users among them, is not in them.
    Vhost(Name),
}
