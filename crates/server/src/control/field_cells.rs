//! Field tables as cells of a list.

use wire::amqp091::table::{FieldTable, FieldValue};

use super::protocol::Cell;

impl From<&FieldTable> for Cell {
    fn from(table: &FieldTable) -> Cell {
        let entry = |(key, value): (&str, &FieldValue)| {
            (
                key.to_owned(),
                value.type_name().to_owned(),
                Cell::from(value),
            )
        };
        Cell::Table(table.iter().map(entry).collect())
    }
}

impl From<&FieldValue> for Cell {
    fn from(value: &FieldValue) -> Cell {
        if let Some(number) = value.as_integer() {
            return Cell::Integer(number);
        }
        match value {
            FieldValue::Bool(value) => Cell::Bool(*value),
            FieldValue::F32(value) => Cell::Float((*value).into()),
            FieldValue::F64(value) => Cell::Float(*value),
            FieldValue::Decimal { scale, value } => {
                Cell::Float(f64::from(*value) / 10_f64.powi(i32::from(*scale)))
            }
            FieldValue::LongStr(bytes) | FieldValue::Bytes(bytes) => {
                Cell::Text(String::from_utf8_lossy(bytes).into_owned())
            }
            FieldValue::Timestamp(seconds) => Cell::from(*seconds),
            FieldValue::Array(values) => {
                let item = |value: &FieldValue| (value.type_name().to_owned(), Cell::from(value));
                Cell::Array(values.iter().map(item).collect())
            }
            FieldValue::Table(table) => Cell::from(table),
            // The integers are behind us.
            _ => Cell::Missing,
        }
    }
}
