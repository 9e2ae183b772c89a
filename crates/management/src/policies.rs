//! Policies and operator policies.

use metadata::policy::Policy;
use metadata::policy::PolicyKind::{self, Operator, User};
use metadata::topology::Name;
use serde_json::{Map, Value};

use crate::access::Guard::{Administrator, Management, Policymaker, Vhost, VhostPolicymaker};
use crate::answer::Answer;
use crate::call::Call;
use crate::failure::Failure;
use crate::json::{Json, Object};
use crate::pages;
use crate::routes::{Field, Route, delete, get, list, optional, put, required, route};

const POLICY: &[Field] = &[
    required("pattern", "string"),
    required("definition", "object"),
    optional("priority", "integer"),
    optional("apply-to", "string"),
];

pub(crate) const ROUTES: &[Route] = &[
    route(
        "/api/policies",
        &[list(
            Management,
            |call| all(call, User, None),
            "List policies",
        )],
    ),
    route(
        "/api/policies/{vhost}",
        &[list(
            Vhost,
            |call| in_vhost(call, User),
            "List policies of a vhost",
        )],
    ),
    route(
        "/api/policies/{vhost}/{name}",
        &[
            get(VhostPolicymaker, |call| show(call, User), "Show a policy"),
            put(
                VhostPolicymaker,
                |call| set(call, User),
                "Add or change a policy",
            )
            .taking(POLICY),
            delete(
                VhostPolicymaker,
                |call| clear(call, User),
                "Delete a policy",
            ),
        ],
    ),
    route(
        "/api/operator-policies",
        &[list(
            Management,
            |call| all(call, Operator, None),
            "List operator policies",
        )],
    ),
    route(
        "/api/operator-policies/{vhost}",
        &[list(
            Vhost,
            |call| in_vhost(call, Operator),
            "List operator policies of a vhost",
        )],
    ),
    route(
        "/api/operator-policies/{vhost}/{name}",
        &[
            get(
                Administrator,
                |call| unlocked(call).and_then(|()| show(call, Operator)),
                "Show an operator policy",
            ),
            put(
                Administrator,
                |call| unlocked(call).and_then(|()| set(call, Operator)),
                "Add or change an operator policy",
            )
            .taking(POLICY),
            delete(
                Administrator,
                |call| unlocked(call).and_then(|()| clear(call, Operator)),
                "Delete an operator policy",
            ),
        ],
    ),
    route(
        "/api/policies/{vhost}/{name}/matches",
        &[get(
            Policymaker,
            matches,
            "List the queues and exchanges that a policy matches",
        )],
    ),
];

fn object(vhost: &Name, policy: &Policy) -> Object {
    Object::new()
        .with("vhost", vhost)
        .with("name", &policy.name)
        .with("pattern", &policy.pattern)
        .with("apply-to", policy.apply_to.name())
        .with("definition", Value::Object(policy.definition.clone()))
        .with("priority", Value::Number(policy.priority.clone()))
}

fn all(call: &Call<'_>, kind: PolicyKind, vhost: Option<&str>) -> Result<Answer, Failure> {
    let policies = call.api.node.policies(kind, vhost);
    let seen = policies
        .iter()
        .filter(|(vhost, _)| call.sees_vhost(vhost))
        .map(|(vhost, policy)| object(vhost, policy));
    pages::answer(call, seen.collect())
}

fn in_vhost(call: &Call<'_>, kind: PolicyKind) -> Result<Answer, Failure> {
    let vhost = call.vhost()?;
    all(call, kind, Some(&vhost.name))
}

fn show(call: &Call<'_>, kind: PolicyKind) -> Result<Answer, Failure> {
    let vhost = call.vhost()?;
    let policy = vhost.policy(kind, call.param("name"));
    let policy = policy.ok_or_else(Failure::no_object)?;
    Ok(pages::one(call, object(&vhost.name, &policy)))
}

/// Refuses where the configuration leaves operator policies to the command line. As in RabbitMQ one cannot be shown
/// then either, only listed.
fn unlocked(call: &Call<'_>) -> Result<(), Failure> {
    match call.api.options.operator_policies_locked {
        false => Ok(()),
        true => Err(Failure::new(
            405,
            "method_not_allowed",
            "Broker settings disallow editing of operator policies.",
        )),
    }
}

fn set(call: &Call<'_>, kind: PolicyKind) -> Result<Answer, Failure> {
    let body = call.object_with(&["pattern", "definition"])?;
    let vhost = call.vhost_named_in_passing()?;
    let name = call.param("name");
    let mut value = Map::new();
    for key in ["pattern", "definition", "priority", "apply-to"] {
        if let Some(given) = body.get(key) {
            value.insert(key.to_owned(), given.clone());
        }
    }
    // RabbitMQ's defaults, put in where they are left out.
    value.entry("priority").or_insert_with(|| 0.into());
    value.entry("apply-to").or_insert_with(|| "all".into());
    let new = vhost.policy(kind, name).is_none();
    let set = call
        .api
        .node
        .set_policy(call.act(), &vhost.name, kind, name, &Value::Object(value));
    Ok(Answer::created_if(new).when(set?))
}

fn clear(call: &Call<'_>, kind: PolicyKind) -> Result<Answer, Failure> {
    let vhost = call.vhost()?;
    let name = call.param("name");
    let node = &call.api.node;
    let ticket = node.clear_policy(call.act(), &vhost.name, kind, name)?;
    Ok(Answer::done().when(ticket))
}

/// What a policy would be for, whichever policy applies there: not in RabbitMQ.
fn matches(call: &Call<'_>) -> Result<Answer, Failure> {
    let vhost = call.vhost()?;
    if !call.sees_vhost(&vhost.name) {
        return Err(Failure::not_found("Not Found"));
    }
    let policy = vhost.policy(User, call.param("name"));
    let policy = policy.ok_or_else(Failure::no_object)?;
    let (queues, exchanges) = vhost.read(|topology| {
        let exchanges = topology.router.exchanges();
        let exchanges: Vec<Name> = exchanges.iter().map(|spec| spec.name.clone()).collect();
        (topology.queues(), exchanges)
    });
    let queues = queues
        .iter()
        .filter(|cell| policy.matches(cell.policy_target(), &cell.spec.name))
        .map(|cell| Json::from(&cell.spec.name));
    let target = metadata::policy::Target::Exchange;
    let exchanges = exchanges
        .iter()
        .filter(|name| policy.matches(target, name))
        .map(Json::from);
    let object = Object::new()
        .with("queues", queues.collect::<Vec<_>>())
        .with("exchanges", exchanges.collect::<Vec<_>>());
    Ok(Answer::json(object))
}
