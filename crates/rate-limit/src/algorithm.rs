//! What a cell of any algorithm does.

use std::fmt;

use crate::rate::Ticks;

/// How a quota counts: [`Gcra`](crate::Gcra), [`SlidingLog`](crate::SlidingLog) or
/// [`SlidingCounter`](crate::SlidingCounter). Cannot be implemented outside of this crate.
///
/// | | admits at most | memory for each key and quota | cost |
/// |---|---|---|---|
/// | [`Gcra`](crate::Gcra), the default | burst + rate × W in any window W | 16 bytes | one atomic exchange |
/// | [`SlidingLog`](crate::SlidingLog) | the burst in any window of [`Rate::window`](crate::Rate::window) | up to 1025 entries of 32 bytes | a short lock |
/// | [`SlidingCounter`](crate::SlidingCounter) | the burst in any *aligned* window; up to twice that across two | 40 bytes | a short lock |
///
/// ```
/// use std::num::NonZeroU32;
/// use buttress_rate_limit::{Limiter, Quota, Quotas, SlidingLog};
///
/// const TEN: NonZeroU32 = NonZeroU32::new(10).unwrap();
/// // At most ten in any minute, and not ten and what comes meanwhile.
/// let limiter = Limiter::new(Quotas::requests(Quota::per_minute(TEN))).counting::<SlidingLog>();
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no way to count",
    note = "use `Gcra`, `SlidingLog` or `SlidingCounter`"
)]
pub trait Algorithm: Cell {}

/// One quota of one key. Sealed by its module.
pub trait Cell: fmt::Debug + Send + Sync + Sized + 'static {
    /// What it keeps under the lock of its key, once it has given something back.
    type Notes: Default + fmt::Debug + Send;

    /// One of which nothing is used.
    fn new() -> Self;

    /// Whether so many units would be admitted now. May be more than the burst; or none, which
    /// fit unless there is debt: more used than the burst.
    fn peek(&self, ticks: &Ticks, now: u64, units: u64) -> Result<(), No>;

    /// Takes them. Never more than the burst.
    fn take(&self, ticks: &Ticks, now: u64, units: u64) -> Result<Mark, No>;

    /// Gives back what can be given back of what was taken. Never at the same time as another
    /// `give_back` or `close`: the lock of the key is held. Whether it was anything.
    fn give_back(
        &self,
        ticks: &Ticks,
        clock: &dyn Fn() -> u64,
        notes: &mut Self::Notes,
        mark: Mark,
        units: u64,
    ) -> bool;

    /// Takes them, though they may not be there.
    fn charge(&self, ticks: &Ticks, now: u64, units: u64) -> Result<(), Closed>;

    /// How much is used, rounded up to whole units. More than the burst is debt.
    fn used(&self, ticks: &Ticks, now: u64) -> u64;

    /// In how many nanoseconds it will be as if nothing had been used.
    fn idle_in(&self, ticks: &Ticks, now: u64) -> u64;

    /// Ends it: whoever takes from now on is told so. What was used by then, rounded up.
    fn close(&self, ticks: &Ticks, now: u64) -> u64;
}

/// Where in a cell something was taken.
pub(crate) type Mark = u64;

/// The cell has another in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed;

/// Why nothing was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum No {
    /// Not before so many nanoseconds from now. The maximum is never.
    Wait(u64),
    Closed,
}
