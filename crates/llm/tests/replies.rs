//! What the meters say of replies that are no streams: whole ones, and the errors of each provider,
//! with the bytes that decide money standing here as they stand on the wire.

mod common;

use std::time::Duration;

use buttress_core::{Class, Outcome, Usage};
use buttress_http::{Judge, class_of_status};
use buttress_llm::{Anthropic, AnyPath, Dialect, Gemini, OpenAi};
use common::{Said, head, json_head, said, said_at_every_split};
use http::StatusCode;

/// What is said in the end of a reply of this status with this body.
fn outcome(dialect: Dialect, status: u16, body: &str) -> Outcome {
    let parts = json_head(status);
    let said = said_at_every_split(&dialect, &parts, body.as_bytes());
    assert_eq!(said.open, said.ended, "known once the body is there");
    let head = dialect.head(&parts);
    let said = said.ended.expect("a verdict");
    if head.failed() {
        assert!(said.failed(), "a failed head stays one");
    }
    said
}

fn class(dialect: Dialect, status: u16, body: &str) -> Class {
    outcome(dialect, status, body).class
}

fn whole(dialect: Dialect, body: &str) -> Said {
    said_at_every_split(&dialect, &json_head(200), body.as_bytes())
}

// ===== OpenAI =====

#[test]
fn openai_money_that_is_spent_is_denied_whatever_the_status() {
    for body in [
        r#"{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}"#,
        r#"{"error":{"message":"x","type":"insufficient_quota","param":null,"code":null}}"#,
        r#"{"error":{"message":"x","type":"insufficient_quota","param":null,"code":"rate_limit_exceeded"}}"#,
        r#"{"error":{"message":"x","type":"billing","param":null,"code":"credit_balance_exhausted"}}"#,
        r#"{"error":{"message":"x","type":"billing","param":null,"code":"organization_spend_limit_exceeded"}}"#,
        r#"{"error":{"message":"x","type":"billing","param":null,"code":"project_spend_limit_exceeded"}}"#,
        r#"{"error":{"message":"x","type":"billing","param":null,"code":"organization_usage_limit_exceeded"}}"#,
    ] {
        for status in [429, 403, 400] {
            assert_eq!(
                class(Dialect::OpenAi, status, body),
                Class::Denied,
                "{status} {body}"
            );
        }
        assert_eq!(class(Dialect::OpenAi, 503, body), Class::Unavailable);
    }
}

#[test]
fn openai_errors_are_of_the_class_that_their_body_refines() {
    for (status, body, expected) in [
        (
            429,
            r#"{"error":{"message":"Rate limit reached for gpt-4.1 on tokens per min (TPM): Limit 30000, Used 29000","type":"tokens","param":null,"code":"rate_limit_exceeded"}}"#,
            Class::Throttled,
        ),
        (
            429,
            r#"{"error":{"message":"Slow down","type":"requests","param":null,"code":"slow_down"}}"#,
            Class::Throttled,
        ),
        (
            429,
            r#"{"error":{"message":"x","type":"invalid_request_error","param":null,"code":"context_length_exceeded"}}"#,
            Class::Throttled,
        ),
        (429, "slow down!", Class::Throttled),
        (429, "", Class::Throttled),
        (
            400,
            r#"{"error":{"message":"This model's maximum context length is 128000 tokens.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}"#,
            Class::Unfit,
        ),
        (
            400,
            r#"{"object":"error","message":"This model's maximum context length is 4096 tokens. However, you requested 5000 tokens.","type":"BadRequestError","param":null,"code":400}"#,
            Class::Unfit,
        ),
        (
            404,
            r#"{"error":{"message":"The model `gpt-9` does not exist or you do not have access to it.","type":"invalid_request_error","param":null,"code":"model_not_found"}}"#,
            Class::Unfit,
        ),
        (
            403,
            r#"{"error":{"message":"Project does not have access to model","type":"invalid_request_error","param":null,"code":"model_not_found"}}"#,
            Class::Unfit,
        ),
        (
            400,
            r#"{"error":{"message":"filtered","type":null,"param":"prompt","code":"content_filter","status":400}}"#,
            Class::Unfit,
        ),
        (
            400,
            r#"{"error":{"message":"Unsupported parameter: 'max_tokens'","type":"invalid_request_error","param":"max_tokens","code":"unsupported_parameter"}}"#,
            Class::Unfit,
        ),
        (
            404,
            r#"{"error":{"code":"DeploymentNotFound","message":"The API deployment does not exist."}}"#,
            Class::Unfit,
        ),
        (
            400,
            r#"{"error":{"message":"bad","type":"invalid_request_error","param":"x","code":null}}"#,
            Class::Invalid,
        ),
        (
            422,
            r#"{"detail":[{"loc":["body","messages"],"msg":"field required"}]}"#,
            Class::Invalid,
        ),
        (
            401,
            r#"{"error":{"message":"Incorrect API key provided: sk-proj-****","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#,
            Class::Denied,
        ),
        (
            402,
            r#"{"error":{"message":"Insufficient credits","code":402}}"#,
            Class::Denied,
        ),
        (
            500,
            r#"{"error":{"message":"The server had an error","type":"server_error","param":null,"code":null}}"#,
            Class::Unavailable,
        ),
        (503, "<html>no</html>", Class::Unavailable),
    ] {
        let said = said_at_every_split(&OpenAi, &json_head(status), body.as_bytes());
        let head = OpenAi.head(&json_head(status));
        // Without a verdict, what the head said stands.
        assert_eq!(
            said.class().unwrap_or(head.class),
            expected,
            "{status} {body}"
        );
    }
}

#[test]
fn openai_replies_tell_their_usage_and_are_content_once_whole() {
    let body = r#"{"id":"chatcmpl-1","object":"chat.completion","model":"gpt-4.1-nano","choices":[{"index":0,"message":{"role":"assistant","content":"{\"error\":{\"message\":\"}\"}}","refusal":null},"finish_reason":"stop"}],"usage":{"prompt_tokens":16,"completion_tokens":363,"total_tokens":379,"prompt_tokens_details":{"cached_tokens":4},"completion_tokens_details":{"reasoning_tokens":0}},"error":null}"#;
    let said = whole(Dialect::OpenAi, body);
    assert_eq!(
        (said.open, said.ended),
        (Some(Outcome::SUCCESS), Some(Outcome::SUCCESS))
    );
    let usage = Usage {
        cached_input: 4,
        ..Usage::new(16, 363)
    };
    assert_eq!(
        (said.usage, said.content_at),
        (Some(usage), Some(body.len()))
    );
}

#[test]
fn other_paths_of_a_dialect_are_read_as_far_as_they_are_alike() {
    for (dialect, body, usage) in [
        (
            Dialect::OpenAi,
            r#"{"object":"list","data":[{"object":"embedding","embedding":[0.1,-2e-3],"index":0}],"model":"m","usage":{"prompt_tokens":8,"total_tokens":8}}"#,
            Some(Usage::new(8, 0)),
        ),
        (
            Dialect::OpenAi,
            r#"{"object":"response","status":"completed","error":null,"output":[],"usage":{"input_tokens":36,"input_tokens_details":{"cached_tokens":0},"output_tokens":87,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":123}}"#,
            Some(Usage::new(36, 87)),
        ),
        (Dialect::OpenAi, r#"{"object":"list","data":[]}"#, None),
        (
            Dialect::OpenAi,
            r#"{"text":"Hi","usage":{"type":"duration","seconds":3}}"#,
            None,
        ),
        (
            Dialect::Anthropic,
            r#"{"input_tokens":2095}"#,
            Some(Usage::new(2095, 0)),
        ),
        (Dialect::Gemini, r#"{"totalTokens":31}"#, None),
        (Dialect::Gemini, r#"{"embedding":{"values":[0.013]}}"#, None),
    ] {
        let said = whole(dialect, body);
        assert_eq!(said.class(), Some(Class::Success), "{body}");
        assert_eq!(said.usage, usage, "{body}");
    }
}

#[test]
fn an_error_inside_a_200_is_of_its_own_class() {
    for (dialect, body, expected) in [
        (
            Dialect::OpenAi,
            r#"{"error":{"message":"x","type":"insufficient_quota","code":"insufficient_quota"}}"#,
            Class::Denied,
        ),
        (
            Dialect::OpenAi,
            r#"{"error":{"message":"Provider returned error","code":429,"metadata":{}}}"#,
            Class::Throttled,
        ),
        (
            Dialect::OpenAi,
            r#"{"object":"error","message":"x","type":"internal","code":503}"#,
            Class::Unavailable,
        ),
        (
            Dialect::OpenAi,
            r#"{"error":"CUDA out of memory"}"#,
            Class::Unavailable,
        ),
        (
            Dialect::Anthropic,
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
            Class::Unavailable,
        ),
        (
            Dialect::Gemini,
            r#"{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}"#,
            Class::Unavailable,
        ),
        (
            Dialect::Gemini,
            r#"[{"error":{"code":429,"message":"x","status":"RESOURCE_EXHAUSTED"}}]"#,
            Class::Throttled,
        ),
    ] {
        assert_eq!(class(dialect, 200, body), expected, "{body}");
    }
}

#[test]
fn what_is_no_reply_at_all_is_unavailable() {
    for dialect in Dialect::ALL {
        for body in [
            "",
            " ",
            "null",
            "\"text\"",
            "{",
            "{\"id\":1",
            "<html></html>",
            "{\"a\":}",
            "{\"a\":1]",
        ] {
            let class = whole(dialect, body).class();
            let not_whole = class.is_none() && !body.starts_with('n');
            assert!(
                not_whole || class == Some(Class::Unavailable),
                "{body} {class:?}"
            );
        }
        // Here the reply was whole once, and delivered.
        for body in ["{}{}", "{} x", "[{}]]"] {
            for chunks in [1, body.len()] {
                let said = said(&dialect, &json_head(200), body.as_bytes().chunks(chunks));
                assert_eq!(said.class(), Some(Class::Unavailable), "{body}");
            }
        }
    }
}

#[test]
fn s7_a_reply_ten_thousand_levels_deep_is_unavailable() {
    for (open, close) in [("{\"a\":", "}"), ("[", "]"), ("{\"error\":[", "]}")] {
        let body = format!(
            "{{\"usage\":{}1{}}}",
            open.repeat(10_000),
            close.repeat(10_000)
        );
        for status in [200, 400] {
            let said = said(&OpenAi, &json_head(status), body.as_bytes().chunks(1000));
            let class = said
                .class()
                .unwrap_or(class_of_status(StatusCode::from_u16(status).unwrap()));
            assert_eq!(
                class,
                if status == 200 {
                    Class::Unavailable
                } else {
                    Class::Invalid
                }
            );
        }
    }
}

#[test]
fn s4_a_body_without_end_is_not_kept() {
    // More than is kept of an error, and then of a reply: given up, judged by status and end.
    let filler = format!("{{\"a\":\"{}", "x".repeat(70_000));
    let of_error = said(&OpenAi, &json_head(429), filler.as_bytes().chunks(1000));
    assert_eq!(of_error.open, Some(Outcome::new(Class::Throttled)));

    let filler = format!(
        "{{\"a\":\"{}\",\"usage\":{{\"prompt_tokens\":1}}}}",
        "x".repeat(5 << 20)
    );
    let chunks = filler.as_bytes().chunks(1 << 16);
    let reply = said(&OpenAi, &json_head(200), chunks);
    assert_eq!((reply.ended, reply.usage), (Some(Outcome::SUCCESS), None));
    assert_eq!(
        reply.content_at,
        Some(2 << 16),
        "past what may be an error it is content"
    );
    let cut = said(
        &OpenAi,
        &json_head(200),
        filler.as_bytes()[..filler.len() - 1].chunks(1 << 16),
    );
    assert_eq!(cut.ended, None);
}

// ===== Anthropic =====

#[test]
fn anthropic_money_that_is_spent_is_denied() {
    for (status, body) in [
        (
            429,
            r#"{"type":"error","error":{"type":"rate_limit_error","message":"This organization has reached its spend limit.","details":{"error_code":"enforced_spend_limit_reached"}},"request_id":"req_1"}"#,
        ),
        (
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC."},"request_id":"req_1"}"#,
        ),
        (
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error","message":"Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits."}}"#,
        ),
        (
            402,
            r#"{"type":"error","error":{"type":"billing_error","message":"x"}}"#,
        ),
        (
            403,
            r#"{"type":"error","error":{"type":"permission_error","message":"x"}}"#,
        ),
        (
            401,
            r#"{"type":"error","error":{"type":"authentication_error","message":"invalid x-api-key"}}"#,
        ),
    ] {
        assert_eq!(
            class(Dialect::Anthropic, status, body),
            Class::Denied,
            "{body}"
        );
    }
}

#[test]
fn anthropic_errors_are_of_the_class_that_their_body_refines() {
    for (status, kind, message, expected) in [
        (
            429,
            "rate_limit_error",
            "This request would exceed your organization's rate limit",
            Class::Throttled,
        ),
        (529, "overloaded_error", "Overloaded", Class::Unavailable),
        (
            500,
            "api_error",
            "Internal server error",
            Class::Unavailable,
        ),
        (504, "timeout_error", "x", Class::Unavailable),
        (
            413,
            "request_too_large",
            "Request exceeds the maximum size",
            Class::Invalid,
        ),
        (
            400,
            "invalid_request_error",
            "messages: at least one message is required",
            Class::Invalid,
        ),
        (
            400,
            "invalid_request_error",
            "prompt is too long: 210000 tokens > 200000 maximum",
            Class::Unfit,
        ),
        (
            400,
            "invalid_request_error",
            "input length and `max_tokens` exceed context limit: 1 + 2 > 2",
            Class::Unfit,
        ),
        (404, "not_found_error", "model: claude-9", Class::Unfit),
    ] {
        let body = format!(
            r#"{{"type":"error","error":{{"type":"{kind}","message":"{message}"}},"request_id":"req_1"}}"#
        );
        assert_eq!(class(Dialect::Anthropic, status, &body), expected, "{body}");
    }
}

#[test]
fn anthropic_replies_tell_their_usage() {
    let body = r#"{"model":"claude-sonnet-4-5","id":"msg_1","type":"message","role":"assistant","content":[{"type":"text","text":"Hello"}],"stop_reason":"end_turn","usage":{"input_tokens":12,"cache_creation_input_tokens":3,"cache_read_input_tokens":500,"cache_creation":{"ephemeral_5m_input_tokens":3},"output_tokens":29,"service_tier":"standard"}}"#;
    let said = whole(Dialect::Anthropic, body);
    let usage = Usage {
        cached_input: 500,
        cache_write: 3,
        ..Usage::new(515, 29)
    };
    assert_eq!(
        (said.ended, said.usage),
        (Some(Outcome::SUCCESS), Some(usage))
    );
}

// ===== Gemini =====

const RETRY_INFO: &str =
    r#"{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"DELAY"}"#;
const QUOTA: &str = r#"{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaMetric":"generativelanguage.googleapis.com/generate_content_free_tier_requests","quotaId":"QUOTA_ID"}]}"#;

fn gemini_429(message: &str, details: &[String]) -> String {
    format!(
        r#"{{"error":{{"code":429,"message":"{message}","status":"RESOURCE_EXHAUSTED","details":[{}]}}}}"#,
        details.join(",")
    )
}

#[test]
fn gemini_quota_of_a_minute_is_throttled_with_its_delay_and_of_a_day_is_denied() {
    let minute = QUOTA.replace(
        "QUOTA_ID",
        "GenerateRequestsPerMinutePerProjectPerModel-FreeTier",
    );
    let day = QUOTA.replace(
        "QUOTA_ID",
        "GenerateRequestsPerDayPerProjectPerModel-FreeTier",
    );
    let daily = QUOTA.replace("QUOTA_ID", "GenerateContentDailyLimit");
    let delay = |delay: &str| RETRY_INFO.replace("DELAY", delay);
    let wait = |seconds| Some(Duration::from_secs_f64(seconds));
    for (body, expected, retry_after) in [
        (
            gemini_429("x", &[minute.clone(), delay("34.07s")]),
            Class::Throttled,
            wait(34.07),
        ),
        (
            gemini_429("x", &[delay("900ms"), minute.clone()]),
            Class::Throttled,
            wait(0.9),
        ),
        (
            gemini_429("Please retry in 27.5s.", std::slice::from_ref(&minute)),
            Class::Throttled,
            wait(27.5),
        ),
        (
            gemini_429("x", &[minute, delay("300s")]),
            Class::Throttled,
            wait(300.0),
        ),
        (
            gemini_429("x", &[delay("301s")]),
            Class::Denied,
            wait(301.0),
        ),
        (
            gemini_429("Please retry in 1h0m0.5s.", &[]),
            Class::Denied,
            wait(3600.5),
        ),
        (gemini_429("x", &[day, delay("20s")]), Class::Denied, None),
        (gemini_429("x", &[daily]), Class::Denied, None),
        (gemini_429("x", &[]), Class::Throttled, None),
        (
            format!("[{}]", gemini_429("x", &[delay("5s")])),
            Class::Throttled,
            wait(5.0),
        ),
    ] {
        let outcome = outcome(Dialect::Gemini, 429, &body);
        assert_eq!(
            (outcome.class, outcome.retry_after),
            (expected, retry_after),
            "{body}"
        );
    }
}

#[test]
fn gemini_errors_are_of_the_class_that_their_body_refines() {
    for (status, body, expected) in [
        (
            400,
            r#"{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"API_KEY_INVALID","domain":"googleapis.com"}]}}"#,
            Class::Denied,
        ),
        (
            400,
            r#"{"error":{"code":400,"message":"API key expired. Please renew the API key.","status":"INVALID_ARGUMENT"}}"#,
            Class::Denied,
        ),
        (
            400,
            r#"{"error":{"code":400,"message":"Invalid value at 'contents'","status":"INVALID_ARGUMENT"}}"#,
            Class::Invalid,
        ),
        (
            400,
            r#"{"error":{"code":400,"message":"The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).","status":"INVALID_ARGUMENT"}}"#,
            Class::Unfit,
        ),
        (
            400,
            r#"{"error":{"code":400,"message":"User location is not supported for the API use.","status":"FAILED_PRECONDITION"}}"#,
            Class::Unfit,
        ),
        (
            403,
            r#"{"error":{"code":403,"message":"x","status":"PERMISSION_DENIED"}}"#,
            Class::Denied,
        ),
        (
            404,
            r#"{"error":{"code":404,"message":"models/gemini-9 is not found","status":"NOT_FOUND"}}"#,
            Class::Unfit,
        ),
        (
            500,
            r#"{"error":{"code":500,"message":"x","status":"INTERNAL"}}"#,
            Class::Unavailable,
        ),
        (
            503,
            r#"{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}"#,
            Class::Unavailable,
        ),
    ] {
        assert_eq!(class(Dialect::Gemini, status, body), expected, "{body}");
    }
}

#[test]
fn gemini_replies_tell_their_usage_also_as_an_array() {
    let one = r#"{"candidates":[{"content":{"parts":[{"text":"a ] b"}],"role":"model"},"index":0}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":5,"totalTokenCount":14}}"#;
    let last = r#"{"candidates":[{"content":{"parts":[{"text":""}],"role":"model"},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":28,"totalTokenCount":281,"thoughtsTokenCount":244}}"#;
    let usage = Usage {
        reasoning: 244,
        ..Usage::new(9, 272)
    };
    let said = whole(Dialect::Gemini, last);
    assert_eq!(
        (said.class(), said.usage),
        (Some(Class::Success), Some(usage))
    );
    let array = format!("[{one}\n,\r\n{last}\n]\n");
    let said = whole(Dialect::Gemini, &array);
    assert_eq!(
        (said.class(), said.usage),
        (Some(Class::Success), Some(usage))
    );
    // It comes in parts, as a stream does, and is held back no longer than that.
    assert_eq!(said.content_at, Some(1 + one.len()));
}

// ===== Heads =====

#[test]
fn the_head_alone_says_what_it_can() {
    let class = |judge: &dyn Fn(&http::response::Parts) -> Outcome, status, headers: &[_]| {
        judge(&head(status, headers)).class
    };
    let strict = |parts: &_| Anthropic.head(parts);
    let lenient = |parts: &_| AnyPath(Dialect::Anthropic).head(parts);
    for (status, content_type, chat, any) in [
        (200, "application/json", Class::Success, Class::Success),
        (
            200,
            "application/json; charset=utf-8",
            Class::Success,
            Class::Success,
        ),
        (
            200,
            "Application/Problem+JSON",
            Class::Success,
            Class::Success,
        ),
        (200, "text/event-stream", Class::Success, Class::Success),
        (200, "audio/mpeg", Class::Unavailable, Class::Success),
        (200, "text/plain", Class::Unavailable, Class::Success),
        (
            200,
            "text/html; charset=utf-8",
            Class::Unavailable,
            Class::Unavailable,
        ),
        (200, "", Class::Unavailable, Class::Success),
        (
            529,
            "application/json",
            Class::Unavailable,
            Class::Unavailable,
        ),
        (402, "application/json", Class::Denied, Class::Denied),
        (429, "text/html", Class::Throttled, Class::Throttled),
        (302, "text/html", Class::Unfit, Class::Unfit),
    ] {
        let headers = [("content-type", content_type)];
        assert_eq!(
            class(&strict, status, &headers),
            chat,
            "{status} {content_type}"
        );
        assert_eq!(
            class(&lenient, status, &headers),
            any,
            "{status} {content_type}"
        );
    }
    assert_eq!(class(&strict, 200, &[]), Class::Unavailable);
    assert_eq!(class(&lenient, 200, &[]), Class::Unavailable);
    assert_eq!(class(&strict, 204, &[]), Class::Success);
}

#[test]
fn a_reply_that_cannot_be_read_has_no_meter() {
    let json = ("content-type", "application/json");
    assert!(
        OpenAi
            .meter(&head(200, &[json, ("content-encoding", "gzip")]))
            .is_none()
    );
    assert!(
        OpenAi
            .meter(&head(200, &[json, ("content-encoding", "identity")]))
            .is_some()
    );
    assert!(
        OpenAi
            .meter(&head(200, &[("content-type", "audio/mpeg")]))
            .is_none()
    );
    assert!(OpenAi.meter(&head(204, &[json])).is_none());
    assert!(
        Gemini
            .meter(&head(400, &[("content-type", "text/plain")]))
            .is_some()
    );
    assert!(
        Gemini
            .meter(&head(502, &[("content-type", "text/html")]))
            .is_none()
    );
}
