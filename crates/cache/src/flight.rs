//! One call for all who wait for it.

use std::{
    any::Any,
    mem,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use buttress_core::{CacheStatus, Cached, Class, Ledger, Outcome};
use tokio::time::Instant;

use crate::{
    Freshness, Keyed,
    waiters::{Place, Waiters},
};

/// One call under way, or the reply that it led to and that is still passing.
///
/// It belongs to all who wait for it or read its reply, together: whoever polls it drives it, and
/// when the last has left it is gone.
pub(crate) struct Flight<T> {
    pub(crate) keyed: Keyed,
    // What the attempts of the call used, if somebody wants to know.
    pub(crate) ledger: Option<Ledger>,
    paid: AtomicBool,
    state: Mutex<State<T>>,
}

/// The call, as everybody drives it.
pub(crate) type Call<T> = Pin<Box<dyn Future<Output = Landing<T>> + Send>>;

/// What a call came to.
pub(crate) enum Landing<T> {
    Reply(Landed<T>),
    /// An error, which means this.
    Failed(Outcome, Option<Box<dyn Any + Send>>),
}

pub(crate) struct Landed<T> {
    pub(crate) shared: T,
    /// How it looked when it came.
    pub(crate) seen: Class,
    /// Where the reply comes from, as the one who led sees it.
    pub(crate) status: CacheStatus,
    /// When it was made, if that was before the call.
    pub(crate) made: Option<Instant>,
    /// For how long it is kept, counted from when it was made. `None`: it is kept already.
    pub(crate) keep: Option<Freshness>,
}

/// What somebody who waits finds.
pub(crate) enum Found<T> {
    /// This reply, which comes from there, as the one who led sees it.
    Landed(T, Cached),
    Failed(Outcome),
    /// The seat was given up.
    Gone,
}

pub(crate) struct State<T> {
    pub(crate) stage: Stage<T>,
    pub(crate) seats: usize,
    /// Nobody can join any more: it is not in the table.
    pub(crate) closed: bool,
    /// Invalidated meanwhile.
    pub(crate) void: bool,
    missed: bool,
    pub(crate) waiters: Waiters,
}

pub(crate) enum Stage<T> {
    /// With whoever polls it: no lock is held meanwhile.
    Out,
    Call(Call<T>),
    Landed(Landed<T>),
    /// With the error, until the one who led has taken it.
    Failed(Outcome, Option<Box<dyn Any + Send>>),
    /// Everybody has left.
    Gone,
}

/// Whoever polls the call.
struct Driver<'a, T> {
    // Declared first: it is gone before anybody hears of its end.
    call: Option<Call<T>>,
    ending: Ending<'a, T>,
}

struct Ending<'a, T> {
    flight: &'a Flight<T>,
    // Of whoever polls it, and is awake.
    place: Option<Place>,
    next: Next<T>,
}

enum Next<T> {
    GoesOn,
    /// So it is until something else is known.
    Panicked,
    Ends(Stage<T>),
}

// ===== impl Flight =====

impl<T> Flight<T> {
    /// With one seat taken, and a call that is not made yet.
    pub(crate) fn new(keyed: Keyed, ledger: Option<Ledger>) -> Self {
        Self {
            keyed,
            ledger,
            paid: AtomicBool::new(false),
            state: Mutex::new(State {
                stage: Stage::Out,
                seats: 1,
                closed: false,
                void: false,
                missed: false,
                waiters: Waiters::default(),
            }),
        }
    }

    /// The call of a new flight. If it cannot be made, since something of the user's panics, nobody is
    /// left waiting for it.
    pub(crate) fn begin(&self, make: impl FnOnce() -> Call<T>) {
        let mut ending = Ending {
            flight: self,
            place: None,
            next: Next::Panicked,
        };
        let call = make();
        ending.next = Next::GoesOn;
        ending.puts_back(call, |_| None);
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing that can panic leaves it half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nobody has paid for it yet. Says so once.
    pub(crate) fn pays(&self) -> bool {
        !self.paid.swap(true, Ordering::Relaxed)
    }

    /// The error that it came to, for the one who led.
    pub(crate) fn take_error(&self) -> Option<Box<dyn Any + Send>> {
        match &mut self.lock().stage {
            Stage::Failed(_, error) => error.take(),
            _ => None,
        }
    }

    /// One who waited does so no longer.
    pub(crate) fn forget(&self, place: Option<Place>) {
        let old = self.lock().waiters.leave(place);
        drop(old);
    }

    /// It is not in the table any more, and what it comes to is not kept.
    pub(crate) fn void(&self) {
        let mut state = self.lock();
        state.void = true;
        state.closed = true;
        drop(state);
        self.wake_all();
    }

    pub(crate) fn wake_all(&self) {
        let mut state = self.lock();
        // Whoever polls it is not among those who wait.
        state.missed |= matches!(state.stage, Stage::Out);
        let asleep = state.waiters.take();
        drop(state);
        asleep.wake();
    }
}

impl<T: Clone + Send + 'static> Flight<T> {
    /// What it came to. Whoever asks drives it.
    pub(crate) fn poll(
        self: &Arc<Self>,
        place: &mut Option<Place>,
        cx: &mut Context<'_>,
    ) -> Poll<Found<T>> {
        let mut state = self.lock();
        match &mut state.stage {
            Stage::Landed(landed) => return Poll::Ready(landed.found()),
            Stage::Failed(outcome, _) => return Poll::Ready(Found::Failed(*outcome)),
            Stage::Gone => return Poll::Ready(Found::Gone),
            Stage::Out => {}
            stage @ Stage::Call(_) => {
                let Stage::Call(call) = mem::replace(stage, Stage::Out) else {
                    unreachable!("it was, a moment ago")
                };
                drop(state);
                let driver = Driver {
                    call: Some(call),
                    ending: Ending {
                        flight: self,
                        place: *place,
                        next: Next::Panicked,
                    },
                };
                return driver.poll(&Waker::from(self.clone()), place, cx.waker());
            }
        }
        state.missed = true;
        let old = state.waiters.register(place, cx.waker());
        drop(state);
        drop(old);
        Poll::Pending
    }

    /// Waits until nobody can join it any more.
    pub(crate) fn poll_closed(&self, place: &mut Option<Place>, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.closed {
            return Poll::Ready(());
        }
        let old = state.waiters.register(place, cx.waker());
        drop(state);
        drop(old);
        Poll::Pending
    }
}

impl<T: Send + 'static> Wake for Flight<T> {
    fn wake(self: Arc<Self>) {
        self.wake_all();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_all();
    }
}

// ===== impl Landed =====

impl<T: Clone> Landed<T> {
    fn found(&self) -> Found<T> {
        let age = self.made.map(|made| made.elapsed()).unwrap_or_default();
        let cached = Cached::new(self.status).with_age(age);
        Found::Landed(self.shared.clone(), cached)
    }
}

// ===== impl Driver =====

impl<T: Clone> Driver<'_, T> {
    fn poll(mut self, waker: &Waker, place: &mut Option<Place>, caller: &Waker) -> Poll<Found<T>> {
        let Some(call) = &mut self.call else {
            unreachable!("it goes back only below");
        };
        match call.as_mut().poll(&mut Context::from_waker(waker)) {
            Poll::Pending => {
                self.ending.next = Next::GoesOn;
                if let Some(call) = self.call.take() {
                    let register = |waiters: &mut Waiters| waiters.register(place, caller);
                    self.ending.puts_back(call, register);
                }
                Poll::Pending
            }
            Poll::Ready(Landing::Reply(landed)) => {
                let found = landed.found();
                self.ending.next = Next::Ends(Stage::Landed(landed));
                Poll::Ready(found)
            }
            Poll::Ready(Landing::Failed(outcome, error)) => {
                self.ending.next = Next::Ends(Stage::Failed(outcome, error));
                Poll::Ready(Found::Failed(outcome))
            }
        }
    }
}

// ===== impl Ending =====

impl<T> Ending<'_, T> {
    /// Puts the call back, for whoever comes next. If something was missed meanwhile, all who wait
    /// look again.
    fn puts_back(&self, call: Call<T>, register: impl FnOnce(&mut Waiters) -> Option<Waker>) {
        let mut state = self.flight.lock();
        state.stage = Stage::Call(call);
        let old = register(&mut state.waiters);
        let missed = mem::take(&mut state.missed);
        drop(state);
        drop(old);
        if missed {
            self.flight.wake_all();
        }
    }
}

impl<T> Drop for Ending<'_, T> {
    fn drop(&mut self) {
        let stage = match mem::replace(&mut self.next, Next::GoesOn) {
            Next::GoesOn => return,
            Next::Panicked => Stage::Failed(Outcome::new(Class::Unavailable), None),
            Next::Ends(stage) => stage,
        };
        let mut state = self.flight.lock();
        state.stage = stage;
        let own = state.waiters.sleeps(self.place);
        let others = state.waiters.take();
        drop(state);
        drop(own);
        others.wake();
    }
}
