use std::time::Duration;

use buttress_core::Limits;

use crate::{Cost, Limited, Waiters};

/// Where levels are kept: in this process, by a [`Limiter`](crate::Limiter), or for many machines.
///
/// A layer asks for one thing at a time, and each is one atomic step: for a remote store one
/// script, one round trip. What a call took is a [`Hold`](Store::Hold), which the layer settles
/// when the call has ended, also by being dropped.
///
/// Waiting and its order are the layer's, for each process: a store says how long, and when to look
/// again.
///
/// # Examples
///
/// A store that asks another one:
///
/// ```
/// use std::time::Duration;
/// use buttress_core::Limits;
/// use buttress_rate_limit::{Cost, Limited, Limiter, Store, Waiters};
///
/// #[derive(Clone)]
/// struct Logged<S>(S);
///
/// impl<K: std::fmt::Debug, S: Store<K>> Store<K> for Logged<S> {
///     type Hold = S::Hold;
///     type Take = S::Take;
///     type Peek = S::Peek;
///
///     fn take(&self, key: &K, cost: Cost) -> S::Take {
///         println!("{key:?} asks for {cost:?}");
///         self.0.take(key, cost)
///     }
///
///     fn peek(&self, key: &K, cost: Cost, ahead: Cost) -> S::Peek {
///         self.0.peek(key, cost, ahead)
///     }
///
///     fn key<'a>(&'a self, hold: &'a S::Hold) -> &'a K {
///         self.0.key(hold)
///     }
///
///     fn settle(&self, hold: &S::Hold, reserved: Cost, used: Cost) -> bool {
///         self.0.settle(hold, reserved, used)
///     }
///
///     fn pause(&self, hold: &S::Hold, time: Duration) {
///         self.0.pause(hold, time);
///     }
///
///     fn tighten(&self, hold: &S::Hold, limits: &Limits) {
///         self.0.tighten(hold, limits);
///     }
///
///     fn waiters(&self) -> Waiters<K> {
///         self.0.waiters()
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` keeps no levels for keys of `{K}`",
    note = "a `Limiter<{K}>` does: is the key function's type that of the limiter?"
)]
pub trait Store<K> {
    /// What a call took.
    type Hold: Send + 'static;

    /// The answer to [`take`](Store::take). Ready at once where the levels are in this process.
    /// One that is dropped has taken nothing, or gives it back.
    type Take: Future<Output = Result<Self::Hold, Limited>>;

    /// The answer to [`peek`](Store::peek).
    type Peek: Future<Output = Result<(), Limited>>;

    /// Takes the cost if nothing is in the way, and that can be seen at once. `None`, the default,
    /// says nothing: the layer then asks whether it can [`take_now`](Store::take_now).
    #[inline]
    fn try_take(&self, key: &K, cost: &Cost) -> Option<Self::Hold> {
        let _ = (key, cost);
        None
    }

    /// Takes the cost at once, if that is possible without waiting for an answer: then the layer
    /// does not [`take`](Store::take). `None`, the default: it is not.
    fn take_now(&self, key: &K, cost: Cost) -> Option<Result<Self::Hold, Limited>> {
        let _ = (key, cost);
        None
    }

    /// Takes the cost from all quotas of the key, or from none. A quota that is past its burst admits
    /// nothing, whatever of it the cost is, and be it zero.
    ///
    /// # Errors
    ///
    /// [`Limited`], with the wait until it would be admitted.
    fn take(&self, key: &K, cost: Cost) -> Self::Take;

    /// Whether the cost would be taken after that of others that come first, and takes nothing.
    fn peek(&self, key: &K, cost: Cost, ahead: Cost) -> Self::Peek;

    /// The key that was taken from.
    fn key<'a>(&'a self, hold: &'a Self::Hold) -> &'a K;

    /// Settles what was reserved to what was used; called at most once, and not where the two are
    /// the same. Does not wait: a remote store sends
    /// it on its own time. Whether others may have been waiting for it: `true` where that is not
    /// known.
    fn settle(&self, hold: &Self::Hold, reserved: Cost, used: Cost) -> bool;

    /// Admits nothing more of this key for so long.
    fn pause(&self, hold: &Self::Hold, time: Duration);

    /// Keeps this key to what a provider says remains.
    fn tighten(&self, hold: &Self::Hold, limits: &Limits);

    /// Who waits for it. A store whose levels change by other hands than those of its layer gives
    /// the same to each layer, and calls the first in line when more is left than was known.
    ///
    /// The default is a line of each layer's own, of which the store knows nothing: what comes back
    /// elsewhere is then seen when the wait that was told before is over.
    fn waiters(&self) -> Waiters<K> {
        Waiters::default()
    }
}
