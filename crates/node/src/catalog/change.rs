//! What is written to the catalog, and what is read back from it.

use std::sync::Arc;

use metadata::identity::{Permissions, TopicPermissions, User, VhostSpec};
use metadata::parameter::Parameter;
use metadata::topology::{BindingSpec, ExchangeSpec, Name, QueueSpec};
use serde_json::{Map, Value};

/// One change of what the broker has been told. Each is idempotent: a put replaces, and deleting what is not
/// there does nothing.
#[derive(Debug, Clone)]
pub enum Change {
    /// Keeps a vhost.
    PutVhost(VhostSpec),
    /// Removes a vhost, with all its exchanges, queues, bindings, permissions and parameters.
    DeleteVhost {
        /// Its name.
        vhost: Name,
    },
    /// Keeps an exchange.
    PutExchange {
        /// The vhost it is in.
        vhost: Name,
        /// The exchange.
        spec: ExchangeSpec,
    },
    /// Removes an exchange. Its bindings are changes of their own.
    DeleteExchange {
        /// The vhost it is in.
        vhost: Name,
        /// Its name.
        exchange: Name,
    },
    /// Keeps a queue.
    PutQueue {
        /// The vhost it is in.
        vhost: Name,
        /// Its number, the same after every restart and never given to another queue.
        id: u64,
        /// The queue.
        spec: QueueSpec,
    },
    /// Removes a queue. Its bindings are changes of their own.
    DeleteQueue {
        /// The vhost it is in.
        vhost: Name,
        /// Its name.
        queue: Name,
    },
    /// Keeps a binding.
    PutBinding {
        /// The vhost it is in.
        vhost: Name,
        /// The binding.
        spec: BindingSpec,
    },
    /// Removes the binding that equals `spec`, arguments in whatever order.
    DeleteBinding {
        /// The vhost it is in.
        vhost: Name,
        /// The binding.
        spec: BindingSpec,
    },
    /// Keeps a user.
    PutUser(Arc<User>),
    /// Removes a user, with all permissions and limits.
    DeleteUser {
        /// The login name.
        user: Name,
    },
    /// Keeps a user's permissions in a vhost.
    PutPermissions {
        /// The vhost.
        vhost: Name,
        /// The user.
        user: Name,
        /// What the user may do there.
        permissions: Arc<Permissions>,
    },
    /// Removes a user's permissions in a vhost, those on topics apart.
    DeletePermissions {
        /// The vhost.
        vhost: Name,
        /// The user.
        user: Name,
    },
    /// Keeps a user's permissions on the routing keys of an exchange.
    PutTopicPermissions {
        /// The vhost.
        vhost: Name,
        /// The user.
        user: Name,
        /// The exchange, and what the user may do with it.
        permissions: Arc<TopicPermissions>,
    },
    /// Removes a user's permissions on the routing keys of one exchange, or of all in the vhost.
    DeleteTopicPermissions {
        /// The vhost.
        vhost: Name,
        /// The user.
        user: Name,
        /// The exchange; none for all.
        exchange: Option<Name>,
    },
    /// Keeps a runtime parameter of a vhost: a policy, limits, and others.
    PutParameter {
        /// The vhost.
        vhost: Name,
        /// The parameter.
        parameter: Parameter,
    },
    /// Removes a runtime parameter of a vhost.
    DeleteParameter {
        /// The vhost.
        vhost: Name,
        /// The parameter's component.
        component: Name,
        /// The parameter's name.
        name: Name,
    },
    /// Keeps a parameter of the whole broker.
    PutGlobalParameter {
        /// Its name.
        name: Name,
        /// Its value.
        value: Value,
    },
    /// Removes a parameter of the whole broker.
    DeleteGlobalParameter {
        /// Its name.
        name: Name,
    },
    /// Keeps a user's limits, by name; none of them removes them.
    PutUserLimits {
        /// The user.
        user: Name,
        /// The limits.
        limits: Map<String, Value>,
    },
    /// Messages up to this position of the log may have been delivered before.
    PutRedelivered {
        /// The position.
        up_to: u64,
    },
    /// All of these, or after a crash none: a queue with its bindings, for example.
    All(Vec<Change>),
}

/// A queue as it was read back.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredQueue {
    /// The vhost it is in.
    pub vhost: Name,
    /// Its number.
    pub id: u64,
    /// The queue.
    pub spec: QueueSpec,
}

/// All that the catalog held when it was opened.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stored {
    /// The vhosts.
    pub vhosts: Vec<VhostSpec>,
    /// Each exchange with its vhost.
    pub exchanges: Vec<(Name, ExchangeSpec)>,
    /// The queues.
    pub queues: Vec<StoredQueue>,
    /// Each binding with its vhost.
    pub bindings: Vec<(Name, BindingSpec)>,
    /// The users.
    pub users: Vec<Arc<User>>,
    /// Vhost, user, and what the user may do there.
    pub permissions: Vec<(Name, Name, Arc<Permissions>)>,
    /// Vhost, user, and what the user may do with routing keys of an exchange.
    pub topic_permissions: Vec<(Name, Name, Arc<TopicPermissions>)>,
    /// Each runtime parameter with its vhost.
    pub parameters: Vec<(Name, Parameter)>,
    /// Name and value of the parameters of the whole broker.
    pub global_parameters: Vec<(Name, Value)>,
    /// The users that have limits, and these.
    pub user_limits: Vec<(Name, Map<String, Value>)>,
    /// Messages up to this position of the log may have been delivered before.
    pub redelivered_up_to: u64,
    /// How many times the catalog has been opened, this time included.
    pub boots: u64,
    /// The first number free for a queue. Numbers from here on were never given out by an earlier run, not
    /// even to a queue whose record a crash prevented.
    pub queue_id_first: u64,
}

impl Stored {
    /// Whether nothing was ever told to this broker: no vhost and no user.
    pub fn is_virgin(&self) -> bool {
        self.vhosts.is_empty() && self.users.is_empty()
    }
}
