//! How a call that was not admitted at once comes to its turn, or to a refusal.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use pin_project_lite::pin_project;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::{
    Cost, Key, Limited, LimitedBy, Store,
    course::Course,
    waiters::{Joined, Turn},
};

pin_project! {
    /// Boxed, so that those who need not wait do not carry it about.
    pub(crate) struct Wait<T, E> {
        #[pin]
        stage: Stage<T, E>,
        #[pin]
        sleep: Option<Sleep>,
        // It waits no longer than this.
        end: Option<Instant>,
        deadline: Option<Instant>,
    }
}

/// That of calls of a store.
pub(crate) type WaitOf<St, K> = Wait<<St as Store<K>>::Take, <St as Store<K>>::Peek>;

pin_project! {
    #[project = StageProj]
    enum Stage<T, E> {
        // Asks for the cost, at the beginning.
        Taking { #[pin] take: T },
        // Asks how long it would be, behind so many others.
        Peeking { #[pin] peek: E },
        // It was told no, and joins the line, if that is allowed and of use.
        Joining { limited: Limited },
        // In line, until it is its turn, the quota allows it, or its time is up.
        Sleeping,
        // In line, and its turn.
        Retaking { #[pin] take: T },
        // To be refused, for this if it is not for what the answer says: asks how long it would be.
        Leaving { #[pin] peek: E, by: Option<LimitedBy> },
    }
}

/// What to do about a no.
enum Answer {
    Refuse(Limited),
    Sleep { until: Instant },
}

/// A timer for who is called by others anyway: as far as timers go, some two years.
const FAR: Duration = Duration::from_secs(1 << 26);

// ===== impl Wait =====

impl<T, E> Wait<T, E> {
    /// Of a call that has not been answered yet.
    pub(crate) fn taking(take: T, deadline: Option<Instant>) -> Pin<Box<Self>> {
        Self::at(Stage::Taking { take }, deadline)
    }

    /// Of a call that comes behind others.
    pub(crate) fn peeking(peek: E, deadline: Option<Instant>) -> Pin<Box<Self>> {
        Self::at(Stage::Peeking { peek }, deadline)
    }

    /// Of a call that was told no.
    pub(crate) fn joining(limited: Limited, deadline: Option<Instant>) -> Pin<Box<Self>> {
        Self::at(Stage::Joining { limited }, deadline)
    }

    fn at(stage: Stage<T, E>, deadline: Option<Instant>) -> Pin<Box<Self>> {
        Box::pin(Self {
            stage,
            sleep: None,
            end: None,
            deadline,
        })
    }

    /// What it comes to.
    pub(crate) fn poll<P, St, G, C, L, K>(
        self: Pin<&mut Self>,
        course: &mut Course<P, St, G, C, L, K>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<St::Hold, Limited>>
    where
        St: Store<K, Take = T, Peek = E>,
        T: Future<Output = Result<St::Hold, Limited>>,
        E: Future<Output = Result<(), Limited>>,
        K: Key,
    {
        let mut this = self.project();
        loop {
            let answer = match this.stage.as_mut().project() {
                StageProj::Taking { take } => match ready!(take.poll(cx)) {
                    Ok(hold) => return Poll::Ready(in_time(course, hold, *this.deadline)),
                    Err(limited) => {
                        let next = match course.config().waiters.ahead(&course.key) {
                            // They joined while it was asking.
                            Some(ahead) => {
                                let peek = peek(course, ahead);
                                Stage::Peeking { peek }
                            }
                            None => Stage::Joining { limited },
                        };
                        this.stage.set(next);
                        continue;
                    }
                },
                StageProj::Peeking { peek } => {
                    // As soon as those ahead have been admitted.
                    let limited = said(ready!(peek.poll(cx)));
                    this.stage.set(Stage::Joining { limited });
                    continue;
                }
                StageProj::Joining { limited } => {
                    let (limited, now) = (*limited, Instant::now());
                    let (Some(longest), Some(wait)) =
                        (course.config().settings.longest, limited.wait())
                    else {
                        return Poll::Ready(Err(limited));
                    };
                    // A time that no clock can count is no bound.
                    *this.end = match (now.checked_add(longest), *this.deadline) {
                        (Some(end), Some(deadline)) => Some(end.min(deadline)),
                        (end, deadline) => end.or(deadline),
                    };
                    let answer = patience(limited, now, *this.end);
                    if let Answer::Refuse(_) = answer {
                        answer
                    } else {
                        match course.join(wait, now) {
                            Joined::At(_, 0) => answer,
                            // Those ahead call it.
                            Joined::At(..) => {
                                let until = this.end.unwrap_or_else(|| now + FAR);
                                Answer::Sleep { until }
                            }
                            Joined::Full(ahead) => {
                                let peek = peek(course, ahead);
                                let by = Some(LimitedBy::Queue);
                                this.stage.set(Stage::Leaving { peek, by });
                                continue;
                            }
                        }
                    }
                }
                StageProj::Sleeping => {
                    let place = course.place().expect("who waits has a place");
                    let turn = course.config().waiters.look(&course.key, place, cx);
                    let sleep = this.sleep.as_mut().as_pin_mut();
                    let rung = sleep.is_none_or(|sleep| sleep.poll(cx).is_ready());
                    let next = match turn {
                        Turn::First { called } if called || rung => {
                            let take = course.config().store.take(&course.key, course.cost);
                            Stage::Retaking { take }
                        }
                        Turn::Behind { ahead } if rung => {
                            let (peek, by) = (peek(course, ahead), None);
                            Stage::Leaving { peek, by }
                        }
                        _ => return Poll::Pending,
                    };
                    this.stage.set(next);
                    continue;
                }
                StageProj::Retaking { take } => match ready!(take.poll(cx)) {
                    Ok(hold) => return Poll::Ready(in_time(course, hold, *this.deadline)),
                    Err(limited) => patience(limited, Instant::now(), *this.end),
                },
                StageProj::Leaving { peek, by } => {
                    let limited = said(ready!(peek.poll(cx)));
                    let limited = match *by {
                        Some(by) => Limited::new(by, limited.wait()),
                        None => limited,
                    };
                    return Poll::Ready(Err(limited));
                }
            };
            match answer {
                Answer::Refuse(limited) => return Poll::Ready(Err(limited)),
                Answer::Sleep { until } => {
                    this.stage.set(Stage::Sleeping);
                    match this.sleep.as_mut().as_pin_mut() {
                        Some(sleep) => sleep.reset(until),
                        None => this.sleep.set(Some(sleep_until(until))),
                    }
                }
            }
        }
    }
}

/// Asks how long it would be, behind so much.
fn peek<P, St, G, C, L, K>(course: &Course<P, St, G, C, L, K>, ahead: Cost) -> St::Peek
where
    St: Store<K>,
    K: Key,
{
    course.config().store.peek(&course.key, course.cost, ahead)
}

/// What was said; a yes means that only those who come first are in the way.
fn said(peeked: Result<(), Limited>) -> Limited {
    match peeked {
        Ok(()) => Limited::new(LimitedBy::Queue, Some(Duration::ZERO)),
        Err(limited) => limited,
    }
}

/// Keeps what was taken, unless it came later than the caller has time, or its task was held up for
/// so long: then it goes back.
fn in_time<P, St, G, C, L, K>(
    course: &Course<P, St, G, C, L, K>,
    hold: St::Hold,
    deadline: Option<Instant>,
) -> Result<St::Hold, Limited>
where
    St: Store<K>,
    K: Key,
{
    if deadline.is_none_or(|deadline| Instant::now() <= deadline) {
        return Ok(hold);
    }
    let config = course.config();
    if config.store.settle(&hold, course.cost, Cost::NONE) {
        config.waiters.call(&course.key);
    }
    Err(Limited::new(LimitedBy::Deadline, Some(Duration::ZERO)))
}

/// Waits for as long as it takes, if there is time for it.
fn patience(limited: Limited, now: Instant, end: Option<Instant>) -> Answer {
    let until = limited.wait().and_then(|wait| now.checked_add(wait));
    match until {
        Some(until) if end.is_none_or(|end| until <= end) => Answer::Sleep { until },
        _ => Answer::Refuse(limited),
    }
}

impl<T, E> fmt::Debug for Wait<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait")
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}
