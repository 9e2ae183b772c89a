//! What a queue's arguments and its policies make together.
//!
//! Which of the two counts is RabbitMQ's rule, key by key: of two numbers the smaller, of the dead-letter settings
//! the argument, of a quorum queue's overflow the policy. Deliberately absent: what a policy may say, and how it
//! merges with an operator policy, which is `metadata`'s.

use std::sync::Arc;

use metadata::policy::EffectivePolicy;
use metadata::topology::QueueSpec;
use wire::amqp091::table::FieldValue;

use super::{ArgumentError, parse};
use crate::queue::{DelayedRetry, DelayedRetryKind, Overflow, QueueKind, QueueOptions};

/// How a queue behaves that was declared so and to which these policies apply.
///
/// # Errors
/// If the declaration is wrong, as [`parse`] says.
pub fn parse_with_policy(
    spec: &QueueSpec,
    vhost: &str,
    policy: &EffectivePolicy,
) -> Result<QueueOptions, ArgumentError> {
    let declared = parse(spec, vhost)?;
    if policy.definition().is_empty() {
        return Ok(declared);
    }
    let kind = declared.kind;
    let number = |key: &str| policy.integer(key).and_then(|v| u64::try_from(v).ok());
    let name = |key: &str| policy.text(key).map(Arc::from);
    Ok(QueueOptions {
        message_ttl_ms: least(declared.message_ttl_ms, number("message-ttl")),
        expires_ms: least(declared.expires_ms, number("expires")),
        length_max: least(declared.length_max, number("max-length")),
        bytes_max: least(declared.bytes_max, number("max-length-bytes")),
        consumer_timeout_ms: least(declared.consumer_timeout_ms, number("consumer-timeout")),
        dead_letter_exchange: declared
            .dead_letter_exchange
            .or_else(|| name("dead-letter-exchange")),
        dead_letter_routing_key: declared
            .dead_letter_routing_key
            .or_else(|| name("dead-letter-routing-key")),
        overflow: overflow(kind, declared.overflow, spec, policy),
        delivery_limit: match kind {
            QueueKind::Classic => None,
            QueueKind::Quorum => delivery_limit(spec, policy, declared.delivery_limit),
        },
        delayed_retry: match kind {
            QueueKind::Classic => None,
            QueueKind::Quorum => delayed_retry(spec, policy),
        },
        ..declared
    })
}

fn least<T: Ord>(argument: Option<T>, policy: Option<T>) -> Option<T> {
    match (argument, policy) {
        (Some(argument), Some(policy)) => Some(argument.min(policy)),
        (argument, policy) => argument.or(policy),
    }
}

/// A classic queue's argument goes before the policy, a quorum queue's after it.
fn overflow(
    kind: QueueKind,
    declared: Overflow,
    spec: &QueueSpec,
    policy: &EffectivePolicy,
) -> Overflow {
    let has_argument = spec.arguments.find("x-overflow").is_some();
    match (kind, policy.text("overflow")) {
        (_, None) => declared,
        (QueueKind::Classic, Some(_)) if has_argument => declared,
        (_, Some("reject-publish")) => Overflow::RejectPublish,
        (QueueKind::Classic, Some("reject-publish-dlx")) => Overflow::RejectPublishDeadLetter,
        // Quorum queues take `reject-publish-dlx` and do not know it.
        (_, Some(_)) => Overflow::DropHead,
    }
}

/// The smaller of the two, but below zero is without limit and gives way.
fn delivery_limit(
    spec: &QueueSpec,
    policy: &EffectivePolicy,
    declared: Option<u32>,
) -> Option<u32> {
    let argument = spec.arguments.find("x-delivery-limit");
    let argument = argument.and_then(FieldValue::as_integer);
    let limit = match (argument, policy.integer("delivery-limit")) {
        (Some(argument), Some(policy)) if argument < 0 || policy < 0 => argument.max(policy),
        (Some(argument), Some(policy)) => argument.min(policy),
        (None, Some(policy)) => policy,
        (_, None) => return declared,
    };
    (0 <= limit).then(|| u32::try_from(limit).unwrap_or(u32::MAX))
}

/// The policy's type goes before the argument's; of the delays the smaller ones count.
fn delayed_retry(spec: &QueueSpec, policy: &EffectivePolicy) -> Option<DelayedRetry> {
    let argument = |name: &str| spec.arguments.find(name);
    let kind = match policy
        .text("delayed-retry-type")
        .or_else(|| argument("x-delayed-retry-type")?.as_str())?
    {
        "all" => DelayedRetryKind::All,
        "failed" => DelayedRetryKind::Failed,
        "returned" => DelayedRetryKind::Returned,
        _ => return None,
    };
    let delay = |key: &str| {
        let argument = argument(&format!("x-{key}")).and_then(FieldValue::as_integer);
        let delay = least(argument, policy.integer(key))?;
        u64::try_from(delay).ok().filter(|delay| *delay != 0)
    };
    let min_ms = delay("delayed-retry-min")?;
    Some(DelayedRetry {
        kind,
        min_ms,
        max_ms: delay("delayed-retry-max").unwrap_or(min_ms),
    })
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use metadata::policy::{Policy, PolicyKind};
    use serde_json::{Value, json};
    use wire::amqp091::table::FieldTable;

    use super::*;

    fn options(arguments: Value, policy: Value) -> QueueOptions {
        let arguments = arguments.as_object().unwrap();
        let spec = QueueSpec {
            name: "q".into(),
            durable: true,
            exclusive: false,
            auto_delete: false,
            arguments: metadata::json::to_table(arguments).unwrap(),
        };
        let value = json!({"pattern": "", "priority": 0, "definition": policy});
        let policy = Policy::parse(PolicyKind::User, "p", &value).unwrap();
        let policy = EffectivePolicy::new(Some(Arc::new(policy)), None);
        parse_with_policy(&spec, "/", &policy).unwrap()
    }

    /// Without the argument, with a smaller one, with a larger one.
    fn check<T: Debug + PartialEq>(
        read: impl Fn(QueueOptions) -> T,
        kind: &str,
        key: &str,
        policy: Value,
        expected: &[(Value, T)],
    ) {
        for (argument, expected) in expected {
            let mut arguments = json!({"x-queue-type": kind});
            if !argument.is_null() {
                arguments[format!("x-{key}")] = argument.clone();
            }
            let options = options(arguments, json!({key: policy.clone()}));
            assert_eq!(&read(options), expected, "{kind} {key} {argument}");
        }
    }

    #[test]
    fn of_two_numbers_the_smaller_counts() {
        for kind in ["classic", "quorum"] {
            type Read = fn(QueueOptions) -> Option<u64>;
            let keys: [(&str, Read); 5] = [
                ("message-ttl", |o| o.message_ttl_ms),
                ("expires", |o| o.expires_ms),
                ("max-length", |o| o.length_max),
                ("max-length-bytes", |o| o.bytes_max),
                ("consumer-timeout", |o| o.consumer_timeout_ms),
            ];
            for (key, read) in keys {
                let expected = [
                    (Value::Null, Some(5)),
                    (json!(3), Some(3)),
                    (json!(7), Some(5)),
                ];
                check(read, kind, key, json!(5), &expected);
            }
        }
    }

    #[test]
    fn dead_letter_arguments_go_before_the_policy() {
        for kind in ["classic", "quorum"] {
            let expected = [
                (Value::Null, Some(Arc::from("p"))),
                (json!("a"), Some("a".into())),
            ];
            let read = |o: QueueOptions| o.dead_letter_exchange;
            check(read, kind, "dead-letter-exchange", json!("p"), &expected);
            let arguments = json!({"x-queue-type": kind, "x-dead-letter-exchange": "x",
                "x-dead-letter-routing-key": "a"});
            let merged = options(arguments, json!({"dead-letter-routing-key": "p"}));
            assert_eq!(merged.dead_letter_routing_key.as_deref(), Some("a"));
        }
    }

    #[test]
    fn overflow_is_the_arguments_on_classic_and_the_policys_on_quorum_queues() {
        use Overflow::{DropHead, RejectPublish, RejectPublishDeadLetter};
        let read = |o: QueueOptions| o.overflow;
        let reject = json!("reject-publish");
        let drop = json!("drop-head");
        let classic = [(Value::Null, RejectPublish), (drop.clone(), DropHead)];
        check(read, "classic", "overflow", reject.clone(), &classic);
        let quorum = [(Value::Null, RejectPublish), (drop, RejectPublish)];
        check(read, "quorum", "overflow", reject, &quorum);
        let dlx = json!("reject-publish-dlx");
        let expected = [(Value::Null, RejectPublishDeadLetter)];
        check(read, "classic", "overflow", dlx.clone(), &expected);
        check(read, "quorum", "overflow", dlx, &[(Value::Null, DropHead)]);
    }

    #[test]
    fn a_delivery_limit_below_zero_gives_way() {
        let read = |o: QueueOptions| o.delivery_limit;
        let table = [
            (json!(5), Value::Null, Some(5)),
            (json!(5), json!(3), Some(3)),
            (json!(5), json!(7), Some(5)),
            (json!(5), json!(-1), Some(5)),
            (json!(-1), json!(7), Some(7)),
            (json!(-1), Value::Null, None),
            (json!(-1), json!(-2), None),
        ];
        for (policy, argument, expected) in table {
            let expected = [(argument, expected)];
            check(read, "quorum", "delivery-limit", policy, &expected);
        }
    }

    #[test]
    fn delayed_retry_takes_the_policys_type_and_the_smaller_delays() {
        let arguments = json!({"x-queue-type": "quorum", "x-delayed-retry-type": "failed",
            "x-delayed-retry-min": 10, "x-delayed-retry-max": 20});
        let policy = json!({"delayed-retry-type": "all", "delayed-retry-min": 5,
            "delayed-retry-max": 30});
        let expected = DelayedRetry {
            kind: DelayedRetryKind::All,
            min_ms: 5,
            max_ms: 20,
        };
        assert_eq!(
            options(arguments.clone(), policy).delayed_retry,
            Some(expected)
        );
        let disabled = json!({"delayed-retry-type": "disabled"});
        assert_eq!(options(arguments, disabled).delayed_retry, None);
    }

    #[test]
    fn without_a_policy_nothing_changes() {
        let spec = QueueSpec {
            name: "q".into(),
            durable: true,
            exclusive: false,
            auto_delete: false,
            arguments: FieldTable::new(),
        };
        let none = EffectivePolicy::default();
        assert_eq!(parse_with_policy(&spec, "/", &none), parse(&spec, "/"));
    }
}
