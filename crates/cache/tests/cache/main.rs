//! The promises of the cache, from outside.

mod between;
mod contract;
mod flights;
mod http;
mod kept;
mod levels;
mod orders;
mod processes;
mod streams;
mod threads;
mod times;
mod writes;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use buttress_cache::{Cache, CacheEvent, CacheLayer, CacheStatus, Keyed, Tag};
use buttress_core::{
    Cached, CallInfo, Carry, Class, Classify, Completion, Outcome, Plain, Refuse, Refused, Report,
    Share, Track,
};
use buttress_testing::probe::{self, Handle, Inner};
use tower::{Layer, Service};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Who asks what.
#[derive(Clone, Debug, Default)]
struct Ask {
    tenant: &'static str,
    prompt: String,
    info: CallInfo,
}

/// A text, and how the cache was used for it.
#[derive(Clone, Debug, PartialEq)]
struct Said {
    text: String,
    cached: Option<Cached>,
}

/// As `Plain`, with a place for what is carried and for the status.
#[derive(Clone, Copy, Debug)]
struct Own;

type Kept = (Said, Outcome);
type Upstream = Handle<Ask, Said, BoxError>;

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn ask(prompt: &str) -> Ask {
    Ask {
        tenant: "a",
        prompt: prompt.to_owned(),
        info: CallInfo::new(),
    }
}

fn said(text: &str) -> Said {
    Said {
        text: text.to_owned(),
        cached: None,
    }
}

fn key(ask: &Ask) -> Keyed {
    Keyed::of(&(ask.tenant, &ask.prompt)).tags([Tag::tenant(ask.tenant)])
}

fn layer() -> CacheLayer<Own, fn(&Ask) -> Keyed, Kept> {
    CacheLayer::new(Own, key as fn(&Ask) -> Keyed)
}

fn pair() -> (Inner<Ask, Said, BoxError>, Upstream) {
    probe::pair()
}

/// A service of this layer, its cache, and the upstream below.
fn over<L>(layer: L) -> (L::Service, Upstream)
where
    L: Layer<Inner<Ask, Said, BoxError>>,
{
    let (inner, upstream) = pair();
    (layer.layer(inner), upstream)
}

fn status(reply: &Result<Said, BoxError>) -> CacheStatus {
    let reply = reply.as_ref().expect("a reply");
    reply.cached.expect("it says how the cache was used").status
}

/// What became of a call, in a word.
fn told(reply: Result<Said, BoxError>) -> String {
    match reply {
        Ok(said) => format!("{} ({})", said.text, said.cached.unwrap().status),
        Err(error) => match Refused::find(&*error) {
            Some(refused) => format!(
                "refused: {}, {}",
                refused.reason().as_str(),
                refused.class()
            ),
            None => format!("error: {error}"),
        },
    }
}

type Log = Arc<Mutex<Vec<CacheEvent>>>;

fn log() -> (Log, impl Fn(&CacheEvent) + Send + Sync + Clone + 'static) {
    let log = Log::default();
    let write = log.clone();
    (log, move |event: &CacheEvent| {
        write.lock().unwrap().push(*event)
    })
}

/// Sends the call of this request on its way.
fn send<S>(service: &S, ask: Ask) -> tokio_test::task::Spawn<S::Future>
where
    S: Service<Ask> + Clone,
    S::Error: std::fmt::Debug,
{
    let mut service = service.clone();
    assert!(matches!(
        tokio_test::task::spawn(std::future::poll_fn(|cx| service.poll_ready(cx))).poll(),
        std::task::Poll::Ready(Ok(()))
    ));
    tokio_test::task::spawn(service.call(ask))
}

fn is_empty<T: Clone + Send + Sync + 'static>(cache: &Cache<T>) -> bool {
    cache.flights() == 0
}

// ===== impl Own =====

impl Classify<Said, BoxError> for Own {
    fn classify(&self, result: Result<&Said, &BoxError>) -> Outcome {
        match result {
            Ok(said) => Class::ALL
                .into_iter()
                .find(|class| class.as_str() == said.text)
                .map_or(Outcome::SUCCESS, Outcome::new),
            Err(_) => Plain.classify(result),
        }
    }
}

impl Track<Said> for Own {
    fn track<R>(&self, response: &mut Said, seen: &Outcome, completion: Completion<R>)
    where
        R: Report + Send + 'static,
    {
        Plain.track(response, seen, completion);
    }

    fn set_cached(&self, response: &mut Said, cached: Cached) {
        response.cached = Some(cached);
    }
}

impl Refuse<Said, BoxError> for Own {
    fn refuse(&self, refused: Refused) -> Result<Said, BoxError> {
        Plain.refuse(refused)
    }
}

impl Carry<Ask> for Own {
    fn info<'a>(&self, ask: &'a Ask) -> &'a CallInfo {
        &ask.info
    }

    fn set_info(&self, ask: &mut Ask, info: CallInfo) {
        ask.info = info;
    }
}

impl Share<Said> for Own {
    type Shared = Kept;

    fn share(&self, response: Said, seen: &Outcome) -> Kept {
        (response, *seen)
    }

    fn open(&self, shared: &Kept) -> Said {
        shared.0.clone()
    }

    fn ended(&self, shared: &Kept) -> Option<Outcome> {
        Some(shared.1)
    }
}
