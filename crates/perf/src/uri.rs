//! `amqp://user:password@host:port/vhost`, as RabbitMQ's documentation of URIs has it.

use anyhow::{Context, Result, bail};
use percent_encoding::percent_decode_str;

/// Where a broker is, and who we are to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Uri {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) user: String,
    pub(crate) password: String,
    pub(crate) vhost: String,
}

/// AMQP's port.
const PORT: u16 = 5672;

impl std::str::FromStr for Uri {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Uri> {
        let Some(rest) = text.strip_prefix("amqp://") else {
            bail!("{text} does not begin with amqp://");
        };
        let (authority, path) = match rest.split_once('/') {
            Some((authority, path)) => (authority, Some(path)),
            None => (rest, None),
        };
        let (identity, address) = match authority.rsplit_once('@') {
            Some((identity, address)) => (identity, address),
            None => ("guest:guest", authority),
        };
        let (user, password) = identity.split_once(':').unwrap_or((identity, ""));
        let (host, port) = split_port(address)?;
        let vhost = match path.map(|path| path.split('?').next().unwrap_or_default()) {
            None => "/".to_owned(),
            Some(path) => decoded(path)?,
        };
        Ok(Uri {
            host: decoded(if host.is_empty() { "localhost" } else { host })?,
            port,
            user: decoded(user)?,
            password: decoded(password)?,
            // `amqp://host/` names the vhost "" by the letter; nobody means it.
            vhost: if vhost.is_empty() { "/".into() } else { vhost },
        })
    }
}

fn split_port(address: &str) -> Result<(&str, u16)> {
    if let Some(rest) = address.strip_prefix('[') {
        let (host, port) = rest
            .split_once(']')
            .context("an IPv6 address ends with ]")?;
        return match port.strip_prefix(':') {
            Some(port) => Ok((host, parse_port(port)?)),
            None => Ok((host, PORT)),
        };
    }
    match address.split_once(':') {
        Some((host, port)) => Ok((host, parse_port(port)?)),
        None => Ok((address, PORT)),
    }
}

fn parse_port(text: &str) -> Result<u16> {
    text.parse().with_context(|| format!("{text} is no port"))
}

fn decoded(text: &str) -> Result<String> {
    let decoded = percent_decode_str(text).decode_utf8();
    Ok(decoded
        .with_context(|| format!("{text} is not UTF-8 once decoded"))?
        .into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, host: &str, port: u16, user: &str, password: &str, vhost: &str) {
        let uri: Uri = text.parse().expect("it is an URI");
        let expected = Uri {
            host: host.into(),
            port,
            user: user.into(),
            password: password.into(),
            vhost: vhost.into(),
        };
        assert_eq!(uri, expected);
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        check("amqp://", "localhost", 5672, "guest", "guest", "/");
        check("amqp://b:1", "b", 1, "guest", "guest", "/");
        check("amqp://u:p@b/", "b", 5672, "u", "p", "/");
    }

    #[test]
    fn each_part_is_decoded() {
        check("amqp://u%40x:p%3A@b:7/%2Fa", "b", 7, "u@x", "p:", "/a");
        check("amqp://[::1]:7/v", "::1", 7, "guest", "guest", "v");
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["http://b", "amqp://b:port", "amqp://[::1", "b"] {
            assert!(text.parse::<Uri>().is_err(), "{text}");
        }
    }
}
