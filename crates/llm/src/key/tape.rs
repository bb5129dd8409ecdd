//! A JSON text as a list of its values, and their hash in an order that is not that of the text.

use std::{borrow::Cow, cmp::Ordering, ops::Range};

use super::{
    Bypass,
    hash::{Hash, Item},
};
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
    /// The text has too many values.
    over: bool,
}

/// A value on a [`Tape`]. It holds no text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value(u32);

#[derive(Clone, Copy, Debug)]
struct Node {
    /// Empty, if it is no member of an object.
    name: Span,
    /// Of an object, how many members it has.
    span: Span,
    /// The node after it, and after all that is in it.
    after: u32,
    what: What,
}

/// What of the text, or of what was decoded, something is.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    start: u32,
    /// The highest bit: it stands in what was decoded.
    end: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
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

/// Objects of so many members are sorted where they are found.
const FEW: usize = 16;

const DECODED: u32 = 1 << 31;

// ===== impl Tape =====

impl<'a> Tape<'a> {
    pub(super) fn new(text: &'a [u8]) -> Result<Self, Bypass> {
        if text.len() > LONGEST {
            return Err(Bypass::TooLarge);
        }
        let mut tape = Self {
            text,
            // What a chat of short turns has; of one of long turns, most stays unused.
            nodes: Vec::with_capacity((text.len() / 32).clamp(16, 512)),
            decoded: Vec::new(),
            over: false,
        };
        let mut json = Cursor::new(text, Strings::Lax);
        let kind = json.kind();
        tape.read(Span::default(), &mut json);
        if tape.over {
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

    fn read(&mut self, name: Span, json: &mut Cursor<'_>) {
        let what = match json.kind() {
            Kind::String => {
                let (span, coded) = json.string_or_coded();
                let span = self.string(span, coded);
                self.push(name, What::String, span);
                return;
            }
            Kind::Number => {
                let span = json.skip_span();
                self.push(name, What::Number, Span::of(span));
                return;
            }
            // The cursor bounds how deep this goes.
            Kind::Array => {
                let array = self.push(name, What::Array, Span::default());
                let mut items = json.array();
                while !self.over && json.element(&mut items) {
                    self.read(Span::default(), json);
                }
                self.nodes[array].after = self.nodes.len() as u32;
                return;
            }
            Kind::Object => {
                let object = self.push(name, What::Object, Span::default());
                let mut items = json.object();
                let mut count = 0;
                while !self.over
                    && let Some((name, coded)) = json.member_or_coded(&mut items)
                {
                    let name = self.string(name, coded);
                    self.read(name, json);
                    count += 1;
                }
                let after = self.nodes.len() as u32;
                let node = &mut self.nodes[object];
                (node.span.start, node.after) = (count, after);
                return;
            }
            Kind::Bool if json.bool() => What::True,
            Kind::Bool => What::False,
            Kind::Null => {
                json.skip();
                What::Null
            }
        };
        self.push(name, what, Span::default());
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
    fn decode(&mut self, span: Range<usize>) -> Span {
        let from = self.decoded.len();
        if decode(&self.text[span.clone()], &mut self.decoded).is_none() {
            self.decoded.truncate(from);
            return Span::of(span);
        }
        let mut span = Span::of(from..self.decoded.len());
        span.end |= DECODED;
        span
    }

    #[inline]
    fn push(&mut self, name: Span, what: What, span: Span) -> usize {
        let at = self.nodes.len();
        self.over |= at == MOST;
        self.nodes.push(Node {
            name,
            span,
            after: at as u32 + 1,
            what,
        });
        at
    }

    #[inline]
    fn node(&self, at: u32) -> &Node {
        &self.nodes[at as usize]
    }

    /// The text of a string, with its escapes, or of a number.
    #[inline]
    fn text(&self, span: Span) -> &[u8] {
        let start = span.start as usize;
        match span.end & DECODED {
            0 => &self.text[start..span.end as usize],
            _ => &self.decoded[start..(span.end & !DECODED) as usize],
        }
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
        match node.span.end & DECODED {
            0 => std::str::from_utf8(&self.text[node.span.start as usize..node.span.end as usize])
                .ok()
                .map(Cow::Borrowed),
            _ => String::from_utf8(written.to_vec()).ok().map(Cow::Owned),
        }
    }

    /// Hashes the object that the text is, without the members that are left out.
    pub(super) fn hash(&self, left_out: &[&str], to: &mut Hash) -> Result<(), Bypass> {
        self.object(0, left_out, to)
    }

    /// Hashes a value, and says where the next one is.
    #[inline]
    fn value(&self, at: u32, to: &mut Hash) -> Result<u32, Bypass> {
        let node = self.node(at);
        match node.what {
            What::String => to.item(Item::String, self.text(node.span)),
            What::Number => to.item(Item::Number, self.text(node.span)),
            What::Null => to.head(Item::Null, 0),
            What::False => to.head(Item::False, 0),
            What::True => to.head(Item::True, 0),
            What::Array => self.array(at, to)?,
            What::Object => self.object(at, &[], to)?,
        }
        Ok(node.after)
    }

    fn array(&self, at: u32, to: &mut Hash) -> Result<(), Bypass> {
        to.head(Item::Array, 0);
        let (mut element, end) = (at + 1, self.node(at).after);
        while element < end {
            element = self.value(element, to)?;
        }
        to.head(Item::End, 0);
        Ok(())
    }

    fn object(&self, at: u32, left_out: &[&str], to: &mut Hash) -> Result<(), Bypass> {
        let node = self.node(at);
        let count = node.span.start as usize;
        let (mut few, mut many) = ([0; FEW], Vec::new());
        let members = match few.get_mut(..count) {
            Some(few) => few,
            None => {
                many.resize(count, 0);
                &mut many[..]
            }
        };
        let mut member = at + 1;
        for place in &mut *members {
            *place = member;
            member = self.node(member).after;
        }
        let name = |member: u32| self.text(self.node(member).name);
        if count <= FEW {
            for k in 1..count {
                let mut k = k;
                while k > 0 {
                    match name(members[k - 1]).cmp(name(members[k])) {
                        Ordering::Less => break,
                        Ordering::Equal => return Err(Bypass::Duplicate),
                        Ordering::Greater => members.swap(k - 1, k),
                    }
                    k -= 1;
                }
            }
        } else {
            members.sort_unstable_by(|one, other| name(*one).cmp(name(*other)));
            if members
                .windows(2)
                .any(|pair| name(pair[0]) == name(pair[1]))
            {
                return Err(Bypass::Duplicate);
            }
        }
        let is_out = |member: u32| left_out.iter().any(|out| name(member) == out.as_bytes());
        let out = match left_out {
            [] => 0,
            _ => members.iter().filter(|member| is_out(**member)).count(),
        };
        to.head(Item::Object, count - out);
        for member in &*members {
            if out == 0 || !is_out(*member) {
                to.item(Item::String, name(*member));
                self.value(*member, to)?;
            }
        }
        Ok(())
    }
}

// ===== impl Span =====

impl Span {
    /// No text is so long that this would not fit.
    #[inline]
    const fn of(span: Range<usize>) -> Self {
        Self {
            start: span.start as u32,
            end: span.end as u32,
        }
    }
}

/// Adds a string with every escape that need not be one written as what it says. Two strings that
/// say the same become the same; two that do not, do not. `None`: an escape is none of JSON's, and so
/// the string as it is written is one that no other becomes.
fn decode(string: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut rest = string;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        let (escape, after) = rest.split_first()?;
        rest = after;
        match escape {
            b'/' => out.push(b'/'),
            b'u' => {
                let high = unit(rest)?;
                rest = rest.get(4..).unwrap_or_default();
                let low = match rest {
                    [b'\\', b'u', low @ ..] => unit(low).unwrap_or_default(),
                    _ => 0,
                };
                if (0xD800..0xDC00).contains(&high) && (0xDC00..0xE000).contains(&low) {
                    push(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00), out);
                    rest = &rest[6..];
                } else {
                    push(high, out);
                }
            }
            b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't' => out.extend([b'\\', *escape]),
            _ => return None,
        }
    }
    out.extend_from_slice(rest);
    Some(())
}

/// The value of four hexadecimal digits, if they are.
fn unit(text: &[u8]) -> Option<u32> {
    let digits = text.first_chunk::<4>()?.iter();
    digits.copied().try_fold(0, |unit, digit| {
        Some(unit << 4 | char::from(digit).to_digit(16)?)
    })
}

fn push(code: u32, out: &mut Vec<u8>) {
    let short = match code {
        0x22 => b'"',
        0x5C => b'\\',
        0x08 => b'b',
        0x09 => b't',
        0x0A => b'n',
        0x0C => b'f',
        0x0D => b'r',
        _ => match char::from_u32(code) {
            Some(char) if char >= ' ' => {
                out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                return;
            }
            // A control character, or half of a surrogate pair: it can only be written so.
            _ => {
                out.extend_from_slice(format!("\\u{code:04x}").as_bytes());
                return;
            }
        },
    };
    out.extend([b'\\', short]);
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn a_string_has_one_way_to_be_written() {
        for (written, one) in [
            (r"\u0061", "a"),
            (r"\/", "/"),
            (r"\\/", r"\\/"),
            (r"\\u0061", r"\\u0061"),
            (r"\u005cu0061", r"\\u0061"),
            (r"\u0022", r#"\""#),
            (r"\u000a\n", r"\n\n"),
            (r"\u0008\u0009\u000C\u000d", r"\b\t\f\r"),
            (r"\u001F\u0000", r"\u001f\u0000"),
            (r"\u00e9é", "éé"),
            (r"\uD83D\uDE00", "😀"),
            (r"\ud83d\u0061", r"\ud83da"),
            (r"\uDE00\uD83D", r"\ude00\ud83d"),
            (r"\ud83d\\ude00\/", r"\ud83d\\ude00/"),
            (r"\u007f", "\u{7f}"),
        ] {
            let mut out = Vec::new();
            assert_eq!(decode(written.as_bytes(), &mut out), Some(()), "{written}");
            assert_eq!(out, one.as_bytes(), "{written}");
        }
        for written in [
            r"\u",
            r"\u12",
            r"\u00zz",
            r"\u00\u0031f",
            r"\q\u0061",
            r"\u0061\",
            r"\u+041",
        ] {
            assert_eq!(
                decode(written.as_bytes(), &mut Vec::new()),
                None,
                "{written}"
            );
        }
    }
}
