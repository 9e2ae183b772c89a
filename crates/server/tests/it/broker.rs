//! A broker in this process, on a port of its own, with a data directory that goes with it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use node::node::Node;
use node::settings::Settings;
use probe::{Client, Event, OpenError, Options};
use server::auth::AuthOptions;
use server::tls::Tls;
use server::{HttpAddresses, Listeners, Server};
use tokio::sync::oneshot;

use crate::memory::{be_a_client, broker_bytes};

/// How long anything may take that should happen at once.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What memory may differ by once everything is given back: buffers that are kept, tables that grew.
const KEPT_BYTES_MAX: isize = 6 << 20;

/// One broker at a time in a process, for they are all counted together.
static ALONE: Mutex<()> = Mutex::new(());

/// See the module.
pub(crate) struct Broker {
    pub(crate) address: SocketAddr,
    pub(crate) node: Arc<Node>,
    /// AMQP over TLS, where it is served.
    pub(crate) tls_address: Option<SocketAddr>,
    pub(crate) tls: Option<Arc<Tls>>,
    /// The management API, without TLS and with it.
    pub(crate) management: (Option<SocketAddr>, Option<SocketAddr>),
    /// The metrics, over TLS.
    pub(crate) metrics: Option<SocketAddr>,
    /// TLS of the management API and of the metrics.
    pub(crate) http_tls: [Option<Arc<Tls>>; 2],
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    before: isize,
    data_dir: tempfile::TempDir,
    _alone: MutexGuard<'static, ()>,
}

impl Broker {
    /// Starts with these settings and waits until it listens.
    pub(crate) fn start(settings: Settings) -> Broker {
        let mut broker = Broker::start_with(settings, Listeners::default());
        // Once round before memory is counted: what is allocated once is allocated now.
        broker.serve_a_healthy_client();
        broker.before = broker_bytes();
        broker
    }

    /// Starts one that serves the HTTP API, too; and where.
    pub(crate) fn with_api() -> (Broker, SocketAddr) {
        let broker = Broker::with_auth(AuthOptions::default());
        let http = broker.management.0.expect("it is served");
        (broker, http)
    }

    /// The same, where these are asked when somebody logs in.
    pub(crate) fn with_auth(auth: AuthOptions) -> Broker {
        let listeners = Listeners {
            auth,
            management: HttpAddresses {
                plain: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
                ..HttpAddresses::default()
            },
            ..Listeners::default()
        };
        Broker::start_with(Settings::default(), listeners)
    }

    /// Starts with these settings and listeners, on ports of the system's choice.
    pub(crate) fn start_with(settings: Settings, listeners: Listeners) -> Broker {
        be_a_client();
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let data_dir = tempfile::tempdir().expect("a directory");
        let path = data_dir.path().to_owned();
        let (stop, stopped) = oneshot::channel::<()>();
        let (started, start) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(async {
                let listeners = Listeners {
                    amqp: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
                    ..listeners
                };
                let server = Server::start(settings, &path, &listeners)
                    .await
                    .expect("it starts");
                let address = server.amqp_addresses()[0];
                let tls_address = server.amqps_addresses().first().copied();
                let management = server.management();
                let first = |addresses: &[SocketAddr]| addresses.first().copied();
                let management = (first(&management.plain), first(&management.over_tls));
                let metrics = first(&server.metrics().over_tls);
                let http_tls = [server.management(), server.metrics()];
                let http_tls = http_tls.map(|served| served.tls.clone());
                let tls = server.tls().cloned();
                let tls = (tls_address, tls, management, metrics, http_tls);
                let told = started.send((address, Arc::clone(server.node()), tls));
                told.expect("the test waits for it");
                let stopped = async { drop(stopped.await) };
                server.run(stopped).await;
            });
        });
        let (address, node, (tls_address, tls, management, metrics, http_tls)) =
            start.recv().expect("it started");
        Broker {
            address,
            node,
            tls_address,
            tls,
            management,
            metrics,
            http_tls,
            stop: Some(stop),
            thread: Some(thread),
            before: 0,
            data_dir,
            _alone: alone,
        }
    }

    /// With RabbitMQ's defaults.
    pub(crate) fn new() -> Broker {
        Broker::start(Settings::default())
    }

    /// Somebody's client, with channel 1, if they are let in.
    pub(crate) fn log_in(&self, user: &str, password: &str) -> Result<Client, OpenError> {
        let options = Options {
            user: user.into(),
            password: password.into(),
            ..Options::default()
        };
        let mut client = Client::open(self.address, &options)?;
        client.open_channel(1);
        Ok(client)
    }

    /// An open connection with channel 1.
    pub(crate) fn client(&self) -> Client {
        let mut client = Client::open(self.address, &Options::default()).expect("it is served");
        client.open_channel(1);
        client
    }

    /// A socket, and nothing said.
    pub(crate) fn socket(&self) -> Client {
        Client::connect(self.address).expect("it is accepted")
    }

    /// A client that does nothing wrong gets what it wants.
    pub(crate) fn serve_a_healthy_client(&self) {
        let mut client = self.client();
        let calls = [
            ("queue.declare queue=healthy exclusive", "queue.declare-ok"),
            ("confirm.select", "confirm.select-ok"),
            (
                "basic.consume queue=healthy consumer_tag=c no_ack",
                "basic.consume-ok",
            ),
        ];
        for (call, answer) in calls {
            let event = client.call(1, call);
            assert_eq!(event.as_ref().map(Event::name), Some(answer), "{event:?}");
        }
        let sent = client.send(1, "basic.publish routing_key=healthy", b"well?");
        sent.expect("it is read from");
        let mut heard = [client.next(PATIENCE), client.next(PATIENCE)]
            .map(|event| event.as_ref().map_or("nothing", Event::name));
        heard.sort_unstable();
        assert_eq!(heard, ["basic.ack", "basic.deliver"]);
        let closed = client.call(0, "connection.close");
        assert_eq!(
            closed.as_ref().map(Event::name),
            Some("connection.close-ok")
        );
    }

    /// Where its data is.
    pub(crate) fn data_dir(&self) -> &std::path::Path {
        self.data_dir.path()
    }

    /// Tells it to stop, and does not wait for that.
    pub(crate) fn begin_to_stop(&mut self) {
        drop(self.stop.take());
    }

    /// What the broker holds beyond what it held when it was idle.
    pub(crate) fn grown_bytes(&self) -> isize {
        broker_bytes() - self.before
    }

    /// Ready messages of a queue.
    pub(crate) fn ready(&self, queue: &str) -> u64 {
        let vhost = self.node.vhost("/").expect("it is there from the start");
        vhost
            .find_queue(queue)
            .map_or(0, |cell| cell.counts().ready)
    }

    /// All clients are gone: connections, queues without use and memory are given back, and whoever comes now
    /// is served.
    pub(crate) fn check_all_is_well(&self) {
        wait_until("all connections are gone", || {
            self.node.connections.accepted_len() == 0
        });
        self.serve_a_healthy_client();
        wait_until("memory is back", || self.grown_bytes() < KEPT_BYTES_MAX);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(
            std::thread::panicking() || ended.is_some_and(|ended| ended.is_ok()),
            "the broker panicked"
        );
    }
}

/// Waits for something that must come.
#[track_caller]
pub(crate) fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// Waits for the end of the socket; what came before it.
pub(crate) fn read_to_end(client: &mut Client) -> Vec<Event> {
    let mut events = Vec::new();
    while !client.is_ended() {
        events.push(client.next(PATIENCE).expect("the socket ends"));
    }
    events
}
