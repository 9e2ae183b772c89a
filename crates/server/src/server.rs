//! A running broker with its sockets: starts, serves until it is told to stop, stops.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use node::node::{Node, OpenError};
use node::settings::Settings;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::auth::{AuthError, AuthOptions, Authorities};
use crate::clock::Clock;
use crate::control::{self, Environment};
use crate::definitions::{self, LoadError};
use crate::memory;
use crate::otlp::{Exporter, OtlpOptions};
use crate::sites::{HttpAddresses, Served, Sites};
use crate::sockets::{Door, SocketOptions};
use crate::tls::{LoginFrom, Tls, TlsError, TlsOptions, Whose};
use crate::workers::Workers;

/// How long clients have to answer `connection.close` at a shutdown.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(3);

/// How often the process's memory is looked at.
const MEMORY_WATCH_INTERVAL: Duration = Duration::from_millis(500);

/// How often certificates' files are looked at.
const CERTIFICATE_WATCH_INTERVAL: Duration = Duration::from_secs(2);
/// Part of the machine's memory that waiting messages may take, unless the configuration says: an eighth.
const MESSAGE_CACHE_PART: u64 = 8;

/// How long spans that wait may hold up a shutdown.
const SPANS_GRACE: Duration = Duration::from_secs(2);

/// Pause after an accept failed, when file handles ran out for example.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Where to listen.
#[derive(Debug, Clone, Default)]
pub struct Listeners {
    /// AMQP, `127.0.0.1:5672` for example; several if a name has several addresses.
    pub amqp: Vec<SocketAddr>,
    /// The management API, on port 15672 for example.
    pub management: HttpAddresses,
    /// The metrics that Prometheus reads, on port 15692 for example.
    pub metrics: HttpAddresses,
    /// AMQP over TLS.
    pub amqps: Vec<SocketAddr>,
    /// Sockets that somebody else listens on for us, in place of `amqp`.
    pub inherited_amqp: Vec<Arc<std::net::TcpListener>>,
    /// The same, in place of `amqps`.
    pub inherited_amqps: Vec<Arc<std::net::TcpListener>>,
    /// The certificate and its kin of `amqps`.
    pub tls: TlsOptions,
    /// How long TLS's handshake may take, in milliseconds.
    pub tls_handshake_timeout_ms: u64,
    /// Where a client's certificate names its user.
    pub login_from: LoginFrom,
    /// Whether AMQP connections begin with a PROXY header.
    pub proxy_protocol: bool,
    /// Who is asked when somebody logs in.
    pub auth: AuthOptions,
    /// Options of accepted sockets.
    pub options: SocketOptions,
    /// What the management API and the metrics are told.
    pub api: management::Options,
    /// Where requests over HTTP are logged, if they are.
    pub http_log_dir: Option<PathBuf>,
    /// The configuration files that were read.
    pub config_files: Vec<String>,
    /// Where spans are sent, if anywhere.
    pub otlp: OtlpOptions,
    /// Makes the allocator give back what the thread that calls it has freed, or others have freed of its. Threads that
    /// serve clients call it now and then: an allocator does nothing in a thread that does nothing.
    pub give_back_memory: Option<fn()>,
}

/// Why a broker did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be used.
    #[error(transparent)]
    Data(#[from] OpenError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// Which.
        address: String,
        /// Why.
        error: io::Error,
    },
    /// Requests over HTTP cannot be logged.
    #[error("cannot log HTTP requests in {}: {error}", dir.display())]
    AccessLog {
        /// Where.
        dir: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// Logins cannot be decided as told.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// TLS cannot be served.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Spans cannot be sent.
    #[error("spans cannot be sent: {0}")]
    Otlp(String),
    /// The control socket cannot be made.
    #[error("cannot make the control socket in {}: {error}", data_dir.display())]
    Control {
        /// The data directory.
        data_dir: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The system gives no threads or timers.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

/// See the module.
pub struct Server {
    node: Arc<Node>,
    clock: Clock,
    workers: Workers,
    sites: Sites,
    amqp: Vec<TcpListener>,
    amqps: Vec<TcpListener>,
    /// How plain connections are made ready, and how those over TLS.
    doors: [Arc<Door>; 2],
    tls: Option<Arc<Tls>>,
    control: control::Listener,
    broker: Arc<control::Broker>,
    exporter: Option<Exporter>,
}

impl Server {
    /// Opens the data directory and the sockets.
    pub async fn start(
        settings: Settings,
        data_dir: &Path,
        listeners: &Listeners,
    ) -> Result<Server, StartError> {
        let clock = Clock::start();
        let node = Node::open(settings, data_dir, clock.now_ms())?;
        Authorities::install(&node, &listeners.auth)?;
        let exporter = Exporter::start(&node, clock, &listeners.otlp).map_err(StartError::Otlp)?;
        // The data directory is ours from here on.
        let control = control::Listener::bind(data_dir).map_err(|error| StartError::Control {
            data_dir: data_dir.to_owned(),
            error,
        })?;
        let tls = amqp_tls(listeners)?;
        let options = &listeners.options;
        let amqp = listen(&listeners.amqp, &listeners.inherited_amqp, options)?;
        let amqps = listen(&listeners.amqps, &listeners.inherited_amqps, options)?;
        if let Some(log) = &node.log {
            let part_bytes = memory::total_bytes(&node).map(|bytes| bytes / MESSAGE_CACHE_PART);
            if let Some(bytes) = node.settings.message_cache_bytes.or(part_bytes) {
                log.cache().set_budget(bytes);
            }
            log.start_reader(move || clock.now_ms())?;
        }
        let count = std::thread::available_parallelism()?.get();
        let workers = Workers::start(count, &node, clock, listeners.give_back_memory)?;
        let data_dir = data_dir.canonicalize()?;
        let served = Served {
            plain: local_addresses(&amqp),
            over_tls: local_addresses(&amqps),
            tls: tls.clone(),
        };
        let sites = Sites::start(listeners, &node, clock, &data_dir, &served)?;
        let broker = Arc::new(control::Broker {
            node: Arc::clone(&node),
            clock,
            data_dir,
            listening: sites.listening.clone(),
            environment: Environment::default(),
            stop: Notify::new(),
            gate: control::Gate::default(),
            certificates: Arc::clone(&sites.certificates),
            changing: Default::default(),
        });
        Ok(Server {
            node,
            clock,
            workers,
            sites,
            amqp,
            amqps,
            doors: [None, tls.clone()].map(|tls| Arc::new(Door::new(listeners, tls))),
            tls,
            control,
            broker,
            exporter,
        })
    }

    /// Imports a file of definitions, or those of a directory, before clients are served.
    ///
    /// # Errors
    /// If something in it is refused.
    pub fn load_definitions(&self, path: &Path) -> Result<(), LoadError> {
        definitions::load(&self.node, path, self.clock.now_ms())
    }

    /// Where AMQP is served; the port is the real one if 0 was asked for.
    pub fn amqp_addresses(&self) -> Vec<SocketAddr> {
        local_addresses(&self.amqp)
    }

    /// The management API, as it is served.
    pub fn management(&self) -> &Served {
        &self.sites.management
    }

    /// The metrics, as they are served.
    pub fn metrics(&self) -> &Served {
        &self.sites.metrics
    }

    /// Where AMQP over TLS is served.
    pub fn amqps_addresses(&self) -> Vec<SocketAddr> {
        local_addresses(&self.amqps)
    }

    /// TLS of AMQP, if it is served: for those who exchange certificates, and who watch them end.
    pub fn tls(&self) -> Option<&Arc<Tls>> {
        self.tls.as_ref()
    }

    /// The node behind the sockets.
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// What the command line is told of the configuration.
    pub fn environment(&self) -> Environment {
        self.broker.environment.clone()
    }

    /// Serves until `stop` is ready, or somebody says so on the control socket, then closes clients with 320 and flushes what is on its way to disk.
    pub async fn run(mut self, stop: impl Future<Output = ()>) {
        let (amqp, amqps) = (
            std::mem::take(&mut self.amqp),
            std::mem::take(&mut self.amqps),
        );
        {
            let [plain, tls] = &self.doors;
            let plain = amqp
                .into_iter()
                .map(|listener| self.listen(listener, plain));
            let tls = amqps.into_iter().map(|listener| self.listen(listener, tls));
            // What follows is watched for as long as the broker runs, listeners or not.
            let accepting: Vec<_> = plain.chain(tls).collect();
            let accepting = std::pin::pin!(join_all(accepting));
            tokio::select! {
                () = stop => {}
                () = self.broker.stop.notified() => tracing::info!("told to stop"),
                () = accepting => {}
                () = self.run_timers() => {}
                () = self.watch_memory() => {}
                () = self.watch_certificates() => {}
                () = self.send_spans() => {}
                () = self.control.serve(&self.broker) => {}
            }
        }
        self.shut_down().await;
    }

    /// Lets clients in while the gate is open. While it is closed the socket is, too, so that clients are refused and go
    /// elsewhere; one that somebody else listens on for us stays, and its clients wait.
    async fn listen(&self, mut listener: TcpListener, door: &Arc<Door>) {
        let gate = &self.broker.gate;
        loop {
            tokio::select! {
                () = self.accept(&listener, door) => {}
                () = gate.is(false) => {}
            }
            let address = listener.local_addr();
            let (Ok(address), false) = (address, door.is_inherited()) else {
                gate.is(true).await;
                continue;
            };
            drop(listener);
            tracing::info!(%address, "suspended: no clients are let in");
            gate.is(true).await;
            listener = self.listen_again(address, door).await;
            tracing::info!(%address, "resumed: clients are let in");
        }
    }

    /// Tries until somebody who took the port has gone.
    async fn listen_again(&self, address: SocketAddr, door: &Door) -> TcpListener {
        let mut said = false;
        loop {
            match door.options().listen(address) {
                Ok(listener) => return listener,
                Err(error) if !said => {
                    said = true;
                    tracing::error!(%address, "cannot listen again, and tries until it can: {error}");
                }
                Err(_) => {}
            }
            sleep(ACCEPT_RETRY).await;
        }
    }

    async fn accept(&self, listener: &TcpListener, door: &Arc<Door>) {
        loop {
            let (socket, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!("cannot accept a connection: {error}");
                    sleep(ACCEPT_RETRY).await;
                    continue;
                }
            };
            let Some(id) = self
                .node
                .connections
                .admit(self.node.settings.connections_max)
            else {
                tracing::warn!(%peer, "refused: the limit of connections is reached");
                continue;
            };
            match socket.into_std() {
                Ok(socket) => self.workers.give(id, socket, peer, door),
                Err(_) => self.node.connections.leave(id),
            }
        }
    }

    async fn run_timers(&self) {
        let earlier = Arc::new(Notify::new());
        let notify = Arc::clone(&earlier);
        self.node
            .timers
            .on_earlier(Arc::new(move || notify.notify_one()));
        loop {
            let next_ms = self.node.timers.next_ms().unwrap_or(u64::MAX);
            let at = Instant::from_std(self.clock.instant_at(next_ms));
            tokio::select! {
                () = sleep_until(at) => self.node.run_timers(self.clock.now_ms()),
                () = earlier.notified() => {}
            }
        }
    }

    async fn watch_memory(&self) {
        if memory::total_bytes(&self.node).is_none() {
            tracing::warn!("the machine's memory is not known: there will be no memory alarm");
        }
        loop {
            memory::check(&self.node);
            self.node.relieve_memory();
            self.node
                .check_disk(memory::total_bytes(&self.node).unwrap_or(0));
            tokio::select! {
                () = sleep(MEMORY_WATCH_INTERVAL) => {}
                () = self.node.memory.changed() => {}
            }
        }
    }

    /// Files are looked at rather than watched by the system: links that are exchanged, and file systems that tell
    /// nothing, are seen too.
    async fn watch_certificates(&self) {
        loop {
            sleep(CERTIFICATE_WATCH_INTERVAL).await;
            let Sites {
                management,
                metrics,
                ..
            } = &self.sites;
            for tls in [&self.tls, &management.tls, &metrics.tls]
                .into_iter()
                .flatten()
            {
                tls.check_files();
            }
        }
    }

    /// Never ready.
    async fn send_spans(&self) {
        match &self.exporter {
            Some(exporter) => exporter.run().await,
            None => std::future::pending().await,
        }
    }

    async fn shut_down(mut self) {
        drop(self.control);
        self.sites.service.stop();
        let node = &self.node;
        node.connections.force_close(
            "broker forced connection closure with reason 'shutdown'",
            |_| true,
        );
        let all_gone = async {
            while node.connections.open_len() > 0 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        if timeout(SHUTDOWN_GRACE, all_gone).await.is_err() {
            tracing::warn!("some clients did not answer the shutdown and are dropped");
        }
        self.workers.stop();
        if let Some(exporter) = &self.exporter {
            // What is not sent by then is lost, and nothing else is.
            let _ = timeout(SPANS_GRACE, exporter.send_all()).await;
        }
        if let Err(error) = self.node.stop() {
            tracing::error!("the message log did not end cleanly: {error}");
        }
        self.node.catalog.close();
    }
}

fn amqp_tls(listeners: &Listeners) -> Result<Option<Arc<Tls>>, TlsError> {
    if listeners.amqps.is_empty() && listeners.inherited_amqps.is_empty() {
        return Ok(None);
    }
    Tls::load(Whose::AMQP, listeners.tls.clone()).map(Some)
}

fn listen(
    addresses: &[SocketAddr],
    inherited: &[Arc<std::net::TcpListener>],
    options: &SocketOptions,
) -> Result<Vec<TcpListener>, StartError> {
    if inherited.is_empty() {
        let listening = addresses.iter().map(|address| {
            options
                .listen(*address)
                .map_err(|error| StartError::Listen {
                    address: address.to_string(),
                    error,
                })
        });
        return listening.collect();
    }
    let taken = inherited.iter().map(|listener| {
        let listener = listener.try_clone()?;
        listener.set_nonblocking(true)?;
        Ok(TcpListener::from_std(listener)?)
    });
    taken.collect()
}

fn local_addresses(listeners: &[TcpListener]) -> Vec<SocketAddr> {
    let addresses = listeners
        .iter()
        .filter_map(|listener| listener.local_addr().ok());
    addresses.collect()
}

/// Drives all. Never ready: listeners do not end, and a broker without one serves its control socket.
async fn join_all<F: Future<Output = ()>>(futures: Vec<F>) {
    let mut pinned: Vec<_> = futures.into_iter().map(Box::pin).collect();
    std::future::poll_fn(|context| {
        pinned.retain_mut(|future| future.as_mut().poll(context).is_pending());
        std::task::Poll::<()>::Pending
    })
    .await;
}
