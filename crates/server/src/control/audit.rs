//! What of a request goes into the audit log: its verb and arguments, if it changes anything, and never a secret.

use serde_json::Value;

use super::parameters::ParameterRequest as P;
use super::protocol::Request as R;

/// Arguments that may hold secrets, or are long: passwords, definitions with the hashes of all, parameters of
/// plugins with logins in URLs.
const UNTOLD: [&str; 3] = ["password", "document", "value"];

/// Whether a request changes anything. A new one does not compile until it is decided here.
fn changes(request: &R) -> bool {
    match request {
        R::AddUser { .. }
        | R::DeleteUser { .. }
        | R::ChangePassword { .. }
        | R::ClearPassword { .. }
        | R::SetUserTags { .. }
        | R::AddVhost { .. }
        | R::DeleteVhost { .. }
        | R::SetPermissions { .. }
        | R::ClearPermissions { .. }
        | R::SetTopicPermissions { .. }
        | R::ClearTopicPermissions { .. }
        | R::CloseConnection { .. }
        | R::CloseAllConnections { .. }
        | R::CloseUserConnections { .. }
        | R::PurgeQueue { .. }
        | R::DeleteQueue { .. }
        | R::SetMemoryHighWatermark { .. }
        | R::SetMemoryHighWatermarkAbsolute { .. }
        | R::SetDiskFreeLimit { .. }
        | R::SetDiskFreeLimitRelative { .. }
        | R::ResetAuthAttempts
        | R::TrackAuthSources { .. }
        | R::SetLogLevel { .. }
        | R::SuspendListeners
        | R::ResumeListeners
        | R::Stop => true,
        // Whoever reads messages or all definitions is told of, too: they may hold secrets.
        R::Peek { .. } => true,
        R::Parameter(request) => changes_parameters(request),
        R::AuthenticateUser { .. }
        | R::ListUsers { .. }
        | R::ListVhosts { .. }
        | R::ListPermissions { .. }
        | R::ListUserPermissions { .. }
        | R::ListTopicPermissions { .. }
        | R::ListUserTopicPermissions { .. }
        | R::ListQueues { .. }
        | R::ListExchanges { .. }
        | R::ListBindings { .. }
        | R::ListConnections { .. }
        | R::ListChannels { .. }
        | R::ListConsumers { .. }
        | R::Environment { .. }
        | R::ListFeatureFlags { .. }
        | R::ListDeprecatedFeatures { .. }
        | R::ListAuthAttempts { .. }
        | R::LogLocation
        | R::Certificates { .. }
        | R::MessageSizeStats { .. }
        | R::QuorumStatus { .. }
        | R::Status
        | R::Ping => false,
    }
}

fn changes_parameters(request: &P) -> bool {
    match request {
        P::SetPolicy { .. }
        | P::ClearPolicy { .. }
        | P::SetParameter { .. }
        | P::ClearParameter { .. }
        | P::SetGlobalParameter { .. }
        | P::ClearGlobalParameter { .. }
        | P::SetVhostLimits { .. }
        | P::ClearVhostLimits { .. }
        | P::SetUserLimits { .. }
        | P::ClearUserLimits { .. }
        | P::SetPermissionsGlobally { .. }
        | P::UpdateVhostMetadata { .. }
        | P::SetClusterName { .. }
        | P::ExportDefinitions
        | P::ImportDefinitions { .. } => true,
        P::ListPolicies { .. }
        | P::ListPoliciesThatMatch { .. }
        | P::ListParameters { .. }
        | P::ListGlobalParameters
        | P::ListVhostLimits { .. }
        | P::ListUserLimits { .. } => false,
    }
}

/// The verb and its arguments as JSON; `None` for requests that change nothing.
pub(super) fn words(request: &R) -> Option<(String, String)> {
    if !changes(request) {
        return None;
    }
    let Value::Object(mut fields) = serde_json::to_value(request).ok()? else {
        return None;
    };
    let verb = fields.remove("verb");
    // What is set is a verb of its own.
    let verb = fields.remove("set").or(verb)?.as_str()?.to_owned();
    for untold in UNTOLD {
        fields.remove(untold);
    }
    Some((verb, Value::Object(fields).to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told_without_secrets() {
        for (request, told) in [
            (
                r#"{"verb":"change_password","user":"ann","password":"hunter2"}"#,
                Some(("change_password", r#"{"user":"ann"}"#)),
            ),
            (
                r#"{"verb":"add_user","user":"ann","password":{"hash":"hunter2"}}"#,
                Some(("add_user", r#"{"user":"ann"}"#)),
            ),
            (
                r#"{"verb":"parameter","set":"import_definitions","document":{"users":["hunter2"]}}"#,
                Some(("import_definitions", "{}")),
            ),
            (
                r#"{"verb":"parameter","set":"set_parameter","vhost":"v","component":"shovel","name":"s","value":"hunter2"}"#,
                Some((
                    "set_parameter",
                    r#"{"component":"shovel","name":"s","vhost":"v"}"#,
                )),
            ),
            (
                r#"{"verb":"parameter","set":"export_definitions"}"#,
                Some(("export_definitions", "{}")),
            ),
            (
                r#"{"verb":"suspend_listeners"}"#,
                Some(("suspend_listeners", "{}")),
            ),
            (r#"{"verb":"ping"}"#, None),
            (r#"{"verb":"list_users","columns":[]}"#, None),
            (
                r#"{"verb":"parameter","set":"list_policies","vhost":"v","operator":false}"#,
                None,
            ),
        ] {
            let parsed: R = serde_json::from_str(request).expect("a request");
            let words = words(&parsed);
            let words = words
                .as_ref()
                .map(|(verb, arguments)| (&**verb, &**arguments));
            assert_eq!(words, told, "{request}");
        }
    }
}
