use buttress_core::{Class, Outcome, Usage};

use crate::{
    Dialect,
    json::{Bad, Cursor, Kind, Strings},
    reader::{Choices, LEARNED, Reader, count, outcome_of},
    shape::{Holes, Shape},
};

/// Reads chunks of generated content, or all of it at once.
#[derive(Debug, Default)]
pub(crate) struct GeminiReader {
    shape: Shape,
    candidates: Choices,
    error: Option<Outcome>,
    usage: Option<Usage>,
}

/// What one chunk says.
#[derive(Debug, Default)]
struct Chunk {
    holes: Holes,
    candidates: Choices,
    content: bool,
    /// Of the content, what is not in the holes.
    other_content: bool,
    usage: Option<Usage>,
    error: bool,
    /// The prompt was refused.
    blocked: bool,
}

// ===== impl GeminiReader =====

impl Reader for GeminiReader {
    #[inline]
    fn read(&mut self, text: &[u8]) -> Result<bool, Bad> {
        if let Some(content) = self.shape.matches(text) {
            return Ok(content);
        }
        self.read_anew(text)
    }

    fn error(&self) -> Option<Outcome> {
        self.error
    }

    fn complete(&self, ended: bool) -> bool {
        ended && self.candidates.all_finished()
    }

    fn usage(&self) -> Option<Usage> {
        let last = !self.candidates.any() || self.candidates.all_finished();
        self.usage
            .map(|usage| if last { usage } else { usage.estimated() })
    }
}

impl GeminiReader {
    fn read_anew(&mut self, text: &[u8]) -> Result<bool, Bad> {
        let chunk = Chunk::read(text)?;
        self.candidates.add(chunk.candidates);
        if chunk.usage.is_some() {
            self.usage = chunk.usage;
        }
        if chunk.error {
            self.error.get_or_insert(outcome_of(Dialect::Gemini, text));
            return Ok(false);
        }
        if chunk.blocked && !self.candidates.any() {
            self.error.get_or_insert(Outcome::new(Class::Unfit));
            return Ok(false);
        }
        if chunk.content && !chunk.candidates.any_finished() && text.len() <= LEARNED {
            self.shape.learn(text, &chunk.holes, chunk.other_content);
        }
        Ok(chunk.content)
    }
}

// ===== impl Chunk =====

impl Chunk {
    fn read(text: &[u8]) -> Result<Self, Bad> {
        let mut chunk = Self::default();
        let json = &mut Cursor::new(text, Strings::Lax);
        let mut items = json.object()?;
        while let Some(name) = json.member(&mut items)? {
            match (&*name.name(), json.kind()?) {
                (b"candidates", Kind::Array) => {
                    let mut candidates = json.array()?;
                    while json.element(&mut candidates)? {
                        chunk.candidate(json)?;
                    }
                }
                (b"usageMetadata", Kind::Object) => chunk.usage = usage(json)?,
                (b"promptFeedback", Kind::Object) => chunk.feedback(json)?,
                (b"error", _) => chunk.error |= json.skip_telling(|_| ())?,
                _ => json.skip()?,
            }
        }
        json.end()?;
        Ok(chunk)
    }

    fn candidate(&mut self, json: &mut Cursor<'_>) -> Result<(), Bad> {
        if json.kind()? != Kind::Object {
            return json.skip();
        }
        let (mut index, mut finished) = (0, false);
        let mut items = json.object()?;
        while let Some(name) = json.member(&mut items)? {
            match (&*name.name(), json.kind()?) {
                (b"index", _) => index = count(json)?.unwrap_or(0),
                (b"content", Kind::Object) => self.content(json)?,
                (b"finishReason", Kind::String) => {
                    json.skip()?;
                    finished = true;
                }
                _ => json.skip()?,
            }
        }
        self.candidates.seen(index, finished);
        Ok(())
    }

    fn content(&mut self, json: &mut Cursor<'_>) -> Result<(), Bad> {
        let mut items = json.object()?;
        while let Some(name) = json.member(&mut items)? {
            if *name.name() != *b"parts" || json.kind()? != Kind::Array {
                json.skip()?;
                continue;
            }
            let mut parts = json.array()?;
            while json.element(&mut parts)? {
                self.part(json)?;
            }
        }
        Ok(())
    }

    /// Whatever is in a part is content, but the signature of a thought.
    fn part(&mut self, json: &mut Cursor<'_>) -> Result<(), Bad> {
        if json.kind()? != Kind::Object {
            return json.skip();
        }
        let mut items = json.object()?;
        while let Some(name) = json.member(&mut items)? {
            match (&*name.name(), json.kind()?) {
                (b"thoughtSignature", Kind::String) => self.holes.add(json.string()?, false),
                (_, Kind::String) => {
                    let text = json.string()?;
                    self.content |= !text.raw.is_empty();
                    self.holes.add(text, true);
                }
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

    fn feedback(&mut self, json: &mut Cursor<'_>) -> Result<(), Bad> {
        let mut items = json.object()?;
        while let Some(name) = json.member(&mut items)? {
            match (&*name.name(), json.kind()?) {
                (b"blockReason", Kind::String) => {
                    json.skip()?;
                    self.blocked = true;
                }
                _ => json.skip()?,
            }
        }
        Ok(())
    }
}

/// What was read for tools is beside the prompt, and thoughts beside the candidates. A count that is
/// nothing is left out; so is that of the candidates at times when it is something, but not in the
/// total.
fn usage(json: &mut Cursor<'_>) -> Result<Option<Usage>, Bad> {
    let mut told = false;
    let (mut prompt, mut tools, mut candidates) = (0_u64, 0, None);
    let (mut thoughts, mut cached, mut total) = (0_u64, 0, 0_u64);
    let mut items = json.object()?;
    while let Some(name) = json.member(&mut items)? {
        let place = match &*name.name() {
            b"promptTokenCount" => &mut prompt,
            b"toolUsePromptTokenCount" => &mut tools,
            b"thoughtsTokenCount" => &mut thoughts,
            b"cachedContentTokenCount" => &mut cached,
            b"totalTokenCount" => &mut total,
            b"candidatesTokenCount" => {
                candidates = count(json)?;
                continue;
            }
            _ => {
                json.skip()?;
                continue;
            }
        };
        if let Some(count) = count(json)? {
            *place = count;
            told = true;
        }
    }
    let input = prompt.saturating_add(tools);
    let candidates =
        candidates.unwrap_or_else(|| total.saturating_sub(input).saturating_sub(thoughts));
    let usage = Usage {
        cached_input: cached,
        reasoning: thoughts,
        ..Usage::new(input, candidates.saturating_add(thoughts))
    };
    Ok(told.then_some(usage))
}
