//! Certificates of all kinds, and the files they are read from.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams, DnType,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
    date_time_ymd,
};
use server::tls::TlsOptions;

/// Somebody who signs certificates.
pub(crate) struct Authority {
    pub(crate) certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
pub(crate) struct Pair {
    pub(crate) certificate: Certificate,
    pub(crate) key: KeyPair,
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

fn authority_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).expect("names");
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// A certificate for a host, from now for a while, with a subject of its own.
pub(crate) fn params(host: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![host.to_owned()]).expect("names");
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, host);
    params
        .distinguished_name
        .push(DnType::OrganizationName, "hares, and co");
    params.subject_alt_names.push(SanType::Rfc822Name(
        "hare@example.org".try_into().expect("ASCII"),
    ));
    params.serial_number = Some(SerialNumber::from(7_u64));
    params
}

/// The same, but over since long.
pub(crate) fn expired(host: &str) -> CertificateParams {
    let mut params = params(host);
    (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(2001, 1, 1));
    params
}

impl Authority {
    /// One that nobody else has signed.
    pub(crate) fn new(name: &str) -> Authority {
        let (params, key) = (authority_params(name), key());
        let certificate = params.self_signed(&key).expect("signed");
        let issuer = Issuer::new(params, key);
        Authority {
            certificate,
            issuer,
        }
    }

    /// One that this one has signed.
    pub(crate) fn intermediate(&self, name: &str) -> Authority {
        let (params, key) = (authority_params(name), key());
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        let issuer = Issuer::new(params, key);
        Authority {
            certificate,
            issuer,
        }
    }

    pub(crate) fn sign(&self, params: CertificateParams) -> Pair {
        let key = key();
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        Pair { certificate, key }
    }

    /// A list of revoked certificates with this serial number in it.
    pub(crate) fn revoke(&self, serial: u64) -> String {
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(2100, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: vec![RevokedCertParams {
                serial_number: SerialNumber::from(serial),
                revocation_time: date_time_ymd(2020, 1, 1),
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer).expect("signed");
        list.pem().expect("text")
    }
}

/// A certificate that its own key has signed.
pub(crate) fn self_signed(params: CertificateParams) -> Pair {
    let key = key();
    let certificate = params.self_signed(&key).expect("signed");
    Pair { certificate, key }
}

/// The files of a server.
pub(crate) struct Files {
    pub(crate) dir: tempfile::TempDir,
}

impl Files {
    pub(crate) fn new(server: &Pair, authority: &Authority) -> Files {
        let dir = tempfile::tempdir().expect("a directory");
        let files = Files { dir };
        files.put(server);
        files.write("ca.pem", &authority.certificate.pem());
        files
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        // As careful programs do it: a new file takes the old one's name.
        let new = self.path("new");
        std::fs::write(&new, text).expect("written");
        std::fs::rename(new, self.path(name)).expect("renamed");
    }

    /// Exchanges the server's certificate and key.
    pub(crate) fn put(&self, server: &Pair) {
        self.write("key.pem", &server.key.serialize_pem());
        self.write("cert.pem", &server.certificate.pem());
    }

    pub(crate) fn options(&self) -> TlsOptions {
        let path = |name: &str| Some(Path::new(&self.path(name)).to_owned());
        TlsOptions {
            certfile: path("cert.pem"),
            keyfile: path("key.pem"),
            cacertfile: path("ca.pem"),
            ..TlsOptions::default()
        }
    }
}
