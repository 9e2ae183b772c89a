//! Every limit of an AMQP 0-9-1 connection that is not a setting of the node.

/// Output waiting for the socket above which a connection takes no deliveries from its mailbox and reads no
/// input: a client that does not read costs this much, and a message. No more than that either is encoded before it
/// is written, so that it is still in the processor's cache.
pub const OUTPUT_BYTES_HIGH: usize = 120 * 1024;

/// The longest body that is copied into the output. A longer one is written from where it is: keeping track of it costs
/// less than copying it.
pub const BODY_COPIED_BYTES_MAX: usize = 12 * 1024;

/// Bytes of a batch of publishes at which it is given to its queues although more input is there.
pub const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Targets that a connection remembers from one batch to the next: a program that publishes to so many queues, a
/// message each, would find them anew every time.
pub const BATCH_TARGETS_KEPT: usize = 1024;

/// Entries a remembered target keeps room for.
pub const BATCH_ENTRIES_KEPT: usize = 1024;

/// Entries that all of them together keep room for.
pub const BATCH_ENTRIES_KEPT_ALL: usize = 16 * BATCH_ENTRIES_KEPT;

/// How long we wait for `connection.close-ok` before the socket is closed.
pub const CLOSE_TIMEOUT_MS: u64 = 10_000;

/// Largest frame during the handshake (RabbitMQ's `initial_frame_max`), before tune agreed on one.
pub const HANDSHAKE_FRAME_BYTES_MAX: u32 = 8192;

/// How long a refused login is kept waiting, so that passwords cannot be tried quickly (RabbitMQ does the
/// same).
pub const LOGIN_REFUSED_DELAY_MS: u64 = 1000;

/// Bytes of publishes that a transaction may hold; one that would hold more is refused with 406.
pub const TRANSACTION_BYTES_MAX: usize = 512 * 1024 * 1024;

/// What is read behind a publish that an alarm holds up, to see whether the client leaves.
pub const BLOCKED_INPUT_BYTES_MAX: usize = 16 * 1024;

/// Answers of an authority elsewhere that a channel remembers, on queues and exchanges; and as many on topics. As in
/// RabbitMQ.
pub const ANSWERS_MAX: usize = 12;

/// How long a client may be idle before they are forgotten: RabbitMQ forgets them when a channel hibernates, which it
/// does after a second at first, and after more when it was woken sooner than in ten.
pub const ANSWERS_IDLE_MS: u64 = 10_000;

/// What is read behind a method that waits for such an answer, to see whether the client leaves.
pub const ASKING_INPUT_BYTES_MAX: usize = 16 * 1024;

/// Publishes that a connection remembers, to recognise the next one like them.
pub const TEMPLATES_MAX: usize = 4096;

/// The longest head and properties of a publish that is remembered.
pub const TEMPLATE_BYTES_MAX: usize = 1024;

/// Messages that a connection with a rate limit publishes before the limit is looked at: so many may be too much.
pub const METERED_MESSAGES_MAX: u64 = 16;

/// Traced deliveries of a connection whose settlements are told.
pub const TRACED_DELIVERIES_MAX: usize = 4096;
