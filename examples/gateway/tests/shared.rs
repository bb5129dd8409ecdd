//! One call that several wait for, or that is given again in another form: what may go wrong with it.

mod support;

use std::collections::HashSet;

use buttress_testing::{Carrier, Dialect, Fault, Finish, Match, Provider, Reply};
use support::{Answer, Caller, Gateway, Upstream, config, metric};

const CHAT: &str = "/v1/chat/completions";
const STREAM: &str = ",\"stream\":true";

fn ask(more: &str) -> String {
    format!("{{\"model\":\"m-1\",\"temperature\":0,\"messages\":[]{more}}}")
}

fn status(answer: &Answer) -> String {
    answer.header("x-gateway-cache").unwrap_or_default()
}

/// Waits until so many requests are under way.
async fn under_way(monitor: &mut Caller, requests: f64) {
    loop {
        let page = monitor.get("/metrics", "").await;
        if metric(page.text(), "buttress_requests_in_flight", &[]) == requests {
            return;
        }
    }
}

/// An endpoint that does not know `stream_options` tells no usage in its streams, and without it there
/// is no whole reply.
#[tokio::test]
async fn a_stream_that_cannot_be_told_as_a_whole_is_asked_for_anew_and_still_kept() {
    let mut upstream = Upstream::start().await;
    let gateway = Gateway::start(&config("openai", &upstream.origin(), "[cache]\n"));
    let mut caller = Caller::connect(gateway.address).await;
    caller.start(CHAT, "", ask(STREAM)).await;
    upstream.request().await;
    upstream.stream("").await;
    for data in [
        "{\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"},\"finish_reason\":null}]}",
        "{\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}",
        "[DONE]",
    ] {
        upstream.chunk(format!("data: {data}\n\n")).await;
    }
    upstream.say("0\r\n\r\n").await;
    let streamed = caller.answer().await;
    assert_eq!(status(&streamed), "miss");
    let whole = "{\"choices\":[{\"index\":0,\"message\":{\"content\":\"Hi\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}";
    for _ in 0..2 {
        caller.start(CHAT, "", ask("")).await;
        upstream.request().await;
        let json = "content-type: application/json\r\n";
        upstream.reply("200 OK", json, whole).await;
        let answer = caller.answer().await;
        assert_eq!((answer.status(), &*status(&answer)), (200, "bypass"));
        assert_eq!(answer.text(), whole);
    }
    let again = caller.post(CHAT, "", ask(STREAM)).await;
    assert_eq!(status(&again), "hit");
    assert_eq!(again.body, streamed.body);
}

/// Such as what something on the way to the model says, with a status of its own choice.
#[tokio::test]
async fn c4_what_is_no_reply_of_a_model_is_not_kept() {
    let mut upstream = Upstream::start().await;
    let gateway = Gateway::start(&config("openai", &upstream.origin(), "[cache]\n"));
    let mut caller = Caller::connect(gateway.address).await;
    for said in [
        "{}",
        "[]",
        "{\"detail\":\"try again later\"}",
        "{\"choices\":[]}",
        "{\"choices\":[{\"index\":0,\"message\":{\"content\":\"Hi\"},\"finish_reason\":null}]}",
    ] {
        caller.start(CHAT, "", ask("")).await;
        upstream.request().await;
        let json = "content-type: application/json\r\n";
        upstream.reply("200 OK", json, said).await;
        let answer = caller.answer().await;
        assert_eq!((answer.status(), &*status(&answer)), (200, "miss"));
        assert_eq!(answer.text(), said);
    }
}

/// Not more is promised than there is, or nobody could read it.
#[tokio::test]
async fn a_reply_that_is_whole_though_shorter_than_it_said_can_be_given_again() {
    let mut upstream = Upstream::start().await;
    let gateway = Gateway::start(&config("openai", &upstream.origin(), "[cache]\n"));
    let whole =
        "{\"choices\":[{\"index\":0,\"message\":{\"content\":\"Hi\"},\"finish_reason\":\"stop\"}]}";
    let mut caller = Caller::connect(gateway.address).await;
    caller.start(CHAT, "", ask("")).await;
    upstream.request().await;
    upstream
        .say(format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{whole}",
            whole.len() + 10
        ))
        .await;
    upstream.hang_up();
    caller.gone().await;
    for _ in 0..2 {
        let mut caller = Caller::connect(gateway.address).await;
        let answer = caller.post(CHAT, "", ask("")).await;
        assert_eq!((answer.status(), &*status(&answer)), (200, "hit"));
        assert_eq!(answer.text(), whole);
    }
}

/// Who wants it whole has no part of it.
#[tokio::test]
async fn c2_a_stream_that_breaks_off_is_an_error_to_those_who_wait_for_the_whole() {
    let provider = Provider::openai()
        .reply(
            Reply::text("one two three four")
                .headers_after(std::time::Duration::from_millis(300))
                .fault(Fault::Reset { after: 2 })
                .then(Reply::text("fine")),
        )
        .start()
        .await
        .unwrap();
    let gateway = Gateway::start(&config("openai", &provider.base_url(), "[cache]\n"));
    let mut monitor = Caller::connect(gateway.address).await;
    let mut first = Caller::connect(gateway.address).await;
    first.start(CHAT, "", ask(STREAM)).await;
    provider.log().wait_for(1).await;
    let mut second = Caller::connect(gateway.address).await;
    second.start(CHAT, "", ask("")).await;
    under_way(&mut monitor, 2.0).await;
    assert!(first.head().await.contains(" 200 "));
    first.gone().await;
    let answer = second.answer().await;
    // Whoever of the two read on has the error itself.
    assert!(matches!(answer.status(), 502 | 503), "{answer:?}");
    // And nothing of it was kept.
    let answer = second.post(CHAT, "", ask("")).await;
    assert_eq!((answer.status(), &*status(&answer)), (200, "miss"));
    assert_eq!(provider.log().received(), 2);
    under_way(&mut monitor, 0.0).await;
}

#[tokio::test]
async fn what_is_tried_again_is_counted_also_if_who_asked_first_has_left() {
    let provider = Provider::openai()
        .reply(Reply::error(503).retry_after("1").then(Reply::text("fine")))
        .start()
        .await
        .unwrap();
    let retry = "[cache]\n[retry]\nattempts = 2\n";
    let gateway = Gateway::start(&config("openai", &provider.base_url(), retry));
    let mut monitor = Caller::connect(gateway.address).await;
    let mut first = Caller::connect(gateway.address).await;
    first.start(CHAT, "", ask("")).await;
    provider.log().wait_for(1).await;
    let mut second = Caller::connect(gateway.address).await;
    second.start(CHAT, "", ask("")).await;
    under_way(&mut monitor, 2.0).await;
    drop(first);
    under_way(&mut monitor, 1.0).await;
    let answer = second.answer().await;
    assert_eq!((answer.status(), &*status(&answer)), (200, "coalesced"));
    let page = monitor.get("/status", "").await.json();
    let retried = &page["endpoints"][0]["retried"];
    assert_eq!(retried, &serde_json::json!({ "unavailable": 1 }), "{page}");
    let page = monitor.get("/metrics", "").await;
    let told = metric(page.text(), "buttress_retries_total", &[]);
    assert_eq!(told as u64, 1);
}

/// Two hundred ask at once, and every third goes away, the first of them included.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c1_c2_two_hundred_share_one_call_whoever_leaves() {
    const ALL: usize = 200;
    let words = "Grüße \u{1f980} ".repeat(60);
    let reply = Reply::text(words.trim_end())
        .headers_after(std::time::Duration::from_secs(2))
        .pace(std::time::Duration::from_millis(5));
    let provider = Provider::openai().reply(reply).start().await.unwrap();
    let gateway = Gateway::start(&config("openai", &provider.base_url(), "[cache]\n"));
    let mut monitor = Caller::connect(gateway.address).await;
    let mut callers = Vec::new();
    for number in 0..ALL {
        let mut caller = Caller::connect(gateway.address).await;
        let form = [STREAM, ""][number % 2];
        caller.start(CHAT, "", ask(form)).await;
        callers.push(caller);
        if number == 0 {
            // It leads, and streams.
            provider.log().wait_for(1).await;
        }
    }
    under_way(&mut monitor, ALL as f64).await;
    let mut stay = Vec::new();
    for (number, caller) in callers.into_iter().enumerate() {
        if number % 3 != 0 {
            stay.push(caller);
        }
    }
    let staying = stay.len();
    under_way(&mut monitor, staying as f64).await;
    let tasks: Vec<_> = stay
        .into_iter()
        .map(|mut caller| tokio::spawn(async move { caller.answer().await }))
        .collect();
    let mut bodies = HashSet::new();
    for task in tasks {
        let answer = task.await.unwrap();
        assert_eq!((answer.status(), &*status(&answer)), (200, "coalesced"));
        bodies.insert(answer.body);
    }
    // Those who streamed, and those who did not.
    assert_eq!(bodies.len(), 2);
    assert_eq!(provider.log().received(), 1);
    under_way(&mut monitor, 0.0).await;
    let page = monitor.get("/metrics", "").await;
    let billed = provider.log().billed();
    let output = [("gen_ai_token_type", "output")];
    let free = [output[0], ("unbilled", "true")];
    let name = "buttress_request_tokens_sum";
    let paid = metric(page.text(), name, &output) - metric(page.text(), name, &free);
    assert_eq!(paid as u64, billed.output);
}

#[tokio::test]
async fn c4_what_a_content_filter_cut_is_not_kept() {
    for form in ["", STREAM] {
        let cut = Reply::text("and then").finish(Finish::ContentFilter);
        let script = cut.times(2).then(Reply::text("fine"));
        let provider = Provider::openai().reply(script).start().await.unwrap();
        let gateway = Gateway::start(&config("openai", &provider.base_url(), "[cache]\n"));
        let mut caller = Caller::connect(gateway.address).await;
        for expected in ["miss", "miss", "miss", "hit"] {
            let answer = caller.post(CHAT, "", ask(form)).await;
            assert_eq!(status(&answer), expected, "{form}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn what_an_endpoint_said_of_the_moment_is_not_said_again() {
    let headers = ["x-ratelimit-remaining-requests", "retry-after"];
    let reply = (headers.iter()).fold(Reply::text("fine"), |reply, name| reply.header(name, "7"));
    let provider = Provider::openai().reply(reply).start().await.unwrap();
    let gateway = Gateway::start(&config("openai", &provider.base_url(), "[cache]\n"));
    let mut caller = Caller::connect(gateway.address).await;
    for (expected, value) in [("miss", Some("7")), ("hit", None)] {
        let answer = caller.post(CHAT, "", ask("")).await;
        assert_eq!(status(&answer), expected);
        for name in headers {
            assert_eq!(answer.header(name).as_deref(), value, "{name}");
        }
    }
}

/// Whatever goes wrong: those who wait for it hear of it, and the next one gets what is right.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c3_c4_no_fault_is_kept_and_nobody_is_left_waiting() {
    const WORDS: &str = "one two three four five";
    let faults: Vec<_> = (Fault::all().into_iter())
        .filter(|fault| fault.fits(Dialect::OpenAi) && fault.carried_by(Carrier::Socket))
        .filter(|fault| !fault.is_of_connection() && !fault.shows_later())
        .filter(|fault| fault.class() != "Success")
        .collect();
    assert!(faults.len() > 60);
    // Lenient: some faults are of streams only, and the call that should have one whole fails otherwise.
    let mut provider = Provider::openai().lenient();
    for (number, fault) in faults.iter().enumerate() {
        let spoilt = Reply::text(WORDS).fault(*fault);
        let script = spoilt.then(Reply::text(WORDS));
        provider = provider.on(Match::model(format!("m-{number}")), script);
    }
    let provider = provider.start().await.unwrap();
    let more = "[cache]\n[breaker]\nenabled = false\n[timeouts]\nattempt = \"600 ms\"\n";
    let config = config("openai", &provider.base_url(), more).replace("key_env = \"UP_KEY\"\n", "");
    let gateway = Gateway::start(&config);
    let mut monitor = Caller::connect(gateway.address).await;
    for (number, fault) in faults.iter().enumerate() {
        for first in ["", STREAM] {
            let body = |form: &str| {
                let tag = format!(",\"seed\":{}{form}", first.len());
                ask(&tag).replace("m-1", &format!("m-{number}"))
            };
            let mut callers = Vec::new();
            for form in [first, "", STREAM] {
                let mut caller = Caller::connect(gateway.address).await;
                caller
                    .start(CHAT, "connection: close\r\n", body(form))
                    .await;
                callers.push(caller);
            }
            for caller in &mut callers {
                caller.gone().await;
            }
            for form in [STREAM, ""] {
                let mut caller = Caller::connect(gateway.address).await;
                let answer = caller.post(CHAT, "", body(form)).await;
                assert_eq!(answer.status(), 200, "{fault:?}: {answer:?}");
                assert_eq!(said(answer.text()), WORDS, "{fault:?}: {answer:?}");
            }
        }
    }
    under_way(&mut monitor, 0.0).await;
}

/// The words in a stream or in a whole reply.
fn said(text: &str) -> String {
    let mut said = String::new();
    for line in text.lines() {
        let data = line.strip_prefix("data: ").unwrap_or(line);
        let value: serde_json::Value = serde_json::from_str(data).unwrap_or_default();
        for place in ["delta", "message"] {
            let text = value["choices"][0][place]["content"].as_str();
            said += text.unwrap_or_default();
        }
    }
    said
}
