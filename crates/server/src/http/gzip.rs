//! Compresses answers for clients that say they can read that, on a thread where it may take its time.
//!
//! As in RabbitMQ gzip alone is spoken, and what is short is left as it is. What goes on without end (events) is never
//! compressed: its parts must leave as they come.

use std::io::Write as _;

use axum::body::{Body, HttpBody as _};
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, VARY};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;

/// Shorter bodies are left as they are.
const COMPRESSED_BYTES_MIN: u64 = 300;

/// Whether a client says that it reads gzip.
pub(super) fn is_read_by(headers: &HeaderMap) -> bool {
    let values = headers.get_all(ACCEPT_ENCODING).iter();
    let words = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    let mut by_name = None;
    let mut by_star = None;
    for word in words {
        let (name, parameters) = word.split_once(';').unwrap_or((word, ""));
        let weight = parameters.trim().strip_prefix("q=").unwrap_or("1");
        let wanted = weight
            .trim()
            .parse::<f64>()
            .is_ok_and(|weight| weight > 0.0);
        match name.trim().to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => by_name = Some(wanted),
            "*" => by_star = Some(wanted),
            _ => {}
        }
    }
    by_name.or(by_star).unwrap_or(false)
}

/// The answer, compressed if it is whole and long enough.
pub(super) async fn compress(response: Response) -> Response {
    let length = response.body().size_hint().exact();
    let is_whole = length.is_some_and(|length| COMPRESSED_BYTES_MIN <= length);
    if !is_whole || response.headers().contains_key(CONTENT_ENCODING) {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let body = match axum::body::to_bytes(body, usize::MAX).await {
        Ok(body) => body,
        // Bodies that are whole do not fail.
        Err(_) => return Response::from_parts(head, Body::empty()),
    };
    let original = body.clone();
    let compressed = tokio::task::spawn_blocking(move || {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&body)?;
        encoder.finish()
    });
    let Ok(Ok(compressed)) = compressed.await else {
        return Response::from_parts(head, original.into());
    };
    head.headers.remove(CONTENT_LENGTH);
    head.headers
        .insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    if !head.headers.contains_key(VARY) {
        head.headers
            .insert(VARY, HeaderValue::from_static("accept-encoding"));
    }
    Response::from_parts(head, compressed.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_say_what_they_read() {
        for (said, expected) in [
            ("gzip", true),
            ("deflate, GZIP;q=0.5, br", true),
            ("gzip;q=0", false),
            ("gzip; q=0.001", true),
            ("*", true),
            ("*, gzip;q=0", false),
            ("gzip, *;q=0", true),
            ("identity", false),
            ("gzip;q=x", false),
            ("", false),
        ] {
            let value = HeaderValue::from_static(said);
            let headers = HeaderMap::from_iter([(ACCEPT_ENCODING, value)]);
            assert_eq!(is_read_by(&headers), expected, "{said}");
        }
        assert!(!is_read_by(&HeaderMap::new()));
    }
}
