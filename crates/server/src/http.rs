//! HTTP: the management API and the metrics, on a thread and a runtime of their own.
//!
//! A request is answered on one of a few blocking threads, so that a long list or a slow disk holds up no AMQP
//! client and no other request. Serving is generic over the stream: whoever accepts TLS gives the decrypted one.
//! Deliberately absent: what is answered, which the management room knows.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use management::Peer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{sleep, timeout};
use tower::ServiceExt;

use crate::stalls::Unstalled;
use crate::tls::Tls;

/// HTTP connections at once, of all listeners; more wait to be accepted.
const HTTP_CONNECTIONS_MAX: usize = 1024;

/// Requests that are answered at once; more wait for a thread.
const HTTP_THREADS_MAX: usize = 8;

/// How long a client may take to send a request's head, the wait for it on an idle connection included.
const HTTP_HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a client may take for TLS's handshake.
const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client may read nothing of what is written to it.
const HTTP_WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// Largest head of a request.
const HTTP_HEAD_BYTES_MAX: usize = 64 * 1024;

/// Pause after an accept failed, when file handles ran out for example.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// A listening socket and what answers there.
pub(crate) struct Site {
    /// Bound already.
    pub(crate) listener: TcpListener,
    /// TLS, if it is spoken there.
    pub(crate) tls: Option<Arc<Tls>>,
    /// What answers.
    pub(crate) router: Router,
}

/// Listens, so that a port that is taken is known at the start.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// The running HTTP service.
pub(crate) struct HttpService {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl HttpService {
    /// Serves the sites until it is stopped.
    pub(crate) fn start(sites: Vec<Site>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(HTTP_THREADS_MAX)
            .thread_name("http-request")
            .build()?;
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("http".to_owned())
            .spawn(move || {
                runtime.block_on(async {
                    let room = Arc::new(Semaphore::new(HTTP_CONNECTIONS_MAX));
                    for site in sites {
                        tokio::spawn(accept(site, Arc::clone(&room)));
                    }
                    // The sender is dropped, or says so.
                    let _ = stopped.await;
                });
                // Requests under way may wait for a disk that does not answer.
                runtime.shutdown_timeout(Duration::from_secs(1));
            })?;
        Ok(HttpService {
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Closes all connections and ends the thread.
    pub(crate) fn stop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(site: Site, room: Arc<Semaphore>) {
    let listener = match tokio::net::TcpListener::from_std(site.listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!("HTTP cannot be served: {error}"),
    };
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else {
            return;
        };
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!("cannot accept an HTTP connection: {error}");
                sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let router = site.router.clone();
        // Whoever comes now gets the newest certificate.
        let acceptor = site.tls.as_ref().map(|tls| tls.acceptor());
        tokio::spawn(async move {
            // A system that cannot is merely slower.
            let _ = stream.set_nodelay(true);
            let peer = Peer { address };
            match acceptor {
                None => serve(stream, peer, router).await,
                Some(acceptor) => {
                    match timeout(TLS_HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
                        Ok(Ok(stream)) => serve(stream, peer, router).await,
                        Ok(Err(error)) => {
                            tracing::debug!(peer = %address, "HTTPS connection: {error}")
                        }
                        Err(_) => {
                            tracing::debug!(peer = %address, "HTTPS connection: TLS handshake timeout")
                        }
                    }
                }
            }
            drop(permit);
        });
    }
}

/// Serves one connection until either side closes it.
pub(crate) async fn serve<S>(stream: S, peer: Peer, router: Router)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        router.clone().oneshot(request.map(axum::body::Body::new))
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HTTP_HEAD_TIMEOUT)
        .max_buf_size(HTTP_HEAD_BYTES_MAX)
        .serve_connection(
            TokioIo::new(Unstalled::new(stream, HTTP_WRITE_TIMEOUT)),
            service,
        )
        .await;
    if let Err(error) = served {
        tracing::debug!(peer = %peer.address, "HTTP connection: {error}");
    }
}
