use std::future::{Future, Ready};

use buttress_core::Trail;

/// What answers when every endpoint is spent: a closure, given to
/// [`Failover::fallback`](crate::Failover::fallback).
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no fallback for a `{Req}`",
    label = "not for this request, response or error",
    note = "`fallback` takes a closure `|request: {Req}, trail: Trail|` whose future is a `Result<{Res}, {E}>`"
)]
pub trait Fallback<Req, Res, E>: sealed::Sealed<Req, Res, E> {
    /// The future of its answer.
    type Answer: Future<Output = Result<Res, E>>;

    /// Whether there is one at all.
    const EXISTS: bool;

    /// Its answer to a request that was sent to the endpoints of this trail.
    fn answer(&self, request: Req, trail: Trail) -> Option<Self::Answer>;
}

/// No fallback: the default of [`Failover`](crate::Failover).
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFallback;

impl<Req, Res, E> Fallback<Req, Res, E> for NoFallback {
    type Answer = Ready<Result<Res, E>>;

    const EXISTS: bool = false;

    fn answer(&self, _: Req, _: Trail) -> Option<Self::Answer> {
        None
    }
}

impl<Req, Res, E, F, A> Fallback<Req, Res, E> for F
where
    F: Fn(Req, Trail) -> A,
    A: Future<Output = Result<Res, E>>,
{
    type Answer = A;

    const EXISTS: bool = true;

    fn answer(&self, request: Req, trail: Trail) -> Option<A> {
        Some(self(request, trail))
    }
}

mod sealed {
    use super::{Future, NoFallback, Trail};

    pub trait Sealed<Req, Res, E> {}

    impl<Req, Res, E> Sealed<Req, Res, E> for NoFallback {}

    impl<Req, Res, E, F, A> Sealed<Req, Res, E> for F
    where
        F: Fn(Req, Trail) -> A,
        A: Future<Output = Result<Res, E>>,
    {
    }
}
