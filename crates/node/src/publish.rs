//! Publishing for somebody who is no connection: the HTTP API, the broker itself.

use std::sync::Arc;

use broker::message::{LogPosition, Message};
use broker::queue::Incoming;
use broker::router::{Routable, RouteError, RouteScratch};

use crate::counters::SizeRun;
use crate::message_log::{Refused, Taker};
use crate::queue_cell::QueueCell;
use crate::vhost::{Vhost, properties_of};

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// Whether any queue was found for it.
    pub routed: bool,
    /// Whether a full queue refused it.
    pub rejected: bool,
    /// Where it is in the log, if a queue keeps it there: it is safe once that is durable.
    pub position: LogPosition,
}

/// Why a message was not published.
#[derive(Debug)]
pub enum PublishRefusal {
    /// It has no route.
    Route(RouteError),
    /// The log has no room now.
    Behind,
    /// The log takes nothing any more.
    Failed,
}

impl Vhost {
    /// Publishes one message to its exchange. What the user may do was checked by the caller.
    ///
    /// # Errors
    /// If there is no such exchange, a `CC` or `BCC` header is no list, or the log does not take it.
    pub fn publish(&self, now_ms: u64, message: &Message) -> Result<Published, PublishRefusal> {
        let mut scratch = RouteScratch::with_seed(crate::names::seed());
        let mut cells = Vec::new();
        let routable = Routable {
            exchange: message.exchange(),
            routing_key: message.routing_key(),
            properties: properties_of(message),
            sender_selects: true,
        };
        self.route(&routable, &mut scratch, &mut cells)
            .map_err(PublishRefusal::Route)?;
        if !scratch.history.is_empty() {
            let history = std::mem::take(&mut scratch.history);
            self.record_history(&history, message);
        }
        let routed: u64 = cells.len() as u64;
        let mut size = SizeRun::default();
        size.add(message.body_bytes() as u64, self.passed());
        size.show(self.passed());
        let counters = self.exchange_counters(message.exchange());
        crate::counters::count(&counters.publish_in);
        counters
            .publish_out
            .fetch_add(routed, std::sync::atomic::Ordering::Relaxed);
        let Some((tracer, trace)) = self.tracer().and_then(|tracer| {
            let trace = tracer.begin(tracer.draw(), message)?;
            Some((tracer, trace))
        }) else {
            return self.publish_to(now_ms, &cells, message);
        };
        let mut message = message.clone();
        message.set_trace_mark(trace.mark());
        let start_ns = tracer.now_ns();
        let published = self.publish_to(now_ms, &cells, &message)?;
        // Which of several refused is not told here: then all of them did.
        let queues: Vec<_> = cells
            .iter()
            .map(|cell| (&**cell, published.rejected))
            .collect();
        let times_ns = (start_ns, start_ns);
        tracer.published(&trace, &self.name, &message, times_ns, &queues);
        Ok(published)
    }

    /// Gives one message to these queues, past all exchanges.
    ///
    /// # Errors
    /// If the log does not take it.
    pub fn publish_to(
        &self,
        now_ms: u64,
        cells: &[Arc<QueueCell>],
        message: &Message,
    ) -> Result<Published, PublishRefusal> {
        let keeps = |cell: &&Arc<QueueCell>| message.persistent() && cell.survives();
        let taker = |cell: &Arc<QueueCell>| Taker {
            queue: cell.id,
            expires_at_ms: QueueCell::expires_at_ms(cell.options().message_ttl_ms, now_ms, message),
            delivery_count: 0,
        };
        let takers: Vec<Taker> = cells.iter().filter(keeps).map(taker).collect();
        let mut position = LogPosition::NONE;
        let mut in_flight = None;
        if let Some(log) = self.message_log().filter(|_| !takers.is_empty()) {
            let mut appending = log.begin();
            let pushed = appending.push(message, takers);
            in_flight = Some(appending.end());
            position = pushed.map_err(|refused| match refused {
                Refused::Behind => PublishRefusal::Behind,
                Refused::Failed => PublishRefusal::Failed,
            })?;
        }
        let mut rejected = Vec::new();
        for cell in cells {
            let kept = position.is_some() && keeps(&cell);
            let mut incoming = Incoming::new(message.clone(), LogPosition::NONE);
            if kept {
                let options = cell.options();
                incoming.position = position;
                incoming.expires_at_ms = Some(QueueCell::expires_at_ms(
                    options.message_ttl_ms,
                    now_ms,
                    message,
                ));
            }
            let aftermath = cell.publish(now_ms, &mut vec![incoming], &mut rejected);
            self.conclude(now_ms, cell, aftermath);
        }
        drop(in_flight);
        Ok(Published {
            routed: !cells.is_empty(),
            rejected: !rejected.is_empty(),
            position,
        })
    }
}
