//! The promises of the rate limit, from outside.

mod contract;
mod keys;
mod provider;
mod queue;
mod quotas;
mod settle;
mod storm;
mod wake;
mod windows;

use std::{
    error::Error,
    fmt,
    future::{Ready, ready},
    num::{NonZeroU32, NonZeroUsize},
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use buttress_core::{
    CallInfo, Carry, Classify, Fault, Limits, Outcome, Plain, ProtocolExt, Refuse, Refused, Track,
};
use buttress_rate_limit::{Cost, Quota, Quotas, RateLimitEvent};
use tokio::time::Instant;
use tower::Service;

/// A request: whose it is, what it is estimated to cost, and how its call will end.
#[derive(Clone, Debug)]
struct Ask {
    key: u32,
    cost: Cost,
    outcome: Outcome,
    limits: Option<Limits>,
    info: CallInfo,
}

/// A reply that says how the call ended.
#[derive(Clone, Debug)]
struct Said {
    outcome: Outcome,
    limits: Option<Limits>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct No(Refused);

/// An upstream that does as the request says, and remembers when.
#[derive(Clone, Debug, Default)]
struct Upstream {
    seen: Arc<Mutex<Vec<(Instant, u32)>>>,
}

type Log = Arc<Mutex<Vec<String>>>;

const SECOND: Duration = Duration::from_secs(1);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn count(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).unwrap()
}

fn size(count: usize) -> NonZeroUsize {
    NonZeroUsize::new(count).unwrap()
}

/// So many a minute, and as many at once.
fn minute(units: u32) -> Quota {
    Quota::per_minute(count(units))
}

fn requests(units: u32) -> Quotas {
    Quotas::requests(minute(units))
}

fn tokens(units: u32) -> Quotas {
    Quotas::tokens(minute(units))
}

/// A call of so many tokens that goes well and uses what it was estimated to.
fn ask(tokens: u64) -> Ask {
    Ask {
        key: 0,
        cost: Cost::tokens(tokens, 0),
        outcome: Outcome::SUCCESS,
        limits: None,
        info: CallInfo::new(),
    }
}

fn protocol()
-> impl Carry<Ask> + Classify<Said, No> + Track<Said> + Refuse<Said, No> + Clone + Send + Sync + 'static
{
    Plain
        .carry_with(|ask: &Ask| &ask.info, |ask: &mut Ask| &mut ask.info)
        .classify_with(|result: Result<&Said, &No>| result.ok().map(|said| said.outcome))
}

/// Writes down the name of every event.
fn log() -> (
    Log,
    impl Fn(&RateLimitEvent<'_>) + Clone + Send + Sync + 'static,
) {
    let log = Log::default();
    let write = log.clone();
    let observer = move |event: &RateLimitEvent<'_>| {
        let name = buttress_core::Event::name(event);
        write.lock().unwrap().push(name.replace("rate_limit.", ""));
    };
    (log, observer)
}

// ===== impl Ask =====

impl Ask {
    fn of(self, key: u32) -> Self {
        Self { key, ..self }
    }

    fn ending(self, outcome: Outcome) -> Self {
        Self { outcome, ..self }
    }

    fn telling(self, limits: Limits) -> Self {
        let limits = Some(limits);
        Self { limits, ..self }
    }

    fn until(mut self, time: Duration) -> Self {
        self.info.deadline = Some((Instant::now() + time).into_std());
        self
    }
}

// ===== impl Upstream =====

impl Upstream {
    fn calls(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// After which time each call came, and of which key.
    fn seen(&self, start: Instant) -> Vec<(Duration, u32)> {
        let seen = self.seen.lock().unwrap();
        seen.iter().map(|(at, key)| (*at - start, *key)).collect()
    }
}

impl Service<Ask> for Upstream {
    type Response = Said;
    type Error = No;
    type Future = Ready<Result<Said, No>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), No>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, ask: Ask) -> Self::Future {
        self.seen.lock().unwrap().push((Instant::now(), ask.key));
        ready(Ok(Said {
            outcome: ask.outcome,
            limits: ask.limits,
        }))
    }
}

// ===== impl No =====

impl From<Refused> for No {
    fn from(refused: Refused) -> Self {
        Self(refused)
    }
}

impl Fault for No {
    fn cause(&self) -> Option<&(dyn Error + 'static)> {
        Some(self)
    }
}

impl fmt::Display for No {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Error for No {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}
