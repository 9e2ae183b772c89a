//! Field tables as JSON and back, as RabbitMQ's management API and definitions files write them.
//!
//! JSON knows fewer types than a field table: a table that went to JSON comes back with every integer as a
//! `long` and every float as a `double`. An object's keys are put into a table in the order of their bytes.
//! Deliberately absent: the AMQP properties of a message, which are the HTTP API's business.

use serde_json::{Map, Value};
use wire::amqp091::table::{FieldTable, FieldValue, TABLE_DEPTH_MAX};

/// Why a JSON value cannot be in a field table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// RabbitMQ's word for it.
    #[error("null_not_allowed")]
    Null,
    /// It does not fit 64 bits with a sign.
    #[error("integer_out_of_range")]
    Integer,
    /// It nests deeper than [`TABLE_DEPTH_MAX`].
    #[error("nested_too_deep")]
    Depth,
    /// A key is longer than a short string: 255 bytes.
    #[error("key_too_long")]
    Key,
}

/// The table that a JSON object stands for.
///
/// # Errors
/// If a value in it has no counterpart.
pub fn to_table(object: &Map<String, Value>) -> Result<FieldTable, JsonError> {
    table(object, TABLE_DEPTH_MAX)
}

/// The table's value that a JSON value stands for: text is a `longstr`, a number a `long` or a `double`.
///
/// # Errors
/// If it, or a value in it, has no counterpart.
pub fn to_field(value: &Value) -> Result<FieldValue, JsonError> {
    field(value, TABLE_DEPTH_MAX)
}

/// A table as a JSON object. Of a key that occurs twice the last value stays.
pub fn from_table(table: &FieldTable) -> Map<String, Value> {
    let entries = table.iter();
    entries
        .map(|(key, value)| (key.to_owned(), from_field(value)))
        .collect()
}

/// A table's value as JSON. Bytes that are no UTF-8 become a text that says so, as in RabbitMQ.
pub fn from_field(value: &FieldValue) -> Value {
    match value {
        FieldValue::Bool(v) => Value::from(*v),
        FieldValue::I8(v) => Value::from(*v),
        FieldValue::U8(v) => Value::from(*v),
        FieldValue::I16(v) => Value::from(*v),
        FieldValue::U16(v) => Value::from(*v),
        FieldValue::I32(v) => Value::from(*v),
        FieldValue::U32(v) => Value::from(*v),
        FieldValue::I64(v) => Value::from(*v),
        FieldValue::Timestamp(v) => Value::from(*v),
        FieldValue::F32(v) => Value::from(f64::from(*v)),
        FieldValue::F64(v) => Value::from(*v),
        // RabbitMQ takes the scale for what is before the point. Odd, and what its clients read.
        FieldValue::Decimal { scale, value } => Value::from(
            format!("{scale}.{value}")
                .parse::<f64>()
                .unwrap_or_default(),
        ),
        FieldValue::LongStr(bytes) | FieldValue::Bytes(bytes) => Value::from(text(bytes)),
        FieldValue::Array(values) => values.iter().map(from_field).collect(),
        FieldValue::Table(table) => Value::Object(from_table(table)),
        // Erlang's word for nothing, printed as text.
        FieldValue::Void => Value::from("undefined"),
    }
}

fn table(object: &Map<String, Value>, depth_left: usize) -> Result<FieldTable, JsonError> {
    let depth_left = depth_left.checked_sub(1).ok_or(JsonError::Depth)?;
    let entries = object.iter().map(|(key, value)| match key.len() {
        0..=255 => Ok((key.clone(), field(value, depth_left)?)),
        _ => Err(JsonError::Key),
    });
    let mut entries: Vec<_> = entries.collect::<Result<_, _>>()?;
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(entries.into_iter().collect())
}

fn field(value: &Value, depth_left: usize) -> Result<FieldValue, JsonError> {
    Ok(match value {
        Value::Null => return Err(JsonError::Null),
        Value::Bool(v) => FieldValue::Bool(*v),
        Value::String(text) => FieldValue::from(text.as_str()),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(integer), _) => FieldValue::I64(integer),
            (None, Some(float)) if number.is_f64() => FieldValue::F64(float),
            _ => return Err(JsonError::Integer),
        },
        Value::Array(values) => {
            let depth_left = depth_left.checked_sub(1).ok_or(JsonError::Depth)?;
            let values = values.iter().map(|value| field(value, depth_left));
            FieldValue::Array(values.collect::<Result<_, _>>()?)
        }
        Value::Object(object) => FieldValue::Table(table(object, depth_left)?),
    })
}

/// Text as it is; anything else in base64, in lines of 76 characters as MIME has them.
fn text(bytes: &[u8]) -> String {
    use base64::Engine as _;
    if let Ok(text) = std::str::from_utf8(bytes) {
        return text.to_owned();
    }
    let encoded = base64::engine::general_purpose::STANDARD.encode(bytes);
    let mut out = "Not UTF-8, base64 is: ".to_owned();
    for (at, letter) in encoded.chars().enumerate() {
        if at > 0 && at % 76 == 0 {
            out.push('\n');
        }
        out.push(letter);
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_json_can_say_goes_there_and_back() {
        let value = json!({
            "a": 1, "b": -7, "c": 1.5, "d": true, "e": "text", "f": [1, "x", {"g": false}],
            "h": {"i": {"j": []}}, "k": i64::MIN, "l": 2.0,
        });
        let object = value.as_object().unwrap();
        let table = to_table(object).unwrap();
        assert_eq!(&from_table(&table), object);
        assert_eq!(table.find("a"), Some(&FieldValue::I64(1)));
        assert_eq!(table.find("l"), Some(&FieldValue::F64(2.0)));
        assert_eq!(table.find("e"), Some(&FieldValue::from("text")));
    }

    #[test]
    fn what_a_table_cannot_hold_is_refused() {
        let refused = |value: Value| to_table(value.as_object().unwrap()).unwrap_err();
        assert_eq!(refused(json!({"a": null})), JsonError::Null);
        assert_eq!(refused(json!({"a": [{"b": null}]})), JsonError::Null);
        assert_eq!(refused(json!({"a": u64::MAX})), JsonError::Integer);
        assert_eq!(refused(json!({"x".repeat(256): 1})), JsonError::Key);
        let nested = |depth: usize| (0..depth).fold(json!(1), |inner, _| json!([inner]));
        let table = |depth| to_table(json!({"a": nested(depth)}).as_object().unwrap());
        assert!(table(TABLE_DEPTH_MAX - 1).is_ok());
        assert_eq!(table(TABLE_DEPTH_MAX), Err(JsonError::Depth));
    }

    /// The same limit as that of wire: what is accepted here can be read back from the disk.
    #[test]
    fn the_deepest_table_is_one_that_wire_reads() {
        let nested = (0..TABLE_DEPTH_MAX - 1).fold(json!(1), |inner, _| json!({"n": inner}));
        let table = to_table(json!({"a": nested}).as_object().unwrap()).unwrap();
        let bytes = table.encode();
        assert!(wire::amqp091::table::Table::validate(&bytes).is_ok());
    }

    #[test]
    fn types_that_json_lacks_look_as_in_rabbitmq() {
        assert_eq!(from_field(&FieldValue::Void), json!("undefined"));
        assert_eq!(from_field(&FieldValue::Timestamp(7)), json!(7));
        assert_eq!(from_field(&FieldValue::U32(u32::MAX)), json!(u32::MAX));
        let decimal = FieldValue::Decimal {
            scale: 2,
            value: 314,
        };
        assert_eq!(from_field(&decimal), json!(2.314));
        assert_eq!(
            from_field(&FieldValue::LongStr(vec![0xff; 60])),
            json!(format!(
                "Not UTF-8, base64 is: {}\n{}",
                "/".repeat(76),
                "/".repeat(4)
            ))
        );
    }
}
