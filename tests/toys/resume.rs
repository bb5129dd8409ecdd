//! Goes on with a second call where the stream of the first one breaks off.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use buttress_core::{Carry, Class, Classify, Completion, Ledger, Outcome, Replay, Report};
use buttress_http::{Body, BodyError, BoxError, Http, Link, Tracked};
use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use pin_project_lite::pin_project;
use tower_service::Service;

#[derive(Clone, Debug)]
pub struct Resume<S> {
    inner: S,
}

pin_project! {
    pub struct ResponseFuture<S: Service<Request<A>>, A> {
        #[pin]
        call: S::Future,
        next: Option<(S, Request<A>)>,
    }
}

struct Resumed<B: http_body::Body> {
    body: Option<Body<B>>,
    link: Link,
    second: Option<Second<B>>,
}

type Second<B> = Pin<Box<dyn Future<Output = Result<Body<B>, BoxError>> + Send>>;

struct Part(Option<Ledger>);

impl<S> Resume<S> {
    pub const fn new(inner: S) -> Self {
        Self { inner }
    }
}

impl<S, A, B> Service<Request<A>> for Resume<S>
where
    S: Service<Request<A>, Response = Response<Body<B>>, Error = BoxError> + Clone + Send + 'static,
    S::Future: Send,
    A: Send + 'static,
    B: http_body::Body<Data = Bytes, Error: Send> + Send + Unpin + 'static,
    Http: Replay<Request<A>>,
{
    type Response = Response<Body<B>>;
    type Error = BoxError;
    type Future = ResponseFuture<S, A>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let next = Http.copy(&request).map(|copy| (self.inner.clone(), copy));
        ResponseFuture {
            call: self.inner.call(request),
            next,
        }
    }
}

impl<S, A, B> Future for ResponseFuture<S, A>
where
    S: Service<Request<A>, Response = Response<Body<B>>, Error = BoxError> + Send + 'static,
    S::Future: Send,
    A: Send + 'static,
    B: http_body::Body<Data = Bytes, Error: Send> + Send + Unpin + 'static,
{
    type Output = Result<Response<Body<B>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.call.poll(cx))?;
        let next = this
            .next
            .take()
            .filter(|_| !Http.classify(Ok::<_, &BoxError>(&response)).failed());
        let Some((mut service, request)) = next else {
            return Poll::Ready(Ok(response));
        };
        let ledger = Http.info(&request).ledger.clone();
        Poll::Ready(Ok(response.map(|body| {
            body.convert(move |mut body, link| {
                body.attach(Completion::new(Part(ledger)));
                let second = async move {
                    std::future::poll_fn(|cx| service.poll_ready(cx)).await?;
                    Ok(service.call(request).await?.into_body())
                };
                Resumed {
                    body: Some(body),
                    link,
                    second: Some(Box::pin(second)),
                }
            })
        })))
    }
}

impl<B> http_body::Body for Resumed<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = BodyError<B::Error>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        loop {
            if let Some(body) = &mut self.body {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                let over = self.link.outcome().map(|outcome| outcome.class);
                if over != Some(Class::Interrupted) || self.second.is_none() {
                    return Poll::Ready(frame);
                }
                // It broke off: what went wrong is not the caller's to see.
                self.body = None;
                if let Some(Ok(last)) = frame {
                    return Poll::Ready(Some(Ok(last)));
                }
            }
            let Some(second) = &mut self.second else {
                return Poll::Ready(None);
            };
            let result = ready!(second.as_mut().poll(cx));
            self.second = None;
            let mut body = result.map_err(BodyError::Layer)?;
            self.link.follow(&mut body);
            self.body = Some(body);
        }
    }
}

// Only a part that broke off was given up; the last one is the caller's.
impl Report for Part {
    fn report(&mut self, outcome: &Outcome) {
        if let (Class::Interrupted, Some(ledger)) = (outcome.class, &self.0) {
            ledger.add(outcome);
        }
    }
}
