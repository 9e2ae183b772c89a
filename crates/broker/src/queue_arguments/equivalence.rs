//! A queue is declared again: it must be the same in what its type knows.

use std::sync::Arc;

use metadata::topology::QueueSpec;
use wire::amqp091::table::{FieldTable, FieldValue};

use super::{ArgumentError, Fault, QUEUE_TYPE, kind, rules, shown};

/// Whether a declaration means the queue that is there. Arguments that its type does not know are not compared, nor
/// are values checked: a wrong one is merely another one. Exclusiveness is the caller's to compare: that is 405.
///
/// # Errors
/// The first difference, in RabbitMQ's order.
pub fn check_equivalence(
    existing: &QueueSpec,
    declared: &QueueSpec,
    vhost: &str,
) -> Result<(), ArgumentError> {
    let differs = |argument, received: String, current: String| {
        let queue = Arc::clone(&existing.name);
        let fault = Fault::Inequivalent {
            argument,
            received,
            current,
        };
        Err(ArgumentError {
            queue,
            vhost: vhost.into(),
            fault,
        })
    };
    let quoted = |value: bool| format!("'{value}'");
    if existing.durable != declared.durable {
        return differs(
            "durable",
            quoted(declared.durable),
            quoted(existing.durable),
        );
    }
    if existing.auto_delete != declared.auto_delete {
        let (received, current) = (declared.auto_delete, existing.auto_delete);
        return differs("auto_delete", quoted(received), quoted(current));
    }
    for argument in rules::compared(kind(existing, vhost)?) {
        let current = value_of(&existing.arguments, argument);
        let received = value_of(&declared.arguments, argument);
        match (current, received) {
            (None, None) => (),
            (Some(current), Some(received)) => {
                if !is_same(&current, &received) {
                    let (received, current) = (shown(&received), shown(&current));
                    return differs(argument, format!("'{received}'"), format!("'{current}'"));
                }
            }
            (current, received) => {
                return differs(argument, described(received), described(current));
            }
        }
    }
    Ok(())
}

/// A queue without a type is a classic one (RabbitMQ writes that into the arguments of each queue).
fn value_of(arguments: &FieldTable, argument: &str) -> Option<FieldValue> {
    let classic = || (argument == QUEUE_TYPE).then(|| FieldValue::from("classic"));
    let value = arguments.find(argument).cloned();
    value
        .filter(|value| argument != QUEUE_TYPE || *value != FieldValue::from(""))
        .or_else(classic)
}

/// Integers are compared by value, of whatever width they are.
fn is_same(current: &FieldValue, received: &FieldValue) -> bool {
    match (current.as_integer(), received.as_integer()) {
        (Some(current), Some(received)) => current == received,
        _ => current == received,
    }
}

fn described(value: Option<FieldValue>) -> String {
    match value {
        None => "none".to_owned(),
        Some(value) => format!(
            "the value '{}' of type '{}'",
            shown(&value),
            value.type_name()
        ),
    }
}
