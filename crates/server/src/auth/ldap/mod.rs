//! The LDAP backend: a directory says who somebody is, by letting them bind, and what they may do, by what stands in
//! it.
//!
//! Keys, defaults, queries and the order of things are those of RabbitMQ's rabbitmq_auth_backend_ldap. Values are
//! escaped wherever they are put into names and filters. What the directory does wrong is a no, in the words that
//! RabbitMQ has for it, and every question ends in bounded time.

mod directory;
mod evaluate;
mod fill;
mod query;
mod term;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ldap3::Scope;
use node::identities::{Authorizer, Denial, LoginRequest, Question, Verdict, VerdictFuture};
use tokio::time::timeout;

use super::AuthError;
use crate::tls::ClientTlsOptions;
use directory::{Bind, Directory, Failure, SearchError, Session};
use evaluate::Asked;
use fill::Variables;
use query::{Query, Value};

/// What RabbitMQ calls this backend.
const NAME: &str = "rabbit_auth_backend_ldap";

/// How long a question may take in all, whatever single operations may.
const QUESTION_TIMEOUT: Duration = Duration::from_secs(60);

/// As whom the directory is asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum BindAs {
    /// As the user who logs in.
    #[default]
    User,
    /// As nobody.
    Anonymous,
    /// As somebody who may look.
    Named(Named),
}

/// A name and a password, which is not shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Named {
    /// The distinguished name.
    pub dn: String,
    /// The password.
    pub password: String,
}

impl fmt::Debug for Named {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Named({})", self.dn)
    }
}

/// `auth_ldap.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LdapOptions {
    /// Tried in this order.
    pub servers: Vec<String>,
    /// Of all of them.
    pub port: u16,
    /// Questions at once, and so connections.
    pub pool_size: usize,
    /// How long one operation may take.
    pub timeout: Duration,
    /// How long a connection is kept that nobody uses; `None` is for ever.
    pub idle_timeout: Option<Duration>,
    /// Whether decisions and their steps are logged.
    pub log: bool,
    /// What users bind as, if it is not their distinguished name.
    pub user_bind_pattern: Option<String>,
    /// Users' distinguished names.
    pub user_dn_pattern: String,
    /// The attribute by which distinguished names are looked up, if they are.
    pub dn_lookup_attribute: Option<String>,
    /// Where they are looked up.
    pub dn_lookup_base: Option<String>,
    /// As whom.
    pub dn_lookup_bind: BindAs,
    /// As whom everything else is asked.
    pub other_bind: BindAs,
    /// Where groups are; where names are looked up if there is none.
    pub group_lookup_base: Option<String>,
    /// TLS from the start.
    pub use_ssl: bool,
    /// TLS after a while.
    pub use_starttls: bool,
    /// For both.
    pub tls: ClientTlsOptions,
    /// May somebody enter a vhost?
    pub vhost_access: String,
    /// Has somebody a right on a queue or exchange?
    pub resource_access: String,
    /// May somebody use a routing key?
    pub topic_access: String,
    /// Which tags has somebody?
    pub tags: String,
}

impl Default for LdapOptions {
    fn default() -> Self {
        let yes = || "{constant, true}".to_owned();
        LdapOptions {
            servers: Vec::new(),
            port: 389,
            pool_size: 64,
            timeout: Duration::from_secs(15),
            idle_timeout: Some(Duration::from_secs(300)),
            log: false,
            user_bind_pattern: None,
            user_dn_pattern: "${username}".into(),
            dn_lookup_attribute: None,
            dn_lookup_base: None,
            dn_lookup_bind: BindAs::User,
            other_bind: BindAs::User,
            group_lookup_base: None,
            use_ssl: false,
            use_starttls: false,
            tls: ClientTlsOptions::default(),
            vhost_access: yes(),
            resource_access: yes(),
            topic_access: yes(),
            tags: "[{administrator, {constant, false}}]".into(),
        }
    }
}

/// Whether a query can be understood.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check_query(text: &str) -> Result<(), String> {
    query::parse(text).map(drop)
}

/// The same for tags.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check_tags(text: &str) -> Result<(), String> {
    query::parse_tags(text).map(drop)
}

/// See the module.
pub(super) struct LdapBackend {
    options: LdapOptions,
    directory: Directory,
    vhost_access: Query,
    resource_access: Query,
    topic_access: Query,
    tags: Vec<(String, Query)>,
}

impl fmt::Debug for LdapBackend {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "LdapBackend({:?})", self.options.servers)
    }
}

/// Somebody whom the directory let in.
pub(super) struct Found {
    pub(super) tags: Vec<String>,
    pub(super) dn: String,
}

/// A refusal or a failure, in words for the log.
type Refusal = String;

impl LdapBackend {
    pub(super) fn new(options: &LdapOptions) -> Result<LdapBackend, AuthError> {
        let wrong = |key: &'static str| move |error| AuthError(format!("auth_ldap.{key}: {error}"));
        if options.servers.is_empty() {
            return Err(AuthError("ldap needs auth_ldap.servers".into()));
        }
        if options.dn_lookup_attribute.is_some() && options.dn_lookup_base.is_none() {
            let text = "auth_ldap.dn_lookup_attribute needs auth_ldap.dn_lookup_base";
            return Err(AuthError(text.into()));
        }
        if options.use_ssl && options.use_starttls {
            let text = "auth_ldap.use_ssl and auth_ldap.use_starttls exclude each other";
            return Err(AuthError(text.into()));
        }
        for (key, bind) in [
            ("dn_lookup_bind", &options.dn_lookup_bind),
            ("other_bind", &options.other_bind),
        ] {
            if let BindAs::Named(named) = bind
                && (named.dn.is_empty() || named.password.is_empty())
            {
                let text = format!("auth_ldap.{key} needs both user_dn and password");
                return Err(AuthError(text));
            }
        }
        let tls = options.tls.load();
        let tls = tls.map_err(|error| AuthError(format!("auth_ldap: {error}")))?;
        let parse = |key, text: &str| query::parse(text).map_err(wrong(key));
        Ok(LdapBackend {
            vhost_access: parse("queries.vhost_access", &options.vhost_access)?,
            resource_access: parse("queries.resource_access", &options.resource_access)?,
            topic_access: parse("queries.topic_access", &options.topic_access)?,
            tags: query::parse_tags(&options.tags).map_err(wrong("queries.tags"))?,
            directory: Directory::new(options.clone(), tls),
            options: options.clone(),
        })
    }

    /// Whether somebody may log in, their tags and distinguished name.
    ///
    /// # Errors
    /// Why not, for the log.
    pub(super) async fn log_in(&self, request: &LoginRequest) -> Result<Found, Refusal> {
        let decided = timeout(QUESTION_TIMEOUT, self.decide_login(request)).await;
        let decided = decided.unwrap_or(Err(Failure::Error("timeout")));
        if self.options.log {
            let outcome = decided.as_ref().map(|found| &found.dn);
            tracing::info!(user = request.user, "LDAP DECISION: login: {outcome:?}");
        }
        decided.map_err(|failure| match failure {
            Failure::InvalidCredentials => "the directory does not let them bind".into(),
            Failure::Error(why) => {
                let text = format!("{NAME} failed authenticating {}: {why}", request.user);
                tracing::error!("{text}");
                text
            }
        })
    }

    async fn decide_login(&self, request: &LoginRequest) -> Result<Found, Failure> {
        let options = &self.options;
        let user = &request.user;
        let variables = Variables::of_user(user);
        let Some(password) = &request.password else {
            // By certificate, for example: somebody else must ask.
            let bind = self.bind_as(None)?;
            return self.find(&variables, user, None, &bind).await;
        };
        if password.is_empty() {
            // A bind without a password is an anonymous one (RFC 4513, 5.1.2): it would prove nothing.
            return Err(Failure::Error("unauthenticated bind not allowed"));
        }
        let written = variables.fill_dn(&options.user_dn_pattern);
        let looks_up = options.dn_lookup_attribute.is_some();
        let (bind_dn, known) = match &options.dn_lookup_bind {
            BindAs::User if looks_up => (None, None),
            bind if looks_up => {
                let bind = named(bind).ok_or(Failure::Error("ldap_bind_error"))?;
                let dn = self.look_up_as(&bind, user, &variables).await?;
                (Some(dn.clone()), Some(dn))
            }
            _ => (None, Some(written.clone())),
        };
        let bind_dn = bind_dn.unwrap_or_else(|| {
            let pattern = options.user_bind_pattern.as_ref();
            pattern.map_or(written, |pattern| variables.fill_dn(pattern))
        });
        if bind_dn.is_empty() {
            // Some directories take this, too, for an anonymous bind.
            return Err(Failure::InvalidCredentials);
        }
        let bind = Bind::As {
            dn: bind_dn,
            password: password.clone(),
        };
        self.find(&variables, user, known, &bind).await
    }

    /// Binds, finds the distinguished name if it is not known, and asks for the tags.
    async fn find(
        &self,
        variables: &Variables,
        user: &str,
        known: Option<String>,
        bind: &Bind,
    ) -> Result<Found, Failure> {
        let asks_itself = self.options.other_bind == BindAs::User;
        let found = self
            .directory
            .ask(bind, |mut session| {
                let known = known.clone();
                async move {
                    let answer = async {
                        let dn = match known {
                            Some(dn) => dn,
                            None => self.look_up(&mut session, user, variables).await?,
                        };
                        let tags = match asks_itself {
                            true => Some(self.tags_of(&mut session, &dn, variables).await?),
                            false => None,
                        };
                        Ok((dn, tags))
                    };
                    let answer = answer.await;
                    (session, answer)
                }
            })
            .await?;
        let (dn, tags) = found;
        if let Some(tags) = tags {
            return Ok(Found { tags, dn });
        }
        let bind = self.bind_as(None)?;
        let dn = &dn;
        let tags = self
            .directory
            .ask(&bind, |mut session| async move {
                let tags = self.tags_of(&mut session, dn, variables).await;
                (session, tags)
            })
            .await?;
        Ok(Found {
            tags,
            dn: dn.clone(),
        })
    }

    async fn look_up_as(
        &self,
        bind: &Bind,
        user: &str,
        variables: &Variables,
    ) -> Result<String, Failure> {
        let asking = self.directory.ask(bind, |mut session| async move {
            let dn = self.look_up(&mut session, user, variables).await;
            (session, dn)
        });
        asking.await
    }

    /// The distinguished name of a user: the one entry that has their name.
    async fn look_up(
        &self,
        session: &mut Session,
        user: &str,
        variables: &Variables,
    ) -> Result<String, SearchError> {
        let options = &self.options;
        let written = || variables.fill_dn(&options.user_dn_pattern);
        let (Some(attribute), Some(base)) = (&options.dn_lookup_attribute, &options.dn_lookup_base)
        else {
            return Ok(written());
        };
        let filter = evaluate::is(attribute, &variables.fill(&options.user_dn_pattern));
        let found = session
            .search(base, Scope::Subtree, &filter, "distinguishedName")
            .await?;
        match &found[..] {
            [one] => Ok(one.dn.clone()),
            others => {
                let count = others.len();
                tracing::warn!(user, "LDAP: {count} entries have the name of a user");
                Ok(written())
            }
        }
    }

    async fn tags_of(
        &self,
        session: &mut Session,
        dn: &str,
        variables: &Variables,
    ) -> Result<Vec<String>, SearchError> {
        let mut variables = variables.clone();
        variables.add("user_dn", dn);
        let asked = self.asked(&variables, dn);
        let mut tags = Vec::new();
        for (tag, query) in &self.tags {
            // A query that fails gives no tag.
            if asked.evaluate(query, session).await?.is_true() {
                tags.push(tag.clone());
            }
        }
        Ok(tags)
    }

    fn asked<'a>(&'a self, variables: &'a Variables, user_dn: &'a str) -> Asked<'a> {
        let options = &self.options;
        let groups_base = options.group_lookup_base.as_ref();
        Asked {
            variables,
            user_dn,
            groups_base: groups_base
                .or(options.dn_lookup_base.as_ref())
                .map(String::as_str),
            log: options.log,
        }
    }

    /// As whom everything but the login is asked; `user` is whom it is asked about.
    fn bind_as(&self, user: Option<&LdapUser>) -> Result<Bind, Failure> {
        if let Some(bind) = named(&self.options.other_bind) {
            return Ok(bind);
        }
        let own = user.and_then(|user| {
            Some(Bind::As {
                dn: user.dn.clone(),
                password: user.password.clone()?,
            })
        });
        own.ok_or(Failure::Error(
            "'other_bind' set to 'as_user' but no password supplied",
        ))
    }

    async fn authorize(&self, user: &LdapUser, question: &Question) -> Verdict {
        let mut variables = Variables::of_user(&user.name);
        variables.add("user_dn", &user.dn);
        let query = match question {
            Question::Vhost { vhost, .. } => {
                variables.add("vhost", vhost);
                &self.vhost_access
            }
            Question::Resource {
                vhost,
                resource,
                name,
                permission,
            } => {
                variables.add("vhost", vhost);
                variables.add("resource", resource);
                variables.add("name", name);
                variables.add("permission", permission);
                &self.resource_access
            }
            Question::Topic {
                vhost,
                exchange,
                permission,
                routing_key,
            } => {
                variables.add("vhost", vhost);
                variables.add("resource", "topic");
                variables.add("name", exchange);
                variables.add("permission", permission);
                variables.add("routing_key", routing_key);
                variables.add("variable_map.vhost", vhost);
                variables.add("variable_map.username", &user.name);
                &self.topic_access
            }
        };
        let asked = &self.asked(&variables, &user.dn);
        let asking = async {
            // RabbitMQ binds for a constant, too: a user who was locked out meanwhile is refused.
            let bind = self.bind_as(Some(user))?;
            let asking = self.directory.ask(&bind, |mut session| async move {
                let value = asked.evaluate(query, &mut session).await;
                (session, value)
            });
            asking.await
        };
        let decided = timeout(QUESTION_TIMEOUT, asking).await;
        let decided = decided.unwrap_or(Err(Failure::Error("timeout")));
        if self.options.log {
            tracing::info!(user = user.name, "LDAP DECISION: {question:?}: {decided:?}");
        }
        let why = match decided {
            Ok(Value::Bool(true)) => return Ok(()),
            Ok(Value::Bool(false)) | Err(Failure::InvalidCredentials) => {
                return Err(Denial::default());
            }
            Ok(Value::Texts(_) | Value::Error(_)) => "ldap_evaluate_error",
            Err(Failure::Error(why)) => why,
        };
        tracing::error!(
            user = user.name,
            ?question,
            "backend {NAME} returned an error: {why}"
        );
        Err(Denial {
            why: format!(", backend {NAME} returned an error: {why}"),
            is_failure: true,
        })
    }
}

/// As whom the directory is asked, if that is not the user.
fn named(bind: &BindAs) -> Option<Bind> {
    match bind {
        BindAs::User => None,
        BindAs::Anonymous => Some(Bind::Anonymous),
        BindAs::Named(Named { dn, password }) => Some(Bind::As {
            dn: dn.clone(),
            password: password.clone().into_bytes(),
        }),
    }
}

/// Somebody whom the directory let in, and is asked about.
pub(super) struct LdapUser {
    pub(super) ldap: Arc<LdapBackend>,
    pub(super) name: String,
    pub(super) dn: String,
    /// What they logged in with, to ask as them.
    pub(super) password: Option<Vec<u8>>,
}

impl fmt::Debug for LdapUser {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "LdapUser({})", self.dn)
    }
}

impl Authorizer for LdapUser {
    fn decide(self: Arc<Self>, question: Question) -> VerdictFuture {
        Box::pin(async move { self.ldap.authorize(&self, &question).await })
    }
}
