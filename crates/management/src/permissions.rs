//! What users may do: permissions in vhosts, and on routing keys of topic exchanges.

use metadata::identity::{PatternError, Permissions, TopicPermissions};
use metadata::topology::Name;

use crate::access::Guard::Administrator;
use crate::answer::Answer;
use crate::call::{Call, text};
use crate::failure::Failure;
use crate::json::Object;
use crate::pages;
use crate::routes::{Field, Route, delete, get, list, put, required, route};

const PERMISSIONS: &[Field] = &[
    required("configure", "string"),
    required("write", "string"),
    required("read", "string"),
];

const TOPIC_PERMISSIONS: &[Field] = &[
    required("exchange", "string"),
    required("write", "string"),
    required("read", "string"),
];

pub(crate) const ROUTES: &[Route] = &[
    route(
        "/api/permissions",
        &[list(Administrator, list_all, "List permissions")],
    ),
    route(
        "/api/permissions/{vhost}/{user}",
        &[
            get(Administrator, show, "Show a user's permissions in a vhost"),
            put(Administrator, set, "Set a user's permissions in a vhost").taking(PERMISSIONS),
            delete(
                Administrator,
                clear,
                "Take away a user's permissions in a vhost",
            ),
        ],
    ),
    route(
        "/api/users/{user}/permissions",
        &[list(
            Administrator,
            list_of_user,
            "List a user's permissions",
        )],
    ),
    route(
        "/api/vhosts/{vhost}/permissions",
        &[list(
            Administrator,
            list_of_vhost,
            "List permissions in a vhost",
        )],
    ),
    route(
        "/api/topic-permissions",
        &[list(
            Administrator,
            list_all_topics,
            "List topic permissions",
        )],
    ),
    route(
        "/api/topic-permissions/{vhost}/{user}",
        &[
            get(
                Administrator,
                show_topics,
                "Show a user's topic permissions in a vhost",
            ),
            put(
                Administrator,
                set_topic,
                "Set a user's permissions on a topic exchange",
            )
            .taking(TOPIC_PERMISSIONS),
            delete(
                Administrator,
                clear_topics,
                "Take away a user's topic permissions in a vhost",
            ),
        ],
    ),
    route(
        "/api/topic-permissions/{vhost}/{user}/{exchange}",
        &[
            get(
                Administrator,
                show_topics,
                "Show a user's topic permissions in a vhost",
            ),
            delete(
                Administrator,
                clear_topics,
                "Take away a user's permissions on a topic exchange",
            ),
        ],
    ),
    route(
        "/api/users/{user}/topic-permissions",
        &[list(
            Administrator,
            list_topics_of_user,
            "List a user's topic permissions",
        )],
    ),
    route(
        "/api/vhosts/{vhost}/topic-permissions",
        &[list(
            Administrator,
            list_topics_of_vhost,
            "List topic permissions in a vhost",
        )],
    ),
];

fn object(user: &Name, vhost: &Name, permissions: &Permissions) -> Object {
    Object::new()
        .with("user", user)
        .with("vhost", vhost)
        .with("configure", permissions.configure.source().to_owned())
        .with("write", permissions.write.source().to_owned())
        .with("read", permissions.read.source().to_owned())
}

fn topic_object(user: &Name, vhost: &Name, permissions: &TopicPermissions) -> Object {
    Object::new()
        .with("user", user)
        .with("vhost", vhost)
        .with("exchange", &permissions.exchange)
        .with("write", permissions.write.source().to_owned())
        .with("read", permissions.read.source().to_owned())
}

fn list_all(call: &Call<'_>) -> Result<Answer, Failure> {
    let identities = &call.api.node.identities;
    let mut all = Vec::new();
    for user in identities.users() {
        // A user who was deleted a moment ago has none.
        let of_user = identities.permissions_of(&user.name).unwrap_or_default();
        all.extend(
            of_user
                .iter()
                .map(|(vhost, p)| object(&user.name, vhost, p)),
        );
    }
    pages::answer(call, all)
}

fn list_of_user(call: &Call<'_>) -> Result<Answer, Failure> {
    let user: Name = call.param("user").into();
    let all = call.api.node.identities.permissions_of(&user)?;
    let all = all.iter().map(|(vhost, p)| object(&user, vhost, p));
    pages::answer(call, all.collect())
}

fn list_of_vhost(call: &Call<'_>) -> Result<Answer, Failure> {
    let vhost = call.vhost()?;
    let all = call.api.node.identities.permissions_in(&vhost.name);
    let all = all.iter().map(|(user, p)| object(user, &vhost.name, p));
    pages::answer(call, all.collect())
}

fn show(call: &Call<'_>) -> Result<Answer, Failure> {
    let (user, vhost): (Name, Name) = (call.param("user").into(), call.param("vhost").into());
    let permissions = call.api.node.identities.permissions(&user, &vhost);
    let permissions = permissions.ok_or_else(Failure::no_object)?;
    Ok(pages::one(call, object(&user, &vhost, &permissions)))
}

fn set(call: &Call<'_>) -> Result<Answer, Failure> {
    let body = call.object_with(&["configure", "write", "read"])?;
    let of = |key| text(&body, key).map(Option::unwrap_or_default);
    let (configure, write, read) = (of("configure")?, of("write")?, of("read")?);
    let permissions = Permissions::parse(configure, write, read).map_err(bad_pattern)?;
    let (user, vhost) = user_and_vhost(call)?;
    let identities = &call.api.node.identities;
    let new = identities.permissions(&user, &vhost).is_none();
    let ticket = identities.set_permissions(&user, &vhost, permissions)?;
    Ok(Answer::created_if(new).when(ticket))
}

/// The user and vhost in the path, both of which must exist.
fn user_and_vhost(call: &Call<'_>) -> Result<(Name, Name), Failure> {
    let node = &call.api.node;
    let user = node.identities.user(call.param("user"));
    let vhost = node.vhost(call.param("vhost"));
    match (user, vhost) {
        (Some(user), Some(vhost)) => Ok((user.name.clone(), vhost.name.clone())),
        _ => Err(Failure::bad_request("vhost_or_user_not_found")),
    }
}

fn bad_pattern(error: PatternError) -> Failure {
    Failure::bad_value("invalid_regexp", error.to_string())
}

fn clear(call: &Call<'_>) -> Result<Answer, Failure> {
    let (user, vhost) = (call.param("user"), call.param("vhost"));
    let identities = &call.api.node.identities;
    if identities.permissions(user, vhost).is_none() {
        return Err(Failure::no_object());
    }
    Ok(Answer::done().when(identities.clear_permissions(user, vhost)))
}

fn list_all_topics(call: &Call<'_>) -> Result<Answer, Failure> {
    let identities = &call.api.node.identities;
    let mut all = Vec::new();
    for user in identities.users() {
        let of_user = identities.topic_permissions_of(&user.name);
        let of_user = of_user.unwrap_or_default();
        all.extend(
            of_user
                .iter()
                .map(|(vhost, p)| topic_object(&user.name, vhost, p)),
        );
    }
    pages::answer(call, all)
}

fn list_topics_of_user(call: &Call<'_>) -> Result<Answer, Failure> {
    let user: Name = call.param("user").into();
    let all = call.api.node.identities.topic_permissions_of(&user)?;
    let all = all.iter().map(|(vhost, p)| topic_object(&user, vhost, p));
    pages::answer(call, all.collect())
}

fn list_topics_of_vhost(call: &Call<'_>) -> Result<Answer, Failure> {
    let vhost = call.vhost()?;
    let all = call.api.node.identities.topic_permissions_in(&vhost.name);
    let all = all
        .iter()
        .map(|(user, p)| topic_object(user, &vhost.name, p));
    pages::answer(call, all.collect())
}

/// All of a user's in the vhost; RabbitMQ shows them all even where the path names one exchange.
fn show_topics(call: &Call<'_>) -> Result<Answer, Failure> {
    let (user, vhost): (Name, Name) = (call.param("user").into(), call.param("vhost").into());
    let all = call.api.node.identities.topic_permissions_of(&user)?;
    let in_vhost: Vec<Object> = all
        .iter()
        .filter(|(name, _)| *name == vhost)
        .map(|(_, p)| topic_object(&user, &vhost, p))
        .collect();
    match in_vhost.is_empty() {
        true => Err(Failure::no_object()),
        false => Ok(Answer::json(in_vhost)),
    }
}

fn set_topic(call: &Call<'_>) -> Result<Answer, Failure> {
    let body = call.object_with(&["exchange", "write", "read"])?;
    let of = |key| text(&body, key).map(Option::unwrap_or_default);
    let (exchange, write, read) = (of("exchange")?, of("write")?, of("read")?);
    let permissions = TopicPermissions::parse(exchange, write, read).map_err(bad_pattern)?;
    let (user, vhost) = user_and_vhost(call)?;
    let known = call.api.node.vhost(&vhost);
    if known.is_none_or(|vhost| vhost.find_exchange(exchange).is_err()) {
        return Err(Failure::bad_value("no_such_exchange", exchange.to_owned()));
    }
    let identities = &call.api.node.identities;
    let new = !has_topic(call, &user, &vhost, Some(exchange));
    let ticket = identities.set_topic_permissions(&user, &vhost, permissions)?;
    Ok(Answer::created_if(new).when(ticket))
}

fn has_topic(call: &Call<'_>, user: &str, vhost: &str, exchange: Option<&str>) -> bool {
    let all = call.api.node.identities.topic_permissions_of(user);
    all.unwrap_or_default().iter().any(|(name, permissions)| {
        **name == *vhost && exchange.is_none_or(|exchange| *permissions.exchange == *exchange)
    })
}

fn clear_topics(call: &Call<'_>) -> Result<Answer, Failure> {
    let (user, vhost) = (call.param("user"), call.param("vhost"));
    let exchange = call.try_param("exchange");
    // Whichever exchange the path names, as in RabbitMQ.
    if !has_topic(call, user, vhost, None) {
        return Err(Failure::no_object());
    }
    let identities = &call.api.node.identities;
    let ticket = identities.clear_topic_permissions(user, vhost, exchange);
    Ok(Answer::done().when(ticket))
}
