//! What other layers tell, by their own mouth.

use std::{num::NonZeroU32, time::Duration};

use buttress_circuit_breaker::CircuitBreaker;
use buttress_core::{Class, Event, Fact, Outcome, Reason};
use buttress_failover::Failover;
use buttress_metrics::Observer;
use buttress_rate_limit::{Quota, Quotas, RateLimitLayer};
use buttress_retry::{Constant, RetryLayer};
use buttress_timeout::TimeoutLayer;
use tokio_test::task::spawn;
use tower::{Layer, ServiceExt, service_fn};

use crate::{Ask, Does, Failed, Prometheus, Reply, ask, protocol, serve};

/// An event of a layer that nobody has met.
struct Strange {
    name: &'static str,
    endpoint: String,
}

impl Event for Strange {
    fn name(&self) -> &'static str {
        self.name
    }

    fn facts(&self, each: &mut dyn FnMut(&'static str, Fact<'_>)) {
        each("endpoint", Fact::Name(&self.endpoint));
        each("class", Fact::Class(Class::Denied));
        each("status", Fact::Name("hit"));
    }
}

/// A change of a circuit, in an order of the test's own.
struct Changed(&'static str, u64);

impl Event for Changed {
    fn name(&self) -> &'static str {
        "circuit_breaker.changed"
    }

    fn facts(&self, each: &mut dyn FnMut(&'static str, Fact<'_>)) {
        each("circuit", Fact::Name("one"));
        each("to", Fact::Name(self.0));
        each("generation", Fact::Count(self.1));
    }
}

async fn down(_: Ask) -> Result<Reply, Failed> {
    Err(Failed::Outcome(Outcome::new(Class::Unavailable)))
}

#[tokio::test(start_paused = true)]
async fn retries_their_waits_and_why_they_stopped_are_counted() {
    let prometheus = Prometheus::install();
    let observer = Observer::new().endpoint("east");
    let service = RetryLayer::new(protocol())
        .backoff(Constant::new(Duration::from_secs(2)))
        .max_attempts(const { NonZeroU32::new(3).unwrap() })
        .on_event(move |event| observer.see(event))
        .layer(service_fn(down));
    assert!(service.oneshot(ask("m", Does::Succeed)).await.is_err());
    let again = [("class", "unavailable"), ("endpoint", "east")];
    assert_eq!(prometheus.sum("buttress_retries_total", &again), 2.0);
    assert_eq!(
        prometheus.sum("buttress_retry_delay_seconds_count", &again),
        2.0
    );
    assert!(prometheus.sum("buttress_retry_delay_seconds_sum", &again) > 0.0);
    let stops = [("stop", "attempts spent"), ("endpoint", "east")];
    assert_eq!(prometheus.sum("buttress_retry_stops_total", &stops), 1.0);
}

#[tokio::test(start_paused = true)]
async fn waits_and_refusals_of_a_limit_are_counted() {
    let prometheus = Prometheus::install();
    let observer = Observer::new();
    let quota = Quota::per_second(NonZeroU32::MIN);
    let layer = RateLimitLayer::new(protocol(), Quotas::requests(quota))
        .on_event(move |event| observer.see(event));
    let service = layer.layer(service_fn(serve));
    for n in 0..3 {
        let call = service.clone().oneshot(ask("m", Does::Succeed)).await;
        assert_eq!(call.is_ok(), n == 0);
    }
    let limited = [("reason", "rate limited"), ("by", "quota")];
    let refusals = prometheus.sum("buttress_limiter_refusals_total", &limited);
    assert_eq!(refusals, 2.0, "{}", prometheus.text());
    let waits = |result| {
        let label = [("result", result)];
        prometheus.sum("buttress_limiter_wait_seconds_count", &label)
    };
    assert_eq!((waits("admitted"), waits("limited")), (1.0, 2.0));
}

#[tokio::test(start_paused = true)]
async fn the_state_of_a_circuit_and_its_changes_are_seen() {
    let prometheus = Prometheus::install();
    let observer = Observer::new();
    let policy = buttress_circuit_breaker::Policy::default()
        .name("openai")
        .on_event(move |event| observer.see(event));
    let breaker = CircuitBreaker::new(policy);
    let state = || prometheus.each("buttress_breaker_state", &[("circuit", "openai")]);
    breaker.force_open();
    assert_eq!(state(), [3.0]);
    breaker.reset();
    assert_eq!(state(), [0.0]);
    breaker.observe_only();
    assert_eq!(state(), [5.0]);
    let changes = [("circuit", "openai"), ("cause", "steered")];
    assert_eq!(
        prometheus.sum("buttress_breaker_transitions_total", &changes),
        3.0
    );
    let to = [("from", "closed"), ("to", "forced open")];
    assert_eq!(
        prometheus.sum("buttress_breaker_transitions_total", &to),
        1.0
    );
}

#[tokio::test(start_paused = true)]
async fn a_circuit_is_there_before_it_changes_and_stays_where_it_stands() {
    let observer = Observer::new();
    let east = observer.endpoint("east");
    for first in [true, false] {
        // With the second recorder, it is not told of again.
        let prometheus = Prometheus::install();
        let state = |circuit| prometheus.each("buttress_breaker_state", &[("circuit", circuit)]);
        if first {
            east.circuit("one");
            observer.circuit("other");
            assert_eq!((state("one"), state("other")), (vec![0.0], vec![0.0]));
            let labels = [("circuit", "one"), ("endpoint", "east")];
            assert_eq!(prometheus.each("buttress_breaker_state", &labels), [0.0]);
            let help = "# HELP buttress_breaker_state State of a circuit";
            assert!(prometheus.text().contains(help), "{}", prometheus.text());
            east.see(&Changed("open", 1));
            east.circuit("one");
        } else {
            observer.see(&Strange {
                name: "retry.again",
                endpoint: String::new(),
            });
        }
        assert_eq!((state("one"), state("other")), (vec![2.0], vec![0.0]));
    }
}

#[tokio::test(start_paused = true)]
async fn m2_circuits_are_bounded_and_none_stands_for_another() {
    let prometheus = Prometheus::install();
    let observer = Observer::new();
    let state = || prometheus.each("buttress_breaker_state", &[]);
    observer.circuit("a\nb");
    assert!(state().is_empty());
    for n in 0..5000 {
        let endpoint = observer.endpoint(&(n / 50).to_string());
        endpoint.circuit(&(n % 50).to_string());
    }
    assert_eq!(state(), [0.0; 1024]);
    // One beyond: it changes, and no gauge does.
    observer.endpoint("99").see(&Changed("open", 1));
    assert_eq!(state(), [0.0; 1024]);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_is_told_late_does_not_bring_an_old_state_back() {
    let prometheus = Prometheus::install();
    let observer = Observer::new();
    let state = || prometheus.each("buttress_breaker_state", &[("circuit", "one")]);
    for (to, generation, expected) in [
        ("open", 1, 2.0),
        ("closed", 3, 0.0),
        ("half-open", 2, 0.0),
        ("open", 4, 2.0),
        ("half-open", 5, 1.0),
    ] {
        observer.see(&Changed(to, generation));
        assert_eq!(state(), [expected], "{to}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_circuit_that_is_made_anew_under_its_old_name_is_shown() {
    let prometheus = Prometheus::install();
    let observer = Observer::new();
    let state = || prometheus.each("buttress_breaker_state", &[("circuit", "one")]);
    for (to, generation) in [("open", 1), ("half-open", 2), ("closed", 3)] {
        observer.see(&Changed(to, generation));
    }
    // The stack was built again, or its key forgotten.
    observer.see(&Changed("open", 1));
    assert_eq!(state(), [2.0]);
    observer.see(&Changed("half-open", 2));
    assert_eq!(state(), [1.0]);
}

#[tokio::test(start_paused = true)]
async fn failovers_and_timeouts_are_counted() {
    let prometheus = Prometheus::install();
    let observer = Observer::new();
    let see = observer.clone();
    let layer = TimeoutLayer::new(protocol())
        .attempt(Duration::from_secs(1))
        .on_event(move |event| see.see(event));
    let endpoint = layer.layer(service_fn(serve));
    let service = Failover::new(protocol(), [endpoint.clone(), endpoint])
        .on_event(move |event| observer.see(event));
    let mut call = spawn(service.oneshot(ask("m", Does::Hang)));
    assert!(call.poll().is_pending());
    assert!(call.await.is_err());
    let timeouts = [("phase", "attempt"), ("class", "unavailable")];
    assert_eq!(prometheus.sum("buttress_timeouts_total", &timeouts), 2.0);
    let failed = [("class", "unavailable")];
    assert_eq!(prometheus.sum("buttress_failovers_total", &failed), 2.0);
    assert_eq!(
        prometheus.each("buttress_failovers_total", &failed).len(),
        2,
        "one for each endpoint"
    );
    let stops = [("stop", "no endpoint left")];
    assert_eq!(prometheus.sum("buttress_failover_stops_total", &stops), 1.0);
}

#[tokio::test(start_paused = true)]
async fn a_strange_event_is_counted_by_its_name_and_one_of_a_cache_by_its_status() {
    let prometheus = Prometheus::install();
    let observer = Observer::new();
    for name in ["strange.happened", "cache.answered"] {
        observer.see(&Strange {
            name,
            endpoint: "e".into(),
        });
    }
    let event = [("event", "strange.happened")];
    assert_eq!(prometheus.each("buttress_events_total", &event), [1.0]);
    let hit = [("event", "cache.answered"), ("status", "hit")];
    assert_eq!(prometheus.sum("buttress_cache_events_total", &hit), 1.0);
}

#[tokio::test(start_paused = true)]
async fn an_endpoint_that_an_event_names_goes_before_the_observers() {
    let prometheus = Prometheus::install();
    let observer = Observer::new().endpoint("mine");
    for name in ["failover.failed", "retry.again"] {
        observer.see(&Strange {
            name,
            endpoint: "theirs".into(),
        });
    }
    let endpoints = |name: &str| {
        ["mine", "theirs"].map(|endpoint| prometheus.sum(name, &[("endpoint", endpoint)]))
    };
    assert_eq!(endpoints("buttress_failovers_total"), [0.0, 1.0]);
    assert_eq!(endpoints("buttress_retries_total"), [1.0, 0.0]);
}

#[tokio::test(start_paused = true)]
async fn m2_names_in_events_are_bounded() {
    let prometheus = Prometheus::install();
    let observer = Observer::new();
    for n in 0..10_000 {
        observer.see(&Strange {
            name: "failover.failed",
            endpoint: n.to_string(),
        });
    }
    let each = prometheus.each("buttress_failovers_total", &[]);
    assert_eq!((each.len(), each.iter().sum::<f64>()), (129, 10_000.0));
    let other = [("endpoint", "other")];
    assert_eq!(prometheus.sum("buttress_failovers_total", &other), 9_872.0);
}

/// An event with three names in it.
struct Limited([String; 2]);

impl Event for Limited {
    fn name(&self) -> &'static str {
        "rate_limit.limited"
    }

    fn facts(&self, each: &mut dyn FnMut(&'static str, Fact<'_>)) {
        let [by, unit] = &self.0;
        each("reason", Fact::Reason(Reason::Limited));
        each("by", Fact::Name(by));
        each("unit", Fact::Name(unit));
    }
}

#[tokio::test(start_paused = true)]
async fn m2_no_combination_of_names_in_events_is_without_a_bound() {
    let prometheus = Prometheus::install();
    let observer = Observer::new();
    // Less than a hundred names for each label.
    for n in 0..20_000_u32 {
        let names = [n % 97, n / 97 % 89].map(|name| name.to_string());
        let endpoint = observer.endpoint(&(n % 83).to_string());
        endpoint.see(&Limited(names));
    }
    let refusals = prometheus.each("buttress_limiter_refusals_total", &[]);
    assert_eq!(refusals.iter().sum::<f64>(), 20_000.0);
    let waits = prometheus.each("buttress_limiter_wait_seconds_count", &[]);
    let sets = refusals.len() + waits.len();
    // The waits are all within it.
    assert_eq!(sets, Observer::MAX_SETS + 1);
    let other = ["reason", "by", "unit", "endpoint"].map(|label| (label, "other"));
    let beyond = prometheus.sum("buttress_limiter_refusals_total", &other);
    assert!((18_000.0..20_000.0).contains(&beyond), "{beyond}");
    // What was known before is counted as before.
    let first = [("by", "0"), ("unit", "0"), ("endpoint", "0")];
    observer
        .endpoint("0")
        .see(&Limited(["0".into(), "0".into()]));
    assert_eq!(
        prometheus.each("buttress_limiter_refusals_total", &first),
        [2.0]
    );
}

#[tokio::test(start_paused = true)]
async fn an_observer_is_right_whenever_the_recorder_is_installed() {
    let observer = Observer::new();
    let event = || Strange {
        name: "retry.again",
        endpoint: String::new(),
    };
    observer.see(&event());
    for _ in 0..2 {
        let prometheus = Prometheus::install();
        for seen in 1..=2 {
            observer.see(&event());
            let retries = prometheus.each("buttress_retries_total", &[("class", "denied")]);
            assert_eq!(retries, [f64::from(seen)]);
        }
    }
}
