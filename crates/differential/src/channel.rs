//! What a client of the script has to remember of its connections and channels.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use probe::{Client, Event, Method};

use crate::seen::Seen;

/// An open connection.
pub(crate) struct Connection {
    /// The socket.
    pub(crate) client: Client,
    /// Open channels.
    pub(crate) channels: BTreeMap<u16, Channel>,
    /// The channel for questions is open.
    pub(crate) question_open: bool,
    /// Closes are not answered.
    pub(crate) mute: bool,
    /// The broker has closed it.
    pub(crate) closed: bool,
}

/// An open channel.
#[derive(Default)]
pub(crate) struct Channel {
    confirm: bool,
    tx: bool,
    published: u64,
    numbers: HashMap<Vec<u8>, u64>,
    /// Publishes not confirmed yet.
    pub(crate) outstanding: BTreeSet<u64>,
    unacked: Vec<Unacked>,
    /// Settled inside a transaction that has not ended yet.
    pending: Vec<Unacked>,
    /// Several queues delivered in one step, so tags carry no meaning any more.
    pub(crate) ambiguous: bool,
    consumers: BTreeMap<String, Source>,
    /// The get or consume that awaits its answer.
    asked: Source,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Unacked {
    body: Vec<u8>,
    source: String,
    tag: u64,
}

#[derive(Clone, Debug, Default)]
struct Source {
    queue: String,
    no_ack: bool,
}

impl Connection {
    /// A connection nothing is known of yet.
    pub(crate) fn new(client: Client) -> Self {
        Self {
            client,
            channels: BTreeMap::new(),
            question_open: false,
            mute: false,
            closed: false,
        }
    }
}

impl Channel {
    /// A message goes out.
    pub(crate) fn note_publish(&mut self, body: &[u8]) {
        if self.confirm {
            self.published += 1;
            self.outstanding.insert(self.published);
            self.numbers.insert(body.to_vec(), self.published);
        }
    }

    /// A method goes out.
    pub(crate) fn note_sent(&mut self, method: &Method) {
        match method.name {
            "basic.get" | "basic.consume" => {
                self.asked = Source {
                    queue: method.text("queue"),
                    no_ack: method.bit("no_ack"),
                };
                if method.bit("nowait") {
                    self.consumers
                        .insert(method.text("consumer_tag"), self.asked.clone());
                }
            }
            "basic.cancel" if method.bit("nowait") => {
                self.consumers.remove(&method.text("consumer_tag"));
            }
            "basic.recover" | "basic.recover-async" => self.unacked.clear(),
            "confirm.select" if method.bit("nowait") => self.confirm = true,
            "basic.ack" | "basic.nack" | "basic.reject" => {
                self.take_unacked(method.number("delivery_tag"), method.bit("multiple"));
            }
            _ => {}
        }
    }

    /// The tag of the unacked delivery with this body.
    pub(crate) fn tag_of(&self, body: &[u8]) -> Option<u64> {
        self.unacked
            .iter()
            .rev()
            .find(|unacked| unacked.body == body)
            .map(|unacked| unacked.tag)
    }

    /// The tag of one of the unacked deliveries, chosen by a number that means the same one on both
    /// sides even where tags differ.
    pub(crate) fn tag_picked(&self, pick: usize) -> Option<u64> {
        let mut sorted: Vec<&Unacked> = self.unacked.iter().collect();
        sorted.sort();
        let index = pick.checked_rem(sorted.len())?;
        sorted.get(index).map(|unacked| unacked.tag)
    }

    fn take_unacked(&mut self, tag: u64, multiple: bool) {
        let hit = |unacked: &Unacked| match multiple {
            true => tag == 0 || unacked.tag <= tag,
            false => unacked.tag == tag,
        };
        let (taken, kept) = self.unacked.drain(..).partition(hit);
        self.unacked = kept;
        if self.tx {
            self.pending.extend::<Vec<Unacked>>(taken);
        }
    }

    /// Books an event of this channel and writes it down.
    pub(crate) fn handle(&mut self, letter: char, event: &Event, reordered: bool, seen: &mut Seen) {
        let Some(method) = event.method() else {
            return seen.event(letter, event);
        };
        let consumer_tag = method.text("consumer_tag");
        match method.name {
            "basic.deliver" => return self.handle_delivery(letter, event, reordered, seen),
            "basic.get-ok" => {
                self.keep_unacked(event, self.asked.clone());
                return seen.delivery(letter, event, &self.asked.queue, reordered);
            }
            "basic.return" => {
                if let Event::Content { body, .. } = event
                    && let Some(number) = self.numbers.get(body)
                    && !self.outstanding.contains(number)
                {
                    seen.note(letter, &format!("RETURN AFTER CONFIRM of publish {number}"));
                }
                return seen.delivery(letter, event, "", reordered);
            }
            "basic.ack" | "basic.nack" => {
                let numbers = self.take_outstanding(method);
                if numbers.is_empty() {
                    seen.note(letter, &format!("CONFIRM OF NOTHING {method}"));
                }
                return seen.confirm(letter, event, numbers);
            }
            "basic.consume-ok" => {
                self.consumers.insert(consumer_tag, self.asked.clone());
            }
            "basic.cancel-ok" | "basic.cancel" => {
                self.consumers.remove(&consumer_tag);
            }
            "confirm.select-ok" => self.confirm = true,
            "tx.select-ok" => self.tx = true,
            "tx.commit-ok" => self.pending.clear(),
            "tx.rollback-ok" => self.unacked.append(&mut self.pending),
            _ => {}
        }
        seen.event(letter, event);
    }

    fn handle_delivery(&mut self, letter: char, event: &Event, reordered: bool, seen: &mut Seen) {
        let tag = event
            .method()
            .map(|method| method.text("consumer_tag"))
            .unwrap_or_default();
        let source = match self.consumers.get(&tag) {
            Some(source) => source.clone(),
            // The tag that the broker gave to a nowait consume is known to nobody.
            None if tag.starts_with("amq.ctag-") => Source {
                queue: tag,
                no_ack: true,
            },
            None => {
                seen.note(
                    letter,
                    &format!("DELIVERY TO A CONSUMER THAT IS NOT THERE {tag}"),
                );
                Source::default()
            }
        };
        self.keep_unacked(event, source.clone());
        seen.delivery(letter, event, &source.queue, reordered);
    }

    fn keep_unacked(&mut self, event: &Event, source: Source) {
        if let (Event::Content { method, body, .. }, false) = (event, source.no_ack) {
            let tag = method.number("delivery_tag");
            let source = format!("{} {}", source.queue, method.text("consumer_tag"));
            self.unacked.push(Unacked {
                body: body.clone(),
                source,
                tag,
            });
        }
    }

    fn take_outstanding(&mut self, method: &Method) -> BTreeSet<u64> {
        let tag = method.number("delivery_tag");
        let taken: BTreeSet<u64> = match method.bit("multiple") {
            true => self
                .outstanding
                .iter()
                .copied()
                .filter(|n| tag == 0 || *n <= tag)
                .collect(),
            false => self
                .outstanding
                .iter()
                .copied()
                .filter(|n| *n == tag)
                .collect(),
        };
        self.outstanding.retain(|number| !taken.contains(number));
        taken
    }
}
