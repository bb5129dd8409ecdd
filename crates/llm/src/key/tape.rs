//! A JSON text as a list of its values.

use std::{borrow::Cow, ops::Range};

use super::{Bypass, escapes::decode};
use crate::{
    json::{Cursor, Kind, Strings},
    request::PeekError,
};

/// The values of a text in its order, each object and array before what is in it.
#[derive(Debug)]
pub(super) struct Tape<'a> {
    text: &'a [u8],
    nodes: Vec<Node>,
    /// Strings that could be written in another way, in the one that is hashed.
    decoded: Vec<u8>,
}

/// A value on a [`Tape`]. It holds no text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value(u32);

#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    /// Empty, if it is no member of an object.
    pub(super) name: Span,
    /// Of an object, how many members it has.
    pub(super) span: Span,
    /// The node after it, and after all that is in it.
    pub(super) after: u32,
    pub(super) what: What,
}

/// What of the text, or of what was decoded, something is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Span {
    pub(super) start: u32,
    /// The highest bit: it stands in what was decoded.
    len: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Null,
    False,
    True,
    Number,
    String,
    Array,
    Object,
}

/// So many values, at 24 bytes each.
pub(super) const MOST: usize = 1 << 16;

/// The longest text: half of what the numbers of a span can say.
const LONGEST: usize = (1 << 31) - 1;

const DECODED: u32 = 1 << 31;

// ===== impl Tape =====

impl<'a> Tape<'a> {
    pub(super) fn new(text: &'a [u8]) -> Result<Self, Bypass> {
        if text.len() > LONGEST {
            return Err(Bypass::TooLarge);
        }
        let mut tape = Self {
            text,
            // What a chat has whose turns are of some hundred bytes; of longer ones, most stays unused.
            nodes: Vec::with_capacity((text.len() / 40).clamp(16, 512)),
            decoded: Vec::new(),
        };
        let mut json = Cursor::new(text, Strings::Lax);
        let kind = json.kind();
        tape.read(Span::default(), &mut json);
        if tape.is_over() {
            return Err(Bypass::TooLarge);
        }
        match json.end() {
            Ok(()) if kind == Kind::Object => Ok(tape),
            Ok(()) => {
                let found = kind.as_str();
                Err(Bypass::Json(PeekError::NotObject { found }))
            }
            Err(bad) => Err(Bypass::Json(PeekError::of(bad, text))),
        }
    }

    /// The whole text.
    pub(super) const fn root(&self) -> Value {
        Value(0)
    }

    /// Whether the text has too many values.
    #[inline]
    fn is_over(&self) -> bool {
        self.nodes.len() > MOST
    }

    // What has values in it is a function of its own, so that what has none is inlined into it.
    #[inline(always)]
    fn read(&mut self, name: Span, json: &mut Cursor<'_>) {
        let (what, span) = match json.kind() {
            Kind::String => {
                let (span, coded) = json.string_or_coded();
                (What::String, self.string(span, coded))
            }
            Kind::Number => (What::Number, Span::of(json.number_span())),
            // The cursor bounds how deep this goes.
            Kind::Array => return self.read_array(name, json),
            Kind::Object => return self.read_object(name, json),
            Kind::Bool if json.bool() => (What::True, Span::default()),
            Kind::Bool => (What::False, Span::default()),
            Kind::Null => {
                json.skip();
                (What::Null, Span::default())
            }
        };
        self.push(name, what, span);
    }

    #[inline(never)]
    fn read_array(&mut self, name: Span, json: &mut Cursor<'_>) {
        let array = self.push(name, What::Array, Span::default());
        let mut items = json.array();
        while !self.is_over() && json.element(&mut items) {
            self.read(Span::default(), json);
        }
        self.nodes[array].after = self.nodes.len() as u32;
    }

    #[inline(never)]
    fn read_object(&mut self, name: Span, json: &mut Cursor<'_>) {
        let object = self.push(name, What::Object, Span::default());
        let mut items = json.object();
        let mut count = 0;
        while !self.is_over()
            && let Some((name, coded)) = json.member_or_coded(&mut items)
        {
            let name = self.string(name, coded);
            self.read(name, json);
            count += 1;
        }
        let after = self.nodes.len() as u32;
        let node = &mut self.nodes[object];
        (node.span.start, node.after) = (count, after);
    }

    #[inline]
    fn string(&mut self, span: Range<usize>, coded: bool) -> Span {
        if coded {
            self.decode(span)
        } else {
            Span::of(span)
        }
    }

    #[cold]
    #[inline(never)]
    fn decode(&mut self, span: Range<usize>) -> Span {
        let from = self.decoded.len();
        if decode(&self.text[span.clone()], &mut self.decoded).is_none() {
            self.decoded.truncate(from);
            return Span::of(span);
        }
        let mut span = Span::of(from..self.decoded.len());
        span.len |= DECODED;
        span
    }

    #[inline]
    fn push(&mut self, name: Span, what: What, span: Span) -> usize {
        let at = self.nodes.len();
        self.nodes.push(Node {
            name,
            span,
            after: at as u32 + 1,
            what,
        });
        at
    }

    #[inline]
    pub(super) fn node(&self, at: u32) -> &Node {
        &self.nodes[at as usize]
    }

    /// The text of a string, with its escapes, or of a number.
    #[inline]
    pub(super) fn text(&self, span: Span) -> &[u8] {
        let (text, part) = self.place(span);
        &text[part]
    }

    /// Of what a span is a part, and which.
    #[inline]
    pub(super) fn place(&self, span: Span) -> (&[u8], Range<usize>) {
        if span.len & DECODED != 0 {
            return self.place_decoded(span);
        }
        let start = span.start as usize;
        (self.text, start..start + span.len as usize)
    }

    #[cold]
    #[inline(never)]
    fn place_decoded(&self, span: Span) -> (&[u8], Range<usize>) {
        let start = span.start as usize;
        (&self.decoded, start..start + (span.len & !DECODED) as usize)
    }

    /// The names and values of an object. Of anything else, none.
    pub(super) fn members(&self, of: Value) -> impl Iterator<Item = (&[u8], Value)> {
        let object = self.node(of.0);
        let end = match object.what {
            What::Object => object.after,
            _ => 0,
        };
        let mut at = of.0 + 1;
        std::iter::from_fn(move || {
            (at < end).then(|| {
                let node = self.node(at);
                let member = (self.text(node.name), Value(at));
                at = node.after;
                member
            })
        })
    }

    pub(super) fn kind(&self, of: Value) -> Kind {
        match self.node(of.0).what {
            What::Null => Kind::Null,
            What::False | What::True => Kind::Bool,
            What::Number => Kind::Number,
            What::String => Kind::String,
            What::Array => Kind::Array,
            What::Object => Kind::Object,
        }
    }

    pub(super) fn is_true(&self, of: Value) -> bool {
        self.node(of.0).what == What::True
    }

    /// A number as it is written.
    pub(super) fn number(&self, of: Value) -> Option<&[u8]> {
        let node = self.node(of.0);
        (node.what == What::Number).then(|| self.text(node.span))
    }

    /// Whether an object or array has nothing in it.
    pub(super) fn is_empty(&self, of: Value) -> bool {
        self.node(of.0).after == of.0 + 1
    }

    /// What a string says. `None` also where that is no text, but half of a surrogate pair.
    pub(super) fn text_of(&self, of: Value) -> Option<Cow<'a, str>> {
        let node = self.node(of.0);
        if node.what != What::String {
            return None;
        }
        let written = self.text(node.span);
        if written.contains(&b'\\') {
            let quoted = [b"\"", written, b"\""].concat();
            return serde_json::from_slice(&quoted).ok().map(Cow::Owned);
        }
        if node.span.len & DECODED != 0 {
            return String::from_utf8(written.to_vec()).ok().map(Cow::Owned);
        }
        let start = node.span.start as usize;
        let said = &self.text[start..start + node.span.len as usize];
        std::str::from_utf8(said).ok().map(Cow::Borrowed)
    }
}

// ===== impl Span =====

impl Span {
    /// What is written of a member, from its name to the end of its value, if both are written as they
    /// are hashed and nothing is between them but `between` bytes.
    #[inline]
    pub(super) const fn joined(self, value: Self, between: u32) -> Option<Self> {
        if (self.len | value.len) & DECODED != 0 || self.start + self.len + between != value.start {
            return None;
        }
        Some(Self {
            start: self.start,
            len: self.len + between + value.len,
        })
    }

    /// No text is so long that this would not fit.
    #[inline]
    const fn of(span: Range<usize>) -> Self {
        Self {
            start: span.start as u32,
            len: (span.end - span.start) as u32,
        }
    }
}
