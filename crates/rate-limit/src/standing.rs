use std::time::Duration;

use crate::{Rate, Unit};

/// How one quota of a key stands.
///
/// ```
/// use std::num::NonZeroU32;
/// use buttress_rate_limit::{Limiter, Quota, Quotas, Unit};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// let minute = Quota::per_minute(NonZeroU32::new(60).unwrap());
/// let limiter = Limiter::new(Quotas::requests(minute));
/// let standing = &limiter.standing(&())[0];
/// assert_eq!((standing.unit, standing.remaining), (Unit::Requests, 60));
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Standing {
    /// What it counts.
    pub unit: Unit,
    /// The quota.
    pub rate: Rate,
    /// How many units would be admitted now. None while the key is paused.
    pub remaining: u64,
    /// From now, when it is full again if nothing more is taken.
    pub full_in: Duration,
}
