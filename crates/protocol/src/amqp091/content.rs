//! Putting a published message together: method, header, body frames.
//!
//! The usual message has one body frame, which is read where it lies. A longer one is collected, as it comes,
//! in the channel's buffer: no client makes us set memory aside for bytes that it did not send.

use wire::amqp091::frame::decode_content_header;
use wire::amqp091::method::BasicPublish;
use wire::amqp091::reply_code::ReplyCode;

use super::channel::{Assembly, Channel};
use super::connection::Turn;
use super::fault::Fault;
use super::methods::{Session, not_a_method};

const CLASS_BASIC: u16 = 60;

/// Memory for bodies that a channel keeps between messages.
const BODY_BYTES_KEPT: usize = 64 * 1024;

/// `basic.publish`, which every fault of its content blames.
const PUBLISH: (u16, u16) = (CLASS_BASIC, 40);

const HEADER_DUE: &str =
    "expected content header for class 60, got non content header frame instead";
const BODY_DUE: &str = "expected content body, got non content body frame instead";

fn unexpected(text: &str) -> Fault {
    Fault::connection(ReplyCode::UnexpectedFrame, text).blame(PUBLISH)
}

impl Session {
    /// `basic.publish`: remembers where the message goes; the rest waits for its content.
    pub(crate) fn start_publish(
        &mut self,
        number: u16,
        method: &BasicPublish<'_>,
    ) -> Result<(), Fault> {
        self.publishes = true;
        let channel = self.channel(number)?;
        if method.immediate {
            return Err(Fault::connection(
                ReplyCode::NotImplemented,
                "immediate=true",
            ));
        }
        channel
            .publishing
            .address(method.exchange, method.routing_key, method.mandatory);
        channel.assembly = Assembly::Header;
        Ok(())
    }

    /// The content header.
    pub(crate) fn handle_header(
        &mut self,
        turn: &mut Turn<'_>,
        number: u16,
        payload: &[u8],
    ) -> Result<(), Fault> {
        let message_bytes_max = self.node.settings.message_bytes_max;
        let channel = self.channel(number)?;
        if channel.assembly != Assembly::Header {
            return Err(match channel.assembly {
                Assembly::Body { .. } => unexpected(BODY_DUE),
                _ => not_a_method(),
            });
        }
        let header = decode_content_header(payload)
            .map_err(|error| Fault::connection(ReplyCode::SyntaxError, error.to_string()))?;
        if header.class != CLASS_BASIC {
            let text = format!(
                "expected content header for class {CLASS_BASIC}, got one for class {} instead",
                header.class
            );
            return Err(unexpected(&text));
        }
        channel.publishing.properties.clear();
        channel
            .publishing
            .properties
            .extend_from_slice(header.properties);
        if message_bytes_max < header.body_bytes {
            channel.assembly = Assembly::Idle;
            let text = format!(
                "message size {} is larger than configured max size {message_bytes_max}",
                header.body_bytes
            );
            return Err(Fault::precondition(text).blame(PUBLISH));
        }
        if header.body_bytes == 0 {
            channel.assembly = Assembly::Idle;
            let published = self.publish(turn, number, &[]);
            return self.or_again(number, Assembly::Header, published);
        }
        channel.assembly = Assembly::Body {
            missing: header.body_bytes,
        };
        Ok(())
    }

    /// A body frame.
    pub(crate) fn handle_body(
        &mut self,
        turn: &mut Turn<'_>,
        number: u16,
        payload: &[u8],
    ) -> Result<(), Fault> {
        let channel = self.channel(number)?;
        let Assembly::Body { missing } = channel.assembly else {
            return Err(match channel.assembly {
                Assembly::Header => unexpected(HEADER_DUE),
                _ => not_a_method(),
            });
        };
        let before = Assembly::Body { missing };
        let Some(missing) = missing.checked_sub(payload.len() as u64) else {
            let text = "content body frame exceeds remaining content size";
            return Err(Fault::connection(ReplyCode::FrameError, text).blame(PUBLISH));
        };
        let body = &mut channel.publishing.body;
        if 0 < missing {
            body.extend_from_slice(payload);
            channel.assembly = Assembly::Body { missing };
            return Ok(());
        }
        channel.assembly = Assembly::Idle;
        if body.is_empty() {
            let published = self.publish(turn, number, payload);
            return self.or_again(number, before, published);
        }
        body.extend_from_slice(payload);
        let mut body = std::mem::take(body);
        let published = self.publish(turn, number, &body);
        if matches!(&published, Err(fault) if fault.is_undecided()) {
            body.truncate(body.len() - payload.len());
        } else {
            body.clear();
            body.shrink_to(BODY_BYTES_KEPT);
        }
        if let Some(channel) = self.channels.find(number) {
            channel.publishing.body = body;
        }
        self.or_again(number, before, published)
    }

    /// A publish whose permission is asked for elsewhere: its last frame comes again, and finds the channel as it was.
    fn or_again(
        &mut self,
        number: u16,
        before: Assembly,
        published: Result<(), Fault>,
    ) -> Result<(), Fault> {
        if let Err(fault) = &published
            && fault.is_undecided()
            && let Some(channel) = self.channels.find(number)
        {
            channel.assembly = before;
        }
        published
    }
}

impl Channel {
    /// A method came where content was due.
    pub(crate) fn check_no_content_due(&self) -> Result<(), Fault> {
        match self.assembly {
            Assembly::Idle => Ok(()),
            Assembly::Header => Err(unexpected(HEADER_DUE)),
            Assembly::Body { .. } => Err(unexpected(BODY_DUE)),
        }
    }
}
