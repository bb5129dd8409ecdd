//! An HTTP upstream under the test's control, and a judge that reads its lines.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use buttress_core::{Class, Money, Outcome, Progress, Usage};
use buttress_http::{BoxError, ByStatus, Judge, Meter};
use bytes::Bytes;
use http::{Request, Response, response::Parts};
use http_body::Frame;
use http_body_util::Full;
use tokio::sync::mpsc;
use tower_service::Service;

pub type Req = Request<Full<Bytes>>;

/// What an upstream does with one call.
pub enum Act {
    /// These chunks, as fast as they are read.
    Say(u16, &'static [&'static str]),
    /// These chunks, and then the connection breaks.
    Break(u16, &'static [&'static str]),
    /// What the test sends.
    Follow(mpsc::UnboundedReceiver<&'static str>),
    /// No response at all.
    Fail,
}

/// Does one act after the other.
#[derive(Clone)]
pub struct Upstream {
    acts: Arc<Mutex<VecDeque<Act>>>,
    pub calls: Arc<AtomicUsize>,
    /// How many bodies are alive.
    pub open: Arc<()>,
}

pub struct Stream {
    chunks: VecDeque<Result<&'static str, io::Error>>,
    more: Option<mpsc::UnboundedReceiver<&'static str>>,
    _open: Arc<()>,
}

/// One line a chunk: `ping`, `text`, `usage`, `error`, `end`.
#[derive(Clone, Default)]
pub struct Lines {
    pub parsed: Arc<AtomicUsize>,
}

struct LineMeter {
    judge: Lines,
    verdict: Option<Outcome>,
    usage: Option<Usage>,
}

pub fn request() -> Req {
    Request::post("/chat").body(Full::from("hello")).unwrap()
}

/// Reads a body to its end, or to its error.
pub async fn read<B>(body: B) -> (String, Result<(), B::Error>)
where
    B: http_body::Body<Data = Bytes>,
{
    use http_body_util::BodyExt;

    let (mut body, mut text) = (std::pin::pin!(body), String::new());
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => {
                let data = frame.into_data().unwrap_or_default();
                text += std::str::from_utf8(&data).unwrap();
            }
            Err(error) => return (text, Err(error)),
        }
    }
    (text, Ok(()))
}

impl Upstream {
    pub fn new(acts: impl IntoIterator<Item = Act>) -> Self {
        let acts = Arc::new(Mutex::new(acts.into_iter().collect()));
        Self {
            acts,
            calls: Arc::default(),
            open: Arc::default(),
        }
    }

    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    pub fn open(&self) -> usize {
        Arc::strong_count(&self.open) - Arc::strong_count(&self.acts)
    }
}

impl Service<Req> for Upstream {
    type Response = Response<Stream>;
    type Error = BoxError;
    type Future = std::future::Ready<Result<Response<Stream>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Req) -> Self::Future {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let act = self
            .acts
            .lock()
            .unwrap()
            .pop_front()
            .expect("a call that the test does not expect");
        let (status, chunks, end, more) = match act {
            Act::Say(status, chunks) => (status, chunks, None, None),
            Act::Break(status, chunks) => {
                (status, chunks, Some(io::ErrorKind::ConnectionReset), None)
            }
            Act::Follow(more) => (200, &[][..], None, Some(more)),
            Act::Fail => return std::future::ready(Err("connection refused".into())),
        };
        let end = end.map(|kind| Err(io::Error::from(kind)));
        let chunks = chunks.iter().copied().map(Ok).chain(end).collect();
        let mut response = Response::new(Stream {
            chunks,
            more,
            _open: self.open.clone(),
        });
        *response.status_mut() = status.try_into().unwrap();
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
        let frame = |text: &'static str| Frame::data(Bytes::from_static(text.as_bytes()));
        if let Some(chunk) = self.chunks.pop_front() {
            return Poll::Ready(Some(chunk.map(frame)));
        }
        match &mut self.more {
            Some(more) => more.poll_recv(cx).map(|chunk| chunk.map(frame).map(Ok)),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.chunks.is_empty() && self.more.is_none()
    }
}

impl Judge for Lines {
    fn head(&self, parts: &Parts) -> Outcome {
        ByStatus.head(parts)
    }

    fn meter(&self, parts: &Parts) -> Option<Box<dyn Meter>> {
        let meter = || LineMeter {
            judge: self.clone(),
            verdict: None,
            usage: None,
        };
        parts
            .status
            .is_success()
            .then(|| -> Box<dyn Meter> { Box::new(meter()) })
    }
}

impl Meter for LineMeter {
    fn chunk(&mut self, data: &Bytes) -> Progress {
        self.judge.parsed.fetch_add(1, Ordering::Relaxed);
        match data.as_ref() {
            b"text" => return Progress::Content,
            b"usage" => self.usage = Some(Usage::new(10, 2)),
            b"error" => self.verdict = Some(Outcome::new(Class::Unavailable)),
            b"end" => self.verdict = Some(Outcome::SUCCESS),
            b"ping" => {}
            line => panic!("not a line: {line:?}"),
        }
        Progress::Ping
    }

    fn verdict(&self, _: bool) -> Option<Outcome> {
        self.verdict
    }

    fn usage(&self) -> Option<Usage> {
        self.usage
    }

    fn cost(&self) -> Option<Money> {
        self.usage
            .map(|usage| Money::from_pico(5).times(usage.total()))
    }
}
