use std::{num::NonZeroU32, time::Duration};

use crate::span::Span;

/// How long the phases of a call may take.
///
/// What is not named stays as the layer has it. This is what
/// [`TimeoutLayer::per_request`](crate::TimeoutLayer::per_request) asks for; the layer's own limits
/// have setters there, which also say what each of them means.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use buttress_timeout::Limits;
///
/// let patient = Limits::new()
///     .total(Duration::from_secs(600))
///     .first_content(Duration::from_secs(120));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    pub(crate) total: Span,
    pub(crate) attempt: Span,
    pub(crate) headers: Span,
    pub(crate) first_content: Span,
    pub(crate) idle: Span,
    pub(crate) silence: Span,
}

/// What one request asks for: a closure, given to
/// [`TimeoutLayer::per_request`](crate::TimeoutLayer::per_request).
#[diagnostic::on_unimplemented(
    message = "`{Self}` says nothing of the limits of a `{Req}`",
    label = "not for this request",
    note = "`per_request` takes a closure `|request: &{Req}| -> Limits`; it must be of the type of request that reaches the timeout"
)]
pub trait PerRequest<Req>: sealed::Sealed<Req> {
    /// The limits that this request asks for; an empty [`Limits`] for none.
    fn limits(&self, request: &Req) -> Limits;
}

/// The same limits for every request: the default of [`TimeoutLayer`](crate::TimeoutLayer).
#[derive(Clone, Copy, Debug, Default)]
pub struct Same;

/// How fast content must come, once it has begun.
///
/// It is counted in pieces: chunks of the body with content in them, as they are delivered. An LLM
/// that streams flushes one for each token or few. Bytes would say less: a piece of a tool call is
/// long, a token short.
///
/// # Examples
///
/// At least two pieces a second, over any ten seconds of waiting:
///
/// ```
/// use std::{num::NonZeroU32, time::Duration};
/// use buttress_timeout::Throughput;
///
/// let floor = Throughput::per_second(const { NonZeroU32::new(2).unwrap() })
///     .grace(Duration::from_secs(10));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Throughput {
    pub(crate) grace: Span,
    pub(crate) pieces: NonZeroU32,
}

// ===== impl Limits =====

impl Limits {
    /// No limit but those of the layer.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            total: Span::UNSET,
            attempt: Span::UNSET,
            headers: Span::UNSET,
            first_content: Span::UNSET,
            idle: Span::UNSET,
            silence: Span::UNSET,
        }
    }

    /// The whole call: see [`TimeoutLayer::total`](crate::TimeoutLayer::total).
    #[must_use]
    pub const fn total(mut self, limit: Duration) -> Self {
        self.total = Span::new(limit);
        self
    }

    /// One attempt: see [`TimeoutLayer::attempt`](crate::TimeoutLayer::attempt).
    #[must_use]
    pub const fn attempt(mut self, limit: Duration) -> Self {
        self.attempt = Span::new(limit);
        self
    }

    /// Until the response is there: see [`TimeoutLayer::headers`](crate::TimeoutLayer::headers).
    #[must_use]
    pub const fn headers(mut self, limit: Duration) -> Self {
        self.headers = Span::new(limit);
        self
    }

    /// Until the first content: see
    /// [`TimeoutLayer::first_content`](crate::TimeoutLayer::first_content).
    #[must_use]
    pub const fn first_content(mut self, limit: Duration) -> Self {
        self.first_content = Span::new(limit);
        self
    }

    /// Between two pieces of content: see [`TimeoutLayer::idle`](crate::TimeoutLayer::idle).
    #[must_use]
    pub const fn idle(mut self, limit: Duration) -> Self {
        self.idle = Span::new(limit);
        self
    }

    /// Without any sign of life: see [`TimeoutLayer::silence`](crate::TimeoutLayer::silence).
    #[must_use]
    pub const fn silence(mut self, limit: Duration) -> Self {
        self.silence = Span::new(limit);
        self
    }
}

// ===== impl PerRequest =====

impl<Req> PerRequest<Req> for Same {
    fn limits(&self, _: &Req) -> Limits {
        Limits::new()
    }
}

impl<Req, F: Fn(&Req) -> Limits> PerRequest<Req> for F {
    fn limits(&self, request: &Req) -> Limits {
        self(request)
    }
}

mod sealed {
    use super::{Limits, Same};

    pub trait Sealed<Req> {}

    impl<Req> Sealed<Req> for Same {}

    impl<Req, F: Fn(&Req) -> Limits> Sealed<Req> for F {}
}

// ===== impl Throughput =====

impl Throughput {
    /// At least so many pieces a second, with a grace of ten seconds.
    #[must_use]
    pub const fn per_second(pieces: NonZeroU32) -> Self {
        Self {
            pieces,
            grace: Span::new(Duration::from_secs(10)),
        }
    }

    /// Over how long it is measured: content may come more slowly for so long before it is cut, at
    /// the beginning as well as later. Default: ten seconds. Less than a second counts as a second;
    /// with a time that no clock can count, nothing is ever too slow.
    #[must_use]
    pub const fn grace(mut self, grace: Duration) -> Self {
        self.grace = Span::new(grace);
        self
    }

    /// The time over which it is measured.
    pub(crate) fn window(self) -> Span {
        self.grace.max(Span::new(Duration::from_secs(1)))
    }

    /// So many come in that time, or it is too slow.
    pub(crate) fn pieces(self) -> u64 {
        let seconds = self.window().duration().as_secs_f64();
        // It need not be exact, and saturates.
        (f64::from(self.pieces.get()) * seconds) as u64
    }
}
