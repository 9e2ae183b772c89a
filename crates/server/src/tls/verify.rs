//! Whose certificates are believed: roots, revocation lists, and the length of the way between.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
};

use super::{CrlCheck, TlsError, TlsOptions, Whose, files};

/// What verifies clients' certificates.
pub(super) fn verifier(
    whose: Whose,
    options: &TlsOptions,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let keys = whose.keys;
    let cacertfile = options.cacertfile.as_ref().ok_or_else(|| {
        TlsError::Missing(format!(
            "{keys}.cacertfile, for {keys}.verify is verify_peer"
        ))
    })?;
    let mut roots = RootCertStore::empty();
    for root in files::certificates(cacertfile)? {
        roots.add(root).map_err(|error| TlsError::File {
            file: cacertfile.clone(),
            error: error.to_string(),
        })?;
    }
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    if options.crl_check != CrlCheck::Off {
        for dir in &options.crl_dirs {
            builder = builder.with_crls(files::revocation_lists(dir)?);
        }
        match options.crl_check {
            CrlCheck::Peer => builder = builder.only_check_end_entity_revocation(),
            CrlCheck::BestEffort => builder = builder.allow_unknown_revocation_status(),
            CrlCheck::All | CrlCheck::Off => {}
        }
    }
    if !options.fail_if_no_peer_cert {
        builder = builder.allow_unauthenticated();
    }
    let by_roots = builder
        .build()
        .map_err(|error| TlsError::Whole(error.to_string()))?;
    Ok(Arc::new(Verifier {
        whose,
        by_roots,
        depth: options.depth,
    }))
}

/// webpki's verifier, and a limit to the chain's length.
#[derive(Debug)]
struct Verifier {
    whose: Whose,
    by_roots: Arc<dyn ClientCertVerifier>,
    depth: usize,
}

impl ClientCertVerifier for Verifier {
    fn offer_client_auth(&self) -> bool {
        self.by_roots.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.by_roots.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.by_roots.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        // Many clients send their root along; it does not count.
        let between = intermediates.iter().filter(|der| !is_self_issued(der));
        if self.depth < between.count() {
            return Err(Error::InvalidCertificate(CertificateError::Other(
                rustls::OtherError(Arc::new(TlsError::Whole(format!(
                    "the chain is longer than {}.depth = {}",
                    self.whose.keys, self.depth
                )))),
            )));
        }
        self.by_roots
            .verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_roots.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.by_roots.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_roots.supported_verify_schemes()
    }
}

fn is_self_issued(der: &CertificateDer<'_>) -> bool {
    use x509_parser::prelude::FromDer;
    x509_parser::certificate::X509Certificate::from_der(der)
        .is_ok_and(|(_, certificate)| certificate.subject() == certificate.issuer())
}
