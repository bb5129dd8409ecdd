//! Anthropic messages.

mod reader;

pub(crate) use self::reader::AnthropicReader;

/// Judges replies of Anthropic messages.
///
/// What it makes of them is said at [`Dialect`](crate::Dialect).
///
/// ```
/// use buttress_http::TrackLayer;
/// use buttress_llm::Anthropic;
///
/// let layer = TrackLayer::new(Anthropic);
/// # let _ = layer;
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Anthropic;
