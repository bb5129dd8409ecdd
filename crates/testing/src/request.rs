//! What a client asked, as scripts and tests see it.

use std::{borrow::Cow, fmt, sync::OnceLock};

use bytes::Bytes;
use http::{HeaderMap, Method, Uri, request::Parts};
use serde_json::Value;

use crate::{Dialect, usage::tokens};

/// One request: its head, its whole body, and what the provider's dialect reads from them.
///
/// Its `Debug` shows no header value that is a credential, no query and no body; the accessors
/// give everything as it came.
pub struct Request {
    dialect: Dialect,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
    json: OnceLock<Option<Value>>,
}

/// Headers whose values are credentials: `Debug` never shows them.
const SECRET: [&str; 7] = [
    "authorization",
    "proxy-authorization",
    "x-api-key",
    "x-goog-api-key",
    "api-key",
    "cookie",
    "set-cookie",
];

struct Redacted<'a>(&'a HeaderMap);

// ===== impl Request =====

impl Request {
    pub(crate) fn new(dialect: Dialect, parts: Parts, body: Bytes) -> Self {
        Self {
            dialect,
            method: parts.method,
            uri: parts.uri,
            headers: parts.headers,
            body,
            json: OnceLock::new(),
        }
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The path, as sent, without the query.
    pub fn path(&self) -> &str {
        self.uri.path()
    }

    /// The query, as sent, without its question mark.
    pub fn query(&self) -> Option<&str> {
        self.uri.query()
    }

    /// The headers, credentials included.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The first value of a header, if it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body's bytes, transfer coding undone.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The body as JSON, if it is JSON. Parsed at the first use, once.
    pub fn json(&self) -> Option<&Value> {
        self.json
            .get_or_init(|| serde_json::from_slice(&self.body).ok())
            .as_ref()
    }

    /// The model that was asked for: the body's `model`, or what the path of a Gemini call names.
    pub fn model(&self) -> Option<&str> {
        if let Some((model, _)) = self.gemini_call() {
            return Some(model);
        }
        self.json()?.get("model")?.as_str()
    }

    /// Whether a streamed reply was asked for: the body's `stream`, or the path of a Gemini call.
    pub fn streamed(&self) -> bool {
        match self.gemini_call() {
            Some((_, call)) => call == "streamGenerateContent",
            None => self
                .json()
                .and_then(|body| body.get("stream")?.as_bool())
                .unwrap_or(false),
        }
    }

    /// Whether this is a call for text in the provider's dialect: a `POST` to its path.
    pub fn is_call(&self) -> bool {
        self.method == Method::POST
            && match self.dialect {
                Dialect::OpenAi => self.path().ends_with("/chat/completions"),
                Dialect::Anthropic => self.path().ends_with("/v1/messages"),
                Dialect::Gemini => self.gemini_call().is_some(),
            }
    }

    /// The text of the last message, its parts joined: what [`Reply::echo`](crate::Reply::echo)
    /// answers with. Empty if there is none.
    pub fn last_text(&self) -> String {
        let mut text = String::new();
        if let Some(last) = self.messages().and_then(|all| all.last()) {
            each_text(last, &mut |part| text.push_str(part));
        }
        text
    }

    /// How many tokens the prompt has, counted by [`tokens`] over the text of all messages and of
    /// the system prompt.
    pub fn prompt_tokens(&self) -> u64 {
        let mut count = 0;
        let mut add = |text: &str| count += tokens(text);
        for message in self.messages().into_iter().flatten() {
            each_text(message, &mut add);
        }
        for field in ["system", "systemInstruction", "system_instruction", "input"] {
            if let Some(value) = self.json().and_then(|body| body.get(field)) {
                each_text(value, &mut add);
            }
        }
        count
    }

    /// Whether the caller of an OpenAI stream asked for the chunk with the usage.
    pub(crate) fn wants_usage(&self) -> bool {
        self.json()
            .and_then(|body| body.get("stream_options")?.get("include_usage")?.as_bool())
            .unwrap_or(false)
    }

    /// The request in a few words that hold no secret: method, path, model, form and length.
    pub(crate) fn summary(&self) -> String {
        let mut summary = format!("{} {}", self.method, self.path());
        if self.uri.query().is_some() {
            summary.push_str("?…");
        }
        if let Some(model) = self.model() {
            let model: String = model.chars().take(80).collect();
            summary.push_str(&format!(", model {model:?}"));
        }
        if self.streamed() {
            summary.push_str(", streamed");
        }
        summary.push_str(&format!(", body of {} bytes", self.body.len()));
        summary
    }

    fn messages(&self) -> Option<&Vec<Value>> {
        let body = self.json()?;
        body.get("messages")
            .or_else(|| body.get("contents"))?
            .as_array()
    }

    /// Model and method of a path that ends in `/models/{model}:{method}`.
    fn gemini_call(&self) -> Option<(&str, &str)> {
        if self.dialect != Dialect::Gemini {
            return None;
        }
        let (_, call) = self.path().rsplit_once("/models/")?;
        let (model, method) = call.rsplit_once(':')?;
        matches!(method, "generateContent" | "streamGenerateContent").then_some((model, method))
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("path", &self.path())
            .field("query", &self.query().map(|_| Cow::Borrowed("…")))
            .field("headers", &Redacted(&self.headers))
            .field("body", &format_args!("{} bytes", self.body.len()))
            .finish()
    }
}

impl fmt::Debug for Redacted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for (name, value) in self.0 {
            if value.is_sensitive() || SECRET.contains(&name.as_str()) {
                map.entry(&name, &format_args!("<redacted>"));
            } else {
                map.entry(&name, &value);
            }
        }
        map.finish()
    }
}

/// Calls `visit` with every text in a message: a string, or the `text` and `content` of its parts.
fn each_text(value: &Value, visit: &mut impl FnMut(&str)) {
    // A tool result nests content in content once; serde_json bounds the depth in any case.
    match value {
        Value::String(text) => visit(text),
        Value::Array(parts) => parts.iter().for_each(|part| each_text(part, visit)),
        Value::Object(fields) => ["content", "parts", "text"]
            .iter()
            .filter_map(|name| fields.get(*name))
            .for_each(|part| each_text(part, visit)),
        _ => {}
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn request(dialect: Dialect, target: &str, body: &str) -> Request {
        let (parts, ()) = http::Request::post(target).body(()).unwrap().into_parts();
        Request::new(dialect, parts, Bytes::copy_from_slice(body.as_bytes()))
    }

    #[test]
    fn model_and_form_are_read_from_body_or_path() {
        let openai = request(
            Dialect::OpenAi,
            "/v1/chat/completions",
            r#"{"model":"gpt-test","stream":true}"#,
        );
        assert_eq!(openai.model(), Some("gpt-test"));
        assert!(openai.streamed() && openai.is_call());
        let gemini = request(
            Dialect::Gemini,
            "/v1beta/models/gemini-test:streamGenerateContent?alt=sse",
            "{}",
        );
        assert_eq!(gemini.model(), Some("gemini-test"));
        assert!(gemini.streamed() && gemini.is_call());
        let other = request(Dialect::OpenAi, "/v1/embeddings", "not json");
        assert_eq!(other.model(), None);
        assert!(!other.streamed() && !other.is_call());
    }

    #[test]
    fn the_prompt_is_counted_over_all_messages_and_echoed_from_the_last() {
        let body = r#"{"system":"Be brief","messages":[{"role":"user","content":"one two"},
            {"role":"user","content":[{"type":"text","text":"three"},{"type":"text","text":" four"}]}]}"#;
        let request = request(Dialect::Anthropic, "/v1/messages", body);
        assert_eq!(request.prompt_tokens(), 6);
        assert_eq!(request.last_text(), "three four");
        let gemini = self::request(
            Dialect::Gemini,
            "/v1beta/models/g:generateContent",
            r#"{"contents":[{"role":"user","parts":[{"text":"Hello there"}]}]}"#,
        );
        assert_eq!(gemini.prompt_tokens(), 2);
        assert_eq!(gemini.last_text(), "Hello there");
    }

    #[test]
    fn debug_shows_no_credential_no_query_and_no_body() {
        let (parts, ()) = http::Request::post("/v1/messages?key=canary")
            .header("Authorization", "Bearer canary")
            .header("x-api-key", "canary")
            .header("x-goog-api-key", "canary")
            .header("api-key", "canary")
            .header("cookie", "canary")
            .header("proxy-authorization", "canary")
            .header("x-seen", "shown")
            .body(())
            .unwrap()
            .into_parts();
        let request = Request::new(Dialect::OpenAi, parts, Bytes::from_static(b"canary"));
        let shown = format!("{request:#?} {}", request.summary());
        assert!(!shown.contains("canary"), "{shown}");
        assert!(shown.contains("shown") && shown.contains("<redacted>"));
    }
}
