//! Policies: what is refused and how, what applies to what, and how two become one. Texts were compared with
//! RabbitMQ 4.3.

use serde_json::json;

use super::*;

fn parse(value: Value) -> Result<Policy, ValidationError> {
    Policy::parse(PolicyKind::User, "p", &value)
}

fn policy(kind: PolicyKind, name: &str, value: Value) -> std::sync::Arc<Policy> {
    std::sync::Arc::new(Policy::parse(kind, name, &value).unwrap())
}

#[test]
fn what_is_wrong_is_said_in_rabbitmqs_words() {
    let table = [
        (
            json!({"max-length": -1}),
            "-1 is not a valid maximum length",
        ),
        (json!({}), "no policy provided"),
        (
            json!({"foo": 1}),
            "[{<<\"foo\">>,1}] are not recognised policy settings",
        ),
        (
            json!({"max-length": "x"}),
            "<<\"x\">> is not a valid maximum length",
        ),
        (
            json!({"message-ttl": -1, "expires": 0}),
            "0 is not a valid queue expiry",
        ),
        (
            json!({"overflow": "x"}),
            "<<\"x\">> is not a valid overflow value",
        ),
        (
            json!({"delivery-limit": 1.5}),
            "1.5 is not a valid delivery limit",
        ),
        (
            json!({"max-age": "1Q"}),
            "<<\"1Q\">> is not a valid max age",
        ),
        (json!({"max-age": 1}), "1 is not a valid max age"),
        (
            json!({"dead-letter-exchange": {"a": 1}}),
            "#{<<\"a\">> => 1} is not a valid dead letter exchange name",
        ),
        (
            json!({"dead-letter-exchange": null}),
            "null is not a valid dead letter exchange name",
        ),
        (
            json!({"queue-mode": "x"}),
            "<<\"x\">> is not a valid queue-mode value",
        ),
        (
            json!({"queue-version": 3}),
            "3 is not a valid queue-version value",
        ),
        (
            json!({"delayed-retry-type": "all"}),
            "delayed-retry-min is required when delayed-retry-type is all",
        ),
        (
            json!({"delayed-retry-type": "all", "delayed-retry-min": 5, "delayed-retry-max": 4}),
            "delayed-retry-max (4) must not be smaller than delayed-retry-min (5)",
        ),
        (
            json!({"target-group-size": 0}),
            "0 is not a valid qq target count value",
        ),
        (
            json!({"queue-master-locator": "random"}),
            "use of deprecated queue-master-locator argument is not permitted",
        ),
        (
            json!({"stream-filter-size-bytes": 3}),
            "3 is not a valid filter size. Valid range is 16-255",
        ),
        (
            json!({"max-length": 1e3}),
            "1000.0 is not a valid maximum length",
        ),
        (json!("x"), "definition must be a dictionary: <<\"x\">>"),
    ];
    for (definition, expected) in table {
        let value = json!({"pattern": "a", "priority": 0, "definition": definition});
        let text = parse(value).unwrap_err().to_string();
        assert_eq!(text, format!("Validation failed\n\n{expected}\n"));
    }
}

#[test]
fn every_fault_is_listed() {
    let value = json!({"pattern": "a", "definition": {"max-length": 2, "foo": 2}, "apply-to": "x",
        "priority": "y"});
    assert_eq!(
        parse(value).unwrap_err().lines(),
        [
            "[{<<\"foo\">>,2}] are not recognised policy settings",
            "apply-to 'x' unrecognised; should be one of: 'queues', 'classic_queues',  \
             'quorum_queues', 'streams', 'exchanges', or 'all'",
            "priority should be a number, actually was <<\"y\">>",
        ]
    );
    assert_eq!(
        parse(json!({"a": 1})).unwrap_err().lines(),
        [
            "Unrecognised terms [{<<\"a\">>,1}] in p",
            "Key \"definition\" not found in p",
            "Key \"pattern\" not found in p",
            "Key \"priority\" not found in p",
        ]
    );
    let value = json!({"pattern": 5, "definition": {"max-length": 1}, "priority": 1.5});
    assert_eq!(
        parse(value).unwrap_err().lines(),
        ["pattern should be a binary but was 5"]
    );
}

#[test]
fn an_operator_policy_has_fewer_settings() {
    let value = json!({"pattern": "a", "priority": 0, "definition": {"dead-letter-exchange": "x"}});
    assert!(parse(value.clone()).is_ok());
    let error = Policy::parse(PolicyKind::Operator, "p", &value).unwrap_err();
    assert_eq!(
        error.lines(),
        ["[{<<\"dead-letter-exchange\">>,<<\"x\">>}] are not recognised policy settings"]
    );
}

#[test]
fn a_policy_reads_back() {
    for value in [
        json!({"pattern": "", "priority": 1.5, "definition": {"max-length": 1}, "apply-to": "queues"}),
        json!({"pattern": "^a", "priority": -3, "definition": {"overflow": "drop-head"}}),
    ] {
        assert_eq!(parse(value.clone()).unwrap().value(), value);
    }
}

#[test]
fn what_a_policy_is_for() {
    use Target::{ClassicQueue, Exchange, QuorumQueue, Stream};
    let table = [
        (
            "all",
            "max-length",
            "1",
            &[Exchange, ClassicQueue, QuorumQueue][..],
        ),
        (
            "all",
            "max-length-bytes",
            "1",
            &[Exchange, ClassicQueue, QuorumQueue, Stream],
        ),
        ("exchanges", "max-length", "1", &[Exchange]),
        ("queues", "max-length", "1", &[ClassicQueue, QuorumQueue]),
        ("queues", "delivery-limit", "1", &[QuorumQueue]),
        ("queues", "max-age", "\"1D\"", &[Stream]),
        ("queues", "queue-mode", "\"lazy\"", &[ClassicQueue]),
        ("classic_queues", "max-length", "1", &[ClassicQueue]),
        ("classic_queues", "delivery-limit", "1", &[]),
        ("quorum_queues", "max-length", "1", &[QuorumQueue]),
        ("streams", "max-length-bytes", "1", &[Stream]),
    ];
    for (apply_to, key, setting, expected) in table {
        let setting: Value = serde_json::from_str(setting).unwrap();
        let value = json!({"pattern": "^a", "priority": 0, "apply-to": apply_to,
            "definition": {key: setting}});
        let policy = parse(value).unwrap();
        for target in [Exchange, ClassicQueue, QuorumQueue, Stream] {
            let expected = expected.contains(&target);
            assert_eq!(
                policy.matches(target, "ab"),
                expected,
                "{apply_to} {key} {target:?}"
            );
            assert!(!policy.matches(target, "ba"));
        }
    }
}

#[test]
fn the_highest_priority_applies_and_the_empty_pattern_matches_all() {
    let mut set = PolicySet::default();
    let plain = |pattern: &str, priority: i64, max: i64| json!({"pattern": pattern, "priority": priority, "definition": {"max-length": max}});
    for (name, pattern, priority) in [("low", "", 1), ("high", "^a", 2), ("b", "", 1)] {
        set.set(
            PolicyKind::User,
            policy(PolicyKind::User, name, plain(pattern, priority, 1)),
        );
    }
    let applies = |set: &PolicySet, name: &str| {
        let (policy, _) = set.matching(Target::ClassicQueue, name);
        policy.map(|policy| policy.name.to_string())
    };
    assert_eq!(applies(&set, "a").as_deref(), Some("high"));
    assert_eq!(applies(&set, "x").as_deref(), Some("b"), "ties go by name");
    assert!(set.remove(PolicyKind::User, "high"));
    assert!(!set.remove(PolicyKind::User, "high"));
    assert_eq!(applies(&set, "a").as_deref(), Some("b"));
    set.set(
        PolicyKind::User,
        policy(PolicyKind::User, "low", plain("", 7, 1)),
    );
    assert_eq!(applies(&set, "a").as_deref(), Some("low"));
    assert_eq!(set.list(PolicyKind::User).len(), 2);
}

#[test]
fn two_policies_become_one() {
    let table = [
        (
            json!({"max-length": 5}),
            json!({"max-length": 7}),
            json!({"max-length": 5}),
        ),
        (
            json!({"max-length": 9}),
            json!({"max-length": 7}),
            json!({"max-length": 7}),
        ),
        (
            json!({"delivery-limit": -1}),
            json!({"delivery-limit": 7}),
            json!({"delivery-limit": 7}),
        ),
        (
            json!({"delivery-limit": 3}),
            json!({"delivery-limit": -1}),
            json!({"delivery-limit": 3}),
        ),
        (
            json!({"delivery-limit": 3}),
            json!({"delivery-limit": 7}),
            json!({"delivery-limit": 3}),
        ),
        (
            json!({"overflow": "drop-head"}),
            json!({"overflow": "reject-publish"}),
            json!({"overflow": "reject-publish"}),
        ),
        (
            json!({"target-group-size": 3}),
            json!({"target-group-size": 2}),
            json!({"target-group-size": 3}),
        ),
        (
            json!({"max-length": 5, "message-ttl": 1}),
            json!({"expires": 3}),
            json!({"expires": 3, "max-length": 5, "message-ttl": 1}),
        ),
    ];
    for (ours, theirs, merged) in table {
        let of = |kind, definition: Value| {
            policy(
                kind,
                "p",
                json!({"pattern": "", "priority": 0, "definition": definition}),
            )
        };
        let effective = EffectivePolicy::new(
            Some(of(PolicyKind::User, ours)),
            Some(of(PolicyKind::Operator, theirs)),
        );
        assert_eq!(Value::from(effective.definition().clone()), merged);
    }
}
