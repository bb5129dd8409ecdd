use std::{any::type_name, error::Error, fmt, sync::Arc};

use super::{Candidates, Choice, Strategy};
use crate::hash::{mix, within};

/// Gives shares of the keys to endpoints, each as a variant with a name: for two models, or two
/// prompts, to be compared by metrics. Who has the same key stays with the same variant; everybody else
/// is left to another strategy.
///
/// A key belongs to a share by its number alone, so adding a variant at the end, or widening the last
/// one, moves nobody between those before. If the endpoint of a variant may not be tried, or has failed
/// the call, the other strategy chooses, and the call is of no variant.
///
/// # Examples
///
/// ```
/// use buttress_failover::{Ordered, Variant, Variants, hash};
///
/// struct Ask {
///     user: String,
/// }
///
/// let variants = [
///     Variant::new("short prompt", "east-short", 50), // 5 % of the users
///     Variant::new("new model", "west", 100),
/// ];
/// let user = |ask: &Ask| Some(hash(ask.user.as_bytes()));
/// let strategy = Variants::new(user, variants, Ordered)?;
/// # Ok::<_, buttress_failover::VariantsError>(())
/// ```
#[derive(Clone)]
pub struct Variants<F, C> {
    key: F,
    variants: Vec<Variant>,
    otherwise: C,
}

/// A share of the keys, and the endpoint that serves it: see [`Variants`].
///
/// ```
/// let variant = buttress_failover::Variant::new("new model", "west", 100);
/// assert_eq!(variant.name(), "new model");
/// ```
#[derive(Clone, Debug)]
pub struct Variant {
    name: Arc<str>,
    endpoint: Box<str>,
    share: u16,
}

/// Shares that are more than the whole.
///
/// ```
/// use buttress_failover::{Ordered, Variant, Variants};
///
/// let variants = [Variant::new("a", "east", 600), Variant::new("b", "west", 600)];
/// let error = Variants::new(|_: &()| None, variants, Ordered).unwrap_err();
/// assert_eq!(error.to_string(), "found shares of 1200 thousandths, expected at most 1000");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VariantsError {
    sum: u64,
}

const WHOLE: u64 = 1000;

// ===== impl Variants =====

impl<F, C> Variants<F, C> {
    /// Shares the keys that `key` finds in requests among `variants`; what is left, and what has no
    /// key, is left to `otherwise`.
    ///
    /// # Errors
    ///
    /// If the shares are more than the whole together.
    pub fn new<Req>(
        key: F,
        variants: impl IntoIterator<Item = Variant>,
        otherwise: C,
    ) -> Result<Self, VariantsError>
    where
        F: Fn(&Req) -> Option<u64>,
    {
        let variants: Vec<_> = variants.into_iter().collect();
        let sum = variants
            .iter()
            .map(|variant| u64::from(variant.share))
            .sum();
        if sum > WHOLE {
            return Err(VariantsError { sum });
        }
        Ok(Self {
            key,
            variants,
            otherwise,
        })
    }

    fn variant(&self, key: u64) -> Option<&Variant> {
        // Not as `ByKey` mixes: where both are used, a variant is to have keys of every endpoint.
        let mut at = within(mix(key ^ 0x7661_7269_616E_7473), WHOLE);
        self.variants.iter().find(|variant| {
            let share = u64::from(variant.share);
            let found = at < share;
            at = at.saturating_sub(share);
            found
        })
    }
}

impl<F, C, Req> Strategy<Req> for Variants<F, C>
where
    F: Fn(&Req) -> Option<u64>,
    C: Strategy<Req>,
{
    fn choose(&self, request: &Req, candidates: Candidates<'_>) -> Option<Choice> {
        let variant = (self.key)(request).and_then(|key| self.variant(key));
        let chosen = variant.and_then(|variant| {
            let candidate = candidates.named(&variant.endpoint)?;
            Some(Choice::of(candidate).variant(Arc::clone(&variant.name)))
        });
        chosen.or_else(|| self.otherwise.choose(request, candidates))
    }

    fn follows(&self) -> bool {
        self.otherwise.follows()
    }
}

impl<F, C: fmt::Debug> fmt::Debug for Variants<F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Variants")
            .field("key", &format_args!("{}", type_name::<F>()))
            .field("variants", &self.variants)
            .field("otherwise", &self.otherwise)
            .finish()
    }
}

// ===== impl Variant =====

impl Variant {
    /// So many thousandths of the keys, served by the endpoint of this name.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, endpoint: impl Into<Box<str>>, share: u16) -> Self {
        Self {
            name: name.into(),
            endpoint: endpoint.into(),
            share,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

// ===== impl VariantsError =====

impl fmt::Display for VariantsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { sum } = self;
        write!(
            f,
            "found shares of {sum} thousandths, expected at most {WHOLE}"
        )
    }
}

impl Error for VariantsError {}
