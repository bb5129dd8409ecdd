//! A shared reply, with what its readers and the layers around them hear.

use std::{
    io,
    pin::pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use buttress_core::{
    Class, Classify, Completion, Money, Outcome, Progress, Refused, Report, Share, Track, Usage,
};
use buttress_http::{Body, BodyError, Http, Judge, Meter, Shared, TrackLayer};
use bytes::Bytes;
use http::{Request, Response, response::Parts};
use http_body::Body as _;
use tower::{ServiceExt, service_fn};
use tower_layer::Layer;

use crate::pipe::{Pipe, Piped, error, rest};

/// Chunks that begin with `+` are content, `END` is the terminator, `bad` is an error in band, and
/// everything else is neither.
#[derive(Clone, Copy)]
pub(crate) struct Lines;

#[derive(Default)]
struct Reads {
    chunks: u64,
    said: Option<Class>,
}

impl Judge for Lines {
    fn head(&self, parts: &Parts) -> Outcome {
        match parts.status.as_u16() {
            200 => Outcome::SUCCESS,
            _ => Outcome::new(Class::Throttled).with_retry_after(Duration::from_secs(7)),
        }
    }

    fn meter(&self, _: &Parts) -> Option<Box<dyn Meter>> {
        Some(Box::new(Reads::default()))
    }
}

impl Meter for Reads {
    fn chunk(&mut self, data: &Bytes) -> Progress {
        self.chunks += 1;
        match &data[..] {
            b"END" => self.said = Some(Class::Success),
            b"bad" => self.said = Some(Class::Denied),
            [b'+', ..] => return Progress::Content,
            _ => {}
        }
        Progress::Ping
    }

    fn verdict(&self, _: bool) -> Option<Outcome> {
        self.said.map(Outcome::new)
    }

    // Each chunk is a token that costs three.
    fn usage(&self) -> Option<Usage> {
        Some(Usage::new(10, self.chunks))
    }

    fn cost(&self) -> Option<Money> {
        Some(Money::from_pico(u128::from(self.chunks) * 3))
    }
}

pub(crate) fn used(tokens: u64) -> Outcome {
    Outcome::SUCCESS
        .with_usage(Usage::new(10, tokens))
        .with_cost(Money::from_pico(u128::from(tokens) * 3))
}

pub(crate) fn unbilled(tokens: u64) -> Outcome {
    Outcome::SUCCESS
        .with_usage(Usage::new(10, tokens).unbilled())
        .with_cost(Money::ZERO)
}

#[derive(Clone, Default)]
pub(crate) struct Heard(Arc<Mutex<(Vec<Progress>, Vec<Outcome>)>>);

struct Hears(Heard);

impl Heard {
    /// Listens to a response, as a layer does.
    pub(crate) fn on(response: &mut Response<Body<Piped>>) -> Self {
        let heard = Self::default();
        let seen = Http.classify(Ok::<_, &io::Error>(response));
        Http.track(response, &seen, Completion::new(Hears(heard.clone())));
        heard
    }

    pub(crate) fn progress(&self) -> Vec<Progress> {
        self.0.lock().unwrap().0.clone()
    }

    #[track_caller]
    pub(crate) fn outcome(&self) -> Outcome {
        let reports = self.0.lock().unwrap().1.clone();
        assert_eq!(reports.len(), 1, "reports");
        reports[0]
    }

    #[track_caller]
    pub(crate) fn nothing_yet(&self) {
        let reports = self.0.lock().unwrap().1.clone();
        assert_eq!(reports, []);
    }
}

impl Report for Hears {
    fn report(&mut self, outcome: &Outcome) {
        self.0.0.lock().unwrap().1.push(*outcome);
    }

    fn watches(&self) -> bool {
        true
    }

    fn progress(&mut self, progress: Progress) {
        self.0.0.lock().unwrap().0.push(progress);
    }
}

/// What one call is made of: the upstream's end, what a layer inside hears, and the shared reply.
pub(crate) struct Call {
    pub(crate) pipe: Pipe,
    pub(crate) inside: Heard,
    pub(crate) shared: Shared<Piped>,
}

pub(crate) struct Caller {
    pub(crate) body: Body<Piped>,
    pub(crate) heard: Heard,
}

impl Call {
    pub(crate) fn begin() -> Self {
        Self::of(Lines, 200, 0)
    }

    pub(crate) fn of(judge: impl Judge + Clone, status: u16, peek: usize) -> Self {
        let (pipe, source) = Pipe::new();
        let call = Self::answer(judge, status, peek, source, |_| ());
        Self { pipe, ..call }
    }

    pub(crate) fn answer(
        judge: impl Judge + Clone,
        status: u16,
        peek: usize,
        source: Piped,
        look: impl FnOnce(&Response<Body<Piped>>),
    ) -> Self {
        let source = Mutex::new(Some(source));
        let client = service_fn(move |_: Request<()>| {
            let body = source.lock().unwrap().take().unwrap();
            let mut response = Response::builder().status(status).header("x-head", "kept");
            let length = body.size_hint().exact();
            if let Some(length) = length {
                response = response.header("content-length", length);
            }
            std::future::ready(Ok::<_, io::Error>(response.body(body).unwrap()))
        });
        let track = TrackLayer::new(judge).peek_bytes(peek).layer(client);
        let mut response = pin!(track.oneshot(Request::default()));
        let Poll::Ready(Ok(mut response)) = response
            .as_mut()
            .poll(&mut Context::from_waker(Waker::noop()))
        else {
            panic!("the response is there");
        };
        look(&response);
        let inside = Heard::on(&mut response);
        let seen = Http.classify(Ok::<_, &io::Error>(&response));
        Self {
            pipe: Pipe::default(),
            inside,
            shared: Http.share(response, &seen),
        }
    }

    pub(crate) fn open(&self) -> Caller {
        let mut response = Http.open(&self.shared);
        assert_eq!(response.headers()["x-head"], "kept");
        let heard = Heard::on(&mut response);
        Caller {
            body: response.into_body(),
            heard,
        }
    }

    pub(crate) fn ended(&self) -> Option<Outcome> {
        Http.ended(&self.shared)
    }
}

impl Caller {
    /// Leaves at once.
    pub(crate) fn leave(self) -> Heard {
        drop(self.body);
        self.heard
    }

    /// Reads all that is there, which is everything.
    #[track_caller]
    pub(crate) fn read(self) -> (String, Heard) {
        let (data, _) = rest(self.body);
        (String::from_utf8(data).unwrap(), self.heard)
    }
}

#[track_caller]
pub(crate) fn refused(body: &mut Body<Piped>) -> Refused {
    match error(body) {
        BodyError::Refused(refused) => refused,
        other => panic!("expected a refusal, found {other:?}"),
    }
}
