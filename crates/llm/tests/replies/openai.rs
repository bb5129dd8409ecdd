use buttress_core::{Class, Outcome, Usage};
use buttress_http::Judge;
use buttress_llm::{Dialect, OpenAi};

use crate::{
    class,
    common::{json_head, said_at_every_split},
    whole,
};

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
