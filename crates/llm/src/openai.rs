//! OpenAI chat completions, and what is compatible with them.

mod filter;
mod reader;

pub use self::filter::UsageFilter;
pub(crate) use self::reader::OpenAiReader;

/// Judges replies of OpenAI chat completions, and of what is compatible with them.
///
/// What it makes of them is said at [`Dialect`](crate::Dialect). Completions from before chat are
/// read as well; other paths are for [`AnyPath`](crate::AnyPath).
///
/// ```
/// use buttress_http::TrackLayer;
/// use buttress_llm::OpenAi;
///
/// let layer = TrackLayer::new(OpenAi);
/// # let _ = layer;
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenAi;
