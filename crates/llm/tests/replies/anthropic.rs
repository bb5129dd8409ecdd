use buttress_core::{Class, Outcome, Usage};
use buttress_llm::Dialect;

use crate::{class, whole};

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
