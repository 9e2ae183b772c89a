//! Definitions: all that the broker or a vhost was told, out and in.

use metadata::definitions::Definitions;
use serde_json::Value;

use crate::access::Guard::Administrator;
use crate::answer::Answer;
use crate::call::Call;
use crate::failure::Failure;
use crate::json::Json;
use crate::routes::{Route, get, post, route};

pub(crate) const ROUTES: &[Route] = &[
    route(
        "/api/definitions",
        &[
            get(Administrator, export, "Export the broker's definitions"),
            post(Administrator, import, "Import definitions"),
        ],
    ),
    route(
        "/api/all-configuration",
        &[
            get(
                Administrator,
                export,
                "Export the broker's definitions (an old name)",
            ),
            post(Administrator, import, "Import definitions (an old name)"),
        ],
    ),
    route(
        "/api/definitions/{vhost}",
        &[
            get(Administrator, export_vhost, "Export a vhost's definitions"),
            post(
                Administrator,
                import_vhost,
                "Import definitions into a vhost",
            ),
        ],
    ),
];

fn export(call: &Call<'_>) -> Result<Answer, Failure> {
    Ok(Answer::json(call.api.node.export_definitions()))
}

fn export_vhost(call: &Call<'_>) -> Result<Answer, Failure> {
    let exported = call.api.node.export_vhost_definitions(call.param("vhost"));
    let exported = exported.ok_or_else(|| Failure::bad_request("vhost_not_found"))?;
    Ok(Answer::json(exported))
}

fn import(call: &Call<'_>) -> Result<Answer, Failure> {
    apply(call, None)
}

fn import_vhost(call: &Call<'_>) -> Result<Answer, Failure> {
    let vhost = call.vhost_named_in_passing()?;
    apply(call, Some(&vhost.name))
}

/// All that can be imported is; what was refused makes the answer a failure that says so, as in RabbitMQ.
fn apply(call: &Call<'_>, vhost: Option<&str>) -> Result<Answer, Failure> {
    let document: Value = call
        .json()
        .map_err(|_| Failure::bad_request("failed_to_parse_json"))?;
    let definitions = Definitions::parse(&document, vhost)
        .map_err(|error| Failure::bad_request(error.to_string()))?;
    let imported = call.api.node.import_definitions(call.act(), definitions);
    for warning in &imported.warnings {
        tracing::warn!("definitions: {warning}");
    }
    match imported.refused.is_empty() {
        true => Ok(Answer::done().when(imported.ticket)),
        false => Err(Failure::bad_request(Json::Text(
            imported.refused.join("; "),
        ))),
    }
}
