//! From an accepted socket to one that AMQP can be spoken on: the PROXY header, TLS, and who is at the other end.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use node::connections::TlsFacts;
use protocol::amqp091::Peer;
use tokio::io::AsyncWrite;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;

use crate::driver::Socket;
use crate::proxy;
use crate::server::Listeners;
use crate::tls::{LoginFrom, Tls, subject};

/// RabbitMQ's `ssl_handshake_timeout`.
pub(crate) const TLS_HANDSHAKE_TIMEOUT_MS: u64 = 5000;

/// How sockets of one kind of listener are made ready.
#[derive(Debug, Clone)]
pub(crate) struct Door {
    /// TLS, if it is spoken.
    pub(crate) tls: Option<Arc<Tls>>,
    /// How long a client may take to finish TLS's handshake, or a proxy to send its header.
    pub(crate) handshake_timeout: Duration,
    /// Where a client's certificate names its user.
    pub(crate) login_from: LoginFrom,
    /// Whether each connection begins with a PROXY header.
    pub(crate) proxy_protocol: bool,
    options: SocketOptions,
    is_inherited: bool,
}

/// Options of sockets: `tcp_listen_options.*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketOptions {
    /// Connections that wait to be accepted.
    pub backlog: u32,
    /// Whether small writes leave at once.
    pub nodelay: bool,
    /// Whether the system looks whether silent clients live.
    pub keepalive: bool,
    /// The system's buffer for what is sent, in bytes; `None` leaves it to the system.
    pub send_buffer_bytes: Option<u32>,
    /// The system's buffer for what is received.
    pub receive_buffer_bytes: Option<u32>,
}

impl Default for SocketOptions {
    fn default() -> Self {
        SocketOptions {
            backlog: 1024,
            nodelay: true,
            keepalive: false,
            send_buffer_bytes: None,
            receive_buffer_bytes: None,
        }
    }
}

impl SocketOptions {
    /// Listens. Accepted sockets inherit what is set here, apart from `nodelay`.
    pub(crate) fn listen(&self, address: SocketAddr) -> io::Result<TcpListener> {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.set_reuseaddr(true)?;
        socket.set_keepalive(self.keepalive)?;
        if let Some(bytes) = self.send_buffer_bytes {
            socket.set_send_buffer_size(bytes)?;
        }
        if let Some(bytes) = self.receive_buffer_bytes {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.bind(address)?;
        socket.listen(self.backlog)
    }
}

/// A socket that is ready, and who is at its other end.
pub(crate) enum Ready {
    Plain(TcpStream, Peer),
    Tls(Box<TlsStream<TcpStream>>, Peer),
}

impl Door {
    /// What listeners are told, with TLS or without.
    pub(crate) fn new(listeners: &Listeners, tls: Option<Arc<Tls>>) -> Door {
        let inherited = match &tls {
            Some(_) => &listeners.inherited_amqps,
            None => &listeners.inherited_amqp,
        };
        // Nobody who says nothing means that no handshake can be finished.
        let handshake_timeout_ms = match listeners.tls_handshake_timeout_ms {
            0 => TLS_HANDSHAKE_TIMEOUT_MS,
            timeout_ms => timeout_ms,
        };
        Door {
            tls,
            handshake_timeout: Duration::from_millis(handshake_timeout_ms),
            login_from: listeners.login_from,
            proxy_protocol: listeners.proxy_protocol,
            options: listeners.options,
            is_inherited: !inherited.is_empty(),
        }
    }

    /// Options of the sockets that are listened on.
    pub(crate) fn options(&self) -> &SocketOptions {
        &self.options
    }

    /// Whether somebody else listens on the sockets for us.
    pub(crate) fn is_inherited(&self) -> bool {
        self.is_inherited
    }

    /// Makes a socket ready.
    ///
    /// # Errors
    /// If the client, or its proxy, did not do its part.
    pub(crate) async fn open(
        &self,
        socket: std::net::TcpStream,
        peer: SocketAddr,
    ) -> io::Result<Ready> {
        let local = socket.local_addr()?;
        let mut socket = TcpStream::from_std(socket)?;
        socket.set_nodelay(self.options.nodelay)?;
        let mut ends = (peer, local);
        if self.proxy_protocol
            && let Some(proxied) = self
                .in_time("no PROXY header in time", proxy::read_header(&mut socket))
                .await?
        {
            ends = proxied;
        }
        let peer = peer_of(ends);
        let Some(tls) = &self.tls else {
            return Ok(Ready::Plain(socket, peer));
        };
        let accepting = tls.acceptor().accept(socket);
        let stream = self.in_time("TLS handshake timeout", accepting).await?;
        let (facts, external_user) = self.facts(&stream);
        let peer = Peer {
            external_user,
            tls: Some(Arc::new(facts)),
            ..peer
        };
        Ok(Ready::Tls(Box::new(stream), peer))
    }

    async fn in_time<T>(
        &self,
        late: &str,
        doing: impl Future<Output = io::Result<T>>,
    ) -> io::Result<T> {
        let late = || Err(io::Error::new(io::ErrorKind::TimedOut, late));
        timeout(self.handshake_timeout, doing)
            .await
            .unwrap_or_else(|_| late())
    }

    fn facts(&self, stream: &TlsStream<TcpStream>) -> (TlsFacts, Option<String>) {
        let (_, session) = stream.get_ref();
        // Only what was verified is here: without verify_peer no client is asked for a certificate.
        let certificate = session.peer_certificates().and_then(|chain| chain.first());
        let name = |value: Option<String>| value.unwrap_or_default();
        let facts = TlsFacts {
            protocol: name(session.protocol_version().map(|version| match version {
                rustls::ProtocolVersion::TLSv1_2 => "tlsv1.2".to_owned(),
                rustls::ProtocolVersion::TLSv1_3 => "tlsv1.3".to_owned(),
                other => format!("{other:?}"),
            })),
            cipher: name(
                session
                    .negotiated_cipher_suite()
                    .map(|suite| format!("{:?}", suite.suite())),
            ),
            key_exchange: name(
                session
                    .negotiated_key_exchange_group()
                    .map(|group| format!("{:?}", group.name())),
            ),
            peer_cert_subject: certificate.and_then(|der| subject(der)),
        };
        let user = certificate.and_then(|der| self.login_from.user(der));
        (facts, user)
    }
}

fn peer_of((peer, local): (SocketAddr, SocketAddr)) -> Peer {
    Peer {
        host: peer.ip().to_canonical().to_string(),
        port: peer.port(),
        local_host: local.ip().to_canonical().to_string(),
        local_port: local.port(),
        loopback: peer.ip().to_canonical().is_loopback(),
        external_user: None,
        tls: None,
    }
}

impl Socket for TcpStream {
    fn acknowledge_now(&self) {
        // A system that cannot is merely slower.
        let _ = self.set_quickack(true);
    }

    fn poll_sent(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Socket for Box<TlsStream<TcpStream>> {
    fn acknowledge_now(&self) {
        self.get_ref().0.acknowledge_now();
    }

    fn poll_sent(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self).poll_flush(context)
    }
}
