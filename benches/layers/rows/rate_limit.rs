//! Limits on rates, beside their peers, all on tokio's clock.

use std::{
    hint::black_box,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use buttress_core::{Outcome, Plain, ProtocolExt, Usage};
use buttress_rate_limit::{
    Cost, Limiter, Quota, Quotas, RateLimitLayer, SlidingCounter, SlidingLog,
};
use governor::{
    RateLimiter,
    clock::Clock,
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed, keyed::DefaultKeyedStateStore},
};
use tokio::time::Instant;
use tower::{Layer, service_fn};
use tower_service::Service;

use super::{
    call,
    plain::{Echo, Failed},
};
use crate::row::{Group, Row};

/// governor's clock, read as ours is.
#[derive(Clone, Copy, Debug)]
struct Tokio(Instant);

/// Somebody else who does the same on another thread, until this is dropped.
struct Rival {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

const KEYS: u32 = 512;

pub(crate) fn group() -> Group {
    let rows = vec![
        row("bare", || Echo).at_most(0),
        Row::new("governor: direct", || {
            let governor = direct();
            move || {
                black_box(governor.check().is_ok());
            }
        })
        .at_most(0),
        row("direct", || limit(Quotas::requests(most())).layer(Echo)).at_most(0),
        row("direct, two quotas", || {
            let quotas = Quotas::requests(most()).and_tokens(most());
            limit(quotas).layer(Echo)
        })
        .at_most(0),
        row("direct, settled", || {
            let used = Outcome::SUCCESS.with_usage(Usage::new(10, 5));
            let protocol =
                Plain.classify_with(move |_: Result<&u32, &Failed>| Some(black_box(used)));
            RateLimitLayer::new(protocol, Quotas::tokens(most()))
                .cost(|_: &u32| Cost::tokens(10, 20))
                .layer(Echo)
        })
        .at_most(0),
        row("direct, may wait", || {
            let layer = limit(Quotas::requests(most()));
            layer.wait(Duration::from_secs(1)).layer(Echo)
        })
        .at_most(0),
        row("direct, sliding log", || {
            let limiter = Limiter::new(Quotas::requests(most())).counting::<SlidingLog>();
            RateLimitLayer::with_store(Plain, limiter, buttress_rate_limit::AllCalls).layer(Echo)
        }),
        row("direct, sliding counter", || {
            let limiter = Limiter::new(Quotas::requests(most())).counting::<SlidingCounter>();
            RateLimitLayer::with_store(Plain, limiter, buttress_rate_limit::AllCalls).layer(Echo)
        })
        .at_most(0),
        Row::new("refused", || {
            let one = Quota::per_hour(NonZeroU32::MIN);
            let mut service = limit(Quotas::requests(one)).layer(Echo);
            call(&mut service, 1);
            move || {
                let refused = super::now(service.call(black_box(1)));
                black_box(refused.is_err());
            }
        })
        .at_most(0),
        Row::new("governor: keyed", || {
            let store = DefaultKeyedStateStore::<u32>::default();
            let governor = Governor::<u32, _>::new(most(), store, Tokio(Instant::now()));
            let mut key = 0;
            move || {
                key = (key + 1) % KEYS;
                black_box(governor.check_key(&key).is_ok());
            }
        })
        .at_most(0),
        Row::new("keyed", || {
            let layer = limit(Quotas::requests(most())).key(|key: &u32| *key);
            let mut service = layer.layer(Echo);
            let mut key = 0;
            move || {
                key = (key + 1) % KEYS;
                black_box(call(&mut service, key));
            }
        })
        .at_most(0),
        Row::new("governor: 2 threads", || {
            let governor = Arc::new(direct());
            let theirs = Arc::clone(&governor);
            let rival = Rival::new(move || {
                black_box(theirs.check().is_ok());
            });
            move || {
                let _: &Rival = &rival;
                black_box(governor.check().is_ok());
            }
        })
        .at_most(0),
        Row::new("direct: 2 threads", || {
            let layer = limit(Quotas::requests(most()));
            let (mut service, mut other) = (layer.layer(Echo), layer.layer(Echo));
            let rival = Rival::new(move || {
                black_box(call(&mut other, 1));
            });
            move || {
                let _: &Rival = &rival;
                black_box(call(&mut service, black_box(1)));
            }
        })
        .at_most(0),
        row("tower-resilience: rate limiter", || {
            let layer = tower_resilience_ratelimiter::RateLimiterLayer::builder()
                .limit_for_period(usize::MAX / 2)
                .refresh_period(Duration::from_secs(1))
                .build()
                .expect("a limiter");
            let echo = service_fn(|n: u32| async move { Ok::<_, Failed>(black_box(n)) });
            layer.layer(echo)
        }),
    ];
    Group {
        name: "rate limit",
        rows,
    }
}

/// More than anybody asks for.
fn most() -> Quota {
    let quota = Quota::with_period(Duration::from_nanos(1)).expect("more than zero");
    quota.allow_burst(NonZeroU32::new(1 << 20).expect("not zero"))
}

fn limit(quotas: Quotas) -> RateLimitLayer<Plain> {
    RateLimitLayer::new(Plain, quotas)
}

type Governor<K, S> = RateLimiter<K, S, Tokio, NoOpMiddleware<Duration>>;

fn direct() -> Governor<NotKeyed, InMemoryState> {
    Governor::new(most(), InMemoryState::default(), Tokio(Instant::now()))
}

fn row<S>(name: &str, make: impl Fn() -> S + 'static) -> Row
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
}

// ===== impl Tokio =====

impl Clock for Tokio {
    type Instant = Duration;

    fn now(&self) -> Duration {
        Instant::now().saturating_duration_since(self.0)
    }
}

// ===== impl Rival =====

impl Rival {
    fn new(mut work: impl FnMut() + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            while !stopped.load(Relaxed) {
                work();
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Rival {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(
            ended.is_none_or(|ended| ended.is_ok()),
            "the rival panicked"
        );
    }
}
