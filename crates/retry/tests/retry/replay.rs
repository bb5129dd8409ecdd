//! What is sent again.

use std::{
    future::ready,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use buttress_core::{CallInfo, Carry, Class, Classify, Outcome, Plain, ProtocolExt, Replay, Track};
use buttress_retry::{Budget, Stop};
use tower::{Layer, ServiceExt, service_fn};

use crate::{Ask, DOWN, Failed, OK, Told, Upstream, ask, attempts, log, ms, protocol, retry, stop};

/// A request that must not be acted on twice.
#[derive(Clone, Copy)]
struct Careful<P>(P);

impl<P: Replay<Ask>> Replay<Ask> for Careful<P> {
    fn copy(&self, ask: &Ask) -> Option<Ask> {
        self.0.copy(ask)
    }

    fn safe(&self, _: &Ask) -> bool {
        false
    }
}

impl<P: Carry<Ask>> Carry<Ask> for Careful<P> {
    fn info<'a>(&self, ask: &'a Ask) -> &'a CallInfo {
        self.0.info(ask)
    }

    fn set_info(&self, ask: &mut Ask, info: CallInfo) {
        self.0.set_info(ask, info);
    }
}

impl<P: Classify<u32, Failed>> Classify<u32, Failed> for Careful<P> {
    fn classify(&self, result: Result<&u32, &Failed>) -> Outcome {
        self.0.classify(result)
    }
}

impl<P: Track<u32>> Track<u32> for Careful<P> {
    fn track<R>(&self, reply: &mut u32, seen: &Outcome, completion: buttress_core::Completion<R>)
    where
        R: buttress_core::Report + Send + 'static,
    {
        self.0.track(reply, seen, completion);
    }
}

#[tokio::test(start_paused = true)]
async fn r14_what_was_not_sent_is_sent_again_also_if_it_must_not_be_acted_on_twice() {
    let unstarted = Outcome::new(Class::Unstarted);
    for (outcome, calls) in [(DOWN.not_sent(), 3), (unstarted, 3), (DOWN, 1)] {
        let upstream = Upstream::new([outcome]);
        let (told, observer) = log();
        let service = retry(Careful(protocol()))
            .on_event(observer)
            .layer(upstream.clone());
        assert!(service.oneshot(ask()).await.is_err());
        let why = if calls == 1 {
            Stop::Unsafe
        } else {
            Stop::Attempts
        };
        assert_eq!((upstream.calls(), stop(&told)), (calls, why));
    }
}

#[tokio::test(start_paused = true)]
async fn r14_one_that_did_not_begin_is_sent_again_once_for_free_and_then_for_the_price() {
    let unstarted = Outcome::new(Class::Unstarted);
    let budget = Budget::default().reserve(5);
    let upstream = Upstream::new([unstarted, unstarted, unstarted, OK]);
    let layer = retry(protocol())
        .max_attempts(attempts(9))
        .budget(budget.clone());
    let service = layer.layer(upstream.clone());
    assert!(service.oneshot(ask()).await.is_ok());
    assert_eq!(budget.balance(), 3);
    assert_eq!(upstream.times(), [ms(0), ms(0), ms(1000), ms(2000)]);

    // Also when nothing is left.
    let upstream = Upstream::new([unstarted, OK]);
    let layer = retry(protocol()).budget(Budget::default().reserve(0));
    assert!(layer.layer(upstream.clone()).oneshot(ask()).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_copied_passes_once_and_untouched_and_the_event_says_so() {
    for outcome in [OK, DOWN] {
        let upstream = Upstream::new([outcome]);
        let (told, observer) = log();
        let service = retry(protocol().once())
            .on_event(observer)
            .layer(upstream.clone());
        let _ = service.oneshot(ask()).await;
        let expected = Told::Done(1, outcome.class, ms(0), Stop::NotCopied);
        assert_eq!(*told.lock().unwrap(), [expected]);
        let seen = &upstream.seen.lock().unwrap()[0].ask;
        assert!(!seen.info.retried, "the request was not touched");
    }
}

/// Counts its copies, and how many live.
struct Counted {
    copies: Arc<AtomicU32>,
    number: u32,
}

impl Clone for Counted {
    fn clone(&self) -> Self {
        let number = self.copies.fetch_add(1, Ordering::Relaxed) + 1;
        Self {
            copies: self.copies.clone(),
            number,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_last_attempt_takes_the_original() {
    for (allowed, sent) in [(1, vec![0]), (2, vec![1, 0]), (4, vec![1, 2, 3, 0])] {
        let numbers = Arc::new(Mutex::new(Vec::new()));
        let write = numbers.clone();
        let service = retry(Plain)
            .max_attempts(attempts(allowed))
            .layer(service_fn(move |request: Counted| {
                write.lock().unwrap().push(request.number);
                ready(Err::<(), _>(std::io::Error::other("down")))
            }));
        let copies = Arc::new(AtomicU32::new(0));
        let request = Counted { copies, number: 0 };
        assert!(service.oneshot(request).await.is_err());
        assert_eq!(*numbers.lock().unwrap(), sent);
    }
}

/// A protocol whose copies run out, as those of a body that outgrows its cap while it is sent.
#[derive(Clone)]
struct Outgrows {
    copies: Arc<AtomicU32>,
    whole: bool,
}

impl Replay<u32> for Outgrows {
    fn copy(&self, request: &u32) -> Option<u32> {
        (self.copies.fetch_add(1, Ordering::Relaxed) < 1).then_some(*request)
    }

    fn whole(&self, _: &u32) -> bool {
        self.whole
    }
}

impl Carry<u32> for Outgrows {
    fn info<'a>(&self, _: &'a u32) -> &'a CallInfo {
        CallInfo::absent()
    }

    fn set_info(&self, _: &mut u32, _: CallInfo) {}
}

impl Classify<(), Failed> for Outgrows {
    fn classify(&self, result: Result<&(), &Failed>) -> Outcome {
        result.err().map_or(OK, |failed| failed.outcome)
    }
}

impl Track<()> for Outgrows {
    fn track<R>(&self, (): &mut (), _: &Outcome, _: buttress_core::Completion<R>)
    where
        R: buttress_core::Report + Send + 'static,
    {
    }
}

#[tokio::test(start_paused = true)]
async fn r11_what_outgrew_its_cap_is_not_sent_again_and_nothing_is_paid() {
    for whole in [true, false] {
        let protocol = Outgrows {
            copies: Arc::default(),
            whole,
        };
        let budget = Budget::default().reserve(5);
        let (told, observer) = log();
        let service = retry(protocol)
            // The last attempt is no copy: there it is asked alone.
            .max_attempts(attempts(if whole { 3 } else { 2 }))
            .budget(budget.clone())
            .on_event(observer)
            .layer(service_fn(|_: u32| {
                ready(Err::<(), _>(Failed {
                    outcome: DOWN,
                    call: 1,
                }))
            }));
        assert!(service.oneshot(1).await.is_err());
        assert_eq!((budget.balance(), stop(&told)), (5, Stop::NotCopied));
    }
}
