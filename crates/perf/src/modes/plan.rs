//! What a load's options come to: topology, and who publishes what and consumes from where.

use anyhow::{Result, bail};
use wire::amqp091::SHORT_STRING_BYTES_MAX;

use crate::consumer::Acks;
use crate::options::LoadOptions;
use crate::ring::Publishes;
use crate::topology::Topology;

/// Stands for a number in a routing key.
const NUMBER: &str = "{n}";

/// Unacked deliveries that a consumer may hold, unless told otherwise.
const PREFETCH_DEFAULT: u64 = 1000;

/// See the module.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) topology: Topology,
    pub(super) publishers: usize,
    pub(super) consumers: usize,
    pub(super) acks: Acks,
    pub(super) prefetch: u16,
    routing_keys: Vec<String>,
    copies: u64,
}

impl Plan {
    /// Checks the options and fills in what they leave open.
    pub(super) fn new(options: &LoadOptions) -> Result<Plan> {
        let publishers = options.publishers.unwrap_or(1);
        let consumers = options.consumers.unwrap_or(1);
        if publishers == 0 && consumers == 0 {
            bail!("there is neither a publisher nor a consumer");
        }
        if options.rate.is_some_and(|rate| rate <= 0.0) {
            bail!("a rate is more than 0");
        }
        if options.confirms == Some(0) || options.ack_every == Some(0) {
            bail!("--confirms and --ack-every are 1 at least");
        }
        let topology = plan_topology(options)?;
        let routing_keys = plan_routing_keys(options, &topology);
        let longest = routing_keys.iter().map(String::len).max().unwrap_or(0);
        if SHORT_STRING_BYTES_MAX < longest {
            bail!("a routing key has at most {SHORT_STRING_BYTES_MAX} bytes");
        }
        let copies = match topology.exchange_kind.as_str() {
            "fanout" => topology.queues.len() as u64,
            _ => 1,
        };
        Ok(Plan {
            publishers,
            consumers,
            acks: plan_acks(options),
            prefetch: plan_prefetch(options)?,
            routing_keys,
            copies,
            topology,
        })
    }

    /// How many queues a message goes to.
    pub(super) fn copies(&self) -> u64 {
        self.copies
    }

    /// What publisher `index` publishes.
    pub(super) fn publishes_of(&self, index: usize, options: &LoadOptions) -> Publishes {
        Publishes {
            exchange: self.topology.exchange.clone(),
            routing_keys: share(&self.routing_keys, index, self.publishers)
                .cloned()
                .collect(),
            sizes: options.size.clone(),
            persistent: options.persistent,
            mandatory: options.mandatory,
            rings: self.publishers,
        }
    }

    /// The queues that consumer `index` consumes from.
    pub(super) fn queues_of(&self, index: usize) -> Vec<String> {
        share(&self.topology.queues, index, self.consumers)
            .cloned()
            .collect()
    }

    /// What was asked for, for the report.
    pub(super) fn describe(&self, options: &LoadOptions) -> Vec<(String, String)> {
        let mut said = vec![
            ("publishers".to_owned(), self.publishers.to_string()),
            ("consumers".to_owned(), self.consumers.to_string()),
            ("queues".to_owned(), self.topology.queues.len().to_string()),
            ("size".to_owned(), options.size.to_string()),
            ("persistent".to_owned(), options.persistent.to_string()),
            ("durable".to_owned(), options.durable.to_string()),
        ];
        let mut say = |name: &str, value: Option<String>| {
            said.extend(value.map(|value| (name.to_owned(), value)));
        };
        say("exchange type", options.exchange_type.clone());
        say("bindings", options.bindings.map(|n| n.to_string()));
        say("confirms", options.confirms.map(|n| n.to_string()));
        say("ack every", options.ack_every.map(|n| n.to_string()));
        say(
            "prefetch",
            options.ack_every.map(|_| self.prefetch.to_string()),
        );
        say("rate", options.rate.map(|n| n.to_string()));
        said
    }
}

/// Items of `index` among `count` who share them out; if there are fewer items, one of them.
fn share<T>(items: &[T], index: usize, count: usize) -> impl Iterator<Item = &T> {
    let len = items.len();
    let (first, step) = if len < count {
        (index % len.max(1), len.max(1))
    } else {
        (index, count)
    };
    items.iter().skip(first).step_by(step.max(1))
}

fn plan_acks(options: &LoadOptions) -> Acks {
    match options.ack_every {
        None => Acks::Automatic,
        Some(1) => Acks::Each,
        Some(count) => Acks::Every(count),
    }
}

fn plan_prefetch(options: &LoadOptions) -> Result<u16> {
    let needed = options.ack_every.unwrap_or(0);
    match options.prefetch {
        Some(prefetch) if 0 < prefetch && u64::from(prefetch) < needed => {
            bail!(
                "--prefetch {prefetch} never lets {needed} deliveries come, which --ack-every waits for"
            )
        }
        Some(prefetch) => Ok(prefetch),
        None if options.ack_every.is_none() => Ok(0),
        // 0 is no limit.
        None => Ok(u16::try_from(PREFETCH_DEFAULT.max(needed * 2)).unwrap_or(0)),
    }
}

fn plan_topology(options: &LoadOptions) -> Result<Topology> {
    let run = format!("leveret-perf-{}", std::process::id());
    let prefix = options.queue.clone().unwrap_or_else(|| run.clone());
    let queue_count = options.queues.unwrap_or(1).max(1);
    let queues: Vec<String> = match queue_count {
        1 => vec![prefix],
        _ => (0..queue_count).map(|n| format!("{prefix}-{n}")).collect(),
    };
    let exchange_kind = options.exchange_type.clone().unwrap_or_default();
    let exchange = match (&options.exchange, options.exchange_type.is_some()) {
        (Some(name), _) => name.clone(),
        (None, true) => run,
        (None, false) => String::new(),
    };
    let binding_count = match exchange.as_str() {
        "" if options.bindings.is_some() => {
            bail!(
                "--bindings needs --exchange or --exchange-type: nothing is bound to the default exchange"
            )
        }
        "" => 0,
        _ => options.bindings.unwrap_or(queues.len()),
    };
    let pattern = options.routing_key.as_deref().unwrap_or("key.{n}");
    Ok(Topology {
        durable: options.durable,
        queue_arguments: encoded(options.queue_args.as_ref()),
        exchange_exists: options.exchange_type.is_none(),
        queues_exist: options.existing_queues,
        bindings: (0..binding_count)
            .map(|n| (n % queues.len(), pattern.replace(NUMBER, &n.to_string())))
            .collect(),
        exchange,
        exchange_kind,
        queues,
    })
}

/// An encoded field table.
pub(super) fn encoded(arguments: Option<&crate::arguments::NamedValues>) -> Vec<u8> {
    arguments.map_or_else(Vec::new, |arguments| arguments.0.encode())
}

/// The routing keys of messages: those of the queues, or of the bindings.
fn plan_routing_keys(options: &LoadOptions, topology: &Topology) -> Vec<String> {
    let mut keys: Vec<String> = match (topology.exchange.as_str(), &options.routing_key) {
        ("", None) => topology.queues.clone(),
        ("", Some(pattern)) => {
            let numbers = 0..options.routing_keys.unwrap_or(1).max(1);
            numbers
                .map(|n| pattern.replace(NUMBER, &n.to_string()))
                .collect()
        }
        // All keys of a fanout exchange lead to the same.
        _ if topology.exchange_kind == "fanout" => vec!["key".into()],
        _ => {
            let bindings = topology.bindings.iter();
            bindings.map(|(_, key)| key.clone()).collect()
        }
    };
    if let Some(count) = options.routing_keys {
        keys.truncate(count.max(1));
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(items: &[u32], index: usize, count: usize) -> Vec<u32> {
        share(items, index, count).copied().collect()
    }

    #[test]
    fn many_items_are_shared_out_each_once() {
        assert_eq!(shared(&[1, 2, 3, 4, 5], 0, 2), [1, 3, 5]);
        assert_eq!(shared(&[1, 2, 3, 4, 5], 1, 2), [2, 4]);
    }

    #[test]
    fn few_items_go_round() {
        assert_eq!(shared(&[1, 2], 0, 3), [1]);
        assert_eq!(shared(&[1, 2], 1, 3), [2]);
        assert_eq!(shared(&[1, 2], 2, 3), [1]);
    }
}
