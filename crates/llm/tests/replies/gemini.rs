use std::time::Duration;

use buttress_core::{Class, Usage};
use buttress_llm::Dialect;

use crate::{class, outcome, whole};

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
