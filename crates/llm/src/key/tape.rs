//! A JSON text as a list of its values, and their hash in an order that is not that of the text.

use std::borrow::Cow;

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
    /// The names of the objects that are being hashed.
    names: Vec<u32>,
    /// The text has too many values.
    over: bool,
}

/// A value on a [`Tape`]. It holds no text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Value(u32);

#[derive(Clone, Copy, Debug)]
struct Node {
    what: What,
    /// What of the text, or of what was decoded, it is; of an object, how many members.
    start: u32,
    end: u32,
    /// The node after it, and after all that is in it.
    after: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Null,
    False,
    True,
    Number,
    String,
    /// It stands in what was decoded.
    Decoded,
    Array,
    Object,
}

/// So many values and names, at 16 bytes each.
pub(super) const MOST: usize = 1 << 16;

// ===== impl Tape =====

impl<'a> Tape<'a> {
    pub(super) fn new(text: &'a [u8]) -> Result<Self, Bypass> {
        if u32::try_from(text.len()).is_err() {
            return Err(Bypass::TooLarge);
        }
        let mut tape = Self {
            text,
            // What a chat of short turns has; of one of long turns, most stays unused.
            nodes: Vec::with_capacity((text.len() / 16).clamp(16, 1024)),
            decoded: Vec::new(),
            names: Vec::new(),
            over: false,
        };
        let mut json = Cursor::new(text, Strings::Strict);
        let kind = json.kind();
        tape.read(&mut json);
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

    fn read(&mut self, json: &mut Cursor<'_>) {
        match json.kind() {
            Kind::String => {
                let span = json.string();
                self.string(span.start, span.end, json.is_escaped());
            }
            Kind::Number => {
                let span = json.skip_span();
                self.push(What::Number, span.start, span.end);
            }
            Kind::Bool => {
                let what = if json.bool() { What::True } else { What::False };
                self.push(what, 0, 0);
            }
            Kind::Null => {
                json.skip();
                self.push(What::Null, 0, 0);
            }
            // The cursor bounds how deep this goes.
            Kind::Array => {
                let array = self.push(What::Array, 0, 0);
                let mut items = json.array();
                while !self.over && json.element(&mut items) {
                    self.read(json);
                }
                self.nodes[array].after = self.nodes.len() as u32;
            }
            Kind::Object => {
                let object = self.push(What::Object, 0, 0);
                let mut items = json.object();
                while !self.over
                    && let Some(name) = json.member_span(&mut items)
                {
                    self.string(name.start, name.end, json.is_escaped());
                    self.read(json);
                    self.nodes[object].start += 1;
                }
                self.nodes[object].after = self.nodes.len() as u32;
            }
        }
    }

    #[inline]
    fn string(&mut self, start: usize, end: usize, escaped: bool) {
        if escaped && is_coded(&self.text[start..end]) {
            let from = self.decoded.len();
            decode(&self.text[start..end], &mut self.decoded);
            self.push(What::Decoded, from, self.decoded.len());
        } else {
            self.push(What::String, start, end);
        }
    }

    #[inline]
    fn push(&mut self, what: What, start: usize, end: usize) -> usize {
        let at = self.nodes.len();
        self.over |= at == MOST;
        // All of these fit, as the length of the text does.
        self.nodes.push(Node {
            what,
            start: start as u32,
            end: end as u32,
            after: at as u32 + 1,
        });
        at
    }

    fn node(&self, at: u32) -> Node {
        self.nodes[at as usize]
    }

    /// The text of a string, with its escapes, or of a number.
    fn text(&self, at: u32) -> &[u8] {
        let node = self.node(at);
        let span = node.start as usize..node.end as usize;
        match node.what {
            What::Decoded => &self.decoded[span],
            _ => &self.text[span],
        }
    }

    /// The names and values of an object. Of anything else, none.
    pub(super) fn members(&self, of: Value) -> impl Iterator<Item = (&[u8], Value)> {
        let object = self.node(of.0);
        let mut at = of.0 + 1;
        let end = match object.what {
            What::Object => object.after,
            _ => at,
        };
        std::iter::from_fn(move || {
            (at < end).then(|| {
                let (name, value) = (at, at + 1);
                at = self.node(value).after;
                (self.text(name), Value(value))
            })
        })
    }

    pub(super) fn kind(&self, of: Value) -> Kind {
        match self.node(of.0).what {
            What::Null => Kind::Null,
            What::False | What::True => Kind::Bool,
            What::Number => Kind::Number,
            What::String | What::Decoded => Kind::String,
            What::Array => Kind::Array,
            What::Object => Kind::Object,
        }
    }

    pub(super) fn is_true(&self, of: Value) -> bool {
        self.node(of.0).what == What::True
    }

    /// A number as it is written.
    pub(super) fn number(&self, of: Value) -> Option<&[u8]> {
        (self.node(of.0).what == What::Number).then(|| self.text(of.0))
    }

    /// Whether an object or array has nothing in it.
    pub(super) fn is_empty(&self, of: Value) -> bool {
        self.node(of.0).after == of.0 + 1
    }

    /// What a string says. `None` also where that is no text, but half of a surrogate pair.
    pub(super) fn text_of(&self, of: Value) -> Option<Cow<'a, str>> {
        let node = self.node(of.0);
        let span = node.start as usize..node.end as usize;
        let written = match node.what {
            What::String => &self.text[span],
            What::Decoded => &self.decoded[span],
            _ => return None,
        };
        if written.contains(&b'\\') {
            let quoted = [b"\"", written, b"\""].concat();
            return serde_json::from_slice(&quoted).ok().map(Cow::Owned);
        }
        match node.what {
            What::String => std::str::from_utf8(&self.text[node.start as usize..node.end as usize])
                .ok()
                .map(Cow::Borrowed),
            _ => String::from_utf8(written.to_vec()).ok().map(Cow::Owned),
        }
    }

    /// Hashes the object that the text is, without the members that are left out.
    pub(super) fn hash(&mut self, left_out: &[&str], to: &mut Hash) -> Result<(), Bypass> {
        self.object(0, left_out, to)
    }

    fn value(&mut self, at: u32, to: &mut Hash) -> Result<(), Bypass> {
        let node = self.node(at);
        match node.what {
            What::Null => to.head(Item::Null, 0),
            What::False => to.head(Item::False, 0),
            What::True => to.head(Item::True, 0),
            What::Number => to.item(Item::Number, self.text(at)),
            What::String | What::Decoded => to.item(Item::String, self.text(at)),
            What::Array => {
                to.head(Item::Array, 0);
                let mut element = at + 1;
                while element < node.after {
                    self.value(element, to)?;
                    element = self.node(element).after;
                }
                to.head(Item::End, 0);
            }
            What::Object => self.object(at, &[], to)?,
        }
        Ok(())
    }

    fn object(&mut self, at: u32, left_out: &[&str], to: &mut Hash) -> Result<(), Bypass> {
        let end = self.node(at).after;
        let mut names = std::mem::take(&mut self.names);
        let first = names.len();
        let mut name = at + 1;
        while name < end {
            names.push(name);
            name = self.node(name + 1).after;
        }
        if names.len() - first > 1 {
            names[first..].sort_unstable_by(|one, other| self.text(*one).cmp(self.text(*other)));
        }
        let twice = names[first..]
            .windows(2)
            .any(|pair| self.text(pair[0]) == self.text(pair[1]));
        if !left_out.is_empty() {
            let mut kept = first;
            for k in first..names.len() {
                let name = names[k];
                if !left_out.iter().any(|out| self.text(name) == out.as_bytes()) {
                    names[kept] = name;
                    kept += 1;
                }
            }
            names.truncate(kept);
        }
        let last = names.len();
        self.names = names;
        if twice {
            return Err(Bypass::Duplicate);
        }
        to.head(Item::Object, last - first);
        for k in first..last {
            let name = self.names[k];
            to.item(Item::String, self.text(name));
            self.value(name + 1, to)?;
        }
        self.names.truncate(first);
        Ok(())
    }
}

/// Whether a string has an escape that could be written in another way: `\u` or `\/`. Of the
/// others, each is the only way to write its character.
fn is_coded(string: &[u8]) -> bool {
    let mut rest = string;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        match rest.get(at + 1..) {
            Some([b'u' | b'/', ..]) => return true,
            Some([_, after @ ..]) => rest = after,
            _ => return false,
        }
    }
    false
}

/// Adds a string with every escape that need not be one written as what it says. Two strings that
/// say the same become the same; two that do not, do not.
fn decode(string: &[u8], out: &mut Vec<u8>) {
    let mut rest = string;
    while let Some(at) = memchr::memchr(b'\\', rest) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        let Some((escape, after)) = rest.split_first() else {
            return;
        };
        rest = after;
        match escape {
            b'/' => out.push(b'/'),
            b'u' => {
                let high = unit(rest);
                rest = rest.get(4..).unwrap_or_default();
                let low = match rest {
                    [b'\\', b'u', low @ ..] => unit(low),
                    _ => 0,
                };
                if (0xD800..0xDC00).contains(&high) && (0xDC00..0xE000).contains(&low) {
                    push(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00), out);
                    rest = &rest[6..];
                } else {
                    push(high, out);
                }
            }
            other => out.extend([b'\\', *other]),
        }
    }
    out.extend_from_slice(rest);
}

/// The value of four hexadecimal digits, which the cursor has seen.
fn unit(digits: &[u8]) -> u32 {
    let digits = digits.iter().take(4);
    digits.fold(0, |unit, digit| {
        unit << 4 | char::from(*digit).to_digit(16).unwrap_or_default()
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
    use super::{decode, is_coded};

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
            decode(written.as_bytes(), &mut out);
            assert_eq!(out, one.as_bytes(), "{written}");
            let coded = written != one || written.contains("\\u00") || written.contains("\\ud");
            if !written.contains(r"\\u") {
                assert_eq!(is_coded(written.as_bytes()), coded, "{written}");
            }
        }
        assert!(!is_coded(br"\\u0061 \\\\/ \n\"));
    }
}
