//! One way to write a string, of the many that JSON has.

/// Adds a string with every escape that need not be one written as what it says. Two strings that
/// say the same become the same; two that do not, do not. `None`: an escape is none of JSON's, and so
/// the string as it is written is one that no other becomes.
pub(super) fn decode(string: &[u8], out: &mut Vec<u8>) -> Option<()> {
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
