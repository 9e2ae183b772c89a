//! Who is connected: what an operator lists, and the door through which a connection is told to close.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use metadata::topology::Name;
use parking_lot::Mutex;
use wire::amqp091::table::FieldTable;

use crate::mailbox::{Event, Mailbox};

/// A connection, unique while the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// A channel as it is listed. The counts are written by its connection, once a batch.
#[derive(Debug, Default)]
pub struct ChannelEntry {
    /// Consumers.
    pub consumers: AtomicU32,
    /// Delivered and not settled.
    pub unacked: AtomicU64,
    /// Published and not confirmed.
    pub unconfirmed: AtomicU64,
    /// Prefetch of consumers to come; 0 is no limit.
    pub prefetch: AtomicU32,
    /// Prefetch of the whole channel; 0 is no limit.
    pub prefetch_global: AtomicU32,
    /// In confirm mode (1) or transactional (2).
    pub mode: AtomicU32,
}

/// An open connection as it is listed.
#[derive(Debug)]
pub struct ConnectionEntry {
    /// Unique.
    pub id: ConnectionId,
    /// `127.0.0.1:1234 -> 127.0.0.1:5672`.
    pub name: Name,
    /// The name the client gave in its properties.
    pub user_provided_name: Option<String>,
    /// Our address.
    pub local_host: String,
    /// Our port.
    pub local_port: u16,
    /// How it logged in: `PLAIN` for example.
    pub auth_mechanism: String,
    /// The client's address.
    pub peer_host: String,
    /// The client's port.
    pub peer_port: u16,
    /// Who logged in.
    pub user: Name,
    /// Where.
    pub vhost: Name,
    /// Agreed heartbeat; 0 is none.
    pub heartbeat_s: u16,
    /// Agreed frame size.
    pub frame_bytes_max: u32,
    /// Agreed channel limit.
    pub channel_max: u16,
    /// What the client says of itself.
    pub client_properties: FieldTable,
    /// Since when, in milliseconds since 1970.
    pub connected_at_ms: u64,
    /// Whether an alarm keeps it from being read: set and cleared by the connection itself.
    pub blocked: AtomicBool,
    /// Its channels.
    pub channels: Mutex<BTreeMap<u16, Arc<ChannelEntry>>>,
    /// Its mailbox.
    pub mailbox: Arc<Mailbox>,
}

/// The node's connections.
#[derive(Debug, Default)]
pub struct Connections {
    next_id: AtomicU64,
    /// Accepted sockets, whether their handshake is done or not.
    accepted: AtomicU64,
    open: Mutex<BTreeMap<ConnectionId, Arc<ConnectionEntry>>>,
}

impl Connections {
    /// Counts a new socket, unless there are `connections_max` already.
    pub fn admit(&self, connections_max: usize) -> Option<ConnectionId> {
        let count = |accepted: u64| (accepted < connections_max as u64).then_some(accepted + 1);
        self.accepted
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, count)
            .ok()?;
        Some(ConnectionId(
            1 + self.next_id.fetch_add(1, Ordering::Relaxed),
        ))
    }

    /// An open connection's conversation is over, though its socket may stay for a moment.
    pub fn ended(&self, id: ConnectionId) {
        self.open.lock().remove(&id);
    }

    /// A socket that was admitted is closed.
    pub fn leave(&self, id: ConnectionId) {
        self.accepted.fetch_sub(1, Ordering::SeqCst);
        self.open.lock().remove(&id);
    }

    /// Sockets now, whatever their state.
    pub fn accepted_len(&self) -> u64 {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Connections that finished their handshake and are not over.
    pub fn open_len(&self) -> usize {
        self.open.lock().len()
    }

    /// Lists a connection that finished its handshake.
    pub fn opened(&self, entry: Arc<ConnectionEntry>) {
        self.open.lock().insert(entry.id, entry);
    }

    /// All open connections, oldest first.
    pub fn list(&self) -> Vec<Arc<ConnectionEntry>> {
        self.open.lock().values().cloned().collect()
    }

    /// The open connection with this id.
    pub fn find(&self, id: ConnectionId) -> Option<Arc<ConnectionEntry>> {
        self.open.lock().get(&id).cloned()
    }

    /// Tells every connection for which `which` holds to close because someone wants it so; how many.
    /// The client reads `CONNECTION_FORCED - ` and the explanation, cut to what a short string holds.
    pub fn force_close(
        &self,
        explanation: &str,
        which: impl Fn(&ConnectionEntry) -> bool,
    ) -> usize {
        /// AMQP's `connection-forced`.
        const CONNECTION_FORCED: u16 = 320;
        let mut text = format!("CONNECTION_FORCED - {explanation}");
        if text.len() > 255 {
            // RabbitMQ ends a text that does not fit a short string with three dots.
            let end = (0..=252).rev().find(|&end| text.is_char_boundary(end));
            text.truncate(end.unwrap_or_default());
            text.push_str("...");
        }
        self.close(CONNECTION_FORCED, &text, which)
    }

    /// Tells every connection for which `which` holds to close; how many.
    pub fn close(&self, code: u16, text: &str, which: impl Fn(&ConnectionEntry) -> bool) -> usize {
        let text: Arc<str> = text.into();
        let open = self.list();
        let chosen = open.iter().filter(|entry| which(entry));
        chosen
            .map(|entry| {
                entry.mailbox.notify(Event::Close {
                    code,
                    text: Arc::clone(&text),
                })
            })
            .count()
    }

    /// Tells every connection that the alarms changed.
    pub fn alarms_changed(&self) {
        for entry in self.list() {
            entry.mailbox.notify(Event::AlarmsChanged);
        }
    }
}
