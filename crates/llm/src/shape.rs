//! Events that differ from one read before in nothing but the text they carry.
//!
//! A stream repeats itself: of a chunk of 300 bytes, often 10 are new. What was learned from an
//! event once goes for every later one that has the same bytes outside of certain strings, because
//! nothing between the quotes of a string changes what the rest of a text means. So such an event
//! is compared and not read.

use crate::json::{Text, find_quote};

/// What one event looked like.
#[derive(Debug, Default)]
pub(crate) struct Shape {
    /// All of it but what was in its holes.
    literal: Vec<u8>,
    holes: Holes,
    /// Whether it has content, whatever is in the holes.
    content: bool,
    /// Whether there is one.
    known: bool,
}

/// The strings of an event that may be any others, in their order.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Holes {
    holes: [Hole; Holes::MOST],
    count: usize,
    too_many: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Hole {
    start: usize,
    end: usize,
    /// Whether what is in it is content.
    content: bool,
}

// ===== impl Holes =====

impl Holes {
    const MOST: usize = 6;

    pub(crate) fn add(&mut self, text: Text<'_>, content: bool) {
        if self.count == Self::MOST {
            self.too_many = true;
            return;
        }
        let span = text.span();
        self.holes[self.count] = Hole {
            start: span.start,
            end: span.end,
            content,
        };
        self.count += 1;
    }
}

// ===== impl Shape =====

impl Shape {
    /// Whether `event` is of this shape, and if so, whether it has content.
    #[inline]
    pub(crate) fn matches(&self, event: &[u8]) -> Option<bool> {
        if !self.known {
            return None;
        }
        let mut content = self.content;
        let (mut rest, mut literal) = (event, &self.literal[..]);
        for hole in &self.holes.holes[..self.holes.count] {
            let (before, after) = literal.split_at(hole.start);
            rest = rest.strip_prefix(before)?;
            let len = string_len(rest)?;
            content |= hole.content && len > 0;
            (rest, literal) = (&rest[len..], after);
        }
        (rest == literal).then_some(content)
    }

    /// Takes the shape of `event`, which was read to the end and says nothing but that there is
    /// content, in the holes or (`content`) besides.
    pub(crate) fn learn(&mut self, event: &[u8], holes: &Holes, content: bool) {
        self.known = !holes.too_many;
        if !self.known {
            return;
        }
        self.literal.clear();
        self.holes = *holes;
        self.content = content;
        let mut from = 0;
        for hole in &mut self.holes.holes[..holes.count] {
            let before = &event[from..hole.start];
            self.literal.extend_from_slice(before);
            from = hole.end;
            // From here on: how many bytes of the literal stand between the last hole and this one.
            hole.start = before.len();
        }
        self.literal.extend_from_slice(&event[from..]);
    }
}

/// How long the string is whose first quote is before `text`.
#[inline]
fn string_len(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += find_quote(&text[at..])?;
        if text[at] == b'"' {
            return Some(at);
        }
        at += 2;
        if at > text.len() {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Holes, Shape};
    use crate::json::{Cursor, Strings};

    /// The shape of `event`, all of whose strings are holes.
    fn shape(event: &str) -> Shape {
        let (mut shape, mut holes) = (Shape::default(), Holes::default());
        Cursor::new(event.as_bytes(), Strings::Lax)
            .skip_telling(|text| holes.add(text, true))
            .unwrap();
        shape.learn(event.as_bytes(), &holes, false);
        shape
    }

    #[test]
    fn only_what_is_in_the_holes_may_differ() {
        let shape = shape(r#"{"a":"x","n":1,"b":["",null]}"#);
        for (event, content) in [
            (r#"{"a":"x","n":1,"b":["",null]}"#, Some(true)),
            (r#"{"a":"","n":1,"b":["",null]}"#, Some(false)),
            (r#"{"a":"","n":1,"b":["}\\",null]}"#, Some(true)),
            (r#"{"a":"\"n\":1","n":1,"b":["",null]}"#, Some(true)),
            (r#"{"a":"x","n":2,"b":["",null]}"#, None),
            (r#"{"a":"x","n":1,"b":["",null]} "#, None),
            (r#"{"a":"x","n":1,"b":["",null]"#, None),
            (r#"{"a":"x","n":1,"b":[""#, None),
            (r#"{"a":"x\"#, None),
            (r#"{"a":"x\""#, None),
            (r#"{"a":"x","b":"n","n":1,"b":["",null]}"#, None),
            ("", None),
        ] {
            assert_eq!(shape.matches(event.as_bytes()), content, "{event}");
        }
    }

    #[test]
    fn an_event_with_too_many_strings_is_not_learned() {
        let strings = ["\"\""; Holes::MOST + 1].join(",");
        let event = format!("[{strings}]");
        assert_eq!(shape(&event).matches(event.as_bytes()), None);
        assert_eq!(Shape::default().matches(b""), None);
    }
}
