//! Answers of a slow authority, remembered for a while.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use node::identities::{AuthFailure, LoginOutcome, LoginRequest};
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
    answers: Mutex<BTreeMap<Vec<u8>, (Instant, LoginOutcome)>>,
}

impl Cache {
    pub(super) fn new(options: CacheOptions) -> Cache {
        Cache {
            options,
            answers: Mutex::default(),
        }
    }

    pub(super) fn find(&self, request: &LoginRequest) -> Option<LoginOutcome> {
        let answers = self.answers.lock();
        let (until, outcome) = answers.get(&key(request)?)?;
        (Instant::now() < *until).then(|| outcome.clone())
    }

    pub(super) fn keep(&self, request: &LoginRequest, outcome: &LoginOutcome) {
        let refused = matches!(
            outcome,
            Err(AuthFailure::InvalidCredentials(_) | AuthFailure::Refused { .. })
        );
        if outcome.is_err() && !(refused && self.options.refusals) {
            return;
        }
        let Some(key) = key(request) else { return };
        let now = Instant::now();
        let mut answers = self.answers.lock();
        if ANSWERS_MAX <= answers.len() {
            answers.retain(|_, (until, _)| now < *until);
            if ANSWERS_MAX <= answers.len() {
                answers.clear();
            }
        }
        answers.insert(
            key,
            (
                now + Duration::from_millis(self.options.ttl_ms),
                outcome.clone(),
            ),
        );
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
    digest.update(&request.password);
    Some(digest.finish().as_ref().to_vec())
}
