use std::time::Duration;

/// Its units, the largest first, in nanoseconds. `µs` is written with either of two characters.
const UNITS: [(&str, u64); 8] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("us", 1_000),
    ("ns", 1),
];

/// A length of time as [`duration`] reads it, or whole or broken seconds without a unit.
pub(super) fn duration_or_seconds(value: &str) -> Option<Duration> {
    if value
        .bytes()
        .all(|byte| byte == b'.' || byte.is_ascii_digit())
    {
        return whole(nanos(value, 1_000_000_000)?);
    }
    duration(value)
}

/// A length of time as Go's `Duration.String` and protobuf's JSON write it, such as `34.07s`, `900ms`
/// or `1h2m3.5s`.
///
/// Each unit comes at most once, the largest first; any part may have a fraction.
/// [`ParseDuration`](https://pkg.go.dev/time#ParseDuration) would take signs, units in any order, and
/// numbers without a digit on one side of their point too, but nothing writes those.
pub(crate) fn duration(value: &str) -> Option<Duration> {
    let (mut rest, mut above, mut total) = (value, u64::MAX, 0_u128);
    while !rest.is_empty() {
        let number = rest.find(|c: char| c != '.' && !c.is_ascii_digit())?;
        let (number, after) = rest.split_at(number);
        let unit = after.find(|c: char| c == '.' || c.is_ascii_digit());
        let (unit, after) = after.split_at(unit.unwrap_or(after.len()));
        let (_, unit) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
        if unit >= above {
            return None;
        }
        total = total.checked_add(nanos(number, unit)?)?;
        (rest, above) = (after, unit);
    }
    whole(total).filter(|_| above < u64::MAX)
}

fn whole(nanos: u128) -> Option<Duration> {
    let seconds = u64::try_from(nanos / 1_000_000_000).ok()?;
    Some(Duration::new(seconds, (nanos % 1_000_000_000) as u32))
}

/// So many units, in nanoseconds: digits, or digits with a point between. What is finer than a
/// nanosecond does not count.
fn nanos(number: &str, unit: u64) -> Option<u128> {
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
        Some(_) => return None,
        None => (number, "0"),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    // Sixteen digits are finer than a nanosecond of an hour, and fit.
    let fraction = &fraction[..fraction.len().min(16)];
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let fraction = fraction.parse::<u128>().ok()? * u128::from(unit) / scale;
    Some(u128::from(whole.parse::<u64>().ok()?) * u128::from(unit) + fraction)
}
