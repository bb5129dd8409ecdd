//! Callers who have keys of their own.

mod support;

use serde_json::json;
use support::{Answer, Caller, Gateway, Upstream, config, run, run_with};

const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";

const ALICE: &str = "sk-buttress-canary-alice";
const BOB: &str = "sk-buttress-canary-bob00";
const EVE: &str = "sk-buttress-canary-eve00";

fn digest(key: &str) -> String {
    let output = run_with(&["digest"], key.as_bytes());
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Alice may use everything, Bob `m-1`, and Eve no more.
fn callers() -> String {
    format!(
        "[[callers]]\nname = \"alice\"\n{}\n[[callers]]\nname = \"bob\"\nmodels = [\"m-1\"]\n{}expires = 9999-12-31T23:59:59Z\n\
         [[callers]]\nname = \"eve\"\n{}expires = 2001-01-01T00:00:00Z\n",
        digest(ALICE),
        digest(BOB),
        digest(EVE)
    )
}

fn bearer(key: &str) -> String {
    format!("authorization: Bearer {key}\r\n")
}

async fn post(gateway: &Gateway, path: &str, headers: &str, model: &str) -> Answer {
    let mut caller = Caller::connect(gateway.address).await;
    caller
        .post(path, headers, format!("{{\"model\":\"{model}\"}}"))
        .await
}

#[tokio::test]
async fn whoever_has_no_good_key_is_told_so_before_anything_is_read() {
    let gateway = Gateway::start(&config("openai", "http://127.0.0.1:1", &callers()));
    for (headers, said) in [
        (
            String::new(),
            "found no key, expected one in `authorization: Bearer` or `x-api-key`",
        ),
        (
            bearer("sk-canary"),
            "the key is not that of a caller of this gateway",
        ),
        (
            bearer(&ALICE[1..]),
            "the key is not that of a caller of this gateway",
        ),
        (bearer(EVE), "the key has expired"),
        (format!("x-api-key: {EVE}\r\n"), "the key has expired"),
    ] {
        for (path, dialect) in [
            (CHAT, "openai"),
            ("/v1/embeddings", "openai"),
            (MESSAGES, "anthropic"),
            ("/v1/messages/count_tokens", "anthropic"),
        ] {
            let mut caller = Caller::connect(gateway.address).await;
            let head =
                format!("POST {path} HTTP/1.1\r\nhost: h\r\n{headers}content-length: 1000\r\n\r\n");
            caller.send(head).await;
            let answer = caller.answer().await;
            assert_eq!(answer.status(), 401, "{path} {headers}");
            assert_eq!(answer.header("www-authenticate").as_deref(), Some("Bearer"));
            let body = answer.json();
            assert_eq!(body["error"]["type"], "authentication_error");
            assert_eq!(body["error"]["message"], said, "{headers}");
            if dialect == "openai" {
                assert_eq!(body["error"]["code"], "invalid_api_key");
                assert!(answer.header("x-request-id").is_some());
            } else {
                assert_eq!(
                    body["request_id"],
                    json!(answer.header("request-id").unwrap())
                );
            }
        }
        let mut caller = Caller::connect(gateway.address).await;
        for path in ["/v1/models", "/v1/models/m-1"] {
            assert_eq!(caller.get(path, &headers).await.status(), 401, "{path}");
        }
    }
    let mut caller = Caller::connect(gateway.address).await;
    assert_eq!(caller.get("/healthz", "").await.status(), 200);
    let metrics = caller.get("/metrics", "").await;
    let count = "gateway_turned_away_total{reason=\"no_caller\"} 30\n";
    assert!(metrics.text().contains(count), "{}", metrics.text());
    let log = gateway.log();
    assert!(
        log.contains("status=401 class=no_caller") && !log.contains("canary"),
        "{log}"
    );
}

#[tokio::test]
async fn a_callers_key_opens_both_fronts_and_goes_no_further() {
    for (dialect, path) in [("openai", CHAT), ("anthropic", MESSAGES)] {
        let mut upstream = Upstream::start().await;
        let gateway = Gateway::start(&config(dialect, &upstream.origin(), &callers()));
        for (headers, name) in [
            (bearer(ALICE), "alice"),
            (format!("x-api-key: {ALICE}\r\n"), "alice"),
            (format!("{}x-api-key: other\r\n", bearer(BOB)), "bob"),
            // Whoever has a key may come by any way.
            (
                format!("{}origin: https://chat.example\r\n", bearer(BOB)),
                "bob",
            ),
        ] {
            let mut caller = Caller::connect(gateway.address).await;
            caller.start(path, &headers, "{\"model\":\"m-1\"}").await;
            let request = upstream.request().await;
            let own = if dialect == "openai" {
                "authorization"
            } else {
                "x-api-key"
            };
            assert!(
                request
                    .header(own)
                    .unwrap()
                    .ends_with("the-endpoints-canary-key")
            );
            assert!(!request.head.contains("sk-buttress"), "{}", request.head);
            assert!(!request.head.contains(name), "{}", request.head);
            upstream
                .reply(
                    "200 OK",
                    "content-type: application/json\r\n",
                    "{\"choices\":[]}",
                )
                .await;
            assert_eq!(caller.answer().await.status(), 200);
        }
        let log = gateway.log();
        for (name, count) in [("alice", 2), ("bob", 2)] {
            let line =
                format!("path=\"{path}\" caller={name} model=\"m-1\" endpoint=up status=200");
            assert_eq!(log.matches(&line).count(), count, "{log}");
        }
        assert!(!log.contains("canary"), "{log}");
    }
}

#[tokio::test]
async fn a_model_that_is_not_the_callers_is_forbidden_whether_there_is_one_or_not() {
    let gateway = Gateway::start(&config("openai", "http://127.0.0.1:1", &callers()));
    for model in ["m-2", "alias", "nobody"] {
        for (path, kind) in [(CHAT, "permission_error"), (MESSAGES, "permission_error")] {
            let answer = post(&gateway, path, &bearer(BOB), model).await;
            assert_eq!(answer.status(), 403, "{model}");
            let error = &answer.json()["error"];
            assert_eq!(error["type"], kind);
            assert_eq!(
                error["message"],
                format!("this caller may not use the model `{model}`")
            );
        }
        let mut caller = Caller::connect(gateway.address).await;
        let answer = caller
            .get(&format!("/v1/models/{model}"), &bearer(BOB))
            .await;
        assert_eq!(answer.status(), 403);
    }
    assert_eq!(
        post(&gateway, CHAT, &bearer(ALICE), "nobody")
            .await
            .status(),
        404
    );
    let log = gateway.log();
    assert!(
        log.contains("caller=bob model=\"m-2\" status=403 class=forbidden_model"),
        "{log}"
    );
}

#[tokio::test]
async fn the_models_that_are_listed_are_those_that_the_caller_may_use() {
    let more = format!(
        "[[route]]\nmodel = \"m-1\"\nendpoints = [\"up\"]\n{}",
        callers()
    );
    let gateway = Gateway::start(&config("openai", "http://127.0.0.1:1", &more));
    let mut caller = Caller::connect(gateway.address).await;
    let ids = |answer: &Answer| -> Vec<String> {
        let list = answer.json()["data"].as_array().unwrap().clone();
        list.iter()
            .map(|model| model["id"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        ids(&caller.get("/v1/models", &bearer(ALICE)).await),
        ["alias", "m-1"]
    );
    assert_eq!(ids(&caller.get("/v1/models", &bearer(BOB)).await), ["m-1"]);
    let version = "anthropic-version: 2023-06-01\r\n";
    let list = caller
        .get("/v1/models", &format!("{version}x-api-key: {BOB}\r\n"))
        .await;
    assert_eq!(ids(&list), ["m-1"]);
    assert_eq!(
        (&list.json()["first_id"], &list.json()["last_id"]),
        (&json!("m-1"), &json!("m-1"))
    );
    assert_eq!(
        caller.get("/v1/models/m-1", &bearer(BOB)).await.status(),
        200
    );
}

#[tokio::test]
async fn the_pages_are_for_this_machine_whether_callers_have_keys_or_not() {
    let gateway = Gateway::start(&config("openai", "http://127.0.0.1:1", &callers()));
    let mut caller = Caller::connect(gateway.address).await;
    let status = caller.get("/status", "").await;
    assert_eq!(status.json()["asks_for_key"], true);
    caller
        .send("GET /status HTTP/1.1\r\nhost: evil.example\r\n\r\n")
        .await;
    assert_eq!(caller.answer().await.status(), 403);
}

#[tokio::test]
async fn only_with_callers_does_it_listen_elsewhere_than_on_loopback() {
    let open = config("openai", "http://127.0.0.1:1", "").replace("127.0.0.1:0", "0.0.0.0:0");
    for args in [&["FILE"][..], &["FILE", "--check"]] {
        let output = run(Some(&open), args);
        assert!(!output.status.success());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            said.contains(".toml:1: found 0.0.0.0:0 and no callers, expected a loopback address, or `[[callers]]`"),
            "{said}"
        );
    }
    let local = config("openai", "http://127.0.0.1:1", "");
    for (file, args) in [
        (Some(&*local), &["FILE", "--listen", "[::]:0"][..]),
        (None, &["--listen", "0.0.0.0:0"]),
    ] {
        let output = run(file, args);
        assert!(!output.status.success());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.starts_with("--listen: found "), "{said}");
    }
    let gateway = Gateway::start(&local);
    gateway.terminate();
    let ended = gateway.ended();
    assert!(
        ended.out.contains(
            "No callers are listed: it asks nobody for a key, and listens on loopback only."
        ),
        "{ended:?}"
    );

    let gateway = Gateway::start(&format!("{open}{}", callers()));
    assert!(gateway.address.ip().is_unspecified());
    gateway.terminate();
    assert!(!gateway.ended().out.contains("No callers"));
}

#[tokio::test]
async fn a_key_that_is_made_is_one_that_is_let_in() {
    let made = run(None, &["key", "carol"]);
    assert!(made.status.success() && made.stderr.is_empty(), "{made:?}");
    let made = String::from_utf8(made.stdout).unwrap();
    let (key, rest) = made.split_once('\n').unwrap();
    assert!(key.starts_with("sk-buttress-"), "{key}");
    assert_eq!(made.matches(key).count(), 1);
    let (_, entry) = rest.split_once("\n\n[[callers]]").unwrap();
    assert_eq!(entry, format!("\nname = \"carol\"\n{}", digest(key)));

    let gateway = Gateway::start(&config(
        "openai",
        "http://127.0.0.1:1",
        &format!("[[callers]]{entry}"),
    ));
    assert_eq!(
        post(&gateway, CHAT, &bearer(key), "m-1").await.status(),
        502
    );
    assert_eq!(
        post(&gateway, CHAT, &bearer(ALICE), "m-1").await.status(),
        401
    );
    assert!(gateway.log().contains("caller=carol"));
}

#[test]
fn a_digest_is_made_of_a_key_and_of_nothing_else() {
    let digest = digest(&format!(" {ALICE}\r\n"));
    assert_eq!(digest, self::digest(ALICE));
    for (input, said) in [
        ("", "found a key of 0 bytes, expected 20 to 4096"),
        ("hunter2", "found a key of 7 bytes"),
        (
            "two words and a canary, that is",
            "found a key with a character",
        ),
    ] {
        let output = run_with(&["digest"], input.as_bytes());
        assert!(!output.status.success() && output.stdout.is_empty());
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(
            error.starts_with(said) && !error.contains("canary"),
            "{error}"
        );
    }
}
