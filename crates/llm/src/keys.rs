//! The credential of an endpoint, or several that take turns.
//!
//! [`CredentialsLayer`] puts a credential into each request, in place of whatever the caller sent,
//! and follows the response to learn whether it was accepted. A key that is
//! [`Denied`](buttress_core::Class::Denied) is *benched*: the calls that follow use another one.
//!
//! # Which key
//!
//! The first in your order that is not benched, so that all calls share one key's prompt cache and
//! the others are spares; or, with [`in_turn`](CredentialsLayer::in_turn), each call the next one.
//! If all are benched, the one whose bench ends first: the provider has the last word on it.
//!
//! # The bench
//!
//! - It lasts 60 seconds after the first denial, twice as long after each further one in a row, up to
//!   an hour; and until the hint of the denial, if that is later, but no longer than a day.
//! - When it is over, one call tries the key while the others go on with the next best. If it is
//!   accepted, the key is as before; if it is denied, the bench is longer; if the call says nothing of
//!   the key, because it failed otherwise or was dropped, the next call tries.
//! - *Accepted* is a response that is a success so far. A denial inside of a stream benches too, if it
//!   comes before the first content; after that a call is
//!   [`Interrupted`](buttress_core::Class::Interrupted), whatever the reason.
//! - Only the key that the call was made with is benched, and only if nothing was learned of it since
//!   the call began: a hundred calls that are denied at once are one denial.
//! - The keys and benches are shared by all clones and all services of a layer.
//!
//! # Again
//!
//! A response that is denied says *again: yes, at once* while another key is not benched, whatever
//! the server said: see [`Outcome::again`](buttress_core::Outcome::again). So a retry outside sends
//! the request with another key, with no delay. Where no other key is left, the outcome stays as it
//! was; a denial says *again: no* by itself.
//!
//! Its place in a stack is outside of [`TrackLayer`](buttress_http::TrackLayer), which peeks, and so
//! knows `insufficient_quota` inside of a 429 before this layer sees the response.

mod bench;
mod event;
mod future;
mod key;
mod layer;
mod ring;
mod service;

pub use self::{
    event::Event,
    future::ResponseFuture,
    key::{Key, Keys, KeysError},
    layer::CredentialsLayer,
    service::CredentialsService,
};
