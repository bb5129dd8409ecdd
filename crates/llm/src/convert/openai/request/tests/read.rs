//! What requests say.

use super::*;

#[test]
fn where_one_call_at_a_time_was_asked_for_is_known() {
    let text = with(
        r#""tools":[{"type":"function","function":{"name":"a"}}], "parallel_tool_calls": false"#,
    );
    let request = read(&text).unwrap();
    assert_eq!(request.parallel, Some(false));
    assert_eq!(
        error::path(&text, request.parallel_at),
        "parallel_tool_calls"
    );
}

#[test]
fn what_only_openai_knows_is_left_out_by_name_if_the_reply_stays_the_same() {
    for (members, left_out) in [
        (r#""store":true"#, "store"),
        (r#""metadata":{"a":"b"}"#, "metadata"),
        (r#""prompt_cache_key":"k""#, "prompt_cache_key"),
        (
            r#""prompt_cache_retention":"24h""#,
            "prompt_cache_retention",
        ),
        (
            r#""prompt_cache_options":{"mode":"explicit"}"#,
            "prompt_cache_options",
        ),
        (r#""service_tier":"flex""#, "service_tier"),
        (r#""safety_identifier":"s","user":"u""#, "safety_identifier"),
        (
            r#""stream_options":{"include_obfuscation":true}"#,
            "stream_options.include_obfuscation",
        ),
        (
            r#""tools":[{"type":"function","function":{"name":"a"},"cache_control":{}}]"#,
            "tools[0].cache_control",
        ),
    ] {
        assert_eq!(own(&with(members)).unwrap(), [left_out], "{members}");
    }
    for (messages, left_out) in [
        (
            r#"{"role":"user","content":[{"type":"text","text":"a","prompt_cache_breakpoint":{"mode":"explicit"}}]}"#,
            "messages[0].content[0].prompt_cache_breakpoint",
        ),
        (
            r#"{"role":"user","content":[{"cache_control":{"type":"ephemeral"},"type":"text","text":"a"}]}"#,
            "messages[0].content[0].cache_control",
        ),
        (
            r#"{"role":"assistant","content":"a","annotations":[{"type":"url_citation"}]}"#,
            "messages[0].annotations",
        ),
    ] {
        assert_eq!(own(&with_messages(messages)).unwrap(), [left_out]);
    }
}

#[test]
fn what_only_openai_knows_is_unfit_if_the_reply_may_change() {
    let message = |message: &str| with_messages(message);
    for (text, field) in [
        (with(r#""logit_bias":{"1":-100}"#), "logit_bias"),
        (with(r#""verbosity":"low""#), "verbosity"),
        (with(r#""modalities":["text","audio"]"#), "modalities"),
        (with(r#""audio":{"format":"wav","voice":"ash"}"#), "audio"),
        (
            with(r#""prediction":{"type":"content","content":"a"}"#),
            "prediction",
        ),
        (with(r#""web_search_options":{}"#), "web_search_options"),
        (with(r#""moderation":{"model":"x"}"#), "moderation"),
        (with(r#""functions":[{"name":"f"}]"#), "functions"),
        (with(r#""function_call":{"name":"f"}"#), "function_call"),
        (with(r#""never_heard_of":0"#), "never_heard_of"),
        (
            with(r#""tools":[{"type":"custom","custom":{"name":"a"}}]"#),
            "tools[0]",
        ),
        (
            with(r#""tools":[{"type":"function","function":{"name":"a","x":1}}]"#),
            "tools[0].function.x",
        ),
        (
            with(r#""tool_choice":{"type":"custom","custom":{"name":"a"}}"#),
            "tool_choice",
        ),
        (
            with(
                r#""tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[{"type":"custom","custom":{}}]}}"#,
            ),
            "tool_choice.allowed_tools.tools[0]",
        ),
        (
            with(r#""response_format":{"type":"grammar","grammar":"x"}"#),
            "response_format",
        ),
        (with(r#""stream_options":{"x":1}"#), "stream_options.x"),
        (
            message(r#"{"role":"user","content":"a","x":1}"#),
            "messages[0].x",
        ),
        (
            message(r#"{"role":"user","content":"a","tool_calls":[]}"#),
            "messages[0].tool_calls",
        ),
        (
            message(r#"{"role":"user","content":[{"type":"text","text":"a","x":1}]}"#),
            "messages[0].content[0].x",
        ),
        (
            message(r#"{"role":"assistant","content":"a","audio":{"id":"audio_1"}}"#),
            "messages[0].audio",
        ),
        (
            message(
                r#"{"role":"assistant","tool_calls":[{"id":"a","type":"function","x":1,"function":{"name":"f","arguments":""}}]}"#,
            ),
            "messages[0].tool_calls[0].x",
        ),
    ] {
        match own(&text) {
            Err(ConvertError::Unfit {
                field: found, to, ..
            }) => {
                assert_eq!((found.as_str(), to), (field, Dialect::Anthropic), "{text}");
            }
            other => panic!("{other:?}: {text}"),
        }
    }
}

#[test]
fn a_part_or_a_call_of_a_kind_that_nobody_knows_stands_where_it_stood() {
    let text = with_messages(
        r#"{"role":"user","content":[{"type":"hologram","x":[{}]},{"type":"text","text":"a"}]},
        {"role":"assistant","tool_calls":[{"id":"c","type":"custom","custom":{"name":"x","input":"y"}}]}"#,
    );
    let messages = messages_of(&text);
    for (part, field) in [
        (&messages[0].parts[0], "messages[0].content[0]"),
        (&messages[1].parts[0], "messages[1].tool_calls[0]"),
    ] {
        assert!(matches!(part.kind, PartKind::Own));
        assert_eq!(error::path(&text, part.at), field);
    }
}

#[test]
fn results_after_one_another_are_one_turn_of_the_user() {
    let text = with_messages(
        r#"{"role":"tool","tool_call_id":"a__thought__AAAA","content":"1"},
        {"role":"tool","tool_call_id":"b","name":"f","content":""},
        {"role":"user","content":"x"},
        {"role":"tool","content":[{"type":"text","text":"3"}],"tool_call_id":"c"}"#,
    );
    let messages = messages_of(&text);
    let shape: Vec<_> = messages
        .iter()
        .map(|message| {
            (
                message.role,
                message.parts.len(),
                error::path(&text, message.at),
            )
        })
        .collect();
    assert_eq!(
        shape,
        [
            (Role::User, 2, "messages[0]".to_owned()),
            (Role::User, 1, "messages[2]".to_owned()),
            (Role::User, 1, "messages[3]".to_owned()),
        ]
    );
    let results: Vec<_> = messages
        .iter()
        .flat_map(|message| message.parts.iter())
        .filter_map(|part| match &part.kind {
            PartKind::Result(outcome) => Some(outcome),
            _ => None,
        })
        .map(|outcome| {
            let Content::Parts(parts) = &outcome.content else {
                panic!("parts: {outcome:?}");
            };
            let id = outcome.id.as_ref().map(Text::written);
            (id, outcome.name.as_ref().map(Text::written), parts.len())
        })
        .collect();
    assert_eq!(
        results,
        [
            (Some("a"), None, 1),
            (Some("b"), Some("f"), 0),
            (Some("c"), None, 1)
        ]
    );
}

#[test]
fn calls_of_functions_and_their_results_find_each_other_without_ids() {
    let request = json!({"model": "m", "messages": [
        {"role": "assistant", "content": null, "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "1"},
        {"role": "assistant", "content": "", "function_call": {"name": "f", "arguments": "{\"a\":2}"}},
        {"role": "assistant", "content": "x", "function_call": {"name": "g", "arguments": "{}"}},
        {"role": "function", "name": "g", "content": "3"},
        {"role": "function", "name": "f", "content": "2"},
    ]});
    let call = |id: &str, name: &str, arguments: &str| {
        json!([{"id": id, "type": "function",
            "function": {"name": name, "arguments": arguments}}])
    };
    assert_eq!(
        again(&request)["messages"],
        json!([
            {"role": "assistant", "content": null, "tool_calls": call("call_0", "f", "{}")},
            {"role": "tool", "tool_call_id": "call_0", "content": "1"},
            {"role": "assistant", "content": null, "tool_calls": call("call_1", "f", "{\"a\":2}")},
            {"role": "assistant", "content": "x", "tool_calls": call("call_2", "g", "{}")},
            {"role": "tool", "tool_call_id": "call_2", "content": "3"},
            {"role": "tool", "tool_call_id": "call_1", "content": "2"},
        ])
    );
}

#[test]
fn what_another_provider_wants_back_is_found_in_what_a_caller_echoes() {
    let text = with_messages(
        r#"{"role":"assistant","content":"Hi","reasoning_content":"hm",
            "thinking_blocks":[{"type":"thinking","thinking":"hm","signature":"c2ln"},
                {"type":"redacted_thinking","data":"ZGF0YQ=="}],
            "extra_content":{"google":{"thought_signature":"Z2Vt"}},"refusal":null,"annotations":[],
            "tool_calls":[{"id":"call_1__thought__A-_B","type":"function","index":0,
                    "function":{"name":"f","arguments":"{}"}},
                {"id":"call_2","type":"function","function":{"name":"f","arguments":""},
                    "extra_content":{"google":{"thought_signature":"AAAA"}}}]}"#,
    );
    let request = read(&text).unwrap();
    assert!(request.own.is_empty(), "{:?}", request.own);
    let parts = &request.messages[0].parts;
    let [
        PartKind::Reasoning(thought),
        PartKind::Reasoning(redacted),
        PartKind::Text {
            text: hi,
            signature: Some(signature),
        },
        PartKind::Call(first),
        PartKind::Call(second),
    ] = [0, 1, 2, 3, 4].map(|n| &parts[n].kind)
    else {
        panic!("{parts:?}");
    };
    let (proof, data) = (&thought.signature, &redacted.redacted);
    let (proof, data) = (proof.as_ref().unwrap(), data.as_ref().unwrap());
    assert!(thought.redacted.is_none());
    assert_eq!(
        (thought.text.written(), proof.value.written()),
        ("hm", "c2ln")
    );
    assert_eq!((proof.of, data.written()), (Dialect::Anthropic, "ZGF0YQ=="));
    assert_eq!((hi.written(), signature.value.written()), ("Hi", "Z2Vt"));
    let signature = |call: &Call<'_>| {
        let proof = call.signature.as_ref().unwrap();
        assert_eq!(proof.of, Dialect::Gemini);
        let id = call.id.as_ref().unwrap();
        (id.written().to_owned(), proof.value.written().to_owned())
    };
    assert_eq!(signature(first), ("call_1".to_owned(), "A+/B".to_owned()));
    assert_eq!(signature(second), ("call_2".to_owned(), "AAAA".to_owned()));
    // None of it goes to OpenAI, and what has a place of its own is named.
    let (said, left_out) = write(&request).unwrap();
    assert_eq!(
        said["messages"][0],
        json!({"role": "assistant", "content": "Hi", "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
            {"id": "call_2", "type": "function", "function": {"name": "f", "arguments": "{}"}}]})
    );
    let left_out: Vec<_> = left_out.iter().map(|at| error::path(&text, *at)).collect();
    assert_eq!(
        left_out,
        [
            "messages[0].thinking_blocks[0]",
            "messages[0].thinking_blocks[1]",
            "messages[0].extra_content.google.thought_signature",
        ]
    );
}

#[test]
fn reasoning_without_a_signature_is_read_under_either_name() {
    for name in ["reasoning", "reasoning_content"] {
        let text = with_messages(&format!(
            r#"{{"role":"assistant","{name}":"hm","content":"a"}}"#
        ));
        let messages = messages_of(&text);
        let PartKind::Reasoning(reasoned) = &messages[0].parts[0].kind else {
            panic!("{messages:?}");
        };
        assert_eq!(reasoned.text.written(), "hm");
        assert!(reasoned.signature.is_none());
    }
}

#[test]
fn a_data_url_is_read_whatever_is_escaped_in_it() {
    let text = with_messages(
        r#"{"role":"user","content":[{"type":"image_url","image_url":{"url":"DATA:image\/jpeg;name=a;base64,iVBO\/\/8=","detail":"auto"}},
        {"type":"file","file":{"file_id":"file-1"}}]}"#,
    );
    let messages = messages_of(&text);
    let PartKind::Image(image) = &messages[0].parts[0].kind else {
        panic!("{messages:?}");
    };
    let Media {
        source: Source::Data { mime, data },
        detail: None,
    } = &**image
    else {
        panic!("{messages:?}");
    };
    assert_eq!(
        (mime.written(), data.written()),
        ("image/jpeg", r"iVBO\/\/8=")
    );
    let PartKind::File { media, name: None } = &messages[0].parts[1].kind else {
        panic!("{messages:?}");
    };
    assert!(matches!(&media.source, Source::Uploaded(id) if id.written() == "file-1"));
}
