//! What a provider promises beside its dialect: its log, its verdict, its end.

mod support;

use std::{panic::AssertUnwindSafe, time::Duration};

use buttress_testing::{Ending, Match, Provider, Reply, Running, StartError};
use serde_json::{Value, json};
use support::{Raw, post};
use tokio::{io::AsyncWriteExt, task::JoinSet};

const PATH: &str = "/v1/chat/completions";

fn ask(model: &str) -> Value {
    json!({ "model": model, "messages": [{ "role": "user", "content": "canary prompt" }] })
}

/// What it says when it ends.
fn verdict(end: impl FnOnce()) -> Option<String> {
    let panic = std::panic::catch_unwind(AssertUnwindSafe(end)).err()?;
    Some(*panic.downcast::<String>().unwrap())
}

async fn start(provider: Provider) -> Running {
    provider.start().await.unwrap()
}

#[tokio::test]
async fn a_request_that_no_script_expects_is_refused_and_fails_the_test() {
    let provider = start(Provider::openai().on(Match::model("gpt-test"), Reply::text("Hi"))).await;
    let mut client = Raw::connect(provider.address()).await;
    let answer = client
        .ask(&format!("{PATH}?key=canary"), &ask("gpt-other"))
        .await;
    assert_eq!(answer.status, 501);
    let message = answer.json()["error"]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(message.contains("no script expects it"), "{message}");
    let said = verdict(|| drop(provider)).expect("dropping it must panic");
    assert!(
        said.contains("POST /v1/chat/completions?…, model \"gpt-other\"")
            && said.contains("model \"gpt-test\": an answer (never used)"),
        "{said}"
    );
    assert!(!said.contains("canary"), "{said}");
}

#[tokio::test]
async fn a_lenient_provider_fails_no_test() {
    let provider = start(
        Provider::openai()
            .lenient()
            .on(Match::model("a"), Reply::text("a")),
    )
    .await;
    let mut client = Raw::connect(provider.address()).await;
    assert_eq!(client.ask(PATH, &ask("b")).await.status, 501);
    provider.finish();
}

#[tokio::test]
async fn scripts_take_requests_in_order_until_they_are_used_up() {
    let provider = start(
        Provider::openai()
            .on(
                Match::model("a"),
                Reply::error(503).then(Reply::text("a").once()),
            )
            .on(Match::any(), Reply::error(418)),
    )
    .await;
    let mut client = Raw::connect(provider.address()).await;
    let mut statuses = Vec::new();
    for model in ["b", "a", "a", "a"] {
        statuses.push(client.ask(PATH, &ask(model)).await.status);
    }
    assert_eq!(statuses, [418, 503, 200, 418]);
    provider.finish();
}

#[tokio::test]
async fn finish_reports_what_was_left_unused_and_drop_does_not() {
    let set_up = || {
        Provider::openai()
            .on(Match::model("a"), Reply::text("a"))
            .on(Match::model("b"), Reply::text("b").times(2))
    };
    drop(start(set_up()).await);
    let provider = start(set_up()).await;
    let mut client = Raw::connect(provider.address()).await;
    client.ask(PATH, &ask("b")).await;
    let said = verdict(|| provider.finish()).unwrap();
    assert!(
        said.contains("model \"a\": an answer (never used) <- unused"),
        "{said}"
    );
    assert!(
        said.contains("model \"b\": an answer 2 times (used once) <- unused"),
        "{said}"
    );
}

#[tokio::test]
async fn a_panic_in_a_closure_fails_the_test_and_not_the_provider() {
    let provider = start(
        Provider::openai()
            .on(
                Match::model("boom"),
                Reply::with(|_| panic!("at the seaside")),
            )
            .reply(Reply::text("fine")),
    )
    .await;
    let mut client = Raw::connect(provider.address()).await;
    assert_eq!(client.ask(PATH, &ask("boom")).await.status, 501);
    assert_eq!(client.ask(PATH, &ask("calm")).await.status, 200);
    let said = verdict(|| drop(provider)).unwrap();
    assert!(
        said.contains("a closure of the script panicked: at the seaside"),
        "{said}"
    );
}

#[tokio::test]
async fn the_log_tells_what_came_on_which_connection_and_how_it_ended() {
    let provider = start(Provider::openai().reply(Reply::text("Hi"))).await;
    let log = provider.log();
    let mut first = Raw::connect(provider.address()).await;
    first.ask(PATH, &ask("one")).await;
    first.ask(PATH, &ask("two")).await;
    let mut second = Raw::connect(provider.address()).await;
    let request = post(PATH, &ask("three")).replace("host: test", "authorization: Bearer canary");
    second.send(request).await;
    second.answer().await;
    log.wait_for(3).await;
    log.wait_until_idle().await;

    let requests = log.requests();
    let seen: Vec<_> = requests
        .iter()
        .map(|seen| {
            (
                seen.number(),
                seen.connection(),
                seen.model().unwrap().to_owned(),
            )
        })
        .collect();
    let expected = [(1, 1, "one"), (2, 1, "two"), (3, 2, "three")];
    assert_eq!(seen, expected.map(|(n, c, model)| (n, c, model.to_owned())));
    assert!(
        requests
            .iter()
            .all(|seen| seen.ending() == Some(Ending::Replied))
    );
    assert!(requests[0].at() <= requests[1].at() && requests[0].ended_at().is_some());
    assert_eq!(requests[2].header("authorization"), Some("Bearer canary"));
    assert_eq!(requests[2].status(), Some(200));
    assert_eq!((log.connections(), log.open_connections()), (2, 2));
    assert!(!format!("{log:?} {provider:?} {requests:#?}").contains("canary"));
    drop((first, second));
    log.wait_until_closed().await;
}

#[tokio::test]
async fn the_log_forgets_the_oldest_and_keeps_the_counts() {
    let provider = start(
        Provider::openai()
            .remember(2, 1000)
            .reply(Reply::text("Hi")),
    )
    .await;
    let mut client = Raw::connect(provider.address()).await;
    for model in ["one", "two", "three"] {
        client.ask(PATH, &ask(model)).await;
    }
    let log = provider.log();
    assert_eq!((log.received(), log.billed().calls), (3, 3));
    let models = |log: &buttress_testing::Log| {
        let requests = log.requests();
        requests
            .iter()
            .map(|seen| seen.model().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(models(&log), ["two", "three"]);
    client.ask(PATH, &ask(&"x".repeat(2000))).await;
    assert_eq!(log.requests().len(), 1, "a large one is kept alone");
}

#[tokio::test]
async fn a_client_that_leaves_is_seen_while_the_provider_waits() {
    let reply = Reply::text("never").headers_after(Duration::from_secs(3600));
    let provider = start(Provider::openai().reply(reply)).await;
    let log = provider.log();
    let mut client = Raw::connect(provider.address()).await;
    client.send(post(PATH, &ask("m"))).await;
    log.wait_for(1).await;
    assert_eq!((log.in_flight(), log.disconnected()), (1, 0));
    drop(client);
    log.wait_for_disconnects(1).await;
    assert_eq!(log.last().unwrap().ending(), Some(Ending::Disconnected));
    assert_eq!((log.in_flight(), log.billed().calls), (0, 0));
}

#[tokio::test]
async fn a_stream_that_is_left_is_billed_for_what_was_sent() {
    let reply = Reply::text("one two three four").pace(Duration::from_secs(3600));
    let provider = start(Provider::openai().reply(reply)).await;
    let log = provider.log();
    let mut client = Raw::connect(provider.address()).await;
    let mut asked = ask("m");
    asked["stream"] = true.into();
    client.send(post(PATH, &asked)).await;
    client.until(b"refusal").await;
    assert_eq!(log.billed().calls, 0, "a role is no content");
    drop(client);
    log.wait_for_disconnects(1).await;
    assert_eq!(log.billed().output, 0);
}

#[tokio::test]
async fn dropping_the_provider_closes_its_connections_and_its_port() {
    let reply = Reply::text("never").headers_after(Duration::from_secs(3600));
    let provider = start(Provider::openai().reply(reply)).await;
    let (address, log) = (provider.address(), provider.log());
    let mut client = Raw::connect(address).await;
    client.send(post(PATH, &ask("m"))).await;
    log.wait_for(1).await;
    drop(provider);
    client.rest().await.1.unwrap();
    log.wait_until_closed().await;
    assert_eq!(log.last().unwrap().ending(), Some(Ending::Disconnected));
    let refused = tokio::net::TcpStream::connect(address).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn requests_one_after_the_other_without_waiting_are_answered_in_order() {
    let provider = start(Provider::openai().reply(Reply::echo())).await;
    let mut client = Raw::connect(provider.address()).await;
    let mut asked = String::new();
    for number in 0..20 {
        asked += &post(
            PATH,
            &json!({ "messages": [{ "role": "user", "content": number.to_string() }] }),
        );
    }
    client.send(asked).await;
    for number in 0..20 {
        let answer = client.answer().await.json();
        assert_eq!(
            answer["choices"][0]["message"]["content"],
            number.to_string()
        );
    }
    assert_eq!(provider.log().connections(), 1);
}

#[tokio::test]
async fn bodies_come_chunked_continued_and_bounded() {
    let provider = start(
        Provider::openai()
            .max_body(64)
            .on(Match::any(), Reply::echo()),
    )
    .await;
    let mut client = Raw::connect(provider.address()).await;
    client
        .send(format!(
            "POST {PATH} HTTP/1.1\r\nexpect: 100-continue\r\ntransfer-encoding: chunked\r\n\r\n"
        ))
        .await;
    assert_eq!(
        client.until(b"\r\n\r\n").await,
        b"HTTP/1.1 100 Continue\r\n\r\n"
    );
    client
        .send("3;ext=1\r\n{\"a\r\n5\r\n\":1 }\r\n0\r\ntrailer: x\r\n\r\n")
        .await;
    assert_eq!(client.answer().await.status, 200);
    assert_eq!(provider.log().last().unwrap().body(), "{\"a\":1 }");

    client
        .send(post(PATH, &json!({ "long": "x".repeat(64) })))
        .await;
    let answer = client.answer().await;
    assert_eq!(answer.status, 413);
    assert_eq!(answer.header("connection"), Some("close"));
    let mut client = Raw::connect(provider.address()).await;
    client
        .send(format!(
            "POST {PATH} HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nffff\r\n"
        ))
        .await;
    assert_eq!(client.answer().await.status, 413);
}

#[tokio::test]
async fn what_is_no_request_is_refused_and_fails_the_test() {
    let provider = start(Provider::openai().reply(Reply::text("Hi"))).await;
    for (bytes, status) in [
        ("garbage\r\n\r\n".to_owned(), 400),
        (
            format!("POST {PATH} HTTP/1.1\r\ncontent-length: x\r\n\r\n"),
            400,
        ),
        (format!("GET / HTTP/1.1\r\nx: {}", "y".repeat(70_000)), 431),
    ] {
        let mut client = Raw::connect(provider.address()).await;
        client.send(bytes).await;
        assert_eq!(client.answer().await.status, status);
        client.stream.shutdown().await.unwrap();
        client.rest().await.1.unwrap();
    }
    let said = verdict(|| drop(provider)).unwrap();
    assert!(
        said.contains("a content-length that is no number"),
        "{said}"
    );
}

#[tokio::test]
async fn a_reply_that_cannot_be_sent_stops_the_start() {
    let provider = Provider::openai().reply(Reply::text("Hi").header("x", "a\nb"));
    let error = provider.start().await.unwrap_err();
    assert!(matches!(error, StartError::Script(_)));
    assert!(
        error.to_string().contains("the value of header x"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bill_is_exact_under_load() {
    let provider = start(
        Provider::openai()
            .remember(10, 1 << 20)
            .reply(Reply::echo()),
    )
    .await;
    let mut clients = JoinSet::new();
    for client in 0..16 {
        let address = provider.address();
        clients.spawn(async move {
            let mut used = (0, 0);
            let mut raw = Raw::connect(address).await;
            for call in 0..50 {
                let asked = json!({
                    "stream": call % 2 == 0,
                    "stream_options": { "include_usage": true },
                    "messages": [{ "role": "user", "content": "word ".repeat(client + call) }],
                });
                let answer = raw.ask(PATH, &asked).await;
                let usage = match call % 2 {
                    0 => serde_json::from_str(&answer.events()[answer.events().len() - 2]).unwrap(),
                    _ => answer.json(),
                };
                used.0 += usage["usage"]["prompt_tokens"].as_u64().unwrap();
                used.1 += usage["usage"]["completion_tokens"].as_u64().unwrap();
            }
            used
        });
    }
    let used = clients.join_all().await;
    let used = used
        .iter()
        .fold((0, 0), |sum, used| (sum.0 + used.0, sum.1 + used.1));
    let log = provider.log();
    assert_eq!((log.billed().input, log.billed().output), used);
    assert_eq!(
        (log.received(), log.billed().calls, log.connections()),
        (800, 800, 16)
    );
    assert!(log.most_in_flight() >= 1 && log.most_in_flight() <= 16);
    assert_eq!(log.requests().len(), 10);
    provider.finish();
}
