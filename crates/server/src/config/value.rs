//! What values can look like: whole numbers, sizes, switches, choices.
//!
//! Each reader says what it expected, so that messages are alike whatever the key.

use std::fmt::Display;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

/// A value and the words that the key's `$` parts stood for.
pub(super) struct Given<'a> {
    /// What `$name` stood for, from left to right.
    pub(super) names: Vec<&'a str>,
    /// The value as text.
    pub(super) value: &'a str,
}

pub(super) type Outcome = Result<(), String>;

impl Given<'_> {
    /// What the first `$name` stood for.
    pub(super) fn name(&self) -> String {
        self.names.first().copied().unwrap_or_default().to_owned()
    }

    /// The value as it is.
    pub(super) fn text(&self) -> String {
        self.value.to_owned()
    }

    /// A whole number within bounds, both included.
    pub(super) fn integer<T>(&self, min: T, max: T) -> Result<T, String>
    where
        T: FromStr + PartialOrd + Display,
    {
        match self.value.parse::<T>() {
            Ok(value) if min <= value && value <= max => Ok(value),
            _ => Err(format!("expected a whole number from {min} to {max}")),
        }
    }

    /// A whole number or `infinity`, which is `unlimited`.
    pub(super) fn limit<T>(&self, unlimited: T) -> Result<T, String>
    where
        T: FromStr,
    {
        match self.value {
            "infinity" => Ok(unlimited),
            value => value
                .parse()
                .map_err(|_| "expected a whole number or infinity".to_owned()),
        }
    }

    /// `true` or `false`; `on` and `off` mean the same.
    pub(super) fn switch(&self) -> Result<bool, String> {
        match self.value {
            "true" | "on" => Ok(true),
            "false" | "off" => Ok(false),
            _ => Err("expected true or false".into()),
        }
    }

    /// One of a few words.
    pub(super) fn one_of(&self, words: &[&'static str]) -> Result<&'static str, String> {
        let found = words.iter().find(|word| **word == self.value);
        found
            .copied()
            .ok_or_else(|| format!("expected one of {}", words.join(", ")))
    }

    /// A part of a whole, in thousandths.
    pub(super) fn permille(&self, max: f64) -> Result<u32, String> {
        match self.value.parse::<f64>() {
            Ok(part) if (0.0..=max).contains(&part) => Ok((part * 1000.0).round() as u32),
            _ => Err(format!("expected a number from 0 to {max}")),
        }
    }

    /// Bytes: a number, with a unit or without. As in RabbitMQ since 3.13, `k`, `kB` are 1,000 and `Ki`, `KiB` 1,024.
    pub(super) fn bytes(&self) -> Result<u64, String> {
        bytes(self.value).ok_or_else(|| {
            "expected a size: a whole number, or one with a unit such as kB, MB, GB, KiB, MiB, GiB".to_owned()
        })
    }

    /// An address to listen on: a port, or `HOST:PORT`.
    pub(super) fn address(&self) -> Result<String, String> {
        let port = self.value.rsplit(':').next().unwrap_or_default();
        if port.parse::<u16>().is_err() {
            return Err("expected a port, or HOST:PORT".into());
        }
        Ok(self.text())
    }

    /// An address without a port.
    pub(super) fn ip(&self) -> Result<IpAddr, String> {
        let ip = self.value.parse();
        ip.map_err(|_| "expected an IP address".to_owned())
    }

    /// The beginning of a URL's path: `/` and words, which need no encoding. An ending `/` is left out, and so is all
    /// of `/`.
    pub(super) fn url_path(&self) -> Result<String, String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._~/".contains(c);
        let words = self.value.trim_matches('/');
        let sound = self.value.chars().all(plain)
            && (words.is_empty()
                || words
                    .split('/')
                    .all(|word| !matches!(word, "" | "." | "..")));
        match (sound, words) {
            (false, _) => {
                Err("expected a path of letters, digits, -, ., _ and ~, with / between them".into())
            }
            (true, "") => Ok(String::new()),
            (true, words) => Ok(format!("/{words}")),
        }
    }

    /// What an HTTP header may hold.
    pub(super) fn header(&self) -> Result<axum::http::HeaderValue, String> {
        let value = axum::http::HeaderValue::from_str(self.value);
        value.map_err(|_| "expected the text of an HTTP header: one line".to_owned())
    }

    /// A path.
    pub(super) fn path(&self) -> PathBuf {
        PathBuf::from(self.value)
    }
}

fn bytes(text: &str) -> Option<u64> {
    let digits = text
        .find(|char: char| !char.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit: u64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1000,
        "m" | "mb" => 1000_u64.pow(2),
        "g" | "gb" => 1000_u64.pow(3),
        "t" | "tb" => 1000_u64.pow(4),
        "p" | "pb" => 1000_u64.pow(5),
        "ki" | "kib" => 1 << 10,
        "mi" | "mib" => 1 << 20,
        "gi" | "gib" => 1 << 30,
        "ti" | "tib" => 1 << 40,
        "pi" | "pib" => 1 << 50,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        for (text, expected) in [
            ("1", Some(1)),
            ("2k", Some(2000)),
            ("2kB", Some(2000)),
            ("2KiB", Some(2048)),
            ("2Mi", Some(2 << 20)),
            ("50MB", Some(50_000_000)),
            ("1GiB", Some(1 << 30)),
            ("3P", Some(3_000_000_000_000_000)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551615k", None),
            ("", None),
            ("MB", None),
            ("-1", None),
            ("1.5GB", None),
            ("1 GB", None),
            ("1XB", None),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
    }
}
