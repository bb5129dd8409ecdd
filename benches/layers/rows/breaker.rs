//! The circuit breaker beside its peer.

use std::{
    future::{Ready, poll_fn, ready},
    hint::black_box,
    num::{NonZeroU32, NonZeroUsize},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use buttress_circuit_breaker::{
    CircuitBreakerLayer, CircuitBreakers, KeyedCircuitBreakerLayer, Policy, Ratio, Wait, Window,
};
use buttress_core::{Plain, Reason, Refused};
use failsafe::CircuitBreaker as _;
use recloser::Recloser;
use tokio::time::Instant;
use tower::{Layer, Service, service_fn};

use super::{
    call, now,
    plain::{Echo, Failed},
    rival::{Rival, shared},
};
use crate::row::{Group, Row};

/// Answers, but for one call in fifty.
struct Flaky(u32);

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
            now(service.force_open());
            service
        })
        .unbounded(),
        // Both are asked by hand: they come without a service.
        Row::new("recloser: closed, 100 calls", || {
            let breaker = recloser();
            move || {
                let reply = breaker.call(|| Ok::<_, Failed>(black_box(1)));
                assert!(black_box(&reply).is_ok());
            }
        }),
        Row::new("failsafe: closed, 5 in a row", || {
            let breaker = in_a_row();
            move || {
                let reply = breaker.call(|| Ok::<_, Failed>(black_box(1)));
                assert!(black_box(&reply).is_ok());
            }
        }),
        Row::new("failsafe: closed, rate over 30 s", || {
            let breaker = failsafe::Config::new().build();
            move || {
                let reply = breaker.call(|| Ok::<_, Failed>(black_box(1)));
                assert!(black_box(&reply).is_ok());
            }
        }),
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
        Row::new("recloser: closed, 100 calls", || {
            let breaker = Arc::new(recloser());
            let theirs = Arc::clone(&breaker);
            let rival = Rival::new(move || {
                let reply = theirs.call(|| Ok::<_, Failed>(black_box(1)));
                assert!(black_box(&reply).is_ok());
            });
            move || {
                let _: &Rival = &rival;
                let reply = breaker.call(|| Ok::<_, Failed>(black_box(1)));
                assert!(black_box(&reply).is_ok());
            }
        })
        .waiting(),
        Row::new("failsafe: closed, 5 in a row", || {
            let breaker = in_a_row();
            let theirs = breaker.clone();
            let rival = Rival::new(move || {
                let reply = theirs.call(|| Ok::<_, Failed>(black_box(1)));
                assert!(black_box(&reply).is_ok());
            });
            move || {
                let _: &Rival = &rival;
                let reply = breaker.call(|| Ok::<_, Failed>(black_box(1)));
                assert!(black_box(&reply).is_ok());
            }
        })
        .waiting(),
    ];
    Group {
        name: "breaker, another thread on it",
        rows,
    }
}

type Ours = buttress_circuit_breaker::CircuitBreakerService<Plain, Echo>;
type Theirs = tower_resilience_circuitbreaker::CircuitBreaker<
    Echo,
    tower_resilience_circuitbreaker::DefaultClassifier,
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
    layer.layer(Echo)
}

fn recloser() -> Recloser {
    Recloser::custom().error_rate(0.5).closed_len(100).build()
}

/// Opens after five failures in a row, its cheapest policy.
fn in_a_row() -> failsafe::StateMachine<
    failsafe::failure_policy::ConsecutiveFailures<failsafe::backoff::Constant>,
    (),
> {
    let wait = failsafe::backoff::constant(Duration::from_secs(1 << 32));
    let policy = failsafe::failure_policy::consecutive_failures(5, wait);
    failsafe::Config::new().failure_policy(policy).build()
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
