//! TLS: the certificate and key that listeners show, whom they believe, and how both are exchanged while connections
//! live on.
//!
//! A [`Tls`] is read from files once and again whenever they change. A connection keeps what it was accepted with;
//! the next one gets what is newest. Files that make no sense are refused, loudly, and what held goes on to hold.
//! Only this module and [`crate::sockets`] know rustls. Deliberately absent: TLS 1.1 and older, renegotiation,
//! and passwords of keys.

mod client;
mod files;
mod identity;
mod verify;

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use tokio_rustls::TlsAcceptor;

pub use client::ClientTlsOptions;
pub(crate) use files::log_time;
pub use identity::{LoginFrom, SanType, subject};

use files::Fingerprint;

/// What a listener is told: `ssl_options.*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsOptions {
    /// The server's certificate, and those between it and its root.
    pub certfile: Option<PathBuf>,
    /// The certificate's key.
    pub keyfile: Option<PathBuf>,
    /// Roots that clients' certificates are traced to.
    pub cacertfile: Option<PathBuf>,
    /// Whether a client is asked for a certificate, and the certificate verified.
    pub verify_peer: bool,
    /// Whether a client without one is refused.
    pub fail_if_no_peer_cert: bool,
    /// How many certificates may stand between a client's and its root.
    pub depth: usize,
    /// TLS 1.2 is offered.
    pub tls12: bool,
    /// TLS 1.3 is offered.
    pub tls13: bool,
    /// Versions were named: only those hold.
    pub versions_named: bool,
    /// Whether clients' certificates are looked up in revocation lists.
    pub crl_check: CrlCheck,
    /// Directories of revocation lists, in PEM or DER.
    pub crl_dirs: Vec<PathBuf>,
}

impl Default for TlsOptions {
    fn default() -> Self {
        TlsOptions {
            certfile: None,
            keyfile: None,
            cacertfile: None,
            verify_peer: false,
            fail_if_no_peer_cert: false,
            depth: 10,
            tls12: true,
            tls13: true,
            versions_named: false,
            crl_check: CrlCheck::Off,
            crl_dirs: Vec::new(),
        }
    }
}

/// Whose TLS it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whose {
    /// What is served, for the log.
    pub name: &'static str,
    /// What its keys of the configuration begin with, for messages that name one.
    pub keys: &'static str,
}

impl Whose {
    /// AMQP's listeners.
    pub const AMQP: Whose = Whose {
        name: "AMQP",
        keys: "ssl_options",
    };
    /// The management API's.
    pub const MANAGEMENT: Whose = Whose {
        name: "the management API",
        keys: "management.ssl",
    };
    /// Those of the metrics.
    pub const METRICS: Whose = Whose {
        name: "the metrics",
        keys: "prometheus.ssl",
    };
}

/// `ssl_options.crl_check`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrlCheck {
    /// Not at all.
    Off,
    /// Every certificate of the chain must be in nobody's list, and its issuer must have one.
    All,
    /// The client's own certificate alone.
    Peer,
    /// As `All`, but an issuer without a list revokes nothing.
    BestEffort,
}

/// Why TLS cannot be served as told.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A key of the configuration is missing.
    #[error("TLS needs {0}")]
    Missing(String),
    /// A file cannot be read.
    #[error("{} cannot be read: {error}", file.display())]
    Read {
        /// Which.
        file: PathBuf,
        /// Why.
        error: String,
    },
    /// A file does not hold what it should.
    #[error("{}: {error}", file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// What is wrong.
        error: String,
    },
    /// The parts do not make a whole.
    #[error("{0}")]
    Whole(String),
}

/// See the module.
#[derive(Debug)]
pub struct Tls {
    whose: Whose,
    current: RwLock<Loaded>,
    told: Mutex<Told>,
}

#[derive(Debug, Clone)]
struct Loaded {
    config: Arc<ServerConfig>,
    /// When the server's certificate ends, in seconds since 1970.
    expires_at_s: i64,
    /// The same of the roots that clients' certificates are traced to.
    roots_expire_at_s: Vec<i64>,
}

#[derive(Debug)]
struct Told {
    options: TlsOptions,
    /// Of the files that were last tried, whether they were any good or not.
    tried: Fingerprint,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// If they are missing or wrong.
    pub fn load(whose: Whose, options: TlsOptions) -> Result<Arc<Tls>, TlsError> {
        let tried = Fingerprint::of(&options);
        let loaded = load(whose, &options)?;
        let now_s = files::now_s();
        if loaded.expires_at_s < now_s {
            tracing::error!(
                "{}: the server's certificate has expired; clients will refuse it",
                whose.name
            );
        }
        Ok(Arc::new(Tls {
            whose,
            current: RwLock::new(loaded),
            told: Mutex::new(Told { options, tried }),
        }))
    }

    /// What accepts the next connection.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.current.read().config))
    }

    /// When the server's certificate ends, in seconds since 1970.
    pub fn expires_at_s(&self) -> i64 {
        self.current.read().expires_at_s
    }

    /// The certificate as it is told to operators.
    pub(crate) fn certificate(&self, protocol: &'static str) -> management::Certificate {
        let Loaded {
            expires_at_s,
            roots_expire_at_s,
            ..
        } = self.current.read().clone();
        let name = |file: &Option<PathBuf>| {
            file.as_ref()
                .map_or_else(String::new, |file| file.display().to_string())
        };
        let told = self.told.lock();
        management::Certificate {
            protocol,
            certfile: name(&told.options.certfile),
            cacertfile: name(&told.options.cacertfile),
            expires_at_s,
            expires_on: files::utc(expires_at_s),
            roots_expire_on: roots_expire_at_s.iter().copied().map(files::utc).collect(),
            roots_expire_at_s: roots_expire_at_s.iter().copied().min(),
        }
    }

    /// Reads the files again if they changed since they were last tried; whether they hold now. What goes wrong is
    /// logged, and what held holds on.
    pub fn check_files(&self) -> bool {
        let options = {
            let told = self.told.lock();
            if told.tried == Fingerprint::of(&told.options) {
                return false;
            }
            told.options.clone()
        };
        self.reload(options)
    }

    /// Reads the files that `options` name, unless they were tried already; whether they hold from now on.
    pub fn reload(&self, options: TlsOptions) -> bool {
        let tried = Fingerprint::of(&options);
        {
            let told = self.told.lock();
            if told.options == options && told.tried == tried {
                return false;
            }
        }
        let loaded = load(self.whose, &options).and_then(|loaded| {
            match loaded.expires_at_s < files::now_s() {
                true => Err(TlsError::Whole("the new certificate has expired".into())),
                false => Ok(loaded),
            }
        });
        let mut told = self.told.lock();
        told.tried = tried;
        match loaded {
            Ok(loaded) => {
                told.options = options;
                *self.current.write() = loaded;
                tracing::info!("{}: the certificate was exchanged", self.whose.name);
                true
            }
            Err(error) => {
                tracing::error!(
                    "{}: the new certificate is refused, the old one goes on to be used: {error}",
                    self.whose.name
                );
                false
            }
        }
    }
}

fn load(whose: Whose, options: &TlsOptions) -> Result<Loaded, TlsError> {
    let missing = |key: &str| TlsError::Missing(format!("{}.{key}", whose.keys));
    let certfile = options.certfile.as_ref();
    let certfile = certfile.ok_or_else(|| missing("certfile"))?;
    let keyfile = options.keyfile.as_ref();
    let keyfile = keyfile.ok_or_else(|| missing("keyfile"))?;
    let chain = files::certificates(certfile)?;
    let key = files::key(keyfile)?;
    let expires_at_s = files::expires_at_s(certfile, &chain)?;
    let mut versions = Vec::new();
    if options.tls13 {
        versions.push(&rustls::version::TLS13);
    }
    if options.tls12 {
        versions.push(&rustls::version::TLS12);
    }
    if versions.is_empty() {
        return Err(TlsError::Whole(
            "none of the TLS versions that are named is offered".into(),
        ));
    }
    let whole = |error: rustls::Error| TlsError::Whole(error.to_string());
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions)
        .map_err(whole)?;
    let builder = if options.verify_peer {
        builder.with_client_cert_verifier(verify::verifier(whose, options, provider)?)
    } else {
        builder.with_no_client_auth()
    };
    let config = builder.with_single_cert(chain, key).map_err(|error| {
        TlsError::Whole(format!(
            "{} and {} do not belong together: {error}",
            certfile.display(),
            keyfile.display()
        ))
    })?;
    // RabbitMQ tells their end whether clients are asked for certificates or not.
    let roots = options.cacertfile.as_deref().map(files::certificates);
    let roots_expire_at_s = match roots {
        Some(Ok(roots)) => files::ends_s(&roots),
        Some(Err(_)) | None => Vec::new(),
    };
    Ok(Loaded {
        config: Arc::new(config),
        expires_at_s,
        roots_expire_at_s,
    })
}
