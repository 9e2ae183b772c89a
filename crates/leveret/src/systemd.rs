//! systemd: tells it how we are, and takes the sockets that it listens on for us.
//!
//! Without systemd all of this does nothing.

use std::net::TcpListener;
use std::os::fd::FromRawFd as _;
use std::sync::Arc;

use sd_notify::NotifyState;

/// The name of the socket unit's file descriptors for AMQP over TLS; all others are plain AMQP.
const AMQPS: &str = "amqps";

/// Sockets that systemd listens on.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    /// Plain AMQP.
    pub(crate) amqp: Vec<Arc<TcpListener>>,
    /// AMQP over TLS.
    pub(crate) amqps: Vec<Arc<TcpListener>>,
}

/// Takes the sockets that were handed to this process, once.
pub(crate) fn sockets() -> Sockets {
    let mut sockets = Sockets::default();
    let Ok(handed) = sd_notify::listen_fds_with_names() else {
        return sockets;
    };
    for (fd, name) in handed {
        // SAFETY: systemd opened it for this process and said so; nobody else has taken it.
        let listener = unsafe { TcpListener::from_raw_fd(fd) };
        let listeners = if name == AMQPS {
            &mut sockets.amqps
        } else {
            &mut sockets.amqp
        };
        listeners.push(Arc::new(listener));
    }
    sockets
}

/// We listen.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// We stop.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!("systemd cannot be told how we are: {error}");
    }
}
