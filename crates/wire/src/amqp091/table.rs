//! Field tables.

/// An owned field table, its order kept.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FieldTable {}
