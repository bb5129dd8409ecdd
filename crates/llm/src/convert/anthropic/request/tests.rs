mod faults;
mod model;
mod read;
mod write;

use bytes::BytesMut;
use serde_json::Value;

use super::{read_request, write_request};
use crate::{
    Dialect,
    convert::{
        error::{ConvertError, path},
        model::Request,
        notes::Notes,
        read::{Names, Reader},
        write::Writer,
    },
};

/// A request whose only message says hello, with these members beside.
fn hello(members: &str) -> String {
    let comma = if members.is_empty() { "" } else { "," };
    format!(
        r#"{{"model":"claude-haiku-4-5","max_tokens":64,"messages":[{{"role":"user","content":"Hi"}}]{comma}{members}}}"#
    )
}

/// A request whose only message has this content.
fn saying(role: &str, content: &str) -> String {
    format!(
        r#"{{"model":"m","max_tokens":64,"messages":[{{"role":"{role}","content":{content}}}]}}"#
    )
}

fn read(text: &str) -> Result<Request<'_>, ConvertError> {
    let mut json = Reader::new(text, Names::Once);
    let request = read_request(&mut json);
    json.end().map_err(|fault| fault.explain(text))?;
    Ok(request)
}

fn fault(text: &str) -> String {
    read(text).expect_err(text).to_string()
}

/// What is written of the request, and where what was left out stands in `text`.
fn write(request: &Request<'_>, text: &str) -> Result<(Value, Vec<String>), ConvertError> {
    let mut notes = Notes::new(Dialect::Anthropic);
    let mut out = BytesMut::new();
    write_request(request, &mut notes, &mut Writer::new(&mut out));
    let left_out = notes.end().map_err(|fault| fault.explain(text))?;
    let written = serde_json::from_slice(&out)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&out)));
    let left_out = left_out.into_iter().map(|at| path(text, at)).collect();
    Ok((written, left_out))
}

/// What is read, written again.
fn again(text: &str) -> (Value, Vec<String>) {
    write(&read(text).expect(text), text).expect(text)
}
