//! The promises of the failover, from outside.

mod contract;
mod cool;
mod extras;
mod http;
mod load;
mod model;
mod order;
mod storm;
mod weights;

use std::{
    collections::VecDeque,
    error::Error,
    fmt,
    future::Future,
    num::NonZeroU32,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
    time::Duration,
};

use buttress_core::{
    CallInfo, Carry, Class, Classify, Fault, Ledger, Outcome, Plain, ProtocolExt, Refuse, Refused,
    Replay, Track,
};
use buttress_failover::{Endpoint, Failover, FailoverEvent, Stop};
use tokio::{
    task::coop::poll_proceed,
    time::{Instant, sleep},
};
use tower::Service;

/// A request, and what it carries.
#[derive(Clone, Debug, Default)]
struct Ask {
    number: u64,
    info: CallInfo,
}

/// An error that says what it means, and is known again by where it comes from.
#[derive(Clone, Debug, PartialEq)]
struct Failed {
    outcome: Outcome,
    at: &'static str,
    call: usize,
}

/// An upstream that does as it is told, call by call, and then as the last time.
#[derive(Clone)]
struct Upstream {
    name: &'static str,
    script: Arc<Mutex<VecDeque<(Duration, Outcome)>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
    ready: Arc<Mutex<Ready>>,
    start: Instant,
}

/// One call, as the upstream saw it.
#[derive(Clone, Debug)]
struct Seen {
    at: Duration,
    ask: Ask,
}

/// Whether an upstream is ready.
#[derive(Clone, Debug)]
enum Ready {
    Yes,
    Never,
    /// It finds that out for as long as its task may.
    Busy,
    Failing(Failed),
}

/// What an observer wrote down.
#[derive(Clone, Debug, PartialEq)]
enum Told {
    Failed(String, Class),
    Passed(String, Duration),
    Cooling(String, Duration, u32, bool),
    Checked(String, Class),
    Done {
        endpoint: Option<String>,
        variant: Option<String>,
        attempts: u32,
        class: Class,
        failed: usize,
        stop: Stop,
    },
}

type Log = Arc<Mutex<Vec<Told>>>;

const DOWN: Outcome = Outcome::new(Class::Unavailable);
const OK: Outcome = Outcome::SUCCESS;

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn count(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).unwrap()
}

fn ask() -> Ask {
    Ask::default()
}

/// A request with a ledger, and the ledger.
fn accounted() -> (Ask, Ledger) {
    let (mut ask, ledger) = (ask(), Ledger::new());
    ask.info.ledger = Some(ledger.clone());
    (ask, ledger)
}

/// Requests that carry their info, and errors that say what they mean.
fn protocol() -> impl Carry<Ask>
+ Replay<Ask>
+ Classify<&'static str, Failed>
+ Track<&'static str>
+ Refuse<&'static str, Failed>
+ Clone
+ Send
+ Sync
+ 'static {
    Plain
        .carry_with(|ask: &Ask| &ask.info, |ask: &mut Ask| &mut ask.info)
        .classify_with(|result: Result<&&str, &Failed>| result.err().map(|failed| failed.outcome))
}

/// Endpoints named as their upstreams.
fn named<const N: usize>(upstreams: &[Upstream; N]) -> [Endpoint<Upstream>; N] {
    upstreams
        .clone()
        .map(|upstream| Endpoint::new(upstream.name, upstream))
}

fn log() -> (
    Log,
    impl Fn(&FailoverEvent<'_>) + Clone + Send + Sync + 'static,
) {
    let log = Log::default();
    let write = log.clone();
    let observer = move |event: &FailoverEvent<'_>| {
        write.lock().unwrap().push(match *event {
            FailoverEvent::Failed { tried, .. } => {
                Told::Failed(tried.endpoint.to_string(), tried.outcome.class)
            }
            FailoverEvent::Passed {
                endpoint, waited, ..
            } => Told::Passed(endpoint.into(), waited),
            FailoverEvent::Cooling {
                endpoint,
                time,
                failures,
                begins,
                ..
            } => Told::Cooling(endpoint.into(), time, failures, begins),
            FailoverEvent::Checked {
                endpoint, class, ..
            } => Told::Checked(endpoint.into(), class),
            FailoverEvent::Done {
                endpoint,
                variant,
                attempts,
                outcome,
                failed,
                stop,
                ..
            } => Told::Done {
                endpoint: endpoint.map(Into::into),
                variant: variant.map(Into::into),
                attempts,
                class: outcome.class,
                failed: failed.len(),
                stop,
            },
            _ => panic!("an event that the test does not know"),
        });
    };
    (log, observer)
}

/// The one event that ended the last call.
fn stop(log: &Log) -> Stop {
    match log.lock().unwrap().last() {
        Some(Told::Done { stop, .. }) => *stop,
        other => panic!("found {other:?}, expected the end of a call"),
    }
}

// ===== impl Upstream =====

impl Upstream {
    /// Each call ends so, at once.
    fn new(name: &'static str, script: impl IntoIterator<Item = Outcome>) -> Self {
        Self::slow(
            name,
            script.into_iter().map(|outcome| (Duration::ZERO, outcome)),
        )
    }

    /// Each call ends so, after so long.
    fn slow(name: &'static str, script: impl IntoIterator<Item = (Duration, Outcome)>) -> Self {
        Self {
            name,
            script: Arc::new(Mutex::new(script.into_iter().collect())),
            seen: Arc::default(),
            ready: Arc::new(Mutex::new(Ready::Yes)),
            start: Instant::now(),
        }
    }

    fn calls(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    fn times(&self) -> Vec<Duration> {
        self.seen
            .lock()
            .unwrap()
            .iter()
            .map(|seen| seen.at)
            .collect()
    }

    fn last(&self) -> Ask {
        self.seen
            .lock()
            .unwrap()
            .last()
            .expect("a call")
            .ask
            .clone()
    }

    fn set(&self, outcome: Outcome) {
        *self.script.lock().unwrap() = [(Duration::ZERO, outcome)].into();
    }

    fn set_ready(&self, ready: Ready) {
        *self.ready.lock().unwrap() = ready;
    }
}

impl Service<Ask> for Upstream {
    type Response = &'static str;
    type Error = Failed;
    type Future = Pin<Box<dyn Future<Output = Result<&'static str, Failed>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        match &*self.ready.lock().unwrap() {
            Ready::Yes => Poll::Ready(Ok(())),
            // Nobody will wake it: whoever waits has a timer of its own.
            Ready::Never => Poll::Pending,
            Ready::Busy => loop {
                ready!(poll_proceed(cx)).made_progress();
            },
            Ready::Failing(failed) => Poll::Ready(Err(failed.clone())),
        }
    }

    fn call(&mut self, ask: Ask) -> Self::Future {
        let mut script = self.script.lock().unwrap();
        let (after, outcome) = match script.len() {
            1 => script[0],
            _ => script.pop_front().expect("a script"),
        };
        let mut seen = self.seen.lock().unwrap();
        let at = self.start.elapsed();
        seen.push(Seen { at, ask });
        let (call, name) = (seen.len(), self.name);
        Box::pin(async move {
            if !after.is_zero() {
                sleep(after).await;
            }
            match outcome.class {
                Class::Success => Ok(name),
                _ => Err(Failed {
                    outcome,
                    at: name,
                    call,
                }),
            }
        })
    }
}

// ===== impl Failed =====

impl From<Refused> for Failed {
    fn from(refused: Refused) -> Self {
        Self {
            outcome: refused.outcome(),
            at: refused.reason().as_str(),
            call: 0,
        }
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call {} at {} failed", self.call, self.at)
    }
}

impl Error for Failed {}

impl Fault for Failed {
    fn cause(&self) -> Option<&(dyn Error + 'static)> {
        Some(self)
    }
}

/// Over upstreams named so, in this order, without cool-downs.
fn failover<const N: usize, P>(protocol: P, upstreams: &[Upstream; N]) -> Failover<P, Upstream>
where
    P: Clone,
{
    let service = Failover::over(protocol, named(upstreams)).expect("endpoints");
    service.cool_down(Duration::ZERO, Duration::ZERO).seed(7)
}
