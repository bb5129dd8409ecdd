use std::{
    fmt,
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
};

use buttress_core::{
    Carry, Class, Classify, Completion, Outcome, Refuse, Replay, Sent, Track, Trail,
};
use pin_project_lite::pin_project;
use tokio::{
    task::coop::{has_budget_remaining, unconstrained},
    time::{Sleep, sleep},
};
use tower_service::Service;

use crate::{
    ByClass, Decide, Fallback, NoFallback, Ordered, Stop, Strategy,
    account::{Account, Opening, Whose},
    snapshot::Snapshot,
};

pin_project! {
    /// The future of [`Failover`](crate::Failover).
    ///
    /// # Panics
    ///
    /// When the chosen endpoint is not ready, and there is no tokio runtime with its time enabled; and
    /// when it is polled after its end.
    pub struct ResponseFuture<P, S, Req, C = Ordered, D = ByClass, F = NoFallback>
    where
        S: Service<Req>,
        F: Fallback<Req, S::Response, S::Error>,
    {
        #[pin]
        state: State<S, S::Future, F::Answer>,
        // The request, until an endpoint takes it.
        kept: Option<Req>,
        // The first real failure, which is the answer if nothing else is.
        first: Option<Box<Failure<S::Response, S::Error>>>,
        // After the call: field order is drop order.
        account: Opening<P, S, C, D, F>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, A, B> {
        Choosing,
        Readying { service: S, timer: Pin<Box<Sleep>> },
        Called { #[pin] call: A },
        FallingBack { #[pin] answer: B, stop: Stop },
        Done,
    }
}

struct Failure<Res, E> {
    result: Result<Res, E>,
    outcome: Outcome,
    name: Arc<str>,
}

// ===== impl ResponseFuture =====

impl<P, S, Req, C, D, F> ResponseFuture<P, S, Req, C, D, F>
where
    S: Service<Req>,
    F: Fallback<Req, S::Response, S::Error>,
    P: Carry<Req>,
{
    #[inline]
    pub(crate) fn new(snapshot: Arc<Snapshot<P, S, C, D, F>>, request: Req) -> Self {
        Self {
            state: State::Choosing,
            account: Opening::new(snapshot),
            kept: Some(request),
            first: None,
        }
    }
}

impl<P, S, Req, C, D, F> Future for ResponseFuture<P, S, Req, C, D, F>
where
    S: Service<Req> + Clone,
    P: Classify<S::Response, S::Error>
        + Track<S::Response>
        + Refuse<S::Response, S::Error>
        + Replay<Req>
        + Carry<Req>,
    C: Strategy<Req>,
    D: Decide<Req>,
    F: Fallback<Req, S::Response, S::Error>,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let account = this.account.open(this.kept.as_ref());
        loop {
            let step = match this.state.as_mut().project() {
                StateProj::Choosing => {
                    let chosen = match this.kept.as_ref() {
                        Some(request) => account.choose(request),
                        None => Err(Stop::NotCopied),
                    };
                    match chosen {
                        Ok(chosen) => {
                            let mut service = chosen.clone();
                            match service.poll_ready(cx) {
                                Poll::Ready(Ok(())) => {
                                    let call = call(account, this.kept, &mut service);
                                    this.state.set(State::Called { call });
                                    continue;
                                }
                                Poll::Ready(Err(error)) => Step::Broken(error),
                                Poll::Pending => {
                                    let patience = account.patience();
                                    if !patience.is_zero() {
                                        let timer = Box::pin(sleep(patience));
                                        this.state.set(State::Readying { service, timer });
                                        continue;
                                    }
                                    // A timer would wait for the next whole millisecond.
                                    drop(service);
                                    match account.pass() {
                                        Ok(()) => continue,
                                        Err(stop) => Step::Stop(stop),
                                    }
                                }
                            }
                        }
                        Err(stop) => Step::Stop(stop),
                    }
                }
                StateProj::Readying { service, timer } => match poll_in_time(service, timer, cx) {
                    Poll::Ready(Some(Ok(()))) if !account.is_wanted() => {
                        this.state.set(State::Choosing);
                        match account.pass() {
                            Ok(()) => continue,
                            Err(stop) => Step::Stop(stop),
                        }
                    }
                    Poll::Ready(Some(Ok(()))) => {
                        let call = call(account, this.kept, service);
                        this.state.set(State::Called { call });
                        continue;
                    }
                    Poll::Ready(Some(Err(error))) => {
                        this.state.set(State::Choosing);
                        Step::Broken(error)
                    }
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(None) => {
                        this.state.set(State::Choosing);
                        match account.pass() {
                            Ok(()) => continue,
                            Err(stop) => Step::Stop(stop),
                        }
                    }
                },
                StateProj::Called { call } => {
                    let Poll::Ready(mut result) = call.poll(cx) else {
                        account.waits();
                        return Poll::Pending;
                    };
                    let outcome = account.protocol().classify(result.as_ref());
                    if outcome.class == Class::Success {
                        // Gone before anybody hears of its result.
                        this.state.set(State::Done);
                        account.succeeded();
                        match (account.follow(), &mut result) {
                            (None, Ok(response)) => {
                                let watch = Completion::new(account.watch());
                                account.protocol().track(response, &outcome, watch);
                            }
                            (Some(follow), Ok(response)) => {
                                account.protocol().track(response, &outcome, follow);
                            }
                            (Some(mut follow), Err(_)) => follow.complete(&outcome),
                            (None, Err(_)) => {}
                        }
                        if account.is_quiet() {
                            account.close_quietly();
                        } else {
                            this.first.take();
                            let whose = Whose::Current;
                            deliver(account, &mut result, &outcome, &whose, Stop::Settled);
                        }
                        return Poll::Ready(result);
                    }
                    this.state.set(State::Choosing);
                    Step::Failed(result)
                }
                StateProj::FallingBack { answer, stop } => {
                    let (mut result, stop) = (ready!(answer.poll(cx)), *stop);
                    this.state.set(State::Done);
                    let outcome = account.protocol().classify(result.as_ref());
                    if outcome.failed()
                        && let Some(first) = this.first.take()
                    {
                        return Poll::Ready(first.deliver(account, stop));
                    }
                    if let Ok(response) = &mut result {
                        let trail = account.trail(None).unwrap_or_default();
                        let trail = Trail::new(trail).with_fallback();
                        account.protocol().set_trail(response, trail);
                    }
                    this.first.take();
                    account.close(&outcome, &Whose::Nobodys, Stop::Fallback);
                    return Poll::Ready(result);
                }
                StateProj::Done => panic!("polled after completion"),
            };
            let failed = match step {
                Step::Stop(stop) => Err(Ended::Stop(stop)),
                Step::Failed(result) => {
                    let outcome = account.protocol().classify(result.as_ref());
                    let kept = this.kept.as_ref();
                    fail(account, kept, this.first, result, outcome)
                }
                Step::Broken(error) => {
                    account.broke();
                    let result = Err(error);
                    let mut outcome = account.protocol().classify(result.as_ref());
                    // There was no call: nothing to pay for, and nothing to be done twice.
                    outcome.sent = Sent::No;
                    let kept = this.kept.as_ref();
                    fail(account, kept, this.first, result, outcome)
                }
            };
            let stop = match failed {
                Ok(()) => continue,
                Err(Ended::Stop(stop)) => stop,
                Err(Ended::Answer(result)) => {
                    this.state.set(State::Done);
                    return Poll::Ready(result);
                }
            };
            // No further endpoint is tried.
            if F::EXISTS
                && matches!(stop, Stop::Spent | Stop::Attempts)
                && let Some(request) = this.kept.take()
                && let Some(answer) = account.fall_back(request)
            {
                this.state.set(State::FallingBack { answer, stop });
                continue;
            }
            this.state.set(State::Done);
            return Poll::Ready(match this.first.take() {
                Some(first) => first.deliver(account, stop),
                None => {
                    let refused = account.refusal();
                    let mut result = account.protocol().refuse(refused);
                    let outcome = refused.outcome();
                    deliver(account, &mut result, &outcome, &Whose::Nobodys, stop);
                    result
                }
            });
        }
    }
}

impl<P, S, Req, C, D, F> fmt::Debug for ResponseFuture<P, S, Req, C, D, F>
where
    S: Service<Req>,
    F: Fallback<Req, S::Response, S::Error>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

/// Calls the endpoint that was chosen, which is ready.
// Else its future is made elsewhere and moved here, which costs more than all that is done in it.
#[inline(always)]
fn call<P, S, Req, C, D, F>(
    account: &mut Account<P, S, C, D, F>,
    kept: &mut Option<Req>,
    service: &mut S,
) -> S::Future
where
    S: Service<Req>,
    P: Replay<Req> + Carry<Req>,
    C: Strategy<Req>,
    F: Fallback<Req, S::Response, S::Error>,
{
    let request = account.take(kept, F::EXISTS);
    account.begin();
    service.call(request.expect("kept until an endpoint takes it"))
}

/// Whether it is ready, or `None` if its time is up.
fn poll_in_time<S, Req>(
    service: &mut S,
    timer: &mut Pin<Box<Sleep>>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<(), S::Error>>>
where
    S: Service<Req>,
{
    let had_turn = has_budget_remaining();
    if let Poll::Ready(ready) = service.poll_ready(cx) {
        return Poll::Ready(Some(ready));
    }
    let timer = timer.as_mut();
    // It may have left nothing of what its task may do at a time, and do so each time.
    let up = match had_turn && !has_budget_remaining() {
        true => pin!(unconstrained(timer)).poll(cx),
        false => timer.poll(cx),
    };
    up.map(|()| None)
}

/// How an attempt went that did not go well.
enum Step<Res, E> {
    Failed(Result<Res, E>),
    /// Before there was a call.
    Broken(E),
    Stop(Stop),
}

/// Why no further endpoint is tried: this is the answer, or whatever is left.
enum Ended<Res, E> {
    Answer(Result<Res, E>),
    Stop(Stop),
}

/// An attempt failed. Unless its result is the answer, the first real failure is kept.
#[cold]
fn fail<P, S, Req, C, D, F>(
    account: &mut Account<P, S, C, D, F>,
    kept: Option<&Req>,
    first: &mut Option<Box<Failure<S::Response, S::Error>>>,
    result: Result<S::Response, S::Error>,
    outcome: Outcome,
) -> Result<(), Ended<S::Response, S::Error>>
where
    S: Service<Req>,
    P: Classify<S::Response, S::Error> + Track<S::Response> + Replay<Req>,
    D: Decide<Req>,
{
    let name = account.name();
    let next = account.failed(kept, result.as_ref(), &outcome);
    if next == Err(Stop::Settled) {
        drop(first.take());
        let mut answer = result;
        deliver(
            account,
            &mut answer,
            &outcome,
            &Whose::Current,
            Stop::Settled,
        );
        return Err(Ended::Answer(answer));
    }
    match first {
        // A refusal of ours is no word of an upstream.
        Some(before)
            if before.outcome.class != Class::Refused || outcome.class == Class::Refused =>
        {
            account.give_up(&outcome);
        }
        _ => {
            let mut result = result;
            if let Ok(response) = &mut result {
                // Its permits are free for others while this call is elsewhere.
                account.protocol().let_go(response);
            }
            account.hold(outcome);
            *first = Some(Box::new(Failure {
                result,
                outcome,
                name,
            }));
        }
    }
    next.map_err(Ended::Stop)
}

/// This is the answer.
#[inline]
fn deliver<P, S, C, D, F, Res, E>(
    account: &mut Account<P, S, C, D, F>,
    result: &mut Result<Res, E>,
    outcome: &Outcome,
    whose: &Whose,
    stop: Stop,
) where
    P: Track<Res>,
{
    let served = (outcome.class == Class::Success).then_some(outcome);
    let trail = account.trail(served);
    if let Ok(response) = result {
        let attempts = account.attempts();
        if attempts > 1 {
            account.protocol().set_attempts(response, attempts);
        }
        if let Some(trail) = trail {
            account.protocol().set_trail(response, Trail::new(trail));
        }
    }
    account.close(outcome, whose, stop);
}

// ===== impl Failure =====

impl<Res, E> Failure<Res, E> {
    /// It is the answer.
    fn deliver<P, S, C, D, F>(
        self,
        account: &mut Account<P, S, C, D, F>,
        stop: Stop,
    ) -> Result<Res, E>
    where
        P: Track<Res>,
    {
        account.release();
        let Self {
            mut result,
            outcome,
            name,
        } = self;
        let whose = Whose::Earlier(name);
        deliver(account, &mut result, &outcome, &whose, stop);
        result
    }
}
