//! Logins that others decide on: tokens, an HTTP service, a cache, one after the other.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use node::settings::Settings;
use probe::Event;
use rcgen::KeyPair;
use serde_json::{Value, json};
use server::auth::{AuthOptions, Backend, CacheOptions, HttpOptions, Link, OAuth2Options};
use server::{HttpAddresses, Listeners, config::Config};

use crate::broker::{Broker, PATIENCE, read_to_end};
use crate::service::Service;

const fn only(backend: Backend) -> Link {
    Link {
        authn: backend,
        authz: backend,
    }
}

fn start(auth: AuthOptions) -> Broker {
    let listeners = Listeners {
        auth,
        ..Listeners::default()
    };
    Broker::start_with(Settings::default(), listeners)
}

/// Somebody who signs tokens.
struct Signer {
    id: &'static str,
    key: KeyPair,
}

impl Signer {
    fn new(id: &'static str) -> Signer {
        Signer {
            id,
            key: KeyPair::generate().expect("a key"),
        }
    }

    fn jwk(&self) -> Value {
        let (x, y) = self.key.public_key_raw()[1..].split_at(32);
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        json!({"kty": "EC", "crv": "P-256", "use": "sig", "kid": self.id, "x": text(x), "y": text(y)})
    }

    fn sign(&self, claims: &Value) -> String {
        let header = Header {
            kid: Some(self.id.to_owned()),
            ..Header::new(Algorithm::ES256)
        };
        let key = EncodingKey::from_ec_der(&self.key.serialize_der());
        jsonwebtoken::encode(&header, claims, &key).expect("signed")
    }
}

fn now_s() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs()
}

/// A token for ann that holds for an hour, with these claims over it.
fn claims(scope: &str, change: &Value) -> Value {
    let mut claims =
        json!({"sub": "ann", "aud": ["rabbitmq"], "exp": now_s() + 3600, "scope": scope});
    for (name, value) in change.as_object().expect("an object") {
        match value {
            Value::Null => drop(claims.as_object_mut().expect("an object").remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

const ALL: &str =
    "rabbitmq.configure:*/* rabbitmq.write:*/* rabbitmq.read:*/* rabbitmq.tag:administrator";

/// A provider with this signer's key, and a broker that believes it.
fn provider(signer: &Signer) -> (Service, OAuth2Options) {
    let service = Service::new();
    service.set("/keys", &json!({"keys": [signer.jwk()]}).to_string());
    let conf = format!(
        "auth_oauth2.resource_server_id = rabbitmq\nauth_oauth2.jwks_uri = {}\n\
         auth_oauth2.additional_scopes_key = roles realm.access\nauth_oauth2.scope_aliases.boss = {ALL}\n\
         auth_oauth2.preferred_username_claims.1 = nick\n",
        service.url("/keys")
    );
    let config = Config::parse("f", &conf).expect("it is right");
    (service, config.auth().oauth2)
}

fn oauth2(oauth2: OAuth2Options) -> Broker {
    start(AuthOptions {
        links: vec![only(Backend::OAuth2), only(Backend::Internal)],
        oauth2,
        ..AuthOptions::default()
    })
}

fn name(event: Option<&Event>) -> &'static str {
    event.map_or("nothing", Event::name)
}

#[test]
fn a_token_says_who_and_what() {
    let signer = Signer::new("k1");
    let (_service, options) = provider(&signer);
    let broker = oauth2(options);
    let scope = "rabbitmq.configure:%2F/ann-* rabbitmq.write:*/ann-* rabbitmq.write:*/amq.default rabbitmq.read:*/{sub}-* \
                 rabbitmq.tag:monitoring other.configure:*/*";
    let token = signer.sign(&claims(scope, &json!({})));
    let mut client = broker.log_in("anything", &token).expect("it is let in");
    let listed = broker.node.connections.list();
    assert_eq!(&*listed[0].user, "ann");
    assert_eq!(
        name(client.call(1, "queue.declare queue=ann-1").as_ref()),
        "queue.declare-ok"
    );
    assert_eq!(
        name(
            client
                .call(1, "basic.consume queue=ann-1 consumer_tag=c no_ack")
                .as_ref()
        ),
        "basic.consume-ok"
    );
    client
        .send(1, "basic.publish routing_key=ann-1", b"m")
        .expect("it is read from");
    assert_eq!(name(client.next(PATIENCE).as_ref()), "basic.deliver");
    let refused = client
        .call(1, "queue.declare queue=bob-1")
        .expect("an answer");
    let text = refused.method().expect("a method").text("reply_text");
    assert_eq!(
        text,
        "ACCESS_REFUSED - configure access to queue 'bob-1' in vhost '/' refused for user 'ann'"
    );
    // The node's own users come after.
    broker.serve_a_healthy_client();
    assert!(broker.log_in("guest", "wrong").is_err());
    let counted = broker.node.attempts.by_protocol();
    assert_eq!(
        (counted[0].0, counted[0].1.succeeded, counted[0].1.failed),
        ("amqp091", 2, 1)
    );
}

#[test]
fn scopes_are_found_where_rabbitmq_finds_them() {
    let signer = Signer::new("k1");
    let (_service, options) = provider(&signer);
    let broker = oauth2(options);
    for (what, change, welcome) in [
        ("a list", json!({"scope": ["rabbitmq.read:*/*"]}), true),
        ("for others", json!({"scope": "other.read:*/*"}), false),
        (
            "another vhost",
            json!({"scope": "rabbitmq.read:v/*"}),
            false,
        ),
        ("no scope at all", json!({"scope": null}), false),
        ("an alias", json!({"scope": "boss"}), true),
        (
            "an additional claim",
            json!({"scope": null, "roles": "rabbitmq.read:*/*"}),
            true,
        ),
        (
            "one that is deeper",
            json!({"scope": null, "realm": {"access": ["rabbitmq.read:*/*"]}}),
            true,
        ),
        (
            "by resource",
            json!({"scope": null, "roles": {"rabbitmq": ["read:*/*"], "other": ["x"]}}),
            true,
        ),
        (
            "a requesting party token",
            json!({"scope": null, "authorization": {"permissions": [{"scopes": ["rabbitmq.read:*/*"]}]}}),
            true,
        ),
        (
            "an audience in one string",
            json!({"aud": "other rabbitmq"}),
            true,
        ),
    ] {
        let token = signer.sign(&claims(ALL, &change));
        assert_eq!(broker.log_in("", &token).is_ok(), welcome, "{what}");
    }
    let token = signer.sign(&claims(ALL, &json!({"nick": "hare"})));
    let _client = broker.log_in("", &token).expect("it is let in");
    assert_eq!(&*broker.node.connections.list()[0].user, "hare");
}

#[test]
fn tokens_that_prove_nothing_are_refused() {
    let (signer, forger) = (Signer::new("k1"), Signer::new("k1"));
    let (_service, options) = provider(&signer);
    let broker = oauth2(options);
    let good = signer.sign(&claims(ALL, &json!({})));
    let (header, rest) = good.split_once('.').expect("three parts");
    let (payload, signature) = rest.split_once('.').expect("three parts");
    let encoded = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    // The provider's public key is no secret that tokens may be signed with.
    let secret = EncodingKey::from_secret(signer.key.public_key_raw());
    let confused = Header {
        kid: Some("k1".into()),
        ..Header::new(Algorithm::HS256)
    };
    let cases = [
        (
            "expired",
            signer.sign(&claims(ALL, &json!({"exp": now_s() - 1}))),
        ),
        (
            "never ends",
            signer.sign(&claims(ALL, &json!({"exp": null}))),
        ),
        (
            "ends with a word",
            signer.sign(&claims(ALL, &json!({"exp": "soon"}))),
        ),
        (
            "not yet",
            signer.sign(&claims(ALL, &json!({"nbf": now_s() + 3600}))),
        ),
        (
            "for others",
            signer.sign(&claims(ALL, &json!({"aud": ["other"]}))),
        ),
        (
            "for nobody",
            signer.sign(&claims(ALL, &json!({"aud": null}))),
        ),
        ("forged", forger.sign(&claims(ALL, &json!({})))),
        (
            "an unknown key",
            Signer::new("k2").sign(&claims(ALL, &json!({}))),
        ),
        (
            "no algorithm",
            format!(
                "{}.{payload}.",
                encoded(&json!({"alg": "none", "kid": "k1"}))
            ),
        ),
        (
            "a secret",
            jsonwebtoken::encode(&confused, &claims(ALL, &json!({})), &secret).expect("signed"),
        ),
        (
            "other claims",
            format!(
                "{header}.{}.{signature}",
                encoded(&claims(ALL, &json!({"sub": "root"})))
            ),
        ),
        ("cut", good[..good.len() - 10].to_owned()),
        ("no token", "guest".into()),
        ("nothing", String::new()),
    ];
    for (what, token) in cases {
        assert!(broker.log_in("ann", &token).is_err(), "{what}");
    }
    assert!(broker.log_in("ann", &good).is_ok());
}

#[test]
fn a_provider_exchanges_its_keys() {
    let (first, second) = (Signer::new("k1"), Signer::new("k2"));
    let service = Service::new();
    service.set(
        "/.well-known/openid-configuration",
        &json!({"jwks_uri": service.url("/k")}).to_string(),
    );
    let conf = format!(
        "auth_oauth2.resource_server_id = rabbitmq\nauth_oauth2.issuer = {}\n",
        service.url("")
    );
    let options = Config::parse("f", &conf)
        .expect("it is right")
        .auth()
        .oauth2;
    service.set(
        "/k",
        &json!({"keys": [first.jwk(), second.jwk(), {"kty": "new", "kid": "k3"}]}).to_string(),
    );
    let broker = oauth2(options);
    for signer in [&first, &second] {
        assert!(
            broker
                .log_in("", &signer.sign(&claims(ALL, &json!({}))))
                .is_ok()
        );
    }
    // Asked once for each description and set, not for each login.
    assert_eq!(service.asked().len(), 2);
}

#[test]
fn a_new_secret_prolongs_a_connection_and_without_one_it_ends() {
    let signer = Signer::new("k1");
    let (_service, options) = provider(&signer);
    let broker = oauth2(options);
    let soon = signer.sign(&claims(ALL, &json!({"exp": now_s() + 2})));
    let (mut ends, mut lasts) = (
        broker.log_in("", &soon).expect("in"),
        broker.log_in("", &soon).expect("in"),
    );
    let update =
        |token: &str| format!("connection.update-secret new_secret=\"{token}\" reason=\"r\"");
    let longer = signer.sign(&claims("rabbitmq.configure:*/other", &json!({})));
    let answer = lasts.call(0, &update(&longer));
    assert_eq!(name(answer.as_ref()), "connection.update-secret-ok");
    let last = read_to_end(&mut ends);
    let close = last
        .iter()
        .find(|event| event.name() == "connection.close")
        .expect("it is told");
    let close = close.method().expect("a method");
    assert_eq!(close.number("reply_code"), 320);
    assert_eq!(
        close.text("reply_text"),
        "CONNECTION_FORCED - credential expired"
    );
    // The other one lives on, with what the new token grants.
    assert_eq!(
        name(lasts.call(1, "queue.declare queue=other").as_ref()),
        "queue.declare-ok"
    );
    assert_eq!(
        name(lasts.call(1, "queue.declare queue=mine").as_ref()),
        "channel.close"
    );
    let other = signer.sign(&claims(ALL, &json!({"sub": "bob"})));
    let refused = lasts.call(0, &update(&other)).expect("an answer");
    let close = refused.method().expect("a method");
    assert_eq!(
        (
            close.number("reply_code"),
            close.text("reply_text").as_str()
        ),
        (
            530,
            "NOT_ALLOWED - New secret was refused by one of the backends"
        )
    );
}

fn http(service: &Service, post: bool) -> HttpOptions {
    HttpOptions {
        post,
        user_path: service.url("/user"),
        ..HttpOptions::default()
    }
}

#[test]
fn a_service_says_who_somebody_is() {
    for post in [false, true] {
        let service = Service::new();
        let link = Link {
            authn: Backend::Http,
            authz: Backend::Internal,
        };
        let broker = start(AuthOptions {
            links: vec![link],
            http: http(&service, post),
            ..AuthOptions::default()
        });
        for (answer, welcome) in [
            ("allow", true),
            ("ALLOW administrator management\n", true),
            ("deny", false),
            ("deny because", false),
            ("", false),
            ("allowed?", false),
        ] {
            service.set("/user", answer);
            assert_eq!(
                broker.log_in("guest", "pass word&").is_ok(),
                welcome,
                "{answer}"
            );
        }
        let asked = service.asked();
        assert_eq!(
            asked[0],
            (
                "/user".into(),
                "username=guest&password=pass+word%26".into()
            )
        );
        // Whom the node does not know has no permissions.
        service.set("/user", "allow");
        assert!(broker.log_in("stranger", "x").is_err());
    }
}

#[test]
fn a_slow_service_holds_up_nobody_else() {
    let service = Service::new();
    service.set("/user", "allow");
    let link = Link {
        authn: Backend::Http,
        authz: Backend::Internal,
    };
    let broker = start(AuthOptions {
        links: vec![only(Backend::Internal), link],
        http: http(&service, true),
        ..AuthOptions::default()
    });
    service.hold(true);
    std::thread::scope(|scope| {
        let slow: Vec<_> = (0..20)
            .map(|_| scope.spawn(|| broker.log_in("guest", "other").is_ok()))
            .collect();
        crate::broker::wait_until("all are asked for", || service.asked().len() == 20);
        for _ in 0..10 {
            broker.serve_a_healthy_client();
        }
        service.hold(false);
        for slow in slow {
            assert!(slow.join().expect("no panic"));
        }
    });
}

#[test]
fn a_cache_remembers_for_a_while() {
    let service = Service::new();
    service.set("/user", "allow");
    let broker = start(AuthOptions {
        links: vec![only(Backend::Cache)],
        http: http(&service, false),
        cache: CacheOptions {
            link: Link {
                authn: Backend::Http,
                authz: Backend::Internal,
            },
            ttl_ms: 1000 * 60 * 60,
            refusals: false,
        },
        ..AuthOptions::default()
    });
    for _ in 0..5 {
        assert!(broker.log_in("guest", "p").is_ok());
    }
    assert_eq!(service.asked().len(), 1);
    assert!(broker.log_in("guest", "another").is_ok());
    assert_eq!(service.asked().len(), 2);
    // Refusals are asked for again.
    service.set("/user", "deny");
    for asked in 3..5 {
        assert!(broker.log_in("guest", "a third").is_err());
        assert_eq!(service.asked().len(), asked);
    }
    assert!(
        broker.log_in("guest", "p").is_ok(),
        "what was allowed is remembered"
    );
}

#[test]
fn chains_that_make_no_sense_are_refused() {
    for (conf, expected) in [
        (
            "auth_backends.1 = http\nauth_http.ssl_options.cacertfile = /nowhere.pem",
            "auth_backends: auth_http: /nowhere.pem cannot be read: No such file or directory (os error 2)",
        ),
        (
            "auth_backends.1 = http\nauth_http.ssl_options.certfile = /nowhere.pem",
            "auth_backends: auth_http: TLS needs keyfile beside certfile",
        ),
        (
            "auth_backends.1 = http\nauth_http.ssl_options.versions.1 = tlsv1.1",
            "auth_backends: auth_http: none of the TLS versions that are named is spoken",
        ),
        (
            "auth_backends.1 = ldap",
            "auth_backends: ldap needs auth_ldap.servers",
        ),
        (
            "auth_backends.1 = ldap\nauth_ldap.servers.1 = h\nauth_ldap.dn_lookup_attribute = mail",
            "auth_backends: auth_ldap.dn_lookup_attribute needs auth_ldap.dn_lookup_base",
        ),
        (
            "auth_backends.1 = ldap\nauth_ldap.servers.1 = h\nauth_ldap.other_bind.user_dn = cn=a",
            "auth_backends: auth_ldap.other_bind needs both user_dn and password",
        ),
        (
            "auth_backends.1 = ldap\nauth_ldap.servers.1 = h\nauth_ldap.use_ssl = true\nauth_ldap.use_starttls = true",
            "auth_backends: auth_ldap.use_ssl and auth_ldap.use_starttls exclude each other",
        ),
        (
            "auth_backends.1 = oauth2",
            "auth_backends: oauth2 needs auth_oauth2.resource_server_id",
        ),
        (
            "auth_backends.1 = oauth2\nauth_oauth2.resource_server_id = r",
            "auth_backends: oauth2 needs auth_oauth2.jwks_uri, auth_oauth2.issuer or auth_oauth2.signing_keys",
        ),
        (
            "auth_backends.1 = cache\nauth_cache.cached_backend = cache",
            "auth_backends: the cache cannot be the backend that it caches",
        ),
        (
            "auth_backends.1.authn = internal\nauth_backends.1.authz = cache\nauth_cache.cached_backend.authz = cache",
            "auth_backends: the cache cannot be the backend that it caches",
        ),
        (
            "auth_backends.1 = oauth2\nauth_oauth2.resource_server_id = r\nauth_oauth2.default_oauth_provider = p",
            "auth_backends: there is no auth_oauth2.oauth_providers.p",
        ),
        (
            "auth_backends.1 = oauth2\nauth_oauth2.resource_server_id = r\nauth_oauth2.signing_keys.a = /nowhere.pem",
            "auth_backends: /nowhere.pem: No such file or directory (os error 2)",
        ),
    ] {
        let auth = Config::parse("f", conf).expect("each key is right").auth();
        let listeners = Listeners {
            auth,
            ..Listeners::default()
        };
        let dir = tempfile::tempdir().expect("a directory");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let starting = server::Server::start(Settings::default(), dir.path(), &listeners);
        let error = runtime
            .block_on(starting)
            .err()
            .map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some(expected), "{conf}");
    }
}

#[test]
fn tokens_are_good_for_the_management_api() {
    let signer = Signer::new("k1");
    let (_service, oauth2) = provider(&signer);
    let listeners = Listeners {
        management: HttpAddresses {
            plain: vec![([127, 0, 0, 1], 0).into()],
            ..HttpAddresses::default()
        },
        auth: AuthOptions {
            links: vec![only(Backend::OAuth2), only(Backend::Internal)],
            oauth2,
            ..AuthOptions::default()
        },
        ..Listeners::default()
    };
    let broker = Broker::start_with(Settings::default(), listeners);
    let address = broker.management.0.expect("it is served");
    let get = |path: &str, authorization: &str| crate::service::get(address, path, authorization);
    let token = signer.sign(&claims(
        "rabbitmq.tag:management rabbitmq.read:v/*",
        &json!({}),
    ));
    let answer = get("/api/whoami", &format!("Bearer {token}"));
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("\"ann\""),
        "{answer}"
    );
    // A vhost that the token does not open is not seen, and nothing that is for administrators.
    assert!(get("/api/queues/%2F", &format!("Bearer {token}")).starts_with("HTTP/1.1 404"));
    assert!(!get("/api/users", &format!("Bearer {token}")).starts_with("HTTP/1.1 200"));
    let boss = signer.sign(&claims(ALL, &json!({})));
    assert!(get("/api/users", &format!("Bearer {boss}")).starts_with("HTTP/1.1 200"));
    // In place of a password, too, and passwords as before.
    let basic = |user: &str, password: &str| {
        let both = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
        get("/api/whoami", &format!("Basic {both}"))
    };
    assert!(basic("x", &boss).starts_with("HTTP/1.1 200"));
    assert!(basic("guest", "guest").starts_with("HTTP/1.1 200"));
    let no_tag = signer.sign(&claims("rabbitmq.read:*/*", &json!({})));
    for refused in [
        format!("Bearer {no_tag}"),
        "Bearer x".into(),
        "Basic eDp4".into(),
    ] {
        assert!(
            get("/api/whoami", &refused).starts_with("HTTP/1.1 401"),
            "{refused}"
        );
    }
}
