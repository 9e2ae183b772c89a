//! Accepts connections of a listener and serves their requests.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use management::Peer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tower::ServiceExt;

use super::access_log::Seen;
use super::rooms::{Entry, Place, Rooms};
use super::slow_body::SlowBody;
use super::{HttpOptions, Site, gzip};
use crate::stalls::Unstalled;

/// How long a client may take for TLS's handshake.
const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Largest head of a request.
const HTTP_HEAD_BYTES_MAX: usize = 64 * 1024;

/// How long whoever is refused may take to ask, in milliseconds.
const REFUSAL_TIMEOUT_MS: u64 = 5000;

/// Pause after an accept failed, when file handles ran out for example.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Serves a site for as long as the runtime runs.
pub(super) async fn accept(mut site: Site) {
    let listener = match site.listener.take().map(tokio::net::TcpListener::from_std) {
        Some(Ok(listener)) => listener,
        Some(Err(error)) => return tracing::error!("HTTP cannot be served: {error}"),
        None => return,
    };
    let mut rooms = Rooms::new(site.options.connections_max);
    let refusing = Arc::new(refusing(&site));
    let site = Arc::new(site);
    loop {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!("cannot accept an HTTP connection: {error}");
                sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        match rooms.enter() {
            Entry::Served(place) => spawn(stream, address, &site, place),
            Entry::Refused(place) => spawn(stream, address, &refusing, place),
            Entry::Dropped => {}
        }
    }
}

/// What answers those for whom there is no room.
fn refusing(site: &Site) -> Site {
    let reason = format!(
        "the limit of {} HTTP connections is reached",
        site.options.connections_max
    );
    let body = serde_json::json!({"error": "service_unavailable", "reason": reason}).to_string();
    let answer = move || async move {
        let headers = [(CONTENT_TYPE, "application/json"), (RETRY_AFTER, "1")];
        (StatusCode::SERVICE_UNAVAILABLE, headers, body).into_response()
    };
    Site {
        listener: None,
        tls: site.tls.clone(),
        options: HttpOptions {
            requests_max: 1,
            request_timeout_ms: REFUSAL_TIMEOUT_MS,
            idle_timeout_ms: REFUSAL_TIMEOUT_MS,
            ..site.options.clone()
        },
        log: site.log.clone(),
        router: Router::new().fallback(answer),
    }
}

fn spawn(stream: TcpStream, address: SocketAddr, site: &Arc<Site>, mut place: Place) {
    let site = Arc::clone(site);
    tokio::spawn(async move {
        if !place.take().await {
            return;
        }
        tokio::select! {
            () = converse(stream, address, &site, &place) => {}
            () = place.sent_away() => {
                tracing::debug!(peer = %address, "HTTP connection: others need the place");
            }
        }
    });
}

async fn converse(stream: TcpStream, address: SocketAddr, site: &Arc<Site>, place: &Place) {
    // A system that cannot is merely slower.
    let _ = stream.set_nodelay(true);
    let peer = Peer { address };
    // Whoever comes now gets the newest certificate.
    match site.tls.as_ref().map(|tls| tls.acceptor()) {
        None => serve(stream, peer, site, place).await,
        Some(acceptor) => match timeout(TLS_HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => serve(stream, peer, site, place).await,
            Ok(Err(error)) => {
                tracing::debug!(peer = %address, "HTTPS connection: {error}")
            }
            Err(_) => {
                tracing::debug!(peer = %address, "HTTPS connection: TLS handshake timeout")
            }
        },
    }
}

/// Serves one connection until either side closes it.
async fn serve<S>(stream: S, peer: Peer, site: &Arc<Site>, place: &Place)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let requests = AtomicU64::new(0);
    let service = service_fn(|request| {
        place.ask();
        let count = requests.fetch_add(1, Ordering::Relaxed) + 1;
        let site = Arc::clone(site);
        async move {
            let mut response = answer(&site, peer, request).await;
            if site.options.requests_max <= count {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(CONNECTION, close);
            }
            Ok::<_, Infallible>(response)
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(site.options.request_timeout())
        .max_buf_size(HTTP_HEAD_BYTES_MAX)
        .serve_connection(
            TokioIo::new(Unstalled::new(stream, site.options.idle_timeout())),
            service,
        )
        .await;
    if let Err(error) = served {
        tracing::debug!(peer = %peer.address, "HTTP connection: {error}");
    }
}

async fn answer(site: &Site, peer: Peer, request: hyper::Request<Incoming>) -> Response {
    let (mut head, body) = request.into_parts();
    head.extensions.insert(peer);
    let seen = site
        .log
        .as_ref()
        .map(|log| (log, Seen::of(peer.address, &head)));
    let compress = site.options.compress && gzip::is_read_by(&head.headers);
    let body = Body::new(SlowBody::new(body, site.options.idle_timeout()));
    let request = hyper::Request::from_parts(head, body);
    let Ok(mut response) = site.router.clone().oneshot(request).await;
    if compress {
        response = gzip::compress(response).await;
    }
    if let Some((log, seen)) = seen {
        log.log(&seen, &response);
    }
    response
}
