//! The node: everything one broker process serves.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use broker::queue::ConsumerId;
use hashbrown::HashMap;
use metadata::identity::VhostSpec;
use metadata::parameter::{Parameter, VHOST_LIMITS, VHOST_LIMITS_NAME};
use metadata::policy::{Policy, PolicyKind};
use metadata::topology::Name;
use parking_lot::RwLock;
use serde_json::Value;

use crate::alarms::{Alarm, Alarms, MemoryWatermark};
use crate::catalog::{Catalog, CatalogError, Change, Stored, StoredQueue, Ticket};
use crate::connections::Connections;
use crate::counters::Churn;
use crate::events::Events;
use crate::identities::Identities;
use crate::replies::Replies;
use crate::settings::{LiveSettings, Settings};
use crate::timers::Timers;
use crate::vhost::{Shared, Vhost};

/// See the module.
pub struct Node {
    /// Limits and defaults.
    pub settings: LiveSettings,
    /// Users and their permissions.
    pub identities: Identities,
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
    /// When queues want to be woken.
    pub timers: Arc<Timers>,
    /// Who changes what.
    pub events: Events,
    /// Parameters of the whole broker.
    pub(crate) global_parameters: RwLock<BTreeMap<Name, Value>>,
    /// How much came and went.
    pub churn: Arc<Churn>,
    vhosts: RwLock<HashMap<Name, Arc<Vhost>>>,
    shared: Shared,
    consumer_id: AtomicU64,
}

impl Node {
    /// Opens the node's data directory, which exists, and restores what was declared durable.
    pub fn open(
        settings: Settings,
        data_dir: &Path,
        now_ms: u64,
    ) -> Result<Arc<Self>, CatalogError> {
        let (catalog, stored) = Catalog::open(data_dir)?;
        Ok(Self::restore(settings, catalog, stored, now_ms))
    }

    /// A node that keeps nothing, for tests of what is above it.
    pub fn in_memory(settings: Settings, now_ms: u64) -> Arc<Self> {
        let (catalog, stored) = Catalog::in_memory();
        Self::restore(settings, catalog, stored, now_ms)
    }

    fn restore(settings: Settings, catalog: Catalog, mut stored: Stored, now_ms: u64) -> Arc<Self> {
        let catalog = Arc::new(catalog);
        let timers = Arc::new(Timers::default());
        let churn = Arc::new(Churn::default());
        let shared = Shared {
            churn: Arc::clone(&churn),
            catalog: Arc::clone(&catalog),
            timers: Arc::clone(&timers),
            queue_id: Arc::new(AtomicU64::new(stored.queue_id_first - 1)),
        };
        let identities = Identities::open(&mut stored, Arc::clone(&catalog), &settings.identities);
        let memory = MemoryWatermark::new(&settings);
        let node = Node {
            settings: LiveSettings::new(settings),
            memory,
            identities,
            catalog,
            connections: Connections::default(),
            replies: Replies::default(),
            alarms: Alarms::default(),
            timers,
            events: Events::default(),
            global_parameters: RwLock::new(stored.global_parameters.drain(..).collect()),
            churn,
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

    /// Adds a vhost; `None` if it is there already.
    pub fn add_vhost(&self, spec: VhostSpec) -> Option<Ticket> {
        let mut vhosts = self.vhosts.write();
        if vhosts.contains_key(&spec.name) {
            return None;
        }
        let vhost = Vhost::new(spec.clone(), self.shared.clone());
        vhosts.insert(Arc::clone(&spec.name), vhost);
        Some(self.catalog.write(Change::PutVhost(spec)))
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
        }
    }

    /// Wakes the queues whose time has come.
    pub fn run_timers(&self, now_ms: u64) {
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
