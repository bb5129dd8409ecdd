use std::{any::type_name, fmt};

use super::{Candidate, Candidates, Choice, Strategy};
use crate::hash::mix;

/// Sends what has the same key to the same endpoint, as long as that may be tried: for the prompt cache
/// of a provider. What has no key is shared as [`Weighted`](crate::Weighted) shares.
///
/// It is weighted rendezvous hashing: shares of keys follow the weights; if an endpoint drops out, only
/// its own keys go elsewhere, each to another place; if it comes back, they return. Two processes with
/// endpoints of the same names agree.
///
/// # Examples
///
/// ```
/// use buttress_failover::{ByKey, hash};
///
/// struct Ask {
///     conversation: String,
/// }
///
/// let strategy = ByKey::new(|ask: &Ask| Some(hash(ask.conversation.as_bytes())));
/// ```
#[derive(Clone, Copy)]
pub struct ByKey<F> {
    key: F,
}

impl<F> ByKey<F> {
    /// By the key that `key` finds in a request, as a number: see [`hash`](crate::hash).
    #[must_use]
    pub const fn new<Req>(key: F) -> Self
    where
        F: Fn(&Req) -> Option<u64>,
    {
        Self { key }
    }
}

impl<F, Req> Strategy<Req> for ByKey<F>
where
    F: Fn(&Req) -> Option<u64>,
{
    fn choose(&self, request: &Req, candidates: Candidates<'_>) -> Option<Choice> {
        let chosen = match (self.key)(request) {
            Some(key) => by_key(key, candidates),
            None => candidates.by_weight(),
        };
        chosen.map(Choice::of)
    }
}

/// The candidate that the key wants most.
fn by_key(key: u64, candidates: Candidates<'_>) -> Option<Candidate<'_>> {
    const WHOLE: f64 = (1_u64 << 52) as f64;
    let key = mix(key);
    let (mut best, mut least, mut bar) = (None, f64::INFINITY, f64::INFINITY);
    for candidate in candidates.iter() {
        // Of 52 bits. A signed number becomes a fraction in one instruction.
        let drawn = (mix(key ^ candidate.hash()) >> 12) as i64;
        let weight = f64::from(candidate.weight());
        // A logarithm costs more than all the rest, and -ln(u) is never less than 1 - u.
        if (((1 << 52) - 1 - drawn) as f64) < bar * weight {
            // A fraction in (0, 1). The time to the first event of a process of rate `weight` is
            // -ln(u) / weight: the first of several is each by its weight (Schindelhauer and Schomaker,
            // Weighted Distributed Hash Tables, 2005).
            let fraction = (drawn as f64 + 0.5) / WHOLE;
            let score = -fraction.ln() / weight;
            if score < least {
                (best, least, bar) = (Some(candidate), score, score * WHOLE);
            }
        }
    }
    best
}

impl<F> fmt::Debug for ByKey<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ByKey")
            .field("key", &format_args!("{}", type_name::<F>()))
            .finish()
    }
}
