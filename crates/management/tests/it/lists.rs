//! Pages, sorting, columns, and lists of much.

use metadata::topology::QueueSpec;
use node::connections::ConnectionId;
use serde_json::json;
use wire::amqp091::table::FieldTable;

use crate::api::{NOW_MS, TestApi, bad};

async fn api_with_queues(names: &[&str]) -> TestApi {
    let api = TestApi::new();
    for name in names {
        let path = format!("queues/%2F/{name}");
        assert_eq!(api.call("PUT", &path, "{}").await.status, 201);
    }
    api
}

#[tokio::test]
async fn lists_are_cut_into_pages() {
    let api = api_with_queues(&["a1", "a2", "b1"]).await;
    let page = api.get("queues/%2F?page=1&page_size=2&columns=name").await;
    assert_eq!(
        page,
        json!({
            "filtered_count": 3, "item_count": 2, "items": [{"name": "a1"}, {"name": "a2"}],
            "page": 1, "page_count": 2, "page_size": 2, "total_count": 3,
        })
    );
    let page = api.get("queues?page=1&name=A&columns=name").await;
    assert_eq!(
        (page["filtered_count"].clone(), page["total_count"].clone()),
        (json!(2), json!(3))
    );
    let page = api
        .get("queues?page=1&name=1%24&use_regex=true&columns=name")
        .await;
    assert_eq!(page["items"], json!([{"name": "a1"}, {"name": "b1"}]));
    let page = api.get("queues?page=1&name=%5B&use_regex=true").await;
    assert_eq!(
        (page["filtered_count"].clone(), page["page_count"].clone()),
        (json!(0), json!(0))
    );
    let out = r#"{"error":"page_out_of_range","reason":"Page out of range, page: 9 page size: 2, len: 3"}"#;
    let zero = r#"{"error":"invalid_pagination_parameters","reason":"Invalid pagination parameters: page number 0, page size undefined"}"#;
    let many = r#"{"error":"invalid_pagination_parameters","reason":"Invalid pagination parameters: page number 1, page size 501"}"#;
    let word = bad("Pagination parameters are invalid");
    api.play(&[
        ("GET", "queues?page=9&page_size=2", "", 400, out),
        ("GET", "queues?page=0", "", 400, zero),
        ("GET", "queues?page=1&page_size=501", "", 400, many),
        ("GET", "queues?page=x", "", 400, &word),
        ("GET", "queues?page=18446744073709551615", "", 400, ""),
    ])
    .await;
    assert!(api.get("queues?page=1&pagination=false").await.is_array());
}

#[tokio::test]
async fn lists_are_sorted_and_cut_to_columns() {
    let api = api_with_queues(&["b", "a"]).await;
    let sorted = api
        .get("queues?sort=name&sort_reverse=true&columns=name")
        .await;
    assert_eq!(sorted, json!([{"name": "b"}, {"name": "a"}]));
    let kinds = api.get("exchanges/%2F?columns=name,type&sort=type").await;
    assert_eq!(kinds[0], json!({"name": "", "type": "direct"}));
    assert_eq!(kinds[6], json!({"name": "amq.topic", "type": "topic"}));
    let overview = api.get("overview?columns=node,object_totals.queues").await;
    assert_eq!(
        overview,
        json!({"node": "leveret@localhost", "object_totals": {"queues": 2}})
    );
    assert!(api.get("queues?sort=nope").await.is_array());
}

/// What a page of many costs: only what is answered with is built.
#[tokio::test]
async fn a_page_builds_its_own_items_and_no_others() {
    const QUEUES: usize = 10_000;
    let api = TestApi::new();
    let vhost = api.node.vhost("/").expect("it is there");
    for number in 0..QUEUES {
        let spec = QueueSpec {
            name: format!("q{number:05}").into(),
            durable: true,
            exclusive: false,
            auto_delete: false,
            arguments: FieldTable::default(),
        };
        let declared = vhost.declare_queue(NOW_MS, spec, ConnectionId(1));
        assert!(declared.is_ok(), "it is new");
    }
    for (path, items, first, built) in [
        ("queues?page=1", 100, "q00000", 100),
        ("queues?page=20&page_size=500", 500, "q09500", 500),
        (
            "queues?page=1&page_size=10&sort=name&sort_reverse=true",
            10,
            "q09999",
            10,
        ),
        (
            "queues?page=1&page_size=10&sort=messages&name=q000&use_regex=false",
            10,
            "q00000",
            10,
        ),
        (
            "queues/%2F?page=2&page_size=7&name=99%24&use_regex=true",
            7,
            "q00799",
            7,
        ),
        ("queues/detailed?page=1&page_size=3", 3, "q00000", 3),
        (
            "queues?page=1&page_size=5&columns=name,vhost,messages",
            5,
            "q00000",
            0,
        ),
        (
            "queues?page=1&page_size=5&columns=name,memory",
            5,
            "q00000",
            5,
        ),
        (
            "queues?page=1&page_size=5&sort=messages_details.rate",
            5,
            "q00000",
            5,
        ),
        (
            "queues?page=1&page_size=5&sort=message_stats.publish_details.rate",
            5,
            "q00000",
            5,
        ),
        // Of some fields only the built object knows.
        ("queues?page=1&page_size=5&sort=memory", 5, "q00000", QUEUES),
    ] {
        let before = api.api.items_built();
        let page = api.get(path).await;
        assert_eq!(
            page["items"].as_array().map(Vec::len),
            Some(items),
            "{path}"
        );
        assert_eq!(page["items"][0]["name"], first, "{path}");
        assert_eq!(api.api.items_built() - before, built as u64, "{path}");
    }
    let all = api.get("queues?columns=name").await;
    assert_eq!(all.as_array().map(Vec::len), Some(QUEUES));
}

/// What is known of an item before it is built is what the built one says.
#[tokio::test]
async fn what_is_known_beforehand_is_what_is_built() {
    let api = api_with_queues(&["b", "a"]).await;
    for path in ["queues", "exchanges", "exchanges/%2F", "queues/%2F"] {
        let whole = api.get(path).await;
        let whole = whole.as_array().expect("a list");
        let fields = whole[0].as_object().expect("an object").keys();
        for field in fields {
            let alone = api.get(&format!("{path}?columns={field}")).await;
            for (one, whole) in alone.as_array().expect("a list").iter().zip(whole) {
                assert_eq!(one.get(field), whole.get(field), "{path} {field}");
            }
        }
    }
}

/// Every route without parameters answers the administrator, and with what RabbitMQ's clients read.
#[tokio::test]
async fn the_routes_of_the_broker_itself_answer() {
    let api = TestApi::new();
    for path in [
        "overview",
        "nodes",
        "nodes/leveret@localhost",
        "nodes/leveret@localhost/memory",
        "nodes/leveret@localhost/memory/relative",
        "extensions",
        "whoami",
        "cluster-name",
        "feature-flags",
        "deprecated-features",
        "deprecated-features/used",
        "connections",
        "channels",
        "consumers",
        "bindings",
        "exchanges",
        "vhosts",
        "users",
        "permissions",
        "health/checks/alarms",
        "health/checks/local-alarms",
        "health/checks/virtual-hosts",
        "health/checks/metadata-store/initialized",
        "health/checks/metadata-store/initialized/with-data",
        "health/checks/certificate-expiration/1/weeks",
        "health/checks/port-listener/5672",
        "health/checks/protocol-listener/amqp091,http",
        "health/checks/quorum-queues-without-elected-leaders/all-vhosts",
        "health/checks/quorum-queues-without-elected-leaders/vhost/%2F/pattern/a",
        "health/checks/node-is-quorum-critical",
        "health/checks/is-in-service",
        "health/checks/below-node-connection-limit",
        "health/checks/ready-to-serve-clients",
        "health/checks/reached-target-cluster-size",
        "healthchecks/node",
        "aliveness-test/%2F",
    ] {
        api.get(path).await;
    }
    let missing = r#"{"ports":[5672,15672,15671],"reason":"No active listener","status":"failed","missing":1}"#;
    let expiring = json!({
        "status": "failed", "reason": "Certificates expiring",
        "expired": [{
            "node": "leveret@localhost", "protocol": "https", "interface": "127.0.0.1", "port": 15671,
            "certfile": "/c.pem", "cacertfile": "", "certfile_expires_on": ["2023-11-24 22:13:20"],
            "cacertfile_expires_on": ["2023-11-25 22:13:20"],
        }],
    });
    let value = bad("Invalid expiration value.");
    api.play(&[
        (
            "GET",
            "health/checks/certificate-expiration/2/Weeks",
            "",
            503,
            &expiring.to_string(),
        ),
        (
            "GET",
            "health/checks/certificate-expiration/10/days",
            "",
            200,
            "",
        ),
        (
            "GET",
            "health/checks/certificate-expiration/11/days",
            "",
            503,
            "",
        ),
        (
            "GET",
            "health/checks/certificate-expiration/x/days",
            "",
            400,
            &value,
        ),
    ])
    .await;
    let unit = bad("Time unit not recognised. Supported units: days, weeks, months, years.");
    api.play(&[
        ("GET", "health/checks/port-listener/1", "", 503, missing),
        (
            "GET",
            "health/checks/port-listener/x",
            "",
            400,
            &bad("Invalid port"),
        ),
        (
            "GET",
            "health/checks/protocol-listener/amqp,foo",
            "",
            503,
            "",
        ),
        (
            "GET",
            "health/checks/certificate-expiration/1/foo",
            "",
            400,
            &unit,
        ),
        ("GET", "version", "", 200, "\"4.3.6\""),
        ("DELETE", "reset", "", 204, ""),
        (
            "PUT",
            "feature-flags/nope/enable",
            "",
            400,
            &bad("unsupported"),
        ),
    ])
    .await;
    api.node.set_alarm(node::alarms::Alarm::Memory, true);
    let reply = api.call("GET", "health/checks/alarms", "").await;
    assert_eq!(reply.status, 503);
    assert_eq!(reply.json()["alarms"][0]["resource"], "memory");
    // Its text has neither word in it.
    api.node.set_alarm(node::alarms::Alarm::Memory, false);
    api.node.set_alarm(node::alarms::Alarm::MessageLog, true);
    let reply = api.call("GET", "health/checks/alarms", "").await;
    assert_eq!(reply.json()["alarms"][0]["resource"], "message_log");
}
