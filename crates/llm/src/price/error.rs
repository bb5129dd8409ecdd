use std::{error::Error, fmt};

use crate::request::PeekError;

/// Why prices could not be read or set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceError {
    place: Place,
    fault: Fault,
}

/// What is wrong with a price.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The list is not JSON, or no object.
    Json(PeekError),
    /// A line has not nine columns, and says neither a date nor a currency.
    Columns {
        /// How many it has.
        found: usize,
    },
    /// A name is empty, longer than 256 bytes, or has a space or a control character.
    Name,
    /// A price or a bound is no decimal number, or below zero.
    Number,
    /// A price is no whole number of pico-units a token.
    NotWhole,
    /// A price is above 10⁶ a token.
    TooHigh,
    /// A price that must be there is not told.
    Missing,
    /// The row, the date or the currency came before.
    Twice,
    /// A tier comes before the first row of its model.
    NoBase,
    /// It is of another currency.
    Currency,
    /// There are more than 100 000 models, 16 tiers of one, or 64 MiB of a file.
    TooMany,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    File,
    /// From 1.
    Line(usize),
    Model(String),
}

// ===== impl PriceError =====

impl PriceError {
    pub(super) const fn of_file(fault: Fault) -> Self {
        let place = Place::File;
        Self { place, fault }
    }

    pub(super) const fn of_line(line: usize, fault: Fault) -> Self {
        let place = Place::Line(line);
        Self { place, fault }
    }

    pub(super) fn of_model(provider: &str, model: &str, fault: Fault) -> Self {
        let shown = |name: &str| name.chars().take(64).collect::<String>();
        let name = format!("{} {}", shown(provider), shown(model));
        let place = Place::Model(name.escape_debug().to_string());
        Self { place, fault }
    }

    /// What is wrong.
    #[must_use]
    pub const fn fault(&self) -> &Fault {
        &self.fault
    }

    /// In which line of the file, from 1.
    #[must_use]
    pub const fn line(&self) -> Option<usize> {
        match self.place {
            Place::Line(line) => Some(line),
            _ => None,
        }
    }
}

impl fmt::Display for PriceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, fault } = self;
        match place {
            Place::File => write!(f, "the prices: {fault}"),
            Place::Line(line) => write!(f, "line {line} of the prices: {fault}"),
            Place::Model(model) => write!(f, "the price of {model}: {fault}"),
        }
    }
}

impl Error for PriceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.fault)
    }
}

// ===== impl Fault =====

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => error.fmt(f),
            Self::Columns { found } => write!(f, "expected 9 columns, found {found}"),
            Self::Name => f.write_str(
                "a name must have 1 to 256 bytes, and neither spaces nor control characters",
            ),
            Self::Number => f.write_str("expected a decimal number that is not below 0, or `-`"),
            Self::NotWhole => {
                f.write_str("the price is no whole number of 10⁻¹² of the currency a token")
            }
            Self::TooHigh => f.write_str("the price is above 10⁶ a token"),
            Self::Missing => f.write_str("input and output must have a price"),
            Self::Twice => f.write_str("it was said before"),
            Self::NoBase => f.write_str("the first row of a model must have `-` as its `above`"),
            Self::Currency => f.write_str("the prices are of another currency"),
            Self::TooMany => {
                f.write_str("more than 100 000 models, 16 tiers of one, or 64 MiB of a file")
            }
        }
    }
}

impl Error for Fault {}
