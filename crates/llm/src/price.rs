//! What tokens cost: a table of prices by provider and model.
//!
//! ```
//! use buttress_core::{Money, Usage};
//! use buttress_llm::price::Prices;
//!
//! let prices = Prices::shipped();
//! let usage = Usage { cached_input: 400, reasoning: 64, ..Usage::new(1000, 200) };
//! // 600 × 1.25 + 400 × 0.125 + 200 × 10, a millionth of a dollar each.
//! let cost = prices.price("openai", "gpt-5-2025-08-07", &usage);
//! assert_eq!(cost, Some(Money::from_pico(2_800_000_000)));
//! // What is not known is not free.
//! assert_eq!(prices.price("openai", "gpt-5-something-else", &usage), None);
//! ```
//!
//! Prices of your own, over those that are shipped:
//!
//! ```
//! use buttress_core::Usage;
//! use buttress_llm::price::Prices;
//!
//! # fn main() -> Result<(), buttress_llm::price::PriceError> {
//! let ours = "
//!     currency USD
//!     openai      gpt-5  -      1      0.1     -      -         8       -
//!     local       llama  -      0      -       -      -         0       -
//! ";
//! let mut prices = Prices::shipped().clone();
//! prices.extend(Prices::parse(ours)?)?;
//! let cost = prices.price("openai", "gpt-5", &Usage::new(1_000_000, 0));
//! assert_eq!(cost.map(|cost| cost.to_string()).as_deref(), Some("1"));
//! # Ok(())
//! # }
//! ```
//!
//! # When to use it
//!
//! As the function of a layer that reports or limits what calls cost, at each attempt, where the
//! provider is known.
//!
//! # When not
//!
//! For an invoice: it knows the list prices of the standard tier, and neither batches, priority, free
//! quotas nor contracts, and of tokens not which were audio or pictures. What tools cost by the call is
//! not told by [`Usage`] either.
//!
//! # The rows
//!
//! Each line has nine columns, with a row for each tier of a model; `#` begins a comment. Prices are
//! decimals of the currency per million tokens, and `-` is *not told*. The lines `date 2026-11-21` and
//! `currency USD` say of when the prices are and of what. No currency is converted into another.
//!
//! | column | means | `-` |
//! |---|---|---|
//! | provider, model | as calls name them | |
//! | above | the tier of calls with more input than that, all of it, in tokens | the first tier |
//! | input | input, but for what follows | not allowed |
//! | cached | input read from the provider's prompt cache | as input |
//! | write | input written to it | a call that writes has no price |
//! | write-1h | input written to it for an hour | a call that does has no price |
//! | output | output, but for what follows | not allowed |
//! | reasoning | output that is reasoning | as output |
//!
//! A call is priced by one tier, that of all its input. Nothing is rounded: a price that is no whole
//! number of pico-units (10⁻¹²) a token is an error.
//!
//! # Which row is a model's
//!
//! The provider must be the same. Of the model's name these are looked for, and the first that is there
//! counts:
//!
//! 1. The name itself.
//! 2. Without what stands before its last `/`, as in `models/gemini-2.5-pro`.
//! 3. Without its date or version: `-2025-08-07`, `-20250929`, `@20250929`, `-0613`, `-001`.
//! 4. Of a fine-tuned model, `ft:gpt-4o-2024-08-06:org::id`, what stands up to the second colon.
//!
//! So `gpt-4o-2024-05-13`, which costs more, has a row of its own, and `gpt-4o-mini` is never taken for
//! `gpt-4o`. Lookup allocates nothing.
//!
//! # Bounds
//!
//! | what | bound | past it |
//! |---|---|---|
//! | a file | 64 MiB | an error |
//! | models | 100 000, with 16 tiers each | an error |
//! | a name | 256 bytes | an error |
//! | a price | 10⁶ a token | an error |

mod decimal;
mod error;
mod litellm;
mod names;
mod parse;

use std::{
    collections::HashMap,
    fmt,
    ops::Deref,
    sync::{Arc, LazyLock},
};

use buttress_core::{Money, Usage};
use buttress_http::Tariff;
use bytes::Bytes;
use http::Request;
use http_body::Body;

pub(crate) use self::names::without_date;
pub use self::{
    error::{Fault, PriceError},
    litellm::{Loaded, Passed},
};

use crate::{gemini, memory::in_memory, request::Peek};

/// What models cost.
#[derive(Clone, Default)]
pub struct Prices {
    providers: HashMap<Box<str>, HashMap<Box<str>, Price>>,
    models: usize,
    date: Option<Box<str>>,
    currency: Option<Box<str>>,
}

/// What one model costs. A clone is cheap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    base: Rates,
    /// By the input that they begin above, in rising order.
    tiers: Option<Arc<Vec<(u64, Rates)>>>,
}

/// What one token costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Read, and neither from the prompt cache nor written to it.
    pub input: Money,
    /// Read from the provider's prompt cache. `None`: as [`input`](Rates::input).
    pub cached_input: Option<Money>,
    /// Written to it, for as long as the provider does by default. `None`: unknown.
    pub cache_write: Option<Money>,
    /// Written to it for an hour. `None`: unknown.
    pub cache_write_hour: Option<Money>,
    /// Written, and no reasoning.
    pub output: Money,
    /// Written as reasoning. `None`: as [`output`](Rates::output).
    pub reasoning: Option<Money>,
}

const MOST_MODELS: usize = 100_000;
const MOST_TIERS: usize = 16;
const LONGEST_NAME: usize = 256;
const LONGEST_FILE: usize = 64 << 20;

// ===== impl Prices =====

impl Prices {
    /// None at all.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Those of some dozens of current models of OpenAI, Anthropic and Gemini that come with this
    /// crate, in US dollars. [`date`](Prices::date) says of when they are; the file, `prices.txt`,
    /// where they are from.
    #[must_use]
    pub fn shipped() -> &'static Self {
        static SHIPPED: LazyLock<Prices> = LazyLock::new(|| {
            // A test reads it, so that nobody sees it fail.
            Prices::parse(include_str!("price/prices.txt")).unwrap_or_default()
        });
        &SHIPPED
    }

    /// Reads a file of [rows](self#the-rows).
    ///
    /// # Errors
    ///
    /// [`PriceError`], with the line.
    pub fn parse(text: &str) -> Result<Self, PriceError> {
        parse::read(text)
    }

    /// Reads the price list that LiteLLM publishes, `model_prices_and_context_window.json`, in US
    /// dollars. What has no exact price there is passed over, and named: see [`Loaded`].
    ///
    /// The provider is its `litellm_provider`, and the model its name without that before a `/`.
    ///
    /// # Errors
    ///
    /// [`PriceError`]: the list is no such list, or past the [bounds](self#bounds).
    pub fn litellm(json: &[u8]) -> Result<Loaded, PriceError> {
        litellm::read(json)
    }

    /// Of when they are, as the file says it.
    #[must_use]
    pub fn date(&self) -> Option<&str> {
        self.date.as_deref()
    }

    /// Of which currency they are, such as `USD`, as the file says it.
    #[must_use]
    pub fn currency(&self) -> Option<&str> {
        self.currency.as_deref()
    }

    /// How many models have a price.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.models
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.models == 0
    }

    /// Every provider, model and price, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str, &Price)> {
        self.providers.iter().flat_map(|(provider, models)| {
            let of = |(model, price)| -> (&str, &str, &Price) { (provider, model, price) };
            models
                .iter()
                .map(move |(model, price)| of((&**model, price)))
        })
    }

    /// Sets the price of a model, in place of what it was.
    ///
    /// # Errors
    ///
    /// [`PriceError`]: a name is empty, too long or has a space or control character, or there are
    /// too many models.
    pub fn insert(&mut self, provider: &str, model: &str, price: Price) -> Result<(), PriceError> {
        self.set(provider, model, price)
            .map_err(|fault| PriceError::of_model(provider, model, fault))
    }

    fn set(&mut self, provider: &str, model: &str, price: Price) -> Result<(), Fault> {
        names::check(provider)?;
        names::check(model)?;
        if let Some(known) = self.entry(provider, model) {
            *known = price;
            return Ok(());
        }
        if self.models == MOST_MODELS {
            return Err(Fault::TooMany);
        }
        self.models += 1;
        let models = self.providers.entry(provider.into()).or_default();
        models.insert(model.into(), price);
        Ok(())
    }

    fn entry(&mut self, provider: &str, model: &str) -> Option<&mut Price> {
        self.providers.get_mut(provider)?.get_mut(model)
    }

    /// Sets every price of `other`, in place of what it was; its date and currency, too, if it says
    /// them.
    ///
    /// # Errors
    ///
    /// [`PriceError`]: they are of another currency, or too many. Then some are set.
    pub fn extend(&mut self, other: Self) -> Result<(), PriceError> {
        if let (Some(ours), Some(theirs)) = (&self.currency, &other.currency)
            && ours != theirs
        {
            return Err(PriceError::of_file(Fault::Currency));
        }
        self.currency = other.currency.or(self.currency.take());
        self.date = other.date.or(self.date.take());
        for (provider, models) in other.providers {
            for (model, price) in models {
                self.insert(&provider, &model, price)?;
            }
        }
        Ok(())
    }

    /// The price of a model, by the [row](self#which-row-is-a-models) that is its. `None`: unknown.
    #[must_use]
    pub fn get(&self, provider: &str, model: &str) -> Option<&Price> {
        let models = self.providers.get(provider)?;
        names::candidates(model).find_map(|name| models.get(name))
    }

    /// What requests of a provider will cost, for
    /// [`TrackLayer::price`](buttress_http::TrackLayer::price): by the model that their body names, or of
    /// Gemini their path. The body has to be in memory, as `Full<Bytes>` is; it is read once more for that.
    ///
    /// ```
    /// use buttress_http::TrackLayer;
    /// use buttress_llm::{OpenAi, price::Prices};
    /// # use bytes::Bytes;
    /// # use http::{Request, Response};
    /// # use http_body_util::Full;
    /// # let client = tower::service_fn(|_: Request<Full<Bytes>>| async {
    /// #     Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::default()))
    /// # });
    ///
    /// let service = tower::ServiceBuilder::new()
    ///     .layer(TrackLayer::new(OpenAi).price(Prices::tariffs(Prices::shipped(), "openai")))
    ///     .service(client);
    /// # let service = buttress_core::check::<Request<Full<Bytes>>, _>(service);
    /// ```
    ///
    /// `prices` is a `&'static Prices`, or an `Arc` of them.
    pub fn tariffs<P, B>(
        prices: P,
        provider: &str,
    ) -> impl Fn(&Request<B>) -> Option<Tariff> + Clone + Send + Sync + 'static
    where
        P: Deref<Target = Self> + Clone + Send + Sync + 'static,
        B: Body<Data = Bytes> + Clone,
    {
        let provider: Arc<str> = provider.into();
        move |request| {
            let model: Box<str> = match gemini::Target::of(request.uri()) {
                Some(target) => target.model().into(),
                None => Peek::new(in_memory(request.body())?).ok()?.model()?.into(),
            };
            let (prices, provider) = (prices.clone(), provider.clone());
            Some(Box::new(move |usage| {
                prices.price(&provider, &model, usage)
            }))
        }
    }

    /// What these tokens cost. `None`: the model is unknown, or its row says nothing of what it did.
    ///
    /// Tokens that another call paid for cost nothing; what they would have cost is the price of
    /// `Usage { billed: true, ..usage }`.
    #[must_use]
    pub fn price(&self, provider: &str, model: &str, usage: &Usage) -> Option<Money> {
        self.get(provider, model)?.cost(usage)
    }
}

impl fmt::Debug for Prices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prices")
            .field("date", &self.date)
            .field("currency", &self.currency)
            .field("models", &self.models)
            .finish_non_exhaustive()
    }
}

// ===== impl Price =====

impl Price {
    /// The same for any input.
    #[must_use]
    pub const fn new(rates: Rates) -> Self {
        Self {
            base: rates,
            tiers: None,
        }
    }

    /// With other rates for calls of more than so many tokens of input.
    ///
    /// # Errors
    ///
    /// [`Fault`]: there is such a tier, or there are 16.
    pub fn above(mut self, input: u64, rates: Rates) -> Result<Self, Fault> {
        let tiers = Arc::make_mut(self.tiers.get_or_insert_default());
        let Err(at) = tiers.binary_search_by_key(&input, |(above, _)| *above) else {
            return Err(Fault::Twice);
        };
        if tiers.len() == MOST_TIERS {
            return Err(Fault::TooMany);
        }
        tiers.insert(at, (input, rates));
        Ok(self)
    }

    /// The rates of a call with so many tokens of input.
    #[must_use]
    pub fn rates(&self, input: u64) -> &Rates {
        let tiers = self.tiers.as_deref().map_or(&[][..], Vec::as_slice);
        let tier = tiers.iter().rev().find(|(above, _)| input > *above);
        tier.map_or(&self.base, |(_, rates)| rates)
    }

    /// What these tokens cost, with what was written to the prompt cache there for as long as the
    /// provider does by default. `None`: there is no rate for that, or it is past what [`Money`]
    /// holds.
    #[must_use]
    pub fn cost(&self, usage: &Usage) -> Option<Money> {
        self.cost_with_hour(usage, 0)
    }

    /// The same, with so many of the tokens that were written to the prompt cache there for an hour,
    /// which [`Usage`] does not tell apart.
    #[must_use]
    pub fn cost_with_hour(&self, usage: &Usage, hour: u64) -> Option<Money> {
        if !usage.billed {
            return Some(Money::ZERO);
        }
        let rates = self.rates(usage.input);
        let hour = hour.min(usage.cache_write);
        let write = usage.cache_write - hour;
        let special = usage.cached_input.saturating_add(usage.cache_write);
        let parts = [
            (Some(rates.input), usage.input.saturating_sub(special)),
            (rates.cached_input.or(Some(rates.input)), usage.cached_input),
            (rates.cache_write, write),
            (rates.cache_write_hour, hour),
            (
                Some(rates.output),
                usage.output.saturating_sub(usage.reasoning),
            ),
            (rates.reasoning.or(Some(rates.output)), usage.reasoning),
        ];
        let mut cost = 0_u128;
        for (rate, count) in parts {
            if count > 0 {
                let part = rate?.pico().checked_mul(count.into())?;
                cost = cost.checked_add(part)?;
            }
        }
        Some(Money::from_pico(cost))
    }
}
