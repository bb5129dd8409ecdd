//! How a body's call ended, for every way that a body can end; and that its frames pass as they
//! came.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use buttress_core::{
    Class, Classify, Completion, Outcome, Progress, ProtocolExt, Reason, Refused, Report, Share,
    Usage, settle,
};
use buttress_http::{Body, BodyError, ByStatus, Http, Judge, Meter, TrackLayer, Tracked};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, response::Parts};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use proptest::prelude::*;
use tower::{ServiceBuilder, ServiceExt, service_fn};

/// What a body does when it is polled.
#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// No content.
    Ping,
    Text,
    /// The reply tells of a failure.
    Error,
    /// The reply says that it is whole.
    Terminator,
    Empty,
    Trailers,
    Break,
    Wait,
}

use Step::{Break, Empty, Error, Ping, Terminator, Text, Trailers, Wait};

struct Scripted(VecDeque<Step>);

#[derive(Clone)]
struct Words;

#[derive(Default)]
struct WordMeter {
    verdict: Option<Outcome>,
    pings: u64,
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<(usize, Outcome)>>>);

struct Entry(usize, Log);

impl http_body::Body for Scripted {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let data = |text: &'static str| {
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(text.as_bytes())))))
        };
        match self.0.pop_front() {
            Some(Ping) => data("ping"),
            Some(Text) => data("text"),
            Some(Error) => data("error"),
            Some(Terminator) => data("end"),
            Some(Empty) => data(""),
            Some(Trailers) => Poll::Ready(Some(Ok(Frame::trailers(HeaderMap::new())))),
            Some(Break) => Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into()))),
            Some(Wait) => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    // What stands behind a break was promised, and does not come.
    fn size_hint(&self) -> SizeHint {
        let mut rest = self.0.iter().skip_while(|step| **step != Break).skip(1);
        match rest.next() {
            Some(_) => SizeHint::with_exact(100),
            None => SizeHint::new(),
        }
    }
}

impl Judge for Words {
    fn head(&self, parts: &Parts) -> Outcome {
        ByStatus.head(parts)
    }

    fn meter(&self, _: &Parts) -> Option<Box<dyn Meter>> {
        Some(Box::new(WordMeter::default()))
    }
}

impl Meter for WordMeter {
    fn chunk(&mut self, data: &Bytes) -> Progress {
        match data.as_ref() {
            b"text" => return Progress::Content,
            b"error" => self.verdict = Some(Outcome::new(Class::Denied)),
            b"end" => self.verdict = Some(Outcome::SUCCESS),
            _ => self.pings += 1,
        }
        Progress::Ping
    }

    fn verdict(&self, _: bool) -> Option<Outcome> {
        self.verdict
    }

    fn usage(&self) -> Option<Usage> {
        (self.pings > 0).then(|| Usage::new(self.pings, 0))
    }
}

impl Report for Entry {
    fn report(&mut self, outcome: &Outcome) {
        self.1.0.lock().unwrap().push((self.0, *outcome));
    }
}

fn attach(body: &mut impl Tracked, nth: usize, log: &Log) {
    body.attach(Completion::new(Entry(nth, log.clone())));
}

/// The tracked body of a response with this status.
fn respond<J: Judge + Clone>(judge: J, peek: bool, status: u16, steps: &[Step]) -> Body<Scripted> {
    respond_with(TrackLayer::new(judge), peek, status, steps)
}

fn respond_with<J: Judge + Clone>(
    layer: TrackLayer<J>,
    peek: bool,
    status: u16,
    steps: &[Step],
) -> Body<Scripted> {
    let steps = steps.to_vec();
    let layer = if peek { layer } else { layer.peek_bytes(0) };
    let service = ServiceBuilder::new()
        .layer(layer)
        .service(service_fn(move |_: Request<()>| {
            let mut response = Response::new(Scripted(steps.clone().into()));
            *response.status_mut() = status.try_into().unwrap();
            async { Ok::<_, io::Error>(response) }
        }));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime
        .block_on(service.oneshot(Request::new(())))
        .unwrap()
        .into_body()
}

/// Reads until the body is over, or so many frames.
fn read(body: &mut Body<Scripted>, most: usize) -> Vec<String> {
    let mut frames = Vec::new();
    while frames.len() < most {
        match Pin::new(&mut *body).poll_frame(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Some(Ok(frame))) => frames.push(match frame.into_data() {
                Ok(data) => String::from_utf8(data.to_vec()).unwrap(),
                Err(_) => "trailers".to_owned(),
            }),
            Poll::Ready(Some(Err(_))) => frames.push("broken".to_owned()),
            Poll::Ready(None) => break,
            Poll::Pending => {}
        }
    }
    frames
}

/// How the call ends if so many frames are read.
fn class(judge: impl Judge + Clone, peek: bool, status: u16, steps: &[Step], most: usize) -> Class {
    let log = Log::default();
    let mut body = respond(judge, peek, status, steps);
    attach(&mut body, 0, &log);
    read(&mut body, most);
    drop(body);
    let log = log.0.lock().unwrap();
    assert_eq!(log.len(), 1, "{steps:?}");
    log[0].1.class
}

const ALL: usize = usize::MAX;

#[test]
fn the_meter_decides_and_what_was_delivered_decides_with_it() {
    use Class::{Cancelled, Denied, Interrupted, Success, Unavailable};
    #[rustfmt::skip]
    let table: &[(&[Step], usize, Class, Class)] = &[
        // What the body does, how much of it is read, and the class: peeked, and not.
        (&[Text, Terminator],          ALL, Success,     Success),
        (&[Text, Terminator, Break],   ALL, Success,     Success),
        (&[Text, Terminator, Ping],    2,   Success,     Success),
        (&[Text],                      ALL, Interrupted, Interrupted),
        (&[Text, Break],               ALL, Interrupted, Interrupted),
        (&[Text, Error],               ALL, Interrupted, Interrupted),
        (&[Text, Error, Ping],         2,   Interrupted, Interrupted),
        (&[Text, Text],                1,   Cancelled,   Cancelled),
        (&[Ping, Error],               ALL, Denied,      Denied),
        (&[Ping, Error, Text],         ALL, Denied,      Interrupted),
        (&[Ping],                      ALL, Unavailable, Unavailable),
        (&[Ping, Break],               ALL, Unavailable, Unavailable),
        (&[],                          ALL, Unavailable, Unavailable),
        (&[Empty],                     ALL, Unavailable, Unavailable),
        (&[Break],                     ALL, Unavailable, Unavailable),
        (&[Trailers],                  ALL, Unavailable, Unavailable),
        // Peek has read it all; without peek, nothing was known.
        (&[Ping, Terminator],          0,   Success,     Cancelled),
        (&[Ping, Error],               0,   Denied,      Cancelled),
        (&[Ping, Break],               0,   Unavailable, Cancelled),
        (&[Text, Terminator],          0,   Cancelled,   Cancelled),
        (&[Wait, Text, Terminator],    ALL, Success,     Success),
    ];
    for (steps, most, peeked, not) in table {
        assert_eq!(
            class(Words, true, 200, steps, *most),
            *peeked,
            "peeked {steps:?} {most}"
        );
        assert_eq!(
            class(Words, false, 200, steps, *most),
            *not,
            "not peeked {steps:?} {most}"
        );
    }
}

#[test]
fn what_breaks_off_after_its_terminator_has_come_to_its_end_unless_it_promised_more() {
    let table: &[(&[Step], &[&str])] = &[
        (&[Text, Terminator, Break], &["text", "end"]),
        (&[Terminator, Break], &["end"]),
        (&[Text, Terminator, Break, Text], &["text", "end", "broken"]),
        (&[Terminator, Break, Text], &["end", "broken"]),
        (&[Text, Break], &["text", "broken"]),
        (&[Text, Error, Break], &["text", "error", "broken"]),
    ];
    for (steps, expected) in table {
        for peek in [true, false] {
            let found = read(&mut respond(Words, peek, 200, steps), ALL);
            assert_eq!(found, *expected, "{steps:?} {peek}");
            let body = respond(Words, peek, 200, steps);
            let mut body = body.convert(|body, _| Through(body, None));
            assert_eq!(read(&mut body, ALL), *expected, "{steps:?} {peek}");
        }
    }
    // Without a meter nobody knows that it was the terminator.
    let found = read(&mut respond(ByStatus, true, 200, &[Terminator, Break]), ALL);
    assert_eq!(found, ["end", "broken"]);
}

#[test]
fn what_ends_without_its_terminator_breaks_off_where_that_is_asked_for() {
    let table: &[(&[Step], &[&str], Class)] = &[
        (&[Text], &["text", "broken"], Class::Interrupted),
        (&[Ping], &["ping", "broken"], Class::Unavailable),
        (&[Text, Wait], &["text", "broken"], Class::Interrupted),
        (
            &[Text, Trailers],
            &["text", "trailers", "broken"],
            Class::Interrupted,
        ),
        (&[Text, Terminator], &["text", "end"], Class::Success),
        // What went wrong, it has said.
        (&[Text, Error], &["text", "error"], Class::Interrupted),
        (&[Text, Break], &["text", "broken"], Class::Interrupted),
    ];
    for (steps, expected, class) in table {
        for (peek, converts) in [(true, false), (false, false), (true, true), (false, true)] {
            let layer = TrackLayer::new(Words).break_unfinished(true);
            let mut body = respond_with(layer, peek, 200, steps);
            if converts {
                body = body.convert(|body, _| Through(body, None));
            }
            let log = Log::default();
            attach(&mut body, 0, &log);
            assert_eq!(read(&mut body, ALL), *expected, "{steps:?} {peek}");
            drop(body);
            let log = log.0.lock().unwrap();
            assert_eq!((log.len(), log[0].1.class), (1, *class), "{steps:?}");
        }
    }
    // It has failed already, and a body that nobody meters has no terminator.
    let failed = TrackLayer::new(Words).break_unfinished(true);
    assert_eq!(
        read(&mut respond_with(failed, true, 503, &[Text]), ALL),
        ["text"]
    );
    let plain = TrackLayer::new(ByStatus).break_unfinished(true);
    assert_eq!(
        read(&mut respond_with(plain, true, 200, &[Text]), ALL),
        ["text"]
    );
}

#[test]
fn a_failed_head_stands_unless_its_body_knows_better() {
    let table: &[(&[Step], usize, Class)] = &[
        (&[Text], ALL, Class::Throttled),
        (&[Text], 0, Class::Throttled),
        (&[Text, Break], ALL, Class::Throttled),
        (&[], ALL, Class::Throttled),
        (&[Text, Error], ALL, Class::Denied),
        (&[Terminator], ALL, Class::Throttled),
    ];
    for (steps, most, expected) in table {
        for peek in [true, false] {
            assert_eq!(
                class(Words, peek, 429, steps, *most),
                *expected,
                "{steps:?} {most} {peek}"
            );
        }
        if *steps != [Text, Error] {
            assert_eq!(
                class(ByStatus, true, 429, steps, *most),
                *expected,
                "{steps:?} {most}"
            );
        }
    }
}

#[test]
fn without_a_meter_a_clean_end_is_a_success() {
    let table: &[(&[Step], usize, Class)] = &[
        (&[Text], ALL, Class::Success),
        (&[], ALL, Class::Success),
        (&[Text, Trailers], ALL, Class::Success),
        (&[Text, Break], ALL, Class::Interrupted),
        (&[Break], ALL, Class::Unavailable),
        (&[Text, Text], 1, Class::Cancelled),
        (&[Text, Text], 0, Class::Cancelled),
    ];
    for (steps, most, expected) in table {
        assert_eq!(
            class(ByStatus, true, 200, steps, *most),
            *expected,
            "{steps:?} {most}"
        );
    }
}

#[test]
fn what_was_used_by_then_is_known_however_it_ends() {
    for (steps, most) in [
        (&[Ping, Text, Terminator][..], ALL),
        (&[Ping, Text, Text], 2),
        (&[Ping, Break], ALL),
    ] {
        let log = Log::default();
        let mut body = respond(Words, true, 200, steps);
        attach(&mut body, 0, &log);
        read(&mut body, most);
        drop(body);
        assert_eq!(
            log.0.lock().unwrap()[0].1.usage,
            Some(Usage::new(1, 0)),
            "{steps:?}"
        );
    }
}

#[test]
fn what_is_attached_after_the_end_is_done_at_once() {
    let log = Log::default();
    let mut body = respond(Words, true, 200, &[Text, Terminator]);
    read(&mut body, ALL);
    attach(&mut body, 0, &log);
    assert_eq!(log.0.lock().unwrap()[0].1.class, Class::Success);
    assert_eq!(body.seen().class, Class::Success);
}

struct Through<B>(B, Option<BodyError<io::Error>>);

impl<B> http_body::Body for Through<B>
where
    B: http_body::Body<Data = Bytes, Error = BodyError<io::Error>> + Unpin,
{
    type Data = Bytes;
    type Error = BodyError<io::Error>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match Pin::new(&mut self.0).poll_frame(cx) {
            Poll::Ready(None) => Poll::Ready(self.1.take().map(Err)),
            frame => frame,
        }
    }
}

#[test]
fn a_converted_body_goes_as_the_one_inside_unless_it_fails_by_itself() {
    let own = || Some(BodyError::Layer("cannot convert".into()));
    type Row = (&'static [Step], Option<BodyError<io::Error>>, usize, Class);
    let table: Vec<Row> = vec![
        (&[Text, Terminator], None, ALL, Class::Success),
        (&[Text, Error], None, ALL, Class::Interrupted),
        (&[Text], None, ALL, Class::Interrupted),
        (&[Ping, Error], None, ALL, Class::Denied),
        (&[Text, Text], None, 1, Class::Cancelled),
        (&[Text, Terminator, Break], None, ALL, Class::Success),
        (&[Text, Terminator], own(), ALL, Class::Interrupted),
        (&[Ping, Terminator], own(), ALL, Class::Unavailable),
    ];
    for (steps, failure, most, expected) in table {
        let (inside, outside) = (Log::default(), Log::default());
        let mut body = respond(Words, false, 200, steps);
        attach(&mut body, 0, &inside);
        let mut body = body
            .convert(|body, _| Through(body, failure))
            .convert(|body, _| Through(body, None));
        attach(&mut body, 0, &outside);
        read(&mut body, most);
        assert_eq!(
            inside.0.lock().unwrap().len(),
            usize::from(most == ALL),
            "{steps:?}"
        );
        drop(body);
        assert_eq!(inside.0.lock().unwrap().len(), 1);
        assert_eq!(outside.0.lock().unwrap()[0].1.class, expected, "{steps:?}");
    }
}

#[test]
fn a_body_that_was_read_to_its_end_and_then_converted_tells_its_content_once() {
    struct Watch(Vec<Progress>, Arc<Mutex<Vec<Progress>>>);

    impl Report for Watch {
        fn report(&mut self, outcome: &Outcome) {
            assert_eq!(outcome.class, Class::Success);
            *self.1.lock().unwrap() = std::mem::take(&mut self.0);
        }

        fn watches(&self) -> bool {
            true
        }

        fn progress(&mut self, progress: Progress) {
            self.0.push(progress);
        }
    }

    for (steps, expected) in [
        (&[Ping, Text, Terminator][..], &[Progress::FirstContent][..]),
        (&[Ping, Terminator], &[]),
    ] {
        let mut body = respond(Words, false, 200, steps);
        read(&mut body, ALL);
        let whole = Full::from("whole").map_err(|never| match never {});
        let mut body = body.convert(|_, _| whole);
        let seen: Arc<Mutex<Vec<Progress>>> = Arc::default();
        body.attach(Completion::new(Watch(Vec::new(), Arc::clone(&seen))));
        assert_eq!(read(&mut body, ALL), ["whole"]);
        assert_eq!(*seen.lock().unwrap(), expected, "{steps:?}");
    }
}

#[test]
fn a_report_that_watches_cuts_only_a_body_with_nothing_to_deliver() {
    struct Cut(Vec<Progress>, Arc<Mutex<Vec<Progress>>>);

    impl Report for Cut {
        fn report(&mut self, outcome: &Outcome) {
            assert_eq!(outcome.class, Class::Interrupted);
            *self.1.lock().unwrap() = self.0.clone();
        }

        fn watches(&self) -> bool {
            true
        }

        fn progress(&mut self, progress: Progress) {
            self.0.push(progress);
        }

        fn poll_cut(&mut self, _: &mut Context<'_>) -> Poll<Refused> {
            Poll::Ready(Refused::new(Reason::IdleTimeout))
        }
    }

    let seen: Arc<Mutex<Vec<Progress>>> = Arc::default();
    let mut body = respond(Words, true, 200, &[Ping, Text, Ping, Text, Wait, Text]);
    body.attach(Completion::new(Cut(Vec::new(), Arc::clone(&seen))));
    assert_eq!(
        read(&mut body, ALL),
        ["ping", "text", "ping", "text", "broken"]
    );
    assert_eq!(
        *seen.lock().unwrap(),
        [
            Progress::Ping,
            Progress::FirstContent,
            Progress::Ping,
            Progress::Content
        ]
    );
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        Just(Ping),
        Just(Text),
        Just(Error),
        Just(Terminator),
        Just(Empty),
        Just(Trailers),
        Just(Break),
        Just(Wait)
    ];
    prop::collection::vec(step, 0..12).prop_map(|mut steps| {
        // Nothing comes after the trailers or a broken connection.
        if let Some(last) = steps
            .iter()
            .position(|step| matches!(step, Trailers | Break))
        {
            steps.truncate(last + 1);
        }
        steps
    })
}

#[derive(Clone, Default)]
struct Watch(Arc<Mutex<Vec<Progress>>>);

impl Report for Watch {
    fn report(&mut self, _: &Outcome) {}

    fn watches(&self) -> bool {
        true
    }

    fn progress(&mut self, progress: Progress) {
        self.0.lock().unwrap().push(progress);
    }
}

/// What who watches had heard of after each frame.
fn progress(mut body: Body<Scripted>) -> Vec<Vec<Progress>> {
    let watch = Watch::default();
    body.attach(Completion::new(watch.clone()));
    let mut heard = vec![watch.0.lock().unwrap().clone()];
    while !read(&mut body, 1).is_empty() {
        heard.push(watch.0.lock().unwrap().clone());
    }
    heard
}

proptest! {
    #[test]
    fn whoever_watches_hears_the_same_of_a_peeked_body_as_of_a_live_one(mut steps in steps()) {
        // What comes after a word of failure is its explanation, if that was known beforehand.
        steps.retain(|step| *step != Error);
        let [live, peeked] = [false, true].map(|peek| {
            let respond = || respond(Words, peek, 200, &steps);
            let shared = |readers: usize| {
                let response = Response::new(respond());
                let seen = Http.classify(Ok::<_, &io::Error>(&response));
                let shared = Http.share(response, &seen);
                let open = || Response::<Body<Scripted>>::into_body(Http.open(&shared));
                (0..readers).map(|_| progress(open())).collect::<Vec<_>>()
            };
            let converted = respond().convert(|body, _| Through(body, None));
            [vec![progress(respond()), progress(converted)], shared(2)].concat()
        });
        prop_assert!(live.iter().all(|each| each.last() == live[0].last()), "{:?}", live);
        prop_assert_eq!(peeked, live);
    }

    #[test]
    fn frames_pass_as_they_came_and_every_report_comes_once_inner_first(
        steps in steps(), peek: bool, status in prop::sample::select(vec![200_u16, 429, 503]),
        most in 0..14_usize, duties in 0..4_usize,
    ) {
        let log = Log::default();
        let mut body = respond(Words, peek, status, &steps);
        for nth in 0..duties {
            attach(&mut body, nth, &log);
        }
        let frames = read(&mut body, most);
        drop(body);

        // After the terminator, a break is the end; unless the call was known to have failed by then.
        let last = steps.iter().rfind(|step| matches!(step, Error | Terminator));
        let first = steps.iter().find(|step| matches!(step, Text | Error | Terminator));
        let failed = status != 200 || peek && first == Some(&Error);
        let whole = !failed && last == Some(&Terminator);
        let shown = |step: &&Step| **step != Wait && !(whole && **step == Break);
        let came: Vec<_> = steps.iter().filter(shown).map(|step| match step {
            Ping => "ping",
            Text => "text",
            Error => "error",
            Terminator => "end",
            Empty => "",
            Trailers => "trailers",
            _ => "broken",
        }).take(most).collect();
        prop_assert_eq!(frames, came);
        let log = log.0.lock().unwrap();
        prop_assert_eq!(log.iter().map(|entry| entry.0).collect::<Vec<_>>(), (0..duties).collect::<Vec<_>>());
        prop_assert!(log.windows(2).all(|pair| pair[0].1 == pair[1].1));
    }
}

#[test]
fn a_layer_whose_classifier_forgives_hears_of_a_success_and_the_others_do_not() {
    let (forgiving, strict) = (Log::default(), Log::default());
    let protocol = Http
        .classify_with(|_: Result<&Response<Body<Scripted>>, &io::Error>| Some(Outcome::SUCCESS));
    let mut result = Ok(Response::new(respond(ByStatus, true, 503, &[Text])));
    settle(
        &Http,
        &mut result,
        Completion::new(Entry(0, strict.clone())),
    );
    settle(
        &protocol,
        &mut result,
        Completion::new(Entry(0, forgiving.clone())),
    );
    read(result.unwrap().body_mut(), ALL);
    assert_eq!(strict.0.lock().unwrap()[0].1.class, Class::Unavailable);
    assert_eq!(forgiving.0.lock().unwrap()[0].1.class, Class::Success);

    // That the body broke off afterwards, is news.
    let mut result = Ok(Response::new(respond(Words, false, 200, &[Text, Break])));
    let log = Log::default();
    let worthless = Http.classify_with(|_: Result<&Response<Body<Scripted>>, &io::Error>| {
        Some(Outcome::SUCCESS.with_usage(Usage::new(1, 1)))
    });
    settle(
        &worthless,
        &mut result,
        Completion::new(Entry(0, log.clone())),
    );
    read(result.unwrap().body_mut(), ALL);
    assert_eq!(log.0.lock().unwrap()[0].1.class, Class::Interrupted);
}

#[test]
fn a_peeked_reply_that_several_read_is_billed_once() {
    let log = Log::default();
    let response = Response::new(respond(Words, true, 200, &[Ping, Ping, Terminator]));
    let seen = Http.classify(Ok::<_, &io::Error>(&response));
    assert_eq!(seen.usage, Some(Usage::new(2, 0)), "peek has read it all");
    let shared = Http.share(response, &seen);
    let readers: Vec<Response<Body<Scripted>>> = (0..3).map(|_| Http.open(&shared)).collect();
    for (nth, mut response) in readers.into_iter().enumerate() {
        attach(response.body_mut(), nth, &log);
        // The first comes to the end, the others leave.
        read(response.body_mut(), if nth == 0 { ALL } else { 1 });
    }
    let log = log.0.lock().unwrap();
    let billed = log
        .iter()
        .filter_map(|(_, outcome)| outcome.usage.filter(|usage| usage.billed));
    assert_eq!(billed.map(|usage| usage.total()).sum::<u64>(), 2, "{log:?}");
}

#[test]
fn a_layers_word_to_ask_again_at_once_stands_until_content_was_delivered() {
    let once = Duration::ZERO;
    let again = |outcome: &Outcome| (outcome.should_retry, outcome.retry_after);
    let hinted = |class| {
        let outcome = Outcome::new(class).with_should_retry(false);
        outcome.with_retry_after(Duration::from_secs(9))
    };

    // A reply that is over already, and one that is not.
    let mut over: Body<Scripted> = Body::ended("denied", hinted(Class::Denied));
    over.retry_at_once();
    assert_eq!(again(&over.seen()), (Some(true), Some(once)));
    assert_eq!(over.seen().class, Class::Denied);

    for (steps, most) in [
        (&[Text, Error][..], ALL),
        (&[Text], ALL),
        (&[Text, Break], 1),
    ] {
        let log = Log::default();
        let mut open = respond(Words, false, 429, steps);
        attach(&mut open, 0, &log);
        open.retry_at_once();
        assert_eq!(again(&open.seen()), (Some(true), Some(once)));
        read(&mut open, most);
        drop(open);
        let told = log.0.lock().unwrap()[0].1;
        assert_eq!(again(&told), (Some(true), Some(once)), "{steps:?}");
        assert!(told.failed());
    }

    // What was delivered is not asked for again.
    let log = Log::default();
    let mut open = respond(Words, false, 200, &[Text, Break]);
    attach(&mut open, 0, &log);
    open.retry_at_once();
    read(&mut open, 1);
    drop(open);
    let mut open = respond(Words, false, 200, &[Text, Error]);
    attach(&mut open, 1, &log);
    read(&mut open, 1);
    open.retry_at_once();
    read(&mut open, ALL);
    for (_, told) in &*log.0.lock().unwrap() {
        assert!(!told.again(), "{told:?}");
    }
}
