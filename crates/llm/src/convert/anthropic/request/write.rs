use super::{
    thinking::{Mode, Thinking, display, number},
    turns::{Turns, write_text},
};
use crate::convert::{
    model::{Choice, Output, PartKind, Request, Tool},
    notes::Notes,
    text::Raw,
    write::Writer,
};

/// Writes a request.
pub(in crate::convert) fn write_request(
    request: &Request<'_>,
    notes: &mut Notes,
    to: &mut Writer<'_>,
) {
    check(request, notes);
    let thinking = Thinking::of(request, notes);
    thinking.check(request, notes);
    let turns = Turns::of(&request.messages, notes);
    to.object(|to| {
        if !request.model.is_empty() {
            to.name("model").text(&request.model);
        }
        let most = thinking.max_tokens(request.max_tokens.as_ref());
        to.name("max_tokens").raw(&most);
        if !turns.system.is_empty() {
            to.name("system").array(|to| {
                for part in &turns.system {
                    if let PartKind::Text { text, .. } = &part.kind {
                        write_text(text, to);
                    }
                }
            });
        }
        turns.write(to.name("messages"));
        write_tools(request, notes, to);
        write_thinking(&thinking, request, to);
        write_output(&thinking, request, notes, to);
        for (name, value) in [
            ("temperature", &request.temperature),
            ("top_p", &request.top_p),
        ] {
            // 1 is what it is without.
            if let Some(value) = value.as_ref().filter(|value| number(value) != 1.0) {
                to.name(name).raw(value);
            }
        }
        if let Some(top_k) = &request.top_k {
            to.name("top_k").raw(top_k);
        }
        if !request.stop.is_empty() {
            to.name("stop_sequences").array(|to| {
                for sequence in &request.stop {
                    to.text(sequence);
                }
            });
        }
        if let Some(user) = &request.user {
            to.name("metadata")
                .object(|to| to.name("user_id").text(user));
        }
        if request.stream {
            to.name("stream").bool(true);
        }
    });
}

/// Notes what the API cannot be told.
fn check(request: &Request<'_>, notes: &mut Notes) {
    notes.own(&request.own);
    let hot = request.temperature.as_ref();
    if let Some(temperature) = hot.filter(|temperature| number(temperature) > 1.0) {
        notes.unfit(temperature.at(), "its temperature is from 0 to 1");
    }
    let mut none = |value: &Option<Raw<'_>>, usual: f64, why| {
        if let Some(value) = value.as_ref().filter(|value| number(value) != usual) {
            notes.unfit(value.at(), why);
        }
    };
    none(&request.seed, f64::NAN, "it cannot be seeded");
    none(&request.presence_penalty, 0.0, "it has no penalties");
    none(&request.frequency_penalty, 0.0, "it has no penalties");
    none(&request.candidates, 1.0, "it gives one reply");
    none(&request.logprobs, f64::NAN, "it tells no probabilities");
    for sequence in &request.stop {
        if sequence.decode().trim().is_empty() {
            notes.unfit(sequence.at(), "it stops at no sequence of spaces alone");
        }
    }
}

fn write_tools(request: &Request<'_>, notes: &mut Notes, to: &mut Writer<'_>) {
    if !request.tools.is_empty() {
        to.name("tools").array(|to| {
            for tool in &request.tools {
                write_tool(tool, to);
            }
        });
    }
    let single = request.parallel == Some(false);
    let (kind, name) = match &request.choice {
        // What may not be said without tools says nothing then.
        None | Some(Choice::Auto | Choice::None) if request.tools.is_empty() => return,
        None if single => ("auto", None),
        None => return,
        Some(Choice::Auto) => ("auto", None),
        Some(Choice::None) => ("none", None),
        Some(Choice::Any) => ("any", None),
        Some(Choice::Named(names)) => match &names[..] {
            [] => ("any", None),
            [name] => ("tool", Some(name)),
            [_, second, ..] => {
                notes.unfit(second.at(), "it is told one tool, or any");
                return;
            }
        },
    };
    to.name("tool_choice").object(|to| {
        to.name("type").str(kind);
        if let Some(name) = name {
            to.name("name").text(name);
        }
        if single && kind != "none" {
            to.name("disable_parallel_tool_use").bool(true);
        }
    });
}

fn write_tool(tool: &Tool<'_>, to: &mut Writer<'_>) {
    to.object(|to| {
        to.name("name").text(&tool.name);
        if let Some(description) = &tool.description {
            to.name("description").text(description);
        }
        to.name("input_schema");
        match &tool.parameters {
            Some(schema) if schema.written() != "{}" => to.raw(schema),
            // A tool without parameters: the API wants a schema of an object.
            _ => to.object(|to| {
                to.name("type").str("object");
                to.name("properties").object(|_| ());
            }),
        }
        if tool.strict == Some(true) {
            to.name("strict").bool(true);
        }
    });
}

fn write_thinking(thinking: &Thinking, request: &Request<'_>, to: &mut Writer<'_>) {
    let kind = match thinking.mode {
        Mode::Unsaid => return,
        Mode::Off => "disabled",
        Mode::Adaptive => "adaptive",
        Mode::Tokens(_) => "enabled",
    };
    to.name("thinking").object(|to| {
        to.name("type").str(kind);
        if let Mode::Tokens(tokens) = thinking.mode {
            to.name("budget_tokens").count(tokens);
        }
        if let Some(display) = display(request.reasoning.told).filter(|_| kind != "disabled") {
            to.name("display").text(&display);
        }
    });
}

fn write_output(
    thinking: &Thinking,
    request: &Request<'_>,
    notes: &mut Notes,
    to: &mut Writer<'_>,
) {
    let schema = match &request.output {
        Output::Text => None,
        Output::Json { at } => {
            notes.unfit(*at, "it has no form of any JSON, only of a schema");
            None
        }
        Output::Schema {
            name,
            description,
            schema,
            ..
        } => {
            for text in [name, description].into_iter().flatten() {
                notes.leave_out(text.at());
            }
            Some(schema)
        }
    };
    if schema.is_none() && thinking.effort.is_none() {
        return;
    }
    to.name("output_config").object(|to| {
        if let Some(effort) = thinking.effort {
            to.name("effort").str(effort);
        }
        if let Some(schema) = schema {
            to.name("format").object(|to| {
                to.name("type").str("json_schema");
                to.name("schema").raw(schema);
            });
        }
    });
}
