//! One pass over a JSON text, member by member.

use std::borrow::Cow;

use super::{
    error::{Fault, Wrong},
    text::{Raw, Text},
};
use crate::json::{Cursor, Items, Kind, Strings};

/// Reads values in the order in which they stand. Each method takes what it names.
///
/// What is not there fails the reader: from then on every object and array is over, what is asked
/// for is empty, and [`end`](Reader::end) tells what was wrong first. So only the end need be asked.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    text: &'a str,
    json: Cursor<'a>,
    names: Names,
    /// The names in the objects that are open, each after those of the one that it is in.
    seen: Vec<Cow<'a, str>>,
    wrong: Option<Fault>,
}

/// Which numbers a member may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbers {
    name: &'static str,
    whole: bool,
    least: f64,
    most: f64,
}

/// What a name that comes twice in an object means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Names {
    /// A fault: who reads it next may take the other one.
    Once,
    /// The reader's match decides; the last one wins.
    Any,
}

// ===== impl Numbers =====

impl Numbers {
    pub(super) const ANY: Self = Self::range("a number", f64::NEG_INFINITY, f64::INFINITY);
    pub(super) const COUNT: Self = Self::whole("a whole number of 0 or more", 0.0);
    pub(super) const SOME: Self = Self::whole("a whole number of 1 or more", 1.0);
    pub(super) const WHOLE: Self = Self::whole("a whole number", f64::MIN);
    pub(super) const UP_TO_1: Self = Self::range("a number from 0 to 1", 0.0, 1.0);
    pub(super) const UP_TO_2: Self = Self::range("a number from 0 to 2", 0.0, 2.0);
    pub(super) const PENALTY: Self = Self::range("a number from -2 to 2", -2.0, 2.0);

    const fn whole(name: &'static str, least: f64) -> Self {
        Self {
            name,
            whole: true,
            least,
            most: f64::MAX,
        }
    }

    const fn range(name: &'static str, least: f64, most: f64) -> Self {
        Self {
            name,
            whole: false,
            least,
            most,
        }
    }
}

// ===== impl Reader =====

impl<'a> Reader<'a> {
    pub(super) const fn new(text: &'a str, names: Names) -> Self {
        Self {
            text,
            json: Cursor::new(text.as_bytes(), Strings::Strict),
            names,
            seen: Vec::new(),
            wrong: None,
        }
    }

    /// There must be nothing left.
    pub(super) fn end(mut self) -> Result<(), Fault> {
        let syntax = self.json.end();
        match (self.wrong, syntax) {
            // What is no JSON is told as such, whatever it looked like.
            (_, Err(bad)) => Err(Fault::syntax(bad)),
            (Some(wrong), Ok(())) => Err(wrong),
            (None, Ok(())) => Ok(()),
        }
    }

    /// Whether something was wrong before: then what was read last may be cut off.
    pub(super) const fn is_failed(&self) -> bool {
        self.wrong.is_some() || self.json.bad().is_some()
    }

    /// The whole text.
    pub(super) const fn whole(&self) -> &'a str {
        self.text
    }

    /// Where the next value stands.
    pub(super) fn at(&mut self) -> usize {
        self.json.kind();
        self.json.at()
    }

    /// What kind of value comes next.
    pub(super) fn kind(&mut self) -> Kind {
        self.json.kind()
    }

    /// Takes a `null`, if it is one.
    pub(super) fn null(&mut self) -> bool {
        let null = self.json.kind() == Kind::Null;
        if null {
            self.json.skip();
        }
        null
    }

    /// Takes an object. `member` is given each name, and must take the value.
    pub(super) fn object(&mut self, member: impl FnMut(&mut Self, &str)) {
        self.members(|name| name, member);
    }

    /// The same, of a dialect in which `topP` and `top_p` are one name: `member` is given the first.
    pub(super) fn object_in_any_case(&mut self, member: impl FnMut(&mut Self, &str)) {
        self.members(camel_case, member);
    }

    fn members(
        &mut self,
        named: impl Fn(Cow<'a, str>) -> Cow<'a, str>,
        mut member: impl FnMut(&mut Self, &str),
    ) {
        if !self.is(Kind::Object, "an object") {
            return;
        }
        let outside = self.seen.len();
        let mut items = self.json.object();
        while let Some(name) = next_name(&mut self.json, self.text, &mut items) {
            let name = named(name);
            if self.names == Names::Once {
                let seen = &self.seen[outside..];
                // Past the bound it is a fault already, and none is compared with all before it.
                if seen.len() == MOST_MEMBERS {
                    let at = self.at();
                    self.fail(at, Wrong::TooMany);
                } else if seen.contains(&name) {
                    let at = self.at();
                    self.fail(at, Wrong::Twice);
                } else {
                    self.seen.push(name.clone());
                }
            }
            member(self, &name);
        }
        self.seen.truncate(outside);
    }

    /// The string that the object which comes next has by this name, without taking anything. `None`:
    /// it is no object, or has none.
    ///
    /// It is for a member that says what the others are, such as `type`.
    pub(super) fn look(&self, member: &'static str) -> Option<Text<'a>> {
        self.ahead(member).ok()
    }

    /// The same, and where there is none, it is a fault.
    pub(super) fn tag(&mut self, member: &'static str) -> Option<Text<'a>> {
        let found = self.ahead(member);
        found.map_err(|(at, wrong)| self.fail(at, wrong)).ok()
    }

    // What is no JSON has a fault of its own, which goes before this one.
    fn ahead(&self, member: &'static str) -> Result<Text<'a>, (usize, Wrong)> {
        let mut ahead = self.json.clone();
        let (kind, at) = (ahead.kind(), ahead.at());
        if kind != Kind::Object {
            let expected = "an object";
            return Err((at, Wrong::Type { expected, kind }));
        }
        let mut items = ahead.object();
        while let Some(name) = next_name(&mut ahead, self.text, &mut items) {
            let (kind, at) = (ahead.kind(), ahead.at());
            match kind {
                Kind::String if name == member => {
                    let span = ahead.string();
                    if ahead.bad().is_some() {
                        break;
                    }
                    return Ok(Text::new(&self.text[span], at));
                }
                kind if kind != Kind::Null && name == member => {
                    let expected = "a string";
                    return Err((at, Wrong::Type { expected, kind }));
                }
                _ => ahead.skip(),
            }
        }
        Err((at, Wrong::Missing { member }))
    }

    /// Takes an array. `element` must take each value.
    pub(super) fn array(&mut self, mut element: impl FnMut(&mut Self)) {
        if !self.is(Kind::Array, "an array") {
            return;
        }
        let mut items = self.json.array();
        while self.json.element(&mut items) {
            element(self);
        }
    }

    /// Takes a string.
    pub(super) fn text(&mut self) -> Text<'a> {
        if !self.is(Kind::String, "a string") {
            return Text::default();
        }
        let at = self.json.at();
        let span = self.json.string();
        Text::new(&self.text[span], at)
    }

    /// Takes a string or `null`.
    pub(super) fn text_or_null(&mut self) -> Option<Text<'a>> {
        (!self.null()).then(|| self.text())
    }

    /// Takes a number that is one of these, as it stands.
    pub(super) fn number(&mut self, numbers: Numbers) -> Raw<'a> {
        if !self.is(Kind::Number, numbers.name) {
            return Raw::default();
        }
        let number = self.raw();
        let value: f64 = number.written().parse().unwrap_or(f64::NAN);
        let fits = (numbers.least..=numbers.most).contains(&value);
        // The next number to one that is too large for that is whole.
        if !fits || (numbers.whole && value.fract() != 0.0) {
            let expected = numbers.name;
            self.fail(number.at(), Wrong::Number { expected });
        }
        number
    }

    /// Takes such a number or `null`.
    pub(super) fn number_or_null(&mut self, numbers: Numbers) -> Option<Raw<'a>> {
        (!self.null()).then(|| self.number(numbers))
    }

    /// Takes a whole number that is not below zero.
    pub(super) fn count(&mut self) -> u64 {
        let at = self.at();
        if !self.is(Kind::Number, Numbers::COUNT.name) {
            return 0;
        }
        self.json.number().unwrap_or_else(|| {
            let expected = Numbers::COUNT.name;
            self.fail(at, Wrong::Number { expected });
            0
        })
    }

    /// Takes a count or `null`.
    pub(super) fn count_or_null(&mut self) -> Option<u64> {
        (!self.null()).then(|| self.count())
    }

    /// Takes `true` or `false`.
    pub(super) fn bool(&mut self) -> bool {
        self.is(Kind::Bool, "a boolean") && self.json.bool()
    }

    /// Takes a boolean or `null`.
    pub(super) fn bool_or_null(&mut self) -> Option<bool> {
        (!self.null()).then(|| self.bool())
    }

    /// Takes a value, whatever it is, as it stands.
    pub(super) fn raw(&mut self) -> Raw<'a> {
        let span = self.json.skip_span();
        let at = span.start;
        Raw::new(self.text.get(span).unwrap_or_default(), at)
    }

    /// The value that comes next, as it stands, and not taken.
    pub(super) fn peek(&self) -> Raw<'a> {
        let span = self.json.clone().skip_span();
        let at = span.start;
        Raw::new(self.text.get(span).unwrap_or_default(), at)
    }

    /// Takes an object as it stands.
    pub(super) fn raw_object(&mut self) -> Raw<'a> {
        if self.is(Kind::Object, "an object") {
            self.raw()
        } else {
            Raw::default()
        }
    }

    /// Takes a value that says nothing.
    pub(super) fn skip(&mut self) {
        self.json.skip();
    }

    /// Something at `at` is wrong. The first one counts.
    pub(super) fn fail(&mut self, at: usize, wrong: Wrong) {
        self.wrong.get_or_insert(Fault { at, wrong });
    }

    /// Whether such a value comes. If not, it is passed over.
    #[inline]
    fn is(&mut self, kind: Kind, expected: &'static str) -> bool {
        let is = self.json.kind() == kind;
        if !is {
            self.pass_over(expected);
        }
        is
    }

    #[cold]
    fn pass_over(&mut self, expected: &'static str) {
        let (kind, at) = (self.json.kind(), self.json.at());
        self.fail(at, Wrong::Type { expected, kind });
        self.json.skip();
    }
}

/// How many members an object that is read may have; what is taken as it stands may have more.
const MOST_MEMBERS: usize = 256;

/// The name of the next member in `text`, which is what the cursor reads: what it says.
pub(super) fn next_name<'a>(
    json: &mut Cursor<'a>,
    text: &'a str,
    items: &mut Items,
) -> Option<Cow<'a, str>> {
    let span = json.member_span(items)?;
    let written = &text[span.clone()];
    if !json.is_escaped() {
        return Some(written.into());
    }
    // Half of a surrogate pair is in no name that we know.
    Some(json.decode(span).unwrap_or(written.into()))
}

/// A name such as `top_p` as the dialect has it otherwise: `topP`.
pub(super) fn camel_case(name: Cow<'_, str>) -> Cow<'_, str> {
    if memchr::memchr(b'_', name.as_bytes()).is_none() {
        return name;
    }
    let mut camel = String::with_capacity(name.len());
    let mut upper = false;
    for char in name.chars() {
        match char {
            '_' => {}
            _ if upper => camel.push(char.to_ascii_uppercase()),
            _ => camel.push(char),
        }
        upper = char == '_';
    }
    camel.into()
}
