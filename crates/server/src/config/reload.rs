//! Reading all again while the broker runs: what may change does, what may not is named.

use super::key::Applies;
use super::layers::Sources;
use super::statement::{ConfigErrors, Statement};
use super::{Config, obeyed};

/// What came of a reload.
#[derive(Debug)]
pub struct Reload {
    /// The configuration from now on: keys that need a restart are as they were.
    pub config: Config,
    /// Keys whose new value holds from now on.
    pub changed: Vec<String>,
    /// Keys whose new value needs a restart.
    pub needs_restart: Vec<String>,
}

impl Config {
    /// Reads the sources again.
    ///
    /// # Errors
    /// If they are wrong now. What holds goes on to hold.
    pub fn reload(&self, sources: &Sources) -> Result<Reload, ConfigErrors> {
        let new = Config::load(sources)?;
        let mut changed = Vec::new();
        let mut needs_restart = Vec::new();
        let mut statements = Vec::new();
        let mut judge = |was: Option<&Statement>, is: Option<&Statement>| {
            let Some(either) = is.or(was) else { return };
            let same = was.map(|was| &was.value) == is.map(|is| &is.value);
            let holds = if same || applies(either) == Applies::Live {
                is
            } else {
                was
            };
            statements.extend(holds.cloned());
            if !same && obeyed::find(&either.words).is_some() {
                match applies(either) {
                    Applies::Live => changed.push(either.key()),
                    Applies::Restart => needs_restart.push(either.key()),
                }
            }
        };
        for is in &new.statements {
            let was = self.statements.iter().find(|was| was.words == is.words);
            judge(was, Some(is));
        }
        for was in &self.statements {
            if !new.statements.iter().any(|is| is.words == was.words) {
                judge(Some(was), None);
            }
        }
        let mut config = Config::build(statements, new.notes, Vec::new())?;
        config.files = new.files;
        Ok(Reload {
            config,
            changed,
            needs_restart,
        })
    }
}

fn applies(statement: &Statement) -> Applies {
    obeyed::find(&statement.words).map_or(Applies::Restart, |(key, _)| key.applies)
}
