use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use buttress_core::{Carry, Classify, Completion, Refuse, Track, settle};
use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};
use tower_service::Service;

use crate::{Key, Limited, LimitedBy, Store, ask::LimitsOf, course::Course, queue::Turn};

pin_project! {
    /// The future of [`RateLimit`](crate::RateLimit).
    pub struct ResponseFuture<P, S, Req, St, G, C, L, K>
    where
        S: Service<Req>,
        St: Store<K>,
        K: Key,
    {
        #[pin]
        state: State<S::Future, St::Take, St::Peek>,
        protocol: P,
        service: S,
        request: Option<Req>,
        // After the call: field order is drop order.
        course: Option<Completion<Course<P, St, G, C, L, K>>>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, T, E> {
        Start,
        // Asks for the cost, at the beginning or as the first in line.
        Taking { #[pin] take: T },
        // Asks how long it would be, behind so many others.
        Peeking { #[pin] peek: E },
        // In line, until it is its turn, the quota allows it, or its time is up. Boxed, so that
        // those who need not wait do not carry a timer about.
        Waiting { sleep: Pin<Box<Sleep>>, end: Option<Instant> },
        // In line when its time is up: asks how long it would still be.
        Leaving { #[pin] peek: E },
        // In line, and its turn.
        Retaking { #[pin] take: T, end: Option<Instant> },
        Readying,
        Calling { #[pin] call: F },
    }
}

/// What to do about a no.
enum Answer {
    Refuse(Limited),
    /// Wait in line until then, and no longer than `end`.
    Wait {
        until: Instant,
        end: Option<Instant>,
    },
}

/// A timer for who is called by others anyway: as far as timers go, some two years.
const FAR: Duration = Duration::from_secs(1 << 26);

// ===== impl ResponseFuture =====

impl<P, S, Req, St, G, C, L, K> ResponseFuture<P, S, Req, St, G, C, L, K>
where
    S: Service<Req>,
    St: Store<K>,
    K: Key,
{
    pub(crate) const fn new(
        protocol: P,
        service: S,
        request: Req,
        course: Completion<Course<P, St, G, C, L, K>>,
    ) -> Self {
        Self {
            state: State::Start,
            protocol,
            service,
            request: Some(request),
            course: Some(course),
        }
    }
}

impl<P, S, Req, St, G, C, L, K> Future for ResponseFuture<P, S, Req, St, G, C, L, K>
where
    S: Service<Req>,
    P: Classify<S::Response, S::Error>
        + Track<S::Response>
        + Refuse<S::Response, S::Error>
        + Carry<Req>
        + Send
        + Sync
        + 'static,
    St: Store<K> + Send + Sync + 'static,
    G: Send + Sync + 'static,
    C: Send + Sync + 'static,
    L: LimitsOf<S::Response> + Send + Sync + 'static,
    K: Key,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let slot = &mut *this.course;
            let course = slot.as_mut().expect("polled after completion").get_mut();
            let answer = match this.state.as_mut().project() {
                StateProj::Start => {
                    let config = course.config();
                    let waits = config.settings.longest.is_some();
                    let line = waits.then(|| config.queues.ahead(&course.key)).flatten();
                    if let Some(ahead) = line {
                        let peek = course.config().store.peek(&course.key, course.cost, ahead);
                        this.state.set(State::Peeking { peek });
                        continue;
                    }
                    match config.store.take_now(&course.key, course.cost) {
                        Some(Ok(hold)) => {
                            this.state.set(State::Readying);
                            course.admitted(hold);
                            continue;
                        }
                        Some(Err(limited)) => join(course, this.request.as_ref(), limited),
                        None => {
                            let take = config.store.take(&course.key, course.cost);
                            this.state.set(State::Taking { take });
                            continue;
                        }
                    }
                }
                StateProj::Taking { take } => match ready!(take.poll(cx)) {
                    Ok(hold) => {
                        this.state.set(State::Readying);
                        course.admitted(hold);
                        continue;
                    }
                    Err(limited) => join(course, this.request.as_ref(), limited),
                },
                StateProj::Peeking { peek } => {
                    let limited = match ready!(peek.poll(cx)) {
                        // As soon as those ahead have been admitted.
                        Ok(()) => Limited::new(LimitedBy::Queue, Some(Duration::ZERO)),
                        Err(limited) => limited,
                    };
                    join(course, this.request.as_ref(), limited)
                }
                StateProj::Waiting { sleep, end } => {
                    let place = course.place().expect("who waits has a place");
                    let turn = course.config().queues.look(&course.key, place, cx);
                    let rung = sleep.as_mut().poll(cx).is_ready();
                    match turn {
                        Turn::First { called } if called || rung => {
                            let end = *end;
                            let take = course.config().store.take(&course.key, course.cost);
                            this.state.set(State::Retaking { take, end });
                            continue;
                        }
                        Turn::Behind { ahead } if rung => {
                            let peek = course.config().store.peek(&course.key, course.cost, ahead);
                            this.state.set(State::Leaving { peek });
                            continue;
                        }
                        _ => return Poll::Pending,
                    }
                }
                StateProj::Leaving { peek } => Answer::Refuse(match ready!(peek.poll(cx)) {
                    Ok(()) => Limited::new(LimitedBy::Queue, Some(Duration::ZERO)),
                    Err(limited) => limited,
                }),
                StateProj::Retaking { take, end } => match ready!(take.poll(cx)) {
                    Ok(hold) => {
                        this.state.set(State::Readying);
                        course.admitted(hold);
                        continue;
                    }
                    Err(limited) => patience(limited, Instant::now(), *end),
                },
                StateProj::Readying => {
                    if let Err(error) = ready!(this.service.poll_ready(cx)) {
                        let outcome = this.protocol.classify(Err(&error));
                        let mut course = slot.take().expect("taken once");
                        course.complete(&outcome);
                        return Poll::Ready(Err(error));
                    }
                    course.called();
                    let request = this.request.take().expect("called once");
                    let call = this.service.call(request);
                    this.state.set(State::Calling { call });
                    continue;
                }
                StateProj::Calling { call } => {
                    let mut result = ready!(call.poll(cx));
                    if let Ok(response) = &result
                        && let Some(limits) = course.config().limits.limits(response)
                    {
                        course.tighten(&limits);
                    }
                    let course = slot.take().expect("taken once");
                    settle(&*this.protocol, &mut result, course);
                    return Poll::Ready(result);
                }
            };
            match answer {
                Answer::Refuse(limited) => {
                    let refused = this.protocol.refuse(limited.into());
                    course.limited(&limited);
                    *slot = None;
                    return Poll::Ready(refused);
                }
                Answer::Wait { until, end } => {
                    let sleep = Box::pin(sleep_until(until));
                    this.state.set(State::Waiting { sleep, end });
                }
            }
        }
    }
}

/// Joins the line, if that is allowed and of use.
fn join<P, St, G, C, L, K, Req>(
    course: &mut Course<P, St, G, C, L, K>,
    request: Option<&Req>,
    limited: Limited,
) -> Answer
where
    P: Carry<Req>,
    St: Store<K>,
    K: Key,
{
    let settings = &course.config().settings;
    let (Some(longest), Some(wait)) = (settings.longest, limited.wait()) else {
        return Answer::Refuse(limited);
    };
    let now = Instant::now();
    let deadline = request.and_then(|request| course.config().protocol.info(request).deadline);
    // A time that no clock can count is no bound.
    let end = match (now.checked_add(longest), deadline.map(Instant::from_std)) {
        (Some(end), Some(deadline)) => Some(end.min(deadline)),
        (end, deadline) => end.or(deadline),
    };
    let answer = patience(limited, now, end);
    if let Answer::Refuse(_) = answer {
        return answer;
    }
    let most = settings.queue;
    let Some((place, ahead)) = course.config().queues.join(&course.key, course.cost, most) else {
        return Answer::Refuse(Limited::new(LimitedBy::Queue, Some(wait)));
    };
    course.queued(place, ahead, wait, now);
    if ahead == 0 {
        return answer;
    }
    // Those ahead call it.
    let until = end.unwrap_or_else(|| now + FAR);
    Answer::Wait { until, end }
}

/// Waits for as long as it takes, if there is time for it.
fn patience(limited: Limited, now: Instant, end: Option<Instant>) -> Answer {
    let until = limited.wait().and_then(|wait| now.checked_add(wait));
    match until {
        Some(until) if end.is_none_or(|end| until <= end) => Answer::Wait { until, end },
        _ => Answer::Refuse(limited),
    }
}

impl<P, S, Req, St, G, C, L, K> fmt::Debug for ResponseFuture<P, S, Req, St, G, C, L, K>
where
    S: Service<Req>,
    St: Store<K>,
    K: Key,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("course", &self.course)
            .finish_non_exhaustive()
    }
}
