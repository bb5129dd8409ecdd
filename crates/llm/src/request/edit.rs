use std::{borrow::Cow, ops::Range};

use bytes::{Bytes, BytesMut};

use super::{Inside, Options, Peek};
use crate::json::quote;

/// Byte-exact changes of a request body. [`Peek::edit`] begins one.
///
/// ```
/// use buttress_llm::request::Peek;
///
/// # fn main() -> Result<(), buttress_llm::request::PeekError> {
/// let request = Peek::new(r#"{ "model" : "a" }"#)?;
/// assert_eq!(request.edit().model("b").finish(), r#"{ "model" : "b" }"#);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "an edit does nothing until it is finished"]
pub struct Edit<'a> {
    request: &'a Peek,
    model: Option<&'a str>,
    include_usage: bool,
}

/// What is put where, and in place of what.
type Splice = (Range<usize>, Cow<'static, str>);

// ===== impl Edit =====

impl<'a> Edit<'a> {
    pub(super) const fn new(request: &'a Peek) -> Self {
        Self {
            request,
            model: None,
            include_usage: false,
        }
    }

    /// Names another model. Does nothing where the body names none.
    pub fn model(mut self, model: &'a str) -> Self {
        self.model = Some(model);
        self
    }

    /// Asks for the usage at the end of the stream. Does nothing where the reply is not streamed,
    /// because the API refuses the option then, or where it is asked for already.
    pub fn include_usage(mut self) -> Self {
        self.include_usage = true;
        self
    }

    /// The body with these changes; the same `Bytes`, if there are none.
    #[must_use]
    pub fn finish(self) -> Bytes {
        let mut splices: Vec<Splice> = Vec::new();
        if let Some(name) = self.model
            && self.request.model() != Some(name)
            && let Some(model) = &self.request.model
        {
            splices.push((model.value.clone(), quote(name).into()));
        }
        if self.include_usage && self.request.stream {
            splices.extend(self.request.include_usage_splice());
        }
        if splices.is_empty() {
            return self.request.body.clone();
        }
        splices.sort_by_key(|(place, _)| place.start);
        let body = &self.request.body;
        let added: usize = splices.iter().map(|(_, text)| text.len()).sum();
        let mut out = BytesMut::with_capacity(body.len() + added);
        let mut from = 0;
        for (place, text) in splices {
            out.extend_from_slice(&body[from..place.start]);
            out.extend_from_slice(text.as_bytes());
            from = place.end;
        }
        out.extend_from_slice(&body[from..]);
        out.freeze()
    }
}

// ===== impl Peek =====

impl Peek {
    fn include_usage_splice(&self) -> Option<Splice> {
        match &self.options {
            Options::Absent => Some(
                self.inside
                    .insert(r#""stream_options":{"include_usage":true}"#),
            ),
            Options::Null(value) => Some((value.clone(), r#"{"include_usage":true}"#.into())),
            Options::Object {
                inside,
                include_usage: None,
            } => Some(inside.insert(r#""include_usage":true"#)),
            Options::Object {
                include_usage: Some((value, false)),
                ..
            } => Some((value.clone(), "true".into())),
            Options::Object {
                include_usage: Some((_, true)),
                ..
            } => None,
        }
    }
}

// ===== impl Inside =====

impl Inside {
    fn insert(self, member: &'static str) -> Splice {
        let text = if self.empty {
            Cow::Borrowed(member)
        } else {
            format!("{member},").into()
        };
        (self.start..self.start, text)
    }
}
