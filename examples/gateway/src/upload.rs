//! The body of an HTTP/2 request, which ends well even if nobody reads it.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::{body::Incoming, rt::Executor};
use tokio::time::timeout;

use crate::{config::Limits, socket::Bounds};

/// Reads what is left of a body when it is dropped, and throws it away, within bounds.
///
/// Otherwise the stream would be reset behind its answer. RFC 9113 (8.1) wants that understood as
/// "no need to go on"; of the callers that are still sending, curl 7 and Python's httpx take it for
/// a failure, and do not tell the answer.
pub(crate) struct Upload<E: Executor<Rest>> {
    body: Option<Incoming>,
    bounds: Bounds,
    executor: E,
}

/// What reads it.
pub(crate) type Rest = Pin<Box<dyn Future<Output = ()> + Send>>;

impl<E: Executor<Rest>> Upload<E> {
    pub(crate) fn new(body: Incoming, limits: &Limits, executor: E) -> Self {
        Self {
            body: Some(body),
            bounds: Bounds::new(limits),
            executor,
        }
    }
}

impl<E: Executor<Rest> + Unpin> Body for Upload<E> {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

impl<E: Executor<Rest>> Drop for Upload<E> {
    fn drop(&mut self) {
        let rest = self.body.take().filter(|body| !body.is_end_stream());
        if let Some(body) = rest {
            self.executor.execute(Box::pin(discard(body, self.bounds)));
        }
    }
}

async fn discard(mut body: Incoming, bounds: Bounds) {
    let mut left = bounds.bytes;
    let all = async {
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, Bytes::len);
            match left.checked_sub(length) {
                Some(less) => left = less,
                None => return,
            }
        }
    };
    // Whether it came to its end, or was too much or too slow: nobody waits for it.
    let _ = timeout(bounds.time, all).await;
}
