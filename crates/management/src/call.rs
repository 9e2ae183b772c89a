//! A request that found its operation: who asks, the path, the query, the body.

use std::sync::Arc;

use node::administration::Act;
use node::vhost::Vhost;
use serde_json::{Map, Value};

use crate::access::Login;
use crate::api::Api;
use crate::failure::Failure;

/// See the module.
pub(crate) struct Call<'a> {
    pub(crate) api: &'a Arc<Api>,
    pub(crate) login: &'a Login,
    pub(crate) now_ms: u64,
    params: &'a [(String, String)],
    query: &'a [(String, String)],
    body: &'a [u8],
    /// `X-Reason`: why an operator closes a connection.
    pub(crate) reason: Option<&'a str>,
}

impl<'a> Call<'a> {
    pub(crate) fn new(
        api: &'a Arc<Api>,
        login: &'a Login,
        params: &'a [(String, String)],
        query: &'a [(String, String)],
        body: &'a [u8],
        reason: Option<&'a str>,
    ) -> Self {
        Call {
            api,
            login,
            now_ms: api.now_ms(),
            params,
            query,
            body,
            reason,
        }
    }

    /// What is asked on a user's behalf after the request that asked for it.
    pub(crate) fn without_request(api: &'a Arc<Api>, login: &'a Login) -> Self {
        Call::new(api, login, &[], &[], &[], None)
    }

    /// A segment of the path, decoded.
    ///
    /// # Panics
    /// If the route has no segment of that name.
    pub(crate) fn param(&self, name: &str) -> &'a str {
        self.try_param(name)
            .expect("the route has a segment of this name")
    }

    /// A segment of the path, where the route has it.
    pub(crate) fn try_param(&self, name: &str) -> Option<&'a str> {
        let find = |(key, value): &'a (String, String)| (key == name).then_some(value.as_str());
        self.params.iter().find_map(find)
    }

    /// A parameter of the query.
    pub(crate) fn query(&self, name: &str) -> Option<&'a str> {
        let find = |(key, value): &'a (String, String)| (key == name).then_some(value.as_str());
        self.query.iter().find_map(find)
    }

    /// Whether a parameter of the query says yes.
    pub(crate) fn query_flag(&self, name: &str) -> bool {
        self.query(name) == Some("true")
    }

    /// The body as a JSON object; an empty body is an empty object.
    pub(crate) fn object(&self) -> Result<Map<String, Value>, Failure> {
        if self.body.is_empty() {
            return Ok(Map::new());
        }
        match serde_json::from_slice(self.body) {
            Ok(Value::Object(object)) => Ok(object),
            Ok(Value::String(_)) => Err(Failure::bad_request(
                "invalid payload: the request body JSON-decoded to a string. Is the input \
                 doubly-JSON-encoded?",
            )),
            _ => Err(Failure::bad_request("not_json")),
        }
    }

    /// The body as JSON of any kind.
    pub(crate) fn json(&self) -> Result<Value, Failure> {
        serde_json::from_slice(self.body).map_err(|_| Failure::bad_request("not_json"))
    }

    /// Who changes something, and when.
    pub(crate) fn act(&self) -> Act<'_> {
        Act {
            by: self.login.name(),
            now_ms: self.now_ms,
        }
    }

    /// The vhost in the path, of an object that is about to be made in it.
    pub(crate) fn vhost_named_in_passing(&self) -> Result<Arc<Vhost>, Failure> {
        let vhost = self.api.node.vhost(self.param("vhost"));
        vhost.ok_or_else(|| Failure::not_found("vhost_not_found"))
    }

    /// The body as an object that has at least these keys.
    pub(crate) fn object_with(&self, keys: &[&str]) -> Result<Map<String, Value>, Failure> {
        let object = self.object()?;
        let missing: Vec<String> = keys
            .iter()
            .filter(|key| !object.contains_key(**key))
            .map(|key| format!("{{key_missing,{key}}}"))
            .collect();
        match missing.is_empty() {
            true => Ok(object),
            false => Err(Failure::bad_request(format!("[{}]", missing.join(",")))),
        }
    }

    /// The vhost in the path, to be read.
    pub(crate) fn vhost(&self) -> Result<Arc<Vhost>, Failure> {
        let vhost = self.api.node.vhost(self.param("vhost"));
        vhost.ok_or_else(Failure::no_object)
    }

    /// The vhost in the path, for an operation that a client of the user could do: who has no permissions in it
    /// is refused.
    pub(crate) fn vhost_to_change(&self) -> Result<Arc<Vhost>, Failure> {
        let vhost = self.api.node.vhost(self.param("vhost"));
        let vhost = vhost.ok_or_else(|| Failure::not_found("vhost_not_found"))?;
        match self.may_enter(&vhost.name) {
            true => Ok(vhost),
            false => Err(Failure::access_refused()),
        }
    }

    /// An exchange's name in the path: `amq.default` stands for the one without a name.
    pub(crate) fn exchange_param(&self, name: &str) -> &'a str {
        match self.param(name) {
            "amq.default" => "",
            name => name,
        }
    }
}

/// A field that is a boolean, or the text of one; `false` if it is absent.
pub(crate) fn boolean(object: &Map<String, Value>, key: &str) -> Result<bool, Failure> {
    match object.get(key) {
        None => Ok(false),
        Some(Value::Bool(value)) => Ok(*value),
        Some(Value::String(text)) if text == "true" => Ok(true),
        Some(Value::String(text)) if text == "false" => Ok(false),
        Some(other) => Err(Failure::bad_value("not_boolean", other.clone())),
    }
}

/// A field that is a whole number, or the text of one.
pub(crate) fn integer(object: &Map<String, Value>, key: &str) -> Result<Option<i64>, Failure> {
    let not_integer = |value: &Value| Failure::bad_value("not_integer", value.clone());
    match object.get(key) {
        None => Ok(None),
        Some(value @ Value::Number(number)) => {
            number.as_i64().map(Some).ok_or_else(|| not_integer(value))
        }
        Some(value @ Value::String(text)) => text.parse().map(Some).map_err(|_| not_integer(value)),
        Some(value) => Err(not_integer(value)),
    }
}

/// A field that is text.
pub(crate) fn text<'a>(
    object: &'a Map<String, Value>,
    key: &str,
) -> Result<Option<&'a str>, Failure> {
    match object.get(key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Failure::bad_request(format!("{key}_not_string"))),
    }
}

/// The field `arguments`: a table. RabbitMQ takes an empty list for an empty table.
pub(crate) fn arguments(
    object: &Map<String, Value>,
) -> Result<wire::amqp091::table::FieldTable, Failure> {
    match object.get("arguments") {
        None => Ok(Default::default()),
        Some(Value::Object(arguments)) => Ok(metadata::json::to_table(arguments)?),
        Some(Value::Array(none)) if none.is_empty() => Ok(Default::default()),
        Some(_) => Err(Failure::bad_request("arguments_not_object")),
    }
}

/// Tags: a list of words, or one text with commas between them.
pub(crate) fn tags(value: &Value) -> Result<Vec<String>, Failure> {
    let bad = || Failure::bad_value("tags_not_list", value.clone());
    match value {
        Value::String(text) => {
            let words = text
                .split(',')
                .map(str::trim)
                .filter(|word| !word.is_empty());
            Ok(words.map(str::to_owned).collect())
        }
        Value::Array(words) => words
            .iter()
            .map(|word| word.as_str().map(str::to_owned).ok_or_else(bad))
            .collect(),
        _ => Err(bad()),
    }
}
