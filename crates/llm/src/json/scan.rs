//! Where strings end, eight bytes at a time.

use memchr::{memchr, memchr2};

/// The first byte for which `marks` has a bit: looked for by words in the first bytes, because most
/// strings are shorter than a call of memchr is long, and by `rest` in what is left.
#[inline]
fn find(
    text: &[u8],
    marks: impl Fn(u64) -> u64,
    rest: impl FnOnce(&[u8]) -> Option<usize>,
) -> Option<usize> {
    let Some((first, after)) = text.split_first_chunk::<FIRST>() else {
        return rest(text);
    };
    find_in(first, marks).or_else(|| rest(after).map(|found| FIRST + found))
}

#[inline]
fn find_in(first: &[u8; FIRST], marks: impl Fn(u64) -> u64) -> Option<usize> {
    for (k, word) in first.as_chunks::<8>().0.iter().enumerate() {
        let found = marks(u64::from_le_bytes(*word));
        if found != 0 {
            return Some(k * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    None
}

/// The first quote or backslash.
#[inline]
pub(crate) fn find_quote(text: &[u8]) -> Option<usize> {
    let marks = |word| zero_bytes(word ^ QUOTES) | zero_bytes(word ^ BACKSLASHES);
    find(text, marks, |rest| memchr2(b'"', b'\\', rest))
}

/// The first quote, backslash or control character.
#[inline]
pub(super) fn find_special(text: &[u8]) -> Option<usize> {
    let marks = |word| zero_bytes(word ^ QUOTES) | zero_bytes(word ^ BACKSLASHES) | controls(word);
    find(text, marks, |rest| {
        or_control(rest, memchr2(b'"', b'\\', rest))
    })
}

/// The first quote or control character.
#[inline]
fn find_quote_or_control(text: &[u8]) -> Option<usize> {
    let marks = |word| zero_bytes(word ^ QUOTES) | controls(word);
    find(text, marks, |rest| or_control(rest, memchr(b'"', rest)))
}

/// The first control character before what was found, or else that.
#[inline]
fn or_control(text: &[u8], found: Option<usize>) -> Option<usize> {
    let before = &text[..found.unwrap_or(text.len())];
    // Without an early end, so that the compiler makes vectors of it.
    if before.iter().fold(false, |any, byte| any | (*byte < b' ')) {
        return before.iter().position(|byte| *byte < b' ');
    }
    found
}

/// How long the string is whose first quote is before `text`, whatever stands in it. `None` also
/// where that takes a closer look: [`quoted_len`] has it.
#[inline]
pub(super) fn short_len(text: &[u8]) -> Option<usize> {
    let len = find_in(text.first_chunk()?, |word| zero_bytes(word ^ QUOTES))?;
    (len == 0 || text[len - 1] != b'\\').then_some(len)
}

/// The same for any string. `None`: it has no end.
pub(super) fn quoted_len(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += memchr(b'"', &text[at..])?;
        if !is_escaped(text, at) {
            return Some(at);
        }
        at += 1;
    }
}

/// How long the string is whose first quote is before `text`. `None` also where it has a control
/// character, such as the end of a line of a stream.
#[inline]
pub(crate) fn string_len(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += find_quote_or_control(&text[at..])?;
        if text[at] != b'"' {
            return None;
        }
        if !is_escaped(text, at) {
            return Some(at);
        }
        at += 1;
    }
}

/// Whether an odd number of backslashes is before this byte of a string.
#[inline]
fn is_escaped(text: &[u8], at: usize) -> bool {
    let before = text[..at].iter().rev();
    before.take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// As many bytes are looked at by words.
const FIRST: usize = 32;

const ONES: u64 = u64::from_le_bytes([1; 8]);
const QUOTES: u64 = u64::from_le_bytes([b'"'; 8]);
const BACKSLASHES: u64 = u64::from_le_bytes([b'\\'; 8]);

/// The highest bit of each byte that is zero; also of some above the first such one.
#[inline]
const fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & (ONES << 7)
}

/// The highest bit of each byte that is below a space; also of some above the first such one.
#[inline]
const fn controls(word: u64) -> u64 {
    word.wrapping_sub(ONES * 0x20) & !word & (ONES << 7)
}

/// The value of a well-formed number, if it is whole and not below zero.
pub(super) fn whole(number: &[u8]) -> Option<u64> {
    let number = std::str::from_utf8(number).ok()?;
    if let Ok(number) = number.parse() {
        return Some(number);
    }
    let number: f64 = number.parse().ok()?;
    // A cast saturates.
    (number >= 0.0 && number.fract() == 0.0).then_some(number as u64)
}
