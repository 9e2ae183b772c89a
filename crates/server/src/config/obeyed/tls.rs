//! TLS: the same keys for every kind of listener, under its own prefix.

use crate::config::key::{Applies::*, Key, key};
use crate::config::value::{Given, Outcome};
use crate::tls::{ClientTlsOptions, CrlCheck, LoginFrom, SanType, TlsOptions};

/// The keys of one kind of listener: the prefix, and where in the configuration they go.
macro_rules! tls_keys {
    ($prefix:expr, $config:ident => $options:expr) => {
        [
            key(
                concat!($prefix, ".certfile"),
                Live,
                "",
                "the server's certificate in PEM, followed by those between it and its root",
                |$config, given| {
                    $options.certfile = Some(given.path());
                    Ok(())
                },
            ),
            key(
                concat!($prefix, ".keyfile"),
                Live,
                "",
                "the certificate's key in PEM, without a password",
                |$config, given| {
                    $options.keyfile = Some(given.path());
                    Ok(())
                },
            ),
            key(
                concat!($prefix, ".cacertfile"),
                Live,
                "",
                "roots that clients' certificates are traced to, in PEM",
                |$config, given| {
                    $options.cacertfile = Some(given.path());
                    Ok(())
                },
            ),
            key(
                concat!($prefix, ".verify"),
                Live,
                "verify_none",
                "`verify_peer` asks clients for a certificate and verifies it, `verify_none` does not",
                |$config, given| {
                    let word = given.one_of(&["verify_peer", "verify_none"])?;
                    $options.verify_peer = word == "verify_peer";
                    Ok(())
                },
            ),
            key(
                concat!($prefix, ".fail_if_no_peer_cert"),
                Live,
                "false",
                "whether clients without a certificate are refused",
                |$config, given| {
                    $options.fail_if_no_peer_cert = given.switch()?;
                    Ok(())
                },
            ),
            key(
                concat!($prefix, ".depth"),
                Live,
                "10",
                "how many certificates may stand between a client's and its root",
                |$config, given| {
                    $options.depth = given.integer(0, 255)?;
                    Ok(())
                },
            ),
            key(
                concat!($prefix, ".versions.$n"),
                Live,
                "",
                "`tlsv1.3` and `tlsv1.2`, which are the default; older ones are left out",
                |$config, given| version(&mut $options, given),
            ),
        ]
    };
}

pub(super) use tls_keys;

/// The first version that is named takes the place of the default.
pub(super) fn version(options: &mut TlsOptions, given: &Given<'_>) -> Outcome {
    let named = &mut options.versions_named;
    name_version(given, named, (&mut options.tls12, &mut options.tls13))
}

/// The same towards whoever is asked.
pub(super) fn client_version(options: &mut ClientTlsOptions, given: &Given<'_>) -> Outcome {
    let named = &mut options.versions_named;
    name_version(given, named, (&mut options.tls12, &mut options.tls13))
}

fn name_version(
    given: &Given<'_>,
    named: &mut bool,
    (tls12, tls13): (&mut bool, &mut bool),
) -> Outcome {
    let version = given.one_of(&["tlsv1.3", "tlsv1.2", "tlsv1.1", "tlsv1"])?;
    if !*named {
        (*tls12, *tls13) = (false, false);
        *named = true;
    }
    match version {
        "tlsv1.3" => *tls13 = true,
        "tlsv1.2" => *tls12 = true,
        _ => {}
    }
    Ok(())
}

/// The keys of TLS towards whoever is asked: the prefix, and where in the configuration they go.
macro_rules! client_tls_keys {
    ($prefix:expr, $config:ident => $options:expr) => {
        [
            key(
                concat!($prefix, ".cacertfile"),
                Restart,
                "",
                "roots that TLS to it believes, in PEM; unless set, the system's",
                |$config, given| {
                    $options.cacertfile = Some(given.path());
                    Ok(())
                },
            ),
            key(
                concat!($prefix, ".certfile"),
                Restart,
                "",
                "the certificate that it is shown, in PEM",
                |$config, given| {
                    $options.certfile = Some(given.path());
                    Ok(())
                },
            ),
            key(
                concat!($prefix, ".keyfile"),
                Restart,
                "",
                "the certificate's key in PEM, without a password",
                |$config, given| {
                    $options.keyfile = Some(given.path());
                    Ok(())
                },
            ),
            key(
                concat!($prefix, ".verify"),
                Restart,
                "verify_peer",
                "`verify_peer` verifies its certificate, `verify_none` believes anybody",
                |$config, given| {
                    let word = given.one_of(&["verify_peer", "verify_none"])?;
                    $options.verify_peer = word == "verify_peer";
                    Ok(())
                },
            ),
            key(
                concat!($prefix, ".sni"),
                Restart,
                "none",
                "the name that its certificate must be for, if it is not the one that is connected to",
                |$config, given| {
                    $options.server_name = Some(given.text()).filter(|name| name != "none");
                    Ok(())
                },
            ),
            key(
                concat!($prefix, ".hostname_verification"),
                Restart,
                "wildcard",
                "`wildcard` and `none`: either way the name is verified, and a wildcard in the certificate counts",
                |_config, given| given.one_of(&["wildcard", "none"]).map(drop),
            ),
            key(
                concat!($prefix, ".versions.$n"),
                Restart,
                "",
                "`tlsv1.3` and `tlsv1.2`, which are the default; older ones are left out",
                |$config, given| client_version(&mut $options, given),
            ),
        ]
    };
}

pub(super) use client_tls_keys;

/// Keys of AMQP's listeners.
pub(super) static KEYS: &[Key] = &{
    let [a, b, c, d, e, f, g] = tls_keys!("ssl_options", config => config.listen.tls);
    [
        a,
        b,
        c,
        d,
        e,
        f,
        g,
        key(
            "ssl_options.crl_check",
            Live,
            "false",
            "whether clients' certificates are looked up in revocation lists: `true` all of the chain, `peer` the \
             client's own, `best_effort` those whose issuer has a list",
            |config, given| {
                config.listen.tls.crl_check =
                    match given.one_of(&["true", "false", "peer", "best_effort"])? {
                        "true" => CrlCheck::All,
                        "peer" => CrlCheck::Peer,
                        "best_effort" => CrlCheck::BestEffort,
                        _ => CrlCheck::Off,
                    };
                Ok(())
            },
        ),
        key(
            "ssl_options.crl_sources.$n",
            Live,
            "",
            "`dir`: revocation lists are in a directory",
            |_, given| given.one_of(&["dir"]).map(drop),
        ),
        key(
            "ssl_options.crl_sources.$n.path",
            Live,
            "",
            "the directory; each of its files holds lists in PEM, or one in DER",
            |config, given| {
                config.listen.tls.crl_dirs.push(given.path());
                Ok(())
            },
        ),
        key(
            "ssl_handshake_timeout",
            Restart,
            "5000",
            "how long a client may take for TLS's handshake, in milliseconds",
            |config, given| {
                config.listen.tls_handshake_timeout_ms = given.integer(1, 1000 * 60 * 60)?;
                Ok(())
            },
        ),
        key(
            "ssl_cert_login_from",
            Restart,
            "distinguished_name",
            "where a certificate names its user, for the mechanism EXTERNAL: `distinguished_name`, `common_name`, \
             `subject_alternative_name`",
            |config, given| {
                let words = [
                    "distinguished_name",
                    "common_name",
                    "subject_alternative_name",
                    "subject_alt_name",
                ];
                config.listen.login_from = match given.one_of(&words)? {
                    "distinguished_name" => LoginFrom::DistinguishedName,
                    "common_name" => LoginFrom::CommonName,
                    _ => LoginFrom::SubjectAlternativeName(SanType::Dns, 0),
                };
                Ok(())
            },
        ),
        key(
            "ssl_cert_login_san_type",
            Restart,
            "dns",
            "which alternative names: `dns`, `ip`, `email`, `uri`, `other_name`",
            |config, given| {
                config.listen.login_san_type =
                    match given.one_of(&["dns", "ip", "email", "uri", "other_name"])? {
                        "ip" => SanType::Ip,
                        "email" => SanType::Email,
                        "uri" => SanType::Uri,
                        "other_name" => SanType::OtherName,
                        _ => SanType::Dns,
                    };
                Ok(())
            },
        ),
        key(
            "ssl_cert_login_san_index",
            Restart,
            "0",
            "which of them, from 0",
            |config, given| {
                config.listen.login_san_index = given.integer(0, 1000)?;
                Ok(())
            },
        ),
    ]
};
