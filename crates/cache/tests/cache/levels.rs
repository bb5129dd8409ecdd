//! A second level below the memory.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use buttress_cache::{
    Cache, CacheEvent, CacheLayer, Freshness, Removal, SecondLevel, Store, StoreFuture, Stored, Tag,
};
use buttress_core::Outcome;
use tokio::{task::yield_now, time::Instant};
use tower::{Layer, ServiceExt};

use crate::{Kept, Own, ask, is_empty, key, log, over, pair, said, secs, send, told};

/// Shared by several processes, as it were.
#[derive(Clone, Default)]
pub(crate) struct Remote(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    kept: HashMap<u128, (Vec<u8>, Instant, Vec<Tag>)>,
    mode: Mode,
    gets: usize,
    puts: usize,
}

#[derive(Clone, Copy, Default, PartialEq)]
pub(crate) enum Mode {
    #[default]
    Works,
    Fails,
    Hangs,
}

impl Remote {
    pub(crate) fn mode(&self, mode: Mode) {
        self.0.lock().unwrap().mode = mode;
    }

    async fn works(&self) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let mode = self.0.lock().unwrap().mode;
        match mode {
            Mode::Works => Ok(()),
            Mode::Fails => Err("unreachable".into()),
            Mode::Hangs => std::future::pending().await,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap().kept.len()
    }

    pub(crate) fn puts(&self) -> usize {
        self.0.lock().unwrap().puts
    }

    /// What is kept for the only key.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let state = self.0.lock().unwrap();
        state.kept.values().next().unwrap().0.clone()
    }

    pub(crate) fn set(&self, key: u128, bytes: Vec<u8>) {
        let entry = (bytes, Instant::now(), Vec::new());
        self.0.lock().unwrap().kept.insert(key, entry);
    }
}

impl Store for Remote {
    fn get(&self, key: u128) -> StoreFuture<'_, Option<Stored>> {
        Box::pin(async move {
            self.0.lock().unwrap().gets += 1;
            self.works().await?;
            let state = self.0.lock().unwrap();
            Ok(state.kept.get(&key).map(|(bytes, put, _)| Stored {
                bytes: bytes.clone(),
                age: put.elapsed(),
            }))
        })
    }

    fn put(&self, key: u128, bytes: Vec<u8>, _: Duration, tags: Vec<Tag>) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            self.0.lock().unwrap().puts += 1;
            self.works().await?;
            let entry = (bytes, Instant::now(), tags);
            self.0.lock().unwrap().kept.insert(key, entry);
            Ok(())
        })
    }

    fn remove(&self, what: Removal) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            self.works().await?;
            self.0
                .lock()
                .unwrap()
                .kept
                .retain(|key, (_, _, tags)| match what {
                    Removal::Key(gone) => *key != gone,
                    Removal::Tag(tag) => !tags.contains(&tag),
                    _ => false,
                });
            Ok(())
        })
    }
}

/// The cache of one process.
pub(crate) fn process(remote: &(impl Store + Clone)) -> Cache<Kept> {
    let encode = |(said, _): &Kept| Some(said.text.clone().into_bytes());
    let decode = |bytes: &[u8]| {
        let text = String::from_utf8(bytes.to_vec()).ok()?;
        Some((said(&text), Outcome::SUCCESS))
    };
    let level = SecondLevel::new(remote.clone(), encode, decode);
    Cache::with_second_level(1 << 20, level)
}

pub(crate) fn layer(
    cache: &Cache<Kept>,
) -> CacheLayer<Own, fn(&crate::Ask) -> buttress_cache::Keyed, Kept> {
    CacheLayer::new(Own, key as fn(&crate::Ask) -> buttress_cache::Keyed).cache(cache)
}

#[tokio::test(start_paused = true)]
async fn what_one_process_keeps_is_a_hit_in_another_and_in_its_memory_from_then_on() {
    let remote = Remote::default();
    let (one, mut upstream) = over(layer(&process(&remote)));
    let mut call = send(&one, ask("hi"));
    assert!(call.poll().is_pending());
    upstream.next_call().await.reply(said("hello"));
    assert_eq!(told(call.await), "hello (miss)");
    yield_now().await;
    assert_eq!(remote.len(), 1);

    tokio::time::advance(secs(100)).await;
    let cache = process(&remote);
    let (other, upstream) = over(layer(&cache));
    let first = other.clone().oneshot(ask("hi")).await.unwrap();
    assert_eq!(first.cached.unwrap().age, secs(100));
    assert_eq!(told(Ok(first)), "hello (hit)");
    remote.mode(Mode::Hangs);
    assert_eq!(told(other.clone().oneshot(ask("hi")).await), "hello (hit)");
    assert_eq!(upstream.calls(), 0);
    assert_eq!(cache.statistics().level_hits, 1);
    // Its age goes on from where it was.
    tokio::time::advance(secs(199)).await;
    assert_eq!(told(other.clone().oneshot(ask("hi")).await), "hello (hit)");
    tokio::time::advance(secs(1)).await;
    assert!(send(&other, ask("hi")).poll().is_pending());
    assert!(is_empty(&cache));
}

#[tokio::test(start_paused = true)]
async fn c12_a_store_that_fails_hangs_or_is_corrupt_is_a_miss_within_its_time() {
    let remote = Remote::default();
    let (one, mut upstream) = over(layer(&process(&remote)));
    let mut call = send(&one, ask("hi"));
    assert!(call.poll().is_pending());
    upstream.next_call().await.reply(said("hello"));
    call.await.unwrap();
    yield_now().await;
    let good = remote.bytes();
    let key = key(&ask("hi")).hash();
    let corrupt = (0..good.len()).map(|at| {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bytes
    });
    let short = (0..good.len()).map(|at| good[..at].to_vec());
    let cases = corrupt.chain(short).map(|bytes| (Mode::Works, bytes));
    let broken = [(Mode::Fails, good.clone()), (Mode::Hangs, good.clone())];
    for (mode, bytes) in cases.chain(broken) {
        remote.set(key, bytes);
        remote.mode(mode);
        let cache = process(&remote);
        let (service, mut upstream) = over(layer(&cache));
        let begun = Instant::now();
        let call = tokio::spawn(service.oneshot(ask("hi")));
        upstream.next_call().await.reply(said("anew"));
        assert_eq!(told(call.await.unwrap()), "anew (miss)");
        assert!(begun.elapsed() <= Duration::from_millis(51));
        let statistics = cache.statistics();
        assert_eq!(
            (statistics.level_hits, statistics.level_failures > 0),
            (0, true)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn s2_a_store_that_confuses_keys_gives_nobody_the_reply_of_another() {
    let remote = Remote::default();
    let (one, mut upstream) = over(layer(&process(&remote)));
    let mut call = send(&one, ask("mine"));
    assert!(call.poll().is_pending());
    upstream.next_call().await.reply(said("secret"));
    call.await.unwrap();
    yield_now().await;
    {
        let kept = &mut remote.0.lock().unwrap().kept;
        let mine = kept.remove(&key(&ask("mine")).hash()).unwrap();
        kept.insert(key(&ask("yours")).hash(), mine);
    }
    let cache = process(&remote);
    let (other, mut upstream) = over(layer(&cache));
    let mut call = send(&other, ask("yours"));
    assert!(call.poll().is_pending(), "what is there is not the answer");
    upstream.next_call().await.reply(said("yours"));
    assert_eq!(told(call.await), "yours (miss)");
    assert_eq!(cache.statistics().level_failures, 1);
}

#[tokio::test(start_paused = true)]
async fn c12_the_callers_of_one_flight_ask_the_store_once_and_what_is_kept_without_it_not_at_all() {
    let remote = Remote::default();
    let cache = process(&remote);
    let (inner, mut upstream) = pair();
    let service = layer(&cache).layer(inner);
    let (mut one, mut other) = (send(&service, ask("hi")), send(&service, ask("hi")));
    assert!(one.poll().is_pending() && other.poll().is_pending());
    upstream.next_call().await.reply(said("hello"));
    one.await.unwrap();
    other.await.unwrap();
    service.clone().oneshot(ask("hi")).await.unwrap();
    assert_eq!(remote.0.lock().unwrap().gets, 1);
}

#[tokio::test(start_paused = true)]
async fn c11_what_is_invalidated_is_forgotten_there_too() {
    let remote = Remote::default();
    let cache = process(&remote);
    let (service, mut upstream) = over(layer(&cache).lifetime(Freshness::new(secs(60))));
    for prompt in ["1", "2", "3"] {
        let mut call = send(&service, ask(prompt));
        assert!(call.poll().is_pending());
        upstream.next_call().await.reply(said("hello"));
        call.await.unwrap();
        yield_now().await;
    }
    assert_eq!(remote.len(), 3);
    cache.invalidate(&key(&ask("1")));
    yield_now().await;
    assert_eq!(remote.len(), 2);
    cache.invalidate_tag(Tag::tenant("a"));
    yield_now().await;
    assert_eq!(remote.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn c11_what_is_invalidated_does_not_come_back_from_there_before_it_is_forgotten() {
    let remote = Remote::default();
    let cache = process(&remote);
    let (service, mut upstream) = over(layer(&cache));
    let forgets: [fn(&Cache<Kept>); 3] = [
        |cache| cache.invalidate(&key(&ask("hi"))),
        |cache| cache.invalidate_tag(Tag::tenant("a")),
        Cache::clear,
    ];
    for forget in forgets {
        let mut call = send(&service, ask("hi"));
        assert!(call.poll().is_pending());
        upstream.next_call().await.reply(said("old"));
        assert_eq!(told(call.await), "old (miss)");
        yield_now().await;
        assert_eq!(remote.len(), 1);
        forget(&cache);
        let mut call = send(&service, ask("hi"));
        assert!(call.poll().is_pending(), "it is not there any more");
        upstream.next_call().await.fail("down".into());
        assert_eq!(told(call.await), "error: down");
        yield_now().await;
        assert_eq!(remote.len(), 0);
    }
    assert_eq!(cache.statistics().level_failures, 0);
    // When it is forgotten, the store is asked again.
    let gets = remote.0.lock().unwrap().gets;
    assert!(send(&service, ask("hi")).poll().is_pending());
    assert_eq!(remote.0.lock().unwrap().gets, gets + 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_warmed_is_told_and_is_there_for_the_others_too() {
    let (events, observer) = log();
    let remote = Remote::default();
    let warmed = layer(&process(&remote)).on_event(observer);
    assert_eq!(warmed.warm([(key(&ask("hi")), said("hello"))]).await, 1);
    let stored =
        |event: &CacheEvent| matches!(event, CacheEvent::Stored { bytes, .. } if *bytes > 0);
    assert_eq!(
        events
            .lock()
            .unwrap()
            .iter()
            .filter(|event| stored(event))
            .count(),
        1
    );
    yield_now().await;
    let (other, upstream) = over(layer(&process(&remote)));
    assert_eq!(told(other.oneshot(ask("hi")).await), "hello (hit)");
    assert_eq!(upstream.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn more_is_warmed_than_may_be_put_there_at_a_time() {
    let remote = Remote::default();
    let cache = process(&remote);
    let many = (0..1000).map(|n| {
        let prompt = n.to_string();
        (key(&ask(&prompt)), said("hello"))
    });
    assert_eq!(layer(&cache).warm(many).await, 1000);
    while remote.puts() < 1000 && cache.statistics().level_failures == 0 {
        yield_now().await;
    }
    assert_eq!((remote.len(), cache.statistics().level_failures), (1000, 0));
}

#[tokio::test(start_paused = true)]
async fn c9_what_is_there_and_stale_serves_if_the_upstream_fails_within_its_window() {
    let remote = Remote::default();
    let lifetime = Freshness::new(secs(60)).stale_if_error(secs(60));
    let (one, mut upstream) = over(layer(&process(&remote)).lifetime(lifetime));
    let mut call = send(&one, ask("hi"));
    assert!(call.poll().is_pending());
    upstream.next_call().await.reply(said("hello"));
    call.await.unwrap();
    yield_now().await;

    tokio::time::advance(secs(60)).await;
    let cache = process(&remote);
    let (other, mut upstream) = over(layer(&cache).lifetime(lifetime));
    for (after, answer) in [(59, "hello (stale)"), (1, "error: down")] {
        tokio::time::advance(secs(after)).await;
        let mut call = send(&other, ask("hi"));
        assert!(call.poll().is_pending(), "the upstream is asked first");
        upstream.next_call().await.fail("down".into());
        assert_eq!(told(call.await), answer);
    }
    assert!(is_empty(&cache));
    assert_eq!(cache.statistics().level_hits, 0);
}

#[tokio::test(start_paused = true)]
async fn c11_many_that_are_invalidated_at_once_are_forgotten_there_too() {
    let remote = Remote::default();
    let cache = process(&remote);
    let keyed = |number: usize| key(&ask(&number.to_string()));
    let many = (0..1000).map(|number| (keyed(number), said("hello")));
    layer(&cache).warm(many).await;
    while remote.len() < 1000 {
        yield_now().await;
    }
    (0..1000).for_each(|number| cache.invalidate(&keyed(number)));
    for _ in 0..10_000 {
        yield_now().await;
    }
    assert_eq!((remote.len(), cache.statistics().level_failures), (0, 0));
}

#[test]
fn c11_a_removal_whose_runtime_ends_has_failed() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().start_paused(true).build().unwrap()
    };
    let remote = Remote::default();
    let cache = process(&remote);
    runtime().block_on(async {
        layer(&cache).warm([(key(&ask("hi")), said("hello"))]).await;
        while remote.len() == 0 {
            yield_now().await;
        }
        yield_now().await;
    });
    runtime().block_on(async { cache.invalidate(&key(&ask("hi"))) });
    assert_eq!(remote.len(), 1, "nobody has removed it");
    assert_eq!(cache.statistics().level_failures, 1);
}
