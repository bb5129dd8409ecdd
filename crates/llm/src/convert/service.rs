use std::{
    fmt, mem,
    sync::Arc,
    task::{Context, Poll},
};

use buttress_http::Body;
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response,
    header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING},
    request::Parts,
};
use http_body_util::Full;
use tower_service::Service;

use super::{
    Conversion, ConvertError, ConvertEvent, Converted, ResponseFuture,
    rename::Rename,
    target::{self, Asked},
};
use crate::{Dialect, request::Peek, strip_credentials, strip_query_credentials};

/// The service that [`ConvertLayer`](super::ConvertLayer) makes.
#[derive(Clone)]
pub struct ConvertService<S> {
    inner: S,
    settings: Settings,
}

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) way: Conversion,
    pub(super) rename: Rename,
    /// Whether the path has the version.
    pub(super) version: bool,
    pub(super) observer: Option<Observer>,
}

#[derive(Clone)]
pub(super) struct Observer {
    pub(super) observe: Arc<dyn Fn(&ConvertEvent<'_>) + Send + Sync>,
    pub(super) name: &'static str,
}

/// A request as it goes to the endpoint, and what its reply needs, if that is to be converted.
type Sent = (Request<Full<Bytes>>, Option<Converted>);

// ===== impl ConvertService =====

impl<S> ConvertService<S> {
    pub(super) const fn new(inner: S, settings: Settings) -> Self {
        Self { inner, settings }
    }

    /// The service inside.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service inside.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The service inside.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, B> Service<Request<Full<Bytes>>> for ConvertService<S>
where
    S: Service<Request<Full<Bytes>>, Response = Response<Body<B>>>,
    S::Error: From<ConvertError>,
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Send,
{
    type Response = Response<Body<B>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        match self.settings.request(request) {
            Ok((request, converted)) => ResponseFuture::called(self.inner.call(request), converted),
            // What the inner service has reserved stays with it.
            Err(error) => ResponseFuture::refused(error),
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for ConvertService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConvertService")
            .field("inner", &self.inner)
            .field("settings", &self.settings)
            .finish()
    }
}

// ===== impl Settings =====

impl Settings {
    fn request(&self, request: Request<Full<Bytes>>) -> Result<Sent, ConvertError> {
        let made = match self.way.caller == self.way.endpoint {
            true => self.renamed(request).map(|request| (request, None)),
            false => self.converted(request),
        };
        if let Some(observer) = &self.observer {
            match &made {
                Ok((_, Some(converted))) => (observer.observe)(&ConvertEvent::Sent {
                    left_out: converted.left_out(),
                }),
                Ok((_, None)) => {}
                Err(error) => (observer.observe)(&ConvertEvent::Refused { error }),
            }
        }
        made
    }

    /// For an endpoint of another dialect.
    fn converted(&self, request: Request<Full<Bytes>>) -> Result<Sent, ConvertError> {
        let Conversion { caller, endpoint } = self.way;
        let (mut head, body) = request.into_parts();
        let unfit = |field: &str, why| ConvertError::Unfit {
            field: field.to_owned(),
            to: endpoint,
            why,
        };
        let asked = Asked::of(caller, &head.uri)
            .ok_or_else(|| unfit("path", "it is no chat's, and only chats are converted"))?;
        if asked.is_array(&head.uri) {
            return Err(unfit("alt", "a stream is told in events, with `alt=sse`"));
        }
        let body = body.into_inner().unwrap_or_default();
        let mut converted = self.way.convert(body, asked, &self.rename)?;
        let (model, stream) = (converted.model(), converted.is_stream());
        let uri = target::uri(endpoint, self.version, (model, stream), head.uri)?;
        // Its query is new. User and password may stand before the host.
        head.uri = strip_query_credentials(uri);
        of_the_endpoint(&mut head.headers, endpoint);
        // It is sent, and not kept until the reply is there.
        let body = mem::take(&mut converted.body);
        Ok((with_body(head, body), Some(converted)))
    }

    /// For an endpoint of the same dialect: every byte but the model's name stays.
    fn renamed(&self, request: Request<Full<Bytes>>) -> Result<Request<Full<Bytes>>, ConvertError> {
        if self.rename.is_no() {
            return Ok(request);
        }
        let Some(asked) = Asked::of(self.way.caller, request.uri()) else {
            return Ok(request);
        };
        if let Some((model, _)) = asked.path {
            let uri = match self.rename.of(model) {
                Some(name) => target::of_model(request.uri(), &name)?,
                None => return Ok(request),
            };
            let mut request = request;
            *request.uri_mut() = uri;
            return Ok(request);
        }
        // Some ask at the same path what is no chat: which of them are kept, say.
        if request.method() != Method::POST {
            return Ok(request);
        }
        let (head, body) = request.into_parts();
        let body =
            Peek::new(body.into_inner().unwrap_or_default()).map_err(ConvertError::Syntax)?;
        let name = self.rename.of(body.model().unwrap_or_default());
        let body = match &name {
            Some(name) => body.edit().model(name).finish(),
            None => body.body().clone(),
        };
        Ok(with_body(head, body))
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let observer = self.observer.as_ref().map(|observer| observer.name);
        f.debug_struct("Settings")
            .field("way", &self.way)
            .field("rename", &self.rename)
            .field("version", &self.version)
            .field("observer", &observer)
            .finish()
    }
}

/// A request with another body, whose length is told where the old one's was.
fn with_body(mut head: Parts, body: Bytes) -> Request<Full<Bytes>> {
    if let Some(length) = head.headers.get_mut(CONTENT_LENGTH) {
        *length = body.len().into();
    }
    Request::from_parts(head, Full::new(body))
}

/// Makes the headers of a caller those of a request to an endpoint of another dialect.
fn of_the_endpoint(headers: &mut HeaderMap, endpoint: Dialect) {
    // Another provider's, to which they must not go.
    strip_credentials(headers);
    // They are of the bytes that came.
    for name in [CONTENT_ENCODING, TRANSFER_ENCODING] {
        headers.remove(name);
    }
    while let Some(name) = headers.keys().find(|name| is_of_a_dialect(name)) {
        let name = name.clone();
        headers.remove(name);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // What is converted must not be compressed.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if endpoint == Dialect::Anthropic {
        // In this version the request was written.
        headers.insert("anthropic-version", HeaderValue::from_static("2023-06-01"));
    }
}

/// Whether only an endpoint of one dialect understands it: its version, and what is switched on.
fn is_of_a_dialect(name: &HeaderName) -> bool {
    let prefixes = ["anthropic-", "openai-", "x-goog-"];
    prefixes
        .iter()
        .any(|prefix| name.as_str().starts_with(prefix))
}
