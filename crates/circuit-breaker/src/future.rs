use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use buttress_core::{Classify, Completion, Refuse, Track, settle};
use pin_project_lite::pin_project;

use crate::{
    CircuitBreaker,
    judgement::Judgement,
    shared::{Shared, Shut, now},
};

pin_project! {
    /// The future of [`CircuitBreakerService`](crate::CircuitBreakerService) and
    /// [`KeyedCircuitBreakerService`](crate::KeyedCircuitBreakerService).
    ///
    /// # Panics
    ///
    /// When it is polled after its end.
    pub struct ResponseFuture<F, P> {
        // The call is declared before what it is held to: field order is drop order.
        #[pin]
        state: State<F>,
        held: Held,
        protocol: P,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        Called { #[pin] call: F },
        Refused { shut: Shut },
        Done,
    }
}

/// The judgement of a call, if a circuit looks after it: reported as cancelled, if it is dropped.
///
/// A `Completion` in an `Option` would do the same. This one is whole words without gaps, which are
/// moved in half the time.
struct Held(Option<Judgement>);

// ===== impl ResponseFuture =====

impl<F, P> ResponseFuture<F, P> {
    /// Makes the call, if the circuit admits it.
    #[inline]
    pub(crate) fn of(breaker: &CircuitBreaker, protocol: P, call: impl FnOnce() -> F) -> Self {
        let shared = breaker.shared();
        let held = match shared.pass() {
            Some(ticket) => Held(Some(Judgement::new(shared, ticket))),
            None => match ask(shared) {
                Ok(held) => held,
                Err(shut) => return Self::refused(shut, protocol),
            },
        };
        Self {
            state: State::Called { call: call() },
            held,
            protocol,
        }
    }

    /// Of a call that no circuit looks after.
    pub(crate) const fn unguarded(call: F, protocol: P) -> Self {
        Self {
            state: State::Called { call },
            held: Held(None),
            protocol,
        }
    }

    #[inline]
    pub(crate) const fn refused(shut: Shut, protocol: P) -> Self {
        Self {
            state: State::Refused { shut },
            held: Held(None),
            protocol,
        }
    }
}

/// A call is not let through without asking.
#[cold]
fn ask(shared: &Arc<Shared>) -> Result<Held, Shut> {
    let (ticket, change) = shared.admit(now);
    let ticket = ticket?;
    // Before the observer, which may panic: it gives the place of a probe back.
    let held = Held(Some(Judgement::new(shared, ticket)));
    shared.tell(change);
    Ok(held)
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
            StateProj::Called { call } => {
                let mut result = ready!(call.poll(cx));
                // The inner future is gone before its result is judged.
                this.state.set(State::Done);
                if let Some(judgement) = this.held.0.take() {
                    settle(this.protocol, &mut result, Completion::new(judgement));
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

// ===== impl Held =====

impl Drop for Held {
    #[inline]
    fn drop(&mut self) {
        if let Some(judgement) = self.0.take() {
            drop(Completion::new(judgement));
        }
    }
}
