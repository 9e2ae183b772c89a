//! The configuration file: `rabbitmq.conf`'s format and keys.
//!
//! ```text
//! # a comment
//! listeners.tcp.default = 5672
//! heartbeat = 60
//! ```
//! Only keys that this version obeys are known; any other is refused with its line and the nearest known name,
//! so that nobody believes a setting that does nothing.

use std::fmt;
use std::path::Path;

use node::settings::{ConsumerTimeouts, Settings};

/// What a file said.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// Limits and defaults.
    pub settings: Settings,
    /// `listeners.tcp.*`: a port, or `HOST:PORT`.
    pub amqp: Vec<String>,
    /// `log.console.level` or `log.default.level`.
    pub log_level: Option<String>,
}

/// A line that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    file: String,
    line: usize,
    text: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.text),
            line => write!(f, "{}:{line}: {}", self.file, self.text),
        }
    }
}

impl std::error::Error for ConfigError {}

type Apply = fn(&mut Config, &str) -> Result<(), String>;

/// Keys and what they do. A key that ends with a dot stands for all that begin with it.
const KEYS: &[(&str, Apply)] = &[
    ("listeners.tcp.", |config, value| {
        config.amqp.push(value.to_owned());
        Ok(())
    }),
    ("heartbeat", |config, value| {
        set(&mut config.settings.heartbeat_s, value)
    }),
    ("channel_max", |config, value| {
        set(&mut config.settings.channel_max, value)
    }),
    ("max_channels_per_connection", |config, value| {
        set(&mut config.settings.channel_max, value)
    }),
    ("frame_max", |config, value| {
        set(&mut config.settings.frame_bytes_max, value)
    }),
    ("max_message_size", |config, value| {
        set(&mut config.settings.message_bytes_max, value)
    }),
    ("handshake_timeout", |config, value| {
        set(&mut config.settings.handshake_timeout_ms, value)
    }),
    ("connection_max", |config, value| {
        limit(&mut config.settings.connections_max, value)
    }),
    ("max_connections", |config, value| {
        limit(&mut config.settings.connections_max, value)
    }),
    ("consumer_max_per_channel", |config, value| {
        limit(&mut config.settings.channel_consumers_max, value)
    }),
    ("consumer_timeout", |config, value| {
        let mut timeout_ms = 0;
        set(&mut timeout_ms, value)?;
        config.settings.consumer_timeout_ms =
            ConsumerTimeouts::all((timeout_ms > 0).then_some(timeout_ms));
        Ok(())
    }),
    ("cluster_name", |config, value| {
        config.settings.cluster_name = value.to_owned();
        Ok(())
    }),
    ("loopback_users.", |_, _| {
        unreachable!("handled with its key")
    }),
    ("loopback_users", |config, value| {
        if value != "none" {
            return Err("expected none, or loopback_users.NAME = true|false".into());
        }
        config.settings.identities.loopback_users.clear();
        Ok(())
    }),
    ("anonymous_login_user", |config, value| {
        config.settings.anonymous_login = match value {
            "none" => None,
            name => {
                let password = config.settings.anonymous_login.take().map(|login| login.1);
                Some((name.to_owned(), password.unwrap_or_else(|| "guest".into())))
            }
        };
        Ok(())
    }),
    ("anonymous_login_pass", |config, value| {
        if let Some(login) = &mut config.settings.anonymous_login {
            login.1 = value.to_owned();
        }
        Ok(())
    }),
    ("vm_memory_high_watermark.relative", |config, value| {
        let part: f64 = value
            .parse()
            .map_err(|_| "expected a number from 0 to 1".to_owned())?;
        if !(0.0..=1.0).contains(&part) {
            return Err("expected a number from 0 to 1".into());
        }
        config.settings.memory_watermark_permille = (part * 1000.0).round() as u32;
        Ok(())
    }),
    ("default_user", |config, value| {
        config.settings.identities.default_user = value.to_owned();
        Ok(())
    }),
    ("default_pass", |config, value| {
        config.settings.identities.default_password = value.to_owned();
        Ok(())
    }),
    ("default_vhost", |config, value| {
        config.settings.identities.default_vhost = value.to_owned();
        Ok(())
    }),
    ("log.console.level", log_level),
    ("log.default.level", log_level),
];

fn log_level(config: &mut Config, value: &str) -> Result<(), String> {
    const LEVELS: [&str; 6] = ["debug", "info", "warning", "error", "critical", "none"];
    if !LEVELS.contains(&value) {
        return Err(format!("expected one of {}", LEVELS.join(", ")));
    }
    config.log_level = Some(value.to_owned());
    Ok(())
}

fn set<T: std::str::FromStr>(field: &mut T, value: &str) -> Result<(), String> {
    *field = value
        .parse()
        .map_err(|_| "expected a whole number that fits the key".to_owned())?;
    Ok(())
}

fn limit(field: &mut usize, value: &str) -> Result<(), String> {
    match value {
        "infinity" => {
            *field = usize::MAX;
            Ok(())
        }
        value => set(field, value),
    }
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// If it cannot be read, or a line is wrong: file, line, and what was expected.
    pub fn read(path: &Path) -> Result<Config, ConfigError> {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError {
            file: file.clone(),
            line: 0,
            text: format!("cannot be read: {error}"),
        })?;
        Config::parse(&file, &text)
    }

    /// Reads the text of a file named `file`.
    ///
    /// # Errors
    /// See [`Config::read`].
    pub fn parse(file: &str, text: &str) -> Result<Config, ConfigError> {
        let mut config = Config::default();
        for (index, line) in text.lines().enumerate() {
            config.apply(line).map_err(|text| ConfigError {
                file: file.to_owned(),
                line: index + 1,
                text,
            })?;
        }
        Ok(config)
    }

    fn apply(&mut self, line: &str) -> Result<(), String> {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return Ok(());
        }
        let Some((key, value)) = line.split_once('=') else {
            return Err("expected KEY = VALUE".into());
        };
        let (key, value) = (key.trim(), value.trim().trim_matches('\''));
        if let Some(user) = key.strip_prefix("loopback_users.") {
            return self.set_loopback_user(user, value);
        }
        let known = KEYS
            .iter()
            .find(|(known, _)| *known == key || (known.ends_with('.') && key.starts_with(known)));
        match known {
            Some((_, apply)) => {
                apply(self, value).map_err(|text| format!("{key} = {value}: {text}"))
            }
            None => Err(format!(
                "unknown key {key}; the nearest known one is {}",
                nearest(key)
            )),
        }
    }

    fn set_loopback_user(&mut self, user: &str, value: &str) -> Result<(), String> {
        let users = &mut self.settings.identities.loopback_users;
        users.retain(|known| known != user);
        match value {
            "true" => users.push(user.to_owned()),
            "false" => {}
            _ => {
                return Err(format!(
                    "loopback_users.{user} = {value}: expected true or false"
                ));
            }
        }
        Ok(())
    }
}

/// The known key with the fewest edits to `key`.
fn nearest(key: &str) -> &'static str {
    let by_distance = KEYS.iter().min_by_key(|(known, _)| distance(known, key));
    by_distance.map_or("", |(known, _)| known)
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        Config::parse("rabbitmq.conf", text)
            .expect_err("it is wrong")
            .to_string()
    }

    #[test]
    fn keys_do_what_they_say() {
        let config = Config::parse(
            "f",
            "# comment\n\nlisteners.tcp.default = 5673\nheartbeat = 30\nchannel_max=5\n\
             consumer_timeout = 0\nloopback_users.guest = false\nmax_connections = infinity\n\
             vm_memory_high_watermark.relative = 0.4\nlog.console.level = debug\n",
        )
        .expect("it is right");
        assert_eq!(config.amqp, ["5673"]);
        assert_eq!(config.settings.heartbeat_s, 30);
        assert_eq!(config.settings.channel_max, 5);
        assert_eq!(
            config.settings.consumer_timeout_ms,
            ConsumerTimeouts::all(None)
        );
        assert!(config.settings.identities.loopback_users.is_empty());
        assert_eq!(config.settings.connections_max, usize::MAX);
        assert_eq!(config.settings.memory_watermark_permille, 400);
        assert_eq!(config.log_level.as_deref(), Some("debug"));
    }

    #[test]
    fn wrong_lines_are_named() {
        assert_eq!(
            error("heartbeat = 60\nhartbeat = 60"),
            "rabbitmq.conf:2: unknown key hartbeat; the nearest known one is heartbeat"
        );
        assert_eq!(
            error("heartbeat = often"),
            "rabbitmq.conf:1: heartbeat = often: expected a whole number that fits the key"
        );
        assert_eq!(error("heartbeat"), "rabbitmq.conf:1: expected KEY = VALUE");
    }
}
