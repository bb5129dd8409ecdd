//! What came before a break reaches the caller.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::call::Call;

pin_project! {
    /// The body of a reply, with the call that it ends. It waits once before it fails.
    ///
    /// hyper writes to the connection when a body has nothing ready; one that fails in the same turn
    /// as it delivered takes along what was not written yet.
    pub(crate) struct Written<B: Body> {
        #[pin]
        inner: B,
        failure: Option<B::Error>,
        // Dropped after the body, which tells how it went before it is gone.
        call: Call,
    }
}

impl<B: Body> Written<B> {
    pub(crate) const fn new(inner: B, call: Call) -> Self {
        Self {
            inner,
            failure: None,
            call,
        }
    }
}

impl<B> Body for Written<B>
where
    B: Body<Data = Bytes, Error: std::error::Error + 'static>,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        if let Some(failure) = this.failure.take() {
            return Poll::Ready(Some(Err(failure)));
        }
        match ready!(this.inner.poll_frame(cx)) {
            Some(Err(failure)) => {
                this.call.broke_off(&failure);
                *this.failure = Some(failure);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            frame => Poll::Ready(frame),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.failure.is_none() && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
