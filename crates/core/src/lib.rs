//! The words that every Buttress layer shares.
//!
//! A layer that retries, limits, breaks or measures calls has to know what a result means, when
//! a response is really over, how to say no, and how to send a request twice. These are the
//! words for it, and nothing else: no timers, no HTTP, no configuration. The only dependency is
//! `tower-service`, whose trait [`check`] names.
//!
//! # The words
//!
//! - What a call says: [`Class`], in an [`Outcome`] with [`Usage`] and [`Money`].
//! - When it is over: a [`Report`] in a [`Completion`].
//! - How a layer deals with your types: a *protocol*, the first argument of every layer, which
//!   implements [`Classify`], [`Track`], [`Refuse`], [`Replay`], [`Carry`] and [`Share`] as far as
//!   the layer asks. [`Plain`] is the one for services whose work ends with their future;
//!   `buttress-http` has those for HTTP.
//! - How a layer says no: [`Refused`], found in any error that is a [`Fault`].
//! - What travels with a request: [`CallInfo`], with a [`Ledger`] of what was used on the way, and
//!   where it went: [`Tried`], in a [`Trail`].
//! - Where layers meet without knowing each other: [`RetryBudget`], [`Limits`], [`Event`],
//!   [`Ratio`].
//!
//! # When to use it
//!
//! When you write a layer, or a protocol for a service that is neither plain nor HTTP, or when
//! you handle a [`Refused`]. If you only stack layers, you need [`Plain`] or `Http`, and little
//! more.
//!
//! # When not
//!
//! An error type for your own service is your own business: keep your enum, and give it one
//! variant for [`Refused`].
//!
//! # Examples
//!
//! A layer that counts calls in flight, over any service and any protocol, in its entirety:
//!
//! ```
//! use std::{
//!     pin::Pin,
//!     sync::{Arc, atomic::{AtomicUsize, Ordering}},
//!     task::{Context, Poll},
//! };
//! use buttress_core::{Classify, Completion, Outcome, Report, Track, settle};
//! use tower_service::Service;
//!
//! #[derive(Clone)]
//! struct Count<P, S> {
//!     protocol: P,
//!     inner: S,
//!     in_flight: Arc<AtomicUsize>,
//! }
//!
//! struct Leave(Arc<AtomicUsize>);
//!
//! impl Report for Leave {
//!     fn report(&mut self, _: &Outcome) {
//!         self.0.fetch_sub(1, Ordering::Relaxed);
//!     }
//! }
//!
//! impl<P, S, Req> Service<Req> for Count<P, S>
//! where
//!     S: Service<Req>,
//!     S::Future: Send + 'static,
//!     P: Classify<S::Response, S::Error> + Track<S::Response> + Clone + Send + 'static,
//! {
//!     type Response = S::Response;
//!     type Error = S::Error;
//!     // A crate of ours names its future; an example may box it.
//!     type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;
//!
//!     fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
//!         self.inner.poll_ready(cx)
//!     }
//!
//!     fn call(&mut self, request: Req) -> Self::Future {
//!         self.in_flight.fetch_add(1, Ordering::Relaxed);
//!         let completion = Completion::new(Leave(self.in_flight.clone()));
//!         let (protocol, response) = (self.protocol.clone(), self.inner.call(request));
//!         Box::pin(async move {
//!             let mut result = response.await;
//!             settle(&protocol, &mut result, completion);
//!             result
//!         })
//!     }
//! }
//! ```
//!
//! A refusal, seen from outside whatever error it became:
//!
//! ```
//! use std::{error::Error, time::Duration};
//! use buttress_core::{Class, Reason, Refused};
//!
//! let error: Box<dyn Error + Send + Sync> =
//!     Refused::new(Reason::Limited).with_retry_after(Duration::from_secs(3)).into();
//!
//! let refused = Refused::find(&*error).expect("a layer refused");
//! assert_eq!(refused.class(), Class::Refused);
//! assert_eq!(refused.retry_after(), Some(Duration::from_secs(3)));
//! ```
//!
//! # Defaults
//!
//! | what | where nothing is said |
//! |---|---|
//! | an error that nothing recognises | [`Class::Unavailable`], possibly sent |
//! | a completion that is dropped | [`Class::Cancelled`] |
//! | a request that carries nothing | first attempt, no deadline, priority 0, no ledger |
//! | the cost of a call without a price | unknown, never zero |

mod budget;
mod cached;
mod check;
mod class;
mod event;
mod fault;
mod finish;
mod info;
mod ledger;
mod limits;
mod money;
mod outcome;
mod plain;
mod protocol;
mod ratio;
mod refused;
mod report;
mod trail;
mod usage;

pub use self::{
    budget::{RetryBudget, Withdrawn},
    cached::{CacheStatus, Cached},
    check::check,
    class::{Class, Elsewhere, Health},
    event::{Event, Fact},
    fault::{Fault, outcome_of},
    finish::Finish,
    info::CallInfo,
    ledger::Ledger,
    limits::{Limit, Limits},
    money::Money,
    outcome::{Outcome, Sent},
    plain::{CarryWith, ClassifyWith, Once, Plain, ProtocolExt},
    protocol::{Carry, Classify, Refuse, Replay, Share, Track, settle},
    ratio::{Ratio, RatioError},
    refused::{Reason, Refusal, Refused},
    report::{Completion, Progress, Report},
    trail::{Trail, Tried},
    usage::Usage,
};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
