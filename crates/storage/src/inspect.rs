//! Offline look at a log directory: what it holds, every checksum verified.
