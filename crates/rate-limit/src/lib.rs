//! A tower layer that limits by requests and tokens, by key.
//!
//! [`RateLimitLayer`] reserves what a call is estimated to cost before it asks the inner service,
//! and settles it when the response has ended: what was not used goes back, what was learned is
//! charged exactly, and what was used beyond the estimate is a debt that later calls wait for.
//! Several quotas are kept at once: so many requests a minute, so many tokens, so many a day.
//!
//! # When to use it
//!
//! - In front of a provider that limits requests and tokens: its 429 is then a thing that happens
//!   to others. Inside of the retry, so that each attempt is charged; outside of what measures and
//!   times attempts.
//! - In a server, for each of its callers, with refusals as responses (`HttpServer`).
//!
//! # When not
//!
//! - To bound how many calls run *at once*: that is a concurrency limit's.
//! - To bound money: that is a budget's.
//! - Where a plain check without a service is enough, [`governor`] is that; so is [`Limiter`], with
//!   refunds.
//!
//! # Examples
//!
//! Ten calls a minute, for each tenant, around a closure:
//!
//! ```
//! use std::num::NonZeroU32;
//! use buttress_core::{Plain, Refused};
//! use buttress_rate_limit::{Quota, Quotas, RateLimitLayer};
//! use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! let quotas = Quotas::requests(Quota::per_minute(NonZeroU32::new(10).unwrap()));
//! let layer = RateLimitLayer::new(Plain, quotas).key(|(tenant, _): &(u32, &str)| *tenant);
//! let service = ServiceBuilder::new()
//!     .layer(layer)
//!     .service(service_fn(|(_, name)| async move { Ok::<_, BoxError>(format!("hello {name}")) }));
//!
//! for _ in 0..10 {
//!     assert_eq!(service.clone().oneshot((1, "you")).await.unwrap(), "hello you");
//! }
//! let refused = service.clone().oneshot((1, "you")).await.unwrap_err();
//! let refused = refused.downcast::<Refused>().unwrap();
//! assert_eq!(refused.retry_after().unwrap().as_secs(), 6);
//! assert!(service.oneshot((2, "you")).await.is_ok());
//! # }
//! ```
//!
//! Around an HTTP client, to stay within a provider's limits:
//!
//! ```
//! use std::time::Duration;
//! use buttress_core::check;
//! use buttress_http::{BoxError, Http, TrackLayer};
//! use buttress_rate_limit::{Cost, Quotas, Rate, RateLimitLayer, Unit};
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use tower::{ServiceBuilder, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), buttress_rate_limit::RateError> {
//! let quotas = Quotas::requests(Rate::mirroring(60)?).and_tokens(Rate::mirroring(100_000)?);
//! let limit = RateLimitLayer::new(Http, quotas)
//!     // With `buttress-llm`: from the prompt and `max_tokens`.
//!     .cost(|_: &Request<Full<Bytes>>| Cost::tokens(900, 500))
//!     .wait(Duration::from_secs(20))
//!     .on_event(|event| println!("{event:?}"));
//! let handle = limit.store().clone();
//! let client = service_fn(|_: Request<Full<Bytes>>| async {
//!     Ok::<_, BoxError>(Response::new(Full::<Bytes>::from("hello")))
//! });
//! let stack = ServiceBuilder::new().layer(limit).layer(TrackLayer::default()).service(client);
//! let stack = check::<Request<Full<Bytes>>, _>(stack);
//! assert_eq!(handle.remaining(&(), Unit::Tokens), Some(20_000));
//! # Ok(())
//! # }
//! ```
//!
//! # What is charged
//!
//! | the call | tokens | requests |
//! |---|---|---|
//! | told what it used | exactly that | 1 |
//! | told of a part, and was cut short | the estimate, and what is known beyond it; with [`charge_delivered`](RateLimitLayer::charge_delivered) what is known | 1 |
//! | told nothing | the estimate | 1 |
//! | its tokens were paid for by another call (a shared reply) | none | 1 |
//! | certainly was not worked on: refused, not sent, turned away by a provider (throttled, denied, invalid), or dropped before the inner service was called | none | none |
//! | was turned away by one's own handler, with `HttpServer` or `GrpcServer` | none | 1 |
//!
//! Whether below is a provider or one's own handler, the protocol says, or an outcome that was
//! [worked on](buttress_core::Sent::Yes): a provider's 401 used nothing of what it limits, but in a
//! server whoever guesses passwords is limited as anybody else. Only what a layer *inside* refused is
//! no request there either.
//!
//! What was charged, the [events](RateLimitEvent::Settled) tell, call by call; their sum is what was
//! used. What goes back to the *quota* is at most what of the call's reservation has not come free
//! by itself meanwhile: the proof that this and nothing more keeps the limit is with [`Gcra`].
//!
//! Use beyond the estimate is a debt: the quota is past its burst, and until it is not, it admits
//! nothing, not even calls that are estimated to cost none of it. So a quota of tokens limits also
//! where nobody says a [`cost`](RateLimitLayer::cost): by what the calls turned out to use, after the
//! fact. Those that are under way together when it fills up are not held back by each other; an
//! estimate holds them back.
//!
//! A debt has any size that can be. What cannot, such as the garbage of a
//! provider that counts to 2⁶⁴, would close the key for ever: the debt of one call is paid within
//! [`longest_debt`](Limiter::longest_debt), and what is beyond that is not charged.
//!
//! # Waiting or not
//!
//! By default a call that does not fit is refused at once, and the refusal says when it would have
//! fitted. With [`wait`](RateLimitLayer::wait) it waits in the order in which calls of its key came,
//! in its future and without holding anything of the inner service, unless it would be for longer
//! than allowed or than its request's deadline: that is said at once too. A large call is not
//! overtaken by small ones. A call that is dropped leaves the line and has consumed nothing. One whose
//! turn comes when its deadline has passed, because its task was held up, is refused
//! ([`Deadline`](LimitedBy::Deadline)) and gives everything back. What costs more than a quota can
//! ever hold is refused for good ([`Oversized`](buttress_core::Reason::Oversized)).
//!
//! All layers over one [`Limiter`] have one line for each key. Its first is woken by whatever makes
//! more room than was known: a call that used less, a [`Reservation`] that ends, other quotas, the end
//! of a [pause](Limiter::resume). Who does not wait stands in no line: a layer that refuses at once, and
//! [`Limiter::reserve`], take what is there, and can hold up those who wait for more.
//!
//! The wait that a refusal says is exact: to the nanosecond, if nothing else is admitted or settled
//! meanwhile. Behind a line, the refusal of one that would wait too long, or finds the line full, says
//! when all before it and then itself will have been admitted. With several quotas that is the
//! earliest that it can be: one that waits for a quota leaves another unused, which may fill up.
//!
//! # What a provider says
//!
//! A call that was throttled with a hint pauses its key until then. What
//! [`limits`](RateLimitLayer::limits) reads from a response tightens the quotas until the
//! provider's reset, each unit for itself, and never loosens them; both for
//! [`longest_hold`](Limiter::longest_hold) at most. In a server, where a client must not be able to
//! pause others, nothing of it reaches the layer.
//!
//! # Defaults
//!
//! | | |
//! |---|---|
//! | key | none: all calls share the quotas |
//! | keys | 100 000, forgotten only when they are as if never used |
//! | cost | one request, no tokens: quotas of tokens then limit by what was used, after the fact |
//! | waiting | none; once it is allowed, 1024 calls of each key |
//! | algorithm | [`Gcra`]; [`SlidingLog`] and [`SlidingCounter`] by [`counting`](Limiter::counting) |
//! | longest pause or reset that is believed | 5 minutes |
//! | longest debt of one call | an hour, or the time of a burst |
//!
//! # Cost
//!
//! One clock read, one atomic exchange for each quota, one clone of an `Arc` and one of the inner
//! service; nothing is allocated, but for what a tracked body needs. A key costs a hash and a look
//! under a lock that readers share. A settlement that gives back takes the lock of its key for an
//! instant. Waiting costs a box, and needs a tokio runtime with its time enabled.

mod algorithm;
mod ask;
mod course;
mod event;
mod future;
mod gcra;
mod guard;
mod hold;
mod layer;
mod limited;
mod limiter;
mod plans;
mod quotas;
mod rate;
mod service;
mod shared;
mod standing;
mod state;
mod store;
mod sync;
mod table;
mod wait;
mod waiters;
mod window;

pub use governor::Quota;

pub use self::{
    algorithm::Algorithm,
    ask::{AllCalls, CostOf, KeyOf, LimitsOf, NoLimits, OneRequest},
    event::RateLimitEvent,
    future::ResponseFuture,
    gcra::Gcra,
    hold::{Hold, Reservation},
    layer::RateLimitLayer,
    limited::{Limited, LimitedBy},
    limiter::{Key, Limiter},
    quotas::{Cost, Quotas, Unit},
    rate::{Rate, RateError},
    service::RateLimit,
    standing::Standing,
    store::Store,
    waiters::Waiters,
    window::{SlidingCounter, SlidingLog},
};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
