//! The rows of a file.

use buttress_core::Money;

use super::{Fault, LONGEST_FILE, Price, PriceError, Prices, Rates, decimal, names};

pub(super) fn read(text: &str) -> Result<Prices, PriceError> {
    if text.len() > LONGEST_FILE {
        return Err(PriceError::of_file(Fault::TooMany));
    }
    let mut prices = Prices::default();
    for (number, line) in text.lines().enumerate() {
        let line = line.split_once('#').map_or(line, |(before, _)| before);
        let columns: Vec<&str> = line.split_whitespace().take(16).collect();
        row(&columns, &mut prices).map_err(|fault| PriceError::of_line(number + 1, fault))?;
    }
    Ok(prices)
}

fn row(columns: &[&str], prices: &mut Prices) -> Result<(), Fault> {
    match columns {
        [] => Ok(()),
        ["date", date] => once(date, &mut prices.date),
        ["currency", currency] => once(currency, &mut prices.currency),
        [
            provider,
            model,
            above,
            input,
            cached,
            write,
            hour,
            output,
            reasoning,
        ] => {
            let rates = Rates {
                input: rate(input)?.ok_or(Fault::Missing)?,
                cached_input: rate(cached)?,
                cache_write: rate(write)?,
                cache_write_hour: rate(hour)?,
                output: rate(output)?.ok_or(Fault::Missing)?,
                reasoning: rate(reasoning)?,
            };
            let known = prices.entry(provider, model);
            match (*above, known) {
                ("-", Some(_)) => Err(Fault::Twice),
                ("-", None) => prices.set(provider, model, Price::new(rates)),
                (_, None) => Err(Fault::NoBase),
                (above, Some(price)) => {
                    let digits = above.bytes().all(|byte| byte.is_ascii_digit());
                    let above = above.parse().ok().filter(|_| digits);
                    *price = price.clone().above(above.ok_or(Fault::Number)?, rates)?;
                    Ok(())
                }
            }
        }
        _ => {
            let found = columns.len();
            Err(Fault::Columns { found })
        }
    }
}

fn once(said: &str, into: &mut Option<Box<str>>) -> Result<(), Fault> {
    names::check(said)?;
    if into.is_some() {
        return Err(Fault::Twice);
    }
    *into = Some(said.into());
    Ok(())
}

/// What a token costs, of a price per million.
fn rate(text: &str) -> Result<Option<Money>, Fault> {
    match text {
        "-" => Ok(None),
        text => decimal::scaled(text, 6).map(|pico| Some(Money::from_pico(pico))),
    }
}
