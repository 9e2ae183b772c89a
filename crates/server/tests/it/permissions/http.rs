//! Every operation of the OpenAPI description, asked by users of every tag, with and without permissions in the
//! vhost that it is about. The recording has a line for each operation: its statuses, in the order of [`USERS`].
//!
//! Deliberately absent: what is answered, and operations that only RabbitMQ has.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use probe::{Client, Options};
use serde_json::Value;

use crate::broker::{Broker, wait_until};
use crate::recorded;
use crate::service::{ask, status_of};

use super::{ALL, login, may, must};

/// The vhost in which everything happens.
const VHOST: &str = "rights";

const RECORDING: &str = "permissions/http.txt";

const TAGS: [&str; 5] = [
    "administrator",
    "monitoring",
    "policymaker",
    "management",
    "none",
];

/// With all permissions in the vhost, with permissions that fit nothing, and without any.
const ACCESS: [&str; 3] = ["all", "nothing", "outside"];

/// Who says nothing of who asks.
const NO_LOGIN: &str = "";

/// Whom operations on users are about, and whose connection the others look at.
const SOMEBODY: &str = "rights-somebody";

/// Requests at once of users who are refused everywhere: each refusal is held back.
const REFUSED_AT_ONCE: usize = 100;

/// An object that operations are about. Put back after an operation on a path that begins like one of `after`.
struct Fixture {
    after: &'static [&'static str],
    method: &'static str,
    path: &'static str,
    body: &'static str,
}

const fn fixture(
    after: &'static [&'static str],
    method: &'static str,
    path: &'static str,
    body: &'static str,
) -> Fixture {
    Fixture {
        after,
        method,
        path,
        body,
    }
}

/// Operations that close the connection that there is.
const CLOSING: &[(&str, &str)] = &[
    ("DELETE", "/api/connections/{connection}"),
    ("DELETE", "/api/connections/username/{user}"),
    ("DELETE", "/api/vhosts/{vhost}"),
    ("DELETE", "/api/users/{user}"),
    ("POST", "/api/users/bulk-delete"),
];

/// Gone with the vhost.
const OF_VHOST: &[&str] = &["vhosts"];

#[rustfmt::skip]
const FIXTURES: &[Fixture] = &[
    fixture(&["vhosts"], "PUT", "vhosts/rights", "{}"),
    fixture(&["vhosts", "permissions"], "PUT", "permissions/rights/guest", ALL),
    fixture(&["users"], "PUT", "users/rights-somebody", r#"{"password":"rights-somebody","tags":"management"}"#),
    fixture(&["users", "vhosts", "permissions"], "PUT", "permissions/rights/rights-somebody", ALL),
    fixture(&["users", "vhosts", "topic-permissions"], "PUT", "topic-permissions/rights/rights-somebody", r#"{"exchange":"amq.topic","write":".*","read":".*"}"#),
    fixture(&["users", "user-limits"], "PUT", "user-limits/rights-somebody/max-channels", r#"{"value":100}"#),
    fixture(&["vhosts", "vhost-limits", "parameters"], "PUT", "vhost-limits/rights/max-queues", r#"{"value":100}"#),
    fixture(&["vhosts", "queues"], "PUT", "queues/rights/q", r#"{"durable":true}"#),
    fixture(&["vhosts", "queues"], "PUT", "queues/rights/quorum", r#"{"durable":true,"arguments":{"x-queue-type":"quorum"}}"#),
    fixture(&["vhosts", "exchanges"], "PUT", "exchanges/rights/e", r#"{"type":"direct","durable":true}"#),
    fixture(&["vhosts", "queues", "exchanges", "bindings"], "POST", "bindings/rights/e/e/q/q", r#"{"routing_key":"k"}"#),
    fixture(&["vhosts", "policies"], "PUT", "policies/rights/p", r#"{"pattern":"^none$","definition":{"max-length":9}}"#),
    fixture(&["vhosts", "operator-policies"], "PUT", "operator-policies/rights/p", r#"{"pattern":"^none$","definition":{"max-length":9}}"#),
    fixture(&["global-parameters"], "PUT", "global-parameters/rights", r#"{"value":1}"#),
];

/// The body of an operation that has one, by its method and the end of its path.
#[rustfmt::skip]
const BODIES: &[(&str, &str, &str)] = &[
    ("PUT", "/users/{user}", r#"{"password":"rights-somebody","tags":"management"}"#),
    ("POST", "/users/bulk-delete", r#"{"users":["rights-somebody"]}"#),
    ("PUT", "/permissions/{vhost}/{user}", ALL),
    ("PUT", "/topic-permissions/{vhost}/{user}", r#"{"exchange":"amq.topic","write":".*","read":".*"}"#),
    ("PUT", "/vhost-limits/{vhost}/{name}", r#"{"value":100}"#),
    ("PUT", "/user-limits/{user}/{name}", r#"{"value":100}"#),
    ("PUT", "/queues/{vhost}/{queue}", r#"{"durable":true}"#),
    ("PUT", "/exchanges/{vhost}/{exchange}", r#"{"type":"direct","durable":true}"#),
    ("POST", "/bindings/{vhost}/e/{source}/{dtype}/{destination}", r#"{"routing_key":"k"}"#),
    ("PUT", "policies/{vhost}/{name}", r#"{"pattern":"^none$","definition":{"max-length":9}}"#),
    ("PUT", "/parameters/{component}/{vhost}/{name}", r#"{"value":{"max-queues":100}}"#),
    ("PUT", "/global-parameters/{name}", r#"{"value":1}"#),
    ("POST", "/queues/{vhost}/{queue}/actions", r#"{"action":"sync"}"#),
    ("POST", "/queues/{vhost}/{queue}/get", r#"{"count":1,"ackmode":"ack_requeue_true","encoding":"auto"}"#),
    ("POST", "/exchanges/{vhost}/{exchange}/publish", r#"{"properties":{},"routing_key":"k","payload":"x","payload_encoding":"string"}"#),
    ("POST", "/exchanges/{vhost}/{exchange}/explain", r#"{"routing_key":"k"}"#),
    ("POST", "/queues/{vhost}/{queue}/redrive", r#"{"dry_run":true}"#),
    ("POST", "/queues/{vhost}/{queue}/messages/{id}/move", r#"{"destination":"q"}"#),
];

/// A broker with everything in it that operations are about.
struct Scene {
    http: SocketAddr,
    amqp: SocketAddr,
    node: String,
    cluster_name: String,
    /// Of [`SOMEBODY`], and its name.
    connection: (Client, String),
}

fn user(tag: &str, access: &str) -> String {
    format!("rights-{tag}-{access}")
}

fn connect(http: SocketAddr, amqp: SocketAddr, user: &str) -> (Client, String) {
    let known = names(http, user);
    let options = Options {
        vhost: VHOST.into(),
        user: user.into(),
        password: user.into(),
        ..Options::default()
    };
    let mut client = Client::open(amqp, &options).expect("it is served");
    client.open_channel(1);
    let fresh = || {
        let mut names = names(http, user);
        names.retain(|name| !known.contains(name));
        names.pop()
    };
    // RabbitMQ tells of a connection only seconds later.
    wait_until("the connection and its channel are listed", || {
        fresh().is_some_and(|name| {
            let path = quoted(&format!("{name} (1)"));
            may(http, "GET", &format!("channels/{path}"), "") == 200
                && may(http, "GET", &format!("connections/{}", quoted(&name)), "") == 200
        })
    });
    (client, fresh().expect("it is listed"))
}

/// The names of a user's connections.
fn names(http: SocketAddr, user: &str) -> Vec<String> {
    let (_, text) = ask(
        http,
        "GET",
        &format!("/api/connections/username/{user}"),
        &login("guest"),
        "",
    );
    let all: Value = serde_json::from_str(&text).unwrap_or_default();
    let names = all.as_array().map(Vec::as_slice).unwrap_or_default();
    let name = |one: &Value| one["name"].as_str().map(str::to_owned);
    names.iter().filter_map(name).collect()
}

fn quoted(name: &str) -> String {
    name.replace(' ', "%20")
        .replace('>', "%3E")
        .replace(':', "%3A")
}

/// Sets permissions of the users who ask.
fn admit(http: SocketAddr) {
    for tag in TAGS {
        for (access, permissions) in [
            ("all", ALL),
            ("nothing", r#"{"configure":"^$","write":"^$","read":"^$"}"#),
        ] {
            let path = format!("permissions/{VHOST}/{}", user(tag, access));
            must(http, "PUT", &path, permissions);
        }
    }
}

impl Scene {
    fn set_up(http: SocketAddr, amqp: SocketAddr) -> Scene {
        clear(http);
        for fixture in FIXTURES {
            must(http, fixture.method, fixture.path, fixture.body);
        }
        for tag in TAGS {
            for access in ACCESS {
                let name = user(tag, access);
                let tag = if tag == "none" { "" } else { tag };
                let body = format!(r#"{{"password":"{name}","tags":"{tag}"}}"#);
                must(http, "PUT", &format!("users/{name}"), &body);
            }
        }
        admit(http);
        let overview: Value =
            serde_json::from_str(&must(http, "GET", "overview", "")).expect("JSON");
        let word = |key: &str| overview[key].as_str().expect("a name").to_owned();
        Scene {
            http,
            amqp,
            node: word("node"),
            cluster_name: word("cluster_name"),
            connection: connect(http, amqp, SOMEBODY),
        }
    }

    /// Puts back what an operation may have taken away.
    fn restore(&mut self, method: &str, template: &str) {
        let closes = CLOSING.contains(&(method, template));
        if closes {
            // It goes a moment after the answer.
            let (http, name) = (self.http, &self.connection.1);
            wait_until("the connection is gone", || {
                !names(http, SOMEBODY).contains(name)
            });
        }
        let resource = template.split('/').nth(2).unwrap_or_default();
        if resource == "vhosts" {
            may(self.http, "DELETE", "vhosts/rights/deletion/protection", "");
        }
        for fixture in FIXTURES {
            if fixture.after.contains(&resource) {
                must(self.http, fixture.method, fixture.path, fixture.body);
            }
        }
        if OF_VHOST.contains(&resource) {
            admit(self.http);
        }
        if closes {
            self.connection = connect(self.http, self.amqp, SOMEBODY);
        }
    }

    /// The path of an operation, its parameters filled in.
    fn path(&self, template: &str) -> String {
        let queue = if template.contains("/quorum/") {
            "quorum"
        } else {
            "q"
        };
        let name = match template.split('/').nth(2).unwrap_or_default() {
            "vhost-limits" => "max-queues",
            "user-limits" => "max-channels",
            "parameters" => "limits",
            "global-parameters" => "rights",
            "feature-flags" => "quorum_queue",
            _ => "p",
        };
        let values = [
            ("vhost", VHOST),
            ("user", SOMEBODY),
            ("queue", queue),
            ("exchange", "e"),
            ("source", "e"),
            ("dtype", "q"),
            ("destination", "q"),
            ("props", "k"),
            ("connection", &self.connection.1),
            ("channel", &format!("{} (1)", self.connection.1)),
            ("node", &self.node),
            ("name", name),
            ("component", "vhost-limits"),
            ("password", "x"),
            ("within", "1"),
            ("unit", "weeks"),
            ("port", &self.amqp.port().to_string()),
            ("protocols", "amqp"),
            ("pattern", "q"),
            ("id", "1"),
        ];
        let mut path = template.to_owned();
        for (key, value) in values {
            path = path.replace(&format!("{{{key}}}"), &quoted(value));
        }
        assert!(!path.contains('{'), "what stands for that: {path}");
        path
    }

    fn body(&self, method: &str, template: &str) -> String {
        if method == "PUT" && template.ends_with("/cluster-name") {
            return format!(r#"{{"name":"{}"}}"#, self.cluster_name);
        }
        let body = BODIES
            .iter()
            .find(|(of, end, _)| *of == method && template.ends_with(end));
        match body {
            Some((_, _, body)) => (*body).to_owned(),
            None if method == "GET" || method == "DELETE" => String::new(),
            None => "{}".to_owned(),
        }
    }

    fn ask(&self, method: &str, template: &str, user: &str) -> u16 {
        let (path, body) = (self.path(template), self.body(method, template));
        status_of(self.http, method, &path, &login(user), &body)
    }
}

/// Takes everything away that is there of the scene.
fn clear(http: SocketAddr) {
    may(http, "DELETE", "vhosts/rights/deletion/protection", "");
    let mut paths = vec![
        format!("vhosts/{VHOST}"),
        format!("users/{SOMEBODY}"),
        "global-parameters/rights".to_owned(),
    ];
    for tag in TAGS {
        paths.extend(ACCESS.map(|access| format!("users/{}", user(tag, access))));
    }
    for path in paths {
        may(http, "DELETE", &path, "");
    }
}

/// The operations of the description: method and path.
fn operations(http: SocketAddr) -> Vec<(String, String)> {
    let text = must(http, "GET", "openapi.json", "");
    let description: Value = serde_json::from_str(&text).expect("JSON");
    let paths = description["paths"].as_object().expect("paths");
    let mut all = Vec::new();
    for (path, operations) in paths {
        for method in operations.as_object().expect("operations").keys() {
            all.push((method.to_uppercase(), path.clone()));
        }
    }
    all.sort();
    all
}

/// Whether an operation would disturb others who use the RabbitMQ that is recorded.
fn disturbs(method: &str, template: &str, tag: &str) -> bool {
    method == "DELETE" && template.starts_with("/api/reset") && tag == "administrator"
}

/// `METHOD PATH TAG-ACCESS` and the status that it gave.
type Statuses = BTreeMap<String, u16>;

fn gather(http: SocketAddr, amqp: SocketAddr, operations: &[(String, String)]) -> Statuses {
    let mut scene = Scene::set_up(http, amqp);
    let mut statuses = Statuses::new();
    for (method, template) in operations {
        for tag in TAGS.into_iter().filter(|tag| *tag != "none") {
            for access in ACCESS {
                if disturbs(method, template, tag) {
                    continue;
                }
                let status = scene.ask(method, template, &user(tag, access));
                statuses.insert(format!("{method} {template} {tag}-{access}"), status);
                if method != "GET" && status < 400 {
                    scene.restore(method, template);
                }
            }
        }
    }
    let refused: Vec<(&String, &String, &str)> = operations
        .iter()
        .flat_map(|(method, path)| ACCESS.map(|access| (method, path, access)))
        .collect();
    for some in refused.chunks(REFUSED_AT_ONCE) {
        std::thread::scope(|scope| {
            let asked = some.iter().map(|(method, template, access)| {
                let scene = &scene;
                let ask = move || scene.ask(method, template, &user("none", access));
                (method, template, access, scope.spawn(ask))
            });
            let asked: Vec<_> = asked.collect();
            for (method, template, access, status) in asked {
                let status = status.join().expect("it is answered");
                statuses.insert(format!("{method} {template} none-{access}"), status);
            }
        });
    }
    for (method, template) in operations {
        let (path, body) = (scene.path(template), scene.body(method, template));
        let status = status_of(http, method, &path, NO_LOGIN, &body);
        statuses.insert(format!("{method} {template} anonymous"), status);
    }
    gather_own(&scene, &mut statuses);
    drop(scene);
    clear(http);
    statuses
}

/// Users and their own connections, which more tags may see.
fn gather_own(scene: &Scene, statuses: &mut Statuses) {
    for tag in TAGS.into_iter().filter(|tag| *tag != "none") {
        for access in ["all", "nothing"] {
            let who = user(tag, access);
            let (client, name) = connect(scene.http, scene.amqp, &who);
            let (own, channel) = (quoted(&name), quoted(&format!("{name} (1)")));
            for (method, shown, path) in [
                ("GET", "connections/OWN", format!("connections/{own}")),
                (
                    "GET",
                    "connections/OWN/channels",
                    format!("connections/{own}/channels"),
                ),
                ("GET", "channels/OWN", format!("channels/{channel}")),
                (
                    "GET",
                    "connections/username/OWN",
                    format!("connections/username/{who}"),
                ),
                ("GET", "user-limits/OWN", format!("user-limits/{who}")),
                ("GET", "users/OWN", format!("users/{who}")),
                (
                    "GET",
                    "users/OWN/permissions",
                    format!("users/{who}/permissions"),
                ),
                ("GET", "users/OWN/queues", format!("users/{who}/queues")),
                ("DELETE", "connections/OWN", format!("connections/{own}")),
            ] {
                let path = format!("/api/{path}");
                let status = status_of(scene.http, method, &path, &login(&who), "");
                statuses.insert(format!("{method} {shown} {tag}-{access}"), status);
            }
            drop(client);
        }
    }
}

/// A line for each operation: `METHOD PATH: TAG-ACCESS=STATUS ...`, users with one status together.
fn written(statuses: &Statuses) -> Vec<String> {
    let mut lines: BTreeMap<&str, BTreeMap<u16, Vec<&str>>> = BTreeMap::new();
    for (name, status) in statuses {
        let (operation, user) = name.rsplit_once(' ').expect("a user is last");
        let by_status = lines.entry(operation).or_default();
        by_status.entry(*status).or_default().push(user);
    }
    let line = |(operation, by_status): (&str, BTreeMap<u16, Vec<&str>>)| {
        let groups = by_status.iter();
        let groups = groups.map(|(status, users)| format!("{status}={}", users.join(",")));
        format!("{operation} {}", groups.collect::<Vec<_>>().join(" "))
    };
    lines.into_iter().map(line).collect()
}

fn parsed(text: &str) -> Statuses {
    let mut statuses = Statuses::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let (operation, groups) = words.split_at(2);
        for group in groups {
            let (status, users) = group.split_once('=').expect("a status and its users");
            for user in users.split(',') {
                let name = format!("{} {user}", operation.join(" "));
                statuses.insert(name, status.parse().expect("a status"));
            }
        }
    }
    statuses
}

#[test]
fn tags_on_every_route_are_rabbitmqs() {
    let theirs = parsed(&recorded::read(RECORDING));
    let (broker, http) = Broker::with_api();
    let ours = gather(http, broker.address, &operations(http));
    let mut found = BTreeMap::new();
    for (name, status) in &ours {
        match theirs.get(name) {
            Some(their) if their == status => {}
            Some(their) => {
                found.insert(name.clone(), format!("RabbitMQ {their}, ours {status}"));
            }
            None => {
                found.insert(name.clone(), "was not recorded".to_owned());
            }
        }
    }
    for name in theirs.keys().filter(|name| !ours.contains_key(*name)) {
        found.insert(name.clone(), "ours is not asked".to_owned());
    }
    assert!(2000 < ours.len(), "{}", ours.len());
    recorded::judge(&found, "permissions/http-differences.txt");
}

#[test]
#[ignore = "needs a RabbitMQ"]
fn http_permissions_are_recorded() {
    let operations = {
        let (_broker, http) = Broker::with_api();
        operations(http)
    };
    let (http, amqp) = recorded::reference();
    recorded::write(RECORDING, &written(&gather(http, amqp, &operations)));
}

#[test]
fn what_is_written_is_read() {
    let mut statuses = Statuses::new();
    for (name, status) in [
        ("GET /a x-all", 200),
        ("GET /a y-all", 401),
        ("PUT /a x-all", 204),
    ] {
        statuses.insert(name.to_owned(), status);
    }
    assert_eq!(parsed(&written(&statuses).join("\n")), statuses);
}
