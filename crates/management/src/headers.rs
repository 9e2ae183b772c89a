//! Headers of every answer, whatever it says: what may be done, for pages of which origin (CORS), and what the
//! configuration adds.
//!
//! Unlike RabbitMQ's, an answer to a browser's question names the age of what it allows whether or not it asked for
//! headers, too.

use axum::extract::Request;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ALLOW,
    ORIGIN,
};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::Response;

use crate::options::Options;

/// What of a request the headers of its answer depend on.
pub(crate) struct Asked {
    origin: Option<HeaderValue>,
    headers: Option<HeaderValue>,
    is_question: bool,
}

impl Asked {
    pub(crate) fn of(request: &Request) -> Self {
        let header = |name| request.headers().get(name).cloned();
        Asked {
            origin: header(ORIGIN),
            headers: header(ACCESS_CONTROL_REQUEST_HEADERS),
            is_question: request.method() == Method::OPTIONS,
        }
    }
}

/// Adds them. `allow` are the methods of the path.
pub(crate) fn write(options: &Options, allow: &str, asked: Asked, response: &mut Response) {
    let hidden = options.hide_allow && response.status() != StatusCode::METHOD_NOT_ALLOWED;
    let headers = response.headers_mut();
    let allow = HeaderValue::from_str(allow).expect("methods are plain letters");
    if !hidden {
        headers.insert(ALLOW, allow.clone());
    }
    for (known, value) in &options.headers {
        headers.insert(known.name(), value.clone());
    }
    let Some(origin) = asked.origin else { return };
    let Some(known) = known_origin(options, &origin) else {
        return;
    };
    if known == Known::ByName {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(
            ACCESS_CONTROL_ALLOW_CREDENTIALS,
            HeaderValue::from_static("true"),
        );
    } else {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    }
    if asked.is_question {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, allow);
        headers.insert(ACCESS_CONTROL_MAX_AGE, options.cors_age_max_s.into());
        if let Some(wanted) = asked.headers {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted);
        }
    }
}

#[derive(PartialEq, Eq)]
enum Known {
    ByName,
    AsAnybody,
}

/// Whether pages of an origin may use the API. `null` and `*` are no origins.
fn known_origin(options: &Options, origin: &HeaderValue) -> Option<Known> {
    let origin = origin.to_str().ok()?;
    if matches!(origin, "null" | "*") {
        return None;
    }
    let allows = |wanted: &str| options.cors_origins.iter().any(|known| known == wanted);
    match (allows(origin), allows("*")) {
        (true, _) => Some(Known::ByName),
        (false, true) => Some(Known::AsAnybody),
        (false, false) => None,
    }
}
