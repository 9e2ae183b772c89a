//! Every setting that a policy may hold: its values, its merging with an operator's, and the queue types that do
//! not know it. The rules and texts are those of RabbitMQ 4.3.

use serde_json::{Map, Value};

use super::{PolicyKind, Target};
use crate::erlang;

/// The largest segment of a stream (RabbitMQ's limit).
const SEGMENT_BYTES_MAX: u64 = 3_000_000_000;

/// How a policy's value and an operator policy's become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Merge {
    /// The smaller.
    Least,
    /// The larger.
    Greatest,
    /// The smaller, where below zero is without limit and the larger.
    DeliveryLimit,
    /// The operator's.
    Operator,
}

/// One setting.
struct Key {
    name: &'static str,
    is_valid: fn(&Value) -> bool,
    /// What a wrong value is not a valid one of.
    phrase: &'static str,
    /// None: an operator policy cannot have it.
    merge: Option<Merge>,
    unsupported: &'static [Target],
}

use Target::{ClassicQueue, QuorumQueue, Stream};

const NOT_STREAM: &[Target] = &[Stream];
const STREAM_ONLY: &[Target] = &[ClassicQueue, QuorumQueue];
const QUORUM_ONLY: &[Target] = &[ClassicQueue, Stream];
const CLASSIC_ONLY: &[Target] = &[QuorumQueue, Stream];

const fn key(
    name: &'static str,
    is_valid: fn(&Value) -> bool,
    phrase: &'static str,
    merge: Option<Merge>,
    unsupported: &'static [Target],
) -> Key {
    Key {
        name,
        is_valid,
        phrase,
        merge,
        unsupported,
    }
}

const LEAST: Option<Merge> = Some(Merge::Least);

/// In the order in which they are checked: by name, those of quorum queues last, as RabbitMQ asks its modules.
#[rustfmt::skip]
static KEYS: &[Key] = &[
    key("alternate-exchange", is_text, "alternate exchange name", None, &[]),
    key("consumer-disconnected-timeout", is_count, "consumer disconnected timeout", None, &[]),
    key("consumer-timeout", is_count, "consumer timeout", None, &[]),
    key("dead-letter-exchange", is_text, "dead letter exchange name", None, NOT_STREAM),
    key("dead-letter-routing-key", is_text, "dead letter routing key", None, NOT_STREAM),
    key("dead-letter-strategy", is_strategy, "dead letter strategy", None, QUORUM_ONLY),
    key("delivery-limit", is_integer, "delivery limit", Some(Merge::DeliveryLimit), QUORUM_ONLY),
    key("expires", is_positive, "queue expiry", LEAST, NOT_STREAM),
    key("initial-cluster-size", is_count, "cluster size", None, STREAM_ONLY),
    key("max-age", is_age, "max age", None, STREAM_ONLY),
    key("max-in-memory-bytes", is_count, "maximum memory in bytes", LEAST, QUORUM_ONLY),
    key("max-in-memory-length", is_count, "maximum memory in bytes", LEAST, QUORUM_ONLY),
    key("max-length", is_count, "maximum length", LEAST, NOT_STREAM),
    key("max-length-bytes", is_count, "maximum length in bytes", LEAST, &[]),
    key("message-ttl", is_count, "message TTL", LEAST, NOT_STREAM),
    key("overflow", is_overflow, "overflow value", Some(Merge::Operator), NOT_STREAM),
    key("queue-leader-locator", is_locator, "queue leader locator value", None, &[]),
    key("queue-mode", is_mode, "queue-mode value", None, CLASSIC_ONLY),
    key("queue-version", is_version, "queue-version value", Some(Merge::Operator), &[]),
    key("stream-filter-size-bytes", is_filter_size, "filter size. Valid range is 16-255", None, &[]),
    key("stream-max-segment-size-bytes", is_segment_size, "segment size", None, STREAM_ONLY),
    key("delayed-retry-max", is_positive,
        "delayed retry maximum delay. Must be a positive integer", LEAST, &[]),
    key("delayed-retry-min", is_positive,
        "delayed retry minimum delay. Must be a positive integer", Some(Merge::Greatest), &[]),
    key("delayed-retry-type", is_retry_type,
        "delayed retry type. Must be one of: all, failed, returned, disabled", Some(Merge::Operator), &[]),
    key("target-group-size", is_positive, "qq target count value", Some(Merge::Greatest), QUORUM_ONLY),
];

fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// Whether policies of this kind have such a setting.
pub(super) fn is_known(kind: PolicyKind, name: &str) -> bool {
    find(name).is_some_and(|key| kind == PolicyKind::User || key.merge.is_some())
}

/// Whether a policy with this setting is not for the target.
pub(super) fn is_unsupported(target: Target, name: &str) -> bool {
    find(name).is_some_and(|key| key.unsupported.contains(&target))
}

/// How the setting is merged; the operator's goes before where nothing is said.
pub(super) fn merge(name: &str) -> Merge {
    find(name)
        .and_then(|key| key.merge)
        .unwrap_or(Merge::Operator)
}

/// Checks a definition.
///
/// # Errors
/// Its first wrong value, or else all settings that are not known.
pub(super) fn check(kind: PolicyKind, value: &Value) -> Result<Map<String, Value>, String> {
    let definition = match value {
        Value::Object(definition) => definition,
        value => {
            let shown = erlang::term(value);
            return Err(format!("definition must be a dictionary: {shown}"));
        }
    };
    if definition.is_empty() {
        return Err("no policy provided".to_owned());
    }
    // Deprecated, and its use is not permitted unless configured so.
    if definition.contains_key("queue-master-locator") {
        return Err("use of deprecated queue-master-locator argument is not permitted".to_owned());
    }
    for key in KEYS.iter().filter(|key| is_known(kind, key.name)) {
        if let Some(value) = definition.get(key.name)
            && !(key.is_valid)(value)
        {
            return Err(format!(
                "{} is not a valid {}",
                erlang::term(value),
                key.phrase
            ));
        }
    }
    check_delayed_retry(definition)?;
    let unknown: Vec<_> = definition
        .iter()
        .filter(|(key, _)| !is_known(kind, key))
        .map(|(key, value)| (key.as_str(), value))
        .collect();
    if !unknown.is_empty() {
        let unknown = erlang::pairs_term(unknown);
        return Err(format!("{unknown} are not recognised policy settings"));
    }
    Ok(definition.clone())
}

fn check_delayed_retry(definition: &Map<String, Value>) -> Result<(), String> {
    let kind = definition.get("delayed-retry-type").and_then(Value::as_str);
    let [min, max] = ["min", "max"].map(|end| definition.get(&format!("delayed-retry-{end}")));
    if let Some(kind) = kind.filter(|kind| *kind != "disabled")
        && min.is_none()
    {
        return Err(format!(
            "delayed-retry-min is required when delayed-retry-type is {kind}"
        ));
    }
    if let (Some(min), Some(max)) = (min.and_then(Value::as_u64), max.and_then(Value::as_u64))
        && max < min
    {
        return Err(format!(
            "delayed-retry-max ({max}) must not be smaller than delayed-retry-min ({min})"
        ));
    }
    Ok(())
}

fn is_text(value: &Value) -> bool {
    value.is_string()
}

fn is_integer(value: &Value) -> bool {
    value.is_i64() || value.is_u64()
}

fn is_count(value: &Value) -> bool {
    value.is_u64()
}

fn is_positive(value: &Value) -> bool {
    value.as_u64().is_some_and(|value| value > 0)
}

fn is_one_of(value: &Value, words: &[&str]) -> bool {
    value.as_str().is_some_and(|text| words.contains(&text))
}

fn is_strategy(value: &Value) -> bool {
    is_one_of(value, &["at-most-once", "at-least-once"])
}

fn is_overflow(value: &Value) -> bool {
    is_one_of(
        value,
        &["drop-head", "reject-publish", "reject-publish-dlx"],
    )
}

fn is_locator(value: &Value) -> bool {
    is_one_of(
        value,
        &["client-local", "balanced", "random", "least-leaders"],
    )
}

fn is_mode(value: &Value) -> bool {
    is_one_of(value, &["default", "lazy"])
}

fn is_retry_type(value: &Value) -> bool {
    is_one_of(value, &["all", "failed", "returned", "disabled"])
}

fn is_version(value: &Value) -> bool {
    value.as_u64().is_some_and(|value| value == 1 || value == 2)
}

fn is_filter_size(value: &Value) -> bool {
    value
        .as_u64()
        .is_some_and(|value| (16..=255).contains(&value))
}

fn is_segment_size(value: &Value) -> bool {
    value
        .as_u64()
        .is_some_and(|value| value <= SEGMENT_BYTES_MAX)
}

/// A number above zero and its unit: `7D`.
fn is_age(value: &Value) -> bool {
    let Some(text) = value.as_str() else {
        return false;
    };
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = text.get(digits.len()..).unwrap_or_default();
    digits.bytes().all(|byte| byte.is_ascii_digit())
        && digits.bytes().any(|byte| byte != b'0')
        && ["Y", "M", "D", "h", "m", "s"].contains(&unit)
}
