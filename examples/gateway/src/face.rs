//! Which API a request speaks, as far as its head tells.

use buttress_llm::Dialect;
use http::{HeaderMap, Method, Request, header, request::Parts};

use crate::fault::Fault;

/// What a request asks for, and in whose words.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Face {
    pub(crate) dialect: Dialect,
    pub(crate) asks: Asks,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Asks {
    /// A reply of the model, in the dialect's main form: chat completions, messages.
    Reply,
    /// Anything else that a provider of this dialect may serve: embeddings, responses, token
    /// counting.
    Other,
}

// ===== impl Face =====

impl Face {
    /// OpenAI's chat completions.
    pub(crate) const CHAT: Self = Self {
        dialect: Dialect::OpenAi,
        asks: Asks::Reply,
    };

    pub(crate) fn of(head: &Parts) -> Self {
        let (dialect, asks) = match head.uri.path() {
            "/v1/chat/completions" => return Self::CHAT,
            "/v1/messages" => (Dialect::Anthropic, Asks::Reply),
            path if path.starts_with("/v1/messages/") => (Dialect::Anthropic, Asks::Other),
            _ => (dialect_of(&head.headers), Asks::Other),
        };
        Self { dialect, asks }
    }

    /// Whether it is worth reading the body of a request with this head.
    pub(crate) fn admits(self, head: &Parts) -> Result<(), Fault> {
        if self.asks == Asks::Other && !is_json(&head.headers) {
            let kind = head.headers.get(header::CONTENT_TYPE);
            let kind = kind.map(|kind| String::from_utf8_lossy(kind.as_bytes()).into_owned());
            return Err(Fault::NotJson(kind));
        }
        match head.headers.get(header::CONTENT_ENCODING) {
            Some(encoding) if !encoding.as_bytes().eq_ignore_ascii_case(b"identity") => {
                Err(Fault::Encoded)
            }
            _ => Ok(()),
        }
    }
}

/// Whether the request may be one for an endpoint, as all but the pages and models are.
pub(crate) fn is_call<B>(request: &Request<B>) -> bool {
    let path = request.uri().path();
    request.method() == Method::POST && path.starts_with("/v1/") && methods(path) != Some(GET)
}

/// The methods for which there is something at this path, the one that matters first.
pub(crate) fn methods(path: &str) -> Option<&'static str> {
    match path {
        "/v1/chat/completions" | "/v1/messages" => Some(POST),
        "/" | "/status" | "/metrics" | "/healthz" | "/v1/models" => Some(GET),
        // Of the server as a whole.
        "*" => Some("GET, HEAD, POST, OPTIONS"),
        path => match path.strip_prefix("/v1/models/") {
            Some("") | None => None,
            Some(_) => Some(GET),
        },
    }
}

const GET: &str = "GET, HEAD, OPTIONS";
const POST: &str = "POST, OPTIONS";

/// The dialect of a request whose path does not tell it.
pub(crate) fn dialect_of(headers: &HeaderMap) -> Dialect {
    if headers.contains_key("anthropic-version") {
        Dialect::Anthropic
    } else {
        Dialect::OpenAi
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .map_or(&b""[..], |kind| kind.as_bytes());
    let essence = kind.split(|byte| *byte == b';').next().unwrap_or_default();
    essence
        .trim_ascii()
        .eq_ignore_ascii_case(b"application/json")
}
