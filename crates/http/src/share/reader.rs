//! One of the callers that read a shared reply.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use buttress_core::{Class, Outcome, Reason, Refused};
use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::Call;
use crate::{
    Body, BodyError, Link,
    tape::{Place, Stop},
};

/// One caller's body.
pub(super) struct Reader<B>
where
    B: http_body::Body<Data = Bytes>,
{
    call: Option<Arc<Call<B>>>,
    place: Place,
    link: Link,
    told: bool,
}

// ===== impl Reader =====

impl<B> Reader<B>
where
    B: http_body::Body<Data = Bytes>,
{
    /// One more reader of `call`, which tells by the link how that went.
    pub(super) fn new(call: &Arc<Call<B>>, link: Link) -> Self {
        call.bill().readers += 1;
        Self {
            call: Some(call.clone()),
            place: Place::default(),
            link,
            told: false,
        }
    }

    /// It has come to the end, whatever that is.
    fn ends(&mut self) -> Option<Outcome> {
        let call = self.call.take()?;
        call.tape.leave(&mut self.place);
        let outcome = call.outcome();
        let mut bill = call.bill();
        bill.readers -= 1;
        let reported = bill.pay(outcome);
        drop(bill);
        self.link.tell(&reported);
        Some(outcome)
    }

    fn leaves(&mut self) {
        if let Some(call) = self.call.take() {
            call.tape.leave(&mut self.place);
            if let Some(outcome) = call.left(self.told) {
                self.link.tell(&outcome);
            }
        }
    }

    fn fails(
        &mut self,
        stop: Stop<BodyError<B::Error>>,
    ) -> Option<Result<Frame<Bytes>, BodyError<B::Error>>> {
        let error = match stop {
            Stop::Behind => {
                let refused = Refused::new(Reason::Coalesced);
                let begun = self.place.has_read();
                self.leaves();
                BodyError::Refused(match begun {
                    true => refused.with_class(Class::Interrupted),
                    false => refused,
                })
            }
            Stop::Source(error) => match self.ends()?.class {
                // It broke after its terminator: nothing is missing.
                Class::Success => return None,
                _ => error,
            },
            Stop::Failed => {
                let outcome = self.ends()?;
                if outcome.class == Class::Success {
                    return None;
                }
                let refused = Refused::new(Reason::Coalesced).with_class(outcome.class);
                BodyError::Refused(match outcome.retry_after {
                    Some(wait) => refused.with_retry_after(wait),
                    None => refused,
                })
            }
        };
        Some(Err(error))
    }
}

impl<B> Drop for Reader<B>
where
    B: http_body::Body<Data = Bytes>,
{
    fn drop(&mut self) {
        match &self.call {
            Some(call) if !call.tape.is_at_end(&self.place) => self.leaves(),
            _ => {
                self.ends();
            }
        }
    }
}

impl<B> http_body::Body for Reader<B>
where
    B: http_body::Body<Data = Bytes>,
{
    type Data = Bytes;
    type Error = BodyError<B::Error>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = self.get_mut();
        let Some(call) = &this.call else {
            return Poll::Ready(None);
        };
        let mark = |source: &Body<B>| call.mark(source);
        Poll::Ready(
            match ready!(call.tape.poll_frame(&mut this.place, cx, mark)) {
                Some(Ok((frame, mark))) => {
                    this.told |= mark.told;
                    if let Some(progress) = mark.progress {
                        this.link.pass(progress);
                    }
                    if call.tape.is_end_stream(&this.place) {
                        this.ends();
                    }
                    Some(Ok(frame))
                }
                Some(Err(stop)) => this.fails(stop),
                None => {
                    this.ends();
                    None
                }
            },
        )
    }

    fn is_end_stream(&self) -> bool {
        match &self.call {
            Some(call) => call.tape.is_end_stream(&self.place),
            None => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.call {
            Some(call) => call.tape.size_hint(&self.place),
            None => SizeHint::with_exact(0),
        }
    }
}
