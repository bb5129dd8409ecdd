//! One call, from its start to the end of its reply: what is counted of it, and its line in the log.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
    sync::Arc,
};

use buttress_core::{Outcome, Report};
use http::{HeaderValue, Method, StatusCode, request::Parts};
use tokio::time::Instant;

use crate::{endpoint::Endpoint, fault::Fault, gateway::Id, log::Log};

/// What the log says of a request, whatever becomes of it.
#[derive(Debug)]
pub(crate) struct Line {
    log: Log,
    begun: Instant,
    method: Method,
    path: Cow<'static, str>,
    model: Option<Box<str>>,
}

/// Counts a call to an endpoint and writes its line, once it is over.
///
/// It is a [`Report`], and so it goes where the reply goes: attached to the reply's body, it hears
/// how the call went when that body has ended, failed, or been dropped.
#[derive(Debug)]
pub(crate) struct Call {
    endpoint: Arc<Endpoint>,
    line: Line,
    answered: Option<(StatusCode, HeaderValue)>,
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
            model: None,
        }
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
        if let Some(model) = &self.model {
            quote(out, " model=", model);
        }
    }
}

// ===== impl Call =====

impl Call {
    pub(crate) fn begin(endpoint: &Arc<Endpoint>, line: Line) -> Self {
        endpoint.counters.begin();
        Self {
            endpoint: endpoint.clone(),
            line,
            answered: None,
        }
    }

    /// The caller is about to be told this, under this id.
    pub(crate) fn answered(&mut self, status: StatusCode, id: impl FnOnce() -> HeaderValue) {
        if !self.line.log.is_quiet() {
            self.answered = Some((status, id()));
        }
    }
}

impl Report for Call {
    fn report(&mut self, outcome: &Outcome) {
        self.endpoint.counters.end(outcome);
        self.line.log.line(|out| {
            self.line.write(out);
            word(out, " endpoint=", &self.endpoint.name);
            if let Some((status, _)) = &self.answered {
                number(out, " status=", status.as_u16());
            }
            word(out, " class=", outcome.class.as_str());
            if let Some(usage) = outcome.usage {
                number(out, " input=", usage.input);
                number(out, " output=", usage.output);
            }
            number(out, " ms=", self.line.begun.elapsed().as_millis());
            if let Some((_, id)) = &self.answered {
                quote(out, " id=", id.to_str().unwrap_or_default());
            }
        });
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
