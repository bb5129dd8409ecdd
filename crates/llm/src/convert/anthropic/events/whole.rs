use crate::convert::text::Text;

/// Looks for the end of a JSON object or array in the pieces of a string that says it.
///
/// It does not judge what stands between the brackets: what it is for is to know that nothing more
/// of a call's arguments is to come.
#[derive(Debug, Default)]
pub(super) struct Whole {
    depth: u32,
    in_string: bool,
    escaped: bool,
    over: bool,
}

// ===== impl Whole =====

impl Whole {
    pub(super) const fn is_over(&self) -> bool {
        self.over
    }

    pub(super) fn push(&mut self, piece: &Text<'_>) {
        let mut rest = piece.written().as_bytes();
        while let [byte, after @ ..] = rest {
            rest = after;
            let said = match (byte, after) {
                (b'\\', [b'u', after @ ..]) => {
                    rest = after.get(4..).unwrap_or_default();
                    ascii(after)
                }
                (b'\\', [escape, after @ ..]) => {
                    rest = after;
                    match escape {
                        b'"' | b'\\' | b'/' => *escape,
                        _ => b' ',
                    }
                }
                _ => *byte,
            };
            self.take(said);
        }
    }

    fn take(&mut self, byte: u8) {
        if self.escaped {
            self.escaped = false;
            return;
        }
        match (byte, self.in_string) {
            (b'"', _) => self.in_string = !self.in_string,
            (b'\\', true) => self.escaped = true,
            (b'{' | b'[', false) => self.depth = self.depth.saturating_add(1),
            (b'}' | b']', false) => {
                self.depth = self.depth.saturating_sub(1);
                self.over |= self.depth == 0;
            }
            _ => {}
        }
    }
}

/// The character of these four digits, or one that means nothing.
fn ascii(digits: &[u8]) -> u8 {
    let digits = digits
        .get(..4)
        .and_then(|digits| str::from_utf8(digits).ok());
    digits
        .and_then(|digits| u8::from_str_radix(digits, 16).ok())
        .unwrap_or(b' ')
}

#[cfg(test)]
mod tests {
    use super::Whole;
    use crate::convert::text::Text;

    #[test]
    fn an_object_is_over_at_its_last_bracket_however_it_is_written_and_cut() {
        for said in [
            "{}",
            r#"{"a":1}"#,
            r#" {"a":{"b":[{}]}}"#,
            r#"{"a":"}"}"#,
            r#"{"a":"\"}"}"#,
            r#"{"a":"\\"}"#,
            r#"{"a":"\\\"}","b":"\u007d"}"#,
            r#"[{"é":"}]"}]"#,
        ] {
            let plain: Vec<Text<'_>> = said.chars().map(|c| Text::of(&c.to_string())).collect();
            let escaped: Vec<_> = said
                .encode_utf16()
                .map(|unit| format!("\\u{unit:04X}"))
                .collect();
            let escaped = escaped.iter().map(|unit| Text::new(unit, 0)).collect();
            for pieces in [plain, escaped] {
                let mut whole = Whole::default();
                let (last, before) = pieces.split_last().unwrap();
                for piece in before {
                    whole.push(piece);
                    assert!(!whole.is_over(), "{said}");
                }
                whole.push(last);
                assert!(whole.is_over(), "{said}");
                let mut whole = Whole::default();
                whole.push(&Text::of(said));
                assert!(whole.is_over(), "{said}");
            }
        }
    }

    #[test]
    fn s7_no_text_makes_it_panic() {
        for written in ["\\", "\\u", "\\u12", "\\u00", "]]]", "\\\\\\", "", "}"] {
            let mut whole = Whole::default();
            whole.push(&Text::new(written, 0));
        }
    }
}
