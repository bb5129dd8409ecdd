use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::Response;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::{Body, BodyError};

/// Delivers a body chunk by chunk, with at least this much time between two: a reply that is there
/// already, such as one from a cache, as if it was being written. The first chunk comes at once.
///
/// What is attached to the response from here on hears of what is delivered, when it is.
///
/// ```
/// use std::time::Duration;
/// use buttress_http::{Body, paced};
/// use bytes::Bytes;
/// use http::Response;
/// use http_body_util::{BodyExt, Full};
/// use tokio::time::Instant;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let reply = Response::new(Body::<Full<Bytes>>::ready("hello"));
/// let reply = paced(reply, Duration::from_millis(20));
/// assert_eq!(reply.into_body().collect().await.unwrap().to_bytes(), "hello");
/// # }
/// ```
#[must_use]
pub fn paced<B>(response: Response<Body<B>>, between: Duration) -> Response<Body<B>>
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Send,
{
    response.map(|body| {
        body.convert(|body, _| Paced {
            body: Box::pin(body),
            between,
            next: Box::pin(sleep_until(Instant::now())),
            waits: false,
        })
    })
}

struct Paced<B: http_body::Body> {
    body: Pin<Box<Body<B>>>,
    between: Duration,
    next: Pin<Box<Sleep>>,
    waits: bool,
}

// ===== impl Paced =====

impl<B> http_body::Body for Paced<B>
where
    B: http_body::Body<Data = Bytes>,
{
    type Data = Bytes;
    type Error = BodyError<B::Error>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.waits {
            ready!(self.next.as_mut().poll(cx));
            self.waits = false;
        }
        let frame = ready!(self.body.as_mut().poll_frame(cx));
        if matches!(&frame, Some(Ok(frame)) if frame.is_data()) && !self.body.is_end_stream() {
            // A time beyond the clock is as late as can be.
            let now = Instant::now();
            let next = now.checked_add(self.between);
            let far = Duration::from_secs(60 * 60 * 24 * 365);
            self.next.as_mut().reset(next.unwrap_or(now + far));
            self.waits = true;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
