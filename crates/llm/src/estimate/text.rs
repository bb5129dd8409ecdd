use memchr::memchr;

/// Counts the tokens of texts, in thousandths, without a vocabulary.
///
/// A token of today's vocabularies begins, most often, where one kind of character follows another:
/// a word after a space, a digit after a letter, a bracket after anything. So each pair of kinds has
/// its part of a token, and letters far from the beginning of their word have another. The parts
/// are the least squares of o200k's counts on public texts: see the [module](super).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counter {
    thousandths: u64,
}

/// Kinds of characters, by their first byte. Tabs and newlines are not alike, nor are `.` and `(`.
mod kind {
    pub(super) const LOWER: u8 = 0;
    pub(super) const UPPER: u8 = 1;
    pub(super) const DIGIT: u8 = 2;
    pub(super) const SPACE: u8 = 3;
    pub(super) const NEWLINE: u8 = 4;
    pub(super) const TAB: u8 = 5;
    pub(super) const STOP: u8 = 6;
    pub(super) const BRACKET: u8 = 7;
    pub(super) const SIGN: u8 = 8;
    pub(super) const DASH: u8 = 9;
    /// U+0080 to U+07FF: Latin with marks, Greek, Cyrillic, Hebrew, Arabic.
    pub(super) const LATIN: u8 = 10;
    /// Up to U+2FFF, and above U+FFFF: the scripts of India and others, symbols, emoji.
    pub(super) const OTHER: u8 = 11;
    /// Han and kana, and full-width forms.
    pub(super) const HAN: u8 = 12;
    pub(super) const HANGUL: u8 = 13;
    /// Not the first byte of a character.
    pub(super) const REST: u8 = 14;
}

const KINDS: [u8; 256] = kinds();

const fn kinds() -> [u8; 256] {
    let mut kinds = [kind::SIGN; 256];
    let mut byte = 0;
    while byte < 256 {
        kinds[byte] = match byte as u8 {
            b'a'..=b'z' => kind::LOWER,
            b'A'..=b'Z' => kind::UPPER,
            b'0'..=b'9' => kind::DIGIT,
            b' ' => kind::SPACE,
            b'\n' | b'\r' => kind::NEWLINE,
            b'\t' => kind::TAB,
            b'.' | b',' | b';' | b':' | b'!' | b'?' | b'\'' => kind::STOP,
            b'(' | b')' | b'[' | b']' | b'{' | b'}' | b'<' | b'>' | b'"' => kind::BRACKET,
            b'_' | b'-' => kind::DASH,
            0x80..=0xbf => kind::REST,
            0xc0..=0xdf => kind::LATIN,
            0xe3..=0xe9 | 0xee | 0xef => kind::HAN,
            0xea..=0xed => kind::HANGUL,
            0xe0..=0xe2 | 0xf0.. => kind::OTHER,
            _ => kind::SIGN,
        };
        byte += 1;
    }
    kinds
}

/// The thousandths of a token for a character of the second kind after one of the first.
#[rustfmt::skip]
const PARTS: [[u16; 14]; 14] = [
    // After: LOWER …
    [48, 947, 714, 69, 651, 211, 563, 403, 664, 538, 408, 991, 724, 596],
    [660, 379, 656, 0, 286, 200, 569, 619, 653, 233, 404, 1000, 778, 597],
    [1158, 671, 374, 164, 344, 200, 1165, 603, 637, 590, 400, 1004, 751, 601],
    [706, 924, 678, 32, 305, 200, 674, 890, 702, 484, 999, 994, 930, 666],
    [857, 645, 384, 191, 84, 303, 654, 470, 549, 681, 387, 1019, 684, 612],
    [853, 416, 350, 56, 300, 179, 601, 504, 608, 528, 400, 1000, 750, 600],
    [921, 328, 699, 295, 403, 201, 196, 447, 606, 501, 400, 1000, 752, 601],
    [911, 348, 425, 6, 332, 200, 716, 124, 559, 530, 400, 1003, 760, 603],
    [1004, 424, 411, 167, 302, 200, 538, 294, 233, 507, 400, 1004, 791, 601],
    [822, 178, 416, 263, 324, 200, 593, 490, 605, 243, 400, 1000, 750, 602],
    [810, 397, 349, 52, 300, 200, 600, 498, 591, 500, 245, 1000, 750, 600],
    [793, 398, 354, 48, 328, 200, 598, 506, 600, 500, 400, 810, 768, 601],
    [780, 425, 350, 71, 376, 200, 619, 516, 619, 500, 400, 1029, 726, 600],
    [800, 400, 350, 76, 339, 200, 611, 501, 601, 501, 400, 1000, 750, 671],
];

/// Marks a pair of letters of one word. A word begins where letters do, and at each hump of a
/// `camelCase`.
const JOINED: u16 = 1 << 15;

/// The parts and the marks, sixteen a row, so that an index needs no check.
const PAIRS: [u16; 256] = pairs();

const fn pairs() -> [u16; 256] {
    use kind::{LATIN, LOWER, UPPER};
    let mut pairs = [0; 256];
    let mut at = 0;
    while at < 256 {
        let (before, kind) = (at as u8 >> 4, at as u8 & 15);
        if before < kind::REST && kind < kind::REST {
            let letters =
                matches!(before, LOWER | UPPER | LATIN) && matches!(kind, LOWER | UPPER | LATIN);
            let hump = before == LOWER && kind == UPPER;
            let mark = if letters && !hump { JOINED } else { 0 };
            pairs[at] = PARTS[before as usize][kind as usize] | mark;
        }
        at += 1;
    }
    pairs
}

/// What each letter after the fifth of its word costs besides: such words are seldom one token.
const AFTER_5: u64 = 42;
/// And after the eleventh: hardly ever.
const AFTER_11: u64 = 75;

/// How many bytes are looked at together. With the history of a word they fit in 64 bits.
const CHUNK: usize = 48;
const HISTORY: u64 = (1 << 16) - 1;

// ===== impl Counter =====

impl Counter {
    /// So many tokens, whatever they are.
    pub(super) const fn add(&mut self, tokens: u64) {
        self.thousandths = self.thousandths.saturating_add(tokens.saturating_mul(1000));
    }

    /// A text.
    pub(super) fn text(&mut self, text: &[u8]) {
        let mut run = Run::new();
        run.feed(text);
        self.thousandths = self.thousandths.saturating_add(run.thousandths);
    }

    /// What is between the quotes of a JSON string.
    pub(super) fn quoted(&mut self, mut text: &[u8]) {
        let mut run = Run::new();
        while let Some(found) = memchr(b'\\', text) {
            run.feed(&text[..found]);
            let (escape, rest) = text[found + 1..].split_first().unwrap_or((&b' ', &[]));
            text = rest;
            match escape {
                b'n' => run.feed(b"\n"),
                b'r' => run.feed(b"\r"),
                b't' => run.feed(b"\t"),
                b'u' => text = run.feed_unicode(text),
                other => run.feed(&[*other]),
            }
        }
        run.feed(text);
        self.thousandths = self.thousandths.saturating_add(run.thousandths);
    }

    /// All together, rounded up.
    pub(super) const fn tokens(self) -> u64 {
        self.thousandths.div_ceil(1000)
    }
}

/// One text, in parts.
struct Run {
    thousandths: u64,
    before: u8,
    /// A bit for each of the last characters, the last one lowest: was it joined to the one before?
    joined: u64,
}

// ===== impl Run =====

impl Run {
    const fn new() -> Self {
        Self {
            thousandths: 0,
            before: kind::NEWLINE,
            joined: 0,
        }
    }

    fn feed(&mut self, text: &[u8]) {
        for chunk in text.chunks(CHUNK) {
            if chunk.is_ascii() {
                self.chunk::<true>(chunk);
            } else {
                self.chunk::<false>(chunk);
            }
        }
    }

    // Nothing here waits for what came of the byte before, nor branches on it.
    #[inline]
    fn chunk<const ASCII: bool>(&mut self, chunk: &[u8]) {
        let (mut sum, mut before, mut joined, mut count) = (0_u32, self.before, 0_u64, 0);
        for byte in chunk {
            let kind = KINDS[usize::from(*byte)];
            if !ASCII && kind == kind::REST {
                continue;
            }
            let pair = PAIRS[usize::from(before << 4 | kind)];
            sum += u32::from(pair);
            joined = joined << 1 | u64::from(pair >> 15);
            before = kind;
            count += 1;
        }
        sum -= joined.count_ones() * u32::from(JOINED);

        // Where so many in a row were joined: all letters after the fifth, and after the eleventh.
        let joined = self.joined << count | joined;
        let two = joined & joined >> 1;
        let four = two & two >> 2;
        let five = four & joined >> 4;
        let eleven = four & four >> 4 & two >> 8 & joined >> 10;
        let new = |letters: u64| u64::from((letters & !(u64::MAX << count)).count_ones());
        let places = new(five) * AFTER_5 + new(eleven) * AFTER_11;

        self.thousandths += u64::from(sum) + places;
        (self.before, self.joined) = (before, joined & HISTORY);
    }

    /// Takes the digits of a `\u` escape, and of a second one that makes a pair with it.
    fn feed_unicode<'a>(&mut self, text: &'a [u8]) -> &'a [u8] {
        let unit = |text: &[u8]| {
            let digits = std::str::from_utf8(text.get(..4)?).ok()?;
            u32::from_str_radix(digits, 16).ok()
        };
        let Some(first) = unit(text) else {
            return text;
        };
        let (mut code, mut rest) = (first, &text[4..]);
        if (0xd800..0xdc00).contains(&first)
            && let Some(low) = rest.strip_prefix(b"\\u")
            && let Some(second @ 0xdc00..0xe000) = unit(low)
        {
            code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            rest = &low[4..];
        }
        let char = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
        self.feed(char.encode_utf8(&mut [0; 4]).as_bytes());
        rest
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{AFTER_5, AFTER_11, Counter, KINDS, PARTS, kind};

    fn text(text: &str) -> Counter {
        let mut counter = Counter::default();
        counter.text(text.as_bytes());
        counter
    }

    fn quoted(text: &str) -> Counter {
        let mut counter = Counter::default();
        counter.quoted(text.as_bytes());
        counter
    }

    #[test]
    fn escapes_are_the_characters_that_they_stand_for() {
        for (escaped, plain) in [
            (r"a\nb\tc\r", "a\nb\tc\r"),
            (r#"say \"hi\" \\ \/"#, r#"say "hi" \ /"#),
            (r"\u4f60\u597d", "\u{4f60}\u{597d}"),
            (r"\ud83d\ude00!", "\u{1f600}!"),
            (r"\ud83d?", "\u{fffd}?"),
            (r"caf\u00e9s", "caf\u{e9}s"),
        ] {
            assert_eq!(
                quoted(escaped).thousandths,
                text(plain).thousandths,
                "{escaped}"
            );
        }
        for broken in [
            r"\",
            r"\u",
            r"\u12",
            r"\uzzzz",
            r"\ud83d\u",
            r"\ud83d\u12",
            "\\u\u{e9}\u{e9}",
        ] {
            quoted(broken);
        }
    }

    #[test]
    fn nothing_is_nothing_and_anything_is_something() {
        assert_eq!(text("").tokens(), 0);
        for one in ["a", " ", "\n", "1", "\u{4f60}", "\u{e9}", "\u{1f600}"] {
            assert!((1..=2).contains(&text(one).tokens()), "{one:?}");
        }
    }

    /// The same, a character after the other.
    fn naive(text: &str) -> u64 {
        let kind = |char: char| KINDS[usize::from(char.encode_utf8(&mut [0; 4]).as_bytes()[0])];
        let (mut sum, mut before, mut place) = (0, kind::NEWLINE, 0);
        for kind in text.chars().map(kind) {
            let letter = [kind::LOWER, kind::UPPER, kind::LATIN].contains(&kind);
            let hump = before == kind::LOWER && kind == kind::UPPER;
            place = match (letter, hump) {
                (false, _) => 0,
                (true, true) => 1,
                (true, false) => place + 1,
            };
            sum += u64::from(PARTS[usize::from(before)][usize::from(kind)]);
            sum += if place > 5 { AFTER_5 } else { 0 };
            sum += if place > 11 { AFTER_11 } else { 0 };
            before = kind;
        }
        sum
    }

    proptest! {
        #[test]
        fn chunks_and_bits_count_as_one_character_after_the_other_does(
            any in any::<String>(),
            words in "([a-z]{0,30}[A-Z]{0,3}[ \u{e9}]{0,1}){0,20}",
        ) {
            prop_assert_eq!(text(&any).thousandths, naive(&any));
            prop_assert_eq!(text(&words).thousandths, naive(&words));
        }

        #[test]
        fn a_json_string_counts_as_what_it_says(plain in any::<String>()) {
            let json = serde_json::to_string(&plain).unwrap();
            let inside = &json[1..json.len() - 1];
            // \b and \f are letters to who reads only the escape.
            prop_assume!(!plain.contains(['\u{8}', '\u{c}']));
            prop_assert_eq!(quoted(inside).thousandths, text(&plain).thousandths);
        }

        #[test]
        fn bytes_of_any_kind_have_a_bounded_count(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut counter = Counter::default();
            counter.text(&bytes);
            counter.quoted(&bytes);
            prop_assert!(counter.tokens() <= 3 * bytes.len() as u64);
        }
    }
}
