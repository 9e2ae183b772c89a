//! The end of a connection, from either side, and the methods of channel 0 while it is open.

use std::sync::Arc;

use node::identities::{Answer, LoginOutcome, LoginRequest};
use wire::amqp091::frame::{Frame, FrameKind, encode_method};
use wire::amqp091::method::{ConnectionClose, Method};
use wire::amqp091::reply_code::ReplyCode;

use super::connection::{Connection, Phase};
use super::fault::Fault;
use super::limits::CLOSE_TIMEOUT_MS;

/// `connection.update-secret`, to be blamed.
const UPDATE_SECRET: (u16, u16) = (10, 70);

impl Connection {
    /// Sends `connection.close` and gives back all that the session held. What the client still sends is
    /// thrown away until it answers.
    pub(crate) fn close_with(&mut self, now_ms: u64, code: u16, text: &str, method: (u16, u16)) {
        self.end_session(now_ms);
        let (class_id, method_id) = method;
        let close = ConnectionClose {
            reply_code: code,
            reply_text: text,
            class_id,
            method_id,
        };
        encode_method(self.output.buffer(), 0, &Method::ConnectionClose(close));
        self.phase = Phase::Closing {
            until_ms: now_ms + CLOSE_TIMEOUT_MS,
        };
    }

    /// The client closes. Its socket stays open for it to close, as in RabbitMQ: some clients write more while
    /// they wait for the answer, and would see an error in place of it.
    pub(crate) fn answer_close(&mut self, now_ms: u64) {
        self.end_session(now_ms);
        encode_method(self.output.buffer(), 0, &Method::ConnectionCloseOk);
        self.phase = Phase::Lingering {
            until_ms: now_ms + CLOSE_TIMEOUT_MS,
        };
    }

    /// While closing, only the answer counts, or the client's own close crossing ours.
    pub(crate) fn handle_closing_frame(&mut self, frame: &Frame<'_>) {
        if frame.channel != 0 || frame.kind != FrameKind::Method {
            return;
        }
        match Method::decode(frame.payload) {
            Ok(Method::ConnectionCloseOk) => self.phase = Phase::Closed,
            Ok(Method::ConnectionClose(_)) => {
                encode_method(self.output.buffer(), 0, &Method::ConnectionCloseOk);
            }
            _ => {}
        }
    }

    /// A method on channel 0 of an open connection.
    pub(crate) fn handle_connection_method(
        &mut self,
        now_ms: u64,
        method: Method<'_>,
    ) -> Result<(), Fault> {
        match method {
            Method::ConnectionClose(_) => {
                self.answer_close(now_ms);
                Ok(())
            }
            Method::ConnectionUpdateSecret(update) => {
                self.handle_update_secret(update.new_secret);
                Ok(())
            }
            method => {
                let text = "unexpected method in connection state running";
                Err(Fault::connection(ReplyCode::ChannelError, text).blame(method.id()))
            }
        }
    }

    /// A new token for the one that the client logged in with. Others have none: there is nothing that the new secret
    /// could change, but what they may do is asked anew.
    fn handle_update_secret(&mut self, secret: &[u8]) {
        let Phase::Open(session) = &mut self.phase else {
            return;
        };
        session.forget_answers();
        match self.node.authenticator.get() {
            Some(authenticator) if session.user.is_granted() => {
                // Of two that come quickly, the later one counts.
                self.login = Some(Arc::clone(authenticator).log_in(LoginRequest {
                    user: session.user.name().to_string(),
                    password: Some(secret.to_vec()),
                    peer_is_loopback: self.peer.loopback,
                }));
            }
            _ => encode_method(self.output.buffer(), 0, &Method::ConnectionUpdateSecretOk),
        }
    }

    pub(crate) fn conclude_refresh(&mut self, now_ms: u64, outcome: LoginOutcome) {
        let Phase::Open(session) = &mut self.phase else {
            return;
        };
        let reason = match outcome {
            Ok(user) if user.name() == session.user.name() => {
                let vhost = Arc::clone(&session.vhost.name);
                if matches!(self.node.identities.admits(&user, &vhost), Answer::No) {
                    let name = user.name();
                    let text = format!(
                        "NOT_ALLOWED - access to vhost '{vhost}' refused for user '{name}'"
                    );
                    tracing::warn!(connection = %self.peer.name(), "closing: {text}");
                    let code = ReplyCode::NotAllowed.code();
                    return self.close_with(now_ms, code, &text, UPDATE_SECRET);
                }
                session.user = user;
                // Whatever was looked up under the old secret is looked up again.
                self.node.identities.forget_answers();
                encode_method(self.output.buffer(), 0, &Method::ConnectionUpdateSecretOk);
                return;
            }
            Ok(_) => "Not allowed to change username on refreshed token".to_owned(),
            Err(failure) => failure.to_string(),
        };
        tracing::warn!(connection = %self.peer.name(), "closing: the new secret is refused: {reason}");
        let text = "NOT_ALLOWED - New secret was refused by one of the backends";
        self.close_with(now_ms, ReplyCode::NotAllowed.code(), text, UPDATE_SECRET);
    }
}
