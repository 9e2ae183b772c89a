//! Users: passwords, tags, and who has no permissions.

use metadata::identity::{HashingAlgorithm, PasswordHash, User};
use node::catalog::Ticket;
use node::identities::NewPassword;
use serde_json::{Map, Value};

use crate::access::Guard::Administrator;
use crate::answer::Answer;
use crate::call::{Call, tags};
use crate::failure::Failure;
use crate::json::{Json, Object};
use crate::pages;
use crate::routes::{Field, Route, delete, get, list, optional, post, put, required, route};

const USER: &[Field] = &[
    optional("password", "string"),
    optional("password_hash", "string"),
    optional("hashing_algorithm", "string"),
    required("tags", ""),
];

pub(crate) const ROUTES: &[Route] = &[
    route(
        "/api/users",
        &[list(Administrator, list_users, "List users")],
    ),
    route(
        "/api/users/without-permissions",
        &[list(
            Administrator,
            list_without_permissions,
            "List users who may enter no vhost",
        )],
    ),
    route(
        "/api/users/bulk-delete",
        &[post(Administrator, delete_users, "Delete users").taking(&[required("users", "array")])],
    ),
    route(
        "/api/users/{user}",
        &[
            get(Administrator, show_user, "Show a user"),
            put(Administrator, put_user, "Add or change a user").taking(USER),
            delete(Administrator, delete_user, "Delete a user"),
        ],
    ),
    route(
        "/api/auth/hash_password/{password}",
        &[get(Administrator, hash_password, "Hash a password")],
    ),
];

fn user_object(call: &Call<'_>, user: &User) -> Object {
    let limits = call.api.node.identities.limits_as_set(&user.name);
    Object::new()
        .with("name", &user.name)
        .with("password_hash", user.password_hash.to_base64())
        .with("hashing_algorithm", user.hashing_algorithm.name())
        .with("tags", user.tags.as_slice())
        .with("limits", Value::Object(limits.unwrap_or_default()))
}

fn list_users(call: &Call<'_>) -> Result<Answer, Failure> {
    let users = call.api.node.identities.users();
    pages::answer(
        call,
        users.iter().map(|user| user_object(call, user)).collect(),
    )
}

fn list_without_permissions(call: &Call<'_>) -> Result<Answer, Failure> {
    let identities = &call.api.node.identities;
    let mut users = identities.users();
    users.retain(|user| {
        let permissions = identities.permissions_of(&user.name);
        permissions.is_ok_and(|permissions| permissions.is_empty())
    });
    pages::answer(
        call,
        users.iter().map(|user| user_object(call, user)).collect(),
    )
}

fn show_user(call: &Call<'_>) -> Result<Answer, Failure> {
    let user = call.api.node.identities.user(call.param("user"));
    let user = user.ok_or_else(Failure::no_object)?;
    Ok(pages::one(call, user_object(call, &user)))
}

fn put_user(call: &Call<'_>) -> Result<Answer, Failure> {
    let name = call.param("user");
    let object = call.object()?;
    let Some(new_tags) = object.get("tags") else {
        return Err(Failure::bad_request("tags_not_present"));
    };
    let new_tags = tags(new_tags)?;
    let password = password(&object)?;
    let identities = &call.api.node.identities;
    if identities.user(name).is_none() {
        let ticket = identities.add_user(name, password, new_tags)?;
        return Ok(Answer::created().when(ticket));
    }
    let first = identities.change_password(name, password)?;
    let second = identities.set_tags(name, new_tags)?;
    Ok(Answer::done().when(first).when(second))
}

/// What the body says of the password; nothing is none.
fn password(object: &Map<String, Value>) -> Result<NewPassword<'_>, Failure> {
    let not_text = |value: &Value| Failure::bad_value("not_string", value.clone());
    match (object.get("password"), object.get("password_hash")) {
        (Some(_), Some(_)) => Err(Failure::bad_request(
            "both_password_and_password_hash_are_provided",
        )),
        (Some(Value::String(password)), None) if password.is_empty() => Ok(NewPassword::None),
        (Some(Value::String(password)), None) => Ok(NewPassword::Clear(password.as_bytes())),
        (None, Some(Value::String(hash))) => {
            let algorithm = match object.get("hashing_algorithm") {
                None => HashingAlgorithm::DEFAULT,
                Some(name) => name
                    .as_str()
                    .and_then(HashingAlgorithm::parse)
                    .ok_or_else(|| Failure::bad_value("unknown_hashing_algorithm", name.clone()))?,
            };
            let hash = PasswordHash::from_base64(hash)
                .map_err(|_| Failure::bad_value("not_base64", hash.clone()))?;
            Ok(NewPassword::Hashed(hash, algorithm))
        }
        (Some(other), None) | (None, Some(other)) => Err(not_text(other)),
        (None, None) => Ok(NewPassword::None),
    }
}

fn delete_user(call: &Call<'_>) -> Result<Answer, Failure> {
    Ok(Answer::done().when(remove(call, call.param("user"))?))
}

/// Users who are not there are passed over.
fn delete_users(call: &Call<'_>) -> Result<Answer, Failure> {
    let object = call.object_with(&["users"])?;
    let Some(names) = object.get("users").and_then(Value::as_array) else {
        return Err(Failure::bad_request("users_not_list"));
    };
    let names = names.iter().map(|name| {
        let bad = || Failure::bad_value("not_string", name.clone());
        name.as_str().ok_or_else(bad)
    });
    let names: Vec<&str> = names.collect::<Result<_, _>>()?;
    let mut ticket = Ticket::NONE;
    for name in names {
        ticket = ticket.max(remove(call, name).unwrap_or_default());
    }
    Ok(Answer::done().when(ticket))
}

/// Deletes a user, and closes the user's connections as RabbitMQ does.
fn remove(call: &Call<'_>, name: &str) -> Result<Ticket, Failure> {
    let node = &call.api.node;
    let ticket = node.identities.delete_user(name)?;
    let text = format!("user '{name}' was deleted");
    node.connections
        .force_close(&text, |entry| *entry.user == *name);
    Ok(ticket)
}

fn hash_password(call: &Call<'_>) -> Result<Answer, Failure> {
    let hash = node::identities::hash_password(call.param("password").as_bytes());
    Ok(Answer::json(
        Object::new().with("ok", Json::Text(hash.to_base64())),
    ))
}
