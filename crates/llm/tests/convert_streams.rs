//! Streams that were cut off are never ended as if they were whole.

use buttress_llm::{
    Dialect,
    convert::{Conversion, StreamError},
};
use bytes::{Bytes, BytesMut};

/// What becomes of a stream that ends cleanly after these bytes, and whether it is whole.
fn converted(caller: Dialect, endpoint: Dialect, data: &[u8]) -> (String, bool) {
    let request = match caller {
        Dialect::Gemini => r#"{"contents":[{"parts":[{"text":"Hi"}]}]}"#,
        _ => {
            r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"Hi"}],"stream":true}"#
        }
    };
    let asked = Conversion::new(caller, endpoint).request(request);
    let mut stream = asked.expect("it can be said").stream();
    let mut out = BytesMut::new();
    stream
        .push(Bytes::copy_from_slice(data), &mut out)
        .expect("every event is good");
    let whole = match stream.finish(&mut out) {
        Ok(()) => true,
        Err(StreamError::Unfinished) => false,
        Err(error) => panic!("{error}"),
    };
    (String::from_utf8(out.to_vec()).expect("text"), whole)
}

#[test]
fn a_stream_that_is_cut_within_an_event_breaks_off() {
    let chunk = |text: &str| {
        format!(
            r#"data: {{"candidates":[{{"content":{{"parts":[{{"text":"{text}"}}]}},"finishReason":"STOP","index":0}}]}}"#
        ) + "\n\n"
    };
    let gemini = [chunk("one"), chunk("two")];
    let openai = [
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"one\"},\"finish_reason\":\"stop\"}]}\n\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1,\"total_tokens\":2}}\n\n",
    ]
    .map(str::to_owned);
    for (endpoint, callers, events) in [
        (
            Dialect::Gemini,
            [Dialect::OpenAi, Dialect::Anthropic],
            gemini,
        ),
        (
            Dialect::OpenAi,
            [Dialect::Anthropic, Dialect::Gemini],
            openai,
        ),
    ] {
        let (begins, stream) = (events[0].len(), events.concat());
        for caller in callers {
            for end in begins..=stream.len() {
                let (out, whole) = converted(caller, endpoint, &stream.as_bytes()[..end]);
                let is_whole = end == begins || end == stream.len();
                assert_eq!(
                    whole, is_whole,
                    "{caller} over {endpoint}, cut at {end}: {out}"
                );
                let ended = out.contains("[DONE]") || out.contains("message_stop");
                assert_eq!(ended, is_whole && caller != Dialect::Gemini, "{out}");
            }
        }
    }
}

#[test]
fn a_terminator_without_its_blank_line_is_one() {
    let events =
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"one\"}}]}\n\ndata: [DONE]";
    for end in ["", "\n", "\r\n", "\n\n"] {
        let stream = format!("{events}{end}");
        let (out, whole) = converted(Dialect::Anthropic, Dialect::OpenAi, stream.as_bytes());
        assert!(whole && out.contains("message_stop"), "{out}");
    }
}

#[test]
fn a_message_that_stops_without_saying_why_was_said_unless_a_call_is_open() {
    let start = r#"{"type":"message_start","message":{"id":"m","model":"m"}}"#;
    let text =
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}"#;
    let call = r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"t","name":"f","input":{}}}"#;
    let half = r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"a\":"}}"#;
    let end = r#"{"type":"content_block_stop","index":1}"#;
    let null =
        r#"{"type":"message_delta","delta":{"stop_reason":null},"usage":{"output_tokens":1}}"#;
    let stop = r#"{"type":"message_stop"}"#;
    for (events, openai, gemini) in [
        (&[start, text, stop][..], Some("stop"), "STOP"),
        (&[start, text, null, stop], Some("stop"), "STOP"),
        (&[start, text, call, end, stop], Some("tool_calls"), "STOP"),
        (&[start, text, call, half, stop], None, ""),
        (&[start, text, call, stop], None, ""),
        (&[stop], None, ""),
        (&[start, text], None, ""),
    ] {
        let data = events.iter().map(|event| format!("data: {event}\n\n"));
        let data: String = data.collect();
        let (out, whole) = converted(Dialect::OpenAi, Dialect::Anthropic, data.as_bytes());
        assert_eq!(whole, openai.is_some(), "{out}");
        assert_eq!(out.ends_with("data: [DONE]\n\n"), whole, "{out}");
        let reason = out.split(r#""finish_reason":""#).nth(1);
        let reason = reason.and_then(|rest| rest.split('"').next());
        assert_eq!(reason, openai, "{out}");

        let (out, whole) = converted(Dialect::Gemini, Dialect::Anthropic, data.as_bytes());
        assert_eq!(whole, openai.is_some(), "{out}");
        let reason = format!(r#""finishReason":"{gemini}""#);
        assert_eq!(out.contains(&reason), whole, "{out}");
    }
}
