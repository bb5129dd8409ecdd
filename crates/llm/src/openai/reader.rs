use buttress_core::{Outcome, Usage};

use crate::{
    Dialect,
    json::{Bad, Cursor, Kind, Strings},
    reader::{Choices, LEARNED, Reader, count, counts, outcome_of},
    shape::{Holes, Shape},
};

/// Reads chunks of a chat completion, or a whole one.
#[derive(Debug, Default)]
pub(crate) struct OpenAiReader {
    shape: Shape,
    choices: Choices,
    done: bool,
    error: Option<Outcome>,
    usage: Option<Usage>,
}

/// Knows the chunk that holds the usage and nothing else.
#[derive(Debug, Default)]
pub(super) struct UsageChunk {
    shape: Shape,
}

/// What one chunk says.
#[derive(Debug, Default)]
struct Chunk {
    /// It has an array of choices with none in it.
    no_choices: bool,
    holes: Holes,
    choices: Choices,
    content: bool,
    /// Of the content, what is not in the holes.
    other_content: bool,
    usage: Option<Usage>,
    error: bool,
}

// ===== impl OpenAiReader =====

impl Reader for OpenAiReader {
    #[inline]
    fn read(&mut self, text: &[u8]) -> Result<bool, Bad> {
        if let Some(content) = self.shape.matches(text) {
            return Ok(content && !self.done);
        }
        self.read_anew(text)
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
}

impl OpenAiReader {
    fn read_anew(&mut self, text: &[u8]) -> Result<bool, Bad> {
        if self.done {
            return Ok(false);
        }
        if text.trim_ascii() == b"[DONE]" {
            self.done = true;
            return Ok(false);
        }
        let chunk = Chunk::read(text)?;
        self.choices.add(chunk.choices);
        if chunk.error {
            self.error.get_or_insert(outcome_of(Dialect::OpenAi, text));
            return Ok(false);
        }
        if let Some(usage) = chunk.usage {
            // The chunk for the usage alone, or the last one of a server that has none. Before that,
            // it is a running count.
            let last = !chunk.choices.any() || self.choices.all_finished();
            self.usage = Some(if last { usage } else { usage.estimated() });
        } else if chunk.content && !chunk.choices.any_finished() && text.len() <= LEARNED {
            self.shape.learn(text, &chunk.holes, chunk.other_content);
        }
        Ok(chunk.content)
    }
}

// ===== impl UsageChunk =====

impl UsageChunk {
    /// Whether this event is that chunk.
    pub(super) fn is(&mut self, text: &[u8]) -> bool {
        if self.shape.matches(text).is_some() {
            return false;
        }
        let Ok(chunk) = Chunk::read(text) else {
            return false;
        };
        if chunk.content && chunk.usage.is_none() && text.len() <= LEARNED {
            self.shape.learn(text, &chunk.holes, chunk.other_content);
        }
        chunk.no_choices && chunk.usage.is_some()
    }
}

// ===== impl Chunk =====

impl Chunk {
    fn read(text: &[u8]) -> Result<Self, Bad> {
        let mut chunk = Self::default();
        let json = &mut Cursor::new(text, Strings::Lax);
        let mut items = json.object()?;
        let mut after_choices = false;
        while let Some(name) = json.member(&mut items)? {
            let kind = json.kind()?;
            match (&*name.name(), kind) {
                (b"choices", Kind::Array) => {
                    let mut choices = json.array()?;
                    chunk.no_choices = true;
                    while json.element(&mut choices)? {
                        chunk.no_choices = false;
                        chunk.choice(json)?;
                    }
                    after_choices = true;
                }
                (b"usage", Kind::Object) => chunk.usage = usage(json)?,
                (b"error", _) => chunk.error |= json.skip_telling(|_| ())?,
                (b"object" | b"type", Kind::String) => {
                    chunk.error |= json.string()?.raw == b"error"
                }
                // Such as `obfuscation`, which is another one in every chunk.
                (_, Kind::String) if after_choices => chunk.holes.add(json.string()?, false),
                _ => json.skip()?,
            }
        }
        json.end()?;
        Ok(chunk)
    }

    fn choice(&mut self, json: &mut Cursor<'_>) -> Result<(), Bad> {
        if json.kind()? != Kind::Object {
            return json.skip();
        }
        let (mut index, mut finished) = (0, false);
        let mut items = json.object()?;
        while let Some(name) = json.member(&mut items)? {
            let kind = json.kind()?;
            match (&*name.name(), kind) {
                (b"index", _) => index = count(json)?.unwrap_or(0),
                (b"delta" | b"message", Kind::Object) => self.delta(json)?,
                // Of the completions before chat.
                (b"text", Kind::String) => self.string(json)?,
                (b"finish_reason", Kind::String) => {
                    json.skip()?;
                    finished = true;
                }
                _ => json.skip()?,
            }
        }
        self.choices.seen(index, finished);
        Ok(())
    }

    /// Whatever is not the role is content: servers have several names for reasoning.
    fn delta(&mut self, json: &mut Cursor<'_>) -> Result<(), Bad> {
        let mut items = json.object()?;
        while let Some(name) = json.member(&mut items)? {
            match (&*name.name(), json.kind()?) {
                (b"role", _) => json.skip()?,
                (_, Kind::String) => self.string(json)?,
                _ => {
                    let holes = &mut self.holes;
                    let any = json.skip_telling(|text| holes.add(text, false))?;
                    self.content |= any;
                    self.other_content |= any;
                }
            }
        }
        Ok(())
    }

    fn string(&mut self, json: &mut Cursor<'_>) -> Result<(), Bad> {
        let text = json.string()?;
        self.content |= !text.raw.is_empty();
        self.holes.add(text, true);
        Ok(())
    }
}

/// Prompt tokens are all input, the cache included. Completion tokens are all output, but some
/// compatible servers leave the reasoning out of them and not out of the total.
fn usage(json: &mut Cursor<'_>) -> Result<Option<Usage>, Bad> {
    let mut told = false;
    let mut total = 0;
    let mut usage = Usage::new(0, 0);
    let mut items = json.object()?;
    while let Some(name) = json.member(&mut items)? {
        match &*name.name() {
            b"prompt_tokens" | b"input_tokens" => {
                usage.input = number(json, &mut told)?;
            }
            b"completion_tokens" | b"output_tokens" => {
                usage.output = number(json, &mut told)?;
            }
            b"total_tokens" => total = count(json)?.unwrap_or(0),
            // DeepSeek's name for it.
            b"prompt_cache_hit_tokens" => usage.cached_input = count(json)?.unwrap_or(0),
            b"prompt_tokens_details" | b"input_tokens_details" => {
                counts(json, |name, count| match name {
                    b"cached_tokens" => usage.cached_input = count,
                    b"cache_write_tokens" => usage.cache_write = count,
                    _ => {}
                })?;
            }
            b"completion_tokens_details" | b"output_tokens_details" => {
                counts(json, |name, count| {
                    if name == b"reasoning_tokens" {
                        usage.reasoning = count;
                    }
                })?;
            }
            _ => json.skip()?,
        }
    }
    usage.output = usage.output.max(total.saturating_sub(usage.input));
    Ok(told.then_some(usage))
}

fn number(json: &mut Cursor<'_>, told: &mut bool) -> Result<u64, Bad> {
    let count = count(json)?;
    *told |= count.is_some();
    Ok(count.unwrap_or(0))
}
