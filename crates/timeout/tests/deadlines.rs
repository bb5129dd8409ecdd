//! Deadlines from outer to inner, and what a request asks for itself.

mod support;

use std::sync::{Arc, Mutex};

use buttress_core::{Carry, Class, Classify, Event, Plain, Reason, Refused};
use buttress_http::{Http, TrackLayer};
use buttress_testing::probe;
use buttress_timeout::{Limits, TimeoutLayer};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use support::{
    ask::{Ask, BoxError, Pair, carried, hung, patient, told, within},
    line, millis, secs,
};
use tokio::time::{Instant, advance};
use tokio_test::task;
use tower::{Layer, Service, ServiceExt, service_fn};

#[tokio::test(start_paused = true)]
async fn the_total_travels_inward_as_a_deadline() {
    let (inner, mut upstream): Pair = probe::pair();
    let total = |limit| TimeoutLayer::new(carried()).total(limit);
    let service = || total(secs(10)).layer(inner.clone());

    let deadline = told(service(), &mut upstream, Ask::default()).await;
    assert_eq!(deadline, Some(secs(10)));
    let deadline = told(service(), &mut upstream, within(secs(60))).await;
    assert_eq!(deadline, Some(secs(10)), "the earlier one");
    let deadline = told(service(), &mut upstream, within(secs(3))).await;
    assert_eq!(deadline, Some(secs(3)), "the earlier one");
    let nested = total(secs(20)).layer(service());
    let deadline = told(nested, &mut upstream, Ask::default()).await;
    assert_eq!(deadline, Some(secs(10)));
    let nested = total(secs(5)).layer(service());
    let deadline = told(nested, &mut upstream, Ask::default()).await;
    assert_eq!(deadline, Some(secs(5)));

    // What else is carried stays, and the limits of an attempt are nobody else's.
    let mut ask = Ask::default();
    ask.info.attempt = 3;
    let reply = tokio::spawn(service().oneshot(ask));
    let call = upstream.next_call().await;
    assert_eq!(call.request().info.attempt, 3);
    assert!(call.reply("hello"));
    reply.await.unwrap().unwrap();
    let attempt = TimeoutLayer::new(carried())
        .attempt(secs(1))
        .layer(inner.clone());
    assert_eq!(told(attempt, &mut upstream, Ask::default()).await, None);
}

#[tokio::test(start_paused = true)]
async fn over_http_the_deadline_is_in_the_extensions_of_the_request() {
    let client = service_fn(|request: Request<Full<Bytes>>| async move {
        let left = Instant::from_std(Http.info(&request).deadline.unwrap()) - Instant::now();
        let left = left.as_secs().to_string();
        Ok::<_, BoxError>(Response::new(Full::<Bytes>::from(left)))
    });
    let service = TimeoutLayer::new(Http)
        .total(secs(30))
        .layer(TrackLayer::default().layer(client));
    let response = service
        .oneshot(Request::<Full<Bytes>>::default())
        .await
        .unwrap();
    let body = response.into_body().collect().await;
    assert_eq!(body.unwrap().to_bytes(), "30");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_a_call_a_moment_early_so_that_a_hung_endpoint_is_judged() {
    let layer = || TimeoutLayer::new(carried());
    for layer in [layer(), layer().attempt(secs(60)), layer().total(secs(60))] {
        let (refused, after) = hung(layer, within(secs(10))).await;
        assert_eq!(refused.reason(), Reason::TotalTimeout);
        assert_eq!(refused.class(), Class::Unavailable);
        assert_eq!(after, secs(10) - millis(5));
    }
    let (refused, after) = hung(layer().attempt(secs(4)), within(secs(10))).await;
    assert_eq!(refused.reason(), Reason::AttemptTimeout);
    assert_eq!(after, secs(4));
}

#[tokio::test(start_paused = true)]
async fn what_follows_attempts_hears_of_a_hung_one_before_the_total_ends_all() {
    let outcomes = Arc::new(Mutex::new(Vec::new()));
    let (inner, _upstream): Pair = probe::pair();
    let told = outcomes.clone();
    let endpoint = TimeoutLayer::new(carried())
        .attempt(secs(60))
        .layer(inner)
        .map_result(move |result: Result<&str, BoxError>| {
            told.lock()
                .unwrap()
                .push(Plain.classify(result.as_ref()).class);
            result
        });
    let service = TimeoutLayer::new(carried()).total(secs(10)).layer(endpoint);
    let error = service.oneshot(Ask::default()).await.unwrap_err();
    assert!(Refused::find(&*error).is_some());
    assert_eq!(*outcomes.lock().unwrap(), [Class::Unavailable]);
}

#[tokio::test(start_paused = true)]
async fn a_hung_endpoint_is_judged_however_late_time_is_told() {
    // The limit of an attempt is over long before the total, about then, and after it.
    for (attempt, late) in (9970..10_010).step_by(5).flat_map(|attempt| {
        let late = (9960..10_090).map(move |late| (attempt, late));
        late.chain([(attempt, 70_000)])
    }) {
        let outcomes = Arc::new(Mutex::new(Vec::new()));
        let (inner, _upstream): Pair = probe::pair();
        let told = outcomes.clone();
        let endpoint = TimeoutLayer::new(carried())
            .attempt(millis(attempt))
            .on_event(move |event| told.lock().unwrap().push(event.name()))
            .layer(inner);
        let mut service = TimeoutLayer::new(carried()).total(secs(10)).layer(endpoint);
        let mut reply = task::spawn(service.ready().await.unwrap().call(Ask::default()));
        assert!(reply.poll().is_pending());
        advance(millis(late)).await;
        let start = Instant::now();
        let error = reply.await.unwrap_err();
        assert_eq!(Refused::find(&*error).unwrap().class(), Class::Unavailable);
        let case = format!("an attempt of {attempt} ms, at {late} ms");
        assert_eq!(outcomes.lock().unwrap().len(), 1, "{case}");
        let most = millis(10_000_u64.saturating_sub(late)).max(millis(50));
        assert!(start.elapsed() <= most, "{case}: {:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn an_impatient_caller_says_nothing_of_the_endpoint() {
    let layer = || TimeoutLayer::new(carried());
    let (refused, after) = hung(layer(), within(millis(999))).await;
    assert_eq!(refused.reason(), Reason::TotalTimeout);
    assert_eq!(refused.class(), Class::Cancelled);
    assert_eq!(after, millis(994));

    let (refused, _) = hung(layer(), within(secs(1))).await;
    assert_eq!(refused.class(), Class::Unavailable);
    let (refused, _) = hung(layer().min_wait(secs(5)), within(secs(4))).await;
    assert_eq!(refused.class(), Class::Cancelled);
    // The layer's own limit is no caller's.
    let (refused, _) = hung(layer().attempt(millis(10)), within(millis(900))).await;
    assert_eq!(refused.class(), Class::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn a_request_whose_time_is_over_is_not_sent() {
    let events = Arc::new(Mutex::new(Vec::new()));
    let seen = events.clone();
    let layer = TimeoutLayer::new(carried())
        .attempt(secs(3))
        .on_event(move |event| seen.lock().unwrap().push(line(event)));
    let (inner, upstream): Pair = probe::pair();
    for left in [secs(0), millis(5)] {
        let error = layer
            .layer(inner.clone())
            .oneshot(within(left))
            .await
            .unwrap_err();
        let refused = Refused::find(&*error).unwrap();
        assert_eq!(refused.reason(), Reason::TotalTimeout);
        assert_eq!(refused.class(), Class::Refused);
        assert!(
            refused.outcome().unused(),
            "what was reserved for it goes back"
        );
    }
    assert_eq!(upstream.calls(), 0);
    assert_eq!(
        *events.lock().unwrap(),
        ["timeout.expired reason=call timed out class=refused"; 2]
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_shortens_and_lengthens_its_limits_within_a_bound() {
    let layer = |most| {
        TimeoutLayer::new(carried())
            .attempt(secs(10))
            .per_request(most, |ask: &Ask| match ask.patience {
                Some(patience) => Limits::new().attempt(patience).headers(patience * 2),
                None => Limits::new(),
            })
    };
    let bounded = || layer(Limits::new().attempt(secs(30)));
    for (patience, limit) in [(3, 3), (20, 20), (100, 30)] {
        let (refused, after) = hung(bounded(), patient(secs(patience))).await;
        assert_eq!(refused.reason(), Reason::AttemptTimeout);
        assert_eq!(refused.class(), Class::Unavailable);
        assert_eq!(after, secs(limit), "asked for {patience} s");
    }
    assert_eq!(hung(bounded(), Ask::default()).await.1, secs(10));
    // Where nothing says how much more, no more.
    assert_eq!(
        hung(layer(Limits::new()), patient(secs(100))).await.1,
        secs(10)
    );
    // What all have anyhow is no more.
    let low = layer(Limits::new().attempt(secs(5)));
    assert_eq!(hung(low, patient(secs(8))).await.1, secs(8));
    // Another one, of which the layer knows nothing.
    let own = TimeoutLayer::new(carried())
        .per_request(Limits::new(), |_: &Ask| Limits::new().headers(secs(7)));
    let (refused, after) = hung(own, Ask::default()).await;
    assert_eq!((refused.reason(), after), (Reason::HeadersTimeout, secs(7)));
    let own = TimeoutLayer::new(carried())
        .per_request(Limits::new().attempt(secs(30)), |_: &Ask| {
            Limits::new().attempt(secs(100))
        });
    assert_eq!(hung(own, Ask::default()).await.1, secs(30));
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_a_request_made_too_short_says_nothing_of_the_endpoint() {
    let layer = TimeoutLayer::new(carried())
        .attempt(secs(10))
        .per_request(Limits::new(), |ask: &Ask| {
            Limits::new().attempt(ask.patience.unwrap_or(secs(10)))
        });
    for (patience, class) in [
        (millis(0), Class::Cancelled),
        (millis(999), Class::Cancelled),
        (secs(1), Class::Unavailable),
    ] {
        let (refused, after) = hung(layer.clone(), patient(patience)).await;
        assert_eq!((refused.class(), after), (class, patience));
    }
    // One that it made longer was too short before.
    let layer = TimeoutLayer::new(carried())
        .attempt(millis(10))
        .per_request(Limits::new().attempt(secs(1)), |_: &Ask| {
            Limits::new().attempt(millis(20))
        });
    let (refused, after) = hung(layer, Ask::default()).await;
    assert_eq!((refused.class(), after), (Class::Unavailable, millis(20)));
}

#[tokio::test(start_paused = true)]
async fn a_total_of_one_request_travels_too() {
    let (inner, mut upstream): Pair = probe::pair();
    let service = TimeoutLayer::new(carried())
        .total(secs(10))
        .per_request(Limits::new().total(secs(60)), |ask: &Ask| {
            Limits::new().total(ask.patience.unwrap_or(secs(10)))
        })
        .layer(inner);
    let deadline = told(service, &mut upstream, patient(secs(40))).await;
    assert_eq!(deadline, Some(secs(40)));
}
