//! Toy layers, a few dozen lines each: what it takes to write a layer with the words of `core`.
//!
//! Each does its one thing in the simplest way that keeps the laws. They go when the real layers
//! come.
#![allow(
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "each test uses some of the toys"
)]

pub mod hedge;
pub mod metrics;
pub mod permit;
pub mod resume;
pub mod upstream;

use std::{
    num::NonZeroU32,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use buttress_circuit_breaker::{CircuitBreakerLayer, Policy, Wait};
use buttress_core::{Classify, Completion, Report, Track, settle};
use buttress_rate_limit::{AllCalls, Cost, Limiter, Quotas, Rate, RateLimitLayer, Unit};
use buttress_retry::{Constant, RetryLayer};
use pin_project_lite::pin_project;

/// Three attempts, at once after each other.
pub fn retry<P>(protocol: P) -> RetryLayer<P, Constant> {
    RetryLayer::new(protocol).backoff(Constant::NONE)
}

/// Refuses after three bad calls in a row, until it is reset.
pub fn breaker<P>(protocol: P) -> CircuitBreakerLayer<P> {
    let three = const { NonZeroU32::new(3).unwrap() };
    let policy = Policy::consecutive_failures(three).wait(Wait::fixed(Duration::MAX));
    CircuitBreakerLayer::new(protocol).policy(policy)
}

/// How many bad calls in a row it has counted.
pub fn failures<P>(breaker: &CircuitBreakerLayer<P>) -> u32 {
    breaker.handle().snapshot().consecutive_failures
}

/// So many tokens a day and as many at once, of which each call takes an estimate.
pub type Tokens<P, Req> = RateLimitLayer<P, Limiter, AllCalls, fn(&Req) -> Cost>;

/// Limits calls, each estimated at `cost`, to so many tokens that come back too slowly to matter.
pub fn tokens<P, Req>(protocol: P, quota: u64, cost: fn(&Req) -> Cost) -> Tokens<P, Req> {
    let rate = Rate::per_day(NonZeroU32::MIN);
    let rate = rate.allow_burst(quota.try_into().expect("some tokens"));
    RateLimitLayer::new(protocol, Quotas::tokens(rate))
        .cost(cost)
        .charge_delivered()
}

/// What calls are charged for so far.
pub fn charged<P, Req>(layer: &Tokens<P, Req>) -> u64 {
    let standing = layer.store().standing(&());
    let tokens = standing
        .iter()
        .find(|standing| standing.unit == Unit::Tokens);
    tokens.map_or(0, |tokens| tokens.rate.burst() - tokens.remaining)
}

pin_project! {
    /// A call that is followed to the end of its response, or an answer that is there already.
    #[project = FollowProj]
    pub enum Follow<F, P, R: Report, O> {
        // The call is declared before the completion: field order is drop order.
        Called { #[pin] call: F, protocol: P, completion: Option<Completion<R>> },
        Answered { answer: Option<O> },
    }
}

impl<F, P, R: Report, O> Follow<F, P, R, O> {
    pub fn call(call: F, protocol: P, report: R) -> Self {
        Self::Called {
            call,
            protocol,
            completion: Some(Completion::new(report)),
        }
    }

    pub fn answer(answer: O) -> Self {
        Self::Answered {
            answer: Some(answer),
        }
    }
}

impl<F, P, R, Res, E> Future for Follow<F, P, R, Result<Res, E>>
where
    F: Future<Output = Result<Res, E>>,
    P: Classify<Res, E> + Track<Res>,
    R: Report + Send + 'static,
{
    type Output = Result<Res, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project() {
            FollowProj::Called {
                call,
                protocol,
                completion,
            } => {
                let mut result = ready!(call.poll(cx));
                if let Some(completion) = completion.take() {
                    settle(protocol, &mut result, completion);
                }
                Poll::Ready(result)
            }
            FollowProj::Answered { answer } => {
                Poll::Ready(answer.take().expect("polled after completion"))
            }
        }
    }
}
