//! Values as Erlang prints them: RabbitMQ's refusals quote values so, and people search for those texts.
//!
//! Deliberately absent: Erlang's line breaks in long terms, but for a list of pairs, which is the one long term
//! that operators meet.

use std::fmt::Write as _;

use serde_json::Value;

/// How long a term may be before Erlang breaks it into lines.
const LINE_CHARS_MAX: usize = 60;

/// A JSON value as Erlang's `~tp` prints what it was decoded to.
pub fn term(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(bool) => bool.to_string(),
        Value::Number(number) if number.is_f64() => float_term(number.as_f64().unwrap_or_default()),
        Value::Number(number) => number.to_string(),
        Value::String(text) => binary_term(text.as_bytes()),
        Value::Array(values) => list_term(values),
        Value::Object(object) => {
            let items = object
                .iter()
                .map(|(key, value)| format!("{} => {}", binary_term(key.as_bytes()), term(value)));
            format!("#{{{}}}", items.collect::<Vec<_>>().join(","))
        }
    }
}

/// Pairs of key and value, `[{<<"a">>,1}]`, one a line if they are long.
pub fn pairs_term<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a Value)>) -> String {
    let pairs = pairs
        .into_iter()
        .map(|(key, value)| format!("{{{},{}}}", binary_term(key.as_bytes()), term(value)));
    let pairs: Vec<_> = pairs.collect();
    let chars: usize = pairs.iter().map(|pair| pair.chars().count() + 1).sum();
    let comma = if chars + 1 > LINE_CHARS_MAX {
        ",\n "
    } else {
        ","
    };
    format!("[{}]", pairs.join(comma))
}

/// Erlang never leaves the point out: 1.0e20.
pub fn float_term(float: f64) -> String {
    let shown = format!("{float:?}");
    match shown.split_once('e') {
        Some((digits, exponent)) if !digits.contains('.') => format!("{digits}.0e{exponent}"),
        _ => shown,
    }
}

/// Bytes as Erlang's `~tp` prints a binary: text where all of it can be printed, else numbers.
pub fn binary_term(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "<<>>".into();
    }
    match std::str::from_utf8(bytes) {
        Ok(text) if text.chars().all(is_printable) => {
            let end = if text.is_ascii() { "" } else { "/utf8" };
            format!("<<{}{end}>>", quoted(text))
        }
        _ => {
            let numbers: Vec<_> = bytes.iter().map(u8::to_string).collect();
            format!("<<{}>>", numbers.join(","))
        }
    }
}

/// A text as Erlang's `~tp` prints a list of its letters.
pub fn string_term(text: &str) -> String {
    match text {
        "" => "[]".into(),
        text => quoted(text),
    }
}

/// A list of letters is a text to Erlang, and printed as one.
fn list_term(values: &[Value]) -> String {
    let letter = |value: &Value| {
        let code = u32::try_from(value.as_u64()?).ok()?;
        char::from_u32(code).filter(|&c| is_printable(c))
    };
    let letters: Option<String> = values.iter().map(letter).collect();
    match letters {
        Some(text) if !text.is_empty() => quoted(&text),
        _ => format!(
            "[{}]",
            values.iter().map(term).collect::<Vec<_>>().join(",")
        ),
    }
}

fn is_printable(c: char) -> bool {
    !c.is_control() || matches!(c, '\u{8}'..='\u{d}' | '\u{1b}')
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        let escaped = match c {
            '"' => "\\\"",
            '\\' => "\\\\",
            '\u{8}' => "\\b",
            '\t' => "\\t",
            '\n' => "\\n",
            '\u{b}' => "\\v",
            '\u{c}' => "\\f",
            '\r' => "\\r",
            '\u{1b}' => "\\e",
            c => {
                let _ = write!(out, "{c}");
                continue;
            }
        };
        out.push_str(escaped);
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_look_as_erlang_prints_them() {
        let table = [
            (json!("x"), r#"<<"x">>"#),
            (json!(""), "<<>>"),
            (json!("hä\"\\\n"), r#"<<"hä\"\\\n"/utf8>>"#),
            (json!(-1), "-1"),
            (json!(1.5), "1.5"),
            (json!(true), "true"),
            (json!(null), "null"),
            (json!([]), "[]"),
            (json!([65, 66]), "\"AB\""),
            (json!([1, {"a": 1.5}]), r#"[1,#{<<"a">> => 1.5}]"#),
        ];
        for (value, expected) in table {
            assert_eq!(term(&value), expected);
        }
        assert_eq!(float_term(1e20), "1.0e20");
        assert_eq!(binary_term(&[0xff, 1]), "<<255,1>>");
    }

    #[test]
    fn long_lists_of_pairs_are_broken() {
        let value = json!({"bar": [1, {"a": 1.5}], "foo": "x", "t": true, "z": null});
        let pairs = value.as_object().unwrap().iter();
        assert_eq!(
            pairs_term(pairs.map(|(key, value)| (key.as_str(), value))),
            "[{<<\"bar\">>,[1,#{<<\"a\">> => 1.5}]},\n {<<\"foo\">>,<<\"x\">>},\n {<<\"t\">>,true},\n {<<\"z\">>,null}]"
        );
        assert_eq!(pairs_term([("foo", &json!(1))]), "[{<<\"foo\">>,1}]");
    }
}
