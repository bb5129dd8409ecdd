//! What LLM providers mean.

pub mod anthropic;
mod credentials;
mod dialect;
mod error;
pub mod gemini;
mod json;
mod judge;
mod meter;
pub mod openai;
mod reader;
pub mod request;
mod secret;
mod shape;

pub use self::{
    anthropic::Anthropic,
    credentials::{strip_credentials, strip_query_credentials},
    dialect::{Dialect, UnknownDialect},
    error::{ErrorBody, ErrorReply},
    gemini::Gemini,
    judge::AnyPath,
    openai::OpenAi,
    secret::{Secret, SecretError},
};
