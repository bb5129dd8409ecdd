//! What a script answers with.

mod recording;
mod text;

use std::{borrow::Cow, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::Value;

use crate::{
    ApiError, Fault, Finish, Hint, Limits, Request, Usage, dialect::Envelope, fault::Call,
    plan::Plan,
};

pub(crate) use text::ToolCall;

use recording::Recording;
use text::{Said, Text};

/// One reply: an answer in the provider's dialect, an error in its envelope, or any bytes.
///
/// An answer is whole or streamed as the request asks. Setters that shape an answer
/// ([`reasoning`](Self::reasoning), [`tool_call`](Self::tool_call), [`finish`](Self::finish),
/// [`usage`](Self::usage), [`chunks`](Self::chunks)) leave other replies as they are; those that
/// shape an error ([`code`](Self::code), [`kind`](Self::kind), [`message`](Self::message)) leave
/// other replies as they are; headers, delays and faults go with every reply.
///
/// ```
/// use std::time::Duration;
/// use buttress_testing::{Reply, Usage};
///
/// let slow = Reply::text("It was a dark and stormy night")
///     .usage(Usage::new(12, 7))
///     .first_event_after(Duration::from_secs(2))
///     .pace(Duration::from_millis(50));
/// let limited = Reply::error(429).header("retry-after", "1");
/// ```
#[derive(Clone)]
pub struct Reply {
    content: Content,
    headers: Vec<(HeaderName, HeaderValue)>,
    before_head: Option<Duration>,
    before_first: Option<Duration>,
    between: Option<Duration>,
    fault: Option<Fault>,
    limits: Option<Limits>,
    defect: Option<Arc<str>>,
}

#[derive(Clone)]
enum Content {
    Text(Text),
    Recorded(Arc<Recording>),
    Error(Failed),
    Api(ApiError),
    Hinted(Hint),
    Bytes {
        status: StatusCode,
        content_type: Option<HeaderValue>,
        body: Bytes,
    },
    Computed(Arc<dyn Fn(&Request) -> Reply + Send + Sync>),
}

#[derive(Debug, Clone)]
struct Failed {
    status: StatusCode,
    kind: Option<String>,
    code: Option<String>,
    message: Option<String>,
    param: Option<String>,
    details: Option<Value>,
}

// ===== impl Reply =====

impl Reply {
    /// An answer with this text.
    pub fn text(text: impl Into<String>) -> Self {
        let text = text.into();
        let tokens = crate::tokens(&text);
        Self::answer(Text {
            text: Some(Said::Fixed(text, tokens)),
            ..Text::default()
        })
    }

    /// An answer that says what the request's last message said.
    pub fn echo() -> Self {
        Self::answer(Text {
            text: Some(Said::Echo),
            ..Text::default()
        })
    }

    /// An answer that calls a tool, with no text. `arguments` is JSON, as a text.
    pub fn tool(name: impl Into<String>, arguments: impl Into<String>) -> Self {
        Self::answer(Text::default()).tool_call(name, arguments)
    }

    /// An error with this status, in the dialect's envelope, with type, code and message that
    /// providers send with that status.
    pub fn error(status: u16) -> Self {
        let (status, defect) = checked(status);
        Self::of(Content::Error(Failed {
            status,
            kind: None,
            code: None,
            message: None,
            param: None,
            details: None,
        }))
        .or_defect(defect)
    }

    /// A 200 with this JSON, whatever the request asked.
    #[allow(clippy::needless_pass_by_value)] // A `json!` literal is what one writes here.
    pub fn json(body: Value) -> Self {
        Self::of(Content::Bytes {
            status: StatusCode::OK,
            content_type: Some(crate::dialect::JSON),
            body: Bytes::from(body.to_string()),
        })
    }

    /// These bytes with this status. There is no `content-type` unless
    /// [`header`](Self::header) sets it.
    pub fn bytes(status: u16, body: impl Into<Bytes>) -> Self {
        let (status, defect) = checked(status);
        Self::of(Content::Bytes {
            status,
            content_type: None,
            body: body.into(),
        })
        .or_defect(defect)
    }

    /// A recorded stream: one JSON payload a line, without `data:` and terminator, which the dialect
    /// adds. The payloads go out byte for byte, one event each, at the pace that is
    /// [set](Self::pace); what is billed is the last usage among them.
    ///
    /// A request that asks for no stream gets the payload if there is but one; else it fails the
    /// test. A line that is no JSON is reported when the provider starts.
    pub fn recorded(lines: impl AsRef<str>) -> Self {
        match Recording::read(lines.as_ref()) {
            Ok(recording) => Self::of(Content::Recorded(Arc::new(recording))),
            Err(defect) => Self::text("").or_defect(Some(defect.into())),
        }
    }

    /// A stream of these payloads, as [`recorded`](Self::recorded).
    pub fn events(payloads: impl IntoIterator<Item = Value>) -> Self {
        let payloads = payloads.into_iter();
        let payloads = payloads.map(|payload| (Bytes::from(payload.to_string()), payload));
        let recording = Recording::of(payloads.collect());
        Self::of(Content::Recorded(Arc::new(recording)))
    }

    /// The reply that the closure makes of the request. It runs once for each request that the
    /// script takes, in the task that received it. Headers and delays set on this reply go on top of
    /// those of the reply made.
    pub fn with<F>(reply: F) -> Self
    where
        F: Fn(&Request) -> Reply + Send + Sync + 'static,
    {
        Self::of(Content::Computed(Arc::new(reply)))
    }

    /// Reasoning before the text: `reasoning_content`, a `thinking` block, a part with `thought`.
    #[must_use]
    pub fn reasoning(self, reasoning: impl Into<String>) -> Self {
        let reasoning = reasoning.into();
        self.map_text(|text| text.reasoning = Some(reasoning))
    }

    /// A tool call after the text, and after the tool calls before it. `arguments` is JSON, as a
    /// text; what is no JSON goes out as it is where the dialect can carry it, else as a string.
    #[must_use]
    pub fn tool_call(self, name: impl Into<String>, arguments: impl Into<String>) -> Self {
        let call = ToolCall {
            name: name.into(),
            arguments: arguments.into(),
        };
        self.map_text(|text| text.tools.push(call))
    }

    /// Why the answer ends. Default: a tool call if there is one, else [`Finish::Stop`].
    #[must_use]
    pub fn finish(self, finish: Finish) -> Self {
        self.map_text(|text| text.finish = Some(finish))
    }

    /// What the answer uses. Default: [`tokens`](crate::tokens) of the prompt; and of reasoning,
    /// text and arguments, and one for each tool call.
    #[must_use]
    pub fn usage(self, usage: Usage) -> Self {
        self.map_text(|text| text.usage = Some(usage))
    }

    /// Into how many events a streamed answer's text is cut; at least one, at most one for every
    /// token. Default: one for every token.
    #[must_use]
    pub fn chunks(self, chunks: usize) -> Self {
        self.map_text(|text| text.chunks = Some(chunks.max(1)))
    }

    /// An error's type: `error.type`, or Gemini's `error.status`. Default: what its status and code
    /// usually come with.
    #[must_use]
    pub fn kind(self, kind: impl Into<String>) -> Self {
        let kind = kind.into();
        self.map_error(|error| error.kind = Some(kind))
    }

    /// An error's code. Default: what its status usually comes with.
    ///
    /// OpenAI: `error.code`, as `insufficient_quota`. Anthropic: `error.details.error_code`. Gemini:
    /// the `reason` in an `ErrorInfo` among the details, unless those are set.
    #[must_use]
    pub fn code(self, code: impl Into<String>) -> Self {
        let code = code.into();
        self.map_error(|error| error.code = Some(code))
    }

    /// An error's message. Default: what its status usually comes with.
    #[must_use]
    pub fn message(self, message: impl Into<String>) -> Self {
        let message = message.into();
        self.map_error(|error| error.message = Some(message))
    }

    /// The parameter that an error is about, in the dialect that names one: OpenAI's. Default: none.
    #[must_use]
    pub fn param(self, param: impl Into<String>) -> Self {
        let param = param.into();
        self.map_error(|error| error.param = Some(param))
    }

    /// An error's details, where the dialect has them: an object in Anthropic's, an array in
    /// Gemini's. Default: what the code asks for.
    #[must_use]
    pub fn details(self, details: Value) -> Self {
        self.map_error(|error| error.details = Some(details))
    }

    /// Adds a header. The first of its name replaces the one that the reply would have by itself,
    /// further ones stand beside it. What is no header is reported when the provider starts.
    #[must_use]
    pub fn header(mut self, name: impl AsRef<str>, value: impl AsRef<[u8]>) -> Self {
        let name = HeaderName::try_from(name.as_ref());
        let value = HeaderValue::from_bytes(value.as_ref());
        match (name, value) {
            (Ok(name), Ok(value)) => {
                self.headers.push((name, value));
                self
            }
            (Err(_), _) => self.or_defect(Some("a header's name is no header name".into())),
            (Ok(name), Err(_)) => {
                self.or_defect(Some(format!("the value of header {name} is none").into()))
            }
        }
    }

    /// Adds `retry-after` as it stands: seconds, a date, or nonsense.
    #[must_use]
    pub fn retry_after(self, hint: impl AsRef<str>) -> Self {
        self.header("retry-after", hint.as_ref())
    }

    /// Says in the dialect's headers what remains of the caller's limits. Default: nothing, unless
    /// the provider [enforces](crate::Provider::limit) limits.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// Waits before the status and headers. Default: not at all.
    #[must_use]
    pub fn headers_after(mut self, delay: Duration) -> Self {
        self.before_head = Some(delay);
        self
    }

    /// Waits between the headers and the first event, or the body of a whole reply. Default: not
    /// at all.
    #[must_use]
    pub fn first_event_after(mut self, delay: Duration) -> Self {
        self.before_first = Some(delay);
        self
    }

    /// Waits between two events of a stream. Zero writes each of them on its own. Default: as many
    /// events in one write as are there.
    #[must_use]
    pub fn pace(mut self, delay: Duration) -> Self {
        self.between = Some(delay);
        self
    }

    /// Spoils this reply: see [`Fault`]. A later fault replaces an earlier one.
    #[must_use]
    pub fn fault(mut self, fault: Fault) -> Self {
        self.fault = Some(fault);
        self
    }

    fn answer(text: Text) -> Self {
        Self::of(Content::Text(text))
    }

    fn of(content: Content) -> Self {
        Self {
            content,
            headers: Vec::new(),
            before_head: None,
            before_first: None,
            between: None,
            fault: None,
            limits: None,
            defect: None,
        }
    }

    fn or_defect(mut self, defect: Option<Arc<str>>) -> Self {
        self.defect = self.defect.or(defect);
        self
    }

    fn map_text(mut self, change: impl FnOnce(&mut Text)) -> Self {
        if let Content::Text(text) = &mut self.content {
            change(text);
        }
        self
    }

    fn map_error(mut self, change: impl FnOnce(&mut Failed)) -> Self {
        if let Content::Error(error) = &mut self.content {
            change(error);
        }
        self
    }

    /// What is wrong with this reply, if anything is.
    pub(crate) fn defect(&self) -> Option<&str> {
        self.defect.as_deref()
    }

    pub(crate) fn faulty(&self) -> Option<Fault> {
        self.fault
    }

    pub(crate) fn hinted(hint: Hint) -> Self {
        Self::of(Content::Hinted(hint))
    }

    /// What this reply is, in a few words for reports.
    pub(crate) fn summary(&self) -> Cow<'static, str> {
        if let Some(fault) = self.fault {
            return fault.to_string().into();
        }
        match &self.content {
            Content::Text(_) => "an answer".into(),
            Content::Recorded(_) => "a recorded stream".into(),
            Content::Error(error) => format!("error {}", error.status.as_u16()).into(),
            Content::Api(error) => format!("error {error:?}").into(),
            Content::Hinted(hint) => format!("error 429 with {hint:?}").into(),
            Content::Bytes { status, .. } => {
                format!("bytes with status {}", status.as_u16()).into()
            }
            Content::Computed(_) => "a computed reply".into(),
        }
    }

    /// Decides everything that the call leaves open. An `Err` says why that is not possible.
    pub(crate) fn plan(&self, call: &Call<'_>) -> Result<Plan, String> {
        if let Some(defect) = self.defect() {
            return Err(defect.to_owned());
        }
        let mut plan = self.content(call)?;
        if let Some(fault) = self.fault {
            fault.bend(&mut plan, call)?;
        }
        if let Some(name) = call.dialect.id_header() {
            // Letters and digits, always a good header.
            if let Ok(value) = HeaderValue::try_from(crate::dialect::request_id(call.id)) {
                plan.set(&HeaderName::from_static(name), &value);
            }
        }
        for (name, value) in
            (self.limits.iter()).flat_map(|all| all.headers(call.dialect, call.now))
        {
            plan.set(&name, &value);
        }
        for (at, (name, value)) in self.headers.iter().enumerate() {
            let again = self.headers[..at].iter().any(|(had, _)| had == name);
            match again {
                true => plan.add(name, value),
                false => plan.set(name, value),
            }
        }
        plan.before_head = self.before_head.or(plan.before_head);
        plan.pace(self.before_first, self.between);
        Ok(plan)
    }

    fn content(&self, call: &Call<'_>) -> Result<Plan, String> {
        match &self.content {
            Content::Text(text) => Ok(text.plan(call.dialect, call.request, call.id)),
            Content::Recorded(recording) => recording.plan(call.dialect, call.request),
            Content::Error(error) => Ok(error.plan(call)),
            Content::Api(error) => error.reply(call.dialect).plan(call),
            Content::Hinted(hint) => hint.reply(call.dialect, call.now).plan(call),
            Content::Bytes {
                status,
                content_type,
                body,
            } => {
                let mut plan = Plan::whole(*status, crate::dialect::JSON, body.clone());
                plan.headers.clear();
                if let Some(content_type) = content_type {
                    plan.set(&http::header::CONTENT_TYPE, content_type);
                }
                Ok(plan)
            }
            Content::Computed(compute) => {
                let reply = compute(call.request);
                match reply.content {
                    Content::Computed(_) => {
                        Err("a computed reply made another computed reply".to_owned())
                    }
                    _ => reply.plan(call),
                }
            }
        }
    }
}

impl From<ApiError> for Reply {
    /// The error as the provider's dialect says it.
    fn from(error: ApiError) -> Self {
        Self::of(Content::Api(error))
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither text nor header values: they may hold what was asked, or a credential.
        write!(f, "Reply({})", self.summary())
    }
}

// ===== impl Failed =====

impl Failed {
    fn plan(&self, call: &Call<'_>) -> Plan {
        let body = call.dialect.error(&Envelope {
            status: self.status.as_u16(),
            kind: self.kind.as_deref(),
            code: self.code.as_deref(),
            message: self.message.as_deref(),
            param: self.param.as_deref(),
            details: self.details.as_ref(),
            id: call.id,
        });
        Plan::whole(self.status, crate::dialect::JSON, body)
    }
}

/// A status that can be sent, or why it cannot. 1xx is not a reply.
fn checked(status: u16) -> (StatusCode, Option<Arc<str>>) {
    match StatusCode::from_u16(status) {
        Ok(status) if status.as_u16() >= 200 => (status, None),
        _ => (
            StatusCode::INTERNAL_SERVER_ERROR,
            Some(format!("found status {status}, expected 200 to 999").into()),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_or_header_that_cannot_be_sent_is_a_defect_and_no_panic() {
        assert!(Reply::error(99).defect().is_some());
        assert!(Reply::bytes(100, "").defect().is_some());
        assert!(Reply::text("").header("bad name", "x").defect().is_some());
        assert!(Reply::text("").header("x", "a\r\nb").defect().is_some());
        assert!(Reply::error(599).header("x", "y").defect().is_none());
    }
}
