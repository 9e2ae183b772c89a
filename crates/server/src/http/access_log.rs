//! A line for each request over HTTP, in the format that web servers share ("combined"): `management.http_log_dir`.
//!
//! Lines go to a thread that appends them; it opens the file for each batch, so that one that is moved away is begun
//! anew. A disk that is too slow or full costs lines, which is told, and never an answer. Times are UTC.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::HttpBody as _;
use axum::http::header::{HeaderName, REFERER, USER_AGENT};
use axum::http::request::Parts;
use axum::response::Response;
use management::LoggedIn;

use crate::tls::log_time;

/// The file's name, as RabbitMQ's.
const FILE: &str = "access.log";

/// Lines that wait to be written; more are dropped.
const LINES_MAX: usize = 4096;

/// Longest text of a request in a line, in bytes.
const TEXT_BYTES_MAX: usize = 1024;

/// See the module.
#[derive(Debug)]
pub(crate) struct AccessLog {
    lines: SyncSender<String>,
    dropped: AtomicU64,
}

/// What of a request is logged once it is answered.
pub(super) struct Seen {
    peer: SocketAddr,
    request: String,
    referer: String,
    agent: String,
}

impl Seen {
    pub(super) fn of(peer: SocketAddr, head: &Parts) -> Seen {
        let header = |name: HeaderName| {
            let value = head.headers.get(name);
            quoted(value.map_or(&[], |value| value.as_bytes()))
        };
        let path = quoted(head.uri.path().as_bytes());
        Seen {
            peer,
            request: format!("{} {path} {:?}", head.method, head.version),
            referer: header(REFERER),
            agent: header(USER_AGENT),
        }
    }
}

impl AccessLog {
    /// Begins a log in this directory, which is made if it is not there.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn start(dir: &Path) -> io::Result<Arc<AccessLog>> {
        std::fs::create_dir_all(dir)?;
        let path = dir.join(FILE);
        append(&path, "")?;
        let (lines, waiting) = sync_channel(LINES_MAX);
        std::thread::Builder::new()
            .name("http-log".to_owned())
            .spawn(move || write(&path, &waiting))?;
        let dropped = AtomicU64::new(0);
        Ok(Arc::new(AccessLog { lines, dropped }))
    }

    pub(super) fn log(&self, seen: &Seen, response: &Response) {
        let user = response.extensions().get::<LoggedIn>();
        let user = user.map_or_else(|| "-".to_owned(), |user| quoted(user.0.as_bytes()));
        let Seen {
            peer,
            request,
            referer,
            agent,
        } = seen;
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let time = log_time(now.map_or(0, |now| now.as_secs() as i64));
        let status = response.status().as_u16();
        // What goes on without end has no length.
        let length = response.body().size_hint().exact().unwrap_or(0);
        let ip = peer.ip().to_canonical();
        let user = if user.is_empty() { "-" } else { &user };
        let line = format!(
            "{ip} - {user} [{time}] \"{request}\" {status} {length} \"{referer}\" \"{agent}\"\n"
        );
        if self.lines.try_send(line).is_err() {
            let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
            // Once for each power of two.
            if dropped.is_power_of_two() {
                tracing::warn!("the log of HTTP requests is behind: {dropped} lines were dropped");
            }
        }
    }
}

/// Appends lines until nobody sends any.
fn write(path: &Path, waiting: &Receiver<String>) {
    let mut failing = false;
    while let Ok(mut lines) = waiting.recv() {
        for line in waiting.try_iter().take(LINES_MAX) {
            lines.push_str(&line);
        }
        match append(path, &lines) {
            Ok(()) => failing = false,
            Err(error) if !failing => {
                failing = true;
                tracing::error!("{} cannot be written: {error}", path.display());
            }
            Err(_) => {}
        }
    }
}

fn append(path: &Path, lines: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    file.write_all(lines.as_bytes())
}

/// What a client said, so that it cannot forge a line: no control characters, quotes escaped, not too long.
fn quoted(text: &[u8]) -> String {
    let mut out = String::new();
    for char in String::from_utf8_lossy(text).chars() {
        if TEXT_BYTES_MAX < out.len() {
            break;
        }
        match char {
            '"' | '\\' => out.extend(['\\', char]),
            char if char.is_control() => out.push('?'),
            char => out.push(char),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_forge_no_lines() {
        for (text, expected) in [
            ("hello", "hello"),
            ("a\r\nb", "a??b"),
            ("say \"hi\"", "say \\\"hi\\\""),
            ("a\\b", "a\\\\b"),
            ("é\u{7f}\0", "é??"),
        ] {
            assert_eq!(quoted(text.as_bytes()), expected);
        }
        assert!(quoted(&[b'x'; 10_000]).len() < TEXT_BYTES_MAX + 8);
    }
}
