//! Replies whose end comes after their head: an upstream under the test's control, and its lines.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use buttress_cache::{AsIs, Cache, CacheLayer, Flavours, Keyed};
use buttress_core::{
    CacheStatus, Cached, Class, Completion, Money, Outcome, Progress, Report, Track, Usage,
};
use buttress_http::{Body, ByStatus, Http, Judge, Meter, Shared, TrackLayer};
use bytes::Bytes;
use http::{Request, Response, response::Parts};
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use tokio::sync::mpsc;
use tower::{Layer, Service, ServiceExt};

use crate::BoxError;

pub(crate) type Ask = Request<Full<Bytes>>;
pub(crate) type Reply = Response<Body<Stream>>;
pub(crate) type Feed = mpsc::UnboundedSender<Result<Bytes, io::Error>>;

/// Gives each call a stream that the test feeds.
#[derive(Clone, Default)]
pub(crate) struct Upstream {
    feeds: Arc<Mutex<Vec<(Feed, Ask)>>>,
    calls: Arc<AtomicUsize>,
}

pub(crate) struct Stream(mpsc::UnboundedReceiver<Result<Bytes, io::Error>>);

/// A stream is over well with `end`, and fails with `error`.
#[derive(Clone)]
struct Lines;

#[derive(Default)]
struct LineMeter(Option<Outcome>, Option<Usage>);

/// Notes how a caller's copy ended.
pub(crate) struct Note(pub(crate) Arc<Mutex<Vec<Outcome>>>);

pub(crate) fn request(path: &str) -> Ask {
    Request::post(path).body(Full::from("hello")).unwrap()
}

pub(crate) fn by_path(ask: &Ask) -> Keyed {
    Keyed::of(ask.uri().path())
}

/// A cache over tracked streams, its handle, and what is below.
pub(crate) fn stack() -> (
    impl Service<Ask, Response = Reply, Error = BoxError, Future: Send> + Clone,
    Cache<Shared<Stream>>,
    Upstream,
) {
    stack_of(AsIs)
}

/// The same, with replies delivered like this.
pub(crate) fn stack_of<V>(
    flavours: V,
) -> (
    impl Service<Ask, Response = Reply, Error = BoxError, Future: Send> + Clone,
    Cache<Shared<Stream>>,
    Upstream,
)
where
    V: Flavours<Ask, Reply> + Clone + Send + Sync + 'static,
    V::Wanted: Send,
{
    let layer = CacheLayer::new(Http, by_path as fn(&Ask) -> Keyed).flavours(flavours);
    let (cache, upstream) = (layer.handle(), Upstream::default());
    (layer.layer(upstream.tracked()), cache, upstream)
}

pub(crate) fn status(reply: &Reply) -> CacheStatus {
    reply
        .extensions()
        .get::<Cached>()
        .expect("it says so")
        .status
}

/// What comes next of it, if it is there.
pub(crate) fn next(body: &mut Body<Stream>) -> Option<String> {
    let mut frame = tokio_test::task::spawn(body.frame());
    match frame.poll() {
        Poll::Pending => None,
        Poll::Ready(None) => Some("<end>".to_owned()),
        Poll::Ready(Some(Ok(frame))) => {
            Some(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap())
        }
        Poll::Ready(Some(Err(error))) => {
            let refused = std::error::Error::source(&error).and_then(buttress_core::Refused::find);
            Some(match refused {
                Some(refused) => format!("<refused: {}>", refused.class()),
                None => "<error>".to_owned(),
            })
        }
    }
}

/// All of it, frame by frame.
pub(crate) fn rest(body: &mut Body<Stream>) -> Vec<String> {
    let mut all = Vec::new();
    while let Some(text) = next(body) {
        let ends = text.starts_with('<');
        all.push(text);
        if ends {
            break;
        }
    }
    all
}

/// Notes how this copy ends.
pub(crate) fn note(reply: &mut Reply) -> Arc<Mutex<Vec<Outcome>>> {
    let log = Arc::default();
    let note = Completion::new(Note(Arc::clone(&log)));
    let seen = buttress_http::Tracked::seen(reply.body());
    Http.track(reply, &seen, note);
    log
}

pub(crate) async fn get<S>(service: &S, path: &str) -> Reply
where
    S: Service<Ask, Response = Reply, Error = BoxError> + Clone,
{
    service.clone().oneshot(request(path)).await.unwrap()
}

pub(crate) fn feed(feed: &Feed, text: &'static str) {
    let _ = feed.send(Ok(Bytes::from_static(text.as_bytes())));
}

// ===== impl Upstream =====

impl Upstream {
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    pub(crate) fn tracked(
        &self,
    ) -> impl Service<Ask, Response = Reply, Error = BoxError, Future: Send>
    + Clone
    + Send
    + 'static
    + use<> {
        TrackLayer::new(Lines).peek_bytes(0).layer(self.clone())
    }

    /// The stream of the call that came first of those that were not looked at.
    pub(crate) fn take(&self) -> (Feed, Ask) {
        self.feeds.lock().unwrap().remove(0)
    }
}

impl Service<Ask> for Upstream {
    type Response = Response<Stream>;
    type Error = BoxError;
    type Future = std::future::Ready<Result<Response<Stream>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, ask: Ask) -> Self::Future {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let (feed, stream) = mpsc::unbounded_channel();
        let mut response = Response::new(Stream(stream));
        if ask.uri().path().starts_with("/down") {
            *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
        }
        self.feeds.lock().unwrap().push((feed, ask));
        std::future::ready(Ok(response))
    }
}

impl http_body::Body for Stream {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.0
            .poll_recv(cx)
            .map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
    }
}

impl Judge for Lines {
    fn head(&self, parts: &Parts) -> Outcome {
        ByStatus.head(parts)
    }

    fn meter(&self, parts: &Parts) -> Option<Box<dyn Meter>> {
        parts
            .status
            .is_success()
            .then(|| -> Box<dyn Meter> { Box::<LineMeter>::default() })
    }
}

impl Meter for LineMeter {
    fn chunk(&mut self, data: &Bytes) -> Progress {
        match data.as_ref() {
            b"error" => self.0 = Some(Outcome::new(Class::Unavailable)),
            b"invalid" => self.0 = Some(Outcome::new(Class::Invalid)),
            b"end" => {
                self.0 = Some(Outcome::SUCCESS);
                self.1 = Some(Usage::new(10, 2));
            }
            _ => return Progress::Content,
        }
        Progress::Ping
    }

    fn verdict(&self, _: bool) -> Option<Outcome> {
        self.0
    }

    fn usage(&self) -> Option<Usage> {
        self.1
    }

    fn cost(&self) -> Option<Money> {
        self.1.map(|usage| Money::from_pico(5).times(usage.total()))
    }
}

impl Report for Note {
    fn report(&mut self, outcome: &Outcome) {
        self.0.lock().unwrap().push(*outcome);
    }
}
