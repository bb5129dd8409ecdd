//! A chat that was answered before is answered again, in the form that its caller wants, and to
//! nobody else.

mod support;

use buttress_testing::{Provider, Reply, Running};
use support::{Caller, Gateway, config, metric};

const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";
const WORDS: &str = "Once said, said again.";

async fn provider() -> Running {
    Provider::openai()
        .reply(Reply::text(WORDS))
        .start()
        .await
        .unwrap()
}

fn ask(more: &str) -> String {
    format!(
        "{{\"model\":\"m-1\",\"temperature\":0,\"max_tokens\":50,\"messages\":[{{\"role\":\"user\",\"content\":\"Hello!\"}}]{more}}}"
    )
}

/// The words in a stream or a whole reply of either dialect.
fn words(text: &str) -> String {
    let mut words = String::new();
    for line in text.lines() {
        let data = line.strip_prefix("data: ").unwrap_or(line);
        let Ok(value) = serde_json::from_str::<serde_json::Value>(data) else {
            continue;
        };
        for place in [
            "/choices/0/delta/content",
            "/choices/0/message/content",
            "/content/0/text",
            "/delta/text",
        ] {
            words += value
                .pointer(place)
                .and_then(|text| text.as_str())
                .unwrap_or("");
        }
    }
    words
}

#[tokio::test]
async fn one_call_answers_every_form_in_which_the_chat_is_asked_again() {
    let usage = ",\"stream\":true,\"stream_options\":{\"include_usage\":true}";
    let forms = ["", ",\"stream\":true", usage];
    for first in forms {
        let provider = provider().await;
        let gateway = Gateway::start(&config("openai", &provider.base_url(), "[cache]\n"));
        let mut caller = Caller::connect(gateway.address).await;
        let answer = caller.post(CHAT, "", ask(first)).await;
        assert_eq!(answer.header("x-gateway-cache").as_deref(), Some("miss"));
        let mut ids = vec![answer.header("x-request-id")];
        assert_eq!(answer.header("age"), None);
        for form in forms {
            let answer = caller.post(CHAT, "", ask(form)).await;
            assert_eq!(answer.status(), 200, "{answer:?}");
            assert_eq!(answer.header("x-gateway-cache").as_deref(), Some("hit"));
            assert_eq!(answer.header("age").as_deref(), Some("0"));
            // Each request has an id of its own.
            assert!(!ids.contains(&answer.header("x-request-id")));
            ids.push(answer.header("x-request-id"));
            let kind = answer.header("content-type").unwrap();
            assert_eq!(kind.starts_with("text/event-stream"), !form.is_empty());
            assert_eq!(words(answer.text()), WORDS, "{first} {form}: {answer:?}");
            let ends = answer.text().contains("data: [DONE]");
            assert_eq!(ends, !form.is_empty());
            // Who did not ask for the usage of a stream does not get it.
            let told = answer.text().contains("\"prompt_tokens\"");
            assert_eq!(told, form != forms[1], "{first} {form}: {answer:?}");
        }
        assert_eq!(provider.log().received(), 1);
        let status = caller.get("/status", "").await.json();
        assert_eq!(status["cache"]["hits"], 3);
        let billed = provider.log().billed();
        let saved = 3 * (billed.input + billed.output);
        assert_eq!(status["cache"]["tokens_saved"], saved);
        // What was answered from memory was not used again.
        let page = caller.get("/metrics", "").await;
        let page = page.text();
        let output = [("gen_ai_token_type", "output")];
        let used = metric(page, "gen_ai_client_token_usage_sum", &output);
        assert!(used == billed.output as f64, "{used}");
        let unbilled = [output[0], ("unbilled", "true")];
        let all = metric(page, "buttress_request_tokens_sum", &output);
        let free = metric(page, "buttress_request_tokens_sum", &unbilled);
        assert!(all - free == billed.output as f64, "{all} {free}");
        let log = gateway.log();
        assert_eq!(log.matches(" cache=hit").count(), 3, "{log}");
    }
}

#[tokio::test]
async fn the_other_dialect_is_kept_apart_and_answered_in_its_own() {
    let provider = provider().await;
    let gateway = Gateway::start(&config("openai", &provider.base_url(), "[cache]\n"));
    let mut caller = Caller::connect(gateway.address).await;
    for (path, form, status) in [
        (CHAT, "", "miss"),
        (MESSAGES, "", "miss"),
        (MESSAGES, ",\"stream\":true", "hit"),
        (CHAT, ",\"stream\":true", "hit"),
    ] {
        let answer = caller.post(path, "", ask(form)).await;
        let cached = answer.header("x-gateway-cache");
        assert_eq!(cached.as_deref(), Some(status), "{path} {form}: {answer:?}");
        assert_eq!(words(answer.text()), WORDS, "{path} {form}: {answer:?}");
    }
    assert_eq!(provider.log().received(), 2);
}

#[tokio::test]
async fn c6_another_caller_model_or_field_is_asked_anew() {
    let provider = provider().await;
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    let hello = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    let callers = format!(
        "[cache]\n[[callers]]\nname = \"alice\"\nkey_sha256 = \"{abc}\"\n[[callers]]\nname = \"bob\"\nkey_sha256 = \"{hello}\"\n"
    );
    let gateway = Gateway::start(&config("openai", &provider.base_url(), &callers));
    let mut caller = Caller::connect(gateway.address).await;
    let (alice, bob) = (
        "authorization: Bearer abc\r\n",
        "authorization: Bearer hello\r\n",
    );
    for (whose, body, status) in [
        (alice, ask(""), "miss"),
        (bob, ask(""), "miss"),
        (alice, ask(""), "hit"),
        (bob, ask("").replace("m-1", "m-2"), "miss"),
        (bob, ask(",\"x\":1"), "miss"),
        (bob, ask(",\"x\":1.0"), "miss"),
        (bob, ask(",\"x\": 1"), "hit"),
        (bob, ask(",\"user\":\"me\""), "hit"),
        // What is drawn at random, and what may act, is not given again.
        (alice, ask("").replace("\"temperature\":0,", ""), "bypass"),
        (alice, ask(",\"tools\":[{}]"), "bypass"),
    ] {
        let answer = caller.post(CHAT, whose, body).await;
        let cached = answer.header("x-gateway-cache");
        assert_eq!(cached.as_deref(), Some(status), "{answer:?}");
    }
    let no_store = format!("{alice}cache-control: no-store\r\n");
    let answer = caller.post(CHAT, &no_store, ask("")).await;
    assert_eq!(answer.header("x-gateway-cache").as_deref(), Some("bypass"));
}

#[tokio::test]
async fn c1_callers_who_ask_at_once_share_one_call() {
    let provider = Provider::openai()
        .reply(Reply::text(WORDS).headers_after(std::time::Duration::from_millis(300)))
        .start()
        .await
        .unwrap();
    let gateway = Gateway::start(&config("openai", &provider.base_url(), "[cache]\n"));
    let address = gateway.address;
    let callers: Vec<_> = (0..20)
        .map(|number| {
            let form = if number % 2 == 0 {
                ""
            } else {
                ",\"stream\":true"
            };
            tokio::spawn(async move {
                let answer = Caller::connect(address)
                    .await
                    .post(CHAT, "", ask(form))
                    .await;
                assert_eq!(words(answer.text()), WORDS, "{answer:?}");
                answer.header("x-gateway-cache").unwrap()
            })
        })
        .collect();
    let mut statuses = Vec::new();
    for caller in callers {
        statuses.push(caller.await.unwrap());
    }
    assert_eq!(provider.log().received(), 1);
    let misses = statuses.iter().filter(|status| *status == "miss").count();
    assert_eq!(misses, 1, "{statuses:?}");
}

#[tokio::test]
async fn c4_what_failed_is_asked_for_again_and_without_a_cache_nothing_is_said_of_one() {
    let failing = || Reply::error(400).then(Reply::text(WORDS));
    for (section, statuses) in [
        ("[cache]\n", [Some("miss"), Some("miss"), Some("hit")]),
        ("", [None; 3]),
    ] {
        let provider = Provider::openai().reply(failing()).start().await.unwrap();
        let gateway = Gateway::start(&config("openai", &provider.base_url(), section));
        let mut caller = Caller::connect(gateway.address).await;
        for (expected, status) in [400, 200, 200].into_iter().zip(statuses) {
            let answer = caller.post(CHAT, "", ask("")).await;
            assert_eq!(answer.status(), expected, "{answer:?}");
            assert_eq!(answer.header("x-gateway-cache").as_deref(), status);
        }
    }
}
