//! Which key a call gets, what a denial does, and that the layer keeps the Service contract.

mod contract;
mod support;

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use buttress_core::{Class, Outcome, ProtocolExt};
use buttress_http::{Http, TrackLayer, Tracked};
use buttress_llm::{Dialect, Secret, keys::CredentialsLayer};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::time::advance;
use tower::{Service, ServiceBuilder, ServiceExt, service_fn};

use support::{
    Answer, DENIED, Log, OK, PEEK, Provider, QUOTA, Reply, call, insist, layer, outcome,
};

#[tokio::test]
async fn s1_an_endpoint_without_a_key_gets_none_and_its_denials_pass() {
    let client = service_fn(|request: Request<Full<Bytes>>| async move {
        let bare = request.headers().is_empty() && request.uri() == "/v1?alt=sse";
        let response = Response::builder().status(if bare { 401 } else { 500 });
        Ok::<_, Infallible>(response.body(Full::<Bytes>::default()).unwrap())
    });
    let log = Log::default();
    let mut endpoint = ServiceBuilder::new()
        .layer(CredentialsLayer::without_keys(Dialect::OpenAi).on_event(log.listen()))
        .layer(TrackLayer::new(Dialect::OpenAi))
        .service(client);
    let request = Request::get("/v1?alt=sse&key=canary")
        .header("authorization", "Bearer canary")
        .header("x-api-key", "canary");
    let request = request.body(Full::default()).unwrap();
    let response = endpoint.ready().await.unwrap().call(request).await.unwrap();
    assert_eq!(response.status(), 401);
    let seen = response.body().seen();
    assert_eq!((seen.class, seen.again()), (Class::Denied, false));
    assert!(log.take().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_denied_is_benched_and_only_that_one() {
    let (provider, log) = (Provider::default(), Log::default());
    let mut endpoint = provider.behind(layer(&["a", "b", "c"]).on_event(log.listen()), PEEK());
    assert_eq!(outcome(&mut endpoint).await.class, Class::Success);
    provider.answer("a", DENIED);
    let denied = outcome(&mut endpoint).await;
    assert_eq!((denied.class, denied.again()), (Class::Denied, true));
    for _ in 0..3 {
        assert_eq!(outcome(&mut endpoint).await.class, Class::Success);
    }
    assert_eq!(provider.keys(), ["a", "a", "b", "b", "b"]);
    advance(Duration::from_secs(60)).await;
    provider.answer("a", OK);
    outcome(&mut endpoint).await;
    assert_eq!(provider.keys(), ["a"]);
    let told = log.take();
    assert_eq!(
        told[..3],
        [
            "credentials.sent a",
            "credentials.sent a",
            "credentials.benched a 60s 1"
        ]
    );
    assert_eq!(
        told[3..],
        [
            "credentials.sent b",
            "credentials.sent b",
            "credentials.sent b",
            "credentials.sent a",
            "credentials.accepted a"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_retry_finds_the_key_that_works_and_asks_none_twice() {
    let provider = Provider::default();
    let mut endpoint = provider.behind(layer(&["a", "b", "c"]), PEEK());
    provider.answer("a", DENIED);
    provider.answer(
        "b",
        Answer {
            status: 402,
            ..DENIED
        },
    );
    assert_eq!(insist(&mut endpoint).await.class, Class::Success);
    assert_eq!(provider.keys(), ["a", "b", "c"]);

    provider.answer(
        "c",
        Answer {
            status: 403,
            ..DENIED
        },
    );
    let last = insist(&mut endpoint).await;
    assert_eq!((last.class, last.again()), (Class::Denied, false));
    assert_eq!(provider.keys(), ["c"], "the others are benched");
}

#[tokio::test(start_paused = true)]
async fn when_all_are_benched_the_one_that_is_back_first_is_asked_and_that_is_final() {
    let (provider, log) = (Provider::default(), Log::default());
    let mut endpoint = provider.behind(layer(&["a", "b"]).on_event(log.listen()), PEEK());
    provider.answer("a", DENIED);
    provider.answer("b", DENIED);
    insist(&mut endpoint).await;
    advance(Duration::from_secs(1)).await;
    log.take();
    for _ in 0..3 {
        let outcome = outcome(&mut endpoint).await;
        assert_eq!((outcome.class, outcome.again()), (Class::Denied, false));
    }
    assert_eq!(provider.keys(), ["a", "b", "a", "a", "a"]);
    assert_eq!(
        log.take(),
        ["credentials.sent a benched"; 3],
        "and no bench grew"
    );
    provider.answer("a", OK);
    assert_eq!(outcome(&mut endpoint).await.class, Class::Success);
    assert_eq!(outcome(&mut endpoint).await.class, Class::Success);
    let told = log.take();
    let accepted = [
        "credentials.sent a benched",
        "credentials.accepted a",
        "credentials.sent a",
    ];
    assert_eq!(told, accepted);
}

#[tokio::test(start_paused = true)]
async fn a_bench_grows_with_each_denial_and_an_acceptance_ends_that() {
    let (provider, log) = (Provider::default(), Log::default());
    let layer = layer(&["a", "b"]).longest_bench(Duration::from_secs(200));
    let mut endpoint = provider.behind(layer.on_event(log.listen()), PEEK());
    provider.answer("a", DENIED);
    for seconds in [60, 120, 200, 200] {
        outcome(&mut endpoint).await;
        advance(Duration::from_secs(seconds)).await;
    }
    let benched = |log: &Log| -> Vec<_> {
        let told = log.take().into_iter();
        told.filter(|line| line.contains("benched")).collect()
    };
    assert_eq!(
        benched(&log),
        [
            "credentials.benched a 60s 1",
            "credentials.benched a 120s 2",
            "credentials.benched a 200s 3",
            "credentials.benched a 200s 4",
        ]
    );
    provider.answer("a", OK);
    outcome(&mut endpoint).await;
    provider.answer("a", DENIED);
    outcome(&mut endpoint).await;
    assert_eq!(benched(&log), ["credentials.benched a 60s 1"]);
}

#[tokio::test(start_paused = true)]
async fn the_servers_word_gives_way_only_to_another_key() {
    let told = Answer {
        status: 401,
        headers: &[("x-should-retry", "false"), ("retry-after", "3600")],
        body: "{}",
    };
    let provider = Provider::default();
    let mut endpoint = provider.behind(layer(&["a", "b"]), PEEK());
    for key in ["a", "b"] {
        provider.answer(key, told.clone());
    }
    let first = outcome(&mut endpoint).await;
    assert_eq!(
        (first.should_retry, first.retry_after),
        (Some(true), Some(Duration::ZERO))
    );
    let second = outcome(&mut endpoint).await;
    let hour = Duration::from_secs(3600);
    assert_eq!(
        (second.should_retry, second.retry_after),
        (Some(false), Some(hour))
    );
    // The hint is later than the bench, and waited for.
    advance(Duration::from_secs(3599)).await;
    provider.keys();
    assert!(!outcome(&mut endpoint).await.again());
    advance(Duration::from_secs(1)).await;
    assert!(
        outcome(&mut endpoint).await.again(),
        "the bench of b is over as well"
    );
    assert_eq!(provider.keys(), ["a", "a"]);

    // A server that says yes to a denial has its say too.
    let provider = Provider::default();
    let mut endpoint = provider.behind(layer(&["a"]), PEEK());
    let headers = &[("x-should-retry", "true")];
    provider.answer("a", Answer { headers, ..DENIED });
    assert!(outcome(&mut endpoint).await.again());
    provider.answer("a", DENIED);
    assert!(!outcome(&mut endpoint).await.again());
}

#[tokio::test(start_paused = true)]
async fn money_that_is_spent_benches_wherever_it_is_told() {
    const STREAM: &[(&str, &str)] = &[("x", "y")];
    let spent = Answer {
        status: 429,
        headers: STREAM,
        body: QUOTA,
    };
    // Inside of a 429, and inside of a 200.
    for status in [429, 200] {
        let provider = Provider::default();
        provider.answer(
            "a",
            Answer {
                status,
                ..spent.clone()
            },
        );
        let mut endpoint = provider.behind(layer(&["a", "b"]), PEEK());
        let denied = outcome(&mut endpoint).await;
        assert_eq!(
            (denied.class, denied.again()),
            (Class::Denied, true),
            "{status}"
        );
        outcome(&mut endpoint).await;
        assert_eq!(provider.keys(), ["a", "b"]);

        // Not peeked: it is known once the body was read.
        let provider = Provider::default();
        provider.answer(
            "a",
            Answer {
                status,
                ..spent.clone()
            },
        );
        let mut endpoint = provider.behind(layer(&["a", "b"]), PEEK().peek_bytes(0));
        let response = call(&mut endpoint).await;
        assert_ne!(response.body().seen().class, Class::Denied);
        outcome(&mut endpoint).await;
        let _ = response.into_body().collect().await;
        outcome(&mut endpoint).await;
        assert_eq!(provider.keys(), ["a", "a", "b"], "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn no_other_failure_says_anything_of_a_key() {
    let (provider, log) = (Provider::default(), Log::default());
    let mut endpoint = provider.behind(layer(&["a", "b"]).on_event(log.listen()), PEEK());
    for status in [429, 500, 503, 529, 400, 404, 422, 408] {
        provider.answer("a", Answer { status, ..DENIED });
        assert_ne!(
            outcome(&mut endpoint).await.class,
            Class::Denied,
            "{status}"
        );
    }
    drop(call(&mut endpoint).await);
    assert_eq!(provider.keys(), ["a"; 9]);
    assert_eq!(log.take(), ["credentials.sent a"; 9]);
}

#[tokio::test(start_paused = true)]
async fn a_trial_that_says_nothing_is_tried_again_by_the_next_call() {
    let provider = Provider::default();
    let mut endpoint = provider.behind(layer(&["a", "b"]), PEEK());
    provider.answer("a", DENIED);
    outcome(&mut endpoint).await;
    advance(Duration::from_secs(60)).await;
    provider.keys();

    provider.answer(
        "a",
        Answer {
            status: 503,
            ..DENIED
        },
    );
    outcome(&mut endpoint).await;
    assert_eq!(provider.keys(), ["a"]);
    // Dropped before it is polled; meanwhile the others use the other key.
    let trial = endpoint.ready().await.unwrap().call(Request::default());
    outcome(&mut endpoint).await;
    drop(trial);
    outcome(&mut endpoint).await;
    assert_eq!(provider.keys(), ["a", "b", "a"]);
}

#[tokio::test(start_paused = true)]
async fn a_trial_is_over_once_its_response_goes_well() {
    let (provider, log) = (Provider::default(), Log::default());
    let layer = layer(&["a", "b"]).on_event(log.listen());
    let mut endpoint = provider.behind(layer, PEEK().peek_bytes(0));
    provider.answer("a", DENIED);
    outcome(&mut endpoint).await;
    advance(Duration::from_secs(60)).await;
    provider.answer("a", OK);
    provider.keys();
    log.take();
    // A long stream: nobody waits for its end.
    let open = call(&mut endpoint).await;
    assert_eq!(log.take(), ["credentials.sent a", "credentials.accepted a"]);
    outcome(&mut endpoint).await;
    drop(open);
    assert_eq!(provider.keys(), ["a", "a"]);
}

#[tokio::test(start_paused = true)]
async fn calls_that_fail_together_are_one_denial() {
    let (provider, log) = (Provider::default(), Log::default());
    let endpoint = provider.behind(layer(&["a", "b"]).on_event(log.listen()), PEEK());
    provider.answer("a", DENIED);
    let mut calls = Vec::new();
    for _ in 0..20 {
        let mut endpoint = endpoint.clone();
        calls.push(endpoint.ready().await.unwrap().call(Request::default()));
    }
    for call in calls {
        let denied = call.await.unwrap().body().seen();
        assert_eq!((denied.class, denied.again()), (Class::Denied, true));
    }
    assert_eq!(provider.keys(), ["a"; 20]);
    let told = log.take();
    assert_eq!(told[..20], ["credentials.sent a"; 20]);
    assert_eq!(told[20..], ["credentials.benched a 60s 1"]);
}

#[tokio::test(start_paused = true)]
async fn keys_that_take_turns_have_equal_shares() {
    let provider = Provider::default();
    let mut endpoint = provider.behind(layer(&["a", "b", "c"]).in_turn(), PEEK());
    provider.answer("b", DENIED);
    for _ in 0..6 {
        insist(&mut endpoint).await;
    }
    assert_eq!(provider.keys(), ["a", "b", "c", "a", "c", "c", "a"]);
}

#[tokio::test(start_paused = true)]
async fn t7_clones_and_further_services_of_a_layer_share_the_benches() {
    let (provider, shared) = (Provider::default(), layer(&["a", "b"]));
    let mut first = provider.behind(shared.clone(), PEEK());
    let mut second = provider.behind(shared.clone(), PEEK());
    provider.answer("a", DENIED);
    outcome(&mut first).await;
    outcome(&mut second).await;
    outcome(&mut first.clone()).await;
    assert_eq!(provider.keys(), ["a", "b", "b"]);
    assert!(shared.ids().eq(["a", "b"]));
}

#[tokio::test(start_paused = true)]
async fn s1_no_credential_of_the_caller_goes_up_and_none_of_ours_comes_down() {
    const OURS: &str = "sk-ours-canary-0123456789";
    let echo = Answer {
        status: 401,
        headers: &[],
        body: OURS,
    };
    for dialect in Dialect::ALL {
        let seen = Arc::new(Mutex::new(None));
        let (kept, answer) = (seen.clone(), echo.clone());
        let client = service_fn(move |request: Request<()>| {
            *kept.lock().unwrap() = Some(request.into_parts().0);
            let response = Response::builder()
                .status(answer.status)
                .body(Full::<Bytes>::from(answer.body));
            async { Ok::<_, Infallible>(response.unwrap()) }
        });
        let log = Log::default();
        let key = Secret::new(OURS).unwrap();
        let layer = CredentialsLayer::new(dialect, key).on_event(log.listen());
        let service = ServiceBuilder::new()
            .layer(layer.clone())
            .layer(TrackLayer::new(dialect))
            .service(client);
        let request =
            Request::post("https://user:canary@host/v1?alt=sse&key=canary&access_token=canary")
                .header("authorization", "Bearer canary")
                .header("x-api-key", "canary")
                .header("x-goog-api-key", "canary")
                .header("cookie", "canary")
                .body(())
                .unwrap();
        let mut shown = format!("{layer:#?}");
        let response = service.oneshot(request).await.unwrap();
        shown += &format!(
            "{:?} {:?} {:?}",
            log.take(),
            response.body().seen(),
            response.body()
        );
        let sent = seen.lock().unwrap().take().unwrap();
        assert_eq!(sent.uri, "https://host/v1?alt=sse");
        let values = |text: &str| {
            sent.headers
                .values()
                .filter(|v| v.to_str().unwrap().contains(text))
                .count()
        };
        assert_eq!(
            (
                values("ours-canary"),
                sent.headers.values().filter(|v| *v == "canary").count()
            ),
            (1, 0)
        );
        assert!(!format!("{:?}", sent.headers).contains("canary"));
        assert!(!shown.contains("canary"), "{shown}");
    }
}

#[tokio::test(start_paused = true)]
async fn other_replies_can_be_made_denials() {
    let provider = Provider::default();
    let expired = Http.classify_with(|result: Result<&Reply, &Infallible>| {
        let status = result.ok()?.status();
        (status == 418).then(|| Outcome::new(Class::Denied))
    });
    let client = provider.clone();
    let mut service = ServiceBuilder::new()
        .layer(layer(&["a", "b"]).protocol(expired))
        .layer(PEEK())
        .service(service_fn(move |request: Request<()>| {
            let response = client.respond(request.into_parts().0);
            async { Ok::<_, Infallible>(response) }
        }));
    provider.answer(
        "a",
        Answer {
            status: 418,
            ..DENIED
        },
    );
    let first = service
        .ready()
        .await
        .unwrap()
        .call(Request::default())
        .await
        .unwrap();
    assert!(first.body().seen().again());
    service
        .ready()
        .await
        .unwrap()
        .call(Request::default())
        .await
        .unwrap();
    assert_eq!(provider.keys(), ["a", "b"]);
}
