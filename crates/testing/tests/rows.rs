//! Every row of the fault table, in every dialect, over every carrier that has it.

mod support;

use std::time::Duration;

use buttress_testing::{Carrier, Dialect, Failure, FailureKind, Fault, Provider, Reply, Running};
use http_body_util::BodyExt;
use support::{Raw, post};
use tokio::{
    io::AsyncReadExt,
    time::{Instant, timeout},
};
use tower::ServiceExt;

/// What a client in process meets.
#[derive(Debug)]
enum Met {
    Failed(FailureKind),
    Hung,
    Whole { status: u16, bytes: usize },
    Cut(FailureKind),
    Stalled,
    Endless,
}

fn rows(dialect: Dialect, carrier: Carrier) -> impl Iterator<Item = Fault> {
    let all = Fault::all().into_iter();
    all.filter(move |fault| fault.fits(dialect) && fault.carried_by(carrier))
}

async fn meet(provider: &Running, streamed: bool) -> Met {
    const HOUR: Duration = Duration::from_secs(3600);
    const MINUTE: Duration = Duration::from_secs(60);
    const MANY: usize = 20 << 20;
    let ask = provider.ask("test", "Say it");
    let ask = if streamed { ask.streamed() } else { ask };
    let response = match timeout(HOUR, provider.service().oneshot(ask.request())).await {
        Err(_) => return Met::Hung,
        Ok(Err(failure)) => return Met::Failed(failure.kind()),
        Ok(Ok(response)) => response,
    };
    let status = response.status().as_u16();
    let mut body = response.into_body();
    let mut bytes = 0;
    let start = Instant::now();
    loop {
        match timeout(HOUR, body.frame()).await {
            Err(_) => return Met::Stalled,
            Ok(None) => return Met::Whole { status, bytes },
            Ok(Some(Err(failure))) => return Met::Cut(failure.kind()),
            Ok(Some(Ok(frame))) => bytes += frame.into_data().unwrap().len(),
        }
        if bytes > MANY || start.elapsed() > MINUTE {
            return Met::Endless;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn in_process_every_row_fails_in_a_way_of_its_class() {
    for dialect in Dialect::ALL {
        for fault in rows(dialect, Carrier::InProcess) {
            let streamed = fault.streamed().unwrap_or(true);
            let provider = Provider::new(dialect).reply(fault).in_process().unwrap();
            let met = meet(&provider, streamed).await;
            let right = match (fault.class(), &met) {
                ("Success", Met::Whole { status: 200, bytes }) => *bytes > 100,
                ("Unstarted", Met::Failed(FailureKind::Unstarted)) => true,
                ("Unavailable", Met::Failed(_) | Met::Hung | Met::Stalled) => true,
                ("Unavailable" | "Interrupted", Met::Endless) => true,
                ("Unavailable" | "Interrupted", Met::Cut(kind)) => matches!(
                    kind,
                    FailureKind::Reset | FailureKind::Closed | FailureKind::Malformed
                ),
                ("Interrupted", Met::Stalled) => true,
                // A stream that ends well, and says otherwise inside, or is no reply at all.
                (_, Met::Whole { status: 200, .. }) => {
                    !matches!(fault, Fault::Error(_)) || dialect == Dialect::Gemini
                }
                ("Unfit", Met::Failed(FailureKind::NoSuchName | FailureKind::Untrusted)) => true,
                ("Unfit", Met::Whole { status, .. }) => matches!(status, 307 | 400 | 404),
                ("Throttled", Met::Whole { status: 429, .. }) => true,
                ("Denied", Met::Whole { status, .. }) => matches!(status, 400..=403 | 429),
                ("Invalid", Met::Whole { status, .. }) => matches!(status, 400 | 413 | 415 | 422),
                ("Unavailable", Met::Whole { status, .. }) => {
                    matches!(status, 408 | 409 | 425 | 500..)
                }
                _ => false,
            };
            assert!(right, "{dialect:?}, {fault}, {}: {met:?}", fault.class());
            if let Met::Failed(kind) = met {
                assert_eq!(
                    kind.not_sent(),
                    fault.not_sent() || fault.shows_later(),
                    "{fault}"
                );
            }
            provider.finish();
        }
    }
}

#[tokio::test]
async fn over_a_socket_every_row_is_carried_out() {
    for dialect in Dialect::ALL {
        for fault in rows(dialect, Carrier::Socket) {
            let provider = Provider::new(dialect).reply(fault).start().await.unwrap();
            if fault.is_of_connection() {
                provider.finish();
                continue;
            }
            let streamed = fault.streamed().unwrap_or(true);
            let mut client = Raw::connect(provider.address()).await;
            let (parts, body) = {
                let ask = provider.ask("test", "Say it");
                let ask = if streamed { ask.streamed() } else { ask };
                ask.request().into_parts()
            };
            let body = body.collect().await.unwrap().to_bytes();
            let path = parts.uri.path_and_query().unwrap().as_str();
            client
                .send(post(path, &serde_json::from_slice(&body).unwrap()))
                .await;
            provider.log().wait_for(1).await;
            if fault.never_ends() {
                drop(client);
            } else {
                // Whatever else is wrong, it comes to its end.
                let log = provider.log();
                let ended = log.wait_until_idle();
                tokio::pin!(ended);
                let mut some = [0; 65536];
                loop {
                    tokio::select! {
                        () = &mut ended => break,
                        _ = client.stream.read(&mut some) => {}
                    }
                }
            }
            provider.log().wait_until_idle().await;
            provider.finish();
        }
    }
}

#[tokio::test]
async fn a_failure_reads_like_the_error_of_a_socket() {
    for (fault, kind) in [
        (Fault::ConnectRefused, std::io::ErrorKind::ConnectionRefused),
        (Fault::ConnectTimeout, std::io::ErrorKind::TimedOut),
        (Fault::NoRoute, std::io::ErrorKind::NetworkUnreachable),
        (Fault::ResetInHeaders, std::io::ErrorKind::ConnectionReset),
        (Fault::NoReply, std::io::ErrorKind::UnexpectedEof),
    ] {
        let provider = Provider::openai().reply(fault).in_process().unwrap();
        let ask = provider.ask("test", "Say it").request();
        let failure: Failure = provider.service().oneshot(ask).await.unwrap_err();
        let source = std::error::Error::source(&failure).unwrap();
        assert_eq!(
            source.downcast_ref::<std::io::Error>().unwrap().kind(),
            kind
        );
    }
}

#[tokio::test(start_paused = true)]
async fn in_process_faults_of_the_connection_come_in_sequences() {
    let script = Reply::from(Fault::ConnectRefused).then(Reply::text("Hi"));
    let provider = Provider::openai().reply(script).in_process().unwrap();
    assert!(matches!(
        meet(&provider, true).await,
        Met::Failed(FailureKind::ConnectRefused)
    ));
    assert!(matches!(
        meet(&provider, true).await,
        Met::Whole { status: 200, .. }
    ));
    provider.finish();
}

#[test]
fn rows_are_told_apart_by_their_names() {
    let mut names: Vec<_> = Fault::all().iter().map(ToString::to_string).collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
}
