//! How a provider says when to come back.

use std::time::{Duration, SystemTime};

use serde_json::json;

use crate::{Dialect, Reply};

/// The hint of a 429: every form in which one comes, and those that are none.
///
/// Dates and reset times count from the provider's wall clock: see
/// [`Provider::wall_clock`](crate::Provider::wall_clock).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Hint {
    /// None at all.
    Bare,
    /// `retry-after`, so many seconds.
    Seconds(u64),
    /// `retry-after`, the date in so many seconds: `Sun, 06 Nov 1994 08:49:37 GMT`.
    ImfDate(u64),
    /// `retry-after`, the same date as RFC 850 had it: `Sunday, 06-Nov-94 08:49:37 GMT`.
    Rfc850Date(u64),
    /// `retry-after`, the same date in C's form: `Sun Nov  6 08:49:37 1994`.
    AsctimeDate(u64),
    /// `retry-after-ms`, so many milliseconds.
    Milliseconds(u64),
    /// The dialect's own headers: nothing remains until a reset in so many seconds.
    ResetHeaders(u64),
    /// Gemini's `RetryInfo`, so many milliseconds.
    RetryInfo(u64),
    /// Gemini's message, "Please retry in 34.07s.", so many milliseconds.
    Message(u64),
    /// `retry-after: 0`.
    Zero,
    /// `retry-after: -10`.
    Negative,
    /// `retry-after: 1000000000`.
    Huge,
    /// `retry-after`, a date of an hour ago.
    PastDate,
    /// `retry-after` twice: 1 and 30. Which of them counts is the reader's choice.
    TwoValues,
}

// ===== impl Hint =====

impl Hint {
    /// Every form, with a delay of two seconds where it has one.
    pub const ALL: [Hint; 14] = [
        Hint::Bare,
        Hint::Seconds(2),
        Hint::ImfDate(2),
        Hint::Rfc850Date(2),
        Hint::AsctimeDate(2),
        Hint::Milliseconds(2000),
        Hint::ResetHeaders(2),
        Hint::RetryInfo(2000),
        Hint::Message(2000),
        Hint::Zero,
        Hint::Negative,
        Hint::Huge,
        Hint::PastDate,
        Hint::TwoValues,
    ];

    /// The delay that it asks for, counted from when it is sent; `None` where it asks for none that
    /// is certain. A date has no fractions of a second: it may ask for up to one second less.
    pub const fn delay(self) -> Option<Duration> {
        match self {
            Hint::Seconds(seconds)
            | Hint::ImfDate(seconds)
            | Hint::Rfc850Date(seconds)
            | Hint::AsctimeDate(seconds)
            | Hint::ResetHeaders(seconds) => Some(Duration::from_secs(seconds)),
            Hint::Milliseconds(millis) | Hint::RetryInfo(millis) | Hint::Message(millis) => {
                Some(Duration::from_millis(millis))
            }
            Hint::Zero | Hint::PastDate => Some(Duration::ZERO),
            Hint::Huge => Some(Duration::from_secs(1_000_000_000)),
            Hint::Bare | Hint::Negative | Hint::TwoValues => None,
        }
    }

    /// Whether a provider of this dialect sends it.
    pub fn fits(self, dialect: Dialect) -> bool {
        match self {
            Hint::RetryInfo(_) | Hint::Message(_) => dialect == Dialect::Gemini,
            Hint::ResetHeaders(_) | Hint::Milliseconds(_) => dialect != Dialect::Gemini,
            _ => true,
        }
    }

    pub(crate) fn reply(self, dialect: Dialect, now: SystemTime) -> Reply {
        let limited = Reply::error(429);
        let date = |seconds| Date::at(now, seconds);
        match self {
            Hint::Bare => limited,
            Hint::Seconds(seconds) => limited.retry_after(seconds.to_string()),
            Hint::ImfDate(seconds) => limited.retry_after(date(seconds).imf()),
            Hint::Rfc850Date(seconds) => limited.retry_after(date(seconds).rfc850()),
            Hint::AsctimeDate(seconds) => limited.retry_after(date(seconds).asctime()),
            Hint::Milliseconds(millis) => limited.header("retry-after-ms", millis.to_string()),
            Hint::ResetHeaders(seconds) => match dialect {
                Dialect::Anthropic => limited
                    .header("anthropic-ratelimit-requests-limit", "50")
                    .header("anthropic-ratelimit-requests-remaining", "0")
                    .header(
                        "anthropic-ratelimit-requests-reset",
                        date(seconds).rfc3339(),
                    ),
                _ => limited
                    .header("x-ratelimit-limit-requests", "60")
                    .header("x-ratelimit-remaining-requests", "0")
                    .header(
                        "x-ratelimit-reset-requests",
                        go(Duration::from_secs(seconds)),
                    ),
            },
            Hint::RetryInfo(millis) => limited.details(json!([{
                "@type": "type.googleapis.com/google.rpc.RetryInfo",
                "retryDelay": seconds(Duration::from_millis(millis)),
            }])),
            Hint::Message(millis) => limited.message(format!(
                "You exceeded your current quota. Please retry in {}.",
                seconds(Duration::from_millis(millis))
            )),
            Hint::Zero => limited.retry_after("0"),
            Hint::Negative => limited.retry_after("-10"),
            Hint::Huge => limited.retry_after("1000000000"),
            Hint::PastDate => {
                let past = now.checked_sub(Duration::from_secs(3600)).unwrap_or(now);
                limited.retry_after(Date::at(past, 0).imf())
            }
            Hint::TwoValues => limited.retry_after("1").retry_after("30"),
        }
    }
}

/// A duration as Go writes it, in whole milliseconds: `12ms`, `1s`, `6m0s`, `1.5s`.
pub(crate) fn go(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis < 1000 {
        return format!("{millis}ms");
    }
    let (minutes, millis) = (millis / 60_000, millis % 60_000);
    let seconds = seconds(Duration::from_millis(millis as u64));
    match (minutes / 60, minutes % 60) {
        (0, 0) => seconds,
        (0, minutes) => format!("{minutes}m{seconds}"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}"),
    }
}

/// Seconds with as many decimals as they have: `34.07s`, `2s`.
fn seconds(duration: Duration) -> String {
    let text = format!("{}.{:03}", duration.as_secs(), duration.subsec_millis());
    let text = text.trim_end_matches('0').trim_end_matches('.');
    format!("{text}s")
}

/// A date in its parts, as the forms need them.
pub(crate) struct Date {
    imf: String,
}

// ===== impl Date =====

impl Date {
    pub(crate) fn at(now: SystemTime, seconds: u64) -> Self {
        // A date has four digits for the year: 9999 ends before this.
        let last = SystemTime::UNIX_EPOCH + Duration::from_secs(253_402_300_799);
        let at = now.checked_add(Duration::from_secs(seconds));
        let at = at.filter(|at| *at <= last).unwrap_or(now);
        Self {
            imf: httpdate::fmt_http_date(at.clamp(SystemTime::UNIX_EPOCH, last)),
        }
    }

    pub(crate) fn imf(&self) -> &str {
        &self.imf
    }

    fn rfc850(&self) -> String {
        let weekday = match &self.imf[..3] {
            "Mon" => "Monday",
            "Tue" => "Tuesday",
            "Wed" => "Wednesday",
            "Thu" => "Thursday",
            "Fri" => "Friday",
            "Sat" => "Saturday",
            _ => "Sunday",
        };
        let [day, month, year, time] = self.parts();
        format!("{weekday}, {day}-{month}-{} {time} GMT", &year[2..])
    }

    fn asctime(&self) -> String {
        let [day, month, year, time] = self.parts();
        let day = day.trim_start_matches('0');
        format!("{} {month} {day:>2} {time} {year}", &self.imf[..3])
    }

    pub(crate) fn rfc3339(&self) -> String {
        const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
        let [day, month, year, time] = self.parts();
        let month = MONTHS.find(month).map_or(1, |at| at / 3 + 1);
        format!("{year}-{month:02}-{day}T{time}Z")
    }

    /// Day, month, year and time of `Sun, 06 Nov 1994 08:49:37 GMT`, whose places are fixed.
    fn parts(&self) -> [&str; 4] {
        [(5..7), (8..11), (12..16), (17..25)].map(|part| &self.imf[part])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_have_the_forms_of_rfc_9110() {
        let date = Date::at(SystemTime::UNIX_EPOCH, 784_111_777);
        assert_eq!(date.imf(), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(date.rfc850(), "Sunday, 06-Nov-94 08:49:37 GMT");
        assert_eq!(date.asctime(), "Sun Nov  6 08:49:37 1994");
        assert_eq!(date.rfc3339(), "1994-11-06T08:49:37Z");
        for text in [date.imf().to_owned(), date.rfc850(), date.asctime()] {
            let parsed = httpdate::parse_http_date(&text).unwrap();
            assert_eq!(
                parsed,
                SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777)
            );
        }
    }

    #[test]
    fn a_date_too_far_to_write_is_now() {
        let now = SystemTime::UNIX_EPOCH;
        assert_eq!(Date::at(now, u64::MAX).imf(), Date::at(now, 0).imf());
    }

    #[test]
    fn durations_are_written_as_go_writes_them() {
        let written =
            [12, 1000, 1500, 34_070, 360_000, 90_061_000].map(|ms| go(Duration::from_millis(ms)));
        assert_eq!(written, ["12ms", "1s", "1.5s", "34.07s", "6m0s", "25h1m1s"]);
    }
}
