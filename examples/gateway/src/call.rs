//! One call, from its start to the end of its reply: what is counted of it, and its line in the log.

use std::{
    borrow::Cow,
    error::Error,
    fmt::{self, Write as _},
};

use buttress_core::{CallInfo, Class, Ledger, Outcome, Refused};
use http::{Extensions, HeaderValue, Method, StatusCode, request::Parts};
use tokio::time::Instant;

use crate::{
    callers::Caller,
    fault::Fault,
    gateway::Id,
    log::Log,
    story::{Steps, Story},
};

/// What the log says of a request, whatever becomes of it.
#[derive(Debug)]
pub(crate) struct Line {
    log: Log,
    begun: Instant,
    method: Method,
    path: Cow<'static, str>,
    caller: Option<Caller>,
    model: Option<Box<str>>,
}

/// A call to an endpoint. When it is dropped, it is over: it is counted then, and its line written.
///
/// It goes where the reply goes, outside of its body, so that it knows what the caller got of it.
#[derive(Debug)]
pub(crate) struct Call {
    line: Line,
    answered: Option<(StatusCode, HeaderValue)>,
    story: Story,
    /// What its attempts used that were given up.
    ledger: Ledger,
    failed: Option<Class>,
}

// ===== impl Line =====

impl Line {
    pub(crate) fn begin(log: &Log, head: &Parts) -> Self {
        const KNOWN: [&str; 2] = ["/v1/chat/completions", "/v1/messages"];
        let path = head.uri.path();
        let known = KNOWN.into_iter().find(|known| *known == path);
        Self {
            log: log.clone(),
            begun: Instant::now(),
            method: head.method.clone(),
            path: known.map_or_else(|| path.to_owned().into(), Cow::Borrowed),
            caller: None,
            model: None,
        }
    }

    pub(crate) fn caller(&mut self, caller: &Caller) {
        self.caller = Some(caller.clone());
    }

    pub(crate) fn model(&mut self, model: &str) {
        if !self.log.is_quiet() {
            self.model = Some(model.into());
        }
    }

    /// Writes it, for a request that reached no endpoint.
    pub(crate) fn turned_away(&self, fault: &Fault, id: Id) {
        self.log.line(|out| {
            self.write(out);
            number(out, " status=", fault.status().as_u16());
            word(out, " class=", fault.reason());
            number(out, " ms=", self.begun.elapsed().as_millis());
            quote(out, " id=", &id.to_string());
        });
    }

    fn write(&self, out: &mut String) {
        word(out, "method=", self.method.as_str());
        quote(out, " path=", &self.path);
        if let Some(caller) = &self.caller {
            word(out, " caller=", caller.name());
        }
        if let Some(model) = &self.model {
            quote(out, " model=", model);
        }
    }
}

// ===== impl Call =====

impl Call {
    pub(crate) fn begin(line: Line) -> Self {
        Self {
            line,
            answered: None,
            story: Story::default(),
            ledger: Ledger::new(),
            failed: None,
        }
    }

    /// What is to be told how it goes.
    pub(crate) fn story(&self) -> &Story {
        &self.story
    }

    /// Puts into the request what it carries from layer to layer.
    pub(crate) fn carried_by(&self, request: &mut Extensions) {
        let mut info = CallInfo::new();
        info.ledger = Some(self.ledger.clone());
        request.insert(info);
    }

    /// The caller is about to be told this, under this id.
    pub(crate) fn answered(&mut self, status: StatusCode, id: impl FnOnce() -> HeaderValue) {
        if !self.line.log.is_quiet() {
            self.answered = Some((status, id()));
        }
    }

    /// What was taken for a success is none.
    pub(crate) const fn failed(&mut self, class: Class) {
        self.failed = Some(class);
    }

    /// The caller has the head of a reply, and its body broke off. Whatever the part of it said that
    /// came: to the caller, it is a part.
    pub(crate) fn broke_off(&mut self, error: &(dyn Error + 'static)) {
        self.failed = Some(Class::Interrupted);
        if let Some(refused) = Refused::find(error) {
            self.story.steps().timed_out = Some(refused.reason());
        }
    }

    /// How it ended, with what all of its attempts used.
    fn outcome(&self, steps: &Steps) -> Outcome {
        let outcome = steps.outcome.unwrap_or(Outcome::new(Class::Cancelled));
        let outcome = self.ledger.total(&outcome);
        match (self.failed, outcome.class) {
            (Some(class), Class::Success | Class::Unavailable | Class::Cancelled) => {
                outcome.with_class(class)
            }
            _ => outcome,
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // It stays: others may wait for the call still.
        let steps = self.story.steps();
        let outcome = self.outcome(&steps);
        self.line.log.line(|out| {
            self.line.write(out);
            if let Some(endpoint) = steps.answered.as_ref().or(steps.endpoints.last()) {
                word(out, " endpoint=", endpoint);
            }
            if let Some((status, _)) = &self.answered {
                number(out, " status=", status.as_u16());
            }
            word(out, " class=", outcome.class.as_str());
            if let Some(usage) = outcome.usage {
                number(out, " input=", usage.input);
                number(out, " output=", usage.output);
            }
            number(out, " ms=", self.line.begun.elapsed().as_millis());
            steps.write(out);
            if let Some((_, id)) = &self.answered {
                quote(out, " id=", id.to_str().unwrap_or_default());
            }
        });
    }
}

// ===== impl Steps =====

impl Steps {
    /// What did not go well at once.
    fn write(&self, out: &mut String) {
        if self.endpoints.len() > 1 {
            for (place, endpoint) in self.endpoints.iter().enumerate() {
                word(out, if place == 0 { " tried=" } else { "," }, endpoint);
            }
        }
        if self.attempts() > 1 {
            number(out, " attempts=", self.attempts());
        }
        if !self.waited.is_zero() {
            number(out, " waited_ms=", self.waited.as_millis());
        }
        if !self.failed.is_empty() {
            for (place, class) in self.failed.iter().enumerate() {
                word(
                    out,
                    if place == 0 { " after=" } else { "," },
                    class.as_str(),
                );
            }
        }
        if let Some(status) = self.cached {
            word(out, " cache=", status.as_str());
        }
        if let Some(reason) = self.timed_out {
            quote(out, " timeout=", reason.as_str());
        }
    }
}

/// Puts a word of ours at the end of a line.
fn word(out: &mut String, name: &str, word: &str) {
    out.push_str(name);
    out.push_str(word);
}

/// Puts a number there.
fn number(out: &mut String, name: &str, number: impl fmt::Display) {
    out.push_str(name);
    // Writing to a `String` does not fail.
    let _ = write!(out, "{number}");
}

/// Puts text that a caller chose there: escaped, and not more of it than a line can bear.
fn quote(out: &mut String, name: &str, text: &str) {
    const MOST: usize = 120;
    out.push_str(name);
    out.push('"');
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    if text.len() <= MOST && text.bytes().all(plain) {
        out.push_str(text);
    } else {
        out.extend(text.chars().take(MOST).flat_map(char::escape_debug));
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn what_a_caller_chose_stays_on_its_line() {
        for (text, quoted) in [
            ("gpt-4o", "\"gpt-4o\""),
            ("a b", "\"a b\""),
            ("a\"b\\c\n\u{1b}é", "\"a\\\"b\\\\c\\n\\u{1b}é\""),
        ] {
            let mut out = String::new();
            quote(&mut out, "", text);
            assert_eq!(out, quoted);
        }
        let mut out = String::new();
        quote(&mut out, "", &"é".repeat(500));
        assert_eq!(out.chars().count(), 122);
    }
}
