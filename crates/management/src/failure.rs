//! Why a request is refused: a status, RabbitMQ's word for it and RabbitMQ's sentence.

use node::administration::Denied;
use node::identities::IdentityError;
use node::refusal::{Refusal, RefusalKind};

use crate::json::{Json, Object};

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) status: u16,
    pub(crate) error: &'static str,
    pub(crate) reason: Json,
}

impl Failure {
    pub(crate) fn new(status: u16, error: &'static str, reason: impl Into<Json>) -> Self {
        Failure {
            status,
            error,
            reason: reason.into(),
        }
    }

    /// There is no such object, or no such route. RabbitMQ has the two words the wrong way round here.
    pub(crate) fn no_object() -> Self {
        Failure::new(404, "Object Not Found", "Not Found")
    }

    /// What was named in passing does not exist, or may not be seen.
    pub(crate) fn not_found(reason: impl Into<Json>) -> Self {
        Failure::new(404, "not_found", reason)
    }

    pub(crate) fn bad_request(reason: impl Into<Json>) -> Self {
        Failure::new(400, "bad_request", reason)
    }

    /// `["not_integer","x"]`: what is wrong, and the value.
    pub(crate) fn bad_value(what: &'static str, value: impl Into<Json>) -> Self {
        Failure::bad_request(vec![Json::from(what), value.into()])
    }

    /// Who asks is not known.
    pub(crate) fn not_logged_in() -> Self {
        Failure::new(401, "not_authorized", "Not_Authorized")
    }

    /// Who asks may not.
    pub(crate) fn not_authorised(reason: impl Into<Json>) -> Self {
        Failure::new(401, "not_authorised", reason)
    }

    /// A permission says no.
    pub(crate) fn access_refused() -> Self {
        Failure::not_authorised("Access refused.")
    }

    /// We failed: the catalog cannot be written.
    pub(crate) fn internal(reason: String) -> Self {
        Failure::new(500, "internal_error", reason)
    }

    pub(crate) fn body(&self) -> Object {
        Object::new()
            .with("error", self.error)
            .with("reason", self.reason.clone())
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        match refusal.kind {
            RefusalKind::NotFound => Failure::not_found(refusal.text),
            RefusalKind::AccessRefused => Failure::access_refused(),
            RefusalKind::InternalError => Failure::internal(refusal.text),
            RefusalKind::PreconditionFailed
            | RefusalKind::ResourceLocked
            | RefusalKind::NotAllowed => Failure::bad_request(refusal.text),
        }
    }
}

impl From<IdentityError> for Failure {
    fn from(error: IdentityError) -> Self {
        match error {
            IdentityError::NoSuchUser(_) => Failure::no_object(),
            error => Failure::bad_request(error.to_string()),
        }
    }
}

impl From<Denied> for Failure {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::NoSuchVhost(_) => Failure::not_found("vhost_not_found"),
            Denied::NoSuchUser(_) | Denied::NotThere => Failure::no_object(),
            Denied::Invalid(text) => Failure::bad_request(text),
        }
    }
}

impl From<metadata::json::JsonError> for Failure {
    fn from(error: metadata::json::JsonError) -> Self {
        Failure::bad_request(error.to_string())
    }
}
