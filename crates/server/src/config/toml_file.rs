//! The same keys in TOML: tables are the words before the dot, arrays are numbered from 1.
//!
//! ```text
//! heartbeat = 30
//! auth_backends = ["internal", "ldap"]      # auth_backends.1, auth_backends.2
//! "log.console" = true                      # a key in quotes may have dots
//! [listeners.tcp]
//! default = 5672
//! ```

use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::statement::{ConfigError, Origin, Statement, words};

pub(super) fn parse(
    file: &Arc<str>,
    text: &str,
    statements: &mut Vec<Statement>,
    errors: &mut Vec<ConfigError>,
) {
    let reader = Reader { file, text };
    match DeTable::parse(text) {
        Ok(table) => reader.table(&[], table.get_ref(), statements, errors),
        Err(error) => errors.push(ConfigError {
            origin: reader.origin(error.span().map_or(0, |span| span.start)),
            text: error.message().to_owned(),
        }),
    }
}

struct Reader<'a> {
    file: &'a Arc<str>,
    text: &'a str,
}

impl Reader<'_> {
    fn origin(&self, at: usize) -> Origin {
        let before = &self.text.as_bytes()[..at.min(self.text.len())];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        Origin::File {
            file: Arc::clone(self.file),
            line,
        }
    }

    fn table(
        &self,
        above: &[String],
        table: &DeTable<'_>,
        statements: &mut Vec<Statement>,
        errors: &mut Vec<ConfigError>,
    ) {
        // In the order of the file: a table sorts its keys.
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in entries {
            let mut path = above.to_vec();
            path.extend(words(key.get_ref()));
            self.value(path, value, statements, errors);
        }
    }

    fn value(
        &self,
        path: Vec<String>,
        value: &Spanned<DeValue<'_>>,
        statements: &mut Vec<Statement>,
        errors: &mut Vec<ConfigError>,
    ) {
        let origin = self.origin(value.span().start);
        let text = match value.get_ref() {
            DeValue::Table(table) => return self.table(&path, table, statements, errors),
            DeValue::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    let mut path = path.clone();
                    path.push((index + 1).to_string());
                    self.value(path, item, statements, errors);
                }
                return;
            }
            DeValue::String(text) => text.clone().into_owned(),
            DeValue::Boolean(value) => value.to_string(),
            DeValue::Integer(value) => value.as_str().to_owned(),
            DeValue::Float(value) => value.as_str().to_owned(),
            DeValue::Datetime(value) => value.to_string(),
        };
        statements.push(Statement {
            words: path,
            value: text,
            origin,
        });
    }
}
