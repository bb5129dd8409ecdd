//! A tower layer that leaves a failing endpoint alone.
//!
//! [`CircuitBreakerLayer`] counts how calls end. When too many fail, or take too long, its circuit
//! opens: calls are refused at once, before anything below is asked, with the time to come back.
//! After that time a few are let through as probes, and what becomes of them closes the circuit, or
//! opens it for longer.
//!
//! # When to use it
//!
//! Around one endpoint, inside of what retries and of what chooses among endpoints: each attempt is
//! judged, and a refusal moves on at once to an endpoint that works. Outside of limits and timeouts:
//! a refused call charges nothing, and one that hangs is ended by a timeout inside, and is a failure.
//!
//! # When not
//!
//! - Around several endpoints at once, where one that is down would close the others. Give each its
//!   own, or use [`KeyedCircuitBreakerLayer`].
//! - To keep to a rate limit: whoever is throttled says nothing of the endpoint's health. (A hint
//!   can open the circuit until then: [`Policy::open_on_throttled`].)
//! - Where there is nothing else to do than to try again: a retry with a budget does that.
//!
//! # Examples
//!
//! An endpoint that fails is left alone, and used again when it is back:
//!
//! ```
//! use std::{num::NonZeroU32, sync::atomic::{AtomicU32, Ordering}, time::Duration};
//! use buttress_circuit_breaker::{CircuitBreakerLayer, Policy, State, Wait};
//! use buttress_core::Plain;
//! use tokio::time::advance;
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! type BoxError = Box<dyn std::error::Error + Send + Sync>;
//!
//! static CALLS: AtomicU32 = AtomicU32::new(0);
//! let flaky = service_fn(|name: &'static str| async move {
//!     match CALLS.fetch_add(1, Ordering::Relaxed) {
//!         0..3 => Err(BoxError::from("down")),
//!         _ => Ok(format!("hello {name}")),
//!     }
//! });
//! let three = const { NonZeroU32::new(3).unwrap() };
//! let layer = CircuitBreakerLayer::new(Plain)
//!     .policy(Policy::consecutive_failures(three).wait(Wait::fixed(Duration::from_secs(10))));
//! let (breaker, service) = (layer.handle(), layer.layer(flaky));
//!
//! for _ in 0..100 {
//!     assert!(service.clone().oneshot("you").await.is_err());
//! }
//! assert_eq!(CALLS.load(Ordering::Relaxed), 3, "97 were refused");
//! assert_eq!(breaker.next_probe(), Some(Duration::from_secs(10)));
//!
//! advance(Duration::from_secs(10)).await;
//! assert_eq!(service.oneshot("you").await.unwrap(), "hello you");
//! assert_eq!(breaker.state(), State::Closed);
//! # }
//! ```
//!
//! Customised, around an HTTP client:
//!
//! ```
//! use std::{num::NonZeroU32, time::Duration};
//! use buttress_circuit_breaker::{
//!     CircuitBreaker, CircuitBreakerLayer, Policy, Ratio, Wait, Window,
//! };
//! use buttress_core::check;
//! use buttress_http::{BoxError, Http, TrackLayer};
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use tower::{ServiceBuilder, service_fn};
//!
//! let (half, most) = (Ratio::percent::<50>(), Ratio::percent::<80>());
//! let policy = Policy::failure_rate(half, Window::secs::<30>())
//!     .or_slow_rate(most, Duration::from_secs(20), Window::calls::<50>())
//!     .minimum_calls(const { NonZeroU32::new(10).unwrap() })
//!     .wait(Wait::exponential(Duration::from_secs(2), Duration::from_secs(60)))
//!     .probes(const { NonZeroU32::new(3).unwrap() })
//!     .name("openai")
//!     .on_event(|event| println!("{event:?}"));
//! // Shared with whoever steers it, or shows it.
//! let breaker = CircuitBreaker::new(policy);
//! let client = service_fn(|_: Request<Full<Bytes>>| async {
//!     Ok::<_, BoxError>(Response::new(Full::<Bytes>::from("hello")))
//! });
//! let stack = ServiceBuilder::new()
//!     .layer(CircuitBreakerLayer::new(Http).breaker(&breaker))
//!     .layer(TrackLayer::default())
//!     .service(client);
//! let stack = check::<Request<Full<Bytes>>, _>(stack);
//! println!("{:?}", breaker.snapshot());
//! ```
//!
//! # States
//!
//! | | calls | comes to |
//! |---|---|---|
//! | [`Closed`](State::Closed) | pass, and are counted | `Open`, when a condition of its [`Policy`] holds |
//! | [`Open`](State::Open) | are refused until its time | `HalfOpen`, with the first call after it |
//! | [`HalfOpen`](State::HalfOpen) | pass as probes, as many as there may be; the others are refused | `Closed` or `Open`, by what the probes say |
//! | [`ForcedOpen`](State::ForcedOpen) | are refused | what somebody wants |
//! | [`ForcedClosed`](State::ForcedClosed) | pass, and are not counted | what somebody wants |
//! | [`ObserveOnly`](State::ObserveOnly) | pass, are counted, and it says when it would have opened | what somebody wants |
//!
//! # What counts
//!
//! The [health](buttress_core::Class::health) that the class of an outcome speaks of: good, bad, or
//! nothing, and then nothing is counted. A caller that goes away before anything was known is such a
//! one. A streamed reply is judged once, when it has ended: a head that says 200 is no success.
//!
//! Every change of state is a new generation, and a call counts in the one that admitted it and in
//! no other: what comes late of calls from before the trip neither closes an open circuit nor opens
//! a closed one.
//!
//! # Probes
//!
//! A probe takes its place in `call`, and gives it back when it is dropped, panics, or ends in an
//! outcome that says nothing. One that went well or failed keeps its place until it is decided, so
//! that at most [`probes`](Policy::probes) are under way, and at most so many are counted. It is
//! decided as soon as the rest cannot change it. Probes of which nothing is heard for
//! [`probe_timeout`](Policy::probe_timeout) are given up, and others let through.
//!
//! A stream is judged at its end, which may be far off. One that has gone on for that time, and goes
//! on, does not keep everybody else waiting: it gives its place to another call, and has its say when
//! it ends, unless it was decided before.
//!
//! # Refusals
//!
//! A refusal is a [`Refused`](buttress_core::Refused) of the reason
//! [`CircuitOpen`](buttress_core::Reason::CircuitOpen). While the circuit is open it says when to come
//! back; while probes are under way, or it is forced open, nobody knows.
//!
//! `poll_ready` decides without asking below, and that binds the next call. An instance that was
//! readied before the circuit opened is refused in its call, and stays ready; one that waits for the
//! service below meanwhile is refused when it is polled the next time.
//!
//! # Defaults
//!
//! | | |
//! |---|---|
//! | opens when | half of the last 100 calls failed, and there were at least 20 |
//! | wait | 5 s, doubling with every failed episode of probes up to 60 s, less up to a fifth at random |
//! | probes | 1, which has to go well; lost after 60 s of silence |
//! | a throttled call with a hint | is not counted, and opens nothing |
//!
//! # Cost
//!
//! A closed circuit costs a clone of an `Arc`, and a lock that is held for some nanoseconds, whatever
//! the window; no allocation, and no clock. A call that goes well over a full window of calls that did
//! changes nothing: then there is no lock either, and nothing is written that other threads read. A
//! window of time reads the clock once a call, and slow calls twice. A refusal while it is open reads it
//! once, and takes no lock. Over a tracked body there is one allocation, for the duty to report its end.
//! Figures are in the [README](https://docs.rs/crate/buttress-circuit-breaker).

mod breaker;
mod event;
mod future;
mod gauge;
mod judgement;
mod keyed;
mod layer;
mod machine;
mod policy;
#[cfg(test)]
mod races;
mod service;
mod shared;
mod snapshot;
mod sync;
mod wait;
mod window;

pub use buttress_core::{Ratio, RatioError};

pub use self::{
    breaker::CircuitBreaker,
    event::{Cause, CircuitEvent, State},
    future::ResponseFuture,
    keyed::{CircuitBreakers, KeyedCircuitBreakerLayer, KeyedCircuitBreakerService},
    layer::CircuitBreakerLayer,
    policy::Policy,
    service::CircuitBreakerService,
    snapshot::{Counts, Probes, Snapshot},
    wait::Wait,
    window::{Window, WindowError},
};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
