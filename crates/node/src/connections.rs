//! Who is connected: what an operator lists, and the door through which a connection is told to close.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

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
    /// The client's address and port.
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
