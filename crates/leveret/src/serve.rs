//! `leveret serve`: the broker itself.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use node::node::Node;
use server::config::Sources;
use server::control::Environment;
use server::tls::Tls;
use server::{Config, Listeners, Served, Server};

use crate::addresses::{MANAGEMENT_PORTS, METRICS_PORTS, addresses, http};
use crate::{log, systemd};
use tokio::signal::unix::{SignalKind, signal};

/// AMQP's port.
const AMQP_PORT: u16 = 5672;

/// Where the data is kept when nobody says otherwise.
const DATA_DIR: &str = "leveret-data";

/// Flags of `leveret serve`. A flag wins over the environment, and that over the configuration file.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where the broker keeps its data [default: leveret-data].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Configuration file in the format of rabbitmq.conf, or in TOML if its name ends with .toml.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address to serve AMQP on, or several [default: port 5672 of all addresses].
    #[arg(long, value_name = "HOST:PORT")]
    amqp: Vec<String>,
    /// Address to serve the management API on, or several, or none [default: port 15672 of all addresses].
    #[arg(long, value_name = "HOST:PORT")]
    http: Vec<String>,
    /// Address to serve metrics for Prometheus on, or several, or none [default: port 15692 of all addresses].
    #[arg(long, value_name = "HOST:PORT")]
    metrics: Vec<String>,
    /// What to log: error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Any key of the configuration; may be given more than once.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl Arguments {
    fn sources(&self) -> Result<Sources> {
        let mut sources = Sources::of_process(self.config.clone());
        let flags = &mut sources.flags;
        for (index, address) in self.amqp.iter().enumerate() {
            let key = format!("listeners.tcp.{}", index + 1);
            flags.push(("--amqp", key, address.clone()));
        }
        if let Some(level) = &self.log_level {
            let level = match level.as_str() {
                "warn" => "warning",
                "trace" => "debug",
                level => level,
            };
            for key in ["log.default.level", "log.console.level"] {
                flags.push(("--log-level", key.into(), level.into()));
            }
        }
        if let Some(dir) = &self.data_dir {
            flags.push(("--data-dir", "data_dir".into(), dir.clone()));
        }
        for said in &self.set {
            let (key, value) = said
                .split_once('=')
                .with_context(|| format!("--set {said}: expected KEY=VALUE"))?;
            flags.push(("--set", key.trim().into(), value.trim().into()));
        }
        Ok(sources)
    }
}

pub(crate) fn run(arguments: Arguments) -> Result<()> {
    let sources = arguments.sources()?;
    let config = Config::load(&sources).map_err(|errors| anyhow!("{errors}"))?;
    let log_handle = log::start(&config.log)?;
    for note in config.notes() {
        tracing::warn!("{note}");
    }
    let inherited = systemd::sockets();
    let listeners = Listeners {
        inherited_amqp: inherited.amqp,
        inherited_amqps: inherited.amqps,
        amqp: addresses(&config.listen.amqp, Some(AMQP_PORT))?,
        amqps: addresses(&config.listen.amqps, None)?,
        tls: config.listen.tls.clone(),
        tls_handshake_timeout_ms: config.listen.tls_handshake_timeout_ms,
        login_from: config.listen.login_from(),
        proxy_protocol: config.listen.proxy_protocol,
        auth: config.auth(),
        options: config.listen.options,
        management: http(&arguments.http, &config.management, MANAGEMENT_PORTS)?,
        metrics: http(&arguments.metrics, &config.prometheus, METRICS_PORTS)?,
        api: config.api.clone(),
        http_log_dir: config.http_log_dir.clone(),
        config_files: shown(config.files()),
        otlp: config.otlp.clone(),
        give_back_memory: Some(crate::allocator::give_back),
    };
    let data_dir = config.data_dir.clone().unwrap_or_else(|| DATA_DIR.into());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let server = Server::start(config.settings.clone(), &data_dir, &listeners).await?;
        if let Some(path) = &config.definitions {
            server.load_definitions(path)?;
        }
        announce(&server, &data_dir);
        let environment = server.environment();
        environment.set(&config);
        environment.share_log(log_handle.levels());
        systemd::ready();
        let reloading = reload_on_hangup(Running {
            config,
            sources: &sources,
            log: &log_handle,
            node: Arc::clone(server.node()),
            environment,
            tls: server.tls().cloned(),
            http_tls: [server.management(), server.metrics()].map(|served| served.tls.clone()),
        });
        server
            .run(async {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                    error = reloading => tracing::error!("SIGHUP cannot be heard: {error}"),
                }
                tracing::info!("stopping");
                systemd::stopping();
            })
            .await;
        Ok(())
    })
}

fn shown(files: &[PathBuf]) -> Vec<String> {
    let shown = files.iter().map(|file| file.display().to_string());
    shown.collect()
}

/// What a reload changes.
struct Running<'a> {
    config: Config,
    sources: &'a Sources,
    log: &'a log::Handle,
    node: Arc<Node>,
    environment: Environment,
    tls: Option<Arc<Tls>>,
    /// Of the management API and of the metrics.
    http_tls: [Option<Arc<Tls>>; 2],
}

/// Reads the configuration again at each SIGHUP. Ends only if the system refuses signals.
async fn reload_on_hangup(mut running: Running<'_>) -> std::io::Error {
    let mut hangup = match signal(SignalKind::hangup()) {
        Ok(hangup) => hangup,
        Err(error) => return error,
    };
    loop {
        hangup.recv().await;
        let reload = match running.config.reload(running.sources) {
            Ok(reload) => reload,
            Err(errors) => {
                tracing::error!(
                    "the configuration was not reloaded, what held goes on to hold: {errors}"
                );
                continue;
            }
        };
        for key in &reload.needs_restart {
            tracing::warn!("reload: {key} changed, and needs a restart");
        }
        running.log.reload(&reload.config.log);
        running.node.reload(reload.config.settings.clone());
        if let Some(tls) = &running.tls {
            tls.reload(reload.config.listen.tls.clone());
        }
        let options = [&reload.config.management.tls, &reload.config.prometheus.tls];
        for (tls, options) in running.http_tls.iter().zip(options) {
            if let Some(tls) = tls {
                tls.reload(options.clone());
            }
        }
        let changed = match &reload.changed[..] {
            [] => "nothing changed".to_owned(),
            keys => format!("changed: {}", keys.join(", ")),
        };
        tracing::info!("the configuration was reloaded; {changed}");
        running.environment.set(&reload.config);
        running.config = reload.config;
    }
}

/// The one line a newcomer looks for. Scripts wait for it, so it goes to standard output.
#[allow(clippy::print_stdout, reason = "the binary talks to its user")]
fn announce(server: &Server, data_dir: &Path) {
    let canonical = data_dir.canonicalize();
    let data_dir = canonical.as_deref().unwrap_or(data_dir);
    println!(
        "leveret {} serves AMQP on {}, {}data in {}",
        env!("CARGO_PKG_VERSION"),
        joined(&server.amqp_addresses()),
        http_announcement(server.management()),
        data_dir.display()
    );
}

fn http_announcement(served: &Served) -> String {
    match (&served.plain[..], &served.over_tls[..]) {
        ([], []) => String::new(),
        (plain, []) => format!("its HTTP API on {}, ", joined(plain)),
        ([], over_tls) => format!("its HTTP API over TLS on {}, ", joined(over_tls)),
        (plain, over_tls) => format!(
            "its HTTP API on {}, over TLS on {}, ",
            joined(plain),
            joined(over_tls)
        ),
    }
}

fn joined(addresses: &[SocketAddr]) -> String {
    let addresses: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
    addresses.join(", ")
}
