//! Verbs about the broker's log: its level, where it is, and its end. The file is read here, for the broker is on this
//! machine.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use server::control::protocol::{Cell, Request, Response};

use super::{Act, PLAIN, Switch, Verb};
use crate::ctl::line::Line;
use crate::ctl::{Refusal, exit, output};

/// Lines that `log_tail` prints where nobody says how many.
const LINES: usize = 50;

/// What is read of a file's end at once.
const BLOCK_BYTES: u64 = 64 * 1024;

/// How often a file is looked at for more.
const LOOK_PAUSE: Duration = Duration::from_millis(200);

pub(super) const VERBS: &[Verb] = &[
    Verb {
        name: "set_log_level",
        usage: "[<category>] <log_level>",
        arguments: (1, 2),
        banner: |line| match line.arguments.get(1) {
            Some(level) => {
                let category = line.argument(0);
                format!("Setting log level for category \"{category}\" to \"{level}\" ...")
            }
            None => format!("Setting log level to \"{}\" ...", line.argument(0)),
        },
        act: Act::Ask(|line| match line.arguments.get(1) {
            Some(level) => Request::SetLogLevel {
                category: Some(line.argument(0)),
                level: level.clone(),
            },
            None => Request::SetLogLevel {
                category: None,
                level: line.argument(0),
            },
        }),
        ..PLAIN
    },
    Verb {
        name: "log_location",
        usage: "[--all|-a]",
        switches: &[Switch::flag("all").short('a')],
        act: Act::Do {
            request: |_| Ok(Request::LogLocation),
            render: |line, response| {
                let files = files(response);
                let shown = if line.has("all") {
                    &files[..]
                } else {
                    &files[..files.len().min(1)]
                };
                let none = "the log goes to the console only\n".to_owned();
                let text: String = shown.iter().map(|file| format!("{file}\n")).collect();
                Ok(if text.is_empty() { none } else { text })
            },
        },
        ..PLAIN
    },
    Verb {
        name: "log_tail",
        usage: "[--number|-N <number>]",
        switches: &[Switch::value("number").short('N')],
        check: |line| count(line, "number").map(drop),
        banner: |line| {
            let number = count(line, "number").ok().flatten().unwrap_or(LINES as u64);
            format!(
                "Last {number} log lines on the broker at {} ...",
                line.data_dir.display()
            )
        },
        act: Act::Do {
            request: |_| Ok(Request::LogLocation),
            render: |line, response| {
                let number = count(line, "number").ok().flatten();
                let number = number.and_then(|number| usize::try_from(number).ok());
                let path = path(line, response)?;
                tail(&path, number.unwrap_or(LINES)).map_err(|error| unreadable(&path, &error))
            },
        },
        ..PLAIN
    },
    Verb {
        name: "log_tail_stream",
        usage: "[--duration|-d <seconds>]",
        switches: &[Switch::value("duration").short('d')],
        check: |line| count(line, "duration").map(drop),
        banner: |line| {
            format!(
                "Streaming logs from the broker at {} ...",
                line.data_dir.display()
            )
        },
        act: Act::Follow(|line| count(line, "duration").ok().flatten()),
        ..PLAIN
    },
];

/// A whole number that an option gives, if it is given.
fn count(line: &Line, option: &str) -> Result<Option<u64>, String> {
    match line.option(option) {
        None | Some("infinity") => Ok(None),
        Some(text) => match text.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(format!("--{option} must be a whole number, not {text}")),
        },
    }
}

fn files(response: Response) -> Vec<String> {
    let Response::Rows(rows) = response else {
        return Vec::new();
    };
    let first = |row: Vec<Cell>| match row.into_iter().next() {
        Some(Cell::Text(file)) => Some(file),
        _ => None,
    };
    rows.into_iter().filter_map(first).collect()
}

/// The file that the log goes to.
pub(in crate::ctl) fn path(line: &Line, response: Response) -> Result<PathBuf, Refusal> {
    let response = match response {
        failed @ Response::Failed(_) => return output::render(line, failed).map(PathBuf::from),
        response => response,
    };
    let file = files(response).into_iter().next();
    file.map(PathBuf::from).ok_or_else(|| {
        let text = "Error:\nThe log goes to the console only: set log.file to read it here";
        Refusal::new(exit::UNAVAILABLE, text)
    })
}

fn unreadable(path: &Path, error: &io::Error) -> Refusal {
    let text = format!("Error:\n{} cannot be read: {error}", path.display());
    Refusal::new(exit::UNAVAILABLE, text)
}

/// The last lines of a file, of which only the end is read.
fn tail(path: &Path, lines: usize) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut start = file.seek(SeekFrom::End(0))?;
    let mut bytes: Vec<u8> = Vec::new();
    // One newline more than lines: that of the line before them.
    while 0 < start && bytes.iter().filter(|byte| **byte == b'\n').count() <= lines {
        let block = BLOCK_BYTES.min(start);
        start -= block;
        file.seek(SeekFrom::Start(start))?;
        let mut before = Vec::new();
        file.by_ref().take(block).read_to_end(&mut before)?;
        before.append(&mut bytes);
        bytes = before;
    }
    let text = String::from_utf8_lossy(&bytes);
    let all: Vec<&str> = text.split_inclusive('\n').collect();
    Ok(all[all.len().saturating_sub(lines)..].concat())
}

/// Prints what is appended to a file from now on. A file that is put in its place is read from its start.
pub(in crate::ctl) fn follow(
    path: &Path,
    duration_s: Option<u64>,
    print: &mut dyn FnMut(&str),
) -> Result<(), Refusal> {
    let unreadable = |error: io::Error| unreadable(path, &error);
    let deadline = duration_s.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut file = File::open(path).map_err(unreadable)?;
    let mut at = file.seek(SeekFrom::End(0)).map_err(unreadable)?;
    loop {
        let mut more = Vec::new();
        file.by_ref()
            .take(BLOCK_BYTES)
            .read_to_end(&mut more)
            .map_err(unreadable)?;
        at += more.len() as u64;
        if !more.is_empty() {
            print(&String::from_utf8_lossy(&more));
            continue;
        }
        if deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Ok(());
        }
        // Rotated, or cut: its name leads to a file that is shorter than what was read.
        if std::fs::metadata(path).is_ok_and(|now| now.len() < at)
            && let Ok(new) = File::open(path)
        {
            (file, at) = (new, 0);
        }
        std::thread::sleep(LOOK_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_file_is_read_from_behind() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("log");
        let long = "x".repeat(BLOCK_BYTES as usize);
        let text = format!("one\n{long}\nthree\nfour\n");
        std::fs::write(&path, &text).expect("there is room");
        for (lines, expected) in [
            (0, ""),
            (1, "four\n"),
            (2, "three\nfour\n"),
            (3, &text[4..]),
            (4, &text),
            (5, &text),
        ] {
            assert_eq!(
                tail(&path, lines).expect("it is there"),
                expected,
                "{lines}"
            );
        }
    }

    #[test]
    fn what_is_appended_is_printed_and_what_was_there_is_not() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("log");
        std::fs::write(&path, "before\n").expect("there is room");
        let mut seen = String::new();
        follow(&path, Some(0), &mut |text| seen.push_str(text)).expect("it is there");
        assert_eq!(seen, "");
        assert!(follow(&dir.path().join("none"), Some(0), &mut |_| ()).is_err());
    }
}
