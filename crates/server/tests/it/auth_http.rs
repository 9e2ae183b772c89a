//! Permissions that an HTTP service decides: what it is asked, and what becomes of its answers.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use probe::{Client, OpenError, Options};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use server::auth::{AuthOptions, Backend, CacheOptions, HttpOptions, Link};
use server::tls::ClientTlsOptions;
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use crate::broker::{Broker, wait_until};
use crate::pki::{Authority, Files, params};
use crate::service::{Service, ask, get};

const HTTP: Link = Link {
    authn: Backend::Http,
    authz: Backend::Http,
};

fn options(url: impl Fn(&str) -> String) -> HttpOptions {
    HttpOptions {
        user_path: url("/user"),
        vhost_path: url("/vhost"),
        resource_path: url("/resource"),
        topic_path: url("/topic"),
        ..HttpOptions::default()
    }
}

/// A service that allows everything.
pub(crate) fn service() -> Service {
    let service = Service::new();
    service.set("/user", "allow management Policymaker");
    for path in ["/vhost", "/resource", "/topic"] {
        service.set(path, "allow");
    }
    service
}

fn start_with(http: HttpOptions, links: Vec<Link>, cache: CacheOptions) -> Broker {
    Broker::with_auth(AuthOptions {
        links,
        http,
        cache,
        ..AuthOptions::default()
    })
}

/// A broker that asks it everything.
pub(crate) fn start(service: &Service) -> Broker {
    let http = options(|path| service.url(path));
    start_with(http, vec![HTTP], CacheOptions::default())
}

/// The code and text of the channel's end that a method brings.
fn refusal(client: &mut Client, method: &str) -> String {
    let answer = client.call(1, method).expect("an answer");
    let close = answer.method().expect("a method");
    assert_eq!(answer.name(), "channel.close", "{method}");
    close.text("reply_text").to_owned()
}

#[test]
fn the_service_is_asked_as_rabbitmq_asks_it() {
    for post in [false, true] {
        let service = service();
        let http = HttpOptions {
            post,
            ..options(|path| service.url(path))
        };
        let broker = start_with(http, vec![HTTP], CacheOptions::default());
        let mut client = broker.log_in("ann", "p").expect("it is let in");
        for method in [
            "queue.declare queue=a&b",
            "exchange.declare exchange=t type=topic",
            "queue.bind queue=a&b exchange=t routing_key=x.y",
        ] {
            let answer = client.call(1, method).expect("an answer");
            assert!(answer.name().ends_with("-ok"), "{}", answer.name());
        }
        let published = client.send(1, "basic.publish routing_key=a&b", b"m");
        published.expect("it is read from");
        let answer = client.call(1, "basic.get queue=a&b").expect("an answer");
        assert_eq!(answer.name(), "basic.get-ok");
        let tags = "tags=management+policymaker";
        let asked: Vec<String> = service
            .asked()
            .into_iter()
            .map(|(path, form)| format!("{path} {form}"))
            .collect();
        let resource = |kind: &str, name: &str, permission: &str| {
            format!(
                "/resource username=ann&vhost=%2F&resource={kind}&name={name}&permission={permission}&{tags}"
            )
        };
        assert_eq!(
            asked,
            [
                "/user username=ann&password=p".to_owned(),
                format!("/vhost username=ann&vhost=%2F&ip=127.0.0.1&{tags}"),
                resource("queue", "a%26b", "configure"),
                resource("exchange", "t", "configure"),
                resource("queue", "a%26b", "write"),
                resource("exchange", "t", "read"),
                format!(
                    "/topic username=ann&vhost=%2F&resource=topic&name=t&permission=read&{tags}&routing_key=x.y\
                     &variable_map.username=ann&variable_map.vhost=%2F"
                ),
                resource("exchange", "amq.default", "write"),
                resource("queue", "a%26b", "read"),
            ]
        );
    }
}

#[test]
fn what_a_service_does_wrong_is_a_no_in_rabbitmqs_words() {
    let service = service();
    let broker = start(&service);
    let get = "basic.get queue=q";
    let said = "ACCESS_REFUSED - read access to queue 'q' in vhost '/' refused for user 'ann'";
    for (status, answer, why) in [
        (200, "deny", ""),
        (200, "deny for a reason", ""),
        (
            500,
            "oops",
            ", backend rabbit_auth_backend_http returned an error: {500,\"oops\"}",
        ),
        (
            404,
            "",
            ", backend rabbit_auth_backend_http returned an error: {404,[]}",
        ),
        (
            200,
            "perhaps",
            ", backend rabbit_auth_backend_http returned an error: {bad_response,\"perhaps\"}",
        ),
        (
            200,
            "allow tag",
            ", backend rabbit_auth_backend_http returned an error: {bad_response,\"allow tag\"}",
        ),
    ] {
        service.set_with("/resource", status, answer);
        let mut client = broker.log_in("ann", "p").expect("it is let in");
        assert_eq!(
            refusal(&mut client, get),
            format!("{said}{why}"),
            "{answer}"
        );
    }
    service.set_with("/vhost", 500, "oops");
    let Err(OpenError::Unexpected { got, .. }) = broker.log_in("ann", "p") else {
        panic!("it is not let in");
    };
    let close = got.method().expect("a method");
    let expected = "NOT_ALLOWED - access to vhost '/' refused for user 'ann', backend rabbit_auth_backend_http \
                    returned an error: {500,\"oops\"}";
    assert_eq!(close.text("reply_text"), expected);
}

#[test]
fn a_service_may_say_why() {
    let service = service();
    let http = HttpOptions {
        discloses: true,
        ..options(|path| service.url(path))
    };
    let broker = start_with(http, vec![HTTP], CacheOptions::default());
    service.set("/resource", "deny the owner is away");
    let mut client = broker.log_in("ann", "p").expect("it is let in");
    assert_eq!(
        refusal(&mut client, "basic.get queue=q"),
        "ACCESS_REFUSED - read access to queue 'q' in vhost '/' refused for user 'ann' by backend \
         rabbit_auth_backend_http: the owner is away"
    );
}

#[test]
fn a_service_that_is_down_keeps_nobody_waiting() {
    let service = service();
    // Nobody listens where this one did.
    let gone = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = gone.local_addr().expect("an address").port();
    drop(gone);
    let http = HttpOptions {
        resource_path: format!("http://127.0.0.1:{port}/resource"),
        ..options(|path| service.url(path))
    };
    let broker = start_with(http, vec![HTTP], CacheOptions::default());
    let mut client = broker.log_in("ann", "p").expect("it is let in");
    let text = refusal(&mut client, "basic.get queue=q");
    let whole = format!(
        "ACCESS_REFUSED - read access to queue 'q' in vhost '/' refused for user 'ann', backend \
         rabbit_auth_backend_http returned an error: {{failed_connect,[{{to_address,{{\"127.0.0.1\",{port}}}}},\
         {{inet,[inet],econnrefused}}]}}"
    );
    assert_eq!(text, whole);
}

#[test]
fn a_service_that_is_slow_keeps_nobody_waiting_for_long() {
    let service = service();
    let http = HttpOptions {
        timeout_ms: 300,
        ..options(|path| service.url(path))
    };
    let broker = start_with(http, vec![HTTP], CacheOptions::default());
    let mut client = broker.log_in("ann", "p").expect("it is let in");
    service.hold(true);
    let text = refusal(&mut client, "basic.get queue=q");
    service.hold(false);
    let end = ", backend rabbit_auth_backend_http returned an error: timeout";
    assert!(text.ends_with(end), "{text}");
}

#[test]
fn who_waits_for_the_service_holds_up_nobody_else() {
    let service = service();
    let http = options(|path| service.url(path));
    let internal = Link {
        authn: Backend::Internal,
        authz: Backend::Internal,
    };
    let broker = start_with(http, vec![internal, HTTP], CacheOptions::default());
    let clients: Vec<Client> = (0..20)
        .map(|n| broker.log_in(&format!("u{n}"), "p").expect("it is let in"))
        .collect();
    let before = service.asked().len();
    service.hold(true);
    std::thread::scope(|scope| {
        let waiting: Vec<_> = clients
            .into_iter()
            .map(|mut client| {
                scope.spawn(move || {
                    client
                        .call(1, "queue.declare queue=q")
                        .map(|e| e.name().to_owned())
                })
            })
            .collect();
        wait_until("all are asked for", || service.asked().len() == before + 20);
        for _ in 0..10 {
            broker.serve_a_healthy_client();
        }
        service.hold(false);
        for waiting in waiting {
            let answer = waiting.join().expect("no panic");
            assert_eq!(answer.as_deref(), Some("queue.declare-ok"));
        }
    });
}

#[test]
fn answers_on_permissions_are_cached_too() {
    for refusals in [false, true] {
        let service = service();
        let http = options(|path| service.url(path));
        let cached = Link {
            authn: Backend::Cache,
            authz: Backend::Cache,
        };
        let cache = CacheOptions {
            link: HTTP,
            ttl_ms: 1000 * 60 * 60,
            refusals,
        };
        let broker = start_with(http, vec![cached], cache);
        for _ in 0..3 {
            let mut client = broker.log_in("ann", "p").expect("it is let in");
            let declared = client.call(1, "queue.declare queue=q").expect("an answer");
            assert_eq!(declared.name(), "queue.declare-ok");
        }
        let asked: Vec<String> = service.asked().into_iter().map(|(path, _)| path).collect();
        assert_eq!(asked, ["/user", "/vhost", "/resource"]);
        // Refusals only if wanted, failures never.
        for (answer, status, remembered) in [("deny", 200, refusals), ("", 500, false)] {
            service.set_with("/resource", status, answer);
            let queue = format!("queue.purge queue=q{status}");
            let before = service.asked().len();
            for _ in 0..3 {
                refusal(
                    &mut broker.log_in("ann", "p").expect("it is let in"),
                    &queue,
                );
            }
            let more = service.asked().len() - before;
            assert_eq!(more, if remembered { 1 } else { 3 }, "{answer} {status}");
        }
    }
}

#[test]
fn one_says_who_another_what() {
    let service = service();
    let link = |authn, authz| Link { authn, authz };
    for (links, user, asked, tags) in [
        (
            link(Backend::Http, Backend::Internal),
            "guest",
            vec!["/user"],
            "management policymaker administrator",
        ),
        (
            link(Backend::Internal, Backend::Http),
            "guest",
            vec!["/user", "/vhost"],
            "administrator",
        ),
        (
            link(Backend::Http, Backend::Cache),
            "guest",
            vec!["/user", "/user", "/vhost"],
            "management policymaker",
        ),
        (
            link(Backend::Cache, Backend::Internal),
            "guest",
            vec!["/user"],
            "management policymaker administrator",
        ),
    ] {
        let http = options(|path| service.url(path));
        let cache = CacheOptions {
            link: HTTP,
            ..CacheOptions::default()
        };
        let broker = start_with(http, vec![links], cache);
        let before = service.asked().len();
        let password = match links.authn {
            Backend::Internal => "guest",
            _ => "p",
        };
        let options = Options {
            user: user.into(),
            password: password.into(),
            ..Options::default()
        };
        Client::open(broker.address, &options).expect("it is let in");
        let paths: Vec<String> = service.asked().into_iter().map(|(path, _)| path).collect();
        assert_eq!(paths[before..], asked, "{links:?}");
        let basic = if password == "p" {
            "Basic Z3Vlc3Q6cA=="
        } else {
            crate::service::GUEST
        };
        let whoami = get(
            broker.management.0.expect("it is served"),
            "/api/whoami",
            basic,
        );
        let expected = format!("[\"{}\"]", tags.replace(' ', "\",\""));
        assert!(whoami.contains(&expected), "{links:?}: {whoami}");
        // Who says what must know the user, too.
        if links.authz == Backend::Internal {
            assert!(broker.log_in("stranger", "p").is_err());
        }
    }
}

/// `ann:p`, whom only the service knows.
const ANN: &str = "Basic YW5uOnA=";

#[test]
fn the_management_api_asks_for_its_users_too() {
    let service = service();
    let broker = start(&service);
    let address = broker.management.0.expect("it is served");
    let status = |method: &str, path: &str, body: &str| ask(address, method, path, ANN, body).0;
    assert_eq!(status("PUT", "/api/queues/%2F/q", "{}"), 201);
    assert_eq!(status("GET", "/api/queues/%2F/q", ""), 200);
    let publish = "{\"routing_key\":\"x\",\"payload\":\"\",\"payload_encoding\":\"string\",\
                   \"properties\":{\"headers\":{\"CC\":[\"y\"]}}}";
    assert_eq!(
        status("POST", "/api/exchanges/%2F/amq.topic/publish", publish),
        200
    );
    // No administrator.
    assert_eq!(status("GET", "/api/users", ""), 401);
    let asked = service.asked();
    let has = |path: &str, part: &str| {
        let fits = |(asked, form): &(String, String)| asked == path && form.contains(part);
        asked.iter().any(fits)
    };
    assert!(has("/vhost", "ip=127.0.0.1&tags=management+policymaker"));
    assert!(has(
        "/resource",
        "resource=queue&name=q&permission=configure"
    ));
    assert!(has("/topic", "routing_key=x&") && has("/topic", "routing_key=y&"));
    service.set("/topic", "deny");
    assert_eq!(
        status("POST", "/api/exchanges/%2F/amq.topic/publish", publish),
        400
    );
    service.set("/resource", "deny");
    assert_eq!(status("DELETE", "/api/queues/%2F/q", ""), 401);
    service.set("/vhost", "deny");
    assert_eq!(status("GET", "/api/queues/%2F/q", ""), 404);
    assert_eq!(
        ask(address, "GET", "/api/queues", ANN, ""),
        (200, "[]".into())
    );
    assert_eq!(
        ask(address, "GET", "/api/vhosts", ANN, ""),
        (200, "[]".into())
    );
    // A service that fails lets nobody in.
    service.set_with("/user", 500, "");
    assert_eq!(status("GET", "/api/whoami", ""), 401);
}

/// Hands on to `plain` what comes over TLS; the port.
fn over_tls(plain: SocketAddr, authority: &Authority, asks_for_certificate: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    listener.set_nonblocking(true).expect("it can be");
    let pair = authority.sign(params("localhost"));
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("versions");
    let mut roots = RootCertStore::empty();
    roots
        .add(authority.certificate.der().clone())
        .expect("a root");
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let verifier = verifier.build().expect("a verifier");
    let builder = match asks_for_certificate {
        true => builder.with_client_cert_verifier(verifier),
        false => builder.with_no_client_auth(),
    };
    let key = PrivateKeyDer::try_from(pair.key.serialize_der()).expect("a key");
    let config = builder.with_single_cert(vec![pair.certificate.der().clone()], key);
    let acceptor = TlsAcceptor::from(Arc::new(config.expect("they belong together")));
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime").block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            while let Ok((socket, _)) = listener.accept().await {
                let Ok(mut tls) = acceptor.accept(socket).await else {
                    continue;
                };
                let mut onward = TcpStream::connect(plain).await.expect("it listens");
                let _ = copy_bidirectional(&mut tls, &mut onward).await;
            }
        });
    });
    port
}

#[test]
fn the_service_may_speak_tls() {
    let (authority, other) = (Authority::new("root"), Authority::new("root"));
    let files = Files::new(&authority.sign(params("client")), &authority);
    files.write("other.pem", &other.certificate.pem());
    let believes = |name: &str| ClientTlsOptions {
        cacertfile: Some(files.path(name)),
        ..ClientTlsOptions::default()
    };
    let service = service();
    for (what, tls, asks, welcome) in [
        ("its root", believes("ca.pem"), false, true),
        ("another root", believes("other.pem"), false, false),
        (
            "another root, believed all the same",
            ClientTlsOptions {
                verify_peer: false,
                ..believes("other.pem")
            },
            false,
            true,
        ),
        (
            "another name",
            ClientTlsOptions {
                server_name: Some("elsewhere".into()),
                ..believes("ca.pem")
            },
            false,
            false,
        ),
        ("no certificate of ours", believes("ca.pem"), true, false),
        (
            "a certificate of ours",
            ClientTlsOptions {
                certfile: Some(files.path("cert.pem")),
                keyfile: Some(files.path("key.pem")),
                ..believes("ca.pem")
            },
            true,
            true,
        ),
    ] {
        let port = over_tls(service.address(), &authority, asks);
        let http = HttpOptions {
            tls,
            ..options(|path| format!("https://localhost:{port}{path}"))
        };
        let broker = start_with(http, vec![HTTP], CacheOptions::default());
        assert_eq!(broker.log_in("ann", "p").is_ok(), welcome, "{what}");
    }
}
