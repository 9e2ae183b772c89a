//! `leveret serve`: the broker itself.

use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::PathBuf;

use anyhow::{Context, Result};
use server::{Config, Listeners, Server};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Where AMQP is served when nobody says otherwise: every address of this machine.
fn amqp_default(port: u16) -> String {
    // An IPv6 socket takes IPv4 clients too; not every machine has IPv6.
    match TcpListener::bind("[::]:0") {
        Ok(_) => format!("[::]:{port}"),
        Err(_) => format!("0.0.0.0:{port}"),
    }
}

/// AMQP's port.
const AMQP_PORT: u16 = 5672;

/// Flags of `leveret serve`. A flag wins over the configuration file.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where the broker keeps its data.
    #[arg(long, value_name = "DIR", default_value = "leveret-data")]
    data_dir: PathBuf,
    /// Configuration file in the format of rabbitmq.conf.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address to serve AMQP on, or several [default: port 5672 of all addresses].
    #[arg(long, value_name = "HOST:PORT")]
    amqp: Vec<String>,
    /// Reserved for the management API, which is not built yet.
    #[arg(long, value_name = "HOST:PORT")]
    http: Option<String>,
    /// What to log: error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL")]
    log_level: Option<String>,
}

pub(crate) fn run(arguments: Arguments) -> Result<()> {
    let config = match &arguments.config {
        Some(path) => Config::read(path)?,
        None => Config::default(),
    };
    start_log(
        arguments
            .log_level
            .as_deref()
            .or(config.log_level.as_deref()),
    )?;
    if arguments.http.is_some() {
        tracing::warn!("--http is reserved: the management API is not built yet");
    }
    let listeners = Listeners {
        amqp: amqp_addresses(&arguments, &config)?,
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let server = Server::start(config.settings, &arguments.data_dir, &listeners).await?;
        announce(&server, &arguments);
        server
            .run(async {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                tracing::info!("stopping");
            })
            .await;
        Ok(())
    })
}

/// The one line a newcomer looks for. Scripts wait for it, so it goes to standard output.
#[allow(clippy::print_stdout, reason = "the binary talks to its user")]
fn announce(server: &Server, arguments: &Arguments) {
    let addresses: Vec<String> = server
        .amqp_addresses()
        .iter()
        .map(SocketAddr::to_string)
        .collect();
    let data_dir = arguments.data_dir.canonicalize();
    let data_dir = data_dir.as_ref().unwrap_or(&arguments.data_dir);
    println!(
        "leveret {} serves AMQP on {}, data in {}",
        env!("CARGO_PKG_VERSION"),
        addresses.join(", "),
        data_dir.display()
    );
}

fn amqp_addresses(arguments: &Arguments, config: &Config) -> Result<Vec<SocketAddr>> {
    let wanted = match (&arguments.amqp[..], &config.amqp[..]) {
        ([], []) => vec![amqp_default(AMQP_PORT)],
        ([], configured) => configured.to_vec(),
        (given, _) => given.to_vec(),
    };
    let mut addresses = Vec::new();
    for wanted in wanted {
        // rabbitmq.conf allows a bare port.
        let full = match wanted.parse::<u16>() {
            Ok(port) => amqp_default(port),
            Err(_) => wanted.clone(),
        };
        let found = full.to_socket_addrs();
        let found = found.with_context(|| format!("{wanted} is no HOST:PORT to listen on"))?;
        addresses.extend(found);
    }
    Ok(addresses)
}

fn start_log(level: Option<&str>) -> Result<()> {
    let level = match level.unwrap_or("info") {
        "warning" => "warn",
        "critical" => "error",
        "none" => "off",
        level => level,
    };
    let filter = EnvFilter::try_new(level).with_context(|| format!("unknown log level {level}"))?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .init();
    Ok(())
}
