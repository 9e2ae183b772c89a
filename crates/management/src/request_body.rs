//! Reads the body of a request, within its limit.
//!
//! A body that is too long is refused as soon as that is known, but read on for a while and forgotten: a client that
//! still sends when its socket is closed never hears why.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout_at};

/// How long a client may take to send all of a body; then it is answered with 408. How long it may send nothing at
/// all is for whoever listens to say.
const BODY_TIMEOUT: Duration = Duration::from_secs(300);

/// How much of a body that is refused is read all the same.
const REFUSED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Why there is no body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyError {
    /// It is longer than it may be.
    TooLong,
    /// It does not come, or not fast enough.
    TooSlow,
    /// The client is gone, or sends what is no HTTP.
    Broken,
}

/// Reads a body of at most so many bytes. `is_waiting`: the client sends it once it is told to, so that one that is
/// refused need not be read.
pub(crate) async fn read(
    mut body: Body,
    bytes_max: usize,
    is_waiting: bool,
) -> Result<Vec<u8>, BodyError> {
    let deadline = Instant::now() + BODY_TIMEOUT;
    let mut is_too_long = body.size_hint().lower() > bytes_max as u64;
    if is_too_long && is_waiting {
        return Err(BodyError::TooLong);
    }
    let (mut bytes, mut refused_bytes) = (Vec::new(), 0);
    loop {
        let frame = match timeout_at(deadline, body.frame()).await {
            Err(_) if !is_too_long => return Err(BodyError::TooSlow),
            Ok(Some(Err(error))) if !is_too_long => return Err(kind(&error)),
            Err(_) | Ok(None | Some(Err(_))) => break,
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if !is_too_long && bytes_max - bytes.len() < data.len() {
            is_too_long = true;
            bytes = Vec::new();
        }
        if is_too_long {
            refused_bytes += data.len();
            if REFUSED_BYTES_MAX < refused_bytes {
                break;
            }
        } else {
            bytes.extend_from_slice(&data);
        }
    }
    match is_too_long {
        true => Err(BodyError::TooLong),
        false => Ok(bytes),
    }
}

fn kind(error: &axum::Error) -> BodyError {
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(io) = error.downcast_ref::<io::Error>()
            && io.kind() == io::ErrorKind::TimedOut
        {
            return BodyError::TooSlow;
        }
        cause = error.source();
    }
    BodyError::Broken
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Bytes;

    #[tokio::test]
    async fn bodies_end_where_they_may() {
        for (length, expected) in [
            (0, Ok(0)),
            (10, Ok(10)),
            (11, Err(BodyError::TooLong)),
            (1000, Err(BodyError::TooLong)),
        ] {
            let body = Body::from(vec![b'x'; length]);
            let read = read(body, 10, false).await.map(|bytes| bytes.len());
            assert_eq!(read, expected, "{length}");
        }
    }

    #[tokio::test]
    async fn bodies_of_unknown_length_end_where_they_may_and_say_why_they_broke() {
        let slow = || io::Error::from(io::ErrorKind::TimedOut);
        let gone = || io::Error::from(io::ErrorKind::ConnectionReset);
        for (parts, end, expected) in [
            (&["12345", "67890"][..], None, Ok(10)),
            (&["12345", "678901"], None, Err(BodyError::TooLong)),
            (&["123"], Some(slow()), Err(BodyError::TooSlow)),
            (&["123"], Some(gone()), Err(BodyError::Broken)),
            (&["12345678901"], Some(gone()), Err(BodyError::TooLong)),
        ] {
            let (mut sender, body) = http_body_util::channel::Channel::<Bytes, io::Error>::new(8);
            for part in parts {
                let sent = sender.send_data(Bytes::from_static(part.as_bytes())).await;
                sent.expect("there is room");
            }
            match end {
                Some(error) => sender.abort(error),
                None => drop(sender),
            }
            let read = read(Body::new(body), 10, false).await;
            assert_eq!(read.map(|bytes| bytes.len()), expected, "{parts:?}");
        }
    }

    #[tokio::test]
    async fn who_waits_to_be_told_is_not_read_from() {
        let body = Body::from(vec![b'x'; 11]);
        assert_eq!(read(body, 10, true).await, Err(BodyError::TooLong));
    }
}
