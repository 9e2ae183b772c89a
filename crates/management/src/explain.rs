//! Explaining a publish: which bindings would match, which queues would get it, and what the user may. Nothing is
//! published. Not in RabbitMQ.
//!
//! Each binding is asked by itself, in a router that has no other: so the answer is the router's own, whatever the
//! exchange's type. Exchanges that draw lots (`x-random` and the hashing ones) match every binding that could be
//! drawn.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use broker::router::{QueueFacts, QueueId, QueueType, Routable, RouteScratch, Router};
use metadata::identity::{PermissionKind, TopicAction};
use metadata::topology::{BindingSpec, Destination, ExchangeSpec, Name};
use node::vhost::Vhost;
use serde_json::Value;
use wire::amqp091::properties::Properties;

use crate::access::Guard::Vhost as VhostGuard;
use crate::answer::Answer;
use crate::bindings::properties_key;
use crate::call::{Call, text};
use crate::exchanges::text_argument;
use crate::failure::Failure;
use crate::json::{Json, Object};
use crate::messages::read_properties;
use crate::routes::{Field, Route, optional, post, required, route};

const EXPLAIN: &[Field] = &[
    required("routing_key", "string"),
    optional("properties", "object"),
    optional("user", "string"),
];

pub(crate) const ROUTES: &[Route] = &[route(
    "/api/exchanges/{vhost}/{exchange}/explain",
    &[post(VhostGuard, explain, "Explain where a message would go").taking(EXPLAIN)],
)];

/// Exchanges that one explanation follows; a larger graph is cut there.
const EXCHANGES_MAX: usize = 1_000;

fn explain(call: &Call<'_>) -> Result<Answer, Failure> {
    let body = call.object_with(&["routing_key"])?;
    let vhost = call.vhost()?;
    let exchange = call.exchange_param("exchange");
    let spec = vhost
        .find_exchange(exchange)
        .map_err(|_| Failure::no_object())?;
    let routing_key = text(&body, "routing_key")?.unwrap_or_default();
    if routing_key.len() > 255 {
        return Err(Failure::bad_request("routing_key too long"));
    }
    let properties = match body.get("properties") {
        Some(Value::Object(properties)) => read_properties(properties)?.encode(),
        _ => Vec::from([0, 0]),
    };
    let properties = Properties::validate(&properties)
        .map_err(|error| Failure::bad_request(error.to_string()))?;
    let user = text(&body, "user")?.unwrap_or(call.login.name());
    if *user != **call.login.name() && !call.login.is_administrator() {
        return Err(Failure::not_authorised("Not administrator user"));
    }
    let mut walk = Walk {
        vhost: &vhost,
        routing_key,
        properties,
        matched: Vec::new(),
        queues: BTreeMap::new(),
    };
    let alternates = walk.run(&spec);
    let queues: Vec<Object> = walk
        .queues
        .iter()
        .map(|(name, via)| queue(&vhost, name, via))
        .collect();
    let explained = Object::new()
        .with("exchange", &spec.name)
        .with("type", spec.kind.clone())
        .with("routing_key", routing_key.to_owned())
        .with("user", user.to_owned())
        .with(
            "permission",
            permission(call, &vhost, &spec, user, routing_key),
        )
        .with(
            "policy",
            vhost
                .exchange_policy(exchange)
                .policy
                .as_ref()
                .map(|p| Json::from(&p.name)),
        )
        .with("routed", !queues.is_empty())
        .with("bindings", walk.matched)
        .with("alternate_exchanges", alternates)
        .with("queues", queues);
    Ok(Answer::json(explained))
}

/// A queue that would get it, what its policy is, and the exchange that it comes from.
fn queue(vhost: &Vhost, name: &Name, via: &Name) -> Object {
    let policy = vhost.find_queue(name).ok().map(|cell| cell.policy());
    let policy_name = policy
        .as_ref()
        .and_then(|policy| policy.policy.as_ref())
        .map(|policy| Json::from(&policy.name));
    Object::new()
        .with("name", name)
        .with("via", via)
        .with("policy", policy_name)
}

/// What the user may, and which rule says so.
fn permission(
    call: &Call<'_>,
    vhost: &Vhost,
    spec: &ExchangeSpec,
    user: &str,
    routing_key: &str,
) -> Object {
    let identities = &call.api.node.identities;
    let shown = if spec.name.is_empty() {
        "amq.default"
    } else {
        &*spec.name
    };
    let permissions = identities.permissions(user, &vhost.name);
    let write = identities.check(user, &vhost.name, PermissionKind::Write, shown);
    let topic = spec.kind != "topic"
        || identities.check_topic(
            user,
            &vhost.name,
            None,
            &spec.name,
            TopicAction::Write,
            routing_key,
        );
    Object::new()
        .with("allowed", write && topic && !spec.internal)
        .with("write", write)
        .with(
            "write_pattern",
            permissions.map(|p| Json::Text(p.write.source().to_owned())),
        )
        .with("topic", topic)
        .with("internal_exchange", spec.internal)
}

struct Walk<'a> {
    vhost: &'a Vhost,
    routing_key: &'a str,
    properties: Properties<'a>,
    matched: Vec<Object>,
    /// Each queue that would get it, and the exchange that it comes from first.
    queues: BTreeMap<Name, Name>,
}

impl Walk<'_> {
    /// Follows bindings from `first`; where an exchange leads nowhere, its alternate exchange. Those that were asked.
    fn run(&mut self, first: &ExchangeSpec) -> Vec<Json> {
        let mut seen: BTreeSet<Name> = BTreeSet::from([first.name.clone()]);
        let mut waiting = VecDeque::from([first.clone()]);
        let mut alternates = Vec::new();
        while let Some(exchange) = waiting.pop_front() {
            let next = self.follow(&exchange);
            let alternate = text_argument(&exchange.arguments, "alternate-exchange");
            let alternate = alternate.filter(|_| next.is_none()).map(Name::from);
            alternates.extend(alternate.iter().map(Json::from));
            for name in next.into_iter().flatten().chain(alternate) {
                if seen.len() < EXCHANGES_MAX
                    && seen.insert(name.clone())
                    && let Ok(spec) = self.vhost.find_exchange(&name)
                {
                    waiting.push_back(spec);
                }
            }
        }
        alternates
    }

    /// The exchanges that an exchange leads to; `None` if it leads nowhere at all.
    fn follow(&mut self, exchange: &ExchangeSpec) -> Option<Vec<Name>> {
        let bindings = match exchange.name.is_empty() {
            true => self.default_binding(),
            false => self
                .vhost
                .read(|topology| topology.router.bindings_of_source(&exchange.name)),
        };
        let mut exchanges = Vec::new();
        let mut any = false;
        for binding in bindings {
            if !exchange.name.is_empty() && !self.matches(exchange, &binding) {
                continue;
            }
            any = true;
            let (kind, name) = match &binding.destination {
                Destination::Queue(name) => {
                    self.queues
                        .entry(name.clone())
                        .or_insert_with(|| exchange.name.clone());
                    ("queue", name)
                }
                Destination::Exchange(name) => {
                    exchanges.push(name.clone());
                    ("exchange", name)
                }
            };
            let key = properties_key(&binding.routing_key, &binding.arguments);
            self.matched.push(
                Object::new()
                    .with("source", &binding.source)
                    .with("destination", name)
                    .with("destination_type", kind)
                    .with("routing_key", &binding.routing_key)
                    .with("arguments", Json::table(&binding.arguments))
                    .with("properties_key", key),
            );
        }
        any.then_some(exchanges)
    }

    /// The default exchange routes to the queue that is called as the routing key.
    fn default_binding(&self) -> Vec<BindingSpec> {
        let name: Name = self.routing_key.into();
        match self.vhost.find_queue(&name) {
            Ok(_) => vec![BindingSpec {
                source: "".into(),
                destination: Destination::Queue(name.clone()),
                routing_key: name,
                arguments: Default::default(),
            }],
            Err(_) => Vec::new(),
        }
    }

    /// Whether a binding would match, asked of a router that has no other.
    fn matches(&self, exchange: &ExchangeSpec, binding: &BindingSpec) -> bool {
        const ONLY: &str = "only";
        let facts = QueueFacts {
            id: QueueId(1),
            durable: true,
            queue_type: QueueType::Classic,
        };
        let mut router = Router::new();
        router.add_queue(ONLY.into(), facts);
        let name: Name = "explained".into();
        let alone = ExchangeSpec {
            name: name.clone(),
            auto_delete: false,
            internal: false,
            ..exchange.clone()
        };
        let bound = router.declare_exchange(alone).is_ok()
            && router
                .bind(BindingSpec {
                    source: name.clone(),
                    destination: Destination::Queue(ONLY.into()),
                    ..binding.clone()
                })
                .is_ok();
        let mut scratch = RouteScratch::with_seed(1);
        let routable = Routable {
            exchange: &name,
            routing_key: self.routing_key,
            properties: self.properties,
            sender_selects: false,
        };
        bound && router.route(&routable, &mut scratch).is_ok() && !scratch.queues.is_empty()
    }
}
