//! What a user may do in a vhost: three patterns for names, and two per topic exchange for routing keys.
//!
//! Which operation asks for which of them is the protocol's business. Deliberately absent: the empty
//! exchange name, which callers ask about as `amq.default`, as RabbitMQ does.

use super::pattern::{Pattern, PatternError};
use crate::topology::Name;

/// The three rights on a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PermissionKind {
    /// Create, delete, alter.
    Configure,
    /// Put messages in.
    Write,
    /// Take messages out.
    Read,
}

impl PermissionKind {
    /// RabbitMQ's word, as it stands in error texts and columns.
    pub fn name(self) -> &'static str {
        match self {
            PermissionKind::Configure => "configure",
            PermissionKind::Write => "write",
            PermissionKind::Read => "read",
        }
    }
}

/// A user's rights in one vhost. Without such a record the user may not enter it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permissions {
    /// Names the user may declare and delete.
    pub configure: Pattern,
    /// Names the user may publish to, or bind as a destination.
    pub write: Pattern,
    /// Names the user may consume from, or bind as a source.
    pub read: Pattern,
}

impl Permissions {
    /// Compiles the three patterns.
    ///
    /// # Errors
    /// The first that cannot be compiled.
    pub fn parse(configure: &str, write: &str, read: &str) -> Result<Permissions, PatternError> {
        Ok(Permissions {
            configure: Pattern::parse(configure)?,
            write: Pattern::parse(write)?,
            read: Pattern::parse(read)?,
        })
    }

    /// Whether the right extends to a resource of this name.
    pub fn allow(&self, kind: PermissionKind, resource: &str) -> bool {
        match kind {
            PermissionKind::Configure => self.configure.matches(resource),
            PermissionKind::Write => self.write.matches(resource),
            PermissionKind::Read => self.read.matches(resource),
        }
    }
}

/// The two rights on routing keys of a topic exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TopicAction {
    /// Publish with a routing key.
    Write,
    /// Bind with a routing key.
    Read,
}

impl TopicAction {
    /// RabbitMQ's word, as it stands in error texts.
    pub fn name(self) -> &'static str {
        match self {
            TopicAction::Write => "write",
            TopicAction::Read => "read",
        }
    }
}

/// A user's rights on the routing keys of one topic exchange. Without such a record all keys are allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicPermissions {
    /// The exchange.
    pub exchange: Name,
    /// Keys the user may publish with.
    pub write: TopicPattern,
    /// Keys the user may bind with.
    pub read: TopicPattern,
}

impl TopicPermissions {
    /// Checks the two patterns.
    ///
    /// # Errors
    /// The first that cannot be compiled.
    pub fn parse(
        exchange: impl Into<Name>,
        write: &str,
        read: &str,
    ) -> Result<TopicPermissions, PatternError> {
        Ok(TopicPermissions {
            exchange: exchange.into(),
            write: TopicPattern::parse(write)?,
            read: TopicPattern::parse(read)?,
        })
    }

    /// The pattern for an action.
    pub fn pattern(&self, action: TopicAction) -> &TopicPattern {
        match action {
            TopicAction::Write => &self.write,
            TopicAction::Read => &self.read,
        }
    }
}

/// A pattern that may speak of `{username}`, `{vhost}` and `{client_id}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicPattern(Box<str>);

/// What a [`TopicPattern`] speaks of. A variable that is absent stands for itself, braces and all.
#[derive(Debug, Clone, Copy)]
pub struct TopicVariables<'a> {
    /// Who is connected.
    pub username: &'a str,
    /// To which vhost.
    pub vhost: &'a str,
    /// The MQTT client identifier, none for other protocols.
    pub client_id: Option<&'a str>,
}

impl TopicPattern {
    /// Checks a pattern, its variables standing for themselves.
    ///
    /// # Errors
    /// As [`Pattern::parse`].
    pub fn parse(source: &str) -> Result<TopicPattern, PatternError> {
        Pattern::parse(source).map(|_| TopicPattern(source.into()))
    }

    /// The pattern as it was set.
    pub fn source(&self) -> &str {
        &self.0
    }

    /// Whether the pattern differs from one MQTT client to the next.
    pub fn needs_client_id(&self) -> bool {
        self.0.contains("{client_id}")
    }

    /// Puts the variables in, each to match literally, and compiles.
    ///
    /// # Errors
    /// If the pattern has become too long.
    pub fn compile(&self, variables: &TopicVariables<'_>) -> Result<Pattern, PatternError> {
        let mut expanded = String::with_capacity(self.0.len());
        let mut rest: &str = &self.0;
        while let Some((before, after)) = rest.split_once('{') {
            expanded.push_str(before);
            let value = after.split_once('}').and_then(|(name, tail)| {
                let value = match name {
                    "username" => Some(variables.username),
                    "vhost" => Some(variables.vhost),
                    "client_id" => variables.client_id,
                    _ => None,
                };
                value.map(|value| (value, tail))
            });
            rest = match value {
                Some((value, tail)) => {
                    expanded.push_str(&regex::escape(value));
                    tail
                }
                None => {
                    expanded.push('{');
                    after
                }
            };
        }
        expanded.push_str(rest);
        Pattern::parse(&expanded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_right_has_its_own_pattern() {
        let permissions = Permissions::parse("", "^w", ".*").unwrap();
        let allowed = |name: &str| {
            [
                PermissionKind::Configure,
                PermissionKind::Write,
                PermissionKind::Read,
            ]
            .map(|kind| permissions.allow(kind, name))
        };
        assert_eq!(allowed("work"), [false, true, true]);
        assert_eq!(allowed("rest"), [false, false, true]);
        assert_eq!(allowed(""), [true, false, true]);
        assert!(Permissions::parse(".*", "(", ".*").is_err());
    }

    fn check_topic(pattern: &str, client_id: Option<&str>, matching: &[&str], others: &[&str]) {
        let variables = TopicVariables {
            username: "a.b",
            vhost: "/",
            client_id,
        };
        let compiled = TopicPattern::parse(pattern)
            .unwrap()
            .compile(&variables)
            .unwrap();
        for key in matching {
            assert!(compiled.matches(key), "{pattern} on {key}");
        }
        for key in others {
            assert!(!compiled.matches(key), "{pattern} on {key}");
        }
    }

    #[test]
    fn variables_match_literally() {
        check_topic(
            "^{username}\\.",
            None,
            &["a.b.c"],
            &["axb.c", "{username}.c"],
        );
        check_topic("^{vhost}-{vhost}$", None, &["/-/"], &["/-"]);
        check_topic("^{client_id}$", Some("c+"), &["c+"], &["cc"]);
        check_topic("^{client_id}$", None, &["{client_id}"], &["c"]);
        check_topic(
            "^{client_id}$",
            Some("{username}"),
            &["{username}"],
            &["a.b"],
        );
        check_topic("^x{2}{other}$", None, &["xx{other}"], &["xx"]);
        check_topic("", None, &[""], &["x"]);
        assert!(
            TopicPattern::parse("{client_id}")
                .unwrap()
                .needs_client_id()
        );
        assert!(TopicPattern::parse("({username}").is_err());
    }
}
