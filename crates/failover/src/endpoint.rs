use std::{fmt, sync::Arc};

use buttress_core::Money;

/// One of the services that a [`Failover`](crate::Failover) chooses among: a whole stack of its own,
/// with a name.
///
/// | | default |
/// |---|---|
/// | [`weight`](Endpoint::weight) | 1 |
/// | [`credential`](Endpoint::credential), [`context`](Endpoint::context), [`price`](Endpoint::price) | not said |
///
/// # Examples
///
/// ```
/// use buttress_core::Money;
/// use buttress_failover::Endpoint;
/// # let stack = ();
///
/// let endpoint = Endpoint::new("east", stack)
///     .weight(3)
///     .credential("team-a")
///     .context(200_000)
///     .price(Money::from_pico(3_000_000));
/// assert_eq!(endpoint.info().name(), "east");
/// ```
#[derive(Clone)]
pub struct Endpoint<S> {
    pub(crate) info: Info,
    pub(crate) service: S,
}

/// What is known of an [`Endpoint`] beside its service.
///
/// ```
/// let endpoint = buttress_failover::Endpoint::new("east", ());
/// assert_eq!(endpoint.info().context(), None);
/// ```
#[derive(Clone, Debug)]
pub struct Info {
    pub(crate) name: Arc<str>,
    pub(crate) weight: u32,
    credential: Option<Arc<str>>,
    context: Option<u64>,
    price: Option<Money>,
}

// ===== impl Endpoint =====

impl<S> Endpoint<S> {
    /// `service` under this name, which stands in events, evidence and labels: 1 to
    /// [`MAX_NAME`](crate::MAX_NAME) bytes, no control characters. A [`Failover`](crate::Failover)
    /// is not made of another one.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, service: S) -> Self {
        let info = Info {
            name: name.into(),
            weight: 1,
            credential: None,
            context: None,
            price: None,
        };
        Self { info, service }
    }

    /// Its share, beside the weights of the others; 0 is none at all, not even as the last resort.
    /// Only a strategy that shares looks at more than that. Default: 1.
    #[must_use]
    pub const fn weight(mut self, weight: u32) -> Self {
        self.info.weight = weight;
        self
    }

    /// Which credential it sends: an id of yours, never the credential. After
    /// [`Denied`](buttress_core::Class::Denied) only an endpoint is tried that says it uses another
    /// one, and all that use this one cool down. Default: not said.
    #[must_use]
    pub fn credential(mut self, id: impl Into<Arc<str>>) -> Self {
        self.info.credential = Some(id.into());
        self
    }

    /// How many tokens its model takes, for [`Next::LargerContext`](crate::Next::LargerContext) and
    /// for your own choice. Default: not said.
    #[must_use]
    pub const fn context(mut self, tokens: u64) -> Self {
        self.info.context = Some(tokens);
        self
    }

    /// What it costs, for your own choice: of a token, or of whatever you compare. Default: not said.
    #[must_use]
    pub const fn price(mut self, price: Money) -> Self {
        self.info.price = Some(price);
        self
    }

    /// What is known of it.
    pub const fn info(&self) -> &Info {
        &self.info
    }
}

impl<S> fmt::Debug for Endpoint<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

// ===== impl Info =====

impl Info {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id of its credential, if it was said.
    #[must_use]
    pub fn credential(&self) -> Option<&str> {
        self.credential.as_deref()
    }

    /// How many tokens its model takes, if it was said.
    #[must_use]
    pub const fn context(&self) -> Option<u64> {
        self.context
    }

    /// Its price, if it was said.
    #[must_use]
    pub const fn price(&self) -> Option<Money> {
        self.price
    }
}
