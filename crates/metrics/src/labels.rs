use std::borrow::Cow;

use tracing::Span;

/// Whose call it is: what a call's metrics and its span are labelled with.
///
/// What is `None` is taken from the [layer](crate::MetricsLayer), which knows what is the same for
/// all calls, and is left out where it does not know either.
///
/// | field | label |
/// |---|---|
/// | `operation` | `gen_ai.operation.name`, `chat` by default |
/// | `provider` | `gen_ai.provider.name` |
/// | `request_model` | `gen_ai.request.model` |
/// | `response_model` | `gen_ai.response.model` |
/// | `server_address`, `server_port` | `server.address`, `server.port` |
/// | `endpoint` | `endpoint` |
///
/// # Examples
///
/// ```
/// use buttress_metrics::Labels;
///
/// let labels = Labels::new().model("gpt-4.1").provider("openai");
/// assert_eq!(labels.request_model, Some("gpt-4.1"));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Labels<'a> {
    /// What is done: `chat`, `embeddings`, `text_completion`, `generate_content`.
    pub operation: Option<&'a str>,
    /// Who does it: `openai`, `anthropic`, `gcp.gemini`.
    pub provider: Option<&'a str>,
    /// The model that was asked for.
    pub request_model: Option<&'a str>,
    /// The model that answered.
    pub response_model: Option<&'a str>,
    /// The host that is called.
    pub server_address: Option<&'a str>,
    /// Its port.
    pub server_port: Option<u16>,
    /// The name of the endpoint.
    pub endpoint: Option<&'a str>,
    /// Whether a streamed reply was asked for. Where it is not said, a reply of more than one piece
    /// of content counts as one.
    pub streamed: Option<bool>,
}

/// How the layer learns whose call it is.
///
/// A closure from a request to its [`Labels`] is one. Whoever wants more implements the trait: all
/// its methods have defaults, which say nothing and cost nothing.
///
/// # Examples
///
/// ```
/// use buttress_metrics::{Describe, Labels};
/// use tracing::Span;
///
/// struct Ask {
///     model: String,
///     id: u64,
/// }
///
/// struct Reply {
///     model: String,
/// }
///
/// #[derive(Clone)]
/// struct Mine;
///
/// impl Describe<Ask, Reply> for Mine {
///     fn labels<'a>(&'a self, ask: &'a Ask) -> Labels<'a> {
///         Labels::new().model(&ask.model)
///     }
///
///     fn response_model<'a>(&'a self, reply: &'a Reply) -> Option<&'a str> {
///         Some(&reply.model)
///     }
///
///     fn request_id(&self, ask: &Ask) -> Option<String> {
///         Some(ask.id.to_string())
///     }
/// }
/// # assert_eq!(Mine.labels(&Ask { model: "m".into(), id: 1 }), Labels::new().model("m"));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not describe requests of `{Req}` to a metrics layer",
    label = "neither a `Describe` nor a closure from `&{Req}` to `Labels`",
    note = "a closure that names its argument's type is one: `|request: &{Req}| Labels::new()`"
)]
pub trait Describe<Req, Res> {
    /// Whose call this is. Asked once for each call, before it is made.
    fn labels<'a>(&'a self, request: &'a Req) -> Labels<'a>;

    /// The model that answered, where the response says so by the time that it begins. Asked once,
    /// when there is a response. `None` by default.
    ///
    /// Over HTTP the name is in the body. `WithModel` of `buttress-llm`, around the judge of a
    /// `TrackLayer`, puts it into the extensions of the response, where both places find it:
    ///
    /// ```text
    /// response.extensions().get::<ResponseModel>().map(ResponseModel::as_str)
    /// ```
    fn response_model<'a>(&'a self, response: &'a Res) -> Option<&'a str> {
        let _ = response;
        None
    }

    /// By what name the logs know the call. Asked once for each call, if a span or an
    /// [`on_call`](crate::MetricsLayer::on_call) wants to know. `None` by default.
    ///
    /// Callers choose such names: 128 characters of it are kept, and whatever is no visible ASCII
    /// character is `?`, in spans and in records.
    fn request_id(&self, request: &Req) -> Option<String> {
        let _ = request;
        None
    }

    /// Joins the trace that the request came with, and passes it on: called once for each call whose
    /// span is on, outside of the span, before the call is made. Does nothing by default.
    ///
    /// With `tracing-opentelemetry`: set the span's parent from the request's headers, and inject
    /// the span's context into them. Without it, [`Traceparent`](crate::Traceparent) does.
    fn propagate(&self, request: &mut Req, span: &Span) {
        let _ = (request, span);
    }

    /// The text of the request, *as far as it may be seen*: it goes into the span, as
    /// `gen_ai.input.messages`. Asked once for each call whose span is on. `None` by default: no
    /// text is recorded unless this is written, and what is left out here is recorded nowhere.
    fn prompt<'a>(&'a self, request: &'a Req) -> Option<Cow<'a, str>> {
        let _ = request;
        None
    }

    /// The text of the reply, as far as it may be seen: `gen_ai.output.messages`. As with
    /// [`prompt`](Describe::prompt). A reply that is streamed has none yet when this is asked.
    fn reply<'a>(&'a self, response: &'a Res) -> Option<Cow<'a, str>> {
        let _ = response;
        None
    }
}

/// Says nothing of a call: the layer's own labels are all there are. The default.
///
/// ```
/// use buttress_metrics::{Describe, Labels, Undescribed};
///
/// assert_eq!(Describe::<u32, u32>::labels(&Undescribed, &1), Labels::new());
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Undescribed;

// ===== impl Labels =====

impl<'a> Labels<'a> {
    /// Nothing is said.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            operation: None,
            provider: None,
            request_model: None,
            response_model: None,
            server_address: None,
            server_port: None,
            endpoint: None,
            streamed: None,
        }
    }

    /// What is done.
    #[must_use]
    pub const fn operation(self, name: &'a str) -> Self {
        Self {
            operation: Some(name),
            ..self
        }
    }

    /// Who does it.
    #[must_use]
    pub const fn provider(self, name: &'a str) -> Self {
        Self {
            provider: Some(name),
            ..self
        }
    }

    /// The model that is asked for.
    #[must_use]
    pub const fn model(self, name: &'a str) -> Self {
        Self {
            request_model: Some(name),
            ..self
        }
    }

    /// The host that is called, and its port.
    #[must_use]
    pub const fn server(self, address: &'a str, port: u16) -> Self {
        Self {
            server_address: Some(address),
            server_port: Some(port),
            ..self
        }
    }

    /// The name of the endpoint.
    #[must_use]
    pub const fn endpoint(self, name: &'a str) -> Self {
        Self {
            endpoint: Some(name),
            ..self
        }
    }

    /// Whether a streamed reply is asked for.
    #[must_use]
    pub const fn streamed(self, streamed: bool) -> Self {
        Self {
            streamed: Some(streamed),
            ..self
        }
    }
}

// ===== impl Describe =====

#[diagnostic::do_not_recommend]
impl<F, Req, Res> Describe<Req, Res> for F
where
    F: for<'a> Fn(&'a Req) -> Labels<'a>,
{
    fn labels<'a>(&'a self, request: &'a Req) -> Labels<'a> {
        self(request)
    }
}

impl<Req, Res> Describe<Req, Res> for Undescribed {
    fn labels<'a>(&'a self, _: &'a Req) -> Labels<'a> {
        Labels::new()
    }
}
