//! One call for all who wait for it.

use std::{
    mem,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

use buttress_core::{CacheStatus, Cached, Class, Ledger, Outcome};

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
    Failed(Outcome),
}

#[derive(Clone)]
pub(crate) struct Landed<T> {
    pub(crate) shared: T,
    pub(crate) seen: Outcome,
    /// Where the reply comes from, as the one who led sees it.
    pub(crate) cached: Cached,
    /// For how long it is kept, counted from when it was made. `None`: it is kept already.
    pub(crate) keep: Option<Freshness>,
}

/// What somebody who waits finds.
pub(crate) enum Found<T> {
    Landed(Landed<T>),
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
    Failed(Outcome),
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
    next: Option<Stage<T>>,
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
            next: Some(Stage::panicked()),
        };
        let call = make();
        ending.next = None;
        ending.puts(Stage::Call(call));
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing that can panic leaves it half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nobody has paid for it yet. Says so once.
    pub(crate) fn pays(&self) -> bool {
        !self.paid.swap(true, Ordering::Relaxed)
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
        let waiters = self.lock().waiters.take();
        waiters.for_each(Waker::wake);
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
        match &state.stage {
            Stage::Landed(landed) => return Poll::Ready(Found::Landed(landed.clone())),
            Stage::Failed(outcome) => return Poll::Ready(Found::Failed(*outcome)),
            Stage::Gone => return Poll::Ready(Found::Gone),
            Stage::Out | Stage::Call(_) => {}
        }
        // Before it is polled: it may wake at once.
        let old = state.waiters.register(place, cx.waker());
        let call = match mem::replace(&mut state.stage, Stage::Out) {
            Stage::Call(call) => call,
            _ => {
                state.missed = true;
                drop(state);
                drop(old);
                return Poll::Pending;
            }
        };
        drop(state);
        drop(old);
        let driver = Driver {
            call: Some(call),
            ending: Ending {
                flight: self,
                // Until it returns or lands, it can only panic.
                next: Some(Stage::panicked()),
            },
        };
        driver.poll(&Waker::from(self.clone()))
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

// ===== impl Stage =====

impl<T> Stage<T> {
    const fn panicked() -> Self {
        Self::Failed(Outcome::new(Class::Unavailable))
    }
}

// ===== impl Landed =====

impl<T> Landed<T> {
    /// As a caller sees it who did not lead.
    pub(crate) fn as_seen_by(&self, leads: bool) -> Cached {
        match self.cached.status {
            CacheStatus::Miss if !leads => Cached::new(CacheStatus::Coalesced),
            _ => self.cached,
        }
    }
}

// ===== impl Driver =====

impl<T: Clone> Driver<'_, T> {
    fn poll(mut self, waker: &Waker) -> Poll<Found<T>> {
        let Some(call) = &mut self.call else {
            unreachable!("it goes back only below");
        };
        match call.as_mut().poll(&mut Context::from_waker(waker)) {
            Poll::Pending => {
                self.ending.next = None;
                if let Some(call) = self.call.take() {
                    self.ending.puts(Stage::Call(call));
                }
                Poll::Pending
            }
            Poll::Ready(landing) => {
                let (found, stage) = match landing {
                    Landing::Reply(landed) => {
                        (Found::Landed(landed.clone()), Stage::Landed(landed))
                    }
                    Landing::Failed(outcome) => (Found::Failed(outcome), Stage::Failed(outcome)),
                };
                self.ending.next = Some(stage);
                Poll::Ready(found)
            }
        }
    }
}

// ===== impl Ending =====

impl<T> Ending<'_, T> {
    /// Puts the call back, for whoever comes next.
    fn puts(&self, stage: Stage<T>) {
        let mut state = self.flight.lock();
        state.stage = stage;
        let missed = mem::take(&mut state.missed);
        drop(state);
        if missed {
            self.flight.wake_all();
        }
    }
}

impl<T> Drop for Ending<'_, T> {
    fn drop(&mut self) {
        if let Some(next) = self.next.take() {
            self.flight.lock().stage = next;
            self.flight.wake_all();
        }
    }
}
