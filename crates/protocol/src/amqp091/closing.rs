//! The end of a connection, from either side, and the methods of channel 0 while it is open.

use wire::amqp091::frame::{Frame, FrameKind, encode_method};
use wire::amqp091::method::{ConnectionClose, Method};
use wire::amqp091::reply_code::ReplyCode;

use super::connection::{Connection, Phase};
use super::fault::Fault;
use super::limits::CLOSE_TIMEOUT_MS;

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
            // RabbitMQ re-checks the credentials with the authentication backend; the internal one has no
            // tokens that expire, so there is nothing that the new secret could change.
            Method::ConnectionUpdateSecret(_) => {
                encode_method(self.output.buffer(), 0, &Method::ConnectionUpdateSecretOk);
                Ok(())
            }
            method => {
                let text = "unexpected method in connection state running";
                Err(Fault::connection(ReplyCode::ChannelError, text).blame(method.id()))
            }
        }
    }
}
