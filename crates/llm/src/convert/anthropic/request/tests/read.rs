use super::{hello, read, saying};
use crate::{
    Dialect,
    convert::model::{
        Arguments, Budget, Choice, Content, Output, PartKind, Role, Signature, Source, Weight,
    },
};

/// Paths of what only this dialect knows.
fn owns(text: &str) -> Vec<(String, Weight)> {
    let request = read(text).expect(text);
    let owns = request.own.iter();
    owns.map(|own| {
        let path = crate::convert::error::path(text, own.at);
        (path, own.weight)
    })
    .collect()
}

fn matters(text: &str) -> Vec<String> {
    let owns = owns(text).into_iter();
    owns.map(|(path, weight)| {
        assert_eq!(weight, Weight::Matters, "{path}");
        path
    })
    .collect()
}

fn hints(text: &str) -> Vec<String> {
    let owns = owns(text).into_iter();
    owns.map(|(path, weight)| {
        assert_eq!(weight, Weight::Hint, "{path}");
        path
    })
    .collect()
}

#[test]
fn numbers_and_words_are_kept_as_they_are_written() {
    let text = hello(
        r#""temperature":0.50,"top_p":9e-1,"top_k":40,"stop_sequences":["a\n","b"],"stream":true,"metadata":{"user_id":"u-1"}"#,
    );
    let request = read(&text).unwrap();
    assert_eq!(request.model.written(), "claude-haiku-4-5");
    let written =
        |raw: &Option<crate::convert::text::Raw<'_>>| raw.as_ref().unwrap().written().to_owned();
    assert_eq!(written(&request.max_tokens), "64");
    assert_eq!(written(&request.temperature), "0.50");
    assert_eq!(written(&request.top_p), "9e-1");
    assert_eq!(written(&request.top_k), "40");
    let stop: Vec<_> = request.stop.iter().map(|text| text.written()).collect();
    assert_eq!(stop, [r"a\n", "b"]);
    assert_eq!(request.user.unwrap().written(), "u-1");
    assert!(request.stream && request.include_usage && request.own.is_empty());
}

#[test]
fn null_is_absent() {
    let text = hello(
        r#""temperature":null,"top_p":null,"top_k":null,"stop_sequences":null,"stream":null,"metadata":null,"system":null,"tools":null,"tool_choice":null,"thinking":null,"output_config":null,"container":null,"cache_control":null,"mcp_servers":[],"context_management":{}"#,
    );
    let request = read(&text).unwrap();
    assert!(request.own.is_empty() && request.messages.len() == 1);
    assert!(request.temperature.is_none() && request.choice.is_none() && !request.stream);
    assert!(matches!(request.reasoning.budget, Budget::Unsaid));
    let text = hello(
        r#""metadata":{"user_id":null},"output_config":{"effort":null,"format":null},"tools":[{"type":null,"name":"f","description":null,"input_schema":{},"strict":null,"cache_control":null}]"#,
    );
    let request = read(&text).unwrap();
    assert!(request.own.is_empty() && request.user.is_none() && request.tools.len() == 1);
}

#[test]
fn the_system_is_the_first_message_wherever_it_stands() {
    for system in [r#""Be brief""#, r#"[{"type":"text","text":"Be brief"}]"#] {
        let text = hello(&format!(r#""system":{system}"#));
        let request = read(&text).unwrap();
        assert_eq!(request.messages.len(), 2);
        assert_eq!(request.messages[0].role, Role::System);
        let PartKind::Text { text, .. } = &request.messages[0].parts[0].kind else {
            panic!("no text");
        };
        assert_eq!(text.written(), "Be brief");
    }
    let text = saying("system", r#""Be brief""#);
    assert_eq!(read(&text).unwrap().messages[0].role, Role::System);
}

#[test]
fn every_source_of_an_image_or_a_document_is_read() {
    let text = saying(
        "user",
        r#"[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}},
            {"source":{"url":"https://x/y.png","type":"url"},"type":"image"},
            {"type":"image","source":{"type":"file","file_id":"file_1"}},
            {"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"JVBE"},"title":"a.pdf"},
            {"type":"document","source":{"type":"text","media_type":"text/plain","data":"h\u00e9"},"citations":{"enabled":false}},
            {"type":"document","source":{"type":"url","url":"https://x/y.pdf"}},
            {"type":"document","source":{"type":"file","file_id":"file_2"}}]"#,
    );
    let request = read(&text).unwrap();
    assert!(request.own.is_empty());
    let said: Vec<_> = request.messages[0]
        .parts
        .iter()
        .map(|part| {
            let (kind, media, name) = match &part.kind {
                PartKind::Image(media) => ("image", media, None),
                PartKind::File { media, name } => ("file", media, name.as_ref()),
                other => panic!("{other:?}"),
            };
            let source = match &media.source {
                Source::Data { mime, data } => format!("{} {}", mime.written(), data.written()),
                Source::Url { url, .. } => url.written().to_owned(),
                Source::Uploaded(id) => id.written().to_owned(),
            };
            let name = name.map_or("", |name| name.written());
            format!("{kind} {source} {name}")
        })
        .collect();
    assert_eq!(
        said,
        [
            "image image/png AAAA ",
            "image https://x/y.png ",
            "image file_1 ",
            "file application/pdf JVBE a.pdf",
            "file text/plain aMOp ",
            "file https://x/y.pdf ",
            "file file_2 ",
        ]
    );
}

#[test]
fn calls_and_results_are_read_and_a_signature_of_gemini_leaves_the_id() {
    let text = r#"{"model":"m","max_tokens":1,"messages":[
        {"role":"assistant","content":[
            {"type":"tool_use","id":"toolu_1__thought__AA-_","name":"f","input":{"a":[1]},"caller":{"type":"direct"}},
            {"type":"tool_use","id":"toolu_2","name":"g","input":{}}]},
        {"role":"user","content":[
            {"type":"tool_result","tool_use_id":"toolu_1__thought__AA-_","content":"one"},
            {"type":"tool_result","tool_use_id":"toolu_2","is_error":true,"content":[
                {"type":"text","text":"two"},
                {"type":"image","source":{"type":"url","url":"https://x"}},
                {"type":"search_result","source":"s","title":"t","content":[]}]},
            {"type":"tool_result","tool_use_id":"toolu_3"}]}]}"#;
    let request = read(text).unwrap();
    assert!(request.own.is_empty());
    let PartKind::Call(call) = &request.messages[0].parts[0].kind else {
        panic!("no call");
    };
    assert_eq!(call.id.as_ref().unwrap().written(), "toolu_1");
    let signature = call.signature.as_ref().unwrap();
    assert_eq!(
        (signature.of, signature.value.written()),
        (Dialect::Gemini, "AA+/")
    );
    let Arguments::Object(input) = &call.arguments else {
        panic!("no object");
    };
    assert_eq!(input.written(), r#"{"a":[1]}"#);
    let results: Vec<_> = request.messages[1]
        .parts
        .iter()
        .map(|part| {
            let PartKind::Result(result) = &part.kind else {
                panic!("no result");
            };
            let Content::Parts(parts) = &result.content else {
                panic!("no parts");
            };
            let id = result.id.as_ref().unwrap().written();
            (id, parts.len(), result.failed)
        })
        .collect();
    assert_eq!(
        results,
        [
            ("toolu_1", 1, false),
            ("toolu_2", 3, true),
            ("toolu_3", 0, false)
        ]
    );
}

#[test]
fn thinking_is_told_with_whose_signature_it_has() {
    let text = saying(
        "assistant",
        r#"[{"type":"thinking","thinking":"Hm","signature":"EqQB"},
            {"type":"thinking","thinking":"Ah","signature":"gemini:CiQB"},
            {"type":"thinking","thinking":"Oh","signature":""},
            {"type":"redacted_thinking","data":"EmwK"},
            {"type":"text","text":"So"},
            {"type":"thinking","thinking":"","signature":"gemini:AAAA"},
            {"type":"thinking","thinking":"","signature":"EqQC"}]"#,
    );
    let request = read(&text).unwrap();
    let whose = |signature: &Option<Signature<'_>>| match signature {
        Some(signature) => format!("{} {}", signature.of, signature.value.written()),
        None => "nobody".to_owned(),
    };
    let said: Vec<_> = request.messages[0]
        .parts
        .iter()
        .map(|part| match &part.kind {
            PartKind::Reasoning(reasoned) => match &reasoned.redacted {
                Some(data) => format!("redacted {}", data.written()),
                None => format!("{} {}", reasoned.text.written(), whose(&reasoned.signature)),
            },
            PartKind::Text { text, signature } => {
                format!("text {} {}", text.written(), whose(signature))
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        said,
        [
            "Hm anthropic EqQB",
            "Ah gemini CiQB",
            "Oh nobody",
            "redacted EmwK",
            "text So gemini AAAA",
            " anthropic EqQC",
        ]
    );
}

#[test]
fn every_way_to_choose_a_tool_is_read() {
    for (choice, name, parallel) in [
        (r#"{"type":"auto"}"#, "auto", None),
        (
            r#"{"type":"any","disable_parallel_tool_use":true}"#,
            "any",
            Some(false),
        ),
        (
            r#"{"type":"auto","disable_parallel_tool_use":false}"#,
            "auto",
            Some(true),
        ),
        (r#"{"type":"none"}"#, "none", None),
        (r#"{"name":"f","type":"tool"}"#, "f", None),
    ] {
        let text = hello(&format!(r#""tool_choice":{choice}"#));
        let request = read(&text).unwrap();
        let chosen = match request.choice.as_ref().unwrap() {
            Choice::Auto => "auto",
            Choice::Any => "any",
            Choice::None => "none",
            Choice::Named(names) => names[0].written(),
        };
        assert_eq!((chosen, request.parallel), (name, parallel));
    }
}

#[test]
fn every_way_to_think_is_read() {
    for (thinking, budget, told) in [
        (
            r#"{"type":"enabled","budget_tokens":2000}"#,
            "2000",
            Some(true),
        ),
        (
            r#"{"type":"enabled","budget_tokens":2000,"display":"omitted"}"#,
            "2000",
            Some(false),
        ),
        (
            r#"{"type":"adaptive","display":"summarized"}"#,
            "adaptive",
            Some(true),
        ),
        (r#"{"type":"disabled"}"#, "off", None),
    ] {
        let text = hello(&format!(r#""thinking":{thinking}"#));
        let request = read(&text).unwrap();
        let read = match &request.reasoning.budget {
            Budget::Unsaid => "unsaid",
            Budget::Off => "off",
            Budget::Adaptive => "adaptive",
            Budget::Tokens(tokens) => tokens.written(),
        };
        assert_eq!((read, request.reasoning.told), (budget, told));
    }
    for effort in ["low", "medium", "high", "xhigh", "max"] {
        let text = hello(&format!(r#""output_config":{{"effort":"{effort}"}}"#));
        let request = read(&text).unwrap();
        assert_eq!(request.reasoning.effort.unwrap().written(), effort);
    }
}

#[test]
fn a_schema_is_kept_as_it_stands_under_either_name() {
    for text in [
        hello(r#""output_config":{"format":{"type":"json_schema","schema":{"type": "object"}}}"#),
        hello(r#""output_format":{"schema":{"type": "object"},"type":"json_schema"}"#),
    ] {
        let request = read(&text).unwrap();
        let Output::Schema { schema, strict, .. } = &request.output else {
            panic!("no schema");
        };
        assert_eq!(schema.written(), r#"{"type": "object"}"#);
        assert_eq!(*strict, Some(true));
    }
}

#[test]
fn what_is_about_cost_or_tracing_is_a_hint() {
    let text = r#"{"model":"m","max_tokens":1,"cache_control":{"type":"ephemeral"},"service_tier":"auto","speed":"fast",
        "diagnostics":{"previous_message_id":null},"user_profile_id":"p","workspace_id":"w","billing_policy":{"a":1},
        "metadata":{"user_id":"u","trace":1},
        "system":[{"type":"text","text":"s","cache_control":{"type":"ephemeral","ttl":"1h"}}],
        "tools":[{"name":"f","input_schema":{},"cache_control":{"type":"ephemeral"},"eager_input_streaming":true}],
        "messages":[{"role":"user","content":[
            {"type":"text","text":"t","cache_control":{"type":"ephemeral"}},
            {"type":"image","source":{"type":"url","url":"u"},"cache_control":{"type":"ephemeral"}},
            {"type":"tool_result","tool_use_id":"i","cache_control":{"type":"ephemeral"}}]},
          {"role":"assistant","content":[
            {"type":"text","text":"t","citations":[{"type":"char_location"}]},
            {"type":"tool_use","id":"i","name":"f","input":{},"cache_control":{"type":"ephemeral"}}]}]}"#;
    assert_eq!(
        hints(text),
        [
            "cache_control",
            "service_tier",
            "speed",
            "diagnostics",
            "user_profile_id",
            "workspace_id",
            "billing_policy",
            "metadata.trace",
            "system[0].cache_control",
            "tools[0].cache_control",
            "tools[0].eager_input_streaming",
            "messages[0].content[0].cache_control",
            "messages[0].content[1].cache_control",
            "messages[0].content[2].cache_control",
            "messages[1].content[0].citations",
            "messages[1].content[1].cache_control",
        ]
    );
}

#[test]
fn what_changes_the_reply_matters_and_so_does_what_nobody_knows() {
    for (members, path) in [
        (r#""container":"c""#, "container"),
        (r#""inference_geo":"us""#, "inference_geo"),
        (r#""mcp_servers":[{"type":"url"}]"#, "mcp_servers"),
        (
            r#""context_management":{"edits":[1]}"#,
            "context_management",
        ),
        (r#""brand_new":false"#, "brand_new"),
        (r#""thinking":{"type":"between_tools"}"#, "thinking.type"),
        (r#""thinking":{"type":"adaptive","new":1}"#, "thinking.new"),
        (
            r#""output_config":{"task_budget":{"total":1}}"#,
            "output_config.task_budget",
        ),
        (
            r#""tools":[{"name":"web_search","max_uses":2,"type":"web_search_20250305"}]"#,
            "tools[0].type",
        ),
        (
            r#""tools":[{"type":"computer_toolset_20260801"}]"#,
            "tools[0].type",
        ),
        (
            r#""tools":[{"name":"f","input_schema":{},"defer_loading":true}]"#,
            "tools[0].defer_loading",
        ),
        (
            r#""tools":[{"name":"f","input_schema":{},"allowed_callers":["code_execution_20250825"]}]"#,
            "tools[0].allowed_callers",
        ),
        (
            r#""tools":[{"name":"f","input_schema":{},"input_examples":[{"a":1}]}]"#,
            "tools[0].input_examples",
        ),
    ] {
        assert_eq!(matters(&hello(members)), [path]);
    }
    for (block, path) in [
        (
            r#"{"type":"document","source":{"type":"url","url":"u"},"citations":{"enabled":true}}"#,
            "citations.enabled",
        ),
        (
            r#"{"type":"document","source":{"type":"url","url":"u"},"context":"c"}"#,
            "context",
        ),
        (
            r#"{"type":"image","source":{"type":"url","url":"u"},"transformations":{"oversized_image":"error"}}"#,
            "transformations",
        ),
        (
            r#"{"type":"tool_result","tool_use_id":"i","toolset_name":"browser"}"#,
            "toolset_name",
        ),
    ] {
        let path = format!("messages[0].content[0].{path}");
        assert_eq!(matters(&saying("user", &format!("[{block}]"))), [path]);
    }
    let text = saying(
        "assistant",
        r#"[{"type":"tool_use","id":"i","name":"f","input":{},"caller":{"type":"code_execution_20260120","tool_id":"t"}}]"#,
    );
    assert_eq!(matters(&text), ["messages[0].content[0].caller"]);
    let usual = hello(
        r#""tools":[{"type":"custom","name":"f","input_schema":{},"defer_loading":false,"allowed_callers":["direct"],"input_examples":[]}]"#,
    );
    assert!(owns(&usual).is_empty());
}

#[test]
fn blocks_of_tools_that_the_provider_runs_are_its_own() {
    for kind in [
        "server_tool_use",
        "web_search_tool_result",
        "web_fetch_tool_result",
        "code_execution_tool_result",
        "bash_code_execution_tool_result",
        "text_editor_code_execution_tool_result",
        "tool_search_tool_result",
        "mcp_tool_use",
        "mcp_tool_result",
        "container_upload",
        "search_result",
        "compaction",
    ] {
        let text = saying(
            "assistant",
            &format!(r#"[{{"type":"{kind}","content":{{"a":1}}}}]"#),
        );
        let request = read(&text).unwrap();
        assert!(matches!(request.messages[0].parts[0].kind, PartKind::Own));
    }
    let text = saying(
        "user",
        r#"[{"type":"document","source":{"type":"content","content":"x"}}]"#,
    );
    let request = read(&text).unwrap();
    assert!(matches!(request.messages[0].parts[0].kind, PartKind::Own));
}
