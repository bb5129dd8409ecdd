//! A reply that is given again, in the form in which its caller wants it: a stream, or whole.

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use buttress_core::{CacheStatus, Cached, Outcome};
use buttress_http::{Body, BoxError, Link, sse::is_event_stream};
use buttress_llm::{
    Dialect,
    fold::{self, Fold, FoldError, IncludeUsage},
};
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Request, header};
use http_body_util::{BodyExt, Full};
use pin_project_lite::pin_project;
use tower::Service;

use crate::{adapt::Asked, endpoint::Reply};

/// Stands outside of the cache. A caller who wants a stream gets one, and one who does not, none;
/// whichever was recorded.
///
/// It is made before the caller has its head: what cannot be said in the other form, such as a
/// stream that does not tell its usage, is asked for anew.
#[derive(Clone, Debug)]
pub(crate) struct Formed<S> {
    inner: S,
    /// Something is kept.
    keeps: bool,
}

pin_project! {
    #[project = FutureProj]
    pub(crate) enum ResponseFuture<F> {
        AsItComes { #[pin] call: F },
        Formed { call: Pin<Box<dyn Future<Output = Result<Reply, BoxError>> + Send>> },
    }
}

/// A request with it goes past the cache.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Anew;

enum Making {
    Whole(Box<Fold>),
    Stream(Dialect, BytesMut),
}

/// A longer reply is none to be told in another form.
const LONGEST: usize = 16 << 20;

/// Why a reply is not had in its other form.
enum NotMade {
    /// There is none.
    Form,
    /// It broke off.
    Broken(BoxError),
}

// ===== impl Formed =====

impl<S> Formed<S> {
    pub(crate) const fn new(inner: S, keeps: bool) -> Self {
        Self { inner, keeps }
    }
}

impl<S> Service<Request<Full<Bytes>>> for Formed<S>
where
    S: Service<Request<Full<Bytes>>, Response = Reply, Error = BoxError> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Reply;
    type Error = BoxError;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Full<Bytes>>) -> Self::Future {
        let asked = request.extensions().get().filter(|_| self.keeps).cloned();
        let Some(Asked(asked)) = asked else {
            let call = self.inner.call(request);
            return ResponseFuture::AsItComes { call };
        };
        let (mut service, mut again) = (self.inner.clone(), request.clone());
        let call = self.inner.call(request);
        let call = Box::pin(async move {
            let reply = call.await?;
            let Some(making) = Making::of(&reply, asked.face.dialect, asked.body.stream()) else {
                return Ok(reply);
            };
            match making.make(reply).await {
                Ok(reply) => Ok(reply),
                Err(NotMade::Broken(error)) => Err(error),
                Err(NotMade::Form) => {
                    again.extensions_mut().insert(Anew);
                    poll_fn(|cx| service.poll_ready(cx)).await?;
                    service.call(again).await
                }
            }
        });
        ResponseFuture::Formed { call }
    }
}

// ===== impl ResponseFuture =====

impl<F: Future<Output = Result<Reply, BoxError>>> Future for ResponseFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match self.project() {
            FutureProj::AsItComes { call } => call.poll(cx),
            FutureProj::Formed { call } => call.as_mut().poll(cx),
        }
    }
}

// ===== impl Making =====

impl Making {
    /// If the reply is a recorded one, and not in this form.
    fn of(reply: &Reply, dialect: Dialect, stream: bool) -> Option<Self> {
        let cached: &Cached = reply.extensions().get()?;
        // Who made the call has what the endpoint said.
        let recorded = !matches!(cached.status, CacheStatus::Miss | CacheStatus::Bypass);
        if !recorded || !reply.status().is_success() {
            return None;
        }
        match (is_event_stream(reply.headers()), stream) {
            (true, false) => Some(Self::Whole(Box::new(Fold::new(dialect)))),
            (false, true) => Some(Self::Stream(dialect, BytesMut::new())),
            _ => None,
        }
    }

    async fn make(mut self, reply: Reply) -> Result<Reply, NotMade> {
        let kind = HeaderValue::from_static(match self {
            Self::Whole(_) => "application/json",
            Self::Stream(..) => "text/event-stream; charset=utf-8",
        });
        let (mut head, mut body) = reply.into_parts();
        let link = Link::default();
        link.follow(&mut body);
        let mut body = pin!(body);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| NotMade::Broken(error.into()))?;
            if let Ok(data) = frame.into_data() {
                self.push(data)?;
            }
        }
        let made = self.finish()?;
        head.headers.remove(header::CONTENT_LENGTH);
        head.headers.insert(header::CONTENT_TYPE, kind);
        let outcome = link.outcome().unwrap_or(Outcome::SUCCESS);
        Ok(Reply::from_parts(head, Body::ended(made, outcome)))
    }

    fn push(&mut self, data: Bytes) -> Result<(), FoldError> {
        match self {
            Self::Whole(fold) => fold.push(data),
            Self::Stream(_, whole) if whole.len() + data.len() > LONGEST => {
                Err(FoldError::TooLarge)
            }
            Self::Stream(_, whole) => {
                whole.extend_from_slice(&data);
                Ok(())
            }
        }
    }

    fn finish(self) -> Result<Bytes, FoldError> {
        match self {
            Self::Whole(fold) => fold.finish(),
            // Who did not ask for the usage does not get it, further out.
            Self::Stream(dialect, whole) => fold::stream(dialect, &whole, IncludeUsage(true)),
        }
    }
}

impl From<FoldError> for NotMade {
    fn from(_: FoldError) -> Self {
        Self::Form
    }
}
