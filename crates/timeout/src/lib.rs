//! A tower layer that ends what takes too long.
//!
//! [`TimeoutLayer`] has a limit for each way in which a call can hang: for the whole of it, for one
//! attempt, for the response, for the first content, and for a stream that stalls or drips. The
//! limit on the whole travels with the request as a deadline, so that what waits or retries inside
//! knows how much time is left.
//!
//! # When to use it
//!
//! Twice in a stack. Outermost with a [`total`](TimeoutLayer::total), which covers queues, attempts
//! and the waits between them; innermost with the limits of one attempt, so that an endpoint that
//! hangs is judged for it, and another attempt can be made in time.
//!
//! # When not
//!
//! - For the time that a connection takes: the client knows it, and names it
//!   (`connect_timeout` of `buttress_http::client::Client`).
//! - To be told of a slow call and let it go on.
//! - Without tokio: a call that has to wait needs a tokio runtime whose time is enabled. Without
//!   one it panics, as tokio's own timers do.
//!
//! # Examples
//!
//! A total for any service:
//!
//! ```
//! use std::time::Duration;
//! use buttress_core::{Plain, Reason, Refused};
//! use buttress_timeout::TimeoutLayer;
//! use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let service = ServiceBuilder::new()
//!     .layer(TimeoutLayer::new(Plain).total(Duration::from_secs(5)))
//!     .service(service_fn(|seconds: u64| async move {
//!         tokio::time::sleep(Duration::from_secs(seconds)).await;
//!         Ok::<_, BoxError>("hello")
//!     }));
//! assert_eq!(service.clone().oneshot(1).await.unwrap(), "hello");
//!
//! let error = service.oneshot(60).await.unwrap_err();
//! assert_eq!(Refused::find(&*error).unwrap().reason(), Reason::TotalTimeout);
//! # }
//! ```
//!
//! Both places of a stack over HTTP, and callers who may ask for more:
//!
//! ```
//! use std::{num::NonZeroU32, time::Duration};
//! use buttress_core::check;
//! use buttress_http::{BoxError, Http, TrackLayer};
//! use buttress_timeout::{Limits, Throughput, TimeoutLayer};
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use tower::{ServiceBuilder, service_fn};
//!
//! const fn secs(seconds: u64) -> Duration {
//!     Duration::from_secs(seconds)
//! }
//!
//! // `x-patience: 120`
//! fn patience(request: &Request<Full<Bytes>>) -> Option<Duration> {
//!     let seconds = request.headers().get("x-patience")?.to_str().ok()?;
//!     seconds.parse().ok().map(secs)
//! }
//!
//! let client = service_fn(|_: Request<Full<Bytes>>| async {
//!     Ok::<_, BoxError>(Response::new(Full::<Bytes>::from("hello")))
//! });
//! let stack = ServiceBuilder::new()
//!     .layer(
//!         TimeoutLayer::new(Http)
//!             .total(secs(60))
//!             .per_request(Limits::new().total(secs(600)), |request: &Request<_>| {
//!                 patience(request).map_or(Limits::new(), |time| Limits::new().total(time))
//!             }),
//!     )
//!     // Retries, limits and breakers stand here.
//!     .layer(
//!         TimeoutLayer::new(Http)
//!             .first_content(secs(10))
//!             .idle(secs(5))
//!             .throughput(Throughput::per_second(const { NonZeroU32::new(2).unwrap() }))
//!             .on_event(|event| println!("{event:?}")),
//!     )
//!     .layer(TrackLayer::default())
//!     .service(client);
//! # let _ =
//! check::<Request<Full<Bytes>>, _>(stack);
//! ```
//!
//! # The limits
//!
//! | | from | to | its refusal says |
//! |---|---|---|---|
//! | [`total`](TimeoutLayer::total) | `call` | the end of the response, body included | [`TotalTimeout`] |
//! | the deadline that the request carries | | the same, [a moment](#deadlines) before it | [`TotalTimeout`] |
//! | [`attempt`](TimeoutLayer::attempt) | `call` | the end of the response, body included | [`AttemptTimeout`] |
//! | [`headers`](TimeoutLayer::headers) | `call` | the response | [`HeadersTimeout`] |
//! | [`first_content`](TimeoutLayer::first_content) | `call` | the first content | [`FirstContentTimeout`] |
//! | [`idle`](TimeoutLayer::idle) | a piece of content | the next | [`IdleTimeout`] |
//! | [`silence`](TimeoutLayer::silence) | any sign of life, such as a ping | the next | [`IdleTimeout`] |
//! | [`throughput`](TimeoutLayer::throughput) | the first content | the end of the body | [`TooSlow`] |
//!
//! The [event](TimeoutEvent::Elapsed) tells those apart that share a reason. The class of the
//! refusal is [`Unavailable`] before the first content, and [`Interrupted`] after it.
//! [`Plain`](buttress_core::Plain) has no body: the last three do nothing there, and the first content is the
//! response.
//!
//! Time counts from `call`. Where an inner service lets its callers wait in `poll_ready`, that wait
//! is over before; layers of this family wait in their futures.
//!
//! # What is there is delivered
//!
//! The response and the body are asked before the clock is, and are cut only when they have nothing.
//! A reader who takes his time is no stall, however slow, and what has arrived is his. When he
//! comes back and finds only pings, the time that he was away does not count, and content has an
//! eighth of the limit more to come through: it may be on its way behind them. Where nothing at all
//! has arrived, all of the time counts; but that eighth is waited for then, too, once. Somebody who was
//! stopped, or whose threads were busy, hears of the time before he hears of what his sockets hold.
//!
//! The limits of a whole call are kept in the same way: one that is looked at more than five milliseconds
//! late lets the response, and then its body, come for another eighth of itself, but for 50 ms at the
//! most; once for each.
//!
//! So the time limits of a body say when it is cut if nothing comes, and no limit ends a body that
//! always has something.
//!
//! # Deadlines
//!
//! A [`total`](TimeoutLayer::total) is put into the request as its [deadline], unless an earlier one
//! is there. Every timeout inside ends five milliseconds before the deadline that it finds, so that
//! the endpoint is judged by what it did: it had its time, and is [`Unavailable`]. Otherwise the layer
//! outside would end the call, and those inside would hear that their caller went away. The same
//! goes for a look that is late: it counts as late by the deadline itself, and gives five milliseconds less.
//!
//! If the call had less than [`min_wait`](TimeoutLayer::min_wait) from the beginning, its end is the
//! caller's doing, and it is [`Cancelled`]: neutral. If it has not even those five milliseconds, the
//! inner service is not called at all, and the refusal is of class [`Refused`].
//!
//! # Defaults
//!
//! | | |
//! |---|---|
//! | limits | none, but the deadline of the request is kept |
//! | a limit of zero | what is there at once is delivered; nothing is waited for, however late |
//! | a limit of 30 years or more | none |
//! | how exact `total`, `attempt`, `headers` and a deadline are | to the millisecond; for whom they wake late, [an eighth more, up to 50 ms](#what-is-there-is-delivered) |
//! | how exact `idle` and `silence` are | from the limit to an eighth more, and another eighth for a reader who comes late |
//! | pings | restart `silence` alone |
//! | shortest time that says something of an endpoint | 1 s |
//! | grace of a [`Throughput`] | 10 s |
//!
//! # Cost
//!
//! A clock read at `call`, if there is a limit that counts from there. A timer where something has to
//! be waited for: one at a time for each layer. Over `Plain` nothing is allocated; over a tracked body
//! one box, and one more for the timer of a body that is waited for. A chunk leaves a mark: it
//! allocates nothing, and no clock is read for it. A total over HTTP puts the deadline into the
//! extensions of its request, which costs what they cost.
//!
//! [`TotalTimeout`]: buttress_core::Reason::TotalTimeout
//! [`AttemptTimeout`]: buttress_core::Reason::AttemptTimeout
//! [`HeadersTimeout`]: buttress_core::Reason::HeadersTimeout
//! [`FirstContentTimeout`]: buttress_core::Reason::FirstContentTimeout
//! [`IdleTimeout`]: buttress_core::Reason::IdleTimeout
//! [`TooSlow`]: buttress_core::Reason::TooSlow
//! [`Unavailable`]: buttress_core::Class::Unavailable
//! [`Interrupted`]: buttress_core::Class::Interrupted
//! [`Cancelled`]: buttress_core::Class::Cancelled
//! [`Refused`]: buttress_core::Class::Refused
//! [deadline]: buttress_core::CallInfo::deadline

mod event;
mod follow;
mod future;
mod layer;
mod limits;
mod pace;
mod plan;
mod service;
mod span;
mod watch;

pub use self::{
    event::{Phase, TimeoutEvent},
    future::ResponseFuture,
    layer::TimeoutLayer,
    limits::{Limits, PerRequest, Same, Throughput},
    service::Timeout,
};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
