//! Over streamed replies.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use buttress_core::{Carry, Class, Ledger, Money, Outcome, Progress, Tried, Usage};
use buttress_http::{BoxError, Http, Judge, Meter, TrackLayer};
use buttress_metrics::{Labels, MetricsLayer};
use bytes::Bytes;
use http::{Request, Response, response::Parts};
use http_body::Frame;
use http_body_util::BodyExt;
use tokio::time::advance;
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

use crate::Prometheus;

type Ask = Request<()>;
type Body = buttress_http::Body<Stream>;

/// Chunks that come when they are sent, and then an end or a failure.
#[derive(Clone, Default)]
struct Stream {
    chunks: Arc<Mutex<VecDeque<Result<&'static str, ()>>>>,
}

/// `used 10 5` is usage, `end` the terminator, `:` a ping, and everything else content.
#[derive(Clone, Copy)]
struct Lines;

#[derive(Default)]
struct LineMeter {
    usage: Option<Usage>,
    complete: bool,
}

impl Stream {
    fn send(&self, chunk: &'static str) {
        self.chunks.lock().unwrap().push_back(Ok(chunk));
    }

    fn cut(&self) {
        self.chunks.lock().unwrap().push_back(Err(()));
    }

    fn of(chunks: &[&'static str]) -> Self {
        let stream = Self::default();
        chunks.iter().for_each(|chunk| stream.send(chunk));
        stream
    }
}

impl http_body::Body for Stream {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let next = self.chunks.lock().unwrap().pop_front();
        match next {
            Some(Ok("")) => Poll::Ready(None),
            Some(Ok(chunk)) => {
                Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(chunk.as_bytes())))))
            }
            Some(Err(())) => Poll::Ready(Some(Err("cut".into()))),
            // Its reader polls again when something was sent.
            None => Poll::Pending,
        }
    }
}

impl Judge for Lines {
    fn head(&self, parts: &Parts) -> Outcome {
        match parts.status.as_u16() {
            200 => Outcome::SUCCESS,
            429 => Outcome::new(Class::Throttled),
            _ => Outcome::new(Class::Unavailable),
        }
    }

    fn meter(&self, _: &Parts) -> Option<Box<dyn Meter>> {
        Some(Box::<LineMeter>::default())
    }
}

impl Meter for LineMeter {
    fn chunk(&mut self, data: &Bytes) -> Progress {
        let text = std::str::from_utf8(data).unwrap();
        if let Some(counts) = text.strip_prefix("used ") {
            let (input, output) = counts.split_once(' ').unwrap();
            let usage = Usage::new(input.parse().unwrap(), output.parse().unwrap());
            self.usage = Some(usage.estimated());
        } else if text == "end" {
            self.complete = true;
            self.usage = self.usage.map(|usage| Usage {
                exact: true,
                ..usage
            });
        } else if text != ":" {
            return Progress::Content;
        }
        Progress::Ping
    }

    fn verdict(&self, _: bool) -> Option<Outcome> {
        self.complete.then_some(Outcome::SUCCESS)
    }

    fn usage(&self) -> Option<Usage> {
        self.usage
    }
}

/// Begins a reply of this stream, whose head shows at once.
async fn begin<D>(layer: MetricsLayer<Http, D>, stream: &Stream) -> Body
where
    D: buttress_metrics::Describe<Ask, Response<Body>> + Clone,
{
    let stream = stream.clone();
    let service = ServiceBuilder::new()
        .layer(layer)
        .layer(TrackLayer::new(Lines).peek_bytes(0))
        .service_fn(move |_: Ask| {
            let stream = stream.clone();
            async move { Ok::<_, BoxError>(Response::new(stream)) }
        });
    service.oneshot(Request::new(())).await.unwrap().into_body()
}

async fn next(body: &mut Body, stream: &Stream, chunk: &'static str) -> bool {
    stream.send(chunk);
    body.frame().await.is_some_and(|frame| frame.is_ok())
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[tokio::test(start_paused = true)]
async fn a_streamed_call_is_counted_once_at_its_end() {
    let prometheus = Prometheus::install();
    let stream = Stream::default();
    let mut body = begin(MetricsLayer::attempt(Http), &stream).await;
    let counted = || prometheus.sum("buttress_attempts_total", &[]);
    let in_flight = || prometheus.sum("buttress_attempts_in_flight", &[]);
    for chunk in [":", "hello", "used 10 5", "end"] {
        assert!(next(&mut body, &stream, chunk).await);
        assert_eq!((counted(), in_flight()), (0.0, 1.0));
        advance(ms(250)).await;
    }
    assert!(!next(&mut body, &stream, "").await);
    assert_eq!((counted(), in_flight()), (1.0, 0.0));
    drop(body);
    assert_eq!((counted(), in_flight()), (1.0, 0.0));
    let seconds = prometheus.sum("gen_ai_client_operation_duration_seconds_sum", &[]);
    assert_eq!(seconds, 1.0);
    let tokens = |labels: &[(&str, &str)]| prometheus.sum("gen_ai_client_token_usage_sum", labels);
    assert_eq!((tokens(&[]), tokens(&[("estimated", "true")])), (15.0, 0.0));
}

#[tokio::test(start_paused = true)]
async fn m4_a_cancelled_stream_is_recorded_with_the_tokens_it_had() {
    let prometheus = Prometheus::install();
    let stream = Stream::default();
    let layer = MetricsLayer::attempt(Http)
        .price(|_, usage| Some(Money::from_pico(2).times(usage.total())));
    let mut body = begin(layer, &stream).await;
    assert!(next(&mut body, &stream, "hello").await);
    assert!(next(&mut body, &stream, "you").await);
    assert!(next(&mut body, &stream, "used 10 5").await);
    drop(body);
    let cancelled = [("class", "cancelled")];
    assert_eq!(prometheus.sum("buttress_attempts_total", &cancelled), 1.0);
    let error = [("error_type", "cancelled")];
    assert_eq!(
        prometheus.sum("gen_ai_client_operation_duration_seconds_count", &error),
        1.0
    );
    let estimated = [("estimated", "true")];
    assert_eq!(
        prometheus.sum("gen_ai_client_token_usage_sum", &estimated),
        15.0
    );
    assert_eq!(
        prometheus.sum("buttress_attempt_cost_pico_total", &[]),
        30.0
    );
    assert_eq!(prometheus.each("buttress_attempts_in_flight", &[]), [0.0]);
    // Its first content came, but its pace would say nothing.
    let first = "gen_ai_client_operation_time_to_first_chunk_seconds_count";
    assert_eq!(prometheus.sum(first, &[]), 1.0);
    let pace = prometheus.each("buttress_attempt_time_per_output_token_seconds_count", &[]);
    assert!(pace.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_cut_is_interrupted() {
    let prometheus = Prometheus::install();
    let stream = Stream::default();
    let mut body = begin(MetricsLayer::attempt(Http), &stream).await;
    assert!(next(&mut body, &stream, "hello").await);
    stream.cut();
    assert!(body.frame().await.unwrap().is_err());
    drop(body);
    let interrupted = [("class", "interrupted")];
    assert_eq!(prometheus.sum("buttress_attempts_total", &interrupted), 1.0);
}

#[tokio::test(start_paused = true)]
async fn the_first_content_and_the_pace_of_a_stream_are_measured_and_pings_are_not() {
    let prometheus = Prometheus::install();
    let stream = Stream::default();
    let mut body = begin(MetricsLayer::attempt(Http).per_chunk(), &stream).await;
    advance(ms(100)).await;
    assert!(next(&mut body, &stream, ":").await);
    advance(ms(300)).await;
    assert!(next(&mut body, &stream, "one").await);
    advance(ms(50)).await;
    assert!(next(&mut body, &stream, "two").await);
    advance(ms(20)).await;
    assert!(next(&mut body, &stream, ":").await);
    advance(ms(30)).await;
    assert!(next(&mut body, &stream, "three").await);
    advance(ms(100)).await;
    assert!(next(&mut body, &stream, "used 10 5").await);
    assert!(next(&mut body, &stream, "end").await);
    assert!(!next(&mut body, &stream, "").await);
    let of = |name: &str| {
        let name = format!("gen_ai_client_operation_{name}_seconds");
        let sum = prometheus.sum(&format!("{name}_sum"), &[]);
        (sum, prometheus.sum(&format!("{name}_count"), &[]))
    };
    assert_eq!(of("time_to_first_chunk"), (0.4, 1.0));
    assert_eq!(of("time_per_output_chunk"), (0.1, 2.0));
    assert_eq!(of("duration"), (0.6, 1.0));
    // Four tokens after the first, in 200 ms.
    let each = prometheus.sum("buttress_attempt_time_per_output_token_seconds_sum", &[]);
    assert_eq!(each, 0.05);
}

#[tokio::test(start_paused = true)]
async fn a_reply_in_one_piece_has_no_first_chunk_unless_it_was_to_be_streamed() {
    for (described, expected) in [(None, 0.0), (Some(false), 0.0), (Some(true), 1.0)] {
        let prometheus = Prometheus::install();
        let stream = Stream::of(&["hello", "used 10 5", "end", ""]);
        let layer = MetricsLayer::attempt(Http).describe(move |_: &Ask| match described {
            Some(streamed) => Labels::new().streamed(streamed),
            None => Labels::new(),
        });
        let body = begin(layer, &stream).await;
        body.collect().await.unwrap();
        let name = "gen_ai_client_operation_time_to_first_chunk_seconds_count";
        assert_eq!(prometheus.sum(name, &[]), expected, "{described:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_head_is_what_a_dropped_reply_is_counted_as() {
    let prometheus = Prometheus::install();
    let client = service_fn(|_: Ask| async {
        let response = Response::builder().status(429).body(Stream::default());
        Ok::<_, BoxError>(response.unwrap())
    });
    let tracked = TrackLayer::new(Lines).peek_bytes(0).layer(client);
    let service = MetricsLayer::attempt(Http).layer(tracked);
    drop(service.oneshot(Request::new(())).await.unwrap());
    let throttled = [("class", "throttled")];
    assert_eq!(prometheus.sum("buttress_attempts_total", &throttled), 1.0);
}

#[tokio::test(start_paused = true)]
async fn a_request_has_the_usage_the_cost_and_the_path_of_all_its_attempts() {
    let prometheus = Prometheus::install();
    let lines = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&lines);
    let layer =
        MetricsLayer::request(Http).on_call(move |call| log.lock().unwrap().push(call.to_string()));
    // As a failover does it that gave one attempt up.
    let client = service_fn(|ask: Ask| async move {
        let ledger = Http
            .info(&ask)
            .ledger
            .clone()
            .expect("opened by the layer outside");
        let lost = Outcome::new(Class::Unavailable)
            .with_usage(Usage::new(7, 0))
            .with_cost(Money::from_pico(70));
        ledger.add(&lost);
        ledger.another();
        ledger.tried(&Tried::new("east", lost, ms(80)).with_error("503 Service Unavailable"));
        Ok::<_, BoxError>(Response::new(Stream::of(&[
            "hello",
            "used 10 5",
            "end",
            "",
        ])))
    });
    let service = layer.layer(TrackLayer::new(Lines).layer(client));
    let body = service.oneshot(Request::new(())).await.unwrap().into_body();
    body.collect().await.unwrap();
    let tokens = |kind| {
        let label = [("gen_ai_token_type", kind)];
        prometheus.sum("buttress_request_tokens_sum", &label)
    };
    assert_eq!((tokens("input"), tokens("output")), (17.0, 5.0));
    // The second attempt has no price.
    assert_eq!(prometheus.sum("buttress_requests_unpriced_total", &[]), 1.0);
    assert_eq!(
        *lines.lock().unwrap(),
        [
            "request class=success took=0ns input=17 output=5 attempts=2 \
          path=[east: unavailable after 80ms: 503 Service Unavailable]"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn m4_an_attempt_that_is_dropped_while_its_reply_is_held_back_has_what_that_had_told() {
    let prometheus = Prometheus::install();
    let client =
        service_fn(|_: Ask| async { Ok::<_, BoxError>(Response::new(Stream::of(&["used 10 1"]))) });
    let service = ServiceBuilder::new()
        .layer(MetricsLayer::request(Http))
        .layer(MetricsLayer::attempt(Http))
        .layer(TrackLayer::new(Lines))
        .service(client);
    let mut call = tokio_test::task::spawn(service.oneshot(Request::new(())));
    assert!(call.poll().is_pending(), "there is no content yet");
    drop(call);
    let cancelled = [("class", "cancelled")];
    assert_eq!(prometheus.sum("buttress_attempts_total", &cancelled), 1.0);
    let tokens = |name: &str| prometheus.sum(name, &[("estimated", "true")]);
    assert_eq!(tokens("buttress_request_tokens_sum"), 11.0);
    assert_eq!(tokens("gen_ai_client_token_usage_sum"), 11.0);
}

#[tokio::test(start_paused = true)]
async fn the_pace_of_a_request_is_that_of_its_reply_without_the_tokens_of_attempts_before() {
    let prometheus = Prometheus::install();
    let stream = Stream::default();
    let source = stream.clone();
    let client = service_fn(move |ask: Ask| {
        let ledger = Http.info(&ask).ledger.clone().unwrap();
        ledger.add(&Outcome::new(Class::Interrupted).with_usage(Usage::new(10, 96)));
        let response = Response::new(source.clone());
        async move { Ok::<_, BoxError>(response) }
    });
    let tracked = TrackLayer::new(Lines).peek_bytes(0).layer(client);
    let service = MetricsLayer::request(Http).layer(tracked);
    let mut body = service.oneshot(Request::new(())).await.unwrap().into_body();
    assert!(next(&mut body, &stream, "one").await);
    advance(ms(200)).await;
    assert!(next(&mut body, &stream, "two").await);
    assert!(next(&mut body, &stream, "used 10 5").await);
    assert!(next(&mut body, &stream, "end").await);
    assert!(!next(&mut body, &stream, "").await);
    // Four tokens after the first, in 200 ms.
    let each = prometheus.sum("buttress_request_time_per_output_token_seconds_sum", &[]);
    assert_eq!(each, 0.05);
    let output = [("gen_ai_token_type", "output")];
    assert_eq!(
        prometheus.sum("buttress_request_tokens_sum", &output),
        101.0
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_request_spends_counts_in_the_ledger_that_its_caller_gave() {
    let mine = Ledger::new();
    let client = service_fn(|ask: Ask| async move {
        let ledger = Http.info(&ask).ledger.clone().unwrap();
        ledger.add(&Outcome::new(Class::Unavailable).with_usage(Usage::new(7, 0)));
        Ok::<_, BoxError>(Response::new(Stream::of(&["end", ""])))
    });
    let service = MetricsLayer::request(Http).layer(TrackLayer::new(Lines).layer(client));
    for calls in 1..=2 {
        let mut ask = Request::new(());
        let mut info = Http.info(&ask).clone();
        info.ledger = Some(mine.clone());
        Http.set_info(&mut ask, info);
        service.clone().oneshot(ask).await.unwrap();
        let total = mine.total(&Outcome::SUCCESS);
        assert_eq!(total.usage.unwrap().input, 7 * calls);
    }
}
