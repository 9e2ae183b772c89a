//! Authorities beside the node's own users: OAuth 2 tokens, an HTTP service, a cache before either, one after the
//! other in the order of `auth_backends`.
//!
//! A login is decided here, over the network if need be, while the worker serves other clients. What a token grants
//! is in the token, so nothing is asked later. Deliberately absent: LDAP, and permissions decided by an HTTP
//! service: where `http` says who somebody is, the node's own permissions say what they may do.

mod cache;
mod http;
pub(crate) mod oauth2;

use std::sync::{Arc, Weak};

use metadata::identity::User;
use node::identities::{
    AuthFailure, AuthenticatedUser, Authenticator, LoginFuture, LoginOutcome, LoginRequest,
};
use node::node::Node;

use cache::Cache;
pub use http::HttpOptions;
pub use oauth2::{OAuth2Options, Provider, Said};

/// An authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// The node's own users.
    Internal,
    /// Tokens in place of passwords.
    OAuth2,
    /// A service that is asked over HTTP.
    Http,
    /// What [`CacheOptions`] name, remembered for a while.
    Cache,
}

/// One entry of `auth_backends`: who says who somebody is, and who says what they may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Authentication.
    pub authn: Backend,
    /// Authorisation.
    pub authz: Backend,
}

/// `auth_cache.*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheOptions {
    /// Whose answers are remembered.
    pub link: Link,
    /// For how long, in milliseconds.
    pub ttl_ms: u64,
    /// Whether refusals are remembered too.
    pub refusals: bool,
}

impl Default for CacheOptions {
    fn default() -> Self {
        let internal = Backend::Internal;
        CacheOptions {
            link: Link {
                authn: internal,
                authz: internal,
            },
            ttl_ms: 15_000,
            refusals: false,
        }
    }
}

/// All of it.
#[derive(Debug, Clone, Default)]
pub struct AuthOptions {
    /// In the order in which they are asked; none is the node's own users alone.
    pub links: Vec<Link>,
    /// Of `oauth2`.
    pub oauth2: OAuth2Options,
    /// Of `http`.
    pub http: HttpOptions,
    /// Of `cache`.
    pub cache: CacheOptions,
}

/// Why authorities cannot be asked as told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("auth_backends: {0}")]
pub struct AuthError(pub String);

/// See the module.
#[derive(Debug)]
pub(crate) struct Authorities {
    node: Weak<Node>,
    links: Vec<Link>,
    loopback_users: Vec<String>,
    oauth2: Option<oauth2::OAuth2>,
    http: Option<http::Http>,
    cache: Cache,
}

impl Authorities {
    /// Sets them before the node's own users. Does nothing if those are the only ones.
    ///
    /// # Errors
    /// If what is told makes no sense, or a key's file cannot be read.
    pub(crate) fn install(node: &Arc<Node>, options: &AuthOptions) -> Result<(), AuthError> {
        let internal =
            |link: &Link| link.authn == Backend::Internal && link.authz == Backend::Internal;
        if options.links.iter().all(internal) {
            return Ok(());
        }
        let mut asked = options.links.clone();
        asked.push(options.cache.link);
        for link in &asked {
            check(*link)?;
        }
        if options.cache.link.authn == Backend::Cache {
            return Err(AuthError(
                "the cache cannot be the backend that it caches".into(),
            ));
        }
        let uses = |backend| asked.iter().any(|link| link.authn == backend);
        let authorities = Authorities {
            node: Arc::downgrade(node),
            links: options.links.clone(),
            loopback_users: node.settings.identities.loopback_users.clone(),
            oauth2: uses(Backend::OAuth2)
                .then(|| oauth2::OAuth2::new(&options.oauth2))
                .transpose()?,
            http: uses(Backend::Http)
                .then(|| http::Http::new(&options.http))
                .transpose()?,
            cache: Cache::new(options.cache),
        };
        let authenticator: Arc<dyn Authenticator> = Arc::new(authorities);
        let set = node.authenticator.set(authenticator);
        set.map_err(|_| AuthError("authorities are set already".into()))
    }

    async fn decide(&self, request: &LoginRequest) -> LoginOutcome {
        let mut refusal = None;
        for link in &self.links {
            let outcome = match link.authn {
                Backend::Cache => self.ask_cached(request).await,
                _ => self.ask(*link, request).await,
            };
            match outcome {
                Ok(user) => return Ok(user),
                // The first refusal says most; with tokens in front of passwords each is refused by somebody.
                Err(failure) => {
                    tracing::debug!(user = request.user, ?link, "a backend refused: {failure}");
                    refusal = Some(failure);
                }
            }
        }
        Err(refusal.unwrap_or_else(|| AuthFailure::InvalidCredentials(request.user.clone())))
    }

    async fn ask_cached(&self, request: &LoginRequest) -> LoginOutcome {
        if let Some(outcome) = self.cache.find(request) {
            return outcome;
        }
        let outcome = self.ask(self.cache.options.link, request).await;
        self.cache.keep(request, &outcome);
        outcome
    }

    async fn ask(&self, link: Link, request: &LoginRequest) -> LoginOutcome {
        let node = self
            .node
            .upgrade()
            .ok_or_else(|| refused(request, "the broker is stopping"))?;
        let name = match link.authn {
            Backend::Internal | Backend::Cache => {
                return node.identities.authenticate(
                    &request.user,
                    &request.password,
                    request.peer_is_loopback,
                );
            }
            Backend::OAuth2 => {
                let oauth2 = self
                    .oauth2
                    .as_ref()
                    .ok_or_else(|| refused(request, "OAuth 2 is not configured"))?;
                let (user, grants) = oauth2
                    .verify(&request.password)
                    .await
                    .map_err(|why| refused(request, &why))?;
                if link.authz == Backend::OAuth2 {
                    return self.admit(AuthenticatedUser::granted(user, grants), request);
                }
                user.name.to_string()
            }
            Backend::Http => {
                let http = self
                    .http
                    .as_ref()
                    .ok_or_else(|| refused(request, "HTTP is not configured"))?;
                http.authenticate(request)
                    .await
                    .map_err(|why| refused(request, &why))?;
                request.user.clone()
            }
        };
        node.identities
            .authenticate_external(&name, request.peer_is_loopback)
    }

    fn admit(&self, user: AuthenticatedUser, request: &LoginRequest) -> LoginOutcome {
        let only_loopback = self
            .loopback_users
            .iter()
            .any(|name| **name == **user.name());
        if only_loopback && !request.peer_is_loopback {
            return Err(AuthFailure::LoopbackOnly(user.name().to_string()));
        }
        Ok(user)
    }
}

impl Authenticator for Authorities {
    fn log_in(self: Arc<Self>, request: LoginRequest) -> LoginFuture {
        Box::pin(async move { self.decide(&request).await })
    }
}

fn check(link: Link) -> Result<(), AuthError> {
    match (link.authn, link.authz) {
        (Backend::Http, Backend::Http) => Err(AuthError(
            "an HTTP service can say who somebody is, and not what they may do: set auth_backends.N.authn = http \
             and auth_backends.N.authz = internal"
                .into(),
        )),
        (authn, authz) if authn == authz || authz == Backend::Internal => Ok(()),
        (authn, authz) => Err(AuthError(format!("{authn:?} cannot be followed by {authz:?}").to_lowercase())),
    }
}

fn refused(request: &LoginRequest, reason: &str) -> AuthFailure {
    AuthFailure::Refused {
        user: request.user.clone(),
        reason: reason.to_owned(),
    }
}

/// Somebody without a password of ours.
pub(crate) fn stranger(name: &str, tags: Vec<String>) -> User {
    User {
        name: name.into(),
        password_hash: metadata::identity::PasswordHash::NONE,
        hashing_algorithm: metadata::identity::HashingAlgorithm::DEFAULT,
        tags,
    }
}
