//! Events that differ from one read before in nothing but a few strings and numbers.
//!
//! A stream repeats itself: of an event of 300 bytes, often 10 are new. What was learned from an
//! event once goes for every later one that has the same bytes outside of certain strings and
//! numbers, because nothing inside of those changes what the rest of a text means. So such an event
//! is compared, and neither searched for its end nor read.
//!
//! Which strings and numbers those are is found by looking: at first the content, and then whatever
//! differed between two events that are alike otherwise.

use std::ops::Range;

use crate::json::{Cursor, Items, Kind, Strings, string_len};

/// The shapes of a stream.
#[derive(Debug, Default)]
pub(crate) struct Shapes {
    /// Two, for streams in which two kinds of event alternate.
    shapes: [Shape; 2],
    /// The one that matched last.
    last: usize,
}

/// What an event of a known shape says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Match {
    /// How many bytes it has, with its blank line.
    pub(crate) len: usize,
    pub(crate) content: bool,
}

/// The numbers in an event that matter, by what its reader calls them: 0 to 7.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    counts: [u64; 8],
    /// A bit for each that was told.
    told: u8,
}

/// The strings and numbers in a text that may be any others, as far as its reader is concerned.
#[derive(Clone, Debug)]
pub(crate) struct Lexemes {
    lexemes: [Lexeme; Lexemes::MOST],
    count: usize,
    /// A bit for each of the counts that is in one of them.
    counted: u8,
    /// More than that, or nobody asks.
    over: bool,
    /// So much of the text says nothing: members that matter begin after it.
    prefix: usize,
    /// So much of it was read before, in another text.
    known: usize,
}

/// What a lexeme means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Role {
    /// Nothing.
    #[default]
    Nothing,
    /// Nothing, and it is another one in every event.
    Noise,
    /// That there is content, if it is not empty.
    Content,
    /// This one of the counts.
    Count(u8),
}

#[derive(Clone, Copy, Debug, Default)]
struct Lexeme {
    /// Inside of the quotes, if it is a string.
    start: u16,
    end: u16,
    role: Role,
    string: bool,
    /// It may be any other one.
    hole: bool,
}

#[derive(Debug, Default)]
struct Shape {
    /// An event of this shape, from its first byte to the end of its blank line.
    frame: Vec<u8>,
    lexemes: Lexemes,
    /// Where in the frame that part of the data is that says nothing.
    prefix: Range<usize>,
    /// Those of the lexemes that are holes, in their order.
    holes: Vec<Lexeme>,
    /// Of the event that matched last.
    counts: Counts,
    /// There is content, whatever is in the holes.
    content: bool,
    known: bool,
}

/// Longer events do not come by the hundred, and are the decoder's to bound.
const LONGEST: usize = 4 << 10;

// ===== impl Counts =====

impl Counts {
    #[inline]
    pub(crate) fn get(&self, which: u8) -> Option<u64> {
        let which = which & 7;
        (self.told & (1 << which) != 0).then(|| self.counts[usize::from(which)])
    }

    #[inline]
    pub(crate) fn set(&mut self, which: u8, count: Option<u64>) {
        let which = which & 7;
        if let Some(count) = count {
            self.counts[usize::from(which)] = count;
            self.told |= 1 << which;
        }
    }

    /// Whether any was told but this one.
    #[inline]
    pub(crate) fn any_but(&self, which: u8) -> bool {
        self.told & !(1 << (which & 7)) != 0
    }
}

// ===== impl Lexemes =====

impl Lexemes {
    const MOST: usize = 24;

    /// Enters the object that `text` is, past what is known of it.
    #[inline]
    pub(crate) fn enter<'a>(&self, text: &'a [u8]) -> (Cursor<'a>, Items) {
        let mut json = Cursor::new(text, Strings::Lax);
        let items = match self.known {
            0 => json.object(),
            known => json.resume(known),
        };
        (json, items)
    }

    /// Before each member that matters, all others having been added. Only the first of them counts:
    /// what is after it is read in every event.
    pub(crate) fn mark(&mut self, prefix: usize) {
        if self.prefix == 0 {
            self.prefix = prefix;
        }
    }

    /// It says something that no other text of this shape would say.
    pub(crate) fn forgo(&mut self) {
        self.over = true;
    }

    /// For who does not ask.
    pub(crate) fn ignored() -> Self {
        Self {
            over: true,
            ..Self::default()
        }
    }

    #[inline]
    pub(crate) fn add(&mut self, span: Range<usize>, kind: Kind, role: Role) {
        if self.over || self.count == Self::MOST || span.end > LONGEST {
            self.over = true;
            return;
        }
        if let Role::Count(which) = role {
            let bit = 1 << (which & 7);
            // Of two, it depends on both which one counts.
            self.over |= self.counted & bit != 0;
            self.counted |= bit;
        }
        self.lexemes[self.count] = Lexeme {
            // Both are at most `LONGEST`.
            start: span.start as u16,
            end: span.end as u16,
            role,
            string: kind == Kind::String,
            hole: matches!(role, Role::Content | Role::Noise),
        };
        self.count += 1;
    }

    fn all(&self) -> &[Lexeme] {
        &self.lexemes[..self.count]
    }

    fn all_mut(&mut self) -> &mut [Lexeme] {
        &mut self.lexemes[..self.count]
    }
}

impl Default for Lexemes {
    fn default() -> Self {
        Self {
            lexemes: [Lexeme::default(); Self::MOST],
            count: 0,
            counted: 0,
            over: false,
            prefix: 0,
            known: 0,
        }
    }
}

// ===== impl Lexeme =====

impl Lexeme {
    fn span(&self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    fn shift(&mut self, by: u16) {
        self.start += by;
        self.end += by;
    }
}

// ===== impl Shapes =====

impl Shapes {
    /// What the event says with which `text` begins, if it is of a known shape. Its counts are in
    /// [`counts`](Shapes::counts) then.
    #[inline]
    pub(crate) fn find(&mut self, text: &[u8]) -> Option<Match> {
        let found = self.shapes[self.last].find(text);
        if found.is_some() {
            return found;
        }
        let other = self.last ^ 1;
        let found = self.shapes[other].find(text);
        if found.is_some() {
            self.last = other;
        }
        found
    }

    /// For an event that is not found, and must be read: what is known of it all the same.
    pub(crate) fn begin(&self, data: &[u8]) -> Lexemes {
        let shape = &self.shapes[self.last];
        shape.begin(data).unwrap_or_default()
    }

    /// The counts of the event that was found last.
    pub(crate) fn counts(&self) -> &Counts {
        &self.shapes[self.last].counts
    }

    /// Learns from an event, which was read to its end and says nothing but these counts, and that
    /// there is content: in the lexemes for it, or (`content`) besides.
    ///
    /// `data` is that part of `frame` in which the lexemes are.
    pub(crate) fn learn(
        &mut self,
        frame: &[u8],
        data: &[u8],
        mut lexemes: Lexemes,
        counts: Counts,
        content: bool,
    ) {
        let start = data.as_ptr().addr().wrapping_sub(frame.as_ptr().addr());
        // Data of several lines is not part of its frame.
        let within = start
            .checked_add(data.len())
            .is_some_and(|end| end <= frame.len());
        if lexemes.over || !within || frame.len() > LONGEST {
            return;
        }
        for lexeme in lexemes.all_mut() {
            lexeme.shift(start as u16);
        }
        let prefix = start..start + lexemes.prefix;
        let alike = |shape: &Shape| shape.known && shape.is_like(frame, &lexemes);
        let which = match self.shapes.iter().position(alike) {
            Some(which) => {
                self.shapes[which].open(frame, &mut lexemes);
                which
            }
            None if self.shapes[self.last].known => self.last ^ 1,
            None => self.last,
        };
        self.last = which;
        let content = content
            || lexemes.all().iter().any(|lexeme| {
                lexeme.role == Role::Content && !lexeme.hole && !lexeme.span().is_empty()
            });
        let shape = &mut self.shapes[which];
        shape.frame.clear();
        shape.frame.extend_from_slice(frame);
        shape.holes.clear();
        let holes = lexemes.all().iter().filter(|lexeme| lexeme.hole);
        shape.holes.extend(holes);
        shape.lexemes = lexemes;
        shape.prefix = prefix;
        shape.counts = counts;
        shape.content = content;
        shape.known = true;
    }
}

// ===== impl Shape =====

impl Shape {
    #[inline]
    fn find(&mut self, text: &[u8]) -> Option<Match> {
        if !self.known {
            return None;
        }
        let mut content = self.content;
        let (mut rest, mut from) = (text, 0);
        for hole in &self.holes {
            let span = hole.span();
            rest = rest.strip_prefix(&self.frame[from..span.start])?;
            let len = if hole.string {
                let len = string_len(rest)?;
                content |= hole.role == Role::Content && len > 0;
                len
            } else {
                let (len, value) = number(rest)?;
                if let Role::Count(which) = hole.role {
                    // Should this not match in the end: the next that does sets it anew.
                    self.counts.set(which, Some(value));
                }
                len
            };
            rest = &rest[len..];
            from = span.end;
        }
        rest = rest.strip_prefix(&self.frame[from..])?;
        let len = text.len() - rest.len();
        (len <= LONGEST).then_some(Match { len, content })
    }

    /// The lexemes in the first part of another event, if it is the same as in this one.
    fn begin(&self, data: &[u8]) -> Option<Lexemes> {
        let prefix = &self.frame[self.prefix.clone()];
        // Where it ends in a number, that of the other event may be longer.
        if prefix.is_empty() || !data.starts_with(prefix) || data.get(prefix.len()) != Some(&b',') {
            return None;
        }
        let mut lexemes = self.lexemes.clone();
        lexemes.known = prefix.len();
        lexemes.count = lexemes
            .all()
            .iter()
            .take_while(|lexeme| lexeme.span().end <= self.prefix.end)
            .count();
        lexemes.counted = 0;
        for k in 0..lexemes.count {
            let lexeme = &mut lexemes.lexemes[k];
            lexeme.start -= self.prefix.start as u16;
            lexeme.end -= self.prefix.start as u16;
            if let Role::Count(which) = lexeme.role {
                lexemes.counted |= 1 << (which & 7);
            }
        }
        Some(lexemes)
    }

    /// Whether an event is the same outside of all lexemes.
    fn is_like(&self, frame: &[u8], lexemes: &Lexemes) -> bool {
        let (ours, theirs) = (self.lexemes.all(), lexemes.all());
        if ours.len() != theirs.len() {
            return false;
        }
        let (mut our_from, mut their_from) = (0, 0);
        for (our, their) in ours.iter().zip(theirs) {
            let (our_span, their_span) = (our.span(), their.span());
            let same = self.frame[our_from..our_span.start] == frame[their_from..their_span.start]
                && our.role == their.role
                && our.string == their.string;
            if !same {
                return false;
            }
            (our_from, their_from) = (our_span.end, their_span.end);
        }
        self.frame[our_from..] == frame[their_from..]
    }

    /// Marks those lexemes of a like event that may be any: those which were so before, and those
    /// which differ.
    fn open(&self, frame: &[u8], lexemes: &mut Lexemes) {
        for (our, their) in self.lexemes.all().iter().zip(lexemes.all_mut()) {
            their.hole |= our.hole || self.frame[our.span()] != frame[their.span()];
        }
    }
}

/// How long the number is with which `text` begins, and its value. `None` also where it is not the
/// plain one of a count.
#[inline]
fn number(text: &[u8]) -> Option<(usize, u64)> {
    let (mut len, mut value) = (0, 0_u64);
    while let Some(digit @ b'0'..=b'9') = text.get(len) {
        if len == 19 {
            return None;
        }
        value = value * 10 + u64::from(digit - b'0');
        len += 1;
    }
    let plain = len == 1 || (len > 1 && text[0] != b'0');
    plain.then_some((len, value))
}

#[cfg(test)]
mod tests;
