//! A circuit for each key.

use std::num::NonZeroUsize;

use buttress_circuit_breaker::{CircuitBreakers, KeyedCircuitBreakerLayer, State};
use buttress_core::{Class, Outcome, Plain, ProtocolExt};
use futures_util::FutureExt;
use tokio::time::advance;
use tower::{Layer, Service, service_fn};

use crate::{Failed, Told, after, log, secs};

type Keys = CircuitBreakers<u32>;

fn keys(max: usize) -> Keys {
    let max = NonZeroUsize::new(max).unwrap();
    CircuitBreakers::new(max, |_| after(2))
}

/// One call for this key; whether it was made.
fn call(keys: &Keys, key: u32, class: Class) -> bool {
    let protocol = Plain.classify_with(|result: Result<&(), &Failed>| match result {
        Err(Failed::Said(outcome)) => Some(*outcome),
        _ => None,
    });
    let layer = KeyedCircuitBreakerLayer::new(protocol, keys, |ask: &(u32, Class)| ask.0);
    let mut service = layer.layer(service_fn(|(_, class): (u32, Class)| async move {
        match class {
            Class::Success => Ok(()),
            class => Err(Failed::Said(Outcome::new(class))),
        }
    }));
    let ready = std::future::poll_fn(|cx| service.poll_ready(cx)).now_or_never();
    assert_eq!(ready, Some(Ok(())));
    let result = service.call((key, class)).now_or_never().unwrap();
    !matches!(result, Err(Failed::Refused(_)))
}

fn open(keys: &Keys, key: u32) {
    for _ in 0..2 {
        assert!(call(keys, key, Class::Unavailable));
    }
    assert_eq!(keys.get(&key).unwrap().state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn each_key_has_a_circuit_of_its_own() {
    let keys = keys(10);
    open(&keys, 1);
    assert!(!call(&keys, 1, Class::Success));
    assert!(call(&keys, 2, Class::Success));
    let mut all: Vec<_> = keys
        .all()
        .into_iter()
        .map(|(key, one)| (key, one.state()))
        .collect();
    all.sort_by_key(|(key, _)| *key);
    assert_eq!(all, [(1, State::Open), (2, State::Closed)]);
    assert!(keys.get(&3).is_none());
}

#[tokio::test(start_paused = true)]
async fn b14_a_hundred_thousand_keys_are_so_many_circuits_and_an_open_one_stays() {
    let keys = keys(100);
    for key in 0..30 {
        open(&keys, key);
    }
    for key in 1000..101_000 {
        assert!(call(&keys, key, Class::Unavailable));
    }
    assert_eq!(keys.len(), 100);
    for key in 0..30 {
        assert!(!call(&keys, key, Class::Success), "{key}");
    }
}

#[tokio::test(start_paused = true)]
async fn b14_none_is_forgotten_that_is_open_forced_held_or_called() {
    let keys = keys(4);
    open(&keys, 1);
    for key in [2, 3, 4] {
        assert!(call(&keys, key, Class::Unavailable));
    }
    keys.get(&2).unwrap().force_closed();
    let held = keys.get(&3).unwrap();
    // A call of key 4 is under way.
    let layer = KeyedCircuitBreakerLayer::new(Plain, &keys, |key: &u32| *key);
    let mut hangs = layer.layer(service_fn(|_: u32| {
        std::future::pending::<Result<(), Failed>>()
    }));
    let flying = hangs.call(4);
    for key in 10..200 {
        assert!(
            call(&keys, key, Class::Unavailable),
            "it passes without a circuit"
        );
        assert!(keys.get(&key).is_none());
    }
    drop(flying);
    assert!(call(&keys, 10, Class::Unavailable));
    assert!(keys.get(&10).is_some() && keys.get(&4).is_none());
    drop(held);
    assert!(call(&keys, 11, Class::Unavailable));
    assert!(keys.get(&1).is_some() && keys.get(&2).is_some());
}

#[tokio::test(start_paused = true)]
async fn b14_an_open_one_that_nobody_asked_for_is_forgotten_long_after_its_time() {
    let keys = keys(1);
    open(&keys, 1);
    for second in 0..20 {
        assert!(call(&keys, 2, Class::Unavailable));
        assert!(keys.get(&1).is_some(), "{second}");
        advance(secs(1)).await;
    }
    // It was open for ten seconds, and due for ten.
    assert!(call(&keys, 2, Class::Success));
    assert!(keys.get(&1).is_none() && keys.get(&2).is_some());
}

#[tokio::test(start_paused = true)]
async fn b14_probes_that_vanished_do_not_keep_a_key_for_ever() {
    let keys = keys(1);
    open(&keys, 1);
    advance(secs(10)).await;
    let layer = KeyedCircuitBreakerLayer::new(Plain, &keys, |key: &u32| *key);
    let mut hangs = layer.layer(service_fn(|_: u32| {
        std::future::pending::<Result<(), Failed>>()
    }));
    let probe = hangs.call(1);
    advance(secs(1000)).await;
    assert!(call(&keys, 2, Class::Success));
    assert!(keys.get(&1).is_some(), "a call of it is under way");
    drop(probe);
    // That was heard of, and its time begins anew.
    assert!(call(&keys, 2, Class::Success));
    assert!(keys.get(&1).is_some());
    // As long again as it was half-open, until it would have been given up.
    advance(secs(60 + 1060)).await;
    assert!(call(&keys, 2, Class::Success));
    assert!(keys.get(&1).is_none());
}

#[tokio::test(start_paused = true)]
async fn the_one_that_was_used_last_is_forgotten_last() {
    let keys = keys(3);
    for key in [1, 2, 3] {
        call(&keys, key, Class::Success);
    }
    call(&keys, 4, Class::Success);
    for key in 5..50 {
        call(&keys, 4, Class::Success);
        call(&keys, key, Class::Success);
        assert!(keys.get(&4).is_some(), "{key}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_without_a_circuit_is_told() {
    let (told, observer) = log();
    let keys = Keys::new(NonZeroUsize::MIN, move |key: &u32| {
        after(2).name(&key.to_string()).on_event(observer.clone())
    });
    open(&keys, 1);
    assert_eq!(keys.get(&1).unwrap().name(), "1");
    told.lock().unwrap().clear();
    assert!(call(&keys, 2, Class::Unavailable));
    assert_eq!(*told.lock().unwrap(), [Told::Unguarded(1)]);
}
