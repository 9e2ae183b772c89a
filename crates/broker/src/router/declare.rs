//! Exchanges come and go: declaration, equivalence, deletion, auto-deletion.

use metadata::topology::{ExchangeSpec, Name};
use wire::amqp091::table::{Table, Value};

use super::{DeclareError, Declared, DeleteError, Exchange, Removed, Router};
use crate::exchange::arguments::{atom_term, term, text};
use crate::exchange::{ExchangeSlot, Kind};
use crate::message::Message;

/// Names that only the broker gives.
const RESERVED_PREFIX: &str = "amq.";

const ALTERNATE_EXCHANGE: &str = "alternate-exchange";

impl Router {
    /// Declares an exchange, or checks that the one of that name is equivalent.
    ///
    /// # Errors
    /// In RabbitMQ's order: an unknown type, the default exchange, then for one that exists what differs (`type`,
    /// `durable`, `auto_delete`, `internal`, and of the arguments `alternate-exchange` alone), and for a new one a
    /// reserved name, an alternate exchange that is no string, and what its type has against its arguments.
    pub fn declare_exchange(&mut self, spec: ExchangeSpec) -> Result<Declared, DeclareError> {
        Kind::check_type(&spec.kind)?;
        if spec.name.is_empty() {
            return Err(DeclareError::DefaultExchange);
        }
        let encoded = spec.arguments.encode();
        let arguments = Table::validate(&encoded).map_err(|error| DeclareError::Arguments {
            reason: error.to_string(),
        })?;
        if let Some(slot) = self.exchange_slot(&spec.name) {
            check_equivalence(self.at(slot), &spec, arguments)?;
            return Ok(Declared::Existed);
        }
        if spec.name.starts_with(RESERVED_PREFIX) {
            return Err(DeclareError::ReservedName {
                exchange: spec.name,
            });
        }
        let alternate = read_alternate(&spec, arguments)?;
        let kind = Kind::new(&spec, arguments)?;
        self.insert_exchange(spec, kind, alternate);
        Ok(Declared::Created)
    }

    /// Deletes an exchange, every binding from and to it, and what auto-deletes in consequence.
    ///
    /// # Errors
    /// If it is the default exchange, predeclared, not there, or has bindings as a source though `if_unused`.
    pub fn delete_exchange(&mut self, name: &str, if_unused: bool) -> Result<Removed, DeleteError> {
        if name.is_empty() {
            return Err(DeleteError::DefaultExchange);
        }
        let exchange = || name.to_owned();
        if name.starts_with(RESERVED_PREFIX) {
            return Err(DeleteError::SystemExchange {
                exchange: exchange(),
            });
        }
        let Some(slot) = self.exchange_slot(name) else {
            return Err(DeleteError::NotFound {
                exchange: exchange(),
            });
        };
        if if_unused && !self.at(slot).outgoing.is_empty() {
            return Err(DeleteError::InUse {
                exchange: exchange(),
            });
        }
        let mut removed = Removed::default();
        self.remove_exchanges(vec![slot], &mut removed);
        Ok(removed)
    }

    /// Keeps a message in the history of an `x-recent-history` exchange, as `RouteScratch::history` asked for. An
    /// exchange that went meanwhile, or is another now, is passed over.
    pub fn record(&mut self, exchange: &str, message: &Message) {
        let Some(slot) = self.exchange_slot(exchange) else {
            return;
        };
        if let Kind::RecentHistory(history) = &mut self.at_mut(slot).kind {
            history.record(message);
        }
    }

    /// Sets or clears the alternate exchange that a policy gives to an exchange; the one in its arguments goes
    /// before it. An exchange that is not there is passed over.
    pub fn set_policy_alternate(&mut self, exchange: &str, alternate: Option<Name>) {
        let Some(slot) = self.exchange_slot(exchange) else {
            return;
        };
        self.epoch += 1;
        self.at_mut(slot).policy_alternate = alternate;
    }

    pub(super) fn insert_predeclared(&mut self, spec: ExchangeSpec) {
        let kind = if spec.name.is_empty() {
            Kind::Default
        } else {
            Kind::new(&spec, Table::EMPTY).expect("predeclared types exist and need no arguments")
        };
        self.insert_exchange(spec, kind, None);
    }

    fn insert_exchange(&mut self, spec: ExchangeSpec, kind: Kind, alternate: Option<Name>) {
        self.epoch += 1;
        let name = spec.name.clone();
        let exchange = Exchange {
            spec,
            kind,
            alternate,
            policy_alternate: None,
            outgoing: Vec::new(),
            incoming: Vec::new(),
        };
        let slot = ExchangeSlot(self.exchanges.insert(exchange) as u32);
        self.exchange_slots.insert(name, slot);
    }

    /// Removes exchanges and, in the order in which they fall, those that auto-delete after them.
    pub(super) fn remove_exchanges(
        &mut self,
        mut doomed: Vec<ExchangeSlot>,
        removed: &mut Removed,
    ) {
        self.epoch += 1;
        let mut next = 0;
        while let Some(&slot) = doomed.get(next) {
            next += 1;
            // Outgoing ones first: what it bound to itself must not call it spent.
            while let Some(&binding) = self.at(slot).outgoing.last() {
                self.remove_binding(binding, removed);
            }
            while let Some(&binding) = self.at(slot).incoming.last() {
                doomed.extend(self.remove_binding(binding, removed));
            }
            let exchange = self.exchanges.remove(slot.0 as usize);
            self.exchange_slots.remove(&exchange.spec.name);
            removed.exchanges.push(exchange.spec);
        }
    }
}

fn check_equivalence(
    current: &Exchange,
    received: &ExchangeSpec,
    arguments: Table<'_>,
) -> Result<(), DeclareError> {
    let spec = &current.spec;
    let differ = |argument, received, current| {
        Err(DeclareError::Inequivalent {
            exchange: spec.name.clone(),
            argument,
            received,
            current,
        })
    };
    if received.kind != spec.kind {
        let quoted = |kind: &str| format!("'{}'", atom_term(kind));
        return differ("type", quoted(&received.kind), quoted(&spec.kind));
    }
    let flags = [
        ("durable", received.durable, spec.durable),
        ("auto_delete", received.auto_delete, spec.auto_delete),
        ("internal", received.internal, spec.internal),
    ];
    for (argument, received, current) in flags {
        if received != current {
            return differ(argument, format!("'{received}'"), format!("'{current}'"));
        }
    }
    let encoded = spec.arguments.encode();
    let current_arguments = Table::validate(&encoded).unwrap_or(Table::EMPTY);
    let (new, old) = (
        arguments.find(ALTERNATE_EXCHANGE),
        current_arguments.find(ALTERNATE_EXCHANGE),
    );
    match (&new, &old) {
        (None, None) => Ok(()),
        (Some(new), Some(old)) if bytes_of(new).is_some() && bytes_of(new) == bytes_of(old) => {
            Ok(())
        }
        (Some(new), Some(old)) => differ(ALTERNATE_EXCHANGE, show(new), show(old)),
        (new, old) => differ(
            ALTERNATE_EXCHANGE,
            show_typed(new.as_ref()),
            show_typed(old.as_ref()),
        ),
    }
}

/// A string and the bytes of one are the same term to RabbitMQ.
fn bytes_of<'a>(value: &Value<'a>) -> Option<&'a [u8]> {
    match *value {
        Value::LongStr(bytes) | Value::Bytes(bytes) => Some(bytes),
        _ => None,
    }
}

fn show(value: &Value<'_>) -> String {
    match value {
        Value::Void => "none".into(),
        other => format!("'{}'", shown(other)),
    }
}

fn show_typed(value: Option<&Value<'_>>) -> String {
    match value {
        None => "none".into(),
        Some(value) => format!(
            "the value '{}' of type '{}'",
            shown(value),
            value.type_name()
        ),
    }
}

fn shown(value: &Value<'_>) -> String {
    bytes_of(value).map_or_else(|| term(value), text)
}

fn read_alternate(spec: &ExchangeSpec, arguments: Table<'_>) -> Result<Option<Name>, DeclareError> {
    match arguments.find(ALTERNATE_EXCHANGE) {
        None => Ok(None),
        // One that is no UTF-8 names no exchange that could ever be.
        Some(Value::LongStr(name)) => Ok(std::str::from_utf8(name).ok().map(Name::from)),
        Some(other) => Err(DeclareError::AlternateType {
            exchange: spec.name.clone(),
            type_name: other.type_name(),
        }),
    }
}
