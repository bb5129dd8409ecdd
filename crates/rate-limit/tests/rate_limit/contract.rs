//! T1 to T11, by the probe.

use std::time::Duration;

use buttress_core::{Carry, Class, Classify, Outcome, Plain, ProtocolExt, Refuse, Track};
use buttress_http::{Http, TrackLayer};
use buttress_rate_limit::RateLimitLayer;
use buttress_testing::probe::{Probe, Reply};
use bytes::Bytes;

use crate::requests;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

fn protocol() -> impl Classify<Reply, BoxError>
+ Track<Reply>
+ Refuse<Reply, BoxError>
+ Carry<u64>
+ Clone
+ Send
+ Sync
+ 'static {
    Plain.classify_with(|result: Result<&Reply, &BoxError>| {
        let fault = result.is_ok_and(Reply::is_fault);
        fault.then(|| Outcome::new(Class::Throttled))
    })
}

/// Refuses the fourth call.
fn refusing() -> Probe {
    Probe::new(|| RateLimitLayer::new(protocol(), requests(3)), |n: u64| n)
}

/// Lets the third wait.
fn waiting() -> Probe {
    let layer = || RateLimitLayer::new(protocol(), requests(2)).wait(Duration::from_secs(3600));
    Probe::new(layer, |n: u64| n)
}

/// Over streamed replies.
fn http() -> Probe {
    let request = |n: u64| http::Request::new(Bytes::from(n.to_string()));
    let layer = || {
        let limit = RateLimitLayer::new(Http, requests(40));
        (limit, TrackLayer::default())
    };
    Probe::http(layer, request)
}

macro_rules! promise {
    ($($name:ident: $check:ident in $($probe:ident),*;)*) => {$(
        #[tokio::test(start_paused = true)]
        async fn $name() {
            $($probe().$check().await;)*
        }
    )*};
}

promise! {
    t1_the_instance_that_was_readied_is_called: t1 in refusing, waiting, http;
    t2_an_error_of_readiness_comes_back_unchanged: t2 in refusing, waiting, http;
    t3_nothing_is_reserved_by_being_ready: t3 in refusing, waiting, http;
    t4_a_dropped_call_leaves_nothing_behind: t4 in refusing, waiting, http;
    t6_every_pending_has_a_waker: t6 in refusing, waiting, http;
    t7_clones_and_services_of_one_layer_share_their_levels: t7 in refusing, waiting, http;
    t8_a_refusal_leaves_the_inner_service_alone: t8 in refusing;
    t9_a_panic_below_poisons_nothing: t9 in refusing, waiting, http;
    t10_the_same_calls_give_the_same_result: t10 in refusing, waiting, http;
}
