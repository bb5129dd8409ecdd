//! The judges inside of `TrackLayer`: what the layers outside are told.

use std::{
    collections::VecDeque,
    convert::Infallible,
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
};

use buttress_core::{Class, Completion, Finish, Money, Outcome, Report, Usage};
use buttress_http::{Body, Judge, Tariff, TrackLayer, Tracked};
use buttress_llm::{Anthropic, AnyPath, Dialect, Gemini, OpenAi, ResponseModel, WithModel};
use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::BodyExt;
use tower::{Layer, ServiceExt, service_fn};

/// Frames, and then a clean end, an error, or silence.
struct Script(VecDeque<&'static str>, End);

#[derive(Clone, Copy)]
enum End {
    Clean,
    Reset,
    Silence,
}

impl http_body::Body for Script {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match (self.0.pop_front(), self.1) {
            (Some(chunk), _) => Poll::Ready(Some(Ok(Frame::data(Bytes::from(chunk))))),
            (None, End::Clean) => Poll::Ready(None),
            (None, End::Reset) => Poll::Ready(Some(Err(io::ErrorKind::ConnectionReset.into()))),
            // Nobody waits for more in these tests.
            (None, End::Silence) => Poll::Pending,
        }
    }
}

struct Keep(Arc<Mutex<Option<Outcome>>>);

impl Report for Keep {
    fn report(&mut self, outcome: &Outcome) {
        *self.0.lock().unwrap() = Some(*outcome);
    }
}

async fn response<J: Judge + Clone>(
    judge: J,
    status: u16,
    content_type: &'static str,
    chunks: &[&'static str],
    end: End,
) -> Response<Body<Script>> {
    let script: VecDeque<_> = chunks.iter().copied().collect();
    let client = service_fn(move |_: Request<()>| {
        let response = Response::builder()
            .status(status)
            .header("content-type", content_type)
            .body(Script(script.clone(), end))
            .unwrap();
        async { Ok::<_, Infallible>(response) }
    });
    TrackLayer::new(judge)
        .layer(client)
        .oneshot(Request::new(()))
        .await
        .unwrap()
}

/// What was known when the response came, and what was in the end, having read it all.
async fn seen_and_told(mut response: Response<Body<Script>>) -> (Outcome, Outcome) {
    let (seen, told) = (response.body().seen(), Arc::new(Mutex::new(None)));
    response
        .body_mut()
        .attach(Completion::new(Keep(told.clone())));
    // Whether it was cut is for the outcome to say.
    let _ = response.into_body().collect().await;
    let told = told.lock().unwrap().expect("told");
    (seen, told)
}

const EVENTS: &str = "text/event-stream";
const HELLO: &str = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello\"},\"finish_reason\":null}]}\n\n";
const STOP: &str =
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const USAGE: &str =
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":3}}\n\n";
const DONE: &str = "data: [DONE]\n\n";
const ERROR: &str =
    "data: {\"error\":{\"message\":\"x\",\"type\":\"server_error\",\"code\":null}}\n\n";

#[tokio::test(start_paused = true)]
async fn money_that_is_spent_inside_of_a_429_is_known_with_the_response() {
    let body = r#"{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#;
    // In two frames, and with a connection that stays open after the last byte.
    let (left, right) = body.split_at(30);
    for (chunks, end) in [(vec![body], End::Clean), (vec![left, right], End::Silence)] {
        let response = response(OpenAi, 429, "application/json", &chunks, end).await;
        assert_eq!(response.body().seen().class, Class::Denied);
    }
}

#[tokio::test(start_paused = true)]
async fn an_error_before_the_first_content_is_known_with_the_response_and_one_after_interrupts() {
    let before = response(OpenAi, 200, EVENTS, &[ERROR], End::Clean).await;
    assert_eq!(before.body().seen().class, Class::Unavailable);

    let after = response(OpenAi, 200, EVENTS, &[HELLO, ERROR], End::Clean).await;
    let (seen, told) = seen_and_told(after).await;
    assert_eq!(
        (seen.class, told.class),
        (Class::Success, Class::Interrupted)
    );
}

#[tokio::test(start_paused = true)]
async fn a_stream_without_terminator_is_interrupted_or_unavailable() {
    for (chunks, end, class) in [
        (vec![HELLO], End::Clean, Class::Interrupted),
        (vec![HELLO], End::Reset, Class::Interrupted),
        (vec![], End::Clean, Class::Unavailable),
        (vec![": alive\n\n"], End::Reset, Class::Unavailable),
        (vec![HELLO, STOP], End::Clean, Class::Success),
        (vec![HELLO, STOP], End::Reset, Class::Interrupted),
        (vec![HELLO, STOP, USAGE, DONE], End::Reset, Class::Success),
    ] {
        let response = response(OpenAi, 200, EVENTS, &chunks, end).await;
        let (_, told) = seen_and_told(response).await;
        assert_eq!(told.class, class, "{chunks:?}");
        let usage = chunks.contains(&USAGE).then_some(Usage::new(9, 3));
        assert_eq!(told.usage, usage);
    }
}

#[tokio::test(start_paused = true)]
async fn a_whole_reply_is_known_with_the_response_though_it_came_in_parts() {
    let reply = [
        "{\"candidates\":[{\"finishReason\":\"STOP\"}],",
        "\"usageMetadata\":{\"promptTokenCount\":9",
        "}}",
    ];
    let response_ = response(Gemini, 200, "application/json", &reply, End::Silence).await;
    let seen = response_.body().seen();
    assert_eq!(
        (seen.class, seen.usage),
        (Class::Success, Some(Usage::new(9, 0)))
    );

    let cut = response(Gemini, 200, "application/json", &reply[..2], End::Clean).await;
    assert_eq!(cut.body().seen().class, Class::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_no_reply_fails_with_its_head() {
    for dialect in Dialect::ALL {
        let page = response(dialect, 200, "text/html", &["<html></html>"], End::Clean).await;
        assert_eq!(page.body().seen().class, Class::Unavailable);
        let empty = response(dialect, 200, "application/json", &[], End::Clean).await;
        assert_eq!(empty.body().seen().class, Class::Unavailable);
    }
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_message_tells_the_tokens_that_it_had() {
    let start = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":25,\"cache_read_input_tokens\":75,\"output_tokens\":1}}}\n\n";
    let delta = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi\"}}\n\n";
    let error = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";
    let response = response(Anthropic, 200, EVENTS, &[start, delta, error], End::Clean).await;
    let (_, told) = seen_and_told(response).await;
    assert_eq!(told.class, Class::Interrupted);
    let usage = Usage {
        cached_input: 75,
        ..Usage::new(100, 1)
    };
    assert_eq!(told.usage, Some(usage.estimated()));
}

#[tokio::test(start_paused = true)]
async fn why_the_model_stopped_is_told_in_the_end_of_streams_whole_replies_and_errors() {
    const EVENTS: &str = "text/event-stream";
    const JSON: &str = "application/json";
    let (openai, anthropic, gemini) = (Dialect::OpenAi, Dialect::Anthropic, Dialect::Gemini);
    let rows: [(Dialect, u16, &'static str, &[&'static str], Finish); 13] = [
        (
            openai,
            200,
            EVENTS,
            &[
                "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":null}]}\n\n",
                "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"length\"}]}\n\ndata: [DONE]\n\n",
            ],
            Finish::Length,
        ),
        (
            openai,
            200,
            JSON,
            &[
                r#"{"choices":[{"index":0,"finish_reason":"tool_calls"},{"index":1,"finish_reason":"stop"}]}"#,
            ],
            Finish::ToolCalls,
        ),
        (
            openai,
            200,
            JSON,
            &[
                r#"{"choices":[{"index":0,"finish_reason":"content_filter"},{"index":1,"finish_reason":"stop"}]}"#,
            ],
            Finish::Filtered,
        ),
        (
            openai,
            200,
            JSON,
            &[r#"{"choices":[{"index":0,"finish_reason":"eos"}]}"#],
            Finish::Other,
        ),
        (
            openai,
            400,
            JSON,
            &[r#"{"error":{"message":"no","code":"content_filter"}}"#],
            Finish::Filtered,
        ),
        (
            anthropic,
            200,
            EVENTS,
            &[
                "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\"},\"usage\":{\"output_tokens\":1}}\n\ndata: {\"type\":\"message_stop\"}\n\n",
            ],
            Finish::ToolCalls,
        ),
        (
            anthropic,
            200,
            JSON,
            &[r#"{"type":"message","content":[],"stop_reason":"end_turn"}"#],
            Finish::Stop,
        ),
        (
            anthropic,
            200,
            JSON,
            &[r#"{"type":"message","content":[],"stop_reason":"model_context_window_exceeded"}"#],
            Finish::Length,
        ),
        (
            anthropic,
            200,
            JSON,
            &[r#"{"type":"message","content":[],"stop_reason":"refusal"}"#],
            Finish::Filtered,
        ),
        (
            anthropic,
            400,
            JSON,
            &[
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"Output blocked by content filtering policy"}}"#,
            ],
            Finish::Filtered,
        ),
        (
            gemini,
            200,
            EVENTS,
            &[
                "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"a\"}]},\"finishReason\":\"MAX_TOKENS\"}]}\n\n",
            ],
            Finish::Length,
        ),
        (
            gemini,
            200,
            JSON,
            &[r#"{"candidates":[{"finishReason":"PROHIBITED_CONTENT"}]}"#],
            Finish::Filtered,
        ),
        (
            gemini,
            200,
            JSON,
            &[r#"{"promptFeedback":{"blockReason":"SAFETY"}}"#],
            Finish::Filtered,
        ),
    ];
    for (dialect, status, content_type, chunks, finish) in rows {
        let response = match dialect {
            Dialect::OpenAi => response(OpenAi, status, content_type, chunks, End::Clean).await,
            Dialect::Anthropic => {
                response(Anthropic, status, content_type, chunks, End::Clean).await
            }
            _ => response(Gemini, status, content_type, chunks, End::Clean).await,
        };
        let (_, told) = seen_and_told(response).await;
        assert_eq!(
            told.finish,
            Some(finish),
            "{dialect} {status} {content_type}"
        );
    }
    let broken = [
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\"finish_reason\":null}]}\n\n",
    ];
    let cut = response(OpenAi, 200, EVENTS, &broken, End::Reset).await;
    assert_eq!(seen_and_told(cut).await.1.finish, None);
    let denied = [r#"{"error":{"message":"no","code":"context_length_exceeded"}}"#];
    let long = response(OpenAi, 400, JSON, &denied, End::Clean).await;
    let (_, told) = seen_and_told(long).await;
    assert_eq!((told.class, told.finish), (Class::Unfit, None));
}

#[tokio::test(start_paused = true)]
async fn what_tokens_cost_is_in_the_end_of_a_reply_and_unknown_where_nobody_says() {
    let reply = r#"{"choices":[{"index":0,"finish_reason":"stop"}],"usage":{"prompt_tokens":3,"completion_tokens":4}}"#;
    let told = async |price: Option<u128>, reply: &'static str| {
        let client = service_fn(move |_: Request<u128>| async move {
            let body = Script(VecDeque::from([reply]), End::Clean);
            let response = Response::builder().header("content-type", "application/json");
            Ok::<_, Infallible>(response.body(body).unwrap())
        });
        let track = TrackLayer::new(OpenAi).price(move |request: &Request<u128>| {
            let (each, price) = (*request.body(), price?);
            let tariff: Tariff =
                Box::new(move |usage| Some(Money::from_pico(price * each).times(usage.total())));
            Some(tariff)
        });
        let response = track.layer(client).oneshot(Request::new(10)).await;
        seen_and_told(response.unwrap()).await.1.cost
    };
    assert_eq!(told(Some(2), reply).await, Some(Money::from_pico(140)));
    assert_eq!(told(None, reply).await, None);
    // Who does not say what was used may have used anything.
    assert_eq!(told(Some(2), r#"{"choices":[]}"#).await, None);
}

const JSON: &str = "application/json";

/// The model that answered, as the head tells it.
async fn model<J: Judge + Clone>(
    judge: J,
    content_type: &'static str,
    chunks: &[&'static str],
) -> Option<String> {
    let response = response(judge, 200, content_type, chunks, End::Silence).await;
    let model = response.extensions().get::<ResponseModel>();
    model.map(|model| model.as_str().to_owned())
}

#[tokio::test(start_paused = true)]
async fn who_asks_for_the_model_that_answered_has_it_with_the_response() {
    const OPENAI: &str = r#"{"id":"c","model":"m-2025-01-02","choices":[{"index":0,"message":{"content":"Hi"},"finish_reason":"stop"}]}"#;
    const ANTHROPIC: &str =
        r#"{"type":"message","model":"m-2025-01-02","content":[{"type":"text","text":"Hi"}]}"#;
    const GEMINI: &str = r#"{"candidates":[{"content":{"parts":[{"text":"Hi"}]},"finishReason":"STOP"}],"modelVersion":"m-2025-01-02"}"#;
    let streams = [
        (
            Dialect::OpenAi,
            OPENAI,
            &[
                "data: {\"model\":\"m-2025-01-02\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"}}]}\n\n",
                HELLO,
            ][..],
        ),
        (
            Dialect::Anthropic,
            ANTHROPIC,
            &[
                "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"1\",\"model\":\"m-2025-01-02\",\"content\":[]}}\n\n",
                "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi\"}}\n\n",
            ],
        ),
        (
            Dialect::Gemini,
            GEMINI,
            &[
                "data: {\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"Hi\"}]}}],\"modelVersion\":\"m-2025",
                "-01-02\"}\n\n",
            ],
        ),
    ];
    let expected = Some("m-2025-01-02".to_owned());
    for (dialect, whole, stream) in streams {
        let (left, right) = whole.split_at(30);
        for (content_type, chunks) in [
            (JSON, &[whole][..]),
            (JSON, &[left, right]),
            (EVENTS, stream),
        ] {
            let found = model(WithModel(dialect), content_type, chunks).await;
            assert_eq!(found, expected, "{dialect} {chunks:?}");
            let found = model(WithModel(AnyPath(dialect)), content_type, chunks).await;
            // Whatever event comes first on another path may be all that comes.
            assert!(
                found == expected || content_type == EVENTS,
                "{dialect} {chunks:?}"
            );
            assert_eq!(
                model(dialect, content_type, chunks).await,
                None,
                "{dialect}"
            );
        }
    }
    assert_eq!(model(WithModel(OpenAi), JSON, &[OPENAI]).await, expected);
    assert_eq!(
        model(WithModel(Anthropic), JSON, &[ANTHROPIC]).await,
        expected
    );
    assert_eq!(model(WithModel(Gemini), JSON, &[GEMINI]).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_model_that_is_told_after_the_head_was_shown_is_not_known() {
    let part = format!(
        r#"{{"candidates":[{{"content":{{"parts":[{{"text":"{}"}}]}},"finishReason":"STOP"}}],"#,
        "x".repeat(70_000)
    );
    let part: &'static str = part.leak();
    let name = r#""modelVersion":"m"}"#;
    assert_eq!(model(WithModel(Gemini), JSON, &[part, name]).await, None);
    let whole: &'static str = format!("{part}{name}").leak();
    let found = model(WithModel(Gemini), JSON, &[whole]).await;
    assert_eq!(
        found.as_deref(),
        Some("m"),
        "one chunk is read whatever its length"
    );

    let client = service_fn(move |_: Request<()>| {
        let response = Response::builder().header("content-type", JSON);
        let body = Script(VecDeque::from([name]), End::Clean);
        async { Ok::<_, Infallible>(response.body(body).unwrap()) }
    });
    let track = TrackLayer::new(WithModel(Gemini)).peek_bytes(0);
    let response = track.layer(client).oneshot(Request::new(())).await.unwrap();
    assert!(response.extensions().get::<ResponseModel>().is_none());
}

#[tokio::test(start_paused = true)]
async fn s4_s5_a_model_is_a_short_name_in_one_line_or_not_known() {
    let long = "m".repeat(ResponseModel::MAX);
    let mut rows = vec![
        (r#""m""#.to_owned(), Some("m")),
        (r#""a\/b-\u00e9""#.to_owned(), Some("a/b-é")),
        (format!("{long:?}"), Some(&*long)),
    ];
    for unfit in [
        r#""""#,
        r#""a\nb""#,
        r#""\u0000""#,
        r#""\ud800""#,
        r#""\x""#,
        "null",
        "7",
        "{}",
    ] {
        rows.push((unfit.to_owned(), None));
    }
    rows.push((format!("\"{long}m\""), None));
    for (written, expected) in rows {
        let body: &'static str = format!(r#"{{"model":{written},"choices":[]}}"#).leak();
        let found = model(WithModel(OpenAi), JSON, &[body]).await;
        assert_eq!(found.as_deref(), expected, "{written}");
    }
    // One that names none, and then others: the first counts.
    let event = |name: &str| -> &'static str {
        let event = format!("data: {{\"model\":\"{name}\",\"choices\":[]}}\n\n");
        event.leak()
    };
    let chunks = [event(""), event("first"), event("other"), HELLO];
    let found = model(WithModel(OpenAi), EVENTS, &chunks).await;
    assert_eq!(found.as_deref(), Some("first"));
    // Of an error it is nobody's.
    let failed = response(
        WithModel(OpenAi),
        400,
        JSON,
        &[r#"{"model":"m","error":{}}"#],
        End::Clean,
    );
    assert!(failed.await.extensions().get::<ResponseModel>().is_none());
}
