//! A caller's request made an endpoint's, and the endpoint's reply made the caller's.

use std::{
    error::Error,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use buttress_core::{
    Carry, Class, Classify, ClassifyWith, Completion, Ledger, Outcome, ProtocolExt, Report, Sent,
    Track, settle,
};
use buttress_http::{BoxError, Http, client::ResponseBody, sse::is_event_stream};
use buttress_llm::{
    convert::{ConvertError, Converted, Responding},
    openai::UsageFilter,
    request::Peek,
};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body::Body as _;
use http_body_util::Full;
use pin_project_lite::pin_project;
use tokio::time::Instant;
use tower::Service;

use crate::{
    endpoint::{Endpoint, Reply},
    face::Face,
    stats::Counters,
    story::Story,
};

/// What a caller asks for, whichever endpoint answers. Its request carries it.
#[derive(Clone, Debug)]
pub(crate) struct Asked(pub(crate) Arc<Question>);

#[derive(Debug)]
pub(crate) struct Question {
    pub(crate) face: Face,
    pub(crate) body: Peek,
    /// What the model is called upstream, if not as the caller calls it.
    pub(crate) rename: Option<Arc<str>>,
    /// Of a request that is no chat, where it came in.
    pub(crate) path: Option<Box<str>>,
}

/// A stack of an endpoint that takes a request in any caller's dialect, and replies in the same.
#[derive(Clone, Debug)]
pub(crate) struct Adapt<S, P> {
    endpoint: Arc<Endpoint>,
    stack: S,
    /// What its replies mean.
    protocol: P,
}

/// HTTP, and what of a chat it does not tell.
pub(crate) type Judged = ClassifyWith<Http, Judge>;

/// For errors of any lifetime: one of `'static` alone could not be spawned.
type Judge = for<'a> fn(Result<&Reply, &Box<dyn Error + Send + Sync + 'a>>) -> Option<Outcome>;

/// Why a success is none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Worthless {
    /// The endpoint wants the call to go elsewhere, or to change the protocol.
    Redirect,
    /// It says that all is well, and nothing else.
    Empty,
}

/// The request cannot be said in the dialect of the endpoint of this name.
#[derive(Debug)]
pub(crate) struct Unsaid {
    pub(crate) endpoint: Arc<str>,
    pub(crate) error: ConvertError,
}

/// What a reply needs to be the caller's.
enum Back {
    AsItComes,
    Converted(Box<Converted>),
}

pin_project! {
    pub(crate) struct ResponseFuture<F, P> {
        #[pin]
        state: State<F>,
        protocol: P,
        // After the call: field order is drop order.
        tally: Option<Completion<Tally>>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        Unsaid { error: Option<BoxError> },
        Called { #[pin] call: F, back: Back },
        Converting { reply: Responding<ResponseBody> },
    }
}

/// Counts one call to an endpoint, with all that its attempts used.
struct Tally {
    counters: Arc<Counters>,
    ledger: Ledger,
    begun: Instant,
}

/// Asks a model for one token: whether its endpoint works, at the least price there is.
pub(crate) fn question_of_one_token(model: &str) -> Request<Full<Bytes>> {
    let body = serde_json::json!({
        "model": model,
        "max_tokens": 1,
        "messages": [{"role": "user", "content": "ping"}],
    });
    let body = Bytes::from(body.to_string());
    let mut request = Request::post("/v1/chat/completions")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(body.clone()))
        .expect("it is a request");
    if let Ok(body) = Peek::new(body) {
        request.extensions_mut().insert(Asked(Arc::new(Question {
            face: Face::CHAT,
            body,
            rename: None,
            path: None,
        })));
    }
    request
}

// ===== impl Question =====

impl Question {
    /// What the model is called upstream.
    pub(crate) fn model(&self) -> Option<&str> {
        self.rename.as_deref().or(self.body.model())
    }

    /// Whether the endpoint is asked for the usage of a stream, and the caller did not.
    pub(crate) fn adds_usage(&self) -> bool {
        self.face == Face::CHAT && self.body.stream() && !self.body.include_usage()
    }

    pub(crate) fn path(&self) -> &str {
        self.path.as_deref().unwrap_or_default()
    }
}

// ===== impl Adapt =====

impl<S, P> Adapt<S, P> {
    pub(crate) const fn new(endpoint: Arc<Endpoint>, stack: S, protocol: P) -> Self {
        Self {
            endpoint,
            stack,
            protocol,
        }
    }

    /// The request as it goes there, and what comes back.
    fn request(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<(Request<Full<Bytes>>, Back), Unsaid> {
        let (head, body) = request.into_parts();
        // It stays there for the layers below: they measure and price it.
        let Some(Asked(asked)) = head.extensions.get().cloned() else {
            // Nothing is known of it but that it is one.
            return Ok((Request::from_parts(head, body), Back::AsItComes));
        };
        // Every byte stays what it was, but for what truth needs.
        let mut edit = asked.body.edit();
        if let Some(name) = &asked.rename {
            edit = edit.model(name);
        }
        // A chat's stream tells its usage only to those who ask. What a caller did not ask for is taken
        // out again further out, where each has a stream of their own.
        if asked.adds_usage() {
            edit = edit.include_usage();
        }
        if self.endpoint.dialect != asked.face.dialect {
            let model = asked.model().unwrap_or_default();
            let made = (self.endpoint).converted(head, edit.finish(), model, asked.face.dialect);
            let (request, converted) = made.map_err(|error| Unsaid {
                endpoint: self.endpoint.name.clone(),
                error,
            })?;
            return Ok((request, Back::Converted(Box::new(converted))));
        }
        Ok((self.endpoint.request(head, edit.finish()), Back::AsItComes))
    }
}

impl<S, P> Service<Request<Full<Bytes>>> for Adapt<S, P>
where
    S: Service<Request<Full<Bytes>>, Response = Reply, Error = BoxError>,
    P: Classify<Reply, BoxError> + Track<Reply> + Clone,
{
    type Response = Reply;
    type Error = BoxError;
    type Future = ResponseFuture<S::Future, P>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.stack.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Full<Bytes>>) -> Self::Future {
        Story::of_this_call(|steps| steps.endpoints.push(self.endpoint.name.clone()));
        let mut info = Http.info(&request).clone();
        let ledger = Ledger::under(info.ledger.as_ref());
        info.ledger = Some(ledger.clone());
        Http.set_info(&mut request, info);
        let tally = Tally::begin(&self.endpoint.counters, ledger);
        let state = match self.request(request) {
            Ok((request, back)) => State::Called {
                call: self.stack.call(request),
                back,
            },
            Err(unsaid) => State::Unsaid {
                error: Some(unsaid.into()),
            },
        };
        ResponseFuture {
            state,
            protocol: self.protocol.clone(),
            tally: Some(tally),
        }
    }
}

// ===== impl ResponseFuture =====

impl<F, P> Future for ResponseFuture<F, P>
where
    F: Future<Output = Result<Reply, BoxError>>,
    P: Classify<Reply, BoxError> + Track<Reply>,
{
    type Output = Result<Reply, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProj::Unsaid { error } => {
                    let error = error.take().expect("polled after completion");
                    let mut result = Err(error);
                    if let Some(tally) = this.tally.take() {
                        settle(&*this.protocol, &mut result, tally);
                    }
                    return Poll::Ready(result);
                }
                StateProj::Called { call, back } => {
                    let mut result = ready!(call.poll(cx));
                    if let Some(tally) = this.tally.take() {
                        settle(&*this.protocol, &mut result, tally);
                    }
                    let reply = match result {
                        // What is worthless is told by us, and not converted.
                        Ok(reply) if worthless(&reply).is_none() => reply,
                        other => return Poll::Ready(other),
                    };
                    match std::mem::replace(back, Back::AsItComes) {
                        Back::AsItComes => return Poll::Ready(Ok(reply)),
                        Back::Converted(converted) => {
                            let reply = converted.response(reply);
                            this.state.set(State::Converting { reply });
                        }
                    }
                }
                StateProj::Converting { reply } => return Pin::new(reply).poll(cx).map(Ok),
            }
        }
    }
}

impl<F, P> fmt::Debug for ResponseFuture<F, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

/// Takes the chunk of the usage out of a stream whose caller did not ask for it.
pub(crate) fn without_usage(mut reply: Reply) -> Reply {
    if !is_event_stream(reply.headers()) {
        return reply;
    }
    reply.headers_mut().remove(header::CONTENT_LENGTH);
    reply.map(|body| body.convert(|body, _| UsageFilter::new(body)))
}

// ===== what is judged beside HTTP =====

pub(crate) fn judged() -> Judged {
    Http.classify_with(judge as Judge)
}

#[expect(clippy::borrowed_box, reason = "it is what a service fails with")]
fn judge(result: Result<&Reply, &Box<dyn Error + Send + Sync + '_>>) -> Option<Outcome> {
    match result {
        Ok(reply) => worthless(reply).map(Worthless::outcome),
        Err(_) => None,
    }
}

/// Why a reply to a chat is none, though its status is no failure.
pub(crate) fn worthless(reply: &Reply) -> Option<Worthless> {
    let status = reply.status();
    if status.is_redirection() || status.is_informational() {
        return Some(Worthless::Redirect);
    }
    let contentless = matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT);
    (status.is_success() && (contentless || reply.body().is_end_stream()))
        .then_some(Worthless::Empty)
}

// ===== impl Worthless =====

impl Worthless {
    pub(crate) fn outcome(self) -> Outcome {
        match self {
            // It did nothing, and would do the same again.
            Self::Redirect => {
                let mut outcome = Outcome::new(Class::Unfit);
                outcome.sent = Sent::No;
                outcome
            }
            Self::Empty => Outcome::new(Class::Unavailable),
        }
    }
}

// ===== impl Tally =====

impl Tally {
    fn begin(counters: &Arc<Counters>, ledger: Ledger) -> Completion<Self> {
        counters.begin();
        Completion::new(Self {
            counters: counters.clone(),
            ledger,
            begun: Instant::now(),
        })
    }
}

impl Report for Tally {
    fn report(&mut self, outcome: &Outcome) {
        let total = self.ledger.total(outcome);
        self.counters.end(&total, self.begun.elapsed());
    }
}

// ===== impl Unsaid =====

impl fmt::Display for Unsaid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "endpoint `{}`: {}", self.endpoint, self.error)
    }
}

impl Error for Unsaid {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.error)
    }
}
