//! Metrics for Prometheus, by RabbitMQ's names, so that its dashboards draw.
//!
//! `/metrics` sums over all objects, `/metrics/per-object` has a line for each of them, `/metrics/detailed` has
//! the families, vhosts and queues that its query asks for. What RabbitMQ counts of Erlang is left out. Nothing is
//! collected in between: a scrape reads the counters where they are.

mod global;
mod memory;
mod objects;
mod page;
mod topology;
mod whole;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use regex::{Regex, RegexBuilder};

use crate::access;
use crate::api::{Api, Peer};
use crate::dispatch::{failed, parse_query, refused};
use crate::failure::Failure;
use objects::Objects;
use page::Page;

/// Memory that the regular expression of a request may take once it is compiled.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// The content type of the text.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Which metrics are wanted.
pub(super) struct Wanted {
    /// A line for each object, not one for all.
    per_object: bool,
    /// RabbitMQ's families; `None` is all.
    families: Option<Vec<String>>,
    /// `None` is all.
    vhosts: Option<Vec<String>>,
    /// Queues whose name it fits; `None` is all.
    queues: Option<Regex>,
    /// Nothing but what the memory is used for.
    memory: bool,
}

impl Wanted {
    fn family(&self, name: &str) -> bool {
        let families = self.families.as_ref();
        families.is_none_or(|families| families.iter().any(|family| family == name))
    }

    fn vhost(&self, name: &str) -> bool {
        let vhosts = self.vhosts.as_ref();
        vhosts.is_none_or(|vhosts| vhosts.iter().any(|vhost| vhost == name))
    }

    fn queue(&self, name: &str) -> bool {
        let queues = self.queues.as_ref();
        queues.is_none_or(|queues| queues.is_match(name))
    }
}

/// The metrics as a router, for a port of their own. Whoever reaches the port may read them, as in RabbitMQ, unless
/// the configuration asks for a login.
pub fn metrics_router(api: Arc<Api>) -> Router {
    let path = api.options.metrics.path.clone();
    let sums = match &*path {
        "" => "/",
        path => path,
    };
    let answered = |state, request| async move { answer(state, request, None).await };
    let mut router = Router::new().route(sums, get(answered));
    if sums != "/" {
        router = router.route(&format!("{path}/"), get(answered));
    }
    router
        .route(&format!("{path}/{{page}}"), get(page))
        .route(&format!("{path}/{{page}}/"), get(page))
        .fallback(|| async { failed(&Failure::no_object()) })
        .with_state(api)
}

/// `/metrics/detailed` and its sisters.
async fn page(state: State<Arc<Api>>, Path(page): Path<String>, request: Request) -> Response {
    answer(state, request, Some(page)).await
}

/// What a page of the metrics has, what its names begin with, and what RabbitMQ calls it.
struct Kind {
    wanted: Wanted,
    prefix: &'static str,
    name: &'static str,
}

/// What a page has; or the status and the text that whoever asks is told.
fn kind(api: &Api, page: Option<&str>, query: &str) -> Result<Kind, (StatusCode, String)> {
    let all = |per_object, name| Kind {
        wanted: Wanted {
            per_object,
            families: None,
            vhosts: None,
            queues: None,
            memory: name == "memory-breakdown",
        },
        prefix: "rabbitmq_",
        name,
    };
    match page {
        None => Ok(all(api.options.metrics.per_object, "aggregated")),
        Some("per-object") => Ok(all(true, "per-object")),
        Some("memory-breakdown") => Ok(all(false, "memory-breakdown")),
        Some("detailed") => detailed(query).map_err(|text| (StatusCode::BAD_REQUEST, text)),
        Some(_) => Err((StatusCode::NOT_FOUND, "Unknown Registry".into())),
    }
}

/// `?family=queue_metrics&family=...&vhost=...&queue=...`; without a family only what the broker is. A queue is a regular
/// expression, of which there may be one.
fn detailed(query: &str) -> Result<Kind, String> {
    let query = parse_query(query);
    let all = |key: &str| -> Vec<String> {
        let of_key = query.iter().filter(|(known, _)| known == key);
        of_key.map(|(_, value)| value.clone()).collect()
    };
    let vhosts = all("vhost");
    let queues = match &all("queue")[..] {
        [] => None,
        [pattern] => Some(queue_pattern(pattern)?),
        _ => return Err("Only one 'queue' query parameter is allowed".into()),
    };
    Ok(Kind {
        wanted: Wanted {
            per_object: true,
            families: Some(all("family")),
            vhosts: (!vhosts.is_empty()).then_some(vhosts),
            queues,
            memory: false,
        },
        prefix: "rabbitmq_detailed_",
        name: "detailed",
    })
}

fn queue_pattern(pattern: &str) -> Result<Regex, String> {
    let pattern = RegexBuilder::new(pattern)
        .size_limit(PATTERN_BYTES_MAX)
        .build();
    pattern.map_err(|error| format!("Invalid 'queue' regex: {error}"))
}

async fn answer(State(api): State<Arc<Api>>, request: Request, page: Option<String>) -> Response {
    let (request, _) = request.into_parts();
    if api.options.metrics.login_needed
        && let Err(refused) = let_in(&api, &request).await
    {
        return refused;
    }
    let query = request.uri.query().unwrap_or_default();
    let kind = match kind(&api, page.as_deref(), query) {
        Ok(kind) => kind,
        Err(refused) => return refused.into_response(),
    };
    let write = move || {
        let Kind {
            wanted,
            prefix,
            name,
        } = kind;
        let mut page = Page::new(prefix);
        if wanted.memory {
            memory::write(&api, &mut page);
        } else {
            whole::write(&api, &wanted, &mut page);
            Objects::collect(&api, &wanted).write(&wanted, &mut page);
            topology::write(&api, &wanted, &mut page);
        }
        page.rename("rabbitmq_");
        whole::write_identity(&api, name, &mut page);
        page.into_text()
    };
    match tokio::task::spawn_blocking(write).await {
        Ok(text) => ([(CONTENT_TYPE, TEXT)], text).into_response(),
        Err(panic) => {
            tracing::error!("metrics could not be written: {panic}");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// Whether whoever asks may monitor.
async fn let_in(api: &Api, request: &Parts) -> Result<(), Response> {
    let authorization = request.headers.get(AUTHORIZATION);
    let peer = request.extensions.get::<Peer>().copied();
    let authorization = authorization.map(HeaderValue::as_bytes);
    let login = access::log_in(api, authorization, peer)
        .await
        .map_err(|denied| refused(denied, "RabbitMQ Prometheus"))?;
    match login.is_monitoring() {
        true => Ok(()),
        false => Err(failed(&Failure::not_authorised("Not monitor user"))),
    }
}
