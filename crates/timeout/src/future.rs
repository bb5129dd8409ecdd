use std::{
    fmt,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
};

use buttress_core::{Classify, Completion, Refuse, Track};
use pin_project_lite::pin_project;
use tokio::{
    task::coop::{has_budget_remaining, unconstrained},
    time::{Instant, Sleep, sleep_until},
};

use crate::{
    Phase, TimeoutEvent,
    follow::Follow,
    layer::Observer,
    plan::{Expired, Plan},
};

pin_project! {
    /// The future of [`Timeout`](crate::Timeout).
    ///
    /// # Panics
    ///
    /// When it has to wait, and there is no tokio runtime with its time enabled; and when it is
    /// polled after its end.
    pub struct ResponseFuture<F, P> {
        #[pin]
        state: State<F>,
        protocol: P,
        observer: Option<Arc<Observer>>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        Called {
            #[pin]
            call: F,
            #[pin]
            timer: Option<Sleep>,
            plan: Plan,
        },
        Expired,
        Done,
    }
}

// ===== impl ResponseFuture =====

impl<F, P> ResponseFuture<F, P> {
    #[inline]
    pub(crate) const fn called(
        call: F,
        plan: Plan,
        protocol: P,
        observer: Option<Arc<Observer>>,
    ) -> Self {
        Self {
            state: State::Called {
                call,
                timer: None,
                plan,
            },
            protocol,
            observer,
        }
    }

    pub(crate) const fn expired(protocol: P, observer: Option<Arc<Observer>>) -> Self {
        Self {
            state: State::Expired,
            protocol,
            observer,
        }
    }
}

impl<F, P, Res, E> Future for ResponseFuture<F, P>
where
    F: Future<Output = Result<Res, E>>,
    P: Classify<Res, E> + Track<Res> + Refuse<Res, E>,
{
    type Output = Result<Res, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let refused = match this.state.as_mut().project() {
            StateProj::Called { call, timer, plan } => {
                let had_turn = timer.is_some() && has_budget_remaining();
                // First, so that what is there is delivered whatever the time is.
                if let Poll::Ready(mut result) = call.poll(cx) {
                    let plan = *plan;
                    // The inner future is gone before anybody hears of its result, and the timer
                    // before the body's.
                    this.state.set(State::Done);
                    if plan.goes_on()
                        && let Ok(response) = &mut result
                    {
                        let seen = this.protocol.classify(Ok(response));
                        let follow = Completion::new(Follow::new(plan, this.observer.take()));
                        this.protocol.track(response, &seen, follow);
                    }
                    return Poll::Ready(result);
                }
                let phase = ready!(poll_head(timer, plan, had_turn, cx));
                let cut = plan.cut(phase);
                this.state.set(State::Done);
                let refused = cut.refused(false);
                if let Some(observer) = this.observer {
                    observer(&cut.event(&refused));
                }
                refused
            }
            StateProj::Expired => {
                this.state.set(State::Done);
                let refused = Expired::REFUSED;
                if let Some(observer) = this.observer {
                    observer(&TimeoutEvent::Expired { refused: &refused });
                }
                refused
            }
            StateProj::Done => panic!("polled after completion"),
        };
        Poll::Ready(this.protocol.refuse(refused))
    }
}

/// Which limit of the response has run out. `had_turn`: the call was polled when its task could go
/// on, and so it has no more than it gave.
fn poll_head(
    mut timer: Pin<&mut Option<Sleep>>,
    plan: &Plan,
    had_turn: bool,
    cx: &mut Context<'_>,
) -> Poll<Phase> {
    let (end, phase) = plan.head();
    // A timer counts whole milliseconds, and waits for the next one to begin.
    if end.is_zero() {
        return Poll::Ready(phase);
    }
    if timer.is_none() {
        timer.set(plan.at(end).map(sleep_until));
    }
    let Some(mut timer) = timer.as_pin_mut() else {
        return Poll::Pending;
    };
    ready!(poll_timer(timer.as_mut(), had_turn, cx));
    // Once: after that, it is set to a later time.
    if Some(timer.deadline()) == plan.at(end)
        && let Some(grace) = plan.grace(end, end, plan.since(Instant::now()))
        && let Some(at) = plan.at(grace)
    {
        timer.as_mut().reset(at);
        ready!(poll_timer(timer, had_turn, cx));
    }
    Poll::Ready(phase)
}

/// Whether its time has come, also where whoever `had_turn` before it left nothing of what its task
/// may do at a time: one that does so each time would never be timed out.
pub(crate) fn poll_timer(timer: Pin<&mut Sleep>, had_turn: bool, cx: &mut Context<'_>) -> Poll<()> {
    if had_turn && !has_budget_remaining() {
        pin!(unconstrained(timer)).poll(cx)
    } else {
        timer.poll(cx)
    }
}

impl<F, P> fmt::Debug for ResponseFuture<F, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Called { .. } => "called",
            State::Expired => "expired",
            State::Done => "done",
        };
        f.debug_tuple("ResponseFuture")
            .field(&format_args!("{state}"))
            .finish()
    }
}
