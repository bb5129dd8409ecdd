//! What is wrong with a configuration, and where.

use std::{fmt, ops::Range, path::Path, str::Utf8Error};

/// Everything that is wrong with one file, in the order of its lines.
#[derive(Debug)]
pub(crate) struct Faults {
    file: String,
    // Where each line begins.
    lines: Vec<usize>,
    found: Vec<(Option<usize>, String)>,
}

// ===== impl Faults =====

impl Faults {
    pub(super) fn of(file: &Path, text: &str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self {
            file: file.display().to_string(),
            lines: std::iter::once(0)
                .chain(ends.map(|(at, _)| at + 1))
                .collect(),
            found: Vec::new(),
        }
    }

    /// A file that could not be read at all.
    pub(super) fn unreadable(file: &Path, error: &std::io::Error) -> Self {
        let mut faults = Self::of(file, "");
        faults
            .found
            .push((None, format!("cannot be read: {error}")));
        faults
    }

    /// A file that is no text.
    pub(super) fn not_text(file: &Path, bytes: &[u8], error: &Utf8Error) -> Self {
        let (good, rest) = bytes.split_at(error.valid_up_to());
        let good = String::from_utf8_lossy(good);
        let mut faults = Self::of(file, &good);
        let column = good.chars().rev().take_while(|c| *c != '\n').count() + 1;
        let byte = rest.first().copied().unwrap_or_default();
        faults.add(
            &(good.len()..good.len()),
            format!("found byte 0x{byte:02x} at column {column}, expected UTF-8 text"),
        );
        faults
    }

    /// Something at this place is wrong: says what was found, and what was expected.
    pub(super) fn add(&mut self, at: &Range<usize>, what: impl Into<String>) {
        let line = self.lines.partition_point(|begin| *begin <= at.start);
        // What is said once for all endpoints is looked at for each.
        let fault = (Some(line), what.into());
        if !self.found.contains(&fault) {
            self.found.push(fault);
        }
    }

    /// What the TOML parser has to say.
    pub(super) fn parser(&mut self, error: &toml::de::Error, fallback: &Range<usize>, text: &str) {
        let at = error.span().unwrap_or_else(|| fallback.clone());
        let what = match (error.message(), text.get(at.clone())) {
            ("duplicate key", Some(key)) => format!(
                "found key `{}` a second time, expected it once",
                key.trim_matches(['"', '\'']).escape_debug()
            ),
            (message, _) => reworded(message),
        };
        self.add(&at, what);
    }

    /// What serde has to say of the value at this place.
    pub(super) fn value(&mut self, error: &toml::de::Error, fallback: &Range<usize>) {
        let at = error.span().unwrap_or_else(|| fallback.clone());
        self.add(&at, reworded(error.message()));
    }

    /// The value, if nothing was wrong.
    pub(super) fn or<T>(mut self, value: Option<T>) -> Result<T, Self> {
        match value {
            Some(value) if self.found.is_empty() => Ok(value),
            _ => {
                self.found.sort_by_key(|(line, _)| *line);
                Err(self)
            }
        }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (line, what)) in self.found.iter().enumerate() {
            let end = if at == 0 { "" } else { "\n" };
            match line {
                Some(line) => write!(f, "{end}{}:{line}: {what}", self.file)?,
                None => write!(f, "{end}{}: {what}", self.file)?,
            }
        }
        Ok(())
    }
}

/// serde's words in ours. The values of strings go: one of them may be a key in the wrong place.
fn reworded(message: &str) -> String {
    let message = message.trim_end();
    if let Some(rest) = message.strip_prefix("invalid type: string ") {
        let expected = rest.rfind(", expected ").map_or("", |at| &rest[at..]);
        return format!("found a string{expected}");
    }
    for (theirs, ours) in [
        ("invalid type: ", "found "),
        ("invalid value: ", "found "),
        ("unknown field ", "found key "),
        ("unknown variant ", "found "),
        ("missing field ", "found no "),
    ] {
        if let Some(rest) = message.strip_prefix(theirs) {
            return format!("{ours}{rest}");
        }
    }
    message.to_owned()
}
