//! Content properties: what a content header carries after the body's size (section 4.2.6.1).
//!
//! ```text
//! ┌─────────────┬───────────────────────────────────────────────┐
//! │ flags (u16) │ values of the properties present, in flag order│
//! └─────────────┴───────────────────────────────────────────────┘
//! bit 15 content-type · 14 content-encoding · 13 headers · 12 delivery-mode · 11 priority · 10 correlation-id
//! 9 reply-to · 8 expiration · 7 message-id · 6 timestamp · 5 type · 4 user-id · 3 app-id · 2 cluster-id
//! ```
//! Bit 0 would announce a second flags word and bit 1 has no meaning. RabbitMQ reads neither and keeps the
//! bytes, and so do we: no class has enough properties for a second word. Like RabbitMQ again, text that the
//! broker does not read itself is carried whatever its encoding: there are clients whose correlation ids are
//! raw bytes. Such a text reads as absent here, and goes out as it came.

use super::DecodeError;
use super::codec::{Reader, write_short_string};
use super::table::{FieldTable, Table};

const CONTENT_TYPE: u16 = 1 << 15;
const CONTENT_ENCODING: u16 = 1 << 14;
const HEADERS: u16 = 1 << 13;
const DELIVERY_MODE: u16 = 1 << 12;
const PRIORITY: u16 = 1 << 11;
const CORRELATION_ID: u16 = 1 << 10;
const REPLY_TO: u16 = 1 << 9;
const EXPIRATION: u16 = 1 << 8;
const MESSAGE_ID: u16 = 1 << 7;
const TIMESTAMP: u16 = 1 << 6;
const TYPE: u16 = 1 << 5;
const USER_ID: u16 = 1 << 4;
const APP_ID: u16 = 1 << 3;
const CLUSTER_ID: u16 = 1 << 2;

/// What comes after the priority: mostly none of it is there, which one test finds out.
const AFTER_PRIORITY: u16 = PRIORITY - CLUSTER_ID;

/// A view of checked properties. The six that the broker itself reads are at hand, the rest is looked up.
#[derive(Clone, Copy)]
pub struct Properties<'a> {
    bytes: &'a [u8],
    headers: Option<Table<'a>>,
    reply_to: Option<&'a str>,
    expiration: Option<&'a str>,
    user_id: Option<&'a str>,
    delivery_mode: Option<u8>,
    priority: Option<u8>,
}

impl<'a> Properties<'a> {
    /// No properties at all.
    pub const EMPTY: Properties<'static> = Properties {
        bytes: &[0, 0],
        headers: None,
        reply_to: None,
        expiration: None,
        user_id: None,
        delivery_mode: None,
        priority: None,
    };

    /// Checks flags and values in one pass, the headers with all that they nest.
    ///
    /// # Errors
    /// If a value overruns, bytes are left after the last, the headers are malformed, or one of reply-to,
    /// expiration and user-id, which the broker reads, is no UTF-8.
    #[inline]
    pub fn validate(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let flags = reader.short()?;
        let mut view = Properties {
            bytes,
            ..Properties::EMPTY
        };
        if flags & (CONTENT_TYPE | CONTENT_ENCODING | HEADERS) != 0 {
            view.validate_before_delivery_mode(flags, &mut reader)?;
        }
        if flags & DELIVERY_MODE != 0 {
            view.delivery_mode = Some(reader.octet()?);
        }
        if flags & PRIORITY != 0 {
            view.priority = Some(reader.octet()?);
        }
        if flags & AFTER_PRIORITY != 0 {
            view.validate_after_priority(flags, &mut reader)?;
        }
        reader.finish()?;
        Ok(view)
    }

    fn validate_before_delivery_mode(
        &mut self,
        flags: u16,
        reader: &mut Reader<'a>,
    ) -> Result<(), DecodeError> {
        skip_short_strings(flags, &[CONTENT_TYPE, CONTENT_ENCODING], reader)?;
        if flags & HEADERS != 0 {
            self.headers = Some(Table::validate(reader.long_string()?)?);
        }
        Ok(())
    }

    fn validate_after_priority(
        &mut self,
        flags: u16,
        reader: &mut Reader<'a>,
    ) -> Result<(), DecodeError> {
        skip_short_strings(flags, &[CORRELATION_ID], reader)?;
        if flags & REPLY_TO != 0 {
            self.reply_to = Some(reader.short_string()?);
        }
        if flags & EXPIRATION != 0 {
            self.expiration = Some(reader.short_string()?);
        }
        skip_short_strings(flags, &[MESSAGE_ID], reader)?;
        if flags & TIMESTAMP != 0 {
            reader.long_long()?;
        }
        skip_short_strings(flags, &[TYPE], reader)?;
        if flags & USER_ID != 0 {
            self.user_id = Some(reader.short_string()?);
        }
        skip_short_strings(flags, &[APP_ID, CLUSTER_ID], reader)
    }

    /// Flags and values as they came.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The `content-type` property.
    pub fn content_type(&self) -> Option<&'a str> {
        self.find_text(CONTENT_TYPE)
    }

    /// The `content-encoding` property.
    pub fn content_encoding(&self) -> Option<&'a str> {
        self.find_text(CONTENT_ENCODING)
    }

    /// The `headers` property.
    #[inline]
    pub fn headers(&self) -> Option<Table<'a>> {
        self.headers
    }

    /// The `delivery-mode` property: 2 is persistent.
    #[inline]
    pub fn delivery_mode(&self) -> Option<u8> {
        self.delivery_mode
    }

    /// The `priority` property.
    #[inline]
    pub fn priority(&self) -> Option<u8> {
        self.priority
    }

    /// The `correlation-id` property.
    pub fn correlation_id(&self) -> Option<&'a str> {
        self.find_text(CORRELATION_ID)
    }

    /// The `reply-to` property.
    #[inline]
    pub fn reply_to(&self) -> Option<&'a str> {
        self.reply_to
    }

    /// The `expiration` property: milliseconds in digits, if the publisher kept to it.
    #[inline]
    pub fn expiration(&self) -> Option<&'a str> {
        self.expiration
    }

    /// The `message-id` property.
    pub fn message_id(&self) -> Option<&'a str> {
        self.find_text(MESSAGE_ID)
    }

    /// The `timestamp` property, in seconds since 1970.
    pub fn timestamp(&self) -> Option<u64> {
        let value = self.find(TIMESTAMP)?;
        Some(u64::from_be_bytes(*value.as_array()?))
    }

    /// The `type` property.
    pub fn type_(&self) -> Option<&'a str> {
        self.find_text(TYPE)
    }

    /// The `user-id` property.
    #[inline]
    pub fn user_id(&self) -> Option<&'a str> {
        self.user_id
    }

    /// The `app-id` property.
    pub fn app_id(&self) -> Option<&'a str> {
        self.find_text(APP_ID)
    }

    /// The `cluster-id` property.
    pub fn cluster_id(&self) -> Option<&'a str> {
        self.find_text(CLUSTER_ID)
    }

    /// Encodes these properties with some replaced or removed and all others byte for byte as they came, which
    /// [`PropertiesBuf`] cannot promise.
    pub fn rewrite(&self, changes: &PropertyChanges<'_>) -> Vec<u8> {
        let mut encoder = Encoder::with_capacity(self.bytes.len() + 64);
        let mut values = self.values().peekable();
        for flag in (2..16).rev().map(|bit| 1u16 << bit) {
            let kept = values
                .next_if(|(present, _)| *present == flag)
                .map(|(_, value)| value);
            match flag {
                HEADERS => encoder.change_with(flag, kept, &changes.headers, |out, headers| {
                    headers.encode_with_length(out);
                }),
                REPLY_TO => encoder.change_with(flag, kept, &changes.reply_to, |out, text| {
                    write_short_string(out, text);
                }),
                EXPIRATION => encoder.change_with(flag, kept, &changes.expiration, |out, text| {
                    write_short_string(out, text);
                }),
                _ => encoder.change_with(flag, kept, &Change::<()>::Keep, |_, ()| {}),
            }
        }
        encoder.finish()
    }

    fn find_text(&self, flag: u16) -> Option<&'a str> {
        let (_, text) = self.find(flag)?.split_first()?;
        std::str::from_utf8(text).ok()
    }

    fn find(&self, flag: u16) -> Option<&'a [u8]> {
        self.values()
            .find(|(present, _)| *present == flag)
            .map(|(_, value)| value)
    }

    /// Flag and encoded value of every property that is present, in flag order.
    fn values(&self) -> impl Iterator<Item = (u16, &'a [u8])> + use<'a> {
        let mut reader = Reader::new(self.bytes);
        // validate() has read all of this: None comes at the end and nowhere else.
        let flags = reader.short().unwrap_or(0);
        let present = (2..16)
            .rev()
            .map(|bit| 1u16 << bit)
            .filter(move |flag| flags & flag != 0);
        present.map_while(move |flag| {
            let before = reader.rest();
            match flag {
                HEADERS => reader.long_string().map(|_| ()),
                DELIVERY_MODE | PRIORITY => reader.octet().map(|_| ()),
                TIMESTAMP => reader.long_long().map(|_| ()),
                _ => reader.short_bytes().map(|_| ()),
            }
            .ok()?;
            Some((flag, before.get(..before.len() - reader.rest().len())?))
        })
    }
}

impl std::fmt::Debug for Properties<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        PropertiesBuf::from_view(self).fmt(f)
    }
}

#[inline]
fn skip_short_strings(
    flags: u16,
    which: &[u16],
    reader: &mut Reader<'_>,
) -> Result<(), DecodeError> {
    for flag in which {
        if flags & flag != 0 {
            reader.short_bytes()?;
        }
    }
    Ok(())
}

/// What becomes of a property.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Change<T> {
    /// It stays as it is, absent or not.
    #[default]
    Keep,
    /// It goes.
    Remove,
    /// It becomes this.
    Set(T),
}

/// The properties that a broker changes on a message's way: dead letters, BCC, direct reply-to.
#[derive(Debug, Clone, Copy, Default)]
pub struct PropertyChanges<'c> {
    /// Of the `headers` property.
    pub headers: Change<&'c FieldTable>,
    /// Of the `reply-to` property.
    pub reply_to: Change<&'c str>,
    /// Of the `expiration` property.
    pub expiration: Change<&'c str>,
}

/// Properties of our own, every one as its type says.
#[derive(Debug, Clone, Default, PartialEq)]
#[expect(
    missing_docs,
    reason = "the specification's properties, explained there"
)]
pub struct PropertiesBuf {
    pub content_type: Option<String>,
    pub content_encoding: Option<String>,
    pub headers: Option<FieldTable>,
    pub delivery_mode: Option<u8>,
    pub priority: Option<u8>,
    pub correlation_id: Option<String>,
    pub reply_to: Option<String>,
    pub expiration: Option<String>,
    pub message_id: Option<String>,
    pub timestamp: Option<u64>,
    pub type_: Option<String>,
    pub user_id: Option<String>,
    pub app_id: Option<String>,
    pub cluster_id: Option<String>,
}

impl PropertiesBuf {
    /// A copy. A text that is no UTF-8 is left out: [`Properties::rewrite`] keeps it.
    pub fn from_view(view: &Properties<'_>) -> Self {
        PropertiesBuf {
            content_type: view.content_type().map(String::from),
            content_encoding: view.content_encoding().map(String::from),
            headers: view.headers().map(|headers| headers.to_owned()),
            delivery_mode: view.delivery_mode(),
            priority: view.priority(),
            correlation_id: view.correlation_id().map(String::from),
            reply_to: view.reply_to().map(String::from),
            expiration: view.expiration().map(String::from),
            message_id: view.message_id().map(String::from),
            timestamp: view.timestamp(),
            type_: view.type_().map(String::from),
            user_id: view.user_id().map(String::from),
            app_id: view.app_id().map(String::from),
            cluster_id: view.cluster_id().map(String::from),
        }
    }

    /// Flags and values. A text that is longer than a short string is cut.
    pub fn encode(&self) -> Vec<u8> {
        let mut encoder = Encoder::with_capacity(32);
        encoder.text(CONTENT_TYPE, self.content_type.as_deref());
        encoder.text(CONTENT_ENCODING, self.content_encoding.as_deref());
        if let Some(headers) = &self.headers {
            encoder.value(HEADERS, |out| headers.encode_with_length(out));
        }
        encoder.octet(DELIVERY_MODE, self.delivery_mode);
        encoder.octet(PRIORITY, self.priority);
        encoder.text(CORRELATION_ID, self.correlation_id.as_deref());
        encoder.text(REPLY_TO, self.reply_to.as_deref());
        encoder.text(EXPIRATION, self.expiration.as_deref());
        encoder.text(MESSAGE_ID, self.message_id.as_deref());
        if let Some(timestamp) = self.timestamp {
            encoder.value(TIMESTAMP, |out| {
                out.extend_from_slice(&timestamp.to_be_bytes())
            });
        }
        encoder.text(TYPE, self.type_.as_deref());
        encoder.text(USER_ID, self.user_id.as_deref());
        encoder.text(APP_ID, self.app_id.as_deref());
        encoder.text(CLUSTER_ID, self.cluster_id.as_deref());
        encoder.finish()
    }
}

/// Collects values, which come in flag order, and their flags.
struct Encoder {
    flags: u16,
    out: Vec<u8>,
}

impl Encoder {
    fn with_capacity(bytes: usize) -> Self {
        let mut out = Vec::with_capacity(bytes);
        out.extend_from_slice(&[0, 0]);
        Encoder { flags: 0, out }
    }

    fn value(&mut self, flag: u16, encode: impl FnOnce(&mut Vec<u8>)) {
        self.flags |= flag;
        encode(&mut self.out);
    }

    fn octet(&mut self, flag: u16, octet: Option<u8>) {
        if let Some(octet) = octet {
            self.value(flag, |out| out.push(octet));
        }
    }

    fn text(&mut self, flag: u16, text: Option<&str>) {
        if let Some(text) = text {
            self.value(flag, |out| write_short_string(out, text));
        }
    }

    fn change_with<T>(
        &mut self,
        flag: u16,
        kept: Option<&[u8]>,
        change: &Change<T>,
        encode: impl FnOnce(&mut Vec<u8>, &T),
    ) {
        match (change, kept) {
            (Change::Set(value), _) => self.value(flag, |out| encode(out, value)),
            (Change::Keep, Some(kept)) => self.value(flag, |out| out.extend_from_slice(kept)),
            (Change::Keep, None) | (Change::Remove, _) => {}
        }
    }

    fn finish(mut self) -> Vec<u8> {
        if let Some(place) = self.out.first_chunk_mut() {
            *place = self.flags.to_be_bytes();
        }
        self.out
    }
}
