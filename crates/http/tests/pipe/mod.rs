//! A body whose other end is in the test's hand.

// Each test file uses a part of it.
#![allow(dead_code)]

use std::{
    collections::VecDeque,
    io,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame, SizeHint};

/// The test's end.
#[derive(Clone, Default)]
pub(crate) struct Pipe(Arc<Mutex<State>>);

/// The body.
pub(crate) struct Piped(Pipe);

/// A waker that counts.
#[derive(Default)]
pub(crate) struct Woken(AtomicUsize);

#[derive(Default)]
struct State {
    steps: VecDeque<Step>,
    waker: Option<Waker>,
    length: Option<u64>,
    delivered: u64,
    polls: usize,
    gone: bool,
}

enum Step {
    Frame(Frame<Bytes>),
    Fail,
    Panic,
    Call(Box<dyn FnOnce() + Send>),
    End,
}

impl Pipe {
    pub(crate) fn new() -> (Self, Piped) {
        let pipe = Self::default();
        (pipe.clone(), Piped(pipe))
    }

    /// A body that says beforehand how long it is.
    pub(crate) fn with_length(length: u64) -> (Self, Piped) {
        let (pipe, piped) = Self::new();
        pipe.state().length = Some(length);
        (pipe, piped)
    }

    /// A body of which everything is there already.
    pub(crate) fn whole(chunks: &[&str]) -> Piped {
        let (pipe, piped) = Self::with_length(chunks.iter().map(|chunk| chunk.len() as u64).sum());
        for chunk in chunks {
            pipe.send(chunk);
        }
        pipe.end();
        piped
    }

    pub(crate) fn send(&self, data: &str) {
        self.send_bytes(Bytes::copy_from_slice(data.as_bytes()));
    }

    pub(crate) fn send_bytes(&self, data: impl Into<Bytes>) {
        self.send_frame(Frame::data(data.into()));
    }

    pub(crate) fn send_frame(&self, frame: Frame<Bytes>) {
        self.step(Step::Frame(frame));
    }

    /// Is there when it is polled next, without waking anybody before.
    pub(crate) fn send_quietly(&self, data: &'static str) {
        let frame = Frame::data(Bytes::from_static(data.as_bytes()));
        self.state().steps.push_back(Step::Frame(frame));
    }

    pub(crate) fn trailers(&self, name: &'static str, value: &'static str) {
        self.all_trailers(&[(name, value)]);
    }

    pub(crate) fn all_trailers(&self, trailers: &[(&'static str, &str)]) {
        let mut all = HeaderMap::new();
        for (name, value) in trailers {
            all.insert(*name, HeaderValue::from_str(value).unwrap());
        }
        self.send_frame(Frame::trailers(all));
    }

    pub(crate) fn fail(&self) {
        self.step(Step::Fail);
    }

    /// Panics when it is polled next, without waking anybody before.
    pub(crate) fn panic(&self) {
        self.state().steps.push_back(Step::Panic);
    }

    /// Does something when it is polled next, and has nothing then.
    pub(crate) fn call(&self, during: impl FnOnce() + Send + 'static) {
        self.state().steps.push_back(Step::Call(Box::new(during)));
    }

    pub(crate) fn end(&self) {
        self.step(Step::End);
    }

    pub(crate) fn wake(&self) {
        let waker = self.state().waker.take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn polls(&self) -> usize {
        self.state().polls
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.state().gone
    }

    fn step(&self, step: Step) {
        self.state().steps.push_back(step);
        self.wake();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }
}

impl Body for Piped {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let mut state = self.0.state();
        state.polls += 1;
        match state.steps.pop_front() {
            Some(Step::Frame(frame)) => {
                state.delivered += frame.data_ref().map_or(0, Bytes::len) as u64;
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Step::Fail) => Poll::Ready(Some(Err(io::Error::other("broken")))),
            Some(Step::Panic) => {
                drop(state);
                // Without a word on the terminal.
                std::panic::resume_unwind(Box::new("on purpose"))
            }
            Some(Step::Call(during)) => {
                state.waker = Some(cx.waker().clone());
                drop(state);
                during();
                Poll::Pending
            }
            Some(Step::End) => {
                state.steps.push_front(Step::End);
                Poll::Ready(None)
            }
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    // As hyper's bodies do: known only where the length is.
    fn is_end_stream(&self) -> bool {
        let state = self.0.state();
        state.length == Some(state.delivered)
            && matches!(state.steps.front(), None | Some(Step::End))
    }

    fn size_hint(&self) -> SizeHint {
        let state = self.0.state();
        match state.length {
            Some(length) => SizeHint::with_exact(length - state.delivered),
            None => SizeHint::default(),
        }
    }
}

impl Drop for Piped {
    fn drop(&mut self) {
        // A waker that the body held must not be called for a body that is gone.
        let waker = {
            let mut state = self.0.state();
            state.gone = true;
            state.waker.take()
        };
        drop(waker);
    }
}

impl Woken {
    pub(crate) fn new() -> (Arc<Self>, Waker) {
        let woken = Arc::new(Self::default());
        (woken.clone(), Waker::from(woken))
    }

    pub(crate) fn times(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Polls once.
pub(crate) fn poll<B>(body: &mut B, waker: &Waker) -> Poll<Option<Result<Frame<Bytes>, B::Error>>>
where
    B: Body<Data = Bytes> + Unpin,
{
    Pin::new(body).poll_frame(&mut Context::from_waker(waker))
}

/// The next chunk of text, which is there already.
#[track_caller]
pub(crate) fn text<B>(body: &mut B) -> String
where
    B: Body<Data = Bytes, Error: std::fmt::Debug> + Unpin,
{
    match poll(body, Waker::noop()) {
        Poll::Ready(Some(Ok(frame))) => {
            let data = frame.into_data().expect("a chunk of data");
            String::from_utf8(data.to_vec()).unwrap()
        }
        other => panic!("expected a chunk, found {other:?}"),
    }
}

/// The error that is there already.
#[track_caller]
pub(crate) fn error<B>(body: &mut B) -> B::Error
where
    B: Body<Data = Bytes> + Unpin,
{
    match poll(body, Waker::noop()) {
        Poll::Ready(Some(Err(error))) => error,
        Poll::Ready(Some(Ok(_))) => panic!("expected an error, found a frame"),
        Poll::Ready(None) => panic!("expected an error, found the end"),
        Poll::Pending => panic!("expected an error, found nothing yet"),
    }
}

/// All of a body that is there already, and its trailers.
#[track_caller]
pub(crate) fn rest<B>(body: B) -> (Vec<u8>, Option<HeaderMap>)
where
    B: Body<Data = Bytes, Error: std::fmt::Debug>,
{
    let mut body = pin!(body);
    let (mut data, mut trailers) = (Vec::new(), None);
    loop {
        match body
            .as_mut()
            .poll_frame(&mut Context::from_waker(Waker::noop()))
        {
            Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                Ok(chunk) => data.extend_from_slice(&chunk),
                Err(frame) => trailers = frame.into_trailers().ok(),
            },
            Poll::Ready(None) => return (data, trailers),
            other => panic!("expected more or the end, found {other:?}"),
        }
    }
}
