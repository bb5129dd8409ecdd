use crate::json::find_quote;

/// Finds, chunk by chunk, where the objects of a JSON text begin and end: the one that it is, or
/// those that are the elements of the array that it is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Extent {
    /// How many objects and arrays are open.
    open: u64,
    /// The text is an array.
    array: bool,
    /// An object is open that is the text or its element.
    object: bool,
    place: Place,
    string: InString,
}

/// What was found in the next bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Part of an object, or all of it, and whether it ends there.
    Object {
        start: usize,
        end: usize,
        whole: bool,
    },
    /// Nothing more of an object.
    Nothing,
}

/// Where the text is at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Place {
    /// It did not begin.
    #[default]
    Before,
    Inside,
    /// It has ended.
    After,
    /// It is something else, or has ended and goes on.
    Broken,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum InString {
    #[default]
    No,
    Yes,
    /// After a backslash.
    Escaped,
}

// ===== impl Extent =====

impl Extent {
    /// Of a text that was found to be one object and nothing else.
    pub(crate) fn ended() -> Self {
        Self {
            place: Place::After,
            ..Self::default()
        }
    }

    pub(crate) const fn place(&self) -> Place {
        self.place
    }

    /// Reads on in `text` from `at`, up to the next end of an object or to the end.
    pub(crate) fn next(&mut self, text: &[u8], at: &mut usize) -> Found {
        if *at == text.len() {
            return Found::Nothing;
        }
        let mut start = self.object.then_some(*at);
        while let Some(&byte) = text.get(*at) {
            if self.string != InString::No {
                self.skip_string(text, at);
                continue;
            }
            *at += 1;
            match byte {
                b' ' | b'\n' | b'\r' | b'\t' => {}
                _ if self.place == Place::After => self.place = Place::Broken,
                b'{' | b'[' if self.place != Place::Broken => {
                    if self.place == Place::Before {
                        self.place = Place::Inside;
                        self.array = byte == b'[';
                    }
                    if byte == b'{' && self.outside() {
                        self.object = true;
                        start = Some(*at - 1);
                    }
                    self.open += 1;
                }
                _ if self.place != Place::Inside => self.place = Place::Broken,
                b'"' => self.string = InString::Yes,
                b'}' | b']' => {
                    self.open -= 1;
                    if self.open == 0 {
                        self.place = Place::After;
                    }
                    if let Some(start) = start
                        && self.outside()
                    {
                        self.object = false;
                        let (end, whole) = (*at, true);
                        return Found::Object { start, end, whole };
                    }
                }
                _ => {}
            }
        }
        match start {
            Some(start) => Found::Object {
                start,
                end: text.len(),
                whole: false,
            },
            None => Found::Nothing,
        }
    }

    /// What begins here is the text or its element.
    fn outside(&self) -> bool {
        self.open == u64::from(self.array)
    }

    fn skip_string(&mut self, text: &[u8], at: &mut usize) {
        if self.string == InString::Escaped {
            self.string = InString::Yes;
            *at += 1;
            return;
        }
        match find_quote(&text[*at..]) {
            Some(found) => {
                *at += found + 1;
                self.string = if text[*at - 1] == b'"' {
                    InString::No
                } else {
                    InString::Escaped
                };
            }
            None => *at = text.len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Extent, Found, Place};

    /// The objects of a text that comes in these chunks, and where it is at then.
    fn objects(chunks: &[&[u8]]) -> (Vec<String>, Place) {
        let mut extent = Extent::default();
        let (mut objects, mut object) = (Vec::new(), Vec::new());
        for chunk in chunks {
            let mut at = 0;
            while let Found::Object { start, end, whole } = extent.next(chunk, &mut at) {
                object.extend_from_slice(&chunk[start..end]);
                if whole {
                    objects.push(String::from_utf8(std::mem::take(&mut object)).unwrap());
                }
            }
        }
        (objects, extent.place())
    }

    #[test]
    fn objects_are_found_at_every_split() {
        let object = r#"{"a":"}\"]","b":[{},[]],"c":"\\"}"#;
        for (text, expected, place) in [
            (object.to_owned(), vec![object], Place::After),
            (format!(" {object}\n"), vec![object], Place::After),
            (format!("{object}x"), vec![object], Place::Broken),
            (format!("{object}{{}}"), vec![object], Place::Broken),
            (
                format!("[{object},\r\n{{}}]"),
                vec![object, "{}"],
                Place::After,
            ),
            (
                format!("[\"{{\",1,[2],{object}"),
                vec![object],
                Place::Inside,
            ),
            ("[[{}]]".to_owned(), vec![], Place::After),
            ("{\"a\":".to_owned(), vec![], Place::Inside),
            ("<html>{}</html>".to_owned(), vec![], Place::Broken),
            ("  ".to_owned(), vec![], Place::Before),
        ] {
            let text = text.as_bytes();
            for split in 0..=text.len() {
                let (left, right) = text.split_at(split);
                let (found, at) = objects(&[left, right]);
                assert_eq!(
                    found,
                    expected,
                    "{} | {}",
                    left.escape_ascii(),
                    right.escape_ascii()
                );
                assert_eq!(at, place);
            }
            let bytes: Vec<_> = text.chunks(1).collect();
            assert_eq!(
                objects(&bytes),
                (expected.iter().map(|s| s.to_string()).collect(), place)
            );
        }
    }
}
