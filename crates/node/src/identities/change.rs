//! Changing users and permissions: in memory at once, and in the catalog in the same order.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use metadata::identity::{
    Permissions, TAG_ADMINISTRATOR, TopicPermissions, USER_TAGS_MAX, User, VhostSpec,
};
use metadata::topology::Name;
use serde_json::{Value, json};

use super::{
    Entry, Identities, IdentityError, IdentitySettings, NewPassword, TopicAccess, no_such_user,
};
use crate::catalog::{Catalog, Change, Stored, Ticket};
use crate::events::NodeEvent;

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
        self.tell("user_created", json!({"name": name}));
        Ok(self.keep(Change::PutUser(user)))
    }

    /// Removes a user and all permissions of that user.
    ///
    /// # Errors
    /// If there is no such user.
    pub fn delete_user(&self, name: &str) -> Result<Ticket, IdentityError> {
        let mut users = self.users.write();
        let (user, _) = users.remove_entry(name).ok_or_else(|| no_such_user(name))?;
        self.tell("user_deleted", json!({"name": name}));
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
        let changed = self.change_user(name, |user| User {
            password_hash,
            hashing_algorithm,
            ..user
        });
        changed.inspect(|_| self.tell("user_password_changed", json!({"name": name})))
    }

    /// Sets a user's tags in place of those the user had.
    ///
    /// # Errors
    /// If there is no such user, or there are too many tags.
    pub fn set_tags(&self, name: &str, tags: Vec<String>) -> Result<Ticket, IdentityError> {
        check_tags(&tags)?;
        let told = json!({"name": name, "tags": tags});
        let changed = self.change_user(name, |user| User { tags, ..user });
        changed.inspect(|_| self.tell("user_tags_set", told))
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
        self.tell(
            "permission_created",
            json!({"user": user, "vhost": &**vhost}),
        );
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
            Some((vhost, _)) => {
                self.tell(
                    "permission_deleted",
                    json!({"user": user, "vhost": &*vhost}),
                );
                let user = Name::from(user);
                self.keep(Change::DeletePermissions { vhost, user })
            }
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
        self.tell(
            "topic_permission_created",
            json!({"user": user, "vhost": &**vhost}),
        );
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
        self.tell(
            "topic_permission_deleted",
            json!({"user": user, "vhost": vhost}),
        );
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

    /// Told with the users locked, so in the order in which they changed.
    fn tell(&self, name: &'static str, properties: Value) {
        self.events.tell(|| NodeEvent::of(name, properties));
    }

    /// Called with the users locked, so that the catalog sees changes in the order in which they were made.
    fn keep(&self, change: Change) -> Ticket {
        self.generation.fetch_add(1, Ordering::Release);
        self.catalog.write(change)
    }
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
pub(super) fn seed(stored: &mut Stored, catalog: &Catalog, settings: &IdentitySettings) {
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
