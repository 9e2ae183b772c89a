//! Scopes of a token: where they are found, which are meant for us, and what they say.

use serde_json::Value;

use super::{Claims, ResourceServer};

/// Most scopes of one token.
const SCOPES_MAX: usize = 1000;

/// The scopes that are meant for us, without the prefix that says so.
///
/// # Errors
/// If there are too many.
pub(super) fn of(server: &ResourceServer, claims: &Claims) -> Result<Vec<String>, String> {
    let mut scopes = listed(claims.get("scope"));
    // A requesting party token of a server that speaks UMA.
    if let Some(Value::Array(permissions)) = at(claims, "authorization.permissions") {
        for permission in permissions {
            scopes.extend(listed(permission.get("scopes")));
        }
    }
    for path in &server.additional_scopes {
        match at(claims, path) {
            // By resource: only what is under our own name counts.
            Some(Value::Object(by_resource)) => scopes.extend(
                listed(by_resource.get(&server.id))
                    .into_iter()
                    .map(|scope| format!("{}{scope}", server.scope_prefix)),
            ),
            found => scopes.extend(listed(found)),
        }
    }
    for index in 0..scopes.len() {
        if let Some(meant) = scopes
            .get(index)
            .and_then(|scope| server.scope_aliases.get(scope))
        {
            scopes.extend(meant.clone());
        }
    }
    let ours = scopes
        .iter()
        .filter_map(|scope| scope.strip_prefix(&server.scope_prefix));
    let mut ours: Vec<String> = ours.map(str::to_owned).collect();
    ours.sort();
    ours.dedup();
    if SCOPES_MAX < ours.len() {
        return Err("too_many_scopes".into());
    }
    Ok(ours)
}

/// `tag:administrator` and the like.
pub(super) fn tags(scopes: &[String]) -> Vec<String> {
    let tags = scopes.iter().filter_map(|scope| scope.strip_prefix("tag:"));
    tags.map(str::to_owned)
        .take(metadata::identity::USER_TAGS_MAX)
        .collect()
}

/// A list, or words with spaces between.
fn listed(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::String(words)) => words.split_whitespace().map(str::to_owned).collect(),
        Some(Value::Array(items)) => items
            .iter()
            .filter_map(Value::as_str)
            .flat_map(str::split_whitespace)
            .map(str::to_owned)
            .collect(),
        _ => Vec::new(),
    }
}

/// What stands at a path of claims: the whole of it as one name, or with dots between names.
fn at<'a>(claims: &'a Claims, path: &str) -> Option<&'a Value> {
    if let Some(found) = claims.get(path) {
        return Some(found);
    }
    let mut names = path.split('.');
    let mut value = claims.get(names.next()?)?;
    for name in names {
        value = value.get(name)?;
    }
    Some(value)
}
