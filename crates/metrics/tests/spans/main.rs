//! What is traced and logged.
//!
//! Alone in its process: whether a span is on is remembered for all threads, and a thread without a
//! subscriber would decide it for the others.

#[path = "../support/mod.rs"]
mod support;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
};

use buttress_core::{Class, Finish, Money, Outcome, Reason, Refused, Usage};
use buttress_metrics::{Describe, Labels, MetricsLayer, Traceparent, log};
use tokio_test::task::spawn;
use tower::{Layer as _, ServiceBuilder, ServiceExt, service_fn};
use tracing::{
    Event, Metadata, Span, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
    subscriber::DefaultGuard,
};
use tracing_subscriber::{
    Layer,
    filter::LevelFilter,
    layer::{Context, SubscriberExt},
    registry::{LookupSpan, Registry},
};

use support::{Ask, Does, Failed, Prometheus, Reply, ask, protocol, serve};

/// A span as it was when it closed.
#[derive(Clone, Debug, Default)]
struct Closed {
    name: &'static str,
    parent: Option<&'static str>,
    fields: BTreeMap<&'static str, String>,
}

/// Every span that closed, and every line of the log.
#[derive(Clone, Default)]
struct Seen {
    spans: Arc<Mutex<Vec<Closed>>>,
    lines: Arc<Mutex<Vec<String>>>,
}

struct Fields<'a>(&'a mut BTreeMap<&'static str, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Seen {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let mut closed = Closed {
            name: span.name(),
            parent: span.parent().map(|parent| parent.name()),
            ..Closed::default()
        };
        attributes.record(&mut Fields(&mut closed.fields));
        span.extensions_mut().insert(closed);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let mut extensions = span.extensions_mut();
        let closed: &mut Closed = extensions.get_mut().unwrap();
        values.record(&mut Fields(&mut closed.fields));
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = BTreeMap::new();
        event.record(&mut Fields(&mut fields));
        let target = event.metadata().target();
        let line = format!("{target}: {}", fields["message"]);
        self.lines.lock().unwrap().push(line);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id).unwrap();
        let closed = span.extensions().get::<Closed>().unwrap().clone();
        self.spans.lock().unwrap().push(closed);
    }

    fn enabled(&self, _: &Metadata<'_>, _: Context<'_, S>) -> bool {
        true
    }
}

impl Seen {
    fn install() -> (Self, DefaultGuard) {
        let seen = Self::default();
        let subscriber = Registry::default().with(seen.clone());
        (seen, tracing::subscriber::set_default(subscriber))
    }

    fn spans(&self) -> Vec<Closed> {
        self.spans.lock().unwrap().clone()
    }
}

impl Closed {
    fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

/// Says everything, and lets a trace pass where the model stands.
#[derive(Clone)]
struct Everything;

impl Describe<Ask, Reply> for Everything {
    fn labels<'a>(&'a self, _: &'a Ask) -> Labels<'a> {
        Labels::new().model("gpt-4.1").streamed(false)
    }

    fn response_model<'a>(&'a self, _: &'a Reply) -> Option<&'a str> {
        Some("gpt-4.1-2025")
    }

    fn request_id(&self, _: &Ask) -> Option<String> {
        Some("id\n1".into())
    }

    fn propagate(&self, ask: &mut Ask, span: &Span) {
        ask.model = Traceparent::join(Some(&ask.model), span).to_string();
    }

    fn prompt<'a>(&'a self, _: &'a Ask) -> Option<Cow<'a, str>> {
        Some("redacted".into())
    }

    fn reply<'a>(&'a self, _: &'a Reply) -> Option<Cow<'a, str>> {
        Some("short".into())
    }
}

const CALLER: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[tokio::test(start_paused = true)]
async fn a_request_is_a_span_with_a_child_for_each_attempt_in_the_callers_trace() {
    let (seen, _guard) = Seen::install();
    let upstream = Arc::new(Mutex::new(Vec::new()));
    let received = Arc::clone(&upstream);
    let attempt = MetricsLayer::attempt(protocol())
        .provider("openai")
        .server("api.openai.com", 443)
        .endpoint("east")
        .describe_with(Everything)
        .layer(service_fn(move |ask: Ask| {
            received.lock().unwrap().push(ask.model.clone());
            // It ends later, in another poll.
            async move {
                tokio::task::yield_now().await;
                serve(ask).await
            }
        }));
    let twice = service_fn(move |first: Ask| {
        let attempt = attempt.clone();
        async move {
            let down = Does::Fail(Outcome::new(Class::Unavailable));
            let failed = attempt.clone().oneshot(ask(&first.model, down)).await;
            assert!(failed.is_err());
            attempt.oneshot(first).await
        }
    });
    let service = MetricsLayer::request(protocol())
        .describe_with(Everything)
        .layer(twice);
    let used = Outcome::SUCCESS
        .with_usage(Usage {
            cached_input: 3,
            ..Usage::new(10, 5)
        })
        .with_cost(Money::from_pico(1_500_000))
        .with_finish(Finish::Length);
    let answer = service.oneshot(ask(CALLER, Does::Fail(used))).await;
    assert!(answer.is_ok());

    let spans = seen.spans();
    let names: Vec<_> = spans.iter().map(|span| (span.name, span.parent)).collect();
    let child = ("buttress.attempt", Some("buttress.request"));
    assert_eq!(names, [child, child, ("buttress.request", None)]);
    let [failed, second, request] = &spans[..] else {
        panic!("three spans")
    };
    for span in &spans {
        assert_eq!(span.field("trace_id"), "0af7651916cd43dd8448eb211c80319c");
    }
    assert_eq!(request.field("parent_span_id"), "b7ad6b7169203331");
    for attempt in [failed, second] {
        assert_eq!(attempt.field("parent_span_id"), request.field("span_id"));
    }
    let sent = upstream.lock().unwrap().clone();
    for (sent, attempt) in sent.iter().zip([failed, second]) {
        let sent: Traceparent = sent.parse().unwrap();
        assert_eq!(format!("{:016x}", sent.span_id()), attempt.field("span_id"));
    }

    let failure = ["buttress.class", "error.type", "otel.status_code"];
    assert_eq!(
        failure.map(|name| failed.field(name)),
        ["unavailable", "unavailable", "ERROR"]
    );
    assert_eq!(failure.map(|name| second.field(name)), ["success", "", ""]);
    let expected = [
        ("otel.name", "chat gpt-4.1"),
        ("otel.kind", "client"),
        ("gen_ai.operation.name", "chat"),
        ("gen_ai.provider.name", "openai"),
        ("gen_ai.request.model", "gpt-4.1"),
        ("gen_ai.response.model", "gpt-4.1-2025"),
        ("gen_ai.request.stream", "false"),
        ("gen_ai.usage.input_tokens", "10"),
        ("gen_ai.usage.output_tokens", "5"),
        ("gen_ai.usage.cache_read.input_tokens", "3"),
        ("gen_ai.response.finish_reasons", "length"),
        ("gen_ai.input.messages", "redacted"),
        ("gen_ai.output.messages", "short"),
        ("server.address", "api.openai.com"),
        ("server.port", "443"),
        ("buttress.endpoint", "east"),
        ("buttress.attempt", "1"),
        ("buttress.cost", "0.0000015"),
    ];
    for (name, value) in expected {
        assert_eq!(second.field(name), value, "{name}");
    }
    assert_eq!(request.field("otel.kind"), "internal");
    assert_eq!(request.field("buttress.attempts"), "1");
    assert_eq!(request.field("buttress.request_id"), "id?1");
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_begins_with_its_request_is_its_child() {
    let (seen, _guard) = Seen::install();
    let attempt = MetricsLayer::attempt(protocol()).layer(service_fn(serve));
    let service = MetricsLayer::request(protocol()).layer(attempt);
    assert!(service.oneshot(ask("m", Does::Succeed)).await.is_ok());
    let parents: Vec<_> = seen.spans().iter().map(|span| span.parent).collect();
    assert_eq!(parents, [Some("buttress.request"), None]);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_call_closes_its_span_with_what_is_known() {
    let (seen, _guard) = Seen::install();
    let service = MetricsLayer::attempt(protocol()).layer(service_fn(serve));
    let mut call = spawn(service.clone().oneshot(ask("m", Does::Hang)));
    assert!(call.poll().is_pending());
    assert!(seen.spans().is_empty());
    drop(call);
    let refused = Refused::new(Reason::CircuitOpen);
    let call = service.oneshot(ask("m", Does::Refuse(refused)));
    assert!(call.await.is_err());
    let of = |name: &str| {
        seen.spans()
            .iter()
            .map(|span| span.field(name).to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(of("buttress.class"), ["cancelled", "refused"]);
    assert_eq!(of("buttress.reason"), ["", "circuit open"]);
}

#[tokio::test(start_paused = true)]
async fn s1_no_text_and_no_secret_is_seen_unless_it_is_given() {
    const CANARY: &str = "sk-canary-0123456789";
    let (seen, _guard) = Seen::install();
    let prometheus = Prometheus::install();
    let records = Arc::new(Mutex::new(Vec::new()));
    for does in [
        Does::Succeed,
        Does::Hang,
        Does::Fail(Outcome::new(Class::Denied)),
    ] {
        let records = Arc::clone(&records);
        let client = service_fn(move |(_prompt, ask): (String, Ask)| async move {
            let reply: Result<Reply, Failed> = serve(ask).await;
            reply
                .map(|_| CANARY)
                .map_err(|_| std::io::Error::other(CANARY))
        });
        let service = ServiceBuilder::new()
            .layer(MetricsLayer::request(buttress_core::Plain).on_call(log))
            .layer(
                MetricsLayer::attempt(buttress_core::Plain)
                    .describe(|(_, ask): &(String, Ask)| Labels::new().model(&ask.model))
                    .on_call(move |call| records.lock().unwrap().push(format!("{call:#?}"))),
            )
            .service(client);
        let mut call = spawn(service.oneshot((CANARY.into(), ask("gpt", does))));
        let _ = call.poll();
    }
    let lines = seen.lines.lock().unwrap().join("\n");
    let all = format!(
        "{:#?} {lines} {} {}",
        seen.spans(),
        prometheus.text(),
        records.lock().unwrap().join("\n"),
    );
    assert!(
        all.contains("buttress.attempt") && all.contains("denied") || all.contains("unavailable")
    );
    assert_eq!(lines.lines().count(), 3);
    for secret in [CANARY, &CANARY[..8], "c2stY2FuYXJ5"] {
        assert!(!all.contains(secret), "{all}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_is_one_line_of_the_log_whatever_its_names_are() {
    let (seen, _guard) = Seen::install();
    let layer = MetricsLayer::request(protocol())
        .describe_with(Everything)
        .on_call(log);
    let service = layer.layer(service_fn(serve));
    let used = Outcome::SUCCESS
        .with_usage(Usage::new(10, 5).estimated())
        .with_finish(Finish::Stop);
    assert!(
        service
            .clone()
            .oneshot(ask("m", Does::Fail(used)))
            .await
            .is_ok()
    );
    let refused = Refused::new(Reason::Limited);
    let call = service.oneshot(ask("m", Does::Refuse(refused)));
    assert!(call.await.is_err());
    assert_eq!(
        *seen.lines.lock().unwrap(),
        [
            "buttress::call: request id=id?1 model=gpt-4.1 answered_by=gpt-4.1-2025 \
             class=success finish=stop took=0ns input=~10 output=~5 attempts=1",
            "buttress::call: request id=id?1 model=gpt-4.1 class=refused \
             reason=\"rate limited\" took=0ns attempts=1",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn for_a_span_that_nobody_wants_nothing_is_asked() {
    let off = Registry::default().with(LevelFilter::OFF);
    let _guard = tracing::subscriber::set_default(off);
    let layer = MetricsLayer::attempt(protocol()).describe_with(Everything);
    let service = layer.layer(service_fn(|ask: Ask| async move {
        assert_eq!(ask.model, CALLER, "what came is passed on as it is");
        serve(ask).await
    }));
    assert!(service.oneshot(ask(CALLER, Does::Succeed)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn s1_a_secret_in_place_of_a_model_is_seen_nowhere_if_it_is_known_which_there_are() {
    const CANARY: &str = "sk-canary-0123456789";
    let (seen, _guard) = Seen::install();
    let prometheus = Prometheus::install();
    let layer = MetricsLayer::attempt(protocol())
        .models(["gpt-4.1"])
        .describe(|ask: &Ask| Labels::new().model(&ask.model))
        .on_call(log);
    let service = layer.layer(service_fn(serve));
    let call = service.oneshot(ask(CANARY, Does::Succeed));
    assert!(call.await.is_ok());
    let lines = seen.lines.lock().unwrap().join("\n");
    let all = format!("{:#?} {lines} {}", seen.spans(), prometheus.text());
    assert!(lines.contains("model=other"), "{lines}");
    assert!(!all.contains(&CANARY[..8]), "{all}");
}

/// An id of ten megabytes that a caller chose, with an escape in it for whoever's terminal it is.
#[derive(Clone)]
struct Endless;

impl Describe<Ask, Reply> for Endless {
    fn labels<'a>(&'a self, _: &'a Ask) -> Labels<'a> {
        Labels::new()
    }

    fn request_id(&self, _: &Ask) -> Option<String> {
        Some("\u{1b}é".to_owned() + &"x".repeat(10 << 20))
    }
}

#[tokio::test(start_paused = true)]
async fn s4_an_id_that_a_caller_chose_is_bounded_in_spans_lines_and_records() {
    let (seen, _guard) = Seen::install();
    let ids = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&ids);
    let attempt = MetricsLayer::attempt(protocol())
        .describe_with(Endless)
        .on_call(move |call| {
            kept.lock()
                .unwrap()
                .push(call.request_id.map(str::to_owned))
        });
    let service = MetricsLayer::request(protocol())
        .describe_with(Endless)
        .on_call(log)
        .layer(attempt.layer(service_fn(serve)));
    assert!(service.oneshot(ask("m", Does::Succeed)).await.is_ok());
    let id = "??".to_owned() + &"x".repeat(126);
    assert_eq!(*ids.lock().unwrap(), [Some(id.clone())]);
    let spans = seen.spans();
    assert_eq!(spans.len(), 2);
    for span in spans {
        assert_eq!(span.field("buttress.request_id"), id);
    }
    let line = format!("buttress::call: request id={id} class=success took=0ns attempts=1");
    assert_eq!(*seen.lines.lock().unwrap(), [line]);
}
