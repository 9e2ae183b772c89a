//! Every limit of the message log, by name.
//!
//! Those that depend on the size of a log file are functions of it, so that a test with small files meets
//! every path that a broker with large ones does.

use crate::record::MARK_BYTES;

/// The unit that a medium writes whole or not at all (docs/formats/log.md, assumption 1).
pub(crate) const SECTOR_BYTES: usize = 512;

/// The largest owner number: the ledger uses the bit above.
pub(crate) const OWNER_MAX: u64 = (1 << 63) - 1;

/// No position is larger: at a million a second it is reached in a hundred thousand years. A file that says so is
/// damaged, and a log that gets there fails rather than write what it could not read again.
pub(crate) const POSITION_MAX: u64 = 1 << 62;

/// No log file, segment or manifest has a larger number: a name that says so is not one of ours. A log that gets
/// there fails.
pub(crate) const FILE_NUMBER_MAX: u64 = 1 << 62;

/// What a repair goes on from has no larger number, so that there are as many left: a stray file, or a manifest
/// that is sound and yet cannot be right, is passed over.
pub(crate) const FILE_NUMBER_REPAIRED_MAX: u64 = FILE_NUMBER_MAX / 2;

/// No log file is longer: places in it are 32 bits.
pub(crate) const LOG_FILE_LENGTH_MAX: u64 = u32::MAX as u64;

/// The largest record. A message may be up to 512 MiB in RabbitMQ (`max_message_size`); owners come on top.
pub const RECORD_BYTES_MAX: u32 = 1 << 30;

/// Size of a log file, unless a single record needs more.
pub(crate) const LOG_FILE_BYTES: u64 = 64 << 20;

/// Kept free at the end of a log file, for the marks that follow when the log falls idle (the last of them lies in
/// another sector than the last record) and the one that the next file was begun.
pub(crate) const MARKS_ROOM_BYTES: u64 = (SECTOR_BYTES + 3 * MARK_BYTES) as u64;

/// The smallest that a log file may be configured to: a header and some records.
pub(crate) const LOG_FILE_BYTES_MIN: u64 = 4 << 10;

/// Log files that may wait for their retirement before appends are refused until it caught up.
pub(crate) const LOG_FILES_MAX: usize = 6;

/// Bytes that may wait for the writer before appends are refused until it caught up.
pub(crate) const BUFFER_BYTES_MAX: usize = 16 << 20;

/// Capacity of a write buffer that is kept for the next write.
pub(crate) const BUFFER_BYTES_KEPT: usize = 4 << 20;

/// How much is read at once from a segment or log file.
pub const READ_BLOCK_BYTES: usize = 1 << 20;

/// Positions that one read plans at most; a longer read plans again.
pub(crate) const READ_PLAN_MAX: usize = 4096;

/// Decoded indexes of parts that are kept for the next read, in entries.
pub(crate) const INDEX_CACHE_ENTRIES_MAX: usize = 1 << 19;

/// The same in parts: each may hold a file open.
pub(crate) const INDEX_CACHE_PARTS_MAX: usize = 256;

/// Entries of a log file's index that the keeper looks at under one taking of the lock.
pub(crate) const RETIRE_ENTRIES_A_LOCK: usize = 1 << 14;

/// Small segments that may exist before they are merged into one.
pub(crate) const SEGMENTS_SMALL_MAX: usize = 8;

/// Parts that a segment may have: more than owners could have in it.
pub(crate) const SEGMENT_PARTS_MAX: u32 = 1 << 24;

/// A manifest is read whole; this is far more than one can become.
pub(crate) const MANIFEST_BYTES_MAX: u64 = 1 << 30;

/// Room on the medium that is set aside for what is to be written when it is full: what waits for the writer, half of
/// it, and acks.
pub(crate) fn reserve_bytes(log_file_bytes: u64) -> u64 {
    log_file_bytes / 2
}

/// What an owner must still have in a retiring log file to get a segment of its own.
pub(crate) fn segment_own_bytes(log_file_bytes: u64) -> u64 {
    log_file_bytes / 16
}

/// Below this a segment is small, and merged with others of its kind.
pub(crate) fn segment_small_bytes(log_file_bytes: u64) -> u64 {
    log_file_bytes / 16
}
