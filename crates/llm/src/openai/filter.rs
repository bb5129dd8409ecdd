use std::{
    collections::VecDeque,
    fmt, mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use buttress_http::sse::Decoder;
use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use memchr::memchr2;
use pin_project_lite::pin_project;

use super::reader::Chunk;
use crate::shape::Shapes;

pin_project! {
    /// A stream of chunks without the one that holds the usage alone.
    ///
    /// Who adds `stream_options.include_usage` to a request whose caller did not ask for it puts the
    /// reply through this. The event whose `choices` are empty and that has a `usage` is taken out;
    /// every other byte passes as it came, without a copy unless an event spans frames. An event
    /// that a frame ends in the middle of is held back until it is whole, or is longer than 64 KiB,
    /// and so another one. Where the body inside fails, what is held back goes with it.
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
        next: VecDeque<Bytes>,
        trailers: Option<HeaderMap>,
        ended: bool,
    }
}

/// Takes the chunk of the usage out of the frames that it is given.
#[derive(Default)]
struct Sieve {
    units: Units,
    shapes: Shapes,
    /// The unfinished unit, as it came.
    held: Vec<u8>,
    /// It is too long to be the one, and passes.
    passing: bool,
}

/// Cuts a stream into units: an event up to the end of its blank line, or a comment or a blank line
/// between events.
#[derive(Default)]
struct Units {
    place: Place,
    /// A line feed now belongs to the line before.
    after_cr: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    /// Between two units.
    #[default]
    Between,
    /// In a line that is a unit by itself.
    InLine,
    /// In a line of an event.
    InField,
    /// Between two lines of an event.
    InEvent,
    /// In the blank line that ends an event.
    InEnd,
}

/// What is held back of an event, at most; the chunk of the usage has less than 1 KiB.
const LONGEST: usize = 64 << 10;

// ===== impl UsageFilter =====

impl<B> UsageFilter<B> {
    /// Takes the chunk of the usage out of `body`.
    pub fn new(body: B) -> Self {
        Self {
            inner: body,
            sieve: Sieve::default(),
            next: VecDeque::new(),
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
            if let Some(data) = this.next.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            if let Some(trailers) = this.trailers.take() {
                return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
            }
            if *this.ended {
                return Poll::Ready(None);
            }
            let frame = ready!(this.inner.as_mut().poll_frame(cx)).transpose()?;
            match frame.map(Frame::into_data) {
                Some(Ok(data)) => this.sieve.push(data, this.next),
                Some(Err(frame)) => {
                    this.sieve.finish(this.next);
                    *this.trailers = frame.into_trailers().ok();
                }
                None => {
                    this.sieve.finish(this.next);
                    *this.ended = true;
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.next.is_empty()
            && self.trailers.is_none()
            && self.sieve.held.is_empty()
            && (self.ended || self.inner.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        // How much is taken out is not known before.
        let mut hint = SizeHint::new();
        let next: usize = self.next.iter().map(Bytes::len).sum();
        let here = (self.sieve.held.len() + next) as u64;
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
            .field("held", &self.sieve.held.len())
            .finish_non_exhaustive()
    }
}

// ===== impl Sieve =====

impl Sieve {
    /// Adds to `out` what is to be delivered now, of this and of what was held back.
    fn push(&mut self, data: Bytes, out: &mut VecDeque<Bytes>) {
        // What was looked at, and up to where of that everything went out.
        let (mut at, mut out_to) = (0, 0);
        loop {
            if self.units.place == Place::Between
                && let Some(found) = self.shapes.find(&data[at..])
            {
                at += found.len;
                continue;
            }
            let Some((len, is_event)) = self.units.next(&data[at..]) else {
                break;
            };
            let (start, end) = (at, at + len);
            at = end;
            if !self.held.is_empty() {
                // It began in an earlier frame, and so is the first unit of this one.
                let mut unit = mem::take(&mut self.held);
                unit.extend_from_slice(&data[..end]);
                out_to = end;
                self.pass(&unit.into(), is_event, out);
            } else if mem::take(&mut self.passing) || !is_event {
                // It goes out with what is around it.
            } else if let Some((from, to)) = self.find_usage(&data[start..end]) {
                put(&data, out_to, start + from, out);
                out_to = start + to;
            }
        }
        if at == data.len() && out_to == 0 && self.held.is_empty() {
            // As it came.
            out.push_back(data);
            return;
        }
        let rest = data.len() - at;
        if self.passing || self.held.len() + rest > LONGEST {
            if !self.held.is_empty() {
                out.push_back(mem::take(&mut self.held).into());
            }
            self.passing = true;
            put(&data, out_to, data.len(), out);
        } else {
            put(&data, out_to, at, out);
            self.held.extend_from_slice(&data[at..]);
        }
    }

    /// Passes a unit, without the event in it that is to be taken out.
    fn pass(&mut self, unit: &Bytes, is_event: bool, out: &mut VecDeque<Bytes>) {
        let found = is_event.then(|| self.find_usage(unit)).flatten();
        let (from, to) = found.unwrap_or((unit.len(), unit.len()));
        put(unit, 0, from, out);
        put(unit, to, unit.len(), out);
    }

    /// Where in this unit the event is that is to be taken out, without the comments in front of it.
    fn find_usage(&mut self, unit: &[u8]) -> Option<(usize, usize)> {
        let mut decoder = Decoder::new();
        let mut rest = unit;
        let event = decoder.scan(&mut rest)?.ok()?;
        let data = event.data();
        let mut lexemes = self.shapes.begin(data);
        let chunk = Chunk::read(data, &mut lexemes).ok()?;
        if let Some(said) = chunk.said().repeatable {
            self.shapes
                .learn(event.frame(), data, lexemes, said.counts, said.besides);
        }
        let span = event.span();
        chunk
            .is_usage()
            .then_some((span.start as usize, span.end as usize))
    }

    /// Gives out what is held back.
    fn finish(&mut self, out: &mut VecDeque<Bytes>) {
        let held = mem::take(&mut self.held);
        if !held.is_empty() {
            out.push_back(held.into());
        }
    }
}

fn put(data: &Bytes, from: usize, to: usize, out: &mut VecDeque<Bytes>) {
    if from < to {
        out.push_back(data.slice(from..to));
    }
}

// ===== impl Units =====

impl Units {
    /// How many of these bytes are the rest of a unit, and whether that is an event. `None`: it goes
    /// on after them.
    fn next(&mut self, data: &[u8]) -> Option<(usize, bool)> {
        let mut at = 0;
        if *data.first()? == b'\n' && mem::take(&mut self.after_cr) {
            at = 1;
            if self.place == Place::Between {
                return Some((1, false));
            }
        }
        self.after_cr = false;
        loop {
            let first = *data.get(at)?;
            let blank = matches!(first, b'\n' | b'\r');
            self.place = match self.place {
                Place::Between if blank || first == b':' => Place::InLine,
                Place::InEvent if blank => Place::InEnd,
                Place::Between | Place::InEvent => Place::InField,
                inside => inside,
            };
            at += memchr2(b'\n', b'\r', &data[at..])?;
            let is_cr = data[at] == b'\r';
            at += 1;
            if is_cr {
                match data.get(at) {
                    Some(b'\n') => at += 1,
                    Some(_) => {}
                    None => self.after_cr = true,
                }
            }
            match self.place {
                Place::InField => self.place = Place::InEvent,
                ended => {
                    self.place = Place::Between;
                    return Some((at, ended == Place::InEnd));
                }
            }
        }
    }
}
