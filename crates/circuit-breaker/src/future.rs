use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use buttress_core::{Classify, Completion, Refuse, Track, settle};
use pin_project_lite::pin_project;

use crate::{CircuitBreaker, breaker::Shut, judgement::Judgement};

pin_project! {
    /// The future of [`CircuitBreakerService`](crate::CircuitBreakerService) and
    /// [`KeyedCircuitBreakerService`](crate::KeyedCircuitBreakerService).
    ///
    /// # Panics
    ///
    /// When it is polled after its end.
    pub struct ResponseFuture<F, P> {
        #[pin]
        state: State<F>,
        protocol: P,
    }
}

pin_project! {
    #[project = StateProj]
    #[project_replace = StateOwned]
    enum State<F> {
        // The call is declared before the completion: field order is drop order.
        Called {
            #[pin]
            call: F,
            // There is none where no circuit looks after the call.
            completion: Option<Completion<Judgement>>,
        },
        Refused { shut: Shut },
        Done,
    }
}

// ===== impl ResponseFuture =====

impl<F, P> ResponseFuture<F, P> {
    /// Makes the call, if the circuit admits it.
    #[inline]
    pub(crate) fn of(breaker: &CircuitBreaker, protocol: P, call: impl FnOnce() -> F) -> Self {
        let shared = breaker.shared();
        let completion = match shared.pass() {
            Some(ticket) => Completion::new(Judgement::new(shared, ticket)),
            None => match Judgement::ask(shared) {
                Ok(completion) => completion,
                Err(shut) => return Self::refused(shut, protocol),
            },
        };
        Self::called(call(), Some(completion), protocol)
    }

    #[inline]
    pub(crate) const fn called(
        call: F,
        completion: Option<Completion<Judgement>>,
        protocol: P,
    ) -> Self {
        Self {
            state: State::Called { call, completion },
            protocol,
        }
    }

    #[inline]
    pub(crate) const fn refused(shut: Shut, protocol: P) -> Self {
        Self {
            state: State::Refused { shut },
            protocol,
        }
    }
}

impl<F, P, Res, E> Future for ResponseFuture<F, P>
where
    F: Future<Output = Result<Res, E>>,
    P: Classify<Res, E> + Track<Res> + Refuse<Res, E>,
{
    type Output = Result<Res, E>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        match this.state.as_mut().project() {
            StateProj::Called { call, .. } => {
                let mut result = ready!(call.poll(cx));
                // The inner future is gone before its result is judged.
                if let StateOwned::Called {
                    completion: Some(completion),
                    ..
                } = this.state.project_replace(State::Done)
                {
                    settle(this.protocol, &mut result, completion);
                }
                Poll::Ready(result)
            }
            StateProj::Refused { shut } => {
                let shut = *shut;
                this.state.set(State::Done);
                Poll::Ready(this.protocol.refuse(shut.refused()))
            }
            StateProj::Done => panic!("polled after completion"),
        }
    }
}

impl<F, P> fmt::Debug for ResponseFuture<F, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Called { .. } => "called",
            State::Refused { .. } => "refused",
            State::Done => "done",
        };
        f.debug_tuple("ResponseFuture")
            .field(&format_args!("{state}"))
            .finish()
    }
}
