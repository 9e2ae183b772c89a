//! Tokens in place of passwords: JSON Web Tokens signed by an authorization server, whose scopes become tags and
//! permissions as RabbitMQ reads them.

mod grants;
mod keys;
mod options;
mod scopes;

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use metadata::identity::User;
use node::identities::Grants;
use serde_json::{Map, Value};

use super::{AuthError, stranger};
use grants::TokenGrants;
use keys::Keys;
pub(crate) use options::ResourceServer;
pub use options::{OAuth2Options, Provider, Said};

/// Claims of a token.
type Claims = Map<String, Value>;

/// See the module.
#[derive(Debug)]
pub(crate) struct OAuth2 {
    servers: Vec<(ResourceServer, Arc<Keys>)>,
}

impl OAuth2 {
    pub(crate) fn new(options: &OAuth2Options) -> Result<OAuth2, AuthError> {
        let servers = options.servers().map_err(AuthError)?;
        let servers = servers.into_iter().map(|(server, provider)| {
            let keys = Keys::new(&provider).map_err(AuthError)?;
            Ok((server, Arc::new(keys)))
        });
        Ok(OAuth2 {
            servers: servers.collect::<Result<_, AuthError>>()?,
        })
    }

    /// Who a token speaks of, and what it lets them do.
    ///
    /// # Errors
    /// Why it is refused, for the log. The token is not in it.
    pub(crate) async fn verify(&self, token: &[u8]) -> Result<(User, Arc<dyn Grants>), String> {
        let failed = |why: String| format!("Authentication using OAuth 2/JWT token failed: {why}");
        self.verify_token(token).await.map_err(failed)
    }

    async fn verify_token(&self, token: &[u8]) -> Result<(User, Arc<dyn Grants>), String> {
        let token = std::str::from_utf8(token)
            .map_err(|_| "provided token is invalid")?
            .trim();
        let unverified = keys::unverified_claims(token).ok_or("provided token is invalid")?;
        // Read from an unverified token, the audience only picks the keys; with wrong ones it is refused.
        let (server, keys) = self.server_of(&unverified)?;
        let claims = keys.verify(token).await?;
        check_expiry(server, &claims)?;
        let scopes = scopes::of(server, &claims)?;
        let name = username(server, &claims);
        let tags = scopes::tags(&scopes);
        let grants = TokenGrants::new(server, scopes, claims);
        Ok((stranger(&name, tags), Arc::new(grants)))
    }

    /// The resource server that a token is meant for.
    fn server_of(&self, claims: &Claims) -> Result<&(ResourceServer, Arc<Keys>), String> {
        let audience: Vec<&str> = match claims.get("aud") {
            Some(Value::String(audience)) => audience.split_whitespace().collect(),
            Some(Value::Array(audience)) => audience.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let meant: Vec<_> = self
            .servers
            .iter()
            .filter(|(server, _)| audience.contains(&server.id.as_str()))
            .collect();
        match meant[..] {
            [one] => Ok(one),
            [] => {
                let open: Vec<_> = self
                    .servers
                    .iter()
                    .filter(|(server, _)| !server.verify_aud)
                    .collect();
                match open[..] {
                    [one] => Ok(one),
                    _ => Err("no resource server is named by the token's audience".into()),
                }
            }
            _ => Err("the token's audience names more than one resource server".into()),
        }
    }
}

fn now_s() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    since_1970.map_or(0, |since| since.as_secs())
}

/// When a token ends, in whole seconds since 1970.
fn expiry_s(claims: &Claims) -> Option<u64> {
    let expiry = claims.get("exp")?.as_f64()?;
    Some(expiry.max(0.0) as u64)
}

fn check_expiry(server: &ResourceServer, claims: &Claims) -> Result<(), String> {
    let now_s = now_s();
    match (claims.get("exp"), expiry_s(claims)) {
        (_, Some(expiry_s)) if expiry_s <= now_s => Err(format!(
            "Provided JWT token has expired at timestamp {expiry_s} (validated at {now_s})"
        )),
        (_, Some(_)) => Ok(()),
        (Some(_), None) => {
            Err("Provided JWT token has an invalid exp claim: value is not a number".into())
        }
        (None, None) if server.require_exp => Err("Provided JWT token has no exp claim".into()),
        (None, None) => Ok(()),
    }
}

/// The first claim that names somebody: those that are preferred, then `sub`, then `client_id`.
fn username(server: &ResourceServer, claims: &Claims) -> String {
    let preferred = server.preferred_username_claims.iter().map(String::as_str);
    let mut candidates = preferred.chain(["sub", "client_id"]);
    let found = candidates.find_map(|claim| claims.get(claim)?.as_str());
    found.unwrap_or("unknown").to_owned()
}
