//! Streams that take their time.

use std::{
    convert::Infallible,
    num::NonZeroU32,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use buttress_core::{
    Carry, Class, Completion, Outcome, Plain, Progress, Reason, Refused, Report, settle,
};
use buttress_http::{BodyError, BoxError, ByStatus, Http, Judge, Meter, TrackLayer};
use buttress_timeout::{PerRequest, Throughput, TimeoutEvent, TimeoutLayer};
use bytes::Bytes;
use http::{Request, Response, StatusCode, response::Parts};
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until},
};
use tower::{Layer, Service, ServiceExt, service_fn};

use super::{line, millis};

pub(crate) type Req = Request<Full<Bytes>>;
pub(crate) type TrackedBody = buttress_http::Body<Wire>;

/// What is written at which time after the call, in milliseconds. `"."` ends the body, and what
/// begins with a colon is a ping; without an end it stays open.
pub(crate) type Script = Vec<(u64, &'static str)>;

/// A body that a socket feeds.
pub(crate) struct Wire {
    chunks: mpsc::Receiver<Bytes>,
    merges: bool,
    open: Arc<AtomicUsize>,
}

/// A body's pings and contents.
#[derive(Clone, Copy)]
pub(crate) struct Colons;

struct ColonMeter;

/// Everything that a test wants to know of the calls of one stack.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    outcomes: Arc<Mutex<Vec<Outcome>>>,
    events: Arc<Mutex<Vec<String>>>,
    /// How many bodies are alive.
    open: Arc<AtomicUsize>,
}

/// How a body was read: every chunk with its time, when it ended, and why if it was cut.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) chunks: Vec<(u64, String)>,
    pub(crate) ended: Duration,
    pub(crate) cut: Option<Refused>,
}

/// A tracked client. Its head comes after `head` milliseconds.
#[derive(Clone)]
pub(crate) struct Upstream {
    pub(crate) track: TrackLayer<Colons>,
    pub(crate) status: StatusCode,
    pub(crate) head: u64,
    pub(crate) script: Script,
    /// Inside of what tracks.
    pub(crate) inner: TimeoutLayer<Plain>,
    pub(crate) merges: bool,
    pub(crate) open: Arc<AtomicUsize>,
}

pub(crate) fn timeout() -> TimeoutLayer<Http> {
    TimeoutLayer::new(Http)
}

/// `line` at every multiple of `every` up to `last`.
pub(crate) fn drip(line: &'static str, every: u64, last: u64) -> Script {
    (1..=last / every).map(|n| (n * every, line)).collect()
}

pub(crate) fn per_second(pieces: u32) -> Throughput {
    Throughput::per_second(NonZeroU32::new(pieces).unwrap())
}

/// A call by `layer` over an upstream with this script, read without pause.
pub(crate) async fn stream(layer: TimeoutLayer<Http>, script: Script, seen: &Seen) -> Read {
    let response = call(layer, seen.upstream(script), seen).await;
    read(response.expect("a response").into_body()).await
}

/// A call by `layer`, up to its response.
pub(crate) async fn call<R: PerRequest<Req> + Clone>(
    layer: TimeoutLayer<Http, R>,
    upstream: Upstream,
    seen: &Seen,
) -> Result<Response<TrackedBody>, BoxError> {
    call_within(None, layer, upstream, seen).await
}

/// The same by a caller who stops waiting after so long.
pub(crate) async fn call_within<R: PerRequest<Req> + Clone>(
    time: Option<Duration>,
    layer: TimeoutLayer<Http, R>,
    upstream: Upstream,
    seen: &Seen,
) -> Result<Response<TrackedBody>, BoxError> {
    let service = layer.on_event(seen.observer()).layer(upstream);
    let mut request = Req::default();
    let mut info = Http.info(&request).clone();
    info.deadline = time.map(|time| (Instant::now() + time).into_std());
    Http.set_info(&mut request, info);
    let mut result = service.oneshot(request).await;
    // What a layer outside is told.
    settle(&Http, &mut result, Completion::new(seen.clone()));
    result
}

/// Reads to the end.
pub(crate) async fn read(body: TrackedBody) -> Read {
    read_with(body, Duration::ZERO).await
}

/// Reads to the end, and takes this long over each chunk.
pub(crate) async fn read_with(body: TrackedBody, pause: Duration) -> Read {
    let (started, mut body) = (Instant::now(), pin!(body));
    let (mut chunks, mut cut) = (Vec::new(), None);
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => {
                let data = frame.into_data().expect("no trailers");
                let text = String::from_utf8(data.into()).expect("text");
                chunks.push((millis_since(started), text));
                sleep(pause).await;
            }
            Err(BodyError::Refused(refused)) => cut = Some(refused),
            Err(error) => panic!("{error}"),
        }
    }
    Read {
        chunks,
        ended: started.elapsed(),
        cut,
    }
}

pub(crate) fn millis_since(start: Instant) -> u64 {
    start
        .elapsed()
        .as_millis()
        .try_into()
        .expect("a short time")
}

// ===== impl Upstream =====

impl Upstream {
    /// The head comes after so many milliseconds.
    pub(crate) fn after(mut self, head: u64) -> Self {
        self.head = head;
        self
    }
}

impl Service<Req> for Upstream {
    type Response = Response<TrackedBody>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<TrackedBody>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Req) -> Self::Future {
        let this = self.clone();
        let client = service_fn(move |_: Req| {
            let this = this.clone();
            async move {
                let start = Instant::now();
                sleep(millis(this.head)).await;
                let wire = Wire::new(start, this.script, this.merges, this.open);
                let mut response = Response::new(wire);
                *response.status_mut() = this.status;
                Ok::<_, BoxError>(response)
            }
        });
        let inner = self.inner.layer(client);
        Box::pin(self.track.layer(inner).oneshot(request))
    }
}

// ===== impl Wire =====

impl Wire {
    /// If it `merges`, all that has come is one chunk, as it is in the kernel. Else, as of hyper's
    /// client, one chunk waits to be read, and its reader makes place for the next.
    fn new(start: Instant, script: Script, merges: bool, open: Arc<AtomicUsize>) -> Self {
        let (write, chunks) = mpsc::channel(if merges { 1000 } else { 1 });
        tokio::spawn(async move {
            for (at, line) in script {
                sleep_until(start + millis(at)).await;
                if line == "." || write.send(line.into()).await.is_err() {
                    return;
                }
            }
            write.closed().await;
        });
        open.fetch_add(1, Ordering::Relaxed);
        Self {
            chunks,
            merges,
            open,
        }
    }
}

impl http_body::Body for Wire {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(chunk) = ready!(self.chunks.poll_recv(cx)) else {
            return Poll::Ready(None);
        };
        let mut chunk = Vec::from(chunk);
        while self.merges
            && let Ok(more) = self.chunks.try_recv()
        {
            chunk.extend(more);
        }
        Poll::Ready(Some(Ok(Frame::data(chunk.into()))))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

// ===== impl Colons =====

impl Judge for Colons {
    fn head(&self, parts: &Parts) -> Outcome {
        ByStatus.head(parts)
    }

    fn meter(&self, _: &Parts) -> Option<Box<dyn Meter>> {
        Some(Box::new(ColonMeter))
    }
}

impl Meter for ColonMeter {
    fn chunk(&mut self, data: &Bytes) -> Progress {
        if data.starts_with(b":") {
            Progress::Ping
        } else {
            Progress::Content
        }
    }

    fn verdict(&self, ended: bool) -> Option<Outcome> {
        ended.then_some(Outcome::SUCCESS)
    }
}

// ===== impl Seen =====

impl Report for Seen {
    fn report(&mut self, outcome: &Outcome) {
        self.outcomes.lock().unwrap().push(*outcome);
    }
}

impl Seen {
    /// An upstream with this script, whose head comes at once, and is not held back.
    pub(crate) fn upstream(&self, script: Script) -> Upstream {
        Upstream {
            track: TrackLayer::new(Colons).peek_bytes(0),
            status: StatusCode::OK,
            head: 0,
            script,
            inner: TimeoutLayer::new(Plain),
            merges: false,
            open: self.open.clone(),
        }
    }

    pub(crate) fn observer(&self) -> impl Fn(&TimeoutEvent<'_>) + Send + Sync + 'static {
        let events = self.events.clone();
        move |event| events.lock().unwrap().push(line(event))
    }

    /// The classes of the calls that have ended.
    pub(crate) fn classes(&self) -> Vec<Class> {
        let outcomes = self.outcomes.lock().unwrap();
        outcomes.iter().map(|outcome| outcome.class).collect()
    }

    pub(crate) fn events(&self) -> Vec<String> {
        self.events.lock().unwrap().clone()
    }

    /// How many bodies are alive.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

// ===== impl Read =====

impl Read {
    /// The reason and class of the cut.
    pub(crate) fn cut(&self) -> Option<(Reason, Class)> {
        self.cut.map(|refused| (refused.reason(), refused.class()))
    }

    pub(crate) fn text(&self) -> String {
        self.chunks.iter().map(|(_, text)| text.as_str()).collect()
    }
}
