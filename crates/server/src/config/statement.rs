//! A key with its value, where it was said, and what is wrong or notable about it.

use std::fmt;
use std::sync::Arc;

/// Where something was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// In a file.
    File {
        /// Its name as it was given.
        file: Arc<str>,
        /// The line, from 1; 0 is the file as a whole.
        line: usize,
    },
    /// In an environment variable.
    Environment(String),
    /// On the command line.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::File { file, line: 0 } => f.write_str(file),
            Origin::File { file, line } => write!(f, "{file}:{line}"),
            Origin::Environment(name) => write!(f, "environment variable {name}"),
            Origin::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The key's words: `listeners.tcp.default` has three. A word may have dots in it.
    pub words: Vec<String>,
    /// The value, without quotes.
    pub value: String,
    /// Where it was said.
    pub origin: Origin,
}

impl Statement {
    /// The key as it is written, dots within words escaped.
    pub fn key(&self) -> String {
        let words = self.words.iter().map(|word| word.replace('.', "\\."));
        words.collect::<Vec<_>>().join(".")
    }

    /// Whether the value must not be shown.
    pub fn is_secret(&self) -> bool {
        let last = self.words.last().map_or("", String::as_str);
        ["pass", "password", "secret", "token"]
            .iter()
            .any(|word| last.ends_with(word))
            || last.contains("secret")
            || self
                .words
                .starts_with(&["opentelemetry".into(), "headers".into()])
    }

    /// The value, or stars if it must not be shown.
    pub fn shown(&self) -> &str {
        if self.is_secret() {
            "********"
        } else {
            &self.value
        }
    }

    pub(super) fn error(&self, text: impl fmt::Display) -> ConfigError {
        ConfigError {
            origin: self.origin.clone(),
            text: text.to_string(),
        }
    }
}

/// Cuts a key into its words: dots separate, `\.` is a dot within a word.
pub(super) fn words(key: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut rest = key.chars().peekable();
    while let Some(char) = rest.next() {
        let word = words.last_mut().expect("it begins with one");
        match char {
            '\\' if rest.peek() == Some(&'.') => {
                rest.next();
                word.push('.');
            }
            '.' => words.push(String::new()),
            char => word.push(char),
        }
    }
    words
}

/// Something wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// Where.
    pub origin: Origin,
    /// What.
    pub text: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.origin, self.text)
    }
}

/// All that is wrong, in the order in which it was read. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> ConfigErrors {
        ConfigErrors(vec![error])
    }
}

/// Something accepted that does nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Where it was said.
    pub origin: Origin,
    /// Which key, and why it does nothing.
    pub text: String,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: note: {}", self.origin, self.text)
    }
}
