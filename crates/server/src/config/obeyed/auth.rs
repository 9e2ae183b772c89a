//! Who says who somebody is, and what they may do.

use crate::auth::oauth2::{Provider, Said};
use crate::auth::{Backend, Link};
use crate::config::Config;
use crate::config::key::{Applies::*, Key, key};
use crate::config::value::Given;

/// The backends by RabbitMQ's names.
fn backend(given: &Given<'_>) -> Result<Backend, String> {
    match given.value {
        "internal" | "rabbit_auth_backend_internal" => Ok(Backend::Internal),
        "oauth" | "oauth2" | "uaa" | "rabbit_auth_backend_oauth2" => Ok(Backend::OAuth2),
        "http" | "rabbit_auth_backend_http" => Ok(Backend::Http),
        "cache" | "rabbit_auth_backend_cache" => Ok(Backend::Cache),
        "ldap" | "rabbit_auth_backend_ldap" => Ok(Backend::Ldap),
        _ => Err("expected one of internal, oauth2, http, ldap, cache".into()),
    }
}

fn link<'a>(config: &'a mut Config, given: &Given<'_>) -> &'a mut Link {
    let number = given
        .names
        .first()
        .and_then(|number| number.parse().ok())
        .unwrap_or(u64::MAX);
    let internal = Backend::Internal;
    config.auth_links.entry(number).or_insert(Link {
        authn: internal,
        authz: internal,
    })
}

fn server<'a>(config: &'a mut Config, given: &Given<'_>) -> &'a mut Said {
    config.auth.oauth2.servers.entry(given.name()).or_default()
}

fn provider<'a>(config: &'a mut Config, given: &Given<'_>) -> &'a mut Provider {
    config
        .auth
        .oauth2
        .providers
        .entry(given.name())
        .or_default()
}

macro_rules! server_keys {
    ($prefix:literal, $at:literal, |$config:ident, $given:ident| $said:expr) => {
        [
            key(
                concat!($prefix, "scope_prefix"),
                Restart,
                "",
                "what a scope begins with that is meant for us; unless set, the resource server's id and a dot",
                |$config, $given| {
                    $said.scope_prefix = Some($given.text());
                    Ok(())
                },
            ),
            key(
                concat!($prefix, "scope_aliases.$alias"),
                Restart,
                "",
                "scopes that a scope of this name stands for, with spaces between",
                |$config, $given| {
                    let (alias, scopes) = ($given.names[$at].to_owned(), $given.text());
                    $said.scope_aliases.insert(alias, scopes);
                    Ok(())
                },
            ),
            key(
                concat!($prefix, "scope_aliases.$index.alias"),
                Restart,
                "",
                "the name of an alias that has characters which a key cannot have",
                |$config, $given| {
                    let (index, alias) = ($given.names[$at].to_owned(), $given.text());
                    $said.numbered_aliases.entry(index).or_default().0 = alias;
                    Ok(())
                },
            ),
            key(
                concat!($prefix, "scope_aliases.$index.scope"),
                Restart,
                "",
                "the scopes of that alias, with spaces between",
                |$config, $given| {
                    let (index, scopes) = ($given.names[$at].to_owned(), $given.text());
                    $said.numbered_aliases.entry(index).or_default().1 = scopes;
                    Ok(())
                },
            ),
            key(
                concat!($prefix, "additional_scopes_key"),
                Restart,
                "",
                "claims with more scopes, with spaces between; dots lead into objects",
                |$config, $given| {
                    $said.additional_scopes_key = Some($given.text());
                    Ok(())
                },
            ),
            key(
                concat!($prefix, "preferred_username_claims.$n"),
                Restart,
                "",
                "claims that name the user, before `sub` and `client_id`",
                |$config, $given| {
                    $said.preferred_username_claims.push($given.text());
                    Ok(())
                },
            ),
            key(
                concat!($prefix, "verify_aud"),
                Restart,
                "",
                "whether the token's audience must name the resource server; `true` unless set",
                |$config, $given| {
                    $said.verify_aud = Some($given.switch()?);
                    Ok(())
                },
            ),
            key(
                concat!($prefix, "require_exp"),
                Restart,
                "",
                "whether tokens must end; `true` unless set",
                |$config, $given| {
                    $said.require_exp = Some($given.switch()?);
                    Ok(())
                },
            ),
        ]
    };
}

macro_rules! provider_keys {
    ($prefix:literal, $at:literal, |$config:ident, $given:ident| $provider:expr) => {
        [
            key(
                concat!($prefix, "issuer"),
                Restart,
                "",
                "where the provider's description is found, if `jwks_uri` is not set",
                |$config, $given| {
                    $provider.issuer = Some($given.text());
                    Ok(())
                },
            ),
            key(
                concat!($prefix, "jwks_uri"),
                Restart,
                "",
                "where the provider's keys are found",
                |$config, $given| {
                    $provider.jwks_uri = Some($given.text());
                    Ok(())
                },
            ),
            key(
                concat!($prefix, "discovery_endpoint_path"),
                Restart,
                "",
                "the path of the description, `.well-known/openid-configuration` unless set",
                |$config, $given| {
                    $provider.discovery_path = Some($given.text());
                    Ok(())
                },
            ),
            key(
                concat!($prefix, "signing_keys.$id"),
                Restart,
                "",
                "a public key in a PEM file, by the id that tokens call it",
                |$config, $given| {
                    let (id, file) = ($given.names[$at].to_owned(), $given.path());
                    $provider.signing_keys.insert(id, file);
                    Ok(())
                },
            ),
            key(
                concat!($prefix, "default_key"),
                Restart,
                "",
                "the id of the key of tokens that name none",
                |$config, $given| {
                    $provider.default_key = Some($given.text());
                    Ok(())
                },
            ),
            key(
                concat!($prefix, "algorithms.$n"),
                Restart,
                "",
                "algorithms that tokens may be signed with: `RS256`, `ES256`, `EdDSA` and so on; unless set, all that suit the key",
                |$config, $given| {
                    if $given.value.parse::<jsonwebtoken::Algorithm>().is_err() {
                        return Err("expected an algorithm such as RS256".into());
                    }
                    $provider.algorithms.push($given.text());
                    Ok(())
                },
            ),
            key(
                concat!($prefix, "https.cacertfile"),
                Restart,
                "",
                "roots that HTTPS to the provider believes, in PEM; unless set, the system's",
                |$config, $given| {
                    $provider.cacertfile = Some($given.path());
                    Ok(())
                },
            ),
        ]
    };
}

/// The chain and the cache.
pub(super) static KEYS: &[Key] = &[
    key(
        "auth_mechanisms.$n",
        Live,
        "",
        "SASL mechanisms that are offered: `PLAIN`, `AMQPLAIN`, `ANONYMOUS`, `EXTERNAL`; unless set, all but the \
         last. A client is offered those of them that make sense for it",
        |config, given| {
            let name = given.one_of(&["PLAIN", "AMQPLAIN", "ANONYMOUS", "EXTERNAL"])?;
            config
                .settings
                .auth_mechanisms
                .get_or_insert_default()
                .push(name.to_owned());
            Ok(())
        },
    ),
    key(
        "auth_backends.$n",
        Restart,
        "",
        "who is asked, in the order of the numbers, until somebody agrees: `internal`, `oauth2`, `http`, `ldap`, `cache`; unless set, \
         `internal` alone",
        |config, given| {
            let backend = backend(given)?;
            *link(config, given) = Link {
                authn: backend,
                authz: backend,
            };
            Ok(())
        },
    ),
    key(
        "auth_backends.$n.authn",
        Restart,
        "",
        "who says who somebody is: `internal`, `oauth2`, `http`, `ldap`, `cache`",
        |config, given| {
            link(config, given).authn = backend(given)?;
            Ok(())
        },
    ),
    key(
        "auth_backends.$n.authz",
        Restart,
        "",
        "who says what they may do: the same words",
        |config, given| {
            link(config, given).authz = backend(given)?;
            Ok(())
        },
    ),
    key(
        "auth_cache.cached_backend",
        Restart,
        "internal",
        "whose answers `cache` remembers",
        |config, given| {
            let backend = backend(given)?;
            config.auth.cache.link = Link {
                authn: backend,
                authz: backend,
            };
            Ok(())
        },
    ),
    key(
        "auth_cache.cached_backend.authn",
        Restart,
        "",
        "the same, who says who somebody is",
        |config, given| {
            config.auth.cache.link.authn = backend(given)?;
            Ok(())
        },
    ),
    key(
        "auth_cache.cached_backend.authz",
        Restart,
        "",
        "the same, who says what they may do",
        |config, given| {
            config.auth.cache.link.authz = backend(given)?;
            Ok(())
        },
    ),
    key(
        "auth_cache.cache_ttl",
        Restart,
        "15000",
        "for how long, in milliseconds",
        |config, given| {
            config.auth.cache.ttl_ms = given.integer(1, 1000 * 60 * 60 * 24)?;
            Ok(())
        },
    ),
    key(
        "auth_cache.cache_refusals",
        Restart,
        "false",
        "whether refusals are remembered too",
        |config, given| {
            config.auth.cache.refusals = given.switch()?;
            Ok(())
        },
    ),
];

/// The first level of OAuth 2.
pub(super) static OAUTH2: &[Key] = &{
    let [a, b, c, d, e, f, g, h] =
        server_keys!("auth_oauth2.", 0, |config, given| config.auth.oauth2.server);
    let [p, q, r, s, t, u, v] = provider_keys!("auth_oauth2.", 0, |config, given| config
        .auth
        .oauth2
        .provider);
    [
        key(
            "auth_oauth2.resource_server_id",
            Restart,
            "",
            "what a token's audience calls us",
            |config, given| {
                config.auth.oauth2.server.id = Some(given.text());
                Ok(())
            },
        ),
        key(
            "auth_oauth2.default_oauth_provider",
            Restart,
            "",
            "the provider of resource servers that name none; unless set, the keys without a name",
            |config, given| {
                config.auth.oauth2.default_provider = Some(given.text());
                Ok(())
            },
        ),
        a,
        b,
        c,
        d,
        e,
        f,
        g,
        h,
        p,
        q,
        r,
        s,
        t,
        u,
        v,
    ]
};

/// Further resource servers and providers.
pub(super) static OAUTH2_NAMED: &[Key] = &{
    let [a, b, c, d, e, f, g, h] =
        server_keys!("auth_oauth2.resource_servers.$name.", 1, |config, given| {
            server(config, given)
        });
    let [p, q, r, s, t, u, v] =
        provider_keys!("auth_oauth2.oauth_providers.$name.", 1, |config, given| {
            provider(config, given)
        });
    [
        key(
            "auth_oauth2.resource_servers.$name.id",
            Restart,
            "",
            "what a token's audience calls us; unless set, the name",
            |config, given| {
                server(config, given).id = Some(given.text());
                Ok(())
            },
        ),
        key(
            "auth_oauth2.resource_servers.$name.oauth_provider_id",
            Restart,
            "",
            "the name of its provider",
            |config, given| {
                server(config, given).provider = Some(given.text());
                Ok(())
            },
        ),
        a,
        b,
        c,
        d,
        e,
        f,
        g,
        h,
        p,
        q,
        r,
        s,
        t,
        u,
        v,
    ]
};
