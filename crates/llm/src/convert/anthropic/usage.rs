//! What a message took, as Anthropic counts: the input without what a cache had or got.

use crate::{
    convert::{
        model::{Counts, Rest},
        read::Reader,
        rest,
        text::Text,
        write::Writer,
    },
    json::Kind,
};

/// What was told so far. What a stream tells later is of the whole message, and replaces it.
#[derive(Debug, Default)]
pub(super) struct Told {
    any: bool,
    input: u64,
    cached: Option<u64>,
    cache_write: Option<u64>,
    output: u64,
    reasoning: Option<u64>,
    rest: Rest<'static>,
}

/// How long a member is that nothing here knows and that is kept for the end of a stream.
const LONGEST: usize = 4 << 10;

/// The members that are written here, whatever another dialect says under these names.
const OURS: [&str; 5] = [
    "input_tokens",
    "cache_creation_input_tokens",
    "cache_read_input_tokens",
    "output_tokens",
    "output_tokens_details",
];

// ===== impl Told =====

impl Told {
    /// Takes a `usage`.
    pub(super) fn read(&mut self, json: &mut Reader<'_>) {
        if json.kind() != Kind::Object {
            return json.skip();
        }
        self.any = true;
        json.object(|json, name| {
            if json.null() {
                return;
            }
            match name {
                "input_tokens" => self.input = json.count(),
                "cache_read_input_tokens" => self.cached = Some(json.count()),
                "cache_creation_input_tokens" => self.cache_write = Some(json.count()),
                "output_tokens" => self.output = json.count(),
                "output_tokens_details" if json.kind() == Kind::Object => {
                    json.object(|json, name| match name {
                        "thinking_tokens" => self.reasoning = json.count_or_null(),
                        _ => json.skip(),
                    });
                }
                _ => {
                    let value = json.raw();
                    if value.written().len() <= LONGEST {
                        rest::set(Text::of(name), value.into_owned(), &mut self.rest);
                    }
                }
            }
        });
    }

    /// Everything that was told. `None`: nothing was.
    pub(super) fn counts(&self) -> Option<Counts<'static>> {
        self.any.then(|| Counts {
            input: self
                .input
                .saturating_add(self.cached.unwrap_or(0))
                .saturating_add(self.cache_write.unwrap_or(0)),
            cached: self.cached,
            cache_write: self.cache_write,
            output: self.output,
            reasoning: self.reasoning,
            rest: self.rest.clone(),
        })
    }
}

/// Writes the value of `usage`. `None`: it was not told, but the SDKs want to be told something.
pub(super) fn write(counts: Option<&Counts<'_>>, to: &mut Writer<'_>) {
    to.object(|to| {
        let nothing = Counts::default();
        let counts = counts.unwrap_or(&nothing);
        let cached = counts.cached.unwrap_or(0);
        let cache_write = counts.cache_write.unwrap_or(0);
        let input = counts
            .input
            .saturating_sub(cached)
            .saturating_sub(cache_write);
        to.name("input_tokens").count(input);
        to.name("cache_creation_input_tokens").count(cache_write);
        to.name("cache_read_input_tokens").count(cached);
        to.name("output_tokens").count(counts.output);
        if let Some(reasoning) = counts.reasoning {
            to.name("output_tokens_details")
                .object(|to| to.name("thinking_tokens").count(reasoning));
        }
        rest::write(&counts.rest, &OURS, to);
    });
}
