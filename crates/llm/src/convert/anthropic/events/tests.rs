mod blocks;
mod read;
mod write;

use buttress_http::sse::Decoder;
use bytes::{Bytes, BytesMut};
use serde_json::Value;

use super::{EventReader, EventWriter};
use crate::convert::{
    context::Context,
    model::Event,
    read::{Names, Reader},
};

const CONTEXT: Context = Context {
    created: 0,
    unique: 0x2a,
    include_usage: true,
};

/// Reads a stream that comes in parts of so many bytes.
fn read(stream: &str, split: usize, mut tell: impl FnMut(Event<'_>)) {
    let (mut decoder, mut reader) = (Decoder::new(), EventReader::default());
    for part in stream.as_bytes().chunks(split) {
        let mut part = Bytes::copy_from_slice(part);
        while let Some(event) = decoder.decode(&mut part) {
            let event = event.expect("a frame");
            let text = event.text();
            let mut json = Reader::new(&text, Names::Any);
            reader.read(&mut json, &mut |event| tell(event));
            json.end().expect(&text);
        }
    }
    reader.end(&mut |event| tell(event));
}

fn write<'a>(events: impl IntoIterator<Item = Event<'a>>) -> String {
    let (mut writer, mut out) = (EventWriter::new(CONTEXT), BytesMut::new());
    for event in events {
        writer.write(event, &mut out);
    }
    String::from_utf8(out.to_vec()).expect("UTF-8")
}

/// The data of the frames of a stream, in which every name is the type of its data.
fn frames(stream: &str) -> Vec<Value> {
    let rest = stream.strip_suffix("\n\n").unwrap_or(stream);
    let frames = rest.split("\n\n").filter(|frame| !frame.is_empty());
    frames
        .map(|frame| {
            let (event, data) = frame.split_once('\n').expect("two lines");
            let data = data.strip_prefix("data: ").expect("data");
            let value: Value = serde_json::from_str(data).expect(data);
            assert_eq!(event, format!("event: {}", value["type"].as_str().unwrap()));
            value
        })
        .collect()
}

/// The frames of a stream of which only the data is given.
fn stream(data: &[Value]) -> String {
    let frame = |data: &Value| {
        format!(
            "event: {}\ndata: {data}\n\n",
            data["type"].as_str().unwrap()
        )
    };
    data.iter().map(frame).collect()
}
