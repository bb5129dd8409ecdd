//! Replies of `Http` in a second level that several processes share.

use buttress_cache::{Cache, CacheLayer, Freshness, Keyed, SecondLevel};
use buttress_core::{CacheStatus, Cached, Class, Money, Usage};
use buttress_http::{Http, Shared};
use bytes::Bytes;
use tokio::{task::yield_now, time::advance};
use tower::{Layer, Service};

use crate::{
    BoxError,
    http::{Ask, Feed, Reply, Stream, Upstream, by_path, feed, get, note, rest, status},
    levels::{Mode, Remote},
    secs,
};

/// One process: what it asks, its cache, and its upstream.
fn process(
    remote: &Remote,
) -> (
    impl Service<Ask, Response = Reply, Error = BoxError, Future: Send> + Clone + use<>,
    Cache<Shared<Stream>>,
    Upstream,
) {
    let level = SecondLevel::new(remote.clone(), Shared::encode, Shared::decode);
    let cache = Cache::with_second_level(64 << 20, level);
    let upstream = Upstream::default();
    let layer = CacheLayer::new(Http, by_path as fn(&Ask) -> Keyed)
        .lifetime(Freshness::new(secs(60)))
        .cache(&cache);
    (layer.layer(upstream.tracked()), cache, upstream)
}

/// Lets the upstream write all of it, and end.
fn write(to: Feed, chunks: &[&'static str]) {
    for chunk in chunks {
        feed(&to, chunk);
    }
    drop(to);
}

/// The first process gets this reply, and puts it there.
async fn keep(remote: &Remote, chunks: &[&'static str]) {
    let (service, _, upstream) = process(remote);
    let mut reply = get(&service, "/1").await;
    write(upstream.take().0, chunks);
    rest(reply.body_mut());
    yield_now().await;
}

#[tokio::test(start_paused = true)]
async fn c5_what_one_process_was_told_another_answers_without_a_call_chunk_by_chunk() {
    let unary: &[&str] = &["end"];
    let stream: &[&str] = &["one", "two", "end"];
    for chunks in [unary, stream] {
        let remote = Remote::default();
        keep(&remote, chunks).await;
        assert_eq!(remote.len(), 1);
        advance(secs(20)).await;

        let (service, cache, upstream) = process(&remote);
        let (mut first, mut follower) = (get(&service, "/1").await, get(&service, "/1").await);
        for reply in [&first, &follower] {
            let cached = reply.extensions().get::<Cached>().unwrap();
            assert_eq!((cached.status, cached.age), (CacheStatus::Hit, secs(20)));
        }
        let ends = [note(&mut first), note(&mut follower)];
        for reply in [&mut first, &mut follower] {
            let mut all = chunks.to_vec();
            all.push("<end>");
            assert_eq!(rest(reply.body_mut()), all);
        }
        for end in ends {
            let end = end.lock().unwrap()[0];
            assert_eq!((end.class, end.cost), (Class::Success, Some(Money::ZERO)));
            assert_eq!(end.usage, Some(Usage::new(10, 2).unbilled()));
        }
        let statistics = cache.statistics();
        assert_eq!((statistics.hits, statistics.level_hits), (2, 1));
        assert_eq!(statistics.money_saved, Money::from_pico(120));

        // From now on it is in memory, as old as it is, and is not put there again.
        yield_now().await;
        assert_eq!(remote.puts(), 1);
        remote.mode(Mode::Hangs);
        advance(secs(39)).await;
        let mut hit = get(&service, "/1").await;
        assert_eq!(hit.extensions().get::<Cached>().unwrap().age, secs(59));
        assert_eq!(rest(hit.body_mut()).len(), chunks.len() + 1);
        assert_eq!(
            (upstream.calls(), cache.statistics().level_failures),
            (0, 0)
        );
        remote.mode(Mode::Works);
        advance(secs(1)).await;
        assert_eq!(status(&get(&service, "/1").await), CacheStatus::Miss);
        assert_eq!(upstream.calls(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn c9_who_reads_slowly_what_is_from_there_does_not_keep_it_young() {
    let remote = Remote::default();
    keep(&remote, &["one", "end"]).await;
    advance(secs(40)).await;
    let (service, _, upstream) = process(&remote);
    let mut slow = get(&service, "/1").await;
    assert_eq!(status(&slow), CacheStatus::Hit);
    advance(secs(10)).await;
    let other = get(&service, "/1").await;
    assert_eq!(other.extensions().get::<Cached>().unwrap().age, secs(50));
    advance(secs(10)).await;
    rest(slow.body_mut());
    assert_eq!(status(&get(&service, "/1").await), CacheStatus::Miss);
    assert_eq!(upstream.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn c4_what_has_not_ended_well_is_not_put_there() {
    let bad: [&[&str]; 3] = [&["one"], &["one", "error"], &["invalid"]];
    for chunks in bad {
        let remote = Remote::default();
        keep(&remote, chunks).await;
        assert_eq!(remote.len(), 0, "{chunks:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn c12_a_reply_with_a_bit_that_is_another_or_an_end_that_is_missing_is_a_miss() {
    let remote = Remote::default();
    keep(&remote, &["one", "end"]).await;
    let good = remote.bytes();
    let key = by_path(&crate::http::request("/1")).hash();
    let bits = (0..good.len() * 8).map(|bit| {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        bytes
    });
    let short = (0..good.len()).map(|length| good[..length].to_vec());
    for (case, bytes) in bits.chain(short).enumerate() {
        remote.set(key, bytes);
        let (service, cache, upstream) = process(&remote);
        let reply = get(&service, "/1").await;
        assert_eq!(status(&reply), CacheStatus::Miss, "case {case}");
        assert_eq!(
            (upstream.calls(), cache.statistics().level_failures),
            (1, 1)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_larger_than_the_memory_keeps_is_no_trouble_there() {
    let remote = Remote::default();
    let (service, cache, upstream) = process(&remote);
    let mut reply = get(&service, "/1").await;
    let (to, _) = upstream.take();
    for _ in 0..7 {
        to.send(Ok(Bytes::from(vec![b'x'; 1 << 20]))).unwrap();
    }
    write(to, &["end"]);
    rest(reply.body_mut());
    yield_now().await;
    assert!(remote.bytes().len() > 7 << 20);
    let (service, _, upstream) = process(&remote);
    let mut hit = get(&service, "/1").await;
    assert_eq!(rest(hit.body_mut()).len(), 9);
    assert_eq!(
        (upstream.calls(), cache.statistics().level_failures),
        (0, 0)
    );
}
