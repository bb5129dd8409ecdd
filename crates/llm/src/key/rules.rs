//! What of a body is about the way of a reply and not about what it says, and what makes a reply one
//! that should not be given again.

use super::{
    Bypass, Uncacheable,
    tape::{Tape, Value},
};
use crate::{Dialect, json::Kind};

/// What the outermost members say, beside what is hashed.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) model: Option<Value>,
    pub(super) stream: bool,
    pub(super) include_usage: bool,
    temperature: Temperature,
    tools: bool,
    several: bool,
    effect: Option<&'static str>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Temperature {
    #[default]
    Absent,
    Zero,
    Above,
}

/// What the user asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Asked {
    pub(super) sampled: bool,
    pub(super) tools: bool,
}

// ===== impl Facts =====

impl Facts {
    pub(super) fn read(dialect: Dialect, tape: &Tape<'_>) -> Result<Self, Bypass> {
        let mut facts = Self::default();
        for (name, value) in tape.members(tape.root()) {
            match dialect {
                Dialect::OpenAi => facts.openai(name, value, tape)?,
                Dialect::Anthropic => facts.anthropic(name, value, tape)?,
                Dialect::Gemini => facts.gemini(name, value, tape),
            }
        }
        Ok(facts)
    }

    fn openai(&mut self, name: &[u8], value: Value, tape: &Tape<'_>) -> Result<(), Bypass> {
        match name {
            b"model" => self.model = Some(value),
            b"stream" => self.stream = flag("stream", value, tape)?,
            b"stream_options" => {
                for (name, value) in tape.members(value) {
                    if name == b"include_usage" {
                        self.include_usage = flag("stream_options.include_usage", value, tape)?;
                    }
                }
            }
            b"temperature" => self.temperature = temperature(value, tape),
            b"n" => self.several = several(value, tape),
            b"tools" | b"functions" => self.tools |= any(value, tape),
            // Kept on the provider's side, or read from a web that changes.
            b"store" if tape.is_true(value) => self.effect = Some("store"),
            b"web_search_options" if any(value, tape) => self.effect = Some("web_search_options"),
            _ => {}
        }
        Ok(())
    }

    fn anthropic(&mut self, name: &[u8], value: Value, tape: &Tape<'_>) -> Result<(), Bypass> {
        match name {
            b"model" => self.model = Some(value),
            b"stream" => self.stream = flag("stream", value, tape)?,
            b"temperature" => self.temperature = temperature(value, tape),
            b"tools" => self.tools |= any(value, tape),
            // Tools that the provider's side runs.
            b"mcp_servers" if any(value, tape) => self.effect = Some("mcp_servers"),
            b"container" if any(value, tape) => self.effect = Some("container"),
            _ => {}
        }
        Ok(())
    }

    fn gemini(&mut self, name: &[u8], value: Value, tape: &Tape<'_>) {
        match name {
            b"generationConfig" | b"generation_config" => {
                for (name, value) in tape.members(value) {
                    match name {
                        // Of two spellings nobody knows which counts.
                        b"temperature" => {
                            self.temperature = self.temperature.max(temperature(value, tape));
                        }
                        b"candidateCount" | b"candidate_count" => {
                            self.several |= several(value, tape);
                        }
                        _ => {}
                    }
                }
            }
            b"tools" => self.tools |= any(value, tape),
            _ => {}
        }
    }

    /// Whether a reply may be given again to who asks the same.
    pub(super) const fn cacheable(&self, asked: Asked) -> Result<(), Uncacheable> {
        if let Some(member) = self.effect {
            return Err(Uncacheable::Effect(member));
        }
        if self.tools && !asked.tools {
            return Err(Uncacheable::Tools);
        }
        if asked.sampled {
            return Ok(());
        }
        match (self.temperature, self.several) {
            (Temperature::Zero, false) => Ok(()),
            (Temperature::Zero, true) => Err(Uncacheable::Several),
            _ => Err(Uncacheable::Sampled),
        }
    }
}

/// Whether an outermost member does not change what a reply says.
pub(super) const fn is_left_out(dialect: Dialect, name: &[u8]) -> bool {
    match dialect {
        Dialect::OpenAi => matches!(
            name,
            b"stream"
                | b"stream_options"
                | b"user"
                | b"safety_identifier"
                | b"prompt_cache_key"
                | b"metadata"
        ),
        Dialect::Anthropic => matches!(name, b"stream" | b"metadata"),
        Dialect::Gemini => matches!(name, b"labels"),
    }
}

fn flag(member: &'static str, value: Value, tape: &Tape<'_>) -> Result<bool, Bypass> {
    match tape.kind(value) {
        Kind::Bool => Ok(tape.is_true(value)),
        Kind::Null => Ok(false),
        _ => Err(Bypass::Mistyped(member)),
    }
}

/// `null` says nothing.
fn temperature(value: Value, tape: &Tape<'_>) -> Temperature {
    match tape.number(value) {
        Some(number) if is_zero(number) => Temperature::Zero,
        None if tape.kind(value) == Kind::Null => Temperature::Absent,
        _ => Temperature::Above,
    }
}

/// Such as `0`, `-0.0` and `0e5`.
fn is_zero(number: &[u8]) -> bool {
    let mantissa = number.split(|byte| matches!(byte, b'e' | b'E')).next();
    let digits = mantissa.unwrap_or_default().iter();
    !digits.clone().any(|byte| matches!(byte, b'1'..=b'9'))
}

fn several(value: Value, tape: &Tape<'_>) -> bool {
    match tape.number(value) {
        Some(number) => number != b"1",
        None => tape.kind(value) != Kind::Null,
    }
}

/// Whether there is anything: not `null`, `[]` or `{}`.
fn any(value: Value, tape: &Tape<'_>) -> bool {
    match tape.kind(value) {
        Kind::Null => false,
        Kind::Array => !tape.is_empty(value),
        // An empty object asks for the defaults.
        _ => true,
    }
}
