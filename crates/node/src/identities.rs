//! Users and what they may do, in memory, each change written through to the catalog.
//!
//! Reading takes a read lock and no allocation; a channel that wants to ask less often keeps the
//! [`Permissions`] it was given until [`Identities::generation`] moves. Deliberately absent: the vhosts
//! themselves (the node's), back ends other than this one, and closing the connections of a user who was
//! deleted, which whoever deletes asks of the node.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use metadata::identity::{
    HashingAlgorithm, PasswordHash, Pattern, PatternError, PermissionKind, Permissions,
    TAG_ADMINISTRATOR, TopicAction, TopicPermissions, TopicVariables, USER_TAGS_MAX, User,
    VhostSpec,
};
use metadata::topology::Name;
use parking_lot::RwLock;

use crate::catalog::{Catalog, Change, Stored, Ticket};

/// What a broker that was never told anything starts with, and who may log in from where.
#[derive(Debug, Clone)]
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
    generation: AtomicU64,
    loopback_users: Vec<String>,
}

#[derive(Debug)]
struct Entry {
    user: Arc<User>,
    permissions: BTreeMap<Name, Arc<Permissions>>,
    /// By vhost, then by exchange.
    topics: BTreeMap<Name, BTreeMap<Name, TopicAccess>>,
}

/// Topic permissions, compiled for their user and vhost and for a client without an MQTT identifier.
#[derive(Debug)]
struct TopicAccess {
    permissions: Arc<TopicPermissions>,
    write: Pattern,
    read: Pattern,
}

/// Who has logged in.
#[derive(Debug, Clone)]
pub struct AuthenticatedUser(Arc<User>);

impl AuthenticatedUser {
    /// The login name.
    pub fn name(&self) -> &Name {
        &self.0.name
    }

    /// Whether the user carried a tag when logging in.
    pub fn has_tag(&self, tag: &str) -> bool {
        self.0.has_tag(tag)
    }

    /// The tags the user carried when logging in.
    pub fn tags(&self) -> &[String] {
        &self.0.tags
    }
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

/// Reading.
impl Identities {
    /// Takes users and permissions out of what the catalog held. If it held nothing at all, adds the default
    /// vhost to `stored` and the default user here, and keeps both.
    pub fn open(
        stored: &mut Stored,
        catalog: Arc<Catalog>,
        settings: &IdentitySettings,
    ) -> Identities {
        if stored.is_virgin() {
            seed(stored, &catalog, settings);
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
        Identities {
            users: RwLock::new(users),
            catalog,
            generation: AtomicU64::new(1),
            loopback_users: settings.loopback_users.clone(),
        }
    }

    /// Moves with every change, so that whoever keeps an answer knows when to ask again.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
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
        Ok(AuthenticatedUser(user))
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

/// Changing. Each returns the ticket that says when the change is on disk; it holds in memory at once.
impl Identities {
    /// Adds a user, without any permissions.
    ///
    /// # Errors
    /// If the name is taken or empty, or there are too many tags.
    pub fn add_user(
        &self,
        name: &str,
        password: NewPassword<'_>,
        tags: Vec<String>,
    ) -> Result<Ticket, IdentityError> {
        if name.is_empty() {
            return Err(IdentityError::EmptyName);
        }
        check_tags(&tags)?;
        let (password_hash, hashing_algorithm) = password.hash();
        let mut users = self.users.write();
        if users.contains_key(name) {
            return Err(IdentityError::UserExists(name.to_owned()));
        }
        let user = Arc::new(User {
            name: name.into(),
            password_hash,
            hashing_algorithm,
            tags,
        });
        users.insert(user.name.clone(), Entry::of(Arc::clone(&user)));
        Ok(self.keep(Change::PutUser(user)))
    }

    /// Removes a user and all permissions of that user.
    ///
    /// # Errors
    /// If there is no such user.
    pub fn delete_user(&self, name: &str) -> Result<Ticket, IdentityError> {
        let mut users = self.users.write();
        let (user, _) = users.remove_entry(name).ok_or_else(|| no_such_user(name))?;
        Ok(self.keep(Change::DeleteUser { user }))
    }

    /// Sets a user's password, or takes it away.
    ///
    /// # Errors
    /// If there is no such user.
    pub fn change_password(
        &self,
        name: &str,
        password: NewPassword<'_>,
    ) -> Result<Ticket, IdentityError> {
        let (password_hash, hashing_algorithm) = password.hash();
        self.change_user(name, |user| User {
            password_hash,
            hashing_algorithm,
            ..user
        })
    }

    /// Sets a user's tags in place of those the user had.
    ///
    /// # Errors
    /// If there is no such user, or there are too many tags.
    pub fn set_tags(&self, name: &str, tags: Vec<String>) -> Result<Ticket, IdentityError> {
        check_tags(&tags)?;
        self.change_user(name, |user| User { tags, ..user })
    }

    fn change_user(
        &self,
        name: &str,
        change: impl FnOnce(User) -> User,
    ) -> Result<Ticket, IdentityError> {
        let mut users = self.users.write();
        let entry = users.get_mut(name).ok_or_else(|| no_such_user(name))?;
        entry.user = Arc::new(change(User::clone(&entry.user)));
        Ok(self.keep(Change::PutUser(Arc::clone(&entry.user))))
    }

    /// Sets what a user may do in a vhost, which the caller knows to exist.
    ///
    /// # Errors
    /// If there is no such user.
    pub fn set_permissions(
        &self,
        user: &str,
        vhost: &Name,
        permissions: Permissions,
    ) -> Result<Ticket, IdentityError> {
        let permissions = Arc::new(permissions);
        let mut users = self.users.write();
        let entry = users.get_mut(user).ok_or_else(|| no_such_user(user))?;
        entry
            .permissions
            .insert(vhost.clone(), Arc::clone(&permissions));
        let user = entry.user.name.clone();
        Ok(self.keep(Change::PutPermissions {
            vhost: vhost.clone(),
            user,
            permissions,
        }))
    }

    /// Takes away what a user may do in a vhost, topic permissions apart. Nothing to take away is fine, as in
    /// RabbitMQ.
    pub fn clear_permissions(&self, user: &str, vhost: &str) -> Ticket {
        let mut users = self.users.write();
        let removed = users
            .get_mut(user)
            .and_then(|entry| entry.permissions.remove_entry(vhost));
        match removed {
            Some((vhost, _)) => self.keep(Change::DeletePermissions {
                vhost,
                user: Name::from(user),
            }),
            None => Ticket::NONE,
        }
    }

    /// Sets what a user may do with the routing keys of an exchange. The caller knows vhost and exchange to
    /// exist.
    ///
    /// # Errors
    /// If there is no such user, or a pattern is too long with its variables put in.
    pub fn set_topic_permissions(
        &self,
        user: &str,
        vhost: &Name,
        permissions: TopicPermissions,
    ) -> Result<Ticket, IdentityError> {
        let permissions = Arc::new(permissions);
        let mut users = self.users.write();
        let entry = users.get_mut(user).ok_or_else(|| no_such_user(user))?;
        let access = TopicAccess::compile(user, vhost, Arc::clone(&permissions))?;
        entry.insert_topic(vhost.clone(), access);
        let user = entry.user.name.clone();
        Ok(self.keep(Change::PutTopicPermissions {
            vhost: vhost.clone(),
            user,
            permissions,
        }))
    }

    /// Takes away what a user may do with the routing keys of one exchange, or of all in the vhost. Nothing
    /// to take away is fine, as in RabbitMQ.
    pub fn clear_topic_permissions(
        &self,
        user: &str,
        vhost: &str,
        exchange: Option<&str>,
    ) -> Ticket {
        let mut users = self.users.write();
        let Some(entry) = users.get_mut(user) else {
            return Ticket::NONE;
        };
        let Some(topics) = entry.topics.get_mut(vhost) else {
            return Ticket::NONE;
        };
        match exchange {
            Some(exchange) if topics.remove(exchange).is_none() => return Ticket::NONE,
            Some(_) => {}
            None => topics.clear(),
        }
        if topics.is_empty() {
            entry.topics.remove(vhost);
        }
        self.keep(Change::DeleteTopicPermissions {
            vhost: Name::from(vhost),
            user: Name::from(user),
            exchange: exchange.map(Name::from),
        })
    }

    /// Forgets all permissions in a vhost that was deleted. [`Change::DeleteVhost`], which the caller writes,
    /// removes them from the catalog.
    pub fn forget_vhost(&self, vhost: &str) {
        let mut users = self.users.write();
        for entry in users.values_mut() {
            entry.permissions.remove(vhost);
            entry.topics.remove(vhost);
        }
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Called with the users locked, so that the catalog sees changes in the order in which they were made.
    fn keep(&self, change: Change) -> Ticket {
        self.generation.fetch_add(1, Ordering::Release);
        self.catalog.write(change)
    }
}

impl Entry {
    fn of(user: Arc<User>) -> Entry {
        Entry {
            user,
            permissions: BTreeMap::new(),
            topics: BTreeMap::new(),
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

fn check_tags(tags: &[String]) -> Result<(), IdentityError> {
    if tags.len() <= USER_TAGS_MAX {
        Ok(())
    } else {
        Err(IdentityError::TooManyTags)
    }
}

/// Gives an empty broker its first vhost and user, in one change: half of it would leave nobody who may
/// log in, and a broker that does not count as empty.
fn seed(stored: &mut Stored, catalog: &Catalog, settings: &IdentitySettings) {
    let vhost = VhostSpec {
        description: "Default virtual host".to_owned(),
        ..VhostSpec::named(settings.default_vhost.as_str())
    };
    let (password_hash, hashing_algorithm) =
        NewPassword::Clear(settings.default_password.as_bytes()).hash();
    let user = Arc::new(User {
        name: settings.default_user.as_str().into(),
        password_hash,
        hashing_algorithm,
        tags: vec![TAG_ADMINISTRATOR.to_owned()],
    });
    let permissions =
        Arc::new(Permissions::parse(".*", ".*", ".*").expect("these patterns compile"));
    catalog.write(Change::All(vec![
        Change::PutVhost(vhost.clone()),
        Change::PutUser(Arc::clone(&user)),
        Change::PutPermissions {
            vhost: vhost.name.clone(),
            user: user.name.clone(),
            permissions: Arc::clone(&permissions),
        },
    ]));
    stored
        .permissions
        .push((vhost.name.clone(), user.name.clone(), permissions));
    stored.users.push(user);
    stored.vhosts.push(vhost);
}

#[cfg(test)]
#[path = "identities/tests.rs"]
mod tests;
