//! Methods and basic properties, driven by a table of the specification.
//!
//! One line of [`SPEC`] is one method: class, number, name, fields with their wire types. Encoding,
//! decoding, parsing and printing all walk that line, so there is no struct per method to forget a
//! field in.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;

use crate::field::{Field, Reader, Table, encode_long_str, encode_table, show_table};
use crate::text::{ParseError, Scanner, quote};

/// The methods of AMQP 0-9-1 with RabbitMQ's extensions. Types: o octet, s short, l long, L long-long,
/// b bit, S shortstr, X longstr, T table (the specification's `timestamp` occurs in properties only).
const SPEC: &str = "\
10 10 connection.start version_major:o version_minor:o server_properties:T mechanisms:X locales:X
10 11 connection.start-ok client_properties:T mechanism:S response:X locale:S
10 20 connection.secure challenge:X
10 21 connection.secure-ok response:X
10 30 connection.tune channel_max:s frame_max:l heartbeat:s
10 31 connection.tune-ok channel_max:s frame_max:l heartbeat:s
10 40 connection.open virtual_host:S reserved_1:S reserved_2:b
10 41 connection.open-ok reserved_1:S
10 50 connection.close reply_code:s reply_text:S class_id:s method_id:s
10 51 connection.close-ok
10 60 connection.blocked reason:S
10 61 connection.unblocked
10 70 connection.update-secret new_secret:X reason:S
10 71 connection.update-secret-ok
20 10 channel.open reserved_1:S
20 11 channel.open-ok reserved_1:X
20 20 channel.flow active:b
20 21 channel.flow-ok active:b
20 40 channel.close reply_code:s reply_text:S class_id:s method_id:s
20 41 channel.close-ok
30 10 access.request realm:S exclusive:b passive:b active:b write:b read:b
30 11 access.request-ok ticket:s
40 10 exchange.declare ticket:s exchange:S type:S passive:b durable:b auto_delete:b internal:b nowait:b arguments:T
40 11 exchange.declare-ok
40 20 exchange.delete ticket:s exchange:S if_unused:b nowait:b
40 21 exchange.delete-ok
40 30 exchange.bind ticket:s destination:S source:S routing_key:S nowait:b arguments:T
40 31 exchange.bind-ok
40 40 exchange.unbind ticket:s destination:S source:S routing_key:S nowait:b arguments:T
40 51 exchange.unbind-ok
50 10 queue.declare ticket:s queue:S passive:b durable:b exclusive:b auto_delete:b nowait:b arguments:T
50 11 queue.declare-ok queue:S message_count:l consumer_count:l
50 20 queue.bind ticket:s queue:S exchange:S routing_key:S nowait:b arguments:T
50 21 queue.bind-ok
50 30 queue.purge ticket:s queue:S nowait:b
50 31 queue.purge-ok message_count:l
50 40 queue.delete ticket:s queue:S if_unused:b if_empty:b nowait:b
50 41 queue.delete-ok message_count:l
50 50 queue.unbind ticket:s queue:S exchange:S routing_key:S arguments:T
50 51 queue.unbind-ok
60 10 basic.qos prefetch_size:l prefetch_count:s global:b
60 11 basic.qos-ok
60 20 basic.consume ticket:s queue:S consumer_tag:S no_local:b no_ack:b exclusive:b nowait:b arguments:T
60 21 basic.consume-ok consumer_tag:S
60 30 basic.cancel consumer_tag:S nowait:b
60 31 basic.cancel-ok consumer_tag:S
60 40 basic.publish ticket:s exchange:S routing_key:S mandatory:b immediate:b
60 50 basic.return reply_code:s reply_text:S exchange:S routing_key:S
60 60 basic.deliver consumer_tag:S delivery_tag:L redelivered:b exchange:S routing_key:S
60 70 basic.get ticket:s queue:S no_ack:b
60 71 basic.get-ok delivery_tag:L redelivered:b exchange:S routing_key:S message_count:l
60 72 basic.get-empty reserved_1:S
60 80 basic.ack delivery_tag:L multiple:b
60 90 basic.reject delivery_tag:L requeue:b
60 100 basic.recover-async requeue:b
60 110 basic.recover requeue:b
60 111 basic.recover-ok
60 120 basic.nack delivery_tag:L multiple:b requeue:b
85 10 confirm.select nowait:b
85 11 confirm.select-ok
90 10 tx.select
90 11 tx.select-ok
90 20 tx.commit
90 21 tx.commit-ok
90 30 tx.rollback
90 31 tx.rollback-ok";

/// Basic properties in the order of their flags, with the same type letters (`t`: timestamp).
const PROPERTIES: [(&str, char); 14] = [
    ("content_type", 'S'),
    ("content_encoding", 'S'),
    ("headers", 'T'),
    ("delivery_mode", 'o'),
    ("priority", 'o'),
    ("correlation_id", 'S'),
    ("reply_to", 'S'),
    ("expiration", 'S'),
    ("message_id", 'S'),
    ("timestamp", 't'),
    ("type", 'S'),
    ("user_id", 'S'),
    ("app_id", 'S'),
    ("cluster_id", 'S'),
];

struct MethodSpec {
    class: u16,
    number: u16,
    name: &'static str,
    fields: Vec<(&'static str, char)>,
}

fn spec() -> &'static [MethodSpec] {
    static TABLE: OnceLock<Vec<MethodSpec>> = OnceLock::new();
    TABLE.get_or_init(|| {
        let number = |word: Option<&str>| word.and_then(|w| w.parse().ok()).expect("SPEC line");
        SPEC.lines()
            .map(|line| {
                let mut words = line.split(' ');
                MethodSpec {
                    class: number(words.next()),
                    number: number(words.next()),
                    name: words.next().expect("SPEC line has a name"),
                    fields: words
                        .map(|field| {
                            let (name, kind) = field.split_once(':').expect("SPEC field");
                            (name, kind.chars().next().expect("SPEC type"))
                        })
                        .collect(),
                }
            })
            .collect()
    })
}

/// The value of a method's field or of a property.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Octet, short, long, long-long or timestamp.
    Number(u64),
    /// A bit.
    Bit(bool),
    /// A short or long string.
    Text(Vec<u8>),
    /// A field table.
    Table(Table),
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Value::Number(number)
    }
}

impl From<bool> for Value {
    fn from(bit: bool) -> Self {
        Value::Bit(bit)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Text(text.as_bytes().to_vec())
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Value::Text(bytes)
    }
}

impl From<Table> for Value {
    fn from(table: Table) -> Self {
        Value::Table(table)
    }
}

impl Value {
    fn zero(kind: char) -> Self {
        match kind {
            'b' => Value::Bit(false),
            'S' | 'X' => Value::Text(Vec::new()),
            'T' => Value::Table(Table::new()),
            _ => Value::Number(0),
        }
    }

    fn is_zero(&self) -> bool {
        match self {
            Value::Number(number) => *number == 0,
            Value::Bit(bit) => !bit,
            Value::Text(text) => text.is_empty(),
            Value::Table(table) => table.is_empty(),
        }
    }

    fn parse(scanner: &mut Scanner<'_>, kind: char) -> Result<Self, ParseError> {
        match kind {
            'S' | 'X' => scanner.string().map(Value::Text),
            'T' => scanner.table().map(Value::Table),
            'b' => match scanner.word() {
                "true" => Ok(Value::Bit(true)),
                "false" => Ok(Value::Bit(false)),
                _ => Err(scanner.error("a bit is true or false")),
            },
            _ => {
                let word = scanner.word();
                word.parse()
                    .map(Value::Number)
                    .map_err(|_| scanner.error("not a number"))
            }
        }
    }

    fn encode(&self, out: &mut Vec<u8>, kind: char) {
        match (kind, self) {
            ('S', Value::Text(text)) => {
                out.push(text.len() as u8);
                out.extend_from_slice(&text[..text.len() & 0xff]);
            }
            ('X', Value::Text(text)) => encode_long_str(out, text),
            ('T', Value::Table(table)) => encode_table(out, table),
            (_, Value::Number(number)) => {
                let width = number_width(kind);
                out.extend_from_slice(&number.to_be_bytes()[8 - width..]);
            }
            _ => unreachable!("a value has its field's type: {kind} {self:?}"),
        }
    }

    fn decode(reader: &mut Reader<'_>, kind: char) -> Option<Self> {
        Some(match kind {
            'S' => Value::Text(reader.short_str()?),
            'X' => Value::Text(reader.long_str()?),
            'T' => Value::Table(reader.table()?),
            'o' => Value::Number(reader.u8()?.into()),
            's' => Value::Number(reader.u16()?.into()),
            'l' => Value::Number(reader.u32()?.into()),
            _ => Value::Number(reader.u64()?),
        })
    }
}

fn number_width(kind: char) -> usize {
    match kind {
        'o' => 1,
        's' => 2,
        'l' => 4,
        _ => 8,
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Number(number) => write!(f, "{number}"),
            Value::Bit(bit) => write!(f, "{bit}"),
            Value::Text(text) => f.write_str(&quote(text)),
            Value::Table(table) => f.write_str(&show_table(table)),
        }
    }
}

/// A method with all its fields, in order.
#[derive(Clone, PartialEq)]
pub struct Method {
    /// Class and method number.
    pub id: (u16, u16),
    /// As the specification spells it: `queue.declare-ok`.
    pub name: &'static str,
    /// Every field, in wire order.
    pub fields: Vec<(&'static str, Value)>,
}

impl Method {
    /// The method of this name with all fields zero; `None` when there is no such method.
    pub fn new(name: &str) -> Option<Self> {
        let found = spec().iter().find(|method| method.name == name)?;
        let fields = found
            .fields
            .iter()
            .map(|(name, kind)| (*name, Value::zero(*kind)))
            .collect();
        Some(Self {
            id: (found.class, found.number),
            name: found.name,
            fields,
        })
    }

    /// Reads `queue.declare queue=q durable`.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let (method, properties) = Self::parse_with_properties(text)?;
        match properties.is_empty() {
            true => Ok(method),
            false => Err(Scanner::new(text).error("properties belong to a publish")),
        }
    }

    /// The same, where properties may stand among the fields, as in
    /// `basic.publish routing_key=q priority=5`.
    pub fn parse_with_properties(text: &str) -> Result<(Self, Properties), ParseError> {
        let mut scanner = Scanner::new(text);
        let name = scanner.word();
        let Some(mut method) = Self::new(name) else {
            return Err(scanner.error("no such method"));
        };
        let kinds = &spec()
            .iter()
            .find(|m| m.id() == method.id)
            .expect("found by new")
            .fields;
        let mut properties = Properties::new();
        while !scanner.at_end() {
            let key = scanner.word();
            let field = kinds.iter().position(|(name, _)| *name == key);
            if !scanner.take('=') {
                let Some((index, 'b')) = field.map(|index| (index, kinds[index].1)) else {
                    return Err(scanner.error(&format!("no bit {key} in {name}")));
                };
                method.fields[index].1 = Value::Bit(true);
            } else if let Some(index) = field {
                method.fields[index].1 = Value::parse(&mut scanner, kinds[index].1)?;
            } else if let Some((name, kind)) = PROPERTIES.iter().find(|(name, _)| *name == key) {
                properties.set(name, Value::parse(&mut scanner, *kind)?);
            } else {
                return Err(scanner.error(&format!("no field {key} in {name}")));
            }
        }
        Ok((method, properties))
    }

    /// The same method with one field changed. Panics when the method has no such field.
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        let name = self.name;
        let slot = self.fields.iter_mut().find(|(name, _)| *name == field);
        slot.unwrap_or_else(|| panic!("{name} has no field {field}"))
            .1 = value.into();
        self
    }

    /// A field's value; `None` when the method has no such field.
    pub fn field(&self, name: &str) -> Option<&Value> {
        self.fields
            .iter()
            .find(|(field, _)| *field == name)
            .map(|(_, value)| value)
    }

    /// A numeric field, or 0.
    pub fn number(&self, name: &str) -> u64 {
        match self.field(name) {
            Some(Value::Number(number)) => *number,
            _ => 0,
        }
    }

    /// A string field, or empty.
    pub fn text(&self, name: &str) -> String {
        match self.field(name) {
            Some(Value::Text(text)) => String::from_utf8_lossy(text).into_owned(),
            _ => String::new(),
        }
    }

    /// A bit, or false.
    pub fn bit(&self, name: &str) -> bool {
        matches!(self.field(name), Some(Value::Bit(true)))
    }

    /// Class, number and fields: the payload of a method frame.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&self.id.0.to_be_bytes());
        out.extend_from_slice(&self.id.1.to_be_bytes());
        let kinds = &spec()
            .iter()
            .find(|m| m.id() == self.id)
            .expect("found by new")
            .fields;
        let mut bits: Option<u8> = None;
        let mut bit_count = 0;
        for ((_, kind), (_, value)) in kinds.iter().zip(&self.fields) {
            if let Value::Bit(bit) = value {
                bits = Some(bits.unwrap_or(0) | (u8::from(*bit) << bit_count));
                bit_count += 1;
            } else {
                bits.take().into_iter().for_each(|byte| out.push(byte));
                bit_count = 0;
                value.encode(&mut out, *kind);
            }
        }
        bits.into_iter().for_each(|byte| out.push(byte));
        out
    }

    /// Reads the payload of a method frame; an error says what was wrong with it.
    pub fn decode(payload: &[u8]) -> Result<Self, String> {
        let mut reader = Reader(payload);
        let id = (
            reader.u16().ok_or("short method")?,
            reader.u16().ok_or("short method")?,
        );
        let found = spec()
            .iter()
            .find(|m| m.id() == id)
            .ok_or(format!("unknown method {id:?}"))?;
        let mut fields = Vec::new();
        let mut bits = 0_u8;
        let mut bit_count = 0;
        for (name, kind) in &found.fields {
            if *kind == 'b' {
                if bit_count == 0 {
                    bits = reader.u8().ok_or("short bits")?;
                }
                fields.push((*name, Value::Bit(bits >> bit_count & 1 != 0)));
                bit_count += 1;
            } else {
                bit_count = 0;
                let value = Value::decode(&mut reader, *kind);
                fields.push((*name, value.ok_or(format!("{}: bad {name}", found.name))?));
            }
        }
        match reader.0.is_empty() {
            true => Ok(Self {
                id,
                name: found.name,
                fields,
            }),
            false => Err(format!("{}: {} bytes too many", found.name, reader.0.len())),
        }
    }
}

impl MethodSpec {
    fn id(&self) -> (u16, u16) {
        (self.class, self.number)
    }
}

/// Prints fields that are not zero, except that reserved ones are left out and counts and tags are
/// always shown.
impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        for (name, value) in &self.fields {
            let always = name.ends_with("_count") || *name == "delivery_tag";
            match value {
                _ if value.is_zero() && !always => {}
                Value::Bit(_) => write!(f, " {name}")?,
                _ => write!(f, " {name}={value}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Basic properties: those present, in wire order.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Properties(BTreeMap<usize, Value>);

impl Properties {
    /// None present.
    pub fn new() -> Self {
        Self::default()
    }

    /// True when none is present.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sets a property. Panics when there is none of this name.
    pub fn set(&mut self, name: &str, value: impl Into<Value>) {
        let index = PROPERTIES
            .iter()
            .position(|(property, _)| *property == name);
        self.0.insert(
            index.unwrap_or_else(|| panic!("no property {name}")),
            value.into(),
        );
    }

    /// A property's value.
    pub fn find(&self, name: &str) -> Option<&Value> {
        let index = PROPERTIES
            .iter()
            .position(|(property, _)| *property == name)?;
        self.0.get(&index)
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&Field> {
        match self.find("headers") {
            Some(Value::Table(table)) => table
                .iter()
                .find(|(key, _)| key == name.as_bytes())
                .map(|(_, value)| value),
            _ => None,
        }
    }

    /// The headers, to change them.
    pub fn headers_mut(&mut self) -> Option<&mut Table> {
        match self.0.get_mut(&2) {
            Some(Value::Table(table)) => Some(table),
            _ => None,
        }
    }

    /// Flags and values.
    pub fn encode(&self) -> Vec<u8> {
        let flags = self
            .0
            .keys()
            .fold(0_u16, |flags, index| flags | 1 << (15 - index));
        let mut out = flags.to_be_bytes().to_vec();
        self.0
            .iter()
            .for_each(|(index, value)| value.encode(&mut out, PROPERTIES[*index].1));
        out
    }

    /// Reads flags and values; `None` when they are malformed.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let flags = reader.u16()?;
        let mut properties = Self::new();
        for (index, (_, kind)) in PROPERTIES.iter().enumerate() {
            if flags & 1 << (15 - index) != 0 {
                properties
                    .0
                    .insert(index, Value::decode(&mut reader, *kind)?);
            }
        }
        (reader.0.is_empty() && flags & 3 == 0).then_some(properties)
    }
}

impl fmt::Display for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, (index, value)) in self.0.iter().enumerate() {
            write!(
                f,
                "{}{}={value}",
                if position == 0 { "" } else { " " },
                PROPERTIES[*index].0
            )?;
        }
        Ok(())
    }
}
