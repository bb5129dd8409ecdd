//! Shares of calls, of keys, and of variants.

use std::{collections::HashMap, sync::Arc};

use buttress_core::Class;
use buttress_failover::{
    ByKey, Endpoint, EndpointsError, Failover, LeastLoaded, Ordered, Strategy, Variant, Variants,
    Weighted, hash,
};
use tower::ServiceExt;

use crate::{Ask, DOWN, OK, Told, Upstream, ask, failover, log, named, protocol, secs};

/// Pearson's statistic: how far what was observed is from what the weights promise.
fn chi_square(observed: &[usize], weights: &[u32]) -> f64 {
    let calls: usize = observed.iter().sum();
    let total: u32 = weights.iter().sum();
    let terms = observed
        .iter()
        .zip(weights)
        .filter(|(_, weight)| **weight > 0);
    terms
        .map(|(observed, weight)| {
            let expected = calls as f64 * f64::from(*weight) / f64::from(total);
            (*observed as f64 - expected).powi(2) / expected
        })
        .sum()
}

fn weighted<const N: usize>(
    upstreams: &[Upstream; N],
    weights: [u32; N],
) -> Vec<Endpoint<Upstream>> {
    let endpoints = named(upstreams).into_iter().zip(weights);
    endpoints
        .map(|(endpoint, weight)| endpoint.weight(weight))
        .collect()
}

/// With 3 degrees of freedom, one in a thousand is above by chance.
const CRITICAL: f64 = 16.27;
const WEIGHTS: [u32; 5] = [50, 30, 15, 5, 0];
const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

#[tokio::test(start_paused = true)]
async fn f5_shares_follow_the_weights_and_weight_0_gets_none() {
    for seed in 0..5 {
        let upstreams = NAMES.map(|name| Upstream::new(name, [OK]));
        let service = Failover::over(protocol(), weighted(&upstreams, WEIGHTS))
            .unwrap()
            .strategy(Weighted)
            .seed(seed);
        for _ in 0..10_000 {
            assert!(service.clone().oneshot(ask()).await.is_ok());
        }
        let calls = upstreams.each_ref().map(Upstream::calls);
        assert_eq!(calls[4], 0);
        let found = chi_square(&calls, &WEIGHTS);
        assert!(found < CRITICAL, "{calls:?}: {found}");
        // It does not only even out in the end: nobody is ever far from its share.
        assert!(calls[0].abs_diff(5000) < 10, "{calls:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn f5_where_a_failed_call_goes_follows_the_weights_of_the_others() {
    let upstreams = NAMES.map(|name| Upstream::new(name, [OK]));
    upstreams[0].set(DOWN);
    let service = Failover::over(protocol(), weighted(&upstreams, WEIGHTS))
        .unwrap()
        .cool_down(secs(0), secs(0))
        .strategy(Weighted)
        .seed(3);
    for _ in 0..10_000 {
        assert!(service.clone().oneshot(ask()).await.is_ok());
    }
    let calls = upstreams.each_ref().map(Upstream::calls);
    let found = chi_square(&calls[1..4], &WEIGHTS[1..4]);
    assert!(found < 13.82, "two degrees of freedom: {calls:?}: {found}");
    assert_eq!(calls[1..].iter().sum::<usize>(), 10_000);
}

#[tokio::test(start_paused = true)]
async fn f5_the_least_loaded_of_two_is_drawn_by_the_weights() {
    let upstreams = NAMES.map(|name| Upstream::new(name, [OK]));
    let service = Failover::over(protocol(), weighted(&upstreams, [1, 1, 1, 1, 0]))
        .unwrap()
        .strategy(LeastLoaded)
        .seed(5);
    for _ in 0..4000 {
        assert!(service.clone().oneshot(ask()).await.is_ok());
    }
    let calls = upstreams.each_ref().map(Upstream::calls);
    assert_eq!(calls[4], 0);
    assert!(chi_square(&calls, &[1, 1, 1, 1, 0]) < CRITICAL, "{calls:?}");
}

#[tokio::test(start_paused = true)]
async fn f5_weights_change_while_calls_are_made() {
    let upstreams = ["a", "b"].map(|name| Upstream::new(name, [OK]));
    let service = failover(protocol(), &upstreams).strategy(Weighted);
    let handle = service.handle();
    let mut before = [0, 0];
    for weights in [[1, 1], [3, 1], [0, 1], [1, 0], [u32::MAX, u32::MAX]] {
        handle.set_weight("a", weights[0]).unwrap();
        handle.set_weight("b", weights[1]).unwrap();
        for _ in 0..1000 {
            assert!(service.clone().oneshot(ask()).await.is_ok());
        }
        let calls = upstreams.each_ref().map(Upstream::calls);
        let more = [calls[0] - before[0], calls[1] - before[1]];
        let whole = u64::from(weights[0]) + u64::from(weights[1]);
        let expected = (1000 * u64::from(weights[0]) / whole) as usize;
        assert!(more[0].abs_diff(expected) <= 3, "{weights:?}: {more:?}");
        before = calls;
    }
    handle.set_weight("a", 0).unwrap();
    handle.set_weight("b", 0).unwrap();
    let refused = service.oneshot(ask()).await.unwrap_err();
    assert_eq!(refused.outcome.class, Class::Refused);
    let unknown = EndpointsError::Unknown { name: "c".into() };
    assert_eq!(handle.set_weight("c", 1), Err(unknown));
}

#[tokio::test(start_paused = true)]
async fn f5_endpoints_are_added_and_removed_while_a_call_is_under_way() {
    let upstreams = [
        Upstream::slow("a", [(secs(1), DOWN)]),
        Upstream::new("b", [OK]),
        Upstream::new("c", [OK]),
    ];
    let [a, b, c] = named(&upstreams);
    let service = Failover::over(protocol(), [a, b]).unwrap();
    let (handle, called) = (service.handle(), upstreams.each_ref());
    assert!(called.iter().all(|upstream| upstream.calls() == 0));
    let call = tokio::spawn(service.clone().oneshot(ask()));
    tokio::task::yield_now().await;
    handle.remove("b").unwrap();
    // It began with a, and b is not there any more.
    handle.add(c).unwrap();
    assert_eq!(call.await.unwrap(), Ok("c"));
    assert_eq!((upstreams[0].calls(), upstreams[1].calls()), (1, 0));
    assert_eq!(service.clone().oneshot(ask()).await, Ok("c"));
    assert_eq!(handle.states().len(), 2);

    let twice = EndpointsError::Twice { name: "a".into() };
    assert_eq!(
        handle.add(Endpoint::new("a", upstreams[1].clone())),
        Err(twice)
    );
    handle.remove("a").unwrap();
    assert_eq!(handle.remove("c"), Err(EndpointsError::Empty));
    assert_eq!(service.oneshot(ask()).await, Ok("c"));
}

#[test]
fn f5_endpoints_come_and_go_under_real_threads_and_no_call_is_lost() {
    use std::{
        error::Error,
        sync::atomic::{AtomicBool, AtomicUsize, Ordering},
        thread,
    };
    use tower::service_fn;

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()
        .unwrap();
    let served = Arc::new(AtomicUsize::new(0));
    let endpoint = |name: &str| {
        let served = Arc::clone(&served);
        let service = service_fn(move |n: u64| {
            served.fetch_add(1, Ordering::Relaxed);
            async move { Ok::<_, Box<dyn Error + Send + Sync>>(n) }
        });
        Endpoint::new(name, service)
    };
    // One type for all of them: each closure captures the same.
    let service = {
        let _entered = runtime.enter();
        Failover::over(buttress_core::Plain, [endpoint("a")])
            .unwrap()
            .strategy(Weighted)
    };
    let (handle, over) = (service.handle(), Arc::new(AtomicBool::new(false)));
    thread::scope(|scope| {
        let changes = scope.spawn(|| {
            for round in 0_u32.. {
                if over.load(Ordering::Relaxed) {
                    return round;
                }
                handle.add(endpoint("b")).unwrap();
                handle.set_weight("a", round % 3 + 1).unwrap();
                handle
                    .remove(if round % 2 == 0 { "a" } else { "b" })
                    .unwrap();
                if round % 2 == 0 {
                    handle.add(endpoint("a")).unwrap();
                    handle.remove("b").unwrap();
                }
                thread::yield_now();
            }
            0
        });
        let calls: Vec<_> = (0..4)
            .map(|_| {
                let mut service = service.clone();
                runtime.spawn(async move {
                    for n in 0..5000 {
                        use tower::Service;
                        // The same instance: it learns of every change.
                        let reply = service.ready().await.unwrap().call(n).await;
                        assert_eq!(reply.unwrap(), n);
                    }
                })
            })
            .collect();
        let ended: Vec<_> = calls
            .into_iter()
            .map(|call| runtime.block_on(call))
            .collect();
        // Whatever came of them: the other thread has to end.
        over.store(true, Ordering::Relaxed);
        for call in ended {
            call.unwrap();
        }
        assert!(changes.join().unwrap() > 0);
    });
    assert_eq!(served.load(Ordering::Relaxed), 4 * 5000);
}

fn keyed(number: u64) -> Ask {
    Ask {
        number,
        ..Ask::default()
    }
}

fn key(ask: &Ask) -> Option<u64> {
    (ask.number > 0).then(|| hash(&ask.number.to_le_bytes()))
}

/// Where each key goes.
async fn assignment<C: Strategy<Ask> + Clone>(
    service: &Failover<impl Clone + TestProtocol, Upstream, C>,
) -> HashMap<u64, &'static str> {
    let mut found = HashMap::new();
    for number in 1..=2000 {
        found.insert(
            number,
            service.clone().oneshot(keyed(number)).await.unwrap(),
        );
    }
    found
}

/// What `protocol` is, with a name.
trait TestProtocol:
    buttress_core::Classify<&'static str, crate::Failed>
    + buttress_core::Track<&'static str>
    + buttress_core::Refuse<&'static str, crate::Failed>
    + buttress_core::Replay<Ask>
    + buttress_core::Carry<Ask>
{
}

impl<P> TestProtocol for P where
    P: buttress_core::Classify<&'static str, crate::Failed>
        + buttress_core::Track<&'static str>
        + buttress_core::Refuse<&'static str, crate::Failed>
        + buttress_core::Replay<Ask>
        + buttress_core::Carry<Ask>
{
}

#[tokio::test(start_paused = true)]
async fn keys_stay_and_only_those_of_an_endpoint_that_drops_out_move() {
    let upstreams = NAMES.map(|name| Upstream::new(name, [OK]));
    let weights = [2, 2, 3, 2, 1];
    let service = Failover::over(protocol(), weighted(&upstreams, weights))
        .unwrap()
        .strategy(ByKey::new(key));
    let first = assignment(&service).await;
    let calls = upstreams.each_ref().map(Upstream::calls);
    let found = chi_square(&calls, &weights);
    assert!(found < 18.47, "4 degrees of freedom: {calls:?}: {found}");

    // Of other seeds, and in another order: the same.
    let mut endpoints = weighted(&upstreams, weights);
    endpoints.reverse();
    let other = Failover::over(protocol(), endpoints)
        .unwrap()
        .strategy(ByKey::new(key))
        .seed(1234);
    assert_eq!(assignment(&other).await, first);

    upstreams[2].set(DOWN);
    let without = assignment(&service).await;
    let mut moved = HashMap::new();
    for (number, was) in &first {
        let is = without[number];
        if *was == "c" {
            *moved.entry(is).or_insert(0) += 1;
        } else {
            assert_eq!(*was, is, "{number}");
        }
    }
    assert_eq!(moved.len(), 4, "to everybody: {moved:?}");
    upstreams[2].set(OK);
    tokio::time::advance(secs(60)).await;
    assert_eq!(assignment(&service).await, first, "they return");
}

#[tokio::test(start_paused = true)]
async fn what_has_no_key_is_shared_by_weight() {
    let upstreams = ["a", "b"].map(|name| Upstream::new(name, [OK]));
    let service = failover(protocol(), &upstreams).strategy(ByKey::new(key));
    for _ in 0..100 {
        assert!(service.clone().oneshot(keyed(0)).await.is_ok());
    }
    assert!(upstreams[0].calls().abs_diff(50) <= 2);
}

#[tokio::test(start_paused = true)]
async fn a_share_of_the_keys_is_a_variant_and_its_name_is_in_the_events() {
    let upstreams = ["a", "b", "c"].map(|name| Upstream::new(name, [OK]));
    let (told, observer) = log();
    let variants = |second| {
        [
            Variant::new("small", "b", 100),
            Variant::new("new", "c", second),
        ]
    };
    let of = |second| {
        let strategy = Variants::new(key, variants(second), Ordered).unwrap();
        failover(protocol(), &upstreams).strategy(strategy)
    };
    let service = of(50).on_event(observer);
    let first = assignment(&service).await;
    let calls = upstreams.each_ref().map(Upstream::calls);
    assert!(chi_square(&calls, &[850, 100, 50]) < 13.82, "{calls:?}");
    let mut by_variant = HashMap::new();
    for told in told.lock().unwrap().iter() {
        let Told::Done {
            endpoint, variant, ..
        } = told
        else {
            continue;
        };
        *by_variant
            .entry((endpoint.clone().unwrap(), variant.clone()))
            .or_insert(0) += 1;
    }
    let count = |endpoint: &str, variant: Option<&str>| {
        by_variant[&(endpoint.to_owned(), variant.map(Into::into))]
    };
    assert_eq!(by_variant.len(), 3);
    assert_eq!(count("a", None), calls[0]);
    assert_eq!(count("b", Some("small")), calls[1]);
    assert_eq!(count("c", Some("new")), calls[2]);

    // A wider second variant takes from nobody but those without one.
    let second = assignment(&of(200)).await;
    for (number, was) in first {
        assert!(was == second[&number] || was == "a");
    }
}

#[tokio::test(start_paused = true)]
async fn a_variant_whose_endpoint_fails_is_none_any_more() {
    let upstreams = ["a", "b"].map(|name| Upstream::new(name, [OK]));
    upstreams[1].set(DOWN);
    let (told, observer) = log();
    let strategy = Variants::new(key, [Variant::new("new", "b", 1000)], Ordered).unwrap();
    let service = failover(protocol(), &upstreams)
        .strategy(strategy)
        .on_event(observer);
    assert_eq!(service.oneshot(keyed(1)).await, Ok("a"));
    let told = told.lock().unwrap();
    let Some(Told::Done {
        endpoint, variant, ..
    }) = told.last()
    else {
        panic!("{told:?}")
    };
    assert_eq!((endpoint.as_deref(), variant), (Some("a"), &None));
}
