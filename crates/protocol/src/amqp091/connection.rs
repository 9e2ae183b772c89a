//! A connection: the phases of its life, its input loop, and what wakes it.

use std::future::Future;
use std::io::IoSlice;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use node::catalog::Ticket;
use node::connections::{ConnectionId, TlsFacts};
use node::counters::{count, grow};
use node::identities::{Authorizer, LoginFuture, LoginOutcome, Question, Verdict};
use node::mailbox::{Event, Mailbox};
use node::node::Node;
use wire::amqp091::frame::{Frame, FrameKind, decode_frame, encode_heartbeat, encode_method};
use wire::amqp091::method::{ConnectionBlocked, Method};
use wire::amqp091::reply_code::ReplyCode;
use wire::amqp091::table::FieldTable;

use super::fault::{Fault, Scope};
use super::handshake::Handshake;
use super::heartbeat::Heartbeat;
use super::limits::{
    ASKING_INPUT_BYTES_MAX, BATCH_BYTES_MAX, BLOCKED_INPUT_BYTES_MAX, CLOSE_TIMEOUT_MS,
    HANDSHAKE_FRAME_BYTES_MAX, METERED_MESSAGES_MAX, OUTPUT_BYTES_HIGH,
};
use super::methods::{Session, not_a_method};
use super::output::{Output, Promise};
use super::publish::durable;

/// Both ends of a client's socket.
#[derive(Debug, Clone)]
pub struct Peer {
    /// The client's address, as it is shown.
    pub host: String,
    /// The client's port.
    pub port: u16,
    /// Our address.
    pub local_host: String,
    /// Our port.
    pub local_port: u16,
    /// Whether the client is on this machine: `guest` may log in from nowhere else.
    pub loopback: bool,
    /// Who the client proved to be before the conversation began, by its certificate for example. The mechanism
    /// EXTERNAL is offered to such a client, and logs it in under this name.
    pub external_user: Option<String>,
    /// What TLS agreed on; `None` without TLS.
    pub tls: Option<Arc<TlsFacts>>,
}

impl Peer {
    /// `127.0.0.1:50000 -> 127.0.0.1:5672`, the connection's name in RabbitMQ's listings.
    pub fn name(&self) -> String {
        format!(
            "{}:{} -> {}:{}",
            self.host, self.port, self.local_host, self.local_port
        )
    }
}

/// What both sides agreed on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tuned {
    /// Largest frame, 8 bytes of framing included; 0 is no limit.
    pub(crate) frame_bytes_max: u32,
    /// Highest channel number; 0 is no limit.
    pub(crate) channel_max: u16,
    /// Heartbeat interval; 0 is off.
    pub(crate) heartbeat_s: u16,
}

/// What a client said of itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct Client {
    pub(crate) properties: FieldTable,
    pub(crate) mechanism: String,
    pub(crate) understands_blocked: bool,
    pub(crate) understands_cancel: bool,
    pub(crate) understands_auth_failure: bool,
}

/// Where a connection stands.
pub(crate) enum Phase {
    /// Until `connection.open-ok`.
    Handshake(Handshake),
    /// Serving.
    Open(Box<Session>),
    /// We sent `connection.close` and wait for its answer.
    Closing { until_ms: u64 },
    /// The client closed and was answered; what it still sends is thrown away until it closes its socket.
    Lingering { until_ms: u64 },
    /// Nothing is read any more; the driver writes what is left and closes the socket.
    Closed,
}

/// What a method handler works with besides its session: the time and where answers go.
pub(crate) struct Turn<'a> {
    pub(crate) now_ms: u64,
    pub(crate) output: &'a mut Output,
}

impl Turn<'_> {
    /// Says `method` on `channel`.
    pub(crate) fn say(&mut self, channel: u16, method: &Method<'_>) {
        encode_method(self.output.buffer(), channel, method);
    }

    /// Says `method` once `ticket` is on disk.
    pub(crate) fn say_when(&mut self, ticket: Ticket, channel: u16, method: &Method<'_>) {
        if ticket != Ticket::NONE {
            self.output.hold_until(ticket);
        }
        self.say(channel, method);
    }
}

/// What an authority elsewhere said to questions, in their order; after a no the rest is not asked.
pub(crate) type Heard = Vec<(Question, Verdict)>;

/// One AMQP 0-9-1 connection. See the module's picture.
pub struct Connection {
    pub(crate) node: Arc<Node>,
    pub(crate) id: ConnectionId,
    pub(crate) peer: Peer,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) phase: Phase,
    pub(crate) output: Output,
    pub(crate) tuned: Tuned,
    pub(crate) client: Client,
    pub(crate) heartbeat: Heartbeat,
    /// A publish was met while an alarm is on: it and what is behind it wait until the alarm is cleared.
    paused: bool,
    /// Input that was not used because of that.
    waiting_bytes: usize,
    /// `connection.close` is behind the publishes that wait: they are served, and it is answered.
    leaving: bool,
    /// Input was not wanted when we last looked: the client's silence since then proves nothing.
    held_up: bool,
    /// When the socket is given up although something is left to write: set once the conversation is over.
    linger_until_ms: Option<u64>,
    blocked_said: bool,
    /// What wake-ups were asked for last.
    awaited: Promise,
    /// An authority is being asked, for a login or because of a new secret.
    pub(crate) login: Option<LoginFuture>,
    /// What it decided.
    decided: Option<LoginOutcome>,
    /// An authority is being asked what the user may do. What caused that, and all behind it, waits unread.
    asking: Option<Pin<Box<dyn Future<Output = Heard> + Send>>>,
    /// What it said.
    heard: Option<Heard>,
    /// A rate limit is exceeded: nothing is read until then.
    throttled_until_ms: Option<u64>,
}

impl Connection {
    /// A connection that was just accepted and admitted as `id`.
    pub fn new(node: Arc<Node>, id: ConnectionId, peer: Peer, now_ms: u64) -> Self {
        let handshake = Handshake::new(now_ms + node.settings.handshake_timeout_ms);
        Connection {
            node,
            id,
            peer,
            mailbox: Mailbox::new(),
            phase: Phase::Handshake(handshake),
            output: Output::default(),
            tuned: Tuned {
                frame_bytes_max: HANDSHAKE_FRAME_BYTES_MAX,
                channel_max: 0,
                heartbeat_s: 0,
            },
            client: Client::default(),
            heartbeat: Heartbeat::new(now_ms),
            paused: false,
            waiting_bytes: 0,
            leaving: false,
            held_up: false,
            linger_until_ms: None,
            blocked_said: false,
            awaited: Promise::NONE,
            login: None,
            decided: None,
            asking: None,
            heard: None,
            throttled_until_ms: None,
        }
    }

    /// Whether input may be fed now. Not while the client does not read what we have to say, nor while an
    /// alarm holds up its publishes, a little of what is behind them apart: it may say that it leaves.
    pub fn wants_input(&self) -> bool {
        !matches!(self.phase, Phase::Closed)
            && (!self.is_blocked() || self.waiting_bytes < BLOCKED_INPUT_BYTES_MAX)
            && (!self.is_asking() || self.waiting_bytes < ASKING_INPUT_BYTES_MAX)
            && self.output.len() < OUTPUT_BYTES_HIGH
            && self.throttled_until_ms.is_none()
            && !self.is_delaying()
            && !self.waits()
    }

    fn waits(&self) -> bool {
        matches!(&self.phase, Phase::Open(session)
            if session.waits_for_room || session.waits_for_page || session.flow.is_some())
    }

    /// Whether an authority is being asked what the user may do. A little of what comes meanwhile is read, so that the
    /// end of the client is seen, and nothing of it is looked at. Poll [`Connection::poll_wake`] before long.
    pub fn is_asking(&self) -> bool {
        self.asking.is_some()
    }

    /// Asks whether the user may do what a frame or the handshake wants of it.
    pub(crate) fn ask(&mut self, authorizer: &Arc<dyn Authorizer>, questions: Vec<Question>) {
        let authorizer = Arc::clone(authorizer);
        self.asking = Some(Box::pin(async move {
            let mut heard = Vec::with_capacity(questions.len());
            for question in questions {
                let verdict = Arc::clone(&authorizer).decide(question.clone()).await;
                let refused = verdict.is_err();
                heard.push((question, verdict));
                if refused {
                    break;
                }
            }
            heard
        }));
    }

    fn is_delaying(&self) -> bool {
        matches!(&self.phase, Phase::Handshake(handshake) if handshake.is_delaying())
    }

    /// Bytes that are not written yet, held back or not.
    pub fn unsent_bytes(&self) -> usize {
        self.output.len()
    }

    /// Whether the conversation is over: nothing that comes is looked at any more.
    pub fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Lingering { .. } | Phase::Closed)
    }

    /// Whether the conversation is over and all of it is said: the socket may be closed.
    pub fn is_finished(&self) -> bool {
        matches!(self.phase, Phase::Closed) && self.output.is_empty()
    }

    /// What may be written to the socket now, or the first piece of it.
    pub fn writable(&mut self) -> &[u8] {
        self.output.writable(durable(&self.node))
    }

    /// Whether there may be more behind what [`Connection::writable`] tells.
    pub fn writes_in_pieces(&self) -> bool {
        self.output.is_in_pieces()
    }

    /// The pieces of what may be written to the socket now, as many as `pieces` has room for; how many.
    pub fn writable_pieces<'a>(&'a mut self, pieces: &mut [IoSlice<'a>]) -> usize {
        self.output.writable_pieces(durable(&self.node), pieces)
    }

    /// The socket took `count` bytes of what is writable.
    pub fn advance(&mut self, now_ms: u64, count: usize) {
        if count > 0 {
            self.heartbeat.sent(now_ms);
            if let Phase::Open(session) = &self.phase {
                let traffic = &session.entry.traffic;
                grow(&traffic.sent_bytes, count as u64);
                grow(&traffic.sent, 1);
            }
        }
        self.output.advance(count);
        self.note_hold_up(now_ms);
    }

    /// Remembers whether input is wanted. When it is wanted again the client's time to be silent starts anew, for
    /// its heartbeats lay unread.
    fn note_hold_up(&mut self, now_ms: u64) {
        let held_up = !self.wants_input();
        if self.held_up && !held_up {
            self.heartbeat.received(now_ms);
        }
        self.held_up = held_up;
        if matches!(self.phase, Phase::Closed) {
            self.linger_until_ms
                .get_or_insert(now_ms + CLOSE_TIMEOUT_MS);
        }
    }

    /// Ready when the mailbox has something, or an authority has decided: call [`Connection::handle_wake`] then.
    pub fn poll_wake(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Some(login) = &mut self.login
            && let Poll::Ready(decided) = login.as_mut().poll(context)
        {
            self.login = None;
            self.decided = Some(decided);
            return Poll::Ready(());
        }
        if let Some(asking) = &mut self.asking
            && let Poll::Ready(heard) = asking.as_mut().poll(context)
        {
            self.asking = None;
            self.heard = Some(heard);
            return Poll::Ready(());
        }
        self.mailbox.poll_signalled(context)
    }

    /// Takes in what was read. Returns how much of it was used; the rest (a frame that is not whole yet, or
    /// what must wait because [`Connection::wants_input`] turned false) must be fed again, with more behind it.
    pub fn handle_input(&mut self, now_ms: u64, input: &[u8]) -> usize {
        self.heartbeat.received(now_ms);
        if let Phase::Open(session) = &mut self.phase {
            session.note_input(now_ms);
        }
        let mut used = 0;
        while self.wants_input()
            && !self.is_asking()
            && !matches!(self.phase, Phase::Lingering { .. })
        {
            let before = used;
            if let Err(fault) = self.handle_publishes(now_ms, input, &mut used) {
                self.raise(now_ms, &fault);
                continue;
            }
            if before < used {
                // They may have filled what there was room for.
                continue;
            }
            let rest = input.get(used..).unwrap_or_default();
            match self.handle_next(now_ms, rest) {
                Ok(0) => break,
                Ok(count) => {
                    used += count;
                    self.meter_early(now_ms);
                }
                Err(fault) => {
                    self.raise(now_ms, &fault);
                    // What follows a fault is read under the new phase, if at all.
                    used = match self.phase {
                        Phase::Closed => input.len(),
                        _ => used + whole_frame_bytes(rest),
                    };
                }
            }
        }
        if matches!(self.phase, Phase::Lingering { .. }) {
            used = input.len();
        }
        if let Phase::Open(session) = &self.phase {
            let traffic = &session.entry.traffic;
            grow(&traffic.received_bytes, used as u64);
            grow(&traffic.received, 1);
        }
        self.waiting_bytes = input.len().saturating_sub(used);
        self.meter(now_ms);
        self.flush(now_ms);
        self.note_hold_up(now_ms);
        used
    }

    /// Publishes like earlier ones, which need not be looked at frame by frame. Moves `used` behind them.
    fn handle_publishes(
        &mut self,
        now_ms: u64,
        input: &[u8],
        used: &mut usize,
    ) -> Result<(), Fault> {
        let Phase::Open(session) = &mut self.phase else {
            return Ok(());
        };
        if self.node.alarms.any() {
            // Each is held up by itself.
            return Ok(());
        }
        let turn = &mut Turn {
            now_ms,
            output: &mut self.output,
        };
        let rest = input.get(*used..).unwrap_or_default();
        let mut taken = 0;
        let done = session.publish_again(turn, rest, &mut taken);
        *used += taken;
        if session.batch.bytes() > BATCH_BYTES_MAX {
            session.flush(turn);
        }
        done
    }

    /// Handles the next frame (or protocol header) of `input`; how many bytes it took, 0 if it is not whole.
    fn handle_next(&mut self, now_ms: u64, input: &[u8]) -> Result<usize, Fault> {
        if let Phase::Handshake(handshake) = &self.phase
            && handshake.awaits_header()
        {
            return self.handle_protocol_header(now_ms, input);
        }
        let frame_bytes_max = match self.tuned.frame_bytes_max {
            0 => u32::MAX,
            bytes => bytes,
        };
        let Some((frame, bytes)) = decode_frame(input, frame_bytes_max)? else {
            return Ok(0);
        };
        self.paused = self.must_pause(&frame, input);
        if self.paused {
            return Ok(0);
        }
        if !self.flush_before(now_ms, &frame) {
            return Ok(0);
        }
        match self.handle_frame(now_ms, &frame) {
            Err(fault) if fault.is_undecided() => {
                self.ask_for(fault.questions.into());
                return Ok(0);
            }
            handled => handled?,
        }
        self.check_failure()?;
        if matches!(&self.phase, Phase::Open(session) if session.waits_for_page) {
            return Ok(0);
        }
        Ok(bytes)
    }

    /// Asks whether the user may do what the frame at hand wants.
    fn ask_for(&mut self, questions: Vec<Question>) {
        if let Phase::Open(session) = &self.phase
            && let Some(authorizer) = session.user.authorizer().cloned()
        {
            self.ask(&authorizer, questions);
        }
    }

    /// An authority elsewhere has said whether the user may.
    fn handle_heard(&mut self, now_ms: u64, heard: Heard) {
        match &mut self.phase {
            Phase::Open(session) => {
                for (question, verdict) in heard {
                    session.hear(question, verdict);
                }
            }
            Phase::Handshake(_) => self.handle_admission(now_ms, heard),
            _ => {}
        }
    }

    /// Methods other than publishes and acks see the effects of what came before them. `false`: that is not with its
    /// queues yet, and the frame must wait.
    fn flush_before(&mut self, now_ms: u64, frame: &Frame<'_>) -> bool {
        let Phase::Open(session) = &mut self.phase else {
            return true;
        };
        let batched = frame.payload.starts_with(&[0, 60, 0, 40])
            || frame.payload.starts_with(&[0, 60, 0, 80]);
        if frame.kind != FrameKind::Method || batched {
            return true;
        }
        session.flush(&mut Turn {
            now_ms,
            output: &mut self.output,
        })
    }

    /// Ends a session of which something could not be kept.
    fn check_failure(&mut self) -> Result<(), Fault> {
        let Phase::Open(session) = &mut self.phase else {
            return Ok(());
        };
        match session.take_failure() {
            None => Ok(()),
            Some(fault) => {
                // First why, in the words for publishers, and then the end.
                self.say_blocked();
                Err(fault)
            }
        }
    }

    /// A publish while an alarm is on is left where it is. Everything else is served: acks, and closing, which
    /// takes the publishes before it along. `input` begins with the frame.
    fn must_pause(&mut self, frame: &Frame<'_>, input: &[u8]) -> bool {
        if self.leaving || !self.node.alarms.any() || !is_publish(frame) {
            return false;
        }
        let Phase::Open(session) = &mut self.phase else {
            return false;
        };
        if says_close(input) {
            self.leaving = true;
            return false;
        }
        session.publishes = true;
        session.entry.blocked.store(true, Ordering::Relaxed);
        self.say_blocked();
        true
    }

    fn handle_frame(&mut self, now_ms: u64, frame: &Frame<'_>) -> Result<(), Fault> {
        if frame.kind == FrameKind::Heartbeat {
            if frame.channel != 0 {
                let text = "unexpected heartbeat frame on a channel other than 0";
                return Err(Fault::connection(ReplyCode::UnexpectedFrame, text));
            }
            if !frame.payload.is_empty() {
                let text = "heartbeat frame with a payload";
                return Err(Fault::connection(ReplyCode::FrameError, text));
            }
            return Ok(());
        }
        match &mut self.phase {
            Phase::Open(session) => {
                let turn = &mut Turn {
                    now_ms,
                    output: &mut self.output,
                };
                if frame.channel == 0 {
                    if frame.kind != FrameKind::Method {
                        return Err(not_a_method());
                    }
                    let method = Method::decode(frame.payload)?;
                    return self.handle_connection_method(now_ms, method);
                }
                session.handle_frame(turn, frame)
            }
            Phase::Handshake(_) => self.handle_handshake_frame(now_ms, frame),
            Phase::Closing { .. } => {
                self.handle_closing_frame(frame);
                Ok(())
            }
            Phase::Lingering { .. } | Phase::Closed => Ok(()),
        }
    }

    /// Counts what was published against the rate limits: over one of them, nothing is read for a while.
    fn meter(&mut self, now_ms: u64) {
        let Phase::Open(session) = &mut self.phase else {
            return;
        };
        let (messages, bytes) = std::mem::take(&mut session.metered);
        let charged = session
            .meters
            .iter()
            .map(|meter| meter.charge(now_ms, messages, bytes));
        let wait_ms = charged.max().unwrap_or(0);
        if 0 < wait_ms && !self.leaving {
            self.throttled_until_ms = Some(now_ms + wait_ms);
        }
    }

    /// A read may hold a thousand times what the limits allow: whoever has any is looked at more often.
    fn meter_early(&mut self, now_ms: u64) {
        if let Phase::Open(session) = &self.phase
            && !session.meters.is_empty()
            && METERED_MESSAGES_MAX <= session.metered.0
        {
            self.meter(now_ms);
        }
    }

    /// Gives the batch to the queues.
    fn flush(&mut self, now_ms: u64) {
        if let Phase::Open(session) = &mut self.phase {
            session.flush(&mut Turn {
                now_ms,
                output: &mut self.output,
            });
            session.publish_counts();
        }
        if let Err(fault) = self.check_failure() {
            self.raise(now_ms, &fault);
        }
        self.await_durable(now_ms);
    }

    /// Says the confirms that need not wait any more, and asks for a wake-up when others do or output is held back: one
    /// for each commit of catalog or log.
    fn await_durable(&mut self, now_ms: u64) {
        let unconfirmed = match &self.phase {
            Phase::Open(session) => !session.unconfirmed.is_empty(),
            _ => false,
        };
        if !unconfirmed && !self.output.has_barriers() {
            return;
        }
        // Looked at once: what is not durable yet by this is waited for, and all else is said. Between two looks it
        // might become durable, and then nobody would say it.
        let durable = durable(&self.node);
        let mut unconfirmed = None;
        if let Phase::Open(session) = &mut self.phase {
            let turn = &mut Turn {
                now_ms,
                output: &mut self.output,
            };
            session.answer_confirms(turn, durable);
            unconfirmed = session.unconfirmed.front().map(|first| first.promise);
        }
        let wanted = [self.output.awaited(durable), unconfirmed];
        let promises = wanted.iter().flatten();
        let tickets = promises.clone().map(|promise| promise.ticket);
        let ticket = tickets.filter(|ticket| *ticket > durable.ticket).min();
        let positions = promises.map(|promise| promise.position);
        let position = positions
            .filter(|position| *position > durable.position)
            .min();
        if let Some(ticket) = ticket.filter(|ticket| *ticket != self.awaited.ticket) {
            self.awaited.ticket = ticket;
            let mailbox = Arc::clone(&self.mailbox);
            let wake = Arc::new(move || mailbox.wake());
            self.node.catalog.wake_when_durable(ticket, wake);
        }
        if let Some(log) = &self.node.log
            && let Some(position) = position.filter(|p| *p != self.awaited.position)
        {
            self.awaited.position = position;
            let mailbox = Arc::clone(&self.mailbox);
            log.wake_when_durable(position, Arc::new(move || mailbox.wake()));
        }
    }

    /// The mailbox has something, or output was held back and may go now.
    pub fn handle_wake(&mut self, now_ms: u64) {
        if let Some(decided) = self.decided.take() {
            self.handle_login(now_ms, decided);
        }
        if let Some(heard) = self.heard.take() {
            self.handle_heard(now_ms, heard);
        }
        for event in self.mailbox.take_events() {
            self.handle_event(now_ms, event);
        }
        if let Phase::Open(session) = &mut self.phase {
            let turn = &mut Turn {
                now_ms,
                output: &mut self.output,
            };
            session.waits_for_page = false;
            session.handle_flow(now_ms);
            if session.waits_for_room {
                session.handle_room(turn);
            }
            // Before the connection ends, if the log has failed.
            session.answer_confirms(turn, durable(&self.node));
        }
        if let Err(fault) = self.check_failure() {
            self.raise(now_ms, &fault);
        }
        if let Some(text) = self.broken_promise() {
            // What was promised after the barrier will not come true. Say so instead of it.
            self.output.drop_held();
            if matches!(self.phase, Phase::Lingering { .. } | Phase::Closed) {
                // The client closed meanwhile: it is told that, and not what will never be.
                encode_method(self.output.buffer(), 0, &Method::ConnectionCloseOk);
            }
            self.raise(now_ms, &Fault::connection(ReplyCode::InternalError, text));
        }
        self.deliver(now_ms);
        self.await_durable(now_ms);
        self.note_hold_up(now_ms);
    }

    /// Why output that is held back will never go, if so.
    fn broken_promise(&mut self) -> Option<String> {
        let durable = durable(&self.node);
        let awaited = self.output.awaited(durable)?;
        if awaited.ticket > durable.ticket
            && let Some(failure) = self.node.catalog.failure()
        {
            return Some(format!("the catalog cannot be written: {failure}"));
        }
        let failure = self.node.log.as_ref()?.failure()?;
        (awaited.position > durable.position)
            .then(|| format!("the message log cannot be written: {failure}"))
    }

    /// Encodes deliveries while there is room for them. Call after the socket took some output, too.
    pub fn deliver(&mut self, now_ms: u64) {
        if let Phase::Open(session) = &mut self.phase {
            session.deliver(&mut Turn {
                now_ms,
                output: &mut self.output,
            });
        }
    }

    fn handle_event(&mut self, now_ms: u64, event: Event) {
        match event {
            Event::Close { code, text } => {
                if !matches!(
                    self.phase,
                    Phase::Closing { .. } | Phase::Lingering { .. } | Phase::Closed
                ) {
                    self.close_with(now_ms, code, &text, (0, 0));
                }
            }
            Event::AlarmsChanged => self.handle_alarms(),
            event => {
                let Phase::Open(session) = &mut self.phase else {
                    return;
                };
                let turn = &mut Turn {
                    now_ms,
                    output: &mut self.output,
                };
                session.handle_consumer_event(turn, event, self.client.understands_cancel);
            }
        }
    }

    fn handle_alarms(&mut self) {
        let Phase::Open(session) = &self.phase else {
            return;
        };
        let publishes = session.publishes;
        if self.node.alarms.any() {
            if publishes {
                self.say_blocked();
            }
            return;
        }
        session.entry.blocked.store(false, Ordering::Relaxed);
        self.paused = false;
        if std::mem::take(&mut self.blocked_said) {
            encode_method(self.output.buffer(), 0, &Method::ConnectionUnblocked);
        }
    }

    fn say_blocked(&mut self) {
        if self.client.understands_blocked
            && !self.blocked_said
            && let Some(reason) = self.node.alarms.reason()
        {
            self.blocked_said = true;
            let blocked = Method::ConnectionBlocked(ConnectionBlocked { reason });
            encode_method(self.output.buffer(), 0, &blocked);
        }
    }

    /// The time of the next thing this connection does by itself.
    pub fn poll_timeout(&self) -> Option<u64> {
        match &self.phase {
            Phase::Handshake(handshake) => Some(handshake.timeout_ms()),
            Phase::Open(session) => {
                let heartbeat = self.heartbeat.next_ms(!self.wants_input());
                let expiry = session.user.expires_at_ms();
                // Whichever comes first; none is later than any.
                let flow = session.flow.as_ref().map(|(_, until_ms)| *until_ms);
                [heartbeat, expiry, self.throttled_until_ms, flow]
                    .into_iter()
                    .flatten()
                    .min()
            }
            Phase::Closing { until_ms } | Phase::Lingering { until_ms } => Some(*until_ms),
            Phase::Closed => self.linger_until_ms.filter(|_| !self.output.is_empty()),
        }
    }

    /// [`Connection::poll_timeout`] has come.
    pub fn handle_timeout(&mut self, now_ms: u64) {
        if self
            .throttled_until_ms
            .is_some_and(|until_ms| until_ms <= now_ms)
        {
            self.throttled_until_ms = None;
        }
        if let Phase::Open(session) = &mut self.phase {
            session.handle_flow(now_ms);
        }
        self.note_hold_up(now_ms);
        match &self.phase {
            Phase::Handshake(handshake) if handshake.timeout_ms() <= now_ms => {
                self.handle_handshake_timeout(now_ms);
            }
            Phase::Closing { until_ms } | Phase::Lingering { until_ms } if *until_ms <= now_ms => {
                self.hang_up(now_ms);
            }
            Phase::Closed
                if self
                    .linger_until_ms
                    .is_some_and(|until_ms| until_ms <= now_ms) =>
            {
                self.hang_up(now_ms);
            }
            Phase::Open(session)
                if session
                    .user
                    .expires_at_ms()
                    .is_some_and(|expiry_ms| expiry_ms <= now_ms) =>
            {
                let user = Arc::clone(session.user.name());
                tracing::warn!(connection = %self.peer.name(), %user, "closing: credential has expired");
                let text = "CONNECTION_FORCED - credential expired";
                self.close_with(now_ms, ReplyCode::ConnectionForced.code(), text, (0, 0));
            }
            Phase::Open(_) => {
                if self.heartbeat.is_dead(now_ms) && !self.held_up {
                    tracing::warn!(
                        connection = %self.peer.name(),
                        "closing: missed heartbeats from client, timeout: {}s",
                        self.tuned.heartbeat_s
                    );
                    self.hang_up(now_ms);
                } else if self.heartbeat.must_send(now_ms) {
                    self.heartbeat.sent(now_ms);
                    if self.output.is_empty() {
                        encode_heartbeat(self.output.buffer());
                    }
                }
            }
            _ => {}
        }
    }

    /// The socket is gone: everything this connection held is given back.
    pub fn hang_up(&mut self, now_ms: u64) {
        self.end_session(now_ms);
        self.output = Output::default();
        self.phase = Phase::Closed;
    }

    /// Gives back what the session held: unacked messages, consumers, exclusive queues, reply addresses.
    pub(crate) fn end_session(&mut self, now_ms: u64) {
        // Nobody waits for these answers any more.
        (self.login, self.asking) = (None, None);
        if let Phase::Open(session) = &mut self.phase {
            session.end(&mut Turn {
                now_ms,
                output: &mut self.output,
            });
            let events = &self.node.events;
            events.tell_connection("connection_closed", &session.entry);
            self.phase = Phase::Closed;
            count(&self.node.churn.connections_closed);
            self.node.connections.ended(self.id);
        }
    }

    /// Answers a broken rule.
    pub(crate) fn raise(&mut self, now_ms: u64, fault: &Fault) {
        match (fault.scope, &mut self.phase) {
            (Scope::Channel, Phase::Open(session)) => {
                let turn = &mut Turn {
                    now_ms,
                    output: &mut self.output,
                };
                session.close_channel(turn, session.current_channel, fault);
            }
            (_, Phase::Closing { .. } | Phase::Lingering { .. } | Phase::Closed) => {}
            (Scope::Undecided, _) => {
                // Whoever is told this asks. It must not be lost, for then a client would do what it may not.
                debug_assert!(false, "an undecided fault was raised");
                let text = "a permission could not be decided";
                self.raise(now_ms, &Fault::connection(ReplyCode::InternalError, text));
            }
            _ => {
                tracing::warn!(connection = %self.peer.name(), "closing: {}", fault.reply_text());
                self.close_with(now_ms, fault.code.code(), &fault.reply_text(), fault.method);
            }
        }
    }

    /// Whether an alarm holds up what the client sends. Not while we close: what it published before its answer
    /// is thrown away, so that nothing keeps the answer from being read.
    pub fn is_blocked(&self) -> bool {
        self.paused && matches!(self.phase, Phase::Open(_))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The time only dates what is requeued; the last time this connection saw is near enough.
        let now_ms = self.heartbeat.last_ms();
        self.end_session(now_ms);
        self.node.connections.leave(self.id);
    }
}

/// Whether a frame carries `basic.publish`.
fn is_publish(frame: &Frame<'_>) -> bool {
    frame.kind == FrameKind::Method && frame.payload.starts_with(&[0, 60, 0, 40])
}

/// Whether a `connection.close` is among the whole frames of `input`.
fn says_close(mut input: &[u8]) -> bool {
    while let Ok(Some((frame, bytes))) = decode_frame(input, u32::MAX) {
        if frame.channel == 0 && frame.payload.starts_with(&[0, 10, 0, 50]) {
            return true;
        }
        input = input.get(bytes..).unwrap_or_default();
    }
    false
}

/// The bytes of the whole frame that `input` begins with, or all of it: what a fault skips.
fn whole_frame_bytes(input: &[u8]) -> usize {
    match decode_frame(input, u32::MAX) {
        Ok(Some((_, bytes))) => bytes,
        _ => input.len(),
    }
}
