//! Whose messages: an owner of the log is a queue by its number, and the catalog knows its name.

use std::collections::BTreeMap;
use std::path::Path;

use node::catalog::read_offline;
use storage::OwnerId;

/// The catalog's queues.
pub(super) struct QueueNames {
    queues: BTreeMap<OwnerId, QueueName>,
    /// Why there are none, if the catalog could not be read.
    pub(super) failure: Option<String>,
}

/// A queue by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct QueueName {
    pub(super) vhost: String,
    pub(super) name: String,
}

impl QueueNames {
    pub(super) fn read(data_dir: &Path) -> QueueNames {
        let stored = match read_offline(data_dir) {
            Ok(stored) => stored,
            Err(error) => {
                return QueueNames {
                    queues: BTreeMap::new(),
                    failure: Some(error.to_string()),
                };
            }
        };
        let queues = stored.queues.into_iter().map(|queue| {
            let name = QueueName {
                vhost: queue.vhost.to_string(),
                name: queue.spec.name.to_string(),
            };
            (OwnerId(queue.id), name)
        });
        QueueNames {
            queues: queues.collect(),
            failure: None,
        }
    }

    pub(super) fn find(&self, owner: OwnerId) -> Option<&QueueName> {
        self.queues.get(&owner)
    }

    /// For a line of text: no name can break out of it.
    pub(super) fn describe(&self, owner: OwnerId) -> String {
        match (self.find(owner), &self.failure) {
            (Some(queue), _) => format!(
                "queue '{}' in vhost '{}' ({})",
                queue.name.escape_debug(),
                queue.vhost.escape_debug(),
                owner.0
            ),
            (None, None) => format!("queue {} (not in the catalog)", owner.0),
            (None, Some(_)) => format!("queue {}", owner.0),
        }
    }
}
