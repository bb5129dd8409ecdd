//! What web pages can do to a gateway that asks nobody for a key.

mod support;

use support::{Answer, Caller, Gateway, Upstream, config};

const CHAT: &str = "/v1/chat/completions";
const BODY: &str = "{\"model\":\"m-1\"}";
const GUARDED: [&str; 7] = [
    "GET /",
    "GET /status",
    "GET /metrics",
    "GET /v1/models",
    "GET /nowhere",
    "POST /v1/chat/completions",
    "POST /v1/messages",
];

async fn ask(gateway: &Gateway, request: &str, headers: &str) -> Answer {
    let mut caller = Caller::connect(gateway.address).await;
    let end = "content-type: application/json\r\ncontent-length: 15\r\n\r\n";
    let end = if request.starts_with("POST") {
        format!("{end}{BODY}")
    } else {
        "\r\n".to_owned()
    };
    caller
        .send(format!("{request} HTTP/1.1\r\n{headers}{end}"))
        .await;
    caller.answer().await
}

fn gateway(more: &str) -> Gateway {
    Gateway::start(&config("openai", "http://127.0.0.1:1", more))
}

#[tokio::test]
async fn a_host_that_is_not_this_machine_is_refused() {
    let gateway = gateway("");
    for request in GUARDED {
        for host in [
            "host: evil.example\r\n",
            "host: localhost.evil.example:8080\r\n",
            "host: 127.0.0.1.evil.example\r\n",
            "host: 10.0.0.1\r\n",
            "host: [2001:db8::1]:80\r\n",
            "host: 127.0.0.1\r\nhost: evil.example\r\n",
            "host: \r\n",
            "",
        ] {
            let answer = ask(&gateway, request, host).await;
            assert_eq!(answer.status(), 403, "{request} {host}");
            let error = &answer.json()["error"];
            assert_eq!(error["type"], "permission_error", "{request} {host}");
            let message = error["message"].as_str().unwrap();
            assert!(
                message.starts_with("found ") && message.contains("`hosts`"),
                "{message}"
            );
            let dialect = if request.ends_with("messages") {
                "request-id"
            } else {
                "x-request-id"
            };
            assert!(answer.header(dialect).is_some());
        }
    }
    // To know whether it runs, nobody needs to know its name.
    assert_eq!(
        ask(&gateway, "GET /healthz", "host: evil.example\r\n")
            .await
            .status(),
        200
    );
    let log = gateway.log();
    assert!(
        log.contains("path=\"/v1/messages\" status=403 class=foreign_page"),
        "{log}"
    );
}

#[tokio::test]
async fn a_page_of_another_site_is_refused_before_its_body_comes() {
    let gateway = gateway("");
    let own = format!("host: {}\r\n", gateway.address);
    for request in GUARDED {
        for page in [
            "origin: https://evil.example\r\nsec-fetch-site: cross-site\r\n",
            "origin: https://evil.example\r\n",
            "origin: null\r\n",
            // Another program on this machine.
            "origin: http://localhost:3000\r\nsec-fetch-site: same-site\r\n",
            "sec-fetch-site: cross-site\r\n",
            "sec-fetch-site: cross-site\r\nsec-fetch-mode: no-cors\r\nsec-fetch-dest: image\r\n",
        ] {
            let answer = ask(&gateway, request, &format!("{own}{page}")).await;
            assert_eq!(answer.status(), 403, "{request} {page}");
            assert_eq!(answer.header("access-control-allow-origin"), None);
        }
    }
    let mut caller = Caller::connect(gateway.address).await;
    let head = format!("POST {CHAT} HTTP/1.1\r\n{own}origin: null\r\ncontent-length: 1000\r\n\r\n");
    caller.send(head).await;
    assert_eq!(caller.answer().await.status(), 403);
}

#[tokio::test]
async fn programs_and_the_gateways_own_page_are_served() {
    let mut upstream = Upstream::start().await;
    let gateway = Gateway::start(&config("openai", &upstream.origin(), ""));
    let port = gateway.address.port();
    for host in [
        "127.0.0.1",
        "localhost",
        "LOCALHOST",
        "127.9.9.9",
        "[::1]",
        "localhost.",
    ] {
        for page in [
            String::new(),
            format!("origin: http://{host}:{port}\r\nsec-fetch-site: same-origin\r\n"),
            "sec-fetch-site: none\r\n".to_owned(),
        ] {
            let headers = format!("host: {host}:{port}\r\n{page}");
            for request in &GUARDED[..4] {
                assert_eq!(
                    ask(&gateway, request, &headers).await.status(),
                    200,
                    "{headers}"
                );
            }
            let mut caller = Caller::connect(gateway.address).await;
            caller
                .send(format!(
                    "POST {CHAT} HTTP/1.1\r\n{headers}content-length: 15\r\n\r\n{BODY}"
                ))
                .await;
            let request = upstream.request().await;
            assert_eq!(
                (request.header("origin"), request.header("sec-fetch-site")),
                (None, None)
            );
            upstream
                .reply("200 OK", "content-type: application/json\r\n", "{}")
                .await;
            assert_eq!(caller.answer().await.status(), 200, "{headers}");
        }
    }
}

#[tokio::test]
async fn the_page_may_be_opened_by_a_link_anywhere() {
    let gateway = gateway("");
    let link = "host: localhost\r\nsec-fetch-site: cross-site\r\nsec-fetch-mode: navigate\r\nsec-fetch-dest: document\r\n";
    assert_eq!(ask(&gateway, "GET /", link).await.status(), 200);
    assert_eq!(ask(&gateway, "GET /status", link).await.status(), 403);
    let frame = link.replace("document", "iframe");
    assert_eq!(ask(&gateway, "GET /", &frame).await.status(), 403);
}

#[tokio::test]
async fn hosts_and_origins_of_the_configuration_are_served() {
    let gateway = gateway(
        "[web]\nhosts = [\"gateway.internal\", \"10.0.0.1\"]\norigins = [\"https://chat.example\"]\n",
    );
    for host in ["gateway.internal", "Gateway.Internal:8080", "10.0.0.1:80"] {
        let headers = format!("host: {host}\r\norigin: https://{host}\r\n");
        assert_eq!(
            ask(&gateway, "GET /", &headers).await.status(),
            200,
            "{host}"
        );
    }
    let page = "host: localhost\r\norigin: https://chat.example\r\nsec-fetch-site: cross-site\r\n";
    let answer = ask(&gateway, "GET /v1/models", page).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(
        answer.header("access-control-allow-origin").as_deref(),
        Some("https://chat.example")
    );
    assert_eq!(answer.header("vary").as_deref(), Some("origin"));
    // An error is one that the page can read.
    let answer = ask(&gateway, "POST /v1/messages", page).await;
    assert_eq!(answer.status(), 400);
    assert!(answer.header("access-control-allow-origin").is_some());
    assert_eq!(
        answer.header("access-control-expose-headers").as_deref(),
        Some("*")
    );

    let asks = format!(
        "{page}access-control-request-method: POST\r\naccess-control-request-headers: content-type, x-new\r\n"
    );
    let answer = ask(&gateway, &format!("OPTIONS {CHAT}"), &asks).await;
    assert_eq!(answer.status(), 204);
    for (name, value) in [
        ("access-control-allow-origin", "https://chat.example"),
        ("access-control-allow-methods", "GET, POST"),
        ("access-control-allow-headers", "content-type, x-new"),
    ] {
        assert_eq!(answer.header(name).as_deref(), Some(value));
    }
    for other in [
        "https://chat.example.evil",
        "http://chat.example",
        "https://chat.example:444",
    ] {
        let headers = format!("host: localhost\r\norigin: {other}\r\n");
        assert_eq!(
            ask(&gateway, "GET /", &headers).await.status(),
            403,
            "{other}"
        );
    }
}
