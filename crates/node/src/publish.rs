//! Publishing for somebody who is no connection: the HTTP API, the broker itself.

use broker::message::{LogPosition, Message};
use broker::queue::Incoming;
use broker::router::{Routable, RouteError, RouteScratch};

use crate::vhost::{Vhost, properties_of};

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Whether any queue was found for it.
    pub routed: bool,
    /// Whether a full queue refused it.
    pub rejected: bool,
}

impl Vhost {
    /// Publishes one message to its exchange. What the user may do was checked by the caller.
    ///
    /// # Errors
    /// If there is no such exchange, or a `CC` or `BCC` header is no list.
    pub fn publish(&self, now_ms: u64, message: &Message) -> Result<Published, RouteError> {
        let mut scratch = RouteScratch::with_seed(crate::names::seed());
        let mut cells = Vec::new();
        let routable = Routable {
            exchange: message.exchange(),
            routing_key: message.routing_key(),
            properties: properties_of(message),
            sender_selects: true,
        };
        self.route(&routable, &mut scratch, &mut cells)?;
        if !scratch.history.is_empty() {
            let history = std::mem::take(&mut scratch.history);
            self.record_history(&history, message);
        }
        let mut rejected = Vec::new();
        for cell in &cells {
            let mut batch = vec![Incoming::new(message.clone(), LogPosition::NONE)];
            let aftermath = cell.publish(now_ms, &mut batch, &mut rejected);
            self.conclude(now_ms, cell, aftermath);
        }
        Ok(Published {
            routed: !cells.is_empty(),
            rejected: !rejected.is_empty(),
        })
    }
}
