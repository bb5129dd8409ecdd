use std::{
    fmt, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use buttress_http::sse::{Decoder, Filter};
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::reader::UsageChunk;

pin_project! {
    /// A stream of chunks without the one that holds the usage alone.
    ///
    /// Who adds `stream_options.include_usage` to a request whose caller did not ask for it puts the
    /// reply through this. The event whose `choices` are empty and that has a `usage` is taken out;
    /// every other byte passes as it came, without a copy unless an event spans frames. An event
    /// that a frame ends in the middle of is held back until it is whole. Past an event of more than
    /// 16 MiB nothing is taken out any more. Where the body inside fails, what is held back goes with it.
    ///
    /// # Examples
    ///
    /// ```
    /// use buttress_llm::openai::UsageFilter;
    /// use http_body_util::{BodyExt, Full};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let stream = concat!(
    ///     "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}]}\n\n",
    ///     "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":1}}\n\n",
    ///     "data: [DONE]\n\n",
    /// );
    /// let body = UsageFilter::new(Full::from(stream));
    /// let passed = body.collect().await.unwrap().to_bytes();
    /// assert_eq!(
    ///     passed,
    ///     "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}]}\n\ndata: [DONE]\n\n"
    /// );
    /// # }
    /// ```
    pub struct UsageFilter<B> {
        #[pin]
        inner: B,
        // `None`: what comes passes as it is.
        filter: Option<Filter>,
        usage: UsageChunk,
        ready: Ready,
    }
}

/// What is to be delivered before the inner body is asked again.
#[derive(Debug)]
enum Ready {
    Nothing,
    Data(Bytes),
    Trailers(HeaderMap),
    Ended,
}

// ===== impl UsageFilter =====

impl<B> UsageFilter<B> {
    /// Takes the chunk of the usage out of `body`.
    pub fn new(body: B) -> Self {
        Self {
            inner: body,
            filter: Some(Filter::new(Decoder::new())),
            usage: UsageChunk::default(),
            ready: Ready::Nothing,
        }
    }
}

impl<B> Body for UsageFilter<B>
where
    B: Body<Data = Bytes>,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let mut this = self.project();
        loop {
            match mem::replace(this.ready, Ready::Nothing) {
                Ready::Nothing => {}
                Ready::Data(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ready::Trailers(trailers) => {
                    return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
                }
                Ready::Ended => {
                    *this.ready = Ready::Ended;
                    return Poll::Ready(None);
                }
            }
            let (rest, then) = match ready!(this.inner.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        let Some(filter) = this.filter else {
                            return Poll::Ready(Some(Ok(Frame::data(data))));
                        };
                        let keep =
                            |event: &buttress_http::sse::EventRef<'_>| !this.usage.is(event.data());
                        match filter.push(&data, keep) {
                            Ok(passed) if passed.is_empty() => continue,
                            Ok(passed) => return Poll::Ready(Some(Ok(Frame::data(passed)))),
                            // Over the bound.
                            Err(_) => (rest(this.filter), Ready::Data(data)),
                        }
                    }
                    Err(frame) => match frame.into_trailers() {
                        Ok(trailers) => (rest(this.filter), Ready::Trailers(trailers)),
                        Err(frame) => return Poll::Ready(Some(Ok(frame))),
                    },
                },
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => (rest(this.filter), Ready::Ended),
            };
            *this.ready = then;
            if !rest.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(rest))));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self.ready {
            Ready::Ended => true,
            Ready::Nothing => self.held() == 0 && self.inner.is_end_stream(),
            Ready::Data(_) | Ready::Trailers(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::new();
        let ready = match &self.ready {
            Ready::Data(data) => data.len(),
            _ => 0,
        };
        let here = (self.held() + ready) as u64;
        if let Some(upper) = self.inner.size_hint().upper()
            && let Some(upper) = upper.checked_add(here)
        {
            hint.set_upper(upper);
        }
        hint
    }
}

impl<B> UsageFilter<B> {
    fn held(&self) -> usize {
        let filter = self.filter.as_ref();
        filter.map_or(0, |filter| filter.decoder().pending())
    }
}

impl<B> fmt::Debug for UsageFilter<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UsageFilter")
            .field("held", &self.held())
            .finish_non_exhaustive()
    }
}

/// What the filter holds back, which is over.
fn rest(filter: &mut Option<Filter>) -> Bytes {
    filter.take().map_or_else(Bytes::new, Filter::finish)
}
