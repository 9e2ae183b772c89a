//! `auth_oauth2.*`: resource servers, that is ourselves under the names tokens are meant for, and the providers
//! that sign tokens.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// What is said of a resource server; what is not said of one is taken from the first level.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// `id`, or the name of its section.
    pub id: Option<String>,
    /// `oauth_provider_id`.
    pub provider: Option<String>,
    /// `scope_prefix`.
    pub scope_prefix: Option<String>,
    /// `scope_aliases`: what an alias stands for, with spaces between.
    pub scope_aliases: BTreeMap<String, String>,
    /// `scope_aliases.$index.alias` and `.scope`.
    pub numbered_aliases: BTreeMap<String, (String, String)>,
    /// `additional_scopes_key`, with spaces between.
    pub additional_scopes_key: Option<String>,
    /// `preferred_username_claims`.
    pub preferred_username_claims: Vec<String>,
    /// `verify_aud`.
    pub verify_aud: Option<bool>,
    /// `require_exp`.
    pub require_exp: Option<bool>,
}

/// What is said of a provider.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Provider {
    /// Where its own description is found.
    pub issuer: Option<String>,
    /// Where its keys are.
    pub jwks_uri: Option<String>,
    /// The path of the description.
    pub discovery_path: Option<String>,
    /// Keys in PEM files, by their ids.
    pub signing_keys: BTreeMap<String, PathBuf>,
    /// The key of tokens that name none.
    pub default_key: Option<String>,
    /// Algorithms that tokens may be signed with; empty is all that suit the key.
    pub algorithms: Vec<String>,
    /// Roots that HTTPS believes; the system's if there are none.
    pub cacertfile: Option<PathBuf>,
}

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OAuth2Options {
    /// The first level: a resource server, and what holds for all.
    pub server: Said,
    /// `resource_servers.$name`.
    pub servers: BTreeMap<String, Said>,
    /// The first level's provider.
    pub provider: Provider,
    /// `oauth_providers.$name`.
    pub providers: BTreeMap<String, Provider>,
    /// `default_oauth_provider`.
    pub default_provider: Option<String>,
}

/// A resource server, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ResourceServer {
    /// What a token's audience calls us.
    pub(crate) id: String,
    /// What scopes begin with that are meant for us.
    pub(crate) scope_prefix: String,
    /// What aliases stand for.
    pub(crate) scope_aliases: BTreeMap<String, Vec<String>>,
    /// Claims with more scopes, as paths with dots.
    pub(crate) additional_scopes: Vec<String>,
    /// Claims that name the user.
    pub(crate) preferred_username_claims: Vec<String>,
    /// Whether a token must be meant for us.
    pub(crate) verify_aud: bool,
    /// Whether a token must end.
    pub(crate) require_exp: bool,
}

impl OAuth2Options {
    /// Resource servers, each with its provider.
    ///
    /// # Errors
    /// If there is none, or one names a provider that there is not.
    pub(super) fn servers(&self) -> Result<Vec<(ResourceServer, Provider)>, String> {
        let mut servers = Vec::new();
        if let Some(id) = &self.server.id {
            servers.push((
                self.complete(id, &self.server),
                self.provider_of(&self.server)?,
            ));
        }
        for (name, said) in &self.servers {
            let id = said.id.as_ref().unwrap_or(name);
            servers.push((self.complete(id, said), self.provider_of(said)?));
        }
        if servers.is_empty() {
            return Err("oauth2 needs auth_oauth2.resource_server_id".into());
        }
        Ok(servers)
    }

    fn provider_of(&self, said: &Said) -> Result<Provider, String> {
        let Some(name) = said.provider.as_ref().or(self.default_provider.as_ref()) else {
            return Ok(self.provider.clone());
        };
        let found = self.providers.get(name).cloned();
        found.ok_or_else(|| format!("there is no auth_oauth2.oauth_providers.{name}"))
    }

    fn complete(&self, id: &str, said: &Said) -> ResourceServer {
        let first = &self.server;
        let aliases = if said.scope_aliases.is_empty() && said.numbered_aliases.is_empty() {
            first
        } else {
            said
        };
        let named = aliases.scope_aliases.iter();
        let numbered = aliases
            .numbered_aliases
            .values()
            .map(|(alias, scopes)| (alias, scopes));
        let scope_aliases = named.chain(numbered).map(|(alias, scopes)| {
            (
                alias.clone(),
                scopes.split_whitespace().map(str::to_owned).collect(),
            )
        });
        let additional = said
            .additional_scopes_key
            .as_ref()
            .or(first.additional_scopes_key.as_ref());
        let claims = match &said.preferred_username_claims[..] {
            [] => &first.preferred_username_claims,
            _ => &said.preferred_username_claims,
        };
        let prefix = said.scope_prefix.as_ref().or(first.scope_prefix.as_ref());
        ResourceServer {
            id: id.to_owned(),
            scope_prefix: prefix.cloned().unwrap_or_else(|| format!("{id}.")),
            scope_aliases: scope_aliases.collect(),
            additional_scopes: additional
                .map(|keys| keys.split_whitespace().map(str::to_owned).collect())
                .unwrap_or_default(),
            preferred_username_claims: claims.clone(),
            verify_aud: said.verify_aud.or(first.verify_aud).unwrap_or(true),
            require_exp: said.require_exp.or(first.require_exp).unwrap_or(true),
        }
    }
}
