//! What a response promises that several callers read.

mod codec;
mod model;
#[path = "../pipe/mod.rs"]
mod pipe;
mod states;
mod support;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use buttress_core::{
    Class, Completion, Money, Outcome, Progress, Reason, Refused, Report, Share, Usage,
};
use buttress_http::{Body, BodyError, Http, HttpServer, Shared, Tracked};
use bytes::Bytes;
use http::Response;
use http_body::Body as _;
use http_body_util::BodyExt;

use pipe::{Pipe, Piped, Woken, error, poll, rest, text};
use support::{Call, Heard, Lines, refused, unbilled, used};

#[test]
fn what_is_shared_goes_between_threads_though_its_body_is_not_sync() {
    fn is<T: Send + Sync>() {}
    is::<Shared<tonic::body::Body>>();
    is::<buttress_http::ReplayBody<tonic::body::Body>>();
}

#[test]
fn s2_no_reader_gets_the_cookie_of_another() {
    let response = Response::builder()
        .header("set-cookie", "session=1")
        .header("set-cookie", "theme=dark")
        .header("x-request-id", "7")
        .body(Body::<http_body_util::Full<Bytes>>::ready("hello"))
        .unwrap();
    let shared = HttpServer.share(response, &Outcome::SUCCESS);
    for reader in [HttpServer.open(&shared), HttpServer.open(&shared)] {
        assert!(!reader.headers().contains_key("set-cookie"));
        assert_eq!(reader.headers()["x-request-id"], "7");
    }
}

#[test]
fn c5_readers_replay_what_has_passed_and_follow_live() {
    let call = Call::begin();
    let mut leader = call.open();
    call.pipe.send("+one ");
    assert_eq!(text(&mut leader.body), "+one ");
    let mut follower = call.open();
    assert_eq!(text(&mut follower.body), "+one ", "replayed");
    call.pipe.send("+two ");
    assert_eq!(text(&mut follower.body), "+two ", "live");
    assert_eq!(text(&mut leader.body), "+two ");
    call.pipe.send("END");
    call.pipe.trailers("checksum", "12");
    call.pipe.end();
    for caller in [leader, follower] {
        let (data, trailers) = rest(caller.body);
        assert_eq!(data, b"END");
        assert_eq!(trailers.unwrap()["checksum"], "12");
    }
    let polls = call.pipe.polls();
    let (data, trailers) = rest(call.open().body);
    assert_eq!(data, b"+one +two END", "and whoever comes later");
    assert_eq!(trailers.unwrap()["checksum"], "12");
    assert_eq!(call.pipe.polls(), polls);
    assert_eq!(call.ended(), Some(used(3)));
}

#[test]
fn whoever_polls_drives_and_dropping_it_wakes_nobody_in_vain() {
    let call = Call::begin();
    let (mut one, mut other) = (call.open(), call.open());
    let (woken, waker) = Woken::new();
    assert!(poll(&mut one.body, &waker).is_pending());
    assert!(poll(&mut other.body, Waker::noop()).is_pending());
    // The source has been polled by the other one last.
    other.leave();
    assert_eq!(woken.times(), 0);
    call.pipe.send("+hello");
    assert_eq!(woken.times(), 1);
    assert_eq!(text(&mut one.body), "+hello");
}

#[test]
fn the_tokens_are_paid_by_the_first_to_come_to_the_end() {
    let call = Call::begin();
    let (one, other) = (call.open(), call.open());
    call.pipe.send("+a");
    call.pipe.send("END");
    call.pipe.end();
    assert_eq!(other.read().1.outcome(), used(2));
    one.heard.nothing_yet();
    assert_eq!(one.read().1.outcome(), unbilled(2));
    assert_eq!(call.open().read().1.outcome(), unbilled(2), "a hit");
    assert_eq!(call.inside.outcome(), used(2));
}

#[test]
fn a_reader_that_leaves_half_way_leaves_the_bill_to_the_next() {
    let call = Call::begin();
    let (mut one, other) = (call.open(), call.open());
    call.pipe.send("+a");
    assert_eq!(text(&mut one.body), "+a");
    let left = one.leave().outcome();
    assert_eq!(left, Outcome::new(Class::Cancelled));
    call.pipe.send("END");
    call.pipe.end();
    assert_eq!(other.read().1.outcome(), used(2));
    assert_eq!(call.inside.outcome(), used(2));
}

#[test]
fn c2_the_last_to_leave_cancels_the_call_and_pays_for_what_it_used() {
    let call = Call::begin();
    let (mut one, mut other) = (call.open(), call.open());
    call.pipe.send("+a");
    assert_eq!(text(&mut one.body), "+a");
    assert_eq!(text(&mut other.body), "+a");
    assert_eq!(one.leave().outcome(), Outcome::new(Class::Cancelled));
    let Call {
        shared,
        pipe,
        inside,
    } = call;
    drop(shared);
    assert!(!pipe.is_gone());
    let cancelled = used(1).with_class(Class::Cancelled);
    assert_eq!(other.leave().outcome(), cancelled);
    assert!(pipe.is_gone());
    assert_eq!(inside.outcome(), cancelled);
}

#[test]
fn whoever_comes_back_pays_for_the_rest_and_nothing_twice() {
    let call = Call::begin();
    let mut one = call.open();
    call.pipe.send("+a");
    call.pipe.send("+b");
    text(&mut one.body);
    text(&mut one.body);
    assert_eq!(one.leave().outcome(), used(2).with_class(Class::Cancelled));
    assert!(!call.pipe.is_gone(), "there is a handle");
    assert_eq!(call.ended(), None);
    let other = call.open();
    call.pipe.send("END");
    call.pipe.end();
    let (read, heard) = other.read();
    assert_eq!(read, "+a+bEND");
    let rest = Outcome::SUCCESS
        .with_usage(Usage::new(0, 1))
        .with_cost(Money::from_pico(3));
    assert_eq!(heard.outcome(), rest);
    assert_eq!(call.ended(), Some(used(3)));
}

#[test]
fn a_reader_that_got_the_terminator_and_left_is_a_success_and_ends_the_recording() {
    let call = Call::begin();
    let (mut one, mut other) = (call.open(), call.open());
    call.pipe.send("+a");
    call.pipe.send("END");
    text(&mut one.body);
    text(&mut one.body);
    assert_eq!(text(&mut other.body), "+a");
    assert_eq!(one.leave().outcome(), used(2));
    assert_eq!(call.ended(), None, "another one reads still");
    assert_eq!(text(&mut other.body), "END");
    assert_eq!(other.leave().outcome(), unbilled(2));
    assert!(call.pipe.is_gone());
    assert_eq!(call.ended(), Some(used(2)));
    assert_eq!(call.open().read().0, "+aEND");
}

#[test]
fn c4_a_reader_that_left_before_the_terminator_leaves_nothing_to_keep() {
    // What peek held knows how it ended before anybody has read it.
    let source = Pipe::whole(&["x", "y", "END"]);
    let call = Call::answer(Lines, 200, 1 << 10, source, |response| {
        assert_eq!(response.body().seen().class, Class::Success);
    });
    let mut one = call.open();
    assert_eq!(text(&mut one.body), "x");
    assert_eq!(one.leave().outcome().class, Class::Cancelled);
    assert_eq!(call.ended(), None);
    assert_eq!(call.open().read().0, "xyEND");
    assert_eq!(call.ended().unwrap().class, Class::Success);
}

#[test]
fn c4_an_error_in_band_or_a_missing_terminator_is_no_success() {
    let call = Call::begin();
    let (one, other) = (call.open(), call.open());
    call.pipe.send("+a");
    call.pipe.send("bad");
    call.pipe.end();
    let failed = used(2).with_class(Class::Interrupted);
    assert_eq!(one.read().1.outcome(), failed);
    assert_eq!(
        other.read().1.outcome(),
        unbilled(2).with_class(Class::Interrupted)
    );
    assert_eq!(call.ended(), Some(failed));

    let call = Call::begin();
    let one = call.open();
    call.pipe.end();
    assert_eq!(one.read().1.outcome().class, Class::Unavailable);
    assert_eq!(call.ended().unwrap().class, Class::Unavailable);
}

#[test]
fn an_error_goes_to_the_reader_that_polled_and_reaches_the_others_as_a_refusal() {
    let call = Call::begin();
    let (mut one, mut other) = (call.open(), call.open());
    let (woken, waker) = Woken::new();
    assert!(poll(&mut other.body, &waker).is_pending());
    call.pipe.fail();
    assert_eq!(woken.times(), 1);
    match error(&mut one.body) {
        BodyError::Inner(error) => assert_eq!(error.to_string(), "broken"),
        other => panic!("expected the error itself, found {other:?}"),
    }
    let refusal = refused(&mut other.body);
    assert_eq!(
        (refusal.reason(), refusal.class()),
        (Reason::Coalesced, Class::Unavailable)
    );
    let failed = used(0).with_class(Class::Unavailable);
    assert_eq!(one.heard.outcome(), failed);
    assert_eq!(
        other.heard.outcome(),
        unbilled(0).with_class(Class::Unavailable)
    );
    assert_eq!(call.ended(), Some(failed));
    assert!(matches!(
        poll(&mut other.body, Waker::noop()),
        Poll::Ready(None)
    ));
}

#[test]
fn a_failure_after_content_interrupts_every_reader_after_all_it_could_read() {
    let call = Call::begin();
    let (mut one, mut other) = (call.open(), call.open());
    call.pipe.send("+a");
    call.pipe.fail();
    assert_eq!(text(&mut one.body), "+a");
    assert!(matches!(error(&mut one.body), BodyError::Inner(_)));
    assert_eq!(text(&mut other.body), "+a");
    assert_eq!(refused(&mut other.body).class(), Class::Interrupted);
    assert_eq!(one.heard.outcome().class, Class::Interrupted);
    assert_eq!(other.heard.outcome().class, Class::Interrupted);
}

#[test]
fn c2_a_failed_response_is_shared_with_its_hint() {
    let call = Call::of(Lines, 429, 0);
    let (one, mut other) = (call.open(), call.open());
    call.pipe.send("slow down");
    call.pipe.fail();
    assert_eq!(other.body.seen().class, Class::Throttled);
    assert_eq!(text(&mut other.body), "slow down");
    let (class, hint) = (Class::Throttled, Some(Duration::from_secs(7)));
    assert!(matches!(error(&mut other.body), BodyError::Inner(_)));
    let mut one = one;
    assert_eq!(text(&mut one.body), "slow down");
    let refusal = refused(&mut one.body);
    assert_eq!((refusal.class(), refusal.retry_after()), (class, hint));
    let outcome = one.heard.outcome();
    assert_eq!((outcome.class, outcome.retry_after), (class, hint));
    assert_eq!(call.ended().unwrap().class, class);
}

#[test]
fn a_failure_after_the_terminator_is_the_end() {
    let call = Call::begin();
    let (one, other) = (call.open(), call.open());
    call.pipe.send("+a");
    call.pipe.send("END");
    call.pipe.fail();
    assert_eq!(one.read().1.outcome(), used(2));
    assert_eq!(other.read().1.outcome(), unbilled(2));
    assert_eq!(call.ended(), Some(used(2)));
}

#[test]
fn c3_a_source_that_panics_hangs_nobody() {
    let call = Call::begin();
    let (mut one, mut other) = (call.open(), call.open());
    call.pipe.panic();
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        poll(&mut one.body, Waker::noop()).is_ready()
    }));
    assert!(panicked.is_err());
    assert_eq!(refused(&mut other.body).class(), Class::Unavailable);
    assert_eq!(call.ended().unwrap().class, Class::Unavailable);
    assert!(call.pipe.is_gone());
}

#[test]
fn progress_is_told_as_each_readers_own_chunks_are_delivered() {
    use Progress::{Content, FirstContent, Ping};
    let call = Call::begin();
    let (mut one, mut other) = (call.open(), call.open());
    for chunk in ["ping", "+a", "ping", "+b"] {
        call.pipe.send(chunk);
        text(&mut one.body);
    }
    let all = [Ping, FirstContent, Ping, Content];
    assert_eq!(one.heard.progress(), all);
    assert_eq!(other.heard.progress(), []);
    for told in 1..=4 {
        text(&mut other.body);
        assert_eq!(other.heard.progress(), all[..told]);
    }
    assert_eq!(
        call.inside.progress(),
        all,
        "parsed once, by the body inside"
    );
}

#[test]
fn a_watcher_cuts_its_own_reader_and_no_other() {
    struct Cuts;
    impl Report for Cuts {
        fn report(&mut self, outcome: &Outcome) {
            assert_eq!(outcome.class, Class::Unavailable);
        }
        fn watches(&self) -> bool {
            true
        }
        fn poll_cut(&mut self, _: &mut Context<'_>) -> Poll<Refused> {
            Poll::Ready(Refused::new(Reason::FirstContentTimeout))
        }
    }
    let call = Call::begin();
    let (mut one, other) = (call.open(), call.open());
    one.body.attach(Completion::new(Cuts));
    assert_eq!(refused(&mut one.body).reason(), Reason::FirstContentTimeout);
    call.pipe.send("END");
    call.pipe.end();
    assert_eq!(other.read().1.outcome(), used(1));
}

#[test]
fn a_reply_without_a_body_is_over_for_each_reader_at_once() {
    let call = Call::answer(Lines, 429, 0, Pipe::whole(&[]), |_| ());
    let caller = call.open();
    assert!(caller.body.is_end_stream());
    assert_eq!(caller.heard.outcome().class, Class::Throttled);
    assert_eq!(call.ended().unwrap().class, Class::Throttled);
}

#[test]
fn the_size_of_the_body_is_known_to_every_reader() {
    let call = Call::answer(
        buttress_http::ByStatus,
        200,
        0,
        Pipe::whole(&["+hello ", "you"]),
        |_| (),
    );
    let mut one = call.open();
    assert_eq!(one.body.size_hint().exact(), Some(10));
    assert_eq!(text(&mut one.body), "+hello ");
    assert_eq!(one.body.size_hint().exact(), Some(3));
    assert_eq!(call.open().body.size_hint().exact(), Some(10));
    assert_eq!(text(&mut one.body), "you");
    assert!(one.body.is_end_stream());
    assert_eq!(
        one.heard.outcome(),
        Outcome::SUCCESS,
        "without another poll"
    );
    let hit = call.open();
    assert_eq!(hit.body.size_hint().exact(), Some(10));
    assert_eq!(hit.read().0, "+hello you");
}

#[test]
fn what_the_layer_saw_decides_what_it_may_keep() {
    let (pipe, source) = Pipe::new();
    let judged = Outcome::new(Class::Unfit);
    let shared = HttpServer.share(Response::new(Body::new(source)), &judged);
    let response = HttpServer.open(&shared);
    assert_eq!(
        response.body().seen().class,
        Class::Success,
        "what others saw stays"
    );
    pipe.send("");
    pipe.end();
    rest(response.into_body());
    assert_eq!(HttpServer.ended(&shared).unwrap().class, Class::Unfit);
}

/// A megabyte of a reply.
fn megabyte() -> Bytes {
    let mut data = vec![b'x'; 1 << 20];
    data[0] = b'+';
    data.into()
}

#[test]
fn c5_a_recording_that_outgrew_its_cap_cannot_be_begun_nor_kept() {
    let call = Call::begin();
    let mut one = call.open();
    for number in 1..=9 {
        call.pipe.send_bytes(megabyte());
        assert_eq!(text(&mut one.body).len(), 1 << 20);
        assert_eq!(Http.reopens(&call.shared), number < 9, "{number} MiB");
    }
    assert!(
        Http.weight(&call.shared) < 4 << 10,
        "what all have read is let go"
    );
    let mut late = call.open();
    let refusal = refused(&mut late.body);
    assert_eq!(
        (refusal.reason(), refusal.class()),
        (Reason::Coalesced, Class::Unavailable),
        "nothing was delivered to it"
    );
    assert_eq!(late.heard.outcome().class, Class::Unavailable);
    call.pipe.send("END");
    call.pipe.end();
    assert_eq!(one.read().1.outcome(), used(10));
    assert_eq!(call.ended().unwrap().class, Class::Interrupted);
}

#[test]
fn c5_a_slow_reader_neither_stalls_the_others_nor_grows_memory_past_the_cap() {
    let call = Call::begin();
    let (mut fast, mut near, mut far) = (call.open(), call.open(), call.open());
    call.pipe.send("+first");
    for caller in [&mut fast, &mut near, &mut far] {
        assert_eq!(text(&mut caller.body), "+first");
    }
    for _ in 0..20 {
        call.pipe.send_bytes(megabyte());
        assert_eq!(text(&mut fast.body).len(), 1 << 20);
        assert_eq!(text(&mut near.body).len(), 1 << 20);
        assert!(Http.weight(&call.shared) <= Shared::<Piped>::MAX_BYTES + (64 << 10));
    }
    let refusal = refused(&mut far.body);
    assert_eq!(
        (refusal.reason(), refusal.class()),
        (Reason::Coalesced, Class::Interrupted)
    );
    assert_eq!(far.heard.outcome().class, Class::Interrupted);
    call.pipe.send("END");
    call.pipe.end();
    assert_eq!(fast.read().1.outcome().class, Class::Success);
    assert_eq!(near.read().1.outcome().class, Class::Success);
}

#[test]
fn a_call_that_nobody_can_read_any_more_is_cancelled_though_there_is_a_handle() {
    let call = Call::begin();
    let mut one = call.open();
    for _ in 0..9 {
        call.pipe.send_bytes(megabyte());
        text(&mut one.body);
    }
    one.leave();
    assert!(call.pipe.is_gone());
    assert_eq!(call.inside.outcome().class, Class::Cancelled);
    assert_eq!(call.ended().unwrap().class, Class::Cancelled);
}

#[test]
fn c5_a_recording_that_nobody_read_to_its_end_never_ends_well_for_a_later_reader() {
    // Told to be over the cap before anything of it has passed.
    let (pipe, source) = Pipe::with_length(9 << 20);
    let call = Call::answer(Lines, 200, 0, source, |_| ());
    let left = call.open().leave();
    assert_eq!(left.outcome().class, Class::Cancelled);
    assert!(pipe.is_gone());
    let mut late = call.open();
    assert!(!late.body.is_end_stream());
    let refusal = refused(&mut late.body);
    assert_eq!(
        (refusal.reason(), refusal.class()),
        (Reason::Coalesced, Class::Unavailable)
    );
    assert_eq!(late.heard.outcome().class, Class::Unavailable);
    assert_eq!(call.ended().unwrap().class, Class::Cancelled);
}

#[test]
fn s4_small_chunks_do_not_keep_the_buffers_alive_that_they_came_in() {
    struct Buffer {
        data: Vec<u8>,
        _alive: Arc<()>,
    }
    impl AsRef<[u8]> for Buffer {
        fn as_ref(&self) -> &[u8] {
            &self.data
        }
    }
    let call = Call::begin();
    let mut one = call.open();
    let alive = Arc::new(());
    let mut sent = Vec::new();
    for number in 0..100_u8 {
        let buffer = Bytes::from_owner(Buffer {
            data: vec![number; 64 << 10],
            _alive: alive.clone(),
        });
        let chunk = buffer.slice(..100);
        sent.extend_from_slice(&chunk);
        call.pipe.send_bytes(chunk);
    }
    call.pipe.send("END");
    call.pipe.end();
    sent.extend_from_slice(b"END");
    while !matches!(poll(&mut one.body, Waker::noop()), Poll::Ready(None)) {}
    assert_eq!(Arc::strong_count(&alive), 1);
    assert!(Http.weight(&call.shared) < 32 << 10);
    assert_eq!(rest(call.open().body).0, sent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn c5_readers_on_many_threads_get_the_same_stream_and_one_pays() {
    for _ in 0..20 {
        let Call {
            pipe,
            shared,
            inside,
        } = Call::begin();
        let readers: Vec<_> = (0..8)
            .map(|number| {
                let mut response = Http.open(&shared);
                let heard = Heard::on(&mut response);
                let mut body = response.into_body();
                tokio::spawn(async move {
                    let mut read = Vec::new();
                    while let Some(frame) = body.frame().await {
                        read.extend_from_slice(&frame.unwrap().into_data().unwrap());
                        if number % 2 == 0 && read.len() > 2000 * number {
                            return (None, heard);
                        }
                    }
                    (Some(read), heard)
                })
            })
            .collect();
        drop(shared);
        let mut sent = Vec::new();
        for number in 0..2000_u32 {
            let chunk = format!("+{number}");
            sent.extend_from_slice(chunk.as_bytes());
            pipe.send(&chunk);
            if number % 7 == 0 {
                tokio::task::yield_now().await;
            }
        }
        pipe.send("END");
        sent.extend_from_slice(b"END");
        pipe.end();
        let mut paid = 0;
        for reader in readers {
            let (read, heard) = reader.await.unwrap();
            let outcome = heard.outcome();
            match read {
                Some(read) => {
                    assert_eq!(read, sent);
                    assert_eq!(outcome.class, Class::Success);
                    paid += u32::from(outcome == used(2001));
                }
                None => assert_eq!(outcome, Outcome::new(Class::Cancelled)),
            }
        }
        assert_eq!(paid, 1);
        assert_eq!(inside.outcome(), used(2001));
        assert!(pipe.is_gone());
    }
}
