use super::read::read_texts;
use crate::{
    convert::{
        error::Wrong,
        gemini::schema::translate,
        model::{Choice, Own, Request, Tool},
        own::{hint, matters, unknown},
        read::Reader,
        text::Text,
        write::Writer,
    },
    json::Kind,
};

/// How tools are to be called.
#[derive(Debug)]
pub(super) enum Called<'a> {
    Unsaid,
    As(Choice<'a>),
    /// As the model likes, and so that the schema holds: what others call strict.
    Validated,
}

pub(super) fn read_tools<'a>(json: &mut Reader<'a>, own: &mut Vec<Own>) -> Vec<Tool<'a>> {
    let mut tools = Vec::new();
    json.array(|json| {
        json.object_in_any_case(|json, name| match name {
            _ if json.null() => {}
            "functionDeclarations" => {
                json.array(|json| tools.push(read_function(json, own)));
            }
            // Tools of its own, such as `googleSearch`.
            _ => unknown(json, own),
        });
    });
    tools
}

fn read_function<'a>(json: &mut Reader<'a>, own: &mut Vec<Own>) -> Tool<'a> {
    let at = json.at();
    let (mut name, mut description, mut parameters) = (None, None, None);
    json.object_in_any_case(|json, member| {
        let at = json.at();
        if json.null() {
            return;
        }
        let schema = match member {
            "name" => return name = Some(json.text()),
            "description" => return description = Some(json.text()),
            "parameters" => translate(&json.raw_object()),
            "parametersJsonSchema" => json.raw_object(),
            "behavior" => {
                let behavior = json.text();
                if !matches!(&*behavior.decode(), "UNSPECIFIED" | "BLOCKING") {
                    own.push(matters(at));
                }
                return;
            }
            _ => return unknown(json, own),
        };
        if parameters.replace(schema).is_some() {
            let expected = "the only schema of the parameters";
            json.fail(at, Wrong::Value { expected });
        }
    });
    if name.is_none() {
        json.fail(at, Wrong::Missing { member: "name" });
    }
    Tool {
        name: name.unwrap_or_default(),
        description,
        parameters,
        strict: None,
    }
}

pub(super) fn read_tool_config<'a>(json: &mut Reader<'a>, own: &mut Vec<Own>) -> Called<'a> {
    let mut called = Called::Unsaid;
    json.object_in_any_case(|json, name| match name {
        _ if json.null() => {}
        "functionCallingConfig" => called = read_calling(json, own),
        "includeServerSideToolInvocations" if json.kind() == Kind::Bool => {
            let at = json.at();
            if json.bool() {
                own.push(matters(at));
            }
        }
        _ => unknown(json, own),
    });
    called
}

fn read_calling<'a>(json: &mut Reader<'a>, own: &mut Vec<Own>) -> Called<'a> {
    let (mut mode, mut names, mut names_at) = (None, Vec::new(), 0);
    json.object_in_any_case(|json, name| {
        let at = json.at();
        if json.null() {
            return;
        }
        match name {
            "mode" => mode = Some(json.text()),
            "allowedFunctionNames" => {
                names = read_texts(json);
                names_at = at;
            }
            "streamFunctionCallArguments" => {
                if json.bool() {
                    own.push(hint(at));
                }
            }
            _ => unknown(json, own),
        }
    });
    let said = mode.as_ref().map(Text::decode);
    let said = said.map(|mode| mode.to_ascii_uppercase());
    match said.as_deref() {
        Some("ANY") if names.is_empty() => Called::As(Choice::Any),
        Some("ANY") => Called::As(Choice::Named(names)),
        Some("NONE") => Called::As(Choice::None),
        None | Some("AUTO" | "MODE_UNSPECIFIED" | "VALIDATED") => {
            if !names.is_empty() {
                own.push(matters(names_at));
            }
            match said.as_deref() {
                Some("VALIDATED") => Called::Validated,
                Some("AUTO") => Called::As(Choice::Auto),
                _ => Called::Unsaid,
            }
        }
        Some(_) => {
            let at = mode.as_ref().map(Text::at).unwrap_or_default();
            let expected = "`AUTO`, `ANY`, `NONE` or `VALIDATED`";
            json.fail(at, Wrong::Value { expected });
            Called::Unsaid
        }
    }
}

// ===== impl Called =====

impl<'a> Called<'a> {
    pub(super) fn choose(self, request: &mut Request<'a>) {
        request.choice = match self {
            Self::Unsaid => None,
            Self::As(choice) => Some(choice),
            Self::Validated => {
                for tool in &mut request.tools {
                    tool.strict = Some(true);
                }
                Some(Choice::Auto)
            }
        };
    }
}

/// Writes the members `tools` and `toolConfig`.
pub(super) fn write_tools(request: &Request<'_>, to: &mut Writer<'_>) {
    if request.tools.is_empty() {
        return;
    }
    to.name("tools").array(|to| {
        to.object(|to| {
            to.name("functionDeclarations").array(|to| {
                for tool in &request.tools {
                    to.object(|to| write_function(tool, to));
                }
            });
        });
    });
    let strict = request.tools.iter().any(|tool| tool.strict == Some(true));
    let mode = match &request.choice {
        None | Some(Choice::Auto) if strict => "VALIDATED",
        None => return,
        Some(Choice::Auto) => "AUTO",
        Some(Choice::None) => "NONE",
        Some(Choice::Any | Choice::Named(_)) => "ANY",
    };
    to.name("toolConfig").object(|to| {
        to.name("functionCallingConfig").object(|to| {
            to.name("mode").str(mode);
            if let Some(Choice::Named(names)) = &request.choice {
                to.name("allowedFunctionNames").array(|to| {
                    for name in names {
                        to.text(name);
                    }
                });
            }
        });
    });
}

fn write_function(tool: &Tool<'_>, to: &mut Writer<'_>) {
    to.name("name").text(&tool.name);
    if let Some(description) = &tool.description {
        to.name("description").text(description);
    }
    if let Some(parameters) = &tool.parameters {
        to.name("parametersJsonSchema").raw(parameters);
    }
}
