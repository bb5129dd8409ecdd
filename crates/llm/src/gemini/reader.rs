use std::ops::Range;

use buttress_core::{Class, Finish, Outcome, Usage};

use crate::{
    Dialect,
    answering::Answering,
    gemini::is_filter,
    json::{Bad, Cursor, Kind, Strings},
    reader::{Choices, Reader, Repeatable, Said, count, counted, noted, outcome_of, skip},
    shape::{Counts, Lexemes, Role},
};

/// Reads chunks of generated content, or all of it at once.
#[derive(Debug, Default)]
pub(crate) struct GeminiReader {
    candidates: Choices,
    error: Option<Outcome>,
    /// The last that were told.
    counts: Option<Counts>,
    model: Answering,
}

/// What one chunk says.
#[derive(Debug, Default)]
struct Chunk {
    /// Those of the tokens, and the index of the first candidate.
    counts: Counts,
    candidates: Choices,
    /// The first candidate that has an index was there.
    indexed: bool,
    content: bool,
    /// Some of the content is not in lexemes.
    besides: bool,
    error: bool,
    /// The prompt was refused.
    blocked: bool,
    /// Where the name of the model stands.
    model: Option<Range<usize>>,
}

// Which of the counts is which.
const INDEX: u8 = 0;
const PROMPT: u8 = 1;
const TOOLS: u8 = 2;
const CANDIDATES: u8 = 3;
const THOUGHTS: u8 = 4;
const CACHED: u8 = 5;
const TOTAL: u8 = 6;

// ===== impl GeminiReader =====

impl Reader for GeminiReader {
    fn read(&mut self, text: &[u8], lexemes: &mut Lexemes) -> Result<Said, Bad> {
        let chunk = Chunk::read(text, lexemes)?;
        self.model.told(text, chunk.model.as_ref());
        self.candidates.add(chunk.candidates);
        self.told(&chunk.counts);
        if chunk.error {
            self.error.get_or_insert(outcome_of(Dialect::Gemini, text));
            return Ok(Said::NOTHING);
        }
        if chunk.blocked && !self.candidates.any() {
            let filtered = Outcome::new(Class::Unfit).with_finish(Finish::Filtered);
            self.error.get_or_insert(filtered);
            return Ok(Said::NOTHING);
        }
        Ok(Said {
            content: chunk.content,
            repeatable: (!chunk.candidates.any_finished()).then_some(Repeatable {
                counts: chunk.counts,
                besides: chunk.besides,
            }),
        })
    }

    fn repeat(&mut self, counts: &Counts) {
        if let Some(index) = counts.get(INDEX) {
            self.candidates.seen(index, None);
        }
        self.told(counts);
    }

    fn error(&self) -> Option<Outcome> {
        self.error
    }

    fn complete(&self, ended: bool) -> bool {
        ended && self.candidates.all_finished()
    }

    fn usage(&self) -> Option<Usage> {
        let usage = usage(&self.counts?);
        let last = !self.candidates.any() || self.candidates.all_finished();
        Some(if last { usage } else { usage.estimated() })
    }

    fn model(&self) -> &Answering {
        &self.model
    }

    fn finish(&self) -> Option<Finish> {
        self.candidates.finish()
    }
}

impl GeminiReader {
    pub(crate) fn new(model: Answering) -> Self {
        Self {
            model,
            ..Self::default()
        }
    }

    fn told(&mut self, counts: &Counts) {
        if counts.any_but(INDEX) {
            self.counts = Some(*counts);
        }
    }
}

// ===== impl Chunk =====

impl Chunk {
    fn read(text: &[u8], lexemes: &mut Lexemes) -> Result<Self, Bad> {
        let mut chunk = Self::default();
        let json = &mut Cursor::new(text, Strings::Lax);
        let mut items = json.object();
        while let Some(name) = json.member(&mut items) {
            match (name, json.kind()) {
                (b"candidates", Kind::Array) => {
                    let mut candidates = json.array();
                    while json.element(&mut candidates) {
                        chunk.candidate(json, lexemes);
                    }
                }
                (b"usageMetadata", Kind::Object) => chunk.usage(json, lexemes),
                (b"promptFeedback", Kind::Object) => chunk.feedback(json),
                (b"modelVersion", Kind::String) => chunk.model = Some(noted(json, lexemes)),
                (b"error", _) => chunk.error |= skip(json, lexemes),
                _ => {
                    skip(json, lexemes);
                }
            }
        }
        json.end()?;
        Ok(chunk)
    }

    fn candidate(&mut self, json: &mut Cursor<'_>, lexemes: &mut Lexemes) {
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
                    self.counts.set(INDEX, index);
                }
                (b"index", _) => {
                    // Of two, it is the last one that counts, and the first one that was told.
                    if told {
                        lexemes.forgo();
                    }
                    index = count(json);
                }
                (b"content", Kind::Object) => self.content(json, lexemes),
                (b"finishReason", Kind::String) => {
                    finish = Some(finish_of(json.word()));
                }
                _ => {
                    skip(json, lexemes);
                }
            }
        }
        self.candidates.seen(index.unwrap_or(0), finish);
    }

    fn content(&mut self, json: &mut Cursor<'_>, lexemes: &mut Lexemes) {
        let mut items = json.object();
        while let Some(name) = json.member(&mut items) {
            if name != b"parts" || json.kind() != Kind::Array {
                skip(json, lexemes);
                continue;
            }
            let mut parts = json.array();
            while json.element(&mut parts) {
                self.part(json, lexemes);
            }
        }
    }

    /// Whatever is in a part is content, but the signature of a thought.
    fn part(&mut self, json: &mut Cursor<'_>, lexemes: &mut Lexemes) {
        if json.kind() != Kind::Object {
            return json.skip();
        }
        let mut items = json.object();
        while let Some(name) = json.member(&mut items) {
            match (name, json.kind()) {
                (b"thoughtSignature", _) => {
                    skip(json, lexemes);
                }
                (_, Kind::String) => {
                    let span = json.string();
                    self.content |= !span.is_empty();
                    lexemes.add(span, Kind::String, Role::Content);
                }
                _ => {
                    let any = skip(json, lexemes);
                    self.content |= any;
                    self.besides |= any;
                }
            }
        }
    }

    fn usage(&mut self, json: &mut Cursor<'_>, lexemes: &mut Lexemes) {
        let mut items = json.object();
        while let Some(name) = json.member(&mut items) {
            let which = match name {
                b"promptTokenCount" => PROMPT,
                b"toolUsePromptTokenCount" => TOOLS,
                b"candidatesTokenCount" => CANDIDATES,
                b"thoughtsTokenCount" => THOUGHTS,
                b"cachedContentTokenCount" => CACHED,
                b"totalTokenCount" => TOTAL,
                _ => {
                    skip(json, lexemes);
                    continue;
                }
            };
            self.counts.set(which, counted(json, lexemes, which));
        }
    }

    fn feedback(&mut self, json: &mut Cursor<'_>) {
        let mut items = json.object();
        while let Some(name) = json.member(&mut items) {
            match (name, json.kind()) {
                (b"blockReason", Kind::String) => {
                    json.skip();
                    self.blocked = true;
                }
                _ => json.skip(),
            }
        }
    }
}

fn finish_of(word: &[u8]) -> Finish {
    match word {
        b"STOP" => Finish::Stop,
        b"MAX_TOKENS" => Finish::Length,
        _ if is_filter(word) => Finish::Filtered,
        _ => Finish::Other,
    }
}

/// What was read for tools is beside the prompt, and thoughts beside the candidates. A count that is
/// nothing is left out; so is that of the candidates at times when it is something, but not in the
/// total.
fn usage(counts: &Counts) -> Usage {
    let count = |which: u8| counts.get(which).unwrap_or(0);
    let input = count(PROMPT).saturating_add(count(TOOLS));
    let thoughts = count(THOUGHTS);
    let candidates = counts
        .get(CANDIDATES)
        .unwrap_or_else(|| count(TOTAL).saturating_sub(input).saturating_sub(thoughts));
    Usage {
        cached_input: count(CACHED),
        reasoning: thoughts,
        ..Usage::new(input, candidates.saturating_add(thoughts))
    }
}
