use serde_json::{Value, json};

use super::{EventReader, chunk, last};
use crate::convert::{
    model::{Event, Finish, Signature},
    read::{Names, Reader},
    text::Text,
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
