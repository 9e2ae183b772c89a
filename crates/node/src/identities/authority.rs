//! Authorities beside the node's own users: who asks them, and what they grant.
//!
//! An [`Authenticator`] is asked once for each login, and may take its time: it speaks over the network. What a user
//! may do is asked on the way of every method. [`Grants`] are at hand and never wait; an [`Authorizer`] speaks over
//! the network, too, so [`Identities`] answer [`Answer::Ask`] and whoever wanted to know asks it and comes back.
//! All three are implemented where the network is.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use metadata::identity::{HashingAlgorithm, PasswordHash, PermissionKind, TopicAction, User};
use metadata::topology::Name;

use super::{AuthFailure, Identities};

/// What a right is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResourceKind {
    /// A queue.
    Queue,
    /// An exchange.
    Exchange,
}

impl ResourceKind {
    /// RabbitMQ's word, as it stands in error texts.
    pub fn name(self) -> &'static str {
        match self {
            ResourceKind::Queue => "queue",
            ResourceKind::Exchange => "exchange",
        }
    }
}

/// A right on a queue or an exchange. The default exchange goes by `amq.default`.
#[derive(Debug, Clone, Copy)]
pub struct Right<'a> {
    /// Which right.
    pub permission: PermissionKind,
    /// On what.
    pub resource: ResourceKind,
    /// Its name.
    pub name: &'a str,
}

/// The right to use a routing key with a topic exchange.
#[derive(Debug, Clone, Copy)]
pub struct TopicRight<'a> {
    /// Publishing or binding.
    pub action: TopicAction,
    /// The exchange's name.
    pub exchange: &'a str,
    /// The key.
    pub routing_key: &'a str,
}

/// What somebody wants to do, as an [`Authorizer`] is asked for it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Question {
    /// Enter a vhost.
    Vhost {
        /// Its name.
        vhost: String,
        /// The client's address, where there is a client.
        peer_host: Option<String>,
    },
    /// Use a queue or an exchange.
    Resource {
        /// The vhost it is in.
        vhost: String,
        /// `queue` or `exchange`.
        resource: &'static str,
        /// Its name.
        name: String,
        /// `configure`, `write` or `read`.
        permission: &'static str,
    },
    /// Use a routing key with a topic exchange.
    Topic {
        /// The vhost it is in.
        vhost: String,
        /// The exchange's name.
        exchange: String,
        /// `write` or `read`.
        permission: &'static str,
        /// The key.
        routing_key: String,
    },
}

impl Question {
    /// Whether a right on a resource is held.
    pub fn right(vhost: &str, right: Right<'_>) -> Question {
        Question::Resource {
            vhost: vhost.to_owned(),
            resource: right.resource.name(),
            name: right.name.to_owned(),
            permission: right.permission.name(),
        }
    }

    /// Whether a routing key may be used.
    pub fn topic(vhost: &str, right: TopicRight<'_>) -> Question {
        Question::Topic {
            vhost: vhost.to_owned(),
            exchange: right.exchange.to_owned(),
            permission: right.action.name(),
            routing_key: right.routing_key.to_owned(),
        }
    }
}

/// Why an [`Authorizer`] says no.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Denial {
    /// What RabbitMQ's refusal goes on with; nothing for a plain no.
    pub why: String,
    /// Nobody said no: whoever was asked cannot answer.
    pub is_failure: bool,
}

/// What an [`Authorizer`] says.
pub type Verdict = Result<(), Denial>;

/// A question that is being decided.
pub type VerdictFuture = Pin<Box<dyn Future<Output = Verdict> + Send>>;

/// Decides on what one user may do, over the network. Its answer comes in bounded time, whatever becomes of whom it
/// asks.
pub trait Authorizer: Debug + Send + Sync {
    /// Decides, in its own time.
    fn decide(self: Arc<Self>, question: Question) -> VerdictFuture;
}

/// Whether a user may do something.
#[derive(Debug, Clone, Copy)]
pub enum Answer<'a> {
    /// Yes.
    Yes,
    /// No.
    No,
    /// This one knows.
    Ask(&'a Arc<dyn Authorizer>),
}

impl From<bool> for Answer<'_> {
    fn from(yes: bool) -> Self {
        match yes {
            true => Answer::Yes,
            false => Answer::No,
        }
    }
}

/// What a user may do who is not, or not only, one of the node's own, where that is known at once.
pub trait Grants: Debug + Send + Sync {
    /// Whether the user may enter a vhost.
    fn may_enter(&self, vhost: &str) -> bool;

    /// Whether the user has a right on a queue or an exchange. The default exchange goes by `amq.default`.
    fn check(&self, vhost: &str, kind: PermissionKind, resource: &str) -> bool;

    /// Whether the user may use a routing key with a topic exchange.
    fn check_topic(
        &self,
        vhost: &str,
        exchange: &str,
        action: TopicAction,
        routing_key: &str,
    ) -> bool;

    /// When all this ends, in milliseconds since 1970; `None` if it does not.
    fn expires_at_ms(&self) -> Option<u64>;
}

/// May do nothing.
#[derive(Debug)]
struct NoGrants;

impl Grants for NoGrants {
    fn may_enter(&self, _vhost: &str) -> bool {
        false
    }

    fn check(&self, _vhost: &str, _kind: PermissionKind, _resource: &str) -> bool {
        false
    }

    fn check_topic(
        &self,
        _vhost: &str,
        _exchange: &str,
        _action: TopicAction,
        _routing_key: &str,
    ) -> bool {
        false
    }

    fn expires_at_ms(&self) -> Option<u64> {
        None
    }
}

/// Who says what a user may do.
#[derive(Debug, Clone)]
enum Rights {
    /// The node's own permissions.
    Own,
    /// What was granted at the login.
    Granted(Arc<dyn Grants>),
    /// Somebody who is asked each time.
    Elsewhere(Arc<dyn Authorizer>),
}

/// Who has logged in.
#[derive(Debug, Clone)]
pub struct AuthenticatedUser {
    user: Arc<User>,
    rights: Rights,
    /// Tags that an authority gave beside the user's own.
    given_tags: usize,
}

impl AuthenticatedUser {
    fn new(user: Arc<User>, rights: Rights) -> AuthenticatedUser {
        AuthenticatedUser {
            user,
            rights,
            given_tags: 0,
        }
    }

    /// One of the node's own users, with the node's permissions.
    pub(super) fn own(user: Arc<User>) -> AuthenticatedUser {
        AuthenticatedUser::new(user, Rights::Own)
    }

    /// Who has not logged in, where that is not asked for: without a name, and without any right.
    pub fn nobody() -> AuthenticatedUser {
        let user = User {
            name: "".into(),
            password_hash: PasswordHash::from_bytes(Vec::new()),
            hashing_algorithm: HashingAlgorithm::DEFAULT,
            tags: Vec::new(),
        };
        AuthenticatedUser::granted(user, Arc::new(NoGrants))
    }

    /// Somebody whom another authority vouches for.
    pub fn granted(user: User, grants: Arc<dyn Grants>) -> AuthenticatedUser {
        AuthenticatedUser::new(Arc::new(user), Rights::Granted(grants))
    }

    /// Somebody about whom another authority is asked each time.
    pub fn authorized_elsewhere(user: User, authorizer: Arc<dyn Authorizer>) -> AuthenticatedUser {
        AuthenticatedUser::new(Arc::new(user), Rights::Elsewhere(authorizer))
    }

    /// The same with the tags that an authority gives, before its own.
    #[must_use]
    pub fn with_tags(mut self, mut tags: Vec<String>) -> AuthenticatedUser {
        if tags.is_empty() {
            return self;
        }
        self.given_tags += tags.len();
        let mut user = User::clone(&self.user);
        tags.append(&mut user.tags);
        user.tags = tags;
        self.user = Arc::new(user);
        self
    }

    /// The login name.
    pub fn name(&self) -> &Name {
        &self.user.name
    }

    /// Whether the user carried a tag when logging in.
    pub fn has_tag(&self, tag: &str) -> bool {
        self.user.has_tag(tag)
    }

    /// The tags the user carried when logging in.
    pub fn tags(&self) -> &[String] {
        &self.user.tags
    }

    /// Those of them that no other authority gave.
    pub fn own_tags(&self) -> &[String] {
        self.user.tags.get(self.given_tags..).unwrap_or_default()
    }

    /// Whether the node's own permissions are the ones that count.
    pub fn is_own(&self) -> bool {
        matches!(self.rights, Rights::Own)
    }

    /// Whether the rights stand in the secret of the login, so that a new one changes them.
    pub fn is_granted(&self) -> bool {
        matches!(self.rights, Rights::Granted(_))
    }

    /// Who is asked what the user may do, if that is decided over the network.
    pub fn authorizer(&self) -> Option<&Arc<dyn Authorizer>> {
        match &self.rights {
            Rights::Elsewhere(authorizer) => Some(authorizer),
            _ => None,
        }
    }

    /// When the login ends, in milliseconds since 1970; `None` if it does not.
    pub fn expires_at_ms(&self) -> Option<u64> {
        match &self.rights {
            Rights::Granted(grants) => grants.expires_at_ms(),
            _ => None,
        }
    }
}

/// Somebody who wants in.
#[derive(Debug, Clone)]
pub struct LoginRequest {
    /// The name that was given.
    pub user: String,
    /// The password, or a token; `None` if the client has proved otherwise who it is.
    pub password: Option<Vec<u8>>,
    /// Whether the client is on this machine.
    pub peer_is_loopback: bool,
}

/// What comes of a login.
pub type LoginOutcome = Result<AuthenticatedUser, AuthFailure>;

/// A login that is being decided.
pub type LoginFuture = Pin<Box<dyn Future<Output = LoginOutcome> + Send>>;

/// Decides on logins by password or token, in place of the node's own users or beside them.
pub trait Authenticator: Debug + Send + Sync {
    /// Decides, in its own time.
    fn log_in(self: Arc<Self>, request: LoginRequest) -> LoginFuture;
}

/// Asking whichever authority the user has.
impl Identities {
    /// Whether the user may enter the vhost.
    pub fn admits<'u>(&self, user: &'u AuthenticatedUser, vhost: &str) -> Answer<'u> {
        match &user.rights {
            Rights::Own => self.may_enter(user.name(), vhost).into(),
            Rights::Granted(grants) => grants.may_enter(vhost).into(),
            Rights::Elsewhere(authorizer) => Answer::Ask(authorizer),
        }
    }

    /// Whether the user has a right on a resource.
    pub fn allows<'u>(
        &self,
        user: &'u AuthenticatedUser,
        vhost: &str,
        right: Right<'_>,
    ) -> Answer<'u> {
        let Right {
            permission, name, ..
        } = right;
        match &user.rights {
            Rights::Own => self.check(user.name(), vhost, permission, name).into(),
            Rights::Granted(grants) => grants.check(vhost, permission, name).into(),
            Rights::Elsewhere(authorizer) => Answer::Ask(authorizer),
        }
    }

    /// Whether the user may use a routing key with a topic exchange.
    pub fn allows_topic<'u>(
        &self,
        user: &'u AuthenticatedUser,
        vhost: &str,
        right: TopicRight<'_>,
    ) -> Answer<'u> {
        let TopicRight {
            action,
            exchange,
            routing_key,
        } = right;
        match &user.rights {
            Rights::Own => self
                .check_topic(user.name(), vhost, None, exchange, action, routing_key)
                .into(),
            Rights::Granted(grants) => grants
                .check_topic(vhost, exchange, action, routing_key)
                .into(),
            Rights::Elsewhere(authorizer) => Answer::Ask(authorizer),
        }
    }
}
