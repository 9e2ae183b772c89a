//! Field tables as they stand in a buffer (section 4.2.5.5).
//!
//! ```text
//! table: ┌─────────────┬──────┬───────┐ ...     array: ┌──────┬───────┐ ...
//!        │ key shortstr│ type │ value │                │ type │ value │
//!        └─────────────┴──────┴───────┘                └──────┴───────┘
//! ```
//! A [`Table`] has been checked once, from end to end; reading it later cannot fail and copies nothing. The
//! types are those of RabbitMQ's errata to the specification, which is what every client speaks: `s` is a
//! 16-bit integer (not a short string), `l` and `L` are both signed 64-bit integers. Deliberately
//! absent: unsigned 64-bit integers, which RabbitMQ does not read. Tables of our own: [`FieldTable`].

use super::DecodeError;
use super::codec::Reader;
pub use super::field_table::{FieldTable, FieldValue};

/// How deep tables and arrays may nest, the outermost counted. RabbitMQ has no limit but memory; ours keeps
/// a hostile header from exhausting the stack. `x-death`, the deepest that any broker makes, nests 4 deep.
pub const TABLE_DEPTH_MAX: usize = 32;

/// A checked field table: the bytes of its entries, without the length before them.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Table<'a>(&'a [u8]);

/// A checked field array: the bytes of its values, without the length before them.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Array<'a>(&'a [u8]);

/// A value of a table or array.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
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
    /// `l`, and `L`, which RabbitMQ reads the same and never writes.
    I64(i64),
    /// `f`, always finite
    F32(f32),
    /// `d`, always finite
    F64(f64),
    /// `D`: `value` divided by ten to the power of `scale`
    Decimal {
        /// Digits after the decimal point.
        scale: u8,
        /// The number without a decimal point.
        value: u32,
    },
    /// `S`: mostly text, but nothing says that it is UTF-8
    LongStr(&'a [u8]),
    /// `x`
    Bytes(&'a [u8]),
    /// `A`
    Array(Array<'a>),
    /// `T`: seconds since 1970
    Timestamp(u64),
    /// `F`
    Table(Table<'a>),
    /// `V`
    Void,
}

impl<'a> Table<'a> {
    /// The table without entries.
    pub const EMPTY: Table<'static> = Table(&[]);

    /// Checks every entry, nested ones too.
    ///
    /// # Errors
    /// If an entry overruns, has an unknown type or a key that is no UTF-8, or nests too deep.
    pub fn validate(bytes: &'a [u8]) -> Result<Table<'a>, DecodeError> {
        check_entries(bytes, TABLE_DEPTH_MAX)?;
        Ok(Table(bytes))
    }

    /// The entries as they came.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.0
    }

    /// Whether it has no entry.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Its entries in the order they were sent. A key may occur twice.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, Value<'a>)> + use<'a> {
        let mut reader = Reader::new(self.0);
        // validate() has read all of this: None comes at the end and nowhere else.
        std::iter::from_fn(move || {
            let key = reader.short_string().ok()?;
            Some((key, read_value(&mut reader).ok()?))
        })
    }

    /// The first value under `key`, as RabbitMQ takes the first.
    pub fn find(&self, key: &str) -> Option<Value<'a>> {
        self.iter().find(|(k, _)| *k == key).map(|(_, value)| value)
    }

    /// A copy that can be changed.
    pub fn to_owned(&self) -> FieldTable {
        self.iter()
            .map(|(key, value)| (String::from(key), value.to_owned()))
            .collect()
    }
}

impl<'a> Array<'a> {
    /// The values as they came.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.0
    }

    /// Whether it has no value.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Its values in the order they were sent.
    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let mut reader = Reader::new(self.0);
        std::iter::from_fn(move || read_value(&mut reader).ok())
    }
}

impl<'a> Value<'a> {
    /// The value of any integer type. A timestamp or bool is none, as in RabbitMQ.
    pub fn as_integer(&self) -> Option<i64> {
        Some(match *self {
            Value::I8(v) => v.into(),
            Value::U8(v) => v.into(),
            Value::I16(v) => v.into(),
            Value::U16(v) => v.into(),
            Value::I32(v) => v.into(),
            Value::U32(v) => v.into(),
            Value::I64(v) => v,
            _ => return None,
        })
    }

    /// The text of a long string, if it is UTF-8.
    pub fn as_str(&self) -> Option<&'a str> {
        match *self {
            Value::LongStr(bytes) => std::str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// RabbitMQ's name of the type, as it stands in error texts: `longstr`, `signedint`, ...
    pub fn type_name(&self) -> &'static str {
        type_name(self.tag())
    }

    /// A copy that lives on its own.
    pub fn to_owned(&self) -> FieldValue {
        match *self {
            Value::Bool(v) => FieldValue::Bool(v),
            Value::I8(v) => FieldValue::I8(v),
            Value::U8(v) => FieldValue::U8(v),
            Value::I16(v) => FieldValue::I16(v),
            Value::U16(v) => FieldValue::U16(v),
            Value::I32(v) => FieldValue::I32(v),
            Value::U32(v) => FieldValue::U32(v),
            Value::I64(v) => FieldValue::I64(v),
            Value::F32(v) => FieldValue::F32(v),
            Value::F64(v) => FieldValue::F64(v),
            Value::Decimal { scale, value } => FieldValue::Decimal { scale, value },
            Value::LongStr(bytes) => FieldValue::LongStr(bytes.to_vec()),
            Value::Bytes(bytes) => FieldValue::Bytes(bytes.to_vec()),
            Value::Array(array) => FieldValue::Array(array.iter().map(|v| v.to_owned()).collect()),
            Value::Timestamp(v) => FieldValue::Timestamp(v),
            Value::Table(table) => FieldValue::Table(table.to_owned()),
            Value::Void => FieldValue::Void,
        }
    }

    fn tag(&self) -> u8 {
        match self {
            Value::Bool(_) => b't',
            Value::I8(_) => b'b',
            Value::U8(_) => b'B',
            Value::I16(_) => b's',
            Value::U16(_) => b'u',
            Value::I32(_) => b'I',
            Value::U32(_) => b'i',
            Value::I64(_) => b'l',
            Value::F32(_) => b'f',
            Value::F64(_) => b'd',
            Value::Decimal { .. } => b'D',
            Value::LongStr(_) => b'S',
            Value::Bytes(_) => b'x',
            Value::Array(_) => b'A',
            Value::Timestamp(_) => b'T',
            Value::Table(_) => b'F',
            Value::Void => b'V',
        }
    }
}

impl std::fmt::Debug for Table<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl std::fmt::Debug for Array<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// RabbitMQ's word for a type octet.
pub(super) fn type_name(tag: u8) -> &'static str {
    match tag {
        b't' => "bool",
        b'b' => "byte",
        b'B' => "unsignedbyte",
        b's' => "short",
        b'u' => "unsignedshort",
        b'I' => "signedint",
        b'i' => "unsignedint",
        b'l' => "long",
        b'f' => "float",
        b'd' => "double",
        b'D' => "decimal",
        b'S' => "longstr",
        b'x' => "binary",
        b'A' => "array",
        b'T' => "timestamp",
        b'F' => "table",
        _ => "void",
    }
}

fn check_entries(bytes: &[u8], depth_left: usize) -> Result<(), DecodeError> {
    let depth_left = depth_left.checked_sub(1).ok_or(DecodeError::TooDeep)?;
    let mut reader = Reader::new(bytes);
    while !reader.is_empty() {
        reader.short_string()?;
        check_value(&mut reader, depth_left)?;
    }
    Ok(())
}

fn check_values(bytes: &[u8], depth_left: usize) -> Result<(), DecodeError> {
    let depth_left = depth_left.checked_sub(1).ok_or(DecodeError::TooDeep)?;
    let mut reader = Reader::new(bytes);
    while !reader.is_empty() {
        check_value(&mut reader, depth_left)?;
    }
    Ok(())
}

fn check_value(reader: &mut Reader<'_>, depth_left: usize) -> Result<(), DecodeError> {
    match read_value(reader)? {
        Value::Table(table) => check_entries(table.0, depth_left),
        Value::Array(array) => check_values(array.0, depth_left),
        Value::F32(v) if !v.is_finite() => Err(DecodeError::FloatNotFinite),
        Value::F64(v) if !v.is_finite() => Err(DecodeError::FloatNotFinite),
        _ => Ok(()),
    }
}

/// Reads one value; what a table or array in it holds is not looked at.
fn read_value<'a>(reader: &mut Reader<'a>) -> Result<Value<'a>, DecodeError> {
    Ok(match reader.octet()? {
        b't' => Value::Bool(reader.octet()? != 0),
        b'b' => Value::I8(i8::from_be_bytes(reader.chunk()?)),
        b'B' => Value::U8(reader.octet()?),
        b's' => Value::I16(i16::from_be_bytes(reader.chunk()?)),
        b'u' => Value::U16(reader.short()?),
        b'I' => Value::I32(i32::from_be_bytes(reader.chunk()?)),
        b'i' => Value::U32(reader.long()?),
        b'l' | b'L' => Value::I64(i64::from_be_bytes(reader.chunk()?)),
        b'f' => Value::F32(f32::from_be_bytes(reader.chunk()?)),
        b'd' => Value::F64(f64::from_be_bytes(reader.chunk()?)),
        b'D' => Value::Decimal {
            scale: reader.octet()?,
            value: reader.long()?,
        },
        b'S' => Value::LongStr(reader.long_string()?),
        b'x' => Value::Bytes(reader.long_string()?),
        b'A' => Value::Array(Array(reader.long_string()?)),
        b'T' => Value::Timestamp(reader.long_long()?),
        b'F' => Value::Table(Table(reader.long_string()?)),
        b'V' => Value::Void,
        unknown => return Err(DecodeError::UnknownValueType(unknown)),
    })
}
