//! Which headers pass, and which do not.

mod support;

use support::{Caller, Gateway, Upstream, config};

const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";

/// A gateway in front of one endpoint, and a caller.
async fn set_up(dialect: &str) -> (Upstream, Gateway, Caller) {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(&config(dialect, &upstream.origin(), ""));
    let caller = Caller::connect(gateway.address).await;
    (upstream, gateway, caller)
}

#[tokio::test]
async fn what_is_the_callers_own_business_does_not_reach_the_endpoint() {
    let headers = concat!(
        "connection: keep-alive, x-named\r\n",
        "x-named: canary\r\n",
        "keep-alive: timeout=9\r\n",
        "te: trailers\r\n",
        "proxy-authorization: Basic canary\r\n",
        "cookie: session=canary\r\n",
        "authorization: Bearer canary\r\n",
        "x-api-key: canary\r\n",
        "x-goog-api-key: canary\r\n",
        "api-key: canary\r\n",
        "accept-encoding: gzip, br\r\n",
        "expect: 100-continue\r\n",
        "openai-organization: org-canary\r\n",
        "openai-project: proj-canary\r\n",
        "forwarded: for=10.0.0.1\r\n",
        "x-forwarded-for: 10.0.0.1\r\n",
        "x-forwarded-proto: https\r\n",
        "x-real-ip: 10.0.0.1\r\n",
        "via: 1.1 proxy\r\n",
        "origin: http://127.0.0.1\r\n",
        "referer: http://127.0.0.1/canary\r\n",
        "sec-fetch-site: same-origin\r\n",
        "sec-ch-ua: canary\r\n",
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n",
        "tracestate: a=1\r\n",
        "openai-beta: assistants=v2\r\n",
        "idempotency-key: 7\r\n",
        "x-stays: 1\r\n",
        "user-agent: theirs/1\r\n",
    );
    for (dialect, path, key, value) in [
        (
            "openai",
            CHAT,
            "authorization",
            "Bearer the-endpoints-canary-key",
        ),
        (
            "anthropic",
            MESSAGES,
            "x-api-key",
            "the-endpoints-canary-key",
        ),
    ] {
        let (mut upstream, _gateway, mut caller) = set_up(dialect).await;
        caller
            .start(
                &format!("{path}?key=canary&beta=true"),
                headers,
                "{\"model\":\"m-1\"}",
            )
            .await;
        let request = upstream.request().await;
        let mut lines: Vec<_> = request
            .head
            .trim_end()
            .split("\r\n")
            .map(str::to_ascii_lowercase)
            .collect();
        let target = if dialect == "openai" {
            "/chat/completions"
        } else {
            "/v1/messages"
        };
        assert_eq!(lines.remove(0), format!("post {target}?beta=true http/1.1"));
        let mut expected = vec![
            "content-type: application/json".to_owned(),
            "content-length: 15".to_owned(),
            "accept-encoding: identity".to_owned(),
            "user-agent: theirs/1".to_owned(),
            "x-stays: 1".to_owned(),
            "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned(),
            "tracestate: a=1".to_owned(),
            "openai-beta: assistants=v2".to_owned(),
            "idempotency-key: 7".to_owned(),
            format!(
                "host: {}",
                upstream.origin().strip_prefix("http://").unwrap()
            ),
            format!("{key}: {value}").to_ascii_lowercase(),
        ];
        if dialect == "anthropic" {
            expected.push("anthropic-version: 2023-06-01".to_owned());
        }
        lines.sort();
        expected.sort();
        assert_eq!(lines, expected);
    }
}

#[tokio::test]
async fn what_is_the_endpoints_own_business_does_not_reach_the_caller() {
    let (mut upstream, _gateway, mut caller) = set_up("openai").await;
    caller.start(CHAT, "", "{\"model\":\"m-1\"}").await;
    upstream.request().await;
    let headers = concat!(
        "content-type: application/json\r\n",
        "connection: keep-alive, x-named\r\n",
        "x-named: 1\r\n",
        "keep-alive: timeout=9\r\n",
        "proxy-authenticate: Basic\r\n",
        "upgrade: h2c\r\n",
        "set-cookie: a=1\r\n",
        "set-cookie: b=2\r\n",
        "openai-organization: org-canary\r\n",
        "openai-project: proj-canary\r\n",
        "anthropic-organization-id: canary\r\n",
        "access-control-allow-origin: *\r\n",
        "strict-transport-security: max-age=31536000\r\n",
        "alt-svc: h3=\":443\"\r\n",
        "via: 1.1 proxy\r\n",
        "x-accel-redirect: /internal\r\n",
        "x-sendfile: /internal\r\n",
        "x-gateway-endpoints: theirs, others\r\n",
        "x-gateway-cache: hit\r\n",
        "openai-processing-ms: 12\r\n",
        "openai-version: 2020-10-01\r\n",
        "retry-after: 1\r\n",
        "x-request-id: theirs\r\n",
        "x-ratelimit-remaining-requests: 9\r\n",
        "date: Sat, 01 Jan 2000 00:00:00 GMT\r\n",
    );
    upstream.reply("200 OK", headers, "{\"choices\":[]}").await;
    let answer = caller.answer().await;
    let mut names: Vec<_> = answer
        .head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name)
        .collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "content-length",
            "content-type",
            "date",
            "openai-processing-ms",
            "openai-version",
            "retry-after",
            "x-ratelimit-remaining-requests",
            "x-request-id"
        ]
    );
    assert_eq!(answer.header("x-request-id").as_deref(), Some("theirs"));
    assert_eq!(
        answer.header("date").as_deref(),
        Some("Sat, 01 Jan 2000 00:00:00 GMT")
    );
}

#[tokio::test]
async fn a_reply_without_an_id_is_given_one() {
    for (dialect, path, name) in [
        ("openai", CHAT, "x-request-id"),
        ("anthropic", MESSAGES, "request-id"),
    ] {
        let (mut upstream, gateway, mut caller) = set_up(dialect).await;
        let mut ids = Vec::new();
        for _ in 0..2 {
            caller.start(path, "", "{\"model\":\"m-1\"}").await;
            upstream.request().await;
            upstream
                .reply("200 OK", "content-type: application/json\r\n", "{}")
                .await;
            ids.push(caller.answer().await.header(name).unwrap());
        }
        assert!(ids[0] != ids[1] && ids[0].starts_with("req_"), "{ids:?}");
        let log = gateway.log();
        assert!(
            ids.iter().all(|id| log.contains(&format!("id=\"{id}\""))),
            "{ids:?} {log}"
        );
    }
}
