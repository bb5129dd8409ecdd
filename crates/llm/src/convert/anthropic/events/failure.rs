//! An error of the endpoint, in the middle of a stream, as the caller reads it.

use buttress_core::Class;
use bytes::Bytes;
use http::StatusCode;

use crate::{Dialect, ErrorBody, ErrorReply};

/// The event for the error in this envelope.
pub(super) fn read(of: Dialect, envelope: &str) -> Bytes {
    let Some(error) = ErrorBody::read(of, envelope.as_bytes()) else {
        return of_ours("the endpoint told of an error, and not of which");
    };
    let names = [error.kind(), error.code()]
        .into_iter()
        .flatten()
        .map(str::to_ascii_lowercase)
        .collect::<Vec<_>>();
    let named = |parts: &[&str]| {
        let has = |name: &String| parts.iter().any(|part| name.contains(part));
        names.iter().any(has)
    };
    // The type of the error is made of it.
    let status = match error.outcome(None).class {
        Class::Throttled => 429,
        Class::Denied if named(&["quota", "billing", "credit", "spend"]) => 402,
        Class::Denied if named(&["permission"]) => 403,
        Class::Denied => 401,
        Class::Unfit if named(&["not_found"]) => 404,
        Class::Unfit | Class::Invalid => 400,
        _ if named(&["overloaded"]) => 529,
        _ if named(&["timeout", "deadline"]) => 504,
        _ => 500,
    };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let message = match error.message() {
        "" => "the endpoint told of an error, and not of which",
        message => message,
    };
    let mut reply = ErrorReply::new(status, message);
    if let Some(id) = error.request_id() {
        reply = reply.request_id(id);
    }
    reply.event(Dialect::Anthropic)
}

/// The event for an error that is found here.
pub(super) fn of_ours(message: &str) -> Bytes {
    ErrorReply::new(StatusCode::BAD_GATEWAY, message).event(Dialect::Anthropic)
}
