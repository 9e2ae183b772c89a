//! Deliveries of traced messages, from the socket to their settlement. See node's `spans`.

use std::sync::Arc;

use broker::queue::{Delivery, DeliveryId, Settlement};
use broker::router::QueueId;
use hashbrown::HashMap;
use node::queue_cell::QueueCell;
use node::spans::{TracedDelivery, Tracer};
use node::vhost::Vhost;

use super::limits::TRACED_DELIVERIES_MAX;

/// Those of a connection that wait to be settled.
#[derive(Default)]
pub(crate) struct TracedDeliveries(HashMap<(QueueId, DeliveryId), TracedDelivery>);

impl TracedDeliveries {
    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Tells of deliveries from a queue, whose delivery tags begin with `first_tag`. Of more than
    /// [`TRACED_DELIVERIES_MAX`] that wait the settlements are not told.
    #[cold]
    pub(crate) fn deliver(
        &mut self,
        tracer: &Tracer,
        vhost: &Vhost,
        cell: &QueueCell,
        deliveries: &[Delivery],
        first_tag: u64,
    ) {
        for (delivery, tag) in deliveries.iter().zip(first_tag..) {
            let message = &delivery.message;
            let redelivered = delivery.redelivered;
            let traced = tracer.delivered(message, &vhost.name, cell, tag, redelivered);
            if let Some(traced) = traced
                && !delivery.no_ack
                && self.0.len() < TRACED_DELIVERIES_MAX
            {
                self.0.insert((cell.id, delivery.id), traced);
            }
        }
    }

    /// Tells of settlements.
    #[cold]
    pub(crate) fn settle(
        &mut self,
        tracer: Option<&Arc<Tracer>>,
        cell: &QueueCell,
        ids: &[DeliveryId],
        settlement: Settlement,
    ) {
        let how = match settlement {
            Settlement::Ack => "ack",
            Settlement::DeadLetter { counted: true } => "reject",
            Settlement::DeadLetter { counted: false } => "nack",
            Settlement::Requeue { .. } => "requeue",
        };
        for id in ids {
            if let Some(delivery) = self.0.remove(&(cell.id, *id))
                && let Some(tracer) = tracer
            {
                tracer.settled(delivery, how);
            }
        }
    }
}
