use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use buttress_http::sse::{Decoder, EventRef, Filter};
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::reader::Chunk;
use crate::{
    reader::Said,
    shape::{Shapes, Tokens},
};

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
        sieve: Sieve,
        // What is to be delivered before the inner body is asked again.
        next: Bytes,
        trailers: Option<HeaderMap>,
        ended: bool,
    }
}

/// Takes the chunk of the usage out of the frames that it is given.
struct Sieve {
    /// `None`: what comes passes as it is.
    filter: Option<Filter>,
    shapes: Shapes,
}

// ===== impl UsageFilter =====

impl<B> UsageFilter<B> {
    /// Takes the chunk of the usage out of `body`.
    pub fn new(body: B) -> Self {
        Self {
            inner: body,
            sieve: Sieve {
                filter: Some(Filter::new(Decoder::new())),
                shapes: Shapes::default(),
            },
            next: Bytes::new(),
            trailers: None,
            ended: false,
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
            if !this.next.is_empty() {
                let data = std::mem::take(this.next);
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            if let Some(trailers) = this.trailers.take() {
                return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
            }
            if *this.ended {
                return Poll::Ready(None);
            }
            match ready!(this.inner.as_mut().poll_frame(cx)).transpose()? {
                Some(frame) => match frame.into_data() {
                    Ok(data) => {
                        let [first, second] = this.sieve.push(data);
                        *this.next = second;
                        if !first.is_empty() {
                            return Poll::Ready(Some(Ok(Frame::data(first))));
                        }
                    }
                    Err(frame) => {
                        *this.next = this.sieve.finish();
                        *this.trailers = frame.into_trailers().ok();
                    }
                },
                None => {
                    *this.next = this.sieve.finish();
                    *this.ended = true;
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.next.is_empty()
            && self.trailers.is_none()
            && self.sieve.held() == 0
            && (self.ended || self.inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        // How much is taken out is not known before.
        let mut hint = SizeHint::new();
        let here = (self.sieve.held() + self.next.len()) as u64;
        let upper = self.inner.size_hint().upper();
        if let Some(upper) = upper.and_then(|upper| upper.checked_add(here)) {
            hint.set_upper(upper);
        }
        hint
    }
}

impl<B> fmt::Debug for UsageFilter<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UsageFilter")
            .field("held", &self.sieve.held())
            .finish_non_exhaustive()
    }
}

// ===== impl Sieve =====

impl Sieve {
    /// What of this, and of what was held back, is to be delivered now; either may be empty.
    fn push(&mut self, mut data: Bytes) -> [Bytes; 2] {
        let Some(filter) = &mut self.filter else {
            return [data, Bytes::new()];
        };
        let mut known = 0;
        if filter.decoder().pending() == 0 {
            while let Some(found) = self.shapes.find(&data[known..]) {
                known += found.len;
            }
        }
        let known = data.split_to(known);
        if data.is_empty() {
            return [known, data];
        }
        let shapes = &mut self.shapes;
        match filter.push(&data, |event| keep(event, shapes)) {
            Ok(passed) => [known, passed],
            // Over the bound. Something is held only if nothing was known.
            Err(_) if known.is_empty() => [self.finish(), data],
            Err(_) => {
                self.filter = None;
                [known, data]
            }
        }
    }

    /// Gives out what is held back. From now on, what comes passes as it is.
    fn finish(&mut self) -> Bytes {
        let filter = self.filter.take();
        filter.map_or_else(Bytes::new, Filter::finish)
    }

    fn held(&self) -> usize {
        let filter = self.filter.as_ref();
        filter.map_or(0, |filter| filter.decoder().pending())
    }
}

fn keep(event: &EventRef<'_>, shapes: &mut Shapes) -> bool {
    let (data, mut tokens) = (event.data(), Tokens::default());
    let Ok(chunk) = Chunk::read(data, &mut tokens) else {
        return true;
    };
    if let Said::Repeatable { counts, besides } = chunk.said() {
        shapes.learn(event.frame(), data, tokens, counts, besides);
    }
    !chunk.is_usage()
}
