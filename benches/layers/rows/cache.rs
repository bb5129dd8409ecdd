//! The cache beside moka, which it keeps things in.

use std::{
    cell::Cell,
    future::{poll_fn, ready},
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    thread::{self, JoinHandle},
};

use buttress_cache::{CacheLayer, CacheService, Freshness, Keyed};
use buttress_core::{Outcome, Plain};
use buttress_http::{BoxError, Http, TrackLayer};
use buttress_llm::{
    Dialect,
    key::{ChatKeys, Head},
};
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{Layer, Service, service_fn};

use super::{call, key::chat, now, plain::Echo};
use crate::row::{Group, Row};

type Key = fn(&u32) -> Keyed;
type Ours = CacheService<Plain, Key, (u32, Outcome), Echo>;

/// A service of the cache that another thread uses meanwhile.
struct Company {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

const MANY: u32 = 1 << 16;

pub(crate) fn hits() -> Group {
    let rows = vec![
        Row::new("moka, future get", || {
            let cache = moka::future::Cache::<u32, u32>::new(1 << 20);
            now(cache.insert(1, 1));
            move || {
                black_box(now(cache.get(&black_box(1))));
            }
        }),
        Row::new("hit", || {
            let mut service = ours(1 << 20);
            move || {
                black_box(call(&mut service, black_box(1)));
            }
        })
        .at_most(0),
        Row::new("tower-resilience: hit", || {
            let layer = tower_resilience_cache::CacheLayer::builder()
                .max_size(1 << 20)
                .key_extractor(|ask: &u32| *ask)
                .build()
                .expect("a cache");
            let mut service = layer.layer(Echo);
            move || {
                black_box(call(&mut service, black_box(1)));
            }
        }),
        Row::new("key alone", || {
            || {
                black_box(Keyed::of(&black_box(1_u32)));
            }
        })
        .at_most(0),
    ];
    Group {
        name: "cache, hit",
        rows,
    }
}

/// The same by the canonical key of a chat of 2 KB.
pub(crate) fn chats() -> Group {
    let rows = vec![
        Row::new("moka, future get", || {
            let cache = moka::future::Cache::<u32, u32>::new(1 << 20);
            now(cache.insert(1, 1));
            move || {
                black_box(now(cache.get(&black_box(1))));
            }
        }),
        Row::new("hit on a chat, its key included", || {
            let by_chat = by_chat();
            let layer = CacheLayer::new(Plain, move |body: &Bytes| by_chat(body));
            let inner = service_fn(|_: Bytes| ready(Ok::<_, BoxError>(1)));
            let mut service = layer.max_bytes(1 << 20).layer(inner);
            let body = chat().into_body();
            move || {
                black_box::<u32>(call(&mut service, black_box(body.clone())));
            }
        })
        // The list of the values.
        .at_most(1),
    ];
    Group {
        name: "cache, hit on a chat of 2 KB",
        rows,
    }
}

/// By the canonical key of a chat in a body whose head is the same each time: to build one is the
/// caller's.
fn by_chat() -> impl Fn(&Bytes) -> Option<Keyed> + Clone {
    let keys = ChatKeys::per_credential(Dialect::OpenAi);
    let (head, _) = chat().into_parts();
    move |body: &Bytes| {
        let chat = keys.read_parts(Head::of_parts(&head), body).ok()?;
        chat.cacheable().ok()?;
        Some(Keyed::new(u128::from_le_bytes(chat.key().to_bytes())))
    }
}

/// Another key each time, of so many that the last use of it is long past.
pub(crate) fn misses() -> Group {
    let rows = vec![
        Row::new("moka, future get and insert", || {
            let cache = moka::future::Cache::<u32, u32>::new(1000);
            let next = Cell::new(0_u32);
            move || {
                let key = next.get();
                next.set(key.wrapping_add(1) % MANY);
                black_box(now(cache.get(&key)));
                now(cache.insert(key, key));
            }
        }),
        Row::new("miss", || {
            let mut service = ours(1000 * 400);
            let next = Cell::new(0_u32);
            move || {
                let key = next.get();
                next.set(key.wrapping_add(1) % MANY);
                black_box(call(&mut service, key));
            }
        }),
        // It counts its entries, of which a thousand are as many as fit into the bytes above.
        Row::new("tower-resilience: miss", || {
            let layer = tower_resilience_cache::CacheLayer::builder()
                .max_size(1000)
                .key_extractor(|ask: &u32| *ask)
                .build()
                .expect("a cache");
            let mut service = layer.layer(Echo);
            let next = Cell::new(0_u32);
            move || {
                let key = next.get();
                next.set(key.wrapping_add(1) % MANY);
                black_box(call(&mut service, key));
            }
        }),
        Row::new("miss, not kept", || {
            let layer = CacheLayer::new(Plain, key()).lifetime(Freshness::NONE);
            let mut service = layer.layer(Echo);
            move || {
                black_box(call(&mut service, black_box(1)));
            }
        })
        // And now and then the table's.
        .at_most(3),
        Row::new("past the cache", || {
            let layer = CacheLayer::new(Plain, |_: &u32| None::<Keyed>);
            let mut service = layer.layer(Echo);
            move || {
                black_box(call(&mut service, black_box(1)));
            }
        })
        .at_most(0),
    ];
    Group {
        name: "cache, miss",
        rows,
    }
}

/// Over http, the reply of 1000 bytes read to its end. Keyed by all bytes of the body, and once as a
/// chat.
pub(crate) fn http() -> Group {
    type Key = Arc<dyn Fn(&Bytes) -> Option<Keyed> + Send + Sync>;
    let row = |name: &'static str, ask: Bytes, key: fn() -> Key| {
        Row::new(name, move || {
            let inner = service_fn(move |_: Request<Bytes>| async move {
                Ok::<_, BoxError>(Response::new(Full::new(Bytes::from(vec![b'x'; 1000]))))
            });
            let key = key();
            let layer = CacheLayer::new(Http, move |ask: &Request<Bytes>| key(ask.body()));
            let mut service = layer.layer(TrackLayer::default().layer(inner));
            let ask = ask.clone();
            move || {
                let request = Request::new(black_box(ask.clone()));
                let mut body = call(&mut service, request).into_body();
                let mut read = 0;
                while let Some(frame) = now(body.frame()) {
                    let frame = black_box(frame).expect("a frame");
                    read += frame.data_ref().map_or(0, Bytes::len);
                }
                assert_eq!(read, 1000);
            }
        })
    };
    let bytes = |len| Bytes::from(vec![b'a'; len]);
    let by_bytes = || -> Key { Arc::new(|body| Some(Keyed::of(body))) };
    Group {
        name: "cache, http hit",
        rows: vec![
            row("asks 100 B", bytes(100), by_bytes),
            row("asks 2 KB", bytes(2000), by_bytes),
            row("asks 100 KB", bytes(100_000), by_bytes),
            row(
                "asks a chat of 2 KB, by its key",
                chat().into_body(),
                || Arc::new(by_chat()),
            ),
        ],
    }
}

/// What a hit costs while another thread makes as many as it can on the same cache.
pub(crate) fn threads() -> Group {
    let row = |name: &'static str, mine: u32, other: Option<u32>| {
        Row::new(name, move || {
            let mut service = ours(1 << 20);
            let company = other.map(|other| Company::new(service.clone(), other));
            move || {
                let _company = &company;
                black_box(call(&mut service, black_box(mine)));
            }
        })
        .waiting()
    };
    Group {
        name: "cache, another thread on it",
        rows: vec![
            row("hit, alone", 1, None),
            row("hit, others ask something else", 1, Some(2)),
            row("hit, others ask the same", 1, Some(1)),
        ],
    }
}

/// A thousand who ask the same at once, until the last has its reply.
pub(crate) fn crowd() -> Group {
    let row = |name: &'static str, callers: usize| {
        Row::new(name, move || {
            let gate = Arc::new(AtomicBool::new(false));
            let inner = gate.clone();
            let slow = service_fn(move |n: u32| {
                let gate = inner.clone();
                async move {
                    poll_fn(|_| match gate.load(Ordering::Relaxed) {
                        true => Poll::Ready(()),
                        false => Poll::Pending,
                    })
                    .await;
                    Ok::<_, BoxError>(n)
                }
            });
            let layer = CacheLayer::new(Plain, key()).lifetime(Freshness::NONE);
            let mut service = layer.layer(slow);
            move || {
                gate.store(false, Ordering::Relaxed);
                let mut cx = Context::from_waker(Waker::noop());
                let mut calls: Vec<_> = (0..callers).map(|_| Box::pin(service.call(1))).collect();
                for call in &mut calls {
                    assert!(call.as_mut().poll(&mut cx).is_pending());
                }
                gate.store(true, Ordering::Relaxed);
                for mut call in calls {
                    assert!(call.as_mut().poll(&mut cx).is_ready());
                }
            }
        })
    };
    Group {
        name: "cache, crowd",
        rows: vec![row("1 caller", 1), row("1000 callers", 1000)],
    }
}

fn key() -> Key {
    |ask| Keyed::of(ask)
}

fn ours(bytes: u64) -> Ours {
    CacheLayer::new(Plain, key()).max_bytes(bytes).layer(Echo)
}

// ===== impl Company =====

impl Company {
    fn new(mut service: Ours, asks: u32) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ends);
        let thread = thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                black_box(call(&mut service, asks));
            }
        });
        Self {
            ends,
            thread: Some(thread),
        }
    }
}

impl Drop for Company {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("its calls go well");
        }
    }
}
