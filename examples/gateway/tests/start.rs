//! How the gateway starts, or does not.

mod support;

use serde_json::json;
use support::{Caller, Gateway, config, run};

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn a_good_configuration_is_only_checked() {
    let config = config("openai", "https://api.example.com/v1", "");
    for args in [&["--check", "FILE"][..], &["--config", "FILE", "--check"]] {
        let output = run(Some(&config), args);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(text(&output.stdout), "ok: 1 endpoints, 2 routes\n");
        assert_eq!(text(&output.stderr), "");
    }
}

#[test]
fn a_bad_configuration_stops_the_start_with_file_and_line() {
    let config = config(
        "opnai",
        "https://api.example.com/v1",
        "[limits]\nbody = -1\n",
    );
    for args in [&["--check", "FILE"][..], &["FILE"]] {
        let output = run(Some(&config), args);
        assert!(!output.status.success());
        assert_eq!(text(&output.stdout), "");
        let said: Vec<_> = text(&output.stderr)
            .lines()
            .map(|line| line.split_once(".toml:").unwrap().1)
            .collect();
        let dialect = "5: found \"opnai\", expected one of \"openai\", \"anthropic\", \"gemini\"";
        assert_eq!(
            said,
            [
                dialect,
                "19: found -1, expected a size from 1 B to 1 TiB, such as 65536 or \"64 KiB\""
            ]
        );
    }
}

#[test]
fn a_missing_key_variable_is_named() {
    let config = config("openai", "https://api.example.com/v1", "").replace("UP_KEY", "OTHER_KEY");
    let output = run(Some(&config), &["FILE"]);
    assert!(!output.status.success());
    let said = text(&output.stderr);
    assert!(
        said.contains(":7: the environment variable `OTHER_KEY` is not set"),
        "{said}"
    );
}

#[test]
fn what_cannot_be_reached_is_noted() {
    let more =
        "[[endpoint]]\nname = \"g\"\ndialect = \"gemini\"\nbase_url = \"https://g.example.com\"\n";
    let output = run(
        Some(&config("openai", "https://api.example.com/v1", more)),
        &["--check", "FILE"],
    );
    assert!(output.status.success());
    assert_eq!(
        text(&output.stderr),
        "note: endpoint `g`: no route leads to it\n"
    );
}

#[test]
fn a_wrong_argument_is_named_and_help_is_there() {
    let output = run(None, &["--quick"]);
    assert!(!output.status.success());
    assert!(
        text(&output.stderr).starts_with("found `--quick`"),
        "{output:?}"
    );
    let output = run(None, &["--help"]);
    assert!(output.status.success() && text(&output.stdout).contains("--listen ADDR"));
}

#[test]
fn an_address_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = run(
        Some(&config("openai", "http://127.0.0.1:1", "")),
        &["FILE", "--listen", &address],
    );
    assert!(!output.status.success());
    assert!(
        text(&output.stderr).starts_with(&format!("cannot listen on {address}: ")),
        "{output:?}"
    );
}

#[tokio::test]
async fn without_a_configuration_simulated_endpoints_answer_and_one_of_them_misbehaves() {
    let gateway = Gateway::simulated();
    let mut caller = Caller::connect(gateway.address).await;
    let models = caller.get("/v1/models", "").await.json();
    let models: Vec<_> = models["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| model["id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        models,
        [
            "sim-gpt",
            "sim-claude",
            "sim-gemini",
            "sim-flaky",
            "sim-any"
        ]
    );
    let ask = |model: &str| {
        json!({ "model": model, "max_tokens": 9, "messages": [{ "role": "user", "content": "Hello!" }] }).to_string()
    };
    for (path, model) in [
        ("/v1/chat/completions", "sim-gpt"),
        ("/v1/chat/completions", "gpt-4o-mini"),
        ("/v1/messages", "sim-claude"),
        ("/v1/messages", "claude-any"),
        // Whoever asks is served by whichever endpoint.
        ("/v1/chat/completions", "sim-claude"),
        ("/v1/chat/completions", "sim-gemini"),
        ("/v1/messages", "sim-gpt"),
        ("/v1/messages", "gemini-any"),
    ] {
        let answer = caller.post(path, "", ask(model)).await;
        assert!(
            answer.status() == 200 && answer.text().contains("Hello!"),
            "{answer:?}"
        );
    }
    let mut statuses = Vec::new();
    for _ in 0..2 {
        statuses.push(
            caller
                .post("/v1/chat/completions", "", ask("sim-flaky"))
                .await
                .status(),
        );
    }
    assert_eq!(statuses, [200, 200]);
    assert_eq!(caller.get("/status", "").await.json()["simulated"], true);
    gateway.terminate();
    let ended = gateway.ended();
    assert!(
        ended.success && !ended.log.contains("panicked"),
        "{ended:?}"
    );
    assert!(ended.out.contains("curl -N http://127.0.0.1:"), "{ended:?}");
}
