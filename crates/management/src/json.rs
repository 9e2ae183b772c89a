//! JSON that is written and never read: objects keep the order in which their fields were put in, keys are
//! literals, names are shared. A list of 10,000 queues is half a million of these values, so none of them
//! allocates what it need not.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::Arc;

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::Value;
use wire::amqp091::table::FieldTable;

/// A value to be written.
#[derive(Debug, Clone)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Signed(i64),
    Count(u64),
    Float(f64),
    Word(&'static str),
    Name(Arc<str>),
    Text(String),
    List(Vec<Json>),
    Object(Object),
    /// What was read as JSON, or came of a field table.
    Value(Value),
}

/// An object, its fields in order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Object(Vec<(Cow<'static, str>, Json)>);

impl Object {
    pub(crate) fn new() -> Self {
        Object::default()
    }

    /// Appends a field, which is not there yet.
    pub(crate) fn put(&mut self, key: impl Into<Cow<'static, str>>, value: impl Into<Json>) {
        self.0.push((key.into(), value.into()));
    }

    /// [`Object::put`], for building in one expression.
    pub(crate) fn with(
        mut self,
        key: impl Into<Cow<'static, str>>,
        value: impl Into<Json>,
    ) -> Self {
        self.put(key, value);
        self
    }

    /// With the fields of another, which are not there yet.
    pub(crate) fn and(mut self, other: Object) -> Self {
        self.0.extend(other.0);
        self
    }

    pub(crate) fn find(&self, key: &str) -> Option<&Json> {
        self.0
            .iter()
            .find_map(|(known, value)| (known == key).then_some(value))
    }

    /// The value under a path of keys with dots between them. A key may itself hold dots.
    pub(crate) fn at(&self, path: &str) -> Option<Json> {
        if let Some(value) = self.find(path) {
            return Some(value.clone());
        }
        let (head, rest) = path.split_once('.')?;
        self.find(head)?.at(rest)
    }

    /// Keeps only the fields that `columns` name; `a.b` names a field of a field.
    pub(crate) fn select(self, columns: &[String]) -> Object {
        let select = |(key, value): (Cow<'static, str>, Json)| {
            let mut inner = Vec::new();
            for column in columns {
                match column.strip_prefix(&*key) {
                    Some("") => return Some((key, value)),
                    Some(rest) => inner.extend(rest.strip_prefix('.').map(str::to_owned)),
                    None => {}
                }
            }
            if inner.is_empty() {
                return None;
            }
            let value = value.select(&inner);
            (!value.is_empty()).then_some((key, value))
        };
        Object(self.0.into_iter().filter_map(select).collect())
    }
}

impl Json {
    /// What a field table looks like in RabbitMQ's JSON.
    pub(crate) fn table(table: &FieldTable) -> Json {
        match table.is_empty() {
            true => Json::Object(Object::new()),
            false => Json::Value(Value::Object(metadata::json::from_table(table))),
        }
    }

    /// See [`Object::select`].
    pub(crate) fn select(self, columns: &[String]) -> Json {
        match self {
            Json::Object(object) => Json::Object(object.select(columns)),
            Json::List(items) => Json::List(items.into_iter().map(|i| i.select(columns)).collect()),
            Json::Value(Value::Object(mut map)) => {
                map.retain(|key, _| columns.iter().any(|column| column == key));
                Json::Value(Value::Object(map))
            }
            other => other,
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Json::Object(object) => object.0.is_empty(),
            Json::Value(Value::Object(map)) => map.is_empty(),
            _ => false,
        }
    }

    /// See [`Object::at`].
    pub(crate) fn at(&self, path: &str) -> Option<Json> {
        match self {
            Json::Object(object) => object.at(path),
            Json::Value(value) => value.get(path).cloned().map(Json::Value),
            _ => None,
        }
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Json::Word(text) => Some(text),
            Json::Name(text) => Some(text),
            Json::Text(text) => Some(text),
            Json::Value(value) => value.as_str(),
            _ => None,
        }
    }

    fn as_number(&self) -> Option<f64> {
        match self {
            Json::Signed(number) => Some(*number as f64),
            Json::Count(number) => Some(*number as f64),
            Json::Float(number) => Some(*number),
            Json::Value(value) => value.as_f64(),
            _ => None,
        }
    }

    fn as_bool(&self) -> Option<bool> {
        match self {
            Json::Bool(value) => Some(*value),
            Json::Value(value) => value.as_bool(),
            _ => None,
        }
    }

    /// An order over all values, Erlang's: numbers, then words, then the rest, then text.
    pub(crate) fn order(&self, other: &Json) -> Ordering {
        let rank = |json: &Json| match json {
            json if json.as_number().is_some() => 0,
            json if json.as_bool().is_some() => 1,
            Json::Null | Json::Value(Value::Null) => 2,
            json if json.as_str().is_some() => 4,
            _ => 3,
        };
        rank(self).cmp(&rank(other)).then_with(|| {
            if let (Some(a), Some(b)) = (self.as_number(), other.as_number()) {
                return a.total_cmp(&b);
            }
            if let (Some(a), Some(b)) = (self.as_bool(), other.as_bool()) {
                return a.cmp(&b);
            }
            self.as_str().cmp(&other.as_str())
        })
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(&**key, value)?;
        }
        map.end()
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Json::Null => serializer.serialize_unit(),
            Json::Bool(value) => serializer.serialize_bool(*value),
            Json::Signed(value) => serializer.serialize_i64(*value),
            Json::Count(value) => serializer.serialize_u64(*value),
            Json::Float(value) => serializer.serialize_f64(*value),
            Json::Word(text) => serializer.serialize_str(text),
            Json::Name(text) => serializer.serialize_str(text),
            Json::Text(text) => serializer.serialize_str(text),
            Json::List(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for item in items {
                    list.serialize_element(item)?;
                }
                list.end()
            }
            Json::Object(object) => object.serialize(serializer),
            Json::Value(value) => value.serialize(serializer),
        }
    }
}

macro_rules! from {
    ($($from:ty => $pattern:pat => $to:expr),* $(,)?) => {$(
        impl From<$from> for Json {
            fn from($pattern: $from) -> Json {
                $to
            }
        }
    )*};
}

from! {
    bool => value => Json::Bool(value),
    u64 => value => Json::Count(value),
    u32 => value => Json::Count(u64::from(value)),
    u16 => value => Json::Count(u64::from(value)),
    usize => value => Json::Count(value as u64),
    i64 => value => Json::Signed(value),
    f64 => value => Json::Float(value),
    &'static str => text => Json::Word(text),
    Arc<str> => text => Json::Name(text),
    &Arc<str> => text => Json::Name(Arc::clone(text)),
    String => text => Json::Text(text),
    &String => text => Json::Text(text.clone()),
    Vec<Json> => items => Json::List(items),
    Vec<Object> => items => Json::List(items.into_iter().map(Json::Object).collect()),
    &[String] => items => Json::List(items.iter().map(Json::from).collect()),
    Object => object => Json::Object(object),
    Value => value => Json::Value(value),
}

impl<T: Into<Json>> From<Option<T>> for Json {
    fn from(value: Option<T>) -> Json {
        value.map_or(Json::Null, Into::into)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(json: impl Into<Json>) -> String {
        serde_json::to_string(&json.into()).expect("it can be written")
    }

    fn sample() -> Object {
        Object::new()
            .with("name", "q")
            .with("stats", Object::new().with("a", 1u64).with("b", 2u64))
            .with("arguments", serde_json::json!({"x-a": 1, "x-b": 2}))
    }

    #[test]
    fn columns_select_fields_of_fields() {
        let select = |columns: &[&str]| {
            let columns: Vec<String> = columns.iter().map(|c| (*c).to_owned()).collect();
            written(sample().select(&columns))
        };
        assert_eq!(select(&["name"]), r#"{"name":"q"}"#);
        assert_eq!(select(&["stats.b", "nope"]), r#"{"stats":{"b":2}}"#);
        assert_eq!(select(&["arguments.x-a"]), r#"{"arguments":{"x-a":1}}"#);
        assert_eq!(select(&["stats.c"]), "{}");
        assert_eq!(select(&["nam"]), "{}");
    }

    #[test]
    fn values_have_erlangs_order() {
        let ordered: [Json; 6] = [
            1u64.into(),
            1.5.into(),
            false.into(),
            Json::Null,
            "a".into(),
            "b".into(),
        ];
        for (i, a) in ordered.iter().enumerate() {
            for (j, b) in ordered.iter().enumerate() {
                assert_eq!(a.order(b), i.cmp(&j), "{a:?} and {b:?}");
            }
        }
    }
}
