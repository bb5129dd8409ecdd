use std::fmt;

use buttress_core::{Class, Finish, Outcome, Progress, Usage};
use buttress_http::Meter;
use bytes::Bytes;
use http::{Extensions, StatusCode};

use super::{
    believed,
    extent::{Extent, Found, Place},
};
use crate::{Dialect, ErrorBody, error, reader::Reader, shape::Lexemes};

/// Reads a reply that is one JSON object, or an array of them, once each is whole.
pub(crate) struct TextMeter<R> {
    dialect: Dialect,
    reader: R,
    /// If the head told of a failure, what it said.
    failed: Option<(StatusCode, Outcome)>,
    extent: Extent,
    kept: Kept,
    passed: usize,
    /// What an object said that is an error, or none.
    said: Option<Outcome>,
}

/// What came of an object in earlier chunks. It is copied, because chunks kept as they are would
/// keep the buffers that they are parts of, which nothing bounds.
struct Kept {
    text: Vec<u8>,
    limit: usize,
    over: bool,
}

/// So much of a reply is kept to be read. One that is longer is judged by its status and its end.
const LIMIT: usize = 4 << 20;

/// A reply that goes on after so much of it is no error in disguise: what passes is content.
const HELD: usize = 64 << 10;

// ===== impl TextMeter =====

impl<R: Reader> TextMeter<R> {
    /// For a reply whose head told of no failure.
    pub(crate) fn new(dialect: Dialect, reader: R) -> Self {
        Self {
            dialect,
            reader,
            failed: None,
            extent: Extent::default(),
            kept: Kept::new(LIMIT),
            passed: 0,
            said: None,
        }
    }

    /// For one whose head told of this failure.
    pub(crate) fn of_error(dialect: Dialect, reader: R, status: StatusCode, head: Outcome) -> Self {
        Self {
            failed: Some((status, head)),
            kept: Kept::new(error::LIMIT),
            ..Self::new(dialect, reader)
        }
    }

    /// Reads an object that is whole now, `last` being the last of it, and says whether it has
    /// content.
    fn read(&mut self, last: &[u8]) -> bool {
        if self.kept.text.is_empty() && !self.kept.over && last.len() <= self.kept.limit {
            return self.read_text(last);
        }
        self.kept.add(last);
        let text = self.kept.take();
        !text.is_empty() && self.read_text(&text)
    }

    /// Reads a reply that is one object and all here, as nearly every one is: whoever reads it finds
    /// its end as well. `None`: it is something else, or not JSON, and nothing has counted.
    fn read_at_once(&mut self, text: &[u8]) -> Option<bool> {
        let begins = self.extent.place() == Place::Before && self.failed.is_none();
        if !begins || text.len() > self.kept.limit || !is_braced(text) {
            return None;
        }
        let said = self.reader.read(text, &mut Lexemes::ignored()).ok()?;
        self.extent = Extent::ended();
        self.said = self.reader.error();
        Some(said.content)
    }

    /// Reads the objects that end in this part, and says whether they have content.
    fn read_on(&mut self, part: &[u8]) -> bool {
        let (mut at, mut content) = (0, false);
        while let Found::Object { start, end, whole } = self.extent.next(part, &mut at) {
            if whole {
                content |= self.read(&part[start..end]);
            } else {
                self.kept.add(&part[start..end]);
            }
        }
        content
    }

    fn read_text(&mut self, text: &[u8]) -> bool {
        if self.said.is_some() {
            return false;
        }
        if let Some((status, _)) = self.failed {
            self.said =
                ErrorBody::read(self.dialect, text).map(|error| error.outcome(Some(status)));
            return false;
        }
        match self.reader.read(text, &mut Lexemes::ignored()) {
            Ok(said) => {
                self.said = self.reader.error();
                said.content
            }
            Err(_) => {
                self.said = Some(Outcome::new(Class::Unavailable));
                false
            }
        }
    }
}

impl<R: Reader> Meter for TextMeter<R> {
    fn chunk(&mut self, data: &Bytes) -> Progress {
        self.passed = self.passed.saturating_add(data.len());
        let mut content = self.passed > HELD;
        match self.read_at_once(data) {
            Some(said) => content |= said,
            None => content |= self.read_on(data),
        }
        // All of it is here, and nothing speaks against it.
        content |= self.extent.place() == Place::After && self.said.is_none();
        if content {
            Progress::Content
        } else {
            Progress::Ping
        }
    }

    fn verdict(&self, _: bool) -> Option<Outcome> {
        if self.said.is_some() {
            return self.said;
        }
        let head = self.failed.map(|(_, head)| head);
        match self.extent.place() {
            Place::After => Some(head.unwrap_or(Outcome::SUCCESS)),
            Place::Broken => Some(head.unwrap_or(Outcome::new(Class::Unavailable))),
            Place::Inside if self.kept.over => head,
            Place::Inside | Place::Before => None,
        }
    }

    fn usage(&self) -> Option<Usage> {
        self.reader.usage().and_then(believed)
    }

    fn finish(&self) -> Option<Finish> {
        self.reader.finish()
    }

    fn learned(&self, head: &mut Extensions) {
        self.reader.model().show(head);
    }
}

impl<R> fmt::Debug for TextMeter<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextMeter")
            .field("dialect", &self.dialect)
            .field("extent", &self.extent)
            .finish_non_exhaustive()
    }
}

/// Whether it looks like an object, from end to end.
fn is_braced(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    text.starts_with(b"{") && text.ends_with(b"}")
}

// ===== impl Kept =====

impl Kept {
    const fn new(limit: usize) -> Self {
        Self {
            text: Vec::new(),
            limit,
            over: false,
        }
    }

    fn add(&mut self, part: &[u8]) {
        self.over |= part.len() > self.limit - self.text.len();
        if self.over {
            self.text = Vec::new();
        } else {
            self.text.extend_from_slice(part);
        }
    }

    /// Forgets the object, and gives out what there was of it; nothing, if it was too long.
    fn take(&mut self) -> Vec<u8> {
        self.over = false;
        std::mem::take(&mut self.text)
    }
}

#[cfg(test)]
mod tests {
    use buttress_core::{Class, Outcome, Usage};
    use buttress_http::Meter;
    use bytes::Bytes;

    use super::TextMeter;
    use crate::{
        Dialect, anthropic::AnthropicReader, gemini::GeminiReader, openai::OpenAiReader,
        reader::Reader,
    };

    /// Whether there was content, how the call went if its body ends now or breaks off, and what it
    /// used.
    type Told = (bool, Option<Outcome>, Option<Outcome>, Option<Usage>);

    fn told<'a, R: Reader + Default>(
        dialect: Dialect,
        chunks: impl IntoIterator<Item = &'a [u8]>,
    ) -> Told {
        let mut meter = TextMeter::new(dialect, R::default());
        let mut content = false;
        for chunk in chunks {
            content |= meter.chunk(&Bytes::copy_from_slice(chunk)).is_content();
        }
        let (ended, broken) = (meter.verdict(true), meter.verdict(false));
        // Of what is broken, it may have shown before.
        content &= ended.is_some_and(|ended| !ended.failed());
        (content, ended, broken, meter.usage())
    }

    fn agree<R: Reader + Default>(dialect: Dialect, text: &str) -> Told {
        let text = text.as_bytes();
        let whole = told::<R>(dialect, [text]);
        assert_eq!(whole, told::<R>(dialect, text.chunks(1)));
        for split in 0..=text.len() {
            let (left, right) = text.split_at(split);
            let parts = told::<R>(dialect, [left, right]);
            assert_eq!(whole, parts, "{dialect}: {}", text.escape_ascii());
        }
        whole
    }

    #[test]
    fn a_reply_says_the_same_in_one_chunk_and_in_many() {
        let one = r#"{"a":"}\"]","choices":[{"message":{"content":"x"},"finish_reason":"stop"}],"candidates":[{"content":{"parts":[{"text":"x"}]}}],"type":"message","usage":{"prompt_tokens":1,"completion_tokens":2,"input_tokens":3,"output_tokens":4},"usage":{"input_tokens":5,"output_tokens":6}}"#;
        let error =
            r#"{"type":"error","error":{"message":"}","type":"rate_limit_error","code":429}}"#;
        for (text, class) in [
            (one.to_owned(), Some(Class::Success)),
            (format!(" \r\n{one}\n\t"), Some(Class::Success)),
            (format!("{one}\u{c}"), Some(Class::Unavailable)),
            (format!("{one}x"), Some(Class::Unavailable)),
            (format!("{one}{one}"), Some(Class::Unavailable)),
            (format!("{one},{error}"), Some(Class::Unavailable)),
            (format!("[{one}]"), Some(Class::Success)),
            (format!("{{\"b\":{one}"), None),
            (one[..one.len() - 1].to_owned(), None),
            ("{]}".to_owned(), Some(Class::Unavailable)),
            ("{\"a\":}".to_owned(), Some(Class::Unavailable)),
            ("{}".to_owned(), Some(Class::Success)),
            ("{}{}".to_owned(), Some(Class::Unavailable)),
            ("{".repeat(200) + &"}".repeat(200), Some(Class::Unavailable)),
            ("}{".to_owned(), Some(Class::Unavailable)),
            ("[DONE]".to_owned(), Some(Class::Success)),
            (" ".to_owned(), None),
        ] {
            for (_, ended, broken, _) in [
                agree::<OpenAiReader>(Dialect::OpenAi, &text),
                agree::<AnthropicReader>(Dialect::Anthropic, &text),
                agree::<GeminiReader>(Dialect::Gemini, &text),
            ] {
                assert_eq!(ended.map(|outcome| outcome.class), class, "{text}");
                assert_eq!(ended, broken);
            }
        }
        let (_, ended, ..) = agree::<OpenAiReader>(Dialect::OpenAi, error);
        assert_eq!(ended.unwrap().class, Class::Throttled);
        let (content, _, _, usage) = agree::<OpenAiReader>(Dialect::OpenAi, one);
        assert!(content);
        assert_eq!(usage, Some(Usage::new(5, 6)));
    }

    #[test]
    fn usage_that_cannot_be_is_unknown() {
        let text = r#"{"type":"message","usage":{"input_tokens":5,"output_tokens":1e30}}"#;
        let (_, ended, _, usage) = agree::<AnthropicReader>(Dialect::Anthropic, text);
        assert_eq!((ended.unwrap().class, usage), (Class::Success, None));
    }
}
