//! A scriptable LLM provider that misbehaves on demand.
//!
//! For tests of anything that calls OpenAI, Anthropic or Gemini: a provider that speaks the dialect
//! of your choice on a loopback socket (or in process, for paused time), answers as its script
//! says, fails in every way that we know providers to fail in, and keeps a log and a bill.
//!
//! ```
//! use buttress_testing::{Fault, Match, Provider, Reply};
//! # use http_body_util::BodyExt;
//! # use hyper_util::{client::legacy::Client, rt::TokioExecutor};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let provider = Provider::openai()
//!     // The first call for this model is limited, the next is answered, whole or streamed as it asks.
//!     .on(Match::model("gpt-test"), Reply::error(429).retry_after("1").then(Reply::text("Hello there")))
//!     // Every other call is cut after three events with content.
//!     .reply(Fault::Reset { after: 3 })
//!     .start()
//!     .await?;
//!
//! // `provider.base_url()` is what an SDK wants; any HTTP client will do.
//! let client = Client::builder(TokioExecutor::new()).build_http();
//! for status in [429, 200] {
//!     let request = provider.ask("gpt-test", "Say hello").request();
//!     let response = client.request(request).await?;
//!     assert_eq!(response.status(), status);
//!     response.into_body().collect().await?;
//! }
//! let cut = client.request(provider.ask("gpt-other", "Say hello").streamed().request()).await?;
//! assert!(cut.into_body().collect().await.is_err());
//!
//! let log = provider.log();
//! assert_eq!((log.received(), log.billed().output), (3, 2 + 3));
//! assert_eq!(log.requests()[0].model(), Some("gpt-test"));
//! provider.finish(); // Panics if a script was left unused, or a request came that none expected.
//! # Ok(())
//! # }
//! ```
//!
//! In process there are no sockets: what would break a connection is a typed error, delays run on
//! tokio's clock, and a test that waits an hour takes no time.
//!
//! ```
//! use std::time::Duration;
//! use buttress_testing::{Fault, FailureKind, Provider, Reply};
//! use http_body_util::BodyExt;
//! use tower::ServiceExt;
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let slow = Reply::text("It was a dark and stormy night")
//!     .headers_after(Duration::from_secs(60))
//!     .pace(Duration::from_secs(10));
//! let provider = Provider::anthropic()
//!     .reply(Reply::from(Fault::ConnectRefused).then(slow))
//!     .in_process()?;
//!
//! let ask = || provider.ask("claude-test", "Tell me a story").streamed().request();
//! let refused = provider.service().oneshot(ask()).await.unwrap_err();
//! assert_eq!(refused.kind(), FailureKind::ConnectRefused);
//!
//! let start = tokio::time::Instant::now();
//! let story = provider.service().oneshot(ask()).await?.into_body().collect().await?;
//! assert!(start.elapsed() > Duration::from_secs(120));
//! assert!(story.to_bytes().starts_with(b"event: message_start"));
//! provider.finish();
//! # Ok(())
//! # }
//! ```
//!
//! # What it does
//!
//! - **Dialects**: [`Provider::openai`] (chat completions), [`Provider::anthropic`] (messages),
//!   [`Provider::gemini`] (generateContent): whole and streamed replies, tool calls, reasoning,
//!   finish reasons, usage, errors in their envelopes, limit headers, request ids, model lists.
//!   Other paths are scripted freely, with [`Match::path`] and [`Reply::json`] or [`Reply::bytes`].
//! - **Scripts**: the first whose [`Match`] is met and that has a reply left takes the request; which
//!   that is follows the order of arrival. A [`Script`] is a sequence: every reply but the last is
//!   given once, the last without end, unless [`times`](Script::times) says otherwise.
//! - **Replies**: [`text`](Reply::text), [`echo`](Reply::echo), [`tool`](Reply::tool),
//!   [`error`](Reply::error), an [`ApiError`] by its name, a [`recorded`](Reply::recorded) stream,
//!   or what a closure [makes](Reply::with) of the request; with delays before the headers, before
//!   the first event and between events.
//! - **Faults**: see the table below. A fault is a script, or [spoils](Reply::fault) a reply.
//! - **The log**: what came, when, on which connection, what it got, how it ended
//!   ([`Ending::Disconnected`]: the client left early), what was billed for it; with methods that
//!   wait for requests and departures without sleeping. Credentials are redacted in its `Debug`.
//! - **The bill**: tokens are counted by [`tokens`] or [set](Reply::usage); [`Log::billed`] is their
//!   exact sum, so that a test can say *charged equals used*. A cut stream is billed for what was
//!   sent of it.
//! - **Limits**: [`Provider::limit`] enforces requests and tokens per minute, and answers 429 above.
//! - **The verdict**: a request that no script takes gets a 501 that says so, and dropping the
//!   provider panics with the list of such requests; [`Running::finish`] also looks for scripts that
//!   were left unused. Nothing of it outlives the drop: no task, no socket.
//!
//! # When not
//!
//! It is no model and no emulator: it does not check that a request is valid in its dialect, and says
//! nothing sensible. A mock of HTTP in general is `wiremock`'s or `httpmock`'s business. It listens
//! on loopback and is made for tests and demonstrations; [`Provider::lenient`] is for the latter.
//!
//! # The fault table
//!
//! The class is what [`Fault::class`] says: what a call that meets the fault has come to. `n` is
//! `after`, the number of events with content that come first: where two classes stand, the first
//! is for `n` = 0. **s** is HTTP/1.1 on a socket, **2** HTTP/2, **p** the in-process service; a fault
//! that its carrier cannot carry fails the test and says so.
//!
//! | fault | class | carried by |
//! |---|---|---|
//! | [`ConnectRefused`](Fault::ConnectRefused) | Unavailable | s p |
//! | [`ConnectTimeout`](Fault::ConnectTimeout) | Unavailable | s p |
//! | [`NoRoute`](Fault::NoRoute) | Unavailable | p |
//! | [`HandshakeReset`](Fault::HandshakeReset) | Unavailable | s p |
//! | [`NoSuchName`](Fault::NoSuchName) | Unfit | s p |
//! | [`UnknownIssuer`](Fault::UnknownIssuer) | Unfit | s p |
//! | [`WrongHost`](Fault::WrongHost) | Unfit | s p |
//! | [`Expired`](Fault::Expired) | Unfit | s p |
//! | [`Plaintext`](Fault::Plaintext) | Unfit | s p |
//! | [`RefusedStream`](Fault::RefusedStream) | Unstarted | 2 p |
//! | [`GoAway`](Fault::GoAway) | Unstarted | 2 p |
//! | [`KeepAliveRace`](Fault::KeepAliveRace) | Unstarted | s p |
//! | [`IdleClose`](Fault::IdleClose) | Unstarted | s p |
//! | [`NoReply`](Fault::NoReply) | Unavailable | s p |
//! | [`ResetInHeaders`](Fault::ResetInHeaders) | Unavailable | s p |
//! | [`GarbageHeader`](Fault::GarbageHeader) | Unavailable | s p |
//! | [`LongHeader`](Fault::LongHeader) | Unavailable | s p |
//! | [`EndlessHeader`](Fault::EndlessHeader) | Unavailable | s p |
//! | [`TwoLengths`](Fault::TwoLengths) | Unavailable | s p |
//! | [`LengthAndChunks`](Fault::LengthAndChunks) | Unavailable | s p |
//! | [`EndlessInterim`](Fault::EndlessInterim) | Unavailable | s p |
//! | [`NoHeaders`](Fault::NoHeaders) | Unavailable | s 2 p |
//! | [`Reset`](Fault::Reset) | Unavailable, Interrupted | s 2 p |
//! | [`Close`](Fault::Close) | Unavailable, Interrupted | s p |
//! | [`ShortLength`](Fault::ShortLength) | Unavailable, Interrupted | s p |
//! | [`BadChunk`](Fault::BadChunk) | Unavailable, Interrupted | s p |
//! | [`Stall`](Fault::Stall) | Unavailable, Interrupted | s 2 p |
//! | [`PingsOnly`](Fault::PingsOnly) | Unavailable, Interrupted | s 2 p |
//! | [`CommentsOnly`](Fault::CommentsOnly) | Unavailable, Interrupted | s 2 p |
//! | [`ErrorEvent`](Fault::ErrorEvent) | by the error inside, Interrupted | s 2 p |
//! | [`ErrorInOk`](Fault::ErrorInOk) | by the error inside | s 2 p |
//! | [`NoTerminator`](Fault::NoTerminator) | Interrupted | s 2 p |
//! | [`LongEvent`](Fault::LongEvent) | Unavailable, Interrupted | s 2 p |
//! | [`EndlessLine`](Fault::EndlessLine) | Unavailable, Interrupted | s 2 p |
//! | [`EndlessBody`](Fault::EndlessBody) | Interrupted | s 2 p |
//! | [`BadGzip`](Fault::BadGzip) | Interrupted | s 2 p |
//! | [`MalformedJson`](Fault::MalformedJson) | Unavailable | s 2 p |
//! | [`WrongContentType`](Fault::WrongContentType) | Unavailable | s 2 p |
//! | [`NoContentType`](Fault::NoContentType) | Unavailable | s 2 p |
//! | [`Empty`](Fault::Empty) | Unavailable | s 2 p |
//! | [`Throttled`](Fault::Throttled) | Throttled | s 2 p |
//! | [`Error`](Fault::Error) | by the error | s 2 p |
//! | [`ShouldRetry`](Fault::ShouldRetry) | by its status | s 2 p |
//! | [`Redirect`](Fault::Redirect) | Unfit | s 2 p |
//! | [`Drip`](Fault::Drip) | Success | s 2 p |
//! | [`HalfClose`](Fault::HalfClose) | Success | s |
//! | [`DuplicateEvents`](Fault::DuplicateEvents) | Success | s 2 p |
//! | [`InvalidUtf8`](Fault::InvalidUtf8) | Success | s 2 p |
//! | [`ByteOrderMark`](Fault::ByteOrderMark) | Success | s 2 p |
//! | [`SplitCrLf`](Fault::SplitCrLf) | Success | s 2 p |
//! | [`Nul`](Fault::Nul) | Success | s 2 p |
//! | [`NoDone`](Fault::NoDone) | Success | s 2 p |
//! | [`MalformedEvent`](Fault::MalformedEvent) | Success (skipped), or Interrupted | s 2 p |
//!
//! Faults of the way to a provider (those above `RefusedStream`) hold for every call: on a socket such
//! a provider can have nothing else in its scripts, or it does not start. In process they come in
//! sequences like all others.

mod ask;
mod body;
mod clock;
mod dialect;
mod engine;
mod failure;
mod fault;
mod h1;
mod h2;
mod limit;
mod log;
mod matcher;
mod plan;
pub mod probe;
mod provider;
mod reply;
mod request;
mod script;
mod server;
mod service;
mod tls;
mod usage;
mod way;

pub use crate::{
    ask::Ask,
    body::ReplyBody,
    dialect::{Dialect, Finish},
    failure::{Failure, FailureKind},
    fault::{ApiError, Carrier, Fault, Hint},
    limit::{Limit, Limits},
    log::{Ending, Log, Received},
    matcher::Match,
    provider::{Provider, Running, StartError},
    reply::Reply,
    request::Request,
    script::Script,
    service::{ProviderService, ReplyFuture},
    usage::{Billed, Usage, tokens},
};
