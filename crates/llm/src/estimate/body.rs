use memchr::memchr;

use super::{Estimate, text::Counter};
use crate::json::{Cursor, Kind, Strings};

/// What an image counts as, whatever its size.
const IMAGE: u64 = 1_000;
/// How many characters of base64 that are no image count as a token.
const DATA: u64 = 128;
/// What a chat template puts around a message, its role included, and before the reply.
const MESSAGE: u64 = 4;
const REPLY: u64 = 3;

/// What is known of a body so far.
#[derive(Default)]
struct Reader {
    input: Counter,
    max_output: Option<u64>,
}

/// The estimate of a request body; of one that is no JSON object, as of a text.
pub(super) fn read(body: &[u8]) -> Estimate {
    let mut reader = Reader::default();
    let mut json = Cursor::new(body, Strings::Lax);
    reader.root(&mut json, body);
    if json.end().is_err() {
        let mut input = Counter::default();
        input.text(body);
        return Estimate {
            input: input.tokens(),
            max_output: None,
        };
    }
    reader.input.add(REPLY);
    Estimate {
        input: reader.input.tokens(),
        max_output: reader.max_output,
    }
}

// ===== impl Reader =====

impl Reader {
    fn root(&mut self, json: &mut Cursor<'_>, body: &[u8]) {
        let mut items = json.object();
        while let Some(name) = json.member_decoded(&mut items) {
            match &*name {
                b"messages"
                | b"contents"
                | b"system"
                | b"systemInstruction"
                | b"system_instruction"
                | b"input"
                | b"instructions"
                | b"prompt" => {
                    self.content(json, body, b"");
                }
                b"tools" | b"functions" | b"response_format" | b"output_config"
                | b"output_format" => self.written_out(json, body),
                b"max_tokens" | b"max_completion_tokens" | b"max_output_tokens" => self.bound(json),
                b"generationConfig" | b"generation_config" => self.config(json, body),
                _ => json.skip(),
            }
        }
    }

    fn config(&mut self, json: &mut Cursor<'_>, body: &[u8]) {
        if json.kind() != Kind::Object {
            return json.skip();
        }
        let mut items = json.object();
        while let Some(name) = json.member_decoded(&mut items) {
            match &*name {
                b"maxOutputTokens" | b"max_output_tokens" => self.bound(json),
                b"responseSchema"
                | b"response_schema"
                | b"responseJsonSchema"
                | b"response_json_schema" => self.written_out(json, body),
                _ => json.skip(),
            }
        }
    }

    fn bound(&mut self, json: &mut Cursor<'_>) {
        if json.kind() != Kind::Number {
            return json.skip();
        }
        let bound = json.number();
        self.max_output = match (self.max_output, bound) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }

    /// JSON that the model sees as JSON, or as something of that length.
    fn written_out(&mut self, json: &mut Cursor<'_>, body: &[u8]) {
        let span = json.skip_span();
        self.input.text(&body[span]);
    }

    /// Messages, parts and texts. As deep as the cursor allows, which is 128 levels.
    fn content(&mut self, json: &mut Cursor<'_>, body: &[u8], name: &[u8]) {
        match (json.kind(), name) {
            // What is about a part, and not in it.
            (
                _,
                b"type" | b"id" | b"tool_call_id" | b"tool_use_id" | b"call_id" | b"cache_control"
                | b"signature" | b"thoughtSignature" | b"thought_signature" | b"media_type"
                | b"mimeType" | b"mime_type" | b"detail" | b"format" | b"encrypted_content",
            ) => json.skip(),
            (Kind::String, b"role") => {
                json.skip();
                self.input.add(MESSAGE);
            }
            (Kind::String, b"url" | b"image_url" | b"data" | b"file_data") => {
                let data = json.string();
                self.data(&body[data]);
            }
            (Kind::String, b"fileUri" | b"file_uri" | b"file_id") => {
                json.skip();
                self.input.add(IMAGE);
            }
            // Arguments and results of tools.
            (Kind::Object, b"input" | b"args" | b"arguments" | b"response") => {
                self.written_out(json, body);
            }
            (Kind::String, _) => {
                let text = json.string();
                self.input.quoted(&body[text]);
            }
            (Kind::Object, _) => {
                let mut items = json.object();
                while let Some(name) = json.member_decoded(&mut items) {
                    self.content(json, body, &name);
                }
            }
            (Kind::Array, _) => {
                let mut items = json.array();
                while json.element(&mut items) {
                    self.content(json, body, b"");
                }
            }
            _ => json.skip(),
        }
    }

    /// An image, or something else that is no text: where it is, or what it is in base64.
    fn data(&mut self, data: &[u8]) {
        let image = match data.strip_prefix(b"data:") {
            Some(inline) => inline.starts_with(b"image/"),
            // A link is to an image, or to what counts for as much.
            None => memchr(b':', data).is_some() || is_image(data),
        };
        self.input.add(if image {
            IMAGE
        } else {
            (data.len() as u64).div_ceil(DATA)
        });
    }
}

/// Whether base64 begins as an image does: JPEG, PNG, GIF, WebP, HEIC, AVIF.
fn is_image(data: &[u8]) -> bool {
    let has = |at: usize, text: &[u8]| data.get(at..at + text.len()) == Some(text);
    has(0, b"/9j/")
        || has(0, b"iVBORw0KGgo")
        || has(0, b"R0lGOD")
        || (has(0, b"UklGR") && has(11, b"XRUJQ"))
        || has(5, b"GZ0eXBo")
        || has(5, b"GZ0eXBhdmlm")
}
