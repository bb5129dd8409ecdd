//! The ledger: every token and every cent of a call is counted once at every layer, whichever of
//! its attempts used it.

mod toys;

use std::{num::NonZeroU32, time::Duration};

use buttress_cache::{CacheLayer, Keyed};
use buttress_core::{Class, Money, Outcome, Trail, Usage};
use buttress_failover::Failover;
use buttress_http::{Attempts, Body, BoxError, Http, TrackLayer};
use buttress_rate_limit::Cost;
use buttress_timeout::TimeoutLayer;
use tokio::sync::mpsc;
use tower::{Service, ServiceBuilder, ServiceExt};
use toys::{
    Tokens, charged,
    hedge::Hedge,
    metrics::MetricsLayer,
    resume::Resume,
    retry, tokens,
    upstream::{Act, Lines, Req, Stream, Upstream, read, request},
};

/// What one call that told its usage used, and what it cost.
const USED: Usage = Usage::new(10, 2);
const COST: Money = Money::from_pico(60);

struct Handles {
    attempts: MetricsLayer<Http>,
    tokens: Tokens<Http, Req>,
    endpoints: MetricsLayer<Http>,
    requests: MetricsLayer<Http>,
}

/// Metrics over a cache over resume over a hedge of two, each a retry over a limit.
fn stack(
    one: &Upstream,
    other: &Upstream,
) -> (
    Handles,
    impl Service<Req, Response = http::Response<Body<Stream>>, Error = BoxError, Future: Send> + Clone,
) {
    let handles = Handles {
        attempts: MetricsLayer::attempt(Http),
        tokens: tokens(Http, 1000, |_| Cost::tokens(100, 0)),
        endpoints: MetricsLayer::request(Http),
        requests: MetricsLayer::request(Http),
    };
    let endpoint = |upstream: &Upstream| {
        ServiceBuilder::new()
            .layer(handles.endpoints.clone())
            .layer(retry(Http))
            .layer(handles.tokens.clone())
            .layer(handles.attempts.clone())
            .layer(TimeoutLayer::new(Http).idle(Duration::from_secs(5)))
            .layer(TrackLayer::new(Lines::default()))
            .service(upstream.clone())
    };
    let hedge = Hedge::new(Http, [endpoint(one), endpoint(other)]);
    let stack = ServiceBuilder::new()
        .layer(handles.requests.clone())
        .layer(CacheLayer::new(Http, |_: &Req| Keyed::of("the same")))
        .service(Resume::new(hedge));
    (handles, stack)
}

fn sum(outcomes: &[Outcome]) -> (u64, u128) {
    let tokens = outcomes
        .iter()
        .filter_map(|outcome| outcome.usage)
        .map(|usage| usage.total());
    let cost: Money = outcomes.iter().filter_map(|outcome| outcome.cost).sum();
    (tokens.sum(), cost.pico())
}

#[tokio::test]
async fn h5_h8_a_failed_attempt_a_hedges_loser_and_a_resumed_stream_are_all_paid_for() {
    // The first endpoint fails once, billed, and then says nothing before the other has answered;
    // the other's stream breaks off. Both are asked again for the rest.
    let (feed, follow) = mpsc::unbounded_channel();
    let one = Upstream::new([
        Act::Say(200, &["usage", "error"]),
        Act::Follow(follow),
        Act::Say(200, &["text", "usage", "end"]),
    ]);
    let other = Upstream::new([Act::Say(200, &["text", "usage"]), Act::Fail]);
    feed.send("usage").unwrap();
    let (handles, stack) = stack(&one, &other);
    let response = stack.oneshot(request()).await.unwrap();
    let (text, end) = read(response.into_body()).await;

    assert_eq!(
        (text.as_str(), end.is_ok()),
        ("textusagetextusageend", true)
    );
    // Four calls told of 12 tokens each: the failed one, the loser, and both parts of the stream.
    let requests = handles.requests.seen().outcomes;
    assert_eq!(requests.len(), 1);
    let billed = Usage::new(4 * USED.input, 4 * USED.output);
    assert_eq!(requests[0].class, Class::Success);
    assert_eq!(
        requests[0].usage,
        Some(billed.estimated()),
        "the loser was cut short"
    );
    assert_eq!(requests[0].cost, Some(Money::from_pico(4 * COST.pico())));
    // Each endpoint's own sums leave out the other's.
    assert_eq!(sum(&handles.endpoints.seen().outcomes), (4 * 12, 4 * 60));
    // Around attempts the two losers had no response yet. The reservation of the one stands; the
    // other was never polled, so that nothing of it was sent, nor charged.
    assert_eq!(sum(&handles.attempts.seen().outcomes), (3 * 12, 3 * 60));
    assert_eq!(charged(&handles.tokens), 3 * 12 + 100);
}

#[tokio::test]
async fn a_caller_that_leaves_is_told_what_its_attempts_had_used() {
    let (feed, follow) = mpsc::unbounded_channel();
    let one = Upstream::new([Act::Say(200, &["usage", "error"]), Act::Follow(follow)]);
    let other = Upstream::new([Act::Fail, Act::Fail, Act::Fail]);
    feed.send("usage").unwrap();
    let (handles, stack) = stack(&one, &other);
    let mut call = tokio_test::task::spawn(stack.oneshot(request()));
    assert!(call.poll().is_pending());
    drop(call);

    let requests = handles.requests.seen().outcomes;
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].class, Class::Cancelled);
    assert_eq!(requests[0].usage, Some(Usage::new(20, 4).estimated()));
    assert!(feed.is_closed());
}

#[tokio::test]
async fn a_follower_of_a_shared_call_pays_nothing_and_its_payer_for_all_attempts() {
    let one = Upstream::new([
        Act::Say(200, &["usage", "error"]),
        Act::Say(200, &["text", "usage", "end"]),
    ]);
    let other = Upstream::new([Act::Fail, Act::Fail, Act::Fail]);
    let (handles, stack) = stack(&one, &other);
    let (leader, follower) = tokio::join!(
        stack.clone().oneshot(request()),
        stack.clone().oneshot(request())
    );
    // The one who was first to ask leaves: the call goes on, and the other pays.
    drop(leader.unwrap());
    let (text, end) = read(follower.unwrap().into_body()).await;
    assert_eq!((text.as_str(), end.is_ok()), ("textusageend", true));
    let (text, _) = read(stack.oneshot(request()).await.unwrap().into_body()).await;
    assert_eq!(text, "textusageend", "from the cache");

    let requests = handles.requests.seen().outcomes;
    let classes: Vec<_> = requests.iter().map(|outcome| outcome.class).collect();
    assert_eq!(classes, [Class::Cancelled, Class::Success, Class::Success]);
    // Two attempts told of 12 tokens each, and the hit of tokens that were paid for.
    assert_eq!((requests[0].usage, requests[0].cost), (None, None));
    assert_eq!(requests[1].usage.map(|usage| usage.total()), Some(24));
    assert_eq!(requests[1].cost, Some(Money::from_pico(2 * COST.pico())));
    assert_eq!(requests[2].usage, Some(USED.unbilled()));
    assert_eq!(requests[2].cost, Some(Money::ZERO));
    assert_eq!(sum(&handles.attempts.seen().outcomes), (2 * 12, 2 * 60));
}

#[tokio::test]
async fn what_endpoints_that_failed_used_is_paid_for_with_the_one_that_served() {
    let one = Upstream::new([Act::Say(200, &["usage", "error"]), Act::Say(503, &[])]);
    let other = Upstream::new([Act::Fail, Act::Say(200, &["text", "usage", "end"])]);
    let (requests, attempts) = (MetricsLayer::request(Http), MetricsLayer::attempt(Http));
    let endpoint = |upstream: Upstream| {
        let retry = retry(Http).max_attempts(const { NonZeroU32::new(2).unwrap() });
        ServiceBuilder::new()
            .layer(retry)
            .layer(attempts.clone())
            .layer(TrackLayer::new(Lines::default()))
            .service(upstream)
    };
    let stack = ServiceBuilder::new()
        .layer(requests.clone())
        .service(Failover::new(Http, [endpoint(one), endpoint(other)]));
    let response = stack.oneshot(request()).await.unwrap();
    assert_eq!(Attempts::of(&response), 4, "over both endpoints");
    let trail = response.extensions().get::<Trail>().unwrap();
    let classes: Vec<_> = trail
        .tried()
        .iter()
        .map(|tried| tried.outcome.class)
        .collect();
    assert_eq!(classes, [Class::Unavailable, Class::Success]);
    let (text, end) = read(response.into_body()).await;
    assert_eq!((text.as_str(), end.is_ok()), ("textusageend", true));

    // Two of the four told of 12 tokens each, each of them once at every layer.
    let requests = requests.seen().outcomes;
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].usage, Some(Usage::new(20, 4).estimated()));
    assert_eq!(requests[0].cost, Some(Money::from_pico(2 * COST.pico())));
    assert_eq!(sum(&attempts.seen().outcomes), (2 * 12, 2 * 60));
}

#[tokio::test]
async fn when_all_endpoints_fail_the_one_whose_failure_is_the_answer_is_paid_for_once() {
    let one = Upstream::new([Act::Say(200, &["usage", "error"])]);
    let other = Upstream::new([Act::Say(200, &["usage", "error"])]);
    let requests = MetricsLayer::request(Http);
    let endpoint = |upstream: Upstream| {
        ServiceBuilder::new()
            .layer(TrackLayer::new(Lines::default()))
            .service(upstream)
    };
    let stack = ServiceBuilder::new()
        .layer(requests.clone())
        .service(Failover::new(Http, [endpoint(one), endpoint(other)]));
    let response = stack.oneshot(request()).await.unwrap();
    assert_eq!(
        response.extensions().get::<Trail>().unwrap().tried().len(),
        2
    );
    read(response.into_body()).await.1.unwrap();

    let requests = requests.seen().outcomes;
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].class, Class::Unavailable);
    assert_eq!(requests[0].usage, Some(Usage::new(20, 4)));
    assert_eq!(requests[0].cost, Some(Money::from_pico(2 * COST.pico())));
}
