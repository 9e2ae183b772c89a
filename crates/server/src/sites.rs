//! What is served over HTTP, and where: the management API and the metrics, each without TLS, with it, or both.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use management::{Api, Listening};
use node::node::Node;

use crate::clock::Clock;
use crate::control::Certificates;
use crate::host;
use crate::http::{AccessLog, HttpOptions, HttpService, Site};
use crate::server::{Listeners, StartError};
use crate::sockets::SocketOptions;
use crate::tls::{Tls, TlsOptions, Whose};

/// Where something is to be served over HTTP.
#[derive(Debug, Clone, Default)]
pub struct HttpAddresses {
    /// Without TLS.
    pub plain: Vec<SocketAddr>,
    /// Over TLS.
    pub over_tls: Vec<SocketAddr>,
    /// The certificate and its kin of `over_tls`.
    pub tls: TlsOptions,
    /// What clients may do without TLS.
    pub plain_options: HttpOptions,
    /// What they may do over TLS.
    pub tls_options: HttpOptions,
}

/// Where something is served. Ports are the real ones where 0 was asked for.
#[derive(Debug, Default)]
pub struct Served {
    /// Without TLS.
    pub plain: Vec<SocketAddr>,
    /// Over TLS.
    pub over_tls: Vec<SocketAddr>,
    /// TLS, where it is spoken: for those who exchange certificates, and who watch them end.
    pub tls: Option<Arc<Tls>>,
}

/// See the module.
pub(crate) struct Sites {
    pub(crate) service: HttpService,
    pub(crate) management: Served,
    pub(crate) metrics: Served,
    /// All that is listened on, AMQP included.
    pub(crate) listening: Vec<Listening>,
    /// The certificates that are shown now.
    pub(crate) certificates: Certificates,
}

/// Sockets of one of the two, listening.
struct Bound {
    plain: Vec<TcpListener>,
    over_tls: Vec<TcpListener>,
    served: Served,
    plain_options: HttpOptions,
    tls_options: HttpOptions,
}

impl Sites {
    /// Binds and serves. `amqp` is where and how AMQP is served, for the API to tell.
    pub(crate) fn start(
        listeners: &Listeners,
        node: &Arc<Node>,
        clock: Clock,
        data_dir: &Path,
        amqp: &Served,
    ) -> Result<Sites, StartError> {
        let management = Bound::bind(Whose::MANAGEMENT, &listeners.management)?;
        let metrics = Bound::bind(Whose::METRICS, &listeners.metrics)?;
        let listening = [
            listening("amqp", false, &amqp.plain),
            listening("amqp/ssl", true, &amqp.over_tls),
            listening("http", false, &management.served.plain),
            listening("https", true, &management.served.over_tls),
            listening("http/prometheus", false, &metrics.served.plain),
            listening("https/prometheus", true, &metrics.served.over_tls),
        ]
        .concat();
        let tls = [
            ("amqp/ssl", &amqp.tls),
            ("https", &management.served.tls),
            ("https/prometheus", &metrics.served.tls),
        ];
        let tls = tls
            .into_iter()
            .filter_map(|(protocol, tls)| Some((protocol, Arc::clone(tls.as_ref()?))));
        let mut host = host::host(node, clock, data_dir, listening.clone(), tls.collect());
        host.config_files.clone_from(&listeners.config_files);
        let certificates = Arc::clone(&host.certificates);
        let api = Api::new(Arc::clone(node), host, listeners.api.clone());
        let log = access_log(listeners.http_log_dir.as_deref())?;
        let mut sites = Vec::new();
        let router = management::router(Arc::clone(&api));
        let management = management.into_sites(&router, &log, &mut sites);
        let router = management::metrics_router(api);
        let metrics = metrics.into_sites(&router, &log, &mut sites);
        Ok(Sites {
            service: HttpService::start(sites)?,
            listening,
            certificates,
            management,
            metrics,
        })
    }
}

impl Bound {
    fn bind(whose: Whose, addresses: &HttpAddresses) -> Result<Bound, StartError> {
        let tls = match &addresses.over_tls[..] {
            [] => None,
            _ => Some(Tls::load(whose, addresses.tls.clone())?),
        };
        let plain = bind(&addresses.plain, &addresses.plain_options)?;
        let over_tls = bind(&addresses.over_tls, &addresses.tls_options)?;
        let served = Served {
            plain: local(&plain),
            over_tls: local(&over_tls),
            tls,
        };
        Ok(Bound {
            plain,
            over_tls,
            served,
            plain_options: addresses.plain_options.clone(),
            tls_options: addresses.tls_options.clone(),
        })
    }

    /// Appends what is to be served; what is left is where that is.
    fn into_sites(
        self,
        router: &Router,
        log: &Option<Arc<AccessLog>>,
        sites: &mut Vec<Site>,
    ) -> Served {
        let site = |listener, tls, options: &HttpOptions| Site {
            listener: Some(listener),
            tls,
            options: options.clone(),
            log: log.clone(),
            router: router.clone(),
        };
        for listener in self.plain {
            sites.push(site(listener, None, &self.plain_options));
        }
        for listener in self.over_tls {
            sites.push(site(listener, self.served.tls.clone(), &self.tls_options));
        }
        self.served
    }
}

fn access_log(dir: Option<&Path>) -> Result<Option<Arc<AccessLog>>, StartError> {
    let Some(dir) = dir else { return Ok(None) };
    let log = AccessLog::start(dir).map_err(|error| StartError::AccessLog {
        dir: dir.to_owned(),
        error,
    })?;
    Ok(Some(log))
}

/// Listens, so that a port that is taken is known at the start.
fn bind(addresses: &[SocketAddr], options: &HttpOptions) -> Result<Vec<TcpListener>, StartError> {
    let socket = SocketOptions {
        backlog: options.backlog,
        ..SocketOptions::default()
    };
    let listen = |address: &SocketAddr| {
        let listener = socket.listen(*address).and_then(|socket| socket.into_std());
        listener.map_err(|error| StartError::Listen {
            address: address.to_string(),
            error,
        })
    };
    addresses.iter().map(listen).collect()
}

fn local(listeners: &[TcpListener]) -> Vec<SocketAddr> {
    let addresses = listeners.iter().map(TcpListener::local_addr);
    addresses.filter_map(Result::ok).collect()
}

/// What is listened on, in RabbitMQ's words.
fn listening(protocol: &'static str, tls: bool, addresses: &[SocketAddr]) -> Vec<Listening> {
    let one = |address: &SocketAddr| Listening {
        protocol,
        address: *address,
        tls,
    };
    addresses.iter().map(one).collect()
}
