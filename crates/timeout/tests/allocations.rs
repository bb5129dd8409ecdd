//! What a limit allocates, counted at the allocator. Nothing else may run in this process meanwhile,
//! so there is one test.
//!
//! It has no test harness: the thread of that allocates, now and then, while this is counted.

use std::{
    alloc::System,
    convert::Infallible,
    future::{Ready, ready},
    pin::{Pin, pin},
    task::{Context, Poll, Waker},
    time::Duration,
};

use buttress_core::Plain;
use buttress_http::{BoxError, Http, TrackLayer};
use buttress_timeout::{Throughput, TimeoutLayer};
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tokio::time::{advance, sleep};
use tower::{Layer, Service, service_fn};

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const SECOND: Duration = Duration::from_secs(1);

fn allocations<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let region = Region::new(HEAP);
    let result = work();
    let change = region.change();
    (result, change.allocations + change.reallocations)
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn all<P>(protocol: P) -> TimeoutLayer<P> {
    TimeoutLayer::new(protocol)
        .attempt(SECOND * 3600)
        .headers(SECOND)
        .first_content(SECOND)
        .idle(SECOND)
        .silence(SECOND)
        .throughput(Throughput::per_second(1.try_into().expect("not zero")))
}

/// A chunk, and nothing, in turns.
struct Drip {
    nothing: bool,
}

impl Body for Drip {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.nothing = !self.nothing;
        if self.nothing {
            return Poll::Pending;
        }
        let chunk = Bytes::from_static(b"hello");
        Poll::Ready(Some(Ok(Frame::data(chunk))))
    }
}

fn client(_: Request<()>) -> Ready<Result<Response<Drip>, BoxError>> {
    ready(Ok(Response::new(Drip { nothing: false })))
}

/// What one call allocates, up to its response, and then each of some chunks.
async fn stream<S, B>(mut service: S) -> (usize, Vec<usize>)
where
    S: Service<Request<()>, Response = Response<B>, Error = BoxError>,
    B: Body<Data = Bytes>,
{
    let request = Request::new(());
    let (response, head) = allocations(|| poll(pin!(service.call(request))));
    let Poll::Ready(Ok(response)) = response else {
        panic!("the response is there");
    };
    let mut body = pin!(response.into_body());
    let mut chunks = Vec::new();
    for k in 0..1000 {
        let cx = &mut Context::from_waker(Waker::noop());
        let (frame, count) = allocations(|| body.as_mut().poll_frame(cx));
        assert_eq!(frame.is_ready(), k % 2 == 1);
        chunks.push(count);
        // Every timer runs out again and again.
        advance(Duration::from_millis(20)).await;
    }
    (head, chunks)
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build();
    runtime.expect("a runtime").block_on(
        a_limit_allocates_nothing_over_plain_and_no_more_than_its_box_and_timer_over_a_stream(),
    );
}

async fn a_limit_allocates_nothing_over_plain_and_no_more_than_its_box_and_timer_over_a_stream() {
    let mut at_once = all(Plain).layer(service_fn(|n: u32| ready(Ok::<_, BoxError>(n))));
    let (reply, count) = allocations(|| poll(pin!(at_once.call(1))).is_ready());
    assert_eq!((reply, count), (true, 0));

    // Nor does one that is waited for: what it waits with is part of the future.
    let mut later = all(Plain).layer(service_fn(|time| async move {
        sleep(time).await;
        Ok::<_, BoxError>(())
    }));
    let mut call = pin!(later.call(SECOND / 2));
    let (reply, count) = allocations(|| poll(call.as_mut()).is_ready());
    assert_eq!((reply, count), (false, 0));
    advance(SECOND).await;
    assert!(poll(call.as_mut()).is_ready());

    let (head, chunks) = stream(TrackLayer::default().layer(service_fn(client))).await;
    assert_eq!(chunks.iter().sum::<usize>(), 0);
    let tracked = TrackLayer::default().layer(service_fn(client));
    let (with_box, chunks) = stream(all(Http).layer(tracked)).await;
    assert_eq!(with_box - head, 1);
    // The timer, where the body is waited for at first.
    assert_eq!((chunks[0], chunks[1..].iter().sum()), (1, 0_usize));

    // What ends with the head does not follow the body.
    for layer in [
        TimeoutLayer::new(Http),
        TimeoutLayer::new(Http).headers(SECOND),
    ] {
        let tracked = TrackLayer::default().layer(service_fn(client));
        let (at_head, chunks) = stream(layer.layer(tracked)).await;
        assert_eq!((at_head, chunks.iter().sum::<usize>()), (head, 0));
    }
}
