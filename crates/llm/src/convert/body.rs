//! A stream of the endpoint as the caller reads it.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use buttress_http::BodyError;
use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};
use pin_project_lite::pin_project;

use super::stream::{Stream, StreamError};

pin_project! {
    /// The body inside, converted event by event.
    pub(super) struct Events<B> {
        #[pin]
        inner: B,
        stream: Stream,
        out: BytesMut,
        // What comes once `out` is delivered.
        then: Then,
    }
}

#[derive(Debug)]
enum Then {
    More,
    Fail(StreamError),
    End,
}

// ===== impl Events =====

impl<B> Events<B> {
    pub(super) fn new(inner: B, stream: Stream) -> Self {
        Self {
            inner,
            stream,
            out: BytesMut::new(),
            then: Then::More,
        }
    }
}

impl<B, E> Body for Events<B>
where
    B: Body<Data = Bytes, Error = BodyError<E>>,
{
    type Data = Bytes;
    type Error = BodyError<E>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError<E>>>> {
        let mut this = self.project();
        loop {
            if !this.out.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(this.out.split().freeze()))));
            }
            match std::mem::replace(this.then, Then::End) {
                Then::More => {}
                Then::Fail(error) => {
                    return Poll::Ready(Some(Err(BodyError::Layer(error.into()))));
                }
                Then::End => return Poll::Ready(None),
            }
            // Until there is more to say, it goes on.
            *this.then = Then::More;
            let done = match ready!(this.inner.as_mut().poll_frame(cx)).transpose()? {
                Some(frame) => match frame.into_data() {
                    Ok(data) => this.stream.push(data, this.out).map(|()| Then::More),
                    // No dialect says anything in trailers.
                    Err(_) => Ok(Then::More),
                },
                None => this.stream.finish(this.out).map(|()| Then::End),
            };
            *this.then = done.unwrap_or_else(Then::Fail);
        }
    }
}
