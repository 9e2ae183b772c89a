//! Bindings, and the key by which one of several between the same two ends is told: `properties_key`.

use metadata::identity::{PermissionKind, TopicAction};
use metadata::topology::{BindingSpec, Destination, Name};
use node::catalog::Ticket;
use node::identities::ResourceKind;
use node::vhost::Vhost;
use wire::amqp091::table::FieldTable;

use crate::access::Guard::{Management, Vhost as VhostGuard};
use crate::answer::Answer;
use crate::call::{Call, arguments, text};
use crate::failure::Failure;
use crate::json::{Json, Object};
use crate::pages;
use crate::routes::{Field, Route, delete, get, list, optional, post, route};
use crate::text::{quote, quote_plus, unquote_plus};

const BINDING: &[Field] = &[
    optional("routing_key", "string"),
    optional("arguments", "object"),
];

pub(crate) const ROUTES: &[Route] = &[
    route(
        "/api/bindings",
        &[list(Management, list_all, "List bindings")],
    ),
    route(
        "/api/bindings/{vhost}",
        &[list(VhostGuard, list_in_vhost, "List bindings in a vhost")],
    ),
    route(
        "/api/bindings/{vhost}/e/{source}/{dtype}/{destination}",
        &[
            list(VhostGuard, list_between, "List bindings between two ends"),
            post(VhostGuard, bind, "Bind").taking(BINDING),
        ],
    ),
    route(
        "/api/bindings/{vhost}/e/{source}/{dtype}/{destination}/{props}",
        &[
            get(VhostGuard, show, "Show a binding"),
            delete(VhostGuard, unbind, "Unbind"),
        ],
    ),
    route(
        "/api/queues/{vhost}/{queue}/bindings",
        &[list(VhostGuard, list_of_queue, "List bindings to a queue")],
    ),
    route(
        "/api/exchanges/{vhost}/{exchange}/bindings/source",
        &[list(
            VhostGuard,
            list_from_exchange,
            "List bindings from an exchange",
        )],
    ),
    route(
        "/api/exchanges/{vhost}/{exchange}/bindings/destination",
        &[list(
            VhostGuard,
            list_to_exchange,
            "List bindings to an exchange",
        )],
    ),
];

/// What tells a binding from others between the same ends: its routing key, and a hash of its arguments.
pub(crate) fn properties_key(routing_key: &str, arguments: &FieldTable) -> String {
    match (routing_key, arguments.is_empty()) {
        ("", true) => "~".to_owned(),
        (key, true) => quote_plus(key),
        (key, false) => format!("{}~{}", quote_plus(key), hash(arguments)),
    }
}

/// Six characters, as RabbitMQ's hash of the arguments has. The hash is FNV-1a: what it is made with is nobody's
/// business but ours, since clients take the key from a list.
fn hash(arguments: &FieldTable) -> String {
    use base64::Engine as _;
    let mut entries: Vec<_> = arguments.iter().collect();
    entries.sort_by_key(|(key, _)| *key);
    let ordered: FieldTable = entries
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.clone()))
        .collect();
    let hash = ordered.encode().iter().fold(0x811c_9dc5u32, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    });
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(hash.to_be_bytes())
}

/// Whether a path's last segment means this binding. Clients send the key as they read it, or encode it again.
fn is_meant(spec: &BindingSpec, wanted: &str) -> bool {
    let key = properties_key(&spec.routing_key, &spec.arguments);
    if key == wanted || unquote_plus(wanted).is_some_and(|plain| plain == key) {
        return true;
    }
    // Decoded once on the way here: `a.%23` came as `a.#`.
    spec.arguments.is_empty()
        && !spec.routing_key.is_empty()
        && (*spec.routing_key == *wanted
            || unquote_plus(wanted).is_some_and(|plain| plain == *spec.routing_key))
}

fn object(vhost: &Vhost, spec: &BindingSpec) -> Object {
    let (name, kind) = match &spec.destination {
        Destination::Queue(name) => (name, "queue"),
        Destination::Exchange(name) => (name, "exchange"),
    };
    Object::new()
        .with("source", &spec.source)
        .with("vhost", &vhost.name)
        .with("destination", name)
        .with("destination_type", kind)
        .with("routing_key", &spec.routing_key)
        .with("arguments", Json::table(&spec.arguments))
        .with(
            "properties_key",
            properties_key(&spec.routing_key, &spec.arguments),
        )
}

fn answer(call: &Call<'_>, vhost: &Vhost, specs: &[BindingSpec]) -> Result<Answer, Failure> {
    let objects = specs.iter().map(|spec| object(vhost, spec));
    pages::answer(call, objects.collect())
}

fn list_all(call: &Call<'_>) -> Result<Answer, Failure> {
    let mut all = Vec::new();
    for vhost in call.api.node.vhosts() {
        if call.sees_vhost(&vhost.name) {
            let specs = vhost.read(|topology| topology.router.bindings());
            all.extend(specs.iter().map(|spec| object(&vhost, spec)));
        }
    }
    pages::answer(call, all)
}

fn list_in_vhost(call: &Call<'_>) -> Result<Answer, Failure> {
    let vhost = call.vhost()?;
    let specs = vhost.read(|topology| topology.router.bindings());
    answer(call, &vhost, &specs)
}

/// A queue that is not there has its default binding all the same: RabbitMQ makes that one up from the path.
fn list_of_queue(call: &Call<'_>) -> Result<Answer, Failure> {
    let vhost = call.vhost()?;
    let name: Name = call.param("queue").into();
    let is_there = vhost.find_queue(&name).is_ok();
    let to = Destination::Queue(name.clone());
    let mut specs = vhost.read(|topology| topology.router.bindings_of_destination(&to));
    if !is_there {
        specs.push(BindingSpec {
            source: "".into(),
            destination: to,
            routing_key: name,
            arguments: FieldTable::default(),
        });
    }
    answer(call, &vhost, &specs)
}

/// Of an exchange that is not there, none.
fn list_from_exchange(call: &Call<'_>) -> Result<Answer, Failure> {
    let vhost = call.vhost()?;
    let name = call.exchange_param("exchange");
    let specs = vhost.read(|topology| topology.router.bindings_of_source(name));
    answer(call, &vhost, &specs)
}

fn list_to_exchange(call: &Call<'_>) -> Result<Answer, Failure> {
    let vhost = call.vhost()?;
    let to = Destination::Exchange(call.exchange_param("exchange").into());
    let specs = vhost.read(|topology| topology.router.bindings_of_destination(&to));
    answer(call, &vhost, &specs)
}

/// The two ends in the path.
fn ends(call: &Call<'_>) -> Result<(Name, Destination), Failure> {
    let source = call.exchange_param("source").into();
    let destination = match call.param("dtype") {
        "q" => Destination::Queue(call.param("destination").into()),
        "e" => Destination::Exchange(call.exchange_param("destination").into()),
        other => {
            return Err(Failure::bad_value(
                "unknown_destination_type",
                other.to_owned(),
            ));
        }
    };
    Ok((source, destination))
}

fn between(vhost: &Vhost, source: &str, destination: &Destination) -> Vec<BindingSpec> {
    let mut specs = vhost.read(|topology| topology.router.bindings_of_destination(destination));
    specs.retain(|spec| *spec.source == *source);
    specs
}

fn list_between(call: &Call<'_>) -> Result<Answer, Failure> {
    let vhost = call.vhost()?;
    let (source, destination) = ends(call)?;
    answer(call, &vhost, &between(&vhost, &source, &destination))
}

/// The binding in the path.
fn find(call: &Call<'_>, vhost: &Vhost) -> Result<BindingSpec, Failure> {
    let (source, destination) = ends(call)?;
    let wanted = call.param("props");
    let found = between(vhost, &source, &destination)
        .into_iter()
        .find(|spec| is_meant(spec, wanted));
    found.ok_or_else(Failure::no_object)
}

fn show(call: &Call<'_>) -> Result<Answer, Failure> {
    let vhost = call.vhost()?;
    let spec = find(call, &vhost)?;
    Ok(pages::one(call, object(&vhost, &spec)))
}

/// What a client of the user would be asked: write on what is bound, read on what it is bound to.
fn check(call: &Call<'_>, vhost: &Vhost, spec: &BindingSpec) -> Result<(), Failure> {
    let (kind, name) = match &spec.destination {
        Destination::Queue(name) => (ResourceKind::Queue, name),
        Destination::Exchange(name) => (ResourceKind::Exchange, name),
    };
    let to_default = matches!(&spec.destination, Destination::Exchange(name) if name.is_empty());
    if spec.source.is_empty() || to_default {
        return Err(Failure::access_refused());
    }
    call.require(vhost, PermissionKind::Write, kind, name)?;
    call.require(
        vhost,
        PermissionKind::Read,
        ResourceKind::Exchange,
        &spec.source,
    )?;
    let topic = vhost
        .find_exchange(&spec.source)
        .is_ok_and(|exchange| exchange.kind == "topic");
    let allowed =
        !topic || call.permitted_topic(vhost, TopicAction::Read, &spec.source, &spec.routing_key);
    match allowed {
        true => Ok(()),
        false => Err(Failure::access_refused()),
    }
}

fn bind(call: &Call<'_>) -> Result<Answer, Failure> {
    let (source, destination) = ends(call)?;
    let body = call.object()?;
    let routing_key = text(&body, "routing_key")?.unwrap_or_default();
    if routing_key.len() > 255 {
        return Err(Failure::bad_request("routing_key too long"));
    }
    let spec = BindingSpec {
        source,
        destination,
        routing_key: routing_key.into(),
        arguments: arguments(&body)?,
    };
    let vhost = call.vhost_to_change()?;
    check(call, &vhost, &spec)?;
    let location = format!(
        "{}/{}",
        quote(call.param("destination")),
        quote(&properties_key(&spec.routing_key, &spec.arguments)),
    );
    let ticket: Ticket = vhost.bind(call.now_ms, spec)?;
    Ok(Answer::created().at(location).when(ticket))
}

fn unbind(call: &Call<'_>) -> Result<Answer, Failure> {
    let vhost = call.vhost()?;
    let spec = find(call, &vhost)?;
    let vhost = call.vhost_to_change()?;
    check(call, &vhost, &spec)?;
    let ticket = vhost.unbind(&spec)?;
    Ok(Answer::done().when(ticket))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(routing_key: &str, arguments: FieldTable) -> BindingSpec {
        BindingSpec {
            source: "e".into(),
            destination: Destination::Queue("q".into()),
            routing_key: routing_key.into(),
            arguments,
        }
    }

    #[test]
    fn a_binding_is_found_by_its_key_however_it_was_encoded() {
        let mut arguments = FieldTable::new();
        arguments.set("x-match", "all");
        for spec in [
            spec("", FieldTable::new()),
            spec("a.#", FieldTable::new()),
            spec("a b/é~#%", FieldTable::new()),
            spec("", arguments.clone()),
            spec("k%", arguments),
        ] {
            let key = properties_key(&spec.routing_key, &spec.arguments);
            assert!(is_meant(&spec, &key), "{key}");
            assert!(is_meant(&spec, &quote(&key)), "{key} encoded");
            assert!(!is_meant(&spec, "other"), "{key}");
        }
        assert!(is_meant(&spec("a.#", FieldTable::new()), "a.#"));
        assert!(!is_meant(&spec("", FieldTable::new()), ""));
    }

    #[test]
    fn the_hash_does_not_look_at_the_order_of_arguments() {
        let mut one = FieldTable::new();
        one.set("a", 1);
        one.set("b", "x");
        let mut other = FieldTable::new();
        other.set("b", "x");
        other.set("a", 1);
        assert_eq!(hash(&one), hash(&other));
        other.set("a", 2);
        assert_ne!(hash(&one), hash(&other));
        assert_eq!(hash(&one).len(), 6);
    }
}
