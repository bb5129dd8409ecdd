//! How much may be asked for: by a caller, and of an endpoint.

mod support;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use buttress_testing::{Limit, Provider, Reply};
use support::{Caller, Gateway, config, metric};

const CHAT: &str = "/v1/chat/completions";

fn ask(words: usize) -> String {
    let text = "word ".repeat(words);
    format!(
        "{{\"model\":\"m-1\",\"max_tokens\":100,\"messages\":[{{\"role\":\"user\",\"content\":\"{text}\"}}]}}"
    )
}

#[tokio::test]
async fn a_caller_over_its_limit_is_refused_with_the_time_to_come_back_and_others_are_not() {
    let provider = Provider::openai().reply(Reply::text("hello"));
    let provider = provider.start().await.unwrap();
    // The digests of `abc` and of the empty text are well known.
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let hello = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let callers = format!(
        "[[callers]]\nname = \"alice\"\nkey_sha256 = \"{abc}\"\n[callers.limit]\nrequests_per_minute = 2\n[[callers]]\nname = \"bob\"\nkey_sha256 = \"{hello}\"\n"
    );
    let gateway = Gateway::start(&config("openai", &provider.base_url(), &callers));
    let (alice, bob) = (
        "authorization: Bearer abc\r\n",
        "authorization: Bearer hello\r\n",
    );
    let mut caller = Caller::connect(gateway.address).await;
    for left in [1, 0] {
        let answer = caller.post(CHAT, alice, ask(1)).await;
        assert_eq!(answer.status(), 200);
        let policy = answer.header("ratelimit-policy");
        assert_eq!(policy.as_deref(), Some("\"requests\";q=2;w=60"));
        let limit = answer.header("ratelimit").unwrap();
        assert!(
            limit.starts_with(&format!("\"requests\";r={left};t=")),
            "{limit}"
        );
    }
    let answer = caller.post(CHAT, alice, ask(1)).await;
    assert!(answer.header("ratelimit").unwrap().contains(";r=0;"));
    assert_eq!(answer.status(), 429, "{answer:?}");
    assert!(
        answer.text().contains("this caller: rate limited"),
        "{answer:?}"
    );
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=30).contains(&wait), "{answer:?}");
    assert_eq!(answer.header("x-should-retry").as_deref(), Some("true"));
    let answer = caller.post(CHAT, bob, ask(1)).await;
    assert_eq!((answer.status(), answer.header("ratelimit")), (200, None));
    assert_eq!(provider.log().received(), 3);
    let log = gateway.log();
    assert!(
        log.contains("caller=alice") && log.contains("class=refused"),
        "{log}"
    );
}

#[tokio::test]
async fn a_request_that_no_minute_can_hold_is_refused_for_good() {
    let provider = Provider::openai().reply(Reply::text("hello"));
    let provider = provider.start().await.unwrap();
    let config = config("openai", &provider.base_url(), "");
    let config = config.replacen(
        "\n[[route]]",
        "\n[endpoint.limit]\ntokens_per_minute = 1000\n\n[[route]]",
        1,
    );
    let gateway = Gateway::start(&config);
    let mut caller = Caller::connect(gateway.address).await;
    let answer = caller.post(CHAT, "", ask(600)).await;
    assert_eq!(answer.status(), 413, "{answer:?}");
    assert_eq!(answer.header("retry-after"), None);
    assert_eq!(answer.header("x-should-retry").as_deref(), Some("false"));
    assert_eq!(provider.log().received(), 0);
    assert_eq!(caller.post(CHAT, "", ask(10)).await.status(), 200);
    // What was not used has gone back: 1 000 a minute are 500 at once.
    let status = caller.get("/status", "").await.json();
    let left = status["endpoints"][0]["left"]["tokens"].as_u64().unwrap();
    let used = provider.log().billed();
    assert!(left >= 500 - used.input - used.output, "{left} {used:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l6_fifty_callers_stay_within_the_providers_tokens_and_are_charged_what_they_used() {
    const MINUTE: u64 = 100_000;
    let provider = Provider::openai()
        .limit(Limit::sliding_minute().tokens(MINUTE))
        .reply(Reply::text(
            "a reply of some words, shorter than was asked for",
        ));
    let provider = provider.start().await.unwrap();
    let config = config("openai", &provider.base_url(), "");
    let limit = format!("\n[endpoint.limit]\ntokens_per_minute = {MINUTE}\n\n[[route]]");
    let gateway = Gateway::start(&config.replacen("\n[[route]]", &limit, 1));
    let (answered, refused) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = (0..50)
        .map(|number| {
            let (address, answered, refused) = (gateway.address, answered.clone(), refused.clone());
            tokio::spawn(async move {
                let mut caller = Caller::connect(address).await;
                for _ in 0..20 {
                    let answer = caller.post(CHAT, "", ask(200 + number * 10)).await;
                    match answer.status() {
                        200 => answered.fetch_add(1, Ordering::Relaxed),
                        429 => refused.fetch_add(1, Ordering::Relaxed),
                        other => panic!("{other}: {answer:?}"),
                    };
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    let log = provider.log();
    assert_eq!(log.limited(), 0, "the provider saw none too many");
    let answered = answered.load(Ordering::Relaxed);
    assert_eq!(log.received(), answered);
    assert!(
        answered > 50 && refused.load(Ordering::Relaxed) > 0,
        "{answered}"
    );
    // The ledger agrees with the bill, to the token.
    let billed = log.billed();
    let metrics = Caller::connect(gateway.address)
        .await
        .get("/metrics", "")
        .await;
    for (kind, tokens) in [("input", billed.input), ("output", billed.output)] {
        let labels = [("endpoint", "up"), ("gen_ai_token_type", kind)];
        let counted = metric(metrics.text(), "gen_ai_client_token_usage_sum", &labels);
        assert!(
            counted == tokens as f64,
            "{kind}: {counted}, and not {tokens}"
        );
    }
    // What is left of the burst is what they did not use of it, and what came back meanwhile.
    let used = billed.input + billed.output;
    let status = Caller::connect(gateway.address)
        .await
        .get("/status", "")
        .await
        .json();
    let left = status["endpoints"][0]["left"]["tokens"].as_u64().unwrap();
    assert!(left + used >= MINUTE / 2, "{left} left, {used} used");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_wait_for_their_turn_where_that_is_allowed() {
    let provider = Provider::openai().reply(Reply::text("hello"));
    let provider = provider.start().await.unwrap();
    let config = config("openai", &provider.base_url(), "");
    let limit = "\n[endpoint.limit]\nrequests_per_minute = 120\nwait = \"10 s\"\n\n[[route]]";
    let gateway = Gateway::start(&config.replacen("\n[[route]]", limit, 1));
    // 60 at once, and then one each second.
    let mut caller = Caller::connect(gateway.address).await;
    for _ in 0..61 {
        assert_eq!(caller.post(CHAT, "", ask(1)).await.status(), 200);
    }
    assert_eq!(provider.log().received(), 61);
    let status = caller.get("/status", "").await;
    assert!(status.text().contains("rate_limit.queued"), "{status:?}");
}
