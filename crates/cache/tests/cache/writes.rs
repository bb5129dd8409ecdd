//! In which order the second level hears of what is kept and forgotten.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use buttress_cache::{Cache, Removal, Store, StoreFuture, Stored, Tag};
use tokio::{sync::oneshot, task::yield_now, time::advance};

use crate::{
    ask, key,
    levels::{layer, process},
    over, said, send,
};

/// Writes are held back until the test lets them go.
#[derive(Clone, Default)]
struct Held(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    kept: HashMap<u128, (Vec<u8>, Vec<Tag>)>,
    begun: Vec<(&'static str, oneshot::Sender<()>)>,
}

impl Held {
    async fn waits(&self, name: &'static str) {
        let (go, goes) = oneshot::channel();
        self.0.lock().unwrap().begun.push((name, go));
        goes.await.expect("the test lets it go");
    }

    /// What was begun and waits.
    async fn begun(&self) -> Vec<&'static str> {
        settle().await;
        let state = self.0.lock().unwrap();
        state.begun.iter().map(|(name, _)| *name).collect()
    }

    /// Lets the one go that was begun first.
    fn lets_go(&self) {
        let (_, go) = self.0.lock().unwrap().begun.remove(0);
        let _ = go.send(());
    }

    fn texts(&self) -> Vec<String> {
        let state = self.0.lock().unwrap();
        let texts = state.kept.values().map(|(bytes, _)| {
            // After the head that the level puts before it.
            String::from_utf8_lossy(&bytes[33..]).into_owned()
        });
        texts.collect()
    }
}

impl Store for Held {
    fn get(&self, _: u128) -> StoreFuture<'_, Option<Stored>> {
        Box::pin(async { Ok(None) })
    }

    fn put(&self, key: u128, bytes: Vec<u8>, _: Duration, tags: Vec<Tag>) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            self.waits("put").await;
            self.0.lock().unwrap().kept.insert(key, (bytes, tags));
            Ok(())
        })
    }

    fn remove(&self, what: Removal) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            self.waits("remove").await;
            let kept = &mut self.0.lock().unwrap().kept;
            kept.retain(|key, (_, tags)| match what {
                Removal::Key(gone) => *key != gone,
                Removal::Tag(tag) => !tags.contains(&tag),
                _ => false,
            });
            Ok(())
        })
    }
}

/// Everything that can go on does.
async fn settle() {
    for _ in 0..16 {
        yield_now().await;
    }
}

type Own = Cache<crate::Kept>;

/// A call whose reply is kept.
async fn keep(cache: &Own, prompt: &str, answer: &str) {
    let (service, mut upstream) = over(layer(cache));
    let mut call = send(&service, ask(prompt));
    while call.poll().is_pending() {
        if let Some(below) = upstream.try_next_call() {
            below.reply(said(answer));
        }
        yield_now().await;
    }
}

const FORGETS: [fn(&Own); 3] = [
    |cache| cache.invalidate(&key(&ask("hi"))),
    |cache| cache.invalidate_tag(Tag::tenant("a")),
    Cache::clear,
];

#[tokio::test(start_paused = true)]
async fn c11_a_put_under_way_is_over_before_what_it_puts_there_is_removed() {
    for forget in FORGETS {
        let store = Held::default();
        let cache = process(&store);
        keep(&cache, "hi", "old").await;
        assert_eq!(store.begun().await, ["put"]);
        forget(&cache);
        assert_eq!(store.begun().await, ["put"], "the removal waits");
        store.lets_go();
        assert_eq!(store.begun().await, ["remove"]);
        assert_eq!(store.texts(), ["old"]);
        store.lets_go();
        settle().await;
        assert!(store.texts().is_empty(), "it stays gone");
        assert_eq!(cache.statistics().level_failures, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn c11_a_put_that_was_not_begun_when_it_was_forgotten_never_is() {
    for forget in FORGETS {
        let store = Held::default();
        let cache = process(&store);
        let (service, mut upstream) = over(layer(&cache));
        let mut call = send(&service, ask("hi"));
        assert!(call.poll().is_pending());
        upstream.next_call().await.reply(said("old"));
        assert!(call.poll().is_ready());
        // Its task has not run yet.
        forget(&cache);
        assert_eq!(store.begun().await, ["remove"]);
        store.lets_go();
        settle().await;
        assert!(store.texts().is_empty() && store.begun().await.is_empty());
        assert_eq!(cache.statistics().level_failures, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn c11_what_is_kept_after_it_was_forgotten_is_put_there_after_the_removal() {
    for forget in FORGETS {
        let store = Held::default();
        let cache = process(&store);
        keep(&cache, "hi", "old").await;
        assert_eq!(store.begun().await, ["put"]);
        forget(&cache);
        keep(&cache, "hi", "new").await;
        assert_eq!(store.begun().await, ["put"]);
        store.lets_go();
        assert_eq!(store.begun().await, ["remove"]);
        store.lets_go();
        assert_eq!(store.begun().await, ["put"]);
        store.lets_go();
        settle().await;
        assert_eq!(store.texts(), ["new"]);
    }
}

#[tokio::test(start_paused = true)]
async fn c11_what_is_forgotten_twice_is_put_there_no_more() {
    let store = Held::default();
    let cache = process(&store);
    keep(&cache, "hi", "old").await;
    assert_eq!(store.begun().await, ["put"]);
    FORGETS[0](&cache);
    keep(&cache, "hi", "new").await;
    FORGETS[2](&cache);
    assert_eq!(store.begun().await, ["put"]);
    store.lets_go();
    assert_eq!(store.begun().await, ["remove", "remove"]);
    store.lets_go();
    store.lets_go();
    assert!(store.begun().await.is_empty(), "the second is left out");
    assert!(store.texts().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_older_reply_never_replaces_a_newer_one_there() {
    let store = Held::default();
    let cache = process(&store);
    for answer in ["old", "newer", "newest"] {
        let layer = layer(&cache);
        let reply = (key(&ask("hi")), said(answer));
        assert_eq!(layer.warm([reply]).await, 1);
        assert_eq!(store.begun().await, ["put"], "{answer} waits for the first");
    }
    store.lets_go();
    assert_eq!(store.begun().await, ["put"]);
    store.lets_go();
    assert!(
        store.begun().await.is_empty(),
        "the one between is left out"
    );
    assert_eq!(store.texts(), ["newest"]);
}

#[tokio::test(start_paused = true)]
async fn what_touches_something_else_is_not_waited_for() {
    let store = Held::default();
    let cache = process(&store);
    keep(&cache, "hi", "old").await;
    assert_eq!(store.begun().await, ["put"]);
    cache.invalidate(&key(&ask("ho")));
    cache.invalidate_tag(Tag::tenant("b"));
    keep(&cache, "ho", "other").await;
    assert_eq!(store.begun().await, ["put", "remove", "remove"]);
    store.0.lock().unwrap().begun.clear();
}

#[tokio::test(start_paused = true)]
async fn c12_a_put_that_hangs_holds_a_removal_up_for_its_time_alone() {
    let store = Held::default();
    let cache = process(&store);
    keep(&cache, "hi", "old").await;
    assert_eq!(store.begun().await, ["put"]);
    FORGETS[0](&cache);
    advance(Duration::from_millis(49)).await;
    assert_eq!(store.begun().await, ["put"]);
    advance(Duration::from_millis(1)).await;
    assert_eq!(store.begun().await, ["put", "remove"]);
    store.lets_go();
    settle().await;
    assert!(store.texts().is_empty(), "it was dropped");
    assert_eq!(cache.statistics().level_failures, 1);
}

#[tokio::test(start_paused = true)]
async fn so_many_puts_are_under_way_at_a_time_and_removals_are_counted_apart() {
    let store = Held::default();
    let cache = process(&store);
    for number in 0..300 {
        keep(&cache, &number.to_string(), "hello").await;
    }
    assert_eq!(store.begun().await.len(), 256);
    assert_eq!(cache.statistics().level_failures, 44);
    cache.invalidate(&key(&ask("299")));
    assert_eq!(store.begun().await.last(), Some(&"remove"));
    assert_eq!(cache.statistics().level_failures, 44);
    store.0.lock().unwrap().begun.clear();
}
