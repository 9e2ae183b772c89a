//! Vhosts: what they are declared with, and the protection against deleting them.

use metadata::identity::VhostSpec;
use node::vhost::Vhost;
use serde_json::{Map, Value};

use crate::access::Guard::{Administrator, Management};
use crate::answer::Answer;
use crate::call::{Call, boolean, tags, text};
use crate::failure::Failure;
use crate::json::{Json, Object};
use crate::overview;
use crate::pages;
use crate::routes::{Field, Route, delete, get, list, optional, post, put, route};

const QUEUE_TYPES: [&str; 3] = ["classic", "quorum", "stream"];

const VHOST: &[Field] = &[
    optional("description", "string"),
    optional("tags", ""),
    optional("default_queue_type", "string"),
    optional("protected_from_deletion", "boolean"),
    optional("tracing", "boolean"),
];

pub(crate) const ROUTES: &[Route] = &[
    route(
        "/api/vhosts",
        &[list(Management, list_vhosts, "List vhosts")],
    ),
    route(
        "/api/vhosts/{vhost}",
        &[
            get(Administrator, show, "Show a vhost"),
            put(Administrator, declare, "Add or change a vhost").taking(VHOST),
            delete(Administrator, remove, "Delete a vhost with all in it"),
        ],
    ),
    route(
        "/api/vhosts/{vhost}/deletion/protection",
        &[
            post(Administrator, protect, "Protect a vhost from deletion"),
            delete(
                Administrator,
                unprotect,
                "Take away a vhost's protection from deletion",
            ),
        ],
    ),
    route(
        "/api/vhosts/{vhost}/start/{node}",
        &[post(Administrator, start, "Start a vhost on a node")],
    ),
];

fn object(call: &Call<'_>, vhost: &Vhost) -> Object {
    let spec = vhost.spec();
    // RabbitMQ gives every vhost a type; one that was declared without has the node's, classic.
    let queue_type: Json = spec
        .default_queue_type
        .clone()
        .map_or(Json::Word("classic"), Json::Text);
    let metadata = Object::new()
        .with("description", &spec.description)
        .with("tags", spec.tags.as_slice())
        .with("default_queue_type", queue_type.clone());
    let running = Object::new().with(call.api.node.settings.cluster_name.clone(), "running");
    let mut object = Object::new()
        .with("name", &spec.name)
        .with("description", &spec.description)
        .with("tags", spec.tags.as_slice())
        .with("default_queue_type", queue_type)
        .with("protected_from_deletion", spec.protected_from_deletion)
        .with("metadata", metadata)
        .with("tracing", spec.tracing)
        .with("cluster_state", running);
    overview::put_vhost_totals(call, vhost, &mut object);
    object
}

fn list_vhosts(call: &Call<'_>) -> Result<Answer, Failure> {
    let mut vhosts = call.api.node.vhosts();
    if !call.login.is_monitoring() {
        vhosts.retain(|vhost| call.sees_vhost(&vhost.name));
    }
    let vhosts = vhosts.iter().map(|vhost| object(call, vhost));
    pages::answer(call, vhosts.collect())
}

fn show(call: &Call<'_>) -> Result<Answer, Failure> {
    let vhost = call.vhost()?;
    Ok(pages::one(call, object(call, &vhost)))
}

fn declare(call: &Call<'_>) -> Result<Answer, Failure> {
    let name = call.param("vhost");
    let body = call.object()?;
    let node = &call.api.node;
    let mut changed = VhostSpec::named(name);
    apply(&body, &mut changed)?;
    if node.vhost(name).is_none()
        && let Some(ticket) = node.add_vhost(changed)
    {
        // Whoever makes a vhost may use it, as in RabbitMQ.
        let all = metadata::identity::Permissions::parse(".*", ".*", ".*")
            .expect("these patterns compile");
        let mine = node
            .identities
            .set_permissions(call.login.name(), &name.into(), all)?;
        return Ok(Answer::created().when(ticket).when(mine));
    }
    let ticket = node.change_vhost(name, |spec| {
        // What the body does not speak of goes back to what it is without it, but for these two.
        let mut new = VhostSpec {
            tracing: spec.tracing,
            protected_from_deletion: spec.protected_from_deletion,
            default_queue_type: spec.default_queue_type.clone(),
            ..VhostSpec::named(name)
        };
        if body.is_empty() {
            return;
        }
        if apply(&body, &mut new).is_ok() {
            *spec = new;
        }
    });
    let ticket = ticket.ok_or_else(Failure::no_object)?;
    Ok(Answer::done().when(ticket))
}

/// Takes what the body says.
fn apply(body: &Map<String, Value>, spec: &mut VhostSpec) -> Result<(), Failure> {
    if let Some(description) = text(body, "description")? {
        spec.description = description.to_owned();
    }
    if let Some(value) = body.get("tags") {
        spec.tags = tags(value)?;
    }
    match text(body, "default_queue_type")? {
        Some(kind) if QUEUE_TYPES.contains(&kind) => {
            spec.default_queue_type = Some(kind.to_owned());
        }
        None | Some("undefined") => {}
        Some(kind) => {
            let reason = format!("{kind} is not a valid queue type");
            return Err(Failure::bad_request(reason));
        }
    }
    if body.contains_key("tracing") {
        spec.tracing = boolean(body, "tracing")?;
    }
    if body.contains_key("protected_from_deletion") {
        spec.protected_from_deletion = boolean(body, "protected_from_deletion")?;
    }
    Ok(())
}

fn remove(call: &Call<'_>) -> Result<Answer, Failure> {
    let vhost = call.vhost()?;
    if vhost.spec().protected_from_deletion {
        let reason = format!(
            "Refusing to delete virtual host '{}' because it is protected from deletion",
            vhost.name
        );
        return Err(Failure::new(412, "precondition_failed", reason));
    }
    let ticket = call.api.node.delete_vhost(&vhost.name);
    let ticket = ticket.ok_or_else(Failure::no_object)?;
    Ok(Answer::done().when(ticket))
}

fn protect(call: &Call<'_>) -> Result<Answer, Failure> {
    set_protection(call, true)
}

fn unprotect(call: &Call<'_>) -> Result<Answer, Failure> {
    set_protection(call, false)
}

fn set_protection(call: &Call<'_>, on: bool) -> Result<Answer, Failure> {
    let name = call.param("vhost");
    let changed = call
        .api
        .node
        .change_vhost(name, |spec| spec.protected_from_deletion = on);
    Ok(Answer::done().when(changed.ok_or_else(Failure::no_object)?))
}

/// A vhost of a single node runs while the node does.
fn start(call: &Call<'_>) -> Result<Answer, Failure> {
    call.vhost()?;
    match call.param("node") == call.api.node.settings.cluster_name {
        true => Ok(Answer::done()),
        false => Err(Failure::no_object()),
    }
}
