use std::time::{Duration, SystemTime};

/// A time of [RFC 3339, 5.6](https://www.rfc-editor.org/rfc/rfc3339#section-5.6), not before 1970.
pub(super) fn rfc3339(value: &str) -> Option<SystemTime> {
    let mut text = Text(value.as_bytes());
    let (year, month, day) = (text.digits(4)?, text.then(b"-", 2)?, text.then(b"-", 2)?);
    let (hour, minute, second) = (
        text.then(b"Tt ", 2)?,
        text.then(b":", 2)?,
        text.then(b":", 2)?,
    );
    let nanos = text.fraction()?;
    let offset = text.offset()?;
    // A leap second is taken for the one after it.
    if !(1970..=9999).contains(&year)
        || !(1..=12).contains(&month)
        || !(1..=days_in(year, month)).contains(&day)
        || hour > 23
        || minute > 59
        || second > 60
        || !text.0.is_empty()
    {
        return None;
    }
    let days = days_since_1970(year, month, day);
    let seconds = ((days * 24 + hour) * 60 + minute) * 60 + second - offset;
    let since = Duration::new(u64::try_from(seconds).ok()?, nanos);
    SystemTime::UNIX_EPOCH.checked_add(since)
}

/// What is left to be read.
struct Text<'a>(&'a [u8]);

// ===== impl Text =====

impl Text<'_> {
    fn digits(&mut self, count: usize) -> Option<i64> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        digits.iter().try_fold(0, |value, digit| {
            let digit = digit.is_ascii_digit().then(|| i64::from(digit - b'0'))?;
            Some(value * 10 + digit)
        })
    }

    /// One of these bytes, and then digits.
    fn then(&mut self, separators: &[u8], count: usize) -> Option<i64> {
        separators
            .contains(&self.byte()?)
            .then(|| self.digits(count))?
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// The part of a second, in nanoseconds. What is finer does not count.
    fn fraction(&mut self) -> Option<u32> {
        if self.0.first() != Some(&b'.') {
            return Some(0);
        }
        self.byte();
        let digits = self.0.iter().take_while(|byte| byte.is_ascii_digit());
        let (fraction, rest) = self.0.split_at_checked(digits.count())?;
        self.0 = rest;
        let digit = |place| {
            fraction
                .get(place)
                .map_or(0, |digit| u32::from(digit - b'0'))
        };
        let nanos = (0..9).fold(0, |nanos, place| nanos * 10 + digit(place));
        (!fraction.is_empty()).then_some(nanos)
    }

    /// How far the zone is ahead of UTC, in seconds.
    fn offset(&mut self) -> Option<i64> {
        let sign = match self.byte()? {
            b'Z' | b'z' => return Some(0),
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let (hours, minutes) = (self.digits(2)?, self.then(b":", 2)?);
        (hours <= 23 && minutes <= 59).then_some(sign * (hours * 60 + minutes) * 60)
    }
}

const fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

const fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    // Leap days before this year, of the Gregorian calendar.
    let leaps = |year: i64| (year - 1) / 4 - (year - 1) / 100 + (year - 1) / 400;
    let years = (year - 1970) * 365 + leaps(year) - leaps(1970);
    let months: i64 = (1..month).map(|month| days_in(year, month)).sum();
    years + months + day - 1
}
