mod faults;
mod reading;
mod writing;

use bytes::BytesMut;
use serde_json::Value;

use super::{read_request, write_request};
use crate::{
    Dialect,
    convert::{
        ConvertError,
        error::path,
        model::{Part, Request},
        notes::Notes,
        read::{Names, Reader},
        write::Writer,
    },
};

const HELLO: &str = r#""contents":[{"parts":[{"text":"hello"}]}]"#;

fn read(text: &str) -> Result<Request<'_>, ConvertError> {
    let mut json = Reader::new(text, Names::Once);
    let request = read_request(&mut json);
    json.end().map_err(|fault| fault.explain(text))?;
    Ok(request)
}

/// What a request that was read from `text` is to Gemini, and which fields are left out.
fn write(text: &str, request: &Request<'_>) -> Result<(Value, Vec<String>), ConvertError> {
    let (mut out, mut notes) = (BytesMut::new(), Notes::new(Dialect::Gemini));
    write_request(request, &mut notes, &mut Writer::new(&mut out));
    let left_out = notes.end().map_err(|fault| fault.explain(text))?;
    let left_out = left_out.into_iter().map(|at| path(text, at)).collect();
    let written = serde_json::from_slice(&out).expect("what is written is JSON");
    Ok((written, left_out))
}

/// The same for one of its own.
fn again(text: &str) -> Result<(Value, Vec<String>), ConvertError> {
    write(text, &read(text)?)
}

fn parts<'r, 'a>(request: &'r Request<'a>) -> Vec<&'r Part<'a>> {
    let messages = request.messages.iter();
    messages.flat_map(|message| message.parts.iter()).collect()
}
