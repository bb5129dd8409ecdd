use std::fmt;

use bytes::Bytes;
use http::StatusCode;

use crate::{Dialect, json::quote};

/// An error to answer with, in the envelope of any dialect.
///
/// The official SDKs raise the exception that the status of the reply stands for; the type in the
/// envelope says the same. Read back by [`ErrorBody`](crate::ErrorBody), it has the class of its
/// status.
///
/// The content type of [`json`](ErrorReply::json) is `application/json`. `Debug` shows no
/// message, since what is passed on may quote the request.
///
/// # Examples
///
/// ```
/// use buttress_llm::{Dialect, ErrorReply};
/// use http::StatusCode;
///
/// let error = ErrorReply::new(StatusCode::NOT_FOUND, "no route for this model")
///     .code("model_not_found");
/// assert_eq!(
///     error.json(Dialect::OpenAi),
///     r#"{"error":{"message":"no route for this model","type":"invalid_request_error","param":null,"code":"model_not_found"}}"#
/// );
/// assert_eq!(
///     error.json(Dialect::Anthropic),
///     r#"{"type":"error","error":{"type":"not_found_error","message":"no route for this model"},"request_id":null}"#
/// );
/// ```
#[derive(Clone, Copy)]
pub struct ErrorReply<'a> {
    status: StatusCode,
    message: &'a str,
    code: Option<&'a str>,
    param: Option<&'a str>,
    request_id: Option<&'a str>,
}

// ===== impl ErrorReply =====

impl<'a> ErrorReply<'a> {
    /// An error of this status, with a message for people.
    #[must_use]
    pub const fn new(status: StatusCode, message: &'a str) -> Self {
        Self {
            status,
            message,
            code: None,
            param: None,
            request_id: None,
        }
    }

    /// What it is exactly, such as `model_not_found`: OpenAI's `code`, or the `reason` of an
    /// `ErrorInfo` in Gemini's. Anthropic's envelope has no place for it. Default: none.
    #[must_use]
    pub const fn code(mut self, code: &'a str) -> Self {
        self.code = Some(code);
        self
    }

    /// The member of the request that is wrong: OpenAI's `param`. The others have no place for it.
    /// Default: none.
    #[must_use]
    pub const fn param(mut self, param: &'a str) -> Self {
        self.param = Some(param);
        self
    }

    /// The id of the request: Anthropic's `request_id`. The others have no place for it. Default:
    /// none, which is `null` there.
    #[must_use]
    pub const fn request_id(mut self, id: &'a str) -> Self {
        self.request_id = Some(id);
        self
    }

    /// The envelope, to be the body of a reply with this status.
    #[must_use]
    pub fn json(&self, dialect: Dialect) -> Bytes {
        let message = quote(self.message);
        let kind = kind(dialect, self.status);
        let text = match dialect {
            Dialect::OpenAi => {
                let (param, code) = (or_null(self.param), or_null(self.code));
                format!(
                    r#"{{"error":{{"message":{message},"type":"{kind}","param":{param},"code":{code}}}}}"#
                )
            }
            Dialect::Anthropic => {
                let id = or_null(self.request_id);
                format!(
                    r#"{{"type":"error","error":{{"type":"{kind}","message":{message}}},"request_id":{id}}}"#
                )
            }
            Dialect::Gemini => {
                let status = self.status.as_u16();
                let details = self.code.map_or_else(String::new, |code| {
                    format!(
                        r#","details":[{{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":{}}}]"#,
                        quote(code)
                    )
                });
                format!(
                    r#"{{"error":{{"code":{status},"message":{message},"status":"{kind}"{details}}}}}"#
                )
            }
        };
        text.into()
    }

    /// The envelope as an event, for a stream that has begun: there the status of the reply was
    /// told already, and the request has come, so that a 408 is a 504.
    ///
    /// ```
    /// use buttress_llm::{Dialect, ErrorReply};
    /// use http::StatusCode;
    ///
    /// let error = ErrorReply::new(StatusCode::SERVICE_UNAVAILABLE, "cut off");
    /// assert_eq!(
    ///     error.event(Dialect::Anthropic),
    ///     "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"cut off\"},\"request_id\":null}\n\n"
    /// );
    /// ```
    #[must_use]
    pub fn event(&self, dialect: Dialect) -> Bytes {
        let mut said = *self;
        if said.status == StatusCode::REQUEST_TIMEOUT {
            said.status = StatusCode::GATEWAY_TIMEOUT;
        }
        // Escaped as JSON is, it has one line.
        let kind: &[u8] = match dialect {
            Dialect::Anthropic => b"event: error\n",
            Dialect::OpenAi | Dialect::Gemini => b"",
        };
        [kind, b"data: ", &said.json(dialect), b"\n\n"]
            .concat()
            .into()
    }
}

impl fmt::Debug for ErrorReply<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ErrorReply")
            .field("status", &self.status)
            .field("message_bytes", &self.message.len())
            .finish_non_exhaustive()
    }
}

fn or_null(text: Option<&str>) -> String {
    text.map_or_else(|| "null".to_owned(), quote)
}

/// What a dialect calls an error of this status. That a request is too slow to come (408) is its
/// caller's fault and no server's.
fn kind(dialect: Dialect, status: StatusCode) -> &'static str {
    let status = status.as_u16();
    match dialect {
        Dialect::OpenAi => match status {
            401 | 407 => "authentication_error",
            402 => "insufficient_quota",
            403 => "permission_error",
            409 | 425 => "server_error",
            429 => "rate_limit_error",
            400..=499 => "invalid_request_error",
            _ => "server_error",
        },
        Dialect::Anthropic => match status {
            401 | 407 => "authentication_error",
            402 => "billing_error",
            403 => "permission_error",
            404 | 405 | 410 | 421 | 501 | 505 => "not_found_error",
            504 => "timeout_error",
            409 | 425 => "api_error",
            413 => "request_too_large",
            429 => "rate_limit_error",
            529 => "overloaded_error",
            400..=499 => "invalid_request_error",
            _ => "api_error",
        },
        Dialect::Gemini => match status {
            401 | 407 => "UNAUTHENTICATED",
            402 | 403 => "PERMISSION_DENIED",
            404 | 405 | 410 | 421 => "NOT_FOUND",
            408 | 504 => "DEADLINE_EXCEEDED",
            409 | 425 => "ABORTED",
            429 => "RESOURCE_EXHAUSTED",
            499 => "CANCELLED",
            400..=499 => "INVALID_ARGUMENT",
            501 | 505 => "UNIMPLEMENTED",
            502 | 503 | 529 => "UNAVAILABLE",
            _ => "INTERNAL",
        },
    }
}

#[cfg(test)]
mod tests {
    use buttress_core::Class;
    use buttress_http::class_of_status;
    use http::StatusCode;

    use super::ErrorReply;
    use crate::{Dialect, ErrorBody};

    #[test]
    fn what_is_written_is_read_as_of_the_class_of_its_status() {
        for dialect in Dialect::ALL {
            for status in 400..600 {
                let status = StatusCode::from_u16(status).unwrap();
                let reply = ErrorReply::new(status, "a \"message\"\n");
                let error = ErrorBody::read(dialect, &reply.json(dialect)).unwrap();
                let class = class_of_status(status);
                assert_eq!(
                    error.outcome(Some(status)).class,
                    class,
                    "{dialect} {status}"
                );
                assert_eq!(error.message(), "a \"message\"\\n");
                // In a stream there is no status to tell the rest of them apart.
                let event = reply.event(dialect);
                let data = memchr::memmem::find(&event, b"data: ").unwrap() + 6;
                let error = ErrorBody::read(dialect, &event[data..]).unwrap();
                let in_stream = match (dialect, class) {
                    (Dialect::OpenAi, Class::Unfit) if status.is_server_error() => {
                        Class::Unavailable
                    }
                    (Dialect::OpenAi, Class::Unfit) => Class::Invalid,
                    (_, class) => class,
                };
                assert_eq!(error.outcome(None).class, in_stream, "{dialect} {status}");
            }
        }
    }

    #[test]
    fn a_request_that_is_too_slow_is_not_told_as_a_fault_of_the_server() {
        let reply = ErrorReply::new(StatusCode::REQUEST_TIMEOUT, "slow");
        for (dialect, kind, in_stream) in [
            (Dialect::OpenAi, "invalid_request_error", "server_error"),
            (Dialect::Anthropic, "invalid_request_error", "timeout_error"),
            (Dialect::Gemini, "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED"),
        ] {
            let error = ErrorBody::read(dialect, &reply.json(dialect)).unwrap();
            assert_eq!(error.kind(), Some(kind));
            let event = String::from_utf8(reply.event(dialect).to_vec()).unwrap();
            assert!(event.contains(&format!(r#""{in_stream}""#)), "{event}");
        }
    }

    #[test]
    fn anthropics_envelope_always_has_a_request_id() {
        let reply = ErrorReply::new(StatusCode::BAD_REQUEST, "no");
        for (reply, id) in [
            (reply, serde_json::Value::Null),
            (reply.request_id("req_1"), "req_1".into()),
        ] {
            let json = reply.json(Dialect::Anthropic);
            let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
            assert_eq!(value.get("request_id"), Some(&id));
        }
    }

    #[test]
    fn every_envelope_is_valid_json_whatever_it_quotes() {
        let nasty = "\u{0}\r\n\n\"\\\u{2028}</script>";
        for dialect in Dialect::ALL {
            let reply = ErrorReply::new(StatusCode::BAD_REQUEST, nasty)
                .code(nasty)
                .param(nasty)
                .request_id(nasty);
            let json = reply.json(dialect);
            let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
            assert_eq!(value["error"]["message"], nasty);
            assert!(!json.contains(&b'\n'));
            let event = reply.event(dialect);
            let lines = event.iter().filter(|byte| **byte == b'\n').count();
            assert_eq!(lines, if dialect == Dialect::Anthropic { 3 } else { 2 });
        }
    }
}
