//! What the environment says: RabbitMQ's variables that containers and service files set.
//!
//! Others whose names begin with `RABBITMQ_` are left alone, for a container platform sets some of its own
//! (`RABBITMQ_SERVICE_HOST` and its kin).

use std::path::PathBuf;

use super::file;
use super::layers::{Layers, Sources};
use super::open_telemetry;
use super::statement::{ConfigError, Note, Origin, Statement, words};

/// A variable that sets a key.
const KEYS: [(&str, &str); 10] = [
    ("RABBITMQ_DEFAULT_USER", "default_user"),
    ("RABBITMQ_DEFAULT_PASS", "default_pass"),
    ("RABBITMQ_DEFAULT_VHOST", "default_vhost"),
    ("RABBITMQ_NODENAME", "cluster_name"),
    ("RABBITMQ_MNESIA_DIR", "data_dir"),
    ("LEVERET_DATA_DIR", "data_dir"),
    ("RABBITMQ_LOG_BASE", "log.dir"),
    ("RABBITMQ_MOTD_FILE", "motd_file"),
    ("RABBITMQ_PRODUCT_NAME", "product.name"),
    ("RABBITMQ_PRODUCT_VERSION", "product.version"),
];

/// A variable whose value is the name of a file that holds the value of a key, as container platforms hand out
/// secrets.
const FILES: [(&str, &str); 2] = [
    ("RABBITMQ_DEFAULT_USER_FILE", "default_user"),
    ("RABBITMQ_DEFAULT_PASS_FILE", "default_pass"),
];

/// Variables that RabbitMQ knows and that have no meaning here.
const ACCEPTED: [&str; 16] = [
    "RABBITMQ_ADVANCED_CONFIG_FILE",
    "RABBITMQ_CONF_ENV_FILE",
    "RABBITMQ_DIST_PORT",
    "RABBITMQ_ENABLED_PLUGINS",
    "RABBITMQ_ENABLED_PLUGINS_FILE",
    "RABBITMQ_ERLANG_COOKIE",
    "RABBITMQ_FEATURE_FLAGS",
    "RABBITMQ_IO_THREAD_POOL_SIZE",
    "RABBITMQ_MNESIA_BASE",
    "RABBITMQ_PLUGINS_DIR",
    "RABBITMQ_QUORUM_DIR",
    "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
    "RABBITMQ_SERVER_ERL_ARGS",
    "RABBITMQ_SERVER_START_ARGS",
    "RABBITMQ_STREAM_DIR",
    "RABBITMQ_USE_LONGNAME",
];

pub(super) fn find<'a>(sources: &'a Sources, name: &str) -> Option<&'a str> {
    let found = sources.environment.iter().find(|(known, _)| known == name);
    found
        .map(|(_, value)| value.as_str())
        .filter(|value| !value.is_empty())
}

pub(super) fn origin(name: &str) -> Origin {
    Origin::Environment(name.to_owned())
}

/// Configuration files, in the order in which they are laid over one another.
pub(super) fn files(sources: &Sources, errors: &mut Vec<ConfigError>) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = sources.file.clone().into_iter().collect();
    if files.is_empty() {
        let named = ["LEVERET_CONFIG_FILE", "RABBITMQ_CONFIG_FILE"];
        let named = named.iter().find_map(|name| find(sources, name));
        files.extend(named.map(|named| match PathBuf::from(named) {
            // RabbitMQ lets the ending be left out.
            path if path.extension().is_none() && !path.exists() => path.with_extension("conf"),
            path => path,
        }));
    }
    if let Some(more) = find(sources, "RABBITMQ_CONFIG_FILES") {
        match file::expand(&PathBuf::from(more)) {
            Ok(more) => files.extend(more),
            Err(text) => errors.push(ConfigError {
                origin: origin("RABBITMQ_CONFIG_FILES"),
                text,
            }),
        }
    }
    files
}

fn statement(variable: &str, key: &str, value: &str) -> Statement {
    Statement {
        words: words(key),
        value: value.to_owned(),
        origin: origin(variable),
    }
}

/// `RABBITMQ_NODE_PORT` and `RABBITMQ_NODE_IP_ADDRESS` take the place of all other addresses.
fn listener(sources: &Sources, layers: &mut Layers) {
    let port = find(sources, "RABBITMQ_NODE_PORT");
    let host = find(sources, "RABBITMQ_NODE_IP_ADDRESS").filter(|host| *host != "auto");
    match (host, port) {
        (None, Some(port)) => layers.replace(statement(
            "RABBITMQ_NODE_PORT",
            "listeners.tcp.default",
            port,
        )),
        (Some(host), port) => {
            let host = if host.contains(':') {
                format!("[{host}]")
            } else {
                host.to_owned()
            };
            let value = format!("{host}:{}", port.unwrap_or("5672"));
            layers.replace(statement(
                "RABBITMQ_NODE_IP_ADDRESS",
                "listeners.tcp.default",
                &value,
            ));
        }
        (None, None) => {}
    }
}

/// Lays what the environment says over what is there.
pub(super) fn read(
    sources: &Sources,
    layers: &mut Layers,
    notes: &mut Vec<Note>,
    errors: &mut Vec<ConfigError>,
) {
    for (variable, key) in KEYS {
        if let Some(value) = find(sources, variable) {
            layers.put(statement(variable, key, value));
        }
    }
    for (variable, key) in FILES {
        let Some(path) = find(sources, variable) else {
            continue;
        };
        match std::fs::read_to_string(path) {
            Ok(value) => layers.put(statement(
                variable,
                key,
                value.trim_end_matches(['\n', '\r']),
            )),
            Err(error) => errors.push(ConfigError {
                origin: origin(variable),
                text: format!("{path} cannot be read: {error}"),
            }),
        }
    }
    listener(sources, layers);
    log(sources, layers);
    open_telemetry::read(sources, layers, errors);
    if let Some(text) = find(sources, "LEVERET_CONFIG") {
        let said = file::parse_text("LEVERET_CONFIG", text, errors);
        layers.add(
            said.into_iter()
                .map(|said| Statement {
                    origin: origin("LEVERET_CONFIG"),
                    ..said
                })
                .collect(),
        );
    }
    for variable in ACCEPTED {
        if find(sources, variable).is_some() {
            notes.push(Note {
                origin: origin(variable),
                text: "it does nothing: it belongs to Erlang, to plugins or to clusters".into(),
            });
        }
    }
}

/// `RABBITMQ_LOGS` is a file, or `-` for the console; `RABBITMQ_LOG` is a level, or levels of categories.
fn log(sources: &Sources, layers: &mut Layers) {
    let mut put = |variable: &str, key: &str, value: &str| {
        layers.put(Statement {
            words: words(key),
            value: value.to_owned(),
            origin: origin(variable),
        });
    };
    match find(sources, "RABBITMQ_LOGS") {
        Some("-") => {
            put("RABBITMQ_LOGS", "log.console", "true");
            put("RABBITMQ_LOGS", "log.file", "false");
        }
        Some(file) => put("RABBITMQ_LOGS", "log.file", file),
        None => {}
    }
    for part in find(sources, "RABBITMQ_LOG").unwrap_or_default().split(',') {
        match part.split_once('=') {
            Some((category, level)) => put("RABBITMQ_LOG", &format!("log.{category}.level"), level),
            None if part.is_empty() => {}
            None if part.starts_with(['+', '-']) => {
                let (on, name) = part.split_at(1);
                if name == "color" {
                    let value = if on == "+" { "true" } else { "false" };
                    put("RABBITMQ_LOG", "log.console.use_colors", value);
                }
            }
            None => put("RABBITMQ_LOG", "log.default.level", part),
        }
    }
}
