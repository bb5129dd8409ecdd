//! The response of an endpoint as the caller reads it.

use std::time::UNIX_EPOCH;

use buttress_core::{Class, Outcome};
use buttress_http::{Body, Tracked, sse::is_event_stream};
use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, DATE, ETAG},
    response::Parts,
};
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
    /// that say so in the request ([`is_stream`](Converted::is_stream)). What was attached to the body before sees the endpoint's reply; what is attached
    /// later is told the same, once the converted one was delivered.
    pub async fn response<B>(mut self, response: Response<Body<B>>) -> Response<Body<B>>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Send,
    {
        if self.way.caller == self.way.endpoint {
            return response;
        }
        let (mut head, mut body) = response.into_parts();
        self.created = self.created.or_else(|| date(&head.headers));
        // They are of the bytes that came.
        for name in [CONTENT_LENGTH, ETAG] {
            head.headers.remove(name);
        }
        self.rename_id(&mut head.headers);
        if head.status.is_success() && is_event_stream(&head.headers) {
            let stream = self.stream();
            let body = body.convert(|body, _| Events::new(body, stream));
            return Response::from_parts(head, body);
        }

        let longest = if head.status.is_success() {
            LONGEST
        } else {
            LONGEST_ERROR
        };
        let read = collect(&mut body, longest).await;
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
                    Class::Success => seen.with_class(Class::Unavailable),
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

/// Reads a body that is to be whole.
async fn collect<B>(body: &mut B, longest: usize) -> Result<Bytes, Unread>
where
    B: http_body::Body<Data = Bytes> + Unpin,
{
    let (mut first, mut more) = (Bytes::new(), BytesMut::new());
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Unread::Broken)?.into_data() else {
            continue;
        };
        if first.len() + more.len() + data.len() > longest {
            return Err(Unread::TooLong);
        }
        // Most come in one frame, which is kept as it is.
        if first.is_empty() {
            first = data;
        } else {
            more.extend_from_slice(&data);
        }
    }
    if more.is_empty() {
        return Ok(first);
    }
    Ok([first, more.freeze()].concat().into())
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
