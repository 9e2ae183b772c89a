//! Who asks, and whether they may: Basic auth, tags, and the guard that each operation names.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use metadata::identity::PermissionKind;
use node::identities::AuthenticatedUser;
use node::vhost::Vhost;

use crate::api::{Api, Peer};
use crate::call::Call;
use crate::failure::Failure;

/// Who may use an operation. RabbitMQ's rules, asked of 4.3 for every tag and route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guard {
    /// Whoever has a tag that lets into the API at all.
    Management,
    /// `monitoring` and `administrator`.
    Monitoring,
    /// `administrator`.
    Administrator,
    /// `policymaker` and `administrator`.
    Policymaker,
    /// Who may enter the vhost in the path; administrators see all of them.
    Vhost,
    /// As [`Guard::Vhost`], and `monitoring` sees all of them, too.
    VhostOrMonitoring,
    /// [`Guard::Policymaker`], then [`Guard::Vhost`].
    VhostPolicymaker,
}

/// A user who was let in.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    pub(crate) user: AuthenticatedUser,
}

/// Logins over HTTP so far.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    pub(crate) succeeded: AtomicU64,
    pub(crate) failed: AtomicU64,
}

/// Why nobody was let in.
#[derive(Debug)]
pub(crate) enum Denied {
    /// No credentials: the client is asked for them.
    Anonymous,
    /// Not these.
    Refused,
}

impl Login {
    pub(crate) fn name(&self) -> &Arc<str> {
        self.user.name()
    }

    pub(crate) fn is_administrator(&self) -> bool {
        self.user.has_tag("administrator")
    }

    pub(crate) fn is_monitoring(&self) -> bool {
        self.is_administrator() || self.user.has_tag("monitoring")
    }

    pub(crate) fn is_policymaker(&self) -> bool {
        self.is_administrator() || self.user.has_tag("policymaker")
    }

    fn is_let_in(&self) -> bool {
        self.is_monitoring() || self.is_policymaker() || self.user.has_tag("management")
    }
}

/// Reads the `Authorization` header and lets its user in.
pub(crate) fn log_in(
    api: &Api,
    authorization: Option<&[u8]>,
    peer: Option<Peer>,
) -> Result<Login, Denied> {
    let Some(authorization) = authorization else {
        return Err(Denied::Anonymous);
    };
    let login = basic(authorization).and_then(|(user, password)| {
        let loopback = peer.is_some_and(|peer| peer.is_loopback());
        let user = api
            .node
            .identities
            .authenticate(&user, &password, loopback)
            .map_err(|failure| tracing::warn!("HTTP access denied: {failure}"))
            .ok()?;
        let login = Login { user };
        if !login.is_let_in() {
            tracing::warn!(
                "HTTP access denied: user '{}' - Not management user",
                login.name()
            );
            return None;
        }
        Some(login)
    });
    match login {
        Some(login) => {
            api.attempts.succeeded.fetch_add(1, Ordering::Relaxed);
            Ok(login)
        }
        None => {
            api.attempts.failed.fetch_add(1, Ordering::Relaxed);
            Err(Denied::Refused)
        }
    }
}

/// User and password of a Basic header (RFC 7617).
fn basic(authorization: &[u8]) -> Option<(String, Vec<u8>)> {
    let text = std::str::from_utf8(authorization).ok()?;
    let (scheme, encoded) = text.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = STANDARD.decode(encoded.trim()).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    let (user, password) = decoded.split_at(colon);
    let user = String::from_utf8(user.to_vec()).ok()?;
    Some((user, password.get(1..)?.to_vec()))
}

/// Refuses who may not use an operation with this guard.
pub(crate) fn check(call: &Call<'_>, guard: Guard) -> Result<(), Failure> {
    let login = call.login;
    match guard {
        Guard::Management => Ok(()),
        Guard::Monitoring if login.is_monitoring() => Ok(()),
        Guard::Monitoring => Err(Failure::not_authorised("Not monitor user")),
        Guard::Administrator if login.is_administrator() => Ok(()),
        Guard::Administrator => Err(Failure::not_authorised("Not administrator user")),
        Guard::Policymaker | Guard::VhostPolicymaker if !login.is_policymaker() => Err(
            Failure::not_authorised("User not authorised to access object"),
        ),
        Guard::Policymaker => Ok(()),
        Guard::Vhost | Guard::VhostPolicymaker => check_vhost(call, login.is_administrator()),
        Guard::VhostOrMonitoring => check_vhost(call, login.is_monitoring()),
    }
}

/// A vhost that the user may not enter looks as if it were not there.
fn check_vhost(call: &Call<'_>, sees_all: bool) -> Result<(), Failure> {
    let name = call.param("vhost");
    if sees_all || call.api.node.identities.may_enter(call.login.name(), name) {
        return Ok(());
    }
    Err(Failure::not_found("Not Found"))
}

impl Call<'_> {
    /// Whether the user may list what is in a vhost.
    pub(crate) fn sees_vhost(&self, vhost: &str) -> bool {
        self.login.is_administrator() || self.may_enter(vhost)
    }

    /// Whether the user has permissions in a vhost.
    pub(crate) fn may_enter(&self, vhost: &str) -> bool {
        self.api.node.identities.may_enter(self.login.name(), vhost)
    }

    /// Refuses unless the user has a permission, as a client of that user would be.
    pub(crate) fn require(
        &self,
        vhost: &Vhost,
        kind: PermissionKind,
        resource: &str,
    ) -> Result<(), Failure> {
        match self.permitted(vhost, kind, resource) {
            true => Ok(()),
            false => Err(Failure::access_refused()),
        }
    }

    /// Whether the user has a permission on a queue or exchange; the default exchange is `amq.default`.
    pub(crate) fn permitted(&self, vhost: &Vhost, kind: PermissionKind, resource: &str) -> bool {
        let resource = if resource.is_empty() {
            "amq.default"
        } else {
            resource
        };
        self.api
            .node
            .identities
            .check(self.login.name(), &vhost.name, kind, resource)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_headers_are_read() {
        let read = |text: &str| basic(text.as_bytes());
        assert_eq!(
            read("Basic Z3Vlc3Q6Z3Vlc3Q="),
            Some(("guest".to_owned(), b"guest".to_vec()))
        );
        // A password may hold colons and need not be text.
        assert_eq!(
            read("basic YTpiOmM="),
            Some(("a".to_owned(), b"b:c".to_vec()))
        );
        for bad in [
            "",
            "Basic",
            "Basic !",
            "Basic YQ==",
            "Bearer YTpi",
            "Basic /zo=",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
