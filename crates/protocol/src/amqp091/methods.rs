//! An open connection's session: its channels and what they share, and which method goes where.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use broker::message::LogPosition;
use broker::queue::{ConsumerId, Delivery};
use hashbrown::HashMap;
use metadata::topology::Name;
use node::connections::ConnectionEntry;
use node::counters::count;
use node::identities::{AuthenticatedUser, Question, Verdict};
use node::node::Node;
use node::queue_cell::QueueCell;
use node::rates::Meter;
use node::vhost::Vhost;
use wire::amqp091::frame::{Frame, FrameKind};
use wire::amqp091::method::{AccessRequestOk, ChannelClose, ChannelFlowOk, Method};
use wire::amqp091::reply_code::ReplyCode;

use super::answers::{Allowed, Answers};
use super::channel::{Channel, Channels, Mode};
use super::confirms::Confirms;
use super::connection::{Tuned, Turn};
use super::consume::Consumer;
use super::fault::{Fault, Scope};
use super::publish::{PublishBatch, Unconfirmed};
use super::publish_again::Templates;
use super::settle::Settlements;
use super::traced_deliveries::TracedDeliveries;
use super::transactions::Transaction;

/// See the module.
pub(crate) struct Session {
    pub(crate) node: Arc<Node>,
    pub(crate) tuned: Tuned,
    pub(crate) user: AuthenticatedUser,
    pub(crate) vhost: Arc<Vhost>,
    pub(crate) entry: Arc<ConnectionEntry>,
    pub(crate) channels: Channels,
    pub(crate) consumers: HashMap<ConsumerId, Consumer>,
    pub(crate) batch: PublishBatch,
    /// Publishes that were accepted, to recognise the next one like them.
    pub(crate) templates: Templates,
    pub(crate) settlements: Settlements,
    /// Of traced messages.
    pub(crate) traced_deliveries: TracedDeliveries,
    /// Deliveries taken from the mailbox; those before `arrivals_next` are encoded.
    pub(crate) arrivals: Vec<Delivery>,
    pub(crate) arrivals_next: usize,
    /// The channel whose frame is being handled: a channel's fault closes it.
    pub(crate) current_channel: u16,
    /// What an authority elsewhere said.
    pub(crate) answers: Answers,
    /// The name of a queue that is being declared while such an authority is asked for it.
    pub(crate) server_named: Option<Name>,
    /// The client has published: only then is it told of alarms.
    pub(crate) publishes: bool,
    pub(crate) owns_queues: bool,
    /// Channels with confirms to say once a promise is kept; promises ascend.
    pub(crate) unconfirmed: VecDeque<Unconfirmed>,
    /// The batch is not with its queues because the log has no room: nothing is read meanwhile.
    pub(crate) waits_for_room: bool,
    /// A queue whose consumers are behind, and how long they are waited for at most: nothing is read meanwhile.
    pub(crate) flow: Option<(Arc<QueueCell>, u64)>,
    /// A `basic.get` waits for its message to come into memory: it is asked again then, and nothing is read meanwhile.
    pub(crate) waits_for_page: bool,
    /// A channel whose `tx.commit` is answered when the batch is with its queues.
    pub(crate) committing: Option<u16>,
    /// Where the log stood when the commit under way began.
    pub(crate) commit_began: LogPosition,
    /// Something could not be kept, and its publisher cannot be told otherwise than by closing.
    pub(crate) failed: bool,
    /// Rate limits of the user and of the vhost, where they have any.
    pub(crate) meters: Vec<Arc<Meter>>,
    /// Messages published since the meters were read, and bytes of their bodies.
    pub(crate) metered: (u64, u64),
}

impl Session {
    /// A session without channels.
    pub(crate) fn new(
        node: Arc<Node>,
        tuned: Tuned,
        user: AuthenticatedUser,
        vhost: Arc<Vhost>,
        entry: Arc<ConnectionEntry>,
    ) -> Self {
        Session {
            node,
            tuned,
            user,
            vhost,
            entry,
            channels: Channels::default(),
            consumers: HashMap::default(),
            batch: PublishBatch::new(node::names::seed()),
            templates: Templates::default(),
            settlements: Settlements::default(),
            traced_deliveries: TracedDeliveries::default(),
            arrivals: Vec::new(),
            arrivals_next: 0,
            current_channel: 0,
            answers: Answers::default(),
            server_named: None,
            publishes: false,
            owns_queues: false,
            unconfirmed: VecDeque::new(),
            waits_for_room: false,
            flow: None,
            waits_for_page: false,
            committing: None,
            commit_began: LogPosition::NONE,
            failed: false,
            meters: Vec::new(),
            metered: (0, 0),
        }
    }

    /// The channel with this number; a frame on one that is not open closes the connection.
    pub(crate) fn channel(&mut self, number: u16) -> Result<&mut Channel, Fault> {
        self.channels
            .find(number)
            .ok_or_else(|| Fault::connection(ReplyCode::ChannelError, "expected 'channel.open'"))
    }

    /// Moves whenever permissions may have changed: what was found out under another is found out anew.
    pub(crate) fn permissions_generation(&self) -> u64 {
        let own = self.node.identities.generation();
        own.wrapping_add(self.answers.era << 32)
    }

    /// What the channel whose frame is being handled remembers to be allowed.
    pub(crate) fn allowed(&self) -> Option<&Allowed> {
        self.channels.look(self.current_channel)?.allowed.as_deref()
    }

    /// An authority elsewhere has answered what the frame being handled asked.
    pub(crate) fn hear(&mut self, question: Question, verdict: Verdict) {
        if let (Ok(()), Some(channel)) = (&verdict, self.channels.find(self.current_channel)) {
            let allowed = channel.allowed.get_or_insert_default();
            allowed.add(question.clone());
        }
        self.answers.tell(question, verdict);
    }

    /// Asks anew what was answered so far.
    pub(crate) fn forget_answers(&mut self) {
        self.answers.era += 1;
        self.channels.forget_allowed();
    }

    /// Input came.
    pub(crate) fn note_input(&mut self, now_ms: u64) {
        if self.user.authorizer().is_some() && self.answers.is_stale(now_ms) {
            self.forget_answers();
        }
    }

    /// A frame on a channel. If that is [`Fault::undecided`], nothing is changed and the frame is to come again.
    pub(crate) fn handle_frame(
        &mut self,
        turn: &mut Turn<'_>,
        frame: &Frame<'_>,
    ) -> Result<(), Fault> {
        let number = frame.channel;
        if number != self.current_channel {
            self.publish_counts();
            self.current_channel = number;
        }
        match self.channels.find(number) {
            Some(channel) if channel.closing => {
                return self.handle_closing_channel(turn, frame);
            }
            Some(_) => {}
            None => return self.handle_unopened(turn, frame),
        }
        let handled = match frame.kind {
            FrameKind::Method => self.handle_method_frame(turn, number, frame.payload),
            FrameKind::Header => self.handle_header(turn, number, frame.payload),
            FrameKind::Body => self.handle_body(turn, number, frame.payload),
            FrameKind::Heartbeat => Ok(()),
        };
        if !matches!(&handled, Err(fault) if fault.is_undecided()) {
            self.answers.conclude();
        }
        handled
    }

    fn handle_method_frame(
        &mut self,
        turn: &mut Turn<'_>,
        number: u16,
        payload: &[u8],
    ) -> Result<(), Fault> {
        self.channel(number)?.check_no_content_due()?;
        let method = Method::decode(payload)?;
        match &method {
            Method::BasicPublish(publish) => self.start_publish(number, publish),
            Method::BasicAck(ack) => self.ack(turn, number, ack),
            method => {
                // Everything else sees the effects of what came before it.
                self.flush(turn);
                self.handle_method(turn, number, method)
            }
        }
        .map_err(|fault| fault.blame(method.id()))
    }

    fn handle_method(
        &mut self,
        turn: &mut Turn<'_>,
        number: u16,
        method: &Method<'_>,
    ) -> Result<(), Fault> {
        match method {
            Method::ChannelOpen => Err(second_open()),
            Method::ChannelClose(_) => {
                self.end_channel(turn, number);
                turn.say(number, &Method::ChannelCloseOk);
                Ok(())
            }
            Method::ChannelFlow(flow) => {
                if !flow.active {
                    return Err(Fault::connection(ReplyCode::NotImplemented, "active=false"));
                }
                turn.say(
                    number,
                    &Method::ChannelFlowOk(ChannelFlowOk { active: true }),
                );
                Ok(())
            }
            Method::AccessRequest(_) => {
                turn.say(
                    number,
                    &Method::AccessRequestOk(AccessRequestOk { ticket: 1 }),
                );
                Ok(())
            }
            Method::ExchangeDeclare(declare) => self.exchange_declare(turn, number, declare),
            Method::ExchangeDelete(delete) => self.exchange_delete(turn, number, delete),
            Method::ExchangeBind(bind) => self.exchange_bind(turn, number, bind),
            Method::ExchangeUnbind(unbind) => self.exchange_unbind(turn, number, unbind),
            Method::QueueDeclare(declare) => self.queue_declare(turn, number, declare),
            Method::QueueDelete(delete) => self.queue_delete(turn, number, delete),
            Method::QueueBind(bind) => self.queue_bind(turn, number, bind),
            Method::QueueUnbind(unbind) => self.queue_unbind(turn, number, unbind),
            Method::QueuePurge(purge) => self.queue_purge(turn, number, purge),
            Method::BasicQos(qos) => self.qos(turn, number, qos),
            Method::BasicConsume(consume) => self.consume(turn, number, consume),
            Method::BasicCancel(cancel) => self.cancel(turn, number, cancel),
            Method::BasicGet(get) => self.get(turn, number, get),
            Method::BasicReject(reject) => {
                self.reject(turn, number, reject.delivery_tag, reject.requeue)
            }
            Method::BasicNack(nack) => self.nack(turn, number, nack),
            Method::BasicRecover(recover) => self.recover(turn, number, recover.requeue, true),
            Method::BasicRecoverAsync(recover) => {
                self.recover(turn, number, recover.requeue, false)
            }
            Method::ConfirmSelect(select) => self.confirm_select(turn, number, select.nowait),
            Method::TxSelect => self.tx_select(turn, number),
            Method::TxCommit => self.tx_commit(turn, number),
            Method::TxRollback => self.tx_rollback(turn, number),
            // Clients answer our basic.cancel and channel.flow with these; there is nothing to do.
            Method::BasicCancelOk(_) | Method::ChannelFlowOk(_) => Ok(()),
            _ => Err(Fault::connection(
                ReplyCode::CommandInvalid,
                "unimplemented method",
            )),
        }
    }

    /// On a number that is not in use only `channel.open` may come; late frames of a channel that the client
    /// closed cannot, for it waited for our close-ok.
    fn handle_unopened(&mut self, turn: &mut Turn<'_>, frame: &Frame<'_>) -> Result<(), Fault> {
        if frame.kind != FrameKind::Method {
            return Err(not_a_method());
        }
        let method = Method::decode(frame.payload)?;
        match method {
            Method::ChannelOpen => self.open_channel(turn, frame.channel),
            method => {
                let text = "expected 'channel.open'";
                Err(Fault::connection(ReplyCode::ChannelError, text).blame(method.id()))
            }
        }
    }

    fn open_channel(&mut self, turn: &mut Turn<'_>, number: u16) -> Result<(), Fault> {
        let channel_max = self.tuned.channel_max;
        if channel_max != 0 && channel_max < number {
            let text = format!(
                "number of channels opened ({}) has reached the negotiated channel_max ({channel_max})",
                self.channels.len()
            );
            return Err(Fault::connection(ReplyCode::NotAllowed, text).blame((20, 10)));
        }
        let user = self.user.name();
        if let Some(max) = self.node.identities.limits(user).channels_max
            && max <= self.node.connections.channels_of(user)
        {
            let text = format!(
                "number of channels opened for user '{user}' has reached the maximum allowed user \
                 limit of {max}"
            );
            return Err(Fault::connection(ReplyCode::NotAllowed, text).blame((20, 10)));
        }
        let channel = Channel::default();
        self.entry
            .channels
            .lock()
            .insert(number, Arc::clone(&channel.entry));
        self.channels.insert(number, channel);
        count(&self.node.churn.channels_opened);
        let events = &self.node.events;
        events.tell_channel("channel_created", &self.entry, number);
        turn.say(number, &Method::ChannelOpenOk);
        Ok(())
    }

    fn handle_closing_channel(
        &mut self,
        turn: &mut Turn<'_>,
        frame: &Frame<'_>,
    ) -> Result<(), Fault> {
        if frame.kind != FrameKind::Method {
            return Ok(());
        }
        match Method::decode(frame.payload) {
            Ok(Method::ChannelCloseOk) => drop(self.channels.remove(frame.channel)),
            // Their close crossed ours: each side answers the other's.
            Ok(Method::ChannelClose(_)) => turn.say(frame.channel, &Method::ChannelCloseOk),
            Ok(method @ Method::ChannelOpen) => return Err(second_open().blame(method.id())),
            _ => {}
        }
        Ok(())
    }

    /// Closes a channel for a broken rule.
    pub(crate) fn close_channel(&mut self, turn: &mut Turn<'_>, number: u16, fault: &Fault) {
        debug_assert_eq!(fault.scope, Scope::Channel);
        tracing::info!(
            connection = &*self.entry.name,
            channel = number,
            "closing channel: {}",
            fault.reply_text()
        );
        self.end_channel(turn, number);
        let (class_id, method_id) = fault.method;
        let reply_text = fault.reply_text();
        let close = ChannelClose {
            reply_code: fault.code.code(),
            reply_text: &reply_text,
            class_id,
            method_id,
        };
        turn.say(number, &Method::ChannelClose(close));
        let closing = Channel {
            closing: true,
            ..Channel::default()
        };
        self.channels.insert(number, closing);
    }

    /// Gives back what a channel held, and frees its number.
    pub(crate) fn end_channel(&mut self, turn: &mut Turn<'_>, number: u16) {
        self.flush(turn);
        let Some(mut channel) = self.channels.remove(number) else {
            return;
        };
        self.entry.channels.lock().remove(&number);
        count(&self.node.churn.channels_closed);
        let events = &self.node.events;
        events.tell_channel("channel_closed", &self.entry, number);
        channel.publish_counts();
        self.vhost.finished.add(&channel.totals);
        if let Some(reply) = channel.reply_consumer.take() {
            self.close_reply_consumer(&reply);
        }
        let consumers = channel.consumer_ids();
        channel.consumers.clear();
        // First cancel, so that what is requeued does not come straight back.
        for id in &consumers {
            self.stop_consumer(turn, *id);
        }
        self.requeue_arrivals(turn, |id| consumers.contains(&id));
        self.requeue_all(turn, number, &mut channel);
        for id in &consumers {
            self.consumers.remove(id);
        }
    }

    /// Ends the session: every channel, then the connection's own queues.
    pub(crate) fn end(&mut self, turn: &mut Turn<'_>) {
        for number in self.channels.numbers() {
            self.end_channel(turn, number);
        }
        if self.owns_queues {
            self.vhost.delete_queues_of(self.entry.id);
        }
    }

    /// Gives the batch to the queues, settlements first. `false`: what was published waits for room in the log.
    pub(crate) fn flush(&mut self, turn: &mut Turn<'_>) -> bool {
        self.flush_settlements(turn);
        !self.waits_for_room && self.flush_publishes(turn)
    }

    /// There may be room in the log.
    pub(crate) fn handle_room(&mut self, turn: &mut Turn<'_>) {
        self.waits_for_room = false;
        if self.flush(turn)
            && let Some(number) = self.committing.take()
        {
            self.say_committed(turn, number);
        }
    }

    /// Goes on publishing if the queue that held it up lets it, or it has waited long enough.
    pub(crate) fn handle_flow(&mut self, now_ms: u64) {
        let Some((cell, until_ms)) = &self.flow else {
            return;
        };
        if *until_ms <= now_ms {
            cell.waited_in_vain();
        } else if cell.holds_up(&self.entry.mailbox) {
            return;
        }
        self.flow = None;
        self.entry.in_flow.store(false, Ordering::Relaxed);
    }

    /// Writes the counts of the channel at hand where listings read them.
    pub(crate) fn publish_counts(&mut self) {
        if let Some(channel) = self.channels.find(self.current_channel) {
            channel.publish_counts();
        }
    }

    fn confirm_select(
        &mut self,
        turn: &mut Turn<'_>,
        number: u16,
        nowait: bool,
    ) -> Result<(), Fault> {
        let channel = self.channel(number)?;
        match &channel.mode {
            Mode::Transaction(_) => {
                return Err(Fault::precondition("cannot switch from tx to confirm mode"));
            }
            Mode::Confirm(_) => {}
            Mode::Plain => channel.mode = Mode::Confirm(Confirms::default()),
        }
        channel.entry.mode.store(1, Ordering::Relaxed);
        if !nowait {
            turn.say(number, &Method::ConfirmSelectOk);
        }
        Ok(())
    }

    fn tx_select(&mut self, turn: &mut Turn<'_>, number: u16) -> Result<(), Fault> {
        let channel = self.channel(number)?;
        match &channel.mode {
            Mode::Confirm(_) => {
                return Err(Fault::precondition("cannot switch from confirm to tx mode"));
            }
            Mode::Transaction(_) => {}
            Mode::Plain => channel.mode = Mode::Transaction(Transaction::default()),
        }
        channel.entry.mode.store(2, Ordering::Relaxed);
        turn.say(number, &Method::TxSelectOk);
        Ok(())
    }
}

fn second_open() -> Fault {
    Fault::connection(ReplyCode::ChannelError, "second 'channel.open' seen")
}

/// Content where a method was due.
pub(crate) fn not_a_method() -> Fault {
    let text = "expected method frame, got non method frame instead";
    Fault::connection(ReplyCode::UnexpectedFrame, text)
}
