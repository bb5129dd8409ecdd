use std::time::Duration;

use buttress_core::{Class, Outcome, Progress, Reason, Refuse, Refused};
use bytes::Bytes;
use http::{
    Extensions, HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header, response::Parts,
};

use crate::{Body, Judge, Meter, hints, retry_after};

/// Judges the responses of a gRPC service by their status, wherever it stands.
///
/// The status is read where gRPC puts it: in the trailers after the messages, or in the head of a
/// response that has neither ("trailers-only"). Every non-empty chunk of the body is content. A
/// body that comes to its end without a status has lost its terminator.
///
/// | status | class |
/// |---|---|
/// | 0 `OK` | success |
/// | 8 `RESOURCE_EXHAUSTED` | throttled |
/// | 14 `UNAVAILABLE`, 4 `DEADLINE_EXCEEDED` | unavailable |
/// | 13 `INTERNAL`, 2 `UNKNOWN`, and any that gRPC does not list | unavailable, as an HTTP 500 |
/// | 1 `CANCELLED` | unavailable: it came while the caller was there, so somebody else gave up |
/// | 16 `UNAUTHENTICATED`, 7 `PERMISSION_DENIED` | denied |
/// | 12 `UNIMPLEMENTED`, 5 `NOT_FOUND` | unfit: another endpoint may have it |
/// | 15 `DATA_LOSS` | unfit: gRPC calls it unrecoverable, where it happened |
/// | 3 `INVALID_ARGUMENT`, 11 `OUT_OF_RANGE`, 6 `ALREADY_EXISTS`, 9 `FAILED_PRECONDITION` | invalid |
/// | 10 `ABORTED` | invalid: to be tried again "at a higher level", and not by repeating this request |
///
/// The codes are those of gRPC's [status codes](https://grpc.github.io/grpc/core/md_doc_statuscodes.html),
/// the last three rows are from its advice there on when a client should retry. After content, every
/// failure is [`Interrupted`](Class::Interrupted), as with any body.
///
/// A server's `grpc-retry-pushback-ms`
/// ([gRFC A6](https://github.com/grpc/proposal/blob/master/A6-client-retries.md#pushback)) is kept
/// as a hint: how long to wait, at most a [day](retry_after::MAX), or, where it is negative or no
/// number, not to send this again. Without it, `retry-after` and its like count.
///
/// A response without a status in its head whose HTTP status is not 200 is some proxy's. It is
/// judged by the gRPC status that gRPC's
/// [table](https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md) gives for it:
/// 401 is `UNAUTHENTICATED`, 403 `PERMISSION_DENIED`, 404 `UNIMPLEMENTED`, 400 and 431 `INTERNAL`, 502,
/// 503 and 504 `UNAVAILABLE`, all others `UNKNOWN`. Only 429 is not `UNAVAILABLE` here but throttled: who
/// asks to slow down is not broken.
///
/// # When not
///
/// [`TrackLayer`](crate::TrackLayer) holds a response back until its first message, so that a failure
/// before it can be retried. In a bidirectional stream whose caller waits for the head before it
/// sends its first message, and whose server waits for that, nothing would move until
/// [`peek_time`](crate::TrackLayer::peek_time) is over: say
/// [`peek_bytes(0)`](crate::TrackLayer::peek_bytes) there.
///
/// # Examples
///
/// ```
/// use buttress_core::Class;
/// use buttress_http::{Grpc, Judge};
///
/// let (parts, ()) = http::Response::builder()
///     .header("content-type", "application/grpc")
///     .header("grpc-status", "8")
///     .header("grpc-retry-pushback-ms", "250")
///     .body(())
///     .unwrap()
///     .into_parts();
/// let outcome = Grpc.head(&parts);
/// assert_eq!(outcome.class, Class::Throttled);
/// assert_eq!(outcome.retry_after.unwrap().as_millis(), 250);
/// ```
///
/// Around a tonic channel, whose error has to be one that layers can refuse with:
///
/// ```
/// use buttress_http::{BoxErrorLayer, Grpc, TrackLayer};
/// use http::Request;
/// use tonic::{body::Body, transport::Channel};
/// use tower::ServiceBuilder;
///
/// # let _ = |channel: Channel| {
/// let tracked = ServiceBuilder::new()
///     .layer(TrackLayer::new(Grpc))
///     .layer(BoxErrorLayer)
///     .service(channel);
/// # let _ = buttress_core::check::<Request<Body>, _>(tracked);
/// # };
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Grpc;

/// The protocol of gRPC servers: refusals are responses without messages, whose head has the
/// status.
///
/// As [`HttpServer`](crate::HttpServer), for tonic's servers: what answers below is one's own handler.
/// It may stand in a client as well, where tonic should see a refusal of the client's own layers as a
/// status; a rate limit there counts a call that a server turned away. To have those back, give the
/// limit [`Http`](crate::Http), and make a status of its refusals [outermost](grpc_code_of_refusal).
///
/// | reason | status |
/// |---|---|
/// | limited, over budget, queue full | 8 `RESOURCE_EXHAUSTED` |
/// | costs more than the quota can hold | 8 `RESOURCE_EXHAUSTED`, not to be sent again |
/// | circuit open, no endpoint left | 14 `UNAVAILABLE` |
/// | the shared call failed | 8 if it was throttled, else 14 |
/// | not cached | 5 `NOT_FOUND` |
/// | cannot be converted | 12 `UNIMPLEMENTED`, or 3 `INVALID_ARGUMENT` where the class is invalid |
/// | any timeout, or too slow | 4 `DEADLINE_EXCEEDED` |
///
/// The response says when to come back in `grpc-retry-pushback-ms`, in whole milliseconds, rounded up;
/// -1 says not to. It is marked, so that a layer outside still knows it for a refusal after the
/// body's type was erased.
///
/// # Examples
///
/// ```
/// use std::{convert::Infallible, time::Duration};
/// use buttress_core::{Reason, Refuse, Refused};
/// use buttress_http::{Body, GrpcServer};
/// use http::Response;
///
/// let refused = Refused::new(Reason::Limited).with_retry_after(Duration::from_secs(2));
/// let answer: Result<Response<Body<tonic::body::Body>>, Infallible> = GrpcServer.refuse(refused);
/// let status = tonic::Status::from_header_map(answer.unwrap().headers()).unwrap();
/// assert_eq!(status.code(), tonic::Code::ResourceExhausted);
/// assert_eq!(status.message(), "rate limited");
/// assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "2000");
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct GrpcServer;

/// Reads one body for [`Grpc`].
struct Messages {
    said: Option<Outcome>,
}

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

const OK: i32 = 0;
const UNKNOWN: i32 = 2;
const DEADLINE_EXCEEDED: i32 = 4;
const INVALID_ARGUMENT: i32 = 3;
const NOT_FOUND: i32 = 5;
const PERMISSION_DENIED: i32 = 7;
const RESOURCE_EXHAUSTED: i32 = 8;
const UNIMPLEMENTED: i32 = 12;
const INTERNAL: i32 = 13;
const UNAVAILABLE: i32 = 14;
const UNAUTHENTICATED: i32 = 16;

/// The class of a gRPC status, as the table of [`Grpc`] says. tonic's `Code` is one as `i32`.
///
/// ```
/// use buttress_core::Class;
/// use buttress_http::class_of_grpc_code;
///
/// assert_eq!(class_of_grpc_code(tonic::Code::Unauthenticated as i32), Class::Denied);
/// ```
#[must_use]
pub const fn class_of_grpc_code(code: i32) -> Class {
    match code {
        0 => Class::Success,
        8 => Class::Throttled,
        7 | 16 => Class::Denied,
        5 | 12 | 15 => Class::Unfit,
        3 | 6 | 9 | 10 | 11 => Class::Invalid,
        _ => Class::Unavailable,
    }
}

/// The gRPC status of a refusal, as the table of [`GrpcServer`] says: for a client whose layers
/// refuse with errors, and whose caller expects a status.
///
/// ```
/// use buttress_core::{Reason, Refused};
/// use buttress_http::{BoxError, grpc_code_of_refusal};
/// use tonic::{Code, Status};
///
/// // `.map_err(status)`, outermost:
/// fn status(error: BoxError) -> Status {
///     match Refused::find(&*error) {
///         Some(refused) => Status::new(Code::from(grpc_code_of_refusal(refused)), refused.to_string()),
///         None => Status::from_error(error),
///     }
/// }
///
/// let refused = Refused::new(Reason::CircuitOpen);
/// assert_eq!(status(refused.into()).code(), Code::Unavailable);
/// ```
#[must_use]
pub const fn grpc_code_of_refusal(refused: Refused) -> i32 {
    match refused.reason() {
        Reason::Limited | Reason::OverBudget | Reason::QueueFull | Reason::Oversized => {
            RESOURCE_EXHAUSTED
        }
        Reason::Coalesced if matches!(refused.class(), Class::Throttled) => RESOURCE_EXHAUSTED,
        Reason::CircuitOpen | Reason::NoEndpoint | Reason::Coalesced => UNAVAILABLE,
        Reason::NotCached => NOT_FOUND,
        Reason::Unconvertible if matches!(refused.class(), Class::Invalid) => INVALID_ARGUMENT,
        Reason::Unconvertible => UNIMPLEMENTED,
        _ => DEADLINE_EXCEEDED,
    }
}

// ===== impl Grpc =====

impl Judge for Grpc {
    fn head(&self, parts: &Parts) -> Outcome {
        if let Some(outcome) = status_in(&parts.headers, &parts.extensions) {
            return outcome;
        }
        let class = match parts.status {
            StatusCode::OK => return Outcome::SUCCESS,
            StatusCode::TOO_MANY_REQUESTS => Class::Throttled,
            other => class_of_grpc_code(code_of_status(other)),
        };
        hinted(class, &parts.headers, &parts.extensions)
    }

    fn meter(&self, parts: &Parts) -> Option<Box<dyn Meter>> {
        let goes_on = parts.status == StatusCode::OK && !parts.headers.contains_key(STATUS);
        goes_on.then(|| Box::new(Messages { said: None }) as Box<dyn Meter>)
    }
}

/// What headers or trailers say of the call, if they do.
fn status_in(headers: &HeaderMap, extensions: &Extensions) -> Option<Outcome> {
    let code = headers.get(STATUS)?.to_str().ok();
    let code = code.and_then(|code| code.parse().ok()).unwrap_or(UNKNOWN);
    Some(match code {
        OK => Outcome::SUCCESS,
        _ => hinted(class_of_grpc_code(code), headers, extensions),
    })
}

fn hinted(class: Class, headers: &HeaderMap, extensions: &Extensions) -> Outcome {
    let mut outcome = hints::add(Outcome::new(class), headers, extensions);
    if let Some(pushback) = headers.get(PUSHBACK) {
        let millis = pushback.to_str().ok().and_then(|text| text.parse().ok());
        match millis.and_then(|millis: i32| u64::try_from(millis).ok()) {
            Some(millis) => {
                outcome.retry_after = Some(Duration::from_millis(millis).min(retry_after::MAX));
            }
            None => outcome.should_retry = Some(false),
        }
    }
    outcome
}

/// gRPC's table for what intermediaries say.
fn code_of_status(status: StatusCode) -> i32 {
    match status.as_u16() {
        400 | 431 => INTERNAL,
        401 => UNAUTHENTICATED,
        403 => PERMISSION_DENIED,
        404 => UNIMPLEMENTED,
        429 | 502 | 503 | 504 => UNAVAILABLE,
        _ => UNKNOWN,
    }
}

// ===== impl Messages =====

impl Meter for Messages {
    fn chunk(&mut self, data: &Bytes) -> Progress {
        if data.is_empty() {
            Progress::Ping
        } else {
            Progress::Content
        }
    }

    fn trailers(&mut self, trailers: &HeaderMap) {
        self.said = status_in(trailers, &Extensions::new());
    }

    fn verdict(&self, _: bool) -> Option<Outcome> {
        self.said
    }
}

// ===== impl GrpcServer =====

impl<B, E> Refuse<Response<Body<B>>, E> for GrpcServer
where
    B: http_body::Body<Data = Bytes>,
{
    fn refuse(&self, refused: Refused) -> Result<Response<Body<B>>, E> {
        let mut response = Response::new(Body::ended(Bytes::new(), refused.outcome()));
        let headers = response.headers_mut();
        let content_type = HeaderValue::from_static("application/grpc");
        headers.insert(header::CONTENT_TYPE, content_type);
        headers.insert(STATUS, HeaderValue::from(grpc_code_of_refusal(refused)));
        // No reason has a character in it that gRPC would have percent-encoded.
        headers.insert(MESSAGE, HeaderValue::from_static(refused.reason().as_str()));
        let pushback = match (refused.reason(), refused.retry_after()) {
            (Reason::Oversized, _) => Some(-1),
            (_, wait) => wait.map(|wait| {
                let millis = wait.as_nanos().div_ceil(1_000_000);
                i32::try_from(millis).unwrap_or(i32::MAX)
            }),
        };
        if let Some(pushback) = pushback {
            headers.insert(PUSHBACK, HeaderValue::from(pushback));
        }
        response.extensions_mut().insert(refused);
        Ok(response)
    }
}

#[cfg(test)]
mod tests {
    use buttress_core::Reason;

    #[test]
    fn no_reason_needs_percent_encoding() {
        for &reason in Reason::ALL {
            let text = reason.as_str();
            assert!(
                text.bytes().all(|b| matches!(b, 0x20..=0x24 | 0x26..=0x7e)),
                "{text}"
            );
        }
    }
}
