//! The body of an in-process reply.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
    vec,
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use crate::{
    Failure, FailureKind, Usage,
    log::{Ending, Exchange},
    plan::{Framing, Part, Plan},
};

/// The body of a reply of a [`ProviderService`](crate::ProviderService): a frame for each event,
/// at the script's pace. Dropping it before its end counts as the client's leaving.
pub struct ReplyBody {
    parts: vec::IntoIter<Part>,
    /// A piece that comes again: what, how often still, how long between.
    again: Option<(Bytes, Option<u64>, Duration)>,
    delay: Option<Pin<Box<Sleep>>>,
    framing: Framing,
    left: u64,
    usage: Usage,
    exchange: Option<Exchange>,
    done: bool,
}

// ===== impl ReplyBody =====

impl ReplyBody {
    pub(crate) fn new(plan: Plan, exchange: Option<Exchange>) -> Self {
        let left = plan.length() as u64;
        if let (false, Some(Part::Data(data)), Some(exchange)) =
            (plan.streams(), plan.parts.first(), &exchange)
            && let Some(output) = data.billed
        {
            // A whole reply is paid for with its head, as on a socket, read or not.
            exchange.bill(plan.usage, output);
        }
        let mut body = Self {
            parts: plan.parts.into_iter(),
            again: None,
            delay: None,
            framing: plan.framing,
            left,
            usage: plan.usage,
            exchange,
            done: false,
        };
        body.end_if_whole();
        body
    }

    fn frame(&mut self, bytes: Bytes) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        self.left = self.left.saturating_sub(bytes.len() as u64);
        self.end_if_whole();
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    /// Many a client does not ask again after the last frame: the reply ends with that, not after.
    fn end_if_whole(&mut self) {
        let more = self.again.is_some() || self.parts.as_slice().iter().any(acts);
        if !more && !matches!(self.framing, Framing::Short(_)) {
            self.end(Ending::Replied);
        }
    }

    fn end(&mut self, ending: Ending) {
        self.done = true;
        if let Some(exchange) = self.exchange.take() {
            exchange.end(ending);
        }
    }

    fn fail(&mut self, kind: FailureKind) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        self.end(Ending::BrokenOff);
        Poll::Ready(Some(Err(Failure::new(kind))))
    }
}

/// Whether a part does anything that a reader sees.
fn acts(part: &Part) -> bool {
    match part {
        Part::Data(data) => !data.bytes.is_empty(),
        Part::Pause(_) => false,
        _ => true,
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let this = &mut *self;
        loop {
            if this.done {
                return Poll::Ready(None);
            }
            if let Some(delay) = &mut this.delay {
                std::task::ready!(delay.as_mut().poll(cx));
                this.delay = None;
            }
            if let Some((bytes, times, every)) = &mut this.again {
                let (bytes, every) = (bytes.clone(), *every);
                match times {
                    Some(0) => {
                        this.again = None;
                        this.end_if_whole();
                        continue;
                    }
                    Some(left) => *left -= 1,
                    None => {}
                }
                this.delay = (!every.is_zero()).then(|| Box::pin(sleep(every)));
                return this.frame(bytes);
            }
            match this.parts.next() {
                Some(Part::Data(data)) => {
                    if let (Some(output), Some(exchange)) = (data.billed, &this.exchange) {
                        exchange.bill(this.usage, output);
                    }
                    if !data.bytes.is_empty() {
                        return this.frame(data.bytes);
                    }
                }
                Some(Part::Repeat {
                    bytes,
                    times,
                    every,
                }) => this.again = Some((bytes, times, every)),
                Some(Part::Pause(delay)) => {
                    this.delay = (!delay.is_zero()).then(|| Box::pin(sleep(delay)));
                }
                Some(Part::Raw(_)) => return this.fail(FailureKind::Malformed),
                Some(Part::Stall) => {
                    // It stays the next part: a second poll finds it again.
                    this.parts = vec![Part::Stall].into_iter();
                    return Poll::Pending;
                }
                Some(Part::Reset) => return this.fail(FailureKind::Reset),
                Some(Part::Close) if this.framing == Framing::Close => {
                    this.end(Ending::BrokenOff);
                }
                Some(Part::Close) => return this.fail(FailureKind::Closed),
                None => match this.framing {
                    Framing::Short(_) => return this.fail(FailureKind::Closed),
                    _ => this.end(Ending::Replied),
                },
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.done
    }

    fn size_hint(&self) -> SizeHint {
        match self.framing {
            Framing::Length => SizeHint::with_exact(self.left),
            Framing::Short(by) => SizeHint::with_exact(self.left + by as u64),
            Framing::Chunked | Framing::Close => SizeHint::default(),
        }
    }
}

impl fmt::Debug for ReplyBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplyBody")
            .field("parts_left", &self.parts.len())
            .field("done", &self.done)
            .finish_non_exhaustive()
    }
}
