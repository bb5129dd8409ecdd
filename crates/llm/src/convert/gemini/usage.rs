//! What a reply took.

use crate::{
    convert::{model::Counts, read::Reader, rest, write::Writer},
    json::Kind,
};

/// The members that are written here.
const OURS: [&str; 6] = [
    "promptTokenCount",
    "cachedContentTokenCount",
    "candidatesTokenCount",
    "thoughtsTokenCount",
    "totalTokenCount",
    "toolUsePromptTokenCount",
];

/// Reads a `usageMetadata`, as the meter does: what was read for tools is beside the prompt, and
/// thoughts beside the candidates, whose count is left out at times when it is in the total.
pub(super) fn read<'a>(json: &mut Reader<'a>) -> Counts<'a> {
    let (mut prompt, mut tools, mut thoughts, mut cached) = (None, None, None, None);
    let (mut candidates, mut total) = (None, None);
    let mut rest = Vec::new();
    json.object_in_any_case(|json, name| {
        let count = match name {
            "promptTokenCount" => &mut prompt,
            "toolUsePromptTokenCount" => &mut tools,
            "candidatesTokenCount" => &mut candidates,
            "thoughtsTokenCount" => &mut thoughts,
            "cachedContentTokenCount" => &mut cached,
            "totalTokenCount" => &mut total,
            _ => return rest::keep(name, json, &mut rest),
        };
        match json.kind() {
            Kind::Number => *count = Some(json.count()),
            _ => json.skip(),
        }
    });
    let or_none = Option::unwrap_or_default;
    let input = or_none(prompt).saturating_add(or_none(tools));
    let spoken = candidates.unwrap_or_else(|| {
        let output = or_none(total).saturating_sub(input);
        output.saturating_sub(or_none(thoughts))
    });
    Counts {
        input,
        cached,
        cache_write: None,
        output: spoken.saturating_add(or_none(thoughts)),
        reasoning: thoughts,
        rest,
    }
}

/// Writes the member `usageMetadata`.
pub(super) fn write(counts: &Counts<'_>, to: &mut Writer<'_>) {
    to.name("usageMetadata").object(|to| {
        to.name("promptTokenCount").count(counts.input);
        if let Some(cached) = counts.cached {
            to.name("cachedContentTokenCount").count(cached);
        }
        let thoughts = counts.reasoning.unwrap_or_default();
        to.name("candidatesTokenCount")
            .count(counts.output.saturating_sub(thoughts));
        if let Some(thoughts) = counts.reasoning {
            to.name("thoughtsTokenCount").count(thoughts);
        }
        let total = counts.input.saturating_add(counts.output);
        to.name("totalTokenCount").count(total);
        if let Some(written) = counts.cache_write.filter(|written| *written > 0) {
            to.name("cacheWriteTokenCount").count(written);
        }
        rest::write(&counts.rest, &OURS, to);
    });
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::{read, write};
    use crate::convert::{
        model::Counts,
        read::{Names, Reader},
        write::Writer,
    };

    fn counts(text: &str) -> Counts<'_> {
        let mut json = Reader::new(text, Names::Any);
        let counts = read(&mut json);
        json.end().unwrap();
        counts
    }

    #[test]
    fn counts_are_those_of_the_meter() {
        for (text, input, cached, output, reasoning) in [
            ("{}", 0, None, 0, None),
            (
                r#"{"promptTokenCount":9,"candidatesTokenCount":5,"totalTokenCount":199,"thoughtsTokenCount":185}"#,
                9,
                None,
                190,
                Some(185),
            ),
            (
                r#"{"promptTokenCount":9,"totalTokenCount":199,"thoughtsTokenCount":100}"#,
                9,
                None,
                190,
                Some(100),
            ),
            (
                r#"{"promptTokenCount":9,"toolUsePromptTokenCount":3,"cachedContentTokenCount":4,"totalTokenCount":13}"#,
                12,
                Some(4),
                1,
                None,
            ),
            (
                r#"{"promptTokenCount":18446744073709551615,"toolUsePromptTokenCount":3,"candidatesTokenCount":null}"#,
                u64::MAX,
                None,
                0,
                None,
            ),
        ] {
            let counts = counts(text);
            assert_eq!(
                (counts.input, counts.cached, counts.output, counts.reasoning),
                (input, cached, output, reasoning),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let first = Counts {
            input: 10,
            cached: Some(4),
            cache_write: Some(2),
            output: 7,
            reasoning: Some(3),
            rest: counts(r#"{"trafficType":"ON_DEMAND","new":[1]}"#).rest,
        };
        let mut out = BytesMut::new();
        Writer::new(&mut out).object(|to| write(&first, to));
        assert_eq!(
            out,
            r#"{"usageMetadata":{"promptTokenCount":10,"cachedContentTokenCount":4,"candidatesTokenCount":4,"thoughtsTokenCount":3,"totalTokenCount":17,"cacheWriteTokenCount":2,"trafficType":"ON_DEMAND","new":[1]}}"#
        );
    }
}
