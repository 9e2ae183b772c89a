//! The command line of `leveret perf`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::arguments::NamedValues;
use crate::sizes::Sizes;
use crate::uri::Uri;

/// What `leveret perf` is told.
#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    pub(crate) mode: Mode,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Mode {
    /// Publishers and consumers as fast as they go, or at a rate.
    Throughput(LoadOptions),
    /// How long messages take at a rate [20000/s], from when each was due; every delivery is acknowledged.
    Latency(LoadOptions),
    /// Each message to several queues [10].
    FanOut(LoadOptions),
    /// Publishes a number of messages [1000000] and consumes them after that.
    Backlog(LoadOptions),
    /// Opens a connection and a channel, closes both, and again.
    Connections(ChurnOptions),
    /// Opens a channel, closes it, and again.
    Channels(ChurnOptions),
    /// Declares queues, binds them, deletes them.
    Queues(QueuesOptions),
    /// Asks and answers through amq.rabbitmq.reply-to.
    Rpc(RpcOptions),
    /// Opens connections with a channel and a consumer each, and lets them be.
    Idle(IdleOptions),
}

/// What every mode knows.
#[derive(Debug, Clone, Args)]
pub(crate) struct Target {
    /// The broker, and who to be to it.
    #[arg(
        long,
        value_name = "URI",
        default_value = "amqp://guest:guest@localhost:5672/"
    )]
    pub(crate) uri: Uri,
    /// Process of the broker, if it is on this machine: its CPU time and memory are measured, its children's
    /// among them.
    #[arg(long, value_name = "PID")]
    pub(crate) broker_pid: Option<u32>,
    /// Writes what was measured to a file, as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Writes what was measured to a file, as a page with plots.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// No line a second.
    #[arg(long)]
    pub(crate) quiet: bool,
    /// Threads that carry the load [default: one a processor, at most one a connection].
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
}

/// Options of a load of messages.
#[derive(Debug, Clone, Args)]
pub(crate) struct LoadOptions {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Publishers, each a connection [default: 1].
    #[arg(long, short = 'x', value_name = "N")]
    pub(crate) publishers: Option<usize>,
    /// Consumers, each a connection [default: 1; fan-out: one a queue].
    #[arg(long, short = 'y', value_name = "N")]
    pub(crate) consumers: Option<usize>,
    /// Queues. Publishers and consumers share them out evenly [default: 1; fan-out: 10].
    #[arg(long, short = 'u', value_name = "N")]
    pub(crate) queues: Option<usize>,
    /// What queues are called, a number behind it if there are several [default: a name of this run].
    #[arg(long, value_name = "NAME")]
    pub(crate) queue: Option<String>,
    /// The queues exist: they are neither declared nor deleted.
    #[arg(long)]
    pub(crate) existing_queues: bool,
    /// Arguments of the queues: x-max-length=1000,x-queue-type=quorum.
    #[arg(long, value_name = "NAME=VALUE,..")]
    pub(crate) queue_args: Option<NamedValues>,
    /// Arguments of the consumers: x-priority=5.
    #[arg(long, value_name = "NAME=VALUE,..")]
    pub(crate) consumer_args: Option<NamedValues>,
    /// Durable queues and exchange.
    #[arg(long, short)]
    pub(crate) durable: bool,
    /// Type of the exchange. Without it, messages go through the default exchange.
    #[arg(long, short = 't', value_name = "TYPE")]
    pub(crate) exchange_type: Option<String>,
    /// The exchange [default: a name of this run]. Without --exchange-type it exists and is left alone.
    #[arg(long, short, value_name = "NAME")]
    pub(crate) exchange: Option<String>,
    /// Routing key of bindings and messages; {n} in it is a number [default: the queue's name, or key.{n}].
    #[arg(long, short = 'k', value_name = "PATTERN")]
    pub(crate) routing_key: Option<String>,
    /// Bindings in all, shared out among the queues [default: one a queue].
    #[arg(long, value_name = "N")]
    pub(crate) bindings: Option<usize>,
    /// Different routing keys of the messages [default: one a binding; all go if there are more].
    #[arg(long, value_name = "N")]
    pub(crate) routing_keys: Option<usize>,
    /// Bytes of a body: 1024, or 100-2000, or with weights 16:9,1024:1. From 8 on it carries its time.
    #[arg(long, short, value_name = "BYTES", default_value = "16")]
    pub(crate) size: Sizes,
    /// Persistent messages.
    #[arg(long, short = 'P')]
    pub(crate) persistent: bool,
    /// Mandatory messages: those that no queue takes come back.
    #[arg(long)]
    pub(crate) mandatory: bool,
    /// Confirms, at most this many open at each publisher.
    #[arg(long, short, value_name = "N")]
    pub(crate) confirms: Option<u64>,
    /// Acknowledge every so many deliveries, from 2 on with `multiple`. Without it the broker does not wait for
    /// acks.
    #[arg(long, short, value_name = "N")]
    pub(crate) ack_every: Option<u64>,
    /// Unacknowledged deliveries at a consumer, at most [default: 1000, or as --ack-every needs].
    #[arg(long, short = 'q', value_name = "N")]
    pub(crate) prefetch: Option<u16>,
    /// Messages a second, of all publishers together.
    #[arg(long, short, value_name = "N")]
    pub(crate) rate: Option<f64>,
    /// Messages in all, instead of a duration.
    #[arg(long, short = 'C', value_name = "N")]
    pub(crate) count: Option<u64>,
    /// Seconds that are measured.
    #[arg(long, short = 'z', value_name = "S", default_value = "10")]
    pub(crate) duration: f64,
    /// Seconds before they are; not with --count.
    #[arg(long, value_name = "S", default_value = "2")]
    pub(crate) warm_up: f64,
    /// Leaves queues and exchange there.
    #[arg(long)]
    pub(crate) keep: bool,
}

/// Options of connection and channel churn.
#[derive(Debug, Clone, Args)]
pub(crate) struct ChurnOptions {
    #[command(flatten)]
    pub(crate) target: Target,
    /// How many do so at the same time.
    #[arg(long, short = 'x', value_name = "N", default_value = "1")]
    pub(crate) clients: usize,
    /// Times in all, instead of a duration.
    #[arg(long, short = 'C', value_name = "N")]
    pub(crate) count: Option<u64>,
    /// Seconds that are measured.
    #[arg(long, short = 'z', value_name = "S", default_value = "10")]
    pub(crate) duration: f64,
}

/// Options of queue and binding churn.
#[derive(Debug, Clone, Args)]
pub(crate) struct QueuesOptions {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Queues.
    #[arg(long, short = 'u', value_name = "N", default_value = "1000")]
    pub(crate) queues: usize,
    /// Durable queues and exchange.
    #[arg(long, short)]
    pub(crate) durable: bool,
    /// Type of the exchange that they are bound to.
    #[arg(long, short = 't', value_name = "TYPE", default_value = "direct")]
    pub(crate) exchange_type: String,
    /// Arguments of the queues.
    #[arg(long, value_name = "NAME=VALUE,..")]
    pub(crate) queue_args: Option<NamedValues>,
    /// Connections that share the work out.
    #[arg(long, short = 'x', value_name = "N", default_value = "1")]
    pub(crate) clients: usize,
    /// Requests that a connection has open at most; 1 is one after another.
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) pipeline: usize,
    /// Meanwhile another connection publishes and consumes 1,000 messages a second, and its longest wait is
    /// reported.
    #[arg(long)]
    pub(crate) with_traffic: bool,
}

/// Options of round trips.
#[derive(Debug, Clone, Args)]
pub(crate) struct RpcOptions {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Clients, each with one request open.
    #[arg(long, short = 'x', value_name = "N", default_value = "1")]
    pub(crate) clients: usize,
    /// Servers.
    #[arg(long, short = 'y', value_name = "N", default_value = "1")]
    pub(crate) servers: usize,
    /// Bytes of a request and its answer.
    #[arg(long, short, value_name = "BYTES", default_value = "16")]
    pub(crate) size: Sizes,
    /// Seconds that are measured.
    #[arg(long, short = 'z', value_name = "S", default_value = "10")]
    pub(crate) duration: f64,
    /// Seconds before they are.
    #[arg(long, value_name = "S", default_value = "2")]
    pub(crate) warm_up: f64,
}

/// Options of idle connections.
#[derive(Debug, Clone, Args)]
pub(crate) struct IdleOptions {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Connections.
    #[arg(long, short = 'x', value_name = "N", default_value = "1000")]
    pub(crate) connections: usize,
    /// Queues that the consumers share; 0: a channel each and no consumer.
    #[arg(long, short = 'u', value_name = "N", default_value = "1")]
    pub(crate) queues: usize,
    /// Seconds that they are left alone.
    #[arg(long, short = 'z', value_name = "S", default_value = "10")]
    pub(crate) duration: f64,
}
