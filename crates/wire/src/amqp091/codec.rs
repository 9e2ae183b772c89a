//! The elementary types: integers, bits, short and long strings (section 4.2.5).
//!
//! [`Reader`] takes them off the front of a slice, [`Writer`] appends them to a vector. Consecutive bits
//! share an octet, lowest first (section 4.2.5.2): both remember where in an octet they stand, which the
//! optimiser folds away because every method's fields are known.

use super::table::Table;
use super::{DecodeError, SHORT_STRING_BYTES_MAX};

/// Reads from the front of `rest`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    bits: u8,
    /// The next bit of `bits`; 0 when a new octet must be read.
    mask: u8,
}

impl<'a> Reader<'a> {
    #[inline]
    pub(super) fn new(rest: &'a [u8]) -> Self {
        Reader {
            rest,
            bits: 0,
            mask: 0,
        }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    #[inline]
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Refuses what was not read.
    #[inline]
    pub(super) fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::TrailingBytes)
        }
    }

    #[inline]
    pub(super) fn chunk<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (chunk, rest) = self
            .rest
            .split_first_chunk()
            .ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        self.mask = 0;
        Ok(*chunk)
    }

    #[inline]
    pub(super) fn bytes(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let (bytes, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        self.mask = 0;
        Ok(bytes)
    }

    #[inline]
    pub(super) fn octet(&mut self) -> Result<u8, DecodeError> {
        Ok(u8::from_be_bytes(self.chunk()?))
    }

    #[inline]
    pub(super) fn short(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_be_bytes(self.chunk()?))
    }

    #[inline]
    pub(super) fn long(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.chunk()?))
    }

    #[inline]
    pub(super) fn long_long(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_be_bytes(self.chunk()?))
    }

    #[inline]
    pub(super) fn bit(&mut self) -> Result<bool, DecodeError> {
        if self.mask == 0 {
            self.bits = self.octet()?;
            self.mask = 1;
        }
        let bit = self.bits & self.mask != 0;
        self.mask <<= 1;
        Ok(bit)
    }

    /// A short string's bytes, whatever they are.
    #[inline]
    pub(super) fn short_bytes(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.octet()?;
        self.bytes(usize::from(len))
    }

    #[inline]
    pub(super) fn short_string(&mut self) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(self.short_bytes()?).map_err(|_| DecodeError::InvalidUtf8)
    }

    #[inline]
    pub(super) fn long_string(&mut self) -> Result<&'a [u8], DecodeError> {
        let len = self.long()?;
        // A usize holds a u32 wherever a broker runs; a length that it does not hold is past the end.
        self.bytes(usize::try_from(len).unwrap_or(usize::MAX))
    }
}

/// Appends to `out`.
#[derive(Debug)]
pub(super) struct Writer<'o> {
    out: &'o mut Vec<u8>,
    /// The next bit of the last octet; 0 when a new octet must be begun.
    mask: u8,
}

impl<'o> Writer<'o> {
    #[inline]
    pub(super) fn new(out: &'o mut Vec<u8>) -> Self {
        Writer { out, mask: 0 }
    }

    #[inline]
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.mask = 0;
        self.out.extend_from_slice(bytes);
    }

    #[inline]
    fn bit(&mut self, bit: bool) {
        if self.mask == 0 {
            self.out.push(0);
            self.mask = 1;
        }
        if let Some(last) = self.out.last_mut() {
            *last |= if bit { self.mask } else { 0 };
        }
        self.mask <<= 1;
    }

    #[inline]
    pub(super) fn short_string(&mut self, string: &str) {
        self.mask = 0;
        write_short_string(self.out, string);
    }

    #[inline]
    pub(super) fn long_string(&mut self, bytes: &[u8]) {
        self.mask = 0;
        write_long_string(self.out, bytes);
    }
}

/// Appends a short string. One that is too long is cut at a character's end: nothing that came as a short
/// string is, and for a text of ours (the reason of a close) the beginning is better than no text.
#[inline]
pub(super) fn write_short_string(out: &mut Vec<u8>, string: &str) {
    let string = cut(string);
    out.push(string.len() as u8);
    out.extend_from_slice(string.as_bytes());
}

/// `string`, or as much of its beginning as a short string holds.
#[inline]
pub(super) fn cut(string: &str) -> &str {
    if string.len() <= SHORT_STRING_BYTES_MAX {
        return string;
    }
    string
        .get(..string.floor_char_boundary(SHORT_STRING_BYTES_MAX))
        .unwrap_or("")
}

/// Appends a long string.
///
/// # Panics
/// If `bytes` are 4 GiB or more: no frame is that large.
#[inline]
pub(super) fn write_long_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&length(bytes.len()).to_be_bytes());
    out.extend_from_slice(bytes);
}

/// A length as the wire has it.
#[inline]
pub(super) fn length(len: usize) -> u32 {
    u32::try_from(len).expect("less than 4 GiB, as a frame or table that came or was made is")
}

/// A type that a method's field can have.
pub(super) trait Field<'a>: Sized {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError>;
    fn encode(&self, writer: &mut Writer<'_>);
    /// Some value, for tests of every method.
    #[cfg(test)]
    fn sample(samples: &mut Samples<'a>) -> Self;
}

/// What tests fill the fields of methods from; each list begins anew when it is used up.
#[cfg(test)]
pub(super) struct Samples<'a> {
    pub(super) texts: std::iter::Cycle<std::slice::Iter<'a, String>>,
    pub(super) tables: std::iter::Cycle<std::slice::Iter<'a, Vec<u8>>>,
    pub(super) numbers: std::iter::Cycle<std::slice::Iter<'a, u64>>,
}

#[cfg(test)]
impl Samples<'_> {
    fn number(&mut self) -> u64 {
        *self.numbers.next().expect("at least one")
    }
}

macro_rules! integer_fields {
    ($($integer:ty)*) => {$(
        impl<'a> Field<'a> for $integer {
            #[inline]
            fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
                Ok(<$integer>::from_be_bytes(reader.chunk()?))
            }
            #[inline]
            fn encode(&self, writer: &mut Writer<'_>) {
                writer.bytes(&self.to_be_bytes());
            }
            #[cfg(test)]
            fn sample(samples: &mut Samples<'a>) -> Self {
                samples.number() as $integer
            }
        }
    )*};
}
integer_fields!(u8 u16 u32 u64);

impl<'a> Field<'a> for bool {
    #[inline]
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        reader.bit()
    }
    #[inline]
    fn encode(&self, writer: &mut Writer<'_>) {
        writer.bit(*self);
    }
    #[cfg(test)]
    fn sample(samples: &mut Samples<'a>) -> Self {
        samples.number() % 2 == 1
    }
}

impl<'a> Field<'a> for &'a str {
    #[inline]
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        reader.short_string()
    }
    #[inline]
    fn encode(&self, writer: &mut Writer<'_>) {
        writer.short_string(self);
    }
    #[cfg(test)]
    fn sample(samples: &mut Samples<'a>) -> Self {
        cut(samples.texts.next().expect("at least one"))
    }
}

impl<'a> Field<'a> for &'a [u8] {
    #[inline]
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        reader.long_string()
    }
    #[inline]
    fn encode(&self, writer: &mut Writer<'_>) {
        writer.long_string(self);
    }
    #[cfg(test)]
    fn sample(samples: &mut Samples<'a>) -> Self {
        samples.texts.next().expect("at least one").as_bytes()
    }
}

impl<'a> Field<'a> for Table<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Table::validate(reader.long_string()?)
    }
    fn encode(&self, writer: &mut Writer<'_>) {
        writer.long_string(self.as_bytes());
    }
    #[cfg(test)]
    fn sample(samples: &mut Samples<'a>) -> Self {
        Table::validate(samples.tables.next().expect("at least one")).expect("made valid")
    }
}
