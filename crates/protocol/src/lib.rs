//! The conversation rules of each protocol, as state machines.
