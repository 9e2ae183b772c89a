//! TLS: who is believed, whom a certificate names, and certificates that are exchanged under load.

use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use node::settings::Settings;
use probe::{Client, Event, Options};
use server::Listeners;
use server::tls::{CrlCheck, LoginFrom, SanType, TlsOptions, Whose};

use crate::broker::{Broker, PATIENCE, wait_until};
use crate::pki::{Authority, Files, Pair, expired, params, self_signed};
use crate::tunnel::{config, handshake, tunnel};

fn start(options: TlsOptions, login_from: LoginFrom) -> Broker {
    let listeners = Listeners {
        amqps: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
        tls: options,
        login_from,
        ..Listeners::default()
    };
    let settings = Settings {
        auth_mechanisms: Some(vec!["PLAIN".into(), "EXTERNAL".into()]),
        ..Settings::default()
    };
    Broker::start_with(settings, listeners)
}

fn tls_address(broker: &Broker) -> SocketAddr {
    broker.tls_address.expect("TLS is served")
}

#[test]
fn amqp_is_spoken_over_both_versions_of_tls() {
    let authority = Authority::new("root");
    let files = Files::new(&authority.sign(params("localhost")), &authority);
    let broker = start(files.options(), LoginFrom::default());
    for version in rustls::ALL_VERSIONS {
        let address = tunnel(tls_address(&broker), config(&authority, &[], &[version]));
        let mut client = Client::open(address, &Options::default()).expect("it is served");
        client.open_channel(1);
        client.call(1, "queue.declare queue=q exclusive");
        client.call(1, "basic.consume queue=q consumer_tag=c no_ack");
        let body: Vec<u8> = (0..3_000_000_u32).map(|n| (n / 7) as u8).collect();
        for _ in 0..5 {
            client
                .send(1, "basic.publish routing_key=q", &body)
                .expect("it is read from");
            match client.next(PATIENCE) {
                Some(Event::Content { body: came, .. }) => assert!(came == body),
                other => panic!("{other:?}"),
            }
        }
        let listed = broker.node.connections.list();
        let facts = listed[0].tls.as_ref().expect("it is listed");
        assert_eq!(
            facts.protocol,
            if *version == &rustls::version::TLS13 {
                "tlsv1.3"
            } else {
                "tlsv1.2"
            }
        );
        client.call(0, "connection.close").expect("it is answered");
    }
    // Whoever speaks no TLS there does no harm.
    let mut plain = Client::connect(tls_address(&broker)).expect("it is accepted");
    plain
        .send_bytes(b"AMQP\0\0\x09\x01AMQP\0\0\x09\x01")
        .expect("sent");
    crate::broker::read_to_end(&mut plain);
    broker.serve_a_healthy_client();
}

#[test]
fn clients_refuse_servers_they_cannot_believe() {
    let authority = Authority::new("root");
    let cases: [(&str, Pair, &'static str); 4] = [
        ("expired", authority.sign(expired("localhost")), "localhost"),
        (
            "another host",
            authority.sign(params("elsewhere.example")),
            "localhost",
        ),
        (
            "signed by itself",
            self_signed(params("localhost")),
            "localhost",
        ),
        (
            "signed by others",
            Authority::new("other").sign(params("localhost")),
            "localhost",
        ),
    ];
    let files = Files::new(&authority.sign(params("localhost")), &authority);
    let good = start(files.options(), LoginFrom::default());
    assert!(
        handshake(
            tls_address(&good),
            config(&authority, &[], &[]),
            "localhost"
        )
        .is_ok()
    );
    drop(good);
    for (what, server, host) in cases {
        let files = Files::new(&server, &authority);
        let broker = start(files.options(), LoginFrom::default());
        let refused = handshake(tls_address(&broker), config(&authority, &[], &[]), host);
        assert!(refused.is_err(), "{what}");
        // RabbitMQ's users test with this one.
        assert!(!s_client_believes(tls_address(&broker), &files), "{what}");
        broker.serve_a_healthy_client();
    }
}

/// What `openssl s_client` says to the server's certificate.
fn s_client_believes(address: SocketAddr, files: &Files) -> bool {
    let output = Command::new("openssl")
        .args(["s_client", "-connect", &address.to_string(), "-CAfile"])
        .arg(files.path("ca.pem"))
        .args([
            "-verify_return_error",
            "-verify_hostname",
            "localhost",
            "-brief",
        ])
        .stdin(Stdio::null())
        .output()
        .expect("openssl is installed");
    output.status.success()
}

#[test]
fn openssl_believes_us() {
    let authority = Authority::new("root");
    let files = Files::new(&authority.sign(params("localhost")), &authority);
    let broker = start(files.options(), LoginFrom::default());
    assert!(s_client_believes(tls_address(&broker), &files));
}

#[test]
fn clients_certificates_are_verified() {
    let authority = Authority::new("root");
    let files = Files::new(&authority.sign(params("localhost")), &authority);
    let intermediate = authority.intermediate("between");
    std::fs::create_dir(files.path("crl")).expect("a directory");
    std::fs::write(files.path("crl/list.pem"), authority.revoke(9)).expect("written");
    let verify = |required: bool| TlsOptions {
        verify_peer: true,
        fail_if_no_peer_cert: required,
        ..files.options()
    };
    let crl = TlsOptions {
        crl_check: CrlCheck::All,
        crl_dirs: vec![files.path("crl")],
        ..verify(true)
    };
    let serial = |serial: u64| {
        let mut params = params("hare");
        params.serial_number = Some(serial.into());
        authority.sign(params)
    };
    let through = intermediate.sign(params("hare"));
    let between = Pair {
        certificate: intermediate.certificate.clone(),
        key: rcgen::KeyPair::generate().expect("a key"),
    };
    let shallow = TlsOptions {
        depth: 0,
        ..verify(true)
    };
    let (good, foreign) = (serial(7), Authority::new("other").sign(params("hare")));
    let (late, own) = (authority.sign(expired("hare")), self_signed(params("hare")));
    let revoked = serial(9);
    let cases: [(&str, TlsOptions, Vec<&Pair>, bool); 13] = [
        ("nobody asks", files.options(), vec![], true),
        (
            "nobody asks, and one is shown",
            files.options(),
            vec![&foreign],
            true,
        ),
        ("asked, not required", verify(false), vec![], true),
        ("required", verify(true), vec![], false),
        ("a good one", verify(true), vec![&good], true),
        ("of others", verify(true), vec![&foreign], false),
        (
            "of others, not required",
            verify(false),
            vec![&foreign],
            false,
        ),
        ("expired", verify(true), vec![&late], false),
        ("signed by itself", verify(true), vec![&own], false),
        (
            "through another",
            verify(true),
            vec![&through, &between],
            true,
        ),
        (
            "through another, too deep",
            shallow,
            vec![&through, &between],
            false,
        ),
        ("not revoked", crl.clone(), vec![&good], true),
        ("revoked", crl, vec![&revoked], false),
    ];
    for (what, options, shown, expected) in cases {
        for version in rustls::ALL_VERSIONS {
            let broker = start(options.clone(), LoginFrom::default());
            let outcome = handshake(
                tls_address(&broker),
                config(&authority, &shown, &[version]),
                "localhost",
            );
            assert_eq!(outcome.is_ok(), expected, "{what}: {outcome:?}");
        }
    }
}

#[test]
fn a_certificate_names_its_user() {
    let authority = Authority::new("root");
    let files = Files::new(&authority.sign(params("localhost")), &authority);
    let options = TlsOptions {
        verify_peer: true,
        ..files.options()
    };
    let shown = authority.sign(params("hare"));
    let san = LoginFrom::SubjectAlternativeName;
    for (login_from, expected) in [
        (LoginFrom::DistinguishedName, "O=hares\\, and co,CN=hare"),
        (LoginFrom::CommonName, "hare"),
        (san(SanType::Dns, 0), "hare"),
        (san(SanType::Email, 0), "hare@example.org"),
        (san(SanType::Email, 1), ""),
        (san(SanType::Uri, 0), ""),
    ] {
        let broker = start(options.clone(), login_from);
        let external = Options {
            mechanism: "EXTERNAL".into(),
            response: Some(Vec::new()),
            ..Options::default()
        };
        let address = tunnel(tls_address(&broker), config(&authority, &[&shown], &[]));
        assert!(
            Client::open(address, &external).is_err(),
            "{login_from:?}: there is no such user yet"
        );
        if expected.is_empty() {
            continue;
        }
        let identities = &broker.node.identities;
        identities
            .add_user(expected, node::identities::NewPassword::None, Vec::new())
            .expect("added");
        let all = metadata::identity::Permissions::parse(".*", ".*", ".*").expect("patterns");
        identities
            .set_permissions(expected, &"/".into(), all)
            .expect("set");
        let _client = Client::open(address, &external)
            .unwrap_or_else(|error| panic!("{login_from:?}: {error}"));
        let listed = broker.node.connections.list();
        assert_eq!(&*listed[0].user, expected);
        assert_eq!(listed[0].auth_mechanism, "EXTERNAL");
        // Without a certificate the mechanism is not there.
        let bare = tunnel(tls_address(&broker), config(&authority, &[], &[]));
        assert!(Client::open(bare, &external).is_err());
    }
}

#[test]
fn certificates_are_exchanged_under_load() {
    let authority = Authority::new("root");
    let first = authority.sign(params("localhost"));
    let files = Files::new(&first, &authority);
    let broker = start(files.options(), LoginFrom::default());
    let address = tls_address(&broker);
    let believing = || config(&authority, &[], &[]);
    let served = || handshake(address, believing(), "localhost").expect("it is served");
    assert_eq!(served(), first.certificate.der().to_vec());

    let through = tunnel(address, believing());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let load = scope.spawn(|| publish_and_consume(through, &done));
        let mut newest = first;
        for round in 0..5 {
            let second = authority.sign(params("localhost"));
            files.put(&second);
            wait_until("the new certificate is served", || {
                served() == second.certificate.der().to_vec()
            });
            newest = second;
            // What is broken is refused, and the old one stays.
            let broken = match round {
                0 => authority.sign(expired("localhost")),
                _ => Pair {
                    certificate: authority.sign(params("localhost")).certificate,
                    key: rcgen::KeyPair::generate().expect("a key"),
                },
            };
            files.put(&broken);
            let tls = broker.tls.as_ref().expect("TLS is served");
            assert!(!tls.check_files());
            files.write("cert.pem", "no certificate");
            assert!(!tls.check_files());
            assert_eq!(served(), newest.certificate.der().to_vec());
        }
        done.store(true, Ordering::SeqCst);
        let (published, consumed) = load.join().expect("no message is lost");
        assert!(0 < published);
        assert_eq!(published, consumed);
        drop(newest);
    });
}

/// One client that publishes with confirms and consumes what it published, until `done`; how many went and came.
fn publish_and_consume(address: SocketAddr, done: &AtomicBool) -> (u64, u64) {
    let mut client = Client::open(address, &Options::default()).expect("it is served");
    client.open_channel(1);
    client.call(1, "queue.declare queue=load exclusive");
    client.call(1, "confirm.select");
    client.call(1, "basic.consume queue=load consumer_tag=c no_ack");
    let (mut published, mut consumed, mut confirmed) = (0_u64, 0_u64, 0_u64);
    while !done.load(Ordering::SeqCst) || consumed < published || confirmed < published {
        if !done.load(Ordering::SeqCst) && published < consumed + 100 {
            let body = published.to_be_bytes();
            client
                .send(1, "basic.publish routing_key=load", &body)
                .expect("it is read from");
            published += 1;
            if published % 50 != 0 {
                continue;
            }
        }
        match client.next(PATIENCE) {
            Some(Event::Content { body, .. }) => {
                assert_eq!(body, consumed.to_be_bytes(), "in order, none missing");
                consumed += 1;
            }
            Some(event) if event.name() == "basic.ack" => {
                confirmed = event.method().expect("a method").number("delivery_tag");
            }
            other => panic!("{other:?}"),
        }
    }
    (published, consumed)
}

#[test]
fn what_cannot_be_served_is_said() {
    let authority = Authority::new("root");
    let good = authority.sign(params("localhost"));
    let files = Files::new(&good, &authority);
    let error = |options: TlsOptions| {
        let error = server::tls::Tls::load(Whose::AMQP, options)
            .expect_err("it is wrong")
            .to_string();
        error.replace(&files.dir.path().display().to_string(), "DIR")
    };
    let with = |change: fn(&mut TlsOptions)| {
        let mut options = files.options();
        change(&mut options);
        options
    };
    assert_eq!(
        error(TlsOptions::default()),
        "TLS needs ssl_options.certfile"
    );
    assert_eq!(
        error(with(|o| o.keyfile = None)),
        "TLS needs ssl_options.keyfile"
    );
    assert_eq!(
        error(with(|o| (o.cacertfile, o.verify_peer) = (None, true))),
        "TLS needs ssl_options.cacertfile, for ssl_options.verify is verify_peer"
    );
    assert_eq!(
        error(with(|o| (o.tls12, o.tls13) = (false, false))),
        "none of the TLS versions that are named is offered"
    );
    files.write("cert.pem", "nothing");
    assert_eq!(
        error(files.options()),
        "DIR/cert.pem: there is no certificate in it"
    );
    files.put(&good);
    files.write(
        "key.pem",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    assert_eq!(
        error(files.options()),
        "DIR/key.pem: the key is encrypted; only keys without a password can be read"
    );
    std::fs::remove_file(files.path("key.pem")).expect("removed");
    assert_eq!(
        error(files.options()),
        "DIR/key.pem cannot be read: No such file or directory (os error 2)"
    );
}

#[test]
fn who_does_not_finish_the_handshake_is_dropped() {
    let authority = Authority::new("root");
    let files = Files::new(&authority.sign(params("localhost")), &authority);
    let listeners = Listeners {
        amqps: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
        tls: files.options(),
        tls_handshake_timeout_ms: 50,
        ..Listeners::default()
    };
    let broker = Broker::start_with(Settings::default(), listeners);
    let mut silent = Client::connect(tls_address(&broker)).expect("it is accepted");
    assert!(
        silent
            .next(Duration::from_secs(30))
            .is_some_and(|event| event.name() == "eof"),
        "the socket closes"
    );
    broker.serve_a_healthy_client();
}
