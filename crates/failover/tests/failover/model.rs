//! The choice of endpoints against a naive model.

use buttress_core::{Class, Outcome};
use buttress_failover::{Endpoint, Failover};
use proptest::prelude::*;
use tower::ServiceExt;

use crate::{Upstream, accounted, count, protocol};

/// The choice of ordered endpoints, in as few words as possible.
fn naive(script: &[(Class, Option<u8>, u32)], max: usize) -> (Vec<usize>, Option<usize>) {
    let (mut tried, mut out) = (Vec::new(), Vec::<usize>::new());
    loop {
        let next =
            (0..script.len()).find(|i| !tried.contains(i) && !out.contains(i) && script[*i].2 > 0);
        let Some(at) = next.filter(|_| tried.len() < max) else {
            let real = tried.iter().find(|i| script[**i].0 != Class::Refused);
            return (tried.clone(), real.or(tried.first()).copied());
        };
        tried.push(at);
        let (class, credential, _) = script[at];
        match class {
            Class::Throttled | Class::Unavailable | Class::Unstarted | Class::Refused => {}
            Class::Denied => out.extend((0..script.len()).filter(|i| {
                credential.is_none() || script[*i].1.is_none() || script[*i].1 == credential
            })),
            _ => return (tried, Some(at)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn f1_f3_f7_the_choice_is_that_of_a_naive_model(
        script in prop::collection::vec(
            (prop::sample::select(&Class::ALL[..]), prop::option::of(0..3_u8), 0..3_u32),
            1..9,
        ),
        max in 1..9_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time().start_paused(true).build().unwrap();
        let _entered = runtime.enter();
        let names = ["0", "1", "2", "3", "4", "5", "6", "7"];
        let upstreams: Vec<_> = script.iter().zip(names)
            .map(|((class, ..), name)| Upstream::new(name, [Outcome::new(*class)])).collect();
        let endpoints = upstreams.iter().zip(&script).map(|(upstream, (_, credential, weight))| {
            let endpoint = Endpoint::new(upstream.name, upstream.clone()).weight(*weight);
            match credential {
                Some(id) => endpoint.credential(id.to_string()),
                None => endpoint,
            }
        });
        let (ask, ledger) = accounted();
        let service = Failover::over(protocol(), endpoints).unwrap()
            .max_attempts(count(max as u32));
        let reply = runtime.block_on(service.oneshot(ask));
        let (tried, answer) = naive(&script, max);
        let answered = reply.unwrap_or_else(|failed| failed.at);
        prop_assert_eq!(answer.map_or("no endpoint left", |at| names[at]), answered);
        for (index, upstream) in upstreams.iter().enumerate() {
            prop_assert_eq!(upstream.calls(), usize::from(tried.contains(&index)));
        }
        prop_assert_eq!(ledger.attempts() as usize, tried.len().max(1));
    }
}
