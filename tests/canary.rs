//! A key and a prompt go through every fault, and come out nowhere.

use std::{
    error::Error,
    fmt::{Debug, Write as _},
    io,
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine as _};
use buttress_circuit_breaker::{CircuitBreakerLayer, Policy};
use buttress_core::Class;
use buttress_failover::Failover;
use buttress_http::{BoxError, BoxErrorLayer, Http, TrackLayer, client::Client};
use buttress_llm::{Dialect, Secret, keys::CredentialsLayer};
use buttress_rate_limit::{Quotas, Rate, RateLimitLayer};
use buttress_retry::{Constant, RetryLayer};
use buttress_testing::{Carrier, Fault, Provider, Reply, Running, Script};
use buttress_timeout::TimeoutLayer;
use bytes::Bytes;
use http::{Request, Uri};
use http_body_util::{BodyExt, Full};
use tower::{ServiceBuilder, ServiceExt};

/// No part of it is a word of ours.
const KEY: &str = "QZ7XK2VN9PLM4RT8WJ5B3HGD6FYC";
const PROMPT: &str = "wq8zjx5vkm2rtn7plh4bgd9s";

/// Everything that anybody could have printed.
#[derive(Clone, Default)]
struct Printed(Arc<Mutex<String>>);

impl Printed {
    fn debug(&self, what: &impl Debug) {
        let mut text = self.0.lock().unwrap();
        write!(text, "{what:?}\n{what:#?}\n").unwrap();
    }

    fn error(&self, error: &(dyn Error + 'static)) {
        let mut next = Some(error);
        while let Some(error) = next {
            write!(
                self.0.lock().unwrap(),
                "{error}\n{error:#}\n{error:?}\n{error:#?}\n"
            )
            .unwrap();
            next = error.source();
        }
    }

    /// Neither as it is, nor its beginning, nor in base64 at any offset.
    fn shows_nothing_of(&self, secret: &str, while_doing: &str) {
        let mut forms = vec![secret.to_owned(), secret[..8].to_owned()];
        for offset in 0..3 {
            let shifted = [&b"xxx"[..offset], secret.as_bytes()].concat();
            for encoded in [
                BASE64_STANDARD.encode(&shifted),
                BASE64_URL_SAFE_NO_PAD.encode(&shifted),
            ] {
                // The characters at either end depend on what stands beside it.
                forms.push(encoded[4..encoded.len() - 4].to_owned());
            }
        }
        let text = self.0.lock().unwrap();
        for form in forms {
            if let Some(found) = text.find(&form) {
                let around = text[found.saturating_sub(200)..]
                    .chars()
                    .take(400)
                    .collect::<String>();
                panic!("{while_doing}: {form} stands in: {around}");
            }
        }
    }
}

impl io::Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .unwrap()
            .push_str(&String::from_utf8_lossy(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A call with the key in its header, and in its query, and the prompt in its body.
fn request(provider: &Running, dialect: Dialect, streamed: bool) -> Request<Full<Bytes>> {
    let ask = provider.ask("test", PROMPT);
    let mut request = if streamed {
        ask.streamed().request()
    } else {
        ask.request()
    };
    let path = request.uri().path_and_query().unwrap().as_str();
    let with_key = format!(
        "{path}{}key={KEY}",
        if path.contains('?') { '&' } else { '?' }
    );
    *request.uri_mut() = with_key.parse::<Uri>().unwrap();
    dialect.authorize(request.headers_mut(), &Secret::new(KEY).unwrap());
    request
}

/// One call, and everything that can be printed of it.
async fn call(
    printed: &Printed,
    provider: &Running,
    carrier: Carrier,
    dialect: Dialect,
    streamed: bool,
) {
    let client = Client::direct(provider.origin())
        .unwrap()
        .connect_timeout(Duration::from_secs(2));
    let client = match provider.ca_pem() {
        Some(pem) => client.extra_root_pem(pem).unwrap(),
        None => client,
    };
    let client = if carrier == Carrier::Http2 {
        client.http2_only()
    } else {
        client.http1_only()
    };
    printed.debug(&client);
    // Every layer, and everything that it tells.
    let told = [(); 5].map(|()| printed.clone());
    let [retries, limits, timeouts, keys, failovers] = told;
    let changes = printed.clone();
    let policy = Policy::default().on_event(move |event| changes.debug(event));
    let endpoint = ServiceBuilder::new()
        .layer(
            RetryLayer::new(Http)
                .max_attempts(const { NonZeroU32::new(2).unwrap() })
                .backoff(Constant::NONE)
                .on_event(move |event| retries.debug(event)),
        )
        .layer(CircuitBreakerLayer::new(Http).policy(policy))
        .layer(
            RateLimitLayer::new(Http, Quotas::requests(Rate::per_second(NonZeroU32::MAX)))
                .on_event(move |event| limits.debug(event)),
        )
        .layer(
            TimeoutLayer::new(Http)
                .first_content(Duration::from_millis(100))
                .idle(Duration::from_millis(200))
                .on_event(move |event| timeouts.debug(event)),
        )
        .layer(
            CredentialsLayer::new(dialect, Secret::new(KEY).unwrap())
                .on_event(move |event| keys.debug(event)),
        )
        .layer(TrackLayer::new(dialect))
        .layer(BoxErrorLayer)
        .service(client);
    let stack = Failover::new(Http, [endpoint.clone(), endpoint])
        .on_event(move |event| failovers.debug(event));
    printed.debug(&stack);
    let request = request(provider, dialect, streamed);
    printed.debug(request.headers());
    let call = stack.oneshot(request);
    match tokio::time::timeout(Duration::from_millis(500), call).await {
        Ok(Ok(response)) => {
            printed.debug(&buttress_core::Classify::classify(
                &Http,
                Ok::<_, &BoxError>(&response),
            ));
            let mut body = response.into_body();
            printed.debug(&body);
            let end = tokio::time::timeout(Duration::from_millis(500), async {
                loop {
                    match body.frame().await {
                        Some(Ok(_)) => {}
                        end => return end,
                    }
                }
            });
            if let Ok(Some(Err(error))) = end.await {
                printed.error(&error);
            }
            printed.debug(&body);
        }
        Ok(Err(error)) => printed.error(&*error),
        // A fault that only waits, and nobody here who limits it.
        Err(_) => {}
    }
    printed.debug(&provider.log());
    printed.debug(&provider.log().requests());
    printed.debug(provider);
}

#[tokio::test]
async fn s1_a_key_and_a_prompt_come_out_of_no_fault() {
    let printed = Printed::default();
    let writer = printed.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .init();
    let dialects = [
        (buttress_testing::Dialect::OpenAi, Dialect::OpenAi),
        (buttress_testing::Dialect::Anthropic, Dialect::Anthropic),
        (buttress_testing::Dialect::Gemini, Dialect::Gemini),
    ];
    for (spoken, dialect) in dialects {
        let faults = Fault::all().into_iter().filter(|fault| fault.fits(spoken));
        let mut scripts: Vec<(String, Option<Fault>, Script)> = faults
            .map(|fault| (fault.to_string(), Some(fault), fault.into()))
            .collect();
        // A provider that repeats what it was told, in its reply and in its errors.
        scripts.push(("echo".into(), None, Reply::echo().into()));
        for status in [400, 401, 403, 429, 500] {
            let said = format!("Incorrect API key provided: {KEY}, in {PROMPT}");
            scripts.push((
                format!("echo in a {status}"),
                None,
                Reply::error(status).message(&said).into(),
            ));
        }
        for (name, fault, script) in scripts {
            let carrier = match fault {
                Some(fault) if !fault.carried_by(Carrier::Socket) => Carrier::Http2,
                _ => Carrier::Socket,
            };
            if fault.is_some_and(|fault| !fault.carried_by(carrier)) {
                continue;
            }
            let provider = Provider::new(spoken).reply(script).start().await.unwrap();
            let streamed = fault.and_then(|fault| fault.streamed()).unwrap_or(true);
            call(&printed, &provider, carrier, dialect, streamed).await;
            for secret in [KEY, PROMPT] {
                printed.shows_nothing_of(secret, &format!("{spoken:?}, {name}"));
            }
        }
    }
    let text = printed.0.lock().unwrap();
    assert!(text.contains("TRACE"), "at TRACE, somebody says something");
    assert!(
        text.contains(&format!("{:?}", Class::Denied)),
        "and classes are printed"
    );
}

#[test]
fn s1_what_is_refused_at_construction_is_not_shown() {
    let printed = Printed::default();
    for base in [
        format!("https://{KEY}@api.example.com/v1"),
        format!("https://user:{KEY}@api.example.com/v1"),
        format!("https://api.example.com/v1?key={KEY}"),
        format!("ftp://api.example.com/{KEY}"),
        format!("https://api.example.com/v1#{KEY}"),
    ] {
        printed.error(&Client::direct(&base).unwrap_err());
    }
    for bad in ["\n", "\r", "\0", "\u{e9}"] {
        printed.error(&Secret::new(format!("{KEY}{bad}{KEY}")).unwrap_err());
    }
    printed.debug(&Secret::new(KEY).unwrap());
    printed.shows_nothing_of(KEY, "construction");
}
