//! Connections to a directory, and what is searched there.
//!
//! A connection is used by one question at a time, which binds it as whom it likes; afterwards it waits for the next
//! one, for a while. Whoever gives up in the middle takes its connection along. Deliberately absent: following
//! referrals, as in RabbitMQ.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ldap3::asn1::{PL, StructureTag};
use ldap3::{Ldap, LdapConnAsync, LdapConnSettings, LdapError, Scope, SearchOptions};
use parking_lot::Mutex;
use rustls::ClientConfig;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::LdapOptions;

/// Most entries that a search may find.
const ENTRIES_MAX: i32 = 1000;

/// How often a question is asked anew when its connection turns out to be dead.
const RETRIES_MAX: usize = 10;

/// As whom a question is asked.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Bind {
    Anonymous,
    As { dn: String, password: Vec<u8> },
}

/// Why a question has no answer, in RabbitMQ's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// Name and password do not belong together.
    InvalidCredentials,
    /// Anything else: `ldap_connect_error` and its kin.
    Error(&'static str),
}

/// A search went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SearchError {
    /// The connection is dead: another may do.
    Closed,
    /// The directory says so.
    Refused(String),
}

/// An entry that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) dn: String,
    /// Attributes and their values, those that are text.
    attributes: Vec<(String, Vec<String>)>,
}

impl Entry {
    /// The values of an attribute; names of attributes are the same whatever their case.
    pub(super) fn values(&self, attribute: &str) -> &[String] {
        let mut attributes = self.attributes.iter();
        let found = attributes.find(|(name, _)| name.eq_ignore_ascii_case(attribute));
        found.map_or(&[], |(_, values)| values)
    }

    /// Reads what came from the network; `None` if it is not as it should be.
    fn read(entry: StructureTag) -> Option<Entry> {
        let mut parts = constructed(entry)?.into_iter();
        let dn = String::from_utf8(primitive(parts.next()?)?).ok()?;
        let mut attributes = Vec::new();
        for attribute in constructed(parts.next()?)? {
            let mut parts = constructed(attribute)?.into_iter();
            let name = String::from_utf8(primitive(parts.next()?)?).ok()?;
            let values = constructed(parts.next()?)?.into_iter();
            let values: Option<Vec<Vec<u8>>> = values.map(primitive).collect();
            let texts = values?.into_iter();
            let texts = texts.filter_map(|value| String::from_utf8(value).ok());
            attributes.push((name, texts.collect()));
        }
        Some(Entry { dn, attributes })
    }
}

fn constructed(tag: StructureTag) -> Option<Vec<StructureTag>> {
    match tag.payload {
        PL::C(parts) => Some(parts),
        PL::P(_) => None,
    }
}

fn primitive(tag: StructureTag) -> Option<Vec<u8>> {
    match tag.payload {
        PL::P(bytes) => Some(bytes),
        PL::C(_) => None,
    }
}

/// A connection in use.
pub(super) struct Session {
    ldap: Ldap,
    timeout: Duration,
}

impl Session {
    /// What is found below `base`, with these attributes.
    pub(super) async fn search(
        &mut self,
        base: &str,
        scope: Scope,
        filter: &str,
        attribute: &str,
    ) -> Result<Vec<Entry>, SearchError> {
        let options = SearchOptions::new().sizelimit(ENTRIES_MAX);
        let ldap = self.ldap.with_search_options(options);
        let searching = ldap
            .with_timeout(self.timeout)
            .search(base, scope, filter, [attribute]);
        let (entries, _) = searching
            .await
            .and_then(ldap3::SearchResult::success)
            .map_err(|error| search_error(&error))?;
        let malformed = || SearchError::Refused("an entry is malformed".into());
        let entries = entries
            .into_iter()
            .filter(|entry| !entry.is_ref() && !entry.is_intermediate())
            .map(|entry| Entry::read(entry.0).ok_or_else(malformed));
        entries.collect()
    }

    async fn bind(&mut self, bind: &Bind) -> Result<(), BindError> {
        let Bind::As { dn, password } = bind else {
            return Ok(());
        };
        // The library takes text; a password that is none is nobody's.
        let Ok(password) = std::str::from_utf8(password) else {
            return Err(BindError::InvalidCredentials);
        };
        let binding = self.ldap.with_timeout(self.timeout);
        match binding.simple_bind(dn, password).await {
            Err(error) if is_closed(&error) => Err(BindError::Closed),
            Err(error) => Err(BindError::Other(error.to_string())),
            Ok(result) => match result.rc {
                0 => Ok(()),
                49 => Err(BindError::InvalidCredentials),
                _ => Err(BindError::Other(result.to_string())),
            },
        }
    }
}

enum BindError {
    InvalidCredentials,
    Closed,
    Other(String),
}

fn search_error(error: &LdapError) -> SearchError {
    match is_closed(error) {
        true => SearchError::Closed,
        false => SearchError::Refused(error.to_string()),
    }
}

fn is_closed(error: &LdapError) -> bool {
    matches!(
        error,
        LdapError::Io { .. }
            | LdapError::OpSend { .. }
            | LdapError::ResultRecv { .. }
            | LdapError::IdScrubSend { .. }
            | LdapError::EndOfStream
    )
}

/// A connection that waits to be used.
struct Idle {
    ldap: Ldap,
    since: Instant,
}

/// See the module.
pub(super) struct Directory {
    options: LdapOptions,
    tls: Arc<ClientConfig>,
    /// Bounds how many questions are asked at once.
    places: Semaphore,
    /// Connections that were never bound, and those that were.
    idle: [Mutex<Vec<Idle>>; 2],
}

impl Directory {
    pub(super) fn new(options: LdapOptions, tls: Arc<ClientConfig>) -> Directory {
        Directory {
            places: Semaphore::new(options.pool_size),
            options,
            tls,
            idle: Default::default(),
        }
    }

    /// Asks `question` over a connection that is bound as told. It may be asked more than once, if a connection dies.
    pub(super) async fn ask<A, F>(
        &self,
        bind: &Bind,
        mut question: impl FnMut(Session) -> F,
    ) -> Result<A, Failure>
    where
        F: Future<Output = (Session, Result<A, SearchError>)>,
    {
        let _place = self.places.acquire().await;
        for _ in 0..RETRIES_MAX {
            let mut session = self.session(bind).await?;
            match session.bind(bind).await {
                Ok(()) => {}
                Err(BindError::Closed) => continue,
                Err(BindError::InvalidCredentials) => {
                    self.give_back(bind, session);
                    return Err(Failure::InvalidCredentials);
                }
                Err(BindError::Other(why)) => {
                    tracing::error!("LDAP bind error: {why}");
                    return Err(Failure::Error("ldap_bind_error"));
                }
            }
            let (session, answer) = question(session).await;
            match answer {
                Ok(answer) => {
                    self.give_back(bind, session);
                    return Ok(answer);
                }
                Err(SearchError::Closed) => {}
                Err(SearchError::Refused(why)) => {
                    tracing::warn!("LDAP evaluate error: {why}");
                    self.give_back(bind, session);
                    return Err(Failure::Error("ldap_evaluate_error"));
                }
            }
        }
        tracing::error!("LDAP: connections to the directory are closed again and again");
        Err(Failure::Error("ldap_connect_error"))
    }

    fn idle(&self, bind: &Bind) -> &Mutex<Vec<Idle>> {
        let [never_bound, bound] = &self.idle;
        match bind {
            Bind::Anonymous => never_bound,
            Bind::As { .. } => bound,
        }
    }

    fn give_back(&self, bind: &Bind, session: Session) {
        let kept = self.options.idle_timeout.is_none_or(|idle| !idle.is_zero());
        if kept {
            let since = Instant::now();
            let ldap = session.ldap;
            self.idle(bind).lock().push(Idle { ldap, since });
        }
    }

    /// A connection that is there, or a new one.
    async fn session(&self, bind: &Bind) -> Result<Session, Failure> {
        let timeout = self.options.timeout;
        {
            let mut idle = self.idle(bind).lock();
            if let Some(limit) = self.options.idle_timeout {
                // Dropping the last handle closes the connection.
                idle.retain(|idle| idle.since.elapsed() < limit);
            }
            while let Some(Idle { mut ldap, .. }) = idle.pop() {
                if !ldap.is_closed() {
                    return Ok(Session { ldap, timeout });
                }
            }
        }
        for server in &self.options.servers {
            match self.connect(server).await {
                Ok(ldap) => return Ok(Session { ldap, timeout }),
                Err(why) => tracing::error!("LDAP connect error: {server}: {why}"),
            }
        }
        Err(Failure::Error("ldap_connect_error"))
    }

    async fn connect(&self, server: &str) -> Result<Ldap, String> {
        let options = &self.options;
        let scheme = if options.use_ssl { "ldaps" } else { "ldap" };
        let host = match server.contains(':') && !server.starts_with('[') {
            true => format!("[{server}]"),
            false => server.to_owned(),
        };
        let url = format!("{scheme}://{host}:{}", options.port);
        let settings = LdapConnSettings::new()
            .set_starttls(options.use_starttls)
            .set_config(Arc::clone(&self.tls));
        let connecting = LdapConnAsync::with_settings(settings, &url);
        let connected = timeout(options.timeout, connecting).await;
        let connected = connected.map_err(|_| {
            let after = options.timeout.as_millis();
            format!("no connection within {after} ms")
        })?;
        let (connection, ldap) = connected.map_err(|error| error.to_string())?;
        tokio::spawn(async move {
            if let Err(error) = connection.drive().await {
                tracing::debug!("LDAP: a connection to the directory ended: {error}");
            }
        });
        Ok(ldap)
    }
}
