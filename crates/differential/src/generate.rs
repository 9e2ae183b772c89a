//! Random scripts: mostly valid, with the mistakes clients make, and with one possible outcome.
//!
//! The generator keeps no model of a broker, only the names it has used; what a step does to a
//! broker in the state it is in by then is for the two brokers to agree on. It avoids the few
//! situations whose outcome no broker promises, namely: two queues dead-lettering into one at the
//! same time (each source queue has a dead-letter queue of its own, and nobody else publishes
//! there), hash and random exchanges with more than one queue, messages that expire while steps are
//! played (a script with a short TTL waits after each step), and, where several consumers compete
//! for one queue, prefetch and the end of a connection.

mod topology;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

use crate::script::{Situation, Step};

/// The script of a seed.
pub(crate) fn generate(seed: u64) -> Situation {
    let mut rng = StdRng::seed_from_u64(seed);
    let flavour = Flavour::draw(&mut rng);
    let length = match flavour {
        Flavour::ShortTtl => rng.random_range(5..12),
        Flavour::Quorum => rng.random_range(8..25),
        _ => rng.random_range(12..45),
    };
    let mut author = Author {
        rng,
        flavour,
        steps: Vec::new(),
        queues: Vec::new(),
        exchanges: Vec::new(),
        tags: Vec::new(),
        receivers: Vec::new(),
        invented: 0,
        replies: 0,
        messages: 0,
        connections: 1,
    };
    author.connections = author.rng.random_range(1..=3);
    author.prologue();
    while author.steps.len() < length {
        author.step();
    }
    let steps = author
        .steps
        .iter()
        .map(|line| Step::parse(line).expect("the author's own words"));
    Situation {
        title: format!("seed {seed}, {flavour:?}"),
        steps: steps.collect(),
    }
}

/// What a script dwells on.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Flavour {
    /// Classic queues, everything.
    Classic,
    /// Mostly topology: declare, bind, delete, errors.
    Topology,
    /// Consumers with prefetch, one a queue.
    Prefetch,
    /// Several consumers a queue, without prefetch.
    Competing,
    /// Transactions on some channels.
    Transactions,
    /// Dead letters, length limits.
    DeadLetters,
    /// A queue TTL that passes after each step.
    ShortTtl,
    /// Quorum queues.
    Quorum,
}

impl Flavour {
    fn draw(rng: &mut StdRng) -> Self {
        match rng.random_range(0..100) {
            0..30 => Flavour::Classic,
            30..45 => Flavour::Topology,
            45..58 => Flavour::Prefetch,
            58..68 => Flavour::Competing,
            68..78 => Flavour::Transactions,
            78..94 => Flavour::DeadLetters,
            94..96 => Flavour::ShortTtl,
            _ => Flavour::Quorum,
        }
    }
}

struct Author {
    rng: StdRng,
    flavour: Flavour,
    steps: Vec<String>,
    queues: Vec<String>,
    exchanges: Vec<String>,
    /// Consumers: who, tag.
    tags: Vec<(String, String)>,
    /// Channels that got or consumed something.
    receivers: Vec<String>,
    /// Server-named queues declared so far.
    invented: usize,
    replies: usize,
    messages: usize,
    connections: u8,
}

impl Author {
    fn write(&mut self, who: &str, action: String) {
        self.steps.push(format!("{who} {action}"));
        if self.flavour == Flavour::ShortTtl {
            self.steps.push("a wait 500".into());
        }
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from.choose(&mut self.rng).copied().unwrap_or("")
    }

    fn who(&mut self) -> String {
        let letter = char::from(b'a' + self.rng.random_range(0..self.connections));
        let channel = match self.rng.random_range(0..10) {
            0..6 => 1,
            6..9 => 2,
            _ => 3,
        };
        format!("{letter}{channel}")
    }

    fn queue(&mut self) -> String {
        if self.chance(3) {
            return self.pick(&["%nope", "", "amq.nope"]).into();
        }
        if 0 < self.invented && self.chance(10) {
            return format!("$gen{}", self.rng.random_range(1..=self.invented));
        }
        self.queues
            .choose(&mut self.rng)
            .cloned()
            .unwrap_or_else(|| "%nope".into())
    }

    fn exchange(&mut self) -> String {
        if self.chance(3) {
            return "%nope".into();
        }
        if self.chance(40) {
            return self
                .pick(&[
                    "amq.direct",
                    "amq.fanout",
                    "amq.topic",
                    "amq.headers",
                    "amq.match",
                    "",
                ])
                .into();
        }
        self.exchanges
            .choose(&mut self.rng)
            .cloned()
            .unwrap_or_else(|| "amq.direct".into())
    }

    fn key(&mut self) -> String {
        self.pick(&["a", "b", "a.b", "a.b.c", "a..b", "b.c", "x", "\"\""])
            .into()
    }

    fn pattern(&mut self) -> String {
        self.pick(&[
            "a", "b", "#", "*", "a.*", "a.#", "#.b", "*.b", "a.#.c", "a.*.b", "#.#", "x", "\"\"",
            "#.a.#",
        ])
        .into()
    }

    fn headers(&mut self) -> String {
        let mut entries = Vec::new();
        for key in ["h1", "h2", "x-h3"] {
            if self.chance(50) {
                let value = self.pick(&[
                    "1",
                    "2",
                    "\"one\"",
                    "true",
                    "l:1",
                    "d:1.5",
                    "void",
                    "{n: 1}",
                    "[1, \"a\"]",
                    "T:1700000000",
                ]);
                entries.push(format!("{key}: {value}"));
            }
        }
        entries.join(", ")
    }

    /// A few queues and exchanges to begin with, so that most scripts get somewhere.
    fn prologue(&mut self) {
        for _ in 0..self.rng.random_range(1..4) {
            self.declare_queue(true);
        }
        if self.chance(50) {
            self.declare_exchange();
        }
        if self.chance(50) {
            self.bind();
        }
    }

    fn step(&mut self) {
        let topology = self.flavour == Flavour::Topology;
        match self.rng.random_range(0..100) {
            0..6 => self.declare_queue(false),
            6..11 => self.declare_exchange(),
            11..18 => self.bind(),
            18..20 => self.unbind(),
            20..22 => self.delete(),
            22..42 if topology => self.step_topology(),
            22..50 => self.publish(),
            50..60 => self.get(),
            60..68 => self.consume(),
            68..84 => self.settle(),
            84..88 => self.mode(),
            88..91 => self.cancel(),
            91..93 => self.recover_or_qos(),
            93..94 => self.purge(),
            94..96 => self.reply_to(),
            96..98 => self.end_channel(),
            98..99 => self.end_connection(),
            _ => self.mistake(),
        }
    }

    fn step_topology(&mut self) {
        match self.rng.random_range(0..5) {
            0 => self.declare_queue(false),
            1 => self.declare_exchange(),
            2 => self.bind(),
            3 => self.unbind(),
            _ => self.delete(),
        }
    }

    fn publish(&mut self) {
        let who = self.who();
        self.messages += 1;
        let body = format!("m{}", self.messages);
        let (exchange, key) = match self.chance(65) {
            true => (String::new(), self.queue()),
            false => (self.exchange(), self.key()),
        };
        let mut text = format!("publish exchange=\"{exchange}\" routing_key={key}");
        if self.chance(20) {
            text.push_str(" mandatory");
        }
        if self.chance(50) {
            text.push_str(" delivery_mode=2");
        }
        if self.chance(20) {
            text.push_str(&format!(" priority={}", self.rng.random_range(0..7)));
        }
        if self.chance(8) {
            text.push_str(" expiration=600000");
        }
        if self.chance(10) {
            text.push_str(
                " content_type=text/plain correlation_id=c1 app_id=a timestamp=1700000000",
            );
        }
        let mut headers =
            match exchange.contains("headers") || exchange.contains("match") || self.chance(15) {
                true => self.headers(),
                false => String::new(),
            };
        if self.chance(6) {
            let copy = self.queue();
            let name = self.pick(&["CC", "BCC"]);
            let comma = if headers.is_empty() { "" } else { ", " };
            headers.push_str(&format!("{comma}{name}: [\"{copy}\"]"));
        }
        if !headers.is_empty() {
            text.push_str(&format!(" headers={{{headers}}}"));
        }
        if self.chance(12) {
            text.push_str(&format!(" burst={}", self.rng.random_range(2..6)));
        }
        let size = self.chance(2);
        match size {
            true => text.push_str(&format!(
                " size={}",
                self.rng.random_range(0..300_000) + self.messages
            )),
            false => text.push_str(&format!(" body={body}")),
        }
        self.write(&who, text);
    }

    fn get(&mut self) {
        let who = self.who();
        let queue = match self.flavour == Flavour::DeadLetters && self.chance(40) {
            true => format!("%q{}-dead", self.rng.random_range(0..3)),
            false => self.queue(),
        };
        let flag = self.pick(&["", "", " no_ack"]);
        self.receivers.push(who.clone());
        self.write(&who, format!("basic.get queue={queue}{flag}"));
    }

    fn consume(&mut self) {
        let who = self.who();
        let queue = self.queue();
        let competing = self.flavour == Flavour::Competing;
        let taken = self.tags.iter().any(|(_, tag)| tag.ends_with(&queue));
        if taken && !competing && self.chance(95) {
            return self.get();
        }
        let tag = match !competing && self.chance(3) {
            true => self
                .tags
                .choose(&mut self.rng)
                .map_or("t".into(), |(_, tag)| tag.clone()),
            false => format!("t{}{queue}", self.tags.len()),
        };
        let mut text = format!("basic.consume queue={queue} consumer_tag={tag}");
        if self.chance(30) {
            text.push_str(" no_ack");
        }
        if self.chance(5) {
            text.push_str(" exclusive");
        }
        if competing && self.chance(20) {
            text.push_str(&format!(
                " arguments={{x-priority: {}}}",
                self.rng.random_range(-2..3)
            ));
        }
        self.receivers.push(who.clone());
        self.tags.push((who.clone(), tag));
        if self.flavour == Flavour::Prefetch {
            let count = self.rng.random_range(0..4);
            self.write(&who, format!("basic.qos prefetch_count={count}"));
        }
        self.write(&who, text);
    }

    fn settle(&mut self) {
        let receiver = self.receivers.choose(&mut self.rng).cloned();
        let Some(who) = receiver else {
            return self.get();
        };
        let pick = self.rng.random_range(0..8);
        let text = match self.rng.random_range(0..10) {
            0..4 => format!("ack pick={pick}"),
            4 => format!("ack pick={pick} multiple"),
            5 => format!("nack pick={pick} requeue"),
            6 => format!("nack pick={pick} multiple requeue"),
            7 => format!("nack pick={pick}"),
            8 => format!("reject pick={pick} requeue"),
            _ => format!("reject pick={pick}"),
        };
        self.write(&who, text);
    }

    fn mode(&mut self) {
        let who = self.who();
        let text = match self.flavour {
            Flavour::Transactions => self.pick(&[
                "tx.select",
                "tx.commit",
                "tx.commit",
                "tx.rollback",
                "confirm.select",
            ]),
            _ => self.pick(&[
                "confirm.select",
                "confirm.select",
                "confirm.select",
                "confirm.select",
                "confirm.select",
                "tx.select",
                "tx.commit",
            ]),
        };
        self.write(&who, text.into());
    }

    fn cancel(&mut self) {
        let Some((who, tag)) = self.tags.choose(&mut self.rng).cloned() else {
            return;
        };
        self.tags.retain(|(_, other)| *other != tag);
        self.write(&who, format!("basic.cancel consumer_tag={tag}"));
    }

    fn recover_or_qos(&mut self) {
        let who = self.who();
        let text = self.pick(&[
            "basic.recover requeue",
            "basic.recover-async requeue",
            "basic.qos prefetch_count=0",
            "channel.flow active",
        ]);
        self.write(&who, text.into());
    }

    fn purge(&mut self) {
        let who = self.who();
        let queue = self.queue();
        self.write(&who, format!("queue.purge queue={queue}"));
    }

    fn reply_to(&mut self) {
        let who = self.who();
        let queue = self.queue();
        self.messages += 2;
        let (ask, answer) = (self.messages - 1, self.messages);
        self.replies += 1;
        let reply = self.rng.random_range(1..=self.replies);
        self.write(
            &who,
            format!(
                "basic.consume queue=amq.rabbitmq.reply-to no_ack consumer_tag=r{}",
                self.replies
            ),
        );
        self.write(
            &who,
            format!("publish routing_key={queue} reply_to=amq.rabbitmq.reply-to body=m{ask}"),
        );
        let other = self.who();
        self.write(&other, format!("basic.get queue={queue} no_ack"));
        self.write(
            &other,
            format!("publish routing_key=$reply{reply} mandatory body=m{answer}"),
        );
    }

    fn end_channel(&mut self) {
        let who = self.who();
        self.tags.retain(|(owner, _)| *owner != who);
        self.write(&who, "channel.close reply_code=200".into());
    }

    fn end_connection(&mut self) {
        if self.flavour == Flavour::Competing {
            return self.end_channel();
        }
        let who = self.who();
        let letter = &who[..1];
        self.tags.retain(|(owner, _)| !owner.starts_with(letter));
        let text = self.pick(&["connection.close reply_code=200", "drop"]);
        self.write(letter, text.into());
    }

    fn mistake(&mut self) {
        let who = self.who();
        let ending = [
            "publish routing_key=a immediate body=x",
            "basic.qos prefetch_size=5",
            "basic.recover",
        ];
        if self.flavour != Flavour::Competing && self.chance(20) {
            let text = self.pick(&ending);
            return self.write(&who, text.into());
        }
        let text = self.pick(&[
            "basic.ack delivery_tag=77",
            "basic.nack delivery_tag=77 multiple",
            "basic.reject delivery_tag=0",
            "basic.ack delivery_tag=0 multiple",
            "publish exchange=%nope body=x",
            "publish routing_key=a expiration=abc body=x",
            "publish routing_key=a user_id=bob body=x",
            "publish routing_key=a headers={CC: 5} body=x",
            "basic.cancel consumer_tag=nope",
            "exchange.delete exchange=amq.direct",
            "queue.declare queue=amq.mine durable",
            "exchange.declare exchange=amq.mine type=direct",
            "basic.consume queue=amq.rabbitmq.reply-to",
            "publish routing_key=a reply_to=amq.rabbitmq.reply-to body=x",
        ]);
        self.write(&who, text.into());
    }
}
