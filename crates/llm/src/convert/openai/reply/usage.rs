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

/// Takes a usage. `None`: it counts nothing.
pub(in crate::convert::openai) fn read_usage<'a>(json: &mut Reader<'a>) -> Option<Counts<'a>> {
    let mut counts = Counts::default();
    let (mut told, mut total) = (false, 0);
    let mut number = |json: &mut Reader<'a>| {
        let count = tokens(json);
        told |= count.is_some();
        count.unwrap_or_default()
    };
    if json.kind() != Kind::Object {
        json.skip();
        return None;
    }
    json.object(|json, name| match name {
        _ if json.null() => {}
        "prompt_tokens" | "input_tokens" => counts.input = number(json),
        "completion_tokens" | "output_tokens" => counts.output = number(json),
        "total_tokens" => total = tokens(json).unwrap_or_default(),
        // DeepSeek's names; what is missing is the rest of the input.
        "prompt_cache_hit_tokens" => counts.cached = tokens(json).or(counts.cached),
        "prompt_cache_miss_tokens" => json.skip(),
        "prompt_tokens_details" | "input_tokens_details" => {
            let (cached, written) = (&mut counts.cached, &mut counts.cache_write);
            let known = |name: &str, count| match name {
                "cached_tokens" => *cached = count,
                _ => *written = count,
            };
            let names = ["cached_tokens", "cache_write_tokens"];
            details(json, name, names, known, &mut counts.rest);
        }
        "completion_tokens_details" | "output_tokens_details" => {
            let reasoning = &mut counts.reasoning;
            let known = |_: &str, count| *reasoning = count;
            details(json, name, ["reasoning_tokens"], known, &mut counts.rest);
        }
        _ => keep(json, name, &mut counts.rest),
    });
    // Some compatible servers leave the reasoning out of the output, and not out of the total.
    counts.output = counts.output.max(total.saturating_sub(counts.input));
    told.then_some(counts)
}

/// Takes an object of counts. It is kept whole, if it counts something else.
fn details<'a, const N: usize>(
    json: &mut Reader<'a>,
    name: &str,
    names: [&str; N],
    mut known: impl FnMut(&str, Option<u64>),
    rest: &mut Rest<'a>,
) {
    if json.kind() != Kind::Object {
        return json.skip();
    }
    let (whole, mut others) = (json.peek(), false);
    json.object(|json, name| {
        if names.contains(&name) {
            known(name, tokens(json));
        } else {
            others |= !matches!(json.raw().written(), "0" | "null");
        }
    });
    if others {
        rest::set(Text::of(name), whole, rest);
    }
}

fn keep<'a>(json: &mut Reader<'a>, name: &str, rest: &mut Rest<'a>) {
    rest::set(Text::of(name), json.raw(), rest);
}

/// A number of tokens. What is none counts as nothing.
fn tokens(json: &mut Reader<'_>) -> Option<u64> {
    let raw = json.raw();
    let written = raw.written();
    written.parse().ok().or_else(|| {
        let number: f64 = written.parse().ok()?;
        // A cast saturates.
        (number >= 0.0 && number.fract() == 0.0).then_some(number as u64)
    })
}

/// Writes a usage.
pub(in crate::convert::openai) fn write_usage(counts: &Counts<'_>, to: &mut Writer<'_>) {
    to.object(|to| {
        to.name("prompt_tokens").count(counts.input);
        to.name("completion_tokens").count(counts.output);
        let total = counts.input.saturating_add(counts.output);
        to.name("total_tokens").count(total);
        if counts.cached.or(counts.cache_write).is_some() {
            to.name("prompt_tokens_details").object(|to| {
                if let Some(cached) = counts.cached {
                    to.name("cached_tokens").count(cached);
                }
                if let Some(written) = counts.cache_write {
                    to.name("cache_write_tokens").count(written);
                }
            });
        }
        if let Some(reasoning) = counts.reasoning {
            to.name("completion_tokens_details")
                .object(|to| to.name("reasoning_tokens").count(reasoning));
        }
        rest::write(&counts.rest, OWN, to);
    });
}

/// What it writes itself.
const OWN: &[&str] = &[
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "prompt_tokens_details",
    "completion_tokens_details",
];
