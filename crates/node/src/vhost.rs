//! A vhost: its topology, and every operation on it.
//!
//! Publishers route under the topology's read lock, and only when they do not remember the route: each change
//! of the topology moves [`Vhost::epoch`], which makes them ask again (see docs/adr/0002). What must survive a
//! restart is written to the catalog under the write lock, so that the catalog sees changes in their order;
//! the ticket says when it is on disk. Who may do what is the caller's business.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use broker::message::{LogPosition, Message};
use broker::queue::{Incoming, QueueOptions};
use broker::queue_arguments;
use broker::router::{
    Declared, DeleteError, QueueId, Refusal as RouterRefusal, Removed, Routable, RouteError,
    RouteScratch,
};
use hashbrown::HashMap;
use metadata::identity::VhostSpec;
use metadata::topology::{BindingSpec, Destination, ExchangeSpec, Name, QueueSpec};
use parking_lot::{Mutex, RwLock};
use wire::amqp091::properties::Properties;

use crate::catalog::{Catalog, Change, Ticket};
use crate::connections::ConnectionId;
use crate::counters::{Churn, ExchangeCounters, MessageCounters, Passed, Times, count};
use crate::dead_letters::Postponed;
use crate::events::Events;
use crate::message_log::{InFlight, MessageLog, Taker};
use crate::queue_cell::{Aftermath, Around, QueueCell};
use crate::refusal::{Refusal, RefusalKind};
use crate::spans::Tracer;
use crate::timers::Timers;
use crate::topology::Topology;

mod limits;
mod policies;

/// What several vhosts of a node share.
#[derive(Clone)]
pub struct Shared {
    /// Where durable topology is kept.
    pub catalog: Arc<Catalog>,
    /// When queues want to be woken.
    pub timers: Arc<Timers>,
    /// How much came and went in the node.
    pub churn: Arc<Churn>,
    /// How long messages took.
    pub times: Arc<Times>,
    /// How many passed.
    pub passed: Arc<Passed>,
    /// Who is told of it.
    pub events: Arc<Events>,
    /// The last queue id given out.
    pub queue_id: Arc<AtomicU64>,
    /// Where messages are kept; `None` in a node that keeps nothing.
    pub log: Option<Arc<MessageLog>>,
    /// Dead letters that the log had no room for.
    pub postponed: Arc<Postponed>,
    /// Traces messages, if it is set.
    pub tracer: Arc<OnceLock<Arc<Tracer>>>,
}

/// A queue found or made by a declaration.
pub struct DeclaredQueue {
    /// The queue.
    pub cell: Arc<QueueCell>,
    /// When its declaration is on disk.
    pub ticket: Ticket,
}

/// Conditions of `queue.delete`.
#[derive(Debug, Clone, Copy, Default)]
pub struct DeleteQueueIf {
    /// Only without consumers.
    pub unused: bool,
    /// Only without messages.
    pub empty: bool,
}

/// See the module.
pub struct Vhost {
    /// Its name.
    pub name: Name,
    /// What passed channels that are gone.
    pub finished: MessageCounters,
    spec: RwLock<Arc<VhostSpec>>,
    exchange_counters: Mutex<HashMap<Name, Arc<ExchangeCounters>>>,
    shared: Shared,
    topology: RwLock<Topology>,
    parameters: RwLock<limits::Parameters>,
    /// Held while policies change: outermost of the locks.
    policy_changes: Mutex<()>,
    epoch: AtomicU64,
    this: Weak<Vhost>,
}

impl Vhost {
    /// A vhost with nothing but the predeclared exchanges.
    pub fn new(spec: VhostSpec, shared: Shared) -> Arc<Self> {
        Arc::new_cyclic(|this| Vhost {
            name: Arc::clone(&spec.name),
            finished: MessageCounters::default(),
            spec: RwLock::new(Arc::new(spec)),
            exchange_counters: Mutex::default(),
            shared,
            topology: RwLock::default(),
            parameters: RwLock::default(),
            policy_changes: Mutex::default(),
            epoch: AtomicU64::new(1),
            this: Weak::clone(this),
        })
    }

    /// As it was declared, or changed since.
    pub fn spec(&self) -> Arc<VhostSpec> {
        Arc::clone(&self.spec.read())
    }

    /// Changes what it was declared with, its name apart; the node writes it to the catalog.
    pub(crate) fn change_spec(&self, change: impl FnOnce(&mut VhostSpec)) -> Arc<VhostSpec> {
        let mut spec = self.spec.write();
        let mut changed = VhostSpec::clone(&spec);
        change(&mut changed);
        changed.name = Arc::clone(&self.name);
        *spec = Arc::new(changed);
        Arc::clone(&spec)
    }

    /// Where what passes an exchange is counted; the same until the exchange is deleted.
    pub fn exchange_counters(&self, name: &str) -> Arc<ExchangeCounters> {
        let mut counters = self.exchange_counters.lock();
        if let Some(found) = counters.get(name) {
            return Arc::clone(found);
        }
        let new: Arc<ExchangeCounters> = Arc::default();
        counters.insert(name.into(), Arc::clone(&new));
        new
    }

    /// What an exchange was published, and what it put into queues; `None` if it never was.
    pub fn exchange_totals(&self, name: &str) -> Option<(u64, u64)> {
        let counters = self.exchange_counters.lock();
        let counters = counters.get(name)?;
        Some((
            counters.publish_in.load(Ordering::Relaxed),
            counters.publish_out.load(Ordering::Relaxed),
        ))
    }

    /// Moves with every change of the topology: a remembered route is good while it stands still.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Reads the topology: listing, and look-ups of several things in one moment.
    pub fn read<R>(&self, read: impl FnOnce(&Topology) -> R) -> R {
        read(&self.topology.read())
    }

    fn change<R>(&self, change: impl FnOnce(&mut Topology) -> R) -> R {
        let mut topology = self.topology.write();
        let result = change(&mut topology);
        // Still under the lock: whoever sees the new epoch finds the new topology behind the lock.
        self.epoch.fetch_add(1, Ordering::Release);
        result
    }

    /// Changes the topology unless the vhost is deleted: its connections may not have noticed yet.
    fn declare<R>(
        &self,
        declare: impl FnOnce(&mut Topology) -> Result<R, Refusal>,
    ) -> Result<R, Refusal> {
        self.change(|topology| match topology.closed {
            true => Err(Refusal::new(
                RefusalKind::NotFound,
                format!("vhost '{}' not found", self.name),
            )),
            false => declare(topology),
        })
    }

    /// Where messages are kept, if anywhere.
    pub fn message_log(&self) -> Option<&Arc<MessageLog>> {
        self.shared.log.as_ref()
    }

    pub(crate) fn passed(&self) -> &Arc<Passed> {
        &self.shared.passed
    }

    pub(crate) fn tracer(&self) -> Option<&Arc<Tracer>> {
        self.shared.tracer.get()
    }

    pub(crate) fn postponed(&self) -> &Postponed {
        &self.shared.postponed
    }

    pub(crate) fn timers(&self) -> &Arc<Timers> {
        &self.shared.timers
    }

    fn write(&self, change: Change) -> Ticket {
        self.shared.catalog.write(change)
    }

    // ---- queues ----

    /// The queue of this name, or 404.
    pub fn find_queue(&self, name: &str) -> Result<Arc<QueueCell>, Refusal> {
        let found = self.topology.read().queue(name).cloned();
        found.ok_or_else(|| Refusal::no_queue(name, &self.name))
    }

    /// The queue of this name if `connection` may touch it: 404 or 405 if not.
    pub fn open_queue(
        &self,
        name: &str,
        connection: ConnectionId,
    ) -> Result<Arc<QueueCell>, Refusal> {
        let cell = self.find_queue(name)?;
        cell.check_owner(connection, &self.name)?;
        Ok(cell)
    }

    /// Declares a queue: finds an equal one or makes it. `connection` becomes the owner of an exclusive one.
    pub fn declare_queue(
        &self,
        now_ms: u64,
        mut spec: QueueSpec,
        connection: ConnectionId,
    ) -> Result<DeclaredQueue, Refusal> {
        self.apply_default_queue_type(&mut spec);
        if let Ok(cell) = self.find_queue(&spec.name) {
            return self.redeclare_queue(now_ms, cell, &spec, connection);
        }
        let options = queue_arguments::parse(&spec, &self.name)
            .map_err(|error| Refusal::precondition(error.to_string()))?;
        count(&self.shared.churn.queues_declared);
        let made = self.declare(|topology| {
            Ok(match topology.queue(&spec.name) {
                // Somebody was quicker.
                Some(cell) => Err(Arc::clone(cell)),
                None => {
                    self.check_queue_limit(topology, &spec.name)?;
                    Ok(self.insert_queue(topology, now_ms, spec.clone(), options, connection))
                }
            })
        })?;
        match made {
            Ok(declared) => Ok(declared),
            Err(cell) => self.redeclare_queue(now_ms, cell, &spec, connection),
        }
    }

    /// A queue declared without a type gets the vhost's, unless its other properties forbid that: quorum
    /// queues and streams are durable and belong to nobody (RabbitMQ's rule).
    fn apply_default_queue_type(&self, spec: &mut QueueSpec) {
        const TYPE: &str = "x-queue-type";
        if let Some(kind) = &self.spec().default_queue_type
            && spec.arguments.find(TYPE).is_none()
            && (kind == "classic" || (spec.durable && !spec.exclusive && !spec.auto_delete))
        {
            spec.arguments.set(TYPE, kind.as_str());
        }
    }

    fn redeclare_queue(
        &self,
        now_ms: u64,
        cell: Arc<QueueCell>,
        spec: &QueueSpec,
        connection: ConnectionId,
    ) -> Result<DeclaredQueue, Refusal> {
        cell.check_owner(connection, &self.name)?;
        if spec.exclusive != cell.spec.exclusive {
            return Err(cell.locked(&self.name));
        }
        // An exclusive queue goes with its connection whether it was called durable or not.
        let durable = if spec.exclusive {
            cell.spec.durable
        } else {
            spec.durable
        };
        let spec = QueueSpec {
            durable,
            ..spec.clone()
        };
        queue_arguments::check_equivalence(&cell.spec, &spec, &self.name)
            .map_err(|error| Refusal::precondition(error.to_string()))?;
        cell.touch(now_ms);
        count(&self.shared.churn.queues_declared);
        // It may have been declared by another connection a moment ago and not be on disk yet.
        let ticket = if cell.spec.durable {
            self.shared.catalog.last_ticket()
        } else {
            Ticket::NONE
        };
        Ok(DeclaredQueue { cell, ticket })
    }

    fn insert_queue(
        &self,
        topology: &mut Topology,
        now_ms: u64,
        spec: QueueSpec,
        options: QueueOptions,
        connection: ConnectionId,
    ) -> DeclaredQueue {
        let id = QueueId(1 + self.shared.queue_id.fetch_add(1, Ordering::Relaxed));
        // An exclusive queue goes with its connection, so it never outlives the process.
        let ticket = if spec.durable && !spec.exclusive {
            let vhost = Arc::clone(&self.name);
            self.write(Change::PutQueue {
                vhost,
                id: id.0,
                spec: spec.clone(),
            })
        } else {
            Ticket::NONE
        };
        let owner = spec.exclusive.then_some(connection);
        let (options, policy) = self.with_policy(topology, &spec, options);
        let cell = self.new_cell(id, spec, options, owner, now_ms);
        cell.assign_policy(policy);
        cell.set_declared(ticket);
        topology.insert_queue(Arc::clone(&cell));
        count(&self.shared.churn.queues_created);
        let spec = &cell.spec;
        self.shared
            .events
            .tell_queue("queue_created", &self.name, spec);
        DeclaredQueue { cell, ticket }
    }

    fn new_cell(
        &self,
        id: QueueId,
        spec: QueueSpec,
        options: QueueOptions,
        owner: Option<ConnectionId>,
        now_ms: u64,
    ) -> Arc<QueueCell> {
        let around = Around {
            vhost: Weak::clone(&self.this),
            timers: Arc::clone(&self.shared.timers),
            log: self.shared.log.clone(),
            times: Arc::clone(&self.shared.times),
        };
        QueueCell::new(id, spec, options, owner, around, now_ms)
    }

    /// Puts back a queue that the catalog kept. Its arguments were good when it was declared; if this version
    /// refuses them all the same, the text says so.
    pub fn restore_queue(&self, now_ms: u64, id: u64, spec: QueueSpec) -> Result<(), String> {
        let options =
            queue_arguments::parse(&spec, &self.name).map_err(|error| error.to_string())?;
        self.shared.queue_id.fetch_max(id, Ordering::Relaxed);
        self.change(|topology| {
            let (options, policy) = self.with_policy(topology, &spec, options);
            let cell = self.new_cell(QueueId(id), spec, options, None, now_ms);
            cell.assign_policy(policy);
            topology.insert_queue(cell);
        });
        Ok(())
    }

    /// Deletes a queue; how many ready messages went with it. Deleting what does not exist succeeds.
    pub fn delete_queue(
        &self,
        name: &str,
        connection: ConnectionId,
        when: DeleteQueueIf,
    ) -> Result<(u64, Ticket), Refusal> {
        let Ok(cell) = self.open_queue_if_there(name, connection) else {
            return Err(self
                .open_queue(name, connection)
                .err()
                .expect("it was refused just now"));
        };
        let Some(cell) = cell else {
            return Ok((0, Ticket::NONE));
        };
        let mut broken = None;
        let deleted = self.remove_queue(&cell, |counts| {
            broken = match counts {
                counts if when.unused && counts.consumers > 0 => Some("in use"),
                counts if when.empty && counts.ready > 0 => Some("not empty"),
                _ => None,
            };
            broken.is_none()
        });
        match (deleted, broken) {
            (_, Some(broken)) => {
                let text = format!("queue '{name}' in vhost '{}' {broken}", self.name);
                Err(Refusal::precondition(text))
            }
            (deleted, None) => Ok(deleted.unwrap_or((0, Ticket::NONE))),
        }
    }

    fn open_queue_if_there(
        &self,
        name: &str,
        connection: ConnectionId,
    ) -> Result<Option<Arc<QueueCell>>, Refusal> {
        match self.open_queue(name, connection) {
            Ok(cell) => Ok(Some(cell)),
            Err(refusal) if refusal.kind == RefusalKind::NotFound => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// Removes a queue if `condition` holds of its counts, with its bindings and what they kept alive.
    fn remove_queue(
        &self,
        cell: &Arc<QueueCell>,
        condition: impl FnOnce(&crate::queue_cell::QueueCounts) -> bool,
    ) -> Option<(u64, Ticket)> {
        self.change(|topology| {
            let ready = cell.close(condition)?.ok()?;
            topology.remove_queue(cell);
            count(&self.shared.churn.queues_deleted);
            let events = &self.shared.events;
            events.tell_queue("queue_deleted", &self.name, &cell.spec);
            let removed = topology.router.remove_queue(&cell.spec.name);
            let mut ticket = self.forget(&removed);
            if cell.spec.durable && !cell.spec.exclusive {
                let (vhost, queue) = (Arc::clone(&self.name), Arc::clone(&cell.spec.name));
                ticket = self.write(Change::DeleteQueue { vhost, queue });
            }
            Some((ready, ticket))
        })
    }

    /// Deletes the exclusive queues of a connection that ended.
    pub fn delete_queues_of(&self, connection: ConnectionId) {
        let queues = self.read(|topology| topology.queues_of(connection));
        for cell in queues {
            self.remove_queue(&cell, |_| true);
        }
    }

    // ---- exchanges and bindings ----

    /// The exchange of this name, or 404.
    pub fn find_exchange(&self, name: &str) -> Result<ExchangeSpec, Refusal> {
        let found = self.topology.read().router.exchange(name).cloned();
        found.ok_or_else(|| Refusal::no_exchange(name, &self.name))
    }

    /// Declares an exchange: finds an equal one or makes it.
    pub fn declare_exchange(&self, spec: ExchangeSpec) -> Result<Ticket, Refusal> {
        let durable = spec.durable;
        self.declare(|topology| {
            let created = topology
                .router
                .declare_exchange(spec.clone())
                .map_err(|error| self.refusal(error.refusal(), error.text(&self.name)))?;
            topology.apply_policy_to_exchange(&spec.name);
            if created == Declared::Created {
                let events = &self.shared.events;
                events.tell_exchange("exchange_created", &self.name, &spec);
            }
            Ok(match (created, durable) {
                (_, false) => Ticket::NONE,
                (Declared::Existed, true) => self.shared.catalog.last_ticket(),
                (Declared::Created, true) => self.write(Change::PutExchange {
                    vhost: Arc::clone(&self.name),
                    spec,
                }),
            })
        })
    }

    /// Deletes an exchange and its bindings. Deleting what does not exist succeeds.
    pub fn delete_exchange(&self, name: &str, if_unused: bool) -> Result<Ticket, Refusal> {
        self.change(
            |topology| match topology.router.delete_exchange(name, if_unused) {
                Ok(removed) => Ok(self.forget(&removed)),
                Err(DeleteError::NotFound { .. }) => Ok(Ticket::NONE),
                Err(error) => Err(self.refusal(error.refusal(), error.text(&self.name))),
            },
        )
    }

    /// Binds. Binding again what is bound succeeds.
    pub fn bind(&self, now_ms: u64, spec: BindingSpec) -> Result<Ticket, Refusal> {
        let (ticket, replay) = self.declare(|topology| {
            let bound = topology
                .router
                .bind(spec.clone())
                .map_err(|error| self.refusal(error.refusal(), error.text(&self.name)))?;
            if bound.created {
                let events = &self.shared.events;
                events.tell_binding("binding_created", &self.name, &spec);
            }
            let ticket = match (bound.durable, bound.created) {
                (false, _) => Ticket::NONE,
                (true, false) => self.shared.catalog.last_ticket(),
                (true, true) => {
                    let vhost = Arc::clone(&self.name);
                    self.write(Change::PutBinding {
                        vhost,
                        spec: spec.clone(),
                    })
                }
            };
            Ok((ticket, bound.replay))
        })?;
        for message in replay {
            self.replay(now_ms, &spec.destination, message);
        }
        Ok(ticket)
    }

    /// Hands a message of an exchange's history to what was bound to the exchange just now.
    fn replay(&self, now_ms: u64, destination: &Destination, message: Message) {
        let mut cells = Vec::new();
        match destination {
            Destination::Queue(name) => cells.extend(self.topology.read().queue(name).cloned()),
            Destination::Exchange(name) => {
                let routable = Routable {
                    exchange: name,
                    routing_key: message.routing_key(),
                    properties: properties_of(&message),
                    sender_selects: false,
                };
                let mut scratch = RouteScratch::with_seed(crate::names::seed());
                if self.route(&routable, &mut scratch, &mut cells).is_ok() {
                    self.record_history(&scratch.history, &message);
                }
            }
        }
        for cell in cells {
            let mut incoming = Incoming::new(message.clone(), LogPosition::NONE);
            let in_flight = self.keep(now_ms, &cell, &mut incoming);
            let aftermath = cell.publish(now_ms, &mut vec![incoming], &mut Vec::new());
            drop(in_flight);
            self.conclude(now_ms, &cell, aftermath);
        }
    }

    /// Puts a message that comes from no connection into the log, if it is to outlive the process where it goes. What
    /// the log has no room for is kept in memory only.
    pub(crate) fn keep(
        &self,
        now_ms: u64,
        cell: &QueueCell,
        incoming: &mut Incoming,
    ) -> Option<InFlight> {
        let log = self.shared.log.as_ref()?;
        if !cell.survives() || !incoming.message.persistent() {
            return None;
        }
        let expires_at_ms = QueueCell::expires_at_ms(cell.ttl_ms(), now_ms, &incoming.message);
        let taker = Taker {
            queue: cell.id,
            expires_at_ms,
            delivery_count: 0,
        };
        let mut appending = log.begin();
        if let Ok(position) = appending.push(&incoming.message, [taker]) {
            incoming.position = position;
            incoming.expires_at_ms = Some(expires_at_ms);
        }
        Some(appending.end())
    }

    /// Unbinds. Unbinding what is not bound succeeds.
    pub fn unbind(&self, spec: &BindingSpec) -> Result<Ticket, Refusal> {
        self.change(|topology| {
            let removed = topology
                .router
                .unbind(spec)
                .map_err(|error| self.refusal(error.refusal(), error.text(&self.name)))?;
            Ok(self.forget(&removed))
        })
    }

    /// Takes out of the catalog what the router removed; the ticket of the last of it.
    fn forget(&self, removed: &Removed) -> Ticket {
        let mut ticket = Ticket::NONE;
        let events = &self.shared.events;
        for binding in &removed.bindings {
            events.tell_binding("binding_deleted", &self.name, &binding.spec);
            if binding.durable {
                let vhost = Arc::clone(&self.name);
                let spec = binding.spec.clone();
                ticket = self.write(Change::DeleteBinding { vhost, spec });
            }
        }
        for spec in &removed.exchanges {
            events.tell_exchange("exchange_deleted", &self.name, spec);
            self.exchange_counters.lock().remove(&spec.name);
            if spec.durable {
                let (vhost, exchange) = (Arc::clone(&self.name), Arc::clone(&spec.name));
                ticket = self.write(Change::DeleteExchange { vhost, exchange });
            }
        }
        ticket
    }

    /// Puts back an exchange or binding that the catalog kept.
    pub fn restore_exchange(&self, spec: ExchangeSpec) -> Result<(), String> {
        let declared = self.change(|topology| {
            let name = Arc::clone(&spec.name);
            let declared = topology.router.declare_exchange(spec);
            topology.apply_policy_to_exchange(&name);
            declared
        });
        declared.map(drop).map_err(|error| error.text(&self.name))
    }

    /// See [`Vhost::restore_exchange`].
    pub fn restore_binding(&self, spec: BindingSpec) -> Result<(), String> {
        let bound = self.change(|topology| topology.router.bind(spec));
        bound.map(drop).map_err(|error| error.text(&self.name))
    }

    fn refusal(&self, kind: RouterRefusal, text: String) -> Refusal {
        let kind = match kind {
            RouterRefusal::NotFound => RefusalKind::NotFound,
            RouterRefusal::Forbidden => RefusalKind::AccessRefused,
            RouterRefusal::Precondition => RefusalKind::PreconditionFailed,
        };
        Refusal::new(kind, text)
    }

    /// Ends every queue, when the vhost is deleted.
    pub fn close(&self) {
        self.change(|topology| topology.closed = true);
        for cell in self.read(|topology| topology.queues()) {
            self.remove_queue(&cell, |_| true);
        }
    }

    // ---- routing ----

    /// Finds the queues for a message. `cells` gets them, each once; `scratch.cacheable` says whether the
    /// answer holds for the same exchange and routing key while the epoch stands still.
    pub fn route(
        &self,
        routable: &Routable<'_>,
        scratch: &mut RouteScratch,
        cells: &mut Vec<Arc<QueueCell>>,
    ) -> Result<(), RouteError> {
        let topology = self.topology.read();
        topology.router.route(routable, scratch)?;
        let found = scratch
            .queues
            .iter()
            .filter_map(|id| topology.queue_by_id(*id));
        cells.extend(found.cloned());
        Ok(())
    }

    /// Lets the x-recent-history exchanges that a message passed keep it.
    pub fn record_history(&self, exchanges: &[Name], message: &Message) {
        let mut topology = self.topology.write();
        for exchange in exchanges {
            topology.router.record(exchange, message);
        }
    }

    // ---- what follows from a queue's decisions ----

    /// Does what a queue left to do: dead-letters, deletes an auto-delete or expired queue.
    pub fn conclude(&self, now_ms: u64, cell: &Arc<QueueCell>, aftermath: Aftermath) {
        if aftermath.is_empty() {
            return;
        }
        if aftermath.auto_delete {
            self.remove_queue(cell, |counts| counts.consumers == 0);
        }
        if aftermath.expired {
            self.remove_queue(cell, |counts| counts.consumers == 0);
        }
        if !aftermath.dead.is_empty() {
            self.dead_letter(now_ms, Arc::clone(cell), aftermath.dead);
        }
    }
}

/// The properties of a message that was accepted: they were validated when it came.
pub fn properties_of(message: &Message) -> Properties<'_> {
    Properties::validate(message.properties()).expect("a message's properties were validated")
}

#[cfg(test)]
mod tests;
