//! What chunks say.

use super::*;

#[test]
fn a_stream_is_told_in_order() {
    let lines = lines(&[
        r#"{"id":"c1","object":"chat.completion.chunk","created":5,"model":"m","service_tier":"default","system_fingerprint":"fp","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}],"usage":null,"obfuscation":"abc"}"#,
        r#"{"id":"c1","created":5,"model":"m","service_tier":"default","system_fingerprint":"fp","choices":[{"index":0,"delta":{"reasoning_content":"hm"},"finish_reason":null}],"obfuscation":"x"}"#,
        r#"{"id":"c1","created":5,"model":"m","system_fingerprint":"fp2","choices":[{"index":0,"delta":{"content":"H\u00e9\n"},"finish_reason":null}]}"#,
        r#"{"choices":[{"index":0,"delta":{"refusal":"No."},"finish_reason":"stop"}]}"#,
        r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}"#,
        "[DONE]",
    ]);
    assert_eq!(
        lines,
        [
            "start c1 m 5",
            r#"rest service_tier="default" system_fingerprint="fp""#,
            "0 reasoning hm",
            r"0 text H\u00e9\n",
            r#"rest system_fingerprint="fp2""#,
            "0 refusal No.",
            "0 finish stop",
            "usage 9 2",
            "end",
            "end",
        ]
    );
}

#[test]
fn who_replies_may_be_written_after_what_is_said_and_in_a_later_chunk() {
    let lines = lines(&[
        r#"{"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":[{"prompt_index":0}]}"#,
        r#"{"choices":[{"content_filter_results":{},"delta":{"content":"a"},"finish_reason":null,"index":1}],"created":5,"id":"c1","model":"m"}"#,
        r#"{"choices":[{"delta":{},"finish_reason":"length","index":1}],"created":5,"id":"c1","model":"m"}"#,
    ]);
    assert_eq!(
        lines,
        [
            "start c1 m 5",
            r#"rest prompt_filter_results=[{"prompt_index":0}]"#,
            "1 text a",
            "1 finish length",
            "end",
        ]
    );
}

#[test]
fn parallel_calls_are_told_apart_by_their_index() {
    let lines = deltas(
        &[
            r#"{"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":""}}]}"#,
            r#"{"tool_calls":[{"index":1,"id":"b","type":"function","function":{"name":"g","arguments":"{"}},{"index":0,"function":{"arguments":"{\"x\":\"\\"}}]}"#,
            r#"{"tool_calls":[{"index":0,"function":{"arguments":"n\\ud83d\\"}}]}"#,
            r#"{"tool_calls":[{"index":1,"id":"","function":{"name":"","arguments":"}"}}]}"#,
            r#"{"tool_calls":[{"index":0,"id":null,"function":{"name":null,"arguments":"ude00\"}"}}]}"#,
        ],
        r#""stop""#,
    );
    assert_eq!(
        lines,
        [
            "0 call 0 a f",
            "0 call 1 b g",
            "0 arguments 1 {",
            r#"0 arguments 0 {\"x\":\"\\"#,
            r"0 arguments 0 n\\ud83d\\",
            "0 arguments 1 }",
            r#"0 arguments 0 ude00\"}"#,
            "0 finish calls",
            "end",
        ]
    );
}

#[test]
fn calls_without_an_index_are_told_apart_by_their_ids_and_names() {
    for chunks in [
        // Each whole, and in one chunk.
        &[
            r#"{"tool_calls":[{"id":"a","function":{"name":"f","arguments":"{}"}},{"id":"b","function":{"name":"f","arguments":"{}"}}]}"#,
        ][..],
        // Each numbered 0.
        &[
            r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}]}"#,
            r#"{"tool_calls":[{"index":0,"id":"b","function":{"name":"f","arguments":"{}"}}]}"#,
        ],
        // In pieces, with the id in each.
        &[
            r#"{"tool_calls":[{"id":"a","function":{"name":"f","arguments":"{}"}}]}"#,
            r#"{"tool_calls":[{"id":"b","function":{"name":"f"}}]}"#,
            r#"{"tool_calls":[{"id":"b","function":{"arguments":"{}"}}]}"#,
        ],
        // In pieces, without it, or with another that was made up.
        &[
            r#"{"tool_calls":[{"id":"a","function":{"name":"f","arguments":"{}"}}]}"#,
            r#"{"tool_calls":[{"id":"b","function":{"name":"f"}}]}"#,
            r#"{"tool_calls":[{"function":{"arguments":"{"}}]}"#,
            r#"{"tool_calls":[{"id":"made-up","function":{"arguments":"}"}}]}"#,
        ],
    ] {
        let lines = deltas(chunks, r#""tool_calls""#);
        let (mut calls, mut arguments) = (Vec::new(), [String::new(), String::new()]);
        for line in &lines {
            match *line.splitn(4, ' ').collect::<Vec<_>>() {
                [_, "call", _, rest] => calls.push(rest),
                [_, "arguments", call, piece] => {
                    arguments[call.parse::<usize>().unwrap()] += piece;
                }
                _ => {}
            }
        }
        assert_eq!(
            (calls, arguments),
            (vec!["a f", "b f"], ["{}"; 2].map(String::from)),
            "{lines:?}"
        );
    }
}

#[test]
fn a_call_without_index_id_and_end_begins_with_its_name() {
    let lines = deltas(
        &[
            r#"{"tool_calls":[{"function":{"name":"f","arguments":"{}"}},{"function":{"name":"f","arguments":{"a": 1}}}]}"#,
            r#"{"tool_calls":[{"function":{"name":"g"}}]}"#,
        ],
        r#""tool_calls""#,
    );
    assert_eq!(
        lines,
        [
            "0 call 0 - f",
            "0 arguments 0 {}",
            "0 call 1 - f",
            r#"0 object 1 {"a": 1}"#,
            "0 call 2 - g",
            "0 finish calls",
            "end",
        ]
    );
}

#[test]
fn an_id_that_comes_later_is_waited_for() {
    let lines = deltas(
        &[
            r#"{"tool_calls":[{"index":0,"function":{"name":"f","arguments":"{\"a"}}]}"#,
            r#"{"tool_calls":[{"index":0,"function":{"arguments":"\":1"}}]}"#,
            r#"{"tool_calls":[{"index":0,"id":"a__thought__AAAA","function":{"arguments":"}"}}]}"#,
            r#"{"tool_calls":[{"index":1,"id":"b","function":{"arguments":"{}"}}]}"#,
            r#"{"tool_calls":[{"index":1,"function":{"name":"g"},"extra_content":{"google":{"thought_signature":"BBBB"}}}]}"#,
        ],
        r#""tool_calls""#,
    );
    assert_eq!(
        lines,
        [
            "0 call 0 a__thought__AAAA f",
            r#"0 arguments 0 {\"a\":1}"#,
            "0 call 1 b g gemini BBBB",
            "0 arguments 1 {}",
            "0 finish calls",
            "end",
        ]
    );
}

#[test]
fn what_waits_for_an_id_is_bounded() {
    let piece = "x".repeat(1 << 20);
    let first = r#"{"tool_calls":[{"index":0,"function":{"name":"f"}}]}"#;
    let more = format!(r#"{{"tool_calls":[{{"index":0,"function":{{"arguments":"{piece}"}}}}]}}"#);
    let lines = deltas(
        &[first, &more, &more, &more, &more, &more],
        r#""tool_calls""#,
    );
    assert_eq!(lines[0], "0 call 0 - f");
    assert_eq!(lines[1].len(), "0 arguments 0 ".len() + (5 << 20));
    assert_eq!(lines[2..], ["0 finish calls", "end"]);
}

#[test]
fn a_function_that_is_called_is_a_call() {
    let lines = deltas(
        &[
            r#"{"function_call":{"name":"f","arguments":""}}"#,
            r#"{"function_call":{"arguments":"{}"}}"#,
        ],
        r#""function_call""#,
    );
    assert_eq!(
        lines,
        ["0 call 0 - f", "0 arguments 0 {}", "0 finish calls", "end"]
    );
}

#[test]
fn each_candidate_has_its_own_calls_and_end() {
    let chunk = |candidate: u64, delta: &str, finish: &str| {
        format!(
            r#"{{"choices":[{{"delta":{delta},"finish_reason":{finish},"index":{candidate}}}]}}"#
        )
    };
    let call = r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}]}"#;
    let chunks = [
        chunk(0, call, "null"),
        chunk(1, call, "null"),
        chunk(0, "{}", r#""stop""#),
        chunk(0, "{}", r#""stop""#),
    ];
    let chunks: Vec<_> = chunks.iter().map(String::as_str).collect();
    let expected = [
        "start - - -",
        "0 call 0 a f",
        "0 arguments 0 {}",
        "1 call 0 a f",
        "1 arguments 0 {}",
        "0 finish calls",
    ];
    assert_eq!(lines(&chunks), expected, "the other one is not finished");
    let last = chunk(1, r#"{"content":"x"}"#, r#""length""#);
    let lines = lines(&[&chunks[..], &[&last]].concat());
    assert_eq!(
        lines[expected.len()..],
        ["1 text x", "1 finish length", "end"]
    );
}

#[test]
fn without_a_finish_only_done_ends_a_stream() {
    let chunk = r#"{"choices":[{"index":0,"delta":{"content":"a"}}]}"#;
    assert_eq!(lines(&[chunk]), ["start - - -", "0 text a"]);
    assert_eq!(
        lines(&[chunk, "[DONE]"])[2..],
        ["0 finish stop", "end", "end"]
    );
    assert!(lines(&["[DONE]"]).is_empty());
    // A call that nobody knows the name of.
    let call = r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","function":{"arguments":"{"}}]}}]}"#;
    assert_eq!(lines(&[call, "[DONE]"]), ["start - - -"]);
}

#[test]
fn the_usage_is_told_wherever_it_stands() {
    let usage = r#"{"prompt_tokens":3,"completion_tokens":1}"#;
    let delta = r#""index":0,"delta":{"content":"a"},"finish_reason":"stop""#;
    for chunk in [
        format!(r#"{{"usage":{usage},"choices":[{{{delta}}}]}}"#),
        format!(r#"{{"choices":[{{{delta},"usage":{usage}}}]}}"#),
        format!(r#"{{"choices":[{{{delta}}}],"usage":{usage}}}"#),
    ] {
        assert_eq!(
            lines(&[&chunk]),
            [
                "start - - -",
                "0 text a",
                "0 finish stop",
                "usage 3 1",
                "end"
            ],
            "{chunk}"
        );
    }
}

#[test]
fn an_error_is_told_as_it_stands() {
    for error in [
        r#"{"error":{"message":"no","type":"server_error"}}"#,
        r#"{"error":"no"}"#,
        r#"{"object":"error","message":"no","code":400}"#,
        r#"{"type":"error","error":{"message":"no"}}"#,
    ] {
        assert_eq!(lines(&[error]), [format!("error openai {error}")]);
    }
    let broken = r#"{"choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}],"error":{"code":502,"message":"no"}}"#;
    assert_eq!(
        lines(&[
            r#"{"choices":[{"index":0,"delta":{"content":"a"}}]}"#,
            broken
        ])[2..],
        [format!("error openai {broken}")],
        "and no finish"
    );
    let none = r#"{"error":null,"choices":[{"index":0,"delta":{"content":"a"}}]}"#;
    assert_eq!(lines(&[none])[1..], ["0 text a"]);
}

#[test]
fn what_another_provider_wants_back_is_read_where_it_is_written() {
    let lines = deltas(
        &[
            r#"{"reasoning_content":"one"}"#,
            r#"{"thinking_blocks":[{"type":"thinking","thinking":"one","signature":"c2ln"}]}"#,
            r#"{"thinking_blocks":[{"type":"redacted_thinking","data":"ZGF0YQ=="}]}"#,
            // Pieces, as well as the reasoning.
            r#"{"reasoning_content":"t","thinking_blocks":[{"type":"thinking","thinking":"t","signature":null}]}"#,
            r#"{"reasoning_content":"wo","reasoning":"wo","thinking_blocks":[{"type":"thinking","thinking":"wo","signature":""}]}"#,
            r#"{"thinking_blocks":[{"type":"thinking","thinking":"","signature":"dHdv"}]}"#,
            // The block alone.
            r#"{"thinking_blocks":[{"type":"thinking","thinking":"three","signature":"Mw=="}]}"#,
            r#"{"content":"Hi","extra_content":{"google":{"thought_signature":"Z2Vt"}}}"#,
        ],
        r#""stop""#,
    );
    assert_eq!(
        lines,
        [
            "0 reasoning one",
            "0 signature anthropic c2ln",
            "0 redacted ZGF0YQ==",
            "0 reasoning t",
            "0 reasoning wo",
            "0 signature anthropic dHdv",
            "0 reasoning three",
            "0 signature anthropic Mw==",
            "0 text Hi",
            "0 signature gemini Z2Vt",
            "0 finish stop",
            "end",
        ]
    );
}

#[test]
fn a_chunk_of_the_wrong_shape_is_named_and_no_panic() {
    let mut reader = EventReader::default();
    for (chunk, message) in [
        ("[]", "the body must be an object, but is an array"),
        (
            r#"{"choices":[1]}"#,
            "`choices[0]` must be an object, but is a number",
        ),
        (
            r#"{"choices":[{"index":-1}]}"#,
            "`choices[0].index` must be a whole number of 0 or more, but is -1",
        ),
        (
            r#"{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a"}]},"finish_reason":"stop"}]}"#,
            "`choices[0]` must have `function.name`",
        ),
    ] {
        let error = take(&mut reader, chunk, &mut |_| ()).unwrap_err();
        assert_eq!(error.to_string(), message, "{chunk}");
    }
    for strange in [
        "{}",
        r#"{"choices":null}"#,
        r#"{"choices":[{}]}"#,
        r#"{"choices":[{"delta":null}],"usage":7}"#,
        r#"{"choices":[{"delta":{"content":7,"tool_calls":{}}}]}"#,
        r#"{"choices":[{"delta":{"tool_calls":[{"index":null,"function":null}]}}]}"#,
    ] {
        take(&mut EventReader::default(), strange, &mut |_| ()).unwrap();
    }
}

#[test]
fn there_are_only_so_many_calls() {
    let calls: Vec<_> = (0..1025)
        .map(|n| format!(r#"{{"index":{n},"id":"c{n}","function":{{"name":"f"}}}}"#))
        .collect();
    let chunk = |calls: &[String]| {
        let calls = calls.join(",");
        format!(r#"{{"choices":[{{"index":0,"delta":{{"tool_calls":[{calls}]}}}}]}}"#)
    };
    let read = |text: &str| take(&mut EventReader::default(), text, &mut |_| ());
    assert!(read(&chunk(&calls[..1024])).is_ok());
    let error = read(&chunk(&calls)).unwrap_err();
    assert_eq!(error.to_string(), "`choices[0]` is one member too many");
}
