//! One endpoint: its stacks of layers, and what a request needs to be one of its own.

use std::{future::poll_fn, sync::Arc, time::Duration};

use buttress_http::{BoxError, Http, IdempotentHttp, TrackLayer, client::ResponseBody};
use buttress_llm::{AnyPath, Dialect, convert::Converted};
use buttress_timeout::TimeoutLayer;
use bytes::Bytes;
use http::{Extensions, HeaderValue, Request, Response, header, request};
use http_body_util::Full;
use tower::Service;

use crate::{
    callers::Caller,
    config::{self, Timeouts},
    fault::Fault,
    headers::{is_callers, is_of_a_dialect, take_out},
    journal::Journal,
    stack::{Observer, Parts, Stack},
    stats::Counters,
    target::Targets,
};

/// Where calls go.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) name: Arc<str>,
    pub(crate) dialect: Dialect,
    pub(crate) base_url: String,
    pub(crate) models: Vec<String>,
    pub(crate) counters: Arc<Counters>,
    targets: Targets,
    chat: Stack<Dialect, Http>,
    other: Stack<AnyPath, IdempotentHttp>,
}

pub(crate) type Reply = Response<ReplyBody>;
pub(crate) type ReplyBody = buttress_http::Body<ResponseBody>;

async fn send<S>(mut stack: S, request: Request<Full<Bytes>>) -> Result<Reply, BoxError>
where
    S: Service<Request<Full<Bytes>>, Response = Reply, Error = BoxError>,
{
    poll_fn(|cx| stack.poll_ready(cx)).await?;
    stack.call(request).await
}

// ===== impl Endpoint =====

impl Endpoint {
    pub(crate) fn new(endpoint: config::Endpoint, journal: &Journal) -> Self {
        let config::Endpoint {
            name,
            dialect,
            client,
            base_url,
            keys,
            models,
            retry,
            timeouts,
        } = endpoint;
        let name: Arc<str> = name.into();
        let counters = Arc::new(Counters::default());
        let observer = Observer {
            endpoint: name.clone(),
            counters: counters.clone(),
            journal: journal.clone(),
        };
        let parts = Parts {
            credentials: observer.credentials(dialect, keys),
            retry,
            client,
            observer,
        };
        let total = TimeoutLayer::new(Http).total(timeouts.total);
        Self {
            targets: Targets::new(dialect, &base_url),
            chat: parts.stack(
                Http,
                total.clone(),
                chat(&timeouts),
                TrackLayer::new(dialect),
            ),
            // What it does to ask twice, nobody knows; nor what the content of a reply is, so that
            // none of it is waited for.
            other: parts.stack(
                Http.idempotent_only(),
                total,
                other(&timeouts),
                TrackLayer::new(AnyPath(dialect)).peek_bytes(0),
            ),
            counters,
            name,
            dialect,
            base_url,
            models,
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

/// What one attempt may take that is answered with text as it comes.
fn chat(timeouts: &Timeouts) -> TimeoutLayer<Http> {
    let layer = attempt(timeouts);
    let layer = or_none(layer, timeouts.first_content, TimeoutLayer::first_content);
    or_none(layer, timeouts.idle, TimeoutLayer::idle)
}

/// What one may take of whose reply nobody knows what is content: its head comes instead of the
/// first content, and any of its bytes instead of more.
fn other(timeouts: &Timeouts) -> TimeoutLayer<Http> {
    let layer = attempt(timeouts);
    let layer = or_none(layer, timeouts.first_content, TimeoutLayer::headers);
    or_none(
        layer,
        timeouts.silence.or(timeouts.idle),
        TimeoutLayer::silence,
    )
}

fn attempt(timeouts: &Timeouts) -> TimeoutLayer<Http> {
    let layer = TimeoutLayer::new(Http);
    let layer = or_none(layer, timeouts.attempt, TimeoutLayer::attempt);
    or_none(layer, timeouts.silence, TimeoutLayer::silence)
}

fn or_none(
    layer: TimeoutLayer<Http>,
    limit: Option<Duration>,
    set: fn(TimeoutLayer<Http>, Duration) -> TimeoutLayer<Http>,
) -> TimeoutLayer<Http> {
    match limit {
        Some(limit) => set(layer, limit),
        None => layer,
    }
}
