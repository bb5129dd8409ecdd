use buttress_http::sse::Decoder;
use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};

use super::{EventReader, EventWriter};
use crate::{
    Dialect,
    convert::{
        context::Context,
        model::{Counts, Event, Finish, Signature},
        read::{Names, Reader},
        text::{Raw, Text},
    },
};

const CONTEXT: Context = Context {
    created: 1,
    unique: 2,
    include_usage: false,
};

/// The events of these chunks and of the end after them, as their `Debug` shows them without places.
fn told(chunks: &[Value]) -> Vec<String> {
    let mut told = Vec::new();
    let mut reader = EventReader::default();
    for chunk in chunks {
        let text = chunk.to_string();
        let mut json = Reader::new(&text, Names::Any);
        reader.read(&mut json, &mut |event| told.push(show(&event)));
        json.end().unwrap();
    }
    reader.end(&mut |event| told.push(show(&event)));
    told
}

fn show(event: &Event<'_>) -> String {
    let or = |text: &Option<Text<'_>>| {
        text.as_ref()
            .map_or("-".to_owned(), |text| text.decode().into_owned())
    };
    let by = |signature: &Signature<'_>| format!("{}:{}", signature.of, signature.value.decode());
    match event {
        Event::Start { id, model, .. } => format!("start {} {}", or(id), or(model)),
        Event::Text { candidate, text } => format!("text {candidate} {}", text.decode()),
        Event::Refusal { candidate, text } => format!("refusal {candidate} {}", text.decode()),
        Event::Reasoning { candidate, text } => format!("thought {candidate} {}", text.decode()),
        Event::Signature {
            candidate,
            signature,
        } => format!("signature {candidate} {}", by(signature)),
        Event::Redacted { candidate, data } => format!("redacted {candidate} {}", data.decode()),
        Event::Call {
            candidate,
            call,
            id,
            name,
            signature,
        } => {
            let signature = signature.as_ref().map_or("-".to_owned(), by);
            format!(
                "call {candidate}.{call} {} {} {signature}",
                or(id),
                name.decode()
            )
        }
        Event::Arguments {
            candidate,
            call,
            piece,
        } => format!("piece {candidate}.{call} {}", piece.decode()),
        Event::Object {
            candidate,
            call,
            arguments,
        } => format!("object {candidate}.{call} {}", arguments.written()),
        Event::Finish { candidate, finish } => match finish {
            Finish::Other(word) => format!("finish {candidate} {}", word.decode()),
            finish => format!("finish {candidate} {finish:?}"),
        },
        Event::Usage(counts) => format!("usage {} {}", counts.input, counts.output),
        Event::Ping => "ping".to_owned(),
        Event::Rest(rest) => rest.iter().fold("rest".to_owned(), |all, (name, value)| {
            format!("{all} {}={}", name.written(), value.written())
        }),
        Event::Error { of, envelope } => format!("error {of} {envelope}"),
        Event::End => "end".to_owned(),
    }
}

fn chunk(parts: &Value) -> Value {
    json!({"candidates": [{"content": {"parts": parts, "role": "model"}, "index": 0}], "modelVersion": "m", "responseId": "r"})
}

fn last(reason: &str) -> Value {
    json!({"candidates": [{"content": {"parts": [{"text": ""}], "role": "model"}, "finishReason": reason, "index": 0}], "modelVersion": "m", "responseId": "r"})
}

/// The frames that these events become.
fn frames(events: Vec<Event<'_>>) -> Vec<Value> {
    let (mut out, mut writer) = (BytesMut::new(), EventWriter::new(CONTEXT));
    for event in events {
        writer.write(event, &mut out);
    }
    let out = std::str::from_utf8(&out).unwrap();
    assert!(out.is_empty() || out.ends_with("\n\n"));
    out.split_terminator("\n\n")
        .map(|frame| serde_json::from_str(frame.strip_prefix("data: ").unwrap()).unwrap())
        .collect()
}

fn parts(events: Vec<Event<'_>>) -> Vec<Value> {
    frames(events)
        .into_iter()
        .map(|frame| frame["candidates"][0]["content"]["parts"][0].clone())
        .collect()
}

fn start<'a>() -> Event<'a> {
    Event::Start {
        id: Some(Text::plain("r")),
        model: Some(Text::plain("m")),
        created: None,
    }
}

fn call<'a>(call: u64, id: &'static str) -> Event<'a> {
    Event::Call {
        candidate: 0,
        call,
        id: Some(Text::plain(id)),
        name: Text::plain("f"),
        signature: None,
    }
}

fn piece(call: u64, piece: &str) -> Event<'_> {
    Event::Arguments {
        candidate: 0,
        call,
        piece: Text::new(piece, 0),
    }
}

fn finish<'a>(finish: Finish<'a>) -> Event<'a> {
    Event::Finish {
        candidate: 0,
        finish,
    }
}

#[test]
fn a_stream_of_text_is_told_in_order() {
    let mut first = chunk(&json!([{"text": "hm", "thought": true}]));
    first["usageMetadata"] = json!({"promptTokenCount": 9, "totalTokenCount": 9});
    let mut end = last("STOP");
    end["usageMetadata"] =
        json!({"promptTokenCount": 9, "candidatesTokenCount": 2, "thoughtsTokenCount": 3});
    assert_eq!(
        told(&[
            first,
            chunk(&json!([{"text": "a\nb"}, {"text": "c"}])),
            chunk(&json!([{"text": "", "thoughtSignature": "AAAA"}])),
            end,
        ]),
        [
            "start r m",
            "usage 9 0",
            "thought 0 hm",
            "text 0 a\nb",
            "text 0 c",
            "signature 0 gemini:AAAA",
            "usage 9 5",
            "finish 0 Stop",
            "end",
        ]
    );
}

#[test]
fn calls_are_counted_in_each_candidate_and_a_stop_after_them_is_theirs() {
    let two = json!({"candidates": [
        {"content": {"parts": [
            {"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "AAAA"},
            {"functionCall": {"name": "g", "id": "i"}},
        ]}, "index": 0},
        {"content": {"parts": [{"text": "b"}]}, "index": 1, "finishReason": "MAX_TOKENS"},
    ]});
    assert_eq!(
        told(&[
            two,
            chunk(&json!([{"functionCall": {"name": "h", "args": {}}}])),
            last("STOP"),
        ]),
        [
            "start - -",
            "call 0.0 - f gemini:AAAA",
            r#"object 0.0 {"a":1}"#,
            "call 0.1 i g -",
            "object 0.1 {}",
            "text 1 b",
            "call 0.2 - h -",
            "object 0.2 {}",
            "finish 0 Calls",
            "finish 1 Length",
            "end",
        ]
    );
}

#[test]
fn a_stop_with_every_chunk_is_told_once_at_the_end() {
    let mut chunks = [
        chunk(&json!([{"text": "a"}])),
        chunk(&json!([{"functionCall": {"name": "f", "args": {}}}])),
    ];
    for chunk in &mut chunks {
        chunk["candidates"][0]["finishReason"] = json!("STOP");
    }
    let late = chunk(&json!([{"text": "b"}]));
    assert_eq!(
        told(&[chunks[0].clone(), chunks[1].clone(), late])[1..],
        [
            "text 0 a",
            "call 0.0 - f -",
            "object 0.0 {}",
            "text 0 b",
            "finish 0 Calls",
            "end",
        ]
    );
}

#[test]
fn a_stream_without_a_reason_for_its_end_is_not_complete() {
    assert_eq!(
        told(&[chunk(&json!([{"text": "a"}]))]),
        ["start r m", "text 0 a"]
    );
    assert_eq!(told(&[]), [""; 0]);
    let half = json!({"candidates": [
        {"content": {}, "index": 0, "finishReason": "STOP"},
        {"content": {}, "index": 1},
    ]});
    assert_eq!(told(&[half]), ["start - -"]);
}

#[test]
fn a_blocked_prompt_is_a_filtered_stream() {
    let chunk = json!({"promptFeedback": {"blockReason": "OTHER"}, "usageMetadata": {"promptTokenCount": 4}});
    assert_eq!(
        told(&[chunk]),
        [
            "start - -",
            "usage 4 0",
            r#"rest promptFeedback={"blockReason":"OTHER"}"#,
            "finish 0 Filtered",
            "end",
        ]
    );
}

#[test]
fn what_only_gemini_knows_is_told_when_it_is_new() {
    let with = |ratings: Value, stage: &str| {
        let mut chunk = chunk(&json!([{"text": "a"}]));
        chunk["candidates"][0]["safetyRatings"] = ratings;
        chunk["modelStatus"] = json!(stage);
        chunk
    };
    let mut end = last("RECITATION");
    end["candidates"][0]["groundingMetadata"] = json!({"a": 1});
    assert_eq!(
        told(&[
            with(json!([1]), "x"),
            with(json!([1]), "x"),
            with(json!([2]), "x"),
            end
        ]),
        [
            "start r m",
            r#"rest modelStatus="x""#,
            "rest safetyRatings=[1]",
            "text 0 a",
            "text 0 a",
            "rest safetyRatings=[2]",
            "text 0 a",
            r#"rest native_finish_reason="RECITATION" groundingMetadata={"a":1}"#,
            "finish 0 Filtered",
            "end",
        ]
    );
}

#[test]
fn an_error_is_told_with_its_envelope() {
    for envelope in [
        json!({"error": {"code": 503, "message": "m", "status": "UNAVAILABLE"}}),
        json!([{"error": {"code": 503, "message": "m", "status": "UNAVAILABLE"}}]),
    ] {
        let told = told(std::slice::from_ref(&envelope));
        assert_eq!(told, [format!("error gemini {envelope}")]);
    }
}

#[test]
fn chunks_in_an_array_are_read_one_after_the_other() {
    let chunks = json!([chunk(&json!([{"text": "a"}])), last("STOP")]);
    assert_eq!(
        told(&[chunks]),
        ["start r m", "text 0 a", "finish 0 Stop", "end"]
    );
}

#[test]
fn nothing_is_told_of_a_chunk_that_is_cut_off() {
    let mut reader = EventReader::default();
    for text in [
        r#"{"candidates":[{"content":{"parts":[{"text":"a"}"#,
        r#"{"candidates":[{"content":{"parts":[{"text":7}]}}]}"#,
        "7",
    ] {
        let mut json = Reader::new(text, Names::Any);
        reader.read(&mut json, &mut |event| panic!("{event:?} of {text}"));
        assert!(json.end().is_err(), "{text}");
    }
}

#[test]
fn s4_no_stream_has_more_than_64_candidates() {
    let mut reader = EventReader::default();
    for index in 0..=64 {
        let text = format!(r#"{{"candidates":[{{"index":{index}}}]}}"#);
        let mut json = Reader::new(&text, Names::Any);
        reader.read(&mut json, &mut |_| ());
        assert_eq!(json.end().is_ok(), index < 64, "{index}");
    }
}

#[test]
fn each_piece_of_text_is_a_frame_at_once() {
    let events = vec![
        start(),
        Event::Reasoning {
            candidate: 0,
            text: Text::plain("hm"),
        },
        Event::Text {
            candidate: 1,
            text: Text::new(r"a\nb", 0),
        },
        Event::Refusal {
            candidate: 0,
            text: Text::plain("no"),
        },
        Event::Ping,
    ];
    let frame = |index: u64, part: Value| json!({"candidates": [{"content": {"parts": [part], "role": "model"}, "index": index}], "modelVersion": "m", "responseId": "r"});
    assert_eq!(
        frames(events),
        [
            frame(0, json!({"text": "hm", "thought": true})),
            frame(1, json!({"text": "a\nb"})),
            frame(0, json!({"text": "no"})),
        ]
    );
}

#[test]
fn the_reason_and_what_it_took_come_with_the_last_frame() {
    let usage = |input, output| {
        Event::Usage(Counts {
            input,
            output,
            ..Counts::default()
        })
    };
    let events = vec![
        start(),
        usage(9, 0),
        finish(Finish::Stop),
        usage(9, 5),
        Event::Finish {
            candidate: 1,
            finish: Finish::Length,
        },
        Event::End,
        // It is over.
        Event::Text {
            candidate: 0,
            text: Text::plain("late"),
        },
        Event::End,
    ];
    let content = json!({"parts": [{"text": ""}], "role": "model"});
    assert_eq!(
        frames(events),
        [json!({
            "candidates": [
                {"content": content, "finishReason": "STOP", "index": 0},
                {"content": content, "finishReason": "MAX_TOKENS", "index": 1},
            ],
            "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 5, "totalTokenCount": 14},
            "modelVersion": "m",
            "responseId": "r",
        })]
    );
    assert_eq!(frames(vec![start(), Event::End]), [Value::Null; 0]);
}

#[test]
fn a_call_is_written_when_it_is_whole_and_its_pieces_may_be_mixed() {
    let events = vec![
        start(),
        call(0, "x"),
        piece(0, r#"{\"a\":\"\ud83d"#),
        call(1, "y"),
        piece(1, r#"{\"b\":"#),
        piece(0, r#"\ude00\"}"#),
        piece(1, "2}"),
        call(2, "z"),
        piece(7, "nobody's"),
        finish(Finish::Calls),
        Event::End,
    ];
    let made =
        |id: &str, args: Value| json!({"functionCall": {"id": id, "name": "f", "args": args}});
    assert_eq!(
        parts(events),
        [
            made("x", json!({"a": "\u{1f600}"})),
            made("y", json!({"b": 2})),
            made("z", json!({})),
            json!({"text": ""}),
        ]
    );
    // Whole ones need not wait.
    let events = vec![
        start(),
        call(0, "x"),
        Event::Object {
            candidate: 0,
            call: 0,
            arguments: Raw::new("{}", 0),
        },
    ];
    assert_eq!(parts(events), [made("x", json!({}))]);
}

#[test]
fn calls_without_a_reason_are_written_at_the_end() {
    let other = Event::Call {
        candidate: 3,
        call: 0,
        id: None,
        name: Text::plain("g"),
        signature: Some(Signature {
            of: Dialect::Gemini,
            value: Text::plain("AAAA"),
        }),
    };
    let frames = frames(vec![start(), call(0, "x"), other, Event::End]);
    assert_eq!(frames.len(), 2);
    assert_eq!(
        frames[1]["candidates"][0],
        json!({
            "content": {"parts": [{"functionCall": {"name": "g", "args": {}}, "thoughtSignature": "AAAA"}], "role": "model"},
            "index": 3,
        })
    );
}

#[test]
fn s4_more_than_4_mib_of_calls_is_an_error() {
    let (mut out, mut writer) = (BytesMut::new(), EventWriter::new(CONTEXT));
    writer.write(call(0, "x"), &mut out);
    let large = "x".repeat(1 << 20);
    for _ in 0..3 {
        writer.write(piece(0, &large), &mut out);
    }
    assert!(out.is_empty());
    for _ in 0..3 {
        writer.write(piece(0, &large), &mut out);
    }
    writer.write(Event::End, &mut out);
    let error = r#"data: {"error":{"code":502,"message":"the calls of tools in the reply are more than 4 MiB, or than 1024","status":"UNAVAILABLE"}}"#;
    assert_eq!(out, format!("{error}\n\n"));

    let (mut out, mut writer) = (BytesMut::new(), EventWriter::new(CONTEXT));
    for number in 0..2000 {
        writer.write(call(number, "x"), &mut out);
    }
    assert_eq!(out, format!("{error}\n\n"));
}

#[test]
fn signatures_come_after_what_they_prove() {
    let signature = |of| Event::Signature {
        candidate: 0,
        signature: Signature {
            of,
            value: Text::plain("AAAA"),
        },
    };
    let redacted = Event::Redacted {
        candidate: 0,
        data: Text::plain("BBBB"),
    };
    assert_eq!(
        parts(vec![
            start(),
            signature(Dialect::Anthropic),
            redacted,
            signature(Dialect::Gemini),
            signature(Dialect::OpenAi),
        ]),
        [
            json!({"text": "", "thought": true, "thoughtSignature": "YW50aHJvcGljAAAA"}),
            json!({"text": "", "thought": true, "thoughtSignature": "YW50aHJvcGljLnJlZGFjdGVkBBBB"}),
            json!({"text": "", "thoughtSignature": "AAAA"}),
        ]
    );
}

#[test]
fn what_only_another_dialect_knows_is_a_frame_of_its_own() {
    let rest = Event::Rest(vec![
        (Text::plain("service_tier"), Raw::new(r#""x""#, 0)),
        (Text::plain("candidates"), Raw::new("1", 0)),
    ]);
    assert_eq!(
        frames(vec![start(), rest]),
        [json!({"service_tier": "x", "modelVersion": "m", "responseId": "r"})]
    );
}

#[test]
fn errors_of_every_dialect_are_told_as_geminis() {
    for (of, envelope, code, status, reason) in [
        (
            Dialect::OpenAi,
            r#"{"error":{"message":"m","type":"rate_limit_error","code":"slow_down"}}"#,
            429,
            "RESOURCE_EXHAUSTED",
            Some("slow_down"),
        ),
        (
            Dialect::OpenAi,
            r#"{"error":{"message":"m","type":"insufficient_quota"}}"#,
            402,
            "PERMISSION_DENIED",
            Some("insufficient_quota"),
        ),
        (
            Dialect::OpenAi,
            r#"{"error":{"message":"m","code":"invalid_api_key"}}"#,
            401,
            "UNAUTHENTICATED",
            Some("invalid_api_key"),
        ),
        (
            Dialect::OpenAi,
            r#"{"error":{"message":"m","code":"model_not_found"}}"#,
            404,
            "NOT_FOUND",
            Some("model_not_found"),
        ),
        (
            Dialect::OpenAi,
            r#"{"error":{"message":"m","code":"context_length_exceeded"}}"#,
            400,
            "INVALID_ARGUMENT",
            Some("context_length_exceeded"),
        ),
        (
            Dialect::Anthropic,
            r#"{"type":"error","error":{"type":"permission_error","message":"m"}}"#,
            403,
            "PERMISSION_DENIED",
            Some("permission_error"),
        ),
        (
            Dialect::Anthropic,
            r#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#,
            503,
            "UNAVAILABLE",
            Some("overloaded_error"),
        ),
        (
            Dialect::Anthropic,
            r#"{"type":"error","error":{"type":"timeout_error","message":"m"}}"#,
            504,
            "DEADLINE_EXCEEDED",
            Some("timeout_error"),
        ),
        (
            Dialect::Anthropic,
            r#"{"type":"error","error":{"type":"api_error","message":"m"}}"#,
            500,
            "INTERNAL",
            Some("api_error"),
        ),
        (
            Dialect::Anthropic,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"m"}}"#,
            400,
            "INVALID_ARGUMENT",
            Some("invalid_request_error"),
        ),
    ] {
        let frames = frames(vec![start(), Event::Error { of, envelope }, Event::End]);
        let error = &frames[0]["error"];
        assert_eq!(frames.len(), 1);
        assert_eq!(
            (error["code"].as_u64(), error["status"].as_str()),
            (Some(code), Some(status)),
            "{envelope}"
        );
        assert_eq!(error["message"], "m");
        assert_eq!(error["details"][0]["reason"].as_str(), reason, "{envelope}");
    }
    for odd in ["{}", "no JSON"] {
        let of = Dialect::OpenAi;
        let frames = frames(vec![Event::Error { of, envelope: odd }]);
        assert_eq!(
            frames[0]["error"]["message"],
            "the endpoint told of an error, and not of which"
        );
    }
}

/// A stream in these parts, read and written again. `false`: it is not complete.
fn pass(parts: [&[u8]; 2]) -> (String, bool) {
    let (mut decoder, mut out) = (Decoder::new(), BytesMut::new());
    let (mut reader, mut writer) = (EventReader::default(), EventWriter::new(CONTEXT));
    for part in parts {
        let mut data = Bytes::copy_from_slice(part);
        while let Some(event) = decoder.decode(&mut data) {
            let event = event.unwrap();
            let text = event.text();
            let mut json = Reader::new(&text, Names::Any);
            reader.read(&mut json, &mut |event| writer.write(event, &mut out));
            json.end().unwrap();
        }
    }
    let mut complete = false;
    reader.end(&mut |event| {
        complete |= matches!(event, Event::End);
        writer.write(event, &mut out);
    });
    (String::from_utf8(out.to_vec()).unwrap(), complete)
}

#[test]
fn a_stream_is_the_same_wherever_it_is_split() {
    let mut end = last("STOP");
    end["usageMetadata"] = json!({"promptTokenCount": 9, "candidatesTokenCount": 2, "thoughtsTokenCount": 3, "trafficType": "X"});
    let chunks = [
        chunk(&json!([{"text": "hm\u{e9}", "thought": true}])),
        chunk(&json!([{"text": "a \"b\" \u{1f600}\n"}])),
        chunk(
            &json!([{"functionCall": {"id": "i", "name": "f", "args": {"usageMetadata": {"a": [1]}}}, "thoughtSignature": "AAAA"}]),
        ),
        chunk(&json!([{"functionCall": {"name": "g", "args": {}}}])),
        end,
    ];
    let stream: String = chunks
        .iter()
        .map(|chunk| format!("data: {chunk}\r\n\r\n"))
        .collect();
    let mut expected = chunks.to_vec();
    // The total is made of the counts.
    expected[4]["usageMetadata"]["totalTokenCount"] = json!(14);
    for split in 0..stream.len() {
        let (before, after) = stream.as_bytes().split_at(split);
        let (out, complete) = pass([before, after]);
        let again: Vec<Value> = out
            .split_terminator("\n\n")
            .map(|frame| serde_json::from_str(frame.strip_prefix("data: ").unwrap()).unwrap())
            .collect();
        assert!(complete);
        assert_eq!(again, expected, "split at {split}");
    }
}

#[test]
fn a_stream_that_breaks_off_has_no_last_frame() {
    let stream = format!("data: {}\n\n", chunk(&json!([{"text": "a"}])));
    let (out, complete) = pass([stream.as_bytes(), b""]);
    assert!(!complete);
    assert_eq!(out.matches("data: ").count(), 1);
    assert!(!out.contains("finishReason"));
}
