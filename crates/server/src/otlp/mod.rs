//! Spans on their way to an OpenTelemetry collector: OTLP over HTTP, in protobuf.
//!
//! ```text
//! node's spans (a queue with a limit) ─► batch ─► POST /v1/traces ─┬─ taken
//!                                          ▲                       ├─ not now: again, after a while
//!                                          └───────────────────────┴─ no: given up, and counted
//! ```
//! Nobody waits for this: while the collector is slow or away, the queue fills, and what does not fit is dropped where
//! it is made. Deliberately absent: gRPC, metrics and logs over OTLP (there is Prometheus, and the log).

mod encode;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::StatusCode;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use node::node::Node;
use node::spans::{Sampling, Span, SpanSettings, Tracer};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message as _;
use tokio::time::sleep;

use crate::clock::Clock;
use crate::fetch::Client;

/// How long a span waits for company.
const INTERVAL: Duration = Duration::from_secs(1);

/// How often a batch is sent before it is given up.
const ATTEMPTS_MAX: u32 = 5;

/// The pause after the first attempt; each is twice as long as the one before.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Where spans go, and which. Unless `endpoint` is set, nothing is traced.
#[derive(Debug, Clone, PartialEq)]
pub struct OtlpOptions {
    /// The whole URL that spans are posted to.
    pub endpoint: Option<String>,
    /// `false`: nothing is traced, whatever else is set.
    pub enabled: bool,
    /// Headers that go with each request: for logins.
    pub headers: HeaderMap,
    /// What this broker is called; unless set, what the attributes say, and then `leveret`.
    pub service_name: Option<String>,
    /// More about it.
    pub resource_attributes: BTreeMap<String, String>,
    /// Which messages are traced.
    pub sampling: Sampling,
    /// The sampler's name says the ratio: `opentelemetry.sampler_ratio` does not.
    pub ratio_is_fixed: bool,
    /// Spans that may wait to be sent.
    pub queue_spans_max: usize,
    /// How long the collector may take to answer, in milliseconds.
    pub timeout_ms: u64,
    /// Whom to believe over HTTPS; unless set, the system's roots.
    pub cacertfile: Option<PathBuf>,
}

impl Default for OtlpOptions {
    fn default() -> Self {
        OtlpOptions {
            endpoint: None,
            enabled: true,
            headers: HeaderMap::new(),
            service_name: None,
            resource_attributes: BTreeMap::new(),
            sampling: Sampling {
                parent_based: true,
                ratio: 0.0,
                messages_per_second_max: 100,
            },
            ratio_is_fixed: false,
            queue_spans_max: 8192,
            timeout_ms: 10_000,
            cacertfile: None,
        }
    }
}

/// Sends spans. See the module.
pub(crate) struct Exporter {
    tracer: Arc<Tracer>,
    client: Client,
    endpoint: String,
    headers: HeaderMap,
    resource: Resource,
    retry_pause: Duration,
    /// The collector did not take what it was sent last: that was said in the log.
    failing: AtomicBool,
}

/// What came of an attempt.
enum Answer {
    /// The collector took them, all but so many.
    Taken { rejected: u64 },
    /// It may take them later.
    Later(String),
    /// It will not take them.
    Never(String),
}

impl Exporter {
    /// Has the node trace messages, if there is somewhere to tell of them.
    ///
    /// # Errors
    /// If the roots for HTTPS cannot be read.
    pub(crate) fn start(
        node: &Node,
        clock: Clock,
        options: &OtlpOptions,
    ) -> Result<Option<Exporter>, String> {
        let Some(endpoint) = options.endpoint.clone().filter(|_| options.enabled) else {
            return Ok(None);
        };
        let timeout = Duration::from_millis(options.timeout_ms);
        let client = Client::new(options.cacertfile.as_deref(), timeout)?;
        let settings = SpanSettings {
            sampling: options.sampling,
            queue_spans_max: options.queue_spans_max,
        };
        let tracer = Tracer::new(settings, node::names::seed(), move || clock.now_ns());
        node.trace(Arc::clone(&tracer));
        tracing::info!(%endpoint, "messages are traced");
        let mut headers = options.headers.clone();
        let protobuf = HeaderValue::from_static("application/x-protobuf");
        headers.insert(CONTENT_TYPE, protobuf);
        Ok(Some(Exporter {
            tracer,
            client,
            endpoint,
            headers,
            resource: encode::resource(options, &node.settings.cluster_name),
            retry_pause: RETRY_PAUSE,
            failing: AtomicBool::new(false),
        }))
    }

    /// Sends what there is, again and again.
    pub(crate) async fn run(&self) {
        loop {
            tokio::select! {
                () = self.tracer.batch() => {}
                () = sleep(INTERVAL) => {}
            }
            self.send_all().await;
        }
    }

    /// Sends what waits at this moment, and what comes meanwhile.
    pub(crate) async fn send_all(&self) {
        loop {
            let spans = self.tracer.take();
            if spans.is_empty() {
                return;
            }
            self.send(&spans).await;
        }
    }

    async fn send(&self, spans: &[Span]) {
        let count = spans.len() as u64;
        let body = Bytes::from(encode::request(&self.resource, spans).encode_to_vec());
        let counters = &self.tracer.counters;
        let mut pause = self.retry_pause;
        for attempt in 1..=ATTEMPTS_MAX {
            match self.attempt(body.clone()).await {
                Answer::Taken { rejected } => {
                    let rejected = rejected.min(count);
                    counters.failed.fetch_add(rejected, Ordering::Relaxed);
                    counters
                        .exported
                        .fetch_add(count - rejected, Ordering::Relaxed);
                    self.note(None);
                    return;
                }
                Answer::Never(why) => {
                    self.note(Some(why));
                    break;
                }
                Answer::Later(why) => self.note(Some(why)),
            }
            if attempt < ATTEMPTS_MAX {
                sleep(pause).await;
                pause *= 2;
            }
        }
        counters.failed.fetch_add(count, Ordering::Relaxed);
    }

    async fn attempt(&self, body: Bytes) -> Answer {
        let sent = self.client.send(&self.endpoint, self.headers.clone(), body);
        let (status, body) = match sent.await {
            Ok(answer) => answer,
            Err(why) => return Answer::Later(why),
        };
        let why = || format!("the answer is {status}");
        match status {
            status if status.is_success() => {
                let said = ExportTraceServiceResponse::decode(body).unwrap_or_default();
                let refused = said.partial_success.unwrap_or_default();
                let rejected = u64::try_from(refused.rejected_spans).unwrap_or(0);
                if 0 < rejected {
                    let why = refused.error_message;
                    tracing::debug!("the collector refused {rejected} spans: {why}");
                }
                Answer::Taken { rejected }
            }
            // OTLP's list of what may be tried again.
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Answer::Later(why()),
            _ => Answer::Never(why()),
        }
    }

    /// Says in the log when sending begins to fail, and when it works again; nothing in between.
    fn note(&self, failure: Option<String>) {
        let failed = self.failing.swap(failure.is_some(), Ordering::Relaxed);
        match failure {
            Some(why) if !failed => {
                let text = "spans cannot be sent; what there is no room for is dropped";
                tracing::warn!(endpoint = self.endpoint, "{text}: {why}");
            }
            None if failed => {
                let dropped = self.tracer.counters.dropped.load(Ordering::Relaxed);
                let failed = self.tracer.counters.failed.load(Ordering::Relaxed);
                let endpoint = &self.endpoint;
                tracing::info!(endpoint, dropped, failed, "spans are sent again");
            }
            _ => {}
        }
    }
}
