//! The price list that LiteLLM publishes.

use std::collections::{
    HashMap,
    hash_map::Entry::{Occupied, Vacant},
};

use buttress_core::Money;

use super::{Fault, LONGEST_FILE, MOST_MODELS, Price, PriceError, Prices, Rates, decimal};
use crate::{
    json::{Cursor, Kind, Strings},
    request::PeekError,
};

/// What was read of LiteLLM's list.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Loaded {
    /// The prices.
    pub prices: Prices,
    /// The entries that have none here, by their names in the list, and why; in no order.
    pub passed: Vec<(String, Passed)>,
}

/// Why an entry of the list has no price here.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Passed {
    /// It is no model that reads and writes text, such as one for images, or no model at all.
    Mode,
    /// It has no price for each token read and written.
    Missing,
    /// It costs nothing, as the list says of what it knows no price of. Set such a price by hand.
    Free,
    /// Several entries of the same provider and model say different prices: none counts.
    Ambiguous,
    /// It has tiers that are not told by a bound of the input (`tiered_pricing`).
    Tiers,
    /// One of its prices, or its name, is wrong.
    Fault(Fault),
}

/// An entry, as the list has it.
#[derive(Debug, Default)]
struct Entry<'a> {
    provider: Option<&'a str>,
    mode: Option<&'a str>,
    /// The first is that of all input; the others begin above so many thousands of tokens.
    tiers: Vec<(u64, Told)>,
    odd_tiers: bool,
    fault: Option<Fault>,
}

/// Prices by the token. `None`: not told.
#[derive(Clone, Copy, Debug, Default)]
struct Told([Option<Money>; 6]);

const INPUT: usize = 0;
const CACHED: usize = 1;
const WRITE: usize = 2;
const HOUR: usize = 3;
const OUTPUT: usize = 4;
const REASONING: usize = 5;

/// The names of those, before what says the tier.
const NAMES: [&str; 6] = [
    "input_cost_per_token",
    "cache_read_input_token_cost",
    "cache_creation_input_token_cost",
    "cache_creation_input_token_cost_above_1hr",
    "output_cost_per_token",
    "output_cost_per_reasoning_token",
];

pub(super) fn read(json: &[u8]) -> Result<Loaded, PriceError> {
    if json.len() > LONGEST_FILE {
        return Err(PriceError::of_file(Fault::TooMany));
    }
    let file = |error| PriceError::of_file(Fault::Json(error));
    if let Err(error) = std::str::from_utf8(json) {
        let at = error.valid_up_to();
        return Err(file(PeekError::Utf8 { at }));
    }
    let mut loaded = Loaded {
        prices: Prices {
            currency: Some("USD".into()),
            ..Prices::default()
        },
        passed: Vec::new(),
    };
    let cursor = &mut Cursor::new(json, Strings::Strict);
    let kind = cursor.kind();
    let mut items = cursor.object();
    // By provider and model, who said it first, and what, unless another said otherwise.
    let mut said: HashMap<(String, String), (String, Option<Price>)> = HashMap::new();
    let mut seen = 0;
    while let Some(name) = cursor.member_decoded(&mut items) {
        seen += 1;
        if seen > MOST_MODELS {
            return Err(PriceError::of_file(Fault::TooMany));
        }
        let name = String::from_utf8_lossy(&name).into_owned();
        let entry = match cursor.kind() {
            Kind::Object => Entry::read(cursor, json),
            _ => {
                cursor.skip();
                Entry::default()
            }
        };
        let provider = entry.provider.unwrap_or_default();
        let bare = name
            .strip_prefix(provider)
            .and_then(|rest| rest.strip_prefix('/'));
        let model = bare.unwrap_or(&name).to_owned();
        let price = match entry.price() {
            Ok(price) => price,
            Err(why) => {
                loaded.passed.push((name, why));
                continue;
            }
        };
        match said.entry((provider.to_owned(), model)) {
            Vacant(place) => {
                place.insert((name, Some(price)));
            }
            Occupied(mut place) => {
                let (first, known) = place.get_mut();
                if known.as_ref() != Some(&price) {
                    if known.take().is_some() {
                        loaded.passed.push((first.clone(), Passed::Ambiguous));
                    }
                    loaded.passed.push((name, Passed::Ambiguous));
                }
            }
        }
    }
    cursor.end().map_err(|bad| file(PeekError::of(bad, json)))?;
    if kind != Kind::Object {
        let found = kind.as_str();
        return Err(file(PeekError::NotObject { found }));
    }
    for ((provider, model), (name, price)) in said {
        if let Some(price) = price
            && let Err(fault) = loaded.prices.set(&provider, &model, price)
        {
            loaded.passed.push((name, Passed::Fault(fault)));
        }
    }
    Ok(loaded)
}

// ===== impl Entry =====

impl<'a> Entry<'a> {
    fn read(cursor: &mut Cursor<'a>, json: &'a [u8]) -> Self {
        let mut entry = Self::default();
        let mut items = cursor.object();
        while let Some(name) = cursor.member(&mut items) {
            let name = std::str::from_utf8(name).unwrap_or_default();
            match (name, cursor.kind()) {
                ("litellm_provider", Kind::String) => {
                    let span = cursor.string();
                    entry.provider = std::str::from_utf8(&json[span]).ok();
                }
                ("mode", Kind::String) => {
                    let span = cursor.string();
                    entry.mode = std::str::from_utf8(&json[span]).ok();
                }
                ("tiered_pricing", _) => {
                    cursor.skip();
                    entry.odd_tiers = true;
                }
                (_, kind) => {
                    let span = cursor.skip_span();
                    if let Some((which, above)) = named(name) {
                        let text = std::str::from_utf8(&json[span]).unwrap_or_default();
                        entry.tell(which, above, kind, text);
                    }
                }
            }
        }
        entry
    }

    fn tell(&mut self, which: usize, above: u64, kind: Kind, text: &str) {
        let money = match kind {
            Kind::Null => return,
            Kind::Number => decimal::scaled(text, 12).map(Money::from_pico),
            _ => Err(Fault::Number),
        };
        let money = match money {
            Ok(money) => money,
            Err(fault) => {
                self.fault.get_or_insert(fault);
                return;
            }
        };
        let known = self.tiers.iter().position(|(tier, _)| *tier == above);
        let at = known.unwrap_or_else(|| {
            self.tiers.push((above, Told::default()));
            self.tiers.len() - 1
        });
        self.tiers[at].1.0[which] = Some(money);
    }

    fn price(mut self) -> Result<Price, Passed> {
        if self.provider.is_none()
            || !matches!(
                self.mode,
                Some("chat" | "completion" | "responses" | "embedding")
            )
        {
            return Err(Passed::Mode);
        }
        if let Some(fault) = self.fault {
            return Err(Passed::Fault(fault));
        }
        if self.odd_tiers {
            return Err(Passed::Tiers);
        }
        self.tiers.sort_unstable_by_key(|(above, _)| *above);
        let mut tiers = self.tiers.into_iter();
        let Some((0, mut told)) = tiers.next() else {
            return Err(Passed::Missing);
        };
        let mut price = Price::new(told.rates().ok_or(Passed::Missing)?);
        if told.0.iter().flatten().all(|money| *money == Money::ZERO) {
            return Err(Passed::Free);
        }
        for (above, tier) in tiers {
            // What a tier does not say of input and output is as before, and the list has such.
            for which in [INPUT, OUTPUT] {
                told.0[which] = tier.0[which].or(told.0[which]);
            }
            // Of all else it is not known.
            for which in [CACHED, WRITE, HOUR, REASONING] {
                told.0[which] = tier.0[which];
            }
            let rates = told.rates().ok_or(Passed::Missing)?;
            price = price.above(above, rates).map_err(Passed::Fault)?;
        }
        Ok(price)
    }
}

// ===== impl Told =====

impl Told {
    fn rates(self) -> Option<Rates> {
        let told = self.0;
        Some(Rates {
            input: told[INPUT]?,
            cached_input: told[CACHED],
            cache_write: told[WRITE],
            cache_write_hour: told[HOUR],
            output: told[OUTPUT]?,
            reasoning: told[REASONING],
        })
    }
}

/// Which price a member says, and above how many tokens, as in
/// `cache_read_input_token_cost_above_200k_tokens`. `None`: none that is used here, such as those of
/// batches.
fn named(member: &str) -> Option<(usize, u64)> {
    let (name, above) = match member.strip_suffix("k_tokens") {
        Some(rest) => {
            let (name, thousands) = rest.rsplit_once("_above_")?;
            let thousands: u64 = thousands.parse().ok()?;
            (name, thousands.checked_mul(1000)?)
        }
        None => (member, 0),
    };
    let which = NAMES.iter().position(|known| *known == name)?;
    Some((which, above))
}
