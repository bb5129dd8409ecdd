use std::ops::Range;

use buttress_core::{Finish, Outcome, Usage};

use crate::{
    Dialect,
    answering::Answering,
    json::{Bad, Cursor, Kind, Strings},
    reader::{Reader, Repeatable, Said, count, noted, outcome_of, skip},
    shape::{Counts, Lexemes, Role},
};

/// Reads the events of a message, or a whole one.
#[derive(Debug, Default)]
pub(crate) struct AnthropicReader {
    stopped: bool,
    error: Option<Outcome>,
    counts: Option<Told>,
    /// The counts are those of the whole message.
    last: bool,
    finish: Option<Finish>,
    model: Answering,
}

/// Tokens as Anthropic counts them. `None`: not told.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    /// Without what was read from the cache or written to it.
    input: Option<u64>,
    cache_write: Option<u64>,
    cache_read: Option<u64>,
    output: Option<u64>,
}

/// What one event says.
#[derive(Debug, Default)]
struct Event {
    kind: Option<What>,
    /// A delta has something in it besides its type.
    filled: bool,
    /// Some of it is not in lexemes.
    besides: bool,
    counts: Told,
    finish: Option<Finish>,
    error: bool,
    /// Where the name of the model stands.
    model: Option<Range<usize>>,
}

/// The types of events that matter, and that of a whole message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Message,
    MessageDelta,
    MessageStop,
    BlockDelta,
    Error,
    Other,
}

// ===== impl AnthropicReader =====

impl AnthropicReader {
    pub(crate) fn new(model: Answering) -> Self {
        Self {
            model,
            ..Self::default()
        }
    }
}

impl Reader for AnthropicReader {
    fn read(&mut self, text: &[u8], lexemes: &mut Lexemes) -> Result<Said, Bad> {
        if self.stopped {
            return Ok(Said::NOTHING);
        }
        let event = Event::read(text, lexemes)?;
        self.model.told(text, event.model.as_ref());
        if event.error || event.kind == Some(What::Error) {
            self.error
                .get_or_insert(outcome_of(Dialect::Anthropic, text));
            return Ok(Said::NOTHING);
        }
        if event.counts.any() {
            // What is told again is told of the whole message so far.
            let counts = self.counts.get_or_insert_default();
            counts.replace(event.counts);
        }
        self.finish = event.finish.or(self.finish);
        match event.kind {
            Some(What::BlockDelta) if event.filled => {
                let repeatable = Repeatable {
                    besides: event.besides,
                    ..Repeatable::default()
                };
                return Ok(Said {
                    content: true,
                    // What is told of tokens is told each time.
                    repeatable: (!event.counts.any()).then_some(repeatable),
                });
            }
            Some(What::MessageDelta) => self.last |= event.finish.is_some() && event.counts.any(),
            Some(What::MessageStop) => self.stopped = true,
            Some(What::Message) => {
                self.last = true;
                return Ok(Said::CONTENT);
            }
            // Of another path, such as the counting of tokens.
            None => self.last = true,
            _ => {}
        }
        Ok(Said::NOTHING)
    }

    fn repeat(&mut self, _: &Counts) {}

    fn error(&self) -> Option<Outcome> {
        self.error
    }

    fn complete(&self, _: bool) -> bool {
        self.stopped
    }

    fn usage(&self) -> Option<Usage> {
        let usage = self.counts?.usage();
        Some(if self.last { usage } else { usage.estimated() })
    }

    fn model(&self) -> &Answering {
        &self.model
    }

    fn finish(&self) -> Option<Finish> {
        self.finish
    }
}

// ===== impl Event =====

impl Event {
    fn read(text: &[u8], lexemes: &mut Lexemes) -> Result<Self, Bad> {
        let mut event = Self::default();
        let json = &mut Cursor::new(text, Strings::Lax);
        let mut items = json.object();
        while let Some(name) = json.member(&mut items) {
            match (name, json.kind()) {
                (b"type", Kind::String) => event.kind = Some(What::of(&text[json.string()])),
                (b"delta", Kind::Object) => event.delta(json, lexemes),
                (b"message", Kind::Object) => event.message(json),
                (b"usage", Kind::Object) => event.counts.read(json),
                (b"error", _) => event.error |= skip(json, lexemes),
                // Of a whole message.
                (b"model", Kind::String) => event.model = Some(noted(json, lexemes)),
                (b"stop_reason", Kind::String) => {
                    event.finish = Some(finish_of(json.word()));
                }
                // Of the counting of tokens.
                (b"input_tokens", _) => event.counts.input = count(json),
                _ => {
                    skip(json, lexemes);
                }
            }
        }
        json.end()?;
        Ok(event)
    }

    /// Whatever is not the type is content of a block: its text, thinking, a part of a tool's input,
    /// a citation, a signature.
    fn delta(&mut self, json: &mut Cursor<'_>, lexemes: &mut Lexemes) {
        let mut items = json.object();
        while let Some(name) = json.member(&mut items) {
            match (name, json.kind()) {
                (b"type", _) => json.skip(),
                (b"stop_reason", Kind::String) => {
                    self.finish = Some(finish_of(json.word()));
                }
                (_, Kind::String) => {
                    let span = json.string();
                    self.filled |= !span.is_empty();
                    lexemes.add(span, Kind::String, Role::Content);
                }
                _ => {
                    let any = skip(json, lexemes);
                    self.filled |= any;
                    self.besides |= any;
                }
            }
        }
    }

    fn message(&mut self, json: &mut Cursor<'_>) {
        let mut items = json.object();
        while let Some(name) = json.member(&mut items) {
            match (name, json.kind()) {
                (b"usage", Kind::Object) => self.counts.read(json),
                (b"model", Kind::String) => self.model = Some(json.string()),
                _ => json.skip(),
            }
        }
    }
}

// ===== impl What =====

impl What {
    fn of(name: &[u8]) -> Self {
        match name {
            b"message" => Self::Message,
            b"message_delta" => Self::MessageDelta,
            b"message_stop" => Self::MessageStop,
            b"content_block_delta" => Self::BlockDelta,
            b"error" => Self::Error,
            _ => Self::Other,
        }
    }
}

fn finish_of(word: &[u8]) -> Finish {
    match word {
        b"end_turn" | b"stop_sequence" => Finish::Stop,
        b"tool_use" => Finish::ToolCalls,
        b"max_tokens" | b"model_context_window_exceeded" => Finish::Length,
        b"refusal" => Finish::Filtered,
        _ => Finish::Other,
    }
}

// ===== impl Told =====

impl Told {
    fn read(&mut self, json: &mut Cursor<'_>) {
        let mut items = json.object();
        while let Some(name) = json.member(&mut items) {
            match name {
                b"input_tokens" => self.input = count(json),
                b"cache_creation_input_tokens" => self.cache_write = count(json),
                b"cache_read_input_tokens" => self.cache_read = count(json),
                b"output_tokens" => self.output = count(json),
                _ => json.skip(),
            }
        }
    }

    fn any(&self) -> bool {
        self.input.or(self.output).is_some()
    }

    fn replace(&mut self, newer: Self) {
        self.input = newer.input.or(self.input);
        self.cache_write = newer.cache_write.or(self.cache_write);
        self.cache_read = newer.cache_read.or(self.cache_read);
        self.output = newer.output.or(self.output);
    }

    fn usage(&self) -> Usage {
        let cached_input = self.cache_read.unwrap_or(0);
        let cache_write = self.cache_write.unwrap_or(0);
        let plain = self.input.unwrap_or(0);
        let input = plain
            .saturating_add(cached_input)
            .saturating_add(cache_write);
        Usage {
            cached_input,
            cache_write,
            ..Usage::new(input, self.output.unwrap_or(0))
        }
    }
}
