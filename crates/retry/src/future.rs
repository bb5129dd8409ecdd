use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
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
        state: State<S::Future, Req>,
        service: S,
        // The request, or why it is not sent again.
        kept: Result<Req, Stop>,
        // After the call: field order is drop order.
        account: Account<P, B, U, D>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, Req> {
        Called { #[pin] call: F },
        // What is sent next is where its call will be: a future is moved often.
        Waiting { #[pin] sleep: Sleep, next: Option<Req> },
        Readying { next: Option<Req> },
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
                    account.wait(&next, outcome, delay);
                    let next = Some(next);
                    this.state.set(match delay {
                        Duration::ZERO => State::Readying { next },
                        _ => State::Waiting {
                            sleep: sleep(delay),
                            next,
                        },
                    });
                }
                StateProj::Waiting { sleep, next } => {
                    ready!(sleep.poll(cx));
                    let next = next.take();
                    this.state.set(State::Readying { next });
                }
                StateProj::Readying { next } => {
                    if let Err(error) = ready!(this.service.poll_ready(cx)) {
                        this.state.set(State::Done);
                        let outcome = account.protocol().classify(Err(&error));
                        account.close(&outcome, Stop::NotReady);
                        return Poll::Ready(Err(error));
                    }
                    let next = next.take().expect("what is sent next");
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
