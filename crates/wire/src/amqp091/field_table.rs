//! Field tables of our own: declared arguments, server properties, headers that a dead letter adds to.
//!
//! Order is kept, and so is a key that occurs twice: what a client declared is shown and compared as it was
//! declared. Encoding gives back the bytes that were read, except where RabbitMQ does not either: an `L`
//! comes back as `l`, a bool that was neither 0 nor 1 as 1.

use super::codec::{length, write_long_string, write_short_string};
use super::table::type_name;

/// A field table that owns its entries and keeps their order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FieldTable {
    entries: Vec<(String, FieldValue)>,
}

/// A value of a [`FieldTable`]; the types are those of [`Value`](super::table::Value).
#[derive(Debug, Clone, PartialEq)]
pub enum FieldValue {
    /// `t`
    Bool(bool),
    /// `b`
    I8(i8),
    /// `B`
    U8(u8),
    /// `s`
    I16(i16),
    /// `u`
    U16(u16),
    /// `I`
    I32(i32),
    /// `i`
    U32(u32),
    /// `l`
    I64(i64),
    /// `f`
    F32(f32),
    /// `d`
    F64(f64),
    /// `D`: `value` divided by ten to the power of `scale`
    Decimal {
        /// Digits after the decimal point.
        scale: u8,
        /// The number without a decimal point.
        value: u32,
    },
    /// `S`
    LongStr(Vec<u8>),
    /// `x`
    Bytes(Vec<u8>),
    /// `A`
    Array(Vec<FieldValue>),
    /// `T`: seconds since 1970
    Timestamp(u64),
    /// `F`
    Table(FieldTable),
    /// `V`
    Void,
}

impl FieldTable {
    /// A table without entries.
    pub fn new() -> Self {
        FieldTable::default()
    }

    /// The first value under `key`.
    pub fn find(&self, key: &str) -> Option<&FieldValue> {
        self.entries
            .iter()
            .find(|(k, _)| k == key)
            .map(|(_, value)| value)
    }

    /// Replaces the first value under `key` in its place, or appends.
    pub fn set(&mut self, key: impl Into<String>, value: impl Into<FieldValue>) {
        let key = key.into();
        let value = value.into();
        match self.entries.iter_mut().find(|(k, _)| *k == key) {
            Some(entry) => entry.1 = value,
            None => self.entries.push((key, value)),
        }
    }

    /// Takes out the first value under `key`.
    pub fn remove(&mut self, key: &str) -> Option<FieldValue> {
        let index = self.entries.iter().position(|(k, _)| k == key)?;
        Some(self.entries.remove(index).1)
    }

    /// Its entries in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &FieldValue)> {
        self.entries
            .iter()
            .map(|(key, value)| (key.as_str(), value))
    }

    /// How many entries it has.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it has no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entries as [`Table::validate`](super::table::Table::validate) reads them, without a length before
    /// them. A key longer than a short string is cut.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode_entries(&mut out);
        out
    }

    /// The table with its length before it, as it stands in properties and methods.
    pub fn encode_with_length(&self, out: &mut Vec<u8>) {
        with_length(out, |out| self.encode_entries(out));
    }

    fn encode_entries(&self, out: &mut Vec<u8>) {
        for (key, value) in &self.entries {
            write_short_string(out, key);
            value.encode(out);
        }
    }
}

impl FromIterator<(String, FieldValue)> for FieldTable {
    /// Takes the entries as they are, also a key that occurs twice.
    fn from_iter<I: IntoIterator<Item = (String, FieldValue)>>(entries: I) -> Self {
        FieldTable {
            entries: entries.into_iter().collect(),
        }
    }
}

impl FieldValue {
    /// The value of any integer type. A timestamp or bool is none, as in RabbitMQ.
    pub fn as_integer(&self) -> Option<i64> {
        Some(match *self {
            FieldValue::I8(v) => v.into(),
            FieldValue::U8(v) => v.into(),
            FieldValue::I16(v) => v.into(),
            FieldValue::U16(v) => v.into(),
            FieldValue::I32(v) => v.into(),
            FieldValue::U32(v) => v.into(),
            FieldValue::I64(v) => v,
            _ => return None,
        })
    }

    /// The text of a long string, if it is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            FieldValue::LongStr(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// RabbitMQ's name of the type, as it stands in error texts: `longstr`, `signedint`, ...
    pub fn type_name(&self) -> &'static str {
        type_name(self.tag())
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.tag());
        match self {
            FieldValue::Bool(v) => out.push(u8::from(*v)),
            FieldValue::I8(v) => out.extend_from_slice(&v.to_be_bytes()),
            FieldValue::U8(v) => out.push(*v),
            FieldValue::I16(v) => out.extend_from_slice(&v.to_be_bytes()),
            FieldValue::U16(v) => out.extend_from_slice(&v.to_be_bytes()),
            FieldValue::I32(v) => out.extend_from_slice(&v.to_be_bytes()),
            FieldValue::U32(v) => out.extend_from_slice(&v.to_be_bytes()),
            FieldValue::I64(v) => out.extend_from_slice(&v.to_be_bytes()),
            FieldValue::F32(v) => out.extend_from_slice(&v.to_be_bytes()),
            FieldValue::F64(v) => out.extend_from_slice(&v.to_be_bytes()),
            FieldValue::Decimal { scale, value } => {
                out.push(*scale);
                out.extend_from_slice(&value.to_be_bytes());
            }
            FieldValue::LongStr(bytes) | FieldValue::Bytes(bytes) => write_long_string(out, bytes),
            FieldValue::Array(values) => {
                with_length(out, |out| values.iter().for_each(|value| value.encode(out)));
            }
            FieldValue::Timestamp(v) => out.extend_from_slice(&v.to_be_bytes()),
            FieldValue::Table(table) => table.encode_with_length(out),
            FieldValue::Void => {}
        }
    }

    fn tag(&self) -> u8 {
        match self {
            FieldValue::Bool(_) => b't',
            FieldValue::I8(_) => b'b',
            FieldValue::U8(_) => b'B',
            FieldValue::I16(_) => b's',
            FieldValue::U16(_) => b'u',
            FieldValue::I32(_) => b'I',
            FieldValue::U32(_) => b'i',
            FieldValue::I64(_) => b'l',
            FieldValue::F32(_) => b'f',
            FieldValue::F64(_) => b'd',
            FieldValue::Decimal { .. } => b'D',
            FieldValue::LongStr(_) => b'S',
            FieldValue::Bytes(_) => b'x',
            FieldValue::Array(_) => b'A',
            FieldValue::Timestamp(_) => b'T',
            FieldValue::Table(_) => b'F',
            FieldValue::Void => b'V',
        }
    }
}

impl From<&str> for FieldValue {
    fn from(text: &str) -> Self {
        FieldValue::LongStr(text.as_bytes().to_vec())
    }
}

impl From<String> for FieldValue {
    fn from(text: String) -> Self {
        FieldValue::LongStr(text.into_bytes())
    }
}

impl From<bool> for FieldValue {
    fn from(v: bool) -> Self {
        FieldValue::Bool(v)
    }
}

impl From<i32> for FieldValue {
    fn from(v: i32) -> Self {
        FieldValue::I32(v)
    }
}

impl From<i64> for FieldValue {
    fn from(v: i64) -> Self {
        FieldValue::I64(v)
    }
}

impl From<FieldTable> for FieldValue {
    fn from(table: FieldTable) -> Self {
        FieldValue::Table(table)
    }
}

impl From<Vec<FieldValue>> for FieldValue {
    fn from(values: Vec<FieldValue>) -> Self {
        FieldValue::Array(values)
    }
}

/// Appends what `encode` writes, its length before it.
fn with_length(out: &mut Vec<u8>, encode: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    encode(out);
    let len = length(out.len() - start - 4);
    if let Some(place) = out.get_mut(start..start + 4) {
        place.copy_from_slice(&len.to_be_bytes());
    }
}
