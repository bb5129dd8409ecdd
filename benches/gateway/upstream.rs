//! The provider: it answers at once, with the same bytes each time.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;

use crate::{
    BoxError,
    exchange::{Load, PATH, Replies, asked},
};

#[derive(Clone, Debug)]
pub(crate) struct Upstream {
    replies: Arc<Replies>,
}

/// Chunks that are sent one by one: each is flushed before the next one is there.
#[derive(Debug)]
pub(crate) struct Chunks {
    replies: Arc<Replies>,
    with_usage: bool,
    next: usize,
    flush: bool,
}

// ===== impl Upstream =====

impl Upstream {
    pub(crate) fn new() -> Self {
        let replies = Arc::new(Replies::new());
        Self { replies }
    }

    pub(crate) async fn answer(
        self,
        request: Request<Incoming>,
    ) -> Result<Response<Either<Full<Bytes>, Chunks>>, BoxError> {
        let (head, body) = request.into_parts();
        let question = body.collect().await?.to_bytes();
        let expected = head.uri.path() == PATH && head.headers.contains_key(header::AUTHORIZATION);
        let Some(load) = asked(&question).filter(|_| expected) else {
            let found = format!("found {} {}", head.method, head.uri);
            let mut refusal = Response::new(Either::Left(Full::from(found)));
            *refusal.status_mut() = StatusCode::BAD_REQUEST;
            return Ok(refusal);
        };
        let head = Response::builder()
            .header("x-request-id", "req_0123456789abcdef0123456789abcdef")
            .header("openai-processing-ms", "42")
            .header("x-ratelimit-remaining-requests", "9999")
            .header("x-ratelimit-remaining-tokens", "1999913");
        let response = match load {
            Load::Unary => head
                .header(header::CONTENT_TYPE, "application/json")
                .body(Either::Left(Full::new(self.replies.unary.clone())))?,
            Load::Streamed | Load::Unasked => head
                .header(header::CONTENT_TYPE, "text/event-stream; charset=utf-8")
                .header(header::CACHE_CONTROL, "no-cache")
                .body(Either::Right(Chunks {
                    with_usage: load == Load::Streamed,
                    replies: self.replies,
                    next: 0,
                    flush: false,
                }))?,
        };
        Ok(response)
    }
}

// ===== impl Chunks =====

impl http_body::Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        // Who is asked and has nothing yet lets hyper write what it was given before.
        if std::mem::take(&mut self.flush) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let chunks = if self.with_usage {
            &self.replies.with_usage
        } else {
            &self.replies.without
        };
        let chunk = chunks.get(self.next).cloned();
        self.flush = chunk.is_some();
        self.next += 1;
        Poll::Ready(chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}
