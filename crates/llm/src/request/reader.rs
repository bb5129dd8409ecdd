use std::{borrow::Cow, mem, ops::Range};

use super::{Inside, Model, Options, PeekError};
use crate::json::{Cursor, Kind};

/// What was found so far.
#[derive(Default)]
pub(super) struct Reader {
    pub(super) model: Option<Model>,
    stream_seen: bool,
    pub(super) stream: bool,
    pub(super) options: Options,
    /// Which of `MAX_TOKENS` came.
    bounds: [bool; MAX_TOKENS.len()],
    config_seen: bool,
    pub(super) max_tokens: Option<u64>,
}

/// The members of which the smallest is the bound of the reply.
const MAX_TOKENS: [&str; 4] = [
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "maxOutputTokens",
];

// ===== impl Reader =====

impl Reader {
    /// Reads the body, up to what is wrong in it; what is no JSON fails `json`.
    pub(super) fn root(&mut self, json: &mut Cursor<'_>) -> Result<Inside, PeekError> {
        let kind = json.kind();
        if kind != Kind::Object {
            let found = kind.as_str();
            // Broken text is told as such, whatever it began as.
            json.skip();
            let _ = json.end();
            return Err(PeekError::NotObject { found });
        }
        let mut items = json.object();
        let mut inside = Inside {
            start: json.at(),
            empty: true,
        };
        while let Some(name) = json.member_decoded(&mut items) {
            inside.empty = false;
            match &*name {
                b"model" => self.model(json)?,
                b"stream" => self.stream(json)?,
                b"stream_options" => self.options(json)?,
                b"max_tokens" => self.bound(json, 0)?,
                b"max_completion_tokens" => self.bound(json, 1)?,
                b"max_output_tokens" => self.bound(json, 2)?,
                b"generationConfig" | b"generation_config" => self.config(json)?,
                _ => json.skip(),
            }
        }
        let _ = json.end();
        Ok(inside)
    }

    fn model(&mut self, json: &mut Cursor<'_>) -> Result<(), PeekError> {
        let kind = json.kind();
        let start = json.at();
        once("model", self.model.is_some(), start)?;
        if kind != Kind::String {
            return Err(mistyped("model", start, kind.as_str(), "a string"));
        }
        let span = json.string();
        let Some(name) = json.decode(span) else {
            return Err(mistyped("model", start, "half of a surrogate pair", "text"));
        };
        if name.chars().any(char::is_control) {
            let expected = "a string without control characters";
            return Err(mistyped("model", start, "a control character", expected));
        }
        self.model = Some(Model {
            value: start..json.at(),
            decoded: match name {
                Cow::Borrowed(_) => None,
                Cow::Owned(name) => Some(name.into()),
            },
        });
        Ok(())
    }

    fn stream(&mut self, json: &mut Cursor<'_>) -> Result<(), PeekError> {
        let (_, stream) = flag("stream", mem::replace(&mut self.stream_seen, true), json)?;
        self.stream = stream;
        Ok(())
    }

    fn options(&mut self, json: &mut Cursor<'_>) -> Result<(), PeekError> {
        let kind = json.kind();
        let seen = !matches!(self.options, Options::Absent);
        once("stream_options", seen, json.at())?;
        self.options = match kind {
            Kind::Null => Options::Null(json.skip_span()),
            Kind::Object => {
                let mut items = json.object();
                let mut inside = Inside {
                    start: json.at(),
                    empty: true,
                };
                let mut include_usage = None;
                while let Some(name) = json.member_decoded(&mut items) {
                    inside.empty = false;
                    if *name == *b"include_usage" {
                        let seen = include_usage.is_some();
                        include_usage = Some(flag("stream_options.include_usage", seen, json)?);
                    } else {
                        json.skip();
                    }
                }
                Options::Object {
                    inside,
                    include_usage,
                }
            }
            _ => {
                let found = kind.as_str();
                return Err(mistyped("stream_options", json.at(), found, "an object"));
            }
        };
        Ok(())
    }

    fn config(&mut self, json: &mut Cursor<'_>) -> Result<(), PeekError> {
        let kind = json.kind();
        once(
            "generationConfig",
            mem::replace(&mut self.config_seen, true),
            json.at(),
        )?;
        if kind != Kind::Object {
            json.skip();
            return Ok(());
        }
        let mut items = json.object();
        while let Some(name) = json.member_decoded(&mut items) {
            match &*name {
                b"maxOutputTokens" | b"max_output_tokens" => self.bound(json, 3)?,
                _ => json.skip(),
            }
        }
        Ok(())
    }

    fn bound(&mut self, json: &mut Cursor<'_>, which: usize) -> Result<(), PeekError> {
        let member = MAX_TOKENS[which];
        let kind = json.kind();
        once(
            member,
            mem::replace(&mut self.bounds[which], true),
            json.at(),
        )?;
        match kind {
            Kind::Null => json.skip(),
            Kind::Number => {
                let bound = json.number();
                self.max_tokens = match (self.max_tokens, bound) {
                    (Some(one), Some(other)) => Some(one.min(other)),
                    (one, other) => one.or(other),
                };
            }
            _ => return Err(mistyped(member, json.at(), kind.as_str(), "a number")),
        }
        Ok(())
    }
}

/// A boolean, or null, which is no; and where it stands.
fn flag(
    member: &'static str,
    seen: bool,
    json: &mut Cursor<'_>,
) -> Result<(Range<usize>, bool), PeekError> {
    let kind = json.kind();
    let start = json.at();
    once(member, seen, start)?;
    let value = match kind {
        Kind::Bool => json.bool(),
        Kind::Null => {
            json.skip();
            false
        }
        _ => return Err(mistyped(member, start, kind.as_str(), "a boolean")),
    };
    Ok((start..json.at(), value))
}

fn once(member: &'static str, seen: bool, at: usize) -> Result<(), PeekError> {
    if seen {
        return Err(PeekError::Duplicate { member, at });
    }
    Ok(())
}

fn mistyped(
    member: &'static str,
    at: usize,
    found: &'static str,
    expected: &'static str,
) -> PeekError {
    PeekError::Type {
        member,
        at,
        found,
        expected,
    }
}
