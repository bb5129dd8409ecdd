//! What a call allocates: nothing after the first of its labels, and over a tracked body the duty to
//! report its end.
//!
//! It has no test harness: the thread of that allocates, now and then, while this is counted.

#[path = "support/count.rs"]
mod count;

use std::{
    alloc::System,
    error::Error,
    fmt,
    future::{Ready, poll_fn, ready},
    pin::pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, Waker},
};

use buttress_core::{
    CallInfo, Carry, Class, Classify, Event, Fact, Fault, Money, Outcome, Plain, ProtocolExt,
    Reason, Refused, Track, Usage,
};
use buttress_http::{Http, TrackLayer};
use buttress_metrics::{Labels, MetricsLayer, Observer};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tower::{Layer, Service, service_fn};

use count::Count;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// A user's own error.
#[derive(Debug)]
enum Failed {
    Refused(Refused),
    Outcome(Class),
}

/// A reply, or what went wrong.
fn serve(does: u32) -> Ready<Result<u32, Failed>> {
    ready(match does {
        0 => Ok(1),
        1 => Err(Failed::Outcome(Class::Throttled)),
        _ => Err(Failed::Refused(Refused::new(Reason::CircuitOpen))),
    })
}

fn protocol() -> impl Classify<u32, Failed> + Track<u32> + Carry<u32> + Clone {
    Plain.classify_with(|result: Result<&u32, &Failed>| match result {
        Ok(_) => {
            let usage = Usage {
                cached_input: 3,
                ..Usage::new(10, 5)
            };
            Some(Outcome::SUCCESS.with_usage(usage))
        }
        Err(Failed::Outcome(class)) => Some(Outcome::new(*class)),
        Err(Failed::Refused(_)) => None,
    })
}

// Alone in its file: other tests would allocate meanwhile.
fn main() {
    let total = Count::default();
    let recorded = Arc::clone(&total.0);
    metrics::set_global_recorder(total).unwrap_or_else(|_| panic!("the first recorder"));
    let recorded = move || recorded.0.swap(0, Ordering::Relaxed);
    a_call_allocates_nothing_after_the_first_of_its_labels(&recorded);
    a_call_over_a_tracked_body_allocates_its_duty(&recorded);
    an_event_allocates_nothing_after_the_first_of_its_labels(&recorded);
}

fn a_call_allocates_nothing_after_the_first_of_its_labels(recorded: &dyn Fn() -> u64) {
    for layer in [
        MetricsLayer::request(protocol()),
        MetricsLayer::attempt(protocol()),
    ] {
        let layer = layer
            .provider("openai")
            .max_models(std::num::NonZeroUsize::MIN)
            .describe(|does: &u32| Labels::new().model(["a", "b", "c"][*does as usize]))
            .price(|_, usage| Some(Money::from_pico(3).times(usage.total())));
        let mut service = layer.layer(service_fn(serve));
        let rounds = |service: &mut _, times: u32| {
            for does in (0..3).cycle().take(3 * times as usize) {
                call(service, does);
            }
        };
        rounds(&mut service, 1);
        recorded();
        let region = Region::new(ALLOCATOR);
        rounds(&mut service, 100);
        let change = region.change();
        // The name of a model whose label is `other` is kept for its price, in a box.
        assert_eq!((change.allocations, change.reallocations), (400, 0));
        // In flight and back, class and duration; tokens, their details and the cost.
        assert_eq!(recorded(), 300 * 4 + 100 * 4);
    }
}

fn a_call_over_a_tracked_body_allocates_its_duty(recorded: &dyn Fn() -> u64) {
    let client = service_fn(|_: Request<()>| {
        let body = Full::new(Bytes::from_static(b"hello"));
        ready(Ok::<_, buttress_http::BoxError>(Response::new(body)))
    });
    let mut bare = TrackLayer::default().layer(client);
    let mut attempt = MetricsLayer::attempt(Http).layer(bare);
    let mut request = MetricsLayer::request(Http).layer(bare);
    // One that carries something already.
    let carrying = || {
        let mut ask = Request::new(());
        Http.set_info(&mut ask, CallInfo::new());
        ask
    };
    call(&mut attempt, carrying());
    call(&mut request, carrying());
    let without = allocations(|| call(&mut bare, carrying()));
    recorded();
    assert_eq!(allocations(|| call(&mut attempt, carrying())), without + 1);
    assert_eq!(recorded(), 4);
    // And the ledger, which the request carries where it carries what else it does.
    assert_eq!(allocations(|| call(&mut request, carrying())), without + 2);
    assert_eq!(recorded(), 4);
    // One that carries nothing has no place for it yet: three allocations of `http::Extensions`.
    let without = allocations(|| call(&mut bare, Request::new(())));
    let with = allocations(|| call(&mut request, Request::new(())));
    assert_eq!(with, without + 5);
    assert_eq!(recorded(), 4);
}

fn allocations(work: impl FnOnce()) -> usize {
    let region = Region::new(ALLOCATOR);
    work();
    region.change().allocations
}

fn an_event_allocates_nothing_after_the_first_of_its_labels(recorded: &dyn Fn() -> u64) {
    struct Again;
    impl Event for Again {
        fn name(&self) -> &'static str {
            "retry.again"
        }

        fn facts(&self, each: &mut dyn FnMut(&'static str, Fact<'_>)) {
            each("class", Fact::Class(Class::Throttled));
            each("delay", Fact::Time(std::time::Duration::from_secs(1)));
        }
    }
    let observer = Observer::new().endpoint("east");
    observer.see(&Again);
    recorded();
    let region = Region::new(ALLOCATOR);
    for _ in 0..100 {
        observer.see(&Again);
    }
    assert_eq!(region.change().allocations, 0);
    assert_eq!(recorded(), 200);
}

/// One call, which is there at once.
fn call<S, Req>(service: &mut S, request: Req)
where
    S: Service<Req>,
{
    let mut cx = Context::from_waker(Waker::noop());
    let ready = pin!(poll_fn(|cx| service.poll_ready(cx))).poll(&mut cx);
    assert!(ready.is_ready());
    let answer = pin!(service.call(request)).poll(&mut cx);
    assert!(matches!(answer, Poll::Ready(_)));
}

// ===== impl Failed =====

impl From<Refused> for Failed {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("failed")
    }
}

impl Error for Failed {}

impl Fault for Failed {
    fn cause(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Refused(refused) => Some(refused),
            Self::Outcome(_) => None,
        }
    }
}
