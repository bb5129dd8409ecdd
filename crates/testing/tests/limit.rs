//! Limits: enforced, and told.

use std::time::{Duration, SystemTime};

use buttress_testing::{Dialect, Limit, Limits, Provider, Reply, ReplyBody, Running, Usage};
use http::Response;
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::time::advance;
use tower::ServiceExt;

async fn call(provider: &Running) -> Response<ReplyBody> {
    let ask = provider.ask("test", "Say it").request();
    provider.service().oneshot(ask).await.unwrap()
}

fn header<'a>(response: &'a Response<ReplyBody>, name: &str) -> &'a str {
    response.headers()[name].to_str().unwrap()
}

#[tokio::test(start_paused = true)]
async fn calls_above_the_limit_get_a_429_with_the_wait() {
    let provider = Provider::openai()
        .limit(Limit::fixed_minute().requests(10).tokens(100))
        .reply(Reply::text("Hi").usage(Usage::new(30, 10)))
        .in_process()
        .unwrap();
    let first = call(&provider).await;
    assert_eq!(header(&first, "x-ratelimit-remaining-requests"), "9");
    assert_eq!(header(&first, "x-ratelimit-remaining-tokens"), "60");
    assert_eq!(header(&first, "x-ratelimit-reset-tokens"), "1m0s");
    assert_eq!(call(&provider).await.status(), 200);
    advance(Duration::from_millis(20_500)).await;
    let limited = call(&provider).await;
    assert_eq!(limited.status(), 429);
    assert_eq!(
        header(&limited, "retry-after"),
        "40",
        "39.5 s, and never too early"
    );
    assert_eq!(header(&limited, "x-ratelimit-remaining-tokens"), "20");
    let log = provider.log();
    assert_eq!((log.limited(), log.billed().calls), (1, 2));
    advance(Duration::from_secs(40)).await;
    assert_eq!(call(&provider).await.status(), 200);
    provider.finish();
}

#[tokio::test(start_paused = true)]
async fn every_dialect_tells_its_limits_in_its_own_way() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_775);
    let limits = Limits::new().tokens(1000, 250, Duration::from_millis(1500));
    let set_up = |dialect| {
        let provider = Provider::new(dialect).wall_clock(now);
        provider
            .reply(Reply::text("Hi").limits(limits))
            .in_process()
            .unwrap()
    };
    let openai = call(&set_up(Dialect::OpenAi)).await;
    assert_eq!(header(&openai, "x-ratelimit-limit-tokens"), "1000");
    assert_eq!(header(&openai, "x-ratelimit-remaining-tokens"), "250");
    assert_eq!(header(&openai, "x-ratelimit-reset-tokens"), "1.5s");
    assert!(!openai.headers().contains_key("x-ratelimit-limit-requests"));
    let anthropic = call(&set_up(Dialect::Anthropic)).await;
    assert_eq!(
        header(&anthropic, "anthropic-ratelimit-tokens-limit"),
        "1000"
    );
    assert_eq!(
        header(&anthropic, "anthropic-ratelimit-tokens-reset"),
        "1994-11-06T08:49:37Z"
    );
    let gemini = call(&set_up(Dialect::Gemini)).await;
    assert!(
        gemini
            .headers()
            .keys()
            .all(|name| !name.as_str().contains("limit"))
    );
}

#[tokio::test(start_paused = true)]
async fn gemini_hints_in_the_body() {
    let provider = Provider::gemini()
        .limit(Limit::sliding_minute().requests(0))
        .reply(Reply::text("Hi"))
        .in_process()
        .unwrap();
    let limited = call(&provider).await;
    assert_eq!(limited.status(), 429);
    let body = limited.into_body().collect().await.unwrap().to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["error"]["details"][0]["retryDelay"], "60s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_load_no_more_is_admitted_than_the_limit() {
    let provider = Provider::openai()
        .limit(Limit::sliding_minute().tokens(1000))
        .reply(Reply::text("Hi").usage(Usage::new(5, 5)))
        .in_process()
        .unwrap();
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..400 {
        let ask = provider.ask("test", "Say it").request();
        calls.spawn(provider.service().oneshot(ask));
    }
    let mut admitted = 0;
    while let Some(response) = calls.join_next().await {
        let response = response.unwrap().unwrap();
        admitted += u64::from(response.status() == 200);
        response.into_body().collect().await.unwrap();
    }
    let billed = provider.log().billed();
    assert_eq!(
        (admitted, billed.calls, billed.input + billed.output),
        (100, 100, 1000)
    );
    assert_eq!(provider.log().limited(), 300);
}
