//! Definitions of RabbitMQ's, read and written again.

use serde_json::json;

use super::*;

/// What `rabbitmqctl export_definitions` of RabbitMQ 3.10 wrote, passwords and mirroring included.
const OF_RABBITMQ_3: &str = include_str!("samples/rabbitmq-3.json");
/// The same of RabbitMQ 4.3.
const OF_RABBITMQ_4: &str = include_str!("samples/rabbitmq-4.json");
/// One vhost of RabbitMQ 4.3.
const VHOST_OF_RABBITMQ_4: &str = include_str!("samples/rabbitmq-4-vhost.json");

fn parse(text: &str) -> Definitions {
    let document = serde_json::from_str(text).unwrap();
    Definitions::parse(&document, None).unwrap()
}

fn refused(document: Value) -> String {
    Definitions::parse(&document, None).unwrap_err().to_string()
}

#[test]
fn an_export_of_rabbitmq_4_is_written_as_it_was() {
    let original: Value = serde_json::from_str(OF_RABBITMQ_4).unwrap();
    let definitions = Definitions::parse(&original, None).unwrap();
    assert!(
        definitions.warnings.is_empty(),
        "{:?}",
        definitions.warnings
    );
    let name = original["original_cluster_name"].as_str().unwrap();
    let mut written = definitions.to_json(&Scope::Cluster(name.to_owned()));
    written["product_name"] = original["product_name"].clone();
    assert_eq!(written, original);
}

#[test]
fn an_export_of_one_vhost_is_written_as_it_was() {
    let original: Value = serde_json::from_str(VHOST_OF_RABBITMQ_4).unwrap();
    let mut definitions = Definitions::parse(&original, Some("here")).unwrap();
    assert!(
        definitions
            .queues
            .iter()
            .all(|(vhost, _)| **vhost == *"here")
    );
    let name = original["original_vhost_name"].as_str().unwrap();
    let kind = original["metadata"]["default_queue_type"].as_str();
    definitions.vhosts.push(VhostDefinition {
        spec: VhostSpec {
            description: original["description"].as_str().unwrap().to_owned(),
            default_queue_type: kind.map(str::to_owned),
            tags: vec!["prod".to_owned(), "shop".to_owned()],
            ..VhostSpec::named(name)
        },
        limits: original["limits"].as_object().cloned().unwrap(),
    });
    let mut written = definitions.to_json(&Scope::Vhost(name.into()));
    written["product_name"] = original["product_name"].clone();
    assert_eq!(written, original);
}

#[test]
fn an_export_of_rabbitmq_3_is_read_without_what_is_gone() {
    let definitions = parse(OF_RABBITMQ_3);
    let names = |users: &[UserDefinition]| {
        let names = users.iter().map(|user| user.name.to_string());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(&definitions.users), ["app", "guest", "nobody"]);
    let user = |name: &str| {
        let user = definitions.users.iter().find(|user| *user.name == *name);
        user.unwrap().password.clone()
    };
    let PasswordDefinition::Hash(hash, algorithm) = user("app") else {
        panic!("app has a password");
    };
    assert!(hash.verify(algorithm, b"secret"));
    assert_eq!(user("nobody"), PasswordDefinition::None);
    let limits = &definitions.parameters[0].1.value;
    assert_eq!(*limits, json!({"max-queues": 100}));
    let policies: Vec<_> = definitions
        .policies
        .iter()
        .map(|(_, policy)| &policy.definition)
        .collect();
    assert_eq!(policies, [json!({"max-length": 1000}).as_object().unwrap()]);
    assert_eq!(
        definitions.warnings,
        [
            "policy 'ha' in vhost '/': the setting 'ha-mode' was left out",
            "policy 'ha' in vhost '/': nothing is left of it, so it was left out",
            "policy 'ha-limited' in vhost 'app': the setting 'ha-mode' was left out",
            "policy 'ha-limited' in vhost 'app': the setting 'ha-params' was left out",
        ]
    );
}

#[test]
fn unknown_keys_are_named_and_ignored() {
    let document = json!({
        "hares": [], "queues": [{"name": "q", "vhost": "/", "colour": "brown"}],
        "vhosts": [{"name": "/", "metadata": {}}],
    });
    let definitions = Definitions::parse(&document, None).unwrap();
    assert_eq!(
        definitions.warnings,
        [
            "unknown key 'hares' was ignored",
            "queue 'q' in vhost '/': unknown key 'colour' was ignored",
        ]
    );
    assert_eq!(definitions.queues.len(), 1);
    assert!(definitions.queues[0].1.durable);
}

#[test]
fn what_is_wrong_is_named() {
    let queue = |fields: Value| {
        let mut queue = json!({"name": "q", "vhost": "/"});
        queue
            .as_object_mut()
            .unwrap()
            .extend(fields.as_object().cloned().unwrap());
        json!({"queues": [queue]})
    };
    let table = [
        (json!([]), "definitions are not a JSON object"),
        (json!({"users": {}}), "'users' is no list"),
        (json!({"users": [1]}), "'users': item 0 is no object"),
        (json!({"users": [{}]}), "user 0: 'name' is missing"),
        (
            json!({"users": [{"name": "a", "password": "x", "password_hash": "y"}]}),
            "user 'a': both 'password' and 'password_hash' are given",
        ),
        (
            json!({"users": [{"name": "a", "limits": {"max-hares": 1}}]}),
            "user 'a': Unrecognised terms [{<<\"max-hares\">>,1}] in user-limits",
        ),
        (
            json!({"queues": [{"name": "q"}]}),
            "queue 'q': it has no virtual host. Definitions of one virtual host are imported into one",
        ),
        (
            queue(json!({"durable": 1})),
            "queue 'q' in vhost '/': 'durable' is neither true nor false",
        ),
        (
            queue(json!({"arguments": {"x": null}})),
            "queue 'q' in vhost '/': 'arguments': null_not_allowed",
        ),
        (
            queue(json!({"name": "x".repeat(256)})),
            &format!(
                "queue '{}' in vhost '/': 'name' is longer than 255 bytes",
                "x".repeat(256)
            ),
        ),
        (
            json!({"policies": [{"name": "p", "vhost": "/", "pattern": "", "definition":
                {"max-length": -1}}]}),
            "policy 'p' in vhost '/': -1 is not a valid maximum length",
        ),
        (
            json!({"permissions": [{"user": "u", "vhost": "/", "configure": "(", "write": "",
                "read": ""}]}),
            "permission 'u' in vhost '/': invalid regular expression '(': unclosed group",
        ),
        (
            json!({"bindings": [{"vhost": "/", "source": "x", "destination": "y",
                "destination_type": "z"}]}),
            "binding 'x' -> 'y' in vhost '/': 'destination_type' is neither queue nor exchange",
        ),
    ];
    for (document, expected) in table {
        assert_eq!(refused(document), expected);
    }
}

#[test]
fn hashes_of_old_releases_are_md5() {
    let document = |version: &str| {
        json!({"rabbit_version": version, "users": [
        {"name": "a", "password_hash": "AQIDBA==", "tags": "administrator, monitoring"}]})
    };
    for (version, expected) in [
        ("3.5.7", HashingAlgorithm::Md5),
        ("3.6.0", HashingAlgorithm::Sha256),
        ("4.3.6", HashingAlgorithm::Sha256),
        ("unknown", HashingAlgorithm::Sha256),
    ] {
        let definitions = Definitions::parse(&document(version), None).unwrap();
        let user = &definitions.users[0];
        assert!(matches!(&user.password, PasswordDefinition::Hash(_, a) if *a == expected));
        assert_eq!(user.tags, ["administrator", "monitoring"]);
    }
}
