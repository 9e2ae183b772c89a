//! Certificates, keys and revocation lists in files.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::time::ASN1Time;

use super::{TlsError, TlsOptions};

/// The wall clock: certificates end by it.
pub(super) fn now_s() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    since_1970.map_or(0, |since| since.as_secs() as i64)
}

/// What the files looked like: length and time of each. Names are followed, so that the exchange of a directory's
/// link, as Kubernetes does it, is seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fingerprint(Vec<(PathBuf, Option<Look>)>);

/// A file's real name, length and time.
type Look = (PathBuf, u64, SystemTime);

impl Fingerprint {
    pub(super) fn of(options: &TlsOptions) -> Fingerprint {
        let TlsOptions {
            certfile,
            keyfile,
            cacertfile,
            crl_dirs,
            ..
        } = options;
        let files = [certfile, keyfile, cacertfile]
            .into_iter()
            .flatten()
            .cloned();
        let lists = crl_dirs
            .iter()
            .flat_map(|dir| list(dir).unwrap_or_default());
        let looks = files.chain(lists).map(|file| {
            let look = fs::canonicalize(&file).and_then(|real| {
                let metadata = fs::metadata(&real)?;
                Ok((real, metadata.len(), metadata.modified()?))
            });
            (file, look.ok())
        });
        Fingerprint(looks.collect())
    }
}

fn unreadable(file: &Path, error: impl ToString) -> TlsError {
    TlsError::Read {
        file: file.to_owned(),
        error: error.to_string(),
    }
}

fn wrong(file: &Path, error: impl ToString) -> TlsError {
    TlsError::File {
        file: file.to_owned(),
        error: error.to_string(),
    }
}

fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(file).map_err(|error| unreadable(file, error))
}

/// The certificates of a PEM file, at least one.
pub(super) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read(file)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let found = found.map_err(|error| wrong(file, error))?;
    if found.is_empty() {
        return Err(wrong(file, "there is no certificate in it"));
    }
    Ok(found)
}

/// The key of a PEM file.
pub(super) fn key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let bytes = read(file)?;
    if bytes.windows(9).any(|part| part == b"ENCRYPTED") {
        return Err(wrong(
            file,
            "the key is encrypted; only keys without a password can be read",
        ));
    }
    PrivateKeyDer::from_pem_slice(&bytes)
        .map_err(|error| wrong(file, format!("there is no private key in it: {error}")))
}

/// When each of these certificates ends, in seconds since 1970; what is none is left out.
pub(super) fn ends_s(certificates: &[CertificateDer<'_>]) -> Vec<i64> {
    let ends = certificates.iter().filter_map(|certificate| {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        Some(certificate.validity().not_after.timestamp())
    });
    ends.collect()
}

/// When the first certificate of a chain ends, in seconds since 1970.
pub(super) fn expires_at_s(file: &Path, chain: &[CertificateDer<'_>]) -> Result<i64, TlsError> {
    let first = chain
        .first()
        .ok_or_else(|| wrong(file, "there is no certificate in it"))?;
    let (_, certificate) = X509Certificate::from_der(first).map_err(|error| wrong(file, error))?;
    Ok(certificate.validity().not_after.timestamp())
}

/// A moment in UTC, as RabbitMQ writes it; empty if it is none that a calendar knows.
pub(super) fn utc(at_s: i64) -> String {
    let Ok(at) = ASN1Time::from_timestamp(at_s) else {
        return String::new();
    };
    let at = at.to_datetime();
    let (year, month, day) = (at.year(), u8::from(at.month()), at.day());
    let (hour, minute, second) = at.to_hms();
    format!("{year}-{month:02}-{day:02} {hour}:{minute:02}:{second:02}")
}

/// A moment in UTC, as web servers' logs have it: `02/Jan/2030:03:04:05 +0000`.
pub(crate) fn log_time(at_s: i64) -> String {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let Ok(at) = ASN1Time::from_timestamp(at_s) else {
        return "-".to_owned();
    };
    let at = at.to_datetime();
    let month = MONTHS[usize::from(u8::from(at.month()) - 1)];
    let (hour, minute, second) = at.to_hms();
    let (day, year) = (at.day(), at.year());
    format!("{day:02}/{month}/{year}:{hour:02}:{minute:02}:{second:02} +0000")
}

/// The files of a directory, sorted.
fn list(dir: &Path) -> Result<Vec<PathBuf>, TlsError> {
    let entries = fs::read_dir(dir).map_err(|error| unreadable(dir, error))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .collect();
    files.retain(|file| file.is_file());
    files.sort();
    Ok(files)
}

/// The revocation lists of a directory: each file is PEM, or one list in DER.
pub(super) fn revocation_lists(
    dir: &Path,
) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let mut lists = Vec::new();
    for file in list(dir)? {
        let bytes = read(&file)?;
        if bytes.starts_with(b"-----") || bytes.windows(10).any(|part| part == b"-----BEGIN") {
            for list in CertificateRevocationListDer::pem_slice_iter(&bytes) {
                lists.push(list.map_err(|error| wrong(&file, error))?);
            }
        } else {
            lists.push(CertificateRevocationListDer::from(bytes));
        }
    }
    Ok(lists)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_rabbitmq_does() {
        assert_eq!(utc(0), "1970-01-01 0:00:00");
        assert_eq!(utc(1_893_553_445), "2030-01-02 3:04:05");
        assert_eq!(log_time(1_893_553_445), "02/Jan/2030:03:04:05 +0000");
    }
}
