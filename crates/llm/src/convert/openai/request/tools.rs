use std::collections::HashSet;

use super::{hint, members, unknown};
use crate::{
    convert::{
        error::Wrong,
        model::{Choice, Output, Own, Tool},
        read::Reader,
        text::{Raw, Text},
    },
    json::Kind,
};

/// What `tool_choice` says.
pub(super) enum Chosen<'a> {
    Choice(Choice<'a>),
    /// Only these exist, whatever `tools` has.
    Allowed {
        required: bool,
        names: Vec<Text<'a>>,
    },
}

/// Takes the array of tools.
pub(super) fn read<'a>(json: &mut Reader<'a>, own: &mut Vec<Own>) -> Vec<Tool<'a>> {
    let mut tools = Vec::new();
    json.array(|json| {
        let at = json.at();
        match json.tag("type") {
            Some(kind) if *kind.decode() == *"function" => {
                let mut tool = None;
                members(json, |json, name| match name {
                    "type" => json.skip(),
                    "function" => tool = Some(read_function(json, own)),
                    "cache_control" => {
                        own.push(hint(json.at()));
                        json.skip();
                    }
                    _ => unknown(json, own),
                });
                match tool {
                    Some(tool) => tools.push(tool),
                    None => json.fail(at, Wrong::Missing { member: "function" }),
                }
            }
            // `custom`, or one that the provider runs itself.
            Some(_) => unknown(json, own),
            None => json.skip(),
        }
    });
    tools
}

fn read_function<'a>(json: &mut Reader<'a>, own: &mut Vec<Own>) -> Tool<'a> {
    let at = json.at();
    let (mut tool_name, mut description, mut parameters, mut strict) = (None, None, None, None);
    members(json, |json, name| match name {
        "name" => tool_name = Some(json.text()),
        "description" => description = Some(json.text()),
        "parameters" => parameters = Some(json.raw_object()),
        "strict" => strict = Some(json.bool()),
        _ => unknown(json, own),
    });
    if tool_name.is_none() {
        json.fail(at, Wrong::Missing { member: "name" });
    }
    Tool {
        name: tool_name.unwrap_or_default(),
        description,
        parameters,
        strict,
    }
}

/// Takes a `tool_choice`.
pub(super) fn read_choice<'a>(json: &mut Reader<'a>, own: &mut Vec<Own>) -> Option<Chosen<'a>> {
    if json.kind() == Kind::String {
        let word = json.text();
        return Some(Chosen::Choice(match &*word.decode() {
            "auto" => Choice::Auto,
            "none" => Choice::None,
            "required" => Choice::Any,
            _ => {
                let expected = "`none`, `auto`, `required` or an object";
                json.fail(word.at(), Wrong::Value { expected });
                return None;
            }
        }));
    }
    let Some(kind) = json.tag("type") else {
        json.skip();
        return None;
    };
    match &*kind.decode() {
        "function" => {
            let name = read_name(json, own)?;
            Some(Chosen::Choice(Choice::Named(vec![name])))
        }
        "allowed_tools" => {
            let (at, mut chosen) = (json.at(), None);
            members(json, |json, name| match name {
                "type" => json.skip(),
                "allowed_tools" => chosen = read_allowed(json, own),
                _ => unknown(json, own),
            });
            if chosen.is_none() {
                let member = "allowed_tools";
                json.fail(at, Wrong::Missing { member });
            }
            chosen
        }
        _ => {
            unknown(json, own);
            None
        }
    }
}

fn read_allowed<'a>(json: &mut Reader<'a>, own: &mut Vec<Own>) -> Option<Chosen<'a>> {
    let at = json.at();
    let (mut required, mut names) = (None, None);
    members(json, |json, name| match name {
        "mode" => {
            let mode = json.text();
            match &*mode.decode() {
                "auto" => required = Some(false),
                "required" => required = Some(true),
                _ => {
                    let expected = "`auto` or `required`";
                    json.fail(mode.at(), Wrong::Value { expected });
                }
            }
        }
        "tools" => {
            let names = names.insert(Vec::new());
            json.array(|json| match json.tag("type") {
                Some(kind) if *kind.decode() == *"function" => names.extend(read_name(json, own)),
                Some(_) => unknown(json, own),
                None => json.skip(),
            });
        }
        _ => unknown(json, own),
    });
    match (required, names) {
        (Some(required), Some(names)) => Some(Chosen::Allowed { required, names }),
        (None, _) => {
            json.fail(at, Wrong::Missing { member: "mode" });
            None
        }
        (_, None) => {
            json.fail(at, Wrong::Missing { member: "tools" });
            None
        }
    }
}

/// Takes `{"type": "function", "function": {"name": …}}`.
fn read_name<'a>(json: &mut Reader<'a>, own: &mut Vec<Own>) -> Option<Text<'a>> {
    let (at, mut found) = (json.at(), None);
    members(json, |json, name| match name {
        "type" => json.skip(),
        "function" => members(json, |json, name| match name {
            "name" => found = Some(json.text()),
            _ => unknown(json, own),
        }),
        _ => unknown(json, own),
    });
    if found.is_none() {
        let member = "function.name";
        json.fail(at, Wrong::Missing { member });
    }
    found
}

/// Takes a `response_format`.
pub(super) fn read_format<'a>(json: &mut Reader<'a>, own: &mut Vec<Own>) -> Output<'a> {
    let at = json.at();
    let Some(kind) = json.tag("type") else {
        json.skip();
        return Output::Text;
    };
    let mut output = match &*kind.decode() {
        "text" => Some(Output::Text),
        "json_object" => Some(Output::Json { at }),
        "json_schema" => None,
        _ => {
            unknown(json, own);
            return Output::Text;
        }
    };
    members(json, |json, name| match name {
        "type" => json.skip(),
        "json_schema" if !matches!(output, Some(Output::Text | Output::Json { .. })) => {
            output = Some(read_schema(json, own));
        }
        _ => unknown(json, own),
    });
    if output.is_none() {
        let member = "json_schema";
        json.fail(at, Wrong::Missing { member });
    }
    output.unwrap_or_default()
}

fn read_schema<'a>(json: &mut Reader<'a>, own: &mut Vec<Own>) -> Output<'a> {
    let at = json.at();
    let (mut title, mut description, mut strict) = (None, None, None);
    let mut schema: Option<Raw<'a>> = None;
    members(json, |json, name| match name {
        "name" => title = Some(json.text()),
        "description" => description = Some(json.text()),
        "schema" => schema = Some(json.raw_object()),
        "strict" => strict = Some(json.bool()),
        _ => unknown(json, own),
    });
    for (is_there, member) in [(title.is_some(), "name"), (schema.is_some(), "schema")] {
        if !is_there {
            json.fail(at, Wrong::Missing { member });
        }
    }
    Output::Schema {
        name: title,
        description,
        schema: schema.unwrap_or_default(),
        strict,
    }
}

// ===== impl Chosen =====

impl<'a> Chosen<'a> {
    /// What is chosen, of these tools: those that are not allowed are taken out.
    pub(super) fn among(
        self,
        tools: &mut Vec<Tool<'a>>,
        json: &mut Reader<'a>,
    ) -> Option<Choice<'a>> {
        let (required, names) = match self {
            Self::Choice(choice) => return Some(choice),
            Self::Allowed { required, names } => (required, names),
        };
        // Sets: both may be as many as fit into a body.
        let known: HashSet<_> = tools.iter().map(|tool| tool.name.decode()).collect();
        for name in &names {
            if !known.contains(&name.decode()) {
                let expected = "the name of one of the `tools`";
                json.fail(name.at(), Wrong::Value { expected });
            }
        }
        let allowed: HashSet<_> = names.iter().map(Text::decode).collect();
        tools.retain(|tool| allowed.contains(&tool.name.decode()));
        Some(if required { Choice::Any } else { Choice::Auto })
    }
}
