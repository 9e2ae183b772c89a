//! Definitions to import at the start, and what new vhosts begin with.

use metadata::identity::Pattern;
use node::settings::DefaultVhostLimits;

use crate::config::Config;
use crate::config::key::{Applies::*, Key, key};

pub(super) static KEYS: &[Key] = &[
    key(
        "load_definitions",
        Restart,
        "",
        "file of definitions to import at each start, or a directory whose .json files are imported by name",
        |config, given| {
            config.definitions = Some(given.path());
            Ok(())
        },
    ),
    key(
        "definitions.import_backend",
        Restart,
        "local_filesystem",
        "where definitions come from: only the file system",
        |_, given| given.one_of(&["local_filesystem"]).map(drop),
    ),
    key(
        "definitions.local.path",
        Restart,
        "",
        "the same as `load_definitions`",
        |config, given| {
            config.definitions = Some(given.path());
            Ok(())
        },
    ),
    key(
        "default_queue_type",
        Restart,
        "classic",
        "the default queue type of new vhosts: `classic` or `quorum`",
        |config, given| {
            let kind = given.one_of(&["classic", "quorum"])?;
            config.settings.default_queue_type = (kind != "classic").then(|| kind.to_owned());
            Ok(())
        },
    ),
    key(
        "default_limits.vhosts.$id.pattern",
        Restart,
        "",
        "regular expression: new vhosts of such a name begin with the limits of this id",
        |config, given| {
            let pattern = Pattern::parse(given.value).map_err(|error| error.to_string())?;
            limits(config, given.name()).pattern = pattern;
            Ok(())
        },
    ),
    key(
        "default_limits.vhosts.$id.max_connections",
        Restart,
        "",
        "connections that such a vhost may have; below zero is no limit",
        |config, given| {
            limits(config, given.name()).connections_max = Some(given.integer(i64::MIN, i64::MAX)?);
            Ok(())
        },
    ),
    key(
        "default_limits.vhosts.$id.max_queues",
        Restart,
        "",
        "queues that such a vhost may have; below zero is no limit",
        |config, given| {
            limits(config, given.name()).queues_max = Some(given.integer(i64::MIN, i64::MAX)?);
            Ok(())
        },
    ),
];

/// The limits of this id, made where they are new. They are looked at in the order of their ids.
fn limits(config: &mut Config, id: String) -> &mut DefaultVhostLimits {
    let all = &mut config.settings.default_vhost_limits;
    all.entry(id).or_insert_with(|| DefaultVhostLimits {
        pattern: Pattern::parse(".*").expect("this pattern compiles"),
        connections_max: None,
        queues_max: None,
    })
}
