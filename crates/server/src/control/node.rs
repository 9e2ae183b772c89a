//! Requests about the node as a whole: its configuration, limits that are set while it runs, what it counts of logins,
//! and its end.

use std::sync::{Arc, OnceLock, RwLock};

use node::catalog::Ticket;
use node::settings::{DiskFreeLimit, Settings};
use parking_lot::Mutex;

use super::answer::{Answer, Broker};
use super::protocol::{Cell, Request, Response};
use crate::config::{Config, Log};
use crate::memory;

/// The configuration that holds, as the command line shows it. Whoever loads it tells it here.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    rows: Arc<Mutex<Vec<(String, String, String)>>>,
    log: Arc<OnceLock<Arc<RwLock<Log>>>>,
}

impl Environment {
    /// From now on this is what holds.
    pub fn set(&self, config: &Config) {
        *self.rows.lock() = config.rows();
    }

    /// What the log reads its levels from: they may be changed there. Set once.
    pub fn share_log(&self, log: Arc<RwLock<Log>>) {
        let _the_first_stays = self.log.set(log);
    }

    pub(super) fn log(&self) -> Option<&Arc<RwLock<Log>>> {
        self.log.get()
    }
}

impl Broker {
    pub(super) fn answer_about_node(&self, request: Request) -> Answer {
        match request {
            Request::SetMemoryHighWatermark { permille } => {
                self.node.memory.set_permille(permille);
                memory::check(&self.node);
                Answer::done(Ticket::NONE)
            }
            Request::SetMemoryHighWatermarkAbsolute { bytes } => {
                self.node.memory.set_bytes(bytes);
                memory::check(&self.node);
                Answer::done(Ticket::NONE)
            }
            Request::SetDiskFreeLimit { bytes } => self.limit_disk(DiskFreeLimit::Bytes(bytes)),
            Request::SetDiskFreeLimitRelative { permille } => {
                self.limit_disk(DiskFreeLimit::OfMemory(permille))
            }
            Request::Environment { columns } => rows(&columns, self.environment()),
            Request::ListFeatureFlags { columns } => rows(&columns, feature_flags()),
            Request::ListDeprecatedFeatures { columns } => rows(&columns, deprecated_features()),
            Request::ListAuthAttempts { columns } => rows(&columns, self.auth_attempts()),
            Request::ResetAuthAttempts => {
                self.node.attempts.reset();
                Answer::done(Ticket::NONE)
            }
            Request::TrackAuthSources { on } => {
                self.node.attempts.track_sources(on);
                Answer::done(Ticket::NONE)
            }
            // Whoever says the answer stops the broker then. It is told which process will be gone.
            _ => Answer::now(Response::Count(u64::from(std::process::id()))),
        }
    }

    /// Until the configuration is reloaded.
    fn limit_disk(&self, disk_free_limit: DiskFreeLimit) -> Answer {
        let settings = Settings {
            disk_free_limit,
            ..Settings::clone(&self.node.settings)
        };
        self.node.reload(settings);
        self.node
            .check_disk(memory::total_bytes(&self.node).unwrap_or(0));
        Answer::done(Ticket::NONE)
    }

    fn environment(&self) -> Vec<Row> {
        let held = self.environment.rows.lock();
        let rows = held.iter().map(|(key, value, origin)| {
            vec![
                ("key", key.as_str().into()),
                ("value", value.as_str().into()),
                ("origin", origin.as_str().into()),
            ]
        });
        rows.collect()
    }

    fn auth_attempts(&self) -> Vec<Row> {
        let counted = self.node.attempts.by_protocol().into_iter();
        let rows = counted.map(|(protocol, tries)| {
            vec![
                ("protocol", protocol.into()),
                ("auth_attempts", tries.all().into()),
                ("auth_attempts_failed", tries.failed.into()),
                ("auth_attempts_succeeded", tries.succeeded.into()),
            ]
        });
        rows.collect()
    }
}

/// Columns and their values.
type Row = Vec<(&'static str, Cell)>;

fn feature_flags() -> Vec<Row> {
    let flag = |(name, desc): &(&'static str, &'static str)| {
        vec![
            ("name", (*name).into()),
            ("state", "enabled".into()),
            ("desc", (*desc).into()),
        ]
    };
    management::feature_flags().iter().map(flag).collect()
}

fn deprecated_features() -> Vec<Row> {
    let feature = |(name, phase, permitted): &(&'static str, &'static str, bool)| {
        let state = if *permitted { "permitted" } else { "denied" };
        vec![
            ("name", (*name).into()),
            ("deprecation_phase", (*phase).into()),
            ("state", state.into()),
        ]
    };
    management::deprecated_features()
        .iter()
        .map(feature)
        .collect()
}

/// The columns that were asked for; empty where there is none of the name.
pub(super) fn rows(columns: &[String], rows: Vec<Row>) -> Answer {
    let pick = |row: Row| {
        let cell = |wanted: &String| {
            let found = row.iter().find(|(name, _)| name == wanted);
            found.map_or(Cell::Missing, |(_, cell)| cell.clone())
        };
        columns.iter().map(cell).collect()
    };
    Answer::now(Response::Rows(rows.into_iter().map(pick).collect()))
}
