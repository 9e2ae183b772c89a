//! Users and what they may do, in memory, each change written through to the catalog.
//!
//! Reading takes a read lock and no allocation; a channel that wants to ask less often keeps the
//! [`Permissions`] it was given until [`Identities::generation`] moves. Deliberately absent: the vhosts
//! themselves (the node's), back ends other than this one, and closing the connections of a user who was
//! deleted, which whoever deletes asks of the node.

mod authority;
mod change;
mod limits;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use metadata::identity::{
    HashingAlgorithm, PasswordHash, Pattern, PatternError, PermissionKind, Permissions,
    TopicAction, TopicPermissions, TopicVariables, USER_TAGS_MAX, User,
};
use metadata::topology::Name;
use parking_lot::RwLock;

use crate::catalog::{Catalog, Stored};
use crate::events::Events;

pub use authority::{
    Answer, AuthenticatedUser, Authenticator, Authorizer, Denial, Grants, LoginFuture,
    LoginOutcome, LoginRequest, Question, ResourceKind, Right, TopicRight, Verdict, VerdictFuture,
};

/// What a broker that was never told anything starts with, and who may log in from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentitySettings {
    /// Users who may only connect over the loopback interface.
    pub loopback_users: Vec<String>,
    /// The vhost made on the first start.
    pub default_vhost: String,
    /// The user made on the first start, an administrator with all permissions in `default_vhost`.
    pub default_user: String,
    /// That user's password.
    pub default_password: String,
}

impl Default for IdentitySettings {
    /// As RabbitMQ: `guest` with password `guest`, from loopback only, and the vhost `/`.
    fn default() -> IdentitySettings {
        IdentitySettings {
            loopback_users: vec!["guest".to_owned()],
            default_vhost: "/".to_owned(),
            default_user: "guest".to_owned(),
            default_password: "guest".to_owned(),
        }
    }
}

/// All users and their permissions.
#[derive(Debug)]
pub struct Identities {
    users: RwLock<BTreeMap<Name, Entry>>,
    catalog: Arc<Catalog>,
    events: Arc<Events>,
    generation: AtomicU64,
    loopback_users: Vec<String>,
}

#[derive(Debug)]
struct Entry {
    user: Arc<User>,
    permissions: BTreeMap<Name, Arc<Permissions>>,
    /// By vhost, then by exchange.
    topics: BTreeMap<Name, BTreeMap<Name, TopicAccess>>,
    limits: limits::Limits,
}

/// Topic permissions, compiled for their user and vhost and for a client without an MQTT identifier.
#[derive(Debug)]
struct TopicAccess {
    permissions: Arc<TopicPermissions>,
    write: Pattern,
    read: Pattern,
}

/// Why a login is refused. The text is RabbitMQ's, for the log: the client is told less.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthFailure {
    /// No such user, or another password.
    #[error("user '{0}' - invalid credentials")]
    InvalidCredentials(String),
    /// An empty password, which is never right.
    #[error(
        "user '{0}' attempted to log in with a blank password, which is prohibited by the internal \
         authN backend"
    )]
    BlankPassword(String),
    /// An authority beside the node's own users says no, or cannot be asked.
    #[error("user '{user}' - {reason}")]
    Refused {
        /// The name that was given.
        user: String,
        /// Why.
        reason: String,
    },
    /// The right password from the wrong place.
    #[error("user '{0}' can only connect via localhost")]
    LoopbackOnly(String),
}

/// Why a change was refused. The text is rabbitmqctl's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The name is taken.
    #[error("User \"{0}\" already exists")]
    UserExists(String),
    /// There is no user of that name.
    #[error("User \"{0}\" does not exist")]
    NoSuchUser(String),
    /// A user must have a name.
    #[error("user cannot be an empty string")]
    EmptyName,
    /// More tags than a user may carry.
    #[error("a user cannot have more than {USER_TAGS_MAX} tags")]
    TooManyTags,
    /// A permission is no regular expression that can be used.
    #[error(transparent)]
    Pattern(#[from] PatternError),
}

/// A password to be.
#[derive(Debug, Clone)]
pub enum NewPassword<'a> {
    /// Hashed here under a new salt.
    Clear(&'a [u8]),
    /// Hashed elsewhere, as definitions and `hash_password` give it.
    Hashed(PasswordHash, HashingAlgorithm),
    /// None: the user cannot log in with a password.
    None,
}

impl NewPassword<'_> {
    fn hash(self) -> (PasswordHash, HashingAlgorithm) {
        match self {
            NewPassword::Clear(password) => {
                let algorithm = HashingAlgorithm::DEFAULT;
                (
                    PasswordHash::salted(algorithm, rand::random(), password),
                    algorithm,
                )
            }
            NewPassword::Hashed(hash, algorithm) => (hash, algorithm),
            NewPassword::None => (PasswordHash::NONE, HashingAlgorithm::DEFAULT),
        }
    }
}

/// Hashes a password under a new salt, as definitions carry it.
pub fn hash_password(password: &[u8]) -> PasswordHash {
    NewPassword::Clear(password).hash().0
}

/// Reading.
impl Identities {
    /// Takes users and permissions out of what the catalog held. If it held nothing at all, adds the default
    /// vhost to `stored` and the default user here, and keeps both.
    pub fn open(
        stored: &mut Stored,
        catalog: Arc<Catalog>,
        events: Arc<Events>,
        settings: &IdentitySettings,
    ) -> Identities {
        if stored.is_virgin() {
            change::seed(stored, &catalog, settings);
        }
        let mut users = BTreeMap::new();
        for user in std::mem::take(&mut stored.users) {
            users.insert(user.name.clone(), Entry::of(user));
        }
        // Permissions of no user or vhost would come to life with the next of that name.
        let known = |name: &Name| stored.vhosts.iter().any(|vhost| vhost.name == *name);
        let mut checked: Option<(Name, bool)> = None;
        let mut in_vhost = |vhost: &Name| match &checked {
            Some((name, known)) if name == vhost => *known,
            _ => checked.insert((vhost.clone(), known(vhost))).1,
        };
        for (vhost, user, permissions) in std::mem::take(&mut stored.permissions) {
            if let Some(entry) = users.get_mut(&user)
                && in_vhost(&vhost)
            {
                entry.permissions.insert(vhost, permissions);
            }
        }
        for (vhost, user, permissions) in std::mem::take(&mut stored.topic_permissions) {
            if let Some(entry) = users.get_mut(&user)
                && in_vhost(&vhost)
                && let Ok(access) = TopicAccess::compile(&user, &vhost, permissions)
            {
                entry.insert_topic(vhost, access);
            }
        }
        for (user, limits) in std::mem::take(&mut stored.user_limits) {
            if let Some(entry) = users.get_mut(&user) {
                entry.limits = limits::Limits::restored(limits);
            }
        }
        Identities {
            users: RwLock::new(users),
            catalog,
            events,
            generation: AtomicU64::new(1),
            loopback_users: settings.loopback_users.clone(),
        }
    }

    /// Moves with every change, so that whoever keeps an answer knows when to ask again.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Moves the generation: an authority beside the node's own users has changed its mind.
    pub fn forget_answers(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// Checks a password.
    ///
    /// # Errors
    /// If it is wrong or blank, or the user may not log in from where the peer is.
    pub fn authenticate(
        &self,
        user: &str,
        password: &[u8],
        peer_is_loopback: bool,
    ) -> Result<AuthenticatedUser, AuthFailure> {
        if password.is_empty() {
            return Err(AuthFailure::BlankPassword(user.to_owned()));
        }
        let Some(found) = self.user(user) else {
            // As much work as for a user that exists, so that time does not tell which names do.
            PasswordHash::salted(HashingAlgorithm::DEFAULT, [0; 4], password);
            return Err(AuthFailure::InvalidCredentials(user.to_owned()));
        };
        if !found.verify_password(password) {
            return Err(AuthFailure::InvalidCredentials(user.to_owned()));
        }
        self.admit(found, peer_is_loopback)
    }

    /// Lets in a user who was authenticated by other means, a certificate for example.
    ///
    /// # Errors
    /// If there is no such user, or not from where the peer is.
    pub fn authenticate_external(
        &self,
        user: &str,
        peer_is_loopback: bool,
    ) -> Result<AuthenticatedUser, AuthFailure> {
        let found = self
            .user(user)
            .ok_or_else(|| AuthFailure::InvalidCredentials(user.to_owned()))?;
        self.admit(found, peer_is_loopback)
    }

    fn admit(
        &self,
        user: Arc<User>,
        peer_is_loopback: bool,
    ) -> Result<AuthenticatedUser, AuthFailure> {
        if !peer_is_loopback && self.loopback_users.iter().any(|name| **name == *user.name) {
            return Err(AuthFailure::LoopbackOnly(user.name.to_string()));
        }
        Ok(AuthenticatedUser::own(user))
    }

    /// Whether the user may enter the vhost.
    pub fn may_enter(&self, user: &str, vhost: &str) -> bool {
        self.permissions(user, vhost).is_some()
    }

    /// Whether the user has a right on a resource. The default exchange goes by the name `amq.default` here.
    pub fn check(&self, user: &str, vhost: &str, kind: PermissionKind, resource: &str) -> bool {
        let users = self.users.read();
        let permissions = users
            .get(user)
            .and_then(|entry| entry.permissions.get(vhost));
        permissions.is_some_and(|permissions| permissions.allow(kind, resource))
    }

    /// Whether the user may use a routing key with a topic exchange.
    pub fn check_topic(
        &self,
        user: &str,
        vhost: &str,
        client_id: Option<&str>,
        exchange: &str,
        action: TopicAction,
        routing_key: &str,
    ) -> bool {
        let users = self.users.read();
        let access = users
            .get(user)
            .and_then(|entry| entry.topics.get(vhost))
            .and_then(|topics| topics.get(exchange));
        let Some(access) = access else { return true };
        let pattern = access.permissions.pattern(action);
        match client_id {
            Some(_) if pattern.needs_client_id() => pattern
                .compile(&TopicVariables {
                    username: user,
                    vhost,
                    client_id,
                })
                .is_ok_and(|pattern| pattern.matches(routing_key)),
            _ => match action {
                TopicAction::Write => access.write.matches(routing_key),
                TopicAction::Read => access.read.matches(routing_key),
            },
        }
    }

    /// Whether any topic permissions of the user in the vhost exist, so that a check could say no.
    pub fn has_topic_permissions(&self, user: &str, vhost: &str) -> bool {
        self.users
            .read()
            .get(user)
            .is_some_and(|entry| entry.topics.contains_key(vhost))
    }

    /// A user by name.
    pub fn user(&self, name: &str) -> Option<Arc<User>> {
        self.users
            .read()
            .get(name)
            .map(|entry| Arc::clone(&entry.user))
    }

    /// All users by name.
    pub fn users(&self) -> Vec<Arc<User>> {
        self.users
            .read()
            .values()
            .map(|entry| Arc::clone(&entry.user))
            .collect()
    }

    /// A user's permissions in a vhost; none for a user who may not enter it.
    pub fn permissions(&self, user: &str, vhost: &str) -> Option<Arc<Permissions>> {
        self.users
            .read()
            .get(user)
            .and_then(|entry| entry.permissions.get(vhost))
            .cloned()
    }

    /// Each user who may enter a vhost, by name.
    pub fn permissions_in(&self, vhost: &str) -> Vec<(Name, Arc<Permissions>)> {
        let users = self.users.read();
        let of = |(name, entry): (&Name, &Entry)| {
            entry
                .permissions
                .get(vhost)
                .map(|p| (name.clone(), Arc::clone(p)))
        };
        users.iter().filter_map(of).collect()
    }

    /// Each vhost that a user may enter, by name.
    ///
    /// # Errors
    /// If there is no such user.
    pub fn permissions_of(
        &self,
        user: &str,
    ) -> Result<Vec<(Name, Arc<Permissions>)>, IdentityError> {
        let users = self.users.read();
        let entry = users.get(user).ok_or_else(|| no_such_user(user))?;
        Ok(entry
            .permissions
            .iter()
            .map(|(v, p)| (v.clone(), Arc::clone(p)))
            .collect())
    }

    /// Each user's topic permissions in a vhost, by user and exchange.
    pub fn topic_permissions_in(&self, vhost: &str) -> Vec<(Name, Arc<TopicPermissions>)> {
        let users = self.users.read();
        let mut out = Vec::new();
        for (name, entry) in &*users {
            let topics = entry
                .topics
                .get(vhost)
                .into_iter()
                .flat_map(BTreeMap::values);
            out.extend(topics.map(|access| (name.clone(), Arc::clone(&access.permissions))));
        }
        out
    }

    /// A user's topic permissions, by vhost and exchange.
    ///
    /// # Errors
    /// If there is no such user.
    pub fn topic_permissions_of(
        &self,
        user: &str,
    ) -> Result<Vec<(Name, Arc<TopicPermissions>)>, IdentityError> {
        let users = self.users.read();
        let entry = users.get(user).ok_or_else(|| no_such_user(user))?;
        let mut out = Vec::new();
        for (vhost, topics) in &entry.topics {
            let of = |access: &TopicAccess| (vhost.clone(), Arc::clone(&access.permissions));
            out.extend(topics.values().map(of));
        }
        Ok(out)
    }
}

impl Entry {
    fn of(user: Arc<User>) -> Entry {
        Entry {
            user,
            permissions: BTreeMap::new(),
            topics: BTreeMap::new(),
            limits: limits::Limits::default(),
        }
    }

    fn insert_topic(&mut self, vhost: Name, access: TopicAccess) {
        let exchange = access.permissions.exchange.clone();
        self.topics
            .entry(vhost)
            .or_default()
            .insert(exchange, access);
    }
}

impl TopicAccess {
    fn compile(
        user: &str,
        vhost: &str,
        permissions: Arc<TopicPermissions>,
    ) -> Result<TopicAccess, PatternError> {
        let variables = TopicVariables {
            username: user,
            vhost,
            client_id: None,
        };
        Ok(TopicAccess {
            write: permissions.write.compile(&variables)?,
            read: permissions.read.compile(&variables)?,
            permissions,
        })
    }
}

fn no_such_user(name: &str) -> IdentityError {
    IdentityError::NoSuchUser(name.to_owned())
}
