//! A tower service that goes to another endpoint.
//!
//! [`Failover`] stands over several endpoints, each a whole stack of its own: a provider and its
//! substitute, two regions, two keys, a large model and a small one. It chooses one by order, weight,
//! key or load, and where that fails in a way that another may mend, it goes there. An endpoint that
//! failed is left alone for a while, and comes back little by little.
//!
//! # When to use it
//!
//! Outside of whatever belongs to one endpoint: its retries, breaker, limits, timeouts, credentials.
//! What these refuse moves on at once. Inside of what belongs to the call: total timeout, cache, the
//! metrics of requests.
//!
//! # When not
//!
//! - For the machines behind one name: that is a load balancer's, or the client's pool.
//! - Where a second request could do harm. The protocols take every request as safe to repeat; say
//!   `Http.idempotent_only()`, or `.once()` on any protocol.
//! - To go on with a reply of which part was delivered. Nothing is sent elsewhere after the first
//!   content.
//!
//! # Examples
//!
//! Two services of one type:
//!
//! ```
//! use buttress_core::Plain;
//! use buttress_failover::Failover;
//! use tower::{BoxError, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let region = |works: bool| {
//!     service_fn(move |name: &'static str| async move {
//!         match works {
//!             true => Ok(format!("hello {name}")),
//!             false => Err(BoxError::from("not here")),
//!         }
//!     })
//! };
//! let service = Failover::new(Plain, [region(false), region(true)]);
//! assert_eq!(service.oneshot("you").await.unwrap(), "hello you");
//! # }
//! ```
//!
//! Customised, around HTTP clients of two providers. What a request must be changed to for one of them,
//! its path, its model's name, its credential, is a layer in that endpoint's stack: it gets a copy of its
//! own, so that nothing of it reaches the other. Here both speak the same dialect. For one that speaks
//! another, a changed request is not enough: its replies, streams and errors must come back in the
//! caller's. That is one line with `ConvertLayer` of `buttress-llm`, in place of the `MapRequestLayer`.
//!
//! ```
//! use std::time::Duration;
//! use buttress_core::check;
//! use buttress_failover::{AnyService, Endpoint, Failover, FailoverEvent, Next, Weighted};
//! use buttress_http::{BoxError, Http, TrackLayer};
//! use buttress_retry::RetryLayer;
//! use bytes::Bytes;
//! use http::{HeaderValue, Request, Response, header::AUTHORIZATION};
//! use http_body_util::Full;
//! use tower::{ServiceBuilder, service_fn, util::MapRequestLayer};
//!
//! type Ask = Request<Full<Bytes>>;
//!
//! // In place of a client:
//! let client = service_fn(|_: Ask| async {
//!     Ok::<_, BoxError>(Response::new(Full::<Bytes>::from("hello")))
//! });
//! let east = ServiceBuilder::new()
//!     .layer(RetryLayer::new(Http))
//!     .layer(MapRequestLayer::new(|mut ask: Ask| {
//!         ask.headers_mut().insert(AUTHORIZATION, HeaderValue::from_static("Bearer one"));
//!         ask
//!     }))
//!     .layer(TrackLayer::default())
//!     .service(client);
//! let west = ServiceBuilder::new()
//!     .layer(MapRequestLayer::new(|mut ask: Ask| {
//!         // Another path, and another key.
//!         ask.headers_mut().insert("api-key", HeaderValue::from_static("two"));
//!         *ask.uri_mut() = "/openai/deployments/large/chat/completions".parse().expect("a path");
//!         ask
//!     }))
//!     .layer(TrackLayer::default())
//!     .service(client);
//! let endpoints = [
//!     Endpoint::new("east", AnyService::new(east)).weight(9).credential("one").context(128_000),
//!     Endpoint::new("west", AnyService::new(west)).weight(1).credential("two").context(200_000),
//! ];
//! let model = Failover::over(Http, endpoints)?
//!     .strategy(Weighted)
//!     .on_unfit(Next::LargerContext)
//!     .cool_down(Duration::from_secs(10), Duration::from_secs(300))
//!     .on_event(|event| if let FailoverEvent::Failed { tried, .. } = event {
//!         println!("{tried}");
//!     });
//! let model = check::<Ask, _>(model);
//! # Ok::<_, BoxError>(())
//! ```
//!
//! # Which endpoint is chosen
//!
//! Among those that this call has not tried, whose weight is not zero, and that are not cooling down,
//! the [`Strategy`] chooses: [`Ordered`], [`Weighted`], [`ByKey`], [`LeastLoaded`], [`Variants`], or your
//! own; [`among`](StrategyExt::among) lets a closure leave some out by the request. Of those that come
//! back from a cool-down, each is among them as often as it has its share back. If none is left, the
//! others that come back are chosen from; then, [as the last resort](Failover::last_resort), what cools
//! down after failures, the soonest first.
//!
//! The one that was chosen is [waited for a little](Failover::ready_within), and passed over if it is
//! not ready by then.
//!
//! # What happens after an attempt
//!
//! The first of these that holds is what is done; each ends the call, and its name is in the
//! [event](FailoverEvent::Done), until the last.
//!
//! | | |
//! |---|---|
//! | it went well, or its class or your [`decide_with`](Failover::decide_with) says that no other endpoint would mend it: this result is the answer | [`Stop::Settled`] |
//! | no other endpoint may be tried | [`Stop::Spent`] |
//! | as many were tried as are allowed | [`Stop::Attempts`] |
//! | the request was not copied: it cannot be, or its body has outgrown what is kept of it | [`Stop::NotCopied`] |
//! | it may have been acted on, and must not be twice | [`Stop::Unsafe`] |
//! | the deadline that the request carries has come | [`Stop::Deadline`] |
//! | the budget has not enough | [`Stop::Budget`] |
//! | else | another endpoint is chosen |
//!
//! By its class: after `Throttled`, `Unavailable`, `Unstarted` and `Refused` any other endpoint is
//! tried; after `Denied` one that says that it uses another credential; after `Unfit` what
//! [`on_unfit`](Failover::on_unfit) says, unless a content filter refused; after anything else, none.
//!
//! # When every endpoint has failed
//!
//! The [fallback](Failover::fallback) answers, if there is one and no endpoint is left or allowed. Else
//! the answer is the first real failure, as it was: its status, its hint, its error. Real is what an
//! upstream said; if all there is are refusals by our own layers, it is the first of these. If nothing
//! could be tried at all, it is a refusal, [`NoEndpoint`](buttress_core::Reason::NoEndpoint), that says
//! when the first endpoint will have cooled down.
//!
//! A failed response that may yet be the answer is kept until the call is over. One that was read to its
//! end while `TrackLayer` held it back holds nothing but its bytes: its connection is free, and its
//! permits too. Where no judge reads bodies, or one is longer than the bound, what is kept is live.
//!
//! # What the caller learns
//!
//! Every attempt's endpoint, class, duration and error: from the events; on a delivered response, where
//! the protocol has a place for it ([`Trail`](buttress_core::Trail)); and from the
//! [`Ledger`](buttress_core::Ledger) that the caller put into the request, whatever the answer is. A call
//! that the first endpoint served leaves no trail, unless [`always_tell`](Failover::always_tell) says so.
//! An attempt's time counts from when it first had to wait. What is said of an error is the protocol's
//! [`describe`](buttress_core::Classify::describe): a status, a reason, a kind, and never what somebody
//! else wrote.
//!
//! # Defaults
//!
//! | | |
//! |---|---|
//! | strategy | the order in which they were given |
//! | endpoints tried | 5 at most |
//! | cool-down | 5 s for each failure in a row, at most 2 min; a server's hint, at most 10 min |
//! | coming back | from a sixteenth of the calls to all of them within 10 s |
//! | wait for readiness | 50 ms |
//! | `Unfit` | is the answer |
//! | budget, fallback, health checks | none |
//!
//! # Cost
//!
//! A first attempt that goes well costs two clones of an `Arc`, a clone of the endpoint, and a copy of
//! the request if there is another endpoint: no allocation, no lock, and no clock unless the strategy
//! [follows](Strategy::follows) replies. As long as no endpoint is in trouble or without weight, none is
//! looked at but those that the strategy looks at. Over http, each reply is listened to until its end, for
//! one that breaks off: one small box. Endpoints of different types are [type-erased](AnyService), for one
//! allocation a call. An endpoint is shared by the clones of the service: for these to be `Send`, it must
//! be `Sync`.

mod account;
mod configure;
mod cool;
mod decide;
mod endpoint;
mod erased;
mod error;
mod event;
mod fallback;
mod future;
mod handle;
mod hash;
mod health;
mod load;
mod service;
mod set;
mod settings;
mod snapshot;
mod strategy;
mod watch;

pub use self::{
    decide::{ByClass, Decide, Next},
    endpoint::{Endpoint, Info},
    erased::{AnyFuture, AnyService},
    error::EndpointsError,
    event::{FailoverEvent, Stop},
    fallback::{Fallback, NoFallback},
    future::ResponseFuture,
    handle::{Handle, State},
    hash::hash,
    service::Failover,
    set::{MAX_ENDPOINTS, MAX_NAME},
    strategy::{
        Among, ByKey, Candidate, Candidates, Choice, LeastLoaded, Ordered, Strategy, StrategyExt,
        Variant, Variants, VariantsError, Weighted,
    },
};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
