use std::borrow::Cow;

use buttress_core::{
    Cached, CallInfo, Carry, Class, Classify, Completion, Fault, Outcome, Reason, Refuse, Refused,
    Replay, Report, Sent, Track, Trail,
};
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};

use crate::{
    Body, GrpcServer, Replayable, Tracked,
    error::{describe, is_refusal},
    outcome_of_error, retry_after,
};

/// The protocol of HTTP clients: refusals are errors.
///
/// Responses must be tracked: put [`TrackLayer`](crate::TrackLayer) innermost.
///
/// **Every method is taken as safe to repeat**, `POST` too: the calls that these layers are for
/// are `POST`s that change nothing. Where a repeated request could do harm, say
/// [`idempotent_only`](Http::idempotent_only).
///
/// # Examples
///
/// ```
/// use buttress_core::{CallInfo, Carry};
/// use buttress_http::Http;
/// use http::Request;
///
/// let mut request = Request::new(());
/// let mut info = CallInfo::new();
/// info.attempt = 3;
/// Http.set_info(&mut request, info);
/// assert_eq!(Http.info(&request).attempt, 3);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Http;

/// [`Http`], for requests some of which must not be acted on twice.
///
/// Sent again are `GET`, `HEAD`, `OPTIONS`, `TRACE`, `PUT` and `DELETE`
/// ([RFC 9110, 9.2.2](https://www.rfc-editor.org/rfc/rfc9110#section-9.2.2)), and whatever carries
/// an `Idempotency-Key`. What certainly was not sent is sent again whatever it is.
///
/// # Examples
///
/// ```
/// use buttress_core::Replay;
/// use buttress_http::Http;
/// use bytes::Bytes;
/// use http::Request;
/// use http_body_util::Empty;
///
/// let post = Request::post("/").body(Empty::<Bytes>::new()).unwrap();
/// assert!(Http.safe(&post));
/// assert!(!Http.idempotent_only().safe(&post));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct IdempotentHttp {
    _sealed: (),
}

/// The protocol of HTTP servers: refusals are responses.
///
/// For services whose error is `Infallible`, such as axum's: no `HandleErrorLayer` is needed. The
/// response says when to come back in `Retry-After`, in [whole
/// seconds](retry_after::whole_seconds), rounded up. It is marked, so that a layer outside still
/// knows it for a refusal after the body's type was erased.
///
/// | reason | status |
/// |---|---|
/// | limited, over budget, queue full | 429 |
/// | costs more than the quota can hold | 413 |
/// | cannot be converted | 400 |
/// | circuit open, no endpoint left, the shared call failed | 503 |
/// | not cached | 504 ([RFC 9111, 5.2.1.7](https://www.rfc-editor.org/rfc/rfc9111#section-5.2.1.7)) |
/// | any timeout, or too slow | 504 |
///
/// What answers below is one's own handler: whatever it says, and also where it fails, it was called,
/// and its call was [worked on](Sent::Yes). So a 401 is a request for a rate limit, as a 200 is; with
/// [`Http`] it would be a provider's, who turned a call away and did nothing for it. A refusal of a
/// layer inside is no answer of the handler's, nor is what a judge says was [not
/// sent](Outcome::not_sent).
///
/// # Examples
///
/// ```
/// use std::{convert::Infallible, time::Duration};
/// use buttress_core::{Reason, Refuse, Refused};
/// use buttress_http::{Body, HttpServer};
/// use bytes::Bytes;
/// use http::Response;
/// use http_body_util::Full;
///
/// let refused = Refused::new(Reason::Limited).with_retry_after(Duration::from_millis(1200));
/// let answer: Result<Response<Body<Full<Bytes>>>, Infallible> = HttpServer.refuse(refused);
/// let response = answer.unwrap();
/// assert_eq!(response.status(), 429);
/// assert_eq!(response.headers()["retry-after"], "2");
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct HttpServer;

/// The status of a refusal, as the table of [`HttpServer`] says: for a server that writes the
/// answer itself, such as in an API's own envelope.
///
/// ```
/// use buttress_core::{Reason, Refused};
/// use buttress_http::status_of_refusal;
///
/// assert_eq!(status_of_refusal(Refused::new(Reason::Limited)), 429);
/// assert_eq!(status_of_refusal(Refused::new(Reason::IdleTimeout)), 504);
/// ```
#[must_use]
pub const fn status_of_refusal(refused: Refused) -> StatusCode {
    match refused.reason() {
        Reason::Limited | Reason::OverBudget | Reason::QueueFull => StatusCode::TOO_MANY_REQUESTS,
        Reason::Oversized => StatusCode::PAYLOAD_TOO_LARGE,
        Reason::Unconvertible => StatusCode::BAD_REQUEST,
        Reason::CircuitOpen | Reason::NoEndpoint | Reason::Coalesced => {
            StatusCode::SERVICE_UNAVAILABLE
        }
        _ => StatusCode::GATEWAY_TIMEOUT,
    }
}

/// How many attempts a response took, in its extensions.
///
/// ```
/// use buttress_core::Track;
/// use buttress_http::{Attempts, Body, Http};
/// use bytes::Bytes;
/// use http::Response;
/// use http_body_util::Empty;
///
/// let mut response = Response::new(Body::new(Empty::<Bytes>::new()));
/// assert_eq!(Attempts::of(&response), 1);
/// Http.set_attempts(&mut response, 3); // what a retry does
/// assert_eq!(Attempts::of(&response), 3);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attempts(u32);

// ===== impl Attempts =====

impl Attempts {
    /// How many it took: 1 where nothing is said, since a first attempt that goes well is not
    /// written down.
    #[must_use]
    pub fn of<B>(response: &Response<B>) -> u32 {
        response
            .extensions()
            .get()
            .map_or(1, |Self(attempts)| *attempts)
    }
}

// ===== impl Http =====

impl Http {
    /// Sends again only what may be acted on twice: see [`IdempotentHttp`].
    #[must_use]
    pub const fn idempotent_only(self) -> IdempotentHttp {
        IdempotentHttp { _sealed: () }
    }
}

/// Whose call a request is, by the [Trace Context] of the W3C and its Baggage.
///
/// [Trace Context]: https://www.w3.org/TR/trace-context/
const OF_A_TRACE: [&str; 3] = ["traceparent", "tracestate", "baggage"];

/// Who answers below.
trait Side {
    /// One's own handler, and not somebody else's server.
    const OURS: bool;

    /// What is known by an answer or a failure of that one.
    fn of(outcome: Outcome) -> Outcome {
        match outcome.sent {
            Sent::Maybe if Self::OURS => outcome.worked_on(),
            _ => outcome,
        }
    }
}

impl Side for Http {
    const OURS: bool = false;
}

impl Side for IdempotentHttp {
    const OURS: bool = false;
}

impl Side for HttpServer {
    const OURS: bool = true;
}

impl Side for GrpcServer {
    const OURS: bool = true;
}

// What is the same for every protocol over http types.
macro_rules! over_http {
    ($($protocol:ty),*) => {$(
        impl<B: Tracked, E: Fault> Classify<Response<B>, E> for $protocol {
            fn classify(&self, result: Result<&Response<B>, &E>) -> Outcome {
                match result {
                    Ok(response) => Self::of(response.body().seen()),
                    Err(error) => {
                        let outcome = outcome_of_error(error);
                        match is_refusal(error) {
                            true => outcome,
                            false => Self::of(outcome),
                        }
                    }
                }
            }

            fn describe(&self, result: Result<&Response<B>, &E>) -> Option<Cow<'static, str>> {
                match result {
                    Ok(response) => match response.extensions().get::<Refused>() {
                        Some(refused) => Some(refused.reason().as_str().into()),
                        None => Some(response.status().to_string().into()),
                    },
                    Err(error) => describe(error).map(Into::into),
                }
            }
        }

        impl<B: Tracked> Track<Response<B>> for $protocol {
            fn track<R>(&self, response: &mut Response<B>, seen: &Outcome, completion: Completion<R>)
            where
                R: Report + Send + 'static,
            {
                let body = response.body_mut();
                let was = Self::of(body.seen());
                let ours = Self::OURS && was.sent == Sent::Yes;
                let seen = (was != *seen).then(|| {
                    let seen = if ours { Self::of(*seen) } else { *seen };
                    (seen, was.class)
                });
                if ours || seen.is_some() {
                    body.attach(Completion::new(Otherwise { seen, ours, completion }));
                } else {
                    body.attach(completion);
                }
            }

            fn set_attempts(&self, response: &mut Response<B>, attempts: u32) {
                response.extensions_mut().insert(Attempts(attempts));
            }

            fn set_trail(&self, response: &mut Response<B>, trail: Trail) {
                response.extensions_mut().insert(trail);
            }

            fn set_cached(&self, response: &mut Response<B>, cached: Cached) {
                response.extensions_mut().insert(cached);
            }

            fn let_go(&self, response: &mut Response<B>) {
                response.body_mut().let_go();
            }
        }

        impl<B> Carry<Request<B>> for $protocol {
            fn info<'a>(&self, request: &'a Request<B>) -> &'a CallInfo {
                request.extensions().get().unwrap_or_else(|| CallInfo::absent())
            }

            fn set_info(&self, request: &mut Request<B>, info: CallInfo) {
                let extensions = request.extensions_mut();
                // Over what it carries already: to insert it would take a new box.
                match extensions.get_mut::<CallInfo>() {
                    Some(carried) => *carried = info,
                    None => drop(extensions.insert(info)),
                }
            }

            fn set_common(&self, request: &mut Request<B>, info: CallInfo) {
                self.set_info(request, info);
                for name in OF_A_TRACE {
                    request.headers_mut().remove(name);
                }
            }
        }
    )*};
}

macro_rules! refuses_with_an_error {
    ($($protocol:ty),*) => {$(
        #[diagnostic::do_not_recommend]
        impl<Res, E: From<Refused>> Refuse<Res, E> for $protocol {
            fn refuse(&self, refused: Refused) -> Result<Res, E> {
                Err(E::from(refused))
            }
        }
    )*};
}

over_http!(Http, IdempotentHttp, HttpServer, GrpcServer);
refuses_with_an_error!(Http, IdempotentHttp);

impl<B: Replayable> Replay<Request<B>> for Http {
    fn copy(&self, request: &Request<B>) -> Option<Request<B>> {
        let mut copy = Request::new(request.body().copy()?);
        *copy.method_mut() = request.method().clone();
        *copy.uri_mut() = request.uri().clone();
        *copy.version_mut() = request.version();
        copy.headers_mut().clone_from(request.headers());
        copy.extensions_mut().clone_from(request.extensions());
        Some(copy)
    }

    fn whole(&self, kept: &Request<B>) -> bool {
        kept.body().whole()
    }
}

// ===== impl IdempotentHttp =====

impl<B: Replayable> Replay<Request<B>> for IdempotentHttp {
    fn copy(&self, request: &Request<B>) -> Option<Request<B>> {
        Http.copy(request)
    }

    fn whole(&self, kept: &Request<B>) -> bool {
        Http.whole(kept)
    }

    fn safe(&self, request: &Request<B>) -> bool {
        const KEY: &str = "idempotency-key";
        let idempotent = [
            Method::GET,
            Method::HEAD,
            Method::OPTIONS,
            Method::TRACE,
            Method::PUT,
            Method::DELETE,
        ];
        idempotent.contains(request.method()) || request.headers().contains_key(KEY)
    }
}

// ===== impl HttpServer =====

impl<B, E> Refuse<Response<Body<B>>, E> for HttpServer
where
    B: http_body::Body<Data = Bytes>,
{
    fn refuse(&self, refused: Refused) -> Result<Response<Body<B>>, E> {
        let body = Body::ended(refused.reason().as_str(), refused.outcome());
        let mut response = Response::new(body);
        *response.status_mut() = status_of_refusal(refused);
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        if let Some(wait) = refused.retry_after() {
            let seconds = HeaderValue::from(retry_after::whole_seconds(wait));
            headers.insert(header::RETRY_AFTER, seconds);
        }
        response.extensions_mut().insert(refused);
        Ok(response)
    }
}

// ===== What is attached =====

/// A layer that hears otherwise of a response than others who may follow the same body.
struct Otherwise<R: Report> {
    /// What its classifier sees, and of which class the body said to be then.
    seen: Option<(Outcome, Class)>,
    /// One's own handler answered: it was called, however its response ends.
    ours: bool,
    completion: Completion<R>,
}

impl<R: Report> Report for Otherwise<R> {
    fn report(&mut self, outcome: &Outcome) {
        let mut judged = match self.ours {
            true => outcome.worked_on(),
            false => *outcome,
        };
        // The classifier's word stands, until the body has another one than it had then. What was
        // used, only the body knows in the end.
        if let Some((seen, was)) = self.seen
            && (seen.failed() || outcome.class == was)
        {
            judged = seen;
            judged.usage = outcome.usage.or(seen.usage);
            judged.cost = outcome.cost.or(seen.cost);
        }
        self.completion.complete(&judged);
    }

    fn watches(&self) -> bool {
        self.completion.get_ref().watches()
    }

    fn progress(&mut self, progress: buttress_core::Progress) {
        self.completion.get_mut().progress(progress);
    }

    fn poll_cut(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<Refused> {
        self.completion.get_mut().poll_cut(cx)
    }
}
