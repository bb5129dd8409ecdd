//! The promises of the circuit breaker, from outside.

mod calm;
mod contract;
mod http;
mod keyed;
mod probes;
mod states;
mod threads;
mod windows;

use std::{
    error::Error,
    fmt,
    future::Future,
    num::NonZeroU32,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use buttress_circuit_breaker::{
    Cause, CircuitBreaker, CircuitBreakerLayer, CircuitEvent, Policy, State, Wait,
};
use buttress_core::{Class, Fault, Outcome, Plain, ProtocolExt, Refused};
use futures_util::FutureExt;
use tokio::sync::oneshot;
use tower::{Layer, Service};

/// What a call is to come to: at once, when it is told, or in a panic.
enum Ask {
    Now(Outcome),
    Later(oneshot::Receiver<Outcome>),
    Panic,
}

/// An error that says what it means.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Failed {
    Said(Outcome),
    Refused(Refused),
}

/// A call under way.
struct Flying {
    tell: oneshot::Sender<Outcome>,
    call: Pin<Box<dyn Future<Output = Result<(), Failed>> + Send>>,
}

/// An upstream that does as each call says.
#[derive(Clone, Copy)]
struct Upstream;

/// What an observer wrote down.
#[derive(Clone, Debug, PartialEq)]
enum Told {
    Changed(State, State, Cause, Option<Duration>),
    WouldOpen(Cause),
    Unguarded(usize),
}

type Log = Arc<Mutex<Vec<Told>>>;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn count(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).unwrap()
}

/// Opens after so many failures in a row, for ten seconds.
fn after(failures: u32) -> Policy {
    Policy::consecutive_failures(count(failures)).wait(Wait::fixed(secs(10)))
}

fn log() -> (Log, impl Fn(&CircuitEvent<'_>) + Clone) {
    let log = Log::default();
    let write = log.clone();
    let observer = move |event: &CircuitEvent<'_>| {
        write.lock().unwrap().push(match *event {
            CircuitEvent::Changed {
                from,
                to,
                cause,
                wait,
                ..
            } => Told::Changed(from, to, cause, wait),
            CircuitEvent::WouldOpen { cause, .. } => Told::WouldOpen(cause),
            CircuitEvent::Unguarded { circuits, .. } => Told::Unguarded(circuits),
            _ => panic!("an event that the test does not know"),
        });
    };
    (log, observer)
}

/// Makes one call of this circuit, which comes to this at once.
fn say(breaker: &CircuitBreaker, outcome: Outcome) -> Result<(), Refused> {
    match call(breaker, Ask::Now(outcome)).now_or_never().unwrap() {
        Err(Failed::Refused(refused)) => Err(refused),
        _ => Ok(()),
    }
}

/// So many calls of the same class, none of which is refused.
fn all(breaker: &CircuitBreaker, class: Class, calls: u32) {
    for call in 0..calls {
        assert_eq!(say(breaker, Outcome::new(class)), Ok(()), "{call}");
    }
}

/// Begins a call.
fn begin(breaker: &CircuitBreaker) -> Result<Flying, Refused> {
    let (tell, told) = oneshot::channel();
    let mut call: Pin<Box<dyn Future<Output = _> + Send>> =
        Box::pin(call(breaker, Ask::Later(told)));
    match (&mut call).now_or_never() {
        Some(Err(Failed::Refused(refused))) => Err(refused),
        Some(other) => panic!("found {other:?}, expected a call under way"),
        None => Ok(Flying { tell, call }),
    }
}

fn call(
    breaker: &CircuitBreaker,
    ask: Ask,
) -> impl Future<Output = Result<(), Failed>> + Send + use<> {
    let protocol = Plain.classify_with(|result: Result<&(), &Failed>| match result {
        Err(Failed::Said(outcome)) => Some(*outcome),
        _ => None,
    });
    let layer = CircuitBreakerLayer::new(protocol).breaker(breaker);
    let mut service = layer.layer(Upstream);
    let ready = std::future::poll_fn(|cx| service.poll_ready(cx)).now_or_never();
    assert_eq!(ready, Some(Ok(())));
    service.call(ask)
}

// ===== impl Flying =====

impl Flying {
    fn end(self, class: Class) {
        self.tell.send(Outcome::new(class)).unwrap();
        let result = self.call.now_or_never().expect("it was told");
        assert_eq!(result.is_ok(), class == Class::Success);
    }
}

// ===== impl Upstream =====

impl Service<Ask> for Upstream {
    type Response = ();
    type Error = Failed;
    type Future = Pin<Box<dyn Future<Output = Result<(), Failed>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, ask: Ask) -> Self::Future {
        Box::pin(async {
            let outcome = match ask {
                Ask::Now(outcome) => outcome,
                Ask::Later(told) => told.await.expect("it is told"),
                Ask::Panic => panic!("on purpose"),
            };
            match outcome.class {
                Class::Success => Ok(()),
                _ => Err(Failed::Said(outcome)),
            }
        })
    }
}

// ===== impl Failed =====

impl From<Refused> for Failed {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl Fault for Failed {
    fn cause(&self) -> Option<&(dyn Error + 'static)> {
        Some(self)
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the call failed")
    }
}

impl Error for Failed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Said(_) => None,
            Self::Refused(refused) => Some(refused),
        }
    }
}
