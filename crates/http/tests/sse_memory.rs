//! What the decoder keeps, counted at the allocator. Nothing else may run in this process meanwhile,
//! so the tests take turns.

use std::{
    alloc::System,
    sync::{Mutex, MutexGuard, PoisonError},
};

use buttress_http::sse::{Decoder, Error, Filter};
use bytes::Bytes;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const MAX_LINE: usize = 64 << 10;
const MAX_EVENT: usize = 256 << 10;

/// A buffer may be twice as large as what it holds; the rest is for the tests themselves.
const CAP: usize = 2 * MAX_EVENT + (64 << 10);

fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn held(region: &Region<'_, System>) -> usize {
    let change = region.change();
    change
        .bytes_allocated
        .saturating_sub(change.bytes_deallocated)
}

fn bounded() -> Decoder {
    Decoder::new().max_line(MAX_LINE).max_event(MAX_EVENT)
}

/// Reads `start`, and then `again` for ever or until it is `enough`, in each of the three ways. All
/// must stay under the cap and end alike.
fn endless(start: &'static str, again: &'static str, enough: usize) -> Option<Error> {
    let again = Bytes::from(again.repeat(16_384_usize.div_ceil(again.len())));
    let chunks = || {
        let repeats = enough / again.len();
        [Bytes::from_static(start.as_bytes())]
            .into_iter()
            .chain(std::iter::repeat_n(again.clone(), repeats))
    };

    let region = Region::new(HEAP);
    let mut decoder = bounded();
    for mut chunk in chunks() {
        while let Some(event) = decoder.decode(&mut chunk) {
            drop(event);
        }
        assert!(held(&region) < CAP, "decode holds {}", held(&region));
    }
    let error = decoder.error();

    let region = Region::new(HEAP);
    let mut decoder = bounded();
    for chunk in chunks() {
        let mut rest = &chunk[..];
        while decoder.scan(&mut rest).is_some() {}
        assert!(held(&region) < CAP, "scan holds {}", held(&region));
    }
    assert_eq!(decoder.error(), error);

    let region = Region::new(HEAP);
    let mut filter = Filter::new(bounded());
    for chunk in chunks() {
        let passed = filter.push(&chunk, |_| true);
        assert_eq!(passed.err(), filter.decoder().error());
        assert!(held(&region) < 2 * CAP, "a filter holds {}", held(&region));
    }
    assert_eq!(filter.decoder().error(), error);
    error
}

#[test]
fn s4_an_endless_line_is_an_error_under_a_heap_cap() {
    let _turn = turn();
    let limit = MAX_LINE;
    let error = endless("data: a\n\ndata: ", "x", 1 << 20);
    assert_eq!(error, Some(Error::Line { start: 9, limit }));
    let error = endless("data: a\n\n: ", "x", 1 << 20);
    assert_eq!(error, Some(Error::Line { start: 9, limit }));
    let error = endless("", "\0", 1 << 20);
    assert_eq!(error, Some(Error::Line { start: 0, limit }));
}

#[test]
fn s4_an_endless_event_is_an_error_under_a_heap_cap() {
    let _turn = turn();
    let limit = MAX_EVENT;
    for again in [
        "data: x\n",
        "data\r",
        "event: a\r\n",
        "id: 7\n",
        "what\n",
        ": c\n",
    ] {
        let error = endless("data: a\n\ndata: x\n", again, 1 << 20);
        assert_eq!(error, Some(Error::Event { start: 9, limit }), "{again:?}");
    }
}

#[test]
fn s4_comments_and_blank_lines_without_end_hold_nothing() {
    let _turn = turn();
    for again in [
        ":\n",
        ": alive\n\n",
        "\n",
        "\r\n",
        "event: ping\n\n",
        "id: 7\n\n",
    ] {
        assert_eq!(endless("data: a\n\n", again, 1 << 20), None, "{again:?}");
    }
}

#[test]
fn s4_an_event_of_a_million_lines_costs_no_more_than_its_bytes() {
    let _turn = turn();
    let lines = Bytes::from("data:\n".repeat(10_000));
    let size = 100 * lines.len();
    let region = Region::new(HEAP);
    let mut decoder = Decoder::new();
    for _ in 0..100 {
        assert!(decoder.decode(&mut lines.clone()).is_none());
        assert!(held(&region) < 2 * size + (64 << 10));
    }
    let mut end = Bytes::from_static(b"\n");
    let event = decoder
        .decode(&mut end)
        .expect("an event")
        .expect("no error");
    assert_eq!(event.data().len(), 999_999);
    assert!(held(&region) < 3 * size);
    drop(event);
    assert!(held(&region) < 64 << 10, "large buffers are given back");
}

#[test]
fn an_event_in_one_chunk_allocates_nothing() {
    let _turn = turn();
    let delta = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello\"}}]}\n\n";
    for stream in [
        delta.to_owned(),
        delta.repeat(50),
        format!("event: content_block_delta\r\nid: 7\r\n{delta}\r\n: alive\n\n"),
    ] {
        // Shared from here on, as the chunks of a connection are.
        let stream = Bytes::from(stream);
        let chunks = vec![stream.clone(); 100];
        // The harness has a thread of its own, which may allocate in one of the rounds, not in all.
        let least = |read: &mut dyn FnMut(Bytes)| {
            let rounds = (0..10).map(|_| {
                let region = Region::new(HEAP);
                for chunk in &chunks {
                    read(chunk.clone());
                }
                let change = region.change();
                change.allocations + change.reallocations
            });
            rounds.min()
        };
        let mut decoder = Decoder::new();
        let decoded = least(&mut |mut chunk| {
            while let Some(event) = decoder.decode(&mut chunk) {
                assert!(event.expect("no error").text().starts_with('{'));
            }
        });
        assert_eq!(decoded, Some(0), "decode");
        let mut decoder = Decoder::new();
        let scanned = least(&mut |chunk| {
            let mut rest = &chunk[..];
            while let Some(event) = decoder.scan(&mut rest) {
                assert!(event.expect("no error").text().starts_with('{'));
            }
        });
        assert_eq!(scanned, Some(0), "scan");
        let mut filter = Filter::new(Decoder::new());
        let filtered = least(&mut |chunk| {
            let passed = filter.push(&chunk, |event| event.data().starts_with(b"{"));
            assert_eq!(passed, Ok(chunk));
        });
        assert_eq!(filtered, Some(0), "a filter");
    }
}
