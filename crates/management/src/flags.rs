//! Feature flags, deprecated features, and what else only has a meaning in a cluster or beside plug-ins.
//!
//! The lists are truthful: a feature flag is here because clients ask for it and what it stands for is built; a
//! deprecated feature says whether this broker permits it.

use node::attempts::Tries;

use crate::access::Guard::{Administrator, Anyone, Management, Monitoring};
use crate::answer::Answer;
use crate::api::{Api, RABBITMQ_VERSION};
use crate::call::Call;
use crate::failure::Failure;
use crate::json::{Json, Object};
use crate::pages;
use crate::routes::{Route, delete, get, list, put, route};

pub(crate) const ROUTES: &[Route] = &[
    route(
        "/api/feature-flags",
        &[list(Management, list_flags, "List feature flags")],
    ),
    route(
        "/api/feature-flags/{name}/enable",
        &[put(Administrator, enable_flag, "Enable a feature flag")],
    ),
    route(
        "/api/deprecated-features",
        &[list(
            Management,
            list_deprecated,
            "List deprecated features",
        )],
    ),
    route(
        "/api/deprecated-features/used",
        &[list(
            Management,
            list_used,
            "List deprecated features in use",
        )],
    ),
    route(
        "/api/extensions",
        &[get(
            Management,
            extensions,
            "List extensions of the console",
        )],
    ),
    route(
        "/api/version",
        &[get(
            Anyone,
            version,
            "Show the RabbitMQ release that is tracked",
        )],
    ),
    route("/api/whoami", &[get(Management, whoami, "Show who asks")]),
    route(
        "/api/auth/attempts/{node}",
        &[
            list(Monitoring, attempts, "Count logins by protocol"),
            delete(
                Administrator,
                reset_attempts,
                "Count logins from zero again",
            ),
        ],
    ),
    route(
        "/api/auth/attempts/{node}/source",
        &[
            list(Monitoring, attempts_by_source, "Count logins by source"),
            delete(
                Administrator,
                reset_attempts,
                "Count logins from zero again",
            ),
        ],
    ),
    route(
        "/api/reset",
        &[delete(Administrator, reset_statistics, "Forget statistics")],
    ),
    route(
        "/api/reset/{node}",
        &[delete(Administrator, reset_statistics, "Forget statistics")],
    ),
];

/// The flag of the release that is tracked. RabbitMQ requires what is older.
const NEWEST: &str = "rabbitmq_4.3.0";

/// Name and description of flags that are on.
const FLAGS: &[(&str, &str)] = &[
    (
        "classic_queue_type_delivery_support",
        "Deliveries of classic queues",
    ),
    (
        "detailed_queues_endpoint",
        "Add a detailed queues HTTP API endpoint",
    ),
    (
        "direct_exchange_routing_v2",
        "Indexed routing of direct exchanges",
    ),
    (
        "drop_unroutable_metric",
        "Count unroutable publishes to be dropped in stats",
    ),
    (
        "empty_basic_get_metric",
        "Count AMQP basic.get on empty queues in stats",
    ),
    ("feature_flags_v2", "Feature flags subsystem V2"),
    ("implicit_default_bindings", "Default bindings are implicit"),
    ("quorum_queue", "Support queues of type quorum"),
    ("rabbitmq_4.0.0", "What clients see of RabbitMQ 4.0"),
    ("rabbitmq_4.1.0", "What clients see of RabbitMQ 4.1"),
    ("rabbitmq_4.2.0", "What clients see of RabbitMQ 4.2"),
    (NEWEST, "What clients see of RabbitMQ 4.3"),
    ("stream_single_active_consumer", "Single active consumer"),
    (
        "tracking_records_in_ets",
        "Connections are tracked in memory",
    ),
    (
        "user_limits",
        "Configure connection and channel limits for a user",
    ),
    ("virtual_host_metadata", "Virtual host metadata"),
];

/// Name, phase in RabbitMQ, and whether it is permitted here.
const DEPRECATED: &[(&str, &str, bool)] = &[
    ("amqp_address_v1", "denied_by_default", false),
    ("amqp_filter_set_bug", "denied_by_default", false),
    ("classic_queue_mirroring", "removed", false),
    ("global_qos", "denied_by_default", true),
    (
        "management_metrics_collection",
        "permitted_by_default",
        true,
    ),
    ("queue_master_locator", "denied_by_default", true),
    ("ram_node_type", "removed", false),
    ("transient_nonexcl_queues", "denied_by_default", true),
];

/// Feature flags, all of them on: name and description.
pub fn feature_flags() -> &'static [(&'static str, &'static str)] {
    FLAGS
}

/// Deprecated features: name, phase in RabbitMQ, and whether it is permitted here.
pub fn deprecated_features() -> &'static [(&'static str, &'static str, bool)] {
    DEPRECATED
}

fn list_flags(call: &Call<'_>) -> Result<Answer, Failure> {
    let flag = |(name, description): &(&'static str, &'static str)| {
        let stability = match *name {
            NEWEST => "stable",
            _ => "required",
        };
        Object::new()
            .with("name", *name)
            .with("desc", *description)
            .with("doc_url", "")
            .with("state", "enabled")
            .with("stability", stability)
            .with("require_level", "hard")
            .with("experiment_level", "supported")
            .with("callbacks", Vec::<Json>::new())
            .with("provided_by", "rabbit")
    };
    pages::answer(call, FLAGS.iter().map(flag).collect())
}

/// All there are, are on.
fn enable_flag(call: &Call<'_>) -> Result<Answer, Failure> {
    let name = call.param("name");
    match FLAGS.iter().any(|(known, _)| *known == name) {
        true => Ok(Answer::done()),
        false => Err(Failure::bad_request("unsupported")),
    }
}

fn list_deprecated(call: &Call<'_>) -> Result<Answer, Failure> {
    let feature = |(name, phase, permitted): &(&'static str, &'static str, bool)| {
        Object::new()
            .with("name", *name)
            .with("state", if *permitted { "permitted" } else { "denied" })
            .with("desc", "")
            .with("deprecation_phase", *phase)
            .with("doc_url", "")
            .with("provided_by", "rabbit")
    };
    pages::answer(call, DEPRECATED.iter().map(feature).collect())
}

/// What is permitted here is no trouble here, so none is reported as used.
fn list_used(call: &Call<'_>) -> Result<Answer, Failure> {
    pages::answer(call, Vec::<Object>::new())
}

fn extensions(_call: &Call<'_>) -> Result<Answer, Failure> {
    Ok(Answer::json(Vec::<Json>::new()))
}

fn version(_call: &Call<'_>) -> Result<Answer, Failure> {
    Ok(Answer::json(RABBITMQ_VERSION))
}

fn whoami(call: &Call<'_>) -> Result<Answer, Failure> {
    let mut object = Object::new()
        .with("name", call.login.name())
        .with("tags", call.login.user.tags())
        .with("is_internal_user", call.login.user.is_own());
    if let Some(minutes) = call.api.options.login_session_timeout_min {
        object.put("login_session_timeout", minutes);
    }
    Ok(pages::one(call, object))
}

fn check_node(call: &Call<'_>) -> Result<(), Failure> {
    match call.param("node") == call.api.node.settings.cluster_name {
        true => Ok(()),
        false => Err(Failure::no_object()),
    }
}

fn attempts(call: &Call<'_>) -> Result<Answer, Failure> {
    check_node(call)?;
    let all = attempts_by_protocol(call.api);
    let all =
        all.map(|(protocol, tries)| with_tries(Object::new().with("protocol", protocol), tries));
    pages::answer(call, all.to_vec())
}

/// What was tried over each protocol, used or not.
pub(crate) fn attempts_by_protocol(api: &Api) -> [(&'static str, Tries); 2] {
    let counted = api.node.attempts.by_protocol();
    ["http", "amqp091"].map(|protocol| {
        let found = counted.iter().find(|(counted, _)| *counted == protocol);
        (
            protocol,
            found.map_or_else(Tries::default, |(_, tries)| *tries),
        )
    })
}

fn with_tries(object: Object, tries: Tries) -> Object {
    object
        .with("auth_attempts", tries.all())
        .with("auth_attempts_failed", tries.failed)
        .with("auth_attempts_succeeded", tries.succeeded)
}

/// Empty unless the tracking of sources is switched on, as in RabbitMQ.
fn attempts_by_source(call: &Call<'_>) -> Result<Answer, Failure> {
    check_node(call)?;
    let sources = call.api.node.attempts.by_source();
    let sources = sources.into_iter().map(|(source, tries)| {
        let object = Object::new()
            .with("remote_address", source.host)
            .with("username", source.user)
            .with("protocol", source.protocol);
        with_tries(object, tries)
    });
    pages::answer(call, sources.collect())
}

fn reset_attempts(call: &Call<'_>) -> Result<Answer, Failure> {
    check_node(call)?;
    call.api.node.attempts.reset();
    Ok(Answer::done())
}

/// Statistics are counted where things happen and kept nowhere else.
fn reset_statistics(call: &Call<'_>) -> Result<Answer, Failure> {
    match call.try_param("node") {
        Some(_) => check_node(call).map(|()| Answer::done()),
        None => Ok(Answer::done()),
    }
}
