//! Authorities beside the node's own users: who asks them, and what they grant.
//!
//! An [`Authenticator`] is asked once for each login, and may take its time: it speaks over the network. What it
//! grants is asked on the way of every method, so it is at hand and never waits. Both are implemented where the
//! network is.

use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use metadata::identity::{HashingAlgorithm, PasswordHash, PermissionKind, TopicAction, User};
use metadata::topology::Name;

use super::{AuthFailure, Identities};

/// What a user may do who is not, or not only, one of the node's own.
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

/// Who has logged in.
#[derive(Debug, Clone)]
pub struct AuthenticatedUser {
    user: Arc<User>,
    grants: Option<Arc<dyn Grants>>,
}

impl AuthenticatedUser {
    /// One of the node's own users, with the node's permissions.
    pub(super) fn own(user: Arc<User>) -> AuthenticatedUser {
        AuthenticatedUser { user, grants: None }
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
        AuthenticatedUser {
            user: Arc::new(user),
            grants: Some(grants),
        }
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

    /// Whether the node's own permissions are the ones that count.
    pub fn is_own(&self) -> bool {
        self.grants.is_none()
    }

    /// When the login ends, in milliseconds since 1970; `None` if it does not.
    pub fn expires_at_ms(&self) -> Option<u64> {
        self.grants.as_ref()?.expires_at_ms()
    }
}

/// Somebody who wants in.
#[derive(Debug, Clone)]
pub struct LoginRequest {
    /// The name that was given.
    pub user: String,
    /// The password, or a token.
    pub password: Vec<u8>,
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
    pub fn admits(&self, user: &AuthenticatedUser, vhost: &str) -> bool {
        match &user.grants {
            None => self.may_enter(user.name(), vhost),
            Some(grants) => grants.may_enter(vhost),
        }
    }

    /// Whether the user has a right on a resource. The default exchange goes by the name `amq.default` here.
    pub fn allows(
        &self,
        user: &AuthenticatedUser,
        vhost: &str,
        kind: PermissionKind,
        resource: &str,
    ) -> bool {
        match &user.grants {
            None => self.check(user.name(), vhost, kind, resource),
            Some(grants) => grants.check(vhost, kind, resource),
        }
    }

    /// Whether the user may use a routing key with a topic exchange.
    pub fn allows_topic(
        &self,
        user: &AuthenticatedUser,
        vhost: &str,
        exchange: &str,
        action: TopicAction,
        routing_key: &str,
    ) -> bool {
        match &user.grants {
            None => self.check_topic(user.name(), vhost, None, exchange, action, routing_key),
            Some(grants) => grants.check_topic(vhost, exchange, action, routing_key),
        }
    }
}
