use std::{fmt, fmt::Write as _, time::Duration};

use buttress_core::{Class, Finish, Outcome};
use buttress_http::class_of_status;
use http::StatusCode;
use serde_json::Value;

use super::meaning::Words;
use crate::Dialect;

/// What a provider says of an error, read from its envelope.
///
/// Reading is tolerant: an envelope of another dialect, a bare object with a `message`, or
/// FastAPI's `detail` are understood as well, because what is compatible is so most of the time.
/// Texts are bounded, and control characters in them are escaped. `Debug` shows no message, since
/// providers quote keys and prompts in it.
///
/// # Examples
///
/// ```
/// use buttress_core::Class;
/// use buttress_llm::{Dialect, ErrorBody};
/// use http::StatusCode;
///
/// let body = br#"{"error":{"message":"You exceeded your current quota.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#;
/// let error = ErrorBody::read(Dialect::OpenAi, body).unwrap();
/// assert_eq!(error.code(), Some("insufficient_quota"));
/// assert_eq!(error.outcome(Some(StatusCode::TOO_MANY_REQUESTS)).class, Class::Denied);
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ErrorBody {
    kind: Option<String>,
    code: Option<String>,
    message: String,
    request_id: Option<String>,
    named: Option<Class>,
    hinted: Option<Class>,
    status: Option<StatusCode>,
    wait: Option<Duration>,
    filtered: bool,
}

/// The most bytes of an envelope, of which a tree is built here.
pub(crate) const LIMIT: usize = 64 << 10;

/// The most bytes of a message that are kept, and of any other text.
const MESSAGE: usize = 2 << 10;
const NAME: usize = 128;

// ===== impl ErrorBody =====

impl ErrorBody {
    /// Reads an envelope: the body of an error reply, or the data of an error event. `None`: it is
    /// no JSON, nothing in it looks like an error, or it has more than 64 KiB.
    #[must_use]
    pub fn read(dialect: Dialect, text: &[u8]) -> Option<Self> {
        if text.len() > LIMIT {
            return None;
        }
        let root: Value = match serde_json::from_slice(text) {
            Ok(root) => root,
            // Invalid UTF-8 in a message must not hide what the error is.
            Err(_) => serde_json::from_str(&String::from_utf8_lossy(text)).ok()?,
        };
        let root = root.get(0).unwrap_or(&root);
        let error = match root.get("error") {
            None | Some(Value::Null) => root,
            Some(error) => error,
        };
        let text = |name: &str| error.get(name).and_then(Value::as_str);
        let message = match error {
            Value::String(message) => Some(message.as_str()),
            _ => text("message").or_else(|| text("detail")),
        };
        // Its own words first, and then the others'.
        let named = text("code").or_else(|| error_code(error));
        let (kind, code) = match dialect {
            Dialect::Gemini => (text("status").or(text("type")), reason(error).or(named)),
            _ => (text("type").or(text("status")), named.or(reason(error))),
        };
        if message.or(kind).or(code).is_none() && error.get("code").is_none() {
            return None;
        }
        let details = error.get("details");
        let words = Words {
            names: [kind, code, text("status"), text("type"), text("code")]
                .into_iter()
                .flatten()
                .chain(reason(error))
                .chain(error_code(error))
                .collect(),
            message: message.unwrap_or_default(),
            details: details.and_then(Value::as_array).map(Vec::as_slice),
        };
        let status = error.get("code").and_then(Value::as_u64);
        let status = status.and_then(|code| StatusCode::from_u16(code.try_into().ok()?).ok());
        let id = |from: &Value| Some(bounded(from.get("request_id")?.as_str()?, NAME));
        Some(Self {
            named: words.class(),
            hinted: words.class_of_message(),
            filtered: words.filtered(),
            wait: words.wait().filter(|_| !words.daily_quota()),
            status: status.filter(|status| class_of_status(*status) != Class::Success),
            kind: kind.map(|kind| bounded(kind, NAME)),
            code: code.map(|code| bounded(code, NAME)).or_else(|| {
                // Gemini's number is the status, which has a name.
                let named = dialect == Dialect::Gemini && kind.is_some();
                let number = error.get("code").filter(|_| !named)?.as_u64()?;
                Some(number.to_string())
            }),
            message: bounded(words.message, MESSAGE),
            request_id: id(root).or_else(|| id(error)),
        })
    }

    /// The kind of error: `type`, or Gemini's `status`. At most 128 bytes.
    #[must_use]
    pub fn kind(&self) -> Option<&str> {
        self.kind.as_deref()
    }

    /// What it is exactly: OpenAI's `code`, Anthropic's `details.error_code`, the `reason` in
    /// Gemini's `ErrorInfo`. At most 128 bytes.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        self.code.as_deref()
    }

    /// The message, with control characters escaped, and cut after at most 2 KiB. It may quote the
    /// request, and what is in its headers. Empty if there was none.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The id of the request, where the body has it. At most 128 bytes.
    #[must_use]
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    /// What the error means: of a reply with this status, or in the middle of a stream (`None`).
    ///
    /// The body refines the class of a 4xx status: to [`Denied`](Class::Denied) where it tells of
    /// the credential or its money, to [`Unfit`](Class::Unfit) where it tells of what this endpoint
    /// cannot do. Any other status means what it says. Without a status, the names in the body
    /// decide, then a numeric code; an error that nothing names is
    /// [`Unavailable`](Class::Unavailable). A time to wait is kept where there is one, and where a
    /// content filter refused the request the outcome says so in its `finish`.
    #[must_use]
    pub fn outcome(&self, status: Option<StatusCode>) -> Outcome {
        let class = match status.filter(|status| class_of_status(*status) != Class::Success) {
            Some(status) => self.refined(status),
            None => match (self.named, self.hinted) {
                (Some(Class::Invalid) | None, Some(hinted)) => hinted,
                (Some(named), _) => named,
                (None, None) => self.status.map_or(Class::Unavailable, class_of_status),
            },
        };
        let mut outcome = Outcome::new(class);
        outcome.retry_after = self.wait;
        outcome.finish = (class == Class::Unfit && self.filtered).then_some(Finish::Filtered);
        outcome
    }

    fn refined(&self, status: StatusCode) -> Class {
        let class = class_of_status(status);
        if !status.is_client_error() {
            return class;
        }
        match (self.named, self.hinted) {
            (Some(Class::Denied), _) | (_, Some(Class::Denied)) => Class::Denied,
            (Some(Class::Unfit), _) | (_, Some(Class::Unfit)) if class != Class::Throttled => {
                Class::Unfit
            }
            _ => class,
        }
    }
}

impl fmt::Debug for ErrorBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ErrorBody")
            .field("class", &self.outcome(None).class)
            .field("message_bytes", &self.message.len())
            .finish_non_exhaustive()
    }
}

/// The reason in an `ErrorInfo` of Google's.
fn reason(error: &Value) -> Option<&str> {
    let details = error.get("details")?.as_array()?;
    details
        .iter()
        .find_map(|detail| detail.get("reason")?.as_str())
}

/// What Anthropic says beside the type.
fn error_code(error: &Value) -> Option<&str> {
    error.get("details")?.get("error_code")?.as_str()
}

/// At most `limit` bytes of the text, on one line that shows what is in it.
fn bounded(text: &str, limit: usize) -> String {
    let mut out = String::new();
    for c in text.chars() {
        let before = out.len();
        // Marks that turn the direction of writing make a log say what it does not.
        let turns = matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        let splits = matches!(c, '\u{2028}' | '\u{2029}');
        if c.is_control() || turns || splits {
            // A `String` can always be written to.
            let _ = write!(out, "{}", c.escape_default());
        } else {
            out.push(c);
        }
        if out.len() > limit {
            out.truncate(before);
            break;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use buttress_core::Class;
    use http::StatusCode;

    use super::{ErrorBody, MESSAGE, NAME};
    use crate::Dialect;

    fn read(dialect: Dialect, text: &str) -> ErrorBody {
        ErrorBody::read(dialect, text.as_bytes()).unwrap_or_else(|| panic!("no error: {text}"))
    }

    #[test]
    fn the_envelope_of_each_dialect_is_read() {
        let error = read(
            Dialect::OpenAi,
            r#"{"error":{"message":"no","type":"invalid_request_error","param":"x","code":"unknown"}}"#,
        );
        assert_eq!(
            (error.kind(), error.code()),
            (Some("invalid_request_error"), Some("unknown"))
        );
        assert_eq!((error.message(), error.request_id()), ("no", None));

        let error = read(
            Dialect::Anthropic,
            r#"{"type":"error","error":{"type":"rate_limit_error","message":"no","details":{"error_code":"x"}},"request_id":"req_1"}"#,
        );
        assert_eq!(
            (error.kind(), error.code()),
            (Some("rate_limit_error"), Some("x"))
        );
        assert_eq!((error.message(), error.request_id()), ("no", Some("req_1")));

        let error = read(
            Dialect::Gemini,
            r#"{"error":{"code":400,"message":"no","status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}"#,
        );
        assert_eq!(
            (error.kind(), error.code()),
            (Some("INVALID_ARGUMENT"), Some("API_KEY_INVALID"))
        );
        let error = read(
            Dialect::Gemini,
            r#"[{"error":{"code":503,"message":"no"}}]"#,
        );
        assert_eq!((error.kind(), error.code()), (None, Some("503")));
    }

    #[test]
    fn what_compatible_servers_write_is_read_as_well() {
        for (text, message) in [
            (r#"{"error":"plain"}"#, "plain"),
            (r#"{"message":"bare","type":"x"}"#, "bare"),
            (r#"{"object":"error","message":"vllm","code":400}"#, "vllm"),
            (r#"{"detail":"Not Found"}"#, "Not Found"),
            (r#"{"error":{"type":"server_error"}}"#, ""),
            (r#"{"error":{"code":500}}"#, ""),
        ] {
            for dialect in Dialect::ALL {
                assert_eq!(read(dialect, text).message(), message, "{text}");
            }
        }
        for text in [
            "",
            "{",
            "null",
            "1",
            "[]",
            "{}",
            r#"{"a":1}"#,
            r#"{"error":null}"#,
            "<html>",
        ] {
            for dialect in Dialect::ALL {
                assert_eq!(ErrorBody::read(dialect, text.as_bytes()), None, "{text}");
            }
        }
        let mut text = br#"{"error":{"message":"caf?","type":"insufficient_quota"}}"#.to_vec();
        let at = text.iter().position(|byte| *byte == b'?').unwrap();
        text[at] = 0xe9;
        let error = ErrorBody::read(Dialect::OpenAi, &text).unwrap();
        assert_eq!(error.message(), "caf\u{fffd}");
        assert_eq!(
            error.outcome(Some(StatusCode::TOO_MANY_REQUESTS)).class,
            Class::Denied
        );
    }

    #[test]
    fn s1_texts_are_bounded_and_escaped_and_debug_shows_none() {
        let long = "x".repeat(10_000);
        let text = format!(
            r#"{{"error":{{"message":"canary\r\n\u0000\u001b[31m\u202e\u2028{long}","type":"canary{long}","code":"{long}"}},"request_id":"canary\n{long}"}}"#
        );
        for dialect in Dialect::ALL {
            let error = read(dialect, &text);
            assert!(
                error
                    .message()
                    .starts_with("canary\\r\\n\\u{0}\\u{1b}[31m\\u{202e}\\u{2028}x")
            );
            assert!(error.message().len() <= MESSAGE);
            for text in [error.kind(), error.code(), error.request_id()]
                .into_iter()
                .flatten()
            {
                assert!(text.len() <= NAME && !text.contains('\n'));
            }
            assert!(!format!("{error:#?}").contains("canary"));
        }
    }

    #[test]
    fn s4_no_tree_is_built_of_more_than_64_kib() {
        let text = |len: usize| format!(r#"{{"error":{{"message":"{}"}}}}"#, "x".repeat(len));
        let around = text(0).len();
        let read = |len| ErrorBody::read(Dialect::OpenAi, text(len).as_bytes());
        assert!(read(super::LIMIT - around).is_some());
        assert!(read(super::LIMIT - around + 1).is_none());
    }

    #[test]
    fn an_unlisted_status_or_name_has_a_stated_class() {
        let error = read(
            Dialect::OpenAi,
            r#"{"error":{"message":"x","type":"brand_new","code":"newer"}}"#,
        );
        for (status, class) in [
            (None, Class::Unavailable),
            (Some(418), Class::Invalid),
            (Some(499), Class::Invalid),
            (Some(451), Class::Invalid),
            (Some(599), Class::Unavailable),
            (Some(999), Class::Unavailable),
        ] {
            let status = status.map(|status| StatusCode::from_u16(status).unwrap());
            assert_eq!(error.outcome(status).class, class, "{status:?}");
        }
    }
}
