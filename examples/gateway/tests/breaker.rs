//! An endpoint that is down is left alone, and used again when it is back.

mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use buttress_testing::{Provider, Reply};
use support::{Caller, Gateway, config};
use tokio::time::Instant;

const CHAT: &str = "/v1/chat/completions";
const ASK: &str = "{\"model\":\"m-1\",\"messages\":[{\"role\":\"user\",\"content\":\"Hello!\"}]}";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_is_down_gets_probes_alone_and_is_used_when_it_is_back() {
    const WAIT: Duration = Duration::from_secs(1);
    const DOWN: Duration = Duration::from_secs(10);
    let down = Arc::new(AtomicBool::new(true));
    let provider = {
        let down = down.clone();
        Provider::openai().reply(Reply::with(move |_| match down.load(Ordering::Relaxed) {
            true => Reply::error(500),
            false => Reply::text("back"),
        }))
    };
    let provider = provider.start().await.unwrap();
    let more = "[breaker]\nminimum_calls = 5\nwait = \"1 s\"\nlongest_wait = \"1 s\"\n";
    let gateway = Gateway::start(&config("openai", &provider.base_url(), more));
    let circuit = async || {
        let status = Caller::connect(gateway.address)
            .await
            .get("/status", "")
            .await;
        status.json()["endpoints"][0]["circuit"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(circuit().await, "closed");

    // Four callers at once, without a pause, for as long as it is down.
    let begun = Instant::now();
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let address = gateway.address;
            tokio::spawn(async move {
                let (mut caller, mut refused) = (Caller::connect(address).await, 0);
                while begun.elapsed() < DOWN {
                    let answer = caller.post(CHAT, "", ASK).await;
                    match answer.status() {
                        500 => {}
                        503 => {
                            assert!(answer.text().contains("circuit open"), "{answer:?}");
                            refused += 1;
                        }
                        other => panic!("{other}: {answer:?}"),
                    }
                }
                refused
            })
        })
        .collect();
    let mut refused = 0;
    for caller in callers {
        refused += caller.await.unwrap();
    }
    // As many as it took to open it, those that were under way by then, and a probe for each wait.
    let probes = begun.elapsed().as_millis() / 800 + 1;
    let asked = provider.log().received();
    assert!(
        (5..=8 + probes).contains(&u128::from(asked)),
        "{asked} for {probes}"
    );
    assert!(refused > 0);
    assert_ne!(circuit().await, "closed");

    down.store(false, Ordering::Relaxed);
    let back = Instant::now();
    let mut caller = Caller::connect(gateway.address).await;
    while caller.post(CHAT, "", ASK).await.status() != 200 {
        // A wait, give or take its jitter, and what a slow machine makes of it.
        assert!(back.elapsed() < 2 * WAIT, "it is not used again");
    }
    assert_eq!(circuit().await, "closed");
    let status = caller.get("/status", "").await;
    for change in ["from=closed to=open", "to=half-open", "to=closed"] {
        assert!(status.text().contains(change), "{change}: {status:?}");
    }
}
