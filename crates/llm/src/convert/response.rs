//! The response of an endpoint as the caller reads it.

use std::{
    fmt, mem,
    pin::Pin,
    task::{Context, Poll, ready},
    time::UNIX_EPOCH,
};

use buttress_core::{Class, Outcome};
use buttress_http::{Body, Tracked, sse::is_event_stream};
use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, DATE, ETAG},
    response::Parts,
};
use http_body::Body as _;
use http_body_util::{BodyExt, Full};

use super::{
    ConvertError, Converted,
    body::Events,
    failure::{self, UNNAMED},
};
use crate::{Dialect, ErrorBody, tell_retry};

/// The longest reply that is converted whole.
const LONGEST: usize = 32 << 20;

/// The longest error that is.
const LONGEST_ERROR: usize = 64 << 10;

const JSON: &str = "application/json";
const EVENT_STREAM: &str = "text/event-stream";

/// What [`Converted::response`] makes of a response: a future that waits for what is to be whole.
///
/// Dropped before its end, it takes the endpoint's reply with it.
#[must_use = "a future does nothing unless it is polled"]
pub struct Responding<B: http_body::Body> {
    state: State<B>,
}

enum State<B: http_body::Body> {
    Ready { response: Response<Body<B>> },
    Whole { whole: Whole<B> },
    Done,
}

/// A reply, or an error, on the way to be read whole.
struct Whole<B: http_body::Body> {
    converted: Converted,
    head: Parts,
    body: Body<B>,
    read: Gathered,
    longest: usize,
}

/// What was read so far.
#[derive(Default)]
struct Gathered {
    first: Bytes,
    more: BytesMut,
}

/// Why there is nothing to convert.
enum Unread {
    TooLong,
    Broken,
    NoReply,
}

// ===== impl Converted =====

impl Converted {
    /// Makes a response of the endpoint one for the caller: a stream as it comes, anything else once
    /// it is whole, which is what is waited for here.
    ///
    /// What failed keeps its status, and its error is told in the caller's envelope, as far as it could be
    /// read; the wait that only the endpoint's body told of becomes a `retry-after`. An error that came as
    /// a success has the status of what it means. What is no reply in the endpoint's dialect
    /// becomes a 502. A whole reply to a request for a stream becomes that stream: the SDKs find no
    /// event in anything else, and tell nobody; whether a stream was asked for is known of the dialects
    /// that say so in the request ([`is_stream`](Converted::is_stream)). What was attached to the body
    /// before sees the endpoint's reply; what is attached later is told the same, once the converted one
    /// was delivered.
    pub fn response<B>(self, response: Response<Body<B>>) -> Responding<B>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Send,
    {
        Responding {
            state: self.begin(response),
        }
    }

    /// What needs no waiting, or else what is to be read whole.
    fn begin<B>(mut self, response: Response<Body<B>>) -> State<B>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Send,
    {
        if self.way.caller == self.way.endpoint {
            return State::Ready { response };
        }
        let (mut head, body) = response.into_parts();
        self.created = self.created.or_else(|| date(&head.headers));
        // They are of the bytes that came.
        for name in [CONTENT_LENGTH, ETAG] {
            head.headers.remove(name);
        }
        self.rename_id(&mut head.headers);
        if head.status.is_success() && is_event_stream(&head.headers) {
            let stream = self.stream();
            let body = body.convert(|body, _| Events::new(body, stream));
            let response = Response::from_parts(head, body);
            return State::Ready { response };
        }
        let longest = if head.status.is_success() {
            LONGEST
        } else {
            LONGEST_ERROR
        };
        let whole = Whole {
            converted: self,
            head,
            body,
            read: Gathered::default(),
            longest,
        };
        State::Whole { whole }
    }

    /// The response, once all of the endpoint's was read, or could not be.
    fn end<B>(
        &self,
        mut head: Parts,
        body: Body<B>,
        read: Result<Bytes, Unread>,
    ) -> Response<Body<B>>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Send,
    {
        let seen = body.seen();
        let mut kind = JSON;
        let read = match read {
            Ok(read) if head.status.is_success() => match self.whole(&read) {
                Ok(reply) => {
                    kind = if self.stream { EVENT_STREAM } else { JSON };
                    Ok(reply)
                }
                Err(_) => match ErrorBody::read(self.way.endpoint, &read) {
                    Some(error) if seen.class != Class::Success && !error.message().is_empty() => {
                        head.status = status(seen.class);
                        Ok(self.error(&mut head, Some(&error), UNNAMED, &seen))
                    }
                    _ => Err(Unread::NoReply),
                },
            },
            Ok(read) => {
                let error = ErrorBody::read(self.way.endpoint, &read);
                Ok(self.error(&mut head, error.as_ref(), UNNAMED, &seen))
            }
            // What failed did so with its status, however much of the reason arrived.
            Err(unread) if !head.status.is_success() => {
                let data = self.error(&mut head, None, unread.of_error(), &seen);
                set_type(&mut head.headers, kind);
                return Response::from_parts(head, Body::ended(data, seen));
            }
            Err(unread) => Err(unread),
        };
        set_type(&mut head.headers, kind);
        match read {
            Ok(data) => {
                // It is over; what it told goes on in the link.
                let body = body.convert(|_, _| Full::new(data).map_err(|never| match never {}));
                Response::from_parts(head, body)
            }
            Err(unread) => {
                head.status = StatusCode::BAD_GATEWAY;
                let outcome = match seen.class {
                    // Nothing of it was delivered.
                    Class::Success | Class::Interrupted => seen.with_class(Class::Unavailable),
                    _ => seen,
                };
                let data = self.error(&mut head, None, unread.message(), &outcome);
                Response::from_parts(head, Body::ended(data, outcome))
            }
        }
    }

    /// Makes a whole reply what the caller asked for.
    fn whole(&self, reply: &[u8]) -> Result<Bytes, ConvertError> {
        if self.stream {
            self.reply_in_stream(reply)
        } else {
            self.reply(reply)
        }
    }

    /// Puts the id of the request where the caller's SDK looks for it, and takes out what would be
    /// one in the dialect of another.
    fn rename_id(&self, head: &mut HeaderMap) {
        let id = head.remove(self.way.endpoint.request_id_header());
        for dialect in Dialect::ALL {
            head.remove(dialect.request_id_header());
        }
        if let Some(id) = id {
            head.insert(self.way.caller.request_id_header(), id);
        }
    }

    /// The caller's envelope for an error of the endpoint, of which `seen` is known. `otherwise` is its
    /// message, if it has none.
    fn error(
        &self,
        head: &mut Parts,
        error: Option<&ErrorBody>,
        otherwise: &str,
        seen: &Outcome,
    ) -> Bytes {
        // The caller's SDK does not know what the endpoint's words mean: `insufficient_quota` in a 429,
        // for one, is not to be asked again.
        tell_retry(&mut head.headers, seen);
        let id = head.headers.get(self.way.caller.request_id_header());
        let id = id.and_then(|id| id.to_str().ok());
        failure::body(error, otherwise, head.status, id, self.way.caller)
    }
}

// ===== impl Responding =====

impl<B> Future for Responding<B>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Send,
{
    type Output = Response<Body<B>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let read = match &mut self.state {
            State::Whole { whole } => Some(ready!(whole.poll_read(cx))),
            _ => None,
        };
        Poll::Ready(match (mem::replace(&mut self.state, State::Done), read) {
            (State::Ready { response }, _) => response,
            (State::Whole { whole }, Some(read)) => {
                let Whole {
                    converted,
                    head,
                    body,
                    ..
                } = whole;
                converted.end(head, body, read)
            }
            _ => panic!("polled after completion"),
        })
    }
}

impl<B: http_body::Body> fmt::Debug for Responding<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Ready { .. } => "ready",
            State::Whole { .. } => "whole",
            State::Done => "done",
        };
        f.debug_tuple("Responding")
            .field(&format_args!("{state}"))
            .finish()
    }
}

// ===== impl Whole =====

impl<B> Whole<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Unread>> {
        while let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(cx)) {
            let Ok(frame) = frame else {
                return Poll::Ready(Err(Unread::Broken));
            };
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if self.read.len() + data.len() > self.longest {
                return Poll::Ready(Err(Unread::TooLong));
            }
            self.read.add(data);
        }
        Poll::Ready(Ok(mem::take(&mut self.read).whole()))
    }
}

// ===== impl Gathered =====

impl Gathered {
    fn len(&self) -> usize {
        self.first.len() + self.more.len()
    }

    fn add(&mut self, data: Bytes) {
        // Most come in one frame, which is kept as it is.
        if self.first.is_empty() {
            self.first = data;
        } else {
            self.more.extend_from_slice(&data);
        }
    }

    fn whole(self) -> Bytes {
        if self.more.is_empty() {
            return self.first;
        }
        [self.first, self.more.freeze()].concat().into()
    }
}

// ===== impl Unread =====

impl Unread {
    const fn message(&self) -> &'static str {
        match self {
            Self::TooLong => "the endpoint's reply is longer than 32 MiB",
            Self::Broken => "the endpoint's reply broke off",
            Self::NoReply => "the endpoint's reply is none in its dialect",
        }
    }

    const fn of_error(&self) -> &'static str {
        match self {
            Self::TooLong => "the endpoint replied with an error that is longer than 64 KiB",
            Self::Broken => "the endpoint replied with an error that broke off",
            Self::NoReply => UNNAMED,
        }
    }
}

/// The status of an error that came with a success, of what it was found to mean.
const fn status(class: Class) -> StatusCode {
    match class {
        Class::Throttled => StatusCode::TOO_MANY_REQUESTS,
        Class::Denied => StatusCode::UNAUTHORIZED,
        Class::Unfit | Class::Invalid => StatusCode::BAD_REQUEST,
        _ => StatusCode::BAD_GATEWAY,
    }
}

/// What is written here is of this type, whatever came.
fn set_type(headers: &mut HeaderMap, kind: &'static str) {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.remove(CONTENT_ENCODING);
}

/// When the endpoint says that it made the reply.
fn date(headers: &HeaderMap) -> Option<u64> {
    let date = headers.get(DATE)?.to_str().ok()?;
    let date = httpdate::parse_http_date(date).ok()?;
    let since = date.duration_since(UNIX_EPOCH).ok()?;
    Some(since.as_secs())
}
