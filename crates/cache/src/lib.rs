//! A tower layer that pays once: it keeps replies, and makes one call for all who ask the same.
//!
//! [`CacheLayer`] answers what was answered before from memory, within a bound of bytes and a
//! lifetime. Whoever asks what somebody else is asking right now waits for that call, and gets its
//! reply while it comes: streams are recorded as they pass, and replayed as streams.
//!
//! # When to use it
//!
//! Around what is slow or costs money, and gives the same answer to the same question: outside of
//! limits, permits, breakers, retries and failover, so that a hit takes nothing of them. It is always
//! ready, whatever is below.
//!
//! # When not
//!
//! - Where an answer is drawn at random and the caller wants another each time: a chat that is sampled
//!   at a temperature. Give such requests no key.
//! - Where calls act. A tool with side effects is not repeated by a hit.
//! - Around a service whose responses cannot be shared: over [`Plain`](buttress_core::Plain) they have to
//!   be `Clone` and `Sync`, over `Http` their bodies have to be tracked.
//!
//! # Examples
//!
//! One call for all, and a second answer for nothing:
//!
//! ```
//! use std::sync::atomic::{AtomicU32, Ordering};
//! use buttress_cache::{CacheLayer, Keyed};
//! use buttress_core::Plain;
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! type BoxError = Box<dyn std::error::Error + Send + Sync>;
//!
//! static CALLS: AtomicU32 = AtomicU32::new(0);
//! let model = service_fn(|prompt: String| async move {
//!     CALLS.fetch_add(1, Ordering::Relaxed);
//!     tokio::task::yield_now().await;
//!     Ok::<_, BoxError>(format!("you said {prompt}"))
//! });
//! let layer = CacheLayer::new(Plain, |prompt: &String| Keyed::of(prompt));
//! let (cache, service) = (layer.handle(), layer.layer(model));
//!
//! let ask = || service.clone().oneshot("hello".to_owned());
//! let (one, other) = tokio::join!(ask(), ask());
//! assert_eq!(one.unwrap(), other.unwrap());
//! assert_eq!(ask().await.unwrap(), "you said hello");
//! assert_eq!(CALLS.load(Ordering::Relaxed), 1);
//!
//! let statistics = cache.statistics();
//! assert_eq!((statistics.misses, statistics.coalesced, statistics.hits), (1, 1, 1));
//! # }
//! ```
//!
//! Customised, around an HTTP client:
//!
//! ```
//! use std::time::Duration;
//! use buttress_cache::{CacheEvent, CacheLayer, Directives, Freshness, Keyed, Tag};
//! use buttress_core::check;
//! use buttress_http::{BoxError, Http, TrackLayer};
//! use bytes::Bytes;
//! use http::{Request, Response, header::{AUTHORIZATION, CACHE_CONTROL}};
//! use http_body_util::Full;
//! use tower::{ServiceBuilder, service_fn};
//!
//! type Ask = Request<Bytes>;
//!
//! // Whose question it is comes first.
//! let key = |ask: &Ask| {
//!     let whose = ask.headers().get(AUTHORIZATION).map(|value| value.as_bytes());
//!     let keyed = Keyed::of(&(whose, ask.uri(), ask.body()));
//!     Some(keyed.tags([Tag::new("path", ask.uri().path())]))
//! };
//! let asked = |ask: &Ask| {
//!     let all = ask.headers().get_all(CACHE_CONTROL);
//!     Directives::parse(all.iter().filter_map(|value| value.to_str().ok()))
//! };
//! let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
//! let layer = CacheLayer::new(Http, key)
//!     .max_bytes(256 << 20)
//!     .lifetime(
//!         Freshness::new(minutes(10))
//!             .stale_while_revalidate(minutes(5))
//!             .stale_if_error(minutes(60)),
//!     )
//!     .cacheable(|ask: &Ask| ask.body().len() < 1 << 20)
//!     .heed(asked)
//!     .on_event(|event| {
//!         if let CacheEvent::Served { status, age, .. } = event {
//!             println!("{status}, {age:?} old");
//!         }
//!     });
//! // Shared with whoever invalidates, or shows it.
//! let cache = layer.handle();
//! let client = service_fn(|_: Ask| async {
//!     Ok::<_, BoxError>(Response::new(Full::<Bytes>::from("hello")))
//! });
//! let stack = ServiceBuilder::new()
//!     .layer(layer)
//!     .layer(TrackLayer::default())
//!     .service(client);
//! let stack = check::<Ask, _>(stack);
//! cache.invalidate_tag(Tag::new("path", "/v1/models"));
//! println!("{:?}", cache.statistics());
//! ```
//!
//! # Whose reply
//!
//! Two requests of the same [key](CacheKey) get the same reply, so the key has to hold everything that
//! the reply depends on, and whose it is: tenant and credential first. It is a hash of 128 bits under a
//! key that nobody else knows ([`Keyed`]).
//!
//! # One call for all
//!
//! A call, and the reply while it passes, belong to all who wait for it together. Whoever is polled
//! drives it; when the one who came first leaves, the others go on; when all have left it is cancelled.
//! It carries nobody's deadline, priority or trace, so a caller's time-out ends that caller's wait
//! alone. A failed response goes to all. An error goes to the one who made the call, and to the others
//! as a refusal for [`Coalesced`](buttress_core::Reason::Coalesced) with the error's class and hint;
//! [or](CacheLayer::next_waiter_tries) the next of them makes the call again.
//!
//! A reply that has outgrown what is recorded of it is read to its end by those who read it already. Who
//! comes then waits for its end, and makes a call.
//!
//! # What is kept
//!
//! Only what has ended well, in full: by the word of [`Share::ended`](buttress_core::Share::ended), and
//! not of the head. Responses that say that the request is at fault only if you
//! [ask for it](CacheLayer::negative). For how long says a [`Lifetime`]. Over the bound of bytes goes
//! what is rarely asked for.
//!
//! What the upstream says in `Cache-Control` of its reply is not heeded unless you
//! [say so](CacheLayer::heed_reply): what providers send there would switch the cache off.
//!
//! # Several processes
//!
//! Below the memory there can be a [`SecondLevel`], a [`Store`] of bytes that several processes share.
//! Responses of `Http` become bytes and come back as what they were, streams as streams:
//! `SecondLevel::new(store, Shared::encode, Shared::decode)`, with the `Shared` of `buttress-http`. A
//! store that is slow, broken or corrupt is a miss, and what is invalidated while it is being put there
//! stays gone. What is there and no longer fresh serves within its window if the upstream fails; to be
//! served while it is refreshed it has to be in memory.
//!
//! # How a reply says where it comes from
//!
//! [`Cached`], with its [`CacheStatus`] and age, is given to the protocol
//! ([`Track::set_cached`](buttress_core::Track::set_cached)). `Http` puts it into the response's
//! extensions. `Plain` has no place for it, so that a hit looks like the call that it was: whoever
//! counts tokens over `Plain` has to ask the [statistics](Cache::statistics). Over `Http`, a hit and a
//! coalesced reply tell their usage as not billed, and a cost of nothing.
//!
//! # Defaults
//!
//! | | |
//! |---|---|
//! | kept | at most 64 MiB, for five minutes, if it went well and no filter cut it |
//! | stale replies | never served |
//! | `Cache-Control` of the caller, and of the reply | not heeded |
//! | an error | the leader's; a refusal for the others |
//! | refreshes | 64 at a time, within five minutes each, a second after one that failed |
//!
//! # Cost
//!
//! A hit is a lookup in moka, a clock read, and a copy of the reply; it allocates what the copy does. A
//! miss allocates the flight, the call, and the entry. Figures are in the
//! [README](https://docs.rs/crate/buttress-cache).

mod cache;
mod call;
mod direct;
mod directives;
mod entry;
mod event;
mod flavours;
mod flight;
mod future;
mod key;
mod layer;
mod level;
mod lifetime;
mod parts;
mod refresh;
mod seat;
mod service;
mod stats;
mod table;
mod terms;
mod waiters;
mod writes;

pub use buttress_core::{CacheStatus, Cached};

pub use self::{
    cache::Cache,
    directives::Directives,
    event::CacheEvent,
    flavours::{AsIs, Flavours},
    future::ResponseFuture,
    key::{CacheKey, Keyed, Tag},
    layer::{CacheLayer, Heeding, Only},
    level::{Removal, SecondLevel, Store, StoreFuture, Stored},
    lifetime::{Freshness, Lifetime, Limited, Negative},
    service::CacheService,
    stats::Statistics,
    terms::Terms,
};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
