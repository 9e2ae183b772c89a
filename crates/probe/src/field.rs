//! Field tables: every type tag RabbitMQ reads, kept as it stood on the wire.
//!
//! A table is a list, not a map: order and duplicate keys are things a broker must pass through, so
//! a test must see them. Text form of a value: `5` is the 32-bit `I`, `"x"` the long string `S`,
//! `true` the boolean `t`, `void` the void `V`, `{a: 1}` a table, `[1, 2]` an array; every other type
//! carries its wire tag, as in `l:5`, `b:-1`, `T:1700000000`, `D:2:314`, `d:0.5`, `x:"bytes"`.

use std::fmt;

use crate::text::quote;

/// A field table: keys and values in wire order.
pub type Table = Vec<(Vec<u8>, Field)>;

/// One value of a field table.
#[derive(Clone, Debug, PartialEq)]
pub enum Field {
    /// `t`
    Bool(bool),
    /// `b B s U u I i l L`: the tag and the number.
    Int(u8, i128),
    /// `f`
    Float(f32),
    /// `d`
    Double(f64),
    /// `D`: scale and value.
    Decimal(u8, u32),
    /// `S`
    Str(Vec<u8>),
    /// `x`
    Bytes(Vec<u8>),
    /// `A`
    Array(Vec<Field>),
    /// `T`, in seconds since 1970.
    Timestamp(u64),
    /// `F`
    Table(Table),
    /// `V`
    Void,
}

impl From<&str> for Field {
    fn from(text: &str) -> Self {
        Field::Str(text.as_bytes().to_vec())
    }
}

impl From<i32> for Field {
    fn from(number: i32) -> Self {
        Field::Int(b'I', number.into())
    }
}

impl From<bool> for Field {
    fn from(value: bool) -> Self {
        Field::Bool(value)
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Field::Bool(value) => write!(f, "{value}"),
            Field::Int(b'I', value) => write!(f, "{value}"),
            Field::Int(tag, value) => write!(f, "{}:{value}", char::from(*tag)),
            Field::Float(value) => write!(f, "f:{value:?}"),
            Field::Double(value) => write!(f, "d:{value:?}"),
            Field::Decimal(scale, value) => write!(f, "D:{scale}:{value}"),
            Field::Str(bytes) => f.write_str(&quote(bytes)),
            Field::Bytes(bytes) => write!(f, "x:{}", quote(bytes)),
            Field::Array(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if index == 0 { "" } else { ", " })?;
                }
                f.write_str("]")
            }
            Field::Timestamp(seconds) => write!(f, "T:{seconds}"),
            Field::Table(table) => f.write_str(&show_table(table)),
            Field::Void => f.write_str("void"),
        }
    }
}

/// The text form of a table.
pub(crate) fn show_table(table: &Table) -> String {
    let entries: Vec<String> = table
        .iter()
        .map(|(key, value)| format!("{}: {value}", show_key(key)))
        .collect();
    format!("{{{}}}", entries.join(", "))
}

fn show_key(key: &[u8]) -> String {
    let plain = !key.is_empty()
        && key
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if plain {
        String::from_utf8_lossy(key).into_owned()
    } else {
        quote(key)
    }
}

/// Appends the table with its four bytes of length.
pub(crate) fn encode_table(out: &mut Vec<u8>, table: &Table) {
    let mut inner = Vec::new();
    for (key, value) in table {
        inner.push(key.len() as u8);
        inner.extend_from_slice(key);
        encode_field(&mut inner, value);
    }
    encode_long_str(out, &inner);
}

/// Appends bytes with their four bytes of length.
pub(crate) fn encode_long_str(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn encode_field(out: &mut Vec<u8>, field: &Field) {
    match field {
        Field::Bool(value) => out.extend_from_slice(&[b't', u8::from(*value)]),
        Field::Int(tag, value) => {
            out.push(*tag);
            let bytes = value.to_be_bytes();
            out.extend_from_slice(&bytes[16 - int_width(*tag)..]);
        }
        Field::Float(value) => {
            out.push(b'f');
            out.extend_from_slice(&value.to_be_bytes());
        }
        Field::Double(value) => {
            out.push(b'd');
            out.extend_from_slice(&value.to_be_bytes());
        }
        Field::Decimal(scale, value) => {
            out.extend_from_slice(&[b'D', *scale]);
            out.extend_from_slice(&value.to_be_bytes());
        }
        Field::Str(bytes) => {
            out.push(b'S');
            encode_long_str(out, bytes);
        }
        Field::Bytes(bytes) => {
            out.push(b'x');
            encode_long_str(out, bytes);
        }
        Field::Array(items) => {
            let mut inner = Vec::new();
            items.iter().for_each(|item| encode_field(&mut inner, item));
            out.push(b'A');
            encode_long_str(out, &inner);
        }
        Field::Timestamp(seconds) => {
            out.push(b'T');
            out.extend_from_slice(&seconds.to_be_bytes());
        }
        Field::Table(table) => {
            out.push(b'F');
            encode_table(out, table);
        }
        Field::Void => out.push(b'V'),
    }
}

/// Bytes that an integer of this tag takes.
fn int_width(tag: u8) -> usize {
    match tag {
        b'b' | b'B' => 1,
        b's' | b'U' | b'u' => 2,
        b'I' | b'i' => 4,
        _ => 8,
    }
}

/// Reads big-endian values off the front of a slice; `None` when it is too short.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        Some(head)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.take(2)
            .map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_be_bytes)
    }

    pub(crate) fn short_str(&mut self) -> Option<Vec<u8>> {
        let length = self.u8()?;
        self.take(length.into()).map(<[u8]>::to_vec)
    }

    pub(crate) fn long_str(&mut self) -> Option<Vec<u8>> {
        let length = self.u32()?;
        self.take(length as usize).map(<[u8]>::to_vec)
    }

    pub(crate) fn table(&mut self) -> Option<Table> {
        let bytes = self.long_str()?;
        let mut inner = Reader(&bytes);
        let mut table = Table::new();
        while !inner.0.is_empty() {
            let key = inner.short_str()?;
            table.push((key, inner.field()?));
        }
        Some(table)
    }

    fn int(&mut self, tag: u8) -> Option<Field> {
        let signed = matches!(tag, b'b' | b's' | b'U' | b'I' | b'l' | b'L');
        let bytes = self.take(int_width(tag))?;
        let negative = signed && bytes[0] & 0x80 != 0;
        let start = if negative { -1_i128 } else { 0 };
        let value = bytes
            .iter()
            .fold(start, |number, byte| (number << 8) | i128::from(*byte));
        Some(Field::Int(tag, value))
    }

    fn field(&mut self) -> Option<Field> {
        Some(match self.u8()? {
            b't' => Field::Bool(self.u8()? != 0),
            tag @ (b'b' | b'B' | b's' | b'U' | b'u' | b'I' | b'i' | b'l' | b'L') => {
                self.int(tag)?
            }
            b'f' => Field::Float(f32::from_bits(self.u32()?)),
            b'd' => Field::Double(f64::from_bits(self.u64()?)),
            b'D' => Field::Decimal(self.u8()?, self.u32()?),
            b'S' => Field::Str(self.long_str()?),
            b'x' => Field::Bytes(self.long_str()?),
            b'T' => Field::Timestamp(self.u64()?),
            b'F' => Field::Table(self.table()?),
            b'V' => Field::Void,
            b'A' => {
                let bytes = self.long_str()?;
                let mut inner = Reader(&bytes);
                let mut items = Vec::new();
                while !inner.0.is_empty() {
                    items.push(inner.field()?);
                }
                Field::Array(items)
            }
            _ => return None,
        })
    }
}
