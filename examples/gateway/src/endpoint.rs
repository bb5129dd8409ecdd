//! One endpoint: the stack of layers that every call to it passes, and the client at its bottom.

use buttress_http::{
    BoxError, Judge, TrackLayer, TrackService,
    client::{self, Client, ResponseBody},
};
use buttress_llm::{AnyPath, Dialect, Secret, strip_credentials, strip_query_credentials};
use bytes::Bytes;
use http::{Extensions, HeaderValue, Request, Uri, header, request};
use http_body_util::Full;
use tower::{ServiceBuilder, ServiceExt, util::MapErr};

use crate::{config, headers::take_out, stats::Counters};

/// Where calls go.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) name: String,
    pub(crate) dialect: Dialect,
    pub(crate) base_url: String,
    pub(crate) models: Vec<String>,
    pub(crate) counters: Counters,
    key: Option<Secret>,
    // The base URL has the front's `/v1` already.
    versioned: bool,
    chat: Stack<Dialect>,
    other: Stack<AnyPath>,
}

/// The layers of a call, over the client.
type Stack<J> = TrackService<MapErr<Client, fn(client::Error) -> BoxError>, J>;

pub(crate) type Reply = http::Response<buttress_http::Body<ResponseBody>>;

/// Puts the stack together, outermost layer first.
///
/// Retry, circuit breaker, rate limit, concurrency, attempt metrics, timeouts and key rotation will
/// stand above the line that tracks, in this order. What they refuse becomes a `BoxError`.
fn stack<J: Judge + Clone>(track: TrackLayer<J>, client: Client) -> Stack<J> {
    ServiceBuilder::new()
        .layer(track)
        .map_err(BoxError::from as fn(client::Error) -> BoxError)
        .service(client)
}

// ===== impl Endpoint =====

impl Endpoint {
    pub(crate) fn new(endpoint: config::Endpoint) -> Self {
        let config::Endpoint {
            name,
            dialect,
            client,
            base_url,
            key,
            models,
        } = endpoint;
        Self {
            versioned: dialect == Dialect::OpenAi
                || base_url.trim_end_matches('/').ends_with("/v1"),
            chat: stack(TrackLayer::new(dialect), client.clone()),
            // What the content of other replies is, nobody knows: none of it is waited for.
            other: stack(TrackLayer::new(AnyPath(dialect)).peek_bytes(0), client),
            counters: Counters::default(),
            name,
            dialect,
            base_url,
            models,
            key,
        }
    }

    /// Sends a call for the dialect's own kind of text.
    pub(crate) async fn chat(&self, request: Request<Full<Bytes>>) -> Result<Reply, BoxError> {
        self.chat.clone().oneshot(request).await
    }

    /// Sends any other call.
    pub(crate) async fn other(&self, request: Request<Full<Bytes>>) -> Result<Reply, BoxError> {
        self.other.clone().oneshot(request).await
    }

    /// The request as it goes to this endpoint, from the head of the caller's.
    pub(crate) fn request(&self, mut head: request::Parts, body: Bytes) -> Request<Full<Bytes>> {
        head.uri = self.target(head.uri);
        head.extensions = Extensions::new();
        let headers = &mut head.headers;
        // The client knows host and length better, and the body that was waited for is here.
        take_out(headers, |name| {
            matches!(name, "host" | "content-length" | "expect")
        });
        // What is read as it passes must not be compressed.
        headers.insert(
            header::ACCEPT_ENCODING,
            HeaderValue::from_static("identity"),
        );
        match &self.key {
            Some(key) => self.dialect.authorize(headers, key),
            None => strip_credentials(headers),
        }
        Request::from_parts(head, Full::new(body))
    }

    /// Path and query below the base URL.
    fn target(&self, uri: Uri) -> Uri {
        let target = strip_query_credentials(uri);
        let Some(path) = target.path_and_query() else {
            return target;
        };
        match path.as_str().strip_prefix("/v1") {
            Some(path) if self.versioned => path.parse().unwrap_or(target),
            _ => path.clone().into(),
        }
    }
}
