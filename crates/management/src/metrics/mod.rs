//! Metrics for Prometheus, by RabbitMQ's names, so that its dashboards draw.
//!
//! `/metrics` sums over all objects, `/metrics/per-object` has a line for each of them, `/metrics/detailed` has
//! the families and vhosts that its query asks for. What RabbitMQ counts of Erlang is left out. Nothing is
//! collected in between: a scrape reads the counters where they are.

mod objects;
mod page;
mod whole;

use std::sync::Arc;

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use crate::api::Api;
use crate::dispatch::parse_query;
use objects::Objects;
use page::Page;

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
}

/// The metrics as a router, for a port of their own. Whoever reaches the port may read them, as in RabbitMQ.
pub fn metrics_router(api: Arc<Api>) -> Router {
    Router::new()
        .route("/metrics", get(total))
        .route("/metrics/per-object", get(per_object))
        .route("/metrics/detailed", get(detailed))
        .with_state(api)
}

async fn total(State(api): State<Arc<Api>>) -> Response {
    let wanted = Wanted {
        per_object: false,
        families: None,
        vhosts: None,
    };
    answer(api, wanted, "rabbitmq_", "aggregated").await
}

async fn per_object(State(api): State<Arc<Api>>) -> Response {
    let wanted = Wanted {
        per_object: true,
        families: None,
        vhosts: None,
    };
    answer(api, wanted, "rabbitmq_", "per-object").await
}

/// `?family=queue_metrics&family=...&vhost=...`; without a family only what the broker is.
async fn detailed(State(api): State<Arc<Api>>, RawQuery(query): RawQuery) -> Response {
    let query = parse_query(&query.unwrap_or_default());
    let all = |key: &str| -> Vec<String> {
        let of_key = query.iter().filter(|(known, _)| known == key);
        of_key
            .flat_map(|(_, value)| value.split(',').map(str::to_owned))
            .collect()
    };
    let vhosts = all("vhost");
    let wanted = Wanted {
        per_object: true,
        families: Some(all("family")),
        vhosts: (!vhosts.is_empty()).then_some(vhosts),
    };
    answer(api, wanted, "rabbitmq_detailed_", "detailed").await
}

async fn answer(
    api: Arc<Api>,
    wanted: Wanted,
    prefix: &'static str,
    endpoint: &'static str,
) -> Response {
    let write = move || {
        let mut page = Page::new(prefix);
        whole::write(&api, &wanted, &mut page);
        Objects::collect(&api, &wanted).write(&wanted, &mut page);
        page.rename("rabbitmq_");
        whole::write_identity(&api, endpoint, &mut page);
        page.into_text()
    };
    match tokio::task::spawn_blocking(write).await {
        Ok(text) => ([(CONTENT_TYPE, TEXT)], text).into_response(),
        Err(panic) => {
            tracing::error!("metrics could not be written: {panic}");
            axum::http::StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
