//! Where strings end, eight bytes at a time.

use memchr::{memchr, memchr2};

/// The first quote or backslash.
#[inline]
pub(crate) fn find_quote(text: &[u8]) -> Option<usize> {
    // Most strings are shorter than a call of memchr is long: two words first.
    let mut at = 0;
    while let Some(word) = text.get(at..at + 8)
        && at < 16
    {
        let word = u64::from_le_bytes(word.try_into().unwrap_or_default());
        let found = zero_bytes(word ^ QUOTES) | zero_bytes(word ^ BACKSLASHES);
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    memchr2(b'"', b'\\', &text[at..]).map(|found| at + found)
}

/// The first quote or control character.
#[inline]
fn find_quote_or_control(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(word) = text.get(at..at + 8)
        && at < 16
    {
        let word = u64::from_le_bytes(word.try_into().unwrap_or_default());
        let found = zero_bytes(word ^ QUOTES) | controls(word);
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let rest = &text[at..];
    let found = memchr(b'"', rest);
    let before = &rest[..found.unwrap_or(rest.len())];
    // Without an early end, so that the compiler makes vectors of it.
    if before.iter().fold(false, |any, byte| any | (*byte < b' ')) {
        let found = before.iter().position(|byte| *byte < b' ');
        return found.map(|found| at + found);
    }
    found.map(|found| at + found)
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
