use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use buttress_core::{Class, Ledger, Outcome};
use bytes::Bytes;
use http::{Response, response::Parts};

use crate::{
    Body, BodyError,
    body::{Frames, Rest},
    tail::{End, Tail},
};

/// How long a response may be held back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peek {
    pub(crate) bytes: usize,
    pub(crate) time: Duration,
}

/// A response that is held back until its meaning is known.
pub(crate) struct Held<B: http_body::Body> {
    // Gone once it was released.
    reading: Option<Reading<B>>,
    ledger: Option<Ledger>,
}

struct Reading<B: http_body::Body> {
    head: Parts,
    rest: Rest<B>,
    tail: Tail,
    frames: Frames,
    bytes: usize,
}

// ===== impl Held =====

impl<B> Held<B>
where
    B: http_body::Body<Data = Bytes>,
{
    pub(crate) fn new(head: Parts, body: B, tail: Tail, ledger: Option<Ledger>) -> Self {
        let reading = Reading {
            head,
            // Boxed, because a body that was polled cannot be moved into the response otherwise.
            rest: Rest::Live {
                body: Box::pin(body),
            },
            tail,
            frames: Frames::new(),
            bytes: 0,
        };
        Self {
            reading: Some(reading),
            ledger,
        }
    }

    /// Ready once the meaning of the response is known, or `bound` bytes of it were read.
    pub(crate) fn poll_known(&mut self, bound: usize, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.reading {
            Some(reading) => reading.poll_known(bound, cx),
            None => Poll::Ready(()),
        }
    }

    /// The response, as far as it is known by now.
    pub(crate) fn release(&mut self) -> Option<Response<Body<B>>> {
        self.reading.take().map(Reading::release)
    }
}

/// The caller goes away while nobody outside has seen a response, and so nobody has attached to
/// it. What it used by now is written where an attempt goes that was given up.
impl<B: http_body::Body> Drop for Held<B> {
    fn drop(&mut self) {
        if let Some(Reading { rest, mut tail, .. }) = self.reading.take() {
            drop(rest);
            tail.end(End::Dropped);
            if let (Some(ledger), Some(_)) = (&self.ledger, tail.seen().usage) {
                ledger.add(&tail.seen());
            }
        }
    }
}

// ===== impl Reading =====

impl<B> Reading<B>
where
    B: http_body::Body<Data = Bytes>,
{
    fn poll_known(&mut self, bound: usize, cx: &mut Context<'_>) -> Poll<()> {
        while let Rest::Live { body } = &mut self.rest {
            self.rest = match ready!(Pin::as_mut(body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        if self.reads(data) || self.bytes >= bound {
                            return Poll::Ready(());
                        }
                        continue;
                    }
                    Err(frame) => Rest::Ended {
                        trailers: frame.into_trailers().ok(),
                    },
                },
                Some(Err(error)) => Rest::Failed {
                    error: Some(BodyError::Inner(error)),
                },
                None => Rest::Ended { trailers: None },
            };
        }
        Poll::Ready(())
    }

    /// Looks at a chunk and keeps it. Says whether the meaning of the response is known by now.
    fn reads(&mut self, data: Bytes) -> bool {
        let progress = self.tail.measure(&data);
        // An empty chunk counts too: there may be no end of them.
        self.bytes += data.len().max(1);
        self.frames.push_back((data, progress));
        self.tail.has_content() || self.tail.has_verdict()
    }

    fn release(mut self) -> Response<Body<B>> {
        match &self.rest {
            Rest::Live { .. } => self.tail.peeked(),
            Rest::Ended { trailers } => {
                if let Some(trailers) = trailers {
                    self.tail.trailers(trailers);
                }
                self.tail.end(End::Clean);
            }
            Rest::Failed { .. } => {
                let broken = Outcome::new(Class::Unavailable);
                self.tail.end(End::Broken(broken));
            }
        }
        let body = Body::held(self.frames, self.rest, self.tail);
        Response::from_parts(self.head, body)
    }
}
