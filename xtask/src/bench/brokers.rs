//! The brokers that are measured: Leveret as it was built, and a peer.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::process::{root, succeeds};

const START_SECONDS_MAX: u64 = 60;
const POLL_INTERVAL: Duration = Duration::from_millis(2);

/// A broker to measure.
pub(super) struct Running {
    pub(super) uri: String,
    /// If it is on this machine and known.
    pub(super) pid: Option<u32>,
    /// From start to accepting, if it was started here.
    pub(super) started_in: Option<Duration>,
    /// Ended with this.
    child: Option<Child>,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // Its own way out first; what it started goes with it.
            let _ = Command::new("sh")
                .args(["-c", &format!("kill -TERM {}", child.id())])
                .status();
            let _ = child.wait();
        }
    }
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

fn wait_until_it_accepts(child: &mut Child, port: u16) -> Result<Duration> {
    let started = Instant::now();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    while TcpStream::connect(address).is_err() {
        if let Some(status) = child.try_wait()? {
            bail!("the broker ended with {status} before it accepted a connection");
        }
        if Duration::from_secs(START_SECONDS_MAX) < started.elapsed() {
            bail!("the broker did not listen within {START_SECONDS_MAX} s");
        }
        thread::sleep(POLL_INTERVAL);
    }
    Ok(started.elapsed())
}

/// Starts Leveret on fresh data in `folder`.
pub(super) fn start_leveret(program: &Path, folder: &Path) -> Result<Running> {
    let data = folder.join("leveret-data");
    if data.exists() {
        std::fs::remove_dir_all(&data).context("removing the data of an earlier run")?;
    }
    let port = free_port()?;
    let log = File::create(folder.join("leveret.log"))?;
    let mut child = Command::new(program)
        .args(["serve", "--log-level", "warn", "--amqp"])
        .arg(format!("127.0.0.1:{port}"))
        // The usual ports may be another broker's.
        .args(["--http", "127.0.0.1:0", "--metrics", "127.0.0.1:0"])
        .arg("--data-dir")
        .arg(&data)
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .with_context(|| format!("starting {}", program.display()))?;
    let started_in = wait_until_it_accepts(&mut child, port)?;
    Ok(Running {
        uri: format!("amqp://guest:guest@127.0.0.1:{port}/"),
        pid: Some(child.id()),
        started_in: Some(started_in),
        child: Some(child),
    })
}

/// A broker that runs already.
pub(super) fn at(uri: &str, pid: Option<u32>) -> Running {
    Running {
        uri: uri.to_owned(),
        pid,
        started_in: None,
        child: None,
    }
}

/// Where Debian's package keeps the server's script, which starts a node in the foreground.
const RABBITMQ_SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// Starts a private node of Debian's RabbitMQ: its own name, ports and data, on loopback only.
pub(super) fn start_rabbitmq(folder: &Path) -> Result<Running> {
    ensure_rabbitmq()?;
    let home = folder.join("rabbitmq");
    if home.exists() {
        std::fs::remove_dir_all(&home).context("removing the data of an earlier run")?;
    }
    std::fs::create_dir_all(&home)?;
    let (port, dist_port, epmd_port) = (free_port()?, free_port()?, free_port()?);
    let conf = home.join("rabbitmq.conf");
    std::fs::write(&conf, format!("listeners.tcp.local = 127.0.0.1:{port}\n"))?;
    let plugins = home.join("enabled_plugins");
    std::fs::write(&plugins, "[].\n")?;
    let log = File::create(home.join("out"))?;
    let mut child = Command::new(RABBITMQ_SERVER)
        .env("HOME", &home)
        .env("RABBITMQ_NODENAME", format!("bench{port}@localhost"))
        .env("RABBITMQ_CONFIG_FILE", &conf)
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", &plugins)
        .env("RABBITMQ_MNESIA_BASE", home.join("db"))
        .env("RABBITMQ_LOG_BASE", home.join("log"))
        .env("RABBITMQ_DIST_PORT", dist_port.to_string())
        .env("ERL_EPMD_PORT", epmd_port.to_string())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn()
        .context("starting RabbitMQ")?;
    let started_in = wait_until_it_accepts(&mut child, port)?;
    Ok(Running {
        uri: format!("amqp://guest:guest@127.0.0.1:{port}/"),
        pid: Some(child.id()),
        started_in: Some(started_in),
        child: Some(child),
    })
}

fn ensure_rabbitmq() -> Result<()> {
    if PathBuf::from(RABBITMQ_SERVER).exists() {
        return Ok(());
    }
    println!("RabbitMQ is not installed: installing Debian's package");
    // A package starts its service as it is installed; this one must not.
    let policy = Path::new("/usr/sbin/policy-rc.d");
    let ours = !policy.exists();
    if ours {
        std::fs::write(policy, "#!/bin/sh\nexit 101\n").context("keeping the service down")?;
        succeeds(Command::new("chmod").arg("+x").arg(policy));
    }
    let installed =
        succeeds(Command::new(root().join("interop/apt-install")).arg("rabbitmq-server"));
    if ours {
        std::fs::remove_file(policy)?;
    }
    if !installed || !PathBuf::from(RABBITMQ_SERVER).exists() {
        bail!("rabbitmq-server cannot be installed from apt");
    }
    Ok(())
}
