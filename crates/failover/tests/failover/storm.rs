//! Many calls at once, while endpoints come and go and callers go away.

use std::{
    collections::HashMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use buttress_core::{Class, Outcome};
use buttress_failover::{Endpoint, Failover, LeastLoaded};
use tokio::task::yield_now;
use tower::{Service, ServiceExt};

use crate::{Ask, Failed, ask, count, protocol};

/// An endpoint that fails now and then, or never is ready, and writes down whom it served.
#[derive(Clone)]
struct Node {
    name: Arc<str>,
    log: Arc<Mutex<HashMap<u64, Vec<Arc<str>>>>>,
    well: Arc<AtomicBool>,
}

impl Service<Ask> for Node {
    type Response = &'static str;
    type Error = Failed;
    type Future = Pin<Box<dyn Future<Output = Result<&'static str, Failed>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Failed>> {
        if !self.well.load(Ordering::Relaxed) && fastrand::u8(..4) == 0 {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, ask: Ask) -> Self::Future {
        let mut log = self.log.lock().unwrap();
        log.entry(ask.number).or_default().push(self.name.clone());
        let well = self.well.load(Ordering::Relaxed);
        let class = match fastrand::u8(..4) {
            0 if !well => Class::Unavailable,
            1 if !well => Class::Throttled,
            2 if !well => Class::Refused,
            _ => return Box::pin(async { Ok("well") }),
        };
        Box::pin(async move {
            yield_now().await;
            Err(Failed {
                outcome: Outcome::new(class),
                at: "a node",
                call: 0,
            })
        })
    }
}

#[test]
fn f1_f5_no_endpoint_is_tried_twice_while_they_come_and_go() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()
        .unwrap();
    for nodes in [2, 7, 100] {
        let (log, well) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let endpoint = |number: usize| {
            let name = format!("node {number}");
            let node = Node {
                name: name.as_str().into(),
                log: Arc::clone(&log),
                well: Arc::clone(&well),
            };
            Endpoint::new(name, node)
        };
        let service = Failover::over(protocol(), (0..nodes).map(endpoint))
            .unwrap()
            .strategy(LeastLoaded)
            .max_attempts(count(500))
            .ready_within(Duration::from_micros(50))
            .cool_down(Duration::from_micros(100), Duration::from_millis(1))
            .ramp(Duration::from_micros(100));
        let handle = service.handle();
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut next = nodes;
                while !over.load(Ordering::Relaxed) {
                    handle.add(endpoint(next)).unwrap();
                    let gone = next - nodes;
                    let _ = handle.set_weight(&format!("node {}", gone + 1), fastrand::u32(..3));
                    handle.remove(&format!("node {gone}")).unwrap();
                    next += 1;
                    std::thread::yield_now();
                }
            });
            runtime.block_on(async {
                let mut calls = tokio::task::JoinSet::new();
                for number in 0..3_000 {
                    let service = service.clone();
                    let ask = Ask { number, ..ask() };
                    calls.spawn(async move {
                        let call = service.oneshot(ask);
                        match number % 4 {
                            0 => {
                                let patience = Duration::from_micros(fastrand::u64(..300));
                                let _ = tokio::time::timeout(patience, call).await;
                            }
                            _ => drop(call.await),
                        }
                    });
                }
                while let Some(call) = calls.join_next().await {
                    call.unwrap();
                }
            });
            over.store(true, Ordering::Relaxed);
        });
        for (number, tried) in log.lock().unwrap().drain() {
            let mut once = tried.clone();
            once.sort();
            once.dedup();
            assert_eq!(once.len(), tried.len(), "call {number}: {tried:?}");
        }
        // Nobody is counted who is gone, and all are well again.
        let states = handle.states();
        assert!(
            states.iter().all(|state| state.in_flight() == 0),
            "{states:?}"
        );
        assert_eq!(states.len(), nodes);
        well.store(true, Ordering::Relaxed);
        for state in &states {
            handle.set_weight(state.name(), 1).unwrap();
        }
        assert!(runtime.block_on(service.oneshot(ask())).is_ok());
    }
}
