use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use buttress_core::{Carry, Classify, Completion, Refuse, Track, settle};
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower_service::Service;

use crate::{
    Key, Limited, Store,
    ask::LimitsOf,
    course::Course,
    wait::{Wait, WaitOf},
};

pin_project! {
    /// The future of [`RateLimit`](crate::RateLimit).
    ///
    /// # Panics
    ///
    /// When it is polled after its end.
    pub struct ResponseFuture<P, S, Req, St, G, C, L, K>
    where
        S: Service<Req>,
        St: Store<K>,
        K: Key,
    {
        #[pin]
        step: Step<S, Req, S::Future>,
        wait: Option<Pin<Box<WaitOf<St, K>>>>,
        // After the call: field order is drop order.
        course: Option<Completion<Course<P, St, G, C, L, K>>>,
    }
}

pin_project! {
    #[project = StepProj]
    enum Step<S, Req, F> {
        // What is called is where the call will be: a future is moved often.
        Before { service: S, request: Option<Req> },
        Called { #[pin] call: F },
        Done,
    }
}

// ===== impl ResponseFuture =====

impl<P, S, Req, St, G, C, L, K> ResponseFuture<P, S, Req, St, G, C, L, K>
where
    S: Service<Req>,
    St: Store<K>,
    K: Key,
{
    #[inline]
    pub(crate) const fn new(service: S, request: Req, course: Course<P, St, G, C, L, K>) -> Self {
        Self {
            step: Step::Before {
                service,
                request: Some(request),
            },
            wait: None,
            course: Some(Completion::new(course)),
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
        + Clone
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

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.step.as_mut().project() {
                StepProj::Before { service, request } => {
                    let course = this.course.as_mut().expect("it is held").get_mut();
                    if !course.is_admitted() && (this.wait.is_some() || !course.try_admit()) {
                        let request = request.as_ref();
                        let answer = ready!(poll_admission(this.wait, course, request, cx));
                        if let Err(limited) = answer {
                            this.step.set(Step::Done);
                            let course = this.course.take().expect("it is held");
                            return Poll::Ready(refuse(course, &limited));
                        }
                    }
                    let ready = ready!(service.poll_ready(cx));
                    if let Err(error) = ready {
                        this.step.set(Step::Done);
                        let mut course = this.course.take().expect("it is held");
                        let outcome = course.get_ref().config().protocol.classify(Err(&error));
                        course.complete(&outcome);
                        return Poll::Ready(Err(error));
                    }
                    course.called();
                    let call = service.call(request.take().expect("called once"));
                    this.step.set(Step::Called { call });
                }
                StepProj::Called { call } => {
                    let mut result = ready!(call.poll(cx));
                    // The inner future is gone before its result is judged.
                    this.step.set(Step::Done);
                    let course = this.course.as_mut().expect("it is held").get_mut();
                    let config = course.config();
                    if let Ok(response) = &result
                        && let Some(limits) = config.limits.limits(response)
                    {
                        course.tighten(&limits);
                    }
                    let protocol = config.protocol.clone();
                    let completion = this.course.take().expect("it is held");
                    settle(&protocol, &mut result, completion);
                    return Poll::Ready(result);
                }
                StepProj::Done => panic!("polled after completion"),
            }
        }
    }
}

/// Asks, and waits if need be.
#[cold]
fn poll_admission<P, St, G, C, L, K, Req>(
    slot: &mut Option<Pin<Box<WaitOf<St, K>>>>,
    course: &mut Course<P, St, G, C, L, K>,
    request: Option<&Req>,
    cx: &mut Context<'_>,
) -> Poll<Result<(), Limited>>
where
    P: Carry<Req>,
    St: Store<K>,
    K: Key,
{
    if slot.is_none() {
        let config = course.config();
        let deadline = || {
            let deadline = config.protocol.info(request?).deadline?;
            Some(Instant::from_std(deadline))
        };
        let wait = if let Some(ahead) = course.ahead() {
            let peek = config.store.peek(&course.key, course.cost, ahead);
            Wait::peeking(peek, deadline())
        } else {
            match config.store.take_now(&course.key, course.cost) {
                Some(Ok(hold)) => {
                    course.admitted(hold);
                    return Poll::Ready(Ok(()));
                }
                Some(Err(limited)) if !config.waits() => return Poll::Ready(Err(limited)),
                Some(Err(limited)) => Wait::joining(limited, deadline()),
                None => {
                    let take = config.store.take(&course.key, course.cost);
                    Wait::taking(take, deadline())
                }
            }
        };
        *slot = Some(wait);
    }
    let wait = slot.as_mut().expect("it waits");
    let hold = ready!(wait.as_mut().poll(course, cx))?;
    *slot = None;
    course.admitted(hold);
    Poll::Ready(Ok(()))
}

#[cold]
fn refuse<P, St, G, C, L, K, Res, E>(
    mut course: Completion<Course<P, St, G, C, L, K>>,
    limited: &Limited,
) -> Result<Res, E>
where
    P: Refuse<Res, E>,
    St: Store<K>,
    K: Key,
{
    let refused = course.get_ref().config().protocol.refuse((*limited).into());
    course.get_mut().limited(limited);
    refused
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
