//! The OpenAPI description, made from the table of routes.

use serde_json::{Map, Value, json};

use crate::access::Guard::{self, Management};
use crate::answer::Answer;
use crate::api::RABBITMQ_VERSION;
use crate::call::Call;
use crate::failure::Failure;
use crate::routes::{self, Field, Operation, Route, get, route};

pub(crate) const ROUTES: &[Route] = &[route(
    "/api/openapi.json",
    &[get(Management, show, "Show this description")],
)];

/// Parameters of every list: name, type, what it does.
const LIST_PARAMETERS: [(&str, &str, &str); 8] = [
    (
        "page",
        "integer",
        "Number of the page that is wanted, from 1",
    ),
    ("page_size", "integer", "Items of a page: 1 to 500"),
    (
        "name",
        "string",
        "Only items whose name has this in it (with page)",
    ),
    (
        "use_regex",
        "boolean",
        "Whether name is a regular expression",
    ),
    (
        "pagination",
        "boolean",
        "false: no pages, whatever page says",
    ),
    (
        "sort",
        "string",
        "Field to sort by, with dots between levels",
    ),
    ("sort_reverse", "boolean", "Whether to turn the order round"),
    (
        "columns",
        "string",
        "Fields to show, with commas between them",
    ),
];

fn show(call: &Call<'_>) -> Result<Answer, Failure> {
    let mut description = description();
    let prefix = &call.api.options.path_prefix;
    if !prefix.is_empty() {
        description["servers"] = json!([{"url": prefix}]);
    }
    Ok(Answer::json(description))
}

/// The whole description.
fn description() -> Value {
    let mut paths = Map::new();
    for route in routes::all() {
        let operations = route.operations.iter();
        let operations: Map<String, Value> = operations
            .map(|operation| (operation.method.to_lowercase(), describe(route, operation)))
            .collect();
        paths.insert(route.path.to_owned(), Value::Object(operations));
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Leveret management API",
            "description": format!("The routes of RabbitMQ {RABBITMQ_VERSION}'s management API, and some more."),
            "version": env!("CARGO_PKG_VERSION"),
        },
        "security": [{"basic": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"basic": {"type": "http", "scheme": "basic"}},
            "schemas": {
                "Failure": {
                    "type": "object",
                    "required": ["error", "reason"],
                    "properties": {"error": {"type": "string"}, "reason": {}},
                },
            },
        },
    })
}

fn describe(route: &Route, operation: &Operation) -> Value {
    let mut parameters: Vec<Value> = path_parameters(route.path)
        .map(|name| {
            json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}})
        })
        .collect();
    if operation.lists {
        parameters.extend(LIST_PARAMETERS.map(|(name, kind, description)| {
            json!({
                "name": name, "in": "query", "required": false, "description": description,
                "schema": {"type": kind},
            })
        }));
    }
    let mut described = json!({
        "summary": operation.summary,
        "description": format!("For {}.", who(operation.guard)),
        "parameters": parameters,
        "responses": responses(operation),
    });
    if operation.guard == Guard::Anyone {
        described["security"] = json!([]);
    }
    if matches!(operation.method, "PUT" | "POST") {
        described["requestBody"] = json!({
            "required": operation.body.iter().any(|field| field.required),
            "content": {"application/json": {"schema": schema(operation.body)}},
        });
    }
    described
}

fn path_parameters(path: &'static str) -> impl Iterator<Item = &'static str> {
    path.split('/')
        .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
}

fn who(guard: Guard) -> &'static str {
    match guard {
        Guard::Anyone => "anybody, without a login",
        Guard::Management => "whoever may use the API",
        Guard::Monitoring => "monitoring and administrator",
        Guard::Administrator => "administrator",
        Guard::Policymaker => "policymaker and administrator",
        Guard::VhostPolicymaker => "policymaker who may enter the vhost, and administrator",
        Guard::Vhost => "whoever may enter the vhost",
        Guard::VhostOrMonitoring => "whoever may enter the vhost, and monitoring",
    }
}

fn schema(fields: &[Field]) -> Value {
    let property = |field: &Field| {
        let kind = match field.kind {
            "" => json!({}),
            kind => json!({"type": kind}),
        };
        (field.name.to_owned(), kind)
    };
    let properties: Map<String, Value> = fields.iter().map(property).collect();
    let required = fields.iter().filter(|field| field.required);
    let required: Vec<&str> = required.map(|field| field.name).collect();
    let mut schema = json!({"type": "object", "properties": properties});
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

fn responses(operation: &Operation) -> Value {
    let failure = |description: &str| {
        json!({
            "description": description,
            "content": {
                "application/json": {"schema": {"$ref": "#/components/schemas/Failure"}},
            },
        })
    };
    let mut responses = json!({
        "400": failure("The request is wrong"),
        "401": {"description": "Who asks is not known, or may not"},
        "404": failure("There is no such object"),
    });
    match operation.method {
        "GET" => {
            responses["200"] = json!({"description": "What was asked for"});
            responses["503"] = json!({"description": "A check found something wrong"});
        }
        "POST" => {
            responses["200"] = json!({"description": "Done, and what came of it"});
            responses["201"] = json!({"description": "Made"});
            responses["204"] = json!({"description": "Done"});
        }
        "PUT" => {
            responses["201"] = json!({"description": "Made"});
            responses["204"] = json!({"description": "It was there, and is so now"});
        }
        _ => {
            responses["204"] = json!({"description": "Done"});
            responses["412"] = failure("It is protected from deletion");
        }
    }
    responses
}
