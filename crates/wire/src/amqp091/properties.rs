//! Content properties.

/// A view over validated properties.
#[derive(Debug, Clone, Copy)]
pub struct Properties<'a>(&'a [u8]);

impl<'a> Properties<'a> {
    /// Flags and values as they came.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.0
    }
    /// The `priority` property.
    pub fn priority(&self) -> Option<u8> {
        None
    }
    /// The `delivery-mode` property.
    pub fn delivery_mode(&self) -> Option<u8> {
        None
    }
}
