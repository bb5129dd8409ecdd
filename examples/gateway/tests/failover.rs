//! Where a call goes when its endpoint fails, and what the caller learns of that.

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use buttress_testing::{ApiError, Carrier, Dialect, Fault, Match, Provider, Reply, Running};
use support::{Caller, Gateway};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};

const FIRST: &str = "from the first";
const SECOND: &str = "from the second";

/// Everything that came, whatever became of it.
struct Got {
    text: String,
    took: Duration,
}

/// Two endpoints `a` and `b`, asked in this order and once each; time is short.
fn config(a: &Running, b: &Running, more: &str) -> String {
    let endpoint = |name: &str, provider: &Running| {
        format!(
            "[[endpoint]]\nname = \"{name}\"\ndialect = \"{}\"\nbase_url = \"{}\"\n",
            dialect(provider),
            provider.base_url()
        )
    };
    format!(
        "listen = \"127.0.0.1:0\"\n\n[retry]\nattempts = 1\n\n[timeouts]\nfirst_content = \"400 ms\"\nidle = \"400 ms\"\n\n{}\n{}\n[[route]]\nmodel = \"test\"\nendpoints = [\"a\", \"b\"]\n{more}",
        endpoint("a", a),
        endpoint("b", b),
    )
}

fn dialect(provider: &Running) -> &'static str {
    match provider.dialect() {
        Dialect::OpenAi => "openai",
        Dialect::Anthropic => "anthropic",
        _ => "gemini",
    }
}

/// A provider that says these words.
async fn saying(dialect: Dialect, words: &str) -> Running {
    let provider = Provider::new(dialect).reply(Reply::text(words));
    provider.start().await.unwrap()
}

fn body(streamed: bool) -> String {
    format!(
        "{{\"model\":\"test\",\"stream\":{streamed},\"max_tokens\":50,\"messages\":[{{\"role\":\"user\",\"content\":\"Hello!\"}}]}}"
    )
}

async fn ask(gateway: &Gateway, path: &str, streamed: bool) -> Got {
    let begun = Instant::now();
    let body = body(streamed);
    let mut socket = TcpStream::connect(gateway.address).await.unwrap();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut read = Vec::new();
    // One that breaks off is broken off here, too.
    let _ = socket.read_to_end(&mut read).await;
    Got {
        text: String::from_utf8_lossy(&read).into_owned(),
        took: begun.elapsed(),
    }
}

impl Got {
    fn status(&self) -> &str {
        self.text.split(' ').nth(1).unwrap_or_default()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let (head, _) = self.text.split_once("\r\n\r\n")?;
        let line = head
            .lines()
            .find_map(|line| line.split_once(": ").filter(|(key, _)| *key == name));
        line.map(|(_, value)| value)
    }

    /// These words, and the end of the reply after them.
    fn is_whole(&self, words: &str, path: &str, streamed: bool) -> bool {
        let spoken: String = match streamed {
            // Word by word, in one event each.
            true => words.split(' ').next_back().unwrap_or_default().to_owned(),
            false => words.to_owned(),
        };
        let end = match (streamed, path) {
            (false, _) => "",
            (true, "/v1/messages") => "message_stop",
            (true, _) => "data: [DONE]",
        };
        self.status() == "200" && self.text.contains(&spoken) && self.text.contains(end)
    }
}

/// Each row of the table of faults, on the first of two endpoints.
async fn every_fault(path: &str, first: Dialect, second: Dialect) {
    let mut wrong = Vec::new();
    for fault in Fault::all() {
        if !fault.carried_by(Carrier::Socket) || !fault.fits(first) || fault.shows_later() {
            continue;
        }
        let streamed = fault.streamed() != Some(false);
        let a = Provider::new(first).reply(fault).start().await.unwrap();
        let b = saying(second, SECOND).await;
        let gateway = Gateway::start(&config(&a, &b, ""));
        let got = ask(&gateway, path, streamed).await;
        let (calls_a, calls_b) = (a.log().received(), b.log().received());
        let moves_on = match fault.class() {
            "Throttled" | "Unavailable" | "Unstarted" | "Denied" => true,
            // What was not even asked for is not served by another one for nothing.
            "Unfit" => fault.not_sent() || fault == Fault::Redirect,
            _ => false,
        };
        let good = match (fault.class(), moves_on) {
            (_, true) => {
                got.is_whole(SECOND, path, streamed)
                    && calls_b == 1
                    && got.header("x-gateway-endpoints") == Some("a, b")
            }
            ("Interrupted" | "Success", _) => calls_b == 0 && got.status() == "200",
            // As it came: some say it inside of a 200.
            ("Unfit", _) => calls_b == 0 && calls_a == 1,
            _ => calls_b == 0 && got.status().starts_with('4') && calls_a == 1,
        };
        if !good || calls_a > 1 || got.took > Duration::from_secs(60) {
            wrong.push(format!(
                "{fault} ({}): a {calls_a}, b {calls_b}, {:?}\n{}",
                fault.class(),
                got.took,
                got.text
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_before_the_content_is_answered_by_the_second_endpoint() {
    every_fault("/v1/chat/completions", Dialect::OpenAi, Dialect::OpenAi).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_of_another_dialect_is_answered_in_the_callers_own() {
    every_fault("/v1/messages", Dialect::Anthropic, Dialect::OpenAi).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_fault_of_a_converted_endpoint_is_answered_by_another_dialect() {
    every_fault("/v1/chat/completions", Dialect::Gemini, Dialect::Anthropic).await;
}

#[tokio::test]
async fn an_endpoint_that_failed_is_left_alone_and_the_page_says_so() {
    let a = Provider::openai()
        .reply(Reply::error(503))
        .start()
        .await
        .unwrap();
    let b = saying(Dialect::OpenAi, SECOND).await;
    let gateway = Gateway::start(&config(&a, &b, ""));
    for _ in 0..3 {
        let got = ask(&gateway, "/v1/chat/completions", false).await;
        assert!(got.is_whole(SECOND, "", false), "{}", got.text);
    }
    assert_eq!((a.log().received(), b.log().received()), (1, 3));
    let mut caller = Caller::connect(gateway.address).await;
    let status = caller.get("/status", "").await.json();
    let endpoints = &status["routes"][0]["endpoints"];
    let cooling = endpoints[0]["cooling_ms"].as_u64().unwrap();
    assert!((1..=5000).contains(&cooling), "{status}");
    assert!(endpoints[1]["cooling_ms"].is_null(), "{status}");
    let log = gateway.log();
    assert!(
        log.contains(" endpoint=b ") && log.contains(" tried=a,b attempts=2 "),
        "{log}"
    );
}

#[tokio::test]
async fn when_all_fail_the_first_real_failure_is_told_with_its_hint() {
    let throttled = Reply::error(429).retry_after("3");
    let a = Provider::openai().reply(throttled).start().await.unwrap();
    let b = Provider::openai()
        .reply(Reply::error(500))
        .start()
        .await
        .unwrap();
    let gateway = Gateway::start(&config(&a, &b, ""));
    let got = ask(&gateway, "/v1/chat/completions", false).await;
    assert_eq!(got.status(), "429", "{}", got.text);
    assert_eq!(got.header("retry-after"), Some("3"));
    assert_eq!(got.header("x-gateway-endpoints"), Some("a, b"));
    assert_eq!(got.header("x-gateway-attempts"), Some("2"));
    // `a` asked to be left alone, and `b` is the last resort.
    let got = ask(&gateway, "/v1/chat/completions", false).await;
    assert_eq!(got.status(), "500", "{}", got.text);
    assert_eq!((a.log().received(), b.log().received()), (1, 2));
}

#[tokio::test]
async fn what_one_dialect_cannot_say_goes_where_it_can_be_said() {
    let a = saying(Dialect::Anthropic, FIRST).await;
    let b = saying(Dialect::OpenAi, SECOND).await;
    let gateway = Gateway::start(&config(&a, &b, ""));
    let body = "{\"model\":\"test\",\"logit_bias\":{\"7\":1},\"messages\":[{\"role\":\"user\",\"content\":\"Hello!\"}]}";
    let mut caller = Caller::connect(gateway.address).await;
    let answer = caller.post("/v1/chat/completions", "", body).await;
    assert!(answer.text().contains(SECOND), "{answer:?}");
    assert_eq!(a.log().received(), 0);
    // And where it is wrong anywhere, nowhere.
    let body = "{\"model\":\"test\",\"max_tokens\":-1,\"messages\":[{\"role\":\"user\",\"content\":\"Hello!\"}]}";
    let answer = caller.post("/v1/chat/completions", "", body).await;
    assert_eq!(answer.status(), 400, "{answer:?}");
    assert_eq!(b.log().received(), 1);
}

#[tokio::test]
async fn a_request_that_is_too_long_goes_to_a_larger_context_where_that_is_configured() {
    let long = || Reply::from(ApiError::ContextLength);
    for (unfit, status) in [("", "400"), ("unfit = \"larger-context\"\n", "200")] {
        let a = Provider::openai().reply(long()).start().await.unwrap();
        let b = saying(Dialect::OpenAi, SECOND).await;
        let config = config(&a, &b, unfit)
            .replace("name = \"a\"\n", "name = \"a\"\ncontext = 8000\n")
            .replace("name = \"b\"\n", "name = \"b\"\ncontext = 200000\n");
        let gateway = Gateway::start(&config);
        let got = ask(&gateway, "/v1/chat/completions", false).await;
        assert_eq!(got.status(), status, "{}", got.text);
    }
}

#[tokio::test]
async fn f6_no_endpoint_gets_the_credential_of_another_and_a_denied_one_is_not_used_again() {
    let a = Provider::openai()
        .reply(Reply::error(401))
        .start()
        .await
        .unwrap();
    let b = Provider::openai()
        .on(Match::any(), Reply::text(SECOND))
        .start()
        .await
        .unwrap();
    for (key, status, calls) in [("SPARE_KEY", "200", 1), ("UP_KEY", "401", 0)] {
        let (before_a, before_b) = (a.log().received(), b.log().received());
        let config = config(&a, &b, "")
            .replace("name = \"a\"\n", "name = \"a\"\nkey_env = \"UP_KEY\"\n")
            .replace(
                "name = \"b\"\n",
                &format!("name = \"b\"\nkey_env = \"{key}\"\n"),
            );
        let gateway = Gateway::start(&config);
        let got = ask(&gateway, "/v1/chat/completions", false).await;
        assert_eq!(got.status(), status, "{}", got.text);
        assert_eq!(a.log().received() - before_a, 1);
        assert_eq!(b.log().received() - before_b, calls);
        let sent = |provider: &Running| {
            let last = provider.log().last().unwrap();
            last.header("authorization").unwrap_or_default().to_owned()
        };
        assert_eq!(sent(&a), "Bearer the-endpoints-canary-key");
        if calls > 0 {
            assert_eq!(sent(&b), "Bearer the-spare-canary-key");
        }
        assert!(!gateway.log().contains("canary"));
    }
}

#[tokio::test]
async fn weights_share_the_calls() {
    let a = saying(Dialect::OpenAi, FIRST).await;
    let b = saying(Dialect::OpenAi, SECOND).await;
    let more = "strategy = \"weighted\"\nweights = [3, 1]\n";
    let gateway = Gateway::start(&config(&a, &b, more));
    for _ in 0..40 {
        assert_eq!(
            ask(&gateway, "/v1/chat/completions", false).await.status(),
            "200"
        );
    }
    // Evenly from the first call on, wherever it begins.
    let (first, second) = (a.log().received(), b.log().received());
    assert!(
        first + second == 40 && (28..=32).contains(&first),
        "{first}, {second}"
    );
}

#[tokio::test]
async fn what_a_content_filter_refused_goes_nowhere_else() {
    let a = Provider::openai()
        .reply(Reply::from(ApiError::ContentFilter))
        .start()
        .await
        .unwrap();
    let b = saying(Dialect::OpenAi, SECOND).await;
    let gateway = Gateway::start(&config(&a, &b, "unfit = \"any\"\n"));
    let got = ask(&gateway, "/v1/chat/completions", false).await;
    assert_eq!(got.status(), "400", "{}", got.text);
    assert_eq!(b.log().received(), 0);
}

#[tokio::test]
async fn an_endpoint_that_is_asked_meanwhile_is_back_before_its_cool_down_is_over() {
    let down = Arc::new(AtomicBool::new(true));
    let a = {
        let down = down.clone();
        Provider::anthropic().reply(Reply::with(move |_| match down.load(Ordering::Relaxed) {
            true => Reply::error(500),
            false => Reply::text("first"),
        }))
    };
    let a = a.start().await.unwrap();
    let b = saying(Dialect::OpenAi, SECOND).await;
    let config = config(&a, &b, "check = \"50 ms\"\n")
        + "[failover]\ncool_down = \"10 min\"\nlongest_cool_down = \"10 min\"\n";
    let gateway = Gateway::start(&config);
    let got = ask(&gateway, "/v1/chat/completions", false).await;
    assert!(got.text.contains(SECOND), "{}", got.text);
    down.store(false, Ordering::Relaxed);
    let back = Instant::now();
    while !ask(&gateway, "/v1/chat/completions", false)
        .await
        .text
        .contains("first")
    {
        assert!(
            back.elapsed() < Duration::from_secs(20),
            "it is not used again"
        );
    }
    let asked = a.log().requests();
    let probe = asked.iter().find(|asked| asked.last_text() == "ping");
    let probe = probe.expect("a probe").json().expect("JSON");
    assert_eq!(probe["max_tokens"], 1);
}
