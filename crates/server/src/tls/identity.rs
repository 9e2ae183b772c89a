//! Who a certificate says its bearer is: RabbitMQ's readings of it for the mechanism EXTERNAL.

use std::net::{Ipv4Addr, Ipv6Addr};

use x509_parser::asn1_rs::{Any, Tag};
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Name};

/// Where a certificate names its bearer: `ssl_cert_login_from`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LoginFrom {
    /// The whole subject: `O=client,CN=host`.
    #[default]
    DistinguishedName,
    /// The subject's CN; several with commas between them.
    CommonName,
    /// One of the alternative names: of this kind, the one with this index.
    SubjectAlternativeName(SanType, usize),
}

/// Kinds of alternative names: `ssl_cert_login_san_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SanType {
    /// A host's name.
    #[default]
    Dns,
    /// An address.
    Ip,
    /// A mail address.
    Email,
    /// A URI.
    Uri,
    /// Anything, with a string in it.
    OtherName,
}

impl LoginFrom {
    /// The user that a certificate (DER) names; none if it has no such name.
    pub fn user(self, certificate: &[u8]) -> Option<String> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        match self {
            LoginFrom::DistinguishedName => Some(distinguished_name(certificate.subject())),
            LoginFrom::CommonName => {
                let names = certificate.subject().iter_common_name();
                let names: Vec<String> = names.map(|name| text(name.attr_value())).collect();
                (!names.is_empty()).then(|| names.join(","))
            }
            LoginFrom::SubjectAlternativeName(wanted, index) => {
                let names = certificate.subject_alternative_name().ok()??;
                let mut of_type = names
                    .value
                    .general_names
                    .iter()
                    .filter_map(|name| san(name, wanted));
                of_type.nth(index)
            }
        }
        .filter(|name| !name.is_empty())
    }
}

/// The subject of a certificate (DER) as RFC 4514 writes it, and RabbitMQ lists it.
pub fn subject(certificate: &[u8]) -> Option<String> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(distinguished_name(certificate.subject()))
}

fn san(name: &GeneralName<'_>, wanted: SanType) -> Option<String> {
    match (name, wanted) {
        (GeneralName::DNSName(name), SanType::Dns)
        | (GeneralName::RFC822Name(name), SanType::Email)
        | (GeneralName::URI(name), SanType::Uri) => Some((*name).to_owned()),
        (GeneralName::IPAddress(bytes), SanType::Ip) => match bytes.len() {
            4 => <[u8; 4]>::try_from(*bytes)
                .ok()
                .map(|ip| Ipv4Addr::from(ip).to_string()),
            16 => <[u8; 16]>::try_from(*bytes)
                .ok()
                .map(|ip| Ipv6Addr::from(ip).to_string()),
            _ => None,
        },
        (GeneralName::OtherName(_, value), SanType::OtherName) => {
            // `[0] EXPLICIT` around the string.
            let (_, outer) = Any::from_der(value).ok()?;
            match outer.tag() {
                Tag(0) => Any::from_der(outer.data)
                    .ok()
                    .map(|(_, inner)| text(&inner)),
                _ => Some(text(&outer)),
            }
        }
        _ => None,
    }
}

/// The last part first, as RFC 4514 has it.
fn distinguished_name(name: &X509Name<'_>) -> String {
    let parts: Vec<String> = name
        .iter_rdn()
        .map(|rdn| {
            let attributes = rdn.iter().map(|attribute| {
                let oid = attribute.attr_type().to_id_string();
                let short = SHORT_NAMES.iter().find(|(known, _)| *known == oid);
                let short = short.map_or(oid.as_str(), |(_, short)| short);
                format!("{short}={}", escaped(&text(attribute.attr_value())))
            });
            attributes.collect::<Vec<_>>().join("+")
        })
        .collect();
    let parts: Vec<&str> = parts.iter().rev().map(String::as_str).collect();
    parts.join(",")
}

const SHORT_NAMES: [(&str, &str); 17] = [
    ("2.5.4.4", "SN"),
    ("2.5.4.42", "GIVENNAME"),
    ("2.5.4.43", "INITIALS"),
    ("2.5.4.44", "GENERATIONQUALIFIER"),
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "TITLE"),
    ("2.5.4.6", "C"),
    ("2.5.4.5", "SERIALNUMBER"),
    ("2.5.4.65", "PSEUDONYM"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "EMAILADDRESS"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.1", "UID"),
];

/// A string of any of ASN.1's kinds, in UTF-8.
fn text(value: &Any<'_>) -> String {
    let units = |size: usize| {
        let chunks = value.data.chunks_exact(size);
        chunks.map(|unit| {
            unit.iter()
                .fold(0_u32, |sum, byte| (sum << 8) | u32::from(*byte))
        })
    };
    let char = |code: u32| char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
    match value.tag() {
        Tag::T61String => value.data.iter().map(|byte| char::from(*byte)).collect(),
        Tag::BmpString => units(2).map(char).collect(),
        Tag::UniversalString => units(4).map(char).collect(),
        _ => String::from_utf8_lossy(value.data).into_owned(),
    }
}

/// RFC 4514's escapes, and those RabbitMQ adds: what is no printable ASCII becomes the bytes of its UTF-8, `\C3\A9`.
fn escaped(value: &str) -> String {
    let mut out = String::new();
    let bytes = value.as_bytes();
    for (index, byte) in bytes.iter().copied().enumerate() {
        let first = index == 0;
        let last = index + 1 == bytes.len();
        match byte {
            b' ' | b'#' if first => out.push('\\'),
            b' ' if last => out.push('\\'),
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' => out.push('\\'),
            _ => {}
        }
        match byte {
            0..=31 | 126.. => out.push_str(&format!("\\{byte:02X}")),
            byte => out.push(char::from(byte)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped() {
        for (value, expected) in [
            ("plain", "plain"),
            (" a b ", "\\ a b\\ "),
            ("#1", "\\#1"),
            ("a,b+c", "a\\,b\\+c"),
            ("é", "\\C3\\A9"),
            ("\\", "\\\\"),
        ] {
            assert_eq!(escaped(value), expected);
        }
    }
}
