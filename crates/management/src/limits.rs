//! Limits of vhosts and users.

use serde_json::{Map, Value};

use crate::access::Guard::{Administrator, Management, VhostOrMonitoring};
use crate::answer::Answer;
use crate::call::Call;
use crate::failure::Failure;
use crate::json::{Json, Object};
use crate::pages;
use crate::routes::{Field, Route, delete, list, put, required, route};

const VALUE: &[Field] = &[required("value", "integer")];

pub(crate) const ROUTES: &[Route] = &[
    route(
        "/api/vhost-limits",
        &[list(Management, list_vhosts, "List limits of vhosts")],
    ),
    route(
        "/api/vhost-limits/{vhost}",
        &[list(
            VhostOrMonitoring,
            list_of_vhost,
            "List a vhost's limits",
        )],
    ),
    route(
        "/api/vhost-limits/{vhost}/{name}",
        &[
            put(Administrator, set_of_vhost, "Set a vhost's limit").taking(VALUE),
            delete(Administrator, clear_of_vhost, "Clear a vhost's limit"),
        ],
    ),
    route(
        "/api/user-limits",
        &[list(Administrator, list_users, "List limits of users")],
    ),
    route(
        "/api/user-limits/{user}",
        &[list(Management, list_of_user, "List a user's limits")],
    ),
    route(
        "/api/user-limits/{user}/{name}",
        &[
            put(Administrator, set_of_user, "Set a user's limit").taking(VALUE),
            delete(Administrator, clear_of_user, "Clear a user's limit"),
        ],
    ),
];

fn of_vhost(vhost: &node::vhost::Vhost) -> Option<Object> {
    let limits = vhost.limits_as_set();
    let object = || {
        Object::new()
            .with("value", Value::Object(limits.clone()))
            .with("vhost", &vhost.name)
    };
    (!limits.is_empty()).then(object)
}

fn list_vhosts(call: &Call<'_>) -> Result<Answer, Failure> {
    let vhosts = call.api.node.vhosts();
    let seen = vhosts
        .iter()
        .filter(|vhost| call.login.is_monitoring() || call.sees_vhost(&vhost.name));
    pages::answer(call, seen.filter_map(|vhost| of_vhost(vhost)).collect())
}

fn list_of_vhost(call: &Call<'_>) -> Result<Answer, Failure> {
    let vhost = call.vhost()?;
    pages::answer(call, of_vhost(&vhost).into_iter().collect())
}

fn value(call: &Call<'_>) -> Result<Value, Failure> {
    let body = call.object_with(&["value"])?;
    Ok(body.get("value").cloned().unwrap_or_default())
}

fn set_of_vhost(call: &Call<'_>) -> Result<Answer, Failure> {
    let value = value(call)?;
    let vhost = call.vhost_named_in_passing()?;
    let name = call.param("name");
    let node = &call.api.node;
    let ticket = node.set_vhost_limit(call.act(), &vhost.name, name, value)?;
    Ok(Answer::done().when(ticket))
}

fn clear_of_vhost(call: &Call<'_>) -> Result<Answer, Failure> {
    let vhost = call.vhost()?;
    let name = call.param("name");
    let node = &call.api.node;
    let ticket = node.clear_vhost_limit(call.act(), &vhost.name, name)?;
    Ok(Answer::done().when(ticket))
}

fn user_object(user: impl Into<Json>, limits: Map<String, Value>) -> Object {
    Object::new()
        .with("user", user)
        .with("value", Value::Object(limits))
}

fn list_users(call: &Call<'_>) -> Result<Answer, Failure> {
    let users = call.api.node.identities.users_with_limits();
    let objects = users.into_iter().map(|(user, l)| user_object(user, l));
    pages::answer(call, objects.collect())
}

fn list_of_user(call: &Call<'_>) -> Result<Answer, Failure> {
    let user = call.param("user");
    if !call.login.is_monitoring() && **call.login.name() != *user {
        return Err(Failure::not_authorised(
            "User not authorised to access object",
        ));
    }
    let limits = call.api.node.identities.limits_as_set(user);
    let limits = limits.ok_or_else(Failure::no_object)?;
    let limits = Some(limits).filter(|limits| !limits.is_empty());
    let objects = limits.map(|limits| user_object(user.to_owned(), limits));
    pages::answer(call, objects.into_iter().collect())
}

fn set_of_user(call: &Call<'_>) -> Result<Answer, Failure> {
    let value = value(call)?;
    let user = call.param("user");
    let mut limits = Map::new();
    limits.insert(call.param("name").to_owned(), value);
    let node = &call.api.node;
    if node.identities.user(user).is_none() {
        return Err(Failure::bad_value("no_such_user", user.to_owned()));
    }
    let ticket = node.set_user_limits(call.act(), user, &Value::Object(limits))?;
    Ok(Answer::done().when(ticket))
}

fn clear_of_user(call: &Call<'_>) -> Result<Answer, Failure> {
    let (user, name) = (call.param("user"), call.param("name"));
    let node = &call.api.node;
    let ticket = node.clear_user_limits(call.act(), user, Some(name))?;
    Ok(Answer::done().when(ticket))
}
