//! What one side's clients saw during a step, and its comparable form.
//!
//! Compared in order: each channel's answers and closes; each queue's deliveries to a channel; each
//! channel's returns. Confirms are compared as sets, for brokers may coalesce them. The order
//! between these streams is not the script's doing and is not compared, but three rules are checked
//! here whatever the other side says: a consumer gets nothing before its consume-ok or after its
//! cancel-ok, and a return precedes the confirm of its message (the player notes those).

use std::collections::{BTreeMap, BTreeSet};

use probe::{Event, Method};

use crate::normal::Names;

/// Everything seen on one side since a step began.
#[derive(Default)]
pub(crate) struct Seen {
    entries: Vec<Entry>,
    counts: BTreeMap<String, String>,
    /// A connection ended: its channels give back their messages in no particular order.
    disturbed: bool,
}

struct Entry {
    connection: char,
    what: What,
}

enum What {
    Note(String),
    /// With the queue it came from, for a delivery, and whether its headers were reordered.
    Event {
        event: Event,
        queue: String,
        reordered: bool,
    },
    /// Publish numbers settled by one confirm, and the confirm as it came.
    Confirm {
        acked: bool,
        numbers: BTreeSet<u64>,
        event: Event,
    },
}

impl Seen {
    /// Writes down something that is not an event.
    pub(crate) fn note(&mut self, connection: char, text: &str) {
        self.entries.push(Entry {
            connection,
            what: What::Note(text.into()),
        });
    }

    /// Writes down an event.
    pub(crate) fn event(&mut self, connection: char, event: &Event) {
        let ends = [
            "connection.close",
            "connection.close-ok",
            "eof",
            "violation",
        ];
        self.disturbed |= ends.contains(&event.name());
        self.delivery(connection, event, "", false);
    }

    /// A connection was dropped.
    pub(crate) fn disturb(&mut self) {
        self.disturbed = true;
    }

    /// True when a connection ended.
    pub(crate) fn is_disturbed(&self) -> bool {
        self.disturbed
    }

    /// Writes down a message, with the queue it came from.
    pub(crate) fn delivery(
        &mut self,
        connection: char,
        event: &Event,
        queue: &str,
        reordered: bool,
    ) {
        let what = What::Event {
            event: event.clone(),
            queue: queue.into(),
            reordered,
        };
        self.entries.push(Entry { connection, what });
    }

    /// Writes down a confirm.
    pub(crate) fn confirm(&mut self, connection: char, event: &Event, numbers: BTreeSet<u64>) {
        let acked = event.name() == "basic.ack";
        let what = What::Confirm {
            acked,
            numbers,
            event: event.clone(),
        };
        self.entries.push(Entry { connection, what });
    }

    /// Writes down an event, or that none came.
    pub(crate) fn event_or_silence(&mut self, connection: char, event: Option<&Event>) {
        match event {
            Some(event) => self.event(connection, event),
            None => self.note(connection, "socket stays open"),
        }
    }

    /// Writes down a queue's counts; the last ones stand.
    pub(crate) fn count(&mut self, declare_ok: &Method) {
        let counts = format!(
            "ready={} consumers={}",
            declare_ok.number("message_count"),
            declare_ok.number("consumer_count")
        );
        self.counts.insert(declare_ok.text("queue"), counts);
    }

    /// Forgets the counts, before they are asked for anew.
    pub(crate) fn forget_counts(&mut self) {
        self.counts.clear();
    }

    /// Adds what was seen later.
    pub(crate) fn append(&mut self, later: Seen) {
        self.entries.extend(later.entries);
        self.counts.extend(later.counts);
        self.disturbed |= later.disturbed;
    }

    /// True when nothing but this kind of event was seen.
    pub(crate) fn only(&self, name: &str) -> bool {
        self.entries
            .iter()
            .all(|entry| matches!(&entry.what, What::Event { event, .. } if event.name() == name))
    }

    /// Channels to which several queues delivered, or one queue in no particular order, so that
    /// their tags carry no meaning.
    pub(crate) fn ambiguous(&self) -> BTreeSet<(char, u16)> {
        let mut queues: BTreeMap<(char, u16), BTreeSet<&str>> = BTreeMap::new();
        for entry in &self.entries {
            if let What::Event { event, queue, .. } = &entry.what
                && event.name() == "basic.deliver"
            {
                queues
                    .entry((entry.connection, event.channel()))
                    .or_default()
                    .insert(queue);
            }
        }
        queues
            .into_iter()
            .filter(|(_, queues)| queues.len() > 1)
            .map(|(key, _)| key)
            .collect()
    }

    /// Every line as it came, for reading.
    pub(crate) fn raw_lines(&self, names: &mut Names) -> Vec<String> {
        let lines = self.entries.iter().map(|entry| {
            let text = match &entry.what {
                What::Note(text) => names.fold(text),
                What::Event { event, .. } | What::Confirm { event, .. } => {
                    names.normal(event, false)
                }
            };
            format!("{} {text}", entry.connection)
        });
        lines.collect()
    }

    /// The comparable form. `masked` are channels whose delivery tags are left out.
    pub(crate) fn lines(&self, names: &mut Names, masked: &BTreeSet<(char, u16)>) -> Vec<String> {
        let mut streams: BTreeMap<(char, u16, u8, String), Vec<String>> = BTreeMap::new();
        let mut confirms: BTreeMap<(char, u16), [BTreeSet<u64>; 2]> = BTreeMap::new();
        for entry in &self.entries {
            let letter = entry.connection;
            match &entry.what {
                What::Note(text) => {
                    let key = (letter, 0, 0, String::new());
                    streams
                        .entry(key)
                        .or_default()
                        .push(format!("{letter} {}", names.fold(text)));
                }
                What::Confirm {
                    acked,
                    numbers,
                    event,
                } => {
                    let slots = confirms.entry((letter, event.channel())).or_default();
                    slots[usize::from(*acked)].extend(numbers);
                }
                What::Event {
                    event,
                    queue,
                    reordered,
                } => {
                    let (stream, source) = match event.name() {
                        "basic.return" => (2, ""),
                        "basic.deliver" => (3, queue.as_str()),
                        "basic.cancel" => (4, ""),
                        _ => (1, ""),
                    };
                    let mask = masked.contains(&(letter, event.channel()));
                    let mut line = format!("{letter} {}", names.normal(event, mask));
                    if *reordered {
                        line.push_str(" (headers reordered)");
                    }
                    let key = (letter, event.channel(), stream, names.fold(source));
                    streams.entry(key).or_default().push(line);
                }
            }
        }
        let mut lines: Vec<String> = Vec::new();
        for ((_, _, stream, _), mut found) in streams {
            // Cancellations of several consumers come in no particular order.
            if stream == 4 || (stream == 3 && self.disturbed) {
                found.sort();
            }
            lines.extend(found);
        }
        for ((letter, channel), [nacked, acked]) in confirms {
            lines.push(format!(
                "{letter} [{channel}] confirms: acked {acked:?} nacked {nacked:?}"
            ));
        }
        let count =
            |(queue, counts): (&String, &String)| format!("counts {} {counts}", names.fold(queue));
        let mut counts: Vec<String> = self.counts.iter().map(count).collect();
        counts.sort();
        lines.extend(counts);
        lines
    }
}
