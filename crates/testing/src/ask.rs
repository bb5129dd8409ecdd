//! Requests to a provider, in its dialect.

use std::fmt;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::Dialect;

/// A call for a model's text in a provider's dialect, for tests that run over several dialects.
///
/// Comes from [`Running::ask`](crate::Running::ask).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use buttress_testing::{Provider, Reply};
/// use tower_service::Service;
///
/// let provider = Provider::gemini().reply(Reply::text("Hi")).in_process()?;
/// let request = provider.ask("gemini-test", "Say hi").streamed().request();
/// let response = provider.service().call(request).await?;
/// assert_eq!(response.status(), 200);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Ask {
    dialect: Dialect,
    origin: String,
    model: String,
    streamed: bool,
    key: Option<HeaderValue>,
    body: Value,
}

// ===== impl Ask =====

impl Ask {
    pub(crate) fn new(dialect: Dialect, origin: String, model: &str, prompt: &str) -> Self {
        let messages = json!([{ "role": "user", "content": prompt }]);
        let body = match dialect {
            Dialect::OpenAi => json!({ "model": model, "messages": messages }),
            Dialect::Anthropic => json!({
                "model": model, "max_tokens": 1024, "messages": messages,
            }),
            Dialect::Gemini => json!({
                "contents": [{ "role": "user", "parts": [{ "text": prompt }] }],
            }),
        };
        Self {
            dialect,
            origin,
            model: model.to_owned(),
            streamed: false,
            key: None,
            body,
        }
    }

    /// Asks for a stream, with its usage.
    #[must_use]
    pub fn streamed(mut self) -> Self {
        self.streamed = true;
        match self.dialect {
            Dialect::OpenAi => self
                .with("stream", true)
                .with("stream_options", json!({ "include_usage": true })),
            Dialect::Anthropic => self.with("stream", true),
            Dialect::Gemini => self,
        }
    }

    /// Sets a field of the body.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.body[field] = value.into();
        self
    }

    /// Sends this credential in the dialect's header. Default: none. A key that cannot stand in a
    /// header is left out.
    #[must_use]
    pub fn key(mut self, key: &str) -> Self {
        let value = match self.dialect {
            Dialect::OpenAi => format!("Bearer {key}"),
            Dialect::Anthropic | Dialect::Gemini => key.to_owned(),
        };
        self.key = HeaderValue::try_from(value).ok().map(|mut key| {
            key.set_sensitive(true);
            key
        });
        self
    }

    /// The request.
    pub fn request(self) -> Request<Full<Bytes>> {
        let path = self.dialect.call_path(&self.model, self.streamed);
        let body = Bytes::from(self.body.to_string());
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = http::Method::POST;
        // An origin of ours and a path of ours are a URL.
        *request.uri_mut() = format!("{}{path}", self.origin).parse().unwrap_or_default();
        let headers = request.headers_mut();
        headers.insert(http::header::CONTENT_TYPE, crate::dialect::JSON);
        if self.dialect == Dialect::Anthropic {
            let version = HeaderValue::from_static("2023-06-01");
            headers.insert("anthropic-version", version);
        }
        if let Some(key) = self.key {
            headers.insert(HeaderName::from_static(self.dialect.key_header()), key);
        }
        request
    }
}

impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither prompt nor key.
        f.debug_struct("Ask")
            .field("dialect", &self.dialect)
            .field("model", &self.model)
            .field("streamed", &self.streamed)
            .finish_non_exhaustive()
    }
}
