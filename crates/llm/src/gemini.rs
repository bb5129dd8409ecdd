//! Gemini `generateContent`.

mod reader;
mod target;

use http::Uri;

pub(crate) use self::reader::GeminiReader;
pub use self::target::{InvalidModel, Target};

/// Whether a stream is asked for as events, and not as one JSON array.
pub(crate) fn has_events(uri: &Uri) -> bool {
    let mut pairs = uri.query().unwrap_or_default().split('&');
    pairs.any(|pair| pair == "alt=sse")
}

/// Whether a `finishReason` says that a filter ended the reply.
pub(crate) fn is_filter(reason: &[u8]) -> bool {
    matches!(
        reason,
        b"SAFETY"
            | b"RECITATION"
            | b"BLOCKLIST"
            | b"PROHIBITED_CONTENT"
            | b"SPII"
            | b"IMAGE_SAFETY"
            | b"IMAGE_PROHIBITED_CONTENT"
            | b"IMAGE_RECITATION"
            | b"MODEL_ARMOR"
            | b"ESCALATION"
    )
}

/// Judges replies of Gemini `generateContent` and `streamGenerateContent`.
///
/// What it makes of them is said at [`Dialect`](crate::Dialect).
///
/// ```
/// use buttress_http::TrackLayer;
/// use buttress_llm::Gemini;
///
/// let layer = TrackLayer::new(Gemini);
/// # let _ = layer;
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Gemini;
