//! Every fault of the wire, in every dialect that has it, over every carrier: what the layers are
//! told of it.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use buttress_core::{Class, Completion, Outcome, Report, Sent, check, settle};
use buttress_http::{BoxError, Http, TrackLayer, client::Client};
use buttress_llm::Dialect;
use buttress_testing::{Carrier, Fault, Provider, Running};
use buttress_timeout::TimeoutLayer;
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use tokio::time::timeout;
use tower::{Service, ServiceBuilder, ServiceExt};

type Req = Request<Full<Bytes>>;

/// Longer than any fault that ends by itself takes, and shorter than a bored developer.
const LONG: Duration = Duration::from_secs(20);

#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<Outcome>>>);

impl Report for Seen {
    fn report(&mut self, outcome: &Outcome) {
        self.0.lock().unwrap().push(*outcome);
    }
}

fn judge(dialect: buttress_testing::Dialect) -> Dialect {
    match dialect {
        buttress_testing::Dialect::OpenAi => Dialect::OpenAi,
        buttress_testing::Dialect::Anthropic => Dialect::Anthropic,
        buttress_testing::Dialect::Gemini => Dialect::Gemini,
        _ => unreachable!("there are three"),
    }
}

fn request(provider: &Running, fault: Fault) -> Req {
    let ask = provider.ask("test", "Say hello");
    let ask = if fault.streamed() != Some(false) {
        ask.streamed()
    } else {
        ask
    };
    let mut request = ask.request();
    // The client has the origin; a request brings the path.
    let path = request.uri().path_and_query().cloned().unwrap();
    *request.uri_mut() = path.into();
    request
}

/// One call, to the end of its reply.
async fn outcome<S, B>(service: S, request: Req) -> Outcome
where
    S: Service<Req, Response = http::Response<buttress_http::Body<B>>, Error = BoxError>,
    B: http_body::Body<Data = Bytes>,
{
    let seen = Seen::default();
    let mut result = service.oneshot(request).await;
    settle(&Http, &mut result, Completion::new(seen.clone()));
    if let Ok(response) = result {
        read_lossy(response.into_body()).await;
    }
    let seen = seen.0.lock().unwrap();
    assert_eq!(seen.len(), 1);
    seen[0]
}

async fn read_lossy<B: http_body::Body<Data = Bytes>>(body: B) {
    use http_body_util::BodyExt;

    let mut body = std::pin::pin!(body);
    while let Some(Ok(_)) = body.frame().await {}
}

fn client(provider: &Running, carrier: Carrier) -> Client {
    let client = Client::direct(provider.origin())
        .unwrap()
        .connect_timeout(Duration::from_secs(2));
    let client = match provider.ca_pem() {
        Some(pem) => client.extra_root_pem(pem).unwrap(),
        None => client,
    };
    match carrier {
        Carrier::Http2 => client.http2_only(),
        _ => client.http1_only(),
    }
}

fn class(name: &str) -> Class {
    let found = Class::ALL
        .into_iter()
        .find(|class| class.as_str().eq_ignore_ascii_case(name));
    found.unwrap_or_else(|| panic!("no class {name:?}"))
}

#[tokio::test]
async fn every_fault_on_a_socket_has_the_class_of_its_row() {
    let mut wrong = Vec::new();
    for carrier in [Carrier::Socket, Carrier::Http2] {
        for dialect in buttress_testing::Dialect::ALL {
            for fault in Fault::all() {
                if !fault.carried_by(carrier) || !fault.fits(dialect) || fault.never_ends() {
                    continue;
                }
                let provider = Provider::new(dialect).reply(fault).start().await.unwrap();
                let stack = check::<Req, _>(
                    ServiceBuilder::new()
                        .layer(TrackLayer::new(judge(dialect)))
                        .map_err(BoxError::from)
                        .service(client(&provider, carrier)),
                );
                let call = || outcome(stack.clone(), request(&provider, fault));
                let Ok(mut seen) = timeout(LONG, call()).await else {
                    wrong.push(format!("{carrier:?} {dialect:?} {fault}: no end in time"));
                    continue;
                };
                let mut expected = vec![class(fault.class())];
                if matches!(fault, Fault::KeepAliveRace | Fault::IdleClose) {
                    // The first call is answered: the second one meets the closed connection, in
                    // time to see it, or too late to be sure, or finds another one.
                    assert_eq!(seen.class, Class::Success, "{fault}");
                    seen = timeout(LONG, call()).await.unwrap();
                    expected.extend([Class::Unavailable, Class::Success]);
                }
                match fault {
                    Fault::MalformedEvent { .. } => expected.push(Class::Interrupted),
                    // Who does not decode it, cannot know.
                    Fault::BadGzip => expected.push(Class::Success),
                    _ => {}
                }
                if !expected.contains(&seen.class) {
                    wrong.push(format!(
                        "{carrier:?} {dialect:?} {fault}: {} for {expected:?}",
                        seen.class
                    ));
                }
                if seen.class == Class::Unstarted && seen.sent != Sent::No {
                    wrong.push(format!(
                        "{carrier:?} {dialect:?} {fault}: unstarted, but sent"
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(start_paused = true)]
async fn a_fault_that_only_waits_is_ended_by_a_limit_and_classed_by_what_came_before() {
    let mut wrong = Vec::new();
    for dialect in buttress_testing::Dialect::ALL {
        for fault in Fault::all() {
            let waits = matches!(
                fault,
                Fault::Stall { .. } | Fault::PingsOnly { .. } | Fault::CommentsOnly { .. }
            );
            if !waits || !fault.fits(dialect) || !fault.carried_by(Carrier::InProcess) {
                continue;
            }
            let provider = Provider::new(dialect).reply(fault).in_process().unwrap();
            let stack = ServiceBuilder::new()
                .layer(TimeoutLayer::new(Http).idle(Duration::from_secs(5)))
                .layer(TrackLayer::new(judge(dialect)))
                .map_err(BoxError::from)
                .service(provider.service());
            let seen = outcome(stack, request(&provider, fault)).await;
            if seen.class != class(fault.class()) {
                wrong.push(format!(
                    "{dialect:?} {fault}: {} for {}",
                    seen.class,
                    fault.class()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
