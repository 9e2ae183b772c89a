//! Spans: what became of single messages, for OpenTelemetry.
//!
//! ```text
//! publisher's span ◄─ publish ◄┬ route
//!                              └ enqueue, one a queue ◄┬ deliver ◄ ack
//!                                                      └ dead-letter ◄ enqueue, one a queue ◄ ...
//! ```
//! Whether a message is traced is decided once, when it is published: its publisher's `traceparent` says so, or chance
//! does. A traced one carries a [`TraceMark`], from which what happens to it later finds its parent's name: span ids are
//! worked out from the mark, the stage and the place, so that nothing has to be remembered. A message that came back
//! from the log has lost its mark, and is then a child of its publisher's span, as its headers say.
//!
//! Spans wait in a queue with a limit. What does not fit is dropped and counted: no message ever waits for its spans.
//! Deliberately absent: sending them (the `server` crate), and a clock of its own.

mod id;
mod sampling;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use broker::message::{Message, TraceMark};
use broker::queue::DeadReason;
use metadata::topology::Name;
use parking_lot::Mutex;
use tokio::sync::Notify;
use wire::amqp091::properties::Properties;
use wire::amqp091::table::Value;
use wire::trace_context::{TraceContext, tracestate};

use crate::queue_cell::QueueCell;
use id::Key;
use sampling::Sampler;
pub use sampling::Sampling;

/// Spans that are sent together: as many wake the sender at once.
pub const BATCH_SPANS: usize = 512;

/// Names a span within its trace.
pub type SpanId = [u8; 8];

/// What is traced, and how much of it is kept for the sender.
#[derive(Debug, Clone, PartialEq)]
pub struct SpanSettings {
    /// Which messages.
    pub sampling: Sampling,
    /// Spans that may wait for the sender.
    pub queue_spans_max: usize,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// A publish came.
    Publish,
    /// Its queues were found; so many.
    Route(usize),
    /// A queue took it, or refused it.
    Enqueue {
        /// The queue is full and refuses.
        refused: bool,
    },
    /// It was given to a consumer, or to a `basic.get`.
    Deliver {
        /// The channel's number for it.
        delivery_tag: u64,
        /// It may have been delivered before.
        redelivered: bool,
    },
    /// Its consumer answered: `ack`, `nack`, `requeue`.
    Settle(&'static str),
    /// It left its queue for the dead-letter exchange.
    DeadLetter(DeadReason),
}

/// Something that happened to a message, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Names the trace.
    pub trace_id: [u8; 16],
    /// Names the span.
    pub id: SpanId,
    /// What it follows from; `None`: nothing, the trace begins here.
    pub parent: Option<SpanId>,
    /// The parent is a client's.
    pub remote_parent: bool,
    /// The publisher's `tracestate`; empty if there is none.
    pub tracestate: Box<str>,
    /// What happened.
    pub stage: Stage,
    /// From when on, in nanoseconds since 1970.
    pub start_ns: u64,
    /// Until when.
    pub end_ns: u64,
    /// In which vhost.
    pub vhost: Name,
    /// The exchange that it was published to.
    pub exchange: Box<str>,
    /// With which routing key.
    pub routing_key: Box<str>,
    /// The queue, where there is one.
    pub queue: Option<Name>,
    /// Its publisher's name for it.
    pub message_id: Option<Box<str>>,
    /// What it belongs to.
    pub correlation_id: Option<Box<str>>,
    /// Bytes of its body.
    pub body_bytes: usize,
}

/// The trace of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    trace_id: [u8; 16],
    /// The publisher's span.
    remote: Option<SpanId>,
    tracestate: Box<str>,
    mark: TraceMark,
}

/// A delivery whose settlement will be told.
#[derive(Debug, Clone)]
pub struct TracedDelivery {
    /// The span of the delivery; its settlement's is made of it.
    span: Span,
}

/// How many spans went which way since the start.
#[derive(Debug, Default)]
pub struct SpanCounters {
    /// Made.
    pub recorded: AtomicU64,
    /// Dropped, because too many waited.
    pub dropped: AtomicU64,
    /// Given to the collector.
    pub exported: AtomicU64,
    /// Given up, because the collector did not take them.
    pub failed: AtomicU64,
}

/// Decides what is traced, and keeps spans until they are sent.
pub struct Tracer {
    settings: SpanSettings,
    sampler: Sampler,
    key: Key,
    last_mark: AtomicU32,
    /// Counts what has no mark to be named by, and draws.
    numbers: AtomicU64,
    waiting: Mutex<VecDeque<Span>>,
    wake: Notify,
    now_ns: Box<dyn Fn() -> u64 + Send + Sync>,
    /// What came of the spans.
    pub counters: SpanCounters,
}

impl std::fmt::Debug for Tracer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tracer")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl Tracer {
    /// A tracer whose names come of `seed`, which no other has had, and that reads the time, in nanoseconds since 1970,
    /// from `now_ns`.
    pub fn new(
        settings: SpanSettings,
        seed: u64,
        now_ns: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Arc<Tracer> {
        Arc::new(Tracer {
            sampler: Sampler::new(settings.sampling),
            settings,
            key: Key::new(seed),
            last_mark: AtomicU32::new(0),
            numbers: AtomicU64::new(0),
            waiting: Mutex::default(),
            wake: Notify::new(),
            now_ns: Box::new(now_ns),
            counters: SpanCounters::default(),
        })
    }

    /// The time now, in nanoseconds since 1970.
    pub fn now_ns(&self) -> u64 {
        (self.now_ns)()
    }

    /// Something that no other batch draws from: for [`Tracer::begin`].
    pub fn draw(&self) -> u64 {
        self.key.draw(self.number())
    }

    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// The trace of a message that was just published, if it is to be traced; it has to be marked then with
    /// [`Trace::mark`]. Asked again of the same message with the same `draw`, it answers the same, but for what a
    /// second may have.
    pub fn begin(&self, draw: u64, message: &Message) -> Option<Trace> {
        let said = Said::by(message);
        let draw = self.key.draw(draw ^ message.body().as_ptr() as u64);
        let parent = said.as_ref().map(|said| said.context);
        if !self.sampler.wants(parent, draw) || !self.sampler.admits(self.now_ns()) {
            return None;
        }
        let mark = loop {
            let last = self.last_mark.fetch_add(1, Ordering::Relaxed);
            let mark = TraceMark(last.wrapping_add(1));
            if mark.is_known() {
                break mark;
            }
        };
        Some(self.trace(said, mark))
    }

    fn trace(&self, said: Option<Said>, mark: TraceMark) -> Trace {
        match said {
            Some(said) => Trace {
                trace_id: said.context.trace_id,
                remote: Some(said.context.parent_id),
                tracestate: said.tracestate,
                mark,
            },
            None => Trace {
                trace_id: self.key.trace_id(mark),
                remote: None,
                tracestate: Box::default(),
                mark,
            },
        }
    }

    /// The trace of a message that was published before, if it is traced.
    pub fn find(&self, message: &Message) -> Option<Trace> {
        match message.trace_mark() {
            TraceMark::NONE => None,
            TraceMark::UNKNOWN => {
                let said = Said::by(message)?;
                let wanted = self.sampler.wants(Some(said.context), u64::MAX)
                    && self.sampler.admits(self.now_ns());
                wanted.then(|| self.trace(Some(said), TraceMark::UNKNOWN))
            }
            mark => Some(self.trace(Said::by(message), mark)),
        }
    }

    /// A span's name. Of a marked message it is the same whenever it is asked for.
    fn id(&self, trace: &Trace, place: Place, message: &Message) -> SpanId {
        match trace.mark.is_known() {
            true => self.key.span_id(trace.mark, place, message.properties()),
            false => self.key.number_id(self.number()),
        }
    }

    /// What a message in a queue follows from, and whether that is the publisher's span.
    fn enqueued(
        &self,
        trace: &Trace,
        queue: &QueueCell,
        message: &Message,
    ) -> (Option<SpanId>, bool) {
        match trace.mark.is_known() {
            true => (
                Some(self.id(trace, Place::Enqueue(queue.id), message)),
                false,
            ),
            false => (trace.remote, true),
        }
    }

    /// A publish is with its queues, of which some may have refused it. `routed_ns` is when they were known.
    pub fn published(
        &self,
        trace: &Trace,
        vhost: &Name,
        message: &Message,
        (start_ns, routed_ns): (u64, u64),
        queues: &[(&QueueCell, bool)],
    ) {
        let end_ns = self.now_ns().max(routed_ns);
        let publish = Span {
            id: self.id(trace, Place::Publish, message),
            parent: trace.remote,
            remote_parent: trace.remote.is_some(),
            ..span(trace, Stage::Publish, (start_ns, end_ns), vhost, message)
        };
        let parent = Some(publish.id);
        self.record(publish);
        self.record(Span {
            id: self.id(trace, Place::Route, message),
            parent,
            ..span(
                trace,
                Stage::Route(queues.len()),
                (start_ns, routed_ns),
                vhost,
                message,
            )
        });
        for (queue, refused) in queues {
            self.entered(trace, queue, message, *refused, (routed_ns, end_ns), parent);
        }
    }

    fn entered(
        &self,
        trace: &Trace,
        queue: &QueueCell,
        message: &Message,
        refused: bool,
        times_ns: (u64, u64),
        parent: Option<SpanId>,
    ) {
        let Some(vhost) = queue.vhost.upgrade() else {
            return;
        };
        self.record(Span {
            id: self.id(trace, Place::Enqueue(queue.id), message),
            parent,
            queue: Some(Name::clone(&queue.spec.name)),
            ..span(
                trace,
                Stage::Enqueue { refused },
                times_ns,
                &vhost.name,
                message,
            )
        });
    }

    /// A message was given to a consumer of `queue`.
    pub fn delivered(
        &self,
        message: &Message,
        vhost: &Name,
        queue: &QueueCell,
        delivery_tag: u64,
        redelivered: bool,
    ) -> Option<TracedDelivery> {
        let trace = self.find(message)?;
        let now_ns = self.now_ns();
        let (parent, remote_parent) = self.enqueued(&trace, queue, message);
        let stage = Stage::Deliver {
            delivery_tag,
            redelivered,
        };
        let span = Span {
            id: self.key.number_id(self.number()),
            parent,
            remote_parent,
            queue: Some(Name::clone(&queue.spec.name)),
            ..span(&trace, stage, (now_ns, now_ns), vhost, message)
        };
        self.record(span.clone());
        Some(TracedDelivery { span })
    }

    /// A delivery was answered.
    pub fn settled(&self, delivery: TracedDelivery, how: &'static str) {
        let now_ns = self.now_ns();
        let TracedDelivery { span } = delivery;
        self.record(Span {
            id: self.key.number_id(self.number()),
            parent: Some(span.id),
            remote_parent: false,
            stage: Stage::Settle(how),
            start_ns: now_ns,
            end_ns: now_ns,
            ..span
        });
    }

    /// A message died in `queue`, and `letter` of it was given to these queues since `start_ns`.
    pub fn died(
        &self,
        message: &Message,
        reason: DeadReason,
        queue: &QueueCell,
        start_ns: u64,
        letter: Option<(&Message, &[Arc<QueueCell>])>,
    ) {
        let (Some(trace), Some(vhost)) = (self.find(message), queue.vhost.upgrade()) else {
            return;
        };
        let end_ns = self.now_ns().max(start_ns);
        let (parent, remote_parent) = self.enqueued(&trace, queue, message);
        let name = &vhost.name;
        let died = Span {
            id: self.key.number_id(self.number()),
            parent,
            remote_parent,
            queue: Some(Name::clone(&queue.spec.name)),
            ..span(
                &trace,
                Stage::DeadLetter(reason),
                (start_ns, end_ns),
                name,
                message,
            )
        };
        let parent = Some(died.id);
        self.record(died);
        if let Some((letter, targets)) = letter {
            for target in targets {
                self.entered(&trace, target, letter, false, (start_ns, end_ns), parent);
            }
        }
    }

    fn record(&self, span: Span) {
        crate::counters::count(&self.counters.recorded);
        let mut waiting = self.waiting.lock();
        if self.settings.queue_spans_max <= waiting.len() {
            drop(waiting);
            crate::counters::count(&self.counters.dropped);
            return;
        }
        waiting.push_back(span);
        if waiting.len() == BATCH_SPANS {
            self.wake.notify_one();
        }
    }

    /// Takes the oldest spans that wait, [`BATCH_SPANS`] at most.
    pub fn take(&self) -> Vec<Span> {
        let mut waiting = self.waiting.lock();
        let count = waiting.len().min(BATCH_SPANS);
        waiting.drain(..count).collect()
    }

    /// How many spans wait.
    pub fn waiting_len(&self) -> usize {
        self.waiting.lock().len()
    }

    /// Ready once a whole batch waits.
    pub async fn batch(&self) {
        self.wake.notified().await;
    }
}

impl Trace {
    /// What its message is to be marked with.
    pub fn mark(&self) -> TraceMark {
        self.mark
    }
}

/// A place in the way of a message that has a name of its own.
#[derive(Debug, Clone, Copy)]
enum Place {
    Publish,
    Route,
    Enqueue(broker::router::QueueId),
}

/// What a publisher said of the trace that its message belongs to.
struct Said {
    context: TraceContext,
    tracestate: Box<str>,
}

impl Said {
    fn by(message: &Message) -> Option<Said> {
        if !message.has_headers() {
            return None;
        }
        let headers = Properties::validate(message.properties()).ok()?.headers()?;
        let text = |key: &str| match headers.find(key)? {
            Value::LongStr(bytes) | Value::Bytes(bytes) => Some(bytes),
            _ => None,
        };
        let context = TraceContext::parse(text("traceparent")?)?;
        let tracestate = text("tracestate").and_then(tracestate).unwrap_or_default();
        Some(Said {
            context,
            tracestate: tracestate.into(),
        })
    }
}

/// A span without its name and its parent.
fn span(
    trace: &Trace,
    stage: Stage,
    (start_ns, end_ns): (u64, u64),
    vhost: &Name,
    message: &Message,
) -> Span {
    let properties = Properties::validate(message.properties()).ok();
    let properties = properties.as_ref();
    Span {
        trace_id: trace.trace_id,
        id: SpanId::default(),
        parent: None,
        remote_parent: false,
        tracestate: trace.tracestate.clone(),
        stage,
        start_ns,
        end_ns,
        vhost: Name::clone(vhost),
        exchange: message.exchange().into(),
        routing_key: message.routing_key().into(),
        queue: None,
        message_id: properties.and_then(|p| p.message_id()).map(Box::from),
        correlation_id: properties.and_then(|p| p.correlation_id()).map(Box::from),
        body_bytes: message.body().len(),
    }
}
