use super::turns;
use crate::convert::{
    model::{Budget, Choice, Output, Reasoning, Request, Tool},
    notes::Notes,
    text::{Raw, Text},
    write::Writer,
};

pub(in crate::convert) fn write_request(
    request: &Request<'_>,
    notes: &mut Notes,
    to: &mut Writer<'_>,
) {
    to.object(|to| {
        to.name("model").text(&request.model);
        to.name("messages").array(|to| {
            for message in &request.messages {
                turns::write(message, notes, to);
            }
        });
        write_tools(request, to);
        write_output(&request.output, to);
        write_sampling(request, notes, to);
        write_reasoning(&request.reasoning, notes, to);
        if request.stream {
            to.name("stream").bool(true);
            // Every other dialect tells the usage without being asked.
            to.name("stream_options")
                .object(|to| to.name("include_usage").bool(true));
        }
        if let Some(user) = &request.user {
            to.name("user").text(user);
        }
    });
    notes.own(&request.own);
}

fn write_tools(request: &Request<'_>, to: &mut Writer<'_>) {
    if !request.tools.is_empty() {
        to.name("tools").array(|to| {
            for tool in &request.tools {
                to.object(|to| {
                    to.name("type").str("function");
                    to.name("function").object(|to| write_function(tool, to));
                });
            }
        });
    }
    match &request.choice {
        None | Some(Choice::Auto) => {}
        // With nothing to choose from, it is the only way.
        Some(Choice::None) if request.tools.is_empty() => {}
        Some(Choice::None) => to.name("tool_choice").str("none"),
        Some(Choice::Any) => to.name("tool_choice").str("required"),
        Some(Choice::Named(names)) => match names.as_slice() {
            [] => to.name("tool_choice").str("required"),
            [name] => to.name("tool_choice").object(|to| write_name(name, to)),
            names => to.name("tool_choice").object(|to| {
                to.name("type").str("allowed_tools");
                to.name("allowed_tools").object(|to| {
                    to.name("mode").str("required");
                    to.name("tools").array(|to| {
                        for name in names {
                            to.object(|to| write_name(name, to));
                        }
                    });
                });
            }),
        },
    }
    if let Some(parallel) = request.parallel
        && !request.tools.is_empty()
    {
        to.name("parallel_tool_calls").bool(parallel);
    }
}

fn write_function(tool: &Tool<'_>, to: &mut Writer<'_>) {
    to.name("name").text(&tool.name);
    if let Some(description) = &tool.description {
        to.name("description").text(description);
    }
    if let Some(parameters) = &tool.parameters {
        to.name("parameters").raw(parameters);
    }
    if let Some(strict) = tool.strict {
        to.name("strict").bool(strict);
    }
}

fn write_name(name: &Text<'_>, to: &mut Writer<'_>) {
    to.name("type").str("function");
    to.name("function").object(|to| to.name("name").text(name));
}

fn write_output(output: &Output<'_>, to: &mut Writer<'_>) {
    match output {
        Output::Text => {}
        Output::Json { .. } => to
            .name("response_format")
            .object(|to| to.name("type").str("json_object")),
        Output::Schema {
            name,
            description,
            schema,
            strict,
        } => to.name("response_format").object(|to| {
            to.name("type").str("json_schema");
            to.name("json_schema").object(|to| {
                match name {
                    Some(name) => to.name("name").text(name),
                    None => to.name("name").str("reply"),
                }
                if let Some(description) = description {
                    to.name("description").text(description);
                }
                to.name("schema").raw(schema);
                if let Some(strict) = strict {
                    to.name("strict").bool(*strict);
                }
            });
        }),
    }
}

fn write_sampling(request: &Request<'_>, notes: &mut Notes, to: &mut Writer<'_>) {
    for (name, value) in [
        ("max_completion_tokens", &request.max_tokens),
        ("temperature", &request.temperature),
        ("top_p", &request.top_p),
        ("seed", &request.seed),
        ("presence_penalty", &request.presence_penalty),
        ("frequency_penalty", &request.frequency_penalty),
        ("n", &request.candidates),
    ] {
        if let Some(value) = value {
            to.name(name).raw(value);
        }
    }
    if let Some(top_k) = &request.top_k {
        notes.unfit(top_k.at(), "it does not sample from the likeliest k");
    }
    if let Some(fifth) = request.stop.get(4) {
        notes.unfit(fifth.at(), "it takes 4 stop sequences at most");
    }
    if !request.stop.is_empty() {
        to.name("stop")
            .array(|to| request.stop.iter().for_each(|stop| to.text(stop)));
    }
    if let Some(top) = &request.logprobs {
        if request.stream {
            notes.unfit(top.at(), "those of a stream cannot be told");
        }
        to.name("logprobs").bool(true);
        if top.written() != "0" {
            to.name("top_logprobs").raw(top);
        }
    }
}

fn write_reasoning(reasoning: &Reasoning<'_>, notes: &mut Notes, to: &mut Writer<'_>) {
    let effort = match (&reasoning.effort, &reasoning.budget) {
        (Some(effort), budget) => {
            if let Budget::Tokens(tokens) = budget {
                notes.leave_out(tokens.at());
            }
            return to.name("reasoning_effort").text(effort);
        }
        (None, Budget::Unsaid | Budget::Adaptive) => return,
        (None, Budget::Off) => "none",
        (None, Budget::Tokens(tokens)) => effort_of(tokens),
    };
    to.name("reasoning_effort").str(effort);
}

/// The effort that has about this budget, as LiteLLM converts it.
fn effort_of(tokens: &Raw<'_>) -> &'static str {
    let tokens: f64 = tokens.written().parse().unwrap_or(f64::MAX);
    match tokens {
        ..=0.0 => "none",
        ..=1024.0 => "low",
        ..=2048.0 => "medium",
        _ => "high",
    }
}
