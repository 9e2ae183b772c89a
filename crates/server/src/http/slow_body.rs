//! A request's body whose client must go on sending: too long a silence is an error.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// See the module.
pub(super) struct SlowBody<B> {
    body: B,
    patience: Duration,
    /// When the silence was long enough; `None` while nobody waits.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<B> SlowBody<B> {
    pub(super) fn new(body: B, patience: Duration) -> Self {
        SlowBody {
            body,
            patience,
            deadline: None,
        }
    }
}

impl<B> HttpBody for SlowBody<B>
where
    B: HttpBody<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            self.deadline = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let patience = self.patience;
        let deadline = self
            .deadline
            .get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + patience)));
        ready!(deadline.as_mut().poll(context));
        let error = io::Error::new(io::ErrorKind::TimedOut, "the client sends nothing");
        Poll::Ready(Some(Err(error.into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;

    #[tokio::test]
    async fn who_sends_nothing_is_given_up() {
        let (mut sender, body) = http_body_util::channel::Channel::<Bytes, io::Error>::new(1);
        let mut body = SlowBody::new(body, Duration::from_millis(1));
        let sent = sender.send_data(Bytes::from_static(b"1")).await;
        sent.expect("there is room");
        let first = body.frame().await.expect("it goes on").expect("it came");
        assert_eq!(first.into_data().expect("data"), "1");
        let error = body
            .frame()
            .await
            .expect("it goes on")
            .expect_err("silence");
        let error = error.downcast_ref::<io::Error>().map(io::Error::kind);
        assert_eq!(error, Some(io::ErrorKind::TimedOut));
    }
}
