//! HTTP over TLS: the management API and the metrics, and clients there that do not behave.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use node::settings::Settings;
use server::fetch::Client;
use server::tls::{Tls, TlsOptions};
use server::{HttpAddresses, Listeners};

use crate::broker::{Broker, PATIENCE, wait_until};
use crate::pki::{Authority, Files, Pair, expired, params};
use crate::service::{GUEST, get, request};
use crate::tunnel::{config, handshake, tunnel};

fn over_tls(tls: TlsOptions) -> HttpAddresses {
    HttpAddresses {
        over_tls: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
        tls,
        ..HttpAddresses::default()
    }
}

fn start(management: HttpAddresses) -> (Broker, SocketAddr) {
    let listeners = Listeners {
        management,
        ..Listeners::default()
    };
    let broker = Broker::start_with(Settings::default(), listeners);
    let address = broker.management.1.expect("it is served");
    (broker, address)
}

#[test]
fn the_management_api_is_served_over_tls() {
    let authority = Authority::new("root");
    let files = Files::new(&authority.sign(params("localhost")), &authority);
    let (_broker, address) = start(over_tls(TlsOptions {
        verify_peer: true,
        fail_if_no_peer_cert: true,
        ..files.options()
    }));
    let shown = authority.sign(params("hare"));
    assert!(handshake(address, config(&authority, &[], &[]), "localhost").is_err());
    let through = tunnel(address, config(&authority, &[&shown], &[]));
    let answer = get(through, "/api/whoami", GUEST);
    assert!(
        answer.starts_with("HTTP/1.1 200 OK") && answer.contains("\"guest\""),
        "{answer}"
    );
    let listed = get(through, "/api/overview", GUEST);
    assert!(
        listed.contains(r#""protocol":"https""#) && listed.contains(r#""tls":true"#),
        "{listed}"
    );
    // Everything ends within three thousand years, the roots of clients' certificates, too.
    let path = "/api/health/checks/certificate-expiration/3000/years";
    let ending = get(through, path, GUEST);
    assert!(ending.starts_with("HTTP/1.1 503"), "{ending}");
    assert!(
        ending.contains(r#""cacertfile_expires_on":["4096-"#),
        "{ending}"
    );
}

/// What `leveret import --from https://...` asks.
#[test]
fn definitions_are_fetched_from_whom_the_authority_vouches_for() {
    let authority = Authority::new("root");
    let files = Files::new(&authority.sign(params("localhost")), &authority);
    let stranger = Authority::new("root");
    files.write("stranger.pem", &stranger.certificate.pem());
    let (_broker, address) = start(over_tls(files.options()));
    let fetch = |ca: &str, host: &str, authorization: &str| {
        let client = Client::new(Some(&files.path(ca)), PATIENCE).expect("certificates");
        let url = format!("https://{host}:{}/api/definitions", address.port());
        let authorization = Some(authorization.to_owned());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let fetched = client.definitions(&url, authorization);
        runtime.expect("a runtime").block_on(fetched)
    };
    let definitions = fetch("ca.pem", "localhost", GUEST).expect("they are fetched");
    let definitions: serde_json::Value = serde_json::from_slice(&definitions).expect("JSON");
    assert_eq!(definitions["users"][0]["name"], "guest");
    for (ca, host, authorization, said) in [
        ("stranger.pem", "localhost", GUEST, "certificate"),
        ("ca.pem", "127.0.0.1", GUEST, "certificate"),
        ("ca.pem", "localhost", "Basic Z3Vlc3Q6bm8=", "401"),
    ] {
        let error = fetch(ca, host, authorization).expect_err("refused");
        assert!(error.contains(said), "{error}");
    }
    assert!(Client::new(Some(&files.path("nope.pem")), PATIENCE).is_err());
}

#[test]
fn metrics_are_served_over_tls() {
    let authority = Authority::new("root");
    let files = Files::new(&authority.sign(params("localhost")), &authority);
    let listeners = Listeners {
        metrics: over_tls(files.options()),
        ..Listeners::default()
    };
    let broker = Broker::start_with(Settings::default(), listeners);
    let address = broker.metrics.expect("they are served");
    let through = tunnel(address, config(&authority, &[], &[]));
    let answer = get(through, "/metrics", "");
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(answer.contains("rabbitmq_build_info"), "{answer}");
    let expiry =
        "rabbitmq_tls_certificate_expiry_timestamp_seconds{protocol=\"https/prometheus\",certfile=";
    assert!(answer.contains(expiry), "{answer}");
}

#[test]
fn who_is_slow_in_the_handshake_holds_up_nobody() {
    let authority = Authority::new("root");
    let files = Files::new(&authority.sign(params("localhost")), &authority);
    let (_broker, address) = start(over_tls(files.options()));
    // They wait for ten seconds before they are dropped; whoever comes later must not.
    let silent: Vec<TcpStream> = (0..100)
        .map(|number| {
            let mut socket = TcpStream::connect(address).expect("it listens");
            if number % 2 == 0 {
                // The start of a handshake that is never finished.
                socket.write_all(&[22, 3, 1, 2, 0, 1]).expect("sent");
            }
            socket
        })
        .collect();
    let through = tunnel(address, config(&authority, &[], &[]));
    assert!(get(through, "/api/whoami", GUEST).starts_with("HTTP/1.1 200 OK"));
    for mut socket in silent {
        socket.set_nonblocking(true).expect("it can be");
        let error = socket.read(&mut [0; 16]).expect_err("it waits still");
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
    }
}

#[test]
fn certificates_are_exchanged_without_dropping_a_connection() {
    let authority = Authority::new("root");
    let first = authority.sign(params("localhost"));
    let files = Files::new(&first, &authority);
    let (_broker, address) = start(over_tls(files.options()));
    let served = || handshake(address, config(&authority, &[], &[]), "localhost");
    assert_eq!(served(), Ok(first.certificate.der().to_vec()));

    let through = tunnel(address, config(&authority, &[], &[]));
    let mut living = TcpStream::connect(through).expect("it listens");
    let mut ask = || {
        let question =
            format!("GET /api/whoami HTTP/1.1\r\nhost: h\r\nauthorization: {GUEST}\r\n\r\n");
        living.write_all(question.as_bytes()).expect("sent");
        let mut answer = Vec::new();
        while !answer.ends_with(b"}") {
            let mut part = [0; 1024];
            let count = living.read(&mut part).expect("it lives");
            assert_ne!(count, 0, "it lives");
            answer.extend_from_slice(&part[..count]);
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 OK"));
    };
    ask();
    // The server looks by itself.
    let second = authority.sign(params("localhost"));
    files.put(&second);
    wait_until("the new certificate is served", || {
        served() == Ok(second.certificate.der().to_vec())
    });
    ask();
    files.write("cert.pem", "no certificate");
    assert_eq!(served(), Ok(second.certificate.der().to_vec()));
    ask();
}

/// The same of both, and of a reload that names other files.
#[test]
fn broken_certificates_are_refused_and_the_old_ones_stay() {
    let authority = Authority::new("root");
    let first = authority.sign(params("localhost"));
    let files = Files::new(&first, &authority);
    let listeners = Listeners {
        management: over_tls(files.options()),
        metrics: over_tls(files.options()),
        ..Listeners::default()
    };
    let broker = Broker::start_with(Settings::default(), listeners);
    let addresses = [broker.management.1, broker.metrics].map(|a| a.expect("it is served"));
    let served =
        || addresses.map(|address| handshake(address, config(&authority, &[], &[]), "localhost"));
    let shows = |pair: &Pair| {
        let shown = Ok(pair.certificate.der().to_vec());
        assert_eq!(served(), [shown.clone(), shown]);
    };
    let each = |looks: &dyn Fn(&Tls) -> bool| {
        let looked = broker.http_tls.iter();
        let looked = looked.map(|tls| looks(tls.as_ref().expect("TLS is served")));
        looked.collect::<Vec<bool>>()
    };
    shows(&first);
    files.put(&authority.sign(expired("localhost")));
    assert_eq!(each(&|tls| tls.check_files()), [false, false]);
    shows(&first);
    files.write("cert.pem", "no certificate");
    assert_eq!(each(&|tls| tls.check_files()), [false, false]);
    shows(&first);
    // A reload (SIGHUP) that names files which are not there changes nothing either.
    each(&|tls| {
        tls.reload(TlsOptions {
            certfile: Some(files.path("nope.pem")),
            ..files.options()
        });
        true
    });
    shows(&first);
    let second = authority.sign(params("localhost"));
    let others = Files::new(&second, &authority);
    each(&|tls| {
        tls.reload(others.options());
        true
    });
    shows(&second);
}

#[test]
fn who_may_not_is_told_before_the_body_is_read() {
    let (_broker, address) = Broker::with_api();
    // The body that is promised never comes.
    let promised = "content-length: 1000000\r\n";
    let answer = request(address, "POST", "/api/definitions", "Basic eDp4", promised);
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
}
