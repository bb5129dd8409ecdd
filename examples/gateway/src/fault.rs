//! Why there is no reply from an endpoint, and how that is told in the caller's dialect.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use axum::body::Body;
use buttress_core::{Reason, Refused};
use buttress_http::{BoxError, client::Kind, outcome_of_error, status_of_refusal};
use buttress_llm::{Dialect, ErrorReply, convert::ConvertError, request::PeekError, tell_retry};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};

use crate::{
    adapt::{Unsaid, Worthless},
    body::BodyFault,
    callers::KeyFault,
    config::Limits,
    gateway::Id,
    web::Foreign,
};

/// What went wrong.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Nothing of ours is at this path.
    Path,
    /// Something is, but not for this method: for these.
    Method(Method, &'static str),
    /// A web page asks that may not.
    Foreign(Foreign),
    /// Nobody knows who asks.
    Key(KeyFault),
    /// The caller may not use this model.
    Forbidden(String),
    /// This page is shown to peers on this machine alone.
    Hidden,
    /// It depends on the body what is at this path, and the body is of this type.
    NotJson(Option<String>),
    /// It depends on the model, and the body names none.
    Nameless,
    /// The body is encoded, and what it asks for cannot be read.
    Encoded,
    /// The body did not come.
    Body(BodyFault, Limits),
    /// The body cannot be understood.
    Malformed(PeekError),
    /// The body names no model.
    NoModel,
    /// No route takes this model.
    Model(String),
    /// A route takes this model, but its endpoints speak only this other dialect.
    OtherDialect(String, Dialect),
    /// The endpoint of this name speaks another dialect, in which the request cannot be said.
    Convert(Arc<str>, ConvertError),
    /// The endpoint of this name could not be reached, or broke off before it replied, at the last
    /// of so many attempts.
    Endpoint(Arc<str>, BoxError, usize),
    /// Nobody was asked: a limit of the caller's own, or no endpoint that may be asked.
    Refused(Refused),
    /// The endpoint of this name says that all is well, and gives no reply.
    Worthless(Arc<str>, Worthless, StatusCode),
}

/// How many requests reached no endpoint, by reason.
#[derive(Debug, Default)]
pub(crate) struct TurnedAway {
    counts: [AtomicU64; REASONS.len()],
}

const REASONS: [&str; 13] = [
    "unknown_path",
    "wrong_method",
    "foreign_page",
    "hidden_page",
    "no_caller",
    "forbidden_model",
    "encoded_body",
    "unread_body",
    "malformed_body",
    "no_model",
    "unknown_model",
    "other_dialect",
    "not_convertible",
];

// ===== impl Fault =====

impl Fault {
    /// No reply came from this endpoint, at the last of so many attempts.
    pub(crate) fn of(endpoint: Option<Arc<str>>, error: BoxError, attempts: usize) -> Self {
        match (error.downcast::<Unsaid>(), endpoint) {
            (Ok(unsaid), _) => Self::Convert(unsaid.endpoint, unsaid.error),
            (Err(error), Some(endpoint)) => Self::Endpoint(endpoint, error, attempts),
            (Err(error), None) => match Refused::find(&*error) {
                Some(refused) => Self::Refused(refused),
                None => Self::Endpoint(Arc::from("none"), error, attempts),
            },
        }
    }

    /// Why it reached no endpoint, as one of [`TurnedAway`]'s reasons.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Path | Self::NotJson(_) | Self::Nameless => "unknown_path",
            Self::Method(..) => "wrong_method",
            Self::Foreign(_) => "foreign_page",
            Self::Hidden => "hidden_page",
            Self::Key(_) => "no_caller",
            Self::Forbidden(_) => "forbidden_model",
            Self::Encoded => "encoded_body",
            Self::Body(..) => "unread_body",
            Self::Malformed(_) => "malformed_body",
            Self::NoModel => "no_model",
            Self::Model(_) => "unknown_model",
            Self::OtherDialect(..) => "other_dialect",
            Self::Convert(..) => "not_convertible",
            Self::Endpoint(..) | Self::Worthless(..) => "endpoint",
            Self::Refused(_) => "refused",
        }
    }

    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Path
            | Self::NotJson(_)
            | Self::Nameless
            | Self::Model(_)
            | Self::OtherDialect(..) => StatusCode::NOT_FOUND,
            Self::Method(..) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Key(_) => StatusCode::UNAUTHORIZED,
            Self::Foreign(_) | Self::Hidden | Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::Encoded => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Body(BodyFault::TooLarge, _) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Body(BodyFault::TooSlow, _) => StatusCode::REQUEST_TIMEOUT,
            Self::Body(BodyFault::Broken, _)
            | Self::Malformed(_)
            | Self::NoModel
            | Self::Convert(..) => StatusCode::BAD_REQUEST,
            Self::Endpoint(_, error, _) => status_of(error),
            Self::Refused(refused) => status_of_refusal(*refused),
            Self::Worthless(..) => StatusCode::BAD_GATEWAY,
        }
    }

    /// What it is exactly, in the words of OpenAI's dialect, and what of the request is wrong.
    fn code(&self) -> Option<&'static str> {
        match self {
            Self::Model(_) | Self::OtherDialect(..) => Some("model_not_found"),
            Self::Forbidden(_) => Some("model_not_allowed"),
            Self::Key(_) => Some("invalid_api_key"),
            Self::Convert(_, ConvertError::Unfit { .. }) => Some("unsupported_parameter"),
            _ => None,
        }
    }

    /// The member of the request that it is about.
    fn field(&self) -> Option<&str> {
        match self {
            Self::NoModel | Self::Model(_) | Self::OtherDialect(..) | Self::Forbidden(_) => {
                Some("model")
            }
            Self::Convert(_, error) => error.field().filter(|field| !field.is_empty()),
            _ => None,
        }
    }

    /// The answer in this dialect's envelope, to the request of this id.
    pub(crate) fn answer(&self, dialect: Dialect, id: Id) -> Response<Body> {
        let (message, name) = (self.to_string(), id.to_string());
        let mut error = ErrorReply::new(self.status(), &message);
        if let Some(code) = self.code() {
            error = error.code(code);
        }
        if let Some(field) = self.field() {
            error = error.param(field);
        }
        error = error.request_id(&name);
        let mut answer = Response::new(Body::from(error.json(dialect)));
        *answer.status_mut() = self.status();
        let headers = answer.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        headers.insert(dialect.request_id_header(), id.header());
        match self {
            Self::Method(_, allowed) => {
                headers.insert(header::ALLOW, HeaderValue::from_static(allowed));
            }
            Self::Key(_) => {
                let scheme = HeaderValue::from_static("Bearer");
                headers.insert(header::WWW_AUTHENTICATE, scheme);
            }
            Self::Endpoint(_, error, _) => match Refused::find(&**error) {
                Some(refused) => tell_refused(headers, refused),
                None => tell_retry(headers, &outcome_of_error(error)),
            },
            Self::Refused(refused) => tell_refused(headers, *refused),
            Self::Worthless(_, why, _) => tell_retry(headers, &why.outcome()),
            _ => {}
        }
        answer
    }
}

/// What is refused here is not tried again here; the caller may, if it is known when.
fn tell_refused(headers: &mut HeaderMap, refused: Refused) {
    let outcome = refused.outcome();
    let outcome = match refused.retry_after() {
        Some(_) => outcome.with_should_retry(true),
        None => outcome,
    };
    tell_retry(headers, &outcome);
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path => f.write_str("there is nothing at this path"),
            Self::Method(method, allowed) => {
                let first = allowed.split(',').next().unwrap_or_default();
                let method: String = method.as_str().chars().take(20).collect();
                write!(f, "found method {method}, expected {first}")
            }
            Self::Foreign(foreign) => foreign.fmt(f),
            Self::Key(fault) => fault.fmt(f),
            Self::Forbidden(model) => write!(
                f,
                "this caller may not use the model `{}`",
                model.escape_debug()
            ),
            Self::Hidden => f.write_str(
                "this page is shown to loopback peers only; `public = true` below `[pages]` in the configuration shows it to everybody",
            ),
            Self::NotJson(kind) => {
                match kind {
                    Some(kind) => {
                        let kind = kind.chars().take(100).flat_map(char::escape_debug);
                        write!(f, "found content-type `{}`", kind.collect::<String>())?;
                    }
                    None => f.write_str("found no content-type")?,
                }
                f.write_str(", expected `application/json`: what this path leads to is found by the `model` in its body")
            }
            Self::Nameless => f.write_str(
                "the body names no `model`, by which it is found where this path leads to",
            ),
            Self::Encoded => {
                f.write_str("the body has a content-encoding; it is expected to have none")
            }
            Self::Body(BodyFault::TooLarge, limits) => {
                write!(f, "the body is larger than {} bytes", limits.body)
            }
            Self::Body(BodyFault::TooSlow, limits) => {
                write!(
                    f,
                    "the body did not arrive within {} s",
                    limits.read.as_secs_f64()
                )
            }
            Self::Body(BodyFault::Broken, _) => f.write_str("the body ends before its end"),
            Self::Malformed(error) => error.fmt(f),
            Self::NoModel => f.write_str("the body names no `model`"),
            Self::Model(model) => write!(
                f,
                "no route of this gateway takes the model `{}`",
                model.escape_debug()
            ),
            Self::OtherDialect(model, dialect) => {
                let (model, paths) = (model.escape_debug(), path_of(*dialect));
                write!(
                    f,
                    "the model `{model}` is served here in the dialect of {dialect} alone: {paths}"
                )
            }
            Self::Convert(endpoint, error) => match error {
                ConvertError::Unfit { .. } => write!(f, "endpoint `{endpoint}`: {error}"),
                _ => error.fmt(f),
            },
            Self::Endpoint(endpoint, error, attempts) => {
                write!(f, "endpoint `{endpoint}`: ")?;
                match (Refused::find(&**error), Kind::of(&**error)) {
                    (Some(refused), _) => refused.fmt(f)?,
                    // Why it is not sent: of its own request, the caller may know all.
                    (None, Kind::Request) => error.fmt(f)?,
                    (None, kind) => kind.fmt(f)?,
                }
                match attempts {
                    0 | 1 => Ok(()),
                    attempts => write!(f, ", at the last of {attempts} attempts"),
                }
            }
            Self::Refused(refused) => match refused.reason() {
                Reason::Limited | Reason::Oversized | Reason::QueueFull => {
                    write!(f, "this caller: {refused}")
                }
                _ => refused.fmt(f),
            },
            Self::Worthless(endpoint, Worthless::Redirect, status) => {
                let what = match status.is_redirection() {
                    true => "a redirect",
                    false => "an interim status",
                };
                write!(
                    f,
                    "endpoint `{endpoint}` answered with {what} ({status}), which is not followed: "
                )?;
                f.write_str("its base_url may be wrong")
            }
            Self::Worthless(endpoint, Worthless::Empty, status) => write!(
                f,
                "endpoint `{endpoint}` answered with {status} and no body, expected a reply of the model"
            ),
        }
    }
}

/// What an error that came instead of a reply is told as.
pub(crate) fn status_of(error: &BoxError) -> StatusCode {
    if let Some(refused) = Refused::find(&**error) {
        return status_of_refusal(refused);
    }
    match Kind::of(&**error) {
        Kind::ConnectTimeout | Kind::Timeout => StatusCode::GATEWAY_TIMEOUT,
        Kind::Unstarted => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Request => StatusCode::BAD_REQUEST,
        _ => StatusCode::BAD_GATEWAY,
    }
}

fn path_of(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::OpenAi => "POST /v1/chat/completions",
        Dialect::Anthropic => "POST /v1/messages",
        _ => "no path of this gateway",
    }
}

// ===== impl TurnedAway =====

impl TurnedAway {
    pub(crate) fn count(&self, fault: &Fault) {
        if let Some(place) = REASONS.iter().position(|known| *known == fault.reason()) {
            self.counts[place].fetch_add(1, Relaxed);
        }
    }

    pub(crate) fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.counts.iter().map(|count| count.load(Relaxed));
        REASONS.into_iter().zip(counts)
    }
}

#[cfg(test)]
mod tests {
    use std::{io, time::Duration};

    use buttress_core::{Reason, Refused};
    use buttress_http::BoxError;
    use buttress_llm::{Dialect, convert::ConvertError, request::Peek};
    use http::{Method, StatusCode};

    use super::{Fault, REASONS, TurnedAway};
    use crate::{
        adapt::Worthless, body::BodyFault, callers::KeyFault, config::Limits, gateway::Ids,
        web::Foreign,
    };

    fn of(error: impl Into<BoxError>) -> Fault {
        Fault::Endpoint("up".into(), error.into(), 1)
    }

    #[test]
    fn what_came_instead_of_a_reply_has_a_status_and_says_whether_to_try_again() {
        let io = |kind: io::ErrorKind| of(io::Error::from(kind));
        let refused =
            |reason| of(Refused::new(reason).with_retry_after(Duration::from_millis(1500)));
        for (fault, status, again, wait) in [
            (io(io::ErrorKind::ConnectionRefused), 502, "true", None),
            (io(io::ErrorKind::ConnectionReset), 502, "true", None),
            (io(io::ErrorKind::TimedOut), 504, "true", None),
            (of("something else"), 502, "true", None),
            (refused(Reason::Limited), 429, "true", Some("2")),
            (refused(Reason::CircuitOpen), 503, "true", Some("2")),
            (refused(Reason::AttemptTimeout), 504, "true", Some("2")),
            (of(Refused::new(Reason::Oversized)), 413, "false", None),
        ] {
            let answer = fault.answer(Dialect::OpenAi, Ids::new().next());
            assert_eq!(answer.status().as_u16(), status, "{fault}");
            let header = |name| {
                answer
                    .headers()
                    .get(name)
                    .map(|value| value.to_str().unwrap())
            };
            assert_eq!(
                (header("x-should-retry"), header("retry-after")),
                (Some(again), wait),
                "{fault}"
            );
        }
    }

    #[test]
    fn every_reason_is_counted() {
        let limits = Limits::default();
        let faults = [
            Fault::Path,
            Fault::Method(Method::GET, "POST"),
            Fault::Foreign(Foreign::Site),
            Fault::Hidden,
            Fault::Key(KeyFault::Unknown),
            Fault::Forbidden(String::new()),
            Fault::Encoded,
            Fault::Body(BodyFault::Broken, limits),
            Fault::Malformed(Peek::new("{").unwrap_err()),
            Fault::NoModel,
            Fault::Model(String::new()),
            Fault::OtherDialect(String::new(), Dialect::OpenAi),
            Fault::Convert(
                "up".into(),
                ConvertError::Syntax(Peek::new("{").unwrap_err()),
            ),
        ];
        let turned_away = TurnedAway::default();
        for fault in &faults {
            turned_away.count(fault);
            assert!(fault.status().is_client_error());
        }
        let counts: Vec<_> = turned_away.counts().collect();
        assert_eq!(counts, REASONS.map(|reason| (reason, 1)));
        assert_eq!(
            Fault::Worthless("up".into(), Worthless::Redirect, StatusCode::FOUND).reason(),
            "endpoint"
        );
    }
}
