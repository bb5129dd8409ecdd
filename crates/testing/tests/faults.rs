//! Every fault that HTTP/1.1 can carry, as the bytes on the socket have it.

mod support;

use std::{io::ErrorKind, time::Duration};

use buttress_testing::{ApiError, Dialect, Ending, Fault, Hint, Match, Provider, Reply, Running};
use serde_json::{Value, json};
use support::{Answer, Raw, post};

const PATH: &str = "/v1/chat/completions";

fn body(streamed: bool) -> Value {
    json!({ "model": "gpt-test", "stream": streamed, "messages": [{ "role": "user", "content": "Hi" }] })
}

/// A provider whose every call meets the fault, and a connection that has sent such a call.
async fn meet(fault: impl Into<Fault>, streamed: bool) -> (Running, Raw) {
    let provider = Provider::openai()
        .reply(fault.into())
        .start()
        .await
        .unwrap();
    let mut client = Raw::connect(provider.address()).await;
    client.send(post(PATH, &body(streamed))).await;
    (provider, client)
}

/// Everything that comes, as text, until the provider ends the connection, and how it ends.
async fn all(client: &mut Raw) -> (String, Result<(), ErrorKind>) {
    let (bytes, end) = client.rest().await;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    (text, end.map_err(|error| error.kind()))
}

async fn answer(fault: Fault, streamed: bool) -> Answer {
    let (provider, mut client) = meet(fault, streamed).await;
    let answer = client.answer().await;
    provider.finish();
    answer
}

/// The texts of the content events in a stream's bytes.
fn said(text: &str) -> Vec<String> {
    let mut said = Vec::new();
    for line in text.lines() {
        let Some(data) = line.strip_prefix("data: ") else {
            continue;
        };
        let Ok(chunk) = serde_json::from_str::<Value>(data) else {
            continue;
        };
        if let Some(text) = chunk["choices"][0]["delta"]["content"].as_str() {
            said.extend((!text.is_empty()).then(|| text.to_owned()));
        }
    }
    said
}

async fn ended(provider: &Running) -> Option<Ending> {
    provider.log().wait_until_idle().await;
    provider.log().last().unwrap().ending()
}

#[tokio::test]
async fn no_reply_closes_with_no_byte() {
    let (provider, mut client) = meet(Fault::NoReply, false).await;
    assert_eq!(all(&mut client).await, (String::new(), Ok(())));
    assert_eq!(ended(&provider).await, Some(Ending::BrokenOff));
    assert_eq!(provider.log().last().unwrap().status(), None);
}

#[tokio::test]
async fn a_reset_in_the_headers_comes_after_a_part_of_them() {
    let (_provider, mut client) = meet(Fault::ResetInHeaders, false).await;
    let (text, end) = all(&mut client).await;
    assert_eq!(text, "HTTP/1.1 200 OK\r\ncontent-ty");
    assert_eq!(end, Err(ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn a_garbage_header_stands_in_an_otherwise_good_head() {
    let (_provider, mut client) = meet(Fault::GarbageHeader, false).await;
    let head = String::from_utf8(client.until(b"\r\n\r\n").await).unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(
        head.contains("this is: not\u{1} a \0header\r\nnor this\r\n"),
        "{head}"
    );
}

#[tokio::test]
async fn a_long_header_is_as_long_as_said() {
    let (_provider, mut client) = meet(Fault::LongHeader { bytes: 1 << 20 }, false).await;
    let head = client.until(b"\r\n\r\n").await;
    assert_eq!(head.iter().filter(|byte| **byte == b'a').count() >> 20, 1);
}

#[tokio::test]
async fn an_endless_header_goes_on_until_the_client_leaves() {
    let (provider, mut client) = meet(Fault::EndlessHeader, false).await;
    client.until(&[b'a'; 1 << 20]).await;
    drop(client);
    assert_eq!(ended(&provider).await, Some(Ending::Disconnected));
}

#[tokio::test]
async fn two_lengths_contradict_each_other() {
    let (_provider, mut client) = meet(Fault::TwoLengths, true).await;
    let head = String::from_utf8(client.until(b"\r\n\r\n").await).unwrap();
    let lengths: Vec<usize> = head
        .lines()
        .filter_map(|line| line.strip_prefix("content-length: "))
        .map(|length| length.parse().unwrap())
        .collect();
    assert_eq!(lengths.len(), 2);
    assert_eq!(lengths[0] + 7, lengths[1]);
}

#[tokio::test]
async fn a_length_stands_beside_chunks() {
    let (_provider, mut client) = meet(Fault::LengthAndChunks, false).await;
    let head = String::from_utf8(client.until(b"\r\n\r\n").await).unwrap();
    assert!(head.contains("transfer-encoding: chunked\r\n") && head.contains("content-length: "));
}

#[tokio::test]
async fn interim_responses_come_without_end() {
    let (provider, mut client) = meet(Fault::EndlessInterim, false).await;
    for _ in 0..1000 {
        let head = client.until(b"\r\n\r\n").await;
        assert!(head.starts_with(b"HTTP/1.1 103 Early Hints\r\n"));
    }
    drop(client);
    assert_eq!(ended(&provider).await, Some(Ending::Disconnected));
}

#[tokio::test]
async fn headers_that_never_come_leave_the_connection_open() {
    let (provider, client) = meet(Fault::NoHeaders, false).await;
    provider.log().wait_for(1).await;
    let mut byte = [0];
    let read = client.stream.try_read(&mut byte);
    assert_eq!(read.unwrap_err().kind(), ErrorKind::WouldBlock);
    drop(client);
    assert_eq!(ended(&provider).await, Some(Ending::Disconnected));
}

#[tokio::test]
async fn a_reset_comes_before_or_after_content() {
    for (after, words) in [(0, vec![]), (2, vec!["The", " quick"])] {
        let (provider, mut client) = meet(Fault::Reset { after }, true).await;
        let (text, end) = all(&mut client).await;
        assert_eq!(said(&text), words);
        assert!(text.contains("\"role\":\"assistant\""));
        assert_eq!(end, Err(ErrorKind::ConnectionReset));
        assert_eq!(ended(&provider).await, Some(Ending::BrokenOff));
        assert_eq!(provider.log().billed().output, after as u64);
    }
    let (_provider, mut client) = meet(Fault::Reset { after: 1 }, false).await;
    let (text, end) = all(&mut client).await;
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    let (_, length) = head.split_once("content-length: ").unwrap();
    let length: usize = length.lines().next().unwrap().parse().unwrap();
    assert!(
        !body.is_empty() && body.len() < length,
        "the head promised the whole: {head}"
    );
    assert_eq!(end, Err(ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn a_close_leaves_out_the_last_chunk() {
    let (_provider, mut client) = meet(Fault::Close { after: 2 }, true).await;
    let (text, end) = all(&mut client).await;
    assert_eq!(said(&text), ["The", " quick"]);
    assert!(!text.contains("0\r\n\r\n"));
    assert_eq!(end, Ok(()));
}

#[tokio::test]
async fn a_short_length_promises_more_than_comes() {
    for (after, streamed) in [(0, false), (1, false), (0, true), (2, true)] {
        let (provider, mut client) = meet(Fault::ShortLength { after }, streamed).await;
        let (text, end) = all(&mut client).await;
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let (_, length) = head.split_once("content-length: ").unwrap();
        let length: usize = length.lines().next().unwrap().parse().unwrap();
        assert!(body.len() < length, "{after} {streamed}: {text}");
        assert_eq!(body.is_empty(), !streamed && after == 0);
        assert_eq!(end, Ok(()));
        assert_eq!(ended(&provider).await, Some(Ending::BrokenOff));
    }
}

#[tokio::test]
async fn a_bad_chunk_has_no_size() {
    let (_provider, mut client) = meet(Fault::BadChunk { after: 2 }, true).await;
    let (text, end) = all(&mut client).await;
    assert_eq!(said(&text), ["The", " quick"]);
    assert!(text.ends_with("\r\nnot a size\r\nxyz\r\n"));
    assert_eq!(end, Ok(()));
    let (_provider, mut client) = meet(Fault::BadChunk { after: 0 }, false).await;
    let (text, _) = all(&mut client).await;
    assert!(text.ends_with("\r\n\r\nnot a size\r\nxyz\r\n"), "{text}");
}

#[tokio::test]
async fn a_stall_leaves_the_connection_open_with_what_came() {
    for (after, last) in [(0, "role"), (2, " quick")] {
        let (provider, mut client) = meet(Fault::Stall { after }, true).await;
        client.until(last.as_bytes()).await;
        client.until(b"\n\n\r\n").await;
        let read = client.stream.try_read(&mut [0]);
        assert_eq!(read.unwrap_err().kind(), ErrorKind::WouldBlock);
        drop(client);
        assert_eq!(ended(&provider).await, Some(Ending::Disconnected));
        assert_eq!(provider.log().billed().output, after as u64);
    }
}

#[tokio::test]
async fn pings_or_comments_come_without_end() {
    let every = Duration::from_millis(1);
    for (fault, ping) in [
        (Fault::PingsOnly { after: 2, every }, "event: ping\n\n"),
        (Fault::CommentsOnly { after: 2, every }, ": still here\n\n"),
    ] {
        let (provider, mut client) = meet(fault, true).await;
        client.until(b" quick").await;
        for _ in 0..10 {
            client.until(ping.as_bytes()).await;
        }
        drop(client);
        assert_eq!(ended(&provider).await, Some(Ending::Disconnected));
    }
    let provider = Provider::anthropic()
        .reply(Fault::PingsOnly { after: 0, every })
        .start()
        .await
        .unwrap();
    let mut client = Raw::connect(provider.address()).await;
    client.send(post("/v1/messages", &body(true))).await;
    client
        .until(b"event: ping\ndata: {\"type\":\"ping\"}\n\n")
        .await;
}

#[tokio::test]
async fn an_error_event_ends_a_stream_that_began_well() {
    let fault = |after| Fault::ErrorEvent {
        after,
        error: ApiError::Status(529),
    };
    for (after, words) in [(0, vec![]), (1, vec!["The"])] {
        let answer = answer(fault(after), true).await;
        assert_eq!(answer.status, 200);
        assert_eq!(said(&answer.text()), words);
        let events = answer.events();
        let last: Value = serde_json::from_str(events.last().unwrap()).unwrap();
        assert_eq!(last["error"]["type"], "server_error");
    }
    let provider = Provider::anthropic().reply(fault(1)).start().await.unwrap();
    let mut client = Raw::connect(provider.address()).await;
    let text = client.ask("/v1/messages", &body(true)).await.text();
    let expected = "event: error\ndata: {\"error\":{\"message\":\"Overloaded\",\"type\":\"overloaded_error\"},\"request_id\":\"req_00000001\",\"type\":\"error\"}\n\n";
    assert!(text.ends_with(expected), "{text}");

    let provider = Provider::gemini().reply(fault(1)).start().await.unwrap();
    let mut client = Raw::connect(provider.address()).await;
    let path = Dialect::Gemini.call_path("g", true);
    let events = client.ask(&path, &json!({})).await.text();
    assert!(
        events.contains("data: {\"error\":{\"code\":529,"),
        "{events}"
    );
    let array = client
        .ask(&path.replace("?alt=sse", ""), &json!({}))
        .await
        .json();
    assert_eq!(array[1]["error"]["status"], "UNAVAILABLE");
}

#[tokio::test]
async fn without_a_terminator_the_stream_ends_cleanly_after_its_content() {
    let answer = answer(Fault::NoTerminator, true).await;
    let text = answer.text();
    assert_eq!(
        said(&text).concat(),
        "The quick brown fox jumps over the lazy dog"
    );
    assert!(!text.contains("[DONE]") && !text.contains("\"stop\""));
    let no_done = self::answer(Fault::NoDone, true).await.text();
    assert!(!no_done.contains("[DONE]") && no_done.contains("\"stop\""));
}

#[tokio::test]
async fn a_long_event_and_an_endless_line_stand_after_content() {
    let bytes = (1 << 20) + 5;
    let answer = answer(Fault::LongEvent { after: 2, bytes }, true).await;
    let long = answer
        .events()
        .into_iter()
        .find(|event| event.contains("pad"))
        .unwrap();
    let long: Value = serde_json::from_str(&long).unwrap();
    assert_eq!(long["pad"].as_str().unwrap().len(), bytes);
    assert!(answer.text().ends_with("[DONE]\n\n"));

    let (provider, mut client) = meet(Fault::EndlessLine { after: 2 }, true).await;
    client.until(b" quick").await;
    client.until(b"data: ").await;
    for _ in 0..100 {
        let size = String::from_utf8(client.until(b"\r\n").await).unwrap();
        assert!(matches!(size.trim(), "" | "4000"), "{size}");
        client.until(b"aaaa\r\n").await;
    }
    drop(client);
    assert_eq!(ended(&provider).await, Some(Ending::Disconnected));
}

#[tokio::test]
async fn a_body_without_end_is_json_that_goes_on() {
    let (provider, mut client) = meet(Fault::EndlessBody, false).await;
    client.until(b"\"choices\"").await;
    client.until(&[b' '; 10_000]).await;
    drop(client);
    assert_eq!(ended(&provider).await, Some(Ending::Disconnected));
}

#[tokio::test]
async fn junk_is_called_gzip() {
    let answer = answer(Fault::BadGzip, true).await;
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    assert!(answer.body.starts_with(b"\x1f\x8b\x08this is not"));
}

#[tokio::test]
async fn whole_replies_are_malformed_empty_or_of_another_kind() {
    let malformed = answer(Fault::MalformedJson, false).await;
    assert_eq!(malformed.header("content-type"), Some("application/json"));
    assert!(serde_json::from_slice::<Value>(&malformed.body).is_err());
    assert!(malformed.body.starts_with(b"{\"id\":"));

    let page = answer(Fault::WrongContentType, true).await;
    assert_eq!(
        (page.status, page.header("content-type")),
        (200, Some("text/html"))
    );
    assert!(page.text().starts_with("<html>"));

    let bare = answer(Fault::NoContentType, false).await;
    assert_eq!(bare.header("content-type"), None);
    assert_eq!(bare.json()["object"], "chat.completion");

    let empty = answer(Fault::Empty, true).await;
    assert_eq!(
        (empty.status, empty.header("content-length")),
        (200, Some("0"))
    );
}

#[tokio::test]
async fn a_drip_comes_in_small_pieces_and_completely() {
    let fault = Fault::Drip {
        bytes: 16,
        every: Duration::ZERO,
    };
    let answer = answer(fault, true).await;
    assert!(answer.chunks.iter().all(|chunk| chunk.len() <= 16));
    assert_eq!(said(&answer.text()).len(), 9);
    assert!(answer.text().ends_with("[DONE]\n\n"));
}

#[tokio::test]
async fn half_closed_the_provider_waits_for_the_client_to_close() {
    let (provider, mut client) = meet(Fault::HalfClose, false).await;
    let (text, end) = all(&mut client).await;
    assert_eq!(end, Ok(()));
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(!head.contains("content-length") && head.contains("connection: close"));
    assert!(serde_json::from_str::<Value>(body).is_ok());
    assert_eq!(ended(&provider).await, Some(Ending::Replied));
    assert_eq!(provider.log().open_connections(), 1);
    client.send("more").await;
    drop(client);
    provider.log().wait_until_closed().await;
}

#[tokio::test]
async fn odd_but_good_streams_are_complete() {
    let twice = answer(Fault::DuplicateEvents, true).await;
    assert_eq!(said(&twice.text()).len(), 18);

    let invalid = answer(Fault::InvalidUtf8, true).await;
    let at = invalid
        .body
        .windows(2)
        .position(|two| two == b"\xff\xfe")
        .unwrap();
    assert!(
        invalid.body[..at].ends_with(b"\"content\":\"")
            && invalid.body[at + 2..].starts_with(b"The\"")
    );
    let invalid = answer(Fault::InvalidUtf8, false).await;
    assert!(invalid.body.windows(5).any(|part| part == b"\xff\xfeThe"));

    let marked = answer(Fault::ByteOrderMark, true).await;
    assert!(marked.body.starts_with(b"\xef\xbb\xbfdata: {"));

    let nul = answer(Fault::Nul, true).await;
    assert!(nul.text().contains("\n\n: \0\nid: \0\ndata: {"));
    assert_eq!(said(&nul.text()).len(), 9);

    let malformed = answer(Fault::MalformedEvent { after: 2 }, true).await;
    assert!(malformed.text().contains("data: {\"choices\":[{\n\n"));
    assert_eq!(said(&malformed.text()).len(), 9);
}

#[tokio::test]
async fn a_cr_and_its_lf_come_in_different_chunks() {
    let answer = answer(Fault::SplitCrLf, true).await;
    assert!(
        answer
            .chunks
            .iter()
            .all(|chunk| !chunk.windows(2).any(|two| two == b"\r\n"))
    );
    let text = answer.text();
    assert_eq!(text.matches("\r\n").count(), text.matches('\n').count());
    assert_eq!(said(&text).len(), 9);
    assert!(text.ends_with("data: [DONE]\r\n\r\n"));
}

#[tokio::test]
async fn every_hint_stands_in_its_form() {
    let now = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_775);
    let hints = Hint::ALL
        .into_iter()
        .filter(|hint| hint.fits(Dialect::OpenAi));
    let mut seen = Vec::new();
    for hint in hints {
        let provider = Provider::openai()
            .wall_clock(now)
            .reply(Fault::Throttled(hint))
            .start()
            .await
            .unwrap();
        let mut client = Raw::connect(provider.address()).await;
        let answer = client.ask(PATH, &body(true)).await;
        assert_eq!(answer.status, 429);
        assert_eq!(answer.json()["error"]["code"], "rate_limit_exceeded");
        let lines = answer
            .head
            .lines()
            .filter(|line| line.contains("retry") || line.contains("ratelimit"));
        seen.push(lines.collect::<Vec<_>>().join(", "));
    }
    assert_eq!(
        seen,
        [
            "",
            "retry-after: 2",
            "retry-after: Sun, 06 Nov 1994 08:49:37 GMT",
            "retry-after: Sunday, 06-Nov-94 08:49:37 GMT",
            "retry-after: Sun Nov  6 08:49:37 1994",
            "retry-after-ms: 2000",
            "x-ratelimit-limit-requests: 60, x-ratelimit-remaining-requests: 0, x-ratelimit-reset-requests: 2s",
            "retry-after: 0",
            "retry-after: -10",
            "retry-after: 1000000000",
            "retry-after: Sun, 06 Nov 1994 07:49:35 GMT",
            "retry-after: 1, retry-after: 30",
        ]
    );
}

#[tokio::test]
async fn gemini_and_anthropic_hint_in_their_own_way() {
    let now = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_775);
    let provider = Provider::anthropic()
        .wall_clock(now)
        .reply(Fault::Throttled(Hint::ResetHeaders(2)))
        .start()
        .await
        .unwrap();
    let mut client = Raw::connect(provider.address()).await;
    let answer = client.ask("/v1/messages", &body(false)).await;
    let reset = answer.header("anthropic-ratelimit-requests-reset");
    assert_eq!(reset, Some("1994-11-06T08:49:37Z"));

    let script = Reply::from(Fault::Throttled(Hint::RetryInfo(34_070)))
        .then(Reply::from(Fault::Throttled(Hint::Message(900))).once());
    let provider = Provider::gemini().reply(script).start().await.unwrap();
    let mut client = Raw::connect(provider.address()).await;
    let path = Dialect::Gemini.call_path("g", true);
    let details = client.ask(&path, &json!({})).await.json();
    assert_eq!(details["error"]["details"][0]["retryDelay"], "34.07s");
    let message = client.ask(&path, &json!({})).await.json();
    assert!(
        message["error"]["message"]
            .as_str()
            .unwrap()
            .ends_with("Please retry in 0.9s.")
    );
    provider.finish();
}

/// The bytes that decide about money: each of them as the provider sends it.
#[tokio::test]
async fn errors_that_must_never_be_retried_say_so_in_their_literal_bytes() {
    let cases = [
        (
            Dialect::OpenAi,
            ApiError::InsufficientQuota,
            429,
            r#""type":"insufficient_quota"}"#,
        ),
        (
            Dialect::OpenAi,
            ApiError::InsufficientQuota,
            429,
            r#""code":"insufficient_quota""#,
        ),
        (
            Dialect::OpenAi,
            ApiError::CreditBalanceExhausted,
            429,
            r#""code":"credit_balance_exhausted""#,
        ),
        (
            Dialect::OpenAi,
            ApiError::OrganizationSpendLimit,
            429,
            r#""code":"organization_spend_limit_exceeded""#,
        ),
        (
            Dialect::OpenAi,
            ApiError::ProjectSpendLimit,
            429,
            r#""code":"project_spend_limit_exceeded""#,
        ),
        (
            Dialect::OpenAi,
            ApiError::OrganizationUsageLimit,
            429,
            r#""code":"organization_usage_limit_exceeded""#,
        ),
        (
            Dialect::Anthropic,
            ApiError::EnforcedSpendLimit,
            429,
            r#""details":{"error_code":"enforced_spend_limit_reached"}"#,
        ),
        (
            Dialect::Anthropic,
            ApiError::UsageLimits,
            400,
            "You have reached your specified API usage limits",
        ),
        (
            Dialect::Anthropic,
            ApiError::Status(402),
            402,
            r#""type":"billing_error""#,
        ),
        (
            Dialect::Gemini,
            ApiError::DailyQuota,
            429,
            r#""quotaId":"GenerateRequestsPerDayPerProjectPerModel-FreeTier""#,
        ),
        (
            Dialect::Gemini,
            ApiError::LongDelay,
            429,
            r#""retryDelay":"86399s""#,
        ),
        (
            Dialect::Gemini,
            ApiError::InvalidKey,
            400,
            r#""reason":"API_KEY_INVALID""#,
        ),
    ];
    for (dialect, error, status, bytes) in cases {
        assert_eq!(error.class(), "Denied", "{error:?}");
        let provider = Provider::new(dialect).reply(error).start().await.unwrap();
        let mut client = Raw::connect(provider.address()).await;
        let answer = client.ask(&dialect.call_path("m", true), &body(true)).await;
        assert_eq!(answer.status, status, "{error:?}");
        assert!(
            answer.text().contains(bytes),
            "{error:?}: {}",
            answer.text()
        );
        assert_eq!(answer.header("retry-after"), None);
    }
}

#[tokio::test]
async fn errors_of_the_request_have_each_dialects_words() {
    let cases = [
        (
            Dialect::OpenAi,
            ApiError::ContextLength,
            400,
            r#""code":"context_length_exceeded""#,
        ),
        (
            Dialect::OpenAi,
            ApiError::ModelNotFound,
            404,
            r#""code":"model_not_found""#,
        ),
        (
            Dialect::OpenAi,
            ApiError::ContentFilter,
            400,
            r#""code":"content_filter""#,
        ),
        (
            Dialect::Anthropic,
            ApiError::ContextLength,
            400,
            "prompt is too long: 208310 tokens > 200000 maximum",
        ),
        (
            Dialect::Anthropic,
            ApiError::ModelNotFound,
            404,
            r#""type":"not_found_error""#,
        ),
        (
            Dialect::Anthropic,
            ApiError::ContentFilter,
            400,
            "Output blocked by content filtering policy",
        ),
        (
            Dialect::Gemini,
            ApiError::ContextLength,
            400,
            "exceeds the maximum number of tokens allowed",
        ),
        (
            Dialect::Gemini,
            ApiError::ModelNotFound,
            404,
            r#""status":"NOT_FOUND""#,
        ),
        (
            Dialect::Gemini,
            ApiError::ContentFilter,
            200,
            r#""blockReason":"PROHIBITED_CONTENT""#,
        ),
    ];
    for (dialect, error, status, bytes) in cases {
        assert_eq!(error.class(), "Unfit");
        for streamed in [false, true] {
            let provider = Provider::new(dialect).reply(error).start().await.unwrap();
            let mut client = Raw::connect(provider.address()).await;
            let answer = client
                .ask(&dialect.call_path("m", streamed), &body(streamed))
                .await;
            assert_eq!(answer.status, status, "{error:?}");
            assert!(
                answer.text().contains(bytes),
                "{error:?}: {}",
                answer.text()
            );
        }
    }
}

#[tokio::test]
async fn a_200_may_hold_an_error() {
    let answer = answer(Fault::ErrorInOk(ApiError::InsufficientQuota), false).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.json()["error"]["code"], "insufficient_quota");
}

#[tokio::test]
async fn the_servers_word_on_retrying_and_a_redirect_are_headers() {
    let error = answer(
        Fault::ShouldRetry {
            status: 400,
            again: true,
        },
        true,
    )
    .await;
    assert_eq!(
        (error.status, error.header("x-should-retry")),
        (400, Some("true"))
    );
    let redirect = answer(Fault::Redirect, true).await;
    assert_eq!(redirect.status, 307);
    assert_eq!(
        redirect.header("location"),
        Some("http://redirect.invalid/v1/chat/completions")
    );
}

#[tokio::test]
async fn a_connection_is_closed_behind_the_clients_back() {
    let provider = Provider::openai()
        .reply(Fault::IdleClose)
        .start()
        .await
        .unwrap();
    let mut client = Raw::connect(provider.address()).await;
    let answer = client.ask(PATH, &body(false)).await;
    assert_eq!((answer.status, answer.header("connection")), (200, None));
    assert_eq!(client.rest().await.0, b"");

    let provider = Provider::openai()
        .reply(Fault::KeepAliveRace)
        .start()
        .await
        .unwrap();
    let mut client = Raw::connect(provider.address()).await;
    let answer = client.ask(PATH, &body(false)).await;
    assert_eq!((answer.status, answer.header("connection")), (200, None));
    assert_eq!(
        provider.log().open_connections(),
        1,
        "it is open while it is idle"
    );
    client.send("P").await;
    assert_eq!(client.rest().await.0, b"");
    assert_eq!(provider.log().received(), 1);
}

#[tokio::test]
async fn a_fault_that_cannot_be_carried_fails_the_test() {
    for (fault, streamed, why) in [
        (Fault::RefusedStream, true, "cannot be carried by Socket"),
        (Fault::NoTerminator, false, "is for streamed calls"),
        (Fault::MalformedJson, true, "is for whole replies"),
        (
            Fault::Throttled(Hint::RetryInfo(1)),
            true,
            "is none of OpenAi",
        ),
    ] {
        let (provider, mut client) = meet(fault, streamed).await;
        assert_eq!(client.answer().await.status, 501);
        let end = std::panic::AssertUnwindSafe(|| drop(provider));
        let words = std::panic::catch_unwind(end)
            .unwrap_err()
            .downcast::<String>()
            .unwrap();
        assert!(words.contains(why), "{words}");
    }
}

#[tokio::test]
async fn a_fault_spoils_the_reply_that_it_is_put_on() {
    let reply = Reply::text("one two three").fault(Fault::Reset { after: 1 });
    let provider = Provider::openai()
        .on(Match::any(), reply.then(Reply::text("fine")))
        .start()
        .await
        .unwrap();
    let mut client = Raw::connect(provider.address()).await;
    client.send(post(PATH, &body(true))).await;
    let (text, end) = all(&mut client).await;
    assert_eq!(said(&text), ["one"]);
    assert_eq!(end, Err(ErrorKind::ConnectionReset));
    let mut client = Raw::connect(provider.address()).await;
    assert_eq!(client.ask(PATH, &body(true)).await.status, 200);
    provider.finish();
}
