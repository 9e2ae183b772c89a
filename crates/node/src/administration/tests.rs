//! Policies, parameters and limits through the node's doors.

use broker::message::{LogPosition, Message};
use broker::queue::Incoming;
use metadata::topology::{ExchangeSpec, QueueSpec};
use serde_json::json;
use wire::amqp091::properties::Properties;

use super::*;
use crate::connections::ConnectionId;
use crate::mailbox::Mailbox;
use crate::queue_cell::{Got, QueueCell};
use crate::settings::Settings;

const ACT: Act<'static> = Act {
    by: "ann",
    now_ms: 10,
};

fn node() -> Arc<Node> {
    Node::in_memory(Settings::default(), 0)
}

fn policy(pattern: &str, priority: i64, definition: Value) -> Value {
    json!({"pattern": pattern, "priority": priority, "definition": definition})
}

fn set(node: &Node, name: &str, value: Value) {
    let set = node.set_policy(ACT, "/", PolicyKind::User, name, &value);
    set.expect("a good policy");
}

fn set_operator(node: &Node, name: &str, value: Value) {
    let set = node.set_policy(ACT, "/", PolicyKind::Operator, name, &value);
    set.expect("a good operator policy");
}

fn declare(node: &Node, name: &str, arguments: Value) -> Result<Arc<QueueCell>, String> {
    let arguments = metadata::json::to_table(arguments.as_object().unwrap()).unwrap();
    let spec = QueueSpec {
        name: name.into(),
        durable: true,
        exclusive: false,
        auto_delete: false,
        arguments,
    };
    let vhost = node.vhost("/").unwrap();
    let declared = vhost.declare_queue(10, spec, ConnectionId(1));
    declared
        .map(|declared| declared.cell)
        .map_err(|refusal| refusal.to_string())
}

fn publish(node: &Node, cell: &Arc<QueueCell>, bodies: &[&str]) -> Vec<u32> {
    let message = |body: &&str| {
        let properties = Properties::EMPTY;
        let (body, out) = (body.as_bytes(), &mut Vec::new());
        Incoming::new(
            Message::new("", "k", &properties, None, body, out),
            LogPosition::NONE,
        )
    };
    let mut rejected = Vec::new();
    let mut batch = bodies.iter().map(message).collect();
    let aftermath = cell.publish(10, &mut batch, &mut rejected);
    node.vhost("/").unwrap().conclude(10, cell, aftermath);
    rejected
}

/// Takes all that is ready.
fn drain(cell: &Arc<QueueCell>) -> Vec<String> {
    let mut bodies = Vec::new();
    let mailbox = Mailbox::new();
    while let (Got::Message(delivery, _), _) = cell.get(10, true, &mailbox) {
        bodies.push(String::from_utf8_lossy(delivery.message.body()).into_owned());
    }
    bodies
}

#[test]
fn a_policy_holds_for_queues_that_are_there_and_for_those_to_come() {
    let node = node();
    let before = declare(&node, "a1", json!({})).unwrap();
    let other = declare(&node, "b1", json!({})).unwrap();
    set(&node, "p", policy("^a", 0, json!({"max-length": 2})));
    let after = declare(&node, "a2", json!({"x-max-length": 1})).unwrap();
    assert_eq!(before.options().length_max, Some(2));
    assert_eq!(after.options().length_max, Some(1));
    assert_eq!(other.options().length_max, None);
    let name = |cell: &QueueCell| cell.policy().policy.as_ref().map(|p| p.name.to_string());
    assert_eq!(name(&before).as_deref(), Some("p"));
    assert_eq!(name(&other), None);
    node.clear_policy(ACT, "/", PolicyKind::User, "p").unwrap();
    assert_eq!(before.options().length_max, None);
    assert_eq!(after.options().length_max, Some(1));
    assert_eq!(name(&before), None);
    let gone = node.clear_policy(ACT, "/", PolicyKind::User, "p");
    assert_eq!(gone, Err(Denied::NotThere));
}

#[test]
fn a_smaller_limit_drops_at_once_into_the_policys_dead_letter_exchange() {
    let node = node();
    let queue = declare(&node, "work", json!({})).unwrap();
    let dead = declare(&node, "dead", json!({})).unwrap();
    publish(&node, &queue, &["1", "2", "3", "4"]);
    let definition = json!({"max-length": 1, "dead-letter-exchange": "",
        "dead-letter-routing-key": "dead"});
    set(&node, "p", policy("^work$", 0, definition));
    assert_eq!(drain(&queue), ["4"]);
    assert_eq!(drain(&dead), ["1", "2", "3"]);
    let definition = json!({"max-length": 1, "overflow": "reject-publish"});
    set(&node, "p", policy("^work$", 0, definition));
    assert_eq!(publish(&node, &queue, &["5", "6"]), [1]);
    assert_eq!(drain(&queue), ["5"]);
}

#[test]
fn a_large_queue_is_trimmed_in_the_end() {
    let node = node();
    let queue = declare(&node, "q", json!({})).unwrap();
    publish(&node, &queue, &["x"; 10_000]);
    set(&node, "p", policy("", 0, json!({"max-length": 3})));
    node.run_timers(10);
    node.run_timers(10);
    assert_eq!(queue.counts().ready, 3);
}

#[test]
fn priorities_decide_and_operators_have_the_last_word() {
    let node = node();
    let queue = declare(&node, "q", json!({})).unwrap();
    set(&node, "low", policy("", 1, json!({"message-ttl": 50})));
    set(&node, "high", policy("q", 2, json!({"max-length": 9})));
    let options = queue.options();
    assert_eq!(
        (options.length_max, options.message_ttl_ms),
        (Some(9), None)
    );
    set_operator(
        &node,
        "o",
        policy("", 0, json!({"max-length": 5, "expires": 70})),
    );
    let options = queue.options();
    assert_eq!(
        (options.length_max, options.expires_ms),
        (Some(5), Some(70))
    );
    let effective = Value::from(queue.policy().definition().clone());
    assert_eq!(effective, json!({"expires": 70, "max-length": 5}));
    node.clear_policy(ACT, "/", PolicyKind::User, "high")
        .unwrap();
    let options = queue.options();
    assert_eq!(
        (options.length_max, options.message_ttl_ms),
        (Some(5), Some(50))
    );
}

/// Which of three objects a policy shows on, for each `apply-to` and a setting of each kind.
#[test]
fn a_policy_shows_on_what_it_is_for() {
    let node = node();
    let classic = declare(&node, "c", json!({})).unwrap();
    let quorum = declare(&node, "q", json!({"x-queue-type": "quorum"})).unwrap();
    let vhost = node.vhost("/").unwrap();
    let table = [
        ("all", json!({"max-length": 1}), "CQX"),
        ("all", json!({"delivery-limit": 1}), "QX"),
        ("all", json!({"queue-mode": "lazy"}), "CX"),
        ("all", json!({"max-age": "1D"}), "X"),
        ("queues", json!({"max-length": 1}), "CQ"),
        (
            "queues",
            json!({"dead-letter-strategy": "at-least-once"}),
            "Q",
        ),
        ("queues", json!({"consumer-timeout": 1}), "CQ"),
        ("classic_queues", json!({"max-length": 1}), "C"),
        ("quorum_queues", json!({"max-length": 1}), "Q"),
        ("streams", json!({"max-length-bytes": 1}), ""),
        ("exchanges", json!({"alternate-exchange": "x"}), "X"),
    ];
    for (apply_to, definition, expected) in table {
        let mut value = policy("", 0, definition);
        value["apply-to"] = json!(apply_to);
        set(&node, "p", value.clone());
        let mut shown = String::new();
        for (letter, effective) in [
            ('C', classic.policy()),
            ('Q', quorum.policy()),
            ('X', Arc::new(vhost.exchange_policy("amq.direct"))),
        ] {
            if effective.policy.is_some() {
                shown.push(letter);
            }
        }
        assert_eq!(shown, expected, "{value}");
    }
}

#[test]
fn an_exchange_has_its_policys_alternate_unless_it_has_its_own() {
    let node = node();
    let vhost = node.vhost("/").unwrap();
    let exchange = |name: &str, arguments: Value| ExchangeSpec {
        name: name.into(),
        kind: "fanout".into(),
        durable: true,
        auto_delete: false,
        internal: false,
        arguments: metadata::json::to_table(arguments.as_object().unwrap()).unwrap(),
    };
    for (name, arguments) in [
        ("a1", json!({})),
        ("own", json!({})),
        ("theirs", json!({})),
        ("a2", json!({"alternate-exchange": "own"})),
    ] {
        vhost.declare_exchange(exchange(name, arguments)).unwrap();
        if name == "a1" {
            set(
                &node,
                "p",
                policy("^a", 0, json!({"alternate-exchange": "theirs"})),
            );
        }
    }
    vhost.declare_exchange(exchange("a3", json!({}))).unwrap();
    for name in ["own", "theirs"] {
        declare(&node, name, json!({})).unwrap();
        let binding = metadata::topology::BindingSpec {
            source: name.into(),
            destination: metadata::topology::Destination::Queue(name.into()),
            routing_key: "".into(),
            arguments: Default::default(),
        };
        vhost.bind(10, binding).unwrap();
    }
    let route = |exchange: &str| {
        let mut cells = Vec::new();
        let routable = broker::router::Routable {
            exchange,
            routing_key: "",
            properties: Properties::EMPTY,
            sender_selects: false,
        };
        let mut scratch = broker::router::RouteScratch::with_seed(1);
        vhost.route(&routable, &mut scratch, &mut cells).unwrap();
        cells
            .iter()
            .map(|cell| cell.spec.name.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(route("a1"), ["theirs"]);
    assert_eq!(route("a2"), ["own"]);
    assert_eq!(route("a3"), ["theirs"]);
    assert_eq!(route("amq.fanout"), ["theirs"], "predeclared ones too");
    node.clear_policy(ACT, "/", PolicyKind::User, "p").unwrap();
    assert!(route("a1").is_empty());
    assert_eq!(route("a2"), ["own"]);
}

#[test]
fn policies_limits_and_parameters_survive_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let open = || Node::open(Settings::default(), directory.path(), 0).unwrap();
    let node = open();
    set(&node, "p", policy("^a", 3, json!({"max-length": 2})));
    set_operator(
        &node,
        "o",
        policy("", 0, json!({"max-length": 9, "expires": 70})),
    );
    declare(&node, "a", json!({})).unwrap();
    node.set_vhost_limit(ACT, "/", "max-queues", json!(5))
        .unwrap();
    node.set_user_limits(ACT, "guest", &json!({"max-channels": 7}))
        .unwrap();
    node.set_global_parameter(ACT, "cluster_name", json!("hares"));
    node.vhost("/").unwrap().keep_foreign_parameter(Parameter {
        component: "shovel".into(),
        name: "s".into(),
        value: json!({"src-queue": "a"}),
    });
    let listed = |node: &Node| {
        let policies = node.policies(PolicyKind::User, None);
        (policies, node.parameters(None), node.global_parameters())
    };
    let before = listed(&node);
    node.catalog.close();
    drop(node);
    let node = open();
    assert_eq!(listed(&node), before);
    let options = node.vhost("/").unwrap().find_queue("a").unwrap().options();
    assert_eq!(
        (options.length_max, options.expires_ms),
        (Some(2), Some(70))
    );
    assert_eq!(node.identities.limits("guest").channels_max, Some(7));
    assert_eq!(node.vhost("/").unwrap().limits().queues_max, Some(5));
    assert_eq!(node.cluster_name(), "hares");
}

#[test]
fn a_vhost_takes_no_more_queues_than_its_limit() {
    let node = node();
    node.set_vhost_limit(ACT, "/", "max-queues", json!(1))
        .unwrap();
    declare(&node, "one", json!({})).unwrap();
    declare(&node, "one", json!({})).expect("declaring again what is there is fine");
    let refused = declare(&node, "two", json!({})).map(drop).unwrap_err();
    assert_eq!(
        refused,
        "cannot declare queue 'two': queue limit in vhost '/' (1) is reached"
    );
    node.set_vhost_limit(ACT, "/", "max-queues", json!(-1))
        .unwrap();
    declare(&node, "two", json!({})).expect("below zero is without limit");
    let wrong = node.set_vhost_limit(ACT, "/", "max-hares", json!(1));
    let text = "Validation failed\n\nUnrecognised terms [{<<\"max-hares\">>,1}] in limits\n";
    assert_eq!(wrong, Err(Denied::Invalid(text.to_owned())));
    assert_eq!(node.vhost("/").unwrap().limits_as_set().len(), 1);
    let nowhere = node.set_vhost_limit(ACT, "nope", "max-queues", json!(1));
    assert_eq!(nowhere, Err(Denied::NoSuchVhost("nope".to_owned())));
}

#[test]
fn a_new_vhost_begins_with_the_configured_defaults() {
    use metadata::identity::{Pattern, VhostSpec};
    let limits = |pattern: &str, queues_max| crate::settings::DefaultVhostLimits {
        pattern: Pattern::parse(pattern).unwrap(),
        connections_max: None,
        queues_max: Some(queues_max),
    };
    let settings = Settings {
        default_queue_type: Some("quorum".to_owned()),
        default_vhost_limits: [
            ("b".to_owned(), limits(".*", 9)),
            ("a".to_owned(), limits("^small", 2)),
        ]
        .into(),
        ..Settings::default()
    };
    let node = Node::in_memory(settings, 0);
    for (name, expected) in [("small-1", 2), ("other", 9)] {
        node.add_vhost(VhostSpec::named(name));
        let vhost = node.vhost(name).unwrap();
        assert_eq!(vhost.limits().queues_max, Some(expected));
        assert_eq!(vhost.spec().default_queue_type.as_deref(), Some("quorum"));
    }
    let own = VhostSpec {
        default_queue_type: Some("classic".to_owned()),
        ..VhostSpec::named("own")
    };
    node.add_vhost(own);
    let spec = node.vhost("own").unwrap().spec();
    assert_eq!(spec.default_queue_type.as_deref(), Some("classic"));
}

#[test]
fn user_limits_add_up_and_are_cleared_by_name() {
    let node = node();
    node.set_user_limits(ACT, "guest", &json!({"max-channels": 7}))
        .unwrap();
    node.set_user_limits(ACT, "guest", &json!({"max-connections": 0}))
        .unwrap();
    let limits = node.identities.limits("guest");
    assert_eq!(
        (limits.channels_max, limits.connections_max),
        (Some(7), Some(0))
    );
    node.clear_user_limits(ACT, "guest", Some("max-channels"))
        .unwrap();
    assert_eq!(node.identities.limits("guest").channels_max, None);
    let refused = |user, value| {
        node.set_user_limits(ACT, user, &value)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        refused("guest", json!({"max-foo": 1})),
        "Unrecognised terms [{<<\"max-foo\">>,1}] in user-limits"
    );
    assert_eq!(refused("nope", json!({})), "User \"nope\" does not exist");
}

#[test]
fn parameters_of_unknown_components_are_refused() {
    let node = node();
    let refused = |component: &str| {
        let set = node.set_parameter(ACT, "/", component, "n", &json!({}));
        set.unwrap_err().to_string()
    };
    assert_eq!(
        refused("shovel"),
        "Validation failed\n\ncomponent shovel not found\n"
    );
    assert_eq!(
        refused("policy"),
        "policies may not be set using this method"
    );
    let value = policy("", 0, json!({"max-length": 1}));
    node.set_parameter(ACT, "/", "operator_policy", "o", &value)
        .unwrap();
    assert_eq!(node.parameters(Some("/")).len(), 1);
    assert!(node.parameters(Some("nope")).is_empty());
    node.clear_parameter(ACT, "/", "operator_policy", "o")
        .unwrap();
    assert!(node.parameters(None).is_empty());
}

#[test]
fn changes_are_told_with_who_and_what() {
    let node = node();
    let mut listener = node.events.listen();
    set(&node, "p", policy("", 0, json!({"max-length": 1})));
    node.clear_policy(ACT, "/", PolicyKind::User, "p").unwrap();
    let set = listener.try_recv().unwrap();
    assert_eq!(
        (set.name, &*set.by, set.at_ms),
        ("policy_set", "ann", Some(10))
    );
    assert_eq!(set.properties["vhost"], json!("/"));
    assert_eq!(
        set.properties["value"]["definition"],
        json!({"max-length": 1})
    );
    assert_eq!(listener.try_recv().unwrap().name, "policy_cleared");
}
