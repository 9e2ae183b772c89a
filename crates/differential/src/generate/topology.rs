//! Steps that shape the topology: declare, bind, unbind, delete.

use rand::Rng;
use rand::seq::IndexedRandom;

use super::{Author, Flavour};

impl Author {
    pub(super) fn declare_queue(&mut self, fresh: bool) {
        let who = self.who();
        if !fresh && self.chance(12) {
            let flags = self.pick(&["exclusive", "exclusive auto_delete", "exclusive durable"]);
            self.invented += 1;
            return self.write(&who, format!("queue.declare {flags}"));
        }
        if !fresh && self.chance(25) {
            let queue = self.queue();
            return self.write(&who, format!("queue.declare queue={queue} passive"));
        }
        let index = if fresh {
            self.queues.len()
        } else {
            self.rng.random_range(0..5)
        };
        let queue = format!("%q{index}");
        let mut flags = self.queue_flags();
        let mut arguments = self.queue_arguments(&queue, fresh);
        if self.flavour == Flavour::Quorum && self.chance(85) {
            flags = " durable".into();
            arguments.retain(|argument| !argument.starts_with("x-max-priority"));
            arguments.push("x-queue-type: \"quorum\"".into());
        }
        let arguments = match arguments.is_empty() {
            true => String::new(),
            false => format!(" arguments={{{}}}", arguments.join(", ")),
        };
        if !self.queues.contains(&queue) {
            self.queues.push(queue.clone());
        }
        self.write(
            &who,
            format!("queue.declare queue={queue}{flags}{arguments}"),
        );
    }

    pub(super) fn queue_flags(&mut self) -> String {
        let mut flags = String::new();
        if self.chance(85) {
            flags.push_str(" durable");
        }
        if self.chance(10) {
            flags.push_str(" exclusive");
        }
        if self.chance(8) {
            flags.push_str(" auto_delete");
        }
        flags
    }

    pub(super) fn queue_arguments(&mut self, queue: &str, fresh: bool) -> Vec<String> {
        let mut arguments: Vec<String> = Vec::new();
        if self.flavour == Flavour::ShortTtl && fresh {
            arguments.push("x-message-ttl: 150".into());
        } else if self.chance(8) {
            arguments.push(format!(
                "x-message-ttl: {}",
                self.pick(&["600000", "l:600000", "0"])
            ));
        }
        self.dead_letter_arguments(queue, &mut arguments);
        let limits = if self.flavour == Flavour::DeadLetters {
            40
        } else {
            10
        };
        if self.chance(limits) {
            arguments.push(format!("x-max-length: {}", self.rng.random_range(0..4)));
            if self.chance(60) {
                let overflow = match self.flavour {
                    // RabbitMQ's quorum queues refuse only what comes after they have noticed (COMPAT.md).
                    Flavour::Quorum => "drop-head",
                    _ => self.pick(&["drop-head", "reject-publish", "reject-publish-dlx"]),
                };
                arguments.push(format!("x-overflow: \"{overflow}\""));
            }
        } else if self.flavour != Flavour::Quorum && self.chance(limits / 3) {
            // Quorum queues of RabbitMQ count headers and bookkeeping too (COMPAT.md).
            arguments.push(format!(
                "x-max-length-bytes: {}",
                self.rng.random_range(0..20)
            ));
        }
        if self.chance(8) {
            arguments.push(format!("x-max-priority: {}", self.pick(&["1", "5", "10"])));
        }
        if self.chance(8) {
            arguments.push("x-single-active-consumer: true".into());
        }
        if self.chance(4) {
            let other = self.pick(&[
                "x-expires: 600000",
                "x-foo: 1",
                "x-queue-type: \"classic\"",
                "x-message-ttl: -1",
                "x-expires: 0",
                "x-max-length: \"many\"",
                "x-max-priority: 300",
                "x-overflow: \"nope\"",
                "x-single-active-consumer: 1",
                "x-queue-type: \"nope\"",
                "x-dead-letter-exchange: 5",
                "x-delivery-limit: 3",
            ]);
            arguments.push(other.into());
        }
        arguments
    }

    /// A dead-letter queue of its own, declared first.
    fn dead_letter_arguments(&mut self, queue: &str, arguments: &mut Vec<String>) {
        let dead = match self.flavour {
            Flavour::DeadLetters | Flavour::ShortTtl => 80,
            _ => 10,
        };
        if self.chance(dead) {
            let key = format!("{queue}-dead");
            let declare = match self.chance(30) {
                // Back where it came from, which makes a cycle.
                true => format!(
                    "a1 queue.declare queue={key} durable arguments={{x-dead-letter-exchange: \"\", x-dead-letter-routing-key: \"{queue}\"}}"
                ),
                false => format!("a1 queue.declare queue={key} durable"),
            };
            self.steps.push(declare);
            arguments.push("x-dead-letter-exchange: \"\"".into());
            arguments.push(format!("x-dead-letter-routing-key: \"{key}\""));
        }
    }

    pub(super) fn declare_exchange(&mut self) {
        let who = self.who();
        let exchange = format!("%e{}", self.rng.random_range(0..4));
        if self.chance(15) {
            let exchange = self.exchange();
            return self.write(
                &who,
                format!("exchange.declare exchange=\"{exchange}\" passive"),
            );
        }
        let kind = self.pick(&[
            "direct",
            "fanout",
            "topic",
            "headers",
            "direct",
            "fanout",
            "topic",
            "headers",
            "x-recent-history",
            "nope",
        ]);
        let mut flags = String::new();
        for (flag, percent) in [("durable", 40), ("auto_delete", 12), ("internal", 8)] {
            if self.chance(percent) {
                flags.push_str(&format!(" {flag}"));
            }
        }
        if self.chance(15) {
            let alternate = self.exchange();
            flags.push_str(&format!(
                " arguments={{alternate-exchange: \"{alternate}\"}}"
            ));
        }
        if !self.exchanges.contains(&exchange) {
            self.exchanges.push(exchange.clone());
        }
        self.write(
            &who,
            format!("exchange.declare exchange={exchange} type={kind}{flags}"),
        );
    }

    pub(super) fn binding(&mut self) -> String {
        let exchange = self.exchange();
        let arguments =
            match exchange.contains("headers") || exchange.contains("match") || self.chance(15) {
                true => {
                    let x_match = self.pick(&[
                        "all",
                        "any",
                        "all-with-x",
                        "any-with-x",
                        "all",
                        "any",
                        "none",
                    ]);
                    let headers = self.headers();
                    format!(" arguments={{x-match: \"{x_match}\", {headers}}}")
                }
                false => String::new(),
            };
        let key = self.pattern();
        if self.chance(25) {
            // A binding between two predeclared exchanges would outlive the script.
            let destination = match self.exchange() {
                found if found.starts_with("amq.") && exchange.starts_with("amq.") => "%e0".into(),
                found => found,
            };
            return format!(
                "exchange.bind source=\"{exchange}\" destination=\"{destination}\" routing_key={key}{arguments}"
            );
        }
        let queue = self.queue();
        format!("queue.bind queue={queue} exchange=\"{exchange}\" routing_key={key}{arguments}")
    }

    pub(super) fn bind(&mut self) {
        let who = self.who();
        let binding = self.binding();
        self.write(&who, binding);
    }

    pub(super) fn unbind(&mut self) {
        let who = self.who();
        let earlier: Vec<String> = self
            .steps
            .iter()
            .filter_map(|step| step.split_once(' '))
            .filter(|(_, action)| action.contains(".bind "))
            .map(|(_, action)| action.replacen(".bind ", ".unbind ", 1))
            .collect();
        let unbind = match earlier.choose(&mut self.rng).cloned() {
            Some(unbind) => unbind,
            None => self.binding().replacen(".bind ", ".unbind ", 1),
        };
        self.write(&who, unbind);
    }

    pub(super) fn delete(&mut self) {
        let who = self.who();
        if self.chance(40) {
            let exchange = self.exchange();
            let flag = self.pick(&["", " if_unused"]);
            return self.write(
                &who,
                format!("exchange.delete exchange=\"{exchange}\"{flag}"),
            );
        }
        let queue = self.queue();
        let flag = match self.flavour {
            Flavour::Quorum => "",
            _ => self.pick(&["", " if_unused", " if_empty"]),
        };
        self.write(&who, format!("queue.delete queue={queue}{flag}"));
    }
}
