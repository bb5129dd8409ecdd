//! An error of the endpoint, as the caller reads it.

use buttress_core::Class;
use bytes::Bytes;
use http::StatusCode;

use crate::{Dialect, ErrorBody, ErrorReply};

/// The message of an error that has none.
pub(super) const UNNAMED: &str = "the endpoint told of an error, and not of which";

/// The body of a reply with this status. `None`: nothing in the endpoint's looked like an error.
/// `otherwise` is the message, if it has none, and `id` that of the request in the headers.
pub(super) fn body(
    error: Option<&ErrorBody>,
    otherwise: &str,
    status: StatusCode,
    id: Option<&str>,
    to: Dialect,
) -> Bytes {
    let mut reply = reply(error, otherwise, status);
    if let Some(id) = error.and_then(ErrorBody::request_id).or(id) {
        reply = reply.request_id(id);
    }
    reply.json(to)
}

/// The event for the error in this envelope, in the middle of a stream.
pub(super) fn event(of: Dialect, envelope: &str, to: Dialect) -> Bytes {
    let error = ErrorBody::read(of, envelope.as_bytes());
    let status = error
        .as_ref()
        .map_or(StatusCode::BAD_GATEWAY, |error| status(error, to));
    reply(error.as_ref(), UNNAMED, status).event(to)
}

/// The event for an error that is found here.
pub(super) fn event_of_ours(message: &str, to: Dialect) -> Bytes {
    ErrorReply::new(StatusCode::BAD_GATEWAY, message).event(to)
}

fn reply<'a>(
    error: Option<&'a ErrorBody>,
    otherwise: &'a str,
    status: StatusCode,
) -> ErrorReply<'a> {
    let Some(error) = error else {
        return ErrorReply::new(status, otherwise);
    };
    let message = match error.message() {
        "" => otherwise,
        message => message,
    };
    let mut reply = ErrorReply::new(status, message);
    // The type is made of the status, which says less than that of the endpoint. A code that is a
    // number mostly is the status once more.
    let is_word = |code: &&str| !code.bytes().all(|byte| byte.is_ascii_digit());
    let code = error.code().filter(is_word);
    if let Some(code) = code.or(error.kind()).or(error.code()) {
        reply = reply.code(code);
    }
    if let Some(id) = error.request_id() {
        reply = reply.request_id(id);
    }
    reply
}

/// The status that a reply with this error would have: the type in the envelope is made of it.
fn status(error: &ErrorBody, to: Dialect) -> StatusCode {
    let names = [error.kind(), error.code()].into_iter().flatten();
    let names: Vec<_> = names.map(str::to_ascii_lowercase).collect();
    let named = |parts: &[&str]| {
        let has = |name: &String| parts.iter().any(|part| name.contains(part));
        names.iter().any(has)
    };
    match error.outcome(None).class {
        Class::Throttled => StatusCode::TOO_MANY_REQUESTS,
        Class::Denied if named(&["quota", "billing", "credit", "spend"]) => {
            StatusCode::PAYMENT_REQUIRED
        }
        Class::Denied if named(&["permission"]) => StatusCode::FORBIDDEN,
        Class::Denied => StatusCode::UNAUTHORIZED,
        Class::Unfit if named(&["not_found"]) => StatusCode::NOT_FOUND,
        Class::Unfit | Class::Invalid => StatusCode::BAD_REQUEST,
        _ if named(&["timeout", "deadline"]) => StatusCode::GATEWAY_TIMEOUT,
        // Anthropic's own.
        _ if named(&["overloaded"]) && to == Dialect::Anthropic => {
            StatusCode::from_u16(529).unwrap_or(StatusCode::SERVICE_UNAVAILABLE)
        }
        _ if named(&["overloaded", "unavailable"]) => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
