//! A tower layer that retries.
//!
//! [`RetryLayer`] makes another attempt where the one before failed in a way that passes: a rate
//! limit, an outage, a request that the upstream did not begin. It waits between attempts, keeps
//! to what the server and the caller allow, and pays from a [`Budget`], so that an upstream that is
//! down gets a little more than its usual load and not a multiple.
//!
//! # When to use it
//!
//! Around one endpoint, outside of what limits, breaks or measures its attempts, and inside of
//! what chooses among endpoints: each attempt then passes all of it anew, and an error that
//! another attempt will not mend moves on at once.
//!
//! # When not
//!
//! - Where a second request could do harm. The protocols take every request as safe to repeat;
//!   say `Http.idempotent_only()`, or `.once()` on any protocol.
//! - Where somebody else retries already: an SDK, a proxy. Attempts multiply.
//! - To cut an attempt that hangs: that is a timeout's, inside.
//!
//! # Examples
//!
//! Defaults, around a closure:
//!
//! ```
//! use std::{io, sync::atomic::{AtomicU32, Ordering}};
//! use buttress_core::Plain;
//! use buttress_retry::RetryLayer;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! static CALLS: AtomicU32 = AtomicU32::new(0);
//! let flaky = service_fn(|name: &'static str| async move {
//!     match CALLS.fetch_add(1, Ordering::Relaxed) {
//!         0 => Err(io::Error::other("not now")),
//!         _ => Ok(format!("hello {name}")),
//!     }
//! });
//! let service = ServiceBuilder::new().layer(RetryLayer::new(Plain)).service(flaky);
//! assert_eq!(service.oneshot("you").await.unwrap(), "hello you");
//! # }
//! ```
//!
//! Customised, around an HTTP client, with one budget for two endpoints:
//!
//! ```
//! use std::{num::NonZeroU32, time::Duration};
//! use buttress_core::check;
//! use buttress_http::{BoxError, Http, TrackLayer};
//! use buttress_retry::{Budget, Exponential, Jitter, Ratio, RetryLayer};
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use tower::{ServiceBuilder, service_fn};
//!
//! let budget = Budget::new(Ratio::percent::<10>()).reserve(20);
//! let endpoint = || {
//!     let retry = RetryLayer::new(Http)
//!         .max_attempts(const { NonZeroU32::new(4).unwrap() })
//!         .max_elapsed(Duration::from_secs(60))
//!         .backoff(Exponential::millis::<250, 10_000>().jitter(Jitter::Equal))
//!         .budget(budget.clone())
//!         .on_event(|event| println!("{event:?}"));
//!     let client = service_fn(|_: Request<Full<Bytes>>| async {
//!         Ok::<_, BoxError>(Response::new(Full::<Bytes>::from("hello")))
//!     });
//!     let stack = ServiceBuilder::new().layer(retry).layer(TrackLayer::default()).service(client);
//!     check::<Request<Full<Bytes>>, _>(stack)
//! };
//! let (one, other) = (endpoint(), endpoint());
//! ```
//!
//! # What happens after an attempt
//!
//! The first of these that holds is what is done; each ends the call with the result as it is, and
//! its name in the [event](RetryEvent::Done), until the last.
//!
//! | | |
//! |---|---|
//! | the request was not copied: it cannot be, or [`CallInfo::retried`] says that a retry outside sends it again | [`Stop::NotCopied`], [`Stop::Nested`] |
//! | the outcome calls for nothing, by its class, the server's `x-should-retry` or your [`decide_with`](RetryLayer::decide_with) | [`Stop::Settled`] |
//! | it was the last attempt | [`Stop::Attempts`] |
//! | its body has outgrown what is kept of it | [`Stop::NotCopied`] |
//! | it may have been acted on, and must not be twice; what was [not sent](buttress_core::Sent) is never held back here | [`Stop::Unsafe`] |
//! | the server asked to wait longer than the cap | [`Stop::Hint`] |
//! | the backoff has ended | [`Stop::Backoff`] |
//! | the wait would pass the deadline that the request carries, or [`max_elapsed`](RetryLayer::max_elapsed) | [`Stop::Deadline`], [`Stop::Elapsed`] |
//! | the budget has not enough | [`Stop::Budget`] |
//! | else | the response is dropped, the wait begins |
//!
//! The first attempt after [`Unstarted`](buttress_core::Class::Unstarted) is free: no budget, and no wait
//! but the server's. It counts as an attempt.
//!
//! Where the server says itself to ask again, and its hint is zero, that is done at once: so does a
//! layer below that has another credential to try.
//!
//! A wait never ends later than the deadline. Since timers may be two milliseconds late, one
//! that would end within the last two is not begun.
//!
//! # What the caller learns
//!
//! The result of the last attempt, untouched. Where a layer inside refused that attempt, it is the
//! refusal: an attempt that fails may open the circuit for the next, and the caller then gets "circuit
//! open" and when to come back. What the attempt before failed with is in its
//! [event](RetryEvent::Again), by its class, and in the log of whatever measures attempts inside. The
//! error itself is not kept through the wait, as a response is not: it may hold what it came with, and
//! the future of a call would only be `Send` where errors are.
//!
//! How many there were: from the event; on a delivered
//! response, where the protocol has a place for it (`buttress_http::Attempts`); and from the
//! [`Ledger`](buttress_core::Ledger) that the caller put into the request, with what they all used. Each
//! attempt has its own number in [`CallInfo::attempt`].
//!
//! # Nested retries
//!
//! A retry marks the requests that it would send again, in [`CallInfo::retried`], and one that is
//! called with such a request stands down. Requests that carry nothing, as with
//! [`Plain`](buttress_core::Plain), are known only while the outer retry calls in, by their type: put
//! a place for a `CallInfo` into them (`carry_with`) where a layer between calls later.
//!
//! # Defaults
//!
//! | | |
//! |---|---|
//! | attempts | 3, the first counted |
//! | backoff | full jitter over 500 ms, 1 s, 2 s, up to 20 s; twice that when throttled |
//! | longest hint that is waited for | the cap: 20 s |
//! | time in all | no bound but the request's deadline |
//! | budget | 20 % of the calls, and 100 retries in reserve; one for each layer, shared by its clones |
//! | which outcomes | those of class `Throttled`, `Unavailable` and `Unstarted` |
//!
//! # Cost
//!
//! A first attempt that goes well costs a copy of the request, a clone of the inner service, one of
//! an `Arc`, and one look at the budget: no allocation, and no clock unless
//! [`max_elapsed`](RetryLayer::max_elapsed) is set. Waiting needs a tokio runtime with its time
//! enabled.
//!
//! [`CallInfo::retried`]: buttress_core::CallInfo::retried
//! [`CallInfo::attempt`]: buttress_core::CallInfo::attempt

mod account;
mod backoff;
mod budget;
mod course;
mod decide;
mod event;
mod future;
mod layer;
mod scope;
mod service;

pub use buttress_core::{Ratio, RatioError};

pub use self::{
    backoff::{Backoff, BackoffError, Constant, Delays, Exponential, Jitter},
    budget::{Budget, Unlimited},
    decide::{ByClass, Decide},
    event::{RetryEvent, Stop},
    future::ResponseFuture,
    layer::RetryLayer,
    service::Retry,
};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
