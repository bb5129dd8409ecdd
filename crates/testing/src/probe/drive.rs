//! Polling by hand: a new waker for each poll, and a record of who was woken.

use std::{
    future::{Future, poll_fn},
    mem,
    pin::{Pin, pin},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    core::Core,
    outer::{Fault, Held, Outer, OuterFuture, Piece},
    promise::Promise,
};

/// How often something may wake itself without anything else happening.
const SPINS: usize = 64;

/// How many times the other tasks of the runtime get their turn, so that what is spawned settles.
const TURNS: usize = 32;

/// One instance of the service under test, and whoever waits for its readiness.
pub(super) struct Seat {
    outer: Box<dyn Outer>,
    watch: Watch,
    numbers: Arc<Numbers>,
}

/// One response future of the service under test, until its end; then what it gave.
pub(super) struct Flight {
    state: State,
    watch: Watch,
    /// The call of the inner service that it made first, if it made one while it was admitted.
    pub(super) inner_call: Option<u64>,
}

/// The body of a response, and whoever reads it.
pub(super) struct Reader {
    pub(super) response: Box<dyn Held>,
    watch: Watch,
}

/// What is counted in a scene, so that everything has a name in the transcript.
#[derive(Default)]
pub(super) struct Numbers {
    outers: AtomicU64,
    futures: AtomicU64,
    requests: AtomicU64,
}

/// Something that is polled.
pub(super) struct Watch {
    core: Arc<Core>,
    name: String,
    last: Arc<Flag>,
    older: Vec<Arc<Flag>>,
    spins: usize,
    progress: Option<(u64, Instant)>,
}

/// Something that is polled until it gives a `T`.
pub(super) trait Driven {
    type Output;

    fn poll(&mut self) -> Poll<Self::Output>;

    fn watch(&mut self) -> &mut Watch;

    /// Polls for as long as that leads somewhere without time passing.
    async fn nudge(&mut self) -> Poll<Self::Output> {
        loop {
            if let Poll::Ready(output) = self.poll() {
                return Poll::Ready(output);
            }
            settle().await;
            if !self.watch().is_woken() || self.watch().spin() {
                return Poll::Pending;
            }
        }
    }

    /// Polls as a runtime would, only when it was woken, until its end or for as long as `patience`.
    async fn run(&mut self, patience: Duration) -> Poll<Self::Output> {
        let deadline = Instant::now() + patience;
        loop {
            if let Poll::Ready(output) = self.nudge().await {
                return Poll::Ready(output);
            }
            if patience.is_zero() || self.watch().has_spun() {
                return Poll::Pending;
            }
            if !self.watch().woken_before(deadline).await {
                return self.last_try(patience);
            }
        }
    }

    /// Nobody woke it. If a poll leads on all the same, somebody should have.
    fn last_try(&mut self, patience: Duration) -> Poll<Self::Output> {
        let before = self.watch().core.events();
        let polled = self.poll();
        let watch = self.watch();
        if polled.is_ready() || watch.core.events() != before {
            watch.lost(format!("for {patience:?}"));
        }
        polled
    }
}

#[derive(Default)]
struct Flag {
    woken: AtomicBool,
    task: Mutex<Option<Waker>>,
}

enum State {
    Flying(Pin<Box<dyn OuterFuture>>),
    Landed(Result<Box<dyn Held>, Fault>),
    Gone,
}

/// Lets everything else that can run without time passing do so.
pub(super) async fn settle() {
    for _ in 0..TURNS {
        tokio::task::yield_now().await;
    }
}

// ===== impl Seat =====

impl Seat {
    pub(super) fn new(outer: Box<dyn Outer>, core: &Arc<Core>, numbers: &Arc<Numbers>) -> Self {
        let number = numbers.outers.fetch_add(1, Ordering::Relaxed) + 1;
        Self {
            outer,
            watch: Watch::new(core, format!("outer {number}")),
            numbers: Arc::clone(numbers),
        }
    }

    /// Another instance, cloned from this one.
    pub(super) fn fork(&self) -> Self {
        let fork = Self::new(self.outer.fork(), &self.watch.core, &self.numbers);
        let line = format!("{} is cloned from {}", fork.watch.name, self.watch.name);
        self.watch.core.note(line);
        fork
    }

    /// Calls it, which wants it to be ready.
    pub(super) fn call(&mut self) -> Flight {
        let request = self.numbers.requests.fetch_add(1, Ordering::Relaxed) + 1;
        let number = self.numbers.futures.fetch_add(1, Ordering::Relaxed) + 1;
        let core = &self.watch.core;
        let watch = Watch::new(core, format!("future {number}"));
        core.note(format!(
            "{} call: request {request}, future {number}",
            self.watch.name
        ));
        let before = core.calls();
        let future = self.outer.call(request);
        Flight {
            state: State::Flying(future),
            inner_call: (core.calls() > before).then(|| before + 1),
            watch,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.watch.name
    }

    /// A clone of the service alone, for another thread.
    pub(super) fn outer(&self) -> Box<dyn Outer> {
        self.outer.fork()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.watch
            .core
            .note(format_args!("{} is dropped", self.watch.name));
    }
}

impl Driven for Seat {
    type Output = Result<(), Fault>;

    fn poll(&mut self) -> Poll<Result<(), Fault>> {
        let ready = self.watch.poll(|cx| self.outer.poll_ready(cx));
        let core = &self.watch.core;
        core.note(format_args!(
            "{} poll_ready: {}",
            self.watch.name,
            match &ready {
                Poll::Pending => "pending",
                Poll::Ready(Ok(())) => "ready",
                Poll::Ready(Err(fault)) => &fault.text,
            }
        ));
        ready
    }

    fn watch(&mut self) -> &mut Watch {
        &mut self.watch
    }
}

// ===== impl Flight =====

impl Flight {
    /// What it gave, if it ended.
    pub(super) fn result(&mut self) -> Option<&mut Result<Box<dyn Held>, Fault>> {
        match &mut self.state {
            State::Landed(result) => Some(result),
            State::Flying(_) | State::Gone => None,
        }
    }

    /// Takes what it gave, if it ended.
    pub(super) fn take_result(&mut self) -> Option<Result<Box<dyn Held>, Fault>> {
        match mem::replace(&mut self.state, State::Gone) {
            State::Landed(result) => Some(result),
            state => {
                self.state = state;
                None
            }
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.watch.name
    }
}

impl Driven for Flight {
    type Output = ();

    fn poll(&mut self) -> Poll<()> {
        let State::Flying(future) = &mut self.state else {
            return Poll::Ready(());
        };
        let polled = self.watch.poll(|cx| future.as_mut().poll(cx));
        let core = &self.watch.core;
        core.note(format_args!(
            "{} poll: {}",
            self.watch.name,
            match &polled {
                Poll::Pending => "pending",
                Poll::Ready(Ok(_)) => "a reply",
                Poll::Ready(Err(fault)) => &fault.text,
            }
        ));
        polled.map(|result| {
            // As `.await` does, the future goes before its result is looked at.
            self.state = State::Landed(result);
        })
    }

    fn watch(&mut self) -> &mut Watch {
        &mut self.watch
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let what = match self.state {
            State::Flying(_) => "is dropped unfinished",
            State::Landed(_) => "lets its result go",
            State::Gone => return,
        };
        self.watch
            .core
            .note(format_args!("{} {what}", self.watch.name));
    }
}

// ===== impl Reader =====

impl Reader {
    pub(super) fn new(response: Box<dyn Held>, core: &Arc<Core>) -> Self {
        let watch = Watch::new(core, "the body".to_owned());
        Self { response, watch }
    }
}

impl Driven for Reader {
    type Output = Option<Piece>;

    fn poll(&mut self) -> Poll<Option<Piece>> {
        self.watch.poll(|cx| self.response.poll_frame(cx))
    }

    fn watch(&mut self) -> &mut Watch {
        &mut self.watch
    }
}

// ===== impl Watch =====

impl Watch {
    fn new(core: &Arc<Core>, name: String) -> Self {
        Self {
            core: Arc::clone(core),
            name,
            last: Arc::default(),
            older: Vec::new(),
            spins: 0,
            progress: None,
        }
    }

    /// Polls with a waker that was never used before.
    fn poll<T>(&mut self, poll: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        let flag = Arc::new(Flag::default());
        let waker = Waker::from(Arc::clone(&flag));
        let older = mem::replace(&mut self.last, flag);
        if !older.woken.load(Ordering::Acquire) {
            self.older.push(older);
        }
        poll(&mut Context::from_waker(&waker))
    }

    /// Whether the waker of the last poll was woken.
    pub(super) fn is_woken(&self) -> bool {
        self.last.woken.load(Ordering::Acquire)
    }

    /// Records that something happened, and the waker of the last poll was not woken.
    pub(super) fn lost(&self, when: impl AsRef<str>) {
        let older = self
            .older
            .iter()
            .any(|flag| flag.woken.load(Ordering::Acquire));
        let who = match older {
            true => "only the waker of an earlier poll was woken, not that of the last",
            false => "its waker was not woken",
        };
        self.core.violate(
            Promise::T6,
            format!(
                "{} could go on, but {who} {}: a task would have slept for ever",
                self.name,
                when.as_ref()
            ),
        );
    }

    /// Waits until the waker of the last poll is woken, or as long as `time`.
    pub(super) async fn woken_within(&self, time: Duration) {
        self.woken_before(Instant::now() + time).await;
    }

    async fn woken_before(&self, deadline: Instant) -> bool {
        let mut sleep = pin!(tokio::time::sleep_until(deadline));
        poll_fn(|cx| {
            self.last.listen(cx.waker());
            match self.is_woken() {
                true => Poll::Ready(true),
                false => sleep.as_mut().poll(cx).map(|()| false),
            }
        })
        .await
    }

    /// Counts a poll that follows a wake; whether there were too many while nothing happened.
    fn spin(&mut self) -> bool {
        let progress = Some((self.core.events(), Instant::now()));
        if self.progress != progress {
            self.progress = progress;
            self.spins = 0;
        }
        self.spins += 1;
        if self.spins == SPINS {
            self.core.violate(
                Promise::T6,
                format!(
                    "{} was woken {SPINS} times while nothing happened: it wakes itself, and \
                     keeps a core busy",
                    self.name
                ),
            );
        }
        self.has_spun()
    }

    fn has_spun(&self) -> bool {
        self.spins >= SPINS
    }
}

// ===== impl Flag =====

impl Flag {
    fn listen(&self, task: &Waker) {
        *self.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task.clone());
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        let task = self
            .task
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(task) = task {
            task.wake();
        }
    }
}
