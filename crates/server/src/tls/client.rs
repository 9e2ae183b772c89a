//! TLS towards others: services that decide on logins, directories, brokers that are imported from.
//!
//! What a peer shows is traced to the roots of a file or the system's, and must be for the name that was asked for; a
//! wildcard in it counts. Deliberately absent: revocation lists, and passwords of keys.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    SupportedProtocolVersion,
};

use super::{TlsError, files};

/// `ssl_options.*` of whoever is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientTlsOptions {
    /// Roots that the peer's certificate is traced to; the system's if there is no file.
    pub cacertfile: Option<PathBuf>,
    /// Our certificate, for peers that ask for one.
    pub certfile: Option<PathBuf>,
    /// Its key.
    pub keyfile: Option<PathBuf>,
    /// Whether the peer's certificate is verified.
    pub verify_peer: bool,
    /// TLS 1.2 is spoken.
    pub tls12: bool,
    /// TLS 1.3 is spoken.
    pub tls13: bool,
    /// Versions were named: only those hold.
    pub versions_named: bool,
    /// The name that the peer's certificate must be for, if it is not the one that is connected to.
    pub server_name: Option<String>,
}

impl Default for ClientTlsOptions {
    fn default() -> Self {
        ClientTlsOptions {
            cacertfile: None,
            certfile: None,
            keyfile: None,
            verify_peer: true,
            tls12: true,
            tls13: true,
            versions_named: false,
            server_name: None,
        }
    }
}

impl ClientTlsOptions {
    /// Reads the files.
    ///
    /// # Errors
    /// If one cannot be read, or they do not make a whole.
    pub fn load(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let whole = |error: Error| TlsError::Whole(error.to_string());
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut versions: Vec<&'static SupportedProtocolVersion> = Vec::new();
        if self.tls13 {
            versions.push(&rustls::version::TLS13);
        }
        if self.tls12 {
            versions.push(&rustls::version::TLS12);
        }
        if versions.is_empty() {
            return Err(TlsError::Whole(
                "none of the TLS versions that are named is spoken".into(),
            ));
        }
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&versions)
            .map_err(whole)?;
        let builder = if let (true, Some(name)) = (self.verify_peer, &self.server_name) {
            let name = ServerName::try_from(name.clone());
            let name = name.map_err(|error| TlsError::Whole(error.to_string()))?;
            let roots = Arc::new(self.roots()?);
            let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
            let verifier = verifier.map_err(|error| TlsError::Whole(error.to_string()))?;
            let renamed = Renamed { name, verifier };
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(renamed))
        } else if self.verify_peer {
            builder.with_root_certificates(self.roots()?)
        } else {
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Unverified(provider)))
        };
        let config = match (&self.certfile, &self.keyfile) {
            (Some(certfile), Some(keyfile)) => builder
                .with_client_auth_cert(files::certificates(certfile)?, files::key(keyfile)?)
                .map_err(whole)?,
            (None, None) => builder.with_no_client_auth(),
            (Some(_), None) => return Err(TlsError::Missing("keyfile beside certfile".into())),
            (None, Some(_)) => return Err(TlsError::Missing("certfile beside keyfile".into())),
        };
        Ok(Arc::new(config))
    }

    fn roots(&self) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        match &self.cacertfile {
            Some(file) => {
                for certificate in files::certificates(file)? {
                    roots.add(certificate).map_err(|error| TlsError::File {
                        file: file.clone(),
                        error: error.to_string(),
                    })?;
                }
            }
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        Ok(roots)
    }
}

/// Wants a certificate for another name than the one that is connected to.
#[derive(Debug)]
struct Renamed {
    name: ServerName<'static>,
    verifier: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for Renamed {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let (name, verifier) = (&self.name, &self.verifier);
        verifier.verify_server_cert(end_entity, intermediates, name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// Believes any certificate, and that the peer has its key: `verify_none`.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
