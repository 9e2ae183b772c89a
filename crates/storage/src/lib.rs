//! What the broker must not lose: the message log.
