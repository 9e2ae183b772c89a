//! Files, environment and flags, one over the other, and the reading of what came out on top.

use std::cmp::Ordering;
use std::path::PathBuf;

use super::key::{adapt, distance};
use super::statement::{ConfigError, ConfigErrors, Note, Origin, Statement, words};
use super::value::Given;
use super::{Config, accepted, environment, file, obeyed};

/// Where to look.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file named on the command line. It wins over files named in the environment.
    pub file: Option<PathBuf>,
    /// The environment, or what of it is to be looked at.
    pub environment: Vec<(String, String)>,
    /// What flags said: the flag, the key, the value.
    pub flags: Vec<(&'static str, String, String)>,
}

impl Sources {
    /// A file (or none) and the process's environment.
    pub fn of_process(file: Option<PathBuf>) -> Sources {
        let environment = std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        Sources {
            file,
            environment: environment.collect(),
            flags: Vec::new(),
        }
    }
}

impl Config {
    /// Reads all sources.
    ///
    /// # Errors
    /// All that is wrong with them: file, line and what was expected.
    pub fn load(sources: &Sources) -> Result<Config, ConfigErrors> {
        let mut errors = Vec::new();
        let mut notes = Vec::new();
        let mut layers = Layers::default();
        let mut files = Vec::new();
        for path in environment::files(sources, &mut errors) {
            layers.add(file::read(&path, &mut files, &mut errors));
        }
        environment::read(sources, &mut layers, &mut notes, &mut errors);
        for (flag, key, value) in &sources.flags {
            let flag_statement = Statement {
                words: words(key),
                value: value.clone(),
                origin: Origin::Flag((*flag).to_owned()),
            };
            layers.replace(flag_statement);
        }
        let mut config = Config::build(layers.0, notes, errors)?;
        config.files = files;
        Ok(config)
    }

    /// Reads a text in the format of `rabbitmq.conf`; `file` is its name in messages.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub fn parse(file: &str, text: &str) -> Result<Config, ConfigErrors> {
        let mut errors = Vec::new();
        let mut layers = Layers::default();
        layers.add(file::parse_text(file, text, &mut errors));
        Config::build(layers.0, Vec::new(), errors)
    }

    pub(super) fn build(
        statements: Vec<Statement>,
        notes: Vec<Note>,
        mut errors: Vec<ConfigError>,
    ) -> Result<Config, ConfigErrors> {
        let mut config = Config {
            notes,
            ..Config::default()
        };
        for statement in &statements {
            if let Err(error) = config.apply(statement) {
                errors.push(error);
            }
        }
        if !errors.is_empty() {
            // Keys are read in their own order, and messages belong in that of the file.
            errors.sort_by_key(|error| match error.origin {
                Origin::File { line, .. } => line,
                Origin::Environment(_) | Origin::Flag(_) => usize::MAX,
            });
            return Err(ConfigErrors(errors));
        }
        config.statements = statements;
        let legacy = std::mem::take(&mut config.legacy);
        legacy.put_into(&mut config.management);
        Ok(config)
    }

    fn apply(&mut self, statement: &Statement) -> Result<(), ConfigError> {
        let wrong = |text: String| {
            let (key, value) = (statement.key(), statement.shown());
            statement.error(format!("{key} = {value}: {text}"))
        };
        if statement.value.starts_with("encrypted:") {
            return Err(wrong(
                "encrypted values cannot be read by this version".into(),
            ));
        }
        if let Some((key, names)) = obeyed::find(&statement.words) {
            let value = &statement.value;
            return (key.apply)(self, &Given { names, value }).map_err(wrong);
        }
        let Some(key) = accepted::find(&statement.words) else {
            let (key, nearest) = (statement.key(), nearest(&statement.words));
            return Err(statement.error(format!(
                "unknown key {key}; the nearest known one is {nearest}"
            )));
        };
        let value = &statement.value;
        let names = Vec::new();
        key.check(&Given { names, value }).map_err(wrong)?;
        self.notes.push(Note {
            origin: statement.origin.clone(),
            text: format!("{} does nothing: {}", statement.key(), key.why),
        });
        Ok(())
    }
}

/// The known key with the fewest edits to this one.
fn nearest(words: &[String]) -> String {
    let key = words.join(".");
    let names = obeyed::all()
        .map(|key| key.name)
        .chain(obeyed::ALIASES.iter().map(|(alias, _)| *alias))
        .chain(accepted::all().iter().map(|key| key.name));
    let adapted = names.map(|name| adapt(name, words));
    adapted
        .min_by_key(|name| distance(name, &key))
        .unwrap_or_default()
}

/// Statements, one a key, sorted by key.
#[derive(Debug, Default)]
pub(super) struct Layers(Vec<Statement>);

impl Layers {
    /// Lays statements over what is there, in their order.
    pub(super) fn add(&mut self, statements: Vec<Statement>) {
        for statement in statements {
            self.put(statement);
        }
    }

    /// Lays one over what is there.
    pub(super) fn put(&mut self, mut statement: Statement) {
        let named = statement.words.join(".");
        if let Some((_, name)) = obeyed::ALIASES.iter().find(|(alias, _)| *alias == named) {
            statement.words = words(name);
        }
        let at = self
            .0
            .binary_search_by(|there| by_word(&there.words, &statement.words));
        match at {
            Ok(at) => self.0[at] = statement,
            Err(at) => self.0.insert(at, statement),
        }
    }

    /// Lays one over what is there, and takes away its sisters: after a flag that names one address, the addresses
    /// of the file are no more.
    pub(super) fn replace(&mut self, statement: Statement) {
        if let ["listeners", protocol, _] = statement
            .words
            .iter()
            .map(String::as_str)
            .collect::<Vec<_>>()[..]
        {
            self.0.retain(|there| {
                let listens = there.words.first().is_some_and(|word| word == "listeners");
                let flag = |origin: &Origin| matches!(origin, Origin::Flag(_));
                // The same flag may be given more than once.
                !(listens && there.words.get(1).is_some_and(|word| word == protocol))
                    || (flag(&there.origin) && flag(&statement.origin))
            });
        }
        self.put(statement);
    }
}

/// Word by word; numbers by their value, so that list items keep their order.
fn by_word(a: &[String], b: &[String]) -> Ordering {
    for (a, b) in a.iter().zip(b) {
        let order = match (a.parse::<u64>(), b.parse::<u64>()) {
            (Ok(a), Ok(b)) => a.cmp(&b),
            _ => a.cmp(b),
        };
        if order != Ordering::Equal {
            return order;
        }
    }
    a.len().cmp(&b.len())
}
