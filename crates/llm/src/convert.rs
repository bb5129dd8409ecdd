//! Another dialect for a caller: requests, replies and streams of one made those of another.

mod anthropic;
mod body;
mod context;
mod error;
mod gemini;
mod model;
mod notes;
mod openai;
mod read;
mod response;
mod stream;
mod text;
mod write;

use bytes::{Bytes, BytesMut};

use self::{
    context::Context,
    error::Fault,
    model::{Reply, Request},
    notes::Notes,
    read::{Names, Reader},
    write::Writer,
};
pub use self::{
    error::ConvertError,
    stream::{Stream, StreamError},
};
use crate::{Dialect, request::PeekError};

/// The way between a caller and an endpoint that speak different dialects.
#[derive(Clone, Copy, Debug)]
pub struct Conversion {
    caller: Dialect,
    endpoint: Dialect,
}

/// A request in the endpoint's dialect, and what its reply needs.
#[derive(Clone, Debug)]
pub struct Converted {
    way: Conversion,
    body: Bytes,
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

    /// Makes a request of the caller one for the endpoint.
    ///
    /// # Errors
    ///
    /// [`ConvertError`]: nothing is left out that would change the reply.
    pub fn request(&self, body: &[u8]) -> Result<Converted, ConvertError> {
        let text = std::str::from_utf8(body).map_err(|error| {
            ConvertError::Syntax(PeekError::Utf8 {
                at: error.valid_up_to(),
            })
        })?;
        let explain = |fault: Fault| fault.explain(text);
        let mut json = Reader::new(text, Names::Once);
        let request = self.caller.read_request(&mut json);
        json.end().map_err(explain)?;

        let mut notes = Notes::new(self.endpoint);
        let mut out = BytesMut::with_capacity(body.len() + 256);
        self.endpoint
            .write_request(&request, &mut notes, &mut Writer::new(&mut out));
        let left_out = notes.end().map_err(explain)?;
        Ok(Converted {
            way: *self,
            body: out.freeze(),
            left_out: left_out
                .into_iter()
                .map(|at| error::path(text, at))
                .collect(),
            stream: request.stream,
            include_usage: request.include_usage,
            created: None,
            unique: None,
        })
    }
}

// ===== impl Converted =====

impl Converted {
    /// The request for the endpoint.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
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
        let text = String::from_utf8_lossy(body);
        let mut json = Reader::new(&text, Names::Any);
        let reply = self.way.endpoint.read_reply(&mut json);
        json.end().map_err(|fault| fault.explain(&text))?;
        let mut out = BytesMut::with_capacity(body.len() + 256);
        self.way
            .caller
            .write_reply(&reply, &self.context(), &mut Writer::new(&mut out));
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
