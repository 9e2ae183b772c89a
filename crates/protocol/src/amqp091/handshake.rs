//! From the protocol header to `connection.open-ok`.
//!
//! ```text
//! client                          broker
//! AMQP 0 0 9 1      ───────────►
//!                   ◄───────────  connection.start     (anything else: our header, and the end)
//! connection.start-ok ─────────►                       (403, or silence, when the login is refused)
//!                   ◄───────────  connection.tune
//! connection.tune-ok ──────────►                       (530 when it asks for more than we offer)
//! connection.open    ──────────►
//!                   ◄───────────  connection.open-ok   (530 when there is no such vhost, or no right to it)
//! ```

use std::sync::Arc;

use node::connections::{ConnectionEntry, ConnectionLimits, LimitReached};
use node::counters::count;
use node::identities::{
    Answer, AuthFailure, AuthenticatedUser, Denial, LoginOutcome, LoginRequest, Question, Verdict,
};
use node::rates::Meter;
use wire::amqp091::PROTOCOL_HEADER;
use wire::amqp091::frame::{FRAME_BYTES_MIN, Frame, FrameKind, encode_method};
use wire::amqp091::method::{
    ConnectionStart, ConnectionStartOk, ConnectionTune, ConnectionTuneOk, Method,
};
use wire::amqp091::reply_code::ReplyCode;
use wire::amqp091::table::{FieldValue, Table, Value};

use super::connection::{Client, Connection, Heard, Phase, Tuned};
use super::fault::Fault;
use super::limits::LOGIN_REFUSED_DELAY_MS;
use super::methods::Session;
use super::server_properties::server_properties;

/// Header of AMQP 0-9, which RabbitMQ serves as 0-9-1.
const PROTOCOL_HEADER_0_9: [u8; 8] = *b"AMQP\x01\x01\x00\x09";

/// All mechanisms, in the order in which they are offered.
const MECHANISMS: [&str; 4] = ["PLAIN", "AMQPLAIN", "ANONYMOUS", "EXTERNAL"];

enum Step {
    Header,
    StartOk,
    TuneOk(AuthenticatedUser),
    Open(AuthenticatedUser),
    /// An authority is being asked: [`Connection::handle_wake`] goes on from here.
    Authenticating {
        mechanism: String,
        name: String,
    },
    /// An authority is being asked whether the user may enter a vhost, likewise.
    Admitting {
        user: AuthenticatedUser,
        vhost: String,
    },
    /// A login was refused: silence, so that passwords cannot be tried quickly, then a close with this text, or
    /// just the end if the client would not understand one.
    Refused(Option<String>),
}

/// How far the handshake is.
pub(crate) struct Handshake {
    step: Step,
    timeout_ms: u64,
}

impl Handshake {
    /// Nothing said yet; over at `timeout_ms` if it is not finished then.
    pub(crate) fn new(timeout_ms: u64) -> Self {
        Handshake {
            step: Step::Header,
            timeout_ms,
        }
    }

    /// Whether the protocol header comes next, and not a frame.
    pub(crate) fn awaits_header(&self) -> bool {
        matches!(self.step, Step::Header)
    }

    /// Whether the client is kept waiting for its login, or for its vhost.
    pub(crate) fn is_delaying(&self) -> bool {
        matches!(
            self.step,
            Step::Refused(_) | Step::Authenticating { .. } | Step::Admitting { .. }
        )
    }

    /// When the connection is dropped if nothing else happens.
    pub(crate) fn timeout_ms(&self) -> u64 {
        self.timeout_ms
    }
}

/// A login: who and with which password, or one whose certificate was checked already.
enum Login {
    Password(String, Vec<u8>),
    External(String),
}

impl Connection {
    fn step(&mut self, step: Step) {
        if let Phase::Handshake(handshake) = &mut self.phase {
            handshake.step = step;
        }
    }

    pub(crate) fn handle_handshake_timeout(&mut self, now_ms: u64) {
        let Phase::Handshake(handshake) = &mut self.phase else {
            return;
        };
        match &mut handshake.step {
            Step::Refused(None) => self.hang_up(now_ms),
            Step::Refused(text) => {
                let text = text.take().unwrap_or_default();
                self.close_with(now_ms, ReplyCode::AccessRefused.code(), &text, (0, 0));
            }
            _ => {
                tracing::warn!(connection = %self.peer.name(), "closing: handshake timeout");
                self.hang_up(now_ms);
            }
        }
    }

    /// The first 8 bytes. A wrong header is answered with ours, and the socket is closed (AMQP 0-9-1, 4.2.2).
    pub(crate) fn handle_protocol_header(
        &mut self,
        _now_ms: u64,
        input: &[u8],
    ) -> Result<usize, Fault> {
        let Some(header) = input.get(..PROTOCOL_HEADER.len()) else {
            return Ok(0);
        };
        if header != PROTOCOL_HEADER && header != PROTOCOL_HEADER_0_9 {
            self.output.buffer().extend_from_slice(&PROTOCOL_HEADER);
            self.phase = Phase::Closed;
            return Ok(input.len());
        }
        let properties = server_properties(&self.node.settings.cluster_name).encode();
        let properties = Table::validate(&properties).expect("we encoded it");
        let mechanisms: Vec<&str> = MECHANISMS
            .into_iter()
            .filter(|mechanism| self.offers(mechanism))
            .collect();
        let mechanisms = mechanisms.join(" ");
        let start = ConnectionStart {
            version_major: 0,
            version_minor: 9,
            server_properties: properties,
            mechanisms: mechanisms.as_bytes(),
            locales: b"en_US",
        };
        encode_method(self.output.buffer(), 0, &Method::ConnectionStart(start));
        self.step(Step::StartOk);
        Ok(PROTOCOL_HEADER.len())
    }

    fn offers(&self, mechanism: &str) -> bool {
        let settings = &self.node.settings;
        // Clients prefer EXTERNAL wherever it is offered: as in RabbitMQ, one that shows a certificate and logs in with
        // a password does not find it unless it was asked for.
        let configured = match &settings.auth_mechanisms {
            Some(names) => names.iter().any(|name| name == mechanism),
            None => mechanism != "EXTERNAL",
        };
        configured
            && match mechanism {
                "ANONYMOUS" => settings.anonymous_login.is_some(),
                "EXTERNAL" => self.peer.external_user.is_some(),
                _ => true,
            }
    }

    pub(crate) fn handle_handshake_frame(
        &mut self,
        now_ms: u64,
        frame: &Frame<'_>,
    ) -> Result<(), Fault> {
        if frame.channel != 0 || frame.kind != FrameKind::Method {
            let text = "unexpected frame during the handshake";
            return Err(Fault::connection(ReplyCode::UnexpectedFrame, text));
        }
        let method = Method::decode(frame.payload)?;
        let blamed = method.id();
        let Phase::Handshake(handshake) = &self.phase else {
            return Ok(());
        };
        let handled = match (&handshake.step, method) {
            (Step::StartOk, Method::ConnectionStartOk(start_ok)) => {
                self.handle_start_ok(now_ms, &start_ok)
            }
            (Step::TuneOk(user), Method::ConnectionTuneOk(tune_ok)) => {
                let user = user.clone();
                self.handle_tune_ok(now_ms, user, tune_ok)
            }
            (Step::Open(user), Method::ConnectionOpen(open)) => {
                let user = user.clone();
                self.handle_open(now_ms, user, open.virtual_host, None)
            }
            (_, Method::ConnectionClose(_)) => {
                self.answer_close(now_ms);
                Ok(())
            }
            (_, method) => {
                let text = format!("unexpected method {} during the handshake", method.name());
                Err(Fault::connection(ReplyCode::CommandInvalid, text))
            }
        };
        handled.map_err(|fault| fault.blame(blamed))
    }

    fn handle_start_ok(
        &mut self,
        now_ms: u64,
        start_ok: &ConnectionStartOk<'_>,
    ) -> Result<(), Fault> {
        self.client = Client {
            properties: start_ok.client_properties.to_owned(),
            mechanism: start_ok.mechanism.to_owned(),
            understands_blocked: has_capability(start_ok, "connection.blocked"),
            understands_cancel: has_capability(start_ok, "consumer_cancel_notify"),
            understands_auth_failure: has_capability(start_ok, "authentication_failure_close"),
        };
        let mechanism = start_ok.mechanism;
        let peer_is_loopback = self.peer.loopback;
        let (name, password) = match self.read_login(start_ok)? {
            Login::Password(name, password) => (name, Some(password)),
            Login::External(name) => (name, None),
        };
        if let Some(authenticator) = self.node.authenticator.get() {
            let request = LoginRequest {
                user: name.clone(),
                password,
                peer_is_loopback,
            };
            self.login = Some(Arc::clone(authenticator).log_in(request));
            let mechanism = mechanism.to_owned();
            self.step(Step::Authenticating { mechanism, name });
            return Ok(());
        }
        let identities = &self.node.identities;
        let outcome = match &password {
            Some(password) => identities.authenticate(&name, password, peer_is_loopback),
            None => identities.authenticate_external(&name, peer_is_loopback),
        };
        self.conclude_login(now_ms, &name, mechanism, outcome);
        Ok(())
    }

    /// What an authority decided, on a login or on a new secret.
    pub(crate) fn handle_login(&mut self, now_ms: u64, outcome: LoginOutcome) {
        match &mut self.phase {
            Phase::Handshake(handshake) => {
                let step = std::mem::replace(&mut handshake.step, Step::Refused(None));
                if let Step::Authenticating { mechanism, name } = step {
                    self.conclude_login(now_ms, &name, &mechanism, outcome);
                }
            }
            Phase::Open(_) => self.conclude_refresh(now_ms, outcome),
            _ => {}
        }
    }

    fn conclude_login(&mut self, now_ms: u64, name: &str, mechanism: &str, outcome: LoginOutcome) {
        let counted = outcome.as_ref().map_or(name, |user| user.name());
        self.node
            .attempts
            .count("amqp091", &self.peer.host, counted, outcome.is_ok());
        match outcome {
            Ok(user) => {
                let settings = &self.node.settings;
                let tune = ConnectionTune {
                    channel_max: settings.channel_max,
                    frame_max: settings.frame_bytes_max,
                    heartbeat: settings.heartbeat_s,
                };
                encode_method(self.output.buffer(), 0, &Method::ConnectionTune(tune));
                self.step(Step::TuneOk(user));
            }
            Err(failure) => self.refuse_login(now_ms, name, mechanism, &failure),
        }
    }

    fn read_login(&self, start_ok: &ConnectionStartOk<'_>) -> Result<Login, Fault> {
        let malformed = |mechanism: &str| {
            let text = format!("invalid {mechanism} response");
            Fault::connection(ReplyCode::SyntaxError, text)
        };
        if !self.offers(start_ok.mechanism) {
            let text = format!("unknown authentication mechanism '{}'", start_ok.mechanism);
            return Err(Fault::connection(ReplyCode::NotAllowed, text));
        }
        if let ("EXTERNAL", Some(name)) = (start_ok.mechanism, &self.peer.external_user) {
            return Ok(Login::External(name.clone()));
        }
        match (start_ok.mechanism, &self.node.settings.anonymous_login) {
            ("PLAIN", _) => {
                plain_login(start_ok.response).ok_or_else(|| malformed(start_ok.mechanism))
            }
            ("AMQPLAIN", _) => {
                amqplain_login(start_ok.response).ok_or_else(|| malformed(start_ok.mechanism))
            }
            ("ANONYMOUS", Some((name, password))) => {
                Ok(Login::Password(name.clone(), password.clone().into_bytes()))
            }
            (mechanism, _) => {
                let text = format!("unknown authentication mechanism '{mechanism}'");
                Err(Fault::connection(ReplyCode::NotAllowed, text))
            }
        }
    }

    /// RabbitMQ says 403 only to clients that announced `authentication_failure_close`; others see the socket
    /// close. Both a little later, so that passwords cannot be tried quickly.
    fn refuse_login(&mut self, now_ms: u64, name: &str, mechanism: &str, failure: &AuthFailure) {
        tracing::warn!(connection = %self.peer.name(), user = name, "login refused: {failure}");
        let text = self.client.understands_auth_failure.then(|| {
            format!(
                "ACCESS_REFUSED - Login was refused using authentication mechanism {mechanism}. \
                 For details see the broker logfile."
            )
        });
        self.phase = Phase::Handshake(Handshake {
            step: Step::Refused(text),
            timeout_ms: now_ms + LOGIN_REFUSED_DELAY_MS,
        });
    }

    fn handle_tune_ok(
        &mut self,
        now_ms: u64,
        user: AuthenticatedUser,
        tune_ok: ConnectionTuneOk,
    ) -> Result<(), Fault> {
        let settings = &self.node.settings;
        check_negotiated(
            "frame_max",
            FRAME_BYTES_MIN,
            settings.frame_bytes_max,
            tune_ok.frame_max,
        )?;
        check_negotiated(
            "channel_max",
            1,
            settings.channel_max.into(),
            tune_ok.channel_max.into(),
        )?;
        self.tuned = Tuned {
            frame_bytes_max: tune_ok.frame_max,
            channel_max: tune_ok.channel_max,
            heartbeat_s: tune_ok.heartbeat,
        };
        self.heartbeat.start(tune_ok.heartbeat, now_ms);
        self.step(Step::Open(user));
        Ok(())
    }

    fn user_provided_name(&self) -> Option<String> {
        match self.client.properties.find("connection_name") {
            Some(FieldValue::LongStr(name)) => Some(String::from_utf8_lossy(name).into_owned()),
            _ => None,
        }
    }

    /// The rate limits of user and vhost, if they let one more connection be opened now.
    fn meters_of(
        &self,
        now_ms: u64,
        user: &AuthenticatedUser,
        vhost: &str,
    ) -> Result<Vec<Arc<Meter>>, Fault> {
        let rates = &self.node.rates;
        let meters = [rates.user(user.name()), rates.vhost(vhost)];
        let meters: Vec<_> = meters.into_iter().flatten().collect();
        if meters.iter().all(|meter| meter.admit_connection(now_ms)) {
            return Ok(meters);
        }
        let text = format!(
            "access to vhost '{vhost}' refused for user '{}': connection rate limit is reached",
            user.name()
        );
        Err(Fault::connection(ReplyCode::NotAllowed, text))
    }

    /// An authority elsewhere has said whether the user may enter the vhost.
    pub(crate) fn handle_admission(&mut self, now_ms: u64, heard: Heard) {
        let Phase::Handshake(handshake) = &mut self.phase else {
            return;
        };
        let step = std::mem::replace(&mut handshake.step, Step::Refused(None));
        let (Step::Admitting { user, vhost }, Some((_, verdict))) =
            (step, heard.into_iter().next())
        else {
            return;
        };
        if let Err(fault) = self.handle_open(now_ms, user, &vhost, Some(verdict)) {
            // connection.open
            self.raise(now_ms, &fault.blame((10, 40)));
        }
    }

    /// Whether the user may enter the vhost; `false` while an authority is asked. `verdict` is what it has said.
    fn admit(
        &mut self,
        user: &AuthenticatedUser,
        vhost: &str,
        verdict: Option<Verdict>,
    ) -> Result<bool, Fault> {
        let refused = |Denial { why, .. }| {
            let name = user.name();
            let text = format!("access to vhost '{vhost}' refused for user '{name}'{why}");
            Fault::connection(ReplyCode::NotAllowed, text)
        };
        match (self.node.identities.admits(user, vhost), verdict) {
            (Answer::Yes, _) => Ok(true),
            (Answer::No, _) => Err(refused(Denial::default())),
            (Answer::Ask(_), Some(verdict)) => verdict.map(|()| true).map_err(refused),
            (Answer::Ask(authorizer), None) => {
                let question = Question::Vhost {
                    vhost: vhost.to_owned(),
                    peer_host: Some(self.peer.host.clone()),
                };
                self.ask(authorizer, vec![question]);
                self.step(Step::Admitting {
                    user: user.clone(),
                    vhost: vhost.to_owned(),
                });
                Ok(false)
            }
        }
    }

    /// Opens the vhost. `verdict` is what an authority elsewhere said, once it was asked.
    fn handle_open(
        &mut self,
        now_ms: u64,
        user: AuthenticatedUser,
        vhost: &str,
        verdict: Option<Verdict>,
    ) -> Result<(), Fault> {
        let not_allowed = |text: String| Fault::connection(ReplyCode::NotAllowed, text);
        let Some(found) = self.node.vhost(vhost) else {
            return Err(not_allowed(format!("vhost {vhost} not found")));
        };
        let limits = ConnectionLimits {
            vhost_max: found.limits().connections_max,
            user_max: self.node.identities.limits(user.name()).connections_max,
        };
        let at_limit = |reached| not_allowed(limit_text(reached, vhost, user.name()));
        let connections = &self.node.connections;
        connections
            .check_limits(vhost, user.name(), limits)
            .map_err(at_limit)?;
        if !self.admit(&user, vhost, verdict)? {
            return Ok(());
        }
        let meters = self.meters_of(now_ms, &user, vhost)?;
        let entry = Arc::new(ConnectionEntry {
            id: self.id,
            name: self.peer.name().into(),
            user_provided_name: self.user_provided_name(),
            local_host: self.peer.local_host.clone(),
            local_port: self.peer.local_port,
            auth_mechanism: std::mem::take(&mut self.client.mechanism),
            peer_host: self.peer.host.clone(),
            peer_port: self.peer.port,
            user: Arc::clone(user.name()),
            vhost: Arc::clone(&found.name),
            heartbeat_s: self.tuned.heartbeat_s,
            frame_bytes_max: self.tuned.frame_bytes_max,
            channel_max: self.tuned.channel_max,
            client_properties: std::mem::take(&mut self.client.properties),
            connected_at_ms: now_ms,
            tls: self.peer.tls.clone(),
            blocked: Default::default(),
            in_flow: Default::default(),
            traffic: Default::default(),
            channels: Default::default(),
            mailbox: Arc::clone(&self.mailbox),
        });
        let opened = self.node.connections.opened(Arc::clone(&entry), limits);
        opened.map_err(at_limit)?;
        count(&self.node.churn.connections_opened);
        // Whoever deletes a vhost or a user closes the connections that are listed by then: look again.
        if !self
            .node
            .vhost(vhost)
            .is_some_and(|now| Arc::ptr_eq(&now, &found))
            || (user.is_own() && self.node.identities.user(user.name()).is_none())
        {
            return Err(not_allowed(format!("vhost {vhost} not found")));
        }
        let node = Arc::clone(&self.node);
        node.events.tell_connection("connection_created", &entry);
        let mut session = Session::new(node, self.tuned, user, found, entry);
        session.meters = meters;
        self.phase = Phase::Open(Box::new(session));
        encode_method(self.output.buffer(), 0, &Method::ConnectionOpenOk);
        Ok(())
    }
}

/// RabbitMQ's words for a limit that is reached.
fn limit_text(reached: LimitReached, vhost: &str, user: &str) -> String {
    match reached {
        LimitReached::Vhost(max) => format!(
            "access to vhost '{vhost}' refused for user '{user}': connection limit ({max}) is reached"
        ),
        LimitReached::User(max) => format!(
            "connection refused for user '{user}': user connection limit ({max}) is reached"
        ),
    }
}

fn has_capability(start_ok: &ConnectionStartOk<'_>, name: &str) -> bool {
    let Some(Value::Table(capabilities)) = start_ok.client_properties.find("capabilities") else {
        return false;
    };
    matches!(capabilities.find(name), Some(Value::Bool(true)))
}

/// `authzid NUL user NUL password` (RFC 4616). Nobody may act for another, so the first is empty, as in RabbitMQ.
fn plain_login(response: &[u8]) -> Option<Login> {
    let mut parts = response.splitn(3, |byte| *byte == 0);
    let (authzid, user, password) = (parts.next()?, parts.next()?, parts.next()?);
    if !authzid.is_empty() {
        return None;
    }
    let user = std::str::from_utf8(user).ok()?.to_owned();
    Some(Login::Password(user, password.to_vec()))
}

/// RabbitMQ's own mechanism: a table with `LOGIN` and `PASSWORD`, without the length in front.
fn amqplain_login(response: &[u8]) -> Option<Login> {
    let table = Table::validate(response).ok()?;
    let (Some(Value::LongStr(user)), Some(Value::LongStr(password))) =
        (table.find("LOGIN"), table.find("PASSWORD"))
    else {
        return None;
    };
    let user = std::str::from_utf8(user).ok()?.to_owned();
    Some(Login::Password(user, password.to_vec()))
}

/// A client may ask for less than we offer, not for more, where 0 is no limit and so the most.
fn check_negotiated(field: &str, min: u32, ours: u32, theirs: u32) -> Result<(), Fault> {
    let refused = |comparison: &str, bound: u32| {
        let text = format!(
            "negotiated {field} = {theirs} is {comparison} than the {} allowed value ({bound})",
            if comparison == "lower" {
                "minimum"
            } else {
                "maximum"
            }
        );
        Err(Fault::connection(ReplyCode::NotAllowed, text))
    };
    if theirs != 0 && theirs < min {
        return refused("lower", min);
    }
    if ours != 0 && (theirs == 0 || ours < theirs) {
        return refused("higher", ours);
    }
    Ok(())
}
