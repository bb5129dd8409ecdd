//! Gemini `generateContent`.

mod reader;
mod target;

pub(crate) use self::reader::GeminiReader;
pub use self::target::{InvalidModel, Target};

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
