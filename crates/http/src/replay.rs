use std::{
    error::Error,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use buttress_core::{Class, Reason, Refused};
use bytes::Bytes;
use http::Request;
use http_body::{Frame, SizeHint};
use http_body_util::{Either, Empty, Full};
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    BoxError,
    tape::{Place, Stop, Tape},
};

/// A request body that can be sent more than once.
///
/// Bodies in memory are. A stream is not, unless it is kept while it is sent: [`ReplayLayer`] sees
/// to that.
///
/// # Examples
///
/// A body of your own whose clones are cheap:
///
/// ```
/// use buttress_http::Replayable;
///
/// #[derive(Clone)]
/// struct Chat(std::sync::Arc<str>);
///
/// impl Replayable for Chat {
///     fn copy(&self) -> Option<Self> {
///         Some(self.clone())
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "the request body `{Self}` cannot be sent more than once",
    label = "this body is not `Replayable`",
    note = "put `ReplayLayer` outside: it keeps a body up to a cap while it is sent",
    note = "or read it into `Full<Bytes>` first, if it is small",
    note = "or say `.once()` on the protocol: `Http.once()` sends every request once"
)]
pub trait Replayable: Sized {
    /// A copy to send now, keeping the original. `None`: it cannot be copied.
    fn copy(&self) -> Option<Self>;

    /// Whether what was kept is still whole. `true` by default.
    fn whole(&self) -> bool {
        true
    }
}

/// Keeps the body of each request while it is sent, up to a cap, so that it can be sent again.
///
/// It stands outside of the layers that send a request more than once, and turns the
/// `Request<B>` of its caller into the `Request<ReplayBody<B>>` that they copy. The first copy is
/// sent as the body comes in: nothing waits for the whole of it.
///
/// | | default |
/// |---|---|
/// | [`max_bytes`](ReplayLayer::max_bytes) | 2 MiB, the most that axum's extractors read: what a handler takes can be sent again |
///
/// # When not
///
/// Around bodies that are in memory, such as `Full<Bytes>`: those are [`Replayable`] already, and
/// copied for less.
///
/// # Examples
///
/// ```
/// use buttress_http::{BoxError, ReplayBody, ReplayLayer, Replayable};
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::{BodyExt, Full};
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), BoxError> {
/// let twice = service_fn(|request: Request<ReplayBody<Full<Bytes>>>| async {
///     let kept = request.into_body();
///     let first = kept.copy().expect("nothing has passed yet");
///     let second = kept.copy().expect("nothing has passed yet");
///     assert_eq!(first.collect().await?.to_bytes(), "hello");
///     assert_eq!(second.collect().await?.to_bytes(), "hello");
///     assert!(kept.whole());
///     Ok::<_, BoxError>(Response::new(()))
/// });
/// let service = ServiceBuilder::new().layer(ReplayLayer::new()).service(twice);
/// service.oneshot(Request::new(Full::from("hello"))).await?;
/// # Ok(())
/// # }
/// ```
///
/// Larger prompts, with pictures in them:
///
/// ```
/// use buttress_http::ReplayLayer;
///
/// let layer = ReplayLayer::new().max_bytes(32 << 20);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ReplayLayer {
    max_bytes: usize,
}

/// The service that [`ReplayLayer`] makes.
#[derive(Clone, Copy, Debug)]
pub struct ReplayService<S> {
    inner: S,
    max_bytes: usize,
}

/// A request body that is kept while it is sent, up to a cap.
///
/// [`ReplayLayer`] makes it. A [copy](Replayable::copy) begins at the beginning: it is sent what is
/// kept, and then goes on with the body inside where the reader before it left that, which may
/// have been dropped half-way. Two copies can be sent at once: whichever comes further polls the
/// body inside, and both get every byte, and the trailers. A copy says of its size what the body
/// inside said at first, so that each is framed the same: by its length, or in chunks.
///
/// # When it cannot be sent again
///
/// - When more than the cap has passed, what was kept is let go. The copy that is being sent goes
///   on unharmed; a second one that is being sent at the same time does too, unless it falls
///   further behind than the cap: then it ends with [`ReplayError::Outgrown`].
/// - A body that says beforehand that it is larger ([`size_hint`](http_body::Body::size_hint)) is
///   not kept at all.
/// - When the body inside fails, the copy that polled it gets the error, and every other one ends
///   with [`ReplayError::Failed`].
///
/// In each of these cases [`copy`](Replayable::copy) is `None` and [`whole`](Replayable::whole) is
/// `false`.
///
/// Chunks are counted with their bytes; in very many very small ones, the cap may be reached
/// before its bytes are.
pub struct ReplayBody<B> {
    tape: Arc<Tape<B, ()>>,
    place: Place,
}

/// Why a [`ReplayBody`] ends, when it is not its source's own error.
///
/// It says nothing of the upstream, which never had the whole request: in layers it counts as
/// refused by one of them.
///
/// ```
/// use buttress_core::{Class, Refused};
/// use buttress_http::ReplayError;
///
/// let refused = Refused::find(&ReplayError::Outgrown).unwrap();
/// assert_eq!(refused.class(), Class::Refused);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplayError {
    /// More has passed than is kept, and this copy was further behind.
    Outgrown,
    /// The body inside failed, while another copy was being sent.
    Failed,
}

macro_rules! by_clone {
    ($([$($g:tt)*] $body:ty;)*) => {$(
        impl<$($g)*> Replayable for $body {
            fn copy(&self) -> Option<Self> {
                Some(self.clone())
            }
        }
    )*};
}

by_clone! {
    [] ();
    [] Bytes;
    [] String;
    [] &'static str;
    [] &'static [u8];
    [D] Empty<D>;
    [D: Clone] Full<D>;
}

impl<L: Replayable, R: Replayable> Replayable for Either<L, R> {
    fn copy(&self) -> Option<Self> {
        match self {
            Self::Left(body) => body.copy().map(Self::Left),
            Self::Right(body) => body.copy().map(Self::Right),
        }
    }

    fn whole(&self) -> bool {
        match self {
            Self::Left(body) => body.whole(),
            Self::Right(body) => body.whole(),
        }
    }
}

// ===== impl ReplayLayer =====

impl ReplayLayer {
    /// Keeps up to 2 MiB of each request.
    #[must_use]
    pub const fn new() -> Self {
        Self { max_bytes: 2 << 20 }
    }

    /// Keeps at most so many bytes of each request. The default is 2 MiB; with 0 nothing is kept,
    /// and only empty bodies are sent again.
    #[must_use]
    pub const fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }
}

impl Default for ReplayLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for ReplayLayer {
    type Service = ReplayService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ReplayService {
            inner,
            max_bytes: self.max_bytes,
        }
    }
}

// ===== impl ReplayService =====

impl<S> ReplayService<S> {
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

impl<S, B> Service<Request<B>> for ReplayService<S>
where
    S: Service<Request<ReplayBody<B>>>,
    B: http_body::Body<Data = Bytes>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> S::Future {
        let max_bytes = self.max_bytes;
        self.inner
            .call(request.map(|body| ReplayBody::new(body, max_bytes)))
    }
}

// ===== impl ReplayBody =====

impl<B: http_body::Body<Data = Bytes>> ReplayBody<B> {
    /// Keeps up to `max_bytes` of `body` while it is sent.
    #[must_use]
    pub fn new(body: B, max_bytes: usize) -> Self {
        Self {
            tape: Arc::new(Tape::new(body, max_bytes)),
            place: Place::default(),
        }
    }
}

impl<B> http_body::Body for ReplayBody<B>
where
    B: http_body::Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        let polled = this.tape.poll_frame(&mut this.place, cx, |_| ());
        polled.map(|next| {
            next.map(|result| match result {
                Ok((frame, ())) => Ok(frame),
                Err(Stop::Source(error)) => Err(error.into()),
                Err(Stop::Failed) => Err(ReplayError::Failed.into()),
                Err(Stop::Behind) => Err(ReplayError::Outgrown.into()),
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.tape.is_end_stream(&self.place)
    }

    fn size_hint(&self) -> SizeHint {
        self.tape.size_hint(&self.place)
    }
}

impl<B> Replayable for ReplayBody<B> {
    fn copy(&self) -> Option<Self> {
        self.whole().then(|| Self {
            tape: self.tape.clone(),
            place: Place::default(),
        })
    }

    fn whole(&self) -> bool {
        self.tape.is_whole() && !self.tape.has_failed()
    }
}

impl<B> Drop for ReplayBody<B> {
    fn drop(&mut self) {
        self.tape.leave(&mut self.place);
    }
}

impl<B> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayBody")
            .field("whole", &self.whole())
            .finish_non_exhaustive()
    }
}

// ===== impl ReplayError =====

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Outgrown => "the request body has outgrown what is kept of it",
            Self::Failed => "the request body failed while it was sent the first time",
        })
    }
}

impl Error for ReplayError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        const REFUSED: Refused = Refused::new(Reason::Coalesced).with_class(Class::Refused);
        Some(&REFUSED)
    }
}
