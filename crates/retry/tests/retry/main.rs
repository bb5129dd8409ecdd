//! The promises of the retry, from outside.

mod attempts;
mod aws;
mod backoff;
mod budget;
mod contract;
mod evidence;
mod http;
mod nested;
mod replay;

use std::{
    collections::VecDeque,
    error::Error,
    fmt,
    future::{Ready, ready},
    num::NonZeroU32,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use buttress_core::{
    CallInfo, Carry, Class, Classify, Fault, Outcome, Plain, ProtocolExt, Replay, Track,
};
use buttress_retry::{Constant, RetryEvent, RetryLayer, Stop};
use tokio::time::Instant;
use tower::Service;

/// A request, and what it carries.
#[derive(Clone, Debug, Default)]
struct Ask {
    number: u32,
    info: CallInfo,
}

/// An error that says what it means, and is known again by its number.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Failed {
    outcome: Outcome,
    call: u32,
}

/// One attempt, as the upstream saw it.
#[derive(Clone, Debug)]
struct Seen {
    at: Duration,
    ask: Ask,
}

/// An upstream that does as it is told, call by call, and then as the last time.
#[derive(Clone)]
struct Upstream {
    script: Arc<Mutex<VecDeque<Outcome>>>,
    seen: Arc<Mutex<Vec<Seen>>>,
    start: Instant,
}

/// What an observer wrote down.
#[derive(Clone, Debug, PartialEq)]
enum Told {
    Again(u32, Class, Duration),
    Done(u32, Class, Duration, Stop),
}

type Log = Arc<Mutex<Vec<Told>>>;

const DOWN: Outcome = Outcome::new(Class::Unavailable);
const OK: Outcome = Outcome::SUCCESS;
/// Some thirty thousand years.
const LONG: Duration = Duration::from_secs(1 << 40);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn attempts(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).unwrap()
}

fn ask() -> Ask {
    Ask::default()
}

/// A request with a deadline so far from now.
fn until(time: Duration) -> Ask {
    let mut ask = ask();
    ask.info.deadline = (Instant::now() + time).into_std().into();
    ask
}

/// Requests that carry their info, and errors that say what they mean.
fn protocol()
-> impl Carry<Ask> + Replay<Ask> + Classify<u32, Failed> + Track<u32> + Clone + Send + Sync + 'static
{
    Plain
        .carry_with(|ask: &Ask| &ask.info, |ask: &mut Ask| &mut ask.info)
        .classify_with(|result: Result<&u32, &Failed>| result.err().map(|failed| failed.outcome))
}

/// Waits a second each time.
fn second() -> Constant {
    Constant::new(ms(1000))
}

fn log() -> (Log, impl Fn(&RetryEvent<'_>) + Clone) {
    let log = Log::default();
    let write = log.clone();
    let observer = move |event: &RetryEvent<'_>| {
        write.lock().unwrap().push(match *event {
            RetryEvent::Again {
                attempt,
                outcome,
                delay,
                ..
            } => Told::Again(attempt, outcome.class, delay),
            RetryEvent::Done {
                attempts,
                outcome,
                waited,
                stop,
                ..
            } => Told::Done(attempts, outcome.class, waited, stop),
            _ => panic!("an event that the test does not know"),
        });
    };
    (log, observer)
}

/// The one event that ended the one call.
fn stop(log: &Log) -> Stop {
    match log.lock().unwrap().last() {
        Some(Told::Done(_, _, _, stop)) => *stop,
        other => panic!("found {other:?}, expected the end of a call"),
    }
}

// ===== impl Upstream =====

impl Upstream {
    fn new(script: impl IntoIterator<Item = Outcome>) -> Self {
        Self {
            script: Arc::new(Mutex::new(script.into_iter().collect())),
            seen: Arc::default(),
            start: Instant::now(),
        }
    }

    fn calls(&self) -> usize {
        self.seen.lock().unwrap().len()
    }

    /// When each attempt came.
    fn times(&self) -> Vec<Duration> {
        let seen = self.seen.lock().unwrap();
        seen.iter().map(|seen| seen.at).collect()
    }
}

impl Service<Ask> for Upstream {
    type Response = u32;
    type Error = Failed;
    type Future = Ready<Result<u32, Failed>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, ask: Ask) -> Self::Future {
        let mut script = self.script.lock().unwrap();
        let outcome = match script.len() {
            1 => script[0],
            _ => script.pop_front().expect("a script"),
        };
        let mut seen = self.seen.lock().unwrap();
        let at = self.start.elapsed();
        seen.push(Seen { at, ask });
        let call = u32::try_from(seen.len()).unwrap();
        ready(match outcome.class {
            Class::Success => Ok(call),
            _ => Err(Failed { outcome, call }),
        })
    }
}

// ===== impl Failed =====

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "call {} failed: {}", self.call, self.outcome.class)
    }
}

impl Error for Failed {}

impl Fault for Failed {
    fn cause(&self) -> Option<&(dyn Error + 'static)> {
        Some(self)
    }
}

/// Three attempts, a second apart, over an upstream.
fn retry<P: Clone>(protocol: P) -> RetryLayer<P, Constant> {
    RetryLayer::new(protocol).backoff(second())
}
