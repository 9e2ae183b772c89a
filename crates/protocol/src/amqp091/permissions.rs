//! Who may do what: RabbitMQ's checks and sentences.

use metadata::identity::{PermissionKind, TAG_IMPERSONATOR, TopicAction};
use node::identities::{Answer, Denial, Question, ResourceKind, Right, TopicRight, Verdict};
use wire::amqp091::reply_code::ReplyCode;

use super::fault::Fault;
use super::methods::Session;

impl Session {
    /// Refuses with 403 unless the user has `permission` on the queue or exchange `name`.
    pub(crate) fn check(
        &self,
        permission: PermissionKind,
        resource: ResourceKind,
        name: &str,
    ) -> Result<(), Fault> {
        // The default exchange has no name to match; RabbitMQ checks `amq.default` in its place.
        let name = if name.is_empty() { "amq.default" } else { name };
        let (identities, vhost) = (&self.node.identities, &self.vhost.name);
        let right = Right {
            permission,
            resource,
            name,
        };
        let verdict = match identities.allows(&self.user, vhost, right) {
            Answer::Yes => return Ok(()),
            Answer::No => Err(Denial::default()),
            Answer::Ask(_) => self.recall(Question::right(vhost, right))?,
        };
        verdict.map_err(|Denial { why, .. }| {
            let (word, kind, user) = (permission.name(), resource.name(), self.user.name());
            let text = format!(
                "{word} access to {kind} '{name}' in vhost '{vhost}' refused for user '{user}'{why}"
            );
            Fault::access(text)
        })
    }

    /// What an authority elsewhere has said, if it was asked.
    fn recall(&self, question: Question) -> Result<Verdict, Fault> {
        if self.allowed().is_some_and(|known| known.has(&question)) {
            return Ok(Ok(()));
        }
        match self.answers.find(&question) {
            Some(verdict) => Ok(verdict.clone()),
            None => Err(Fault::undecided(vec![question])),
        }
    }

    /// Any permission at all, which is enough to ask whether something is there (a passive declare, since RabbitMQ
    /// 4.3). Who has none is refused as if it were to be configured.
    pub(crate) fn check_any(&self, resource: ResourceKind, name: &str) -> Result<(), Fault> {
        let known = self.allowed();
        if known.is_some_and(|known| known.has_any(resource.name(), name)) {
            return Ok(());
        }
        for permission in [PermissionKind::Read, PermissionKind::Write] {
            match self.check(permission, resource, name) {
                Err(fault) if !fault.is_undecided() => {}
                decided => return decided,
            }
        }
        self.check(PermissionKind::Configure, resource, name)
    }

    /// Topic permissions, which only topic exchanges have.
    pub(crate) fn check_topic(
        &self,
        action: TopicAction,
        exchange: &str,
        routing_key: &str,
    ) -> Result<(), Fault> {
        let (identities, vhost) = (&self.node.identities, &self.vhost.name);
        let right = TopicRight {
            action,
            exchange,
            routing_key,
        };
        let verdict = match identities.allows_topic(&self.user, vhost, right) {
            Answer::Yes => return Ok(()),
            Answer::No => Err(Denial::default()),
            Answer::Ask(_) => self.recall(Question::topic(vhost, right))?,
        };
        verdict.map_err(|Denial { why, .. }| {
            let (word, user) = (action.name(), self.user.name());
            Fault::access(format!(
                "{word} access to topic '{routing_key}' in exchange '{exchange}' in vhost '{vhost}' \
                 refused for user '{user}'{why}"
            ))
        })
    }

    /// The same for all keys of a message. What must be asked elsewhere is asked together: there may be many.
    pub(crate) fn check_topics<'k>(
        &self,
        exchange: &str,
        routing_keys: impl Iterator<Item = &'k str>,
    ) -> Result<(), Fault> {
        let mut questions = Vec::new();
        for key in routing_keys {
            match self.check_topic(TopicAction::Write, exchange, key) {
                Err(fault) if fault.is_undecided() => questions.extend(fault.questions),
                decided => decided?,
            }
        }
        match questions.is_empty() {
            true => Ok(()),
            false => Err(Fault::undecided(questions)),
        }
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
