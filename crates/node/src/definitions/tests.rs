//! Definitions imported into a node and exported again.

use serde_json::json;

use super::*;
use crate::settings::Settings;

const ACT: Act<'static> = Act {
    by: "guest",
    now_ms: 10,
};

const OF_RABBITMQ_3: &str =
    include_str!("../../../metadata/src/definitions/samples/rabbitmq-3.json");
const OF_RABBITMQ_4: &str =
    include_str!("../../../metadata/src/definitions/samples/rabbitmq-4.json");

fn node() -> Arc<Node> {
    Node::in_memory(Settings::default(), 0)
}

fn import(node: &Node, document: &Value) -> Imported {
    let definitions = Definitions::parse(document, None).unwrap();
    node.import_definitions(ACT, definitions)
}

/// Lists as sets: neither broker promises an order.
fn sorted(mut document: Value) -> Value {
    for value in document.as_object_mut().unwrap().values_mut() {
        if let Some(items) = value.as_array_mut() {
            items.sort_by_key(Value::to_string);
        }
    }
    document
}

#[test]
fn an_export_of_rabbitmq_4_comes_back_as_it_was() {
    let mut original: Value = serde_json::from_str(OF_RABBITMQ_4).unwrap();
    let node = node();
    let imported = import(&node, &original);
    assert!(imported.refused.is_empty(), "{:?}", imported.refused);
    assert!(imported.warnings.is_empty(), "{:?}", imported.warnings);
    let guest = node.identities.authenticate("guest", b"guest", true);
    assert!(guest.is_ok(), "passwords are among it");
    node.identities
        .authenticate("app", b"secret", false)
        .unwrap();
    assert_eq!(node.identities.limits("app").channels_max, Some(50));
    let mut exported = node.export_definitions();
    // The user that every new broker has may enter its vhost.
    let own =
        json!({"configure": ".*", "read": ".*", "user": "guest", "vhost": "/", "write": ".*"});
    original["permissions"].as_array_mut().unwrap().push(own);
    exported["product_name"] = original["product_name"].clone();
    assert_eq!(sorted(exported), sorted(original));
}

#[test]
fn what_was_imported_twice_is_there_once() {
    let document: Value = serde_json::from_str(OF_RABBITMQ_4).unwrap();
    let node = node();
    import(&node, &document);
    let once = node.export_definitions();
    let again = import(&node, &document);
    assert!(again.refused.is_empty(), "{:?}", again.refused);
    assert_eq!(node.export_definitions(), once);
}

#[test]
fn an_export_of_rabbitmq_3_is_imported() {
    let document: Value = serde_json::from_str(OF_RABBITMQ_3).unwrap();
    let node = node();
    let imported = import(&node, &document);
    assert!(imported.refused.is_empty(), "{:?}", imported.refused);
    node.identities
        .authenticate("app", b"secret", false)
        .unwrap();
    let vhost = node.vhost("app").unwrap();
    assert!(vhost.find_queue("orders").is_ok());
    assert_eq!(vhost.limits().queues_max, Some(100));
}

#[test]
fn a_vhost_is_exported_and_imported_under_another_name() {
    let node = node();
    import(&node, &serde_json::from_str(OF_RABBITMQ_4).unwrap());
    let exported = node.export_vhost_definitions("shop").unwrap();
    assert!(exported["queues"][0].get("vhost").is_none());
    node.add_vhost(VhostSpec::named("copy"));
    let definitions = Definitions::parse(&exported, Some("copy")).unwrap();
    let imported = node.import_definitions(ACT, definitions);
    assert!(imported.refused.is_empty(), "{:?}", imported.refused);
    let copy = node.export_vhost_definitions("copy").unwrap();
    for list in ["queues", "exchanges", "bindings", "policies", "parameters"] {
        assert_eq!(copy[list], exported[list]);
    }
    assert!(node.export_vhost_definitions("nope").is_none());
}

#[test]
fn what_cannot_be_is_left_out_and_the_rest_is_there() {
    let queue =
        |name: &str, arguments: Value| json!({"name": name, "vhost": "/", "arguments": arguments});
    let bind = |source: &str, destination: &str| {
        json!({"vhost": "/", "source": source, "destination": destination,
            "destination_type": "queue", "routing_key": "k", "arguments": {}})
    };
    let document = json!({
        "queues": [
            queue("stream", json!({"x-queue-type": "stream"})),
            queue("old", json!({"x-queue-version": 1})),
            queue("wrong", json!({"x-max-length": -1})),
            queue("good", json!({})),
        ],
        "exchanges": [{"name": "delayed", "vhost": "/", "type": "x-delayed-message"}],
        "bindings": [bind("amq.direct", "stream"), bind("amq.direct", "good")],
        "parameters": [{"component": "shovel", "name": "s", "vhost": "/", "value": {"a": 1}},
            {"component": "shovel", "name": "s", "vhost": "nope", "value": {}}],
    });
    let node = node();
    let imported = import(&node, &document);
    assert_eq!(
        imported.warnings,
        [
            "parameter 's' of 'shovel' in vhost '/': kept for an export; this broker has no such component",
            "queue 'stream' in vhost '/': left out: streams are not supported",
            "queue 'old' in vhost '/': the argument 'x-queue-version' was left out",
        ]
    );
    assert_eq!(
        imported.refused,
        [
            "exchange 'delayed' in vhost '/': unknown exchange type 'x-delayed-message'",
            "parameter 's' of 'shovel' in vhost 'nope': vhost 'nope' not found",
            "queue 'wrong' in vhost '/': invalid arg 'x-max-length' for queue 'wrong' in vhost '/': \
             {value_negative,-1}",
            "binding 'amq.direct' -> 'stream' in vhost '/': no queue 'stream' in vhost '/'",
        ]
    );
    let exported = node.export_definitions();
    let names: Vec<_> = exported["queues"]
        .as_array()
        .unwrap()
        .iter()
        .map(|q| &q["name"])
        .collect();
    assert_eq!(names, ["good", "old"]);
    assert_eq!(exported["bindings"].as_array().unwrap().len(), 1);
    assert_eq!(exported["parameters"][0]["component"], "shovel");
}

#[test]
fn a_limit_refuses_all_new_queues_of_its_vhost() {
    let node = node();
    node.set_vhost_limit(ACT, "/", "max-queues", json!(1))
        .unwrap();
    let queue = |name: &str| json!({"name": name, "vhost": "/"});
    let imported = import(&node, &json!({"queues": [queue("a"), queue("b")]}));
    assert_eq!(
        imported.refused,
        [
            "Adding 2 queue(s) to virtual host \"/\" would exceed the limit of 1 queue(s).\n\nThis \
          virtual host currently has 0 queue(s) defined.\n\nImport aborted!"
        ]
    );
    let imported = import(&node, &json!({"queues": [queue("a")]}));
    assert!(imported.refused.is_empty());
}
