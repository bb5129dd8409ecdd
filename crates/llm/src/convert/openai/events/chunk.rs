//! One chunk, as it stands.

use crate::{
    convert::{
        model::{Arguments, Counts, Part, Signature},
        openai::{
            reply::{content, read_usage, text_or_nothing},
            said::{read_extra, read_thinking},
        },
        read::Reader,
        text::Text,
    },
    json::Kind,
};

/// One of the choices of a chunk.
#[derive(Debug, Default)]
pub(super) struct Choice<'a> {
    pub(super) index: u64,
    pub(super) delta: Delta<'a>,
    pub(super) finish: Option<Text<'a>>,
    pub(super) stop: Option<Text<'a>>,
    pub(super) usage: Option<Counts<'a>>,
    pub(super) at: usize,
}

/// What it adds to the message.
#[derive(Debug, Default)]
pub(super) struct Delta<'a> {
    pub(super) reasoning: Option<Text<'a>>,
    pub(super) thinking: Vec<Part<'a>>,
    pub(super) text: Option<Text<'a>>,
    /// Instead of the text, from some compatible servers.
    pub(super) parts: Vec<Part<'a>>,
    pub(super) signature: Option<Signature<'a>>,
    pub(super) refusal: Option<Text<'a>>,
    pub(super) calls: Vec<Piece<'a>>,
}

/// What it adds to a call.
#[derive(Debug, Default)]
pub(super) struct Piece<'a> {
    pub(super) index: Option<u64>,
    pub(super) id: Option<Text<'a>>,
    pub(super) name: Option<Text<'a>>,
    pub(super) arguments: Option<Arguments<'a>>,
    pub(super) signature: Option<Signature<'a>>,
}

// ===== impl Choice =====

impl<'a> Choice<'a> {
    pub(super) fn read(json: &mut Reader<'a>) -> Self {
        let mut choice = Self {
            at: json.at(),
            ..Self::default()
        };
        json.object(|json, name| match name {
            "index" if json.kind() == Kind::Number => choice.index = json.count(),
            "delta" if json.kind() == Kind::Object => choice.delta.read(json),
            "finish_reason" => choice.finish = text_or_nothing(json),
            "stop_reason" => choice.stop = text_or_nothing(json),
            // Moonshot's place for it.
            "usage" => choice.usage = read_usage(json),
            _ => json.skip(),
        });
        choice
    }
}

// ===== impl Delta =====

impl<'a> Delta<'a> {
    fn read(&mut self, json: &mut Reader<'a>) {
        let mut reasoning = None;
        json.object(|json, name| match (name, json.kind()) {
            ("content", Kind::String) => self.text = text_or_nothing(json),
            ("content", Kind::Array) => self.parts = content(json),
            ("refusal", Kind::String) => self.refusal = text_or_nothing(json),
            ("reasoning_content", Kind::String) => self.reasoning = text_or_nothing(json),
            // Some servers write both.
            ("reasoning", Kind::String) => reasoning = text_or_nothing(json),
            ("thinking_blocks", Kind::Array) => {
                json.array(|json| self.thinking.extend(read_thinking(json)));
            }
            ("extra_content", Kind::Object) => self.signature = read_extra(json),
            ("tool_calls", Kind::Array) => json.array(|json| self.calls.push(Piece::read(json))),
            ("function_call", Kind::Object) => {
                let mut piece = Piece::default();
                piece.function(json);
                self.calls.push(piece);
            }
            _ => json.skip(),
        });
        self.reasoning = self.reasoning.take().or(reasoning);
    }
}

// ===== impl Piece =====

impl<'a> Piece<'a> {
    fn read(json: &mut Reader<'a>) -> Self {
        let mut piece = Self::default();
        json.object(|json, name| match (name, json.kind()) {
            ("index", Kind::Number) => piece.index = Some(json.count()),
            ("id", _) => piece.id = text_or_nothing(json),
            ("function", Kind::Object) => piece.function(json),
            ("extra_content", Kind::Object) => piece.signature = read_extra(json),
            _ => json.skip(),
        });
        piece
    }

    fn function(&mut self, json: &mut Reader<'a>) {
        json.object(|json, name| match (name, json.kind()) {
            ("name", _) => self.name = text_or_nothing(json),
            ("arguments", Kind::Object) => self.arguments = Some(Arguments::Object(json.raw())),
            ("arguments", _) => {
                self.arguments = text_or_nothing(json).map(Arguments::Written);
            }
            _ => json.skip(),
        });
    }
}
