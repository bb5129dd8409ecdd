//! Sizes and times, as people write them.

use std::{fmt, time::Duration};

use serde::{
    Deserialize, Deserializer,
    de::{Error, Visitor},
};

/// A number of bytes: `65536`, `"64 KiB"`, `"1.5 MB"`. At least one, at most 1 TiB.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Size(pub(super) usize);

/// A length of time: `30` seconds, `"30 s"`, `"250 ms"`, `"2 min"`. At least a millisecond, at
/// most a day.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Time(pub(super) Duration);

/// A kind of quantity: how its numbers are read.
trait Unit: Sized {
    const EXPECTED: &'static str;

    /// What the unit stands for, in the smallest one.
    fn scale(unit: &str) -> Option<f64>;

    /// A number of the smallest unit, if it is within the bounds.
    fn of(number: f64) -> Option<Self>;
}

// ===== impl Size =====

impl Unit for Size {
    const EXPECTED: &'static str = "a size from 1 B to 1 TiB, such as 65536 or \"64 KiB\"";

    fn scale(unit: &str) -> Option<f64> {
        Some(match unit {
            "" | "B" => 1.0,
            "kB" | "KB" => 1e3,
            "MB" => 1e6,
            "GB" => 1e9,
            "KiB" => 1024.0,
            "MiB" => 1024.0 * 1024.0,
            "GiB" => 1024.0 * 1024.0 * 1024.0,
            _ => return None,
        })
    }

    fn of(bytes: f64) -> Option<Self> {
        const LARGEST: f64 = (1_u64 << 40) as f64;
        // Within the bounds, so that nothing but a fraction is cut off.
        (1.0..=LARGEST)
            .contains(&bytes)
            .then_some(Self(bytes as usize))
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Quantity(Self::of))
    }
}

// ===== impl Time =====

impl Unit for Time {
    const EXPECTED: &'static str = "a time from 1 ms to 24 h, such as 30 (seconds) or \"250 ms\"";

    fn scale(unit: &str) -> Option<f64> {
        Some(match unit {
            "ms" => 1e-3,
            "" | "s" => 1.0,
            "min" => 60.0,
            "h" => 3600.0,
            _ => return None,
        })
    }

    fn of(seconds: f64) -> Option<Self> {
        (1e-3..=86_400.0)
            .contains(&seconds)
            .then(|| Self(Duration::from_secs_f64(seconds)))
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Quantity(Self::of))
    }
}

// ===== Quantity =====

struct Quantity<T>(fn(f64) -> Option<T>);

impl<T: Unit> Quantity<T> {
    fn take<E: Error>(&self, number: f64, found: &dyn fmt::Display) -> Result<T, E> {
        let value = (self.0)(number);
        value.ok_or_else(|| E::custom(format!("found {found}, expected {}", T::EXPECTED)))
    }
}

impl<T: Unit> Visitor<'_> for Quantity<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::EXPECTED)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        self.take(number as f64, &number)
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<T, E> {
        self.take(number, &number)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        let begin = text
            .trim_start()
            .find(|c: char| !c.is_ascii_digit() && c != '.');
        let (number, unit) = text.trim().split_at(begin.unwrap_or(text.trim().len()));
        let scaled = match (number.parse::<f64>(), T::scale(unit.trim_start())) {
            (Ok(number), Some(scale)) => number * scale,
            _ => f64::NAN,
        };
        self.take(scaled, &format_args!("\"{}\"", text.escape_debug()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde::Deserialize;
    use toml::de::ValueDeserializer;

    use super::{Size, Time};

    fn read<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, String> {
        let value = ValueDeserializer::parse(text).map_err(|error| error.to_string())?;
        T::deserialize(value).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn sizes_are_read_with_and_without_a_unit() {
        for (text, bytes) in [
            ("1", 1),
            ("65536", 65536),
            ("'7 B'", 7),
            ("'64 KiB'", 65536),
            ("'32MiB'", 32 << 20),
            ("'1.5 MB'", 1_500_000),
            ("' 2 GB '", 2_000_000_000),
        ] {
            assert_eq!(read(text), Ok(Size(bytes)), "{text}");
        }
    }

    #[test]
    fn times_are_read_with_and_without_a_unit() {
        for (text, millis) in [
            ("30", 30_000),
            ("0.25", 250),
            ("'250 ms'", 250),
            ("'2min'", 120_000),
            ("'24 h'", 86_400_000),
        ] {
            assert_eq!(
                read(text),
                Ok(Time(Duration::from_millis(millis))),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_no_quantity_is_said() {
        for text in [
            "0",
            "-1",
            "'12 parsecs'",
            "''",
            "'MiB'",
            "'1e99 MiB'",
            "'inf'",
            "nan",
            "'1.2.3 B'",
            "true",
            "[1]",
        ] {
            let size = read::<Size>(text).unwrap_err();
            assert!(size.contains("expected a size from 1 B"), "{text}: {size}");
            let time = read::<Time>(text).unwrap_err();
            assert!(time.contains("expected a time from 1 ms"), "{text}: {time}");
        }
        let error = read::<Size>("'10 pounds'").unwrap_err();
        assert!(
            error.starts_with("found \"10 pounds\", expected a size"),
            "{error}"
        );
    }
}
