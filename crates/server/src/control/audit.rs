//! What of a request goes into the audit log: its verb and arguments, if it changes anything, and never a secret.

use serde_json::Value;

use super::protocol::Request;

/// Verbs that change nothing.
const READS: [&str; 4] = ["authenticate_user", "environment", "ping", "status"];

/// The verb and its arguments as JSON; `None` for requests that change nothing.
pub(super) fn words(request: &Request) -> Option<(String, String)> {
    let Value::Object(mut fields) = serde_json::to_value(request).ok()? else {
        return None;
    };
    let verb = fields.remove("verb")?.as_str()?.to_owned();
    if verb.starts_with("list_") || READS.contains(&verb.as_str()) {
        return None;
    }
    fields.remove("password");
    Some((verb, Value::Object(fields).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told_without_secrets() {
        let request: Request =
            serde_json::from_str(r#"{"verb":"change_password","user":"ann","password":"hunter2"}"#)
                .expect("a request");
        let (verb, arguments) = words(&request).expect("it changes something");
        assert_eq!(
            (verb.as_str(), arguments.as_str()),
            ("change_password", r#"{"user":"ann"}"#)
        );
        for read in [
            r#"{"verb":"ping"}"#,
            r#"{"verb":"list_users","columns":[]}"#,
        ] {
            let request: Request = serde_json::from_str(read).expect("a request");
            assert!(words(&request).is_none(), "{read}");
        }
    }
}
