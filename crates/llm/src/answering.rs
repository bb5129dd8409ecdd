use std::{fmt, ops::Range, str, sync::Arc};

use http::Extensions;

/// Judges as `J` does, and lets everybody outside know which model answered: with the response, its
/// extensions have a [`ResponseModel`].
///
/// `J` is [`OpenAi`](crate::OpenAi), [`Anthropic`](crate::Anthropic), [`Gemini`](crate::Gemini),
/// [`Dialect`](crate::Dialect) or [`AnyPath`](crate::AnyPath). The name is read from the body, so it is
/// known with the head only where the response is held back until that part of the body is there:
///
/// | a reply | the model is known |
/// |---|---|
/// | a stream | by its first content |
/// | a whole one | if it comes in one chunk, or within the [bound](buttress_http::TrackLayer::peek_bytes) of what is held back |
/// | an error, and where nothing is held back | never |
///
/// It costs a copy of the name, and its place in the extensions. Who does not ask for it, with `J`
/// alone, pays for neither.
///
/// # Examples
///
/// ```
/// use buttress_http::TrackLayer;
/// use buttress_llm::{OpenAi, ResponseModel, WithModel};
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), std::io::Error> {
/// // In place of a client:
/// let client = service_fn(|_: Request<Full<Bytes>>| async {
///     let body = r#"{"model":"gpt-4.1-2025-04-14","choices":[{"index":0,
///         "message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}]}"#;
///     Response::builder()
///         .header("content-type", "application/json")
///         .body(Full::<Bytes>::from(body))
///         .map_err(std::io::Error::other)
/// });
/// let provider = ServiceBuilder::new().layer(TrackLayer::new(WithModel(OpenAi))).service(client);
///
/// let response = provider.oneshot(Request::default()).await?;
/// let model = response.extensions().get::<ResponseModel>().map(ResponseModel::as_str);
/// assert_eq!(model, Some("gpt-4.1-2025-04-14"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct WithModel<J>(pub J);

/// The model that answered, in the words of its provider. [`WithModel`] puts it into the extensions of
/// a response.
///
/// It is a copy, because a part of the body would keep all of its buffer for as long as somebody keeps
/// the head: a cache does.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ResponseModel(Arc<str>);

/// What a reader knows of the model that answers.
#[derive(Debug, Default)]
pub(crate) enum Answering {
    #[default]
    Unasked,
    Asked,
    Known(ResponseModel),
}

// ===== impl ResponseModel =====

impl ResponseModel {
    /// The longest name that is kept, in bytes. One that is longer is not known, nor is one that is
    /// empty or has control characters in it.
    pub const MAX: usize = 128;

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name without the date or version at its end, if it has one: providers answer with a
    /// snapshot of the model that was asked for.
    ///
    /// ```
    /// # use buttress_http::{Judge, TrackLayer};
    /// # use buttress_llm::{Anthropic, ResponseModel, WithModel};
    /// # let (parts, ()) = http::Response::builder().header("content-type", "application/json").body(()).unwrap().into_parts();
    /// # let mut meter = WithModel(Anthropic).meter(&parts).unwrap();
    /// # meter.chunk(&r#"{"type":"message","model":"claude-haiku-4-5-20251001"}"#.into());
    /// # let mut extensions = http::Extensions::new();
    /// # meter.learned(&mut extensions);
    /// # let model = extensions.get::<ResponseModel>().unwrap();
    /// assert_eq!(model.as_str(), "claude-haiku-4-5-20251001");
    /// assert_eq!(model.undated(), Some("claude-haiku-4-5"));
    /// ```
    #[must_use]
    pub fn undated(&self) -> Option<&str> {
        crate::price::without_date(&self.0)
    }

    fn read(name: &str) -> Option<Self> {
        let fit = !name.is_empty() && name.len() <= Self::MAX && !name.contains(char::is_control);
        fit.then(|| Self(name.into()))
    }
}

impl fmt::Debug for ResponseModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

// ===== impl Answering =====

impl Answering {
    /// A text has a model between these quotes. The first that is told counts: some begin with an
    /// event that names none.
    #[inline]
    pub(crate) fn told(&mut self, text: &[u8], span: Option<&Range<usize>>) {
        if let (Self::Asked, Some(span)) = (&*self, span)
            && let Some(model) = named(text, span)
        {
            *self = Self::Known(model);
        }
    }

    pub(crate) fn show(&self, head: &mut Extensions) {
        if let Self::Known(model) = self {
            head.insert(model.clone());
        }
    }
}

#[cold]
fn named(text: &[u8], span: &Range<usize>) -> Option<ResponseModel> {
    let name = text.get(span.clone())?;
    if !name.contains(&b'\\') {
        return ResponseModel::read(str::from_utf8(name).ok()?);
    }
    let quoted = text.get(span.start.checked_sub(1)?..span.end + 1)?;
    let name: String = serde_json::from_slice(quoted).ok()?;
    ResponseModel::read(&name)
}
