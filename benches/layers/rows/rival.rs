//! Somebody else who does the same on another thread meanwhile.

use std::{
    fmt,
    future::poll_fn,
    hint::{self, black_box},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
    thread::{self, JoinHandle},
};

use tokio::runtime::Handle;
use tower_service::Service;

use super::now;
use crate::row::Row;

/// Works until it is dropped.
pub(super) struct Rival {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What a call costs while another thread makes as many as it can on the same state.
pub(super) fn shared<S>(name: &str, make: impl Fn() -> S + 'static) -> Row
where
    S: Service<u32, Response = u32> + Clone + Send + 'static,
    S::Error: fmt::Debug,
{
    Row::new(name, move || {
        let mut service = make();
        let mut other = service.clone();
        let rival = Rival::new(move || {
            black_box(turn(&mut other));
        });
        move || {
            let _: &Rival = &rival;
            black_box(turn(&mut service));
        }
    })
    .waiting()
}

/// One call, which may have to wait for the other thread.
fn turn<S>(service: &mut S) -> u32
where
    S: Service<u32, Response = u32>,
    S::Error: fmt::Debug,
{
    let mut cx = Context::from_waker(Waker::noop());
    now(poll_fn(|cx| service.poll_ready(cx))).expect("it is ready");
    let mut call = pin!(service.call(black_box(1)));
    loop {
        if let Poll::Ready(reply) = call.as_mut().poll(&mut cx) {
            return reply.expect("it answers");
        }
        hint::spin_loop();
    }
}

// ===== impl Rival =====

impl Rival {
    pub(super) fn new(mut work: impl FnMut() + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        // Some of what is measured arms timers.
        let runtime = Handle::current();
        let thread = thread::spawn(move || {
            let _entered = runtime.enter();
            while !stopped.load(Relaxed) {
                work();
            }
        });
        Self {
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Rival {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        assert!(
            ended.is_none_or(|ended| ended.is_ok()),
            "the rival panicked"
        );
    }
}
