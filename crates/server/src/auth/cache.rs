//! Answers of a slow authority, remembered for a while: on logins, and on what users may do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use node::identities::{
    AuthFailure, AuthenticatedUser, Authorizer, LoginOutcome, LoginRequest, Question, Verdict,
    VerdictFuture,
};
use parking_lot::Mutex;
use rustls::crypto::aws_lc_rs;
use rustls::crypto::hash::HashAlgorithm;

use super::CacheOptions;

/// Most answers that are remembered. When there are more, those that are over go, and if that is not enough, all.
const ANSWERS_MAX: usize = 10_000;

/// See the module. Passwords are remembered as digests.
#[derive(Debug)]
pub(super) struct Cache {
    pub(super) options: CacheOptions,
    logins: Mutex<Answers<Vec<u8>, LoginOutcome>>,
    verdicts: Mutex<Answers<Asked, Verdict>>,
}

/// A question about somebody with these tags.
type Asked = (String, Vec<String>, Question);

#[derive(Debug)]
struct Answers<Q, A>(BTreeMap<Q, (Instant, A)>);

impl<Q, A> Default for Answers<Q, A> {
    fn default() -> Self {
        Answers(BTreeMap::new())
    }
}

impl<Q: Ord, A: Clone> Answers<Q, A> {
    fn find(&self, question: &Q) -> Option<A> {
        let (until, answer) = self.0.get(question)?;
        (Instant::now() < *until).then(|| answer.clone())
    }

    fn keep(&mut self, question: Q, answer: A, ttl: Duration) {
        let now = Instant::now();
        if ANSWERS_MAX <= self.0.len() {
            self.0.retain(|_, (until, _)| now < *until);
            if ANSWERS_MAX <= self.0.len() {
                self.0.clear();
            }
        }
        self.0.insert(question, (now + ttl, answer));
    }
}

impl Cache {
    pub(super) fn new(options: CacheOptions) -> Cache {
        Cache {
            options,
            logins: Mutex::default(),
            verdicts: Mutex::default(),
        }
    }

    fn ttl(&self) -> Duration {
        Duration::from_millis(self.options.ttl_ms)
    }

    pub(super) fn find(&self, request: &LoginRequest) -> Option<LoginOutcome> {
        self.logins.lock().find(&key(request)?)
    }

    pub(super) fn keep(&self, request: &LoginRequest, outcome: &LoginOutcome) {
        let refused = matches!(
            outcome,
            Err(AuthFailure::InvalidCredentials(_) | AuthFailure::Refused { .. })
        );
        if outcome.is_err() && !(refused && self.options.refusals) {
            return;
        }
        if let Some(key) = key(request) {
            let mut logins = self.logins.lock();
            logins.keep(key, outcome.clone(), self.ttl());
        }
    }

    /// A user about whom this is asked before whoever is asked now.
    pub(super) fn before(cache: &Arc<Cache>, user: AuthenticatedUser) -> AuthenticatedUser {
        let Some(authorizer) = user.authorizer() else {
            return user;
        };
        let (name, tags) = (user.name().to_string(), user.tags().to_vec());
        let cached = Cached {
            cache: Arc::clone(cache),
            authorizer: Arc::clone(authorizer),
            name: name.clone(),
            tags: tags.clone(),
        };
        AuthenticatedUser::authorized_elsewhere(super::stranger(&name, tags), Arc::new(cached))
    }
}

/// One user's authorizer behind the cache.
#[derive(Debug)]
struct Cached {
    cache: Arc<Cache>,
    authorizer: Arc<dyn Authorizer>,
    name: String,
    tags: Vec<String>,
}

impl Authorizer for Cached {
    fn decide(self: Arc<Self>, question: Question) -> VerdictFuture {
        Box::pin(async move {
            let asked = (self.name.clone(), self.tags.clone(), question.clone());
            let known = self.cache.verdicts.lock().find(&asked);
            if let Some(known) = known {
                return known;
            }
            let verdict = Arc::clone(&self.authorizer).decide(question).await;
            let keeps = match &verdict {
                Ok(()) => true,
                Err(denial) => self.cache.options.refusals && !denial.is_failure,
            };
            if keeps {
                let mut verdicts = self.cache.verdicts.lock();
                verdicts.keep(asked, verdict.clone(), self.cache.ttl());
            }
            verdict
        })
    }
}

/// A digest of everything the answer depends on. The user's name is in front of the password with its length.
fn key(request: &LoginRequest) -> Option<Vec<u8>> {
    let suite = aws_lc_rs::ALL_CIPHER_SUITES
        .iter()
        .find_map(|suite| suite.tls13())?;
    let hash = suite.common.hash_provider;
    debug_assert_ne!(hash.algorithm(), HashAlgorithm::MD5);
    let mut digest = hash.start();
    digest.update(&(request.user.len() as u64).to_be_bytes());
    digest.update(request.user.as_bytes());
    digest.update(&[u8::from(request.peer_is_loopback)]);
    digest.update(&[u8::from(request.password.is_some())]);
    digest.update(request.password.as_deref().unwrap_or_default());
    Some(digest.finish().as_ref().to_vec())
}
