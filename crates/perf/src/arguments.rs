//! Arguments of declarations as they are typed: `x-max-length=1000,x-queue-type=quorum`.

use anyhow::{Context, Result, bail};
use wire::amqp091::SHORT_STRING_BYTES_MAX;
use wire::amqp091::table::{FieldTable, FieldValue};

/// Entries of a field table. What looks like a whole number is one, `true` and `false` are bools, anything else
/// is text.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct NamedValues(pub(crate) FieldTable);

impl std::str::FromStr for NamedValues {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<NamedValues> {
        let mut table = FieldTable::new();
        for entry in text.split(',').filter(|entry| !entry.is_empty()) {
            let (name, value) = entry
                .split_once('=')
                .with_context(|| format!("{entry} is no NAME=VALUE"))?;
            if name.is_empty() || SHORT_STRING_BYTES_MAX < name.len() {
                bail!("the name of an argument has 1 to {SHORT_STRING_BYTES_MAX} bytes");
            }
            table.set(name, parse_value(value));
        }
        Ok(NamedValues(table))
    }
}

fn parse_value(text: &str) -> FieldValue {
    match (text, text.parse::<i64>()) {
        ("true", _) => FieldValue::Bool(true),
        ("false", _) => FieldValue::Bool(false),
        (_, Ok(number)) => FieldValue::I64(number),
        _ => FieldValue::from(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_type_they_look_like() {
        let NamedValues(table) = "a=1,b=true,c=x=y".parse().expect("it is a list");
        assert_eq!(table.find("a"), Some(&FieldValue::I64(1)));
        assert_eq!(table.find("b"), Some(&FieldValue::Bool(true)));
        assert_eq!(table.find("c"), Some(&FieldValue::from("x=y")));
        assert!("a".parse::<NamedValues>().is_err());
        assert!("=1".parse::<NamedValues>().is_err());
    }
}
