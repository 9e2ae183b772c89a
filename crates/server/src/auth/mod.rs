//! Authorities beside the node's own users: OAuth 2 tokens, an HTTP service, a directory, a cache before any of them,
//! one after the other in the order of `auth_backends`.
//!
//! A login is decided here, over the network if need be, while the worker serves other clients. One backend says who
//! somebody is, and the same or another what they may do: the node's own permissions, a token at hand, or a service
//! that is asked each time.

mod cache;
mod http;
mod ldap;
pub(crate) mod oauth2;

use std::sync::{Arc, Weak};

use metadata::identity::User;
use node::identities::{
    AuthFailure, AuthenticatedUser, Authenticator, Grants, LoginFuture, LoginOutcome, LoginRequest,
};
use node::node::Node;

use cache::Cache;
pub use http::HttpOptions;
pub use ldap::{BindAs, LdapOptions, Named};
pub(crate) use ldap::{check_query, check_tags};
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
    /// A directory.
    Ldap,
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
    /// Of `ldap`.
    pub ldap: LdapOptions,
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
    http: Option<Arc<http::Http>>,
    ldap: Option<Arc<ldap::LdapBackend>>,
    cache: Arc<Cache>,
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
        let Link { authn, authz } = options.cache.link;
        if authn == Backend::Cache || authz == Backend::Cache {
            return Err(AuthError(
                "the cache cannot be the backend that it caches".into(),
            ));
        }
        let uses = |backend| {
            let mut links = asked.iter();
            links.any(|link| link.authn == backend || link.authz == backend)
        };
        let authorities = Authorities {
            node: Arc::downgrade(node),
            links: options.links.clone(),
            loopback_users: node.settings.identities.loopback_users.clone(),
            oauth2: uses(Backend::OAuth2)
                .then(|| oauth2::OAuth2::new(&options.oauth2))
                .transpose()?,
            http: uses(Backend::Http)
                .then(|| http::Http::new(&options.http).map(Arc::new))
                .transpose()?,
            ldap: uses(Backend::Ldap)
                .then(|| ldap::LdapBackend::new(&options.ldap).map(Arc::new))
                .transpose()?,
            cache: Arc::new(Cache::new(options.cache)),
        };
        let authenticator: Arc<dyn Authenticator> = Arc::new(authorities);
        let set = node.authenticator.set(authenticator);
        set.map_err(|_| AuthError("authorities are set already".into()))
    }

    async fn decide(&self, request: &LoginRequest) -> LoginOutcome {
        let mut refusal = None;
        for link in &self.links {
            let outcome = self.ask(*link, request).await;
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

    async fn ask(&self, link: Link, request: &LoginRequest) -> LoginOutcome {
        let Link { authn, authz } = link;
        let user = match authn {
            Backend::Cache => self.ask_cached(request).await?,
            _ => self.authenticate(authn, request).await?,
        };
        let user = match authn == authz {
            true => user,
            false => self.authorize(authz, &user, request).await?,
        };
        self.admit(user, request)
    }

    /// What the cached backends say, both of them.
    async fn ask_cached(&self, request: &LoginRequest) -> LoginOutcome {
        if let Some(outcome) = self.cache.find(request) {
            return outcome;
        }
        let Link { authn, authz } = self.cache.options.link;
        let mut outcome = self.authenticate(authn, request).await;
        if let Ok(user) = &outcome
            && authn != authz
        {
            outcome = self.authorize(authz, user, request).await;
        }
        let outcome = outcome.map(|user| Cache::before(&self.cache, user));
        self.cache.keep(request, &outcome);
        outcome
    }

    fn node(&self, request: &LoginRequest) -> Result<Arc<Node>, AuthFailure> {
        let stopping = || refused(request, "the broker is stopping");
        self.node.upgrade().ok_or_else(stopping)
    }

    fn http(&self, request: &LoginRequest) -> Result<&Arc<http::Http>, AuthFailure> {
        let missing = || refused(request, "HTTP is not configured");
        self.http.as_ref().ok_or_else(missing)
    }

    async fn verify(&self, request: &LoginRequest) -> Result<(User, Arc<dyn Grants>), AuthFailure> {
        let missing = || refused(request, "OAuth 2 is not configured");
        let oauth2 = self.oauth2.as_ref().ok_or_else(missing)?;
        let token = request.password.as_deref().unwrap_or_default();
        let verified = oauth2.verify(token).await;
        verified.map_err(|why| refused(request, &why))
    }

    /// Who somebody is, with what the same backend says they may do.
    async fn authenticate(&self, backend: Backend, request: &LoginRequest) -> LoginOutcome {
        match backend {
            Backend::Internal | Backend::Cache => {
                let identities = &self.node(request)?.identities;
                let from_here = request.peer_is_loopback;
                match &request.password {
                    Some(password) => identities.authenticate(&request.user, password, from_here),
                    None => identities.authenticate_external(&request.user, from_here),
                }
            }
            Backend::OAuth2 => {
                let (user, grants) = self.verify(request).await?;
                Ok(AuthenticatedUser::granted(user, grants))
            }
            Backend::Http => {
                let http = self.http(request)?;
                let asked = http.authenticate(request).await;
                let tags = asked.map_err(|why| refused(request, &why))?;
                Ok(http_user(http, &request.user, tags))
            }
            Backend::Ldap => {
                self.find_in_directory(&request.user, Vec::new(), request)
                    .await
            }
        }
    }

    /// Asks the directory, which adds its tags to those that somebody has already.
    async fn find_in_directory(
        &self,
        name: &str,
        mut tags: Vec<String>,
        request: &LoginRequest,
    ) -> LoginOutcome {
        let missing = || refused(request, "LDAP is not configured");
        let ldap = self.ldap.as_ref().ok_or_else(missing)?;
        let found = ldap.log_in(request).await;
        let found = found.map_err(|why| refused(request, &why))?;
        tags.extend(found.tags);
        let asked = ldap::LdapUser {
            ldap: Arc::clone(ldap),
            name: name.to_owned(),
            dn: found.dn,
            password: request.password.clone(),
        };
        let user = stranger(name, tags);
        Ok(AuthenticatedUser::authorized_elsewhere(
            user,
            Arc::new(asked),
        ))
    }

    /// The same somebody with the rights that another backend gives, which must know them, too. As in RabbitMQ, only
    /// the node itself and a directory add tags then.
    async fn authorize(
        &self,
        backend: Backend,
        user: &AuthenticatedUser,
        request: &LoginRequest,
    ) -> LoginOutcome {
        let (name, tags) = (user.name(), user.tags().to_vec());
        let request = LoginRequest {
            user: name.to_string(),
            ..request.clone()
        };
        match backend {
            Backend::Internal => {
                let identities = &self.node(&request)?.identities;
                let own = identities.authenticate_external(name, request.peer_is_loopback)?;
                Ok(own.with_tags(tags))
            }
            Backend::OAuth2 => {
                let (_, grants) = self.verify(&request).await?;
                Ok(AuthenticatedUser::granted(stranger(name, tags), grants))
            }
            Backend::Http => {
                let http = self.http(&request)?;
                let asked = http.authenticate(&request).await;
                asked.map_err(|why| refused(&request, &why))?;
                Ok(http_user(http, name, tags))
            }
            Backend::Ldap => self.find_in_directory(name, tags, &request).await,
            Backend::Cache => {
                let cached = self.cache.options.link.authz;
                let user = Box::pin(self.authorize(cached, user, &request)).await?;
                Ok(Cache::before(&self.cache, user))
            }
        }
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

fn http_user(http: &Arc<http::Http>, name: &str, tags: Vec<String>) -> AuthenticatedUser {
    let asked = http::HttpUser {
        http: Arc::clone(http),
        name: name.to_owned(),
        tags: tags.clone(),
    };
    AuthenticatedUser::authorized_elsewhere(stranger(name, tags), Arc::new(asked))
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
