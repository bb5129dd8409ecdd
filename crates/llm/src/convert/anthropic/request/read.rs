use super::{
    content::{Place, need, read_content},
    own::{own, unless},
};
use crate::convert::{
    error::Wrong,
    model::{
        Budget, Choice, Message, Output, Own, Reasoning, Request, Role, Tool,
        Weight::{Hint, Matters},
    },
    own::matters,
    read::{Numbers, Reader},
    text::Text,
};

/// Reads a request.
pub(in crate::convert) fn read_request<'a>(json: &mut Reader<'a>) -> Request<'a> {
    let mut request = Request {
        include_usage: true,
        ..Request::default()
    };
    let mut system = None;
    let mut messages = false;
    let at = json.at();
    let mut model = None;
    let mut owns = Vec::new();
    json.object(|json, name| match name {
        "model" => model = Some(json.text()),
        "messages" => {
            messages = true;
            json.array(|json| {
                let message = read_message(json, &mut owns);
                request.messages.push(message);
            });
        }
        "system" if json.null() => {}
        "system" => {
            let at = json.at();
            system = Some(Message {
                role: Role::System,
                parts: read_content(json, Place::System, &mut owns),
                name: None,
                at,
            });
        }
        "max_tokens" => request.max_tokens = Some(json.number(Numbers::COUNT)),
        "temperature" => request.temperature = json.number_or_null(Numbers::UP_TO_1),
        "top_p" => request.top_p = json.number_or_null(Numbers::UP_TO_1),
        "top_k" => request.top_k = json.number_or_null(Numbers::COUNT),
        "stop_sequences" if json.null() => {}
        "stop_sequences" => json.array(|json| {
            let text = json.text();
            request.stop.push(text);
        }),
        "stream" => request.stream = json.bool_or_null().unwrap_or(false),
        "tools" if json.null() => {}
        "tools" => json.array(|json| request.tools.extend(read_tool(json, &mut owns))),
        "tool_choice" if json.null() => {}
        "tool_choice" => {
            read_choice(json, &mut request, &mut owns);
        }
        "thinking" if json.null() => {}
        "thinking" => read_thinking(json, &mut request.reasoning, &mut owns),
        "output_config" if json.null() => {}
        "output_config" => json.object(|json, name| match name {
            "effort" => read_effort(json, &mut request.reasoning),
            "format" => read_format(json, &mut request.output, &mut owns),
            _ => own(json, Matters, &mut owns),
        }),
        // Its name before the API was finished.
        "output_format" => read_format(json, &mut request.output, &mut owns),
        "metadata" if json.null() => {}
        "metadata" => json.object(|json, name| match name {
            "user_id" => request.user = json.text_or_null(),
            _ => own(json, Hint, &mut owns),
        }),
        "cache_control" | "service_tier" | "diagnostics" | "speed" | "user_profile_id"
        | "workspace_id" | "billing_policy" => own(json, Hint, &mut owns),
        _ => own(json, Matters, &mut owns),
    });
    request.model = need(json, model, at, "model");
    for (there, member) in [
        (request.max_tokens.is_some(), "max_tokens"),
        (messages, "messages"),
    ] {
        if !there {
            json.fail(at, Wrong::Missing { member });
        }
    }
    if let Some(system) = system {
        request.messages.insert(0, system);
    }
    request.own = owns;
    request
}

fn read_message<'a>(json: &mut Reader<'a>, owns: &mut Vec<Own>) -> Message<'a> {
    let at = json.at();
    let said = json.look("role");
    let (role, place) = match said.as_ref().map(Text::decode).as_deref() {
        Some("assistant") => (Role::Assistant, Place::Assistant),
        Some("system") => (Role::System, Place::System),
        _ => (Role::User, Place::User),
    };
    let (mut seen, mut parts) = (false, None);
    json.object(|json, name| match name {
        "role" => {
            seen = true;
            let role = json.text();
            if !matches!(&*role.decode(), "user" | "assistant" | "system") {
                let expected = "`user`, `assistant` or `system`";
                json.fail(role.at(), Wrong::Value { expected });
            }
        }
        "content" => parts = Some(read_content(json, place, owns)),
        _ => own(json, Matters, owns),
    });
    for (there, member) in [(seen, "role"), (parts.is_some(), "content")] {
        if !there {
            json.fail(at, Wrong::Missing { member });
        }
    }
    Message {
        role,
        parts: parts.unwrap_or_default(),
        name: None,
        at,
    }
}

/// Takes a tool. `None`: one that the provider runs itself.
fn read_tool<'a>(json: &mut Reader<'a>, owns: &mut Vec<Own>) -> Option<Tool<'a>> {
    let at = json.at();
    if let Some(kind) = json.look("type")
        && kind.decode() != "custom"
    {
        json.object(|json, name| match name {
            "type" => own(json, Matters, owns),
            _ => json.skip(),
        });
        return None;
    }
    let (mut called, mut description, mut parameters, mut strict) = (None, None, None, None);
    json.object(|json, name| match name {
        "type" => drop(json.text_or_null()),
        "name" => called = Some(json.text()),
        "description" => description = json.text_or_null(),
        "input_schema" => parameters = Some(json.raw_object()),
        "strict" => strict = json.bool_or_null(),
        "defer_loading" => unless("false", json, owns),
        "allowed_callers" => unless(r#"["direct"]"#, json, owns),
        "cache_control" | "eager_input_streaming" => own(json, Hint, owns),
        _ => own(json, Matters, owns),
    });
    if parameters.is_none() {
        let member = "input_schema";
        json.fail(at, Wrong::Missing { member });
    }
    Some(Tool {
        name: need(json, called, at, "name"),
        description,
        parameters,
        strict,
    })
}

fn read_choice<'a>(json: &mut Reader<'a>, request: &mut Request<'a>, owns: &mut Vec<Own>) {
    let at = json.at();
    let (mut kind, mut tool) = (None, None);
    json.object(|json, name| match name {
        "type" => kind = Some(json.text()),
        "name" => tool = json.text_or_null(),
        "disable_parallel_tool_use" => {
            request.parallel_at = json.at();
            request.parallel = json.bool_or_null().map(|single| !single);
        }
        _ => own(json, Matters, owns),
    });
    let kind = need(json, kind, at, "type");
    request.choice = Some(match &*kind.decode() {
        "auto" => Choice::Auto,
        "any" => Choice::Any,
        "none" => Choice::None,
        "tool" => Choice::Named(vec![need(json, tool, at, "name")]),
        _ => {
            let expected = "`auto`, `any`, `tool` or `none`";
            json.fail(kind.at(), Wrong::Value { expected });
            Choice::Auto
        }
    });
}

fn read_thinking<'a>(json: &mut Reader<'a>, reasoning: &mut Reasoning<'a>, owns: &mut Vec<Own>) {
    let at = json.at();
    let (mut kind, mut tokens, mut display) = (None, None, None);
    json.object(|json, name| match name {
        "type" => kind = Some(json.text()),
        "budget_tokens" => tokens = json.number_or_null(Numbers::COUNT),
        "display" => display = json.text_or_null(),
        _ => own(json, Matters, owns),
    });
    let kind = need(json, kind, at, "type");
    reasoning.budget = match &*kind.decode() {
        "enabled" => {
            if tokens.is_none() {
                let member = "budget_tokens";
                json.fail(at, Wrong::Missing { member });
            }
            Budget::Tokens(tokens.unwrap_or_default())
        }
        "adaptive" => Budget::Adaptive,
        "disabled" => Budget::Off,
        // To think between calls alone: no other dialect says when.
        "between_tools" => {
            owns.push(matters(kind.at()));
            Budget::Unsaid
        }
        _ => {
            let expected = "`enabled`, `adaptive`, `disabled` or `between_tools`";
            json.fail(kind.at(), Wrong::Value { expected });
            Budget::Unsaid
        }
    };
    let told = match display.as_ref().map(Text::decode).as_deref() {
        None | Some("summarized") => true,
        Some("omitted") => false,
        Some(_) => {
            let at = display.as_ref().map_or(at, Text::at);
            let expected = "`summarized` or `omitted`";
            json.fail(at, Wrong::Value { expected });
            true
        }
    };
    reasoning.told = (!matches!(reasoning.budget, Budget::Off)).then_some(told);
}

fn read_effort<'a>(json: &mut Reader<'a>, reasoning: &mut Reasoning<'a>) {
    let Some(effort) = json.text_or_null() else {
        return;
    };
    if !matches!(
        &*effort.decode(),
        "low" | "medium" | "high" | "xhigh" | "max"
    ) {
        let expected = "`low`, `medium`, `high`, `xhigh` or `max`";
        json.fail(effort.at(), Wrong::Value { expected });
    }
    reasoning.effort = Some(effort);
}

fn read_format<'a>(json: &mut Reader<'a>, output: &mut Output<'a>, owns: &mut Vec<Own>) {
    if json.null() {
        return;
    }
    let at = json.at();
    let (mut kind, mut schema) = (None, None);
    json.object(|json, name| match name {
        "type" => kind = Some(json.text()),
        "schema" => schema = Some(json.raw_object()),
        _ => own(json, Matters, owns),
    });
    let kind = need(json, kind, at, "type");
    if kind.decode() != "json_schema" {
        let expected = "`json_schema`";
        json.fail(kind.at(), Wrong::Value { expected });
    }
    if schema.is_none() {
        json.fail(at, Wrong::Missing { member: "schema" });
    }
    *output = Output::Schema {
        name: None,
        description: None,
        schema: schema.unwrap_or_default(),
        // It is held to the schema, whatever model replies.
        strict: Some(true),
    };
}
