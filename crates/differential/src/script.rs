//! One step of a script, as text: who does what.
//!
//! ```text
//! a1 queue.declare queue=%q durable     a method on channel 1 of connection a, and its answer
//! a1 publish routing_key=%q body=m1     a message; size=N instead of body for a long one
//! a1 ack body=m1 | nack ... | reject .. settles the unacked delivery with that body
//! a1 raw basic.ack delivery_tag=9       sent as it is: no channel is opened, no answer awaited
//! a open user=guest password=bad        a handshake of its own; every step of it is shown
//! a tcp | bytes "GET /" | drop | mute | wait 500
//! a1 frame 9 "payload" | header 60 5 | body "hello" | heartbeat
//! ```
//!
//! `%` stands for the prefix that keeps a sequence's names to itself, `$gen1`, `$ctag1` and `$reply1`
//! for the first, second... name of that kind the broker made up. A connection or channel that is
//! not open is opened first, so that any part of a script is a script.

use probe::{ParseError, Scanner};

/// Connection letter, channel, and what to do.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Step {
    /// `a`, `b`, ...
    pub(crate) connection: char,
    /// 0 when the step speaks of the connection only.
    pub(crate) channel: u16,
    /// The rest of the line.
    pub(crate) action: String,
}

impl Step {
    /// Reads one line.
    pub(crate) fn parse(line: &str) -> Result<Self, ParseError> {
        let mut scanner = Scanner::new(line);
        let who = scanner.word();
        let mut letters = who.chars();
        let (Some(connection), digits) = (letters.next(), letters.as_str()) else {
            return Err(scanner.error("a step opens with a connection"));
        };
        let channel = match digits {
            "" => 0,
            digits => digits
                .parse()
                .map_err(|_| scanner.error("bad channel number"))?,
        };
        scanner.at_end();
        Ok(Self {
            connection,
            channel,
            action: scanner.rest().trim().to_owned(),
        })
    }

    /// First word of the action.
    pub(crate) fn verb(&self) -> &str {
        self.action.split(' ').next().unwrap_or("")
    }

    /// The action behind its first word.
    pub(crate) fn rest(&self) -> &str {
        self.action.split_once(' ').map_or("", |(_, rest)| rest)
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.channel {
            0 => write!(f, "{} {}", self.connection, self.action),
            channel => write!(f, "{}{channel} {}", self.connection, self.action),
        }
    }
}

/// A named script: one situation.
#[derive(Clone, Debug)]
pub(crate) struct Situation {
    /// One line that says what is tried.
    pub(crate) title: String,
    /// In order.
    pub(crate) steps: Vec<Step>,
}

/// Reads situations: `== title` opens one, a line is a step, `#` opens a comment.
pub(crate) fn parse_situations(text: &str) -> Result<Vec<Situation>, ParseError> {
    let mut situations: Vec<Situation> = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(title) = line.strip_prefix("== ") {
            situations.push(Situation {
                title: title.into(),
                steps: Vec::new(),
            });
        } else if !line.is_empty() && !line.starts_with('#') {
            let step = Step::parse(line)?;
            match situations.last_mut() {
                Some(situation) => situation.steps.push(step),
                None => situations.push(Situation {
                    title: "script".into(),
                    steps: vec![step],
                }),
            }
        }
    }
    Ok(situations)
}
