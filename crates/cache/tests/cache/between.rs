//! Who comes between the beginning of a flight and its call.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::atomic::{AtomicUsize, Ordering},
    task::Poll,
};

use futures_util::FutureExt;
use tower::{Layer, ServiceExt};

use crate::{Ask, ask, is_empty, layer, pair, said, send, told};

/// An inner service that does something when it is cloned.
struct Nosy<S> {
    inner: S,
    hook: Hook,
}

type Hook = std::sync::Arc<std::sync::Mutex<Option<Box<dyn FnOnce() + Send>>>>;

impl<S: Clone> Clone for Nosy<S> {
    fn clone(&self) -> Self {
        let hook = self.hook.lock().unwrap().take();
        if let Some(hook) = hook {
            hook();
        }
        Self {
            inner: self.inner.clone(),
            hook: self.hook.clone(),
        }
    }
}

impl<S: tower::Service<Ask>> tower::Service<Ask> for Nosy<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, ask: Ask) -> S::Future {
        self.inner.call(ask)
    }
}

#[tokio::test(start_paused = true)]
async fn c2_a_follower_that_came_before_the_call_was_made_is_woken_though_the_leader_never_polls() {
    let (inner, mut upstream) = pair();
    let hook = Hook::default();
    let service = layer().layer(Nosy {
        inner,
        hook: hook.clone(),
    });
    let (mut first, followers) = (
        service.clone(),
        std::sync::Arc::new(std::sync::Mutex::new(None)),
    );
    let (second, place) = (service, followers.clone());
    *hook.lock().unwrap() = Some(Box::new(move || {
        let mut follower = send(&second, ask("hi"));
        assert!(follower.poll().is_pending());
        *place.lock().unwrap() = Some(follower);
    }));
    let leader = tower::Service::call(&mut first, ask("hi"));
    drop(leader);
    let mut follower = followers.lock().unwrap().take().expect("it came meanwhile");
    assert!(
        follower.is_woken(),
        "there is a call now, and nobody else to make it"
    );
    assert!(follower.poll().is_pending());
    upstream.next_call().await.reply(said("hello"));
    assert_eq!(told(follower.await), "hello (coalesced)");
}

#[tokio::test(start_paused = true)]
async fn c3_a_leader_that_panics_before_there_is_a_call_leaves_nobody_waiting() {
    let (inner, mut upstream) = pair();
    let hook = Hook::default();
    let layer = layer();
    let cache = layer.handle();
    let service = layer.layer(Nosy {
        inner,
        hook: hook.clone(),
    });
    let (mut first, followers) = (
        service.clone(),
        std::sync::Arc::new(std::sync::Mutex::new(None)),
    );
    let (second, place) = (service.clone(), followers.clone());
    *hook.lock().unwrap() = Some(Box::new(move || {
        let mut follower = send(&second, ask("hi"));
        assert!(follower.poll().is_pending());
        *place.lock().unwrap() = Some(follower);
        panic!("on purpose");
    }));
    let leads = AssertUnwindSafe(|| tower::Service::call(&mut first, ask("hi")));
    assert!(catch_unwind(leads).is_err());
    let mut follower = followers.lock().unwrap().take().expect("it came meanwhile");
    assert!(follower.is_woken());
    let Poll::Ready(refused) = follower.poll() else {
        panic!("nobody will ever make the call it waits for");
    };
    assert_eq!(told(refused), "refused: shared call failed, unavailable");
    drop(follower);
    assert!(is_empty(&cache));
    let mut again = send(&service, ask("hi"));
    assert!(again.poll().is_pending());
    upstream.next_call().await.reply(said("hello"));
    assert_eq!(told(again.await), "hello (miss)");
}

#[tokio::test(start_paused = true)]
async fn c2_a_follower_that_came_while_the_call_was_being_polled_hears_of_its_end() {
    for panics in [false, true] {
        let hook = Hook::default();
        let inner = hook.clone();
        let service = layer().layer(tower::service_fn(move |_: Ask| {
            let hook = inner.lock().unwrap().take();
            async move {
                if let Some(hook) = hook {
                    hook();
                }
                assert!(!panics, "on purpose");
                Ok::<_, crate::BoxError>(said("hello"))
            }
        }));
        let followers = std::sync::Arc::new(std::sync::Mutex::new(None));
        let (second, place) = (service.clone(), followers.clone());
        *hook.lock().unwrap() = Some(Box::new(move || {
            let mut follower = send(&second, ask("hi"));
            assert!(follower.poll().is_pending());
            *place.lock().unwrap() = Some(follower);
        }));
        let leader = AssertUnwindSafe(service.oneshot(ask("hi")));
        assert_eq!(leader.catch_unwind().await.is_err(), panics);
        let follower = followers.lock().unwrap().take().expect("it came meanwhile");
        assert!(follower.is_woken());
        let expected = match panics {
            true => "refused: shared call failed, unavailable",
            false => "hello (coalesced)",
        };
        assert_eq!(told(follower.await), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn c1_who_comes_while_a_call_is_being_cancelled_waits_until_it_is_gone() {
    struct Calls(Hook, std::sync::Arc<AtomicUsize>);
    impl Drop for Calls {
        fn drop(&mut self) {
            let hook = self.0.lock().unwrap().take();
            let panics = hook.map(|hook| catch_unwind(AssertUnwindSafe(hook)));
            self.1.fetch_sub(1, Ordering::Relaxed);
            if let Some(Err(panic)) = panics {
                resume_unwind(panic);
            }
        }
    }
    for panics in [false, true] {
        let (hook, under_way) = (Hook::default(), std::sync::Arc::new(AtomicUsize::new(0)));
        let (inner, count) = (hook.clone(), under_way.clone());
        let layer = layer();
        let cache = layer.handle();
        let service = layer.layer(tower::service_fn(move |_: Ask| {
            count.fetch_add(1, Ordering::Relaxed);
            let calls = Calls(inner.clone(), count.clone());
            async move {
                tokio::task::yield_now().await;
                drop(calls);
                Ok::<_, crate::BoxError>(said("hello"))
            }
        }));
        let newcomer = std::sync::Arc::new(std::sync::Mutex::new(None));
        let (second, place) = (service.clone(), newcomer.clone());
        let seen = under_way.clone();
        let mut first = send(&service, ask("hi"));
        assert!(first.poll().is_pending());
        *hook.lock().unwrap() = Some(Box::new(move || {
            let mut call = send(&second, ask("hi"));
            assert!(call.poll().is_pending());
            let calls = seen.load(Ordering::Relaxed);
            assert_eq!(calls, 1, "only the one that is being cancelled");
            *place.lock().unwrap() = Some(call);
            assert!(!panics, "on purpose");
        }));
        let cancelled = catch_unwind(AssertUnwindSafe(move || drop(first)));
        assert_eq!(cancelled.is_err(), panics);
        let newcomer = newcomer.lock().unwrap().take().expect("it came meanwhile");
        assert_eq!(under_way.load(Ordering::Relaxed), 0);
        assert!(newcomer.is_woken());
        assert_eq!(told(newcomer.await), "hello (miss)");
        assert!(is_empty(&cache));
    }
}

/// Wakes whoever polls it so often while it is polled, and has its reply then.
fn restless(
    wakes: usize,
) -> impl tower::Service<Ask, Response = crate::Said, Error = crate::BoxError, Future: Send>
+ Clone
+ Send
+ 'static {
    tower::service_fn(move |_: Ask| {
        let mut left = wakes;
        std::future::poll_fn(move |cx| {
            if left == 0 {
                return Poll::Ready(Ok::<_, crate::BoxError>(said("hello")));
            }
            left -= 1;
            cx.waker().wake_by_ref();
            Poll::Pending
        })
    })
}

#[tokio::test(start_paused = true)]
async fn t6_a_call_that_wakes_while_it_is_polled_is_polled_again_by_any_who_wait() {
    let service = layer().layer(restless(3));
    let (mut leader, mut follower) = (send(&service, ask("hi")), send(&service, ask("hi")));
    assert!(leader.poll().is_pending());
    assert!(leader.is_woken(), "it is polled by nobody else");
    assert!(follower.poll().is_pending());
    assert!(leader.is_woken() && follower.is_woken());
    // The one who polls may leave, though it is the one who was told.
    assert!(follower.poll().is_pending());
    drop(follower);
    assert!(leader.is_woken());
    assert_eq!(told(leader.await), "hello (miss)");
}

#[tokio::test(start_paused = true)]
async fn who_gets_the_reply_is_not_woken_for_it_again() {
    let service = layer().layer(restless(1));
    let (mut leader, mut follower) = (send(&service, ask("hi")), send(&service, ask("hi")));
    assert!(leader.poll().is_pending() && follower.poll().is_ready());
    let (mut leader, mut follower) = (send(&service, ask("ho")), send(&service, ask("ho")));
    assert!(leader.poll().is_pending());
    let reply = leader.poll();
    assert!(reply.is_ready() && !leader.is_woken());
    assert!(follower.poll().is_ready());
}
