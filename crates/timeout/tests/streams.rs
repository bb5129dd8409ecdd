//! The phases of a streamed reply.

mod support;

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use buttress_core::{Class, Plain, Reason, Refused};
use buttress_http::{BoxError, Http, TrackLayer};
use buttress_timeout::{Limits, TimeoutLayer};
use http::StatusCode;
use http_body_util::BodyExt;
use support::{
    millis, secs,
    wire::{
        Colons, Req, Seen, Upstream, call, call_within, drip, per_second, read, read_with, stream,
        timeout,
    },
};
use tokio::{
    task::coop::poll_proceed,
    time::{Instant, advance, sleep},
};
use tokio_test::task::spawn;
use tower::{Layer, ServiceExt, service_fn};

const CONTENT_TIMEOUT: (Reason, Class) = (Reason::FirstContentTimeout, Class::Unavailable);
const STALL: (Reason, Class) = (Reason::IdleTimeout, Class::Interrupted);

fn phase(event: &str) -> String {
    let phase = event.strip_prefix("timeout.elapsed phase=").unwrap();
    phase.split(" limit=").next().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn d1_the_total_covers_the_body() {
    let seen = Seen::default();
    let script = drip("a", 3000, 60_000);
    let read = stream(timeout().total(secs(10)), script, &seen).await;
    assert_eq!(read.text(), "aaa");
    assert_eq!(read.ended, secs(10));
    assert_eq!(read.cut(), Some((Reason::TotalTimeout, Class::Interrupted)));
    assert_eq!(seen.classes(), [Class::Interrupted]);
    assert_eq!(
        seen.events(),
        ["timeout.elapsed phase=total limit=10s reason=call timed out class=interrupted"]
    );
}

#[tokio::test(start_paused = true)]
async fn d1_an_attempt_covers_its_body_too() {
    let seen = Seen::default();
    let read = stream(timeout().attempt(secs(4)), drip("a", 3000, 60_000), &seen).await;
    assert_eq!((read.text().as_str(), read.ended), ("a", secs(4)));
    assert_eq!(
        read.cut(),
        Some((Reason::AttemptTimeout, Class::Interrupted))
    );
}

#[tokio::test(start_paused = true)]
async fn d1_the_deadline_that_a_request_brings_covers_the_body() {
    // With a limit beside it, and alone.
    for layer in [timeout(), timeout().attempt(secs(60))] {
        let seen = Seen::default();
        let upstream = seen.upstream(drip("a", 3000, 60_000));
        let response = call_within(Some(secs(10)), layer, upstream, &seen).await;
        let read = read(response.unwrap().into_body()).await;
        assert_eq!((read.text().as_str(), read.ended), ("aaa", millis(9995)));
        assert_eq!(read.cut(), Some((Reason::TotalTimeout, Class::Interrupted)));
        assert_eq!(seen.classes(), [Class::Interrupted]);
        assert_eq!(
            seen.events(),
            ["timeout.elapsed phase=deadline limit=9.995s reason=call timed out class=interrupted"]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_impatient_caller_says_nothing_of_a_stream_either() {
    // As little before the first content as after it.
    for script in [drip("a", 100, 2000), drip(":", 100, 2000)] {
        let seen = Seen::default();
        let upstream = seen.upstream(script);
        let response = call_within(Some(millis(500)), timeout(), upstream, &seen).await;
        let read = read(response.unwrap().into_body()).await;
        assert_eq!(read.cut(), Some((Reason::TotalTimeout, Class::Cancelled)));
        assert_eq!(read.ended, millis(495));
        assert_eq!(seen.classes(), [Class::Cancelled]);
    }
}

#[tokio::test(start_paused = true)]
async fn d2_headers_first_content_and_idle_have_names_of_their_own() {
    let layer = timeout()
        .headers(secs(2))
        .first_content(secs(10))
        .idle(secs(5));
    let seen = Seen::default();

    let start = Instant::now();
    let error = call(layer.clone(), seen.upstream(vec![]).after(60_000), &seen)
        .await
        .unwrap_err();
    let refused = Refused::find(&*error).unwrap();
    assert_eq!(refused.reason(), Reason::HeadersTimeout);
    assert_eq!(refused.class(), Class::Unavailable);
    assert_eq!(start.elapsed(), secs(2));

    let response = call(
        layer.clone(),
        seen.upstream(vec![(3000, ":")]).after(1500),
        &seen,
    )
    .await;
    let read_on = read(response.unwrap().into_body()).await;
    assert_eq!(read_on.cut(), Some(CONTENT_TIMEOUT));
    assert_eq!(start.elapsed(), secs(2 + 10));

    let read = stream(layer, vec![(1000, "a")], &seen).await;
    assert_eq!(read.cut(), Some(STALL));
    assert_eq!(read.ended, secs(1 + 5));
    assert_eq!(
        seen.classes(),
        [Class::Unavailable, Class::Unavailable, Class::Interrupted]
    );
}

#[tokio::test(start_paused = true)]
async fn d2_a_response_that_peek_holds_back_runs_into_the_first_content_limit() {
    let seen = Seen::default();
    let upstream = Upstream {
        track: TrackLayer::new(Colons),
        head: 100,
        ..seen.upstream(drip(":", 1000, 60_000))
    };
    let start = Instant::now();
    let layer = timeout().first_content(secs(10));
    let error = call(layer, upstream, &seen).await.unwrap_err();
    assert_eq!(start.elapsed(), secs(10));
    let refused = Refused::find(&*error).unwrap();
    assert_eq!((refused.reason(), refused.class()), CONTENT_TIMEOUT);
    assert_eq!(seen.classes(), [Class::Unavailable]);
    assert_eq!(seen.open(), 0);
    assert_eq!(
        seen.events(),
        [
            "timeout.elapsed phase=first content limit=10s reason=no first content in time class=unavailable"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn d2_inside_of_what_peeks_a_head_has_a_limit_of_its_own() {
    let seen = Seen::default();
    let upstream = |head| Upstream {
        track: TrackLayer::new(Colons),
        inner: TimeoutLayer::new(Plain).headers(secs(2)),
        head,
        ..seen.upstream(vec![(7000, "a"), (7000, ".")])
    };
    let layer = timeout().first_content(secs(10));
    let start = Instant::now();
    let error = call(layer.clone(), upstream(60_000), &seen)
        .await
        .unwrap_err();
    let refused = Refused::find(&*error).unwrap();
    assert_eq!(refused.reason(), Reason::HeadersTimeout);
    assert_eq!(start.elapsed(), secs(2));
    let response = call(layer, upstream(1500), &seen).await.unwrap();
    assert_eq!(start.elapsed(), secs(2 + 7), "with the first content");
    assert_eq!(read(response.into_body()).await.text(), "a");
    assert_eq!(seen.classes(), [Class::Unavailable, Class::Success]);
}

#[tokio::test(start_paused = true)]
async fn d2_each_limit_has_a_value_for_a_request_and_a_bound_for_that() {
    type Own = fn(TimeoutLayer<Http>, Duration) -> TimeoutLayer<Http>;
    type Asked = fn(Limits, Duration) -> Limits;
    // The last two, once content has begun.
    let phases: [(&str, bool, Own, Asked); 6] = [
        ("total", false, TimeoutLayer::total, Limits::total),
        ("attempt", false, TimeoutLayer::attempt, Limits::attempt),
        ("headers", false, TimeoutLayer::headers, Limits::headers),
        (
            "first content",
            false,
            TimeoutLayer::first_content,
            Limits::first_content,
        ),
        ("idle", true, TimeoutLayer::idle, Limits::idle),
        ("silence", true, TimeoutLayer::silence, Limits::silence),
    ];
    for (name, begun, own, asked) in phases {
        let class = match begun {
            true => Class::Interrupted,
            false => Class::Unavailable,
        };
        for (wish, limit, class) in [
            (millis(800), millis(800), Class::Cancelled),
            (secs(4), secs(4), class),
            (secs(16), secs(16), class),
            (secs(600), secs(24), class),
        ] {
            let seen = Seen::default();
            let layer = own(timeout(), secs(8))
                .per_request(asked(Limits::new(), secs(24)), move |_: &Req| {
                    asked(Limits::new(), wish)
                });
            let upstream = seen.upstream(vec![(0, "a")]);
            let upstream = upstream.after(if begun { 0 } else { 60_000 });
            let start = Instant::now();
            if let Ok(response) = call(layer, upstream, &seen).await {
                read(response.into_body()).await;
            }
            let took = start.elapsed();
            assert!(took >= limit, "{name}: {took:?} for {limit:?}");
            assert!(took <= limit * 9 / 8, "{name}: {took:?} for {limit:?}");
            assert_eq!(seen.classes(), [class], "{name}: {wish:?}");
            let events = seen.events();
            assert_eq!(events.len(), 1);
            assert_eq!(phase(&events[0]), name);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn d3_a_slow_consumer_gets_all_that_has_arrived() {
    let seen = Seen::default();
    let layer = timeout()
        .first_content(secs(2))
        .idle(secs(1))
        .silence(secs(1))
        .throughput(per_second(5));
    let mut script = drip("a", 100, 3000);
    script.push((3000, "."));
    let response = call(layer, seen.upstream(script), &seen).await.unwrap();
    let read = read_with(response.into_body(), secs(60)).await;
    assert_eq!(read.text().len(), 30);
    assert_eq!(read.cut, None);
    assert_eq!(seen.classes(), [Class::Success]);
}

#[tokio::test(start_paused = true)]
async fn d3_content_behind_a_ping_is_delivered_though_its_reader_came_late() {
    let layer = timeout().first_content(secs(2)).idle(secs(1));
    let script = vec![
        (500, ":"),
        (500, ":"),
        (600, "a"),
        (700, ":"),
        (700, "b"),
        (700, "."),
    ];

    // The head is looked at long before the body.
    let seen = Seen::default();
    let response = call(layer.clone(), seen.upstream(script.clone()), &seen)
        .await
        .unwrap();
    sleep(secs(60)).await;
    let late = read(response.into_body()).await;
    assert_eq!((late.text().as_str(), late.cut), ("::a:b", None));

    // The body was waited for once, and then no more for a long time.
    let response = call(layer, seen.upstream(script), &seen).await.unwrap();
    let mut body = response.into_body();
    let waited = tokio::time::timeout(millis(100), body.frame()).await;
    assert!(waited.is_err(), "nothing has come by then");
    sleep(secs(60)).await;
    let late = read(body).await;
    assert_eq!((late.text().as_str(), late.cut), ("::a:b", None));
    assert_eq!(seen.classes(), [Class::Success; 2]);
}

#[tokio::test(start_paused = true)]
async fn d3_a_reader_who_comes_late_to_nothing_is_told_so() {
    let seen = Seen::default();
    let layer = timeout().idle(secs(5));
    let response = call(layer, seen.upstream(vec![(0, "a")]), &seen)
        .await
        .unwrap();
    let mut body = response.into_body();
    body.frame().await.unwrap().unwrap();
    let waited = tokio::time::timeout(secs(1), body.frame()).await;
    assert!(waited.is_err(), "nothing has come by then");
    sleep(secs(60)).await;
    // What has arrived may be on its way to him; and then it is over, however late he comes.
    let late = read(body).await;
    assert_eq!((late.cut(), late.ended), (Some(STALL), secs(5) / 8));
}

#[tokio::test(start_paused = true)]
async fn d3_what_arrived_while_nothing_ran_is_delivered() {
    // Whoever was stopped, or kept a thread busy, is told of his timers before what the sockets hold
    // has come through.
    for layer in [
        timeout().idle(secs(5)),
        timeout().silence(secs(5)),
        timeout().throughput(per_second(2)),
    ] {
        let seen = Seen::default();
        let script = vec![(0, "a"), (61_100, "b"), (61_101, ".")];
        let response = call(layer, seen.upstream(script), &seen).await;
        let mut body = response.unwrap().into_body();
        body.frame().await.unwrap().unwrap();
        let waited = tokio::time::timeout(secs(1), body.frame()).await;
        assert!(waited.is_err(), "nothing has come by then");
        sleep(secs(60)).await;
        let late = read(body).await;
        assert_eq!((late.text().as_str(), late.cut), ("b", None));
        assert_eq!(seen.classes(), [Class::Success]);
    }
}

/// The limits of a whole call, each with how long a caller waits for it.
fn whole(limit: Duration) -> [(TimeoutLayer<Http>, Option<Duration>); 3] {
    [
        (timeout().total(limit), None),
        (timeout().attempt(limit), None),
        (timeout(), Some(limit + millis(5))),
    ]
}

#[tokio::test(start_paused = true)]
async fn d3_the_rest_of_a_body_that_arrived_while_nothing_ran_is_delivered() {
    for (layer, time) in whole(secs(5)) {
        // It was waited for; nobody had asked for it; its head came as late.
        for (head, waited) in [(0, true), (0, false), (61_020, false)] {
            let seen = Seen::default();
            let script = vec![(head, "a"), (61_040, "b"), (61_041, ".")];
            let upstream = seen.upstream(script).after(head);
            let mut response = spawn(call_within(time, layer.clone(), upstream, &seen));
            if head > 0 {
                assert!(response.poll().is_pending());
                advance(secs(61)).await;
            }
            let mut body = response.await.unwrap().into_body();
            body.frame().await.unwrap().unwrap();
            if waited {
                let waited = tokio::time::timeout(secs(1), body.frame()).await;
                assert!(waited.is_err(), "nothing has come by then");
                sleep(secs(60)).await;
            } else if head == 0 {
                sleep(secs(61)).await;
            }
            let late = read(body).await;
            assert_eq!((late.text().as_str(), late.cut), ("b", None));
            assert_eq!(seen.classes(), [Class::Success]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_looked_at_late_ends_soon_after_its_limit() {
    for (limit, more) in [(secs(5), [50, 50, 45]), (millis(80), [10, 10, 5])] {
        for ((layer, time), more) in whole(limit).into_iter().zip(more) {
            for waited in [true, false] {
                let seen = Seen::default();
                // Pings make it no longer.
                let script = drip(":", 70_001, 80_000);
                let layer = layer.clone().silence(secs(3600));
                let response = call_within(time, layer, seen.upstream(script), &seen).await;
                let mut body = response.unwrap().into_body();
                if waited {
                    let waited = tokio::time::timeout(millis(10), body.frame()).await;
                    assert!(waited.is_err(), "nothing has come by then");
                }
                sleep(secs(60)).await;
                let start = Instant::now();
                let waited = tokio::time::timeout(millis(more - 1), body.frame()).await;
                assert!(waited.is_err(), "{more} ms more");
                // Once, however late the next look is.
                let again = read(body).await;
                assert!(again.cut.is_some());
                assert_eq!(start.elapsed(), millis(more));
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_whose_timer_is_as_late_as_timers_are_ends() {
    let total = || timeout().total(secs(5));
    for (layer, late, more) in [
        (total(), 5, 0),
        (total(), 6, 50),
        // The look before it should have been a second earlier.
        (total().idle(secs(32)), 2, 50),
    ] {
        let seen = Seen::default();
        let response = call(layer, seen.upstream(Vec::new()), &seen).await.unwrap();
        let mut body = response.into_body();
        let mut frame = spawn(body.frame());
        assert!(frame.poll().is_pending());
        advance(secs(5) + millis(late)).await;
        let start = Instant::now();
        assert!(frame.await.unwrap().is_err());
        assert_eq!(start.elapsed(), millis(more), "{late} ms late");
    }
}

#[tokio::test(start_paused = true)]
async fn d4_a_stall_shorter_than_the_limit_recovers() {
    let seen = Seen::default();
    let layer = timeout().first_content(secs(5)).idle(secs(5));
    let script = vec![(4990, "a"), (9980, "b"), (14_970, "c"), (14_971, ".")];
    let read = stream(layer, script, &seen).await;
    assert_eq!((read.text().as_str(), read.cut), ("abc", None));
    assert_eq!(seen.classes(), [Class::Success]);
}

#[tokio::test(start_paused = true)]
async fn a_stall_is_cut_after_the_limit_and_before_an_eighth_more() {
    for last in [1000, 1001, 1300, 1624, 1625, 1626, 3333] {
        let seen = Seen::default();
        let mut script = drip("a", 100, last);
        script.push((last, "z"));
        let read = stream(timeout().idle(secs(5)), script, &seen).await;
        assert_eq!(read.cut(), Some(STALL));
        let stalled = read.ended - millis(last);
        assert!(stalled >= secs(5), "after {last} ms: {stalled:?}");
        assert!(stalled <= secs(5) * 9 / 8, "after {last} ms: {stalled:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn d5_pings_keep_the_transport_alive_and_are_no_content() {
    let seen = Seen::default();
    let layer = || timeout().first_content(secs(10)).silence(secs(3));

    // No content.
    let read = stream(layer(), drip(":", 1000, 60_000), &seen).await;
    assert_eq!((read.cut(), read.ended), (Some(CONTENT_TIMEOUT), secs(10)));

    // Not even a ping.
    let read = stream(layer(), drip(":", 1000, 2000), &seen).await;
    let silence = (Reason::IdleTimeout, Class::Unavailable);
    assert_eq!(read.cut(), Some(silence));
    assert!(read.ended >= secs(2 + 3) && read.ended <= millis(2000 + 3375));

    // Content, and then pings alone: alive, and stalled.
    let mut script = vec![(500, "a")];
    script.extend(drip(":", 1000, 60_000));
    let read = stream(layer().idle(secs(5)), script.clone(), &seen).await;
    assert_eq!((read.cut(), read.ended), (Some(STALL), millis(5500)));

    // Unless pings are to count.
    script.truncate(30);
    script.push((30_000, "."));
    let read = stream(layer().idle(secs(5)).pings_restart_idle(), script, &seen).await;
    assert_eq!((read.cut, read.ended), (None, secs(30)));

    let phases: Vec<_> = seen.events().iter().map(|line| phase(line)).collect();
    assert_eq!(phases, ["first content", "silence", "idle"]);
}

#[tokio::test(start_paused = true)]
async fn pings_that_count_for_idle_are_still_no_first_content() {
    let seen = Seen::default();
    let layer = timeout()
        .first_content(secs(10))
        .idle(secs(2))
        .pings_restart_idle();
    let read = stream(layer, drip(":", 500, 60_000), &seen).await;
    assert_eq!((read.cut(), read.ended), (Some(CONTENT_TIMEOUT), secs(10)));
}

#[tokio::test(start_paused = true)]
async fn without_a_limit_for_the_first_content_idle_is_that_limit() {
    let seen = Seen::default();
    let response = call(
        timeout().idle(secs(5)),
        seen.upstream(vec![]).after(20_000),
        &seen,
    )
    .await;
    let read = read(response.unwrap().into_body()).await;
    let cut = (Reason::IdleTimeout, Class::Unavailable);
    assert_eq!((read.cut(), read.ended), (Some(cut), secs(5)));
}

#[tokio::test(start_paused = true)]
async fn t6_a_limit_that_was_kept_wakes_nobody() {
    let seen = Seen::default();
    let script = vec![(1000, "a"), (60_000, "b"), (60_000, ".")];
    let layer = timeout().first_content(secs(5));
    let response = call(layer, seen.upstream(script), &seen).await.unwrap();
    let mut body = response.into_body();
    body.frame().await.unwrap().unwrap();
    let mut next = tokio_test::task::spawn(body.frame());
    assert!(next.poll().is_pending());
    sleep(secs(30)).await;
    assert!(!next.is_woken());
    sleep(secs(30)).await;
    assert!(next.is_woken());
    assert!(next.poll().is_ready());
}

#[tokio::test(start_paused = true)]
async fn d6_the_body_is_gone_when_its_time_is_up() {
    let seen = Seen::default();
    let layer = timeout().idle(secs(5));
    let response = call(layer, seen.upstream(vec![(0, "a")]), &seen)
        .await
        .unwrap();
    let mut body = response.into_body();
    body.frame().await.unwrap().unwrap();
    assert_eq!(seen.open(), 1);
    assert!(body.frame().await.unwrap().is_err());
    // Though whoever read it still holds on to it.
    assert_eq!(seen.open(), 0);
    assert!(body.frame().await.is_none());
    assert_eq!(seen.classes(), [Class::Interrupted]);
}

#[tokio::test(start_paused = true)]
async fn d7_zero_delivers_what_is_there_and_waits_for_nothing() {
    let seen = Seen::default();
    let layers = [
        (timeout().total(secs(0)), Reason::TotalTimeout),
        (timeout().attempt(secs(0)), Reason::AttemptTimeout),
        (timeout().headers(secs(0)), Reason::HeadersTimeout),
        (
            timeout().first_content(secs(0)),
            Reason::FirstContentTimeout,
        ),
    ];
    for (layer, reason) in layers {
        let start = Instant::now();
        let error = call(layer, seen.upstream(vec![]).after(1), &seen)
            .await
            .unwrap_err();
        assert_eq!(Refused::find(&*error).unwrap().reason(), reason);
        assert_eq!(start.elapsed(), secs(0));
    }
    for layer in [timeout().idle(secs(0)), timeout().silence(secs(0))] {
        let response = call(layer, seen.upstream(vec![]).after(7), &seen)
            .await
            .unwrap();
        let read = read(response.into_body()).await;
        assert_eq!(read.cut().unwrap().0, Reason::IdleTimeout);
        assert_eq!(read.ended, secs(0));
    }
    // Almost as little.
    for nanos in [1, 7, 8, 1_000_000] {
        let layer = timeout().idle(Duration::from_nanos(nanos));
        let read = stream(layer, vec![(0, "a")], &seen).await;
        assert_eq!((read.cut(), read.ended), (Some(STALL), millis(1)));
    }
}

#[tokio::test(start_paused = true)]
async fn d7_zero_waits_for_no_body_however_late_it_is_read() {
    for layer in [timeout().total(secs(0)), timeout().attempt(secs(0))] {
        let seen = Seen::default();
        let response = call(layer, seen.upstream(vec![]), &seen).await.unwrap();
        sleep(secs(60)).await;
        let late = read(response.into_body()).await;
        assert_eq!((late.cut.is_some(), late.ended), (true, secs(0)));
    }
}

#[tokio::test(start_paused = true)]
async fn d7_a_time_that_no_clock_can_count_is_no_limit() {
    let never = Duration::MAX;
    let layer = timeout()
        .total(never)
        .attempt(never)
        .headers(never)
        .first_content(never)
        .idle(never)
        .silence(never)
        .throughput(per_second(u32::MAX).grace(never));
    let seen = Seen::default();
    let year = 365 * 86_400 * 1000;
    let script = vec![
        (year, ":"),
        (2 * year, "a"),
        (3 * year, "b"),
        (3 * year, "."),
    ];
    let read = stream(layer, script, &seen).await;
    assert_eq!((read.text().as_str(), read.cut), (":ab", None));
}

#[tokio::test(start_paused = true)]
async fn an_endless_first_content_keeps_idle_to_what_comes_after() {
    let seen = Seen::default();
    let layer = timeout().first_content(Duration::MAX).idle(secs(1));
    let read = stream(layer, vec![(3_600_000, "a")], &seen).await;
    assert_eq!((read.cut(), read.ended), (Some(STALL), secs(3601)));
}

#[tokio::test(start_paused = true)]
async fn a_failed_response_keeps_its_class_though_its_body_is_cut() {
    let seen = Seen::default();
    let upstream = Upstream {
        status: StatusCode::TOO_MANY_REQUESTS,
        ..seen.upstream(vec![])
    };
    let response = call(timeout().first_content(secs(3)), upstream, &seen).await;
    let read = read(response.unwrap().into_body()).await;
    assert_eq!((read.cut(), read.ended), (Some(CONTENT_TIMEOUT), secs(3)));
    assert_eq!(seen.classes(), [Class::Throttled]);
}

/// Reads on as long as its task may, and finds nothing to deliver: what it reads is of no use.
struct Busy;

impl http_body::Body for Busy {
    type Data = bytes::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<bytes::Bytes>, Self::Error>>> {
        loop {
            ready!(poll_proceed(cx)).made_progress();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn d1_a_body_that_uses_up_the_turn_of_its_task_is_ended_in_time() {
    for layer in [timeout().total(secs(3)), timeout().first_content(secs(3))] {
        let busy = service_fn(|_: Req| async { Ok::<_, BoxError>(http::Response::new(Busy)) });
        let service = layer.layer(TrackLayer::default().layer(busy));
        let call = tokio::spawn(async move {
            let response = service.oneshot(Req::default()).await.unwrap();
            response
                .into_body()
                .collect()
                .await
                .map(|_| ())
                .unwrap_err()
        });
        // Nothing sleeps while it is busy: the clock goes on by hand. A look that late has its grace.
        for _ in 0..500 {
            advance(millis(10)).await;
        }
        assert!(call.is_finished(), "it has not been ended");
        let error = call.await.unwrap();
        let class = Refused::find(&error).map(|refused| refused.class());
        assert_eq!(class, Some(Class::Unavailable));
    }
}
