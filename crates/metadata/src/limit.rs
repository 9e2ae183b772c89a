//! Limits that operators set on vhosts and users while the broker runs.
//!
//! Deliberately absent: counting, which is the node's.

use serde_json::{Map, Value};

use crate::validation::{Fields, ValidationError, integer};

/// What a vhost may hold. None: without limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VhostLimits {
    /// Connections that may be open in it (`max-connections`).
    pub connections_max: Option<u64>,
    /// Queues that may be declared in it (`max-queues`).
    pub queues_max: Option<u64>,
}

impl VhostLimits {
    /// Checks and reads `{"max-connections": 5, "max-queues": 10}`; below zero is without limit.
    ///
    /// # Errors
    /// In RabbitMQ's words, if a limit is no whole number or unknown.
    pub fn parse(value: &Value) -> Result<Self, ValidationError> {
        let [connections_max, queues_max] =
            parse("limits", value, ["max-connections", "max-queues"])?;
        Ok(VhostLimits {
            connections_max,
            queues_max,
        })
    }
}

/// What a user may have open. None: without limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UserLimits {
    /// Connections in all vhosts (`max-connections`).
    pub connections_max: Option<u64>,
    /// Channels of all these connections (`max-channels`).
    pub channels_max: Option<u64>,
}

impl UserLimits {
    /// Checks and reads `{"max-connections": 5, "max-channels": 10}`; below zero is without limit.
    ///
    /// # Errors
    /// In RabbitMQ's words, if a limit is no whole number or unknown.
    pub fn parse(value: &Value) -> Result<Self, ValidationError> {
        let [connections_max, channels_max] =
            parse("user-limits", value, ["max-connections", "max-channels"])?;
        Ok(UserLimits {
            connections_max,
            channels_max,
        })
    }
}

/// `limits` with one of them set to `value`, which is not checked here.
pub fn with(limits: &Map<String, Value>, name: &str, value: Value) -> Map<String, Value> {
    let mut limits = limits.clone();
    limits.insert(name.to_owned(), value);
    limits
}

fn parse<const N: usize>(
    name: &str,
    value: &Value,
    keys: [&str; N],
) -> Result<[Option<u64>; N], ValidationError> {
    let mut fields = Fields::of(name, value)?;
    let limits = keys.map(|key| {
        let limit = fields.optional(key, integer)?;
        u64::try_from(limit).ok()
    });
    fields.end()?;
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn limits_are_read_and_below_zero_is_none() {
        let limits = VhostLimits::parse(&json!({"max-connections": 0, "max-queues": -1}));
        let expected = VhostLimits {
            connections_max: Some(0),
            queues_max: None,
        };
        assert_eq!(limits, Ok(expected));
        assert_eq!(VhostLimits::parse(&json!({})), Ok(VhostLimits::default()));
        let limits = UserLimits::parse(&json!({"max-channels": 7}));
        assert_eq!(limits.unwrap().channels_max, Some(7));
    }

    #[test]
    fn what_is_no_limit_is_refused_in_rabbitmqs_words() {
        let refused = |value| VhostLimits::parse(&value).unwrap_err().to_string();
        assert_eq!(
            refused(json!({"max-connections": "x"})),
            "Validation failed\n\nmax-connections should be a number, actually was <<\"x\">>\n"
        );
        assert_eq!(
            refused(json!({"max-users": 1})),
            "Validation failed\n\nUnrecognised terms [{<<\"max-users\">>,1}] in limits\n"
        );
    }
}
