mod read;
mod write;

use buttress_http::sse::Decoder;
use bytes::{Bytes, BytesMut};
use serde_json::{Value, json};

use super::{EventReader, EventWriter};
use crate::convert::{
    context::Context,
    model::Event,
    read::{Names, Reader},
};

const CONTEXT: Context = Context {
    created: 1,
    unique: 2,
    include_usage: false,
};

fn chunk(parts: &Value) -> Value {
    json!({"candidates": [{"content": {"parts": parts, "role": "model"}, "index": 0}], "modelVersion": "m", "responseId": "r"})
}

fn last(reason: &str) -> Value {
    json!({"candidates": [{"content": {"parts": [{"text": ""}], "role": "model"}, "finishReason": reason, "index": 0}], "modelVersion": "m", "responseId": "r"})
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
