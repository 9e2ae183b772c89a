//! Requests that look at a running broker, or change for a while how it can be looked at: its log, its listeners, its
//! certificates, a message in a queue.

use std::sync::PoisonError;

use management::Certificate;
use node::catalog::Ticket;
use node::counters::SIZES_BYTES;
use node::queue_cell::Peeked;
use wire::amqp091::properties::Properties;
use wire::amqp091::table::Table;

use super::answer::{Answer, Broker};
use super::node::rows;
use super::protocol::{Cell, Failure, Request, Response};
use crate::config::{CATEGORIES, Level};

impl Broker {
    pub(super) fn diagnose(&self, request: Request) -> Result<Answer, Failure> {
        match request {
            Request::SetLogLevel { category, level } => self.set_log_level(category, &level),
            Request::LogLocation => Ok(self.log_location()),
            Request::SuspendListeners => {
                self.gate.set(false);
                Ok(Answer::done(Ticket::NONE))
            }
            Request::ResumeListeners => {
                self.gate.set(true);
                Ok(Answer::done(Ticket::NONE))
            }
            Request::Certificates { columns } => {
                let shown = (self.certificates)();
                let shown = shown.iter().flat_map(|shown| self.certificate(shown));
                Ok(rows(&columns, shown.collect()))
            }
            Request::MessageSizeStats { columns } => Ok(rows(&columns, self.sizes())),
            Request::Peek {
                vhost,
                queue,
                position,
            } => self.peek(&vhost, &queue, position),
            Request::QuorumStatus {
                vhost,
                queue,
                columns,
            } => self.quorum_status(&vhost, &queue, &columns),
            _ => unreachable!("the caller hands over no other request"),
        }
    }

    fn set_log_level(&self, category: Option<String>, level: &str) -> Result<Answer, Failure> {
        let level = Level::named(level)
            .ok_or_else(|| Failure::Invalid(format!("level {level} not supported")))?;
        let Some(log) = self.environment.log() else {
            return Err(Failure::Unable("the log's levels cannot be changed".into()));
        };
        let mut log = log.write().unwrap_or_else(PoisonError::into_inner);
        match category.as_deref() {
            None | Some("default" | "global") => log.level = level,
            Some(name) => {
                let known = CATEGORIES.iter().find(|(_, known)| *known == name);
                let (_, known) = known
                    .ok_or_else(|| Failure::Invalid(format!("category {name} not supported")))?;
                log.categories.insert(known, level);
            }
        }
        Ok(Answer::done(Ticket::NONE))
    }

    /// The file of the log, and that of the audit log.
    fn log_location(&self) -> Answer {
        let log = self.environment.log();
        let log = log.map(|log| log.read().unwrap_or_else(PoisonError::into_inner).clone());
        let files = log.iter().flat_map(|log| {
            let files = [log.path(&log.file), log.path(&log.audit)];
            files.into_iter().flatten()
        });
        let row = |file: std::path::PathBuf| vec![Cell::Text(file.display().to_string())];
        Answer::now(Response::Rows(files.map(row).collect()))
    }

    /// A row for each listener that shows it.
    fn certificate(&self, shown: &Certificate) -> Vec<Vec<(&'static str, Cell)>> {
        let listeners = self.listening.iter();
        let listeners = listeners.filter(|listener| listener.protocol == shown.protocol);
        let row = |listener: &management::Listening| {
            vec![
                ("protocol", listener.protocol.into()),
                ("interface", Cell::Text(listener.address.ip().to_string())),
                ("port", u64::from(listener.address.port()).into()),
                ("certfile", shown.certfile.as_str().into()),
                ("certfile_expires_on", shown.expires_on.as_str().into()),
                ("certfile_expires_at", Cell::Integer(shown.expires_at_s)),
                ("cacertfile", shown.cacertfile.as_str().into()),
                ("cacertfile_expires_on", (&shown.roots_expire_on[..]).into()),
                (
                    "cacertfile_expires_at",
                    shown.roots_expire_at_s.map_or(Cell::Missing, Cell::Integer),
                ),
            ]
        };
        listeners.map(row).collect()
    }

    fn sizes(&self) -> Vec<Vec<(&'static str, Cell)>> {
        let (counts, _) = self.node.passed.sizes.counted();
        let all: u64 = counts.iter().sum();
        let row = |(at, count): (usize, &u64)| {
            let size = match (at.checked_sub(1), SIZES_BYTES.get(at)) {
                (None, Some(end)) => format!("below {}", shown_bytes(*end)),
                (Some(before), Some(end)) => {
                    let before = shown_bytes(SIZES_BYTES[before]);
                    format!("between {before} and {}", shown_bytes(*end))
                }
                (before, None) => {
                    let before = before.map_or(0, |before| SIZES_BYTES[before]);
                    format!("above {}", shown_bytes(before))
                }
            };
            let percent = *count as f64 * 100.0 / all.max(1) as f64;
            vec![
                ("Message Size", Cell::Text(size)),
                ("Count", (*count).into()),
                ("Percentage", Cell::Text(format!("{percent:.2}"))),
            ]
        };
        counts.iter().enumerate().map(row).collect()
    }

    fn peek(&self, vhost: &str, queue: &str, position: u64) -> Result<Answer, Failure> {
        let vhost = self.vhost(vhost)?;
        let cell = vhost.find_queue(queue);
        let cell = cell.map_err(|_| Failure::NoSuchQueue(queue.to_owned()))?;
        let skip = position
            .checked_sub(1)
            .and_then(|skip| usize::try_from(skip).ok());
        let skip = skip.ok_or_else(|| Failure::Invalid("Position must be at least 1".into()))?;
        let mut found = None;
        let looked = cell.look(skip, 1, &mut |peeked| {
            found = Some(peeked);
            false
        });
        looked.map_err(|error| Failure::Unable(error.to_string()))?;
        match found {
            Some(peeked) => Ok(Answer::now(Response::Rows(fields(&peeked)))),
            None => {
                let text = format!("there is no message at position {position}");
                Err(Failure::Invalid(text))
            }
        }
    }

    fn quorum_status(
        &self,
        vhost: &str,
        queue: &str,
        columns: &[String],
    ) -> Result<Answer, Failure> {
        let vhost = self.vhost(vhost)?;
        let cell = vhost.find_queue(queue);
        let cell = cell.map_err(|_| Failure::NoSuchQueue(queue.to_owned()))?;
        if cell.policy_target() != metadata::policy::Target::QuorumQueue {
            let text = "Cannot get quorum status of a classic queue";
            return Err(Failure::Invalid(text.into()));
        }
        let node = self.node.cluster_name();
        let row = vec![
            ("Node Name", Cell::Text(node.to_string())),
            ("Raft State", "leader".into()),
            ("Membership", "voter".into()),
        ];
        // There is no Raft log behind it: the other columns have no values.
        Ok(rows(columns, vec![row]))
    }
}

/// What a message is, a row for each thing, by RabbitMQ's names and in its order.
fn fields(peeked: &Peeked) -> Vec<Vec<Cell>> {
    let message = &peeked.message;
    let row = |key: &str, value: Cell| vec![Cell::from(key), value];
    let mut fields = Vec::new();
    let properties = Properties::validate(message.properties()).ok();
    let headers = properties.and_then(|properties| properties.headers());
    if let Some(properties) = &properties {
        let named = [
            ("content_type", properties.content_type()),
            ("content_encoding", properties.content_encoding()),
            ("correlation_id", properties.correlation_id()),
            ("reply_to", properties.reply_to()),
            ("expiration", properties.expiration()),
            ("message_id", properties.message_id()),
            ("type", properties.type_()),
            ("user_id", properties.user_id()),
            ("app_id", properties.app_id()),
        ];
        for (key, value) in named {
            fields.extend(value.map(|value| row(key, value.into())));
        }
    }
    fields.push(row("routing_keys", message.routing_key().into()));
    fields.push(row("exchange", message.exchange().into()));
    let shown = message
        .body()
        .get(..PAYLOAD_BYTES_MAX)
        .unwrap_or(message.body());
    let shown = String::from_utf8_lossy(shown).into_owned();
    fields.push(row("payload (max 64 bytes)", Cell::Text(shown)));
    let headers = headers.unwrap_or(Table::EMPTY).to_owned();
    for (name, value) in headers.iter() {
        fields.push(row(&format!("header.{name}"), Cell::from(value)));
    }
    let count = u64::from(peeked.delivery_count);
    fields.push(row("header.x-delivery-count", count.into()));
    fields
}

/// Of a payload no more is shown, as in RabbitMQ.
const PAYLOAD_BYTES_MAX: usize = 64;

/// `100B`, `10KB`, `50MB`.
fn shown_bytes(bytes: u64) -> String {
    match bytes {
        bytes if bytes < 1_000 => format!("{bytes}B"),
        bytes if bytes < 1_000_000 => format!("{}KB", bytes / 1_000),
        bytes => format!("{}MB", bytes / 1_000_000),
    }
}
