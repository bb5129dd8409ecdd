use buttress_core::{Class, Outcome};
use buttress_http::{ByStatus, Judge, Meter, sse::is_event_stream};
use http::{
    StatusCode,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
    response::Parts,
};

use crate::{
    Anthropic, Dialect, Gemini, OpenAi, WithModel,
    answering::Answering,
    anthropic::AnthropicReader,
    gemini::GeminiReader,
    meter::{StreamMeter, TextMeter},
    openai::OpenAiReader,
    reader::Reader,
};

/// Judges replies of any path of a dialect, where [`Dialect`] itself judges those of the model
/// alone: for embeddings, audio, files and the like.
///
/// | | a reply of the model | any reply |
/// |---|---|---|
/// | 2xx of another content type than JSON and event streams | unavailable | success, once it has ended; HTML and none stay unavailable |
/// | a stream that ends cleanly without a terminator | unavailable, or interrupted | success |
/// | an event that is no error | content, if there is any in it | content |
///
/// Everything else is the same: errors in any JSON object or stream are found, and usage is read
/// where it stands as it does in a reply of the model.
///
/// ```
/// use buttress_http::TrackLayer;
/// use buttress_llm::{AnyPath, Dialect};
///
/// let layer = TrackLayer::new(AnyPath(Dialect::OpenAi));
/// # let _ = layer;
/// ```
#[derive(Clone, Copy, Debug)]
pub struct AnyPath(pub Dialect);

/// What the body of a reply is, by its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Events,
    Json,
    Html,
    Other,
    /// None is named.
    Unnamed,
}

// ===== impl Judge =====

impl Judge for Dialect {
    fn head(&self, parts: &Parts) -> Outcome {
        head(parts, |format| {
            matches!(format, Format::Events | Format::Json)
        })
    }

    fn meter(&self, parts: &Parts) -> Option<Box<dyn Meter>> {
        meter(*self, parts, false, Answering::Unasked)
    }
}

impl Judge for AnyPath {
    fn head(&self, parts: &Parts) -> Outcome {
        head(parts, |format| {
            !matches!(format, Format::Html | Format::Unnamed)
        })
    }

    fn meter(&self, parts: &Parts) -> Option<Box<dyn Meter>> {
        meter(self.0, parts, true, Answering::Unasked)
    }
}

impl Judge for WithModel<Dialect> {
    fn head(&self, parts: &Parts) -> Outcome {
        self.0.head(parts)
    }

    fn meter(&self, parts: &Parts) -> Option<Box<dyn Meter>> {
        meter(self.0, parts, false, Answering::Asked)
    }
}

impl Judge for WithModel<AnyPath> {
    fn head(&self, parts: &Parts) -> Outcome {
        self.0.head(parts)
    }

    fn meter(&self, parts: &Parts) -> Option<Box<dyn Meter>> {
        let AnyPath(dialect) = self.0;
        meter(dialect, parts, true, Answering::Asked)
    }
}

macro_rules! judge_as {
    ($($judge:ident)*) => {$(
        impl Judge for $judge {
            fn head(&self, parts: &Parts) -> Outcome {
                Dialect::$judge.head(parts)
            }

            fn meter(&self, parts: &Parts) -> Option<Box<dyn Meter>> {
                Dialect::$judge.meter(parts)
            }
        }

        impl Judge for WithModel<$judge> {
            fn head(&self, parts: &Parts) -> Outcome {
                Dialect::$judge.head(parts)
            }

            fn meter(&self, parts: &Parts) -> Option<Box<dyn Meter>> {
                WithModel(Dialect::$judge).meter(parts)
            }
        }
    )*};
}

judge_as!(OpenAi Anthropic Gemini);

fn head(parts: &Parts, expected: impl Fn(Format) -> bool) -> Outcome {
    let outcome = ByStatus.head(parts);
    if outcome.class == Class::Success && has_body(parts) && !expected(Format::of(parts)) {
        return outcome.with_class(Class::Unavailable);
    }
    outcome
}

fn meter(
    dialect: Dialect,
    parts: &Parts,
    lenient: bool,
    model: Answering,
) -> Option<Box<dyn Meter>> {
    match dialect {
        Dialect::OpenAi => meter_with(dialect, OpenAiReader::new(model), parts, lenient),
        Dialect::Anthropic => meter_with(dialect, AnthropicReader::new(model), parts, lenient),
        Dialect::Gemini => meter_with(dialect, GeminiReader::new(model), parts, lenient),
    }
}

fn meter_with<R: Reader + 'static>(
    dialect: Dialect,
    reader: R,
    parts: &Parts,
    lenient: bool,
) -> Option<Box<dyn Meter>> {
    if !has_body(parts) || is_encoded(parts) {
        return None;
    }
    let head = ByStatus.head(parts);
    match (head.failed(), Format::of(parts)) {
        (false, Format::Events) => Some(Box::new(StreamMeter::new(reader, lenient))),
        (false, Format::Json) => Some(Box::new(TextMeter::new(dialect, reader))),
        // Servers name the type of an error carelessly.
        (true, Format::Json | Format::Other | Format::Unnamed) => Some(Box::new(
            TextMeter::of_error(dialect, reader, parts.status, head),
        )),
        _ => None,
    }
}

fn has_body(parts: &Parts) -> bool {
    !matches!(
        parts.status,
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED
    )
}

/// What is compressed cannot be read: ask with `accept-encoding: identity`.
fn is_encoded(parts: &Parts) -> bool {
    let encodings = parts.headers.get_all(CONTENT_ENCODING);
    encodings
        .iter()
        .any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

// ===== impl Format =====

impl Format {
    fn of(parts: &Parts) -> Self {
        let Some(named) = parts.headers.get(CONTENT_TYPE) else {
            return Self::Unnamed;
        };
        let named = named.as_bytes();
        let essence = named.split(|byte| *byte == b';').next().unwrap_or(named);
        let essence = essence.trim_ascii();
        let is = |other: &[u8]| essence.eq_ignore_ascii_case(other);
        let ends = |other: &[u8]| {
            let end = essence.len().saturating_sub(other.len());
            essence[end..].eq_ignore_ascii_case(other)
        };
        if is(b"application/json") || is(b"text/json") || ends(b"+json") {
            Self::Json
        } else if is_event_stream(&parts.headers) {
            Self::Events
        } else if is(b"text/html") || is(b"application/xhtml+xml") {
            Self::Html
        } else {
            Self::Other
        }
    }
}
