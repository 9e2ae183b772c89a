//! A broken rule: what to close, the reply code, and RabbitMQ's text.

use node::identities::Question;
use node::refusal::{Refusal, RefusalKind};
use wire::amqp091::DecodeError;
use wire::amqp091::frame::FrameError;
use wire::amqp091::method::MethodError;
use wire::amqp091::reply_code::ReplyCode;

/// What a broken rule closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The channel; the connection goes on.
    Channel,
    /// The whole connection.
    Connection,
    /// Nothing: no rule is broken, but it is not known yet whether one is. The frame is looked at anew when the
    /// questions are answered.
    Undecided,
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) scope: Scope,
    pub(crate) code: ReplyCode,
    /// Without the code's name, which [`Fault::reply_text`] puts in front.
    pub(crate) text: String,
    /// Class and method blamed, 0 for none.
    pub(crate) method: (u16, u16),
    /// What must be asked elsewhere; nothing unless the scope says so.
    pub(crate) questions: Box<[Question]>,
}

impl Fault {
    /// Whether the user may do what it wants is decided elsewhere.
    pub(crate) fn undecided(questions: Vec<Question>) -> Self {
        let mut fault = Fault::access("");
        fault.scope = Scope::Undecided;
        fault.questions = questions.into();
        fault
    }

    /// Whether something must be asked before this is a fault or none.
    pub(crate) fn is_undecided(&self) -> bool {
        self.scope == Scope::Undecided
    }

    /// Closes the channel.
    pub(crate) fn channel(code: ReplyCode, text: impl Into<String>) -> Self {
        Fault {
            scope: Scope::Channel,
            code,
            text: text.into(),
            method: (0, 0),
            questions: Box::default(),
        }
    }

    /// Closes the connection.
    pub(crate) fn connection(code: ReplyCode, text: impl Into<String>) -> Self {
        Fault {
            scope: Scope::Connection,
            code,
            text: text.into(),
            method: (0, 0),
            questions: Box::default(),
        }
    }

    /// 406 on the channel.
    pub(crate) fn precondition(text: impl Into<String>) -> Self {
        Fault::channel(ReplyCode::PreconditionFailed, text)
    }

    /// 403 on the channel.
    pub(crate) fn access(text: impl Into<String>) -> Self {
        Fault::channel(ReplyCode::AccessRefused, text)
    }

    /// The same, blaming `method` unless one is blamed already.
    pub(crate) fn blame(mut self, method: (u16, u16)) -> Self {
        if self.method == (0, 0) {
            self.method = method;
        }
        self
    }

    /// `PRECONDITION_FAILED - text`, cut to a short string without cutting a character.
    pub(crate) fn reply_text(&self) -> String {
        let mut text = format!("{} - {}", self.code.name(), self.text);
        if text.len() > 255 {
            // RabbitMQ ends a text that does not fit a short string with three dots.
            let mut end = 252;
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            text.truncate(end);
            text.push_str("...");
        }
        text
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        let (scope, code) = match refusal.kind {
            RefusalKind::NotFound => (Scope::Channel, ReplyCode::NotFound),
            RefusalKind::AccessRefused => (Scope::Channel, ReplyCode::AccessRefused),
            RefusalKind::PreconditionFailed => (Scope::Channel, ReplyCode::PreconditionFailed),
            RefusalKind::ResourceLocked => (Scope::Channel, ReplyCode::ResourceLocked),
            RefusalKind::NotAllowed => (Scope::Connection, ReplyCode::NotAllowed),
            RefusalKind::InternalError => (Scope::Connection, ReplyCode::InternalError),
        };
        Fault {
            scope,
            code,
            text: refusal.text,
            method: (0, 0),
            questions: Box::default(),
        }
    }
}

impl From<FrameError> for Fault {
    fn from(error: FrameError) -> Self {
        Fault::connection(ReplyCode::FrameError, error.to_string())
    }
}

impl From<MethodError> for Fault {
    /// RabbitMQ calls everything that it cannot decode a frame error.
    fn from(error: MethodError) -> Self {
        let frame_error = |text: String| Fault::connection(ReplyCode::FrameError, text);
        match error {
            MethodError::Malformed {
                error: DecodeError::InvalidUtf8,
                ..
            } => frame_error("Malformed UTF-8 in shortstr".into()),
            MethodError::Unknown { class, method } => {
                frame_error(error.to_string()).blame((class, method))
            }
            MethodError::Malformed { class, method, .. } => {
                frame_error(format!("cannot decode: {error}")).blame((class, method))
            }
        }
    }
}
