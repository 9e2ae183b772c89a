//! A field table.
//!
//! Checked: nothing panics, a checked table reads to its end, and an owned copy comes back from its encoding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::amqp091::table::{Table, Value};

fuzz_target!(|input: &[u8]| {
    let Ok(table) = Table::validate(input) else {
        return;
    };
    let entries_bytes: usize = table
        .iter()
        .map(|(key, value)| 1 + key.len() + value_bytes(&value))
        .sum();
    assert_eq!(entries_bytes, input.len());
    let owned = table.to_owned();
    let encoded = owned.encode();
    assert_eq!(encoded.len(), input.len());
    assert_eq!(
        Table::validate(&encoded).expect("we wrote it").to_owned(),
        owned
    );
});

/// What a value takes on the wire, its type octet counted.
fn value_bytes(value: &Value<'_>) -> usize {
    1 + match value {
        Value::Bool(_) | Value::I8(_) | Value::U8(_) => 1,
        Value::I16(_) | Value::U16(_) => 2,
        Value::I32(_) | Value::U32(_) | Value::F32(_) => 4,
        Value::I64(_) | Value::F64(_) | Value::Timestamp(_) => 8,
        Value::Decimal { .. } => 5,
        Value::LongStr(bytes) | Value::Bytes(bytes) => 4 + bytes.len(),
        Value::Array(array) => 4 + array.iter().map(|value| value_bytes(&value)).sum::<usize>(),
        Value::Table(table) => {
            let entries = table
                .iter()
                .map(|(key, value)| 1 + key.len() + value_bytes(&value));
            4 + entries.sum::<usize>()
        }
        Value::Void => 0,
    }
}
