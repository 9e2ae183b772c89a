//! Field tables as routing sees them: compared, told apart, and shown in error texts.
//!
//! Three readings of one value, each RabbitMQ 4.3's own:
//! - as a header, where 5 is 5 at any width and a string is its bytes (`push_header_value`);
//! - as a part of a binding's identity, where the type counts and the order of keys does not (`identity`);
//! - as an Erlang term, because that is what RabbitMQ prints in its refusals (`term`).

use metadata::erlang::{binary_term, float_term};

use wire::amqp091::table::{Table, Value};

/// Where a value stands: RabbitMQ counts a message's timestamps in milliseconds before it compares headers, but
/// not a binding's (`mc_amqpl` in 4.x; seen on 4.3: a binding's timestamp 5 meets a message's integer 5, and an
/// integer 5000 its timestamp 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Binding,
    Message,
}

/// Appends a form of `value` that is equal, byte for byte, exactly where RabbitMQ holds two headers equal.
pub(crate) fn push_header_value(out: &mut Vec<u8>, value: &Value<'_>, side: Side) {
    let tagged = |out: &mut Vec<u8>, tag: u8, bytes: &[u8]| {
        out.push(tag);
        out.extend_from_slice(bytes);
    };
    match *value {
        Value::Void => out.push(b'V'),
        Value::Bool(bool) => tagged(out, b't', &[u8::from(bool)]),
        Value::LongStr(bytes) | Value::Bytes(bytes) => tagged(out, b'S', bytes),
        // A double and a float of one value are equal; 0.0 and -0.0 are not.
        Value::F32(float) => tagged(out, b'd', &f64::from(float).to_bits().to_be_bytes()),
        Value::F64(float) => tagged(out, b'd', &float.to_bits().to_be_bytes()),
        Value::Decimal { scale, value } => {
            tagged(out, b'D', &[scale]);
            out.extend_from_slice(&value.to_be_bytes());
        }
        Value::Array(array) => tagged(
            out,
            if array.is_empty() { b'0' } else { b'A' },
            array.as_bytes(),
        ),
        Value::Table(table) => tagged(
            out,
            if table.is_empty() { b'0' } else { b'F' },
            table.as_bytes(),
        ),
        Value::Timestamp(seconds) => {
            let scale = if side == Side::Message { 1000 } else { 1 };
            tagged(out, b'I', &(i128::from(seconds) * scale).to_be_bytes());
        }
        ref integer => match integer.as_integer() {
            Some(integer) => tagged(out, b'I', &i128::from(integer).to_be_bytes()),
            None => out.push(b'?'),
        },
    }
}

/// A form of a binding's arguments that is equal exactly for the same binding: sorted by key, types kept.
pub(crate) fn identity(arguments: Table<'_>) -> Vec<u8> {
    let mut entries: Vec<(&str, Value<'_>)> = arguments.iter().collect();
    entries.sort_by_key(|&(key, _)| key);
    let mut out = Vec::new();
    let mut value_bytes = Vec::new();
    for (key, value) in entries {
        value_bytes.clear();
        push_header_value(&mut value_bytes, &value, Side::Binding);
        for part in [key.as_bytes(), value.type_name().as_bytes(), &value_bytes] {
            out.extend_from_slice(&(part.len() as u32).to_be_bytes());
            out.extend_from_slice(part);
        }
    }
    out
}

/// A value as Erlang's `~tp` prints it.
pub(crate) fn term(value: &Value<'_>) -> String {
    match *value {
        Value::Void => "undefined".into(),
        Value::Bool(bool) => bool.to_string(),
        Value::LongStr(bytes) | Value::Bytes(bytes) => binary_term(bytes),
        Value::F32(float) => float_term(f64::from(float)),
        Value::F64(float) => float_term(float),
        Value::Decimal { scale, value } => format!("{{{scale},{value}}}"),
        Value::Timestamp(seconds) => seconds.to_string(),
        Value::Array(array) => {
            let items = array
                .iter()
                .map(|item| format!("{{{},{}}}", item.type_name(), term(&item)));
            format!("[{}]", items.collect::<Vec<_>>().join(","))
        }
        Value::Table(table) => {
            let items = table.iter().map(|(key, item)| {
                format!(
                    "{{{},{},{}}}",
                    binary_term(key.as_bytes()),
                    item.type_name(),
                    term(&item)
                )
            });
            format!("[{}]", items.collect::<Vec<_>>().join(","))
        }
        ref integer => match integer.as_integer() {
            Some(integer) => integer.to_string(),
            None => "undefined".into(),
        },
    }
}

/// Bytes as Erlang's `~ts` prints a binary: UTF-8, or else Latin-1.
pub(crate) fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|&byte| char::from(byte)).collect(),
    }
}

/// An exchange type as Erlang's `~tp` prints the atom of its name: quoted unless it is a plain word.
pub(crate) fn atom_term(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '@';
    if name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(plain) {
        name.to_owned()
    } else {
        format!("'{name}'")
    }
}

#[cfg(test)]
mod tests;
