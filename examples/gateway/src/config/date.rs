//! Moments, as TOML and RFC 3339 write them.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Deserializer, de::Error};
use toml::value::{Datetime, Offset};

/// `2026-12-31T23:59:59Z`, as a date or as a string.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Moment(pub(super) SystemTime);

#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Date(Datetime),
    Text(String),
    Other(serde::de::IgnoredAny),
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const EXPECTED: &str = "a date, a time and an offset, such as 2026-12-31T23:59:59Z";
        let (found, date) = match Written::deserialize(deserializer)? {
            Written::Date(date) => (date.to_string(), Some(date)),
            Written::Text(text) => (format!("\"{}\"", text.escape_debug()), text.parse().ok()),
            Written::Other(_) => ("another value".to_owned(), None),
        };
        let moment = date.as_ref().and_then(moment).map(Self);
        moment.ok_or_else(|| D::Error::custom(format!("found {found}, expected {EXPECTED}")))
    }
}

/// The moment that a date and a time with an offset name; `None` without one of the three, and before 1970.
fn moment(datetime: &Datetime) -> Option<SystemTime> {
    let (date, time) = (datetime.date?, datetime.time?);
    let offset = match datetime.offset? {
        Offset::Z => 0,
        Offset::Custom { minutes } => i64::from(minutes),
    };
    let of_day = i64::from(time.hour) * 3600
        + i64::from(time.minute) * 60
        + i64::from(time.second.unwrap_or(0));
    let days = days(
        i64::from(date.year),
        i64::from(date.month),
        i64::from(date.day),
    );
    let seconds = u64::try_from(days * 86_400 + of_day - offset * 60).ok()?;
    let nanos = time.nanosecond.unwrap_or(0);
    SystemTime::UNIX_EPOCH.checked_add(Duration::new(seconds, nanos))
}

/// Days from 1970-01-01 to a date: `days_from_civil` of Howard Hinnant's "chrono-Compatible Low-Level
/// Date Algorithms", for years from 0 on.
const fn days(year: i64, month: i64, day: i64) -> i64 {
    // A year that begins in March has its odd day at its end.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::moment;

    #[test]
    fn a_moment_is_seconds_since_1970() {
        for (text, millis) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("1994-11-06T08:49:37Z", Some(784_111_777_000)),
            ("2000-02-29T23:59:59.25Z", Some(951_868_799_250)),
            ("2000-03-01T00:00:00Z", Some(951_868_800_000)),
            ("2026-12-31T23:59:59+02:00", Some(1_798_754_399_000)),
            ("2026-12-31 18:29:59-03:30", Some(1_798_754_399_000)),
            ("2100-03-01T00:00:00Z", Some(4_107_542_400_000)),
            ("9999-12-31T23:59:59Z", Some(253_402_300_799_000)),
            ("1969-12-31T23:59:59Z", None),
            ("2026-12-31T23:59:59", None),
            ("2026-12-31", None),
            ("23:59:59", None),
        ] {
            let found = moment(&text.parse().unwrap());
            let expected =
                millis.map(|millis| SystemTime::UNIX_EPOCH + Duration::from_millis(millis));
            assert_eq!(found, expected, "{text}");
        }
    }
}
