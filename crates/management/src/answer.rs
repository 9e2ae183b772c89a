//! What a handler answers, before it is an HTTP response.

use node::catalog::Ticket;

use crate::json::{Json, Object};

/// See the module.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Body,
    /// What must be on disk before the answer is said.
    pub(crate) ticket: Ticket,
    pub(crate) location: Option<String>,
}

#[derive(Debug)]
pub(crate) enum Body {
    Empty,
    Json(Json),
    /// Text of the given content type.
    Text(&'static str, String),
    /// What goes on, of the given content type.
    Stream(&'static str, axum::body::Body),
}

impl Answer {
    fn of(status: u16, body: Body) -> Self {
        Answer {
            status,
            body,
            ticket: Ticket::NONE,
            location: None,
        }
    }

    /// 200 with JSON.
    pub(crate) fn json(json: impl Into<Json>) -> Self {
        Answer::of(200, Body::Json(json.into()))
    }

    /// 200 with `{"status":"ok"}`.
    pub(crate) fn ok() -> Self {
        Answer::json(Object::new().with("status", "ok"))
    }

    /// 200 with text of a content type.
    pub(crate) fn text(content_type: &'static str, text: String) -> Self {
        Answer::of(200, Body::Text(content_type, text))
    }

    /// 200 with what comes, of a content type, until it ends.
    pub(crate) fn stream(content_type: &'static str, body: axum::body::Body) -> Self {
        Answer::of(200, Body::Stream(content_type, body))
    }

    /// A check that found something wrong: 503.
    pub(crate) fn failed(reason: Object) -> Self {
        Answer::of(503, Body::Json(reason.into()))
    }

    /// 201: it was made.
    pub(crate) fn created() -> Self {
        Answer::of(201, Body::Empty)
    }

    /// 204: it is done.
    pub(crate) fn done() -> Self {
        Answer::of(204, Body::Empty)
    }

    /// 201 if it is new, 204 if it was there.
    pub(crate) fn created_if(new: bool) -> Self {
        if new {
            Answer::created()
        } else {
            Answer::done()
        }
    }

    /// Said once the ticket is on disk.
    pub(crate) fn when(mut self, ticket: Ticket) -> Self {
        self.ticket = self.ticket.max(ticket);
        self
    }

    /// With a `Location` header.
    pub(crate) fn at(mut self, location: String) -> Self {
        self.location = Some(location);
        self
    }
}
