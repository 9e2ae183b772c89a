//! The keys that tokens are signed with: from files, and from the provider, which may exchange them at any time.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::{JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, Validation};
use serde::Deserialize;
use tokio::sync::Mutex;

use super::Claims;
use super::options::Provider;
use crate::fetch::Client;

/// How long a provider may take to answer.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);

/// A key that is not known is asked for; not more often than this, for anybody can make up names of keys.
const FETCH_INTERVAL: Duration = Duration::from_secs(5);

/// Keys are asked for anew after this long, so that those that were withdrawn are forgotten.
const KEEP: Duration = Duration::from_secs(3600);

/// Most keys of one provider.
const KEYS_MAX: usize = 1000;

/// See the module.
pub(super) struct Keys {
    provider: Provider,
    own: BTreeMap<String, DecodingKey>,
    client: Client,
    fetched: Mutex<Fetched>,
}

#[derive(Default)]
struct Fetched {
    at: Option<Instant>,
    /// By id; a key without one stands under the empty name.
    keys: BTreeMap<String, DecodingKey>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("provider", &self.provider)
            .finish_non_exhaustive()
    }
}

/// The claims of a token whose signature nobody has looked at.
pub(super) fn unverified_claims(token: &str) -> Option<Claims> {
    jsonwebtoken::dangerous::insecure_decode_claims(token).ok()
}

impl Keys {
    pub(super) fn new(provider: &Provider) -> Result<Keys, String> {
        let mut own = BTreeMap::new();
        for (name, file) in &provider.signing_keys {
            own.insert(name.clone(), from_file(file)?);
        }
        if own.is_empty() && provider.jwks_uri.is_none() && provider.issuer.is_none() {
            return Err(
                "oauth2 needs auth_oauth2.jwks_uri, auth_oauth2.issuer or auth_oauth2.signing_keys"
                    .into(),
            );
        }
        Ok(Keys {
            provider: provider.clone(),
            own,
            client: Client::new(provider.cacertfile.as_deref(), FETCH_TIMEOUT)?,
            fetched: Mutex::default(),
        })
    }

    /// The claims of a token that a key of ours has signed.
    pub(super) async fn verify(&self, token: &str) -> Result<Claims, String> {
        let header = jsonwebtoken::decode_header(token).map_err(|_| "provided token is invalid")?;
        let id = header.kid.as_ref().or(self.provider.default_key.as_ref());
        let key = self.find(id.map_or("", String::as_str)).await?;
        if !self.allows(header.alg) || header.alg.family() != key.family() {
            return Err(format!(
                "tokens signed with {:?} are not accepted",
                header.alg
            ));
        }
        let mut validation = Validation::new(header.alg);
        // Audience and expiry are looked at under RabbitMQ's rules, after this.
        validation.required_spec_claims.clear();
        validation.validate_aud = false;
        validation.validate_exp = false;
        validation.validate_nbf = true;
        let verified = jsonwebtoken::decode::<Claims>(token, &key, &validation);
        verified
            .map(|token| token.claims)
            .map_err(|error| match error.kind() {
                jsonwebtoken::errors::ErrorKind::InvalidSignature => "signature_invalid".into(),
                _ => error.to_string(),
            })
    }

    fn allows(&self, algorithm: Algorithm) -> bool {
        let named = &self.provider.algorithms;
        named.is_empty() || named.iter().any(|name| name.parse() == Ok(algorithm))
    }

    async fn find(&self, id: &str) -> Result<DecodingKey, String> {
        if let Some(key) = self.own.get(id) {
            return Ok(key.clone());
        }
        // Logins that come while keys are on their way wait for them here, and ask nobody again.
        let mut fetched = self.fetched.lock().await;
        let age = fetched.at.map(|at| at.elapsed());
        let known = fetched.keys.get(id).cloned();
        let fresh = age.is_some_and(|age| age < KEEP);
        if let Some(key) = known.filter(|_| fresh) {
            return Ok(key);
        }
        if age.is_none_or(|age| FETCH_INTERVAL < age) {
            // Old keys are as good as any while the provider does not answer.
            fetched.at = Some(Instant::now());
            match self.fetch().await {
                Ok(keys) => fetched.keys = keys,
                Err(error) => tracing::error!("keys of an OAuth 2 provider cannot be had: {error}"),
            }
        }
        let only = (fetched.keys.len() == 1 && id.is_empty()).then(|| fetched.keys.values().next());
        let found = fetched.keys.get(id).or(only.flatten()).cloned();
        found.ok_or_else(|| "no key of the provider has signed the token".to_owned())
    }

    async fn fetch(&self) -> Result<BTreeMap<String, DecodingKey>, String> {
        let uri = match (&self.provider.jwks_uri, &self.provider.issuer) {
            (Some(uri), _) => uri.clone(),
            (None, Some(issuer)) => self.discover(issuer).await?,
            (None, None) => return Err("there is no jwks_uri".into()),
        };
        let body = self.client.get(&uri).await?;
        let set: JwkSet =
            serde_json::from_slice(&body).map_err(|error| format!("{uri}: {error}"))?;
        let mut keys = BTreeMap::new();
        for jwk in set.keys.iter().take(KEYS_MAX) {
            if jwk.common.public_key_use == Some(PublicKeyUse::Encryption) {
                continue;
            }
            // A set may hold keys of kinds that are not known here; the others are of use all the same.
            match DecodingKey::from_jwk(jwk) {
                Ok(key) if key.family() != AlgorithmFamily::Hmac => {
                    keys.insert(jwk.common.key_id.clone().unwrap_or_default(), key);
                }
                Ok(_) => {}
                Err(error) => tracing::warn!("a key of {uri} is left out: {error}"),
            }
        }
        Ok(keys)
    }

    async fn discover(&self, issuer: &str) -> Result<String, String> {
        #[derive(Deserialize)]
        struct Description {
            jwks_uri: String,
        }
        let path = self
            .provider
            .discovery_path
            .as_deref()
            .unwrap_or(".well-known/openid-configuration");
        let url = format!(
            "{}/{}",
            issuer.trim_end_matches('/'),
            path.trim_start_matches('/')
        );
        let body = self.client.get(&url).await?;
        let description: Description =
            serde_json::from_slice(&body).map_err(|error| format!("{url}: {error}"))?;
        Ok(description.jwks_uri)
    }
}

fn from_file(file: &Path) -> Result<DecodingKey, String> {
    let wrong = |error: &dyn fmt::Display| format!("{}: {error}", file.display());
    let pem = std::fs::read(file).map_err(|error| wrong(&error))?;
    DecodingKey::from_rsa_pem(&pem)
        .or_else(|_| DecodingKey::from_ec_pem(&pem))
        .or_else(|_| DecodingKey::from_ed_pem(&pem))
        .map_err(|error| wrong(&error))
}
