//! Gemini `generateContent`.

mod reader;
mod target;

pub(crate) use self::reader::GeminiReader;
pub use self::target::{InvalidModel, Target};

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
