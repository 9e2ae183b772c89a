//! Who is connected: what an operator lists, and the door through which a connection is told to close.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use hashbrown::HashMap;
use metadata::topology::Name;
use parking_lot::Mutex;
use wire::amqp091::table::FieldTable;

use crate::counters::{MessageCounters, Traffic};
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
    /// What passed it.
    pub messages: MessageCounters,
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
    /// What TLS agreed on; `None` without TLS.
    pub tls: Option<Arc<TlsFacts>>,
    /// Whether an alarm keeps it from being read: set and cleared by the connection itself.
    pub blocked: AtomicBool,
    /// Whether it waits for a queue's consumers: see [`crate::flow`]. Set and cleared by itself.
    pub in_flow: AtomicBool,
    /// What went over its socket.
    pub traffic: Traffic,
    /// Its channels.
    pub channels: Mutex<BTreeMap<u16, Arc<ChannelEntry>>>,
    /// Its mailbox.
    pub mailbox: Arc<Mailbox>,
}

/// A limit that one more connection would break, and what it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LimitReached {
    /// Of the vhost.
    Vhost(u64),
    /// Of the user.
    User(u64),
}

/// How many connections a vhost and a user may have. None: without limit.
#[derive(Debug, Clone, Copy, Default)]
pub struct ConnectionLimits {
    /// In the vhost.
    pub vhost_max: Option<u64>,
    /// Of the user, in all vhosts.
    pub user_max: Option<u64>,
}

/// Open connections, and counts of them.
#[derive(Debug, Default)]
struct Open {
    entries: BTreeMap<ConnectionId, Arc<ConnectionEntry>>,
    by_vhost: HashMap<Name, u64>,
    by_user: HashMap<Name, BTreeSet<ConnectionId>>,
}

impl Open {
    fn check(&self, vhost: &str, user: &str, limits: ConnectionLimits) -> Result<(), LimitReached> {
        let in_vhost = self.by_vhost.get(vhost).copied().unwrap_or_default();
        let of_user = self.by_user.get(user).map_or(0, BTreeSet::len) as u64;
        if let Some(max) = limits.vhost_max.filter(|max| *max <= in_vhost) {
            return Err(LimitReached::Vhost(max));
        }
        if let Some(max) = limits.user_max.filter(|max| *max <= of_user) {
            return Err(LimitReached::User(max));
        }
        Ok(())
    }

    fn insert(&mut self, entry: Arc<ConnectionEntry>) {
        *self.by_vhost.entry(Arc::clone(&entry.vhost)).or_default() += 1;
        let of_user = self.by_user.entry(Arc::clone(&entry.user)).or_default();
        of_user.insert(entry.id);
        self.entries.insert(entry.id, entry);
    }

    fn remove(&mut self, id: ConnectionId) {
        let Some(entry) = self.entries.remove(&id) else {
            return;
        };
        if let Some(count) = self.by_vhost.get_mut(&entry.vhost) {
            *count -= 1;
            if *count == 0 {
                self.by_vhost.remove(&entry.vhost);
            }
        }
        if let Some(of_user) = self.by_user.get_mut(&entry.user) {
            of_user.remove(&id);
            if of_user.is_empty() {
                self.by_user.remove(&entry.user);
            }
        }
    }
}

/// What TLS agreed on, in the words that are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFacts {
    /// `tlsv1.2` or `tlsv1.3`.
    pub protocol: String,
    /// The cipher suite.
    pub cipher: String,
    /// The group of the key exchange.
    pub key_exchange: String,
    /// The subject of the client's certificate, if it was asked for one and has one.
    pub peer_cert_subject: Option<String>,
}

/// The node's connections.
#[derive(Debug, Default)]
pub struct Connections {
    next_id: AtomicU64,
    /// Accepted sockets, whether their handshake is done or not.
    accepted: AtomicU64,
    open: Mutex<Open>,
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
        self.open.lock().remove(id);
    }

    /// A socket that was admitted is closed.
    pub fn leave(&self, id: ConnectionId) {
        self.accepted.fetch_sub(1, Ordering::SeqCst);
        self.open.lock().remove(id);
    }

    /// Sockets now, whatever their state.
    pub fn accepted_len(&self) -> u64 {
        self.accepted.load(Ordering::SeqCst)
    }

    /// Connections that finished their handshake and are not over.
    pub fn open_len(&self) -> usize {
        self.open.lock().entries.len()
    }

    /// Whether one more connection may open: what a client is told before its permissions are looked at.
    ///
    /// # Errors
    /// The limit that is reached.
    pub fn check_limits(
        &self,
        vhost: &str,
        user: &str,
        limits: ConnectionLimits,
    ) -> Result<(), LimitReached> {
        self.open.lock().check(vhost, user, limits)
    }

    /// Lists a connection that finished its handshake.
    ///
    /// # Errors
    /// The limit that was reached meanwhile.
    pub fn opened(
        &self,
        entry: Arc<ConnectionEntry>,
        limits: ConnectionLimits,
    ) -> Result<(), LimitReached> {
        let mut open = self.open.lock();
        open.check(&entry.vhost, &entry.user, limits)?;
        open.insert(entry);
        Ok(())
    }

    /// How many channels a user's connections have open.
    pub fn channels_of(&self, user: &str) -> u64 {
        let open = self.open.lock();
        let ids = open.by_user.get(user).into_iter().flatten();
        let entries = ids.filter_map(|id| open.entries.get(id));
        entries
            .map(|entry| entry.channels.lock().len() as u64)
            .sum()
    }

    /// How many connections are open in a vhost.
    pub fn len_in(&self, vhost: &str) -> u64 {
        let open = self.open.lock();
        open.by_vhost.get(vhost).copied().unwrap_or_default()
    }

    /// All open connections, oldest first.
    pub fn list(&self) -> Vec<Arc<ConnectionEntry>> {
        self.open.lock().entries.values().cloned().collect()
    }

    /// The open connection with this id.
    pub fn find(&self, id: ConnectionId) -> Option<Arc<ConnectionEntry>> {
        self.open.lock().entries.get(&id).cloned()
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
