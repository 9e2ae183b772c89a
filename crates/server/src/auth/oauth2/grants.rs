//! What a token lets its bearer do.
//!
//! ```text
//! read:vhost/name            write:vhost/exchange/routing-key            configure:vhost/name
//! ```
//! Each part is a pattern in which `*` stands for anything, and what else is special is percent-encoded. `{vhost}`
//! and `{claim}` in a scope stand for the vhost in question and for a claim of the token.

use metadata::identity::{PermissionKind, TopicAction};
use node::identities::Grants;
use serde_json::Value;

use super::{Claims, ResourceServer, expiry_s};

/// See the module.
#[derive(Debug)]
pub(super) struct TokenGrants {
    permissions: Vec<Permission>,
    expires_at_ms: Option<u64>,
}

#[derive(Debug)]
struct Permission {
    kind: PermissionKind,
    vhost: String,
    name: String,
    routing_key: Option<String>,
}

impl TokenGrants {
    pub(super) fn new(
        _server: &ResourceServer,
        scopes: Vec<String>,
        claims: Claims,
    ) -> TokenGrants {
        let permissions = scopes
            .iter()
            .filter_map(|scope| Permission::parse(&expand(scope, &claims)));
        TokenGrants {
            permissions: permissions.collect(),
            expires_at_ms: expiry_s(&claims).map(|expiry_s| expiry_s.saturating_mul(1000)),
        }
    }
}

impl Permission {
    fn parse(scope: &str) -> Option<Permission> {
        let (kind, rest) = scope.split_once(':')?;
        let kind = match kind {
            "read" => PermissionKind::Read,
            "write" => PermissionKind::Write,
            "configure" => PermissionKind::Configure,
            _ => return None,
        };
        let mut parts = rest.split('/').map(str::to_owned);
        let (vhost, name, routing_key) = (parts.next()?, parts.next()?, parts.next());
        parts.next().is_none().then_some(Permission {
            kind,
            vhost,
            name,
            routing_key,
        })
    }

    fn is_for(&self, vhost: &str) -> bool {
        matches(vhost, &self.vhost.replace("{vhost}", &encoded(vhost)))
    }
}

impl Grants for TokenGrants {
    fn may_enter(&self, vhost: &str) -> bool {
        self.permissions
            .iter()
            .any(|permission| permission.is_for(vhost))
    }

    fn check(&self, vhost: &str, kind: PermissionKind, resource: &str) -> bool {
        self.permissions.iter().any(|permission| {
            let name = permission.name.replace("{vhost}", &encoded(vhost));
            permission.kind == kind && permission.is_for(vhost) && matches(resource, &name)
        })
    }

    fn check_topic(
        &self,
        vhost: &str,
        exchange: &str,
        action: TopicAction,
        routing_key: &str,
    ) -> bool {
        let kind = match action {
            TopicAction::Write => PermissionKind::Write,
            TopicAction::Read => PermissionKind::Read,
        };
        self.permissions.iter().any(|permission| {
            let Some(pattern) = &permission.routing_key else {
                return false;
            };
            permission.kind == kind
                && permission.is_for(vhost)
                && matches(
                    exchange,
                    &permission.name.replace("{vhost}", &encoded(vhost)),
                )
                && matches(routing_key, &pattern.replace("{vhost}", &encoded(vhost)))
        })
    }

    fn expires_at_ms(&self) -> Option<u64> {
        self.expires_at_ms
    }
}

/// Puts claims in place of their names in braces; `{vhost}` is left for later.
fn expand(scope: &str, claims: &Claims) -> String {
    let mut out = String::new();
    let mut rest = scope;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let Some((name, after)) = after.split_once('}') else {
            out.push('{');
            rest = after;
            continue;
        };
        match claims.get(name) {
            Some(Value::String(value)) if name != "vhost" => out.push_str(&encoded(value)),
            _ => {
                out.push('{');
                out.push_str(name);
                out.push('}');
            }
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Percent-encodes what has a meaning in patterns, so that no value can widen one.
fn encoded(value: &str) -> String {
    let mut out = String::new();
    for byte in value.bytes() {
        match byte {
            b'*' | b'%' | b'/' | b'+' | b'{' | b'}' => out.push_str(&format!("%{byte:02X}")),
            byte if byte.is_ascii() => out.push(char::from(byte)),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// `*` stands for anything; the parts between are percent-encoded. A pattern that cannot be decoded fits nothing.
fn matches(subject: &str, pattern: &str) -> bool {
    let parts: Option<Vec<Vec<u8>>> = pattern.split('*').map(decoded).collect();
    let Some(parts) = parts else { return false };
    let mut rest = subject.as_bytes();
    for (index, part) in parts.iter().enumerate() {
        let last = index + 1 == parts.len();
        if index == 0 {
            let Some(after) = rest.strip_prefix(&part[..]) else {
                return false;
            };
            rest = after;
            if last {
                return rest.is_empty();
            }
        } else if last {
            return rest.ends_with(part);
        } else if !part.is_empty() {
            let Some(at) = rest.windows(part.len()).position(|window| window == part) else {
                return false;
            };
            rest = &rest[at + part.len()..];
        }
    }
    true
}

fn decoded(part: &str) -> Option<Vec<u8>> {
    let mut bytes = part.bytes();
    let mut out = Vec::new();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                (digit()? * 16 + digit()?) as u8
            }
            b'+' => b' ',
            byte => byte,
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_have_stars_and_escapes() {
        for (subject, pattern, expected) in [
            ("q", "q", true),
            ("q", "*", true),
            ("", "*", true),
            ("qa", "q", false),
            ("qa", "q*", true),
            ("aq", "q*", false),
            ("a-b-c", "a*b*c", true),
            ("a-c", "a*b*c", false),
            ("abc", "*c", true),
            ("abcc", "*c", true),
            ("a/b", "a%2Fb", true),
            ("a*b", "a%2ab", true),
            ("axb", "a%2ab", false),
            ("a b", "a+b", true),
            ("a", "%", false),
            ("a", "%zz", false),
            ("/", "%2F", true),
            ("aa", "a*a", true),
            ("a", "a*a", false),
        ] {
            assert_eq!(matches(subject, pattern), expected, "{subject} {pattern}");
        }
    }

    #[test]
    fn claims_and_the_vhost_stand_in_scopes() {
        let claims = serde_json::json!({"sub": "an*n", "n": 1});
        let claims = claims.as_object().expect("an object").clone();
        assert_eq!(
            expand("read:{vhost}/{sub}-{n}-{x", &claims),
            "read:{vhost}/an%2An-{n}-{x"
        );
        let permission = Permission::parse("read:{vhost}/q").expect("it is one");
        assert!(permission.is_for("a*") && permission.is_for("/"));
        for none in [
            "read:a",
            "write:a/b/c/d",
            "delete:a/b",
            "tag:administrator",
            "",
        ] {
            assert!(Permission::parse(none).is_none(), "{none}");
        }
    }
}
