//! `leveret perf`: puts a load on any AMQP 0-9-1 broker and measures what comes of it.
//!
//! ```text
//! options    the command line
//! uri, sizes, arguments   what its values say
//! client     a plain AMQP client, one answer after another: setting up, churn
//! link       a socket with its read buffer; scan counts deliveries in it, where they lie
//! ring       publishes, encoded once and written over and over
//! publisher, consumer     the two ends of a load; window: confirms that a publisher waits for
//! pace       when the next message is due
//! meter, sampler          counts and latencies, and their reading once a second
//! process    CPU time and memory of the broker, from the system
//! report, html            what was measured
//! modes      one file a mode
//! ```
//! It has to cost less than the broker under it. Hence: frames are encoded before the clock starts, written in
//! blocks, counted in place; acks are collected; shared counters are touched once a read. Deliberately absent:
//! everything of Leveret but the codec. What it measures of a broker it sees as any client does.

mod arguments;
mod client;
mod consumer;
mod html;
mod link;
mod meter;
mod modes;
mod options;
mod pace;
mod process;
mod publisher;
mod report;
mod ring;
mod sampler;
mod scan;
mod sizes;
mod topology;
mod uri;
mod window;
mod workers;

pub use modes::run;
pub use options::Arguments;
