use std::{
    collections::VecDeque,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use buttress_core::{Class, Ledger, Outcome, Progress};
use bytes::Bytes;
use http::{HeaderMap, Response, response::Parts};
use http_body::{Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::{
    task::coop::{has_budget_remaining, unconstrained},
    time::{Sleep, sleep},
};

use crate::{
    Body, BodyError,
    duties::finish,
    tail::{End, Tail},
};

/// How long a failed head waits for what explains it. That is sent with it, as a rule; and of a server
/// that is in trouble it may never come.
const EXPLAINED: Duration = Duration::from_secs(2);

/// How long a response may be held back, and how it ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Peek {
    pub(crate) bytes: usize,
    pub(crate) time: Duration,
    /// A stream without its terminator does not end as if it were whole.
    pub(crate) strict: bool,
}

pin_project! {
    /// A response that is held back until its meaning is known, and then the content of its
    /// body: in one box all along, because a body that was polled cannot be moved.
    pub(crate) struct Held<B: http_body::Body> {
        #[pin]
        rest: Rest<B>,
        #[pin]
        timer: Option<Sleep>,
        frames: VecDeque<(Bytes, Option<Progress>)>,
        bytes: usize,
        // Gone once it was released.
        response: Option<(Parts, Tail)>,
        ledger: Option<Ledger>,
    }

    impl<B: http_body::Body> PinnedDrop for Held<B> {
        // The caller goes away while nobody outside has seen a response, and so nobody has
        // attached to it. What it used by now is written where an attempt goes that was given up.
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            if let Some((_, mut tail)) = this.response.take() {
                this.rest.set(Rest::Ended { trailers: None });
                // It may be the meter that panics, once more.
                finish(|| tail.end(&End::Dropped));
                let outcome = tail.seen();
                if let (Some(ledger), Some(_)) = (this.ledger, outcome.usage) {
                    ledger.add(&outcome);
                }
            }
        }
    }
}

pin_project! {
    // What comes after the frames that were read.
    #[project = RestProj]
    enum Rest<B: http_body::Body> {
        Live { #[pin] body: B },
        Ended { trailers: Option<HeaderMap> },
        Failed { error: Option<BodyError<B::Error>> },
    }
}

// ===== impl Held =====

impl<B> Held<B>
where
    B: http_body::Body<Data = Bytes>,
{
    pub(crate) fn new(head: Parts, body: B, tail: Tail, ledger: Option<Ledger>) -> Pin<Box<Self>> {
        Box::pin(Self {
            rest: Rest::Live { body },
            timer: None,
            frames: VecDeque::new(),
            bytes: 0,
            response: Some((head, tail)),
            ledger,
        })
    }

    /// Ready once the meaning of the response is known, or it was held back long enough.
    pub(crate) fn poll_known(self: Pin<&mut Self>, peek: &Peek, cx: &mut Context<'_>) -> Poll<()> {
        let mut this = self.project();
        let Some((_, tail)) = this.response else {
            return Poll::Ready(());
        };
        // Whether the body is polled when its task may go on, and so has no more than it gives.
        let had_turn = this.timer.is_some() && has_budget_remaining();
        while let RestProj::Live { body } = this.rest.as_mut().project() {
            let Poll::Ready(frame) = body.poll_frame(cx) else {
                if peek.time.is_zero() {
                    // A timer counts whole milliseconds, and waits for the next one to begin.
                    return Poll::Ready(());
                }
                if this.timer.is_none() {
                    let time = match tail.seen().failed() {
                        true => peek.time.min(EXPLAINED),
                        false => peek.time,
                    };
                    this.timer.set(Some(sleep(time)));
                }
                return match this.timer.as_mut().as_pin_mut() {
                    // Though the body may have left nothing of what its task may do at a time.
                    Some(timer) if had_turn && !has_budget_remaining() => {
                        pin!(unconstrained(timer)).poll(cx)
                    }
                    Some(timer) => timer.poll(cx),
                    None => Poll::Pending,
                };
            };
            let rest = match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        let progress = tail.measure(&data);
                        // An empty chunk counts too: there may be no end of them.
                        *this.bytes += data.len().max(1);
                        this.frames.push_back((data, progress));
                        if tail.is_known() || *this.bytes >= peek.bytes {
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
            this.rest.set(rest);
        }
        Poll::Ready(())
    }

    /// The response, as far as it is known by now.
    pub(crate) fn release(mut self: Pin<Box<Self>>) -> Option<Response<Body<B>>> {
        let mut this = self.as_mut().project();
        let (mut head, mut tail) = this.response.take()?;
        this.timer.set(None);
        // Before the end, which the meter does not outlive.
        tail.learned(&mut head.extensions);
        match &*this.rest {
            Rest::Live { .. } => tail.peeked(),
            Rest::Ended { trailers } => {
                if let Some(trailers) = trailers {
                    tail.trailers(trailers);
                }
                tail.ends(&End::Clean);
            }
            Rest::Failed { .. } => tail.ends(&End::Broken(Outcome::new(Class::Unavailable))),
        }
        Some(Response::from_parts(head, Body::held(self, tail)))
    }

    /// Whether all that was read while the response was held back has been delivered.
    pub(crate) fn is_drained(&self) -> bool {
        self.frames.is_empty()
    }

    /// Whether all there is was read, and the body inside is gone.
    pub(crate) const fn is_read(&self) -> bool {
        !matches!(self.rest, Rest::Live { .. })
    }

    /// The next chunk that was read while the response was held back, and what was said of it.
    pub(crate) fn next(self: Pin<&mut Self>) -> Option<(Bytes, Option<Progress>)> {
        self.project().frames.pop_front()
    }
}

/// What comes after the chunks that were read.
impl<B> http_body::Body for Held<B>
where
    B: http_body::Body<Data = Bytes>,
{
    type Data = Bytes;
    type Error = BodyError<B::Error>;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(match self.project().rest.project() {
            RestProj::Live { body } => {
                ready!(body.poll_frame(cx)).map(|frame| frame.map_err(BodyError::Inner))
            }
            RestProj::Ended { trailers } => trailers.take().map(|all| Ok(Frame::trailers(all))),
            RestProj::Failed { error } => error.take().map(Err),
        })
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty()
            && match &self.rest {
                Rest::Live { body } => body.is_end_stream(),
                Rest::Ended { trailers } => trailers.is_none(),
                Rest::Failed { error } => error.is_none(),
            }
    }

    fn size_hint(&self) -> SizeHint {
        let rest = match &self.rest {
            Rest::Live { body } => body.size_hint(),
            Rest::Ended { .. } => SizeHint::with_exact(0),
            Rest::Failed { .. } => SizeHint::default(),
        };
        let known = self
            .frames
            .iter()
            .map(|(data, _)| data.len() as u64)
            .sum::<u64>();
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(known));
        if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(known)) {
            hint.set_upper(upper);
        }
        hint
    }
}
