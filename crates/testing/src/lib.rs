//! A scriptable LLM provider that misbehaves on demand.
//!
//! ```
//! use buttress_testing::{Match, Provider, Reply};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let provider = Provider::openai()
//!     .on(Match::model("gpt-test"), Reply::error(429).retry_after("1").then(Reply::text("Hello there")))
//!     .start()
//!     .await?;
//!
//! // Point a client at `provider.base_url()`, call it, and look at what came:
//! let log = provider.log();
//! assert_eq!(log.received(), 0);
//! assert_eq!(log.billed().output, 0);
//! # Ok(())
//! # }
//! ```

mod ask;
mod body;
mod dialect;
mod engine;
mod failure;
mod h1;
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
mod usage;

pub use crate::{
    ask::Ask,
    body::ReplyBody,
    dialect::{Dialect, Finish},
    failure::{Failure, FailureKind},
    log::{Ending, Log, Received},
    matcher::Match,
    provider::{Provider, Running, StartError},
    reply::Reply,
    request::Request,
    script::Script,
    service::{ProviderService, ReplyFuture},
    usage::{Billed, Usage, tokens},
};
