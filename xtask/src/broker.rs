//! A broker for the client programs: the built `leveret serve`, on a data folder and a port of its
//! own.
//!
//! Stopping it is part of what is checked: it has [`STOP_SECONDS_MAX`] from SIGTERM to exit code 0.

use std::fs::File;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::process::target_directory;

/// AMQP's own port.
pub(crate) const AMQP_PORT: u16 = 5672;

const START_SECONDS_MAX: u64 = 20;
const STOP_SECONDS_MAX: u64 = 5;
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Which port the broker listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Port {
    /// 5672, for suites that dial it whatever the environment says.
    Standard,
    /// Any that is free.
    Free,
}

/// A running broker. Killed when it is dropped without [`Broker::stop`].
pub(crate) struct Broker {
    child: Child,
    address: SocketAddr,
    http: SocketAddr,
    metrics: SocketAddr,
    tls: Option<SocketAddr>,
}

impl Broker {
    /// Starts a broker with a fresh data folder inside `folder` and its output in the file `log`,
    /// and waits until it accepts connections. With the folder `tls`, which has `ca.pem`, `server.pem` and
    /// `server-key.pem`, AMQP is served over TLS as well, to clients that show a certificate.
    pub(crate) fn start(
        folder: &Path,
        log: &Path,
        port: Port,
        tls: Option<&Path>,
    ) -> Result<Broker> {
        let program = target_directory()?.join("debug/leveret");
        let http = address(Port::Free)?;
        let metrics = address(Port::Free)?;
        let address = address(port)?;
        let data = folder.join("data");
        if data.exists() {
            std::fs::remove_dir_all(&data).context("removing the data of an earlier run")?;
        }
        let output = File::create(log).with_context(|| format!("creating {}", log.display()))?;
        let mut command = Command::new(&program);
        command.arg("serve").arg("--data-dir").arg(&data);
        command.arg("--amqp").arg(address.to_string());
        command.arg("--http").arg(http.to_string());
        command.arg("--metrics").arg(metrics.to_string());
        let tls = match tls {
            Some(files) => Some(serve_over_tls(&mut command, files)?),
            None => None,
        };
        let ipv6 = SocketAddr::from((Ipv6Addr::LOCALHOST, address.port()));
        if TcpListener::bind(ipv6).is_ok() {
            // Some clients try IPv6 too.
            command.arg("--amqp").arg(ipv6.to_string());
        }
        let child = command
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        let mut broker = Broker {
            child,
            address,
            http,
            metrics,
            tls,
        };
        broker.wait_until_it_accepts()?;
        Ok(broker)
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// The port of the management API.
    pub(crate) fn http_port(&self) -> u16 {
        self.http.port()
    }

    /// The port of the metrics.
    pub(crate) fn metrics_port(&self) -> u16 {
        self.metrics.port()
    }

    /// The port of AMQP over TLS.
    pub(crate) fn tls_port(&self) -> Option<u16> {
        self.tls.map(|address| address.port())
    }

    /// Stops it as an operator would. An error when it does not stop in time, or not with exit code
    /// 0.
    pub(crate) fn stop(mut self) -> Result<()> {
        // The shell's own `kill`: the program of that name is not on every machine.
        Command::new("sh")
            .args(["-c", &format!("kill -TERM {}", self.child.id())])
            .status()?;
        match wait_for(&mut self.child, Duration::from_secs(STOP_SECONDS_MAX))? {
            Some(status) if status.success() => Ok(()),
            Some(status) => bail!("after SIGTERM the broker ended with {status}"),
            None => bail!("the broker did not stop within {STOP_SECONDS_MAX} s of SIGTERM"),
        }
    }

    fn wait_until_it_accepts(&mut self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(START_SECONDS_MAX);
        while TcpStream::connect(self.address).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("the broker ended with {status} before it accepted a connection");
            }
            if Instant::now() > deadline {
                bail!("the broker did not listen within {START_SECONDS_MAX} s");
            }
            thread::sleep(POLL_INTERVAL);
        }
        Ok(())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Already stopped after `stop`; then both calls do nothing.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve_over_tls(command: &mut Command, files: &Path) -> Result<SocketAddr> {
    let address = address(Port::Free)?;
    command.args(["--set", &format!("listeners.ssl.1={address}")]);
    for (key, file) in [
        ("cacertfile", "ca.pem"),
        ("certfile", "server.pem"),
        ("keyfile", "server-key.pem"),
    ] {
        let file = files.join(file);
        command.args(["--set", &format!("ssl_options.{key}={}", file.display())]);
    }
    command.args(["--set", "ssl_options.verify=verify_peer"]);
    command.args(["--set", "ssl_options.fail_if_no_peer_cert=true"]);
    Ok(address)
}

fn address(port: Port) -> Result<SocketAddr> {
    let wanted = match port {
        Port::Standard => AMQP_PORT,
        Port::Free => 0,
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, wanted)).with_context(|| {
        format!("port {wanted} is taken, and this group dials no other: stop what listens there")
    })?;
    Ok(listener.local_addr()?)
}

/// Waits for a program to end. `None` when it is still running at the end of the time.
pub(crate) fn wait_for(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() > deadline {
            return Ok(None);
        }
        thread::sleep(POLL_INTERVAL);
    }
}
