//! What a server says about when to ask again, and whether; and how to write it.
//!
//! ```
//! use std::time::{Duration, SystemTime};
//!
//! use buttress_http::retry_after::Hints;
//! use http::HeaderMap;
//!
//! let mut headers = HeaderMap::new();
//! headers.insert("retry-after", "20".parse().unwrap());
//! headers.insert("x-should-retry", "false".parse().unwrap());
//! let hints = Hints::from_headers(&headers, || SystemTime::UNIX_EPOCH);
//! assert_eq!(hints.retry_after, Some(Duration::from_secs(20)));
//! assert_eq!(hints.should_retry, Some(false));
//! ```
//!
//! # What is understood
//!
//! | field | value | source |
//! |---|---|---|
//! | `retry-after-ms` | milliseconds, `120000` or `0.5` | OpenAI, Azure; read by the OpenAI and Anthropic SDKs |
//! | `retry-after` | seconds, `120` | RFC 9110, section 10.2.3 |
//! | | seconds with a fraction, `1.5`: not in the RFC, which knows whole seconds only, but sent by providers and read by their SDKs | openai-python |
//! | | a date in each of the three forms, `Fri, 29 Sep 2023 16:26:57 GMT`, `Friday, 29-Sep-23 16:26:57 GMT`, `Fri Sep 29 16:26:57 2023` | RFC 9110, section 5.6.7 |
//! | `x-should-retry` | `true` or `false`, in upper or lower case | read by the OpenAI and Anthropic SDKs |
//!
//! - A valid `retry-after-ms` counts before `retry-after`.
//! - A malformed value is no hint: a sign, an exponent, `nan`, `inf`, `0x10`, a number without digits before
//!   and after its point, a date in another zone, a list. A malformed `retry-after-ms` leaves the word to
//!   `retry-after`.
//! - A date that has passed means now: a delay of zero.
//! - A delay above [`MAX`], of as many digits as it may have, is [`MAX`]. It is not ignored, since a server
//!   that says "not for a year" must not be asked again in half a second.
//! - If a field comes several times, the longest of its valid delays counts, which respects each of them;
//!   values of `x-should-retry` that disagree are no hint.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderName, header::RETRY_AFTER};

/// The longest delay that a hint can ask for: one day. Longer ones are taken for this.
///
/// It is long enough for a quota per day to come back, and short enough that nothing that waits for a
/// hint is lost for good through one bad header.
pub const MAX: Duration = Duration::from_secs(24 * 60 * 60);

const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
const X_SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// The hints of one response.
///
/// The default is a response without any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hints {
    /// How long to wait before the next request, from when the response was made. At most [`MAX`].
    pub retry_after: Option<Duration>,
    /// Whether to send the same request again at all.
    pub should_retry: Option<bool>,
}

/// When a response was received, in its extensions: the time from which a date in its
/// `retry-after` counts, if it has no `date` of its own.
///
/// Without it that is the machine's wall clock at the moment when the response is judged, moved
/// as far as tokio's clock was moved in a test. A test puts it there to know the delay to the
/// second, as may whoever keeps responses.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use buttress_http::{ByStatus, Judge, retry_after::ReceivedAt};
///
/// let (parts, ()) = http::Response::builder()
///     .status(503)
///     .header("retry-after", "Fri, 29 Sep 2023 16:26:57 GMT")
///     .extension(ReceivedAt(SystemTime::UNIX_EPOCH + Duration::from_secs(1_696_004_797)))
///     .body(())
///     .unwrap()
///     .into_parts();
/// assert_eq!(ByStatus.head(&parts).retry_after, Some(Duration::from_secs(20)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceivedAt(pub SystemTime);

/// A delay as a server writes it in `Retry-After`: in whole seconds, rounded up, so that nobody
/// comes back too early.
///
/// ```
/// use std::time::Duration;
/// use buttress_http::retry_after::whole_seconds;
///
/// assert_eq!(whole_seconds(Duration::from_millis(1200)), 2);
/// assert_eq!(whole_seconds(Duration::ZERO), 0);
/// ```
#[must_use]
pub const fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs()
        .saturating_add((wait.subsec_nanos() > 0) as u64)
}

// ===== impl Hints =====

impl Hints {
    /// Reads the hints of a response, as the [module](self) says.
    ///
    /// `now` is the time from which a date counts. It is called only if there is a date, and once for
    /// each. The judges of this crate take the response's own `date`, which is of the clock that
    /// the date was made by, or else when it was [received](ReceivedAt).
    #[must_use]
    pub fn from_headers(headers: &HeaderMap, now: impl Fn() -> SystemTime) -> Self {
        let millis = values(headers, &RETRY_AFTER_MS)
            .filter_map(|value| number(value, Duration::from_millis(1)))
            .max();
        let seconds_or_date = || {
            values(headers, &RETRY_AFTER)
                .filter_map(|value| {
                    number(value, Duration::from_secs(1)).or_else(|| until(value, &now))
                })
                .max()
        };
        Hints {
            retry_after: millis.or_else(seconds_or_date),
            should_retry: verdict(headers),
        }
    }
}

/// The values of a field that are text, without the spaces around them.
fn values<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a str> + use<'a> {
    let values = headers.get_all(name).into_iter();
    values.filter_map(|value| Some(value.to_str().ok()?.trim_matches([' ', '\t'])))
}

/// Digits, or digits with a point between.
fn number(value: &str, unit: Duration) -> Option<Duration> {
    let (whole, fraction) = value.split_once('.').unwrap_or((value, "0"));
    for part in [whole, fraction] {
        if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
    }
    // A nanosecond of a second has nine digits; what is finer does not count.
    let fraction = &fraction[..fraction.len().min(9)];
    let scale = 10_u128.pow(fraction.len() as u32);
    // Nothing but digits: parsing can only fail for being too large.
    let whole = u128::from(whole.parse().unwrap_or(u64::MAX));
    let fraction = u128::from(fraction.parse().unwrap_or(u64::MAX));
    let nanos = whole * unit.as_nanos() + fraction * unit.as_nanos() / scale;
    Some(u64::try_from(nanos).map_or(MAX, |nanos| Duration::from_nanos(nanos).min(MAX)))
}

/// The time left until a date.
fn until(value: &str, now: impl Fn() -> SystemTime) -> Option<Duration> {
    let date = httpdate::parse_http_date(value).ok()?;
    let left = date.duration_since(now()).unwrap_or(Duration::ZERO);
    Some(left.min(MAX))
}

fn verdict(headers: &HeaderMap) -> Option<bool> {
    let mut verdicts = values(headers, &X_SHOULD_RETRY).filter_map(|value| {
        if value.eq_ignore_ascii_case("true") {
            Some(true)
        } else if value.eq_ignore_ascii_case("false") {
            Some(false)
        } else {
            None
        }
    });
    let first = verdicts.next()?;
    verdicts.all(|verdict| verdict == first).then_some(first)
}
