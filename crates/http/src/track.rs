use std::{
    any::type_name,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use buttress_core::{Carry, Ledger, Refused};
use bytes::Bytes;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    Body, ByStatus, Http, Judge, Price, Tariff, Unpriced,
    peek::{Held, Peek},
    price::PricedMeter,
    tail::Tail,
};

/// Makes every response body a tracked [`Body`]. It stands innermost, right around the client.
///
/// Its [`Judge`] says what a response means. Where the head does not say it all and the judge has
/// a [`Meter`](crate::Meter) for the body, it *peeks*: it holds the whole response back, head
/// included, until the first content, the end of the body, or a word of failure is there. So an
/// error inside a 200, or `insufficient_quota` inside a 429, is known before any layer outside
/// sees a response, and can be retried. The price is that a caller sees no head, and none of the
/// pings before the first content, until then. Nothing that was held back is lost, and its frames
/// are delivered as they came: layers outside hear of the progress and of the end as their caller
/// reads, also where peek has read it all. Peeking is bounded:
///
/// | bound | default |
/// |---|---|
/// | [bytes](TrackLayer::peek_bytes) | 64 KiB |
/// | [time](TrackLayer::peek_time) from the head on | 30 s; 2 s if the head says that it failed, and only the explanation is missing |
///
/// # Examples
///
/// ```
/// use buttress_http::TrackLayer;
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::Full;
/// use tower::{ServiceBuilder, service_fn};
///
/// let client = service_fn(|_: Request<Full<Bytes>>| async {
///     Ok::<_, std::io::Error>(Response::new(Full::<Bytes>::from("hello")))
/// });
/// let tracked = ServiceBuilder::new().layer(TrackLayer::default()).service(client);
/// # let _ = buttress_core::check::<Request<Full<Bytes>>, _>(tracked);
/// ```
///
/// Callers who want to see the head, and the pings of a model that thinks long, after five
/// seconds at the latest; `peek_bytes(0)` would show them at once:
///
/// ```
/// use std::time::Duration;
/// use buttress_http::{ByStatus, TrackLayer};
///
/// let layer = TrackLayer::new(ByStatus).peek_time(Duration::from_secs(5));
/// ```
#[derive(Clone, Copy)]
pub struct TrackLayer<J = ByStatus, C = Unpriced> {
    judge: J,
    price: C,
    peek: Peek,
}

/// The service that [`TrackLayer`] makes.
#[derive(Clone, Copy)]
pub struct TrackService<S, J = ByStatus, C = Unpriced> {
    inner: S,
    judge: J,
    price: C,
    peek: Peek,
}

pin_project! {
    /// The future of a [`TrackService`].
    pub struct ResponseFuture<F, B: http_body::Body, J> {
        #[pin]
        state: State<F, B>,
        judge: J,
        tariff: Option<Tariff>,
        peek: Peek,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, B: http_body::Body> {
        Head { #[pin] response: F, ledger: Option<Ledger> },
        Peek { held: Option<Pin<Box<Held<B>>>> },
        Done,
    }
}

// ===== impl TrackLayer =====

impl<J> TrackLayer<J> {
    /// Judges responses with `judge`, and peeks within the default bounds where it has a meter.
    #[must_use]
    pub const fn new(judge: J) -> Self {
        Self {
            judge,
            price: Unpriced,
            peek: Peek {
                bytes: 64 << 10,
                time: Duration::from_secs(30),
                strict: false,
            },
        }
    }

    /// Says what calls cost, so that every layer outside hears of it in their
    /// [outcomes](buttress_core::Outcome::cost), and a request has the sum over all its attempts. It
    /// counts where the judge has a meter that learns the tokens, and only for tokens that are billed.
    /// Default: nobody knows, unless the meter [says](crate::Meter::cost) it.
    ///
    /// ```
    /// use buttress_core::{Money, Usage};
    /// use buttress_http::{ByStatus, Tariff, TrackLayer};
    /// use http::Request;
    ///
    /// // With `buttress-llm`: by the request's model, from its table of prices.
    /// let layer = TrackLayer::new(ByStatus).price(|_: &Request<String>| {
    ///     let tariff: Tariff = Box::new(|usage: &Usage| {
    ///         Some(Money::from_pico(400_000).times(usage.total()))
    ///     });
    ///     Some(tariff)
    /// });
    /// # let _ = layer;
    /// ```
    #[must_use]
    pub fn price<D>(self, price: D) -> TrackLayer<J, D> {
        TrackLayer {
            judge: self.judge,
            price,
            peek: self.peek,
        }
    }
}

impl<J, C> TrackLayer<J, C> {
    /// Holds at most about this much of a body back: the chunk that passes the bound is the last
    /// one. The default is 64 KiB; with 0 nothing is held back.
    #[must_use]
    pub const fn peek_bytes(mut self, bytes: usize) -> Self {
        self.peek.bytes = bytes;
        self
    }

    /// Holds a response back for at most this long after its head came, and one whose head says that it
    /// failed for at most two seconds of that. The default is 30 seconds; with zero, only what is there
    /// already is looked at.
    #[must_use]
    pub const fn peek_time(mut self, time: Duration) -> Self {
        self.peek.time = time;
        self
    }

    /// Whether a stream that ends cleanly, and without the terminator that its judge looks for, breaks
    /// off with [`BodyError::Unfinished`](crate::BodyError::Unfinished), as it does where the connection
    /// is lost. By default it ends as it came: its call has failed, and whoever reads it has to know
    /// the terminator to see that.
    ///
    /// A server that is framed by the end of its connection, and crashes, ends its streams like that.
    #[must_use]
    pub const fn break_unfinished(mut self, breaks: bool) -> Self {
        self.peek.strict = breaks;
        self
    }
}

impl Default for TrackLayer {
    fn default() -> Self {
        Self::new(ByStatus)
    }
}

impl<S, J: Clone, C: Clone> Layer<S> for TrackLayer<J, C> {
    type Service = TrackService<S, J, C>;

    fn layer(&self, inner: S) -> Self::Service {
        TrackService {
            inner,
            judge: self.judge.clone(),
            price: self.price.clone(),
            peek: self.peek,
        }
    }
}

// ===== impl TrackService =====

impl<S, J, C> TrackService<S, J, C> {
    /// The service inside.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service inside.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The service inside.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, J, C, A, B> Service<Request<A>> for TrackService<S, J, C>
where
    S: Service<Request<A>, Response = Response<B>>,
    J: Judge + Clone,
    C: Price<A>,
    B: http_body::Body<Data = Bytes>,
{
    type Response = Response<Body<B>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, B, J>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let ledger = Http.info(&request).ledger.clone();
        let tariff = self.price.tariff(&request);
        let response = self.inner.call(request);
        let state = State::Head { response, ledger };
        ResponseFuture {
            state,
            judge: self.judge.clone(),
            tariff,
            peek: self.peek,
        }
    }
}

// ===== impl ResponseFuture =====

impl<F, B, J, E> Future for ResponseFuture<F, B, J>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: http_body::Body<Data = Bytes>,
    J: Judge,
{
    type Output = Result<Response<Body<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProj::Head { response, ledger } => {
                    let result = ready!(response.poll(cx));
                    let ledger = ledger.take();
                    // The inner future is gone before anybody hears of its result.
                    this.state.set(State::Done);
                    let (parts, body) = result?.into_parts();
                    let (seen, meter) = match parts.extensions.get::<Refused>() {
                        // A layer's own answer, whose body was erased on the way here.
                        Some(refused) => (refused.outcome(), None),
                        None => (this.judge.head(&parts), this.judge.meter(&parts)),
                    };
                    let tariff = this.tariff.take();
                    let meter = meter.map(|meter| PricedMeter::over(meter, tariff));
                    if meter.is_none() || this.peek.bytes == 0 || body.is_end_stream() {
                        let body = Body::judged(body, seen, meter, this.peek.strict);
                        return Poll::Ready(Ok(Response::from_parts(parts, body)));
                    }
                    let tail = Tail::new(seen, meter).of(&body.size_hint(), this.peek.strict);
                    let held = Held::new(parts, body, tail, ledger);
                    this.state.set(State::Peek { held: Some(held) });
                }
                StateProj::Peek { held } => {
                    if let Some(held) = held {
                        ready!(held.as_mut().poll_known(this.peek, cx));
                    }
                    let response = held.take().and_then(Held::release);
                    this.state.set(State::Done);
                    return Poll::Ready(Ok(response.expect("held back once, released once")));
                }
                StateProj::Done => panic!("polled after completion"),
            }
        }
    }
}

impl<J: fmt::Debug, C> fmt::Debug for TrackLayer<J, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrackLayer")
            .field("judge", &self.judge)
            .field("price", &format_args!("{}", type_name::<C>()))
            .field("peek", &self.peek)
            .finish()
    }
}

impl<S: fmt::Debug, J: fmt::Debug, C> fmt::Debug for TrackService<S, J, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrackService")
            .field("inner", &self.inner)
            .field("judge", &self.judge)
            .field("price", &format_args!("{}", type_name::<C>()))
            .field("peek", &self.peek)
            .finish()
    }
}

impl<F, B: http_body::Body, J> fmt::Debug for ResponseFuture<F, B, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::Head { .. } => "head",
            State::Peek { .. } => "peek",
            State::Done => "done",
        };
        f.debug_tuple("ResponseFuture")
            .field(&format_args!("{state}"))
            .finish()
    }
}
