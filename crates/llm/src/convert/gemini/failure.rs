//! An error of the endpoint, in the middle of a stream, as Gemini tells it.

use buttress_core::Class;
use bytes::Bytes;
use http::StatusCode;

use crate::{Dialect, ErrorBody, ErrorReply};

const UNNAMED: &str = "the endpoint told of an error, and not of which";

/// The event for the error in this envelope.
pub(super) fn read(of: Dialect, envelope: &str) -> Bytes {
    let Some(error) = ErrorBody::read(of, envelope.as_bytes()) else {
        return of_ours(UNNAMED);
    };
    let names = [error.kind(), error.code()].into_iter().flatten();
    let names: Vec<_> = names.map(str::to_ascii_lowercase).collect();
    let named = |part: &str| names.iter().any(|name| name.contains(part));
    // The status in the envelope is made of it.
    let status = match error.outcome(None).class {
        Class::Throttled => StatusCode::TOO_MANY_REQUESTS,
        Class::Denied if named("permission") => StatusCode::FORBIDDEN,
        Class::Denied
            if ["quota", "billing", "credit", "spend"]
                .into_iter()
                .any(named) =>
        {
            StatusCode::PAYMENT_REQUIRED
        }
        Class::Denied => StatusCode::UNAUTHORIZED,
        Class::Unfit if named("not_found") => StatusCode::NOT_FOUND,
        Class::Unfit | Class::Invalid => StatusCode::BAD_REQUEST,
        _ if named("timeout") || named("deadline") => StatusCode::GATEWAY_TIMEOUT,
        _ if named("overloaded") || named("unavailable") => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let message = match error.message() {
        "" => UNNAMED,
        message => message,
    };
    let mut reply = ErrorReply::new(status, message);
    if let Some(code) = error.code() {
        reply = reply.code(code);
    }
    reply.event(Dialect::Gemini)
}

/// The event for an error that is found here.
pub(super) fn of_ours(message: &str) -> Bytes {
    ErrorReply::new(StatusCode::BAD_GATEWAY, message).event(Dialect::Gemini)
}
