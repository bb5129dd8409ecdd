use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use buttress_core::{Carry, Classify, Replay, RetryBudget, Track};
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};
use tower_service::Service;

use crate::{Backoff, Decide, Stop, account::Account, scope::Scope};

pin_project! {
    /// The future of [`Retry`](crate::Retry).
    ///
    /// # Panics
    ///
    /// When it has to wait, and there is no tokio runtime with its time enabled; and when it is
    /// polled after its end.
    pub struct ResponseFuture<P, S, Req, B, U, D>
    where
        S: Service<Req>,
        B: Backoff,
        U: RetryBudget,
    {
        #[pin]
        state: State<S::Future>,
        service: S,
        // The request, or why it is not sent again.
        kept: Result<Req, Stop>,
        // What is sent next.
        next: Option<Req>,
        // After the call: field order is drop order.
        account: Account<P, B, U, D>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        Called { #[pin] call: F },
        Waiting { #[pin] sleep: Sleep },
        Readying,
        Done,
    }
}

// ===== impl ResponseFuture =====

impl<P, S, Req, B, U, D> ResponseFuture<P, S, Req, B, U, D>
where
    S: Service<Req>,
    B: Backoff,
    U: RetryBudget,
{
    pub(crate) const fn new(
        call: S::Future,
        service: S,
        kept: Result<Req, Stop>,
        account: Account<P, B, U, D>,
    ) -> Self {
        Self {
            state: State::Called { call },
            service,
            kept,
            next: None,
            account,
        }
    }
}

impl<P, S, Req, B, U, D> Future for ResponseFuture<P, S, Req, B, U, D>
where
    S: Service<Req>,
    P: Classify<S::Response, S::Error> + Track<S::Response> + Replay<Req> + Carry<Req>,
    B: Backoff,
    U: RetryBudget,
    D: Decide<Req>,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let account = this.account;
        loop {
            match this.state.as_mut().project() {
                StateProj::Called { call } => {
                    let mut result = ready!(call.poll(cx));
                    // Gone before anybody hears of its result.
                    this.state.set(State::Done);
                    let outcome = account.protocol().classify(result.as_ref());
                    let (delay, next) = match account.again(this.kept, &outcome) {
                        Ok(again) => again,
                        Err(stop) => {
                            let attempts = account.attempts();
                            if let Ok(response) = &mut result
                                && attempts > 1
                            {
                                account.protocol().set_attempts(response, attempts);
                            }
                            account.close(&outcome, stop);
                            return Poll::Ready(result);
                        }
                    };
                    // Gone before anything is waited for: what it holds is free meanwhile.
                    drop(result);
                    this.state.set(State::Readying);
                    account.wait(this.next.insert(next), outcome, delay);
                    if !delay.is_zero() {
                        let sleep = sleep(delay);
                        this.state.set(State::Waiting { sleep });
                    }
                }
                StateProj::Waiting { sleep } => {
                    ready!(sleep.poll(cx));
                    this.state.set(State::Readying);
                }
                StateProj::Readying => {
                    if let Err(error) = ready!(this.service.poll_ready(cx)) {
                        this.state.set(State::Done);
                        let outcome = account.protocol().classify(Err(&error));
                        account.close(&outcome, Stop::NotReady);
                        return Poll::Ready(Err(error));
                    }
                    let next = this.next.take().expect("what is sent next");
                    if let Some(ledger) = &account.protocol().info(&next).ledger {
                        ledger.another();
                    }
                    let _scope = Scope::enter::<Req>();
                    account.attempt();
                    let call = this.service.call(next);
                    this.state.set(State::Called { call });
                }
                StateProj::Done => panic!("polled after completion"),
            }
        }
    }
}

impl<P, S, Req, B, U, D> fmt::Debug for ResponseFuture<P, S, Req, B, U, D>
where
    S: Service<Req>,
    B: Backoff,
    U: RetryBudget,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("attempts", &self.account.attempts())
            .finish_non_exhaustive()
    }
}
