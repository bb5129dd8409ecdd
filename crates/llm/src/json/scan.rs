//! Where strings end, eight bytes at a time.

use memchr::{memchr, memchr2, memchr3};

/// The first byte for which `marks` has a bit: looked for by words in the first `short` bytes, because
/// most strings are shorter than a call of memchr is long, and by `rest` in what is left.
#[inline]
fn find(
    text: &[u8],
    short: usize,
    marks: impl Fn(u64) -> u64,
    rest: impl FnOnce(&[u8]) -> Option<usize>,
) -> Option<usize> {
    let mut at = 0;
    while let Some(word) = text[at..].first_chunk()
        && at < short
    {
        if let Some(found) = first_of(marks(u64::from_le_bytes(*word))) {
            return Some(at + found);
        }
        at += 8;
    }
    rest(&text[at..]).map(|found| at + found)
}

/// The first quote or backslash.
#[inline]
pub(crate) fn find_quote(text: &[u8]) -> Option<usize> {
    find(text, SHORT, marks, |rest| memchr2(b'"', b'\\', rest))
}

/// The same, so many bytes into a string. Where that is short, its end or an escape is likely to be
/// near; where it is long, escapes are mostly lines apart.
#[inline]
pub(super) fn find_mark(text: &[u8], into: usize) -> Option<usize> {
    let near = if into < LONG { MEDIUM } else { 0 };
    let (words, _) = text[..text.len().min(near)].as_chunks();
    for (k, word) in words.iter().enumerate() {
        if let Some(found) = first_of(marks(u64::from_le_bytes(*word))) {
            return Some(k * 8 + found);
        }
    }
    let near = words.len() * 8;
    memchr2(b'"', b'\\', &text[near..]).map(|found| near + found)
}

/// How long the text is up to its first quote or backslash, of which 16 bytes are looked at: most
/// names are shorter. Of the last bytes of a text, none are.
#[inline]
pub(super) fn begin_len(text: &[u8]) -> usize {
    let Some(begin) = text.first_chunk::<16>() else {
        return 0;
    };
    let (words, _) = begin.as_chunks();
    for (k, word) in words.iter().enumerate() {
        if let Some(found) = first_of(marks(u64::from_le_bytes(*word))) {
            return k * 8 + found;
        }
    }
    begin.len()
}

/// The first quote, backslash or control character.
#[inline]
pub(super) fn find_special(text: &[u8]) -> Option<usize> {
    find(text, MEDIUM, specials, |rest| {
        or_control(rest, memchr2(b'"', b'\\', rest))
    })
}

/// How long the string is whose first quote is before `text`, if it ends within 16 bytes and has no
/// backslash or control character, as most names do.
#[inline]
pub(super) fn word_len(text: &[u8]) -> Option<usize> {
    let (words, _) = text.first_chunk::<16>()?.as_chunks();
    for (k, word) in words.iter().enumerate() {
        if let Some(found) = first_of(specials(u64::from_le_bytes(*word))) {
            let len = k * 8 + found;
            return (text[len] == b'"').then_some(len);
        }
    }
    None
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
    let (words, _) = text.first_chunk::<32>()?.as_chunks();
    for (k, word) in words.iter().enumerate() {
        if let Some(found) = first_of(zero_bytes(u64::from_le_bytes(*word) ^ QUOTES)) {
            let len = k * 8 + found;
            return (len == 0 || text[len - 1] != b'\\').then_some(len);
        }
    }
    None
}

/// The same for any string. `None`: it has no end.
pub(super) fn quoted_len(text: &[u8]) -> Option<usize> {
    end(
        text,
        |word| zero_bytes(word ^ QUOTES),
        |rest| memchr(b'"', rest),
    )
}

/// How long the string is whose first quote is before `text`. `None` also where a line of a stream
/// ends in it, or perhaps where it has another control character.
#[inline]
pub(crate) fn string_len(text: &[u8]) -> Option<usize> {
    let marks = |word| zero_bytes(word ^ QUOTES) | controls(word);
    end(text, marks, |rest| memchr3(b'"', b'\n', b'\r', rest))
}

/// The first quote that ends a string, unless a control character is found before it. Where there
/// was a quote with a backslash, there may be another soon: it is looked for by words again.
#[inline]
fn end(
    text: &[u8],
    marks: impl Fn(u64) -> u64,
    rest: impl Fn(&[u8]) -> Option<usize>,
) -> Option<usize> {
    let mut at = 0;
    loop {
        let by_words = at + MEDIUM;
        while let Some(word) = text[at..].first_chunk()
            && at < by_words
        {
            let mut marks = marks(u64::from_le_bytes(*word));
            while let Some(found) = first_of(marks) {
                match text[at + found] {
                    b'"' if !is_escaped(text, at + found) => return Some(at + found),
                    control if control < b' ' => return None,
                    // A quote with a backslash, or no more than a mark above another one.
                    _ => marks &= marks - 1,
                }
            }
            at += 8;
        }
        at += rest(&text[at..])?;
        match text[at] {
            b'"' if is_escaped(text, at) => at += 1,
            b'"' => return Some(at),
            _ => return None,
        }
    }
}

/// Whether an odd number of backslashes is before this byte of a string.
#[inline]
fn is_escaped(text: &[u8], at: usize) -> bool {
    let before = text[..at].iter().rev();
    before.take_while(|byte| **byte == b'\\').count() % 2 == 1
}

/// As many bytes are looked at by words, where strings mostly are names, and where they are content.
const SHORT: usize = 16;
const MEDIUM: usize = 64;

/// A string of so many bytes is a long one.
const LONG: usize = 512;

const ONES: u64 = u64::from_le_bytes([1; 8]);
const QUOTES: u64 = u64::from_le_bytes([b'"'; 8]);
const BACKSLASHES: u64 = u64::from_le_bytes([b'\\'; 8]);

/// The highest bit of each byte that is zero; also of some above the first such one.
#[inline]
const fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & (ONES << 7)
}

/// The highest bit of each byte that is a quote or a backslash; also of some above the first such one.
#[inline]
const fn marks(word: u64) -> u64 {
    zero_bytes(word ^ QUOTES) | zero_bytes(word ^ BACKSLASHES)
}

/// The highest bit of each byte that is below a space; also of some above the first such one.
#[inline]
const fn controls(word: u64) -> u64 {
    word.wrapping_sub(ONES * 0x20) & !word & (ONES << 7)
}

/// The highest bit of each byte that is a quote, a backslash or below a space; also of some above the
/// first such one.
#[inline]
const fn specials(word: u64) -> u64 {
    // With the second bit turned over, a quote is next to the controls, and they are where they were.
    let turned = word ^ (ONES << 1);
    let quotes_or_controls = turned.wrapping_sub(ONES * 0x21) & !turned & (ONES << 7);
    quotes_or_controls | zero_bytes(word ^ BACKSLASHES)
}

/// Which byte has the lowest of these bits.
#[inline]
const fn first_of(marks: u64) -> Option<usize> {
    match marks {
        0 => None,
        marks => Some(marks.trailing_zeros() as usize / 8),
    }
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
