//! `exchange.*` and `queue.*`: RabbitMQ's checks in RabbitMQ's order, then the vhost's work.

use std::sync::Arc;

use broker::exchange::EXCHANGE_TYPES;
use metadata::identity::{PermissionKind, TopicAction};
use metadata::topology::{BindingSpec, Destination, ExchangeSpec, Name, QueueSpec};
use node::catalog::Ticket;
use node::identities::ResourceKind;
use node::replies::REPLY_TO;
use node::vhost::DeleteQueueIf;
use wire::amqp091::method::{
    ExchangeBind, ExchangeDeclare, ExchangeDelete, ExchangeUnbind, Method, QueueBind, QueueDeclare,
    QueueDeclareOk, QueueDelete, QueueDeleteOk, QueuePurge, QueuePurgeOk, QueueUnbind,
};
use wire::amqp091::reply_code::ReplyCode;
use wire::amqp091::table::{FieldTable, FieldValue};

use super::connection::Turn;
use super::fault::Fault;
use super::methods::Session;

/// RabbitMQ takes line breaks out of names.
fn strip_line_breaks(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '\r' | '\n')).collect()
}

fn check_reserved(kind: &str, name: &str) -> Result<(), Fault> {
    if name.starts_with("amq.") {
        let text = format!("{kind} name '{name}' contains reserved prefix 'amq.*'");
        return Err(Fault::access(text));
    }
    Ok(())
}

fn check_exchange_type(kind: &str) -> Result<(), Fault> {
    if EXCHANGE_TYPES.contains(&kind) {
        return Ok(());
    }
    // RabbitMQ has a sentence for a type it does not have, and another for what cannot be one.
    let word = if kind.is_empty() {
        "invalid"
    } else {
        "unknown"
    };
    Err(Fault::precondition(format!(
        "{word} exchange type '{kind}'"
    )))
}

fn text_argument<'a>(arguments: &'a FieldTable, key: &str) -> Option<&'a str> {
    match arguments.find(key) {
        Some(FieldValue::LongStr(value)) => std::str::from_utf8(value).ok(),
        _ => None,
    }
}

impl Session {
    // ---- exchanges ----

    pub(crate) fn exchange_declare(
        &mut self,
        turn: &mut Turn<'_>,
        number: u16,
        declare: &ExchangeDeclare<'_>,
    ) -> Result<(), Fault> {
        let name = strip_line_breaks(declare.exchange);
        let ticket = if declare.passive {
            self.check_not_default(&name)?;
            self.check_any(ResourceKind::Exchange, &name)?;
            self.vhost.find_exchange(&name)?;
            Ticket::NONE
        } else {
            self.declare_exchange(name, declare)?
        };
        if !declare.nowait {
            turn.say_when(ticket, number, &Method::ExchangeDeclareOk);
        }
        Ok(())
    }

    fn declare_exchange(
        &mut self,
        name: String,
        declare: &ExchangeDeclare<'_>,
    ) -> Result<Ticket, Fault> {
        let kind = declare.r#type;
        check_exchange_type(kind)?;
        self.check_not_default(&name)?;
        self.check(PermissionKind::Configure, ResourceKind::Exchange, &name)?;
        let arguments = declare.arguments.to_owned();
        if self.vhost.find_exchange(&name).is_err() {
            check_reserved("exchange", &name)?;
            if let Some(alternate) = text_argument(&arguments, "alternate-exchange") {
                self.check(PermissionKind::Read, ResourceKind::Exchange, &name)?;
                self.check(PermissionKind::Write, ResourceKind::Exchange, alternate)?;
            }
        }
        let spec = ExchangeSpec {
            name: name.into(),
            kind: kind.into(),
            durable: declare.durable,
            auto_delete: declare.auto_delete,
            internal: declare.internal,
            arguments,
        };
        Ok(self.vhost.declare_exchange(spec)?)
    }

    pub(crate) fn exchange_delete(
        &mut self,
        turn: &mut Turn<'_>,
        number: u16,
        delete: &ExchangeDelete<'_>,
    ) -> Result<(), Fault> {
        let name = strip_line_breaks(delete.exchange);
        self.check_not_default(&name)?;
        if name.starts_with("amq.") {
            let vhost = &self.vhost.name;
            let text =
                format!("deletion of system exchange '{name}' in vhost '{vhost}' not allowed");
            return Err(Fault::access(text));
        }
        self.check(PermissionKind::Configure, ResourceKind::Exchange, &name)?;
        let ticket = self.vhost.delete_exchange(&name, delete.if_unused)?;
        if !delete.nowait {
            turn.say_when(ticket, number, &Method::ExchangeDeleteOk);
        }
        Ok(())
    }

    pub(crate) fn exchange_bind(
        &mut self,
        turn: &mut Turn<'_>,
        number: u16,
        bind: &ExchangeBind<'_>,
    ) -> Result<(), Fault> {
        let destination = strip_line_breaks(bind.destination);
        let spec = self.exchange_binding(
            destination,
            bind.source,
            bind.routing_key,
            bind.arguments.to_owned(),
        )?;
        let ticket = self.vhost.bind(turn.now_ms, spec)?;
        if !bind.nowait {
            turn.say_when(ticket, number, &Method::ExchangeBindOk);
        }
        Ok(())
    }

    pub(crate) fn exchange_unbind(
        &mut self,
        turn: &mut Turn<'_>,
        number: u16,
        unbind: &ExchangeUnbind<'_>,
    ) -> Result<(), Fault> {
        let destination = strip_line_breaks(unbind.destination);
        let spec = self.exchange_binding(
            destination,
            unbind.source,
            unbind.routing_key,
            unbind.arguments.to_owned(),
        )?;
        let ticket = self.vhost.unbind(&spec)?;
        if !unbind.nowait {
            turn.say_when(ticket, number, &Method::ExchangeUnbindOk);
        }
        Ok(())
    }

    fn exchange_binding(
        &self,
        destination: String,
        source: &str,
        routing_key: &str,
        arguments: FieldTable,
    ) -> Result<BindingSpec, Fault> {
        let source = strip_line_breaks(source);
        self.check(PermissionKind::Write, ResourceKind::Exchange, &destination)?;
        self.check_not_default(&destination)?;
        self.check_not_default(&source)?;
        self.check_binding_source(&source, routing_key)?;
        Ok(BindingSpec {
            source: source.into(),
            destination: Destination::Exchange(destination.into()),
            routing_key: routing_key.into(),
            arguments,
        })
    }

    /// Read access to what is bound to, and to the topic where the source is a topic exchange.
    fn check_binding_source(&self, source: &str, routing_key: &str) -> Result<(), Fault> {
        self.check(PermissionKind::Read, ResourceKind::Exchange, source)?;
        match self.vhost.find_exchange(source) {
            Ok(spec) if spec.kind == "topic" => {
                self.check_topic(TopicAction::Read, source, routing_key)
            }
            _ => Ok(()),
        }
    }

    // ---- queues ----

    /// The queue that a method means: an empty name is the one declared last on the channel.
    pub(crate) fn queue_name(&mut self, number: u16, name: &str) -> Result<Name, Fault> {
        if !name.is_empty() {
            return Ok(strip_line_breaks(name).into());
        }
        let last = self.channel(number)?.last_queue.clone();
        last.ok_or_else(|| Fault::channel(ReplyCode::NotFound, "no previously declared queue"))
    }

    /// A name for a queue whose client leaves it to us. It stays the same while it is asked elsewhere whether the user
    /// may declare it.
    fn server_name(&mut self) -> Name {
        let new = || node::names::unique("amq.gen").into();
        let name = self.server_named.take().unwrap_or_else(new);
        if self.user.authorizer().is_some() {
            self.server_named = Some(Arc::clone(&name));
        }
        name
    }

    pub(crate) fn queue_declare(
        &mut self,
        turn: &mut Turn<'_>,
        number: u16,
        declare: &QueueDeclare<'_>,
    ) -> Result<(), Fault> {
        let (name, ready, consumers, ticket) = if declare.passive {
            self.declare_queue_passively(declare)?
        } else {
            self.declare_queue(turn, declare)?
        };
        self.server_named = None;
        self.channel(number)?.last_queue = Some(Arc::clone(&name));
        if !declare.nowait {
            let ok = QueueDeclareOk {
                queue: &name,
                message_count: u32::try_from(ready).unwrap_or(u32::MAX),
                consumer_count: consumers,
            };
            turn.say_when(ticket, number, &Method::QueueDeclareOk(ok));
        }
        Ok(())
    }

    fn declare_queue_passively(
        &self,
        declare: &QueueDeclare<'_>,
    ) -> Result<(Name, u64, u32, Ticket), Fault> {
        // An empty name does not mean the queue declared last here: RabbitMQ looks for a queue without a name.
        let name: Name = strip_line_breaks(declare.queue).into();
        if self.is_reply_address(&name) {
            return Ok((name, 0, 1, Ticket::NONE));
        }
        self.check_any(ResourceKind::Queue, &name)?;
        let cell = self.vhost.open_queue(&name, self.entry.id)?;
        let counts = cell.counts();
        Ok((name, counts.ready, counts.consumers, Ticket::NONE))
    }

    fn declare_queue(
        &mut self,
        turn: &mut Turn<'_>,
        declare: &QueueDeclare<'_>,
    ) -> Result<(Name, u64, u32, Ticket), Fault> {
        let name: Name = match &*strip_line_breaks(declare.queue) {
            "" => self.server_name(),
            // Repliers and requesters may declare the pseudo-queue; there is nothing to make.
            REPLY_TO => return Ok((REPLY_TO.into(), 0, 1, Ticket::NONE)),
            name => {
                if self.vhost.find_queue(name).is_err() {
                    check_reserved("queue", name)?;
                }
                name.into()
            }
        };
        self.check(PermissionKind::Configure, ResourceKind::Queue, &name)?;
        let arguments = declare.arguments.to_owned();
        if self.vhost.find_queue(&name).is_err()
            && let Some(exchange) = text_argument(&arguments, "x-dead-letter-exchange")
        {
            self.check(PermissionKind::Read, ResourceKind::Queue, &name)?;
            self.check(PermissionKind::Write, ResourceKind::Exchange, exchange)?;
        }
        let spec = QueueSpec {
            name: Arc::clone(&name),
            durable: declare.durable,
            exclusive: declare.exclusive,
            auto_delete: declare.auto_delete,
            arguments,
        };
        if declare.queue.is_empty()
            && text_argument(&spec.arguments, "x-queue-type") == Some("quorum")
        {
            let text = "Cannot declare a server-named queue for type rabbit_quorum_queue";
            return Err(Fault::precondition(text));
        }
        let declared = self.vhost.declare_queue(turn.now_ms, spec, self.entry.id)?;
        self.owns_queues |= declare.exclusive;
        let counts = declared.cell.counts();
        Ok((name, counts.ready, counts.consumers, declared.ticket))
    }

    pub(crate) fn queue_delete(
        &mut self,
        turn: &mut Turn<'_>,
        number: u16,
        delete: &QueueDelete<'_>,
    ) -> Result<(), Fault> {
        let name = self.queue_name(number, delete.queue)?;
        self.check(PermissionKind::Configure, ResourceKind::Queue, &name)?;
        let when = DeleteQueueIf {
            unused: delete.if_unused,
            empty: delete.if_empty,
        };
        let (ready, ticket) = self.vhost.delete_queue(&name, self.entry.id, when)?;
        if !delete.nowait {
            let message_count = u32::try_from(ready).unwrap_or(u32::MAX);
            let ok = Method::QueueDeleteOk(QueueDeleteOk { message_count });
            turn.say_when(ticket, number, &ok);
        }
        Ok(())
    }

    pub(crate) fn queue_bind(
        &mut self,
        turn: &mut Turn<'_>,
        number: u16,
        bind: &QueueBind<'_>,
    ) -> Result<(), Fault> {
        let arguments = bind.arguments.to_owned();
        let spec = self.queue_binding(
            number,
            bind.queue,
            bind.exchange,
            bind.routing_key,
            arguments,
        )?;
        if let Destination::Queue(name) = &spec.destination
            && self.vhost.find_exchange(&spec.source).is_ok()
            && let Ok(cell) = self.vhost.find_queue(name)
        {
            cell.check_owner(self.entry.id, &self.vhost.name)?;
        }
        let ticket = self.vhost.bind(turn.now_ms, spec)?;
        if !bind.nowait {
            turn.say_when(ticket, number, &Method::QueueBindOk);
        }
        Ok(())
    }

    pub(crate) fn queue_unbind(
        &mut self,
        turn: &mut Turn<'_>,
        number: u16,
        unbind: &QueueUnbind<'_>,
    ) -> Result<(), Fault> {
        let arguments = unbind.arguments.to_owned();
        let spec = self.queue_binding(
            number,
            unbind.queue,
            unbind.exchange,
            unbind.routing_key,
            arguments,
        )?;
        // Only who would take a binding away needs the queue; unbinding what is not bound succeeds.
        if let Destination::Queue(name) = &spec.destination
            && self.vhost.read(|topology| topology.router.is_bound(&spec))
            && let Ok(cell) = self.vhost.find_queue(name)
        {
            cell.check_owner(self.entry.id, &self.vhost.name)?;
        }
        let ticket = self.vhost.unbind(&spec)?;
        turn.say_when(ticket, number, &Method::QueueUnbindOk);
        Ok(())
    }

    fn queue_binding(
        &mut self,
        number: u16,
        queue: &str,
        exchange: &str,
        routing_key: &str,
        arguments: FieldTable,
    ) -> Result<BindingSpec, Fault> {
        let name = self.queue_name(number, queue)?;
        // With both empty the routing key is the queue's name (AMQP 0-9-1, queue.bind).
        let routing_key: Name = match (queue, routing_key) {
            ("", "") => Arc::clone(&name),
            (_, key) => key.into(),
        };
        let exchange = strip_line_breaks(exchange);
        self.check(PermissionKind::Write, ResourceKind::Queue, &name)?;
        self.check_not_default(&exchange)?;
        self.check_binding_source(&exchange, &routing_key)?;
        Ok(BindingSpec {
            source: exchange.into(),
            destination: Destination::Queue(name),
            routing_key,
            arguments,
        })
    }

    pub(crate) fn queue_purge(
        &mut self,
        turn: &mut Turn<'_>,
        number: u16,
        purge: &QueuePurge<'_>,
    ) -> Result<(), Fault> {
        let name = self.queue_name(number, purge.queue)?;
        self.check(PermissionKind::Read, ResourceKind::Queue, &name)?;
        let cell = self.vhost.open_queue(&name, self.entry.id)?;
        let purged = cell.purge(turn.now_ms);
        if !purge.nowait {
            let message_count = u32::try_from(purged).unwrap_or(u32::MAX);
            turn.say(
                number,
                &Method::QueuePurgeOk(QueuePurgeOk { message_count }),
            );
        }
        Ok(())
    }
}
