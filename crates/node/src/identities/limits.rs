//! What a user may have open at most. Counting is [`Connections`](crate::connections::Connections)' business.

use metadata::limit::UserLimits;
use metadata::topology::Name;
use metadata::validation::ValidationError;
use serde_json::{Map, Value};

use super::Identities;
use crate::catalog::{Change, Ticket};

/// A user's limits, as they were set and as they are read.
#[derive(Debug, Default)]
pub(super) struct Limits {
    set: Map<String, Value>,
    read: UserLimits,
}

impl Limits {
    /// Limits that the catalog kept. They were checked when they were set.
    pub(super) fn restored(set: Map<String, Value>) -> Self {
        let read = UserLimits::parse(&Value::from(set.clone())).unwrap_or_default();
        Limits { set, read }
    }
}

impl Identities {
    /// A user's limits; none for a user who is not there.
    pub fn limits(&self, user: &str) -> UserLimits {
        let users = self.users.read();
        users
            .get(user)
            .map_or_else(UserLimits::default, |entry| entry.limits.read)
    }

    /// A user's limits as they were set, by RabbitMQ's names.
    pub fn limits_as_set(&self, user: &str) -> Option<Map<String, Value>> {
        let users = self.users.read();
        users.get(user).map(|entry| entry.limits.set.clone())
    }

    /// All users that have limits, and these as they were set.
    pub fn users_with_limits(&self) -> Vec<(Name, Map<String, Value>)> {
        let users = self.users.read();
        let limited = users
            .iter()
            .filter(|(_, entry)| !entry.limits.set.is_empty());
        limited
            .map(|(name, entry)| (name.clone(), entry.limits.set.clone()))
            .collect()
    }

    /// Changes a user's limits; what is open beyond a new limit stays open. `None` if there is no such user.
    ///
    /// # Errors
    /// If the changed ones are none, in RabbitMQ's words.
    pub fn change_limits(
        &self,
        user: &str,
        change: impl FnOnce(&mut Map<String, Value>),
    ) -> Result<Option<Ticket>, ValidationError> {
        let mut users = self.users.write();
        let Some(entry) = users.get_mut(user) else {
            return Ok(None);
        };
        let mut set = entry.limits.set.clone();
        change(&mut set);
        let read = UserLimits::parse(&Value::from(set.clone()))?;
        entry.limits = Limits {
            set: set.clone(),
            read,
        };
        let user = entry.user.name.clone();
        Ok(Some(
            self.catalog
                .write(Change::PutUserLimits { user, limits: set }),
        ))
    }
}
