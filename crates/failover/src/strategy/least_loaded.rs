use super::{Candidate, Candidates, Choice, Strategy};

/// Draws two by their weights, and takes the one with less to do: power of two choices over a peak-EWMA
/// of the time to the first content, times the calls in flight.
///
/// A slow reply counts at once and a fast one little by little, over some ten seconds. A failure counts
/// as slow as ten seconds at least, however fast it came, so that what fails fast attracts nothing. Of an endpoint
/// that has not answered yet nothing is known but its calls in flight, and these alone are compared.
///
/// ```
/// use buttress_core::Plain;
/// use buttress_failover::{Failover, LeastLoaded};
/// # let (one, other) = ((), ());
///
/// let service = Failover::new(Plain, [one, other]).strategy(LeastLoaded);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct LeastLoaded;

impl<Req> Strategy<Req> for LeastLoaded {
    fn choose(&self, _: &Req, candidates: Candidates<'_>) -> Option<Choice> {
        let chosen = match candidates.two_by_chance()? {
            (one, Some(other)) if is_less(&other, &one, &candidates) => other,
            (one, _) => one,
        };
        Some(Choice::of(chosen))
    }

    fn follows(&self) -> bool {
        true
    }
}

/// Whether `a` has less to do than `b`. Of two alike, the one that was drawn first is as good.
fn is_less(a: &Candidate<'_>, b: &Candidate<'_>, candidates: &Candidates<'_>) -> bool {
    let calls = |candidate: &Candidate<'_>| f64::from(candidate.in_flight()) + 1.0;
    let now = candidates.stamp();
    let estimate = |candidate: &Candidate<'_>| candidate.member().load.estimate(now);
    match (estimate(a), estimate(b)) {
        (Some(slow), Some(other)) => slow * calls(a) < other * calls(b),
        _ => calls(a) < calls(b),
    }
}
