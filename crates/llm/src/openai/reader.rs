use std::ops::Range;

use buttress_core::{Finish, Outcome, Usage};

use crate::{
    Dialect,
    answering::Answering,
    json::{Bad, Cursor, Kind},
    reader::{Choices, Reader, Repeatable, Said, count, counted, counts, noted, outcome_of, skip},
    shape::{Counts, Lexemes, Role},
};

/// Reads chunks of a chat completion, or a whole one.
#[derive(Debug, Default)]
pub(crate) struct OpenAiReader {
    choices: Choices,
    done: bool,
    error: Option<Outcome>,
    usage: Option<Usage>,
    model: Answering,
}

/// What one chunk says.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// The index of the first choice, and that it has one.
    index: Option<u64>,
    indexed: bool,
    choices: Choices,
    /// It has an array of choices with none in it.
    no_choices: bool,
    content: bool,
    /// Some of the content is not in lexemes.
    besides: bool,
    usage: Option<Usage>,
    error: bool,
    /// Where the name of the model stands.
    model: Option<Range<usize>>,
}

/// Which of the counts is the index of the first choice.
const INDEX: u8 = 0;

// ===== impl OpenAiReader =====

impl OpenAiReader {
    pub(crate) fn new(model: Answering) -> Self {
        Self {
            model,
            ..Self::default()
        }
    }
}

impl Reader for OpenAiReader {
    fn read(&mut self, text: &[u8], lexemes: &mut Lexemes) -> Result<Said, Bad> {
        if self.done {
            return Ok(Said::NOTHING);
        }
        if text.trim_ascii() == b"[DONE]" {
            self.done = true;
            return Ok(Said::NOTHING);
        }
        let chunk = Chunk::read(text, lexemes)?;
        self.model.told(text, chunk.model.as_ref());
        self.choices.add(chunk.choices);
        if chunk.error {
            self.error.get_or_insert(outcome_of(Dialect::OpenAi, text));
            return Ok(Said::NOTHING);
        }
        if let Some(usage) = chunk.usage {
            // The chunk for the usage alone, or the last one of a server that has none. Before that,
            // it is a running count.
            let last = !chunk.choices.any() || self.choices.all_finished();
            self.usage = Some(if last { usage } else { usage.estimated() });
        }
        Ok(chunk.said())
    }

    fn repeat(&mut self, counts: &Counts) {
        if let Some(index) = counts.get(INDEX) {
            self.choices.seen(index, None);
        }
    }

    fn error(&self) -> Option<Outcome> {
        self.error
    }

    fn complete(&self, ended: bool) -> bool {
        self.done || (ended && self.choices.all_finished())
    }

    fn usage(&self) -> Option<Usage> {
        self.usage
    }

    fn model(&self) -> &Answering {
        &self.model
    }

    fn finish(&self) -> Option<Finish> {
        self.choices.finish()
    }
}

// ===== impl Chunk =====

impl Chunk {
    pub(super) fn read(text: &[u8], lexemes: &mut Lexemes) -> Result<Self, Bad> {
        let mut chunk = Self::default();
        let (mut json, mut items) = lexemes.enter(text);
        let json = &mut json;
        loop {
            let before = json.at();
            let Some(name) = json.member(&mut items) else {
                break;
            };
            if matches!(name, b"choices" | b"usage" | b"error") {
                lexemes.mark(before);
            }
            match (name, json.kind()) {
                (b"choices", Kind::Array) => {
                    let mut choices = json.array();
                    chunk.no_choices = true;
                    while json.element(&mut choices) {
                        chunk.no_choices = false;
                        chunk.choice(json, lexemes);
                    }
                }
                (b"usage", Kind::Object) => chunk.usage = usage(json),
                (b"error", _) => chunk.error |= skip(json, lexemes),
                (b"object" | b"type", Kind::String) => {
                    chunk.error |= text[json.string()] == *b"error";
                }
                (b"model", Kind::String) => chunk.model = Some(noted(json, lexemes)),
                (b"obfuscation", Kind::String) => {
                    lexemes.add(json.string(), Kind::String, Role::Noise);
                }
                _ => {
                    skip(json, lexemes);
                }
            }
        }
        json.end()?;
        Ok(chunk)
    }

    /// It is the chunk that holds the usage and nothing else.
    pub(super) fn is_usage(&self) -> bool {
        self.no_choices && self.usage.is_some()
    }

    pub(super) fn said(&self) -> Said {
        let mut counts = Counts::default();
        counts.set(INDEX, self.index);
        let more = self.usage.is_some() || self.error || self.choices.any_finished();
        Said {
            content: self.content,
            repeatable: (!more).then_some(Repeatable {
                counts,
                besides: self.besides,
            }),
        }
    }

    fn choice(&mut self, json: &mut Cursor<'_>, lexemes: &mut Lexemes) {
        if json.kind() != Kind::Object {
            return json.skip();
        }
        let (mut index, mut finish, mut told) = (None, None, false);
        let mut items = json.object();
        while let Some(name) = json.member(&mut items) {
            match (name, json.kind()) {
                (b"index", _) if !self.indexed => {
                    (self.indexed, told) = (true, true);
                    index = counted(json, lexemes, INDEX);
                    self.index = index;
                }
                (b"index", _) => {
                    // Of two, it is the last one that counts, and the first one that was told.
                    if told {
                        lexemes.forgo();
                    }
                    index = count(json);
                }
                (b"delta" | b"message", Kind::Object) => self.delta(json, lexemes),
                // Of the completions before chat.
                (b"text", Kind::String) => self.string(json, lexemes),
                (b"finish_reason", Kind::String) => {
                    finish = Some(finish_of(json.word()));
                }
                _ => {
                    skip(json, lexemes);
                }
            }
        }
        self.choices.seen(index.unwrap_or(0), finish);
    }

    /// Whatever is not the role is content: servers have several names for reasoning.
    fn delta(&mut self, json: &mut Cursor<'_>, lexemes: &mut Lexemes) {
        let mut items = json.object();
        while let Some(name) = json.member(&mut items) {
            match (name, json.kind()) {
                (b"role", _) => json.skip(),
                (_, Kind::String) => self.string(json, lexemes),
                _ => {
                    let any = skip(json, lexemes);
                    self.content |= any;
                    self.besides |= any;
                }
            }
        }
    }

    fn string(&mut self, json: &mut Cursor<'_>, lexemes: &mut Lexemes) {
        let span = json.string();
        self.content |= !span.is_empty();
        lexemes.add(span, Kind::String, Role::Content);
    }
}

fn finish_of(word: &[u8]) -> Finish {
    match word {
        b"stop" => Finish::Stop,
        b"tool_calls" | b"function_call" => Finish::ToolCalls,
        b"length" => Finish::Length,
        b"content_filter" => Finish::Filtered,
        _ => Finish::Other,
    }
}

/// Prompt tokens are all input, the cache included. Completion tokens are all output, but some
/// compatible servers leave the reasoning out of them and not out of the total.
fn usage(json: &mut Cursor<'_>) -> Option<Usage> {
    let mut told = false;
    let mut total = 0;
    let mut usage = Usage::new(0, 0);
    let mut items = json.object();
    while let Some(name) = json.member(&mut items) {
        match name {
            b"prompt_tokens" | b"input_tokens" => {
                usage.input = number(json, &mut told);
            }
            b"completion_tokens" | b"output_tokens" => {
                usage.output = number(json, &mut told);
            }
            b"total_tokens" => total = count(json).unwrap_or(0),
            // DeepSeek's name for it.
            b"prompt_cache_hit_tokens" => usage.cached_input = count(json).unwrap_or(0),
            b"prompt_tokens_details" | b"input_tokens_details" => {
                counts(json, |name, count| match name {
                    b"cached_tokens" => usage.cached_input = count,
                    b"cache_write_tokens" => usage.cache_write = count,
                    _ => {}
                });
            }
            b"completion_tokens_details" | b"output_tokens_details" => {
                counts(json, |name, count| {
                    if name == b"reasoning_tokens" {
                        usage.reasoning = count;
                    }
                });
            }
            _ => json.skip(),
        }
    }
    usage.output = usage.output.max(total.saturating_sub(usage.input));
    told.then_some(usage)
}

fn number(json: &mut Cursor<'_>, told: &mut bool) -> u64 {
    let count = count(json);
    *told |= count.is_some();
    count.unwrap_or(0)
}
