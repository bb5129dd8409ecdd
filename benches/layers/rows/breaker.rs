//! The circuit breaker beside its peer.

use std::{
    future::{Ready, poll_fn, ready},
    hint::{self, black_box},
    num::{NonZeroU32, NonZeroUsize},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    thread::{self, JoinHandle},
    time::Duration,
};

use buttress_circuit_breaker::{
    CircuitBreakerLayer, CircuitBreakers, KeyedCircuitBreakerLayer, Policy, Ratio, Wait, Window,
};
use buttress_core::{Plain, Reason, Refused};
use tokio::{
    task::coop::{self, unconstrained},
    time::Instant,
};
use tower::{Layer, Service, service_fn};

use super::{
    call, now,
    plain::{Echo, Failed},
};
use crate::row::{Group, Row};

/// The peer asks tokio's mutex, which makes a task wait that has asked it often; not here.
#[derive(Clone)]
struct Unconstrained<S>(S);

/// Answers, but for one call in fifty.
struct Flaky(u32);

/// Another thread that makes the same calls meanwhile.
struct Company {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

const HALF: Ratio = Ratio::percent::<50>();
const SECOND: Duration = Duration::from_secs(1);

pub(crate) fn group() -> Group {
    let calls = Window::calls::<100>();
    let rows = vec![
        closed("bare", || Echo),
        Row::new("clock read", || {
            || {
                black_box(Instant::now());
            }
        })
        .at_most(0),
        closed("closed, 100 calls", move || {
            ours(Policy::failure_rate(HALF, calls))
        }),
        // Where a call in its window failed, each is counted, with the lock held.
        Row::new("closed, 100 calls, one in fifty fails", move || {
            let mut service = CircuitBreakerLayer::new(Plain)
                .policy(Policy::failure_rate(HALF, calls))
                .layer(Flaky(0));
            move || {
                assert!(now(poll_fn(|cx| service.poll_ready(cx))).is_ok());
                black_box(&now(service.call(black_box(1))));
            }
        })
        .at_most(0),
        closed("closed, 1 000 000 calls", || {
            ours(Policy::failure_rate(HALF, Window::calls::<1_000_000>()))
        }),
        closed("closed, 30 s", || {
            ours(Policy::failure_rate(HALF, Window::secs::<30>()))
        }),
        closed("closed, 100 calls, slow ones", move || {
            let policy = Policy::failure_rate(HALF, calls);
            ours(policy.or_slow_rate(HALF, SECOND, calls))
        }),
        closed("closed, by key", || {
            let many = const { NonZeroUsize::new(1000).unwrap() };
            let breakers = CircuitBreakers::new(many, |_: &u32| Policy::default());
            KeyedCircuitBreakerLayer::new(Plain, &breakers, |key: &u32| *key).layer(Echo)
        }),
        refused("open", || {
            let wait = Wait::fixed(Duration::from_secs(1 << 32));
            let policy = Policy::consecutive_failures(NonZeroU32::MIN).wait(wait);
            let layer = CircuitBreakerLayer::new(Plain).policy(policy);
            let down = || Failed::Refused(Refused::new(Reason::IdleTimeout));
            let failing = service_fn(move |()| ready(Err::<(), _>(down())));
            let mut service = layer.layer(failing);
            assert!(now(poll_fn(|cx| service.poll_ready(cx))).is_ok());
            assert!(now(service.call(())).is_err());
            layer.layer(Echo)
        }),
        refused("forced open", || {
            let layer = CircuitBreakerLayer::new(Plain);
            layer.handle().force_open();
            layer.layer(Echo)
        }),
        closed("tower-resilience: closed, 100 calls", theirs).unbounded(),
        refused("tower-resilience: open", || {
            let service = theirs();
            now(unconstrained(service.0.force_open()));
            service
        })
        .unbounded(),
    ];
    Group {
        name: "breaker",
        rows,
    }
}

/// What a call costs while another thread makes as many as it can on the same circuit.
pub(crate) fn threads() -> Group {
    let rows = vec![
        shared("bare", || Echo),
        shared("closed, 100 calls", || {
            ours(Policy::failure_rate(HALF, Window::calls::<100>()))
        }),
        shared("closed, 30 s", || {
            ours(Policy::failure_rate(HALF, Window::secs::<30>()))
        }),
        shared("tower-resilience: closed, 100 calls", theirs),
    ];
    Group {
        name: "breaker, another thread on it",
        rows,
    }
}

type Ours = buttress_circuit_breaker::CircuitBreakerService<Plain, Echo>;
type Theirs = Unconstrained<
    tower_resilience_circuitbreaker::CircuitBreaker<
        Echo,
        tower_resilience_circuitbreaker::DefaultClassifier,
    >,
>;

fn ours(policy: Policy) -> Ours {
    CircuitBreakerLayer::new(Plain).policy(policy).layer(Echo)
}

fn theirs() -> Theirs {
    let layer = tower_resilience_circuitbreaker::CircuitBreakerLayer::builder()
        .sliding_window_size(100)
        .wait_duration_in_open(Duration::from_secs(1 << 32))
        .build()
        .expect("a circuit breaker");
    Unconstrained(layer.layer(Echo))
}

fn closed<S>(name: &str, make: impl Fn() -> S + 'static) -> Row
where
    S: Service<u32, Response = u32> + 'static,
    S::Error: std::fmt::Debug,
{
    Row::new(name, move || {
        let mut service = make();
        move || {
            black_box(call(&mut service, black_box(1)));
        }
    })
    .at_most(0)
}

fn refused<S>(name: &str, make: impl Fn() -> S + 'static) -> Row
where
    S: Service<u32, Response = u32> + 'static,
    S::Error: std::fmt::Debug,
{
    Row::new(name, move || {
        let mut service = make();
        move || {
            let ready = service.poll_ready(&mut Context::from_waker(Waker::noop()));
            assert!(ready.is_ready());
            let refused = now(service.call(black_box(1)));
            // By reference: to move it is not what is measured.
            assert!(black_box(&refused).is_err());
        }
    })
    .at_most(0)
}

fn shared<S>(name: &str, make: impl Fn() -> S + 'static) -> Row
where
    S: Service<u32, Response = u32> + Clone + Send + 'static,
    S::Error: std::fmt::Debug,
{
    Row::new(name, move || {
        let mut service = make();
        let company = Company::new(service.clone());
        move || {
            let _company = &company;
            black_box(turn(&mut service));
        }
    })
}

/// One call, which may have to wait for another thread.
fn turn<S>(service: &mut S) -> u32
where
    S: Service<u32, Response = u32>,
    S::Error: std::fmt::Debug,
{
    let mut cx = Context::from_waker(Waker::noop());
    now(poll_fn(|cx| service.poll_ready(cx))).expect("it is ready");
    let mut call = pin!(service.call(black_box(1)));
    loop {
        if let Poll::Ready(reply) = call.as_mut().poll(&mut cx) {
            return reply.expect("it answers");
        }
        hint::spin_loop();
    }
}

// ===== impl Unconstrained =====

impl<S: Service<u32>> Service<u32> for Unconstrained<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = coop::Unconstrained<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: u32) -> Self::Future {
        unconstrained(self.0.call(request))
    }
}

// ===== impl Flaky =====

impl Service<u32> for Flaky {
    type Response = u32;
    type Error = Failed;
    type Future = Ready<Result<u32, Failed>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: u32) -> Self::Future {
        self.0 = (self.0 + 1) % 50;
        ready(match self.0 {
            0 => Err(Failed::Refused(Refused::new(Reason::IdleTimeout))),
            _ => Ok(black_box(request)),
        })
    }
}

// ===== impl Company =====

impl Company {
    fn new<S>(mut service: S) -> Self
    where
        S: Service<u32, Response = u32> + Send + 'static,
        S::Error: std::fmt::Debug,
    {
        let ends = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ends);
        let thread = thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                black_box(turn(&mut service));
            }
        });
        Self {
            ends,
            thread: Some(thread),
        }
    }
}

impl Drop for Company {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("its calls go well");
        }
    }
}
