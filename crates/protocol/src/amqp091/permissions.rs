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
        if self.is_permitted(permission, name) {
            return Ok(());
        }
        let (word, vhost, user) = (permission.name(), &self.vhost.name, self.user.name());
        let text = format!(
            "{word} access to {kind} '{name}' in vhost '{vhost}' refused for user '{user}'"
        );
        Err(Fault::access(text))
    }

    /// Any permission at all, which is enough to ask whether something is there (a passive declare, since RabbitMQ
    /// 4.3). Who has none is refused as if it were to be configured.
    pub(crate) fn check_any(&self, kind: &'static str, name: &str) -> Result<(), Fault> {
        let others = [PermissionKind::Write, PermissionKind::Read];
        if others.iter().any(|one| self.is_permitted(*one, name)) {
            return Ok(());
        }
        self.check(PermissionKind::Configure, kind, name)
    }

    fn is_permitted(&self, permission: PermissionKind, name: &str) -> bool {
        let identities = &self.node.identities;
        identities.allows(&self.user, &self.vhost.name, permission, name)
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
