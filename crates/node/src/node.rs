//! The node: everything one broker process serves.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use broker::queue::ConsumerId;
use broker::router::QueueId;
use hashbrown::HashMap;
use metadata::identity::VhostSpec;
use metadata::parameter::{Parameter, VHOST_LIMITS, VHOST_LIMITS_NAME};
use metadata::policy::{Policy, PolicyKind};
use metadata::topology::Name;
use parking_lot::RwLock;
use serde_json::{Value, json};

use crate::alarms::{Alarm, Alarms, MemoryWatermark};
use crate::attempts::Attempts;
use crate::catalog::{Catalog, CatalogError, Change, Stored, StoredQueue, Ticket};
use crate::connections::Connections;
use crate::counters::{Churn, Passed, Times};
use crate::dead_letters::Postponed;
use crate::events::{Events, NodeEvent};
use crate::identities::{Authenticator, Identities};
use crate::message_log::{MessageLog, Options, Recovery, StorageError};
use crate::queue_cell::QueueCell;
use crate::rates::RateLimits;
use crate::replies::Replies;
use crate::settings::{LiveSettings, Settings};
use crate::spans::Tracer;
use crate::timers::Timers;
use crate::topology::Topology;
use crate::vhost::{Shared, Vhost};

/// Why a data directory cannot be served from.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// What was declared cannot be read.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The messages cannot be read.
    #[error("cannot open the message log in {}: {source}", dir.display())]
    MessageLog {
        /// Where it is.
        dir: PathBuf,
        /// What is wrong.
        source: StorageError,
    },
}

/// See the module.
pub struct Node {
    /// Limits and defaults.
    pub settings: LiveSettings,
    /// Users and their permissions.
    pub identities: Identities,
    /// Decides on logins if it is set; the node's own users do otherwise.
    pub authenticator: OnceLock<Arc<dyn Authenticator>>,
    /// Traces messages, if it is set.
    tracer: Arc<OnceLock<Arc<Tracer>>>,
    /// Logins that were tried.
    pub attempts: Attempts,
    /// What is kept on disk of topology and identities.
    pub catalog: Arc<Catalog>,
    /// Who is connected.
    pub connections: Connections,
    /// Direct reply-to addresses.
    pub replies: Replies,
    /// Conditions that block publishers.
    pub alarms: Alarms,
    /// How much memory the process may hold.
    pub memory: MemoryWatermark,
    /// Rate limits.
    pub rates: RateLimits,
    /// When queues want to be woken.
    pub timers: Arc<Timers>,
    /// Who changes what.
    pub events: Arc<Events>,
    /// Parameters of the whole broker.
    pub(crate) global_parameters: RwLock<BTreeMap<Name, Value>>,
    /// How much came and went.
    pub churn: Arc<Churn>,
    /// How long messages took.
    pub times: Arc<Times>,
    /// How many passed, and how large they were.
    pub passed: Arc<Passed>,
    /// Where messages are kept; `None` in a node that keeps nothing.
    pub log: Option<Arc<MessageLog>>,
    vhosts: RwLock<HashMap<Name, Arc<Vhost>>>,
    shared: Shared,
    consumer_id: AtomicU64,
}

impl Node {
    /// Opens the node's data directory, which exists, and restores what was declared durable.
    pub fn open(settings: Settings, data_dir: &Path, now_ms: u64) -> Result<Arc<Self>, OpenError> {
        let (catalog, stored) = Catalog::open(data_dir)?;
        let options = Options {
            durability: settings.durability,
            ..Options::default()
        };
        let failed = |source| OpenError::MessageLog {
            dir: data_dir.join(storage::DIRECTORY),
            source,
        };
        let opened = MessageLog::open(data_dir, options, stored.redelivered_up_to);
        let (log, recovery) = opened.map_err(failed)?;
        report(&recovery);
        let kept: BTreeSet<u64> = stored.queues.iter().map(|queue| queue.id).collect();
        let node = Self::restore(settings, catalog, stored, Some(Arc::clone(&log)), now_ms);
        let redelivered = log.redelivered_up_to().0;
        if !recovery.clean {
            node.catalog
                .write(Change::PutRedelivered { up_to: redelivered });
        }
        log.forget_unknown(|queue| kept.contains(&queue.0));
        node.restore_messages(&recovery, now_ms);
        Ok(node)
    }

    /// A node with messages on a medium of the caller's, and nothing else kept. For tests of what is above it.
    ///
    /// # Errors
    /// What the log says.
    pub fn with_log(settings: Settings, log: Arc<MessageLog>, now_ms: u64) -> Arc<Self> {
        let (catalog, stored) = Catalog::in_memory();
        Self::restore(settings, catalog, stored, Some(log), now_ms)
    }

    /// A node that keeps nothing, for tests of what is above it.
    pub fn in_memory(settings: Settings, now_ms: u64) -> Arc<Self> {
        let (catalog, stored) = Catalog::in_memory();
        Self::restore(settings, catalog, stored, None, now_ms)
    }

    fn restore(
        settings: Settings,
        catalog: Catalog,
        mut stored: Stored,
        log: Option<Arc<MessageLog>>,
        now_ms: u64,
    ) -> Arc<Self> {
        let catalog = Arc::new(catalog);
        let timers = Arc::new(Timers::default());
        let churn = Arc::new(Churn::default());
        let times = Arc::new(Times::default());
        let passed = Arc::new(Passed::default());
        let events = Arc::new(Events::default());
        let tracer = Arc::new(OnceLock::new());
        let shared = Shared {
            tracer: Arc::clone(&tracer),
            events: Arc::clone(&events),
            churn: Arc::clone(&churn),
            times: Arc::clone(&times),
            passed: Arc::clone(&passed),
            catalog: Arc::clone(&catalog),
            timers: Arc::clone(&timers),
            queue_id: Arc::new(AtomicU64::new(stored.queue_id_first - 1)),
            log: log.clone(),
            postponed: Arc::new(Postponed::default()),
        };
        let identities = Identities::open(
            &mut stored,
            Arc::clone(&catalog),
            Arc::clone(&events),
            &settings.identities,
        );
        let memory = MemoryWatermark::new(&settings);
        let rates = RateLimits::new(&settings.rates);
        let node = Node {
            settings: LiveSettings::new(settings),
            memory,
            rates,
            identities,
            authenticator: OnceLock::new(),
            tracer,
            attempts: Attempts::default(),
            catalog,
            connections: Connections::default(),
            replies: Replies::default(),
            alarms: Alarms::default(),
            timers,
            events,
            global_parameters: RwLock::new(stored.global_parameters.drain(..).collect()),
            churn,
            times,
            passed,
            log,
            vhosts: RwLock::default(),
            shared,
            consumer_id: AtomicU64::new(0),
        };
        node.restore_topology(stored, now_ms);
        Arc::new(node)
    }

    fn restore_topology(&self, stored: Stored, now_ms: u64) {
        let refused = |what: &str, vhost: &str, text: String| {
            tracing::error!(vhost, "a stored {what} was not restored: {text}");
        };
        for spec in stored.vhosts {
            let name = Arc::clone(&spec.name);
            let restored = Vhost::new(spec, self.shared.clone());
            self.vhosts.write().insert(name, restored);
        }
        for (vhost, parameter) in stored.parameters {
            if let Some(found) = self.vhost(&vhost)
                && let Err(text) = restore_parameter(&found, parameter)
            {
                refused("parameter", &vhost, text);
            }
        }
        for (vhost, spec) in stored.exchanges {
            if let Some(found) = self.vhost(&vhost)
                && let Err(text) = found.restore_exchange(spec)
            {
                refused("exchange", &vhost, text);
            }
        }
        for StoredQueue { vhost, id, spec } in stored.queues {
            if let Some(found) = self.vhost(&vhost)
                && let Err(text) = found.restore_queue(now_ms, id, spec)
            {
                refused("queue", &vhost, text);
            }
        }
        for (vhost, spec) in stored.bindings {
            if let Some(found) = self.vhost(&vhost)
                && let Err(text) = found.restore_binding(spec)
            {
                refused("binding", &vhost, text);
            }
        }
    }

    /// Gives the queues back what they held, as ranges of the log.
    fn restore_messages(&self, recovery: &Recovery, now_ms: u64) {
        let mut cells: HashMap<QueueId, Arc<QueueCell>> = HashMap::new();
        for vhost in self.vhosts() {
            let queues = vhost.read(Topology::queues).into_iter();
            cells.extend(queues.map(|cell| (cell.id, cell)));
        }
        for recovered in &recovery.owners {
            if let Some(cell) = cells.get(&QueueId(recovered.owner.0)) {
                cell.recover(now_ms, recovered);
            }
        }
    }

    /// Has queues give up memory if messages take too much, also those that nobody uses.
    pub fn relieve_memory(&self) {
        let Some(log) = &self.log else { return };
        if log.cache().is_pressed() {
            let vhosts = self.vhosts();
            let queues = || vhosts.iter().flat_map(|vhost| vhost.read(Topology::queues));
            log.pager().relieve(|| queues().collect());
        }
    }

    /// Ends cleanly, once all clients have gone: what queues know of deliveries is written down, and the log closed.
    ///
    /// # Errors
    /// What the disk says; what was confirmed is safe all the same.
    pub fn stop(&self) -> Result<(), StorageError> {
        let Some(log) = &self.log else { return Ok(()) };
        for vhost in self.vhosts() {
            for cell in vhost.read(Topology::queues) {
                cell.note_delivered();
            }
        }
        log.stop()
    }

    /// Has messages traced from now on, for good. One that traces them already goes on.
    pub fn trace(&self, tracer: Arc<Tracer>) {
        let _one_is_enough = self.tracer.set(tracer);
    }

    /// What traces messages; `None`: nothing does.
    #[inline]
    pub fn tracer(&self) -> Option<&Arc<Tracer>> {
        self.tracer.get()
    }

    /// The vhost of this name.
    pub fn vhost(&self, name: &str) -> Option<Arc<Vhost>> {
        self.vhosts.read().get(name).cloned()
    }

    /// All vhosts, by name.
    pub fn vhosts(&self) -> Vec<Arc<Vhost>> {
        let mut vhosts: Vec<_> = self.vhosts.read().values().cloned().collect();
        vhosts.sort_by(|a, b| a.name.cmp(&b.name));
        vhosts
    }

    /// Adds a vhost, with the defaults that are configured for new ones; `None` if it is there already.
    pub fn add_vhost(&self, mut spec: VhostSpec) -> Option<Ticket> {
        let mut vhosts = self.vhosts.write();
        if vhosts.contains_key(&spec.name) {
            return None;
        }
        let settings = &self.settings;
        spec.default_queue_type = spec
            .default_queue_type
            .or_else(|| settings.default_queue_type.clone());
        let vhost = Vhost::new(spec.clone(), self.shared.clone());
        vhosts.insert(Arc::clone(&spec.name), Arc::clone(&vhost));
        let name = &spec.name;
        self.events
            .tell(|| NodeEvent::of("vhost_created", json!({"name": &**name})));
        let ticket = self.catalog.write(Change::PutVhost(spec));
        let defaults = settings.default_vhost_limits.values();
        let defaults = defaults
            .into_iter()
            .find(|d| d.pattern.matches(&vhost.name));
        let Some(defaults) = defaults else {
            return Some(ticket);
        };
        let limited = vhost.change_limits(|limits| {
            let known = [
                ("max-connections", defaults.connections_max),
                ("max-queues", defaults.queues_max),
            ];
            let set = known
                .into_iter()
                .filter_map(|(name, max)| Some((name, max?)));
            limits.extend(set.map(|(name, max)| (name.to_owned(), max.into())));
        });
        Some(limited.unwrap_or(ticket))
    }

    /// Changes what a vhost was declared with, its name apart; `None` if it is not there.
    pub fn change_vhost(&self, name: &str, change: impl FnOnce(&mut VhostSpec)) -> Option<Ticket> {
        // The lock keeps two changes of one vhost in their order in the catalog, too.
        let vhosts = self.vhosts.write();
        let spec = vhosts.get(name)?.change_spec(change);
        Some(
            self.catalog
                .write(Change::PutVhost(VhostSpec::clone(&spec))),
        )
    }

    /// Deletes a vhost with all in it, closing its connections; `None` if it is not there.
    pub fn delete_vhost(&self, name: &str) -> Option<Ticket> {
        let vhost = self.vhosts.write().remove(name)?;
        let text = format!("vhost '{name}' is down");
        self.connections
            .force_close(&text, |entry| *entry.vhost == *name);
        vhost.close();
        self.identities.forget_vhost(name);
        self.events
            .tell(|| NodeEvent::of("vhost_deleted", json!({"name": name})));
        Some(self.catalog.write(Change::DeleteVhost {
            vhost: Arc::clone(&vhost.name),
        }))
    }

    /// Replaces the settings. Connections keep what they agreed on; whatever is looked up later is as it is now.
    pub fn reload(&self, settings: Settings) {
        let watermark = |s: &Settings| (s.memory_watermark_permille, s.memory_watermark_bytes);
        if watermark(&settings) != watermark(&self.settings) {
            self.memory.set(&settings);
        }
        self.rates.set(&settings.rates);
        self.settings.replace(settings);
    }

    /// An id for a new consumer.
    pub fn next_consumer_id(&self) -> ConsumerId {
        ConsumerId(1 + self.consumer_id.fetch_add(1, Ordering::Relaxed))
    }

    /// Sets or clears an alarm and tells the connections.
    pub fn set_alarm(&self, alarm: Alarm, on: bool) {
        if self.alarms.set(alarm, on) {
            tracing::warn!(?alarm, on, "alarm changed");
            self.connections.alarms_changed();
            let event = if on { "alarm_set" } else { "alarm_cleared" };
            let resource = alarm.resource();
            self.events
                .tell(|| NodeEvent::of(event, json!({"resource": resource})));
        }
    }

    /// Looks at the disk: sets or clears its alarm, and says once that the log has failed. `memory_bytes`: what the
    /// machine has.
    pub fn check_disk(&self, memory_bytes: u64) {
        let Some(log) = &self.log else { return };
        if let Some(failure) = log.failure()
            && !self.alarms.is_on(Alarm::MessageLog)
        {
            tracing::error!("persistent messages are refused from now on: {failure}");
            self.set_alarm(Alarm::MessageLog, true);
        }
        let full = log.usage().full;
        match log.space() {
            Ok(space) => {
                let limit = self.settings.disk_free_limit;
                let limit_bytes = limit.bytes(space.total_bytes, memory_bytes);
                self.set_alarm(Alarm::Disk, full || space.free_bytes < limit_bytes);
            }
            Err(_) if full => self.set_alarm(Alarm::Disk, true),
            // Not known is no reason to block anybody; the log itself says when it is full.
            Err(_) => {}
        }
    }

    /// Wakes the queues whose time has come.
    pub fn run_timers(&self, now_ms: u64) {
        self.shared.postponed.retry(now_ms, &self.timers);
        for cell in self.timers.take_due(now_ms) {
            let aftermath = cell.handle_timeout(now_ms);
            if let Some(vhost) = cell.vhost.upgrade() {
                vhost.conclude(now_ms, &cell, aftermath);
            }
        }
    }
}

/// Puts back a parameter before the queues that it may be about.
fn restore_parameter(vhost: &Vhost, parameter: Parameter) -> Result<(), String> {
    let Parameter { name, value, .. } = &parameter;
    let policy = |kind| Policy::parse(kind, name, value).map_err(|error| error.to_string());
    match &*parameter.component {
        "policy" => vhost.restore_policy(PolicyKind::User, policy(PolicyKind::User)?),
        "operator_policy" => {
            vhost.restore_policy(PolicyKind::Operator, policy(PolicyKind::Operator)?)
        }
        VHOST_LIMITS if **name == *VHOST_LIMITS_NAME => {
            vhost
                .restore_limits(value)
                .map_err(|error| error.to_string())?;
        }
        _ => vhost.restore_foreign_parameter(parameter),
    }
    Ok(())
}

/// Says what was found in the log.
fn report(recovery: &Recovery) {
    if let Some(torn) = &recovery.torn {
        tracing::warn!(
            file = torn.file,
            offset = torn.offset,
            "the end of the message log was cut: it was being written when the broker was last stopped, and nobody \
             had been told that it was"
        );
    }
    let messages: u64 = recovery.owners.iter().map(|owner| owner.messages).sum();
    if messages > 0 {
        let queues = recovery.owners.len();
        tracing::info!(
            messages,
            queues,
            clean = recovery.clean,
            "messages recovered"
        );
    }
}
