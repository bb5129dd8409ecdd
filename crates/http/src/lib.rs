//! What HTTP means to the Buttress layers.
//!
//! A streamed reply begins long before it ends, and a status of 200 says little about how it
//! will go. This crate makes every response body a tracked [`Body`], once, right around the
//! client; from then on each layer outside learns how the call really ended, without wrapping the
//! body and without changing its type.
//!
//! - [`TrackLayer`], innermost, with a [`Judge`] that says what a response means: [`ByStatus`]
//!   here, the judges of LLM providers in `buttress-llm`.
//! - [`Http`], [`IdempotentHttp`] and [`HttpServer`]: the protocols, first argument of every
//!   layer.
//! - [`Grpc`] and [`GrpcServer`]: the same for gRPC, whose status comes in trailers.
//! - [`ReplayLayer`]: keeps a streamed request body, up to a cap, so that it can be sent again.
//!   [`Shared`]: a response that several callers read.
//! - [`client`]: a thin pooled client for one base URL, HTTP/1.1 and HTTP/2, with rustls.
//! - [`retry_after`] and [`sse`]: the hints of a server, and event streams.
//!
//! # When to use it
//!
//! Whenever a layer stands around something that answers with an `http::Response`: a client of
//! hyper or reqwest, a tonic channel, an axum router.
//!
//! # When not
//!
//! For services whose work ends with their future, such as a database query or a closure,
//! `buttress_core::Plain` is enough.
//!
//! # Examples
//!
//! A client whose layers know when a reply has ended:
//!
//! ```
//! use buttress_core::{Completion, Outcome, Report, check, settle};
//! use buttress_http::{BoxError, Http, TrackLayer};
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::{BodyExt, Full};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! struct Print;
//!
//! impl Report for Print {
//!     fn report(&mut self, outcome: &Outcome) {
//!         println!("the reply ended: {}", outcome.class);
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! // In place of a client:
//! let client = service_fn(|_: Request<Full<Bytes>>| async {
//!     Ok::<_, BoxError>(Response::new(Full::<Bytes>::from("hello")))
//! });
//! let stack = ServiceBuilder::new().layer(TrackLayer::default()).service(client);
//!
//! let mut result = check::<Request<Full<Bytes>>, _>(stack).oneshot(Request::default()).await;
//! settle(&Http, &mut result, Completion::new(Print)); // what a layer does
//! result?.into_body().collect().await?; // prints "the reply ended: success"
//! # Ok(())
//! # }
//! ```
//!
//! A server whose refusals are responses, in a service that cannot fail:
//!
//! ```
//! use std::convert::Infallible;
//! use buttress_core::{Reason, Refuse, Refused};
//! use buttress_http::{Body, HttpServer};
//! use bytes::Bytes;
//! use http::Response;
//! use http_body_util::Empty;
//!
//! type Answer = Result<Response<Body<Empty<Bytes>>>, Infallible>;
//!
//! let answer: Answer = HttpServer.refuse(Refused::new(Reason::CircuitOpen));
//! assert_eq!(answer.unwrap().status(), 503);
//! ```
//!
//! # Defaults
//!
//! | what | default |
//! |---|---|
//! | [`TrackLayer`] | judges by status; with a meter, peeks up to 64 KiB and 30 s |
//! | what may be sent twice | every method; [`Http::idempotent_only`] says otherwise |
//! | [`client::Client`] | connect within 10 s; 256 idle connections kept for 50 s; HTTP/2 if the server offers it |
//! | a hint to wait | at most one day ([`retry_after::MAX`]) |
//! | a `retry-after` date | is read by the response's own `date`, else by [when it was received](retry_after::ReceivedAt) |
//!
//! # Features
//!
//! `client`, on by default: the client, and the classes of the errors of hyper, h2 and rustls. It
//! is the one feature of these crates, because a server that limits its callers should not
//! compile a TLS stack for it.

mod body;
mod boxed;
pub mod caller;
#[cfg(feature = "client")]
pub mod client;
mod duties;
mod error;
mod grpc;
mod hints;
mod judge;
mod link;
mod paced;
mod peek;
mod price;
mod protocol;
mod replay;
pub mod retry_after;
mod share;
pub mod sse;
pub mod standing;
mod tail;
mod tape;
mod track;

pub use self::{
    body::{Body, BodyError, Tracked},
    boxed::{BoxErrorFuture, BoxErrorLayer, BoxErrorService},
    error::{BoxError, outcome_of_error},
    grpc::{Grpc, GrpcServer, class_of_grpc_code, grpc_code_of_refusal},
    judge::{ByStatus, Judge, Meter, class_of_status},
    link::Link,
    paced::paced,
    price::{Price, Tariff, Unpriced},
    protocol::{Attempts, Http, HttpServer, IdempotentHttp, status_of_refusal},
    replay::{ReplayBody, ReplayError, ReplayLayer, ReplayService, Replayable},
    share::Shared,
    track::{ResponseFuture, TrackLayer, TrackService},
};

#[cfg(all(doctest, feature = "client"))]
#[doc = include_str!("../README.md")]
struct Readme;
