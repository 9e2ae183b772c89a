//! Putting values into patterns: `cn=${username},ou=People`.
//!
//! What is put into a distinguished name is escaped (RFC 4514), so that no name of a user, vhost or queue can say
//! more than its own; filters get their values escaped where they are written (RFC 4515). Everything is put in at
//! once: a value with `${` in it stays what it is.

/// Names and values, in the order in which they were learnt. The first of a name counts.
#[derive(Debug, Clone, Default)]
pub(super) struct Variables(Vec<(&'static str, String)>);

impl Variables {
    /// The user, and its parts if it is written `DOMAIN\user` as in Active Directory.
    pub(super) fn of_user(username: &str) -> Variables {
        let mut variables = Variables::default();
        variables.add("username", username);
        if let Some((domain, user)) = domain_and_user(username) {
            variables.add("ad_domain", domain);
            variables.add("ad_user", user);
        }
        variables
    }

    pub(super) fn add(&mut self, name: &'static str, value: &str) {
        self.0.push((name, value.to_owned()));
    }

    pub(super) fn find(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(known, _)| *known == name)?;
        Some(value)
    }

    /// The pattern with the values as they are.
    pub(super) fn fill(&self, pattern: &str) -> String {
        fill(pattern, |name| self.find(name).map(str::to_owned))
    }

    /// The pattern as a distinguished name. `user_dn` is one already.
    pub(super) fn fill_dn(&self, pattern: &str) -> String {
        let username = self.find("username").unwrap_or_default();
        let parts = domain_and_user(username).filter(|(_, user)| {
            // Such a user would take the separator for the start of an escape.
            !user.contains('\\') && !escaped(user).starts_with('\\')
        });
        fill(pattern, |name| match (name, parts) {
            ("user_dn", _) => self.find(name).map(str::to_owned),
            // Active Directory wants the separator as it is.
            ("username", Some((domain, user))) => {
                Some(format!("{}\\{}", escaped(domain), escaped(user)))
            }
            ("ad_domain" | "ad_user", None) => None,
            _ => self.find(name).map(escaped),
        })
    }
}

/// `DOMAIN\user`, if both are there.
fn domain_and_user(username: &str) -> Option<(&str, &str)> {
    let (domain, user) = username.split_once('\\')?;
    (!domain.is_empty() && !user.is_empty()).then_some((domain, user))
}

/// Names that stand for nothing are left as they are.
fn fill(pattern: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    let mut rest = pattern;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let found = after.split_once('}');
        match found.and_then(|(name, after)| Some((value(name)?, after))) {
            Some((value, after)) => {
                out.push_str(&value);
                rest = after;
            }
            None => {
                out.push_str("${");
                rest = after;
            }
        }
    }
    out.push_str(rest);
    out
}

/// A value inside a distinguished name (RFC 4514, 2.4).
pub(super) fn escaped(value: &str) -> String {
    let mut out = String::new();
    let last = value.chars().count().saturating_sub(1);
    for (index, c) in value.chars().enumerate() {
        match c {
            '\0' => out.push_str("\\00"),
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => {
                out.push('\\');
                out.push(c);
            }
            ' ' | '#' if index == 0 => {
                out.push('\\');
                out.push(c);
            }
            ' ' if index == last => out.push_str("\\ "),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_in_names_are_escaped() {
        for (value, expected) in [
            ("ann", "ann"),
            ("a,ou=x", "a\\,ou=x"),
            ("+\"\\<>;", "\\+\\\"\\\\\\<\\>\\;"),
            (" a ", "\\ a\\ "),
            ("#a#", "\\#a#"),
            (" ", "\\ "),
            ("a\0b", "a\\00b"),
            ("é", "é"),
            ("", ""),
        ] {
            assert_eq!(escaped(value), expected, "{value:?}");
        }
    }

    #[test]
    fn patterns_are_filled_once() {
        let mut variables = Variables::of_user("a,${vhost}");
        variables.add("vhost", "v+w");
        variables.add("user_dn", "cn=a,dc=b");
        assert_eq!(
            variables.fill("${username} ${vhost} ${none} ${"),
            "a,${vhost} v+w ${none} ${"
        );
        assert_eq!(
            variables.fill_dn("cn=${username},ou=${vhost},${user_dn}"),
            "cn=a\\,${vhost},ou=v\\+w,cn=a,dc=b"
        );
    }

    #[test]
    fn users_of_a_domain_are_taken_apart() {
        let variables = Variables::of_user("DOM\\ann,x");
        assert_eq!(
            variables.fill("${ad_user}@${ad_domain}.com"),
            "ann,x@DOM.com"
        );
        assert_eq!(variables.fill_dn("${username}"), "DOM\\ann\\,x");
        assert_eq!(variables.fill_dn("${ad_domain}/${ad_user}"), "DOM/ann\\,x");
        // These would make an escape of the separator.
        for user in ["DOM\\a\\b", "DOM\\,a", "DOM\\ a"] {
            let variables = Variables::of_user(user);
            let filled = variables.fill_dn("${username} ${ad_user}");
            assert_eq!(filled, format!("{} ${{ad_user}}", escaped(user)));
        }
        for user in ["ann", "\\ann", "DOM\\"] {
            assert_eq!(Variables::of_user(user).find("ad_user"), None, "{user}");
        }
    }
}
