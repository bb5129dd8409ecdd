mod read;
mod write;

use bytes::BytesMut;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{EventReader, EventWriter};
use crate::{
    Dialect,
    convert::{
        ConvertError,
        context::Context,
        model::{Counts, Event, Finish, Signature},
        read::{Names, Reader},
        text::{Raw, Text},
    },
};

const CONTEXT: Context = Context {
    created: 1_700_000_000,
    unique: 0x1a,
    include_usage: true,
};

/// What an event says, in a line.
fn line(event: &Event<'_>) -> String {
    let or_none = |text: Option<&str>| text.unwrap_or("-").to_owned();
    match event {
        Event::Start { id, model, created } => format!(
            "start {} {} {}",
            or_none(id.as_ref().map(Text::written)),
            or_none(model.as_ref().map(Text::written)),
            or_none(created.as_ref().map(Raw::written))
        ),
        Event::Text { candidate, text } => format!("{candidate} text {}", text.written()),
        Event::Refusal { candidate, text } => format!("{candidate} refusal {}", text.written()),
        Event::Reasoning { candidate, text } => {
            format!("{candidate} reasoning {}", text.written())
        }
        Event::Signature {
            candidate,
            signature,
        } => format!("{candidate} signature {}", signed(signature)),
        Event::Redacted { candidate, data } => format!("{candidate} redacted {}", data.written()),
        Event::Call {
            candidate,
            call,
            id,
            name,
            signature,
        } => format!(
            "{candidate} call {call} {} {}{}",
            or_none(id.as_ref().map(Text::written)),
            name.written(),
            signature
                .as_ref()
                .map_or_else(String::new, |signature| format!(" {}", signed(signature)))
        ),
        Event::Arguments {
            candidate,
            call,
            piece,
        } => format!("{candidate} arguments {call} {}", piece.written()),
        Event::Object {
            candidate,
            call,
            arguments,
        } => format!("{candidate} object {call} {}", arguments.written()),
        Event::Finish { candidate, finish } => format!("{candidate} finish {}", word(finish)),
        Event::Usage(Counts { input, output, .. }) => format!("usage {input} {output}"),
        Event::Ping => "ping".to_owned(),
        Event::Rest(rest) => {
            let rest: Vec<_> = rest
                .iter()
                .map(|(name, value)| format!("{}={}", name.written(), value.written()))
                .collect();
            format!("rest {}", rest.join(" "))
        }
        Event::Error { of, envelope } => format!("error {of} {envelope}"),
        Event::End => "end".to_owned(),
    }
}

fn signed(signature: &Signature<'_>) -> String {
    format!("{} {}", signature.of, signature.value.written())
}

fn word(finish: &Finish<'_>) -> String {
    match finish {
        Finish::Sequence(word) => format!("sequence {}", word.as_ref().map_or("", Text::written)),
        Finish::Other(word) => format!("other {}", word.written()),
        finish => format!("{finish:?}").to_lowercase(),
    }
}

fn take(
    reader: &mut EventReader,
    text: &str,
    tell: &mut dyn FnMut(Event<'_>),
) -> Result<(), ConvertError> {
    let mut json = Reader::new(text, Names::Any);
    reader.read(&mut json, &mut |event| tell(event));
    json.end().map_err(|fault| fault.explain(text))
}

/// What these chunks say, with the end if the body ends after them.
fn lines(chunks: &[&str]) -> Vec<String> {
    let (mut reader, mut lines) = (EventReader::default(), Vec::new());
    for chunk in chunks {
        let tell = &mut |event: Event<'_>| lines.push(line(&event));
        match *chunk {
            "[DONE]" => reader.done(tell),
            chunk => {
                take(&mut reader, chunk, tell).unwrap_or_else(|error| panic!("{error}: {chunk}"))
            }
        }
    }
    reader.end(&mut |event| lines.push(line(&event)));
    lines
}

/// What these deltas say, one a chunk, and the finish after them.
fn deltas(deltas: &[&str], finish: &str) -> Vec<String> {
    let chunk = |delta: &str, finish: &str| {
        format!(r#"{{"choices":[{{"index":0,"delta":{delta},"finish_reason":{finish}}}]}}"#)
    };
    let mut chunks: Vec<_> = deltas.iter().map(|delta| chunk(delta, "null")).collect();
    chunks.push(chunk("{}", finish));
    let chunks: Vec<_> = chunks.iter().map(String::as_str).collect();
    let mut lines = lines(&chunks);
    assert_eq!(lines.remove(0), "start - - -");
    lines
}

/// What the writer makes of these chunks, and of what comes after them.
fn frames(context: Context, chunks: &[&str], more: Vec<Event<'_>>) -> String {
    let (mut reader, mut out) = (EventReader::default(), BytesMut::new());
    let mut writer = EventWriter::new(context);
    for chunk in chunks {
        take(&mut reader, chunk, &mut |event| {
            writer.write(event, &mut out)
        })
        .unwrap_or_else(|error| panic!("{error}: {chunk}"));
    }
    for event in more {
        writer.write(event, &mut out);
    }
    String::from_utf8(out.to_vec()).unwrap()
}

/// The data of frames, each a value; the last is the terminator.
fn values(frames: &str) -> Vec<Value> {
    let frames = frames
        .strip_suffix("data: [DONE]\n\n")
        .expect("the terminator");
    frames
        .split_terminator("\n\n")
        .map(|frame| {
            let data = frame.strip_prefix("data: ").unwrap();
            serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}"))
        })
        .collect()
}

/// The deltas of the frames of one candidate.
fn written(events: Vec<Event<'_>>) -> Vec<Value> {
    let values = values(&frames(CONTEXT, &[], events));
    values
        .iter()
        .map(|value| value["choices"][0]["delta"].clone())
        .collect()
}

proptest! {
    #[test]
    fn whatever_is_read_is_written_as_json(
        changes in prop::collection::vec(
            (any::<prop::sample::Index>(), any::<prop::sample::Index>(), "[ -~]{0,3}"),
            1..4,
        ),
    ) {
        let mut chunks = [
            r#"{"id":"a","model":"m","created":1,"x":[],"choices":[{"index":0,"delta":{"role":"assistant","content":"a"}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"reasoning_content":"hm","thinking_blocks":[{"type":"thinking","thinking":"hm","signature":"c2ln"}]}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{"}}]}}]}"#,
            r#"{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"\"\\n"}}]}}]}"#,
            r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"y":2}}"#,
        ]
        .map(str::to_owned);
        for (chunk, at, new) in changes {
            let chunk = &mut chunks[chunk.index(5)];
            if !chunk.is_empty() {
                let at = at.index(chunk.len());
                chunk.replace_range(at..=at, &new);
            }
        }
        let (mut reader, mut out) = (EventReader::default(), BytesMut::new());
        let mut writer = EventWriter::new(CONTEXT);
        // Nothing is read after what is wrong, as in a stream.
        let _ = chunks.iter().try_for_each(|chunk| {
            take(&mut reader, chunk, &mut |event| writer.write(event, &mut out))
        });
        let frames = String::from_utf8(out.to_vec()).unwrap();
        values(&(frames + "data: [DONE]\n\n"));
    }
}
