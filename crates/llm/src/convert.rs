//! Another dialect for a caller: requests, replies and streams of one made those of another.
//!
//! A caller who speaks one dialect is served by an endpoint that speaks another: a [`Conversion`]
//! makes its request one for the endpoint, and the [`Converted`] request then makes what comes back
//! one for the caller, whole or as it streams.
//!
//! ```
//! use buttress_llm::{Dialect, convert::Conversion};
//!
//! # fn main() -> Result<(), buttress_llm::convert::ConvertError> {
//! let way = Conversion::new(Dialect::OpenAi, Dialect::Anthropic);
//! let asked = way.request(
//!     r#"{"model":"claude-haiku-4-5","messages":[{"role":"user","content":"Hi"}],"max_tokens":9,"store":true}"#,
//! )?;
//! assert_eq!(
//!     asked.body(),
//!     r#"{"model":"claude-haiku-4-5","max_tokens":9,"messages":[{"role":"user","content":[{"type":"text","text":"Hi"}]}]}"#
//! );
//! // Anthropic has no place for it, and the reply says the same without it.
//! assert_eq!(asked.left_out(), ["store"]);
//!
//! let reply = asked.created(1_700_000_000).reply(
//!     br#"{"id":"msg_1","type":"message","role":"assistant","model":"claude-haiku-4-5",
//!         "content":[{"type":"text","text":"Hello!"}],"stop_reason":"end_turn","stop_sequence":null,
//!         "usage":{"input_tokens":9,"output_tokens":3}}"#,
//! )?;
//! let reply: serde_json::Value = serde_json::from_slice(&reply).unwrap();
//! assert_eq!(reply["choices"][0]["message"]["content"], "Hello!");
//! assert_eq!(reply["usage"]["total_tokens"], 12);
//! # Ok(())
//! # }
//! ```
//!
//! What would change the reply is never left out:
//!
//! ```
//! use buttress_core::Class;
//! use buttress_llm::{Dialect, convert::Conversion};
//!
//! let way = Conversion::new(Dialect::OpenAi, Dialect::Anthropic);
//! let error = way
//!     .request(r#"{"model":"m","messages":[{"role":"user","content":"Hi"}],"logit_bias":{"50256":-100}}"#)
//!     .unwrap_err();
//! assert_eq!(error.class(), Class::Unfit);
//! assert_eq!(error.field(), Some("logit_bias"));
//! ```
//!
//! # In a stack
//!
//! [`ConvertLayer`] does all of it in the stack of an endpoint. So two endpoints of different dialects
//! stand side by side, for a failover for example, and are of one type:
//!
//! ```
//! use buttress_http::{BoxError, TrackLayer};
//! use buttress_llm::{CredentialsLayer, Dialect, Secret, convert::ConvertLayer};
//! # use bytes::Bytes;
//! # use http::{Request, Response};
//! # use http_body_util::Full;
//! # use tower::{ServiceBuilder, ServiceExt, service_fn};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! # let client = service_fn(|_: Request<Full<Bytes>>| async {
//! #     Ok::<_, BoxError>(Response::new(Full::<Bytes>::from("{}")))
//! # });
//! # let (openai, anthropic) = (client, client);
//! # let [one, two] = [Secret::new("sk-1")?, Secret::new("sk-ant-2")?];
//! # let request = Request::post("/v1/chat/completions").body(Full::default())?;
//!
//! // Requests are OpenAI's, and so is every reply.
//! let endpoints = [
//!     ServiceBuilder::new()
//!         .layer(ConvertLayer::new(Dialect::OpenAi, Dialect::OpenAi))
//!         .layer(CredentialsLayer::new(Dialect::OpenAi, one))
//!         .layer(TrackLayer::new(Dialect::OpenAi))
//!         .service(openai),
//!     ServiceBuilder::new()
//!         .layer(ConvertLayer::new(Dialect::OpenAi, Dialect::Anthropic).model("claude-haiku-4-5"))
//!         .layer(CredentialsLayer::new(Dialect::Anthropic, two))
//!         .layer(TrackLayer::new(Dialect::Anthropic))
//!         .service(anthropic),
//! ];
//! // With `buttress-failover`: `Failover::new(Http, endpoints)`.
//! # for endpoint in endpoints { let _ = endpoint.oneshot(request.clone()).await; }
//! # Ok(())
//! # }
//! ```
//!
//! # When to use it
//!
//! In a gateway, and wherever one program is to speak with providers of several dialects. Within
//! one dialect nothing is converted: every byte stays what it was.
//!
//! # When not
//!
//! To write a chat: it has no types for that. Nor for what is no chat: embeddings, files and
//! OpenAI's responses stay in their dialect.
//!
//! # How
//!
//! Between three dialects stands one small model of a chat, and not six pairs. What is text is
//! copied as it is written, escapes and all; schemas, arguments and what a reply has beside are
//! carried over as they stand. What only one dialect has is named: as an error, if the reply would
//! be another without it, and else in [`left_out`](Converted::left_out).
//!
//! The typed models on the registry (`async-openai`, `anthropic-sdk-rust`, `gemini-rust` and the
//! bridges between two of them, such as `linguafranca` and `llm-relay`) were looked at first. They
//! are made to write requests, and drop the members that they do not know, or build a tree of
//! every event; none keeps the text as it came, and none has all three dialects in both directions.
//!
//! # Bounds
//!
//! | what | bound | past it |
//! |---|---|---|
//! | JSON | 128 levels; 256 members in an object that is looked into | an error |
//! | members of one object in a reply that nothing here knows | 64 | not told |
//! | a whole reply | 32 MiB | a 502 |
//! | an error | 64 KiB | its status, and no message of the endpoint's |
//! | an event of a stream | a line of 8 MiB, 16 MiB in all | the stream breaks off |
//! | what a stream holds back: arguments of a call, a signed thought | 4 MiB each | the stream breaks off, or the signature is not told |
//!
//! # What becomes of every field
//!
//! In the tables of each dialect, *kept* means: it says the same under the name given. *Left out*: it
//! does not change what the reply says, and is named in [`left_out`](Converted::left_out). *Unfit* is
//! [`ConvertError::Unfit`], and *a fault* [`ConvertError::Invalid`], which is the caller's 400; both
//! name the field.
#![doc = ""]
#![doc = include_str!("convert/openai.md")]
#![doc = ""]
#![doc = include_str!("convert/anthropic.md")]
#![doc = ""]
#![doc = include_str!("convert/gemini.md")]

mod anthropic;
mod arguments;
mod body;
mod context;
mod error;
mod event;
mod failure;
mod future;
mod gemini;
mod layer;
mod model;
mod notes;
mod openai;
mod own;
mod parts;
mod read;
mod rename;
mod response;
mod rest;
mod service;
mod signature;
mod stream;
mod target;
mod text;
mod told;
mod write;

use std::fmt;

use bytes::{Bytes, BytesMut};

use self::{
    context::Context,
    error::Fault,
    model::{Reply, Request},
    notes::Notes,
    read::{Names, Reader},
    rename::Rename,
    target::Asked,
    text::Text,
    write::Writer,
};
pub use self::{
    error::ConvertError,
    event::ConvertEvent,
    future::ResponseFuture,
    layer::ConvertLayer,
    response::Responding,
    service::ConvertService,
    stream::{Stream, StreamError},
};
use crate::{
    Dialect,
    request::{Peek, PeekError},
};

/// The way between a caller and an endpoint that speak different dialects.
#[derive(Clone, Copy, Debug)]
pub struct Conversion {
    caller: Dialect,
    endpoint: Dialect,
}

/// A request in the endpoint's dialect, and what its reply needs.
#[derive(Clone)]
pub struct Converted {
    way: Conversion,
    body: Bytes,
    model: String,
    left_out: Vec<String>,
    stream: bool,
    include_usage: bool,
    created: Option<u64>,
    unique: Option<u64>,
}

// ===== impl Conversion =====

impl Conversion {
    /// From a caller of this dialect to an endpoint of that one.
    #[must_use]
    pub const fn new(caller: Dialect, endpoint: Dialect) -> Self {
        Self { caller, endpoint }
    }

    /// Makes a request of the caller one for the endpoint. If both speak the same dialect, it stays
    /// as it is.
    ///
    /// # Errors
    ///
    /// [`ConvertError`]: nothing is left out that would change the reply.
    pub fn request(&self, body: impl Into<Bytes>) -> Result<Converted, ConvertError> {
        self.convert(body.into(), Asked::default(), &Rename::No)
    }

    fn convert(
        &self,
        body: Bytes,
        asked: Asked<'_>,
        rename: &Rename,
    ) -> Result<Converted, ConvertError> {
        let converted = Converted {
            way: *self,
            body: body.clone(),
            model: String::new(),
            left_out: Vec::new(),
            stream: false,
            include_usage: false,
            created: None,
            unique: None,
        };
        if self.caller == self.endpoint {
            let request = Peek::new(body).map_err(ConvertError::Syntax)?;
            return Ok(Converted {
                model: request.model().unwrap_or_default().to_owned(),
                stream: request.stream(),
                include_usage: request.include_usage(),
                ..converted
            });
        }
        let text = std::str::from_utf8(&body).map_err(|error| {
            ConvertError::Syntax(PeekError::Utf8 {
                at: error.valid_up_to(),
            })
        })?;
        let explain = |fault: Fault| fault.explain(text);
        let mut json = Reader::new(text, Names::Once);
        let mut request = self.caller.read_request(&mut json);
        json.end().map_err(explain)?;
        if let Some((model, stream)) = asked.path {
            (request.model, request.stream) = (Text::of(model), stream);
        }
        // Before it is written: for some models something else is.
        let renamed = rename.of(&request.model.decode());
        if let Some(name) = renamed {
            request.model = Text::of(&name);
        }

        let mut notes = Notes::new(self.endpoint);
        // What stands around the text of a message may be so much longer than it was.
        let longer = match self.endpoint {
            Dialect::OpenAi => 0,
            Dialect::Anthropic => 32,
            Dialect::Gemini => 16,
        };
        let longer = longer * request.messages.len() + 256;
        let mut out = BytesMut::with_capacity(body.len() + longer);
        self.endpoint
            .write_request(&request, &mut notes, &mut Writer::new(&mut out));
        let left_out = notes.end().map_err(explain)?;
        Ok(Converted {
            body: out.freeze(),
            model: request.model.decode().into_owned(),
            left_out: error::paths(text, &left_out),
            stream: request.stream,
            include_usage: request.include_usage,
            ..converted
        })
    }
}

// ===== impl Converted =====

impl fmt::Debug for Converted {
    /// Neither what it says nor the names of what is left out: both are the caller's words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Converted")
            .field("way", &self.way)
            .field("bytes", &self.body.len())
            .field("left_out", &self.left_out.len())
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}

impl Converted {
    /// The request for the endpoint.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The model that is asked for: where the endpoint is Gemini's, its place is the path. Empty where
    /// the request names none, as Gemini's own do not.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.model
    }

    /// The members that the endpoint's dialect has no place for, and that do not change what the
    /// reply says: such as `store` or `prompt_cache_key`.
    #[must_use]
    pub fn left_out(&self) -> &[String] {
        &self.left_out
    }

    /// Whether the reply is to be streamed.
    #[must_use]
    pub const fn is_stream(&self) -> bool {
        self.stream
    }

    /// When the reply was made, in seconds since 1970, for a dialect that tells it (OpenAI). Default:
    /// the `date` of the response, else 0.
    #[must_use]
    pub const fn created(mut self, seconds: u64) -> Self {
        self.created = Some(seconds);
        self
    }

    /// The number of which ids are made that the endpoint's dialect does not have and the caller's
    /// needs. It should be one that no other reply has. Default: such a number.
    #[must_use]
    pub const fn unique(mut self, number: u64) -> Self {
        self.unique = Some(number);
        self
    }

    /// Makes a whole reply of the endpoint one for the caller.
    ///
    /// # Errors
    ///
    /// [`ConvertError`], if it is not a reply in the endpoint's dialect.
    pub fn reply(&self, body: &[u8]) -> Result<Bytes, ConvertError> {
        if self.way.caller == self.way.endpoint {
            return Ok(Bytes::copy_from_slice(body));
        }
        self.with_reply(body, |reply, out| {
            let to = &mut Writer::new(out);
            self.way.caller.write_reply(&reply, &self.context(), to);
        })
    }

    /// Makes a whole reply of the endpoint the stream that the caller asked for.
    fn reply_in_stream(&self, body: &[u8]) -> Result<Bytes, ConvertError> {
        self.with_reply(body, |reply, out| {
            let mut writer = stream::Downstream::new(self.way.caller, self.context());
            told::tell(reply, &mut |event| writer.write(event, out));
        })
    }

    fn with_reply(
        &self,
        body: &[u8],
        write: impl FnOnce(Reply<'_>, &mut BytesMut),
    ) -> Result<Bytes, ConvertError> {
        let text = String::from_utf8_lossy(body);
        let mut json = Reader::new(&text, Names::Any);
        let reply = self.way.endpoint.read_reply(&mut json);
        json.end().map_err(|fault| fault.explain_reply(&text))?;
        let mut out = BytesMut::with_capacity(body.len() + 256);
        write(reply, &mut out);
        Ok(out.freeze())
    }

    /// What makes a stream of the endpoint one for the caller.
    #[must_use]
    pub fn stream(&self) -> Stream {
        Stream::new(self.way, self.context())
    }

    fn context(&self) -> Context {
        Context {
            created: self.created.unwrap_or_default(),
            unique: self.unique.unwrap_or_else(context::unique),
            include_usage: self.include_usage,
        }
    }
}

// ===== impl Dialect =====

impl Dialect {
    fn read_request<'a>(self, json: &mut Reader<'a>) -> Request<'a> {
        match self {
            Self::OpenAi => openai::read_request(json),
            Self::Anthropic => anthropic::read_request(json),
            Self::Gemini => gemini::read_request(json),
        }
    }

    fn write_request(self, request: &Request<'_>, notes: &mut Notes, to: &mut Writer<'_>) {
        match self {
            Self::OpenAi => openai::write_request(request, notes, to),
            Self::Anthropic => anthropic::write_request(request, notes, to),
            Self::Gemini => gemini::write_request(request, notes, to),
        }
    }

    fn read_reply<'a>(self, json: &mut Reader<'a>) -> Reply<'a> {
        match self {
            Self::OpenAi => openai::read_reply(json),
            Self::Anthropic => anthropic::read_reply(json),
            Self::Gemini => gemini::read_reply(json),
        }
    }

    fn write_reply(self, reply: &Reply<'_>, context: &Context, to: &mut Writer<'_>) {
        match self {
            Self::OpenAi => openai::write_reply(reply, context, to),
            Self::Anthropic => anthropic::write_reply(reply, context, to),
            Self::Gemini => gemini::write_reply(reply, context, to),
        }
    }
}
