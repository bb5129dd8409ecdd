//! Calls whose work ends with their future, and requests that carry something.

use std::{error::Error, time::Duration};

use buttress_core::{CallInfo, CarryWith, Plain, ProtocolExt, Refused};
use buttress_testing::probe::{self, Call, Handle, Inner};
use buttress_timeout::TimeoutLayer;
use tokio::time::{Instant, timeout};
use tower::{Layer, Service, ServiceExt};

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// A request with a place for what it carries.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ask {
    pub(crate) info: CallInfo,
    pub(crate) patience: Option<Duration>,
}

pub(crate) type Carried = CarryWith<Plain, fn(&Ask) -> &CallInfo, fn(&mut Ask) -> &mut CallInfo>;

pub(crate) fn carried() -> Carried {
    Plain.carry_with(|ask| &ask.info, |ask| &mut ask.info)
}

/// Its caller stops waiting so long from now.
pub(crate) fn within(time: Duration) -> Ask {
    let mut ask = Ask::default();
    ask.info.deadline = Some((Instant::now() + time).into_std());
    ask
}

pub(crate) fn patient(patience: Duration) -> Ask {
    Ask {
        patience: Some(patience),
        ..Ask::default()
    }
}

pub(crate) type Pair = (
    Inner<Ask, &'static str, BoxError>,
    Handle<Ask, &'static str, BoxError>,
);

/// One call that the upstream never answers: what became of it, and after how long.
pub(crate) async fn hung<P, R, S>(layer: TimeoutLayer<P, R>, ask: Ask) -> (Refused, Duration)
where
    TimeoutLayer<P, R>: Layer<Inner<Ask, &'static str, BoxError>, Service = S>,
    S: Service<Ask, Response = &'static str, Error = BoxError>,
{
    let (inner, upstream): Pair = probe::pair();
    let start = Instant::now();
    let reply = timeout(super::secs(86_400), layer.layer(inner).oneshot(ask));
    let error = reply.await.expect("a limit").unwrap_err();
    assert_eq!(upstream.in_flight(), 0);
    (Refused::find(&*error).unwrap(), start.elapsed())
}

/// The deadline that reaches the upstream, from now.
pub(crate) async fn told<S>(
    service: S,
    upstream: &mut Handle<Ask, &'static str, BoxError>,
    ask: Ask,
) -> Option<Duration>
where
    S: Service<Ask, Response = &'static str, Error = BoxError, Future: Send + 'static>
        + Send
        + 'static,
{
    let reply = tokio::spawn(service.oneshot(ask));
    let call: Call<_, _, _> = upstream.next_call().await;
    let deadline = call.request().info.deadline;
    assert!(call.reply("hello"));
    assert_eq!(reply.await.unwrap().unwrap(), "hello");
    deadline.map(|deadline| Instant::from_std(deadline) - Instant::now())
}
