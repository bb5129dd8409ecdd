//! Calls that end with their future.

use std::{
    num::NonZeroUsize,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex},
    time::Duration,
};

use buttress_core::{Class, Finish, Money, Outcome, Reason, Refused, Usage};
use buttress_metrics::{Describe, Labels, MetricsLayer};
use futures_util::FutureExt;
use tokio::time::advance;
use tokio_test::task::spawn;
use tower::{Layer, Service, ServiceExt, service_fn};

use crate::{Ask, Does, Prometheus, Reply, ask, protocol, serve};

const ATTEMPTS: &str = "buttress_attempts_total";
const DURATION: &str = "gen_ai_client_operation_duration_seconds";
const TOKENS: &str = "gen_ai_client_token_usage";

#[tokio::test(start_paused = true)]
async fn m1_every_call_that_started_is_counted_once_and_in_flight_returns_to_zero() {
    let prometheus = Prometheus::install();
    for layer in [
        MetricsLayer::request(protocol()),
        MetricsLayer::attempt(protocol()),
    ] {
        let service = layer.layer(service_fn(serve));
        let refused = Refused::new(Reason::Limited);
        for _ in 0..3 {
            assert!(
                service
                    .clone()
                    .oneshot(ask("m", Does::Succeed))
                    .await
                    .is_ok()
            );
        }
        for class in Class::ALL {
            let call = service
                .clone()
                .oneshot(ask("m", Does::Fail(Outcome::new(class))));
            assert_eq!(call.await.is_err(), class != Class::Success);
        }
        assert!(
            service
                .clone()
                .oneshot(ask("m", Does::Refuse(refused)))
                .await
                .is_err()
        );
        let mut hangs = spawn(service.clone().oneshot(ask("m", Does::Hang)));
        assert!(hangs.poll().is_pending());
        drop(hangs);
        // Never polled.
        let mut unpolled = service.clone();
        drop(
            unpolled
                .ready()
                .await
                .unwrap()
                .call(ask("m", Does::Succeed)),
        );
        let panics = AssertUnwindSafe(service.clone().oneshot(ask("m", Does::Panic)));
        assert!(panics.catch_unwind().await.is_err());
    }
    for (calls, in_flight) in [
        ("buttress_requests_total", "buttress_requests_in_flight"),
        (ATTEMPTS, "buttress_attempts_in_flight"),
    ] {
        let of = |class| prometheus.sum(calls, &[("class", class)]);
        assert_eq!(
            prometheus.sum(calls, &[]),
            3.0 + 10.0 + 1.0 + 3.0,
            "{calls}"
        );
        assert_eq!(
            (of("success"), of("refused"), of("cancelled")),
            (4.0, 2.0, 4.0)
        );
        let failed: f64 = [
            "throttled",
            "unavailable",
            "unstarted",
            "interrupted",
            "denied",
            "unfit",
            "invalid",
        ]
        .map(of)
        .iter()
        .sum();
        assert_eq!(failed, 7.0);
        assert_eq!(prometheus.sum(calls, &[("reason", "rate limited")]), 1.0);
        assert_eq!(prometheus.each(in_flight, &[]), [0.0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_is_in_flight_until_it_ends() {
    let prometheus = Prometheus::install();
    let service = MetricsLayer::attempt(protocol()).layer(service_fn(serve));
    let in_flight = || prometheus.sum("buttress_attempts_in_flight", &[]);
    let mut calls: Vec<_> = (0..3)
        .map(|_| spawn(service.clone().oneshot(ask("m", Does::Hang))))
        .collect();
    for call in &mut calls {
        assert!(call.poll().is_pending());
    }
    assert_eq!(in_flight(), 3.0);
    assert_eq!(prometheus.sum(ATTEMPTS, &[]), 0.0);
    calls.pop();
    assert_eq!(in_flight(), 2.0);
    drop(calls);
    assert_eq!(in_flight(), 0.0);
}

#[tokio::test(start_paused = true)]
async fn a_duration_is_to_the_end_and_has_the_class_of_a_failure() {
    let prometheus = Prometheus::install();
    let service = MetricsLayer::attempt(protocol()).layer(service_fn(|ask: Ask| async {
        advance(Duration::from_millis(1500)).await;
        serve(ask).await
    }));
    let throttled = Outcome::new(Class::Throttled);
    assert!(
        service
            .clone()
            .oneshot(ask("m", Does::Succeed))
            .await
            .is_ok()
    );
    assert!(
        service
            .oneshot(ask("m", Does::Fail(throttled)))
            .await
            .is_err()
    );
    let sum = format!("{DURATION}_sum");
    assert_eq!(prometheus.sum(&sum, &[("error_type", "throttled")]), 1.5);
    assert_eq!(prometheus.sum(&sum, &[]), 3.0);
    let text = prometheus.text();
    let success = text
        .lines()
        .find(|line| line.starts_with(&sum) && !line.contains("error_type"));
    assert!(success.is_some_and(|line| line.ends_with(" 1.5")), "{text}");
    let bucket = format!("{DURATION}_bucket");
    assert_eq!(prometheus.sum(&bucket, &[("le", "1.28")]), 0.0);
    assert_eq!(prometheus.sum(&bucket, &[("le", "2.56")]), 2.0);
    assert_eq!(prometheus.sum(&bucket, &[("le", "655.36")]), 2.0);
}

#[tokio::test(start_paused = true)]
async fn tokens_are_counted_by_type_estimated_and_unbilled_ones_apart() {
    let prometheus = Prometheus::install();
    let service = MetricsLayer::attempt(protocol()).layer(service_fn(serve));
    let exact = Usage {
        cached_input: 30,
        cache_write: 7,
        reasoning: 4,
        ..Usage::new(100, 20)
    };
    let failed = Outcome::new(Class::Interrupted).with_usage(Usage::new(50, 3).estimated());
    let free = Outcome::SUCCESS.with_usage(Usage::new(1000, 2000).unbilled());
    let both = Outcome::SUCCESS.with_usage(Usage::new(5, 6).estimated().unbilled());
    for outcome in [Outcome::SUCCESS.with_usage(exact), failed, free, both] {
        let _ = service.clone().oneshot(ask("m", Does::Fail(outcome))).await;
    }
    let sum = format!("{TOKENS}_sum");
    let tokens = |labels: &[(&str, &str)]| prometheus.sum(&sum, labels);
    let (input, output) = (
        ("gen_ai_token_type", "input"),
        ("gen_ai_token_type", "output"),
    );
    assert_eq!((tokens(&[input]), tokens(&[output])), (1155.0, 2029.0));
    assert_eq!(tokens(&[input, ("estimated", "true")]), 55.0);
    assert_eq!(tokens(&[output, ("estimated", "true")]), 9.0);
    assert_eq!(tokens(&[input, ("unbilled", "true")]), 1005.0);
    assert_eq!(tokens(&[output, ("unbilled", "true")]), 2006.0);
    assert_eq!(
        tokens(&[input, ("estimated", "true"), ("unbilled", "true")]),
        5.0
    );
    let details = |kind| {
        let label = [("gen_ai_token_type", kind)];
        prometheus.sum("buttress_attempt_token_details_total", &label)
    };
    let kinds = ["cached_input", "cache_write", "reasoning"];
    assert_eq!(kinds.map(details), [30.0, 7.0, 4.0]);
}

#[tokio::test(start_paused = true)]
async fn a_cost_is_the_outcomes_or_the_prices_and_unknown_is_never_free() {
    let prometheus = Prometheus::install();
    let layer = MetricsLayer::attempt(protocol())
        .provider("openai")
        .describe(|ask: &Ask| Labels::new().model(&ask.model))
        .price(
            |labels, usage| match (labels.provider, labels.request_model) {
                (Some("openai"), Some("priced")) => Some(Money::from_pico(3).times(usage.total())),
                _ => None,
            },
        );
    let service = layer.layer(service_fn(serve));
    let used = Outcome::SUCCESS.with_usage(Usage::new(10, 5));
    let known = used.with_cost(Money::from_pico(1_000_000));
    let unbilled = Outcome::SUCCESS.with_usage(Usage::new(10, 5).unbilled());
    for (model, outcome) in [
        ("priced", used),
        ("priced", known),
        ("strange", used),
        ("priced", unbilled),
        ("priced", Outcome::new(Class::Throttled)),
        ("priced", Outcome::new(Class::Unavailable)),
    ] {
        let _ = service
            .clone()
            .oneshot(ask(model, Does::Fail(outcome)))
            .await;
    }
    let cost = |model| {
        let label = [("gen_ai_request_model", model)];
        prometheus.sum("buttress_attempt_cost_pico_total", &label)
    };
    assert_eq!((cost("priced"), cost("strange")), (1_000_045.0, 0.0));
    let unpriced = |model| {
        let label = [("gen_ai_request_model", model)];
        prometheus.sum("buttress_attempts_unpriced_total", &label)
    };
    // Nobody knows what one that failed used, but one that was turned away used nothing.
    assert_eq!((unpriced("priced"), unpriced("strange")), (1.0, 1.0));
}

#[tokio::test(start_paused = true)]
async fn what_was_not_told_is_unknown_where_costs_are_known_and_nothing_where_there_are_none() {
    let plain = MetricsLayer::attempt(protocol());
    unpriced_once_a_price_was_known(plain.layer(service_fn(serve))).await;
    // Of a call that nobody answered, no model is known: the others' costs count for it.
    let answered = MetricsLayer::attempt(protocol()).describe_with(Answered);
    unpriced_once_a_price_was_known(answered.layer(service_fn(serve))).await;
}

/// Says who answered.
#[derive(Clone)]
struct Answered;

impl Describe<Ask, Reply> for Answered {
    fn labels<'a>(&'a self, _: &'a Ask) -> Labels<'a> {
        Labels::new()
    }

    fn response_model<'a>(&'a self, _: &'a Reply) -> Option<&'a str> {
        Some("m-1")
    }
}

async fn unpriced_once_a_price_was_known<S>(service: S)
where
    S: Service<Ask, Response = Reply> + Clone,
{
    let prometheus = Prometheus::install();
    let unpriced = || prometheus.sum("buttress_attempts_unpriced_total", &[]);
    let broken = Does::Fail(Outcome::new(Class::Unavailable));
    assert!(service.clone().oneshot(ask("m", broken)).await.is_err());
    assert_eq!(unpriced(), 0.0);
    let priced = Outcome::SUCCESS.with_cost(Money::from_pico(5));
    let call = service.clone().oneshot(ask("m", Does::Fail(priced)));
    assert!(call.await.is_ok());
    assert_eq!(unpriced(), 0.0);
    assert!(service.clone().oneshot(ask("m", broken)).await.is_err());
    assert_eq!(unpriced(), 1.0);
    let turned_away = Does::Fail(Outcome::new(Class::Throttled));
    assert!(service.oneshot(ask("m", turned_away)).await.is_err());
    assert_eq!(unpriced(), 1.0);
}

#[tokio::test(start_paused = true)]
async fn a_model_whose_label_is_other_has_its_own_price() {
    let prometheus = Prometheus::install();
    let lines = Arc::new(Mutex::new(Vec::new()));
    let layer = MetricsLayer::attempt(protocol())
        .max_models(NonZeroUsize::MIN)
        .describe_with(Answers("rare-2025"))
        .price(|labels, _| {
            let both = (labels.request_model?, labels.response_model?);
            (both == ("rare", "rare-2025")).then(|| Money::from_pico(7))
        });
    // Those that callers make up are in no log where it is known which there are.
    for (layer, shown, expected) in [
        (layer.clone(), "model=rare answered_by=rare-2025", 7.0),
        (
            layer.models(["known"]),
            "model=other answered_by=other",
            14.0,
        ),
    ] {
        let log = Arc::clone(&lines);
        let layer = layer.on_call(move |call| log.lock().unwrap().push(call.to_string()));
        let service = layer.layer(service_fn(serve));
        let used = Outcome::SUCCESS.with_usage(Usage::new(10, 5));
        let first = service.clone().oneshot(ask("first", Does::Succeed));
        assert!(first.await.is_ok());
        let call = service.oneshot(ask("rare", Does::Fail(used)));
        assert!(call.await.is_ok());
        let other = [("gen_ai_request_model", "other")];
        let cost = prometheus.sum("buttress_attempt_cost_pico_total", &other);
        assert_eq!(cost, expected);
        assert_eq!(
            lines.lock().unwrap().pop().unwrap(),
            format!(
                "attempt {shown} class=success took=0ns input=10 output=5 \
                 cost=0.000000000007 attempt=1"
            )
        );
    }
}

/// The model that is asked for, and another that answers.
#[derive(Clone)]
struct Answers(&'static str);

impl Describe<Ask, Reply> for Answers {
    fn labels<'a>(&'a self, ask: &'a Ask) -> Labels<'a> {
        Labels::new().model(&ask.model)
    }

    fn response_model<'a>(&'a self, _: &'a Reply) -> Option<&'a str> {
        Some(self.0)
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_says_its_reason_and_its_class() {
    let prometheus = Prometheus::install();
    let service = MetricsLayer::request(protocol()).layer(service_fn(serve));
    for &reason in Reason::ALL {
        let refused = Refused::new(reason);
        for _ in 0..2 {
            let call = service.clone().oneshot(ask("m", Does::Refuse(refused)));
            assert!(call.await.is_err());
        }
    }
    // A stream that stalls after its first content is another class, of the same reason.
    let stalled = Refused::new(Reason::IdleTimeout).with_class(Class::Interrupted);
    let call = service.oneshot(ask("m", Does::Refuse(stalled)));
    assert!(call.await.is_err());
    let interrupted = [("class", "interrupted")];
    assert_eq!(prometheus.sum("buttress_requests_total", &interrupted), 1.0);
    for &reason in Reason::ALL {
        let labels = [
            ("reason", reason.as_str()),
            ("class", reason.class().as_str()),
        ];
        assert_eq!(
            prometheus.sum("buttress_requests_total", &labels),
            2.0,
            "{reason}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn why_the_model_stopped_is_counted_filtered_errors_too() {
    let prometheus = Prometheus::install();
    let service = MetricsLayer::attempt(protocol()).layer(service_fn(serve));
    let refused = Outcome::new(Class::Unfit).with_finish(Finish::Filtered);
    assert!(
        service
            .clone()
            .oneshot(ask("m", Does::Fail(refused)))
            .await
            .is_err()
    );
    for finish in Finish::ALL {
        let outcome = Outcome::SUCCESS.with_finish(finish);
        let call = service.clone().oneshot(ask("m", Does::Fail(outcome)));
        assert!(call.await.is_ok());
    }
    assert!(service.oneshot(ask("m", Does::Succeed)).await.is_ok());
    let of = |finish| prometheus.sum("buttress_attempt_finishes_total", &[("finish", finish)]);
    assert_eq!(
        Finish::ALL.map(|finish| of(finish.name())),
        [1.0, 1.0, 1.0, 1.0, 2.0]
    );
    assert_eq!(prometheus.sum("buttress_attempt_finishes_total", &[]), 6.0);
}
