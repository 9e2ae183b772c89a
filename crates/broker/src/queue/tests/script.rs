//! A few words for queue tests: a command a line, and behind `|` what it must bring about.
//!
//! ```text
//! publish a b/ttl=5/pri=2/size=10    consume 1 prefetch=1 pri=2 no-ack exclusive shared timeout=9
//! ack a b      reject a      requeue a      requeue-counted a      get      get-no-ack     purge
//! cancel 1     at 20         window 1       gate 2                 resume 1 touch          drain
//! ```
//! Effects: `1:a` delivery to consumer 1 (`1:a*` redelivered, `1:a*2` its delivery count is 2), `get:a`, `a?` refused,
//! `a!expired` dead letter, `-a` released, `1~a` held for too long, `active=1`, `auto-delete`, `expired-queue`,
//! `again` work is left for another call, `in-use`, `n=3` a count.

use std::collections::BTreeMap;

use super::super::*;
use crate::message::{LogPosition, Message};
use wire::amqp091::properties::Properties;

/// A message whose body begins with its name.
pub(super) fn message(
    name: &str,
    ttl_ms: Option<u64>,
    priority: Option<u8>,
    size: usize,
) -> Message {
    let raw = match priority {
        Some(priority) => vec![0x08, 0x00, priority],
        None => vec![0x00, 0x00],
    };
    let properties = Properties::validate(&raw).expect("well-formed");
    let mut body = name.as_bytes().to_vec();
    body.resize(size.max(name.len()), b'.');
    Message::new("", "q", &properties, ttl_ms, &body, &mut Vec::new())
}

/// A message with its name in its routing key.
pub(super) fn keyed_message(
    name: &str,
    ttl_ms: Option<u64>,
    priority: Option<u8>,
    size: usize,
) -> Message {
    let plain = message("m", ttl_ms, priority, size);
    let properties = Properties::validate(plain.properties()).expect("well-formed");
    Message::new("", name, &properties, ttl_ms, plain.body(), &mut Vec::new())
}

pub(super) fn name_of(message: &Message) -> String {
    let body = std::str::from_utf8(message.body()).expect("names are text");
    body.trim_end_matches('.').to_owned()
}

/// Admits so many deliveries.
#[derive(Default)]
pub(super) struct Budget(pub(super) u32);

impl Gate for Budget {
    fn admit(&mut self, _: ConsumerId) -> bool {
        let admits = 0 < self.0;
        self.0 = self.0.saturating_sub(1);
        admits
    }
}

struct Script {
    queue: Queue,
    now_ms: u64,
    gate: Budget,
    effects: Effects,
    names: Vec<String>,
    held: BTreeMap<String, DeliveryId>,
    windows: BTreeMap<u64, u64>,
    output: Vec<String>,
}

/// Runs the script and compares line by line.
#[track_caller]
pub(super) fn check(options: QueueOptions, script: &str) {
    let mut it = Script {
        queue: Queue::new(options, 0),
        now_ms: 0,
        gate: Budget::default(),
        effects: Effects::default(),
        names: Vec::new(),
        held: BTreeMap::new(),
        windows: BTreeMap::new(),
        output: Vec::new(),
    };
    let lines: Vec<&str> = script
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    for (number, line) in lines.iter().enumerate() {
        let (command, expected) = line.split_once('|').unwrap_or((line, ""));
        it.run(command.trim());
        it.queue.check_invariants();
        let output = it.take_output();
        let before = lines[..number].join("\n");
        assert_eq!(output, expected.trim(), "\nafter:\n{before}\nof `{line}`");
    }
}

impl Script {
    fn run(&mut self, command: &str) {
        let mut words = command.split_whitespace();
        let verb = words.next().expect("a verb");
        let words: Vec<&str> = words.collect();
        let number = || {
            words
                .first()
                .and_then(|w| w.parse::<u64>().ok())
                .expect("a number")
        };
        let consumer = || ConsumerId(number());
        let (now_ms, gate, effects) = (self.now_ms, &mut self.gate, &mut self.effects);
        match verb {
            "publish" => self.publish(&words),
            "consume" => self.consume(&words),
            "ack" => self.settle(&words, Settlement::Ack),
            "reject" => self.settle(&words, Settlement::DeadLetter { counted: true }),
            "requeue" => self.settle(&words, Settlement::Requeue { counted: false }),
            "requeue-counted" => self.settle(&words, Settlement::Requeue { counted: true }),
            "get" | "get-no-ack" => match self.queue.get(now_ms, verb == "get-no-ack", effects) {
                Some(delivery) => self.deliver(&delivery),
                None => self.output.push("get:".to_owned()),
            },
            "purge" => {
                let len = self.queue.purge(now_ms, effects);
                self.output.push(format!("n={len}"));
            }
            "drain" => {
                let len = self.queue.drain_all(effects);
                self.output.push(format!("n={len}"));
            }
            "cancel" => {
                self.queue
                    .cancel_consumer(now_ms, consumer(), gate, effects);
            }
            "at" => {
                self.now_ms = number();
                self.queue.handle_timeout(self.now_ms, gate, effects);
                let again = self
                    .queue
                    .poll_timeout()
                    .is_some_and(|at_ms| at_ms <= self.now_ms);
                self.output.extend(again.then(|| "again".to_owned()));
            }
            "window" => {
                let bytes = self.windows.remove(&number()).unwrap_or(0);
                self.queue
                    .return_window(now_ms, consumer(), bytes, gate, effects);
            }
            "gate" => self.gate.0 = number() as u32,
            "resume" => self.queue.resume(now_ms, consumer(), gate, effects),
            "touch" => self.queue.touch(now_ms),
            "limit" => {
                let options = QueueOptions {
                    length_max: Some(number()),
                    ..self.queue.options().clone()
                };
                self.queue.set_options(now_ms, options, gate, effects);
            }
            "len" => {
                let (ready, unacked) = (self.queue.ready_len(), self.queue.unacked_len());
                self.output.push(format!("ready={ready} unacked={unacked}"));
            }
            _ => panic!("what is `{verb}`?"),
        }
    }

    fn publish(&mut self, words: &[&str]) {
        let first = self.names.len();
        let mut batch = Vec::new();
        for word in words {
            let mut parts = word.split('/');
            let name = parts.next().expect("a name");
            let (mut ttl_ms, mut priority, mut size) = (None, None, 0);
            for part in parts {
                let (key, value) = part.split_once('=').expect("key=value");
                let value: u64 = value.parse().expect("a number");
                match key {
                    "ttl" => ttl_ms = Some(value),
                    "pri" => priority = Some(value as u8),
                    "size" => size = value as usize,
                    _ => panic!("what is `{part}`?"),
                }
            }
            self.names.push(name.to_owned());
            let position = LogPosition(self.names.len() as u64);
            batch.push(Incoming::new(
                message(name, ttl_ms, priority, size),
                position,
            ));
        }
        self.queue
            .publish(self.now_ms, batch, &mut self.gate, &mut self.effects);
        for index in self.effects.rejected.split_off(0) {
            self.output
                .push(format!("{}?", self.names[first + index as usize]));
        }
    }

    fn consume(&mut self, words: &[&str]) {
        let id = ConsumerId(words[0].parse().expect("a number"));
        let mut options = ConsumerOptions::new(id);
        for word in &words[1..] {
            let (key, value) = word.split_once('=').unwrap_or((word, "0"));
            let value: i64 = value.parse().expect("a number");
            match key {
                "prefetch" => options.prefetch = value as u32,
                "pri" => options.priority = value,
                "timeout" => options.timeout_ms = Some(value as u64),
                "no-ack" => options.no_ack = true,
                "exclusive" => options.exclusive = true,
                "shared" => options.shared_prefetch = true,
                _ => panic!("what is `{word}`?"),
            }
        }
        let (gate, effects) = (&mut self.gate, &mut self.effects);
        if self
            .queue
            .add_consumer(self.now_ms, options, gate, effects)
            .is_err()
        {
            self.output.push("in-use".to_owned());
        }
    }

    fn settle(&mut self, names: &[&str], outcome: Settlement) {
        let ids: Vec<DeliveryId> = names.iter().map(|name| self.held[*name]).collect();
        self.queue.settle(
            self.now_ms,
            &ids,
            outcome,
            &mut self.gate,
            &mut self.effects,
        );
    }

    fn deliver(&mut self, delivery: &Delivery) {
        let name = name_of(&delivery.message);
        let to = match delivery.consumer {
            ConsumerId::NONE => "get".to_owned(),
            ConsumerId(id) => {
                *self.windows.entry(id).or_default() += delivery_bytes(&delivery.message);
                id.to_string()
            }
        };
        let redelivered = if delivery.redelivered { "*" } else { "" };
        let count = match delivery.delivery_count {
            0 => String::new(),
            count => count.to_string(),
        };
        self.output.push(format!("{to}:{name}{redelivered}{count}"));
        if !delivery.no_ack {
            self.held.insert(name, delivery.id);
        }
    }

    fn take_output(&mut self) -> String {
        let effects = std::mem::take(&mut self.effects);
        effects
            .deliveries
            .iter()
            .for_each(|delivery| self.deliver(delivery));
        for dead in &effects.dead {
            self.output.push(format!(
                "{}!{}",
                name_of(&dead.message),
                dead.reason.as_str()
            ));
        }
        for position in &effects.released {
            self.output
                .push(format!("-{}", self.names[position.0 as usize - 1]));
        }
        for TimedOut { consumer, ids } in &effects.timed_out {
            let name = |id| {
                self.held
                    .iter()
                    .find(|(_, held)| *held == id)
                    .map(|(n, _)| n.as_str())
            };
            let names: Vec<&str> = ids.iter().filter_map(name).collect();
            let who = match consumer {
                &ConsumerId::NONE => "get".to_owned(),
                ConsumerId(id) => id.to_string(),
            };
            self.output.push(format!("{who}~{}", names.join(",")));
        }
        if effects.active_changed {
            let active = self.queue.active_consumer();
            self.output.push(match active {
                Some(ConsumerId(id)) => format!("active={id}"),
                None => "active=none".to_owned(),
            });
        }
        self.output
            .extend(effects.auto_delete.then(|| "auto-delete".to_owned()));
        self.output
            .extend(effects.expired_queue.then(|| "expired-queue".to_owned()));
        std::mem::take(&mut self.output).join(" ")
    }
}
