//! Who asks, and whether they may: passwords and tokens, tags, and the guard that each operation names.
//!
//! Where permissions are decided elsewhere, a handler waits for the answer on the thread it has for waiting, and a
//! request asks nothing twice.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use metadata::identity::{PermissionKind, TopicAction};
use node::identities::{
    Answer, AuthenticatedUser, Authorizer, LoginOutcome, LoginRequest, Question, ResourceKind,
    Right, TopicRight,
};
use node::vhost::Vhost;
use parking_lot::Mutex;
use tokio::runtime::Handle;

use crate::api::{Api, Peer};
use crate::call::Call;
use crate::failure::Failure;

/// Who may use an operation. RabbitMQ's rules, asked of 4.3 for every tag and route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Guard {
    /// Anybody, without a login.
    Anyone,
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
    peer_host: Option<String>,
    /// What an authority elsewhere has said.
    heard: Arc<Mutex<BTreeMap<Question, bool>>>,
}

/// Why nobody was let in.
#[derive(Debug)]
pub(crate) enum Denied {
    /// No credentials: the client is asked for them.
    Anonymous,
    /// Not these, of this user.
    Refused(String),
    /// Passwords are not taken, and this is why.
    NotThisWay(&'static str),
}

impl Login {
    /// Whoever asks, where nobody asks who.
    pub(crate) fn nobody() -> Self {
        Login::of(AuthenticatedUser::nobody(), None)
    }

    fn of(user: AuthenticatedUser, peer: Option<Peer>) -> Self {
        Login {
            user,
            peer_host: peer.map(host),
            heard: Arc::default(),
        }
    }

    fn vhost_question(&self, vhost: &str) -> Question {
        Question::Vhost {
            vhost: vhost.to_owned(),
            peer_host: self.peer_host.clone(),
        }
    }

    /// Whether the user may enter a vhost, where one may wait for the answer.
    pub(crate) async fn may_enter(&self, api: &Api, vhost: &str) -> bool {
        match api.node.identities.admits(&self.user, vhost) {
            Answer::Yes => true,
            Answer::No => false,
            Answer::Ask(authorizer) => self.ask(authorizer, self.vhost_question(vhost)).await,
        }
    }

    async fn ask(&self, authorizer: &Arc<dyn Authorizer>, question: Question) -> bool {
        let known = self.heard.lock().get(&question).copied();
        if let Some(known) = known {
            return known;
        }
        let verdict = Arc::clone(authorizer).decide(question.clone()).await;
        let may = verdict.is_ok();
        self.heard.lock().insert(question, may);
        may
    }

    /// From here on everything is asked anew.
    pub(crate) fn forget_answers(&self) {
        self.heard.lock().clear();
    }

    /// The same on a thread that may wait.
    fn wait_for(&self, answer: Answer<'_>, question: impl FnOnce() -> Question) -> bool {
        match answer {
            Answer::Yes => true,
            Answer::No => false,
            Answer::Ask(authorizer) => Handle::current().block_on(self.ask(authorizer, question())),
        }
    }

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

    /// Whether somebody who was let in a while ago would be let in now: an own user with the tags of then, a token
    /// that holds.
    pub(crate) fn is_still_let_in(&self, api: &Api) -> bool {
        if !self.user.is_own() {
            return self
                .user
                .expires_at_ms()
                .is_none_or(|end| api.now_ms() < end);
        }
        let now = api.node.identities.user(self.name());
        now.is_some_and(|now| now.tags == self.user.own_tags())
    }

    fn is_let_in(&self) -> bool {
        self.is_monitoring() || self.is_policymaker() || self.user.has_tag("management")
    }
}

/// Reads the `Authorization` header and lets its user in. Who is refused waits for it, as over AMQP, so that
/// passwords cannot be tried out fast.
pub(crate) async fn log_in(
    api: &Api,
    authorization: Option<&[u8]>,
    peer: Option<Peer>,
) -> Result<Login, Denied> {
    let by_token_only = api.options.basic_auth_disabled;
    let Some(authorization) = authorization else {
        return Err(match by_token_only {
            true => Denied::NotThisWay("HTTP access denied: no credentials"),
            false => Denied::Anonymous,
        });
    };
    if by_token_only && basic(authorization).is_some() {
        tracing::warn!("HTTP access denied: basic auth disabled");
        return Err(Denied::NotThisWay(
            "HTTP access denied: basic auth disabled",
        ));
    }
    let (name, why) = match basic(authorization).or_else(|| bearer(authorization)) {
        None => (String::new(), "no credentials can be read".to_owned()),
        Some((name, password)) => {
            let request = LoginRequest {
                user: name.clone(),
                password: Some(password),
                peer_is_loopback: peer.is_some_and(|peer| peer.is_loopback()),
            };
            match decide(api, request).await.map(|user| Login::of(user, peer)) {
                Ok(login) if login.is_let_in() => {
                    count(api, peer, login.name(), true);
                    return Ok(login);
                }
                Ok(login) => {
                    let why = format!("user '{}' - Not management user", login.name());
                    (login.name().to_string(), why)
                }
                Err(failure) => (name, failure.to_string()),
            }
        }
    };
    count(api, peer, &name, false);
    tracing::warn!("HTTP access denied: {why}");
    tokio::time::sleep(api.host.login_refused_delay).await;
    Err(Denied::Refused(name))
}

fn count(api: &Api, peer: Option<Peer>, user: &str, succeeded: bool) {
    let host = peer.map_or_else(String::new, host);
    api.node.attempts.count("http", &host, user, succeeded);
}

fn host(peer: Peer) -> String {
    peer.address.ip().to_canonical().to_string()
}

/// Asks whoever decides on logins.
async fn decide(api: &Api, request: LoginRequest) -> LoginOutcome {
    let node = &api.node;
    match node.authenticator.get() {
        Some(authenticator) => Arc::clone(authenticator).log_in(request).await,
        None => {
            let password = request.password.unwrap_or_default();
            node.identities
                .authenticate(&request.user, &password, request.peer_is_loopback)
        }
    }
}

/// The token of a Bearer header (RFC 6750), which says itself whose it is.
fn bearer(authorization: &[u8]) -> Option<(String, Vec<u8>)> {
    let text = std::str::from_utf8(authorization).ok()?;
    let (scheme, token) = text.split_once(' ')?;
    let token = token.trim();
    let is_bearer = scheme.eq_ignore_ascii_case("bearer") && !token.is_empty();
    is_bearer.then(|| (String::new(), token.as_bytes().to_vec()))
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
        Guard::Anyone | Guard::Management => Ok(()),
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
    if sees_all || call.may_enter(name) {
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
        let answer = self.api.node.identities.admits(&self.login.user, vhost);
        self.login
            .wait_for(answer, || self.login.vhost_question(vhost))
    }

    /// Refuses unless the user has a permission, as a client of that user would be.
    pub(crate) fn require(
        &self,
        vhost: &Vhost,
        permission: PermissionKind,
        resource: ResourceKind,
        name: &str,
    ) -> Result<(), Failure> {
        match self.permitted(vhost, permission, resource, name) {
            true => Ok(()),
            false => Err(Failure::access_refused()),
        }
    }

    /// Whether the user has a permission on a queue or exchange; the default exchange is `amq.default`.
    pub(crate) fn permitted(
        &self,
        vhost: &Vhost,
        permission: PermissionKind,
        resource: ResourceKind,
        name: &str,
    ) -> bool {
        let (identities, user) = (&self.api.node.identities, &self.login.user);
        let right = Right {
            permission,
            resource,
            name: if name.is_empty() { "amq.default" } else { name },
        };
        let answer = identities.allows(user, &vhost.name, right);
        self.login
            .wait_for(answer, || Question::right(&vhost.name, right))
    }

    /// Whether the user may use a routing key with a topic exchange.
    pub(crate) fn permitted_topic(
        &self,
        vhost: &Vhost,
        action: TopicAction,
        exchange: &str,
        routing_key: &str,
    ) -> bool {
        let (identities, user) = (&self.api.node.identities, &self.login.user);
        let right = TopicRight {
            action,
            exchange,
            routing_key,
        };
        let answer = identities.allows_topic(user, &vhost.name, right);
        self.login
            .wait_for(answer, || Question::topic(&vhost.name, right))
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

    #[test]
    fn bearer_headers_are_read() {
        let read = |text: &str| bearer(text.as_bytes());
        let token = (String::new(), b"a.b.c".to_vec());
        assert_eq!(read("Bearer a.b.c"), Some(token.clone()));
        assert_eq!(read("bearer  a.b.c "), Some(token));
        for bad in ["", "Bearer", "Bearer ", "Basic YTpi"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
