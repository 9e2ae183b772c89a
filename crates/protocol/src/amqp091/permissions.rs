//! Who may do what: RabbitMQ's checks and sentences.

use metadata::identity::{PermissionKind, TAG_IMPERSONATOR, TopicAction};
use wire::amqp091::reply_code::ReplyCode;

use super::fault::Fault;
use super::methods::Session;

impl Session {
    /// Refuses with 403 unless the user has `permission` on `kind` (`queue` or `exchange`) `name`.
    pub(crate) fn check(
        &self,
        permission: PermissionKind,
        kind: &'static str,
        name: &str,
    ) -> Result<(), Fault> {
        // The default exchange has no name to match; RabbitMQ checks `amq.default` in its place.
        let name = if name.is_empty() { "amq.default" } else { name };
        if self
            .node
            .identities
            .allows(&self.user, &self.vhost.name, permission, name)
        {
            return Ok(());
        }
        let (word, vhost, user) = (permission.name(), &self.vhost.name, self.user.name());
        let text = format!(
            "{word} access to {kind} '{name}' in vhost '{vhost}' refused for user '{user}'"
        );
        Err(Fault::access(text))
    }

    /// Topic permissions, which only topic exchanges have.
    pub(crate) fn check_topic(
        &self,
        action: TopicAction,
        exchange: &str,
        routing_key: &str,
    ) -> Result<(), Fault> {
        let (word, vhost, user) = (action.name(), &self.vhost.name, self.user.name());
        let identities = &self.node.identities;
        if identities.allows_topic(&self.user, vhost, exchange, action, routing_key) {
            return Ok(());
        }
        Err(Fault::access(format!(
            "{word} access to topic '{routing_key}' in exchange '{exchange}' in vhost '{vhost}' \
             refused for user '{user}'"
        )))
    }

    /// Refuses what may not be done to the default exchange.
    pub(crate) fn check_not_default(&self, exchange: &str) -> Result<(), Fault> {
        if exchange.is_empty() {
            return Err(Fault::access(
                "operation not permitted on the default exchange",
            ));
        }
        Ok(())
    }

    /// A `user-id` must be the name the client logged in with, unless it has the tag `impersonator`.
    pub(crate) fn check_user_id(&self, user_id: Option<&str>) -> Result<(), Fault> {
        match user_id {
            Some(user_id)
                if user_id != &**self.user.name() && !self.user.has_tag(TAG_IMPERSONATOR) =>
            {
                let name = self.user.name();
                let text = format!(
                    "user_id property set to '{user_id}' but authenticated user was '{name}'"
                );
                Err(Fault::channel(ReplyCode::PreconditionFailed, text))
            }
            _ => Ok(()),
        }
    }
}
