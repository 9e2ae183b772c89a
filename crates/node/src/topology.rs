//! A vhost's topology under its lock: the router, and the queues that its answers name.

use std::collections::BTreeSet;
use std::sync::Arc;

use broker::queue::QueueKind;
use broker::router::{QueueFacts, QueueId, QueueType, Router};
use hashbrown::HashMap;
use metadata::policy::PolicySet;
use metadata::topology::Name;

use crate::connections::ConnectionId;
use crate::queue_cell::QueueCell;

/// See the module.
#[derive(Default)]
pub struct Topology {
    /// Exchanges and bindings.
    pub router: Router,
    /// The vhost's policies: what is declared under this lock gets those of that moment.
    pub policies: PolicySet,
    /// The vhost is deleted: nothing may be declared any more, for the next of its name would inherit it.
    pub closed: bool,
    queues: HashMap<Name, Arc<QueueCell>>,
    queues_by_id: HashMap<QueueId, Arc<QueueCell>>,
    /// Exclusive queues, so that a connection that ends finds its own among all others'.
    owned: HashMap<ConnectionId, BTreeSet<QueueId>>,
}

impl Topology {
    /// The queue of this name.
    pub fn queue(&self, name: &str) -> Option<&Arc<QueueCell>> {
        self.queues.get(name)
    }

    /// The queue that the router means by `id`.
    pub fn queue_by_id(&self, id: QueueId) -> Option<&Arc<QueueCell>> {
        self.queues_by_id.get(&id)
    }

    /// All queues, by name.
    pub fn queues(&self) -> Vec<Arc<QueueCell>> {
        let mut queues: Vec<_> = self.queues.values().cloned().collect();
        queues.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
        queues
    }

    /// How many queues there are.
    pub fn queue_len(&self) -> usize {
        self.queues.len()
    }

    /// A connection's exclusive queues, oldest first.
    pub fn queues_of(&self, connection: ConnectionId) -> Vec<Arc<QueueCell>> {
        let owned = self.owned.get(&connection).into_iter().flatten();
        owned
            .filter_map(|id| self.queues_by_id.get(id).cloned())
            .collect()
    }

    /// Makes a queue known, to the router too.
    pub fn insert_queue(&mut self, cell: Arc<QueueCell>) {
        let queue_type = match cell.options().kind {
            QueueKind::Classic => QueueType::Classic,
            QueueKind::Quorum => QueueType::Quorum,
        };
        let durable = cell.spec.durable && !cell.spec.exclusive;
        let facts = QueueFacts {
            id: cell.id,
            durable,
            queue_type,
        };
        self.router.add_queue(Arc::clone(&cell.spec.name), facts);
        if let Some(owner) = cell.owner {
            self.owned.entry(owner).or_default().insert(cell.id);
        }
        self.queues_by_id.insert(cell.id, Arc::clone(&cell));
        self.queues.insert(Arc::clone(&cell.spec.name), cell);
    }

    /// Forgets a queue; the router is told by the caller, who needs what goes with it.
    pub fn remove_queue(&mut self, cell: &QueueCell) {
        self.queues.remove(&cell.spec.name);
        self.queues_by_id.remove(&cell.id);
        let Some(owner) = cell.owner else { return };
        if let Some(owned) = self.owned.get_mut(&owner) {
            owned.remove(&cell.id);
            if owned.is_empty() {
                self.owned.remove(&owner);
            }
        }
    }
}
