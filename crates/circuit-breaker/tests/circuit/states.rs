//! What somebody wants of a circuit: forced, observed, paused, shared.

use buttress_circuit_breaker::{
    Cause, CircuitBreaker, CircuitBreakerLayer, CircuitEvent, Policy, Ratio, State, Window,
};
use buttress_core::{Class, Event, Outcome, Plain};
use tokio::time::advance;

use crate::{Told, after, all, begin, count, log, say, secs};

#[tokio::test(start_paused = true)]
async fn b13_forced_open_refuses_everything_for_as_long_as_it_is() {
    let (told, observer) = log();
    let breaker = CircuitBreaker::new(after(2).on_event(observer));
    let early = begin(&breaker).unwrap();
    breaker.force_open();
    breaker.force_open();
    early.end(Class::Success);
    for _ in 0..10 {
        let refused = begin(&breaker).err().unwrap();
        assert_eq!(refused.retry_after(), None);
        advance(secs(3600)).await;
    }
    assert_eq!(breaker.next_probe(), None);
    breaker.reset();
    assert!(begin(&breaker).is_ok());
    let steered = |from, to| Told::Changed(from, to, Cause::Steered, None);
    let expected = [
        steered(State::Closed, State::ForcedOpen),
        steered(State::ForcedOpen, State::Closed),
    ];
    assert_eq!(*told.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn b13_forced_closed_lets_everything_pass_and_counts_nothing() {
    let breaker = CircuitBreaker::new(after(2).open_on_throttled(secs(60)));
    all(&breaker, Class::Unavailable, 2);
    breaker.force_closed();
    all(&breaker, Class::Unavailable, 100);
    let throttled = Outcome::new(Class::Throttled).with_retry_after(secs(5));
    assert_eq!(say(&breaker, throttled), Ok(()));
    assert_eq!(breaker.state(), State::ForcedClosed);
    assert_eq!(breaker.snapshot().consecutive_failures, 0);
    let forced = begin(&breaker).unwrap();
    breaker.reset();
    all(&breaker, Class::Unavailable, 1);
    forced.end(Class::Unavailable);
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn b13_observe_only_says_when_it_would_have_opened_and_never_does() {
    let (told, observer) = log();
    let half = Ratio::percent::<50>();
    let policy = Policy::failure_rate(half, Window::calls::<4>())
        .minimum_calls(count(4))
        .open_on_throttled(secs(60))
        .on_event(observer);
    let breaker = CircuitBreaker::new(policy);
    breaker.observe_only();
    for _ in 0..2 {
        all(&breaker, Class::Success, 4);
        all(&breaker, Class::Unavailable, 10);
    }
    let throttled = Outcome::new(Class::Throttled).with_retry_after(secs(5));
    assert_eq!(say(&breaker, throttled), Ok(()));
    assert_eq!(breaker.state(), State::ObserveOnly);
    let counts = breaker.snapshot().rates[0];
    assert_eq!((counts.calls, counts.bad), (4, 4));
    // Once for each time that the rate came to the threshold.
    let would = Told::WouldOpen(Cause::FailureRate);
    let to = Told::Changed(State::Closed, State::ObserveOnly, Cause::Steered, None);
    assert_eq!(*told.lock().unwrap(), [to, would.clone(), would]);
    breaker.reset();
    all(&breaker, Class::Unavailable, 3);
    assert_eq!(breaker.state(), State::Closed, "it counts anew");
}

#[tokio::test(start_paused = true)]
async fn a_reset_closes_an_open_circuit_and_starts_its_waits_over() {
    let breaker = CircuitBreaker::new(after(1));
    all(&breaker, Class::Unavailable, 1);
    let late = {
        breaker.reset();
        begin(&breaker).unwrap()
    };
    breaker.reset();
    late.end(Class::Unavailable);
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_hint_opens_it_until_then_if_it_is_told_to_and_it_goes_on_as_before() {
    let hint = |time| Outcome::new(Class::Throttled).with_retry_after(secs(time));
    let (told, observer) = log();
    let policy = after(3).open_on_throttled(secs(60)).on_event(observer);
    let breaker = CircuitBreaker::new(policy);
    all(&breaker, Class::Unavailable, 2);
    // Without a hint, or with one of nothing.
    all(&breaker, Class::Throttled, 1);
    assert_eq!(say(&breaker, hint(0)), Ok(()));
    // Nor does another class pause, whatever it hints.
    for class in [
        Class::Denied,
        Class::Refused,
        Class::Unfit,
        Class::Cancelled,
    ] {
        assert_eq!(say(&breaker, hint(7).with_class(class)), Ok(()));
    }
    assert_eq!(breaker.state(), State::Closed);
    for (said, kept) in [(7, 7), (3600, 60)] {
        assert_eq!(say(&breaker, hint(said)), Ok(()));
        assert_eq!(breaker.next_probe(), Some(secs(kept)));
        assert_eq!(
            begin(&breaker).err().unwrap().retry_after(),
            Some(secs(kept))
        );
        advance(secs(kept)).await;
        // Everybody at once: nothing was wrong with it.
        let calls: Vec<_> = (0..5).map(|_| begin(&breaker).unwrap()).collect();
        assert_eq!(breaker.state(), State::Closed);
        drop(calls);
    }
    // The two failures of before are still there.
    all(&breaker, Class::Unavailable, 1);
    assert_eq!(breaker.snapshot().cause, Some(Cause::ConsecutiveFailures));
    // A probe that is throttled: it goes on probing after the pause, with the wait it had.
    advance(secs(10)).await;
    assert_eq!(say(&breaker, hint(30)), Ok(()));
    assert_eq!(breaker.next_probe(), Some(secs(30)));
    advance(secs(30)).await;
    let probe = begin(&breaker).unwrap();
    assert!(begin(&breaker).is_err());
    probe.end(Class::Success);
    assert_eq!(breaker.state(), State::Closed);
    let causes = told
        .lock()
        .unwrap()
        .iter()
        .map(|told| match told {
            Told::Changed(_, _, cause, _) => *cause,
            other => panic!("found {other:?}"),
        })
        .collect::<Vec<_>>();
    assert_eq!(
        causes,
        [
            Cause::Throttled,
            Cause::Waited,
            Cause::Throttled,
            Cause::Waited,
            Cause::ConsecutiveFailures,
            Cause::Waited,
            Cause::Throttled,
            Cause::Waited,
            Cause::Recovered,
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_hint_opens_nothing_by_default() {
    let breaker = CircuitBreaker::new(after(3));
    let hint = Outcome::new(Class::Throttled).with_retry_after(secs(5));
    assert_eq!(say(&breaker, hint), Ok(()));
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn t7_several_layers_share_one_circuit() {
    let breaker = CircuitBreaker::new(after(2).name("one"));
    let layers = [
        CircuitBreakerLayer::new(Plain).breaker(&breaker),
        CircuitBreakerLayer::new(Plain).breaker(&breaker).clone(),
    ];
    for layer in &layers {
        all(&layer.handle(), Class::Unavailable, 1);
    }
    assert_eq!(breaker.state(), State::Open);
    assert_eq!(layers[0].handle().name(), "one");
    let own = CircuitBreakerLayer::new(Plain);
    assert_eq!(own.handle().state(), State::Closed);
    assert_eq!(own.clone().policy(after(1)).handle().state(), State::Closed);
}

#[test]
fn an_event_tells_its_facts_to_whoever_does_not_know_it() {
    let lines = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let write = lines.clone();
    let policy = after(1)
        .name("openai")
        .on_event(move |event: &CircuitEvent<'_>| {
            let mut line = event.name().to_owned();
            event.facts(&mut |name, fact| line += &format!(" {name}={fact}"));
            write.lock().unwrap().push(line);
        });
    let breaker = CircuitBreaker::new(policy);
    all(&breaker, Class::Unavailable, 1);
    breaker.observe_only();
    all(&breaker, Class::Unavailable, 1);
    let lines = lines.lock().unwrap();
    assert_eq!(
        *lines,
        [
            "circuit_breaker.changed circuit=openai from=closed to=open cause=consecutive failures wait=10s generation=1",
            "circuit_breaker.changed circuit=openai from=open to=observe only cause=steered generation=2",
            "circuit_breaker.would_open circuit=openai cause=consecutive failures",
        ]
    );
}
