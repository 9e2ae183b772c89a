//! What RabbitMQ says about a parameter that it refuses: `Validation failed`, and a line for each fault.

use serde_json::{Map, Value};

use crate::erlang;

/// Every fault of a parameter, in RabbitMQ's order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidationError {
    lines: Vec<String>,
}

impl ValidationError {
    /// One fault.
    pub fn new(line: impl Into<String>) -> Self {
        ValidationError {
            lines: vec![line.into()],
        }
    }

    /// The faults without the heading.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }
}

impl std::fmt::Display for ValidationError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Validation failed\n\n")?;
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

impl std::error::Error for ValidationError {}

/// The fields of an object, taken out one by one and each checked; what is left is not known.
pub(crate) struct Fields<'a> {
    name: &'a str,
    left: Map<String, Value>,
    /// Newest first, as RabbitMQ lists them.
    lines: Vec<String>,
}

impl<'a> Fields<'a> {
    /// The fields of the parameter `name`.
    pub(crate) fn of(name: &'a str, value: &Value) -> Result<Self, ValidationError> {
        match value {
            Value::Object(object) => Ok(Fields {
                name,
                left: object.clone(),
                lines: Vec::new(),
            }),
            Value::Array(items) if items.is_empty() => Ok(Fields {
                name,
                left: Map::new(),
                lines: Vec::new(),
            }),
            value => Err(ValidationError::new(format!(
                "{name} not a list {}",
                erlang::term(value)
            ))),
        }
    }

    /// Takes a field that may be missing. None too if `read` refuses it, which is remembered.
    pub(crate) fn optional<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&str, &Value) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.left.remove(key)?;
        match read(key, &value) {
            Ok(read) => Some(read),
            Err(line) => {
                self.lines.insert(0, line);
                None
            }
        }
    }

    /// Takes a field that must be there.
    pub(crate) fn mandatory<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&str, &Value) -> Result<T, String>,
    ) -> Option<T> {
        if !self.left.contains_key(key) {
            let line = format!("Key \"{key}\" not found in {}", self.name);
            self.lines.insert(0, line);
        }
        self.optional(key, read)
    }

    /// The faults, if there were any or something is left.
    pub(crate) fn end(mut self) -> Result<(), ValidationError> {
        if !self.left.is_empty() {
            let left = self.left.iter().map(|(key, value)| (key.as_str(), value));
            let line = format!(
                "Unrecognised terms {} in {}",
                erlang::pairs_term(left),
                self.name
            );
            self.lines.insert(0, line);
        }
        match self.lines.is_empty() {
            true => Ok(()),
            false => Err(ValidationError { lines: self.lines }),
        }
    }
}

/// A number of any kind.
pub(crate) fn number(key: &str, value: &Value) -> Result<serde_json::Number, String> {
    match value {
        Value::Number(number) => Ok(number.clone()),
        value => Err(no_number(key, value)),
    }
}

/// A whole number.
pub(crate) fn integer(key: &str, value: &Value) -> Result<i64, String> {
    value.as_i64().ok_or_else(|| no_number(key, value))
}

fn no_number(key: &str, value: &Value) -> String {
    format!(
        "{key} should be a number, actually was {}",
        erlang::term(value)
    )
}
