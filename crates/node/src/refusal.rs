//! Why the node refused something: a kind that each protocol maps to its own code, and RabbitMQ's sentence.

use std::fmt;

/// What kind of refusal. Each protocol maps it to its own code (AMQP reply code, HTTP status).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalKind {
    /// There is no such thing (AMQP 404).
    NotFound,
    /// The user may not, or nobody may (AMQP 403).
    AccessRefused,
    /// It exists otherwise, or its state forbids it (AMQP 406).
    PreconditionFailed,
    /// Another connection owns it (AMQP 405).
    ResourceLocked,
    /// The request breaks a rule of the whole connection (AMQP 530).
    NotAllowed,
    /// We cannot do it, and it is our fault: a failed disk (AMQP 541).
    InternalError,
}

/// A refusal with its sentence, without the code's name in front.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What kind.
    pub kind: RefusalKind,
    /// RabbitMQ's sentence: people search for it.
    pub text: String,
}

impl Refusal {
    /// A refusal of `kind` saying `text`.
    pub fn new(kind: RefusalKind, text: impl Into<String>) -> Self {
        Refusal {
            kind,
            text: text.into(),
        }
    }

    /// `no queue 'q' in vhost '/'`.
    pub fn no_queue(name: &str, vhost: &str) -> Self {
        Refusal::new(
            RefusalKind::NotFound,
            format!("no queue '{name}' in vhost '{vhost}'"),
        )
    }

    /// `no exchange 'x' in vhost '/'`.
    pub fn no_exchange(name: &str, vhost: &str) -> Self {
        Refusal::new(
            RefusalKind::NotFound,
            format!("no exchange '{name}' in vhost '{vhost}'"),
        )
    }

    /// 406 with `text`.
    pub fn precondition(text: impl Into<String>) -> Self {
        Refusal::new(RefusalKind::PreconditionFailed, text)
    }

    /// 403 with `text`.
    pub fn access(text: impl Into<String>) -> Self {
        Refusal::new(RefusalKind::AccessRefused, text)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Refusal {}
