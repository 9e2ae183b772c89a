//! What the broker must not lose: the message log.
//!
//! One write-ahead log for a node, shared by all owners (queues), written by one thread with one sync for all
//! that arrived meanwhile; what outlives its log file moves to segment files. This crate keeps opaque payloads
//! for numbered owners. Deliberately absent: any word of a protocol, what a payload means, when a message
//! expires, who consumes it, and the memory cache of messages, which is the queue's own.
//!
//! The door is [`Log`]: start reading there. The formats are in `docs/formats/log.md` and `segment.md`, and
//! [`disk`] is the only place that touches files. How it hangs together:
//!
//! ```text
//!   Batch::push, release ..  ──▶ buffer ──▶ writer: pwrite, fdatasync ──▶ durable(), wakers
//!          │                                   log-1 (retiring) log-2 (current)
//!          ▼                                      │
//!   ledger: who still holds what                  ▼ keeper: what is still alive
//!          ▲                                   segment-1 segment-2 ..  ──▶ rewritten, unlinked
//!          └──────── read(): by position, from segments, log files or the buffer
//! ```
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic)
)]

mod append;
mod bytes;
pub mod disk;
mod error;
mod examine;
mod histogram;
mod inspect;
mod keeper;
mod ledger;
mod limits;
mod log;
mod log_file;
mod manifest;
mod read;
mod record;
mod recovery;
mod repair;
mod reserve;
mod rewrite;
mod running;
mod salvage;
mod scan;
mod segment;
mod skipped;
mod window;
mod writer;

pub use append::{Append, Batch, OwnerEntry, Refused};
pub use error::{Damage, StorageError};
pub use histogram::{BUCKETS_US, Counted, Histogram};
pub use inspect::{FileKind, InspectedFile, InspectedOwner, Inspection, inspect};
pub use limits::{READ_BLOCK_BYTES, RECORD_BYTES_MAX};
pub use log::{DeliberateFault, Durability, Log, Options, Usage, Waker};
pub use read::{ReadLimit, Stored};
pub use recovery::{Progress, RecoveredOwner, Recovery, TornTail};
pub use repair::{REPORT_NAME, Repaired, repair};
pub use running::Running;

/// The log's directory in the broker's data directory.
pub const DIRECTORY: &str = "messages";

/// Where a record stands in the node's log: 1, 2, 3 ..., one a record. 0 is no position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LogPosition(pub u64);

/// Whose message it is: a number that the node gave a queue, and never gives again. Below 2^63.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OwnerId(pub u64);
