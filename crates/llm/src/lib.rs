//! What LLM providers mean, in the dialects of OpenAI chat completions, Anthropic messages and
//! Gemini `generateContent`.
//!
//! A provider says many things besides the reply: how many tokens it took, that the money is
//! spent, that it broke in the middle of a 200. This crate reads them as they pass, without holding
//! up or changing a byte, and turns them into the words that every Buttress layer knows. And where
//! caller and endpoint speak different dialects, it converts between them.
//!
//! - [`OpenAi`], [`Anthropic`], [`Gemini`], or a [`Dialect`] chosen at run time: the judges of
//!   replies for [`TrackLayer`](buttress_http::TrackLayer). Class, usage, first content, in-band
//!   errors and terminator, from plain replies and from streams. [`AnyPath`] for embeddings, audio
//!   and the rest; [`WithModel`] for whoever wants to know which model answered.
//! - [`request::Peek`]: model, stream and bounds of a request in one pass, and edits in place.
//! - [`convert`]: a request, its reply and its stream of one dialect as those of another, with a table
//!   of what becomes of every field.
//! - [`ConvertLayer`]: the same in the stack of an endpoint, for callers of another dialect.
//! - [`openai::UsageFilter`]: a stream without the chunk that its caller did not ask for.
//! - [`gemini::Target`]: model and method in the path.
//! - [`ErrorBody`] and [`ErrorReply`]: the error envelope of each dialect, read and written;
//!   [`tell_retry`] for the headers beside it.
//! - [`key`]: when two chats are the same, for a cache, and whether a reply may be given again.
//! - [`fold`]: a stream as the whole reply that it would have been, and a whole reply as a stream.
//! - [`price`]: what tokens cost, exactly, by provider and model.
//! - [`estimate`]: how many tokens a text or a request will be, without a network.
//! - [`Dialect::limits`]: what the headers of a reply say remains of the provider's limits.
//! - [`Secret`], [`Dialect::authorize`], [`strip_credentials`], [`strip_query_credentials`]:
//!   credentials, ours and the caller's.
//! - [`CredentialsLayer`]: gives each request its key, and benches a key that is denied while
//!   another one takes over.
//!
//! # When to use it
//!
//! In the stack around a provider's endpoint, innermost, and in whatever forwards requests to one.
//!
//! # When not
//!
//! It has no typed requests and replies: to write a chat, take a provider's SDK, and give it a base
//! URL behind these layers. For an upstream that is no LLM, `buttress_http::ByStatus` judges by
//! status.
//!
//! # Examples
//!
//! A quota that is used up, told from a rate limit by the body of the 429, before any layer sees
//! the response:
//!
//! ```
//! use buttress_core::Class;
//! use buttress_http::{TrackLayer, Tracked};
//! use buttress_llm::OpenAi;
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), std::io::Error> {
//! // In place of a client:
//! let client = service_fn(|_: Request<Full<Bytes>>| async {
//!     let body = r#"{"error":{"message":"You exceeded your current quota.",
//!         "type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#;
//!     Response::builder()
//!         .status(429)
//!         .header("content-type", "application/json")
//!         .body(Full::<Bytes>::from(body))
//!         .map_err(std::io::Error::other)
//! });
//! let provider = ServiceBuilder::new().layer(TrackLayer::new(OpenAi)).service(client);
//!
//! let response = provider.oneshot(Request::default()).await?;
//! assert_eq!(response.body().seen().class, Class::Denied);
//! # Ok(())
//! # }
//! ```
//!
//! A request on its way through a gateway:
//!
//! ```
//! use buttress_llm::{Dialect, ErrorReply, Secret, request::Peek};
//! use http::{HeaderMap, StatusCode};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let key = Secret::new("sk-ours")?;
//! let mut headers = HeaderMap::new();
//! headers.insert("authorization", "Bearer sk-the-callers".parse()?);
//! headers.insert("cookie", "session=1".parse()?);
//!
//! match Peek::new(r#"{"model":"fast","stream":true,"messages":[]}"#) {
//!     Ok(request) => {
//!         let body = request.edit().model("gpt-4.1-nano").include_usage().finish();
//!         Dialect::OpenAi.authorize(&mut headers, &key);
//!         assert_eq!(headers.len(), 1);
//!         assert_eq!(headers["authorization"], "Bearer sk-ours");
//!         assert!(body.ends_with(br#""model":"gpt-4.1-nano","stream":true,"messages":[]}"#));
//!     }
//!     Err(error) => {
//!         // To the caller, with this status, as its dialect has it.
//!         let message = error.to_string();
//!         let _ = ErrorReply::new(StatusCode::BAD_REQUEST, &message).json(Dialect::OpenAi);
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Defaults
//!
//! | what is configured | default |
//! |---|---|
//! | which of several [`keys`] a call gets | the first that is not benched |
//! | the time and the ids of a [converted](convert::Converted) reply, where the endpoint tells none | the response's `date`; a number that no other reply has |
//! | which replies may be [given again](key#what-may-be-kept) | those of temperature 0, to one request for one reply without tools |
//! | the secret under which [`key::ChatKeys`] hashes | a random one of this process |
//! | the model that a [`ConvertLayer`] asks for, and where | the one that was asked for, at `/v1/chat/completions`, `/v1/messages` or below `/v1beta/models` |
//! | the prices that are [shipped](price::Prices::shipped) | of 2026-11-21, in US dollars |
//! | how long a key is benched that was denied | 60 s, doubled with each further denial up to 1 h; until the hint, if that is later |
//!
//! Nothing else is configured. The bounds are:
//!
//! | what | bound | past it |
//! |---|---|---|
//! | an event of a stream | a line of 8 MiB, 16 MiB in all | the stream counts as broken |
//! | a plain reply that is kept to be read, if it comes in parts | 4 MiB | judged by its status and its end, usage unknown |
//! | an error body, or an error inside a reply | 64 KiB | judged by its status; inside a reply, unavailable |
//! | a plain reply that is not content yet, since it may be an error | 64 KiB | what passes is content |
//! | the name of a [`ResponseModel`] | 128 bytes | not known |
//! | JSON | 128 levels | malformed |
//! | an unfinished event that [`openai::UsageFilter`] holds back | 64 KiB | passes |
//! | a message in an [`ErrorBody`] | 2 KiB, other texts 128 bytes | cut |
//! | a [`Secret`] | 16 KiB | an error |
//! | [`Keys`] | 256, with ids of 64 bytes | an error |
//! | a hint that a key is benched until | 1 day | taken for that |
//! | an [`estimate::Estimate`] of a body that is no JSON object, or deeper than 128 levels | | that of a text |
//! | what is [converted](convert#bounds): a whole reply, an error | 32 MiB, 64 KiB | a 502 |
//! | an object in it that is looked into | 256 members | an error |
//! | what the conversion of a stream holds back | 4 MiB | an error event, the stream breaks off, or a signature is not told |
//! | a body of which a [`key`] is made | 65 536 values, 2 GiB | no key |
//! | what is [folded](fold#bounds) | 16 MiB, 128 choices, 4096 calls or blocks | an error |
//! | a file of [prices](price#bounds) | 64 MiB, 100 000 models | an error |
//! | a limit header | 64 bytes; a count of 10¹⁵, a reset 32 days away | that dimension is absent |

mod answering;
pub mod anthropic;
pub mod convert;
mod credentials;
mod dialect;
mod error;
pub mod estimate;
pub mod fold;
pub mod gemini;
mod json;
mod judge;
pub mod key;
pub mod keys;
mod limits;
mod memory;
mod meter;
pub mod openai;
pub mod price;
mod reader;
pub mod request;
mod secret;
mod shape;

pub use self::{
    answering::{ResponseModel, WithModel},
    anthropic::Anthropic,
    convert::ConvertLayer,
    credentials::{strip_credentials, strip_query_credentials},
    dialect::{Dialect, UnknownDialect},
    error::{ErrorBody, ErrorReply, tell_retry},
    gemini::Gemini,
    judge::AnyPath,
    keys::{CredentialsLayer, Key, Keys},
    openai::OpenAi,
    secret::{Secret, SecretError},
};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
