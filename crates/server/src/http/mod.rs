//! HTTP: the management API and the metrics, on a thread and a runtime of their own.
//!
//! A request is answered on one of a few blocking threads, so that a long list or a slow disk holds up no AMQP
//! client and no other request. Each listener has room for so many connections; whoever comes then is told so. Serving is generic over the stream: whoever accepts TLS gives the decrypted one.
//! Deliberately absent: what is answered, which the management room knows.

mod access_log;
mod gzip;
mod http_options;
mod rooms;
mod serving;
mod slow_body;

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use axum::Router;
use tokio::sync::oneshot;

pub(crate) use access_log::AccessLog;
pub use http_options::HttpOptions;

use crate::tls::Tls;

/// Requests that are answered at once; more wait for a thread.
const HTTP_THREADS_MAX: usize = 8;

/// A listening socket and what answers there.
pub(crate) struct Site {
    /// Bound already, so that a port that is taken is known at the start; taken by whoever accepts.
    pub(crate) listener: Option<TcpListener>,
    /// TLS, if it is spoken there.
    pub(crate) tls: Option<Arc<Tls>>,
    /// What its clients may do.
    pub(crate) options: HttpOptions,
    /// Where requests are logged, if they are.
    pub(crate) log: Option<Arc<AccessLog>>,
    /// What answers.
    pub(crate) router: Router,
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
                    for site in sites {
                        tokio::spawn(serving::accept(site));
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
