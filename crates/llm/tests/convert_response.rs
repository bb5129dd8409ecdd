//! Errors of an endpoint, as the caller of another dialect is told of them.

use std::{
    convert::Infallible,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use buttress_core::Class;
use buttress_http::{TrackLayer, Tracked};
use buttress_llm::{Dialect, convert::Conversion};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt;
use serde_json::Value;
use tower::{Layer, ServiceExt, service_fn};

/// One frame, and then a clean end or an error.
#[derive(Clone)]
struct Reply {
    data: Option<Bytes>,
    breaks: bool,
}

impl http_body::Body for Reply {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(match self.data.take() {
            Some(data) => Some(Ok(Frame::data(data))),
            None if self.breaks => Some(Err(io::ErrorKind::ConnectionReset.into())),
            None => None,
        })
    }
}

struct Told<T = Value> {
    status: StatusCode,
    headers: HeaderMap,
    body: T,
    class: Class,
}

/// What a caller of Anthropic's dialect is told by an endpoint of OpenAI's.
async fn told(status: u16, data: impl Into<Bytes>, breaks: bool) -> Told {
    let way = (Dialect::Anthropic, Dialect::OpenAi);
    told_of(way, &[("retry-after", "7")], status, data, breaks).await
}

/// What a caller of the one dialect is told by an endpoint of the other, which also sends these
/// headers.
async fn told_of(
    (caller, endpoint): (Dialect, Dialect),
    headers: &'static [(&str, &str)],
    status: u16,
    data: impl Into<Bytes>,
    breaks: bool,
) -> Told {
    let request = request(caller, false);
    let told = answered((caller, endpoint), request, headers, status, data, breaks).await;
    Told {
        status: told.status,
        headers: told.headers,
        body: serde_json::from_slice(&told.body).unwrap(),
        class: told.class,
    }
}

fn request(caller: Dialect, stream: bool) -> String {
    match caller {
        Dialect::Gemini => r#"{"contents":[{"role":"user","parts":[{"text":"Hi"}]}]}"#.to_owned(),
        _ => format!(
            r#"{{"model":"m","max_tokens":9,"messages":[{{"role":"user","content":"Hi"}}],"stream":{stream}}}"#
        ),
    }
}

/// The answer to this request.
async fn answered(
    (caller, endpoint): (Dialect, Dialect),
    request: String,
    headers: &'static [(&str, &str)],
    status: u16,
    data: impl Into<Bytes>,
    breaks: bool,
) -> Told<Bytes> {
    let reply = Reply {
        data: Some(data.into()),
        breaks,
    };
    let client = service_fn(move |_: Request<()>| {
        let mut response = Response::builder()
            .status(status)
            .header("content-type", "application/json");
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        let response = response.body(reply.clone()).unwrap();
        async { Ok::<_, Infallible>(response) }
    });
    let track = TrackLayer::new(endpoint).layer(client);
    let response = track.oneshot(Request::new(())).await.unwrap();
    let way = Conversion::new(caller, endpoint);
    let response = way.request(request).unwrap().response(response).await;
    let class = response.body().seen().class;
    let (head, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Told {
        status: head.status,
        headers: head.headers,
        body,
        class,
    }
}

#[tokio::test]
async fn an_error_that_is_too_long_or_broken_keeps_its_status_and_hints() {
    // As from a server that quotes the whole request in its answer.
    let long = format!(r#"{{"error":{{"message":"{}"}}}}"#, "x".repeat(100_000));
    for (status, class, kind) in [
        (400, Class::Invalid, "invalid_request_error"),
        (429, Class::Throttled, "rate_limit_error"),
        (503, Class::Unavailable, "api_error"),
    ] {
        let said = told(status, long.clone(), false).await;
        assert_eq!((said.status.as_u16(), said.class), (status, class));
        assert_eq!(said.headers["retry-after"], "7");
        assert_eq!(said.headers["content-type"], "application/json");
        assert_eq!(said.body["error"]["type"], kind, "{}", said.body);
        let message = "the endpoint replied with an error that is longer than 64 KiB";
        assert_eq!(said.body["error"]["message"], message);

        let said = told(status, r#"{"error":{"mess"#, true).await;
        assert_eq!(said.status.as_u16(), status);
        let message = "the endpoint replied with an error that broke off";
        assert_eq!(said.body["error"]["message"], message);
    }
}

#[tokio::test]
async fn an_error_inside_of_a_200_is_told_with_the_status_of_what_it_means() {
    for (error, status, class, again) in [
        (
            r#"{"error":{"message":"slow","type":"requests","code":"rate_limit_exceeded"}}"#,
            429,
            Class::Throttled,
            "true",
        ),
        (
            r#"{"error":{"message":"spent","type":"insufficient_quota"}}"#,
            401,
            Class::Denied,
            "false",
        ),
        (
            r#"{"error":{"message":"down","type":"server_error"}}"#,
            502,
            Class::Unavailable,
            "true",
        ),
    ] {
        let said = told(200, error, false).await;
        assert_eq!((said.status.as_u16(), said.class), (status, class));
        let sent: Value = serde_json::from_str(error).unwrap();
        assert_eq!(said.body["error"]["message"], sent["error"]["message"]);
        assert_eq!(said.headers["x-should-retry"], again, "{error}");
    }
    for no_reply in ["{}", "null", r#"{"type":"message"}"#] {
        let said = told(200, no_reply, false).await;
        let expected = (502, Class::Unavailable);
        assert_eq!((said.status.as_u16(), said.class), expected, "{no_reply}");
        let message = "the endpoint's reply is none in its dialect";
        assert_eq!(said.body["error"]["message"], message);
    }
}

#[tokio::test]
async fn the_envelope_and_the_headers_have_the_id_of_the_request_once() {
    let error = r#"{"error":{"message":"no","type":"server_error"}}"#;
    let gemini = r#"{"error":{"code":400,"message":"Bad","status":"INVALID_ARGUMENT"}}"#;
    let (openai, anthropic) = (Dialect::OpenAi, Dialect::Anthropic);
    let ours: &[_] = &[("x-request-id", "req-1")];
    let both: &[_] = &[("x-request-id", "req-1"), ("request-id", "stray")];
    let stray: &[_] = &[("request-id", "stray")];
    for (endpoint, status, error) in [
        (openai, 500, error),
        (openai, 200, "{}"),
        (Dialect::Gemini, 400, gemini),
    ] {
        for (headers, id) in [(ours, Some("req-1")), (both, Some("req-1")), (stray, None)] {
            let said = told_of((anthropic, endpoint), headers, status, error, false).await;
            let header = said.headers.get("request-id");
            assert_eq!(header.map(|id| id.to_str().unwrap()), id, "{headers:?}");
            assert!(!said.headers.contains_key("x-request-id"));
            let told = said.body.get("request_id").expect("there is one");
            assert_eq!(told.as_str(), id, "{}", said.body);
        }
    }
    let way = (openai, Dialect::Gemini);
    let said = told_of(way, both, 400, gemini, false).await;
    assert_eq!(said.headers["x-request-id"], "req-1");
    assert!(!said.headers.contains_key("request-id"));
    // Its number is that of the status, which has a name.
    assert_eq!(said.body["error"]["code"], "INVALID_ARGUMENT");
    let numbered = r#"{"error":{"code":400,"message":"Bad"}}"#;
    let said = told_of(way, ours, 400, numbered, false).await;
    assert_eq!(said.body["error"]["code"], "400");
}

#[tokio::test]
async fn what_is_no_reply_says_whether_to_call_again_as_well() {
    let way = (Dialect::Anthropic, Dialect::OpenAi);
    let said = told_of(way, &[], 200, "{}", false).await;
    assert_eq!(said.status.as_u16(), 502);
    assert_eq!(said.headers["x-should-retry"], "true");
}

const REPLIES: [(Dialect, &str); 3] = [
    (
        Dialect::OpenAi,
        r#"{"id":"r","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"Hello \"you\"","tool_calls":[{"id":"t1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}},{"id":"t2","type":"function","function":{"name":"g","arguments":""}}]},"finish_reason":"tool_calls"}],"usage":{"prompt_tokens":7,"completion_tokens":5,"total_tokens":12}}"#,
    ),
    (
        Dialect::Anthropic,
        r#"{"id":"r","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"Hello \"you\""},{"type":"tool_use","id":"t1","name":"f","input":{"a":1}},{"type":"tool_use","id":"t2","name":"g","input":{}}],"stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":7,"output_tokens":5}}"#,
    ),
    (
        Dialect::Gemini,
        r#"{"candidates":[{"content":{"parts":[{"text":"Hello \"you\""},{"functionCall":{"id":"t1","name":"f","args":{"a":1}}},{"functionCall":{"id":"t2","name":"g","args":{}}}],"role":"model"},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":7,"candidatesTokenCount":5,"totalTokenCount":12},"modelVersion":"m","responseId":"r"}"#,
    ),
];

/// The data of the events of a stream.
fn events(stream: &Bytes) -> Vec<Value> {
    let text = std::str::from_utf8(stream).unwrap();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.filter(|data| *data != "[DONE]")
        .map(|data| serde_json::from_str(data).unwrap())
        .collect()
}

#[tokio::test]
async fn a_whole_reply_to_who_asked_for_a_stream_is_one() {
    for (endpoint, reply) in REPLIES {
        for caller in [Dialect::OpenAi, Dialect::Anthropic] {
            let request = request(caller, true);
            let said = answered((caller, endpoint), request, &[], 200, reply, false).await;
            assert_eq!((said.status.as_u16(), said.class), (200, Class::Success));
            if caller == endpoint {
                assert_eq!(said.headers["content-type"], "application/json");
                assert_eq!(said.body, reply);
                continue;
            }
            assert_eq!(said.headers["content-type"], "text/event-stream");
            let events = events(&said.body);
            let all = |path: &[&str]| -> Vec<String> {
                let found = path.iter().flat_map(|path| {
                    let of = |event: &Value| Some(event.pointer(path)?.as_str()?.to_owned());
                    events.iter().filter_map(of).collect::<Vec<_>>()
                });
                found.filter(|text| !text.is_empty()).collect()
            };
            if caller == Dialect::OpenAi {
                assert!(said.body.ends_with(b"data: [DONE]\n\n"));
                assert_eq!(all(&["/choices/0/delta/content"]).concat(), "Hello \"you\"");
                let call = "/choices/0/delta/tool_calls/0";
                let [id, name, arguments] =
                    ["id", "function/name", "function/arguments"].map(|it| format!("{call}/{it}"));
                assert_eq!(all(&[&id]), ["t1", "t2"], "{endpoint}");
                assert_eq!(all(&[&name]), ["f", "g"]);
                assert_eq!(all(&[&arguments]), [r#"{"a":1}"#, "{}"]);
                assert_eq!(all(&["/choices/0/finish_reason"]), ["tool_calls"]);
                // Nobody asked for the usage.
                assert!(events.iter().all(|event| event.get("usage").is_none()));
            } else {
                assert_eq!(events.last().unwrap()["type"], "message_stop");
                assert_eq!(all(&["/delta/text"]).concat(), "Hello \"you\"");
                assert_eq!(all(&["/content_block/id"]), ["t1", "t2"], "{endpoint}");
                assert_eq!(all(&["/content_block/name"]), ["f", "g"]);
                let arguments = all(&["/delta/partial_json"]);
                assert_eq!(arguments[0], r#"{"a":1}"#);
                assert!(arguments[1..].iter().all(|piece| piece == "{}"));
                assert_eq!(all(&["/delta/stop_reason"]), ["tool_use"]);
                let usage = &events[events.len() - 2]["usage"];
                assert_eq!(
                    (&usage["input_tokens"], &usage["output_tokens"]),
                    (&7.into(), &5.into())
                );
            }
        }
    }
}

#[tokio::test]
async fn what_failed_is_no_stream_though_one_was_asked_for() {
    let way = (Dialect::Anthropic, Dialect::OpenAi);
    let error = r#"{"error":{"message":"slow","type":"requests","code":"rate_limit_exceeded"}}"#;
    for (status, data, expected) in [(429, error, 429), (200, error, 429), (200, "{}", 502)] {
        let request = request(way.0, true);
        let said = answered(way, request, &[], status, data, false).await;
        assert_eq!(said.status.as_u16(), expected);
        assert_eq!(said.headers["content-type"], "application/json");
        let body: Value = serde_json::from_slice(&said.body).unwrap();
        assert_eq!(body["type"], "error");
    }
}

#[tokio::test]
async fn thoughts_and_their_signatures_are_in_the_stream_of_a_whole_reply() {
    let reply = r#"{"id":"r","type":"message","role":"assistant","model":"m","content":[{"type":"thinking","thinking":"hm","signature":"c2ln"},{"type":"redacted_thinking","data":"eA=="},{"type":"text","text":"a"}],"stop_reason":null,"usage":{"input_tokens":1,"output_tokens":2}}"#;
    let way = (Dialect::OpenAi, Dialect::Anthropic);
    let said = answered(way, request(way.0, true), &[], 200, reply, false).await;
    let events = events(&said.body);
    let blocks: Vec<_> = events
        .iter()
        .filter_map(|event| event.pointer("/choices/0/delta/thinking_blocks/0"))
        .collect();
    assert_eq!(blocks[0]["signature"], "c2ln");
    assert_eq!(blocks[0]["thinking"], "hm");
    assert_eq!(blocks[1]["data"], "eA==");
    // It is whole, whatever it does not say.
    let last = events.last().unwrap();
    assert_eq!(last["choices"][0]["finish_reason"], "stop");
}
