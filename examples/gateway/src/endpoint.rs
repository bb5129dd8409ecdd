//! One endpoint: the stack of layers that every call to it passes, and the client at its bottom.

use std::future::poll_fn;

use buttress_http::{
    BoxError, Judge, TrackLayer, TrackService,
    client::{self, Client, ResponseBody},
};
use buttress_llm::{AnyPath, Dialect, Secret, convert::Converted, strip_credentials};
use bytes::Bytes;
use http::{Extensions, HeaderValue, Request, header, request};
use http_body_util::Full;
use tower::{Service, ServiceBuilder, util::MapErr};

use crate::{
    callers::Caller,
    config,
    fault::Fault,
    headers::{is_callers, is_of_a_dialect, take_out},
    stats::Counters,
    target::Targets,
};

/// Where calls go.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) name: String,
    pub(crate) dialect: Dialect,
    pub(crate) base_url: String,
    pub(crate) models: Vec<String>,
    pub(crate) counters: Counters,
    key: Option<Secret>,
    targets: Targets,
    chat: Stack<Dialect>,
    other: Stack<AnyPath>,
}

/// The layers of a call, over the client.
type Stack<J> = TrackService<MapErr<Client, fn(client::Error) -> BoxError>, J>;

pub(crate) type Reply = http::Response<ReplyBody>;
pub(crate) type ReplyBody = buttress_http::Body<ResponseBody>;

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

async fn send<J: Judge + Clone>(
    mut stack: Stack<J>,
    request: Request<Full<Bytes>>,
) -> Result<Reply, BoxError> {
    poll_fn(|cx| Service::<Request<Full<Bytes>>>::poll_ready(&mut stack, cx)).await?;
    stack.call(request).await
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
            targets: Targets::new(dialect, &base_url),
            // Nothing in this stack acts on a reply before its first content yet: so it is not held
            // back until then.
            chat: stack(TrackLayer::new(dialect).peek_bytes(0), client.clone()),
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
        send(self.chat.clone(), request).await
    }

    /// Sends any other call.
    pub(crate) async fn other(&self, request: Request<Full<Bytes>>) -> Result<Reply, BoxError> {
        send(self.other.clone(), request).await
    }

    /// The request as it goes to this endpoint, from the head of the caller's.
    pub(crate) fn request(&self, mut head: request::Parts, body: Bytes) -> Request<Full<Bytes>> {
        head.uri = self.targets.of(head.uri);
        self.request_to(head, body)
    }

    fn request_to(&self, mut head: request::Parts, body: Bytes) -> Request<Full<Bytes>> {
        let caller = head.extensions.remove::<Caller>();
        head.extensions = Extensions::new();
        if let Some(caller) = caller {
            head.extensions.insert(caller);
        }
        let headers = &mut head.headers;
        // Host and length are the client's business.
        take_out(headers, is_callers);
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

    /// The request in this endpoint's dialect, from the head of a caller who speaks another.
    pub(crate) fn converted(
        &self,
        mut head: request::Parts,
        model: &str,
        converted: &Converted,
    ) -> Result<Request<Full<Bytes>>, Fault> {
        head.uri = self.targets.chat(model, converted.is_stream())?;
        take_out(&mut head.headers, is_of_a_dialect);
        Ok(self.request_to(head, converted.body().clone()))
    }
}
