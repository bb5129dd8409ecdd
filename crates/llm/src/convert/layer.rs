use std::{any::type_name, fmt, sync::Arc};

use tower_layer::Layer;

use super::{
    Conversion, ConvertEvent, ConvertService,
    rename::Rename,
    service::{Observer, Settings},
};
use crate::Dialect;

/// Makes the stack of an endpoint that speaks one dialect answer to callers of another.
///
/// It stands in that endpoint's stack, outside of [`TrackLayer`](buttress_http::TrackLayer) and of
/// [`CredentialsLayer`](crate::CredentialsLayer), and takes and gives what the stacks of the other
/// endpoints do: a `Request<Full<Bytes>>`, and a `Response<`[`Body`](buttress_http::Body)`<B>>` of the
/// type that came. So a stack of one dialect can fail over to an endpoint of any other.
///
/// | | default |
/// |---|---|
/// | [`model`](ConvertLayer::model), [`models`](ConvertLayer::models) | the model that was asked for |
/// | [`without_version`](ConvertLayer::without_version) | the path begins with the version, such as `/v1` |
/// | [`on_event`](ConvertLayer::on_event) | nobody is told |
///
/// # A request
///
/// It goes to the path of the endpoint's dialect, at the host that it names, if any; whatever else is to
/// be asked, such as Azure's paths, is a layer inside.
///
/// | dialect | path |
/// |---|---|
/// | OpenAI | `/v1/chat/completions` |
/// | Anthropic | `/v1/messages` |
/// | Gemini | `/v1beta/models/<model>:generateContent`, or `:streamGenerateContent?alt=sse` |
///
/// Its `content-type` is JSON, its `content-length` the new one if it had one, its `accept-encoding`
/// `identity`. The caller's credentials stay here: they are another provider's. So do headers that only
/// one dialect knows, `anthropic-…`, `openai-…` and `x-goog-…`, and to Anthropic goes
/// `anthropic-version: 2023-06-01`. Everything else of the request stays: other headers, method,
/// extensions.
///
/// # Its reply
///
/// As [`Converted::response`](super::Converted::response) says: a stream event by event as it comes, a
/// whole reply or an error once it is whole, in the caller's dialect. Layers outside are told the class,
/// the usage and the cost that the judge inside made out, and the first content with what is delivered.
///
/// # What cannot be said
///
/// The request is not sent, and the call fails with a [`ConvertError`](super::ConvertError) that names the
/// member. Its class is [`Unfit`](buttress_core::Class::Unfit), or
/// [`Invalid`](buttress_core::Class::Invalid) for what would be wrong anywhere, and every layer outside
/// knows it: a failover does what it does with an unfit endpoint, which does not cool down, and no breaker
/// counts it. A call that is no chat, such as one for embeddings, is unfit as well; a path
/// of `/` says nothing, and is taken for a chat's.
///
/// The service's error must be `From<ConvertError>`: boxed errors are, and an enum of your own needs one
/// variant, as [`ConvertError`](super::ConvertError#in-a-service-of-yours) shows.
///
/// # Between two of the same dialect
///
/// Nothing is converted: requests and replies pass as they came, whatever they are. Only the name of the
/// model is another in a chat, if it is to be, and a chat that cannot be read for that is
/// [`Invalid`](buttress_core::Class::Invalid).
///
/// # When not
///
/// For requests that are streamed: read them first. To have a reply in two dialects, or to look at what
/// is converted: take a [`Conversion`].
///
/// # Examples
///
/// An endpoint of Anthropic's for callers of OpenAI's dialect:
///
/// ```
/// use buttress_http::{BoxError, TrackLayer};
/// use buttress_llm::{Anthropic, CredentialsLayer, Dialect, Secret, convert::ConvertLayer};
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::{BodyExt, Full};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// // In place of a client:
/// let client = service_fn(|request: Request<Full<Bytes>>| async move {
///     assert_eq!(request.uri(), "/v1/messages");
///     assert_eq!(request.headers()["x-api-key"], "sk-ant-test");
///     let reply = r#"{"id":"msg_1","type":"message","role":"assistant","model":"claude-haiku-4-5",
///         "content":[{"type":"text","text":"Hello!"}],"stop_reason":"end_turn","stop_sequence":null,
///         "usage":{"input_tokens":9,"output_tokens":3}}"#;
///     let response = Response::builder().header("content-type", "application/json");
///     Ok::<_, BoxError>(response.body(Full::<Bytes>::from(reply))?)
/// });
/// let endpoint = ServiceBuilder::new()
///     .layer(ConvertLayer::new(Dialect::OpenAi, Dialect::Anthropic).model("claude-haiku-4-5"))
///     .layer(CredentialsLayer::new(Dialect::Anthropic, Secret::new("sk-ant-test")?))
///     .layer(TrackLayer::new(Anthropic))
///     .service(client);
///
/// let request = Request::post("/v1/chat/completions")
///     .header("authorization", "Bearer sk-openai")
///     .body(r#"{"model":"gpt-4.1-nano","messages":[{"role":"user","content":"Hi"}]}"#.into())?;
/// let response = endpoint.oneshot(request).await?;
/// let reply = response.into_body().collect().await?.to_bytes();
/// let reply: serde_json::Value = serde_json::from_slice(&reply)?;
/// assert_eq!(reply["choices"][0]["message"]["content"], "Hello!");
/// assert_eq!(reply["usage"]["total_tokens"], 12);
/// # Ok(())
/// # }
/// ```
///
/// Several models, a base URL with the version in it, and somebody who listens:
///
/// ```
/// use buttress_llm::{Dialect, convert::{ConvertEvent, ConvertLayer}};
///
/// let layer = ConvertLayer::new(Dialect::Anthropic, Dialect::OpenAi)
///     .models(|asked| Some(if asked.contains("haiku") { "gpt-4.1-nano" } else { "gpt-4.1" }.into()))
///     // The client's base URL is `https://api.openai.com/v1`.
///     .without_version()
///     .on_event(|event| match event {
///         ConvertEvent::Sent { left_out } if !left_out.is_empty() => eprintln!("without {left_out:?}"),
///         ConvertEvent::Refused { error } => eprintln!("{error}"),
///         _ => {}
///     });
/// # let _ = layer;
/// ```
#[derive(Clone)]
#[must_use = "a layer does nothing until it is put into a stack"]
pub struct ConvertLayer {
    settings: Settings,
}

// ===== impl ConvertLayer =====

impl ConvertLayer {
    /// From callers of this dialect to an endpoint of that one.
    pub const fn new(caller: Dialect, endpoint: Dialect) -> Self {
        Self {
            settings: Settings {
                way: Conversion::new(caller, endpoint),
                rename: Rename::No,
                version: true,
                observer: None,
            },
        }
    }

    /// Asks the endpoint for this model, whichever was asked for. Default: for the same. Within one dialect
    /// a request that names no model is none the wiser.
    ///
    /// A name that cannot stand in a path is [`Invalid`](super::ConvertError::Invalid) where the endpoint
    /// is Gemini's.
    pub fn model(mut self, name: impl Into<Arc<str>>) -> Self {
        self.settings.rename = Rename::Always(name.into());
        self
    }

    /// Asks the endpoint for the model that `names` says in place of the one that was asked for, or for
    /// the same where it says none. It is called in `call`, for each chat that can be read, with an empty
    /// name if none was asked for. Default: for the same.
    pub fn models<F>(mut self, names: F) -> Self
    where
        F: Fn(&str) -> Option<String> + Send + Sync + 'static,
    {
        self.settings.rename = Rename::By(Arc::new(names));
        self
    }

    /// Leaves the version out of the path, for a client whose base URL has it: `/chat/completions`,
    /// `/messages`, `/models/…`. Default: `/v1`, or Gemini's `/v1beta`, stands in the path.
    pub const fn without_version(mut self) -> Self {
        self.settings.version = false;
        self
    }

    /// Calls `observer` for each [`ConvertEvent`]: in `call`, before a request is sent, or when it cannot
    /// be converted. It should not block.
    pub fn on_event<F>(mut self, observer: F) -> Self
    where
        F: Fn(&ConvertEvent<'_>) + Send + Sync + 'static,
    {
        self.settings.observer = Some(Observer {
            observe: Arc::new(observer),
            name: type_name::<F>(),
        });
        self
    }
}

impl<S> Layer<S> for ConvertLayer {
    type Service = ConvertService<S>;

    fn layer(&self, inner: S) -> ConvertService<S> {
        ConvertService::new(inner, self.settings.clone())
    }
}

impl fmt::Debug for ConvertLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConvertLayer")
            .field("settings", &self.settings)
            .finish()
    }
}
