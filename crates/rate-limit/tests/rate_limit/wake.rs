//! What wakes those who wait, and what becomes of them who are woken too late.

use std::{
    future::Ready,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use buttress_core::{Class, Limits, Outcome, Reason, Refused};
use buttress_rate_limit::{
    Cost, Hold, Limited, LimitedBy, Limiter, Quotas, RateLimitLayer, Store, Unit, Waiters,
};
use tokio::time::advance;
use tokio_test::task::spawn;
use tower::{Layer, ServiceExt};

use crate::{Ask, SECOND, Upstream, ask, log, ms, protocol, size, tokens};

/// A store that answers when it is told to.
#[derive(Clone)]
struct Slow {
    limiter: Limiter<u32>,
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Gate(Mutex<(bool, Vec<Waker>)>);

/// What the limiter says, when the gate is open.
struct Answer {
    slow: Slow,
    key: u32,
    cost: Cost,
}

macro_rules! service {
    ($limiter:expr, $upstream:expr) => {
        RateLimitLayer::new(protocol(), Quotas::none())
            .limiter($limiter.clone(), |ask: &Ask| ask.key)
            .cost(|ask: &Ask| ask.cost)
            .wait(600 * SECOND)
            .layer($upstream.clone())
    };
}

#[tokio::test(start_paused = true)]
async fn l7_what_a_handle_gives_back_is_there_for_the_first_in_line_at_once() {
    let (limiter, upstream) = (Limiter::keyed(tokens(60)), Upstream::default());
    let service = service!(limiter, upstream);
    let reservation = limiter.reserve(&0, Cost::tokens(60, 0)).unwrap();
    let (mut first, mut second) = (
        spawn(service.clone().oneshot(ask(40))),
        spawn(service.clone().oneshot(ask(40))),
    );
    assert!(first.poll().is_pending() && second.poll().is_pending());
    reservation.settle(Cost::tokens(20, 0));
    assert!(first.is_woken() && !second.is_woken());
    assert!(first.poll().is_ready());
    // 40 s for the rest, with nothing before it any more.
    assert!(second.is_woken() && second.poll().is_pending());
    advance(40 * SECOND).await;
    assert!(second.is_woken() && second.poll().is_ready());
}

#[tokio::test(start_paused = true)]
async fn l7_layers_over_one_limiter_have_one_line() {
    let (limiter, upstream) = (Limiter::keyed(tokens(60)), Upstream::default());
    let (one, other) = (service!(limiter, upstream), service!(limiter, upstream));
    let none = Outcome::new(Class::Denied);
    let holds = limiter.reserve(&0, Cost::tokens(60, 0)).unwrap();
    let mut first = spawn(one.oneshot(ask(60).ending(none)));
    assert!(first.poll().is_pending());
    // Though it is small, and of another layer.
    let mut second = spawn(other.oneshot(ask(1)));
    assert!(second.poll().is_pending());
    advance(30 * SECOND).await;
    assert!(second.poll().is_pending());
    drop(holds);
    assert!(first.is_woken() && first.poll().is_ready());
    assert!(second.is_woken() && second.poll().is_ready());
}

#[tokio::test(start_paused = true)]
async fn l11_a_larger_quota_is_there_for_those_who_wait_at_once() {
    let (limiter, upstream) = (Limiter::keyed(tokens(60)), Upstream::default());
    let service = service!(limiter, upstream);
    let calls: Vec<_> = [0, 0, 1, 1].map(|key| ask(50).of(key)).into();
    let mut calls: Vec<_> = calls
        .into_iter()
        .map(|ask| spawn(service.clone().oneshot(ask)))
        .collect();
    let polled: Vec<_> = calls
        .iter_mut()
        .map(|call| call.poll().is_ready())
        .collect();
    assert_eq!(polled, [true, false, true, false]);
    limiter.set_quotas_of(&0, tokens(600)).unwrap();
    assert!(calls[1].is_woken() && !calls[3].is_woken());
    assert!(calls[1].poll().is_ready() && calls[3].poll().is_pending());
    limiter.set_quotas(tokens(600));
    assert!(calls[3].is_woken() && calls[3].poll().is_ready());
}

#[tokio::test(start_paused = true)]
async fn l9_a_pause_that_is_ended_holds_up_nobody() {
    let (limiter, upstream) = (Limiter::keyed(tokens(60)), Upstream::default());
    let service = service!(limiter, upstream);
    limiter.pause(&0, 60 * SECOND);
    let mut call = spawn(service.oneshot(ask(50)));
    assert!(call.poll().is_pending());
    limiter.resume(&0);
    assert!(call.is_woken() && call.poll().is_ready());
    // Of the quota nothing was forgotten.
    assert_eq!(limiter.remaining(&0, Unit::Tokens), Some(10));
}

#[tokio::test(start_paused = true)]
async fn l8_who_is_woken_after_its_deadline_is_refused_and_has_taken_nothing() {
    let (limiter, upstream) = (Limiter::keyed(tokens(60)), Upstream::default());
    let (events, observer) = log();
    let service = RateLimitLayer::new(protocol(), Quotas::none())
        .limiter(limiter.clone(), |ask: &Ask| ask.key)
        .cost(|ask: &Ask| ask.cost)
        .wait(60 * SECOND)
        .on_event(observer)
        .layer(upstream.clone());
    limiter.reserve(&0, Cost::tokens(60, 0)).unwrap().keep();
    let mut late = spawn(service.clone().oneshot(ask(5).until(5 * SECOND)));
    let mut next = spawn(service.oneshot(ask(6)));
    assert!(late.poll().is_pending() && next.poll().is_pending());
    // Its task is held up for longer than it has.
    advance(6 * SECOND).await;
    let refused = match late.poll() {
        Poll::Ready(Err(no)) => no.0,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused.reason(), Reason::TotalTimeout);
    assert_eq!(refused.class(), Class::Refused);
    assert_eq!(refused.retry_after(), Some(Duration::ZERO));
    assert_eq!(*events.lock().unwrap(), ["queued", "queued", "limited"]);
    // All of the 6 that came are there for the next.
    assert!(next.is_woken() && next.poll().is_ready());
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn l8_what_a_store_gave_too_late_goes_back() {
    let (slow, upstream) = (Slow::new(), Upstream::default());
    let service = slow.service(&upstream);
    let mut call = spawn(service.oneshot(ask(50).until(5 * SECOND)));
    assert!(call.poll().is_pending());
    advance(5 * SECOND + ms(1)).await;
    slow.gate.open();
    let refused = match call.poll() {
        Poll::Ready(Err(no)) => no.0,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        refused,
        Refused::from(Limited::new(LimitedBy::Deadline, Some(Duration::ZERO)))
    );
    assert_eq!(slow.limiter.remaining(&0, Unit::Tokens), Some(60));
    assert_eq!(upstream.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_line_that_filled_meanwhile_says_when_all_of_it_is_served() {
    let (slow, upstream) = (Slow::new(), Upstream::default());
    let service = slow.service(&upstream);
    slow.limiter
        .reserve(&0, Cost::tokens(60, 0))
        .unwrap()
        .keep();
    // All ask before anybody is in line, and learn of 1, 2 and 10 seconds.
    let mut calls: Vec<_> = [1, 2, 10]
        .map(|tokens| spawn(service.clone().oneshot(ask(tokens))))
        .into_iter()
        .collect();
    assert!(calls.iter_mut().all(|call| call.poll().is_pending()));
    slow.gate.open();
    assert!(calls[0].poll().is_pending() && calls[1].poll().is_pending());
    let refused = match calls[2].poll() {
        Poll::Ready(Err(no)) => no.0,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused.reason(), Reason::QueueFull);
    // 3 s for those before it, and 10 for its own.
    assert_eq!(refused.retry_after(), Some(13 * SECOND));
    advance(13 * SECOND).await;
    assert!(calls[0].poll().is_ready() && calls[1].poll().is_ready());
    assert!(spawn(service.oneshot(ask(10))).poll().is_ready());
}

// ===== impl Slow =====

impl Slow {
    fn new() -> Self {
        Self {
            limiter: Limiter::keyed(tokens(60)),
            gate: Arc::default(),
        }
    }

    fn service(
        &self,
        upstream: &Upstream,
    ) -> impl tower::Service<Ask, Response = crate::Said, Error = crate::No, Future: Send> + Clone
    {
        RateLimitLayer::with_store(protocol(), self.clone(), |ask: &Ask| ask.key)
            .cost(|ask: &Ask| ask.cost)
            .wait(600 * SECOND)
            .queue(size(2))
            .layer(upstream.clone())
    }
}

impl Store<u32> for Slow {
    type Hold = Hold<u32>;
    type Take = Answer;
    type Peek = Ready<Result<(), Limited>>;

    fn take(&self, key: &u32, cost: Cost) -> Answer {
        let (slow, key) = (self.clone(), *key);
        Answer { slow, key, cost }
    }

    fn peek(&self, key: &u32, cost: Cost, ahead: Cost) -> Self::Peek {
        self.limiter.peek(key, cost, ahead)
    }

    fn key<'a>(&'a self, hold: &'a Hold<u32>) -> &'a u32 {
        self.limiter.key(hold)
    }

    fn settle(&self, hold: &Hold<u32>, reserved: Cost, used: Cost) -> bool {
        Store::settle(&self.limiter, hold, reserved, used)
    }

    fn pause(&self, hold: &Hold<u32>, time: Duration) {
        Store::pause(&self.limiter, hold, time);
    }

    fn tighten(&self, hold: &Hold<u32>, limits: &Limits) {
        Store::tighten(&self.limiter, hold, limits);
    }

    fn waiters(&self) -> Waiters<u32> {
        self.limiter.waiters()
    }
}

// ===== impl Gate =====

impl Gate {
    fn open(&self) {
        let mut gate = self.0.lock().unwrap();
        gate.0 = true;
        gate.1.drain(..).for_each(Waker::wake);
    }
}

// ===== impl Answer =====

impl Future for Answer {
    type Output = Result<Hold<u32>, Limited>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut gate = self.slow.gate.0.lock().unwrap();
        if !gate.0 {
            gate.1.push(cx.waker().clone());
            return Poll::Pending;
        }
        let answer = self.slow.limiter.take_now(&self.key, self.cost);
        Poll::Ready(answer.expect("it answers at once"))
    }
}

/// A waker of a task that owns another call, which goes with the last of them.
struct Owns<T>(Mutex<T>);

impl<T: Send> Wake for Owns<T> {
    fn wake(self: Arc<Self>) {}
}

#[test]
fn l7_a_waker_that_owns_another_waiter_may_go_with_a_place() {
    let (done, ends) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = { runtime }
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            let (limiter, upstream) = (Limiter::keyed(tokens(60)), Upstream::default());
            let service = service!(limiter, upstream);
            let holds = limiter.reserve(&0, Cost::tokens(60, 0)).unwrap();
            let mut calls = [40, 40, 40].map(|cost| Box::pin(service.clone().oneshot(ask(cost))));
            for call in &mut calls {
                assert!(
                    call.as_mut()
                        .poll(&mut Context::from_waker(Waker::noop()))
                        .is_pending()
                );
            }
            let [mut first, second, mut third] = calls;
            let owner = Waker::from(Arc::new(Owns(Mutex::new(second))));
            assert!(
                first
                    .as_mut()
                    .poll(&mut Context::from_waker(&owner))
                    .is_pending()
            );
            drop(owner);
            drop(first);
            drop(holds);
            let third = third.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(third.is_ready(), "the others have left");
        });
        done.send(()).unwrap();
    });
    ends.recv_timeout(10 * SECOND)
        .expect("nobody waits for a lock of its own");
}
