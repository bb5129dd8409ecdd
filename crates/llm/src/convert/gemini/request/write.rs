use std::borrow::Cow;

use super::{tools::write_tools, turns::Turns};
use crate::convert::{
    model::{Budget, Choice, Output, Reasoning, Request},
    notes::Notes,
    text::Raw,
    write::Writer,
};

/// The most stop sequences that the API takes.
const STOPS: usize = 5;

/// What is written of how much to think.
#[derive(Debug, PartialEq, Eq)]
struct Thinking<'r> {
    budget: Option<Cow<'r, str>>,
    told: bool,
}

/// Writes a request. The model, and whether the reply is to be streamed, are for its path.
pub(in crate::convert) fn write_request(
    request: &Request<'_>,
    notes: &mut Notes,
    to: &mut Writer<'_>,
) {
    check(request, notes);
    let turns = Turns::of(&request.messages, notes);
    let thinking = thinking(&request.reasoning, notes);
    to.object(|to| {
        turns.write(checks_signatures(&request.model.decode()), to);
        write_tools(request, to);
        write_config(request, thinking.as_ref(), to);
    });
}

/// Notes what the API cannot be told.
fn check(request: &Request<'_>, notes: &mut Notes) {
    notes.own(&request.own);
    if let Some(user) = &request.user {
        notes.leave_out(user.at());
    }
    let any = !request.tools.is_empty() && !matches!(request.choice, Some(Choice::None));
    if any && request.parallel == Some(false) {
        notes.unfit(request.parallel_at, "it calls several tools at once");
    }
    for tool in &request.tools {
        if !is_name(&tool.name.decode()) {
            notes.unfit(tool.name.at(), "its tools have other names");
        }
    }
    if let Some(sixth) = request.stop.get(STOPS) {
        notes.unfit(sixth.at(), "it takes five stop sequences at most");
    }
    if let Some(seed) = &request.seed
        && seed.written().parse::<i32>().is_err()
    {
        notes.unfit(seed.at(), "its seeds are whole numbers of 32 bits");
    }
    if let Some(logprobs) = &request.logprobs
        && request.stream
    {
        notes.unfit(logprobs.at(), "its streams tell no probabilities");
    }
    if let Output::Schema {
        name, description, ..
    } = &request.output
    {
        for text in [name, description].into_iter().flatten() {
            notes.leave_out(text.at());
        }
    }
}

/// Whether a tool may have this name: as the API says of `FunctionDeclaration`.
fn is_name(name: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    let other = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
    name.starts_with(first) && name.chars().all(other) && name.len() <= 128
}

/// Whether a model of this name wants its signature on the calls of each turn. See
/// <https://ai.google.dev/gemini-api/docs/thought-signatures>: from Gemini 3 on.
fn checks_signatures(model: &str) -> bool {
    let Some((_, version)) = model.split_once("gemini-") else {
        return false;
    };
    let digits = version.find(|c: char| !c.is_ascii_digit());
    let (digits, _) = version.split_at(digits.unwrap_or(version.len()));
    match digits.parse::<u32>() {
        Ok(version) => version >= 3,
        // Such as `gemini-flash-latest`.
        Err(_) => version.ends_with("-latest"),
    }
}

/// How much to think: Google's own compatible server takes the words for these many tokens. See
/// <https://ai.google.dev/gemini-api/docs/openai>.
fn thinking<'r>(reasoning: &'r Reasoning<'_>, notes: &mut Notes) -> Option<Thinking<'r>> {
    let effort = reasoning.effort.as_ref();
    let word = |notes: &mut Notes| {
        let effort = effort?;
        match &*effort.decode() {
            "none" => Some("0"),
            "minimal" | "low" => Some("1024"),
            "medium" => Some("8192"),
            "high" | "xhigh" | "max" => Some("24576"),
            _ => {
                notes.unfit(effort.at(), "it has no such effort");
                None
            }
        }
    };
    let budget = match &reasoning.budget {
        Budget::Unsaid => word(notes).map(Into::into),
        Budget::Adaptive => Some(word(notes).unwrap_or("-1").into()),
        said => {
            // Two ways to say one thing: the number is the closer one.
            if let Some(effort) = effort {
                notes.leave_out(effort.at());
            }
            match said {
                Budget::Tokens(tokens) => Some(tokens.written().into()),
                _ => Some("0".into()),
            }
        }
    };
    let thinks = budget.as_deref().is_some_and(|budget| budget != "0");
    // Who asks for thinking, and has nothing to say of being told, is told.
    let told = reasoning.told.unwrap_or(thinks);
    (budget.is_some() || told).then_some(Thinking { budget, told })
}

fn write_config(request: &Request<'_>, thinking: Option<&Thinking<'_>>, to: &mut Writer<'_>) {
    // Each with what the API takes it for by itself.
    let mut numbers = [
        ("temperature", &request.temperature, f64::NAN),
        ("topP", &request.top_p, f64::NAN),
        ("topK", &request.top_k, f64::NAN),
        ("seed", &request.seed, f64::NAN),
        ("candidateCount", &request.candidates, 1.0),
        ("maxOutputTokens", &request.max_tokens, f64::NAN),
        ("presencePenalty", &request.presence_penalty, 0.0),
        ("frequencyPenalty", &request.frequency_penalty, 0.0),
    ]
    .into_iter()
    .filter_map(|(name, number, usual)| {
        let number = number.as_ref()?;
        (number.written().parse() != Ok(usual)).then_some((name, number))
    })
    .peekable();
    let any = numbers.peek().is_some()
        || !request.stop.is_empty()
        || !matches!(request.output, Output::Text)
        || request.logprobs.is_some()
        || thinking.is_some();
    if !any {
        return;
    }
    to.name("generationConfig").object(|to| {
        for (name, number) in numbers {
            to.name(name).raw(number);
        }
        if !request.stop.is_empty() {
            to.name("stopSequences")
                .array(|to| request.stop.iter().for_each(|stop| to.text(stop)));
        }
        match &request.output {
            Output::Text => {}
            Output::Json { .. } => to.name("responseMimeType").str("application/json"),
            Output::Schema { schema, .. } => {
                to.name("responseMimeType").str("application/json");
                to.name("responseJsonSchema").raw(schema);
            }
        }
        if let Some(logprobs) = &request.logprobs {
            to.name("responseLogprobs").bool(true);
            if logprobs.written() != "0" {
                to.name("logprobs").raw(logprobs);
            }
        }
        if let Some(thinking) = thinking {
            to.name("thinkingConfig").object(|to| thinking.write(to));
        }
    });
}

// ===== impl Thinking =====

impl Thinking<'_> {
    fn write(&self, to: &mut Writer<'_>) {
        if let Some(budget) = &self.budget {
            to.name("thinkingBudget").raw(&Raw::of(&**budget));
        }
        if self.told {
            to.name("includeThoughts").bool(true);
        }
    }
}
