//! What a call did is gone before anybody hears how it ended, however it ends: what it held is free
//! for whoever comes next because of that.

use std::{
    future::Future,
    num::NonZeroU32,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use buttress_circuit_breaker::{CircuitBreakerLayer, CircuitEvent, Policy};
use buttress_core::{Class, Outcome, Plain, RetryBudget, Withdrawn};
use buttress_failover::{Failover, FailoverEvent};
use buttress_rate_limit::{Quota, Quotas, RateLimitEvent, RateLimitLayer};
use buttress_retry::{Constant, RetryEvent, RetryLayer};
use buttress_timeout::{TimeoutEvent, TimeoutLayer};
use tokio_test::task::spawn;
use tower::{BoxError, Layer, Service, ServiceExt};

/// How a call ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Well,
    Badly,
    Panic,
    /// It does not: its caller goes away, or its time is up.
    Never,
}

/// An upstream that counts the calls of which anything is left.
#[derive(Clone)]
struct Upstream {
    alive: Alive,
    end: End,
}

#[derive(Clone, Default)]
struct Alive(Arc<AtomicUsize>);

struct Work {
    end: End,
    polled: bool,
    _held: Held,
}

struct Held(Alive);

/// Who hears of an end, and how often.
#[derive(Clone)]
struct Hears {
    alive: Alive,
    told: Arc<Mutex<Vec<&'static str>>>,
}

// ===== impl Upstream =====

impl Service<()> for Upstream {
    type Response = &'static str;
    type Error = BoxError;
    type Future = Work;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Work {
        self.alive.0.fetch_add(1, Ordering::SeqCst);
        Work {
            end: self.end,
            polled: false,
            _held: Held(self.alive.clone()),
        }
    }
}

impl Future for Work {
    type Output = Result<&'static str, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if !std::mem::replace(&mut self.polled, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        match self.end {
            End::Well => Poll::Ready(Ok("hello")),
            End::Badly => Poll::Ready(Err("down".into())),
            End::Panic => panic!("on purpose"),
            End::Never => Poll::Pending,
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

// ===== impl Hears =====

impl Hears {
    fn hear(&self, what: &'static str) {
        let alive = self.alive.0.load(Ordering::SeqCst);
        let mut told = self.told.lock().unwrap();
        told.push(if alive == 0 { what } else { "too early" });
    }
}

/// A budget that hears of the calls for which it is there.
impl RetryBudget for Hears {
    fn deposit(&self) {}

    fn withdraw(&self, _: Class) -> Option<Withdrawn> {
        self.hear("withdraw");
        Some(Withdrawn::new(1))
    }

    fn succeeded(&self, _: Option<Withdrawn>) {
        self.hear("succeeded");
    }

    fn unspent(&self, _: Withdrawn) {
        self.hear("unspent");
    }
}

/// Calls the service that `make` makes, once for each end, and says what was told of each.
fn ends<S>(make: impl Fn(Upstream, Hears) -> S, each: impl Fn(End, Vec<&'static str>))
where
    S: Service<(), Error = BoxError>,
{
    for end in [End::Well, End::Badly, End::Panic, End::Never] {
        let alive = Alive::default();
        let hears = Hears {
            alive: alive.clone(),
            told: Arc::default(),
        };
        let upstream = Upstream {
            alive: alive.clone(),
            end,
        };
        let mut call = spawn(make(upstream, hears.clone()).oneshot(()));
        let ended = catch_unwind(AssertUnwindSafe(|| {
            for _ in 0..10 {
                if call.poll().is_ready() {
                    return true;
                }
            }
            false
        }));
        match (end, ended) {
            (End::Panic, Err(_)) | (End::Well | End::Badly, Ok(true)) | (End::Never, Ok(false)) => {
            }
            (_, other) => panic!("{end:?}: found {other:?}"),
        }
        drop(call);
        assert_eq!(alive.0.load(Ordering::SeqCst), 0);
        each(end, std::mem::take(&mut *hears.told.lock().unwrap()));
    }
}

#[tokio::test(start_paused = true)]
async fn t4_a_retry_tells_of_an_attempt_that_is_gone() {
    let retry = |upstream: Upstream, hears: Hears| {
        let decides = hears.clone();
        let observer = hears.clone();
        RetryLayer::new(Plain)
            .backoff(Constant::NONE)
            .budget(hears)
            .decide_with(move |(): &(), _: &Outcome| {
                decides.hear("decide");
                None
            })
            .on_event(move |event| match event {
                RetryEvent::Again { .. } => observer.hear("again"),
                _ => observer.hear("done"),
            })
            .layer(upstream)
    };
    let again = ["decide", "withdraw", "again"];
    ends(retry, |end, told| match end {
        End::Well => assert_eq!(told, ["decide", "succeeded", "done"]),
        End::Badly => assert_eq!(told, [&again[..], &again[..], &["done"]].concat()),
        End::Panic | End::Never => assert_eq!(told, ["done"]),
    });
}

#[tokio::test(start_paused = true)]
async fn t4_a_failover_tells_of_an_attempt_that_is_gone() {
    let failover = |upstream: Upstream, hears: Hears| {
        let (decides, observer) = (hears.clone(), hears.clone());
        Failover::new(Plain, [upstream.clone(), upstream])
            .budget(hears)
            .decide_with(move |(): &(), _: &Outcome, _| {
                decides.hear("decide");
                None
            })
            .on_event(move |event| match event {
                FailoverEvent::Failed { .. } => observer.hear("failed"),
                FailoverEvent::Done { .. } => observer.hear("done"),
                _ => observer.hear("cooling"),
            })
    };
    ends(failover, |end, told| match end {
        End::Well => assert_eq!(told, ["succeeded", "done"]),
        End::Badly => {
            let failed = ["failed", "cooling", "decide"];
            let expected = [&failed[..], &["withdraw"], &failed[..2], &["done"]].concat();
            assert_eq!(told, expected);
        }
        End::Panic | End::Never => assert_eq!(told, ["done"]),
    });
}

#[tokio::test(start_paused = true)]
async fn t4_a_limit_settles_a_call_that_is_gone() {
    let limit = |upstream: Upstream, hears: Hears| {
        let quota = Quota::per_minute(const { NonZeroU32::new(9).unwrap() });
        RateLimitLayer::new(Plain, Quotas::requests(quota))
            .on_event(move |event| {
                if let RateLimitEvent::Settled { .. } = event {
                    hears.hear("settled");
                }
            })
            .layer(upstream)
    };
    ends(limit, |_, told| assert_eq!(told, ["settled"]));
}

#[tokio::test(start_paused = true)]
async fn t4_a_circuit_counts_a_call_that_is_gone() {
    let circuit = |upstream: Upstream, hears: Hears| {
        let policy = Policy::consecutive_failures(NonZeroU32::MIN).on_event(move |event| {
            if let CircuitEvent::Changed { .. } = event {
                hears.hear("changed");
            }
        });
        CircuitBreakerLayer::new(Plain)
            .policy(policy)
            .layer(upstream)
    };
    ends(circuit, |end, told| match end {
        End::Badly => assert_eq!(told, ["changed"]),
        _ => assert_eq!(told, [""; 0]),
    });
}

#[tokio::test(start_paused = true)]
async fn d6_a_timeout_tells_of_a_call_that_is_gone() {
    let alive = Alive::default();
    let hears = Hears {
        alive: alive.clone(),
        told: Arc::default(),
    };
    let told = hears.told.clone();
    let service = TimeoutLayer::new(Plain)
        .total(Duration::from_secs(1))
        .on_event(move |event| {
            if let TimeoutEvent::Elapsed { .. } = event {
                hears.hear("elapsed");
            }
        })
        .layer(Upstream {
            alive,
            end: End::Never,
        });
    assert!(service.oneshot(()).await.is_err());
    assert_eq!(*told.lock().unwrap(), ["elapsed"]);
}
