//! The log's output: console, file and audit file, as text or JSON, one line an event.
//!
//! Levels are looked up as events come, so that a reload changes them at once. Events are rare (none is said for each
//! message), and that costs less than it would to rebuild the whole. Deliberately absent: rotation. A reload opens the
//! files anew, which is what logrotate wants.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use anyhow::{Context as _, Result};
use server::config::{Level, Log};
use tracing::Metadata;
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, Filter, SubscriberExt as _};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Events of administrative acts.
const AUDIT: &str = "audit";

/// What is changed while the log runs.
#[derive(Clone)]
pub(crate) struct Handle {
    levels: Arc<RwLock<Log>>,
    files: Vec<LogFile>,
}

impl Handle {
    /// What the levels are read from: they may be changed there.
    pub(crate) fn levels(&self) -> Arc<RwLock<Log>> {
        Arc::clone(&self.levels)
    }

    /// Takes new levels, and opens files anew.
    pub(crate) fn reload(&self, log: &Log) {
        *self.levels.write().unwrap_or_else(PoisonError::into_inner) = log.clone();
        for file in &self.files {
            if let Err(error) = file.reopen() {
                tracing::error!(
                    "{}: the log goes on in the old file: {error}",
                    file.path.display()
                );
            }
        }
    }
}

/// Starts the log of this process.
///
/// # Errors
/// If a file cannot be written.
pub(crate) fn start(log: &Log) -> Result<Handle> {
    let levels = Arc::new(RwLock::new(log.clone()));
    let mut files = Vec::new();
    let mut layers: Vec<Box<dyn Layer<Registry> + Send + Sync>> = Vec::new();
    let levels_of = |output| Levels {
        output,
        levels: Arc::clone(&levels),
    };
    if log.console {
        let stdout = log.console_stdout;
        let writer = move || -> Box<dyn Write> {
            match stdout {
                true => Box::new(OneLine(io::stdout())),
                false => Box::new(OneLine(io::stderr())),
            }
        };
        layers.push(lines(
            writer,
            log.console_json,
            log.console_colours,
            levels_of(Output::Console),
        ));
    }
    if let Some(path) = log.path(&log.file) {
        let file = LogFile::open(&path)?;
        files.push(file.clone());
        let writer = move || OneLine(file.clone());
        layers.push(lines(writer, log.file_json, false, levels_of(Output::File)));
    }
    if let Some(path) = log.path(&log.audit) {
        let file = LogFile::open(&path)?;
        files.push(file.clone());
        let writer = move || OneLine(file.clone());
        layers.push(lines(writer, true, false, levels_of(Output::Audit)));
    }
    tracing_subscriber::registry().with(layers).init();
    Ok(Handle { levels, files })
}

fn lines<W>(
    writer: W,
    json: bool,
    colours: bool,
    levels: Levels,
) -> Box<dyn Layer<Registry> + Send + Sync>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(colours)
        .with_writer(writer);
    if json {
        layer.json().flatten_event(true).with_filter(levels).boxed()
    } else {
        layer.with_target(false).with_filter(levels).boxed()
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Output {
    Console,
    File,
    Audit,
}

/// Which events an output gets.
struct Levels {
    output: Output,
    levels: Arc<RwLock<Log>>,
}

impl Filter<Registry> for Levels {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, Registry>) -> bool {
        if self.output == Output::Audit {
            return metadata.target() == AUDIT;
        }
        let log = self.levels.read().unwrap_or_else(PoisonError::into_inner);
        let output = match self.output {
            Output::File => log.file_level,
            Output::Console | Output::Audit => log.console_level,
        };
        let level = log.level_of(metadata.target());
        let event = match *metadata.level() {
            tracing::Level::ERROR => Level::Error,
            tracing::Level::WARN => Level::Warning,
            tracing::Level::INFO => Level::Info,
            _ => Level::Debug,
        };
        event <= output.map_or(level, |output| output.min(level))
    }
}

/// A file that is appended to, and opened anew under its name when somebody moved it away.
#[derive(Clone)]
struct LogFile {
    path: PathBuf,
    file: Arc<Mutex<File>>,
}

impl LogFile {
    fn open(path: &Path) -> Result<LogFile> {
        let file = append(path)
            .with_context(|| format!("the log file {} cannot be written", path.display()))?;
        Ok(LogFile {
            path: path.to_owned(),
            file: Arc::new(Mutex::new(file)),
        })
    }

    fn reopen(&self) -> io::Result<()> {
        let new = append(&self.path)?;
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

/// Writes each event as one line, whatever is in it: names and reasons come from clients.
struct OneLine<W>(W);

impl<W: Write> Write for OneLine<W> {
    /// Takes a whole event, as the subscriber writes it.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = event.strip_suffix(b"\n").unwrap_or(event);
        let breaks = |byte: &u8| matches!(byte, b'\n' | b'\r');
        if !text.iter().any(breaks) {
            self.0.write_all(event)?;
            return Ok(event.len());
        }
        let mut line = Vec::with_capacity(event.len() + 8);
        for byte in text {
            match byte {
                b'\n' => line.extend_from_slice(b"\\n"),
                b'\r' => line.extend_from_slice(b"\\r"),
                byte => line.push(*byte),
            }
        }
        line.push(b'\n');
        self.0.write_all(&line)?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line() {
        for (event, line) in [
            ("plain\n", "plain\n"),
            (
                "user 'a\nERROR forged' failed\n",
                "user 'a\\nERROR forged' failed\n",
            ),
            ("a\r\nb\n", "a\\r\\nb\n"),
            ("\n\n", "\\n\n"),
            ("\n", "\n"),
        ] {
            let mut written = OneLine(Vec::new());
            written.write_all(event.as_bytes()).expect("there is room");
            assert_eq!(String::from_utf8_lossy(&written.0), line);
        }
    }
}
